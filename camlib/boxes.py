"""From map to box, and how well two boxes agree. Boxes are (x0, y0, x1, y1), half-open pixels."""

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou


def box_from_map(heatmap: Tensor, threshold: float = 0.2) -> Tensor:
    """Box around the largest connected region of a map (section 3.2).

    Keeps the pixels above `threshold` times the maximum and boxes the largest 8-connected region
    among them, counted in pixels; of two equally large the one met first, row by row.

    Args:
        heatmap: map of one class at image size, (H, W).
        threshold: share of the maximum, from 0 up to, but not including, 1. The paper uses 0.2.

    Returns:
        (x0, y0, x1, y1) in pixels, half-open, so the width is x1 - x0; int64.

    Raises:
        ValueError: if no value is above zero: then no place speaks for the class. Also for a
            map that is not (H, W) or not finite, and for another threshold.
    """
    if heatmap.ndim != 2 or not heatmap.numel():
        raise ValueError(
            f"box_from_map: got a map of shape {tuple(heatmap.shape)}, expected one map (H, W)"
        )
    if not 0 <= threshold < 1:
        raise ValueError(
            f"box_from_map: threshold is {threshold}, expected a share of the maximum, 0 <= "
            "threshold < 1 (the paper's 20 % is 0.2)"
        )
    if not heatmap.isfinite().all():
        raise ValueError("box_from_map: the map has values that are not finite (NaN or infinite)")
    maximum = heatmap.max()
    if maximum <= 0:
        raise ValueError(
            f"box_from_map: no value of the map is above zero (its maximum is {maximum:.3g}), so "
            "no place speaks for this class and there is nothing to box"
        )
    # The maximum is always above, also where a threshold next to 1 times it rounds up to it.
    above = (heatmap > threshold * maximum) | (heatmap == maximum)
    _, _, regions, _ = cv2.connectedComponentsWithStats(
        above.cpu().numpy().astype(np.uint8), connectivity=8
    )
    # Row 0 is the background.
    x, y, width, height, _ = max(regions[1:].tolist(), key=lambda region: region[cv2.CC_STAT_AREA])
    return torch.tensor([x, y, x + width, y + height])


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
