"""Measures of pixels: by hand, by loops, and PxAP against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from camlib import boxes, cam, metrics

# ---- PxAP ----


def px_ap(maps, masks):
    return metrics.px_ap(torch.tensor(maps), torch.tensor(masks, dtype=torch.bool))


def test_px_ap_by_hand():
    # Found from the highest down: true, wrong, true, wrong.
    assert px_ap([[[4.0, 3.0, 2.0, 0.0]]], [[[1, 0, 1, 0]]]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert px_ap([[[4.0, 3.0, 2.0, 0.0]]], [[[1, 1, 0, 0]]]) == 1
    # A map that is level everywhere finds all pixels at once.
    assert px_ap([[[7.0, 7.0, 7.0, 7.0]]], [[[1, 0, 0, 0]]]) == 0.25


def test_a_pixel_at_a_threshold_is_found_and_those_between_two_are_found_together():
    assert px_ap([[[0.0, 0.4995, 0.5, 1.0]]], [[[0, 0, 1, 1]]]) == 1
    assert px_ap([[[0.0, 0.9995, 1.0, 0.2]]], [[[0, 0, 1, 0]]]) == 1
    assert px_ap([[[0.0, 0.5002, 0.5008, 1.0]]], [[[0, 0, 1, 1]]]) == pytest.approx(
        0.5 + 0.5 * 2 / 3
    )


def test_px_ap_is_over_all_pixels_and_scales_each_map_by_itself():
    maps = [[[2.0, 0.0, 1.0]], [[500.0, -500.0, 250.0]]]
    masks = [[[1, 0, 0]], [[0, 0, 1]]]
    # Two at 1, one of them true; one at 0.75, true; one at 0.5, wrong.
    assert px_ap(maps, masks) == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 3)
    each = [px_ap(maps[i : i + 1], masks[i : i + 1]) for i in range(2)]
    assert np.mean(each) == pytest.approx((1 + 0.5) / 2)  # another number
    assert px_ap(maps, [[[1, 0, 0]], [[0, 0, 0]]]) == 0.5  # an image with nothing to find counts


@pytest.fixture(scope="module")
def hard():
    """Maps of many kinds, and masks with as much noise as signal."""
    chance = torch.Generator().manual_seed(4)
    maps = cam.upsample(torch.randn(9, 5, 6, generator=chance), (22, 31))
    maps[3] = maps[3].round()  # few levels
    maps[4] = 5.0  # one
    maps[5] *= 1000
    maps[6] -= 40  # nothing positive
    noise = cam.upsample(torch.randn(9, 4, 7, generator=chance), (22, 31))
    return maps, maps / maps.abs().amax(dim=(1, 2), keepdim=True) + noise > 0.8


def test_px_ap_against_scikit_learn(hard):
    maps, masks = hard
    scores = []
    for heatmap in maps.double().numpy():
        spread = heatmap.max() - heatmap.min()
        scaled = (heatmap - heatmap.min()) / spread if spread else np.zeros_like(heatmap)
        scores.append(sum(scaled >= k / 1000 for k in range(1, 1001)))  # thresholds not above it
    theirs = average_precision_score(masks.numpy().ravel(), np.ravel(scores))
    assert metrics.px_ap(*hard) == pytest.approx(theirs, abs=1e-12)
    assert 0.2 < theirs < 0.8
    order = torch.randperm(len(maps), generator=torch.Generator().manual_seed(0))
    assert metrics.px_ap(maps[order], masks[order]) == pytest.approx(theirs, abs=1e-12)


# ---- extent ----


def test_extent_by_hand():
    maps = torch.tensor([[[10.0, 6.0, 5.0, -1.0]]])
    masks = torch.tensor([[[True, False, True, True]]])
    recall, precision = metrics.extent(maps, masks, [0, 0.5, 0.55, 0.9])
    assert recall.tolist() == [pytest.approx([2 / 3, 1 / 3, 1 / 3, 1 / 3])]
    assert precision.tolist() == [pytest.approx([2 / 3, 1 / 2, 1 / 2, 1])]


def test_extent_by_loops(hard):
    maps, masks = hard[0], hard[1].clone()
    masks[:, 0, 0] = True
    shares = (0, 0.2, 0.45, 0.9)
    recall, precision = metrics.extent(maps, masks, shares)
    assert recall.shape == precision.shape == (len(maps), len(shares))
    assert recall.dtype == precision.dtype == torch.float64
    for i, (heatmap, mask) in enumerate(zip(maps.tolist(), masks.tolist(), strict=True)):
        highest = max(map(max, heatmap))
        for j, share in enumerate(shares):
            kept, both = 0, 0
            for values, on in zip(heatmap, mask, strict=True):
                for value, true in zip(values, on, strict=True):
                    if highest > 0 and value > share * highest:
                        kept += 1
                        both += true
            assert recall[i, j].item() == pytest.approx(both / np.sum(mask))
            assert precision[i, j].item() == pytest.approx(both / kept if kept else 0)
    assert (
        recall[6].tolist() == precision[6].tolist() == [0] * 4
    )  # the map without a positive value


def test_extent_cuts_where_the_box_cuts():
    """0.2 is no number of float32: a pixel of that value is at the threshold, not above it."""
    maps = torch.tensor([[[1.0, 0.2, 0.0]]])
    recall, _ = metrics.extent(maps, torch.ones(1, 1, 3, dtype=torch.bool), [0.2])
    assert recall.item() == pytest.approx(1 / 3)
    assert boxes.box_from_map(maps[0]).tolist() == [0, 0, 1, 1]
    kept = boxes.above("extent", maps, 0.2)
    assert kept.tolist() == [[[True, False, False]]]


# ---- pointing game ----


def points(heatmap, mask, tolerance=0.0):
    masks = torch.as_tensor(mask, dtype=torch.bool)[None]
    return metrics.pointing_game(torch.as_tensor(heatmap)[None], masks, tolerance).item()


def test_pointing_game_by_hand():
    assert points([[0.0, 3.0], [1.0, 2.0]], [[0, 1], [0, 0]]) == 1
    assert points([[0.0, 3.0], [1.0, 2.0]], [[1, 0], [1, 1]]) == 0
    assert points([[-2.0, -1.0]], [[0, 1]]) == 1
    assert points([[3.0, 3.0]], [[0, 1]]) == 0.5  # one of the two highest pixels is on the object
    assert points([[3.0, 3.0]], [[1, 1]]) == 1
    assert points([[3.0, 1.0]], [[0, 0]], float("inf")) == 0  # no object


def test_tolerance_is_a_distance_between_pixels():
    heatmap, mask = np.zeros((2, 12, 9))
    heatmap[10, 7] = 1
    mask[6, 4] = 1  # 4 rows up, 3 columns to the left
    assert points(heatmap, mask, 4.99) == 0
    assert points(heatmap, mask, 5) == 1
    heatmap[0, 4] = 1  # as high, 6 rows away
    assert points(heatmap, mask, 4.99) == 0
    assert points(heatmap, mask, 5) == 0.5
    assert points(heatmap, mask, 6) == 1


@pytest.mark.parametrize("tolerance", [0, 1.5, 4])
def test_pointing_game_by_loops(hard, tolerance):
    maps, masks = hard
    found = metrics.pointing_game(maps, masks, tolerance)
    assert found.dtype == torch.float64
    expected = []
    for heatmap, mask in zip(maps.numpy(), masks.numpy(), strict=True):
        on = np.argwhere(mask)
        far = [
            np.linalg.norm(place - on, axis=1).min()
            for place in np.argwhere(heatmap == heatmap.max())
        ]
        expected.append(np.mean([distance <= tolerance for distance in far]))
    assert found.tolist() == pytest.approx(expected)
    assert {0, 1} < set(expected)
    # The map that is level everywhere: the object's share of the picture.
    assert tolerance or found[4].item() == pytest.approx(masks[4].float().mean().item())


def test_a_constant_map_of_full_size_is_no_burden():
    """All its pixels are highest; all distances between them and the object would take 20 GB."""
    masks = torch.ones(1, 224, 224, dtype=torch.bool)
    masks[0, 0, 0] = False
    share = metrics.pointing_game(torch.zeros(1, 224, 224), masks).item()
    assert share == pytest.approx(1 - 1 / 224**2, rel=1e-9)
    assert metrics.pointing_game(torch.zeros(1, 224, 224), masks, 1).item() == 1


# ---- what is refused ----

MEASURES = {
    "px_ap": metrics.px_ap,
    "extent": lambda maps, masks: metrics.extent(maps, masks, [0.2]),
    "pointing_game": metrics.pointing_game,
}
MASK = torch.ones(1, 3, 4, dtype=torch.bool)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(
    ("maps", "masks", "says"),
    [
        (
            torch.ones(3, 4),
            MASK[0],
            r"got maps \(3, 4\) and masks torch.bool \(3, 4\), expected \(n",
        ),
        (torch.ones(1, 4, 3), MASK, r"got maps \(1, 4, 3\) and masks torch.bool \(1, 3, 4\)"),
        (
            torch.ones(1, 3, 4),
            MASK.float(),
            r"got maps .* and masks torch.float32 .* and torch.bool \(n, H, W\)",
        ),
        (torch.full((1, 3, 4), torch.nan), MASK, "a map has values that are not finite"),
        (torch.full((1, 3, 4), torch.inf), MASK, "a map has values that are not finite"),
    ],
)
def test_maps_and_masks_that_do_not_fit(name, maps, masks, says):
    with pytest.raises(ValueError, match=f"{name}: {says}"):
        MEASURES[name](maps, masks)


def test_what_has_nothing_to_find():
    maps, masks = torch.ones(2, 3, 4), MASK.repeat(2, 1, 1)
    with pytest.raises(ValueError, match="px_ap: no pixel of any mask is true"):
        metrics.px_ap(maps, ~masks)
    masks[1] = False
    with pytest.raises(ValueError, match="extent: a mask has no true pixel, so there is no object"):
        metrics.extent(maps, masks, [0.2])


@pytest.mark.parametrize("share", [-0.1, 1, 20])
def test_shares_out_of_range(share):
    with pytest.raises(ValueError, match=f"extent: threshold is {share}, expected a share"):
        metrics.extent(torch.ones(1, 3, 4), MASK, [0.2, share])
