"""From map to box, and how well two boxes agree. Boxes are (x0, y0, x1, y1), half-open pixels."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou


def box_from_map(heatmap: Tensor, threshold: float = 0.2) -> Tensor:
    """Box around the largest connected region of a map (section 3.2).

    Keeps the pixels above `threshold` times the maximum and boxes the largest 8-connected region
    among them, counted in pixels; of equally large ones it is one of them.

    Args:
        heatmap: map of one class at image size, (H, W).
        threshold: share of the maximum, from 0 up to, but not including, 1. The paper uses 0.2.

    Returns:
        (x0, y0, x1, y1) in pixels, half-open, so the width is x1 - x0; int64.

    Raises:
        ValueError: if no value is above zero: then no place speaks for the class. Also for a
            map that is not (H, W) or not finite, and for another threshold.
    """
    if heatmap.ndim != 2:
        raise ValueError(
            f"box_from_map: got a map of shape {tuple(heatmap.shape)}, expected one map (H, W)"
        )
    box = _boxes("box_from_map", heatmap, threshold)
    if not box.any():
        raise ValueError(
            f"box_from_map: no value of the map is above zero (its maximum is {heatmap.max():.3g}),"
            " so no place speaks for this class and there is nothing to box"
        )
    return box


def boxes_from_maps(maps: Tensor, threshold: float = 0.2) -> Tensor:
    """`box_from_map` for many maps; one without a positive value gets the empty box (0, 0, 0, 0).

    The empty box overlaps nothing, so that in a measure it counts as a miss.

    Args:
        maps: at image size, (..., H, W).
        threshold: share of each map's maximum.

    Returns:
        (..., 4), int64.

    Raises:
        ValueError: for maps of another shape or not finite, and for another threshold.
    """
    return _boxes("boxes_from_maps", maps, threshold)


def above(caller: str, maps: Tensor, threshold: float) -> Tensor:
    """Which pixels are above a share of their map's maximum; none of a map with no positive value.

    Args:
        caller: the function that the reader called, for the errors.
        maps: (..., H, W).
        threshold: share of each map's maximum.

    Returns:
        bool (..., H, W).

    Raises:
        ValueError: for maps of another shape or not finite, and for another threshold.
    """
    if maps.ndim < 2 or not maps.numel():
        raise ValueError(f"{caller}: got maps of shape {tuple(maps.shape)}, expected (..., H, W)")
    if not 0 <= threshold < 1:
        raise ValueError(
            f"{caller}: threshold is {threshold}, expected a share of the maximum, 0 <= "
            "threshold < 1 (the paper's 20 % is 0.2)"
        )
    if not maps.isfinite().all():
        raise ValueError(f"{caller}: a map has values that are not finite (NaN or infinite)")
    maxima = maps.amax(dim=(-2, -1), keepdim=True)
    # The maximum is always above, also where a threshold next to 1 times it rounds up to it.
    return ((maps > threshold * maxima) | (maps == maxima)) & (maxima > 0)


def _boxes(caller: str, maps: Tensor, threshold: float) -> Tensor:
    return around_largest(above(caller, maps, threshold))


def around_largest(masks: Tensor) -> Tensor:
    """Box around the largest 8-connected region of each mask, bool (..., H, W): int64 (..., 4).

    One without a region gets the empty box.
    """
    flat = masks.reshape(-1, *masks.shape[-2:]).cpu().numpy().astype(np.uint8)
    return torch.tensor([_around_largest(mask) for mask in flat]).reshape(*masks.shape[:-2], 4)


def _around_largest(mask: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    _, _, regions, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if len(regions) == 1:  # row 0 is the background
        return 0, 0, 0, 0
    x, y, width, height, _ = regions[1 + regions[1:, cv2.CC_STAT_AREA].argmax()].tolist()
    return x, y, x + width, y + height


def five_guesses(
    classes: Tensor, maps: Tensor, tight: float, loose: float
) -> tuple[Tensor, Tensor]:
    """The paper's five guesses for the test set (section 3.2): two boxes for the first classes.

    A tight and a loose box each for the first and the second class, a loose one for the third.
    The share of the maximum for each kind is chosen on validation data.

    Args:
        classes: the three classes with the highest scores, best first, (n, 3).
        maps: theirs, at image size, (n, 3, H, W).
        tight, loose: shares of the maximum, loose < tight.

    Returns:
        Classes (n, 5) and boxes (n, 5, 4), as `metrics.localization_error` takes them.

    Raises:
        ValueError: if the shapes do not fit, loose is not below tight, or as `boxes_from_maps`.
    """
    n = len(classes)
    if classes.shape != (n, 3) or maps.ndim != 4 or maps.shape[:2] != (n, 3):
        raise ValueError(
            f"five_guesses: got classes {tuple(classes.shape)} and maps {tuple(maps.shape)}, "
            "expected (n, 3) and (n, 3, H, W)"
        )
    if not loose < tight:
        raise ValueError(
            f"five_guesses: tight is {tight} and loose {loose}, expected loose < tight: a box "
            "around fewer of the highest values is tighter"
        )
    small = _boxes("five_guesses", maps[:, :2], tight)
    large = _boxes("five_guesses", maps, loose)
    boxes = torch.stack([small[:, 0], large[:, 0], small[:, 1], large[:, 1], large[:, 2]], dim=1)
    return classes[:, [0, 0, 1, 1, 2]], boxes


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of every box with every other.

    Args:
        boxes: (A, 4), or (4,) for one box.
        others: (B, 4), or (4,) for one box.

    Returns:
        (A, B), without the dimensions that the inputs lack: a single number for two boxes.

    Raises:
        ValueError: if a box is not four numbers with x0 < x1 and y0 < y1.
    """
    for given in (boxes, others):
        if given.ndim not in (1, 2) or given.shape[-1] != 4:
            raise ValueError(
                f"iou: got boxes of shape {tuple(given.shape)}, expected (4,) or (number, 4)"
            )
        if not (given[..., 2:] > given[..., :2]).all():
            raise ValueError(
                f"iou: got {given.tolist()}, expected (x0, y0, x1, y1) with x0 < x1 and y0 < y1 "
                "(not x, y, width, height)"
            )
    overlap: Tensor = box_iou(boxes.reshape(-1, 4).double(), others.reshape(-1, 4).double())
    return overlap.reshape(boxes.shape[:-1] + others.shape[:-1])
