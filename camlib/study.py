"""What several trainings show: results that take longer than a chapter, and intervals over seeds.

`make study` computes them (study/ in the repository) and writes them to camlib/results.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from camlib.metrics import Interval

RESULTS = Path(__file__).parent / "results"


def results(name: str) -> dict[str, Any]:
    """The results of a study, with the recipe and versions they were made with.

    Raises:
        ValueError: if there is no such study.
    """
    path = RESULTS / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in RESULTS.glob("*.json"))) or "none yet"
        raise ValueError(f"results: there is no study {name!r}; there is: {known}. See make study")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _spread(caller: str, values: Sequence[float], level: float) -> tuple[float, float, float]:
    """Mean, standard deviation, and the factor of Student's t for the level, two-sided."""
    numbers = torch.as_tensor(values, dtype=torch.float64)
    if numbers.ndim != 1 or len(numbers) < 2 or not bool(numbers.isfinite().all()):
        raise ValueError(
            f"{caller}: got {values!r}, expected two or more finite numbers, one for each training"
        )
    if not 0 < level < 1:
        raise ValueError(f"{caller}: level is {level}, expected between 0 and 1")
    factor = float(stats.t.ppf((1 + level) / 2, len(numbers) - 1))
    return numbers.mean().item(), numbers.std().item(), factor


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean over trainings, and where the mean over all trainings of the recipe should lie.

    Student's t. It speaks of other trainings, on these test images; `metrics.bootstrap` of other
    images, for one training. For the difference of two networks give the differences, seed by
    seed.

    Args:
        values: one number for each training, two or more.
        level: between 0 and 1.

    Raises:
        ValueError: for fewer values, values that are not finite, or another level.
    """
    mean, deviation, factor = _spread("mean_interval", values, level)
    half = factor * deviation / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def prediction_interval(values: Sequence[float], level: float = 0.99) -> tuple[float, float]:
    """Where one more training of the same recipe should lie.

    Args and errors as for `mean_interval`. From five values at 0.99: mean +- 5.04 standard
    deviations; from three 11.46.
    """
    mean, deviation, factor = _spread("prediction_interval", values, level)
    half = factor * deviation * math.sqrt(1 + 1 / len(values))
    return mean - half, mean + half
