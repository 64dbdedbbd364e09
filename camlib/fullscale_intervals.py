"""How sure the measures of an evaluation are: 95 % intervals over images.

They speak of other images from the same source, not of other trainings of the network.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

import torch
from torch import Tensor

LEVEL = 0.95
RESAMPLES = 1000
_BLOCK = 1000  # images whose counts are in float64 at once

Ends = tuple[float, float]


def wilson(share: float, images: int, level: float = LEVEL) -> Ends:
    """Wilson's score interval of a share of images, each of which is a hit or a miss.

    The shares p from which `share` is no further away than z sqrt(p (1 - p) / n), z of the normal
    distribution (E. B. Wilson, "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22, 1927). Unlike the bootstrap it
    has a width where no image, or every image, is missed.

    Args:
        share: from 0 to 1.
        images: n, of how many.
        level: between 0 and 1.

    Returns:
        Its ends.

    Raises:
        ValueError: if an argument is out of range.
    """
    if images < 1 or not 0 <= share <= 1 or not 0 < level < 1:
        raise ValueError(
            f"wilson: got the share {share} of {images} images and level {level}, expected a share "
            "from 0 to 1 of at least one image, and a level between 0 and 1"
        )
    z = NormalDist().inv_cdf((1 + level) / 2)
    shrink = 1 + z * z / images
    middle = (share + z * z / (2 * images)) / shrink
    half = z * math.sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2) / shrink
    # A share of 0 or 1 is an end itself; the formula gives it but for rounding.
    return middle - half if share > 0 else 0.0, middle + half if share < 1 else 1.0


def bootstrap(
    counts: Tensor,
    measure: Callable[[Tensor], Tensor],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ends:
    """Percentile bootstrap interval (Efron, 1979) of a measure made of sums over images.

    `metrics.bootstrap` is of a mean; this is of what is no mean, such as PxAP. Images are drawn
    again, as many with replacement, and measured each time. Sums of whole numbers are exact, so
    the interval depends on the images, their order and the seed alone.

    Args:
        counts: whole numbers of each image, (n, ...).
        measure: takes sums over images, one for each draw, float64 (resamples, ...), and gives
            (resamples,); NaN where a draw has nothing to measure, which is left out.
        level: between 0 and 1.
        resamples: how many draws.
        seed: of the draws.

    Returns:
        Its ends.
    """
    n = len(counts)
    chance = torch.Generator().manual_seed(seed)
    # How often each image was drawn.
    drawn = torch.stack(
        [
            torch.bincount(torch.randint(n, (n,), generator=chance), minlength=n).to(torch.int16)
            for _ in range(resamples)
        ]
    )
    sums = torch.zeros(resamples, counts[0].numel(), dtype=torch.float64)
    for i in range(0, n, _BLOCK):
        sums += drawn[:, i : i + _BLOCK].double() @ counts[i : i + _BLOCK].flatten(1).double()
    found = measure(sums.reshape(resamples, *counts.shape[1:]))
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = found.nanquantile(ends).tolist()
    return low, high


def px_ap_of_sums(sums: Tensor) -> Tensor:
    """`metrics.px_ap_of_counts` of many sums, (m, 2, 1001): (m,), NaN where no pixel is true."""
    wrong, true = sums.flip(2).cumsum(dim=2).unbind(dim=1)
    precision = true / (wrong + true).clamp(min=1)
    recall = true / true[:, -1:]
    return (precision * recall.diff(dim=1, prepend=torch.zeros_like(recall[:, :1]))).sum(dim=1)
