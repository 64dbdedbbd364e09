"""How often a network is wrong, and how sure the number is.

Errors and hits are one number per image, (n,), and `bootstrap` turns them into a mean with an
interval. Two networks that saw the same images are compared image by image: `bootstrap(errors -
others)`. `box_accuracy`, `max_box_acc_v2` and `px_ap` are of all images together.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from camlib.boxes import above


class Interval(NamedTuple):
    """A mean and its confidence interval; over what, images or trainings, its maker says."""

    mean: float
    low: float
    high: float


def top_k_error(logits: Tensor, labels: Tensor, k: int = 1) -> Tensor:
    """Which images are missed: 1 where the label is not among the k highest scores (Table 1).

    A tie at the edge counts as missed, so equal scores for all classes are no success.

    Args:
        logits: (n, C).
        labels: indices of the true classes, (n,).
        k: 1 or 5 in the paper.

    Returns:
        (n,) of 0 and 1, float64; its mean is the error.

    Raises:
        ValueError: if the shapes do not fit, a label or k is out of range, or a score is NaN.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not logits.numel():
        raise ValueError(
            f"top_k_error: got logits {tuple(logits.shape)} and labels {tuple(labels.shape)}, "
            "expected (n, C) and (n,), for at least one image"
        )
    classes = logits.shape[1]
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= classes:
        raise ValueError(f"top_k_error: k is {k!r}, expected between 1 and {classes}")
    if labels.is_floating_point() or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"top_k_error: got labels of {labels.dtype} from {labels.min()} to {labels.max()}, "
            f"expected indices between 0 and {classes - 1}"
        )
    if bool(logits.isnan().any()):
        raise ValueError("top_k_error: some scores are NaN: has the network diverged?")
    own = logits.gather(1, labels.long()[:, None])
    not_below = (logits >= own).sum(dim=1)  # the class itself, those above it and those level
    return (not_below > k).double()


def bootstrap(
    values: Tensor, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Interval:
    """The mean over images, with its percentile bootstrap interval (Efron, 1979).

    The images are drawn again, as many with replacement, and the mean is taken each time; the
    interval holds the middle `level` of these means. It speaks of other images from the same
    world, not of other trainings.

    Args:
        values: one number per image, (n,).
        level: between 0 and 1.
        resamples: how many draws.
        seed: of the draws.

    Raises:
        ValueError: if there are no values, one is not finite, or an argument is out of range.
    """
    if values.ndim != 1 or not values.numel() or not bool(values.isfinite().all()):
        raise ValueError(
            f"bootstrap: got values of shape {tuple(values.shape)}, expected one finite number per "
            "image, (n,)"
        )
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(
            f"bootstrap: level is {level} and resamples {resamples}, expected between 0 and 1, and "
            "at least 1"
        )
    chance = torch.Generator().manual_seed(seed)
    given = values.detach().double().cpu()
    means = torch.stack(
        [
            given[torch.randint(len(given), (len(given),), generator=chance)].mean()
            for _ in range(resamples)
        ]
    )
    low, high = means.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2]).double()).tolist()
    return Interval(given.mean().item(), low, high)


# ---- boxes ----


def localization_error(
    classes: Tensor, guesses: Tensor, targets: Sequence[Mapping[str, Any]], overlap: float = 0.5
) -> Tensor:
    """Which images are missed by the rule of ILSVRC (Tables 2 and 3).

    An image is right if one of its guesses, a class with a box, has the image's class and an IoU
    of at least `overlap` with any annotated instance of it. With one guess, the top class, this is
    the top-1 localization error; with the five top classes, top-5; with the true class, whatever
    the network answers, *GT-known*.

    Args:
        classes: of each guess, (n, G).
        guesses: their boxes, (n, G, 4); an empty one (0, 0, 0, 0) is a miss.
        targets: for each image `label`, `labels` (m,) and `boxes` (m, 4), as in `lab`.
        overlap: least IoU.

    Returns:
        (n,) of 0 and 1, float64: 1 is a miss. Its mean is the error.

    Raises:
        ValueError: if the shapes do not fit, or an image has no box of its class.
    """
    n = len(targets)
    if classes.ndim != 2 or len(classes) != n or guesses.shape != (*classes.shape, 4) or not n:
        raise ValueError(
            f"localization_error: got classes {tuple(classes.shape)}, boxes "
            f"{tuple(guesses.shape)} and {n} targets, expected (n, G), (n, G, 4) and n"
        )
    classes, guesses = classes.cpu(), guesses.cpu()
    missed = torch.ones(n, dtype=torch.float64)
    for i, target in enumerate(targets):
        # A plain tensor: every step costs torchvision's own kind ten times as much.
        own = target["boxes"].as_subclass(Tensor)[target["labels"] == target["label"]]
        own = own.double().cpu()
        _expect_boxes("localization_error", own, i)
        tried = guesses[i][classes[i] == target["label"]].double()
        tried = tried[(tried[:, 2:] > tried[:, :2]).all(dim=1)]
        if len(tried) and bool((box_iou(tried, own) >= overlap).any()):
            missed[i] = 0
    return missed


LEVELS = 255  # a map in 8 bits has so many thresholds below its maximum


def level_ious(
    maps: Tensor, boxes: Sequence[Tensor], contours: Literal["largest", "all"] = "largest"
) -> Tensor:
    """Best IoU with any true box when a map is cut at each level, as in wsolevaluation.

    Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right" (CVPR 2020), as
    their code counts: the map is scaled from its minimum to its maximum and cast to 8 bits; what is
    strictly above a level is kept; the box is the rectangle of the largest contour (MaxBoxAcc) or
    of every contour, those of holes too (MaxBoxAccV2); its last pixel is cut at the image's edge,
    and IoU counts last pixels in, so a box of 10 pixels away from the edge is 11 wide.

    Their 1,000 thresholds t cut at int(255 t), so at 255 levels, and only levels that the map
    holds cut it differently. Hence each mask is looked at once.

    Args:
        maps: of the true class, at image size, (n, H, W), on any scale.
        boxes: for each image the true boxes, (m, 4), half-open.
        contours: which ones of the mask.

    Returns:
        (n, 255), float32: column v is the cut above v / 255 of the way from minimum to maximum.

    Raises:
        ValueError: if the shapes do not fit, an image has no box, or a value is not finite.
    """
    if maps.ndim != 3 or len(maps) != len(boxes) or not maps.numel():
        raise ValueError(
            f"level_ious: got maps {tuple(maps.shape)} and boxes for {len(boxes)} images, expected "
            "(n, H, W) and n"
        )
    for i, true in enumerate(boxes):
        _expect_boxes("level_ious", true, i)
    if contours not in ("largest", "all"):
        raise ValueError(f'level_ious: contours is {contours!r}, expected "largest" or "all"')
    _expect_finite("level_ious", maps)
    found = np.zeros((len(maps), LEVELS), dtype=np.float32)
    for row, heatmap, true in zip(found, _min_max(maps), boxes, strict=True):
        cut = (heatmap * 255).astype(np.uint8)
        # Their boxes include the end.
        truth = np.asarray(true.cpu(), dtype=np.float64) - (0, 0, 1, 1)
        levels = np.unique(cut)[: None if cut.max() < LEVELS else -1]
        rectangles = [_contour_rectangles(cut, level, contours) for level in levels]
        starts = np.cumsum([0, *map(len, rectangles[:-1])])
        ious = _best_ious([one for of_level in rectangles for one in of_level], cut.shape, truth)
        best = np.maximum.reduceat(ious, starts)
        # A cut between two levels of the map is that at the lower one.
        row[:] = np.repeat(best, np.diff([*levels.tolist(), LEVELS]))
    return torch.from_numpy(found)


def _expect_boxes(caller: str, boxes: Tensor, image: int) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes):
        raise ValueError(
            f"{caller}: got boxes of shape {tuple(boxes.shape)} for image {image}, expected (m, 4) "
            "with at least one box"
        )
    if not bool((boxes[:, 2:] > boxes[:, :2]).all()):
        raise ValueError(
            f"{caller}: got boxes {boxes.tolist()} for image {image}, expected (x0, y0, x1, y1) "
            "with x0 < x1 and y0 < y1 (not x, y, width, height)"
        )


def _expect_finite(caller: str, maps: Tensor) -> None:
    if not bool(maps.isfinite().all()):
        raise ValueError(f"{caller}: a map has values that are not finite (NaN or infinite)")


def _min_max(maps: Tensor) -> Iterator[NDArray[np.float64]]:
    for heatmap in maps.detach().cpu().double().numpy():
        heatmap = heatmap - heatmap.min()
        yield heatmap / (heatmap.max() or 1.0)  # a constant map is zero everywhere


def _contour_rectangles(cut: NDArray[np.uint8], level: int, which: str) -> list[Any]:
    """(x, y, width, height) of the contours of what is above a level; of none, nothing's."""
    _, mask = cv2.threshold(cut, float(level), 1, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if which == "largest" and len(contours) > 1:
        contours = [max(contours, key=cv2.contourArea)]
    return [cv2.boundingRect(contour) for contour in contours] or [(0, 0, 0, 0)]


def _best_ious(
    rectangles: list[Any], shape: tuple[int, ...], truth: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Best IoU of each rectangle with the true boxes, as wsolevaluation counts pixels."""
    x, y, width, height = np.array(rectangles, dtype=np.float64).T
    ends = np.minimum(x + width, shape[1] - 1), np.minimum(y + height, shape[0] - 1)
    a, b = np.stack([x, y, *ends], axis=1)[:, None], truth[None]
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + 1
    overlap = size.clip(min=0).prod(axis=2)
    areas = [(box[..., 2:] - box[..., :2] + 1).prod(axis=2) for box in (a, b)]
    best: NDArray[np.float64] = (overlap / (areas[0] + areas[1] - overlap)).max(axis=1)
    return best


def box_accuracy(ious: Tensor, overlap: float = 0.5) -> Tensor:
    """Share of images with a box that fits, at each level: BoxAcc, (255,).

    Its maximum is MaxBoxAcc, for which the data that are reported choose the level. To choose it
    fairly, take the best level of validation data.

    Args:
        ious: from `level_ious`, (n, 255).
        overlap: least IoU.
    """
    return (ious >= overlap).double().mean(dim=0)


def max_box_acc_v2(ious: Tensor) -> float:
    """MaxBoxAccV2: the mean over IoU 0.3, 0.5 and 0.7 of the best level's share of images.

    Args:
        ious: from `level_ious` with all contours, (n, 255).
    """
    return sum(box_accuracy(ious, overlap).max().item() for overlap in (0.3, 0.5, 0.7)) / 3


# ---- pixels ----


def px_ap(maps: Tensor, masks: Tensor) -> float:
    """PxAP: area under the precision-recall curve of all pixels of all images (Choe et al.).

    Each map is scaled from its minimum to its maximum; a pixel is found at threshold t where its
    value is at least t, for t = 0, 0.001, ..., 1. Precision is summed over the steps of recall.

    Args:
        maps: of the true class, at image size, (n, H, W).
        masks: of the class, all instances in one, bool (n, H, W).

    Raises:
        ValueError: if the shapes do not fit, a value is not finite, or no pixel is true.
    """
    _expect_masks("px_ap", maps, masks)
    parts = [slice(i, i + 32) for i in range(0, len(maps), 32)]  # or memory would not hold them
    counts = torch.stack([pixel_counts(maps[of], masks[of]).sum(dim=0) for of in parts])
    return px_ap_of_counts(counts.sum(dim=0).cpu())


def pixel_counts(maps: Tensor, masks: Tensor, ignored: Tensor | None = None) -> Tensor:
    """What PxAP is made of: of each image, wrong and true pixels between two thresholds.

    Summed over the images of a data set, they give its PxAP.

    Args:
        maps, masks: as in `px_ap`; the counts are made where the maps are.
        ignored: pixels that count neither as wrong nor as true, bool (n, H, W).

    Returns:
        int64 (n, 2, 1001).

    Raises:
        ValueError: if the shapes do not fit, or a value is not finite.
    """
    _expect_masks("px_ap", maps, masks)
    if ignored is None:
        ignored = torch.zeros_like(masks)
    _expect_masks("px_ap", maps, ignored)
    heatmaps, n = maps.detach().double().flatten(1), len(maps)
    heatmaps = heatmaps - heatmaps.amin(dim=1, keepdim=True)
    largest = heatmaps.amax(dim=1, keepdim=True)
    heatmaps /= torch.where(largest > 0, largest, 1.0)  # a constant map is zero everywhere
    edges = heatmaps.new_tensor([-torch.inf, *(i / 1000 for i in range(1, 1001)), torch.inf])
    # The number of edges up to the value: a guess off by one at most, then put right.
    bins = (heatmaps * 1000).int()
    bins += edges[bins + 1] <= heatmaps
    bins -= (edges[bins] > heatmaps).int()
    kinds = (masks.to(maps.device).int() * 1001).masked_fill(ignored.to(maps.device), 2 * 1001)
    images = 3 * 1001 * torch.arange(n, dtype=torch.int32, device=maps.device)
    found = bins + kinds.flatten(1) + images[:, None]
    return torch.bincount(found.flatten(), minlength=n * 3 * 1001).reshape(n, 3, 1001)[:, :2]


def px_ap_of_counts(counts: Tensor) -> float:
    """PxAP from the sum of `pixel_counts` over all images, (2, 1001).

    Raises:
        ValueError: if no pixel is true.
    """
    wrong, true = counts.numpy()[:, ::-1].cumsum(axis=1)  # from the highest threshold down
    if not true[-1]:
        raise ValueError("px_ap: no pixel of any mask is true, so there is nothing to find")
    precision = true / np.maximum(wrong + true, 1)
    recall = true / true[-1]
    return float((precision * np.diff(recall, prepend=0)).sum())


def extent(maps: Tensor, masks: Tensor, shares: Sequence[float]) -> tuple[Tensor, Tensor]:
    """How much of the object a map covers when it is cut, and how much of the cut is object.

    Args:
        maps: of the true class, at image size, (n, H, W).
        masks: of the class, all instances in one, bool (n, H, W).
        shares: of each map's maximum, from 0 to below 1; pixels above are kept.

    Returns:
        Recall, the share of the object that is kept, and precision, the share of what is kept
        that is object, both (n, len(shares)) float64. A map without a positive value keeps
        nothing: both are 0.

    Raises:
        ValueError: if the shapes do not fit, a value is not finite, a share is out of range, or a
            mask is empty.
    """
    _expect_masks("extent", maps, masks)
    if not bool(masks.flatten(1).any(dim=1).all()):
        raise ValueError("extent: a mask has no true pixel, so there is no object to cover")
    inside = masks.flatten(1)
    recall, precision = [], []
    for share in shares:
        kept = above("extent", maps, share).flatten(1)
        both = (kept & inside).sum(dim=1).double()
        recall.append(both / inside.sum(dim=1))
        precision.append(both / kept.sum(dim=1).clamp(min=1))
    return torch.stack(recall, dim=1), torch.stack(precision, dim=1)


def _expect_masks(caller: str, maps: Tensor, masks: Tensor) -> None:
    if maps.ndim != 3 or masks.shape != maps.shape or masks.dtype != torch.bool:
        raise ValueError(
            f"{caller}: got maps {tuple(maps.shape)} and masks {masks.dtype} {tuple(masks.shape)}, "
            "expected (n, H, W) and torch.bool (n, H, W)"
        )
    _expect_finite(caller, maps)


def pointing_game(maps: Tensor, masks: Tensor, tolerance: float = 0.0) -> Tensor:
    """Which maps are highest on the object (Zhang et al., "Top-down Neural Attention", 2016).

    Where several pixels are highest, as in the corner of an upsampled map, the share of them that
    is on the object: what one drawn among them can expect. So a map that is level everywhere gets
    the object's share of the image.

    Args:
        maps: of the true class, at image size, (n, H, W).
        masks: of the class, all instances in one, bool (n, H, W).
        tolerance: how many pixels off the object still count (15 in Zhang et al., at their size).

    Returns:
        (n,) from 0 to 1, float64: 1 is a hit.

    Raises:
        ValueError: if the shapes do not fit or a value is not finite.
    """
    _expect_masks("pointing_game", maps, masks)
    hits = []
    for heatmap, mask in zip(maps.cpu(), masks.cpu().numpy(), strict=True):
        off = (~mask).astype(np.uint8)
        # Of each pixel from the nearest one of the object, exact.
        distance = cv2.distanceTransform(off, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        near = distance[(heatmap == heatmap.max()).numpy()] <= tolerance
        hits.append(float(mask.any() and near.mean()))
    return torch.tensor(hits, dtype=torch.float64)
