"""camlib.metrics: errors counted by hand and by another library, intervals against SciPy."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import top_k_accuracy_score

from camlib import metrics

LOGITS = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])


def test_errors_by_hand():
    labels = torch.tensor([0, 1, 2])
    assert metrics.top_k_error(LOGITS, labels).tolist() == [0, 1, 1]
    assert metrics.top_k_error(LOGITS, labels, 2).tolist() == [0, 0, 1]
    assert metrics.top_k_error(LOGITS, labels, 3).tolist() == [0, 0, 0]


def test_a_tie_is_no_success():
    """A network that scores all classes alike knows nothing; NIN's ReLU makes such scores."""
    level = torch.zeros(4, 16)
    labels = torch.arange(4)
    assert metrics.top_k_error(level, labels).mean() == 1
    assert metrics.top_k_error(level, labels, 5).mean() == 1
    tied = torch.tensor([[1.0, 1.0, 0.0]])
    assert metrics.top_k_error(tied, torch.tensor([0]), 1).tolist() == [1]
    assert metrics.top_k_error(tied, torch.tensor([0]), 2).tolist() == [0]


@pytest.mark.parametrize("k", [1, 5])
def test_errors_against_scikit_learn(k):
    chance = torch.Generator().manual_seed(k)
    logits = torch.randn(500, 16, generator=chance)
    labels = torch.randint(16, (500,), generator=chance)
    theirs = top_k_accuracy_score(labels.numpy(), logits.numpy(), k=k, labels=range(16))
    assert metrics.top_k_error(logits, labels, k).mean().item() == pytest.approx(1 - theirs)


@pytest.mark.parametrize(
    ("logits", "labels", "k", "words"),
    [
        (torch.zeros(3), torch.zeros(3).long(), 1, r"logits \(3,\)"),
        (torch.zeros(2, 3), torch.zeros(3).long(), 1, r"labels \(3,\)"),
        (torch.zeros(0, 3), torch.zeros(0).long(), 1, "at least one image"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), 1, "from 0 to 3"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), 1, "float32"),
        (torch.zeros(2, 3), torch.tensor([0, -1]), 1, "between 0 and 2"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), 4, "k is 4"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), True, "k is True"),
        (torch.full((2, 3), torch.nan), torch.tensor([0, 1]), 1, "NaN"),
    ],
)
def test_what_cannot_be_counted_is_refused(logits, labels, k, words):
    with pytest.raises(ValueError, match=words):
        metrics.top_k_error(logits, labels, k)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_interval_agrees_with_scipy_and_with_the_normal_formula(level):
    errors = (torch.rand(2000, generator=torch.Generator().manual_seed(5)) < 0.15).double()
    found = metrics.bootstrap(errors, level)
    theirs = stats.bootstrap(
        (errors.numpy(),),
        np.mean,
        confidence_level=level,
        n_resamples=4000,
        method="percentile",
        batch=500,
        rng=np.random.default_rng(0),
    ).confidence_interval
    spread = errors.std().item() / len(errors) ** 0.5
    half = stats.norm.ppf((1 + level) / 2) * spread
    assert found.mean == errors.mean().item()
    for ours, scipys, normal in (
        (found.low, theirs.low, found.mean - half),
        (found.high, theirs.high, found.mean + half),
    ):
        assert ours == pytest.approx(scipys, abs=0.15 * spread)
        assert ours == pytest.approx(normal, abs=0.2 * spread)


def test_interval_covers_the_truth_as_often_as_it_says():
    chance = torch.Generator().manual_seed(6)
    draws = (torch.rand(300, 200, generator=chance) < 0.3).double()
    intervals = [metrics.bootstrap(d, 0.8, resamples=300, seed=i) for i, d in enumerate(draws)]
    covered = sum(i.low <= 0.3 <= i.high for i in intervals)
    # 240 expected; outside 212 to 265 lies one run in ten thousand.
    assert 212 <= covered <= 265


def test_pairs_are_narrower_than_two_samples():
    """Two networks that miss nearly the same images: only their difference tells them apart."""
    first = (torch.rand(2000, generator=torch.Generator().manual_seed(7)) < 0.15).double()
    second = first.clone()
    second[first.argmin()] = 1
    second[(first == 0).nonzero()[1:30, 0]] = 1
    alone = metrics.bootstrap(second)
    paired = metrics.bootstrap(second - first)
    assert paired.low > 0
    assert alone.low < first.mean() < alone.high
    assert paired.mean == pytest.approx(30 / 2000)


def test_interval_of_a_constant_has_no_width_and_a_seed_fixes_it():
    assert metrics.bootstrap(torch.zeros(10)) == (0, 0, 0)
    values = torch.rand(50)
    assert metrics.bootstrap(values) == metrics.bootstrap(values)
    assert metrics.bootstrap(values) != metrics.bootstrap(values, seed=1)


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (torch.zeros(0), {}, "shape"),
        (torch.zeros(2, 2), {}, r"\(2, 2\)"),
        (torch.tensor([0, torch.inf]), {}, "finite"),
        (torch.zeros(3), {"level": 95}, "level is 95"),
        (torch.zeros(3), {"resamples": 0}, "resamples 0"),
    ],
)
def test_what_has_no_interval_is_refused(values, options, words):
    with pytest.raises(ValueError, match=words):
        metrics.bootstrap(values, **options)
