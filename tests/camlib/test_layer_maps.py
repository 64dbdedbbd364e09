"""Grad-CAM, HiResCAM, Layer-CAM against two libraries, CAM and finite differences; what they leave.

Maps are compared before their ReLU, relative to each map's largest value, and none may be zero:
maps of zeros would agree with anything.
"""

import copy
from collections import OrderedDict

import captum.attr
import pytest
import torch
from pytorch_grad_cam import GradCAM, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from camlib import cam, gradients, networks
from camlib.gradients import grad_cam, hires_cam, layer_cam

OURS = [grad_cam, hires_cam, layer_cam]
THEIRS = {grad_cam: GradCAM, hires_cam: HiResCAM, layer_cam: LayerCAM}


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gap(found, expected):
    """The largest difference, relative to each map's largest value."""
    assert found.shape == expected.shape
    size = expected.abs().amax(dim=(-2, -1))
    assert (size > 0).all(), "a map of zeros would agree with anything"
    return ((found - expected).abs().amax(dim=(-2, -1)) / size).max().item()


def alive(name):
    """A network in which no weight, bias or running statistic is zero, or one as all others."""
    if name == "lite0":
        return networks.create(name)
    torch.manual_seed(0)
    network = networks.create(name, scale="lab")
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
            if getattr(module, "bias", None) is not None:
                module.bias.normal_(0, 0.3)
    if isinstance(network.get_classifier(), nn.Linear):
        nn.init.normal_(network.get_classifier().weight, std=0.1)
    return network


def grad_cams(method, network, layer, images, classes, reshape=None):
    """The raw maps (N, H, W) of pytorch-grad-cam, one class (N,) each."""
    targets = [ClassifierOutputTarget(c) for c in classes.tolist()]
    with method(network, [network.get_submodule(layer)], reshape) as made:
        made(images, targets)  # would scale the maps to 0 ... 1
        inner = made.activations_and_grads
        values = inner.activations[0].numpy(), inner.gradients[0].numpy()
        return torch.from_numpy(made.get_cam_image(images, None, targets, *values, False))


# What is right: two libraries, CAM, finite differences.

LAYERS = [
    ("vgg16", "features.conv5_3"),  # fully connected layers above
    ("vgg16", "features.pool5"),
    ("vgg16", "features.conv3_1"),
    ("vgg16", "features.conv1_1"),
    ("googlenet-gap", "features.cam_conv1"),
    ("googlenet-gap", "features.inception3a.branch2"),  # one branch of four
    ("googlenet-gap", "features.conv1"),
    ("lite0", "bn2"),
    ("lite0", "blocks.3"),  # a sum of two branches
    ("lite0", "blocks.1.0"),
]


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_raw_maps_are_those_of_pytorch_grad_cam(name, layer):
    network, images = alive(name), noise(2, 3, 96, 96)
    classes = torch.tensor([[3], [11]])
    for ours in OURS:
        found = ours(network, images, layer, classes, relu=False).maps[:, 0]
        assert gap(found, grad_cams(THEIRS[ours], network, layer, images, classes[:, 0])) < 1e-5


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_raw_maps_are_those_of_captum(name, layer):
    network, images = alive(name), noise(2, 3, 96, 96)
    classes = torch.tensor([3, 11])
    for ours, theirs in (
        (grad_cam, captum.attr.LayerGradCam),
        (hires_cam, captum.attr.LayerGradientXActivation),
    ):
        found = ours(network, images, layer, classes[:, None], relu=False).maps[:, 0]
        method = theirs(network, network.get_submodule(layer))
        expected = method.attribute(images, target=classes).detach().sum(dim=1)
        assert gap(found, expected) < 1e-5


@pytest.mark.parametrize("name", ["alexnet-gap", "vgg16-gap", "googlenet-gap", "nin", "lite0"])
def test_below_global_average_pooling_grad_cam_is_cam_over_its_places(name):
    network, images = alive(name), noise(2, 3, 96, 112)
    layer = "bn2" if name == "lite0" else "features"
    cams = cam.class_activation_maps(network, images, top=3)
    for method in (grad_cam, hires_cam):
        found = method(network, images, layer, top=3, relu=False)
        places = found.maps[0, 0].numel()
        assert gap(found.maps * places, cams.maps) < 1e-5
        assert torch.equal(found.classes, cams.classes)
        assert gap(method(network, images, layer, top=3).maps * places, cams.maps.relu()) < 1e-5


class Small(nn.Module):
    """Two convolutions and two linear layers without kinks, in float64."""

    def __init__(self, first=None, after=None):
        super().__init__()
        torch.manual_seed(0)
        self.first = first or nn.Identity()
        self.low = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Tanh())
        self.layer = nn.Conv2d(5, 4, 3, stride=2)  # values of either sign
        self.after = after or nn.Softplus()
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(24, 6), nn.Tanh(), nn.Linear(6, 5))
        self.double().eval()

    def forward(self, images):
        return self.head(self.after(self.layer(self.low(self.first(images)))))


@pytest.fixture
def images():
    return noise(2, 3, 6, 7).double()


ALL = torch.arange(5).expand(2, -1)


def slopes(network, images, step=1e-5):
    """dS_c/dA_k(x, y) of Small by central differences, (N, C, K, H, W), and A."""
    with torch.no_grad():
        values = network.layer(network.low(images))
        found = torch.zeros(len(images), 5, *values.shape[1:]).double()
        for k, y, x in torch.ones_like(values[0]).nonzero().tolist():
            more, less = values.clone(), values.clone()
            more[:, k, y, x] += step
            less[:, k, y, x] -= step
            scores = [network.head(network.after(moved)) for moved in (more, less)]
            found[:, :, k, y, x] = (scores[0] - scores[1]) / (2 * step)
    return found, values


def test_against_finite_differences(images):
    network = Small()
    gradient, values = slopes(network, images)
    alpha = gradient.sum(dim=(3, 4)) / 6  # the mean over 2 x 3 places
    expected = {
        grad_cam: (alpha[..., None, None] * values[:, None]).sum(dim=2),
        hires_cam: (gradient * values[:, None]).sum(dim=2),
        layer_cam: (gradient.clamp(min=0) * values[:, None]).sum(dim=2),
    }
    for method in OURS:
        found = method(network, images, "layer", ALL, relu=False)
        assert gap(found.maps, expected[method]) < 1e-7
        assert torch.equal(found.logits, network(images))
        assert torch.equal(method(network, images, "layer", ALL).maps, found.maps.clamp(min=0))


def test_below_one_linear_layer_hires_cam_adds_up_to_the_score_and_grad_cam_does_not(images):
    network = Small()
    network.after, network.head = nn.Identity(), nn.Sequential(nn.Flatten(), nn.Linear(24, 5))
    network.double().eval()
    scores = network(images) - network.head[1].bias
    sums = [m(network, images, "layer", ALL, relu=False).maps.sum(dim=(2, 3)) for m in OURS]
    torch.testing.assert_close(sums[1], scores, rtol=1e-12, atol=1e-14)
    assert (sums[0] - scores).abs().min() > 1e-3


# Tokens.


def rows(tokens):
    """Tokens (N, 145, K) -> maps (N, K, 12, 12), without the class's."""
    return tokens[:, 1:].transpose(1, 2).reshape(len(tokens), -1, 12, 12)


@pytest.mark.parametrize("layer", ["blocks.3.norm1", "blocks.1"])
def test_tokens_in_rows_give_the_maps_of_pytorch_grad_cam(layer):
    network, images = alive("vit"), noise(2, 3, 96, 96)
    classes = torch.tensor([[3], [11]])
    for ours in OURS:
        found = ours(network, images, layer, classes, reshape=rows, relu=False).maps[:, 0]
        expected = grad_cams(THEIRS[ours], network, layer, images, classes[:, 0], rows)
        assert found.shape == (2, 12, 12)
        assert gap(found, expected) < 1e-5


# Batches and classes.


@pytest.mark.parametrize("method", OURS)
def test_no_picture_changes_anothers_map(method, images):
    network = Small()
    together = method(network, images, "layer", ALL, relu=False).maps
    for i in range(2):
        alone = method(network, images[i : i + 1], "layer", range(5), relu=False).maps
        assert gap(together[i : i + 1], alone) < 1e-12


@pytest.mark.parametrize("method", OURS)
def test_each_image_has_classes_of_its_own_in_the_order_given(method, images):
    network = Small()
    every = method(network, images, "layer", ALL, relu=False).maps
    each = torch.tensor([[4, 1, 4], [0, 4, 2]])
    found = method(network, images, "layer", each, relu=False)
    assert torch.equal(found.classes, each)
    assert gap(found.maps, every[torch.arange(2)[:, None], each]) < 1e-12


def test_classes_by_name_and_the_highest_scores(images):
    network = Small()
    network.classes = networks.ClassNames("abcde")
    every = grad_cam(network, images, "layer", ALL, relu=False).maps
    named = grad_cam(network, images, "layer", [["c", "a"], ["e", "c"]], relu=False)
    assert named.classes.tolist() == [[2, 0], [4, 2]]
    best = grad_cam(network, images, "layer", top=2, relu=False)
    assert torch.equal(best.classes, network(images).topk(2, dim=1).indices)
    for found in (named, best):
        assert gap(found.maps, every[torch.arange(2)[:, None], found.classes]) < 1e-12
    assert torch.equal(grad_cam(network, images, "layer").classes, best.classes[:, :1])


def test_a_layer_is_given_by_name_or_as_a_module(images):
    network = Small()
    assert torch.equal(
        grad_cam(network, images, network.low[1]).maps, grad_cam(network, images, "low.1").maps
    )


# The same under all circumstances.


def same(found, expected):
    return all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_under_any_gradient_mode(mode, images):
    network = Small()
    expected = [method(network, images, "layer", ALL) for method in OURS]
    with mode():
        made = images * 1.0  # under inference mode an inference tensor
        found = [method(network, made, "layer", ALL) for method in OURS]
    for ours, theirs in zip(found, expected, strict=True):
        assert same(ours, theirs)
        assert not any(tensor.requires_grad for tensor in ours)


def test_with_frozen_parameters_and_images_that_require_a_gradient(images):
    network = Small()
    expected = grad_cam(network, images, "layer", ALL)
    assert same(grad_cam(network, images.clone().requires_grad_(), "layer", ALL), expected)
    network.requires_grad_(False)
    assert same(grad_cam(network, images, "layer", ALL), expected)
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("method", OURS)
def test_in_channels_last(method):
    network, images = alive("googlenet-gap"), noise(2, 3, 96, 96)
    expected = method(network, images, "features.inception4e", top=2, relu=False).maps
    network = network.to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
    found = method(network, images, "features.inception4e", top=2, relu=False).maps
    assert gap(found, expected) < 1e-5


def test_a_layer_that_the_next_one_overwrites(images):
    """The map is of what the layer gave, not of what was left of it."""
    spoilt, whole = Small(after=nn.ReLU(inplace=True)), Small(after=nn.ReLU())
    classes = torch.tensor([0, 3])
    for ours, theirs in THEIRS.items():
        expected = ours(whole, images, "layer", classes[:, None], relu=False).maps
        assert torch.equal(
            ours(spoilt, images, "layer", classes[:, None], relu=False).maps, expected
        )
        assert gap(grad_cams(theirs, whole, "layer", images, classes), expected[:, 0]) < 1e-12
    # Why the hook gives a copy to the layers above: without one, pytorch-grad-cam maps the ReLU's.
    wrong = grad_cams(GradCAM, spoilt, "layer", images, classes)
    assert (
        gap(wrong, grad_cam(whole, images, "layer", classes[:, None], relu=False).maps[:, 0]) > 0.1
    )


def test_a_first_layer_that_overwrites_its_input(images):
    before = images.clone()
    found = grad_cam(Small(first=nn.ReLU(inplace=True)), images, "layer", ALL)
    assert same(found, grad_cam(Small(first=nn.ReLU()), images, "layer", ALL))
    assert torch.equal(images, before)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float16, 0.01), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("method", OURS)
def test_half_precision_gives_maps_in_float32(method, dtype, near, images):
    network = Small()
    expected = method(network, images, "layer", ALL, relu=False).maps
    found = method(network.to(dtype), images.to(dtype), "layer", ALL, relu=False).maps
    assert found.dtype == torch.float32
    assert gap(found, expected.float()) < near
    assert not torch.equal(found, found.to(dtype).float()), "computed in half precision as well"


def kept_for_backward(call):
    """Where the tensors lie that autograd keeps during a call."""
    places = []

    def pack(tensor):
        places.append(tensor.data_ptr())
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return set(places)


def test_below_the_layer_no_graph_is_built():
    network, images = alive("vgg16"), noise(1, 3, 96, 96).requires_grad_()
    weights = {n: p.data_ptr() for n, p in network.named_parameters() if "conv.weight" in n}
    plain = kept_for_backward(lambda: network(images))
    assert set(weights.values()) <= plain, "or there was nothing to avoid"
    for method in OURS:
        kept = kept_for_backward(lambda m=method: m(network, images, "features.conv4_1"))
        assert [n.split(".")[1] for n, place in weights.items() if place in kept] == [
            *("conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3")
        ]


# Nothing is left behind.


def state(network, images):
    """All that a call could change, by value."""
    hooks = [
        {name: list(value) for name, value in vars(m).items() if name.endswith("_hooks")}
        for m in network.modules()
    ]
    return (
        hooks,
        [module.training for module in network.modules()],
        [
            (t.requires_grad, None if t.grad is None else t.grad.tolist(), t.tolist())
            for t in (*network.parameters(), images)
            if t.is_leaf
        ],
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    )


def watched():
    """A network with a hook, a gradient and a frozen layer of its owner's."""
    network = Small()
    network.layer.register_forward_hook(lambda module, inputs, output: None)
    network.head[1].bias.grad = torch.full_like(network.head[1].bias, 7.0)
    network.low.requires_grad_(False)
    return network


@pytest.mark.parametrize("method", OURS)
def test_nothing_of_the_callers_is_touched(method, images):
    network, leaf = watched(), images.clone().requires_grad_()
    inner = leaf * 2.0
    before = state(network, leaf)
    for given in (leaf, inner):
        method(network, given, "layer", ALL)
        assert state(network, leaf) == before
    inner.sum().backward()  # their graph is still whole
    assert (leaf.grad == 2).all()


class Fails(nn.Module):
    def forward(self, values):
        raise RuntimeError("out of luck")


def fails(values):
    raise RuntimeError("out of luck")


FAILURES = {
    "below the layer": ({"first": Fails()}, {}, "out of luck"),
    "above the layer": ({"after": Fails()}, {}, "out of luck"),
    "in reshape": ({}, {"reshape": fails}, "out of luck"),
    "bad class": ({}, {"classes": [[0], [5]]}, "got class 5"),
    "bad layer": ({}, {"layer": "head.1"}, "expected maps"),
    "zero gradient": ({"after": nn.Threshold(9, 0.5)}, {}, "zero everywhere"),
}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("case", FAILURES)
def test_after_an_exception_all_is_as_before(case, mode, images):
    parts, arguments, says = FAILURES[case]
    network = watched()
    for name, part in parts.items():
        setattr(network, name, part.eval())
    call = {"network": network, "images": images.requires_grad_(), "layer": "layer"} | arguments
    with mode():
        before = state(network, images)
        with pytest.raises((RuntimeError, ValueError), match=says):
            grad_cam(**call)
        assert state(network, images) == before


# What cannot be mapped is refused.


@pytest.mark.parametrize("method", OURS)
@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("layr", r"""Small has no layer 'layr': did you mean "layer"\?.*'low', 'layer', 'after'"""),
        (copy.deepcopy(Small().layer), r"the layer given, Conv2d, is not a part of Small.*a copy"),
        (3, "the layer given, int, is not a part of Small"),
        ("head.1", r"head.1 of Small gives \(2, 6\), expected maps .*before the flattening"),
        ("", r"Small gives \(2, 5\), expected maps"),
    ],
)
def test_a_layer_that_is_none_of_the_networks_maps(method, layer, says, images):
    with pytest.raises(ValueError, match=rf"^{method.__name__}: .*{says}"):
        method(Small(), images, layer)


def chain(**layers):
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(layers)).double().eval()


class Permute(nn.Module):
    def __init__(self, *order):
        super().__init__()
        self.order = order

    def forward(self, values):
        return values.permute(self.order)


def test_a_layer_used_more_than_once(images):
    relu = nn.ReLU()
    network = chain(
        low=nn.Conv2d(3, 4, 3), relu1=relu, high=nn.Conv2d(4, 4, 3), relu2=relu, flat=nn.Flatten()
    )
    with pytest.raises(ValueError, match="Sequential uses relu2 more than once in a forward pass"):
        grad_cam(network, images, "relu2")
    assert grad_cam(network, images, "high").maps.any(), "the others can be mapped"


def test_a_layer_that_is_never_used(images):
    network = Small()
    network.spare = nn.Conv2d(3, 4, 3).eval()
    with pytest.raises(ValueError, match="spare of Small is not used in a forward pass"):
        grad_cam(network, images, "spare")


def test_tokens_without_reshape_and_with_one_that_forgets_the_rows():
    network, images = alive("vit"), noise(1, 3, 96, 96)
    with pytest.raises(ValueError, match=r"blocks.1 of vit gives \(1, 145, 96\).*pass reshape="):
        grad_cam(network, images, "blocks.1")
    with pytest.raises(ValueError, match=r"reshape gives \(1, 144, 96\), expected maps"):
        grad_cam(network, images, "blocks.1", reshape=lambda tokens: tokens[:, 1:])


def test_what_is_no_map_of_several_places():
    images = noise(2, 3, 6, 6).double()
    network = chain(
        conv=nn.Conv2d(3, 4, 3),
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
        last=nn.Linear(4, 5),
    )
    with pytest.raises(
        ValueError, match=r"pool of Sequential gives \(2, 4, 1, 1\): a single place"
    ):
        grad_cam(network, images, "pool")
    network = chain(
        conv=nn.Conv2d(3, 7, 3), last=Permute(0, 2, 3, 1), flat=nn.Flatten(), fc=nn.Linear(112, 5)
    )
    with pytest.raises(
        ValueError, match=r"last of Sequential gives \(2, 4, 4, 7\) .*channels .*last"
    ):
        grad_cam(network, images, "last")
    back = grad_cam(network, images, "last", reshape=lambda values: values.permute(0, 3, 1, 2))
    assert torch.equal(back.maps, grad_cam(network, images, "conv").maps)
    network = chain(batch_first=Permute(1, 0, 2, 3), flat=nn.Flatten())
    with pytest.raises(ValueError, match=r"gives \(3, 2, 6, 6\), expected maps .* for 2 images"):
        grad_cam(network, images, "batch_first")


class Pair(nn.Module):
    def forward(self, values):
        return values, values


def test_a_layer_that_gives_no_tensor(images):
    network = Small(after=Pair())
    with pytest.raises(ValueError, match="after of Small gives tuple, expected maps"):
        grad_cam(network, images, "after")


@pytest.mark.parametrize("method", OURS)
def test_images_classes_and_modes_that_do_not_fit(method, images):
    network = Small()
    for arguments, says in (
        (
            (images[0], "layer"),
            r"got images torch.float64 \(3, 6, 7\), expected a tensor of floats",
        ),
        ((images, "layer", [[0], [5]]), "got class 5, expected between 0 and 4"),
        ((images, "layer", 3), r"got classes of shape \(\) for 2 images"),
    ):
        with pytest.raises(ValueError, match=rf"^{method.__name__}: {says}"):
            method(network, *arguments)
    network.after.train()
    with pytest.raises(ValueError, match=rf"^{method.__name__}: Small is in training mode"):
        method(network, images, "layer")


class Aside(Small):
    """Computes a map that nothing reads."""

    def forward(self, images):
        self.layer(self.low(images))
        return self.head(torch.ones(len(images), 24).double())


class Detached(Small):
    def forward(self, images):
        return self.head(self.after(self.layer(self.low(images))).detach())


class WithoutGraph(Small):
    @torch.no_grad()
    def forward(self, images):
        values = self.layer(self.low(images))
        with torch.no_grad():
            return self.head(values)


@pytest.mark.parametrize("kind", [Aside, Detached, WithoutGraph])
@pytest.mark.parametrize("frozen", [False, True])
def test_scores_that_do_not_depend_on_the_layer(kind, frozen, images):
    network = kind().requires_grad_(not frozen)
    with pytest.raises(ValueError, match=rf"scores of {kind.__name__} do not depend on layer, or"):
        grad_cam(network, images, "layer")


def test_a_gradient_that_is_zero_everywhere(images):
    with pytest.raises(
        ValueError, match=r"gradient of class 3 is zero everywhere at blocks.3 of vit \(image 0\)"
    ):
        grad_cam(alive("vit"), noise(2, 3, 96, 96), "blocks.3", [[3], [1]], reshape=rows)
    network = chain(conv=nn.Conv2d(3, 4, 3), relu=nn.ReLU(), flat=nn.Flatten())
    images[1] = 0
    with torch.no_grad():
        network.conv.bias.fill_(-1e-6)  # the second image says nothing to any unit
    with pytest.raises(ValueError, match=r"class 7 is zero everywhere .*\(image 1\)"):
        grad_cam(network, images, "conv", [[int(network(images)[0].argmax())], [7]])


class Root(nn.Module):
    def forward(self, values):
        return (values - values.detach()).sqrt()  # 0, with an infinite slope


def test_values_that_are_not_finite(images):
    with pytest.raises(ValueError, match=r"Small gives gradients that are not finite .* at layer"):
        grad_cam(Small(after=Root()), images, "layer")
    network = Small(after=nn.Hardtanh())  # hides it, and has a gradient of zero there
    with torch.no_grad():
        network.layer.bias[0] = torch.inf
    for method in OURS:
        with pytest.raises(ValueError, match="layer of Small gives values that are not finite"):
            method(network, images, "layer")


@pytest.mark.parametrize(
    ("answer", "gives"),
    [
        (lambda logits: (logits,), "tuple"),
        (lambda logits: logits[:, :, None], r"\(2, 5, 1\)"),
        (lambda logits: logits[:1], r"\(1, 5\)"),
    ],
)
def test_what_are_no_logits(images, answer, gives):
    network = Small()
    network.head.register_forward_hook(lambda module, inputs, logits: answer(logits))
    with pytest.raises(ValueError, match=rf"Small gives {gives}, expected logits \(N, C\)"):
        grad_cam(network, images, "layer")


def test_the_module_is_named_in_errors_as_its_owner_does():
    network = alive("vgg16")
    with pytest.raises(ValueError, match=r"grad_cam: classifier of vgg16 gives \(1, 16\)"):
        gradients.grad_cam(network, noise(1, 3, 96, 96), network.classifier)


class Around(nn.Module):
    """A layer that hands on its input, which is overwritten beside it."""

    def __init__(self, overwrite):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.layer = nn.Conv2d(3, 4, 3), nn.Identity()
        self.head, self.overwrite = nn.Linear(4 * 36, 5), overwrite
        self.eval()

    def forward(self, images):
        below = self.conv(images)
        out = self.layer(below)
        below = below.relu_() if self.overwrite else below.relu()
        return self.head((out + below).flatten(1))


def test_a_layer_that_hands_on_its_input():
    """Overwritten later, it would be the map of what was left."""
    images = noise(2, 3, 8, 8)
    found, expected = (
        hires_cam(Around(overwrite), images, "layer", [[1], [2]], relu=False).maps
        for overwrite in (True, False)
    )
    assert gap(found, expected) < 1e-5


@pytest.mark.parametrize("method", OURS)
def test_under_autocast_maps_are_in_float32(method):
    network, images = alive("vgg16"), noise(1, 3, 96, 96)
    exact = method(network, images, "features.conv5_3", [3], relu=False).maps
    with torch.autocast("cpu", torch.bfloat16):
        found = method(network, images, "features.conv5_3", [3], relu=False).maps
    assert found.dtype == torch.float32
    assert gap(found, exact) < 0.2


class Rearranged(nn.Module):
    """A convolution and a layer that gives its map, channels last or first."""

    def __init__(self, conv, last):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.layer, self.last = conv, nn.Identity(), last
        self.head = nn.LazyLinear(5)

    def forward(self, images):
        found = self.conv(images)
        return self.head(self.layer(found.permute(0, 2, 3, 1) if self.last else found).flatten(1))


def test_channels_last_is_told_from_a_map_that_is_not_square():
    conv = nn.Conv2d(3, 7, 4, 4)
    oblong = noise(1, 3, 24, 32)
    network = Rearranged(conv, last=True)
    network(oblong)
    with pytest.raises(ValueError, match="for images of 24 x 32, so its channels seem to be last"):
        grad_cam(network.eval(), oblong, "layer")
    # As many channels as rows, and other steps down than across: it cannot be told, but be said.
    network = Rearranged(nn.Conv2d(3, 8, (4, 2), (4, 2)), last=False)
    square = noise(1, 3, 32, 32)
    network(square)
    with pytest.raises(ValueError, match="if they are first after all, reshape=lambda output"):
        grad_cam(network.eval(), square, "layer")
    found = grad_cam(network, square, "layer", reshape=lambda output: output)
    assert found.maps.shape == (1, 1, 8, 16)
