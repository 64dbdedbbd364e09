"""camlib.networks: the paper's networks and their GAP forms, at paper and at lab scale."""

import copy
import json
import urllib.error

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models._api import WeightsEnum

from camlib import cam, lab, networks

TORCHVISION = {
    "alexnet": torchvision.models.alexnet,
    "vgg16": torchvision.models.vgg16,
    "googlenet": lambda: torchvision.models.googlenet(init_weights=False),
}
MAPPABLE = [n for n in networks.SURGERY if n != "googlenet-gmp"] + ["googlenet", "nin"]


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def conv(inputs: int, outputs: int, size: int) -> int:
    """Parameters of a convolution with bias, by hand; a linear layer has size 1."""
    return inputs * outputs * size**2 + outputs


@pytest.fixture
def downloaded(monkeypatch):
    """Torchvision's own networks with random weights stand for the downloaded ones."""
    theirs = {}

    def state(weights: WeightsEnum, **_: object) -> dict[str, torch.Tensor]:
        name = {"AlexNet_Weights": "alexnet", "VGG16_Weights": "vgg16"}.get(
            type(weights).__name__, "googlenet"
        )
        torch.manual_seed(0)
        theirs[name] = TORCHVISION[name]().eval()
        for module in theirs[name].modules():
            if isinstance(module, nn.BatchNorm2d):  # unequal, so that a mix-up shows
                nn.init.uniform_(module.running_mean, -0.1, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 2)
        extra = {"aux1.conv.weight": torch.zeros(1)} if name == "googlenet" else {}
        return theirs[name].state_dict() | extra

    monkeypatch.setattr(WeightsEnum, "get_state_dict", state)
    return theirs


@pytest.mark.parametrize("name", TORCHVISION)
def test_pretrained_originals_compute_what_torchvisions_do(name, downloaded):
    network = networks.create(name, pretrained=True)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(network(images), downloaded[name](images))
    assert not network.training
    assert len(network.classes) == 1000


def test_transform_of_pretrained_networks_is_torchvisions():
    picture = torch.randint(256, (3, 300, 400), dtype=torch.uint8)
    theirs = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.transforms()
    image = torchvision.transforms.functional.to_pil_image(picture)
    expected = theirs(image)
    assert (networks.IMAGENET_TRANSFORM(image) - expected).abs().max() < 1e-6
    googlenet = torchvision.models.googlenet(init_weights=False, transform_input=True)
    rescaled = googlenet._transform_input(expected[None])[0]
    assert (networks.GOOGLENET_TRANSFORM(image) - rescaled).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alexnet", (256, 6, 6)),
        ("vgg16", (512, 7, 7)),
        ("googlenet", (1024, 7, 7)),
        ("nin", (1000, 6, 6)),
        ("alexnet-gap", (1024, 13, 13)),
        ("alexnet-star-gap", (1024, 13, 13)),
        ("vgg16-gap", (1024, 14, 14)),
        ("googlenet-gap", (1024, 14, 14)),
        ("googlenet-gmp", (1024, 14, 14)),
    ],
)
def test_features_and_mapping_resolution_of_section_3(name, expected):
    network = networks.create(name)
    with torch.no_grad():
        features = network.forward_features(torch.zeros(1, 3, 224, 224))
        assert tuple(features.shape[1:]) == expected
        assert network.forward_head(features).shape == (1, 1000)


def test_parameters_before_and_after():
    """Originals by their published counts, GAP forms by hand from the widths of their layers."""
    counts = {n: parameters(networks.create(n)) for n in (*networks.ORIGINALS, *networks.SURGERY)}
    assert counts["alexnet"] == 61_100_840
    assert counts["vgg16"] == 138_357_544
    assert counts["googlenet"] == 6_624_904
    nin = conv(3, 96, 11) + 2 * conv(96, 96, 1) + conv(96, 256, 5) + 2 * conv(256, 256, 1)
    nin += conv(256, 384, 3) + 2 * conv(384, 384, 1) + conv(384, 1024, 3) + conv(1024, 1024, 1)
    assert counts["nin"] == nin + conv(1024, 1000, 1) == 7_595_176
    last = conv(1024, 1000, 1)
    trunk = conv(3, 64, 11) + conv(64, 192, 5) + conv(192, 384, 3) + conv(384, 256, 3)
    trunk += conv(256, 256, 3)
    assert counts["alexnet-gap"] == trunk + conv(256, 1024, 3) + last
    assert counts["alexnet-star-gap"] == counts["alexnet-gap"] + conv(1024, 1024, 3)
    fully_connected = conv(512 * 49, 4096, 1) + conv(4096, 4096, 1) + conv(4096, 1000, 1)
    assert counts["vgg16-gap"] == 138_357_544 - fully_connected + conv(512, 1024, 3) + last
    assert counts["googlenet-gap"] == counts["googlenet-gmp"]


@pytest.mark.parametrize("scale", networks.SCALES)
@pytest.mark.parametrize("name", networks.SURGERY)
def test_surgery_keeps_the_trunk_and_adds_what_section_3_says(name, scale):
    cut = networks.SURGERY[name]
    original = networks.create(cut.original, scale=scale)
    before = copy.deepcopy(original.state_dict())
    form = networks.gap_form(original, name)
    kept = [key for key in form.state_dict() if key.startswith("features.") and "cam" not in key]
    # Everything up to the last layer that stays, by the order of the original's own layers.
    names = list(dict(original.features.named_children()))
    stays = names[: names.index(cut.after) + 1]
    assert kept == [k for k in before if k.startswith("features.") and k.split(".")[1] in stays]
    assert all(torch.equal(form.state_dict()[key], before[key]) for key in kept)
    assert set(form.state_dict()) - set(kept) == {
        key for key in form.state_dict() if "cam_conv" in key or key.startswith("classifier")
    }
    new = [m for n, m in form.named_modules() if "cam_conv" in n and isinstance(m, nn.Conv2d)]
    assert [(m.kernel_size, m.stride, m.padding, m.groups) for m in new] == [
        ((3, 3), (1, 1), (1, 1), 1)
    ] * cut.convolutions
    assert form.classifier.in_features == networks.UNITS[scale]
    assert isinstance(form.head[0], nn.AdaptiveMaxPool2d) == (name == "googlenet-gmp")
    # The copy is deep: training the form leaves the original alone.
    with torch.no_grad():
        for parameter in form.parameters():
            parameter.zero_()
    assert all(torch.equal(v, before[k]) for k, v in original.state_dict().items())


@pytest.mark.parametrize("name", networks.SURGERY)
def test_gap_forms_run_on_any_input_size(name):
    network = networks.create(name, scale="lab")
    for height, width in ((96, 96), (96, 144), (61, 200)):
        with torch.no_grad():
            features = network.forward_features(torch.zeros(1, 3, height, width))
            assert network.forward_head(features).shape == (1, 16)
        for side, cells in zip((height, width), features.shape[2:], strict=True):
            assert abs(side / 8 - cells) < 1


@pytest.mark.parametrize("name", [*networks.ORIGINALS, *networks.SURGERY])
def test_lab_networks_map_at_twelve_and_learn_in_every_parameter(name):
    torch.manual_seed(0)
    network = networks.create(name, scale="lab").train()
    images = torch.randn(16, 3, 96, 96)
    features = network.forward_features(images)
    sides = {"alexnet": 6, "vgg16": 6, "googlenet": 6, "nin": 6}
    assert features.shape[2:] == (sides.get(name, 12),) * 2
    nn.functional.cross_entropy(network(images), torch.arange(16)).backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert network.classes == lab.CLASSES
    assert network.transform.size == 96


@pytest.mark.parametrize("name", ["alexnet", "alexnet-gap", "googlenet-gap", "nin"])
def test_gradients_reach_every_parameter_at_paper_scale(name):
    torch.manual_seed(0)
    network = networks.create(name)
    nn.functional.cross_entropy(
        network(torch.randn(2, 3, 224, 224)), torch.tensor([1, 2])
    ).backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize("name", MAPPABLE)
def test_maps_of_gap_networks_add_up_to_the_score(name):
    torch.manual_seed(0)
    network = networks.create(name, scale="lab")
    if isinstance(network.classifier, nn.Linear):
        nn.init.normal_(network.classifier.weight)
        nn.init.normal_(network.classifier.bias)
    images = torch.randn(3, 3, 96, 96)
    logits, classes, maps = cam.class_activation_maps(network, images, top=16)  # checks itself
    bias = getattr(network.classifier, "bias", torch.zeros(16))[classes]
    assert (maps.mean(dim=(2, 3)) + bias - logits.gather(1, classes)).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_networks_with_fc_heads_are_refused_by_name(name):
    network = networks.create(name, scale="lab")
    with pytest.raises(ValueError, match=f"cannot map {name}"):
        cam.class_activation_maps(network, torch.zeros(1, 3, 96, 96))


def test_max_pooling_breaks_the_identity_and_can_be_mapped_on_purpose():
    torch.manual_seed(0)
    network = networks.create("googlenet-gmp", scale="lab")
    images = torch.randn(1, 3, 96, 96)
    with pytest.raises(ValueError, match="googlenet-gmp"):
        cam.class_activation_maps(network, images)
    maps = cam.class_activation_maps(network, images, check=False).maps
    assert maps.shape == (1, 1, 12, 12)
    features = network.forward_features(images)
    scores = features.amax(dim=(2, 3)) @ network.classifier.weight.T + network.classifier.bias
    assert torch.allclose(scores, network(images), atol=1e-6)


@pytest.mark.parametrize("name", ["alexnet", "nin", "googlenet-gap", "vit"])
def test_other_numbers_of_classes_have_no_names(name):
    network = networks.create(name, num_classes=37, scale="lab")
    assert network(torch.zeros(1, 3, 96, 96)).shape == (1, 37)
    assert network.classes is None
    assert networks.create(name, num_classes=16, scale="lab").classes == lab.CLASSES


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "alexnet_gap"}, 'did you mean "alexnet-gap"'),
        ({"name": "alexnet", "scale": "small"}, "'small'"),
        ({"name": "alexnet", "num_classes": 0}, "num_classes is 0"),
        ({"name": "alexnet", "num_classes": True}, "num_classes is True"),
        ({"name": "alexnet", "num_classes": "10"}, "num_classes is '10'"),
        ({"name": "nin", "pretrained": True}, "no weights for nin"),
        ({"name": "lite0", "scale": "lab"}, "lite0"),
        ({"name": "lite0", "num_classes": 10}, "timm.create_model"),
        ({"name": "vit"}, r"vit exists at lab scale only.*timm.create_model"),
    ],
)
def test_what_does_not_exist_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        networks.create(**arguments)


KEPT = ("conv1", "pool1", "conv2", "pool2", "conv3")  # of AlexNet, in the transformer


def test_the_transformer_begins_with_copies_of_alexnets_first_three_convolutions():
    original = networks.create("alexnet", scale="lab")
    before = copy.deepcopy(original.state_dict())
    form = networks.vit_form(original)
    trunk = form.patch_embed.backbone
    assert list(dict(trunk.named_children())) == list(KEPT)
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = images
        for name in KEPT:
            expected = original.features.get_submodule(name)(expected)
        assert torch.equal(trunk(images), expected)
        assert expected.shape == (2, 96, 12, 12)
        for tensor in (*form.parameters(), *form.buffers()):
            tensor.zero_()
    assert all(torch.equal(v, before[k]) for k, v in original.state_dict().items())
    assert not any(module.training for module in form.modules())


def test_the_transformers_tokens_are_the_classs_and_then_the_places_in_order():
    torch.manual_seed(0)
    network = networks.create("vit", scale="lab")
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = network.forward_features(images)
        assert tokens.shape == (2, 1 + 12 * 12, 96)
        scores = network.get_classifier()(tokens[:, 0])
        torch.testing.assert_close(network(images), scores)
        # Row by row: a token is its place of the convolutions' map.
        places = network.patch_embed.proj(network.patch_embed.backbone(images))
        embedded = network.patch_embed(images).reshape(2, 12, 12, 96)
        torch.testing.assert_close(embedded, places.permute(0, 2, 3, 1))
    assert (len(network.blocks), network.blocks[0].attn.num_heads) == (4, 3)
    assert (network.name, network.scale, network.classes) == ("vit", "lab", lab.CLASSES)
    assert network.transform == networks.LAB_TRANSFORM


def test_every_parameter_of_the_transformer_gets_a_gradient():
    torch.manual_seed(0)
    network = networks.create("vit", scale="lab")
    images = torch.randn(2, 3, 96, 96)
    nn.functional.cross_entropy(network(images), torch.tensor([1, 2])).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_transformer_is_made_from_alexnet_at_lab_scale_alone():
    vgg16 = networks.create("vgg16", scale="lab")
    form = networks.create("alexnet-gap", scale="lab")
    with torch.device("meta"):
        paper = networks.create("alexnet")
    for other, found in (
        *((vgg16, "vgg16"), (form, "alexnet-gap"), (nn.Linear(2, 2), "Linear")),
        *((paper, "alexnet"), (networks.create("vit", scale="lab"), "vit")),
    ):
        says = f"vit_form: it is made from alexnet at lab scale, got {found}"
        with pytest.raises(ValueError, match=says):
            networks.vit_form(other)


def test_forms_are_made_from_their_own_original():
    alexnet = networks.create("alexnet", scale="lab")
    with pytest.raises(ValueError, match="vgg16-gap is made from vgg16, got alexnet"):
        networks.gap_form(alexnet, "vgg16-gap")
    with pytest.raises(ValueError, match="got Linear"):
        networks.gap_form(nn.Linear(2, 2), "vgg16-gap")
    with pytest.raises(ValueError, match="alexnet-gap"):
        networks.gap_form(alexnet, "alexnet-gep")
    form = networks.gap_form(alexnet, "alexnet-gap")
    with pytest.raises(ValueError, match="got alexnet-gap"):
        networks.gap_form(form, "alexnet-gap")


def test_without_a_network_the_message_says_which_file_goes_where(monkeypatch):
    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("unreachable")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", unreachable)
    with pytest.raises(ConnectionError, match=r"alexnet-owt-.*\.pth .*checkpoints"):
        networks.create("alexnet-gap", pretrained=True)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of shipped weights with one network in it."""
    network = networks.create("alexnet-gap", scale="lab")
    path = tmp_path / "alexnet-gap.safetensors"
    stored = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save_file(stored, path)
    checksum = networks.hashlib.sha256(path.read_bytes()).hexdigest()
    entry = {"sha256": checksum, "network": "alexnet-gap"}
    (tmp_path / "manifest.json").write_text(json.dumps({"alexnet-gap": entry}))
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path)
    return path


def test_shipped_weights_are_loaded_in_float32(shelf):
    network = networks.create("alexnet-gap", pretrained=True, scale="lab")
    stored = load_file(shelf)
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, stored[key].to(tensor.dtype))
        assert tensor.dtype in (torch.float32, torch.int64)


def test_weights_of_another_network_are_refused(shelf):
    for name in ("googlenet-gap", "alexnet-star-gap"):
        with pytest.raises(ValueError, match=f"those of alexnet-gap at lab scale, got {name}"):
            networks.load_shipped(networks.create(name, scale="lab"), "alexnet-gap")
    with pytest.raises(ValueError, match="got alexnet-gap at paper scale"):
        networks.load_shipped(networks.create("alexnet-gap"), "alexnet-gap")


def test_damaged_or_missing_weights_are_refused(shelf):
    with pytest.raises(ValueError, match=r"no trained weights 'nin'.*make lab"):
        networks.create("nin", pretrained=True, scale="lab")
    content = bytearray(shelf.read_bytes())
    content[-1] ^= 1
    shelf.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        networks.create("alexnet-gap", pretrained=True, scale="lab")
    shelf.unlink()
    with pytest.raises(ValueError, match="make lab"):
        networks.create("alexnet-gap", pretrained=True, scale="lab")
