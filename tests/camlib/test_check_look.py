"""The self-checks of chapter 1 accept the right answer and say what is wrong with others."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from camlib import boxes, cam, check, networks, photos

GARBAGE = (None, "no", float("nan"), [], {}, object(), print, b"x", 1j, np.zeros((0, 3)), True)


def says(verdict, words):
    assert not verdict.ok
    assert words in verdict.message, verdict.message
    return True


@pytest.fixture(scope="module")
def network():
    return networks.create("lite0")


@pytest.fixture(scope="module")
def images(network):
    return network.transform(photos.load("camera").image)[None]


@pytest.fixture(scope="module")
def parts(network, images):
    """features (K, H, W), weight (C, K), bias (C,) and the index of tripod."""
    with torch.no_grad():
        features = network.forward_features(images)[0]
    linear = network.get_classifier()
    return features, linear.weight.detach(), linear.bias.detach(), network.classes.index("tripod")


@pytest.fixture(scope="module")
def judge(network, images):
    return lambda answer: check.photo_map(answer, network, images, "tripod")


def test_photo_map_accepts_the_map(judge, parts, network, images):
    features, weight, _, c = parts
    assert judge((weight[c] @ features.flatten(1)).reshape(7, 7)).ok
    assert judge(cam.class_activation_maps(network, images, ["tripod"]).maps[0, 0]).ok
    assert judge((weight[c].double() @ features.double().flatten(1)).reshape(7, 7)).ok


def test_photo_map_rejects_garbage(judge):
    says(judge(...), "still `...`")
    for answer in GARBAGE:
        assert not judge(answer).ok
    says(judge(np.zeros((7, 7))), "got ndarray")
    says(judge(torch.zeros(7, 7, dtype=torch.int64)), "torch.int64")
    says(judge(torch.full((7, 7), math.nan)), "not finite")
    assert not judge(torch.zeros(7, 7)).ok


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 7, 7), "out of its batch"),
        ((1280, 7, 7), "sum over the channels is missing"),
        ((1000, 7, 7), "of all classes"),
        ((49,), "in one row"),
        ((224, 224), "upsampled already"),
        ((), "no places left"),
        ((7, 8), "and over nothing else"),
    ],
)
def test_photo_map_says_what_a_shape_means(judge, shape, words):
    says(judge(torch.rand(shape)), words)


def test_photo_map_names_the_mistake(judge, parts, network):
    features, weight, bias, c = parts

    def summed(w):
        return torch.einsum("k,khw->hw", w, features)

    truth = summed(weight[c])
    espresso = network.classes.index("espresso")
    for wrong, words in {
        truth.T: "rows and columns",
        truth + bias[c]: "bias is added",
        truth.relu(): "negative values are cut off",
        summed(weight[c].softmax(0)): "softmax",
        summed(weight.softmax(0)[c]): "softmax",
        features.mean(0): "without weights",
        features.sum(0): "without weights",
        summed(weight[espresso]): '"espresso", not of "tripod"',
        truth / 1280: "averaged",
        truth / truth.max(): "scale is not",
        (truth - truth.min()) / (truth.max() - truth.min()): "scale is not",
        truth * 1.001: "scale is not",
        -truth: "upside down",
        truth.flip(0): "others than",
        truth.flatten()[torch.randperm(49, generator=torch.Generator().manual_seed(0))].reshape(
            7, 7
        ): "others than",
        summed(weight[c].roll(1)): "others than",
    }.items():
        says(judge(wrong), words)
    slightly = truth.clone()
    slightly[3, 3] += 0.01
    assert not judge(slightly).ok


class Grid(torch.nn.Module):
    """Five classes on a 4 x 4 map of a picture of 40 x 40: each map is given outright."""

    def __init__(self, maps):
        super().__init__()
        self.maps = maps
        self.linear = torch.nn.Linear(len(maps), len(maps), bias=False)
        self.linear.weight.data = torch.eye(len(maps))
        self.transform = networks.Transform(40, 0.5, (0.5,) * 3, (0.5,) * 3)
        self.classes = networks.ClassNames(f"class {i}" for i in range(len(maps)))
        self.eval()

    def forward_features(self, images):
        return self.maps[None]

    def forward_head(self, features):
        return self.linear(features.mean((2, 3)))

    def get_classifier(self):
        return self.linear


def test_strongest_in_box_tells_the_near_misses_apart():
    # The photo is 80 x 80 and its middle 40 x 40 is seen: this box is columns 0-1, rows 2-3.
    photo, box = photos.read(np.zeros((80, 80, 3), np.uint8)), (20, 40, 40, 60)
    maps = torch.zeros(9, 4, 4)
    maps[0, 3, 0] = 5.0  # largest value in the box
    maps[0, 0, 0] = 1.0
    maps[1, 0, 0] = 9.0  # largest value anywhere
    maps[2, 0:2, :] = 4.0  # highest logit
    maps[3, 2, 0] = 0.1  # all of its little mass in the box
    maps[3, :2] = -1
    maps[4, 2:, :2] = 3.0  # largest mean in the box
    maps[4, :2, 2:] = -0.5
    maps[4, 0, 0] = 0.5
    maps[5] = -1.0  # nowhere positive
    maps[6, 3, 3] = 7.0  # in the box as it lies in the photo: x 20-40, y 40 and beyond
    maps[7, 0, 2] = 8.0  # in the box with x and y swapped
    maps[8, 3, 0] = 1.0
    maps[8, 0, 0] = 1.0
    network = Grid(maps)
    words = {
        1: "whole picture",
        2: "highest logit",
        3: "largest *share*",
        4: "largest *mean*",
        5: "nowhere positive",
        6: "pixels of the photo",
        7: "x and y are swapped",
        8: "another class reaches more",
    }
    for right in (0, "class 0", torch.tensor(0), np.int64(0)):
        assert check.strongest_in_box(right, network, photo, box).ok
    for wrong, sentence in words.items():
        says(check.strongest_in_box(wrong, network, photo, box), sentence)
        says(check.strongest_in_box(f"class {wrong}", network, photo, box), sentence)


def test_strongest_in_box_on_the_astronaut(network):
    photo = photos.load("astronaut")

    def judge(answer):
        return check.strongest_in_box(answer, network, photo.image, photo.objects[1].box)

    assert judge("projectile").ok
    says(judge("space shuttle"), "another class reaches more")
    says(judge("missile"), "another class reaches more")
    says(judge("football helmet"), "whole picture")
    says(judge("wallet"), "0/0")
    says(judge("projectil"), 'did you mean "projectile"')
    says(judge(1000), "there is no class 1000")
    says(judge(-1), "there is no class -1")
    says(judge(2.5), "got float")
    says(judge(torch.tensor([1, 2])), "got Tensor")
    says(judge(...), "still `...`")
    for answer in GARBAGE:
        assert not judge(answer).ok


def shares(heatmap, box, *, end=0, cut=True):
    x0, y0, x1, y1 = box.tolist()
    kept = heatmap.relu() if cut else heatmap
    part = kept[y0 : y1 + end, x0 : x1 + end].sum() / kept.sum()
    return float(part), (x1 - x0 + end) * (y1 - y0 + end) / heatmap.numel()


def test_share_over_area():
    def right(heatmap, box):
        part, area = shares(heatmap, box)
        return part - area

    assert check.share_over_area(right).ok
    assert check.share_over_area(lambda *given: torch.tensor(right(*given))).ok

    def difference(**how):
        return lambda heatmap, box: np.subtract(*shares(heatmap, box, **how))

    for wrong, words in {
        lambda h, b: shares(h, b)[0]: "map alone",
        lambda h, b: -right(h, b): "other way round",
        lambda h, b: np.divide(*shares(h, b)): "divided",
        difference(cut=False): "negative values",
        difference(end=1): "half-open",
        lambda h, b: shares(h, b)[0] - shares(h, b)[1] * h.numel(): "in pixels",
        lambda h, b: shares(h.T, b)[0] - shares(h, b)[1]: "swapped",
        lambda h, b: right(h, b) + 0.001: "too much",
        lambda h, b: 0.0: "which is too",
        lambda h, b: math.nan: "gives nan",
        lambda h, b: None: "gives NoneType",
        lambda h, b: h: "gives Tensor",
        lambda h, b: h[1000]: "stopped with IndexError",
        lambda h: h: "stopped with TypeError",
        right(torch.ones(9, 9), torch.tensor([0, 0, 3, 3])): "your function itself",
        "right": "your function itself",
    }.items():
        says(check.share_over_area(wrong), words)
    says(check.share_over_area(...), "still `...`")
    for answer in GARBAGE:
        assert not check.share_over_area(answer).ok


def test_box_with_other_crop(network):
    image = photos.load("flower").image

    def judge(answer):
        return check.box_with_other_crop(answer, network, image, "daisy", crop=1.0)

    usual, other = network.transform, dataclasses.replace(network.transform, crop=1.0)

    def view_box(transform, name="daisy", lift=0.0, threshold=0.2):
        maps = cam.class_activation_maps(network, transform(image)[None], [name]).maps[0, 0]
        return boxes.box_from_map(cam.upsample(maps, 224) - lift * maps.min(), threshold)

    seen = view_box(other)
    truth = other.box_in_photo(seen, image.size)
    x0, y0, x1, y1 = truth.tolist()
    for right in (truth, truth.round().int(), truth.tolist(), truth.numpy()):
        assert judge(right).ok
    for wrong, words in {
        usual.box_in_photo(view_box(usual), image.size): "crop 0.875",
        usual.box_in_photo(seen, image.size): "the one that cut",
        seen: "pixels of the view",
        (x0, y0, x1 - x0, y1 - y0): "width, height",
        (y0, x0, y1, x1): "swapped",
        truth + 3: "this is not the box",
        other.box_in_photo(view_box(other, "bee"), image.size): "this is not the box",
        other.box_in_photo(view_box(other, threshold=0.5), image.size): "this is not the box",
        (0, 0, math.inf, 1): "four finite numbers",
        (1, 2, 3): "four finite numbers",
    }.items():
        says(judge(wrong), words)
    says(judge(...), "still `...`")
    for answer in GARBAGE:
        assert not judge(answer).ok
    # Where the least value is below zero, subtracting it moves the box.
    image = photos.load("astronaut").image
    lifted = other.box_in_photo(view_box(other, "space shuttle", lift=1.0), image.size)
    verdict = check.box_with_other_crop(lifted, network, image, "space shuttle", crop=1.0)
    says(verdict, "minimum was subtracted")
