"""camlib.boxes by hand-made maps and brute force."""

import pytest
import torch

from camlib.boxes import box_from_map, iou


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
