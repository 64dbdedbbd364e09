"""camlib.cam against brute force, other libraries and networks it must refuse."""

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from camlib import cam, networks, photos


class Tiny(nn.Module):
    """timm's protocol at its smallest: one convolution, a pool, one linear layer."""

    def __init__(self, head=None, pool=lambda f: f.mean(dim=(2, 3)), channels=8, num_classes=5):
        super().__init__()
        self.convolution = nn.Conv2d(3, channels, 3, padding=1)
        self.classifier = nn.Linear(channels, num_classes) if head is None else head
        self.pool = pool

    def forward_features(self, images):
        return self.convolution(images)

    def forward_head(self, features):
        return self.classifier(self.pool(features))

    def get_classifier(self):
        return self.classifier


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return Tiny().eval()


@pytest.fixture
def images():
    return torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def lite0():
    return networks.create("lite0")


@pytest.fixture(scope="module")
def coffee(lite0):
    return lite0.transform(photos.load("coffee").path)[None]


def randomised(name, size, **options):
    """A timm network with random head, its features scaled to order one by their own size."""
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False, num_classes=7, **options)
    classifier = network.get_classifier()
    if isinstance(classifier, nn.Linear):
        nn.init.normal_(classifier.weight)
        nn.init.normal_(classifier.bias)
    network.eval()
    images = torch.randn(2, 3, size, size)
    plain = network.forward_features
    with torch.no_grad():
        scale = plain(images).abs().mean()
    network.forward_features = lambda x: plain(x) / scale
    return network, images


# The maps are right.


def test_maps_equal_equation_2_summed_by_loops(tiny, images):
    result = cam.class_activation_maps(tiny, images, torch.tensor([[0, 3], [4, 4]]))
    features = tiny.forward_features(images)
    for n, row in enumerate([[0, 3], [4, 4]]):
        for m, c in enumerate(row):
            for y in range(6):
                for x in range(7):
                    expected = sum(
                        tiny.classifier.weight[c, k] * features[n, k, y, x] for k in range(8)
                    )
                    assert result.maps[n, m, y, x] == pytest.approx(expected.item(), abs=1e-5)


def test_lite0_maps_agree_with_torchcam_and_an_einsum(lite0, coffee):
    from torchcam.methods import CAM

    classes = [967, 968, 282, 0]
    result = cam.class_activation_maps(lite0, coffee, classes)
    extractor = CAM(lite0, target_layer="bn2", fc_layer="classifier")
    scores = lite0(coffee)
    for m, c in enumerate(classes):
        theirs = extractor(c, scores, normalized=False)[0][0]
        ours = result.maps[0, m]
        assert (ours - theirs).abs().max() <= 1e-5 * result.maps[0, m].abs().max()
    extractor.remove_hooks()
    einsum = torch.einsum(
        "mk,khw->mhw", lite0.classifier.weight[classes], lite0.forward_features(coffee)[0]
    )
    assert (einsum - result.maps[0]).abs().max() <= 1e-5 * result.maps.abs().max()


@pytest.mark.parametrize(
    "name", ["resnet18", "tf_efficientnet_lite0", "regnetx_002", "densenet121", "mobilenetv2_100"]
)
def test_identity_holds_on_families_of_timm_without_code_for_any(name):
    network, images = randomised(name, 64)
    every = torch.arange(7).expand(2, -1)
    result = cam.class_activation_maps(network, images, every)
    classifier = network.get_classifier()
    assert torch.equal(result.logits, network.forward_head(network.forward_features(images)))
    summed = result.maps.mean(dim=(2, 3)) + classifier.bias
    largest = result.maps.abs().amax(dim=(1, 2, 3)).min()
    assert largest > 0.1, "the features are not of order one, so this test would see nothing"
    assert (summed - result.logits).abs().max() <= 1e-5 * largest


def test_a_classifier_that_is_the_identity_maps_channels_to_classes(images):
    network = Tiny(head=nn.Identity()).eval()
    result = cam.class_activation_maps(network, images, torch.tensor([[2], [5]]))
    features = network.forward_features(images)
    assert torch.equal(result.maps[0, 0], features[0, 2])
    assert torch.equal(result.maps[1, 0], features[1, 5])


def test_without_classes_the_top_ones_are_mapped(tiny, images):
    result = cam.class_activation_maps(tiny, images)
    assert torch.equal(result.classes[:, 0], result.logits.argmax(dim=1))
    top = cam.class_activation_maps(tiny, images, top=3)
    assert torch.equal(top.classes, result.logits.topk(3, dim=1).indices)
    torch.testing.assert_close(top.maps[:, :1], result.maps)


def test_names_and_indices_give_the_same_map(lite0, coffee):
    by_name = cam.class_activation_maps(lite0, coffee, ["espresso", "cup"])
    by_index = cam.class_activation_maps(lite0, coffee, torch.tensor([[967, 968]]))
    assert torch.equal(by_name.classes, by_index.classes)
    assert torch.equal(by_name.maps, by_index.maps)
    assert cam.class_activation_maps(lite0, coffee, "cup").classes.tolist() == [[968]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_and_double_precision(dtype, tiny, images):
    exact = cam.class_activation_maps(tiny, images, torch.tensor([[0], [1]])).maps
    result = cam.class_activation_maps(tiny.to(dtype), images.to(dtype), torch.tensor([[0], [1]]))
    assert result.maps.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    allowed = 1e-6 if dtype == torch.float64 else 0.05
    assert (result.maps - exact).abs().max() <= allowed * exact.abs().max()


def test_double_precision_is_not_lost_on_the_way(tiny, images):
    tiny, images = tiny.double(), images.double()
    result = cam.class_activation_maps(tiny, images, torch.tensor([[0], [1]]))
    features = tiny.forward_features(images)
    expected = torch.stack([(tiny.classifier.weight[n] @ features[n].flatten(1)) for n in (0, 1)])
    assert (result.maps.flatten(1) - expected).abs().max() <= 1e-14 * expected.abs().max()


def test_maps_stay_in_float32_under_autocast(tiny, images):
    with torch.autocast("cpu", torch.bfloat16):
        assert cam.class_activation_maps(tiny, images).maps.dtype == torch.float32


def test_nothing_is_left_behind(tiny, images):
    tiny.convolution.weight.requires_grad_(False)
    images.requires_grad_(True)
    result = cam.class_activation_maps(tiny, images)
    assert not result.maps.requires_grad
    assert not result.logits.requires_grad
    assert not tiny.training
    assert tiny.classifier.weight.requires_grad
    assert not tiny.convolution.weight.requires_grad
    assert torch.is_grad_enabled()
    assert not tiny._forward_hooks
    assert not tiny.convolution._forward_hooks


# Networks that must be refused, each with what its error says.


def concat(features):
    return torch.cat([features.amax(dim=(2, 3)), features.mean(dim=(2, 3))], dim=1)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Tiny(head=nn.Linear(16, 5), pool=concat), "concat pooling"),
        (Tiny(head=nn.Linear(8 * 42, 5), pool=lambda f: f.flatten(1)), "flattened"),
        (Tiny(pool=lambda f: f.amax(dim=(2, 3))), "max or concat pooling"),
        (Tiny(pool=lambda f: f.sum(dim=(2, 3))), "misses the logit"),
        (Tiny(pool=lambda f: functional.layer_norm(f.mean(dim=(2, 3)), (8,))), "misses the logit"),
        (Tiny(pool=lambda f: f.mean(dim=(2, 3)) + 1e-3), "misses the logit"),
        (Tiny(head=nn.Identity(), pool=lambda f: f.amax(dim=(2, 3))), "misses the logit"),
        (Tiny(head=nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 5))), "is Sequential"),
    ],
    ids=["concat", "flatten", "max", "sum", "norm", "offset", "max of class maps", "two layers"],
)
def test_heads_without_a_weight_per_channel_are_refused(network, says, images):
    with pytest.raises(ValueError, match=says) as error:
        cam.class_activation_maps(network.eval(), images)
    assert "Use a network" in str(error.value)


def test_a_hidden_layer_as_wide_as_the_map_is_refused(images):
    """fastai's head with a size that happens to agree: the einsum runs, the map is wrong."""
    network = Tiny(
        pool=nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 8), nn.ReLU())
    )
    with pytest.raises(ValueError, match="more layers between the map and the score"):
        cam.class_activation_maps(network.eval(), images)
    unchecked = cam.class_activation_maps(network, images, check=False)
    assert unchecked.maps.shape == (2, 1, 6, 7)


@pytest.mark.parametrize(
    ("name", "size", "options", "says"),
    [
        ("mobilenetv3_small_050", 64, {}, "there are layers between them"),
        ("resnet18", 96, {"global_pool": "catavgmax"}, "concat pooling"),
        ("resnet18", 96, {"global_pool": "max"}, "max or concat pooling"),
        ("vgg11", 224, {}, "FC layers of VGG"),
        ("convnext_atto", 96, {}, "normalises after the pooling"),
        ("swin_tiny_patch4_window7_224", 224, {}, "channels last"),
        ("resnetv2_50", 64, {}, "is a convolution"),
        ("vit_tiny_patch16_224", 224, {}, "tokens are not a map"),
    ],
)
def test_networks_of_timm_that_cam_cannot_map_are_refused(name, size, options, says):
    network, images = randomised(name, size, **options)
    with pytest.raises(ValueError, match=says):
        cam.class_activation_maps(network, images)


def test_a_dropped_bias_and_a_wrong_class_are_seen(tiny, images):
    result = cam.class_activation_maps(tiny, images)
    bias = tiny.classifier.bias
    assert cam.identity_error(result.logits, bias, result.classes, result.maps).max() < 1e-6
    assert cam.identity_error(result.logits, None, result.classes, result.maps).max() > 1e-3
    other = (result.classes + 1) % 5
    assert cam.identity_error(result.logits, bias, other, result.maps).min() > 1e-3


def test_training_mode_is_refused(tiny, images):
    tiny.train()
    with pytest.raises(ValueError, match=r"training mode.*network.eval"):
        cam.class_activation_maps(tiny, images)


def test_a_network_without_the_protocol_is_refused(images):
    with pytest.raises(TypeError, match=r"Conv2d has no forward_features"):
        cam.class_activation_maps(nn.Conv2d(3, 4, 3).eval(), images)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (5, "got class 5, expected between 0 and 4"),
        ([-1], "got class -1"),
        ([1.5], "expected indices or names"),
        (["espresso"], "carries no names"),
        ([], r"shape \(1, 0\)"),
        ([[[1]]], r"shape \(1, 1, 1\)"),
        ([[1, 2], [3]], r"got classes \[\[1, 2\], \[3\]\]"),
        ([None], "got classes"),
        (10**30, "got classes 1000000"),
        (np.array(["espresso"]), "carries no names"),
    ],
)
def test_classes_that_do_not_fit_one_image(classes, says, tiny, images):
    with pytest.raises(ValueError, match=says):
        cam.class_activation_maps(tiny, images[:1], classes)


@pytest.mark.parametrize("classes", [3, [3], [1, 2], torch.tensor([1, 2]), [[1, 2]]])
def test_a_class_is_never_spread_over_a_batch_unasked(classes, tiny, images):
    with pytest.raises(ValueError, match="a row of classes for each image"):
        cam.class_activation_maps(tiny, images, classes)


def test_other_arguments_that_do_not_fit(tiny, images):
    with pytest.raises(ValueError, match=r"for one picture: network.transform"):
        cam.class_activation_maps(tiny, images[0])
    for wrong in (images[:0], images.byte(), "photo.jpg"):
        with pytest.raises(ValueError, match=r"expected a tensor of floats"):
            cam.class_activation_maps(tiny, wrong)
    for top in (6, 0, "5", 2.0):
        with pytest.raises(ValueError, match=f"top is {top!r}, expected a number between 1 and 5"):
            cam.class_activation_maps(tiny, images, top=top)
    with pytest.raises(ValueError, match="either classes or top"):
        cam.class_activation_maps(tiny, images, [[1], [2]], top=2)
    with pytest.raises(ValueError, match="not finite"):
        cam.class_activation_maps(tiny, images * torch.nan, [[1], [2]])


# Upsampling.


def test_upsample_against_the_definition_of_bilinear_with_half_pixel_centres():
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    height, width = 9, 13
    result = cam.upsample(maps, (height, width))
    assert result.shape == (2, 3, height, width)
    for y in range(height):
        for x in range(width):
            row = min(max((y + 0.5) * 4 / height - 0.5, 0), 3)
            column = min(max((x + 0.5) * 5 / width - 0.5, 0), 4)
            top, left = int(row), int(column)
            bottom, right = min(top + 1, 3), min(left + 1, 4)
            down, across = row - top, column - left
            expected = (
                maps[..., top, left] * (1 - down) * (1 - across)
                + maps[..., top, right] * (1 - down) * across
                + maps[..., bottom, left] * down * (1 - across)
                + maps[..., bottom, right] * down * across
            )
            torch.testing.assert_close(result[..., y, x], expected, atol=1e-5, rtol=0)


def test_upsample_takes_one_map_and_one_number():
    assert cam.upsample(torch.eye(7), 224).shape == (224, 224)
    for size in (0, (5, -1), 2.5):
        with pytest.raises(ValueError, match="positive"):
            cam.upsample(torch.eye(7), size)
    with pytest.raises(ValueError, match=r"shape \(7,\)"):
        cam.upsample(torch.ones(7), 14)
