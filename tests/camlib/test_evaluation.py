"""camlib.evaluation: a split picture by picture, errors by loops, failures by counting pixels."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import tv_tensors

from camlib import boxes, cam, evaluation, gradients, lab, metrics
from camlib.cam import CamResult


class Tiny(nn.Module):
    """timm's protocol at its smallest, with the lab's classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        self.classifier = nn.Linear(8, len(lab.CLASSES))
        self.eval()

    def forward_features(self, images):
        return self.features(images)

    def forward_head(self, features):
        return self.classifier(features.mean(dim=(2, 3)))

    def get_classifier(self):
        return self.classifier

    def forward(self, images):
        return self.forward_head(self.forward_features(images))


@pytest.fixture(scope="module")
def world():
    return lab.StickerWorld("test", size=48, instances=(1, 3), second_class=True, length=12)


@pytest.fixture(scope="module")
def pictures(world):
    return evaluation.split(world, 9)


# ---- pictures and their maps ----


def test_a_split_is_the_first_pictures_with_their_truth(world, pictures):
    assert pictures.images.shape == (9, 3, 48, 48)
    assert pictures.images.dtype == torch.uint8
    assert len(pictures.targets) == len(pictures.labels) == 9
    assert len(evaluation.split(world).labels) == 12
    for i in range(9):
        image, target = world[i]
        assert torch.equal(pictures.images[i], torch.as_tensor(image))
        assert pictures.labels[i] == target["label"]
        assert torch.equal(pictures.targets[i]["boxes"], target["boxes"])


def test_masks_and_boxes_are_those_of_the_pictures_class(world, pictures):
    several = 0
    assert pictures.masks.shape == (9, 48, 48)
    assert pictures.masks.dtype == torch.bool
    for i in range(9):
        _, target = world[i]
        mask, own = torch.zeros(48, 48, dtype=torch.bool), []
        for label, shape, box in zip(
            *(target[k] for k in ("labels", "masks", "boxes")), strict=True
        ):
            if label == target["label"]:
                mask |= torch.as_tensor(shape)
                own.append(box.tolist())
        several += len(own) > 1
        assert len(own) < len(target["labels"])  # there is another class
        assert torch.equal(pictures.masks[i], mask)
        assert pictures.boxes[i].tolist() == own
    assert several


@pytest.mark.parametrize("method", [cam.class_activation_maps, gradients.backprop_saliency])
def test_maps_of_a_split_are_those_of_each_picture(pictures, method):
    network = Tiny()
    found = evaluation.map_split(network, pictures, method, top=3, batch=4)  # the last batch is one
    assert found.logits.shape == (9, 16)
    assert found.classes.shape == found.maps.shape[:2] == (9, 4)
    for i in range(9):
        # Without a transform the network gets values from -1 to 1.
        pixels = pictures.images[i : i + 1].float() / 127.5 - 1
        best = method(network, pixels, top=3)
        true = method(network, pixels, [int(pictures.labels[i])])
        assert found.classes[i].tolist() == [*best.classes[0].tolist(), int(pictures.labels[i])]
        torch.testing.assert_close(found.logits[i : i + 1], best.logits)
        torch.testing.assert_close(found.maps[i, :3], best.maps[0])
        torch.testing.assert_close(found.maps[i, 3:], true.maps[0])
    only = evaluation.map_split(network, pictures, method, top=0)
    assert torch.equal(only.classes[:, 0], pictures.labels)
    torch.testing.assert_close(only.maps, found.maps[:, 3:])


def test_by_default_five_classes_and_the_true_one(pictures):
    assert evaluation.map_split(Tiny(), pictures).classes.shape == (9, 6)


def test_options_reach_the_method(pictures):
    seen = []

    def method(network, images, classes, **options):
        seen.append(options)
        return cam.class_activation_maps(network, images, classes, **options)

    evaluation.map_split(Tiny(), pictures, method, batch=5, check=False)
    assert seen == [{"check": False}] * 2
    maximum = Tiny()
    maximum.forward_head = lambda features: maximum.classifier(features.amax(dim=(2, 3)))
    with pytest.raises(ValueError, match="misses the logit"):
        evaluation.map_split(maximum, pictures)
    assert evaluation.map_split(maximum, pictures, check=False).maps.shape[:2] == (9, 6)


@pytest.mark.parametrize("method", [cam.class_activation_maps, gradients.backprop_saliency])
def test_a_network_in_training_mode_is_refused_before_it_changes(pictures, method):
    network = Tiny().train()
    before = network.features[1].running_mean.clone()
    with pytest.raises(ValueError, match="map_split: Tiny is in training mode"):
        evaluation.map_split(network, pictures, method)
    assert torch.equal(network.features[1].running_mean, before)
    assert network.training


# ---- errors ----

HEIGHT = WIDTH = 12


def random_boxes(chance, count):
    corners = chance.integers(0, WIDTH, (2, count, 2))
    return np.concatenate([corners.min(0), corners.max(0) + 1], axis=1)


def painted(box):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def boxes_of(rows, size=WIDTH):
    """As in the lab: torchvision's boxes, which know the size of the picture."""
    return tv_tensors.BoundingBoxes(
        torch.as_tensor(np.array(rows)).float(), format="XYXY", canvas_size=(size, size)
    )


def around(drawn):
    """A map that gives this box at any share from 0.2 to 0.9, in the values of its own scale."""
    return np.where(painted(drawn), 9.0, 1.0)


@pytest.fixture(scope="module")
def guessed():
    """300 pictures, each with six guesses: classes, boxes, the maps that give them, and truth."""
    chance = np.random.default_rng(5)
    targets, classes, drawn = [], [], []
    for _ in range(300):
        count = chance.integers(1, 4)
        labels, true = chance.integers(0, 7, count), random_boxes(chance, count)
        target = {"label": int(labels[0]), "labels": torch.tensor(labels)}
        targets.append(target | {"boxes": boxes_of(true)})
        classes.append([*chance.permutation(7)[:5], labels[0]])
        near = true[chance.integers(0, count, 6)] + chance.integers(-2, 3, (6, 4))
        near = np.clip(near, 0, WIDTH)
        if chance.random() < 0.2:  # around all of the class
            own = true[labels == labels[0]]
            near[0] = [*own[:, :2].min(0), *own[:, 2:].max(0)]
        whole = (near[:, 2:] > near[:, :2]).all(axis=1, keepdims=True)
        drawn.append(np.where(whole, near, random_boxes(chance, 6)))
    maps = torch.tensor(np.array([[around(box) for box in row] for row in drawn]))
    found = CamResult(torch.zeros(300, 7), torch.tensor(np.array(classes)), maps)
    return found, targets, np.array(drawn)


def pixel_iou(a, b):
    a, b = painted(a), painted(b)
    return (a & b).sum() / (a | b).sum()


def test_localization_errors_by_loops(guessed):
    found, targets, drawn = guessed
    errors = evaluation.localization_errors(found, targets, 0.5)
    expected = {"top-1": [], "top-5": [], "GT-known": []}
    for classes, row, target in zip(found.classes.tolist(), drawn, targets, strict=True):
        own = target["boxes"][target["labels"] == target["label"]].int().tolist()
        hits = [
            c == target["label"] and max(pixel_iou(box, b) for b in own) >= 0.5
            for c, box in zip(classes, row, strict=True)
        ]
        expected["top-1"].append(not hits[0])
        expected["top-5"].append(not any(hits[:5]))
        expected["GT-known"].append(not hits[5])
    assert {name: missed.bool().tolist() for name, missed in errors.items()} == expected
    means = {name: np.mean(missed) for name, missed in expected.items()}
    assert 0.1 < means["GT-known"] < means["top-5"] < means["top-1"] < 0.99


def test_maps_are_brought_to_the_size_of_the_pictures():
    """At half the maximum the middle cell of 3 x 3 is the middle 32 of 96 pixels."""
    maps = torch.zeros(1, 6, 3, 3)
    maps[:, :, 1, 1] = 1
    found = CamResult(torch.zeros(1, 16), torch.arange(6)[None], maps)
    box = boxes_of([[32, 32, 64, 64]], 96)
    target = {"label": 5, "labels": torch.tensor([5]), "boxes": box}
    errors = evaluation.localization_errors(found, [target], 0.5)
    assert {name: missed.tolist() for name, missed in errors.items()} == {
        "top-1": [1],
        "top-5": [1],
        "GT-known": [0],
    }
    assert evaluation.error_curve(found, [target])[10] == 0
    found.classes[0, 0] = 5
    assert evaluation.failure_kinds(found, [target], 0.5) == ["right"]


@pytest.mark.parametrize("columns", [1, 5, 7])
def test_errors_need_five_classes_and_the_true_one(columns):
    found = CamResult(*(torch.zeros(2, columns, *rest) for rest in ((), (), (4, 4))))
    says = f"got maps of {columns} classes for each picture, expected 6, .* true one: map_split"
    with pytest.raises(ValueError, match=f"localization_errors: {says}"):
        evaluation.localization_errors(found, [{}, {}], 0.2)


def test_error_curve_by_loops(guessed):
    found, targets, _ = guessed
    coarse = 0.1 * torch.randn(40, 2, 4, 4, generator=torch.Generator().manual_seed(6))
    for i in range(40):  # something of the truth in the map of the last class
        mask = torch.tensor(painted(targets[i]["boxes"][0].int().tolist()))
        coarse[i, 1] += mask.float().reshape(4, 3, 4, 3).mean(dim=(1, 3))
    few = CamResult(found.logits[:40], found.classes[:40, -2:], coarse)
    curve = evaluation.error_curve(few, targets[:40])
    maps = cam.upsample(coarse[:, 1], WIDTH)
    for share, error in zip(evaluation.SHARES, curve.tolist(), strict=True):
        missed = 0
        for heatmap, target in zip(maps, targets[:40], strict=True):
            own = target["boxes"][target["labels"] == target["label"]].int().tolist()
            box = boxes.box_from_map(heatmap, share).tolist()
            missed += max(pixel_iou(box, b) for b in own) < 0.5
        assert error == pytest.approx(missed / 40)
    assert curve.min() < 0.5
    assert curve.max() > 0.8
    assert np.allclose(evaluation.SHARES, np.arange(0, 0.96, 0.05))


def test_best_share_by_hand():
    curve = torch.ones(20)
    curve[7] = 0.2
    assert evaluation.best_share(curve) == 0.35
    curve[[3, 7, 8]] = 0.1  # the middle one of those that are level
    assert evaluation.best_share(curve) == 0.35
    curve[[3, 4, 7, 8]] = 0.05
    assert evaluation.best_share(curve) in (0.2, 0.35)
    assert evaluation.best_share(torch.arange(20.0)) == 0
    assert evaluation.best_share(-torch.arange(20.0)) == 0.95


# ---- what went wrong ----


def kind(box, *own, answer=0, others=()):
    """The kind of a guess of class 0 around `box`, for objects of class 0 and others of class 1."""
    heatmap = torch.zeros(HEIGHT, WIDTH) if box is None else torch.tensor(around(box))
    found = CamResult(
        torch.zeros(1, 3), torch.tensor([[answer, 2]]), torch.stack([heatmap] * 2)[None]
    )
    labels = torch.tensor([0] * len(own) + [1] * len(others))
    target = {"label": 0, "labels": labels, "boxes": boxes_of([*own, *others])}
    (name,) = evaluation.failure_kinds(found, [target], 0.5)
    return name


def test_failures_by_hand():
    thing = [2, 2, 10, 10]
    assert kind(thing, thing) == "right"
    assert kind([2, 2, 10, 6], thing) == "right"  # exactly one half
    assert kind(thing, thing, answer=1) == "wrong class"
    assert kind(thing, thing, answer=1, others=[thing]) == "wrong class"  # and yet in its place
    assert kind([2, 2, 5, 5], thing) == "part only"
    assert kind([1, 2, 5, 6], thing) == "part only"  # exactly three quarters of it on the object
    assert kind([0, 2, 5, 6], thing) == "beside"  # three fifths of it
    assert kind([2, 2, 6, 6], [0, 0, 5, 12]) == "part only"
    assert kind([0, 0, 12, 12], [2, 2, 8, 8]) == "too large"
    assert kind([3, 0, 12, 12], [0, 2, 12, 6]) == "too large"  # it holds exactly three quarters
    assert kind([4, 0, 12, 12], [0, 2, 12, 6]) == "beside"  # two thirds
    assert kind([5, 2, 12, 9], thing) == "beside"  # shifted: 35 pixels of 49 and of 64
    assert kind([10, 10, 12, 12], thing) == "beside"
    assert kind(None, thing) == "beside"


def test_failures_with_several_objects_by_hand():
    left, right = [0, 0, 4, 4], [8, 0, 12, 4]
    assert kind([0, 0, 12, 4], left, right) == "several objects"
    assert kind([2, 0, 10, 4], left, right) == "several objects"  # half of each
    assert kind([2, 0, 12, 4], left, right) == "several objects"
    assert kind([3, 0, 12, 4], left, right) == "too large"  # a quarter of the left one
    assert kind([3, 0, 12, 12], [0, 0, 5, 4], [7, 0, 12, 4]) == "too large"  # two fifths of it
    assert kind([8, 0, 12, 4], left, right) == "right"
    # An object of another class is none of them.
    assert kind([0, 0, 12, 4], left, others=[right]) == "too large"
    assert kind([8, 0, 12, 4], left, others=[right]) == "beside"
    # It fits one, and holds the other: right all the same.
    assert kind([0, 0, 8, 8], [0, 0, 8, 7], [6, 6, 8, 8]) == "right"


def test_failures_by_counting_pixels(guessed):
    found, targets, drawn = guessed
    # The wrong answers of chance say little: seven times of eight the answer is right here.
    classes = found.classes.clone()
    truly = torch.arange(len(targets)) % 8 > 0
    classes[truly, 0] = classes[truly, -1]
    kinds = evaluation.failure_kinds(found._replace(classes=classes), targets, 0.5)
    expected = []
    for answer, box, target in zip(classes[:, 0].tolist(), drawn[:, 0], targets, strict=True):
        guess = painted(box)
        own = [painted(b) for b in target["boxes"].int().tolist()]
        own = [
            m for m, c in zip(own, target["labels"].tolist(), strict=True) if c == target["label"]
        ]
        held = [(guess & m).sum() / m.sum() for m in own]
        ious = [(guess & m).sum() / (guess | m).sum() for m in own]
        best = int(np.argmax(ious))
        on_it = (guess & own[best]).sum() / guess.sum()
        if answer != target["label"]:
            expected.append("wrong class")
        elif max(ious) >= 0.5:
            expected.append("right")
        elif sum(share >= 0.5 for share in held) >= 2:
            expected.append("several objects")
        elif on_it >= 0.75:
            expected.append("part only")
        elif held[best] >= 0.75:
            expected.append("too large")
        else:
            expected.append("beside")
    assert kinds == expected
    counted = Counter(kinds)
    assert set(counted) == set(evaluation.KINDS)
    assert min(counted.values()) > 2
    first = evaluation.localization_errors(found._replace(classes=classes), targets, 0.5)["top-1"]
    assert [k != "right" for k in kinds] == first.bool().tolist()


# ---- all of it on maps that know the answer ----


def test_maps_that_are_the_masks_are_perfect(pictures):
    """Of pictures with one object: every measure says so, at every share."""
    single = [i for i, own in enumerate(pictures.boxes) if len(own) == 1]
    targets, masks = [pictures.targets[i] for i in single], pictures.masks[single]
    assert len(single) > 1
    known = pictures.labels[single][:, None].expand(-1, 6)
    maps = masks.float()[:, None].expand(-1, 6, -1, -1)
    found = CamResult(torch.zeros(len(single), 16), known, maps)
    for missed in evaluation.localization_errors(found, targets, 0.2).values():
        assert missed.tolist() == [0] * len(single)
    assert evaluation.error_curve(found, targets).tolist() == [0] * 20
    assert set(evaluation.failure_kinds(found, targets, 0.9)) == {"right"}
    assert metrics.px_ap(maps[:, 0], masks) == 1
    assert metrics.pointing_game(maps[:, 0], masks).mean() == 1
    for covered in metrics.extent(maps[:, 0], masks, evaluation.SHARES):
        assert (covered == 1).all()
    own = [pictures.boxes[i] for i in single]
    for contours in ("largest", "all"):
        assert metrics.max_box_acc_v2(metrics.level_ious(maps[:, 0], own, contours)) == 1
