"""How often a network is wrong, and how sure the number is.

Measures here give one number per image, and `bootstrap` turns them into a mean with an interval.
Two networks that saw the same images are compared image by image: `bootstrap(errors - others)`.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Interval(NamedTuple):
    """A mean over images, and the range that a new draw of images would leave it in."""

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
