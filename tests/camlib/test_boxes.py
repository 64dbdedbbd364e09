"""camlib.boxes by hand-made maps and brute force."""

import itertools

import pytest
import torch

from camlib import cam
from camlib.boxes import above, box_from_map, boxes_from_maps, five_guesses, iou


def test_box_follows_the_largest_region_not_the_brightest():
    heatmap = torch.zeros(8, 8)
    heatmap[0, 0] = 1.0  # brightest, one pixel
    heatmap[3:6, 2:7] = 0.5  # larger, dimmer
    assert box_from_map(heatmap).tolist() == [2, 3, 7, 6]


def test_a_pixel_at_the_threshold_is_outside():
    heatmap = torch.tensor([[1.0, 0.25, 0.2], [0.0, 0.0, 0.0]])
    assert box_from_map(heatmap, 0.25).tolist() == [0, 0, 1, 1]
    assert box_from_map(heatmap, 0.2).tolist() == [0, 0, 2, 1]


def test_a_threshold_next_to_one_leaves_the_maximum():
    for dtype in (torch.float32, torch.bfloat16):
        heatmap = torch.eye(3, dtype=dtype) * torch.tensor([1, 1, 3], dtype=dtype)
        assert box_from_map(heatmap, 1 - 1e-12).tolist() == [2, 2, 3, 3]


def test_regions_touching_at_a_corner_are_one():
    assert box_from_map(torch.eye(5)).tolist() == [0, 0, 5, 5]


def test_the_scale_of_the_map_does_not_matter_and_negative_values_are_outside():
    heatmap = torch.full((6, 9), -50.0)
    heatmap[2, 3:5] = 1e-6
    assert box_from_map(heatmap).tolist() == [3, 2, 5, 3]
    assert box_from_map(heatmap * 1e9).tolist() == [3, 2, 5, 3]


def test_largest_region_against_a_flood_fill():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        heatmap = torch.rand(12, 15, generator=generator)
        above = {
            (y, x) for y in range(12) for x in range(15) if heatmap[y, x] > 0.6 * heatmap.max()
        }
        regions = []
        while above:
            region, edge = set(), [above.pop()]
            while edge:
                y, x = edge.pop()
                region.add((y, x))
                near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & above
                above -= near
                edge += near
            regions.append(region)
        size = max(map(len, regions))
        boxes = []
        for region in (r for r in regions if len(r) == size):
            rows, columns = zip(*region, strict=True)
            boxes.append([min(columns), min(rows), max(columns) + 1, max(rows) + 1])
        assert box_from_map(heatmap, 0.6).tolist() in boxes


@pytest.mark.parametrize(
    ("heatmap", "threshold", "says"),
    [
        (torch.zeros(4, 4), 0.2, "no value of the map is above zero"),
        (-torch.ones(4, 4), 0.2, "no value of the map is above zero"),
        (torch.ones(1, 4, 4), 0.2, r"shape \(1, 4, 4\)"),
        (torch.ones(0, 4), 0.2, r"shape \(0, 4\)"),
        (torch.tensor([[1.0, torch.nan]]), 0.2, "not finite"),
        (torch.ones(4, 4), 20, "20 % is 0.2"),
        (torch.ones(4, 4), 1.0, "threshold < 1"),
        (torch.ones(4, 4), -0.1, "0 <= threshold"),
    ],
)
def test_maps_and_thresholds_that_cannot_be_boxed(heatmap, threshold, says):
    with pytest.raises(ValueError, match=says):
        box_from_map(heatmap, threshold)


def test_the_errors_name_the_function_that_was_called():
    for call, name in (
        (lambda maps: box_from_map(maps, 1.5), "box_from_map"),
        (lambda maps: boxes_from_maps(maps, 1.5), "boxes_from_maps"),
        (lambda maps: five_guesses(torch.ones(1, 3), maps.expand(1, 3, 4, 4), 1.5, 0), "five_gue"),
        (lambda maps: above("mine", maps, 1.5), "mine"),
    ):
        with pytest.raises(ValueError, match=rf"^{name}\w*: threshold is 1.5, expected a share"):
            call(torch.ones(4, 4))


# ---- many maps ----


def smooth_maps(*shape):
    coarse = torch.randn(*shape[:-2], 4, 5, generator=torch.Generator().manual_seed(3))
    return cam.upsample(coarse, shape[-2:])


@pytest.mark.parametrize("threshold", [0, 0.2, 0.55, 0.95])
def test_many_maps_give_the_boxes_of_each(threshold):
    maps = smooth_maps(4, 3, 18, 25)
    maps[1, 2] = -maps[1, 2].abs()  # nothing speaks for it
    maps[2, 0] = 0
    maps[3, 1] *= 1e-6
    boxes = boxes_from_maps(maps, threshold)
    assert boxes.shape == (4, 3, 4)
    assert boxes.dtype == torch.int64
    for i, j in itertools.product(range(4), range(3)):
        if (i, j) in ((1, 2), (2, 0)):
            assert boxes[i, j].tolist() == [0, 0, 0, 0]
        else:
            assert torch.equal(boxes[i, j], box_from_map(maps[i, j], threshold))
    assert torch.equal(boxes_from_maps(maps[0, 0], threshold), boxes[0, 0])
    assert torch.equal(boxes_from_maps(maps.flatten(0, 1), threshold), boxes.flatten(0, 1))


def test_maps_within_a_graph_are_boxed_and_left_as_they_were():
    maps = smooth_maps(2, 9, 9).requires_grad_()
    before = maps.detach().clone()
    boxes = boxes_from_maps(maps * 1.0, 0.3)
    assert torch.equal(boxes, boxes_from_maps(before, 0.3))
    assert torch.equal(maps, before)
    assert not boxes.requires_grad


@pytest.mark.parametrize(
    ("maps", "threshold", "says"),
    [
        (torch.ones(4), 0.2, r"boxes_from_maps: got maps of shape \(4,\), expected \(..., H, W\)"),
        (torch.ones(0, 4, 4), 0.2, r"boxes_from_maps: got maps of shape \(0, 4, 4\)"),
        (torch.ones(2, 4, 4), -0.1, "boxes_from_maps: threshold is -0.1"),
        (torch.tensor([[[1.0, torch.inf]]]), 0.2, "boxes_from_maps: a map has values that are not"),
    ],
)
def test_what_is_no_stack_of_maps(maps, threshold, says):
    with pytest.raises(ValueError, match=says):
        boxes_from_maps(maps, threshold)


# ---- the paper's five guesses ----


def test_five_guesses_by_hand():
    maps = torch.zeros(1, 3, 8, 8)
    for m, (tight, loose) in enumerate([((0, 1), (0, 4)), ((1, 3), (1, 6)), ((2, 5), (2, 8))]):
        maps[0, m, slice(*loose), slice(*loose)] = 0.4
        maps[0, m, slice(*tight), slice(*tight)] = 1.0
    classes, boxes = five_guesses(torch.tensor([[7, 2, 9]]), maps, tight=0.5, loose=0.2)
    assert classes.tolist() == [[7, 7, 2, 2, 9]]
    assert boxes.tolist() == [
        [[0, 0, 1, 1], [0, 0, 4, 4], [1, 1, 3, 3], [1, 1, 6, 6], [2, 2, 8, 8]]
    ]


def test_five_guesses_of_many_pictures_are_those_of_each():
    maps = smooth_maps(5, 3, 16, 21)
    maps[2, 1] = -1
    classes = torch.stack([torch.randperm(9)[:3] for _ in range(5)])
    of, boxes = five_guesses(classes, maps, 0.6, 0.3)
    assert of.shape == (5, 5)
    for i in range(5):
        a, b, c = classes[i].tolist()
        assert of[i].tolist() == [a, a, b, b, c]
        for guess, m, share in zip(
            boxes[i], (0, 0, 1, 1, 2), (0.6, 0.3, 0.6, 0.3, 0.3), strict=True
        ):
            empty = (i, m) == (2, 1)
            assert guess.tolist() == (
                [0] * 4 if empty else box_from_map(maps[i, m], share).tolist()
            )


@pytest.mark.parametrize(
    ("classes", "maps", "tight", "loose", "says"),
    [
        (
            (2, 5),
            (2, 5, 4, 4),
            0.5,
            0.2,
            r"classes \(2, 5\) and maps \(2, 5, 4, 4\), expected \(n, 3",
        ),
        ((3,), (3, 4, 4), 0.5, 0.2, r"classes \(3,\)"),
        ((2, 3), (2, 3), 0.5, 0.2, r"maps \(2, 3\)"),
        ((2, 3), (1, 3, 4, 4), 0.5, 0.2, r"maps \(1, 3, 4, 4\)"),
        ((2, 3), (2, 3, 4, 4), 0.2, 0.5, "tight is 0.2 and loose 0.5, expected loose < tight"),
        ((2, 3), (2, 3, 4, 4), 0.2, 0.2, "expected loose < tight"),
        ((2, 3), (2, 3, 4, 4), 20, 0.2, "five_guesses: threshold is 20"),
    ],
)
def test_what_makes_no_five_guesses(classes, maps, tight, loose, says):
    with pytest.raises(ValueError, match=says):
        five_guesses(torch.ones(classes).long(), torch.ones(maps), tight, loose)


# ---- overlap ----


def test_iou_by_hand():
    a = torch.tensor([0, 0, 4, 2])
    assert iou(a, a) == 1
    assert iou(a, torch.tensor([2, 0, 6, 2])) == pytest.approx(4 / 12)
    assert iou(a, torch.tensor([4, 0, 6, 2])) == 0  # half-open boxes that touch share no pixel
    others = torch.tensor([[0, 0, 4, 2], [1, 0, 3, 2], [0, 0, 8, 4]])
    assert iou(a, others).tolist() == pytest.approx([1, 0.5, 0.25])
    assert iou(others, others).shape == (3, 3)


def test_iou_counts_pixels():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        corners = torch.randint(0, 9, (2, 2, 2), generator=generator)
        a, b = (torch.cat([c.amin(0), c.amax(0) + 1]) for c in corners)
        masks = torch.zeros(2, 10, 10, dtype=torch.bool)
        for mask, box in zip(masks, (a, b), strict=True):
            mask[box[1] : box[3], box[0] : box[2]] = True
        expected = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
        assert iou(a, b) == pytest.approx(expected.item())


@pytest.mark.parametrize("box", [[4, 0, 2, 2], [0, 0, 0, 2], [0, 0, 4], [[[0, 0, 1, 1]]]])
def test_iou_of_what_is_no_box(box):
    with pytest.raises(ValueError, match="iou: got"):
        iou(torch.tensor(box), torch.tensor([0, 0, 4, 2]))
