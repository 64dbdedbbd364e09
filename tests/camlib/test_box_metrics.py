"""Measures of boxes: by hand, by counting pixels, and by a slow reading of wsolevaluation."""

import cv2
import numpy as np
import pytest
import torch

from camlib import cam, metrics

# ---- the rule of ILSVRC ----


def truth(label, *instances):
    """A picture of a class, with its instances: (class, x0, y0, x1, y1)."""
    labels = torch.tensor([instance[0] for instance in instances], dtype=torch.int64)
    boxes = torch.tensor([instance[1:] for instance in instances], dtype=torch.float32)
    return {"label": label, "labels": labels, "boxes": boxes.reshape(-1, 4)}


def missed(classes, guesses, target, **options):
    found = metrics.localization_error(
        torch.tensor([classes]), torch.tensor([guesses]), [target], **options
    )
    assert found.dtype == torch.float64
    return found.tolist() == [1]


def test_a_hit_needs_the_class_and_the_place():
    target = truth(3, (3, 0, 0, 10, 10))
    here, elsewhere = [1, 1, 11, 11], [8, 8, 18, 18]
    assert not missed([3], [here], target)
    assert missed([2], [here], target)
    assert missed([3], [elsewhere], target)
    assert not missed([2, 3], [elsewhere, here], target)  # any guess will do
    assert missed([3, 2], [elsewhere, here], target)  # but class and box of the same guess


def test_any_instance_of_the_class_will_do_but_none_of_another():
    target = truth(3, (3, 0, 0, 10, 10), (3, 20, 0, 30, 10), (5, 0, 20, 10, 30))
    assert not missed([3], [[20, 0, 30, 9]], target)
    assert missed([3], [[0, 20, 10, 30]], target)  # exactly around the other class's object
    assert missed([5], [[0, 20, 10, 30]], target)  # which is not what the picture is of
    assert missed([3], [[0, 0, 30, 10]], target)  # around both, a third of it for each


def test_an_overlap_of_one_half_is_a_hit_and_other_overlaps_can_be_asked_for():
    target = truth(0, (0, 0, 0, 4, 2))
    assert not missed([0], [[0, 0, 2, 2]], target)  # 4 of 8 pixels
    assert missed([0], [[0, 0, 2, 2]], target, overlap=0.51)
    assert not missed([0], [[0, 0, 1, 2]], target, overlap=0.25)
    assert missed([0], [[2, 0, 6, 2]], target)  # 4 of 12


def test_a_guess_without_a_box_is_a_miss():
    assert missed([0], [[0, 0, 0, 0]], truth(0, (0, 0, 0, 1, 1)), overlap=0.0)
    assert not missed([0, 0], [[0, 0, 0, 0], [0, 0, 1, 1]], truth(0, (0, 0, 0, 1, 1)))


def random_boxes(chance, count, width=7, height=5):
    corners = chance.integers(0, (width, height), (2, count, 2))
    return np.concatenate([corners.min(0), corners.max(0) + 1], axis=1)


def painted(box, width=7, height=5):
    mask = np.zeros((height, width), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def test_localization_error_counts_pixels():
    chance = np.random.default_rng(0)
    classes = chance.integers(0, 3, (400, 4))
    guesses = random_boxes(chance, 1600).reshape(400, 4, 4)
    guesses[chance.random((400, 4)) < 0.1] = 0
    targets, expected, even = [], [], 0
    for own, boxes in zip(classes, guesses, strict=True):
        count = chance.integers(1, 4)
        labels, true = chance.integers(0, 3, count), random_boxes(chance, count)
        target = truth(int(labels[0]), *np.column_stack([labels, true]).tolist())
        hit = False
        for c, box in zip(own, boxes, strict=True):
            for label, other in zip(labels, true, strict=True):
                a, b = painted(box), painted(other)
                both, either = (a & b).sum(), (a | b).sum()
                if c == label == target["label"] and 2 * both >= either:
                    hit = True
                    even += 2 * both == either
        targets.append(target)
        expected.append(float(not hit))
    found = metrics.localization_error(torch.tensor(classes), torch.tensor(guesses), targets)
    assert found.tolist() == expected
    assert even > 2  # overlaps of exactly one half were among them
    assert 0.5 < np.mean(expected) < 0.95


@pytest.mark.parametrize(
    ("classes", "guesses", "targets"),
    [((2,), (2, 4), 2), ((2, 1), (2, 1, 5), 2), ((2, 3), (2, 1, 4), 2), ((2, 1), (2, 1, 4), 3)],
)
def test_guesses_that_do_not_fit(classes, guesses, targets):
    with pytest.raises(ValueError, match=r"localization_error: got classes .* \(n, G, 4\) and n"):
        metrics.localization_error(
            torch.zeros(classes), torch.zeros(guesses), [truth(0, (0, 0, 0, 1, 1))] * targets
        )


@pytest.mark.parametrize(
    ("instances", "says"),
    [
        (
            [(1, 0, 0, 1, 1)],
            r"boxes of shape \(0, 4\) for image 1, expected \(m, 4\) with at least one",
        ),
        (
            [(0, 4, 0, 2, 2)],
            r"boxes \[\[4.0, 0.0, 2.0, 2.0\]\] for image 1, expected \(x0, y0, x1, y1\)",
        ),
        ([(0, 0, 2, 4, 2)], "with x0 < x1 and y0 < y1 .not x, y, width, height"),
    ],
)
def test_a_picture_must_have_a_box_of_its_class(instances, says):
    targets = [truth(0, (0, 0, 0, 1, 1)), truth(0, *instances)]
    with pytest.raises(ValueError, match=f"localization_error: got .*{says}"):
        metrics.localization_error(torch.zeros(2, 1), torch.ones(2, 1, 4), targets)


def test_no_images_have_no_localization_error():
    with pytest.raises(ValueError, match="and 0 targets"):
        metrics.localization_error(torch.zeros(0, 1), torch.zeros(0, 1, 4), [])


# ---- MaxBoxAcc ----


def scene(*blocks, size=(20, 20)):
    """A map (1, H, W) of blocks (value, x0, y0, x1, y1), later ones over earlier ones."""
    heatmap = torch.zeros(1, *size)
    for value, x0, y0, x1, y1 in blocks:
        heatmap[0, y0:y1, x0:x1] = value
    return heatmap


def at(level, heatmap, *boxes, contours="largest"):
    ious = metrics.level_ious(heatmap, [torch.tensor(boxes)], contours)
    assert ious.shape == (len(heatmap), 255)
    assert ious.dtype == torch.float32
    return ious[0, level].item()


def test_their_box_is_a_pixel_wider_except_at_the_edge():
    within = scene((1, 4, 3, 10, 8))
    assert at(100, within, [4, 3, 10, 8]) == pytest.approx(30 / 42)
    assert at(100, within, [4, 3, 11, 9]) == 1
    at_the_edge = scene((1, 13, 14, 20, 20))
    assert at(100, at_the_edge, [13, 14, 20, 20]) == 1
    low = scene((1, 4, 10, 10, 14), size=(14, 30))  # ends at the lower edge, not at the right one
    assert at(100, low, [4, 10, 11, 14]) == 1


def test_a_value_at_the_level_is_outside_and_the_cast_to_8_bits_cuts_off():
    steps = scene((0.5, 2, 2, 12, 12), (1, 3, 3, 7, 7))  # 0.5 becomes 127
    large, small = [2, 2, 13, 13], [3, 3, 8, 8]
    assert at(126, steps, large) == 1
    assert at(127, steps, large) < 0.5
    assert at(127, steps, small) == 1
    assert at(254, steps, small) == 1
    assert at(0, steps, large) == 1


def test_scale_and_offset_of_a_map_do_not_matter():
    heatmap = scene((0.5, 2, 2, 12, 12), (1, 3, 3, 7, 7))
    box = [torch.tensor([[3, 3, 8, 8]])]
    expected = metrics.level_ious(heatmap, box)
    assert torch.equal(metrics.level_ious(1024 * heatmap - 4096, box), expected)
    assert expected.unique().numel() == 2


def test_the_largest_contour_is_that_around_the_largest_area():
    tall = scene((1, 1, 1, 2, 19), (1, 6, 6, 12, 12))
    assert at(0, tall, [6, 6, 13, 13]) == 1
    # A frame, with what it surrounds, is larger than a block of more pixels.
    frame = scene((1, 0, 0, 9, 9), (0, 1, 1, 8, 8), (1, 11, 11, 17, 17))
    assert at(0, frame, [0, 0, 10, 10]) == 1


def test_all_contours_hold_those_of_holes_and_of_what_lies_in_them():
    nested = scene((1, 2, 2, 17, 17), (0, 5, 5, 14, 14), (1, 8, 8, 11, 11))
    outer, hole, island = [2, 2, 18, 18], [4, 4, 16, 16], [8, 8, 12, 12]
    for box in (outer, hole, island):
        assert at(0, nested, box, contours="all") == 1
    assert at(0, nested, outer) == 1
    assert at(0, nested, hole) == pytest.approx(144 / 256)
    assert at(0, nested, island) == pytest.approx(16 / 256)


def test_the_best_of_several_true_boxes_counts():
    block = scene((1, 4, 3, 10, 8))
    assert at(0, block, [0, 0, 2, 2], [4, 3, 11, 9]) == 1
    assert at(0, block, [4, 3, 11, 9], [0, 0, 2, 2]) == 1


def test_a_constant_map_has_the_box_of_the_first_pixel():
    for value in (0, 3.5):
        constant = torch.full((1, 6, 6), value)
        for contours in ("largest", "all"):
            ious = metrics.level_ious(constant, [torch.tensor([[0, 0, 2, 2]])], contours)
            assert ious.tolist() == [[0.25] * 255]


THRESHOLDS = np.arange(0, 1, 0.001)


def inclusive_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    both = max(width, 0) * max(height, 0)
    areas = [(x1 - x0 + 1) * (y1 - y0 + 1) for x0, y0, x1, y1 in (a, b)]
    return both / (sum(areas) - both)


def slow_ious(heatmap, true, every):
    """wsolevaluation's definition, one of its 1,000 thresholds after the other."""
    heatmap = heatmap.double().numpy()
    spread = heatmap.max() - heatmap.min()
    scaled = (heatmap - heatmap.min()) / spread if spread else np.zeros_like(heatmap)
    grey = (scaled * 255).astype(np.uint8)
    height, width = grey.shape
    true = [(x0, y0, x1 - 1, y1 - 1) for x0, y0, x1, y1 in true.tolist()]
    best = []
    for t in THRESHOLDS:
        level = int(t * int(grey.max()))
        _, mask = cv2.threshold(grey, level, 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        if contours and not every:
            contours = [max(contours, key=cv2.contourArea)]
        boxes = []
        for x, y, w, h in map(cv2.boundingRect, contours):
            boxes.append((x, y, min(x + w, width - 1), min(y + h, height - 1)))
        best.append(max(inclusive_iou(box, b) for box in boxes or [(0, 0, 0, 0)] for b in true))
    return best


HEIGHT, WIDTH = 21, 27


@pytest.fixture(scope="module")
def hard():
    """Maps of many kinds, and boxes that have nothing to do with them."""
    chance = torch.Generator().manual_seed(1)
    smooth = cam.upsample(torch.randn(8, 5, 6, generator=chance), (HEIGHT, WIDTH))
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    rings = [
        (-((((x - a) ** 2 + (y - b) ** 2) ** 0.5 - r) ** 2) / 6).exp()
        for a, b, r in ((13, 10, 6), (20, 12, 7), (7, 8, 8))  # whole, and cut by the edges
    ]
    corner = (-((x - WIDTH) ** 2 + (y - HEIGHT) ** 2) / 90.0).exp()
    few = (2 * smooth[:2]).round()  # a handful of levels
    noise = torch.randn(2, HEIGHT, WIDTH, generator=chance)
    constant = torch.full((1, HEIGHT, WIDTH), 0.3)
    maps = torch.cat([smooth, torch.stack([*rings, corner]).float(), few, noise, constant])
    draws = np.random.default_rng(2)
    boxes = []
    for _ in maps:
        drawn = random_boxes(draws, 40, WIDTH, HEIGHT)
        large = drawn[(drawn[:, 2:] - drawn[:, :2]).min(1) > 6]
        boxes.append(torch.tensor(large[: draws.integers(1, 4)]))
    return maps, boxes


@pytest.mark.parametrize("contours", ["largest", "all"])
def test_level_ious_against_a_thousand_thresholds(hard, contours):
    maps, boxes = hard
    found = metrics.level_ious(maps, boxes, contours)
    slow = torch.tensor(
        [slow_ious(m, b, contours == "all") for m, b in zip(maps, boxes, strict=True)]
    )
    columns = (THRESHOLDS * 255).astype(int)
    assert sorted(set(columns)) == list(range(255))
    torch.testing.assert_close(found[:, columns], slow, rtol=0, atol=1e-7)
    for overlap in (0.3, 0.5, 0.7):
        curve = [sum(i >= overlap for i in column) / len(maps) for column in slow.T.tolist()]
        assert metrics.box_accuracy(found, overlap)[columns].tolist() == pytest.approx(curve)
    best = [(slow >= overlap).double().mean(0).max().item() for overlap in (0.3, 0.5, 0.7)]
    assert metrics.box_accuracy(found).max().item() == best[1]
    assert metrics.max_box_acc_v2(found) == pytest.approx(np.mean(best))
    assert 0 < best[2] < best[1] < best[0] < 1


def test_more_contours_find_more(hard):
    one, every = (metrics.level_ious(*hard, contours) for contours in ("largest", "all"))
    assert (every >= one).all()
    assert (every > one).any(dim=1).float().mean() > 0.5


def test_accuracies_by_hand():
    ious = torch.zeros(4, 255)
    ious[:, 10] = torch.tensor([0.3, 0.3, 0.3, 0.0])  # the best level for 0.3
    ious[:, 20] = torch.tensor([0.5, 0.5, 0.0, 0.0])  # for 0.5
    ious[:, 30] = torch.tensor([7 / 10, 0.0, 0.0, 0.0])  # for 0.7
    assert metrics.box_accuracy(ious)[[0, 10, 20, 30]].tolist() == [0, 0, 0.5, 0.25]
    assert metrics.box_accuracy(ious, 0.3)[[0, 10, 20, 30]].tolist() == [0, 0.75, 0.5, 0.25]
    assert metrics.box_accuracy(ious).shape == (255,)
    assert metrics.max_box_acc_v2(ious) == pytest.approx((0.75 + 0.5 + 0.25) / 3)


BOX = torch.tensor([[0, 0, 2, 2]])


@pytest.mark.parametrize(
    ("maps", "boxes", "contours", "says"),
    [
        (torch.ones(4, 4), [BOX], "all", r"got maps \(4, 4\) and boxes for 1 images"),
        (
            torch.ones(2, 4, 4),
            [BOX],
            "all",
            r"maps \(2, 4, 4\) and boxes for 1 .* \(n, H, W\) and n",
        ),
        (torch.ones(0, 4, 4), [], "all", r"got maps \(0, 4, 4\)"),
        (
            torch.ones(2, 4, 4),
            [BOX, BOX[:0]],
            "all",
            r"shape \(0, 4\) for image 1, expected \(m, 4\)",
        ),
        (torch.ones(1, 4, 4), [BOX[0]], "all", r"boxes of shape \(4,\) for image 0"),
        (torch.ones(1, 4, 4), [BOX.flip(1)], "all", r"got boxes \[\[2, 2, 0, 0\]\] for image 0"),
        (torch.ones(1, 4, 4), [BOX], "external", 'is \'external\', expected "largest" or "all"'),
        (
            torch.full((1, 4, 4), torch.nan),
            [BOX],
            "all",
            "level_ious: a map has values that are not",
        ),
    ],
)
def test_what_has_no_levels(maps, boxes, contours, says):
    with pytest.raises(ValueError, match=says):
        metrics.level_ious(maps, boxes, contours)
