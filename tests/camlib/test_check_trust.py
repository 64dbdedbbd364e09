"""The self-checks of the chapter on trust in maps: right answers pass, and every sentence they can
say is provoked by a wrong answer."""

import numpy as np
import pytest
import torch
from scipy import stats
from verdicts import GARBAGE, raising, rejected

from camlib import check, faithfulness, sanity

CHECKS = [check.rank_correlation, check.mass_share, check.deletion_area, check.moving_loss]


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("checked", CHECKS)
def test_garbage_gets_a_verdict_as_answer_and_as_what_a_function_gives(checked, garbage):
    rejected(checked(garbage), "expected your function itself")
    rejected(checked(lambda *_: garbage))
    rejected(checked(lambda *_: (garbage, garbage)))
    rejected(checked(raising), "stopped with")
    rejected(checked(...), "still `...`")


# Rank correlation


def ranks(values):
    return values.flatten().argsort().argsort().double()


def pearson(a, b):
    return torch.corrcoef(torch.stack([a.flatten().double(), b.flatten().double()]))[0, 1]


@pytest.mark.parametrize(
    "right",
    [
        lambda a, b: stats.spearmanr(a.flatten().numpy(), b.flatten().numpy()).statistic,
        sanity.rank_correlation,
        lambda a, b: pearson(ranks(a), ranks(b)),
        lambda a, b: pearson(ranks(-a), ranks(-b)).item(),
    ],
)
def test_rank_correlation_takes_right_answers(right):
    assert check.rank_correlation(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (pearson, "correlation of the values"),
        (lambda a, b: -sanity.rank_correlation(a, b), "the sign"),
        (lambda a, b: pearson(a.flatten().argsort(), b.flatten().argsort()), "argsort alone"),
        (
            lambda a, b: np.mean([pearson(ranks(x), ranks(y)) for x, y in zip(a, b, strict=True)]),
            "one by one",
        ),
        (lambda a, b: pearson(a.argsort(1).argsort(1), b.argsort(1).argsort(1)), "one by one"),
        (lambda a, b: pearson(ranks(a), b), "only one of the two"),
        (lambda a, b: pearson(a, ranks(b)), "only one of the two"),
        (lambda a, b: (ranks(a) * ranks(b)).mean(), "between -1 and 1"),
        (lambda a, b: 0.123, "take the correlation of the ranks"),
        (lambda a, b: a, "expected one number"),
    ],
)
def test_rank_correlation_says_what_is_wrong(wrong, word):
    rejected(check.rank_correlation(wrong), word)


# Mass on a mask


def mass(heatmap, mask):
    positive = heatmap.relu()
    return positive[mask].sum() / positive.sum().clamp(min=1e-12)


@pytest.mark.parametrize(
    "right",
    [
        mass,
        lambda m, k: mass(m, k).item(),
        lambda m, k: np.nan_to_num((m.relu() * k).sum().numpy() / max(m.relu().sum().item(), 1e-9)),
    ],
)
def test_mass_share_takes_right_answers(right):
    assert check.mass_share(right).ok


def shifted(m):
    return m - m.min()


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda m, k: m[k].sum() / m.sum(), "negative values are in the sums"),
        (lambda m, k: m.abs()[k].sum() / m.abs().sum(), "fold them over"),
        (lambda m, k: shifted(m)[k].sum() / shifted(m).sum(), "the minimum was taken off"),
        (lambda m, k: m.relu()[k].sum(), "that is a sum"),
        (lambda m, k: 1 - mass(m, k), "outside the mask"),
        (lambda m, k: (m > 0)[k].float().mean(), "share of pixels"),
        (lambda m, k: (m > 0)[k].sum() / (m > 0).sum(), "share of pixels"),
        (lambda m, k: k.float().mean(), "share of pixels"),
        (lambda m, k: mass(m, k) / k.float().mean(), "a preference"),
        (lambda m, k: m.relu()[k].mean(), "compares mass with mass"),
        (lambda m, k: m.relu()[k].sum() / m.numel(), "compares mass with mass"),
        (lambda m, k: float(k.flatten()[m.argmax()]), "a hit"),
        (lambda m, k: 0.123, "over all positive values"),
        (lambda m, k: m.relu()[k].sum() / m.relu().sum(), "expected 0"),
        (lambda m, k: mass(m, k) if m.max() > 0 else None, "expected 0"),
    ],
)
def test_mass_share_says_what_is_wrong(wrong, word):
    rejected(check.mass_share(wrong), word)


# The area of a deletion


def deleted(score, image, fill, heatmap, steps, order=None, pile=True):
    if order is None:
        shuffle = torch.randperm(heatmap.numel())
        order = shuffle[heatmap.flatten()[shuffle].argsort(descending=True, stable=True)]
    left, values = image.flatten(1).clone(), [float(score(image))]
    for share in order.chunk(steps):
        left = left if pile else image.flatten(1).clone()
        left[:, share] = fill.flatten(1)[:, share]
        values.append(float(score(left.reshape(image.shape))))
    return torch.tensor(values)


def solved(score, image, fill, heatmap, steps):
    return torch.trapezoid(deleted(score, image, fill, heatmap, steps), dx=1 / steps)


def by_rank(score, image, fill, heatmap, steps):
    """As camlib does it: a threshold on the rank of each pixel."""
    noise = torch.rand(heatmap.shape).flatten().numpy()
    order = torch.from_numpy(np.lexsort((noise, -heatmap.flatten().numpy())))
    rank = order.argsort().reshape(heatmap.shape)
    gone = [rank < i * heatmap.numel() / steps for i in range(steps + 1)]
    return faithfulness.area(torch.tensor([score(torch.where(g, fill, image)) for g in gone]))


def overwriting(score, image, fill, heatmap, steps):
    values = [float(score(image))]
    for share in heatmap.flatten().argsort(descending=True).chunk(steps):
        image.flatten(1)[:, share] = fill.flatten(1)[:, share]
        values.append(float(score(image)))
    return torch.trapezoid(torch.tensor(values), dx=1 / steps)


@pytest.mark.parametrize("right", [solved, by_rank, lambda *a: solved(*a).item()])
def test_deletion_area_takes_right_answers(right):
    assert check.deletion_area(right).ok


def with_order(order, swap=False, black=False):
    def wrong(score, image, fill, heatmap, steps):
        given = (fill, image) if swap else (image, torch.zeros_like(image) if black else fill)
        points = deleted(score, *given, heatmap, steps, order(heatmap))
        return torch.trapezoid(points, dx=1 / steps)

    return wrong


def highest(heatmap):
    return heatmap.flatten().argsort(descending=True)


def of_points(function):
    return lambda *arguments: function(deleted(*arguments))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (with_order(lambda m: m.flatten().argsort()), "lowest pixels on"),
        (with_order(highest, black=True), "of the fill"),
        (with_order(highest, swap=True), "back from its highest"),
        (of_points(torch.trapezoid), "how wide is a step"),
        (of_points(lambda p: torch.trapezoid(p, dx=1 / len(p))), "how wide is a step"),
        (of_points(lambda p: torch.trapezoid(p, dx=1 / 48)), "how wide is a step"),
        (of_points(torch.mean), "the two ends"),
        (of_points(torch.sum), "the two ends"),
        (of_points(lambda p: p[1:].mean()), "the two ends"),
        (of_points(lambda p: p[:-1].mean()), "the two ends"),
        (of_points(lambda p: torch.trapezoid(p[1:], dx=1 / (len(p) - 2))), "begins after"),
        (of_points(lambda p: torch.trapezoid(p[:-1], dx=1 / (len(p) - 2))), "ends before"),
        (
            lambda *a: torch.trapezoid(deleted(*a, pile=False), dx=1 / a[-1]),
            "what is gone stays gone",
        ),
        (with_order(lambda m: highest(m).argsort()), "argsort gives the order already"),
        (
            with_order(lambda m: torch.arange(48).reshape(6, 8).T.flatten()[highest(m)]),
            "rows and columns",
        ),
        (lambda *_: 0.123, "the area under all points"),
        (deleted, "the whole curve"),
        (lambda *a: deleted(*a).tolist(), "the whole curve"),
        (
            with_order(lambda m: m.flatten().argsort(descending=True, stable=True)),
            "order of reading",
        ),
        (
            with_order(
                lambda m: torch.from_numpy(
                    np.lexsort((np.arange(m.numel()) % m.shape[1], -m.flatten()))
                )
            ),
            "order of reading",
        ),
        (overwriting, "writes into the image"),
    ],
)
def test_deletion_area_says_what_is_wrong(wrong, word):
    rejected(check.deletion_area(wrong), word)


# The loss of an attack


def loss(
    maps,
    region,
    logits,
    old,
    weight,
    share_of=torch.relu,
    sign=-1.0,
    square=torch.square,
    over=None,
):
    positive = share_of(maps)
    whole = positive.sum((1, 2)) if over is None else over
    kept = square(logits - old).mean(1)
    return weight * kept + sign * (positive * region).sum((1, 2)) / whole


def looped(maps, region, logits, old, weight):
    values = []
    for one, after, before in zip(maps, logits, old, strict=True):
        inside = one[region == 1].clamp(min=0).sum()
        term = torch.nn.functional.mse_loss(after, before)
        values.append(-inside / one.clamp(min=0).sum() + weight * term)
    return torch.stack(values)


def of_best(maps, region, logits, old, weight):
    best = old.argmax(1)[:, None]
    kept = (logits - old).gather(1, best).square()
    return loss(maps, region, kept.sqrt(), torch.zeros_like(kept), weight)


def of_all(maps, region, logits, old, weight):
    p = maps.relu()
    return weight * (logits - old).square().mean(1) - (p * region).sum() / p.sum()


def half_detached(maps, region, logits, old, weight):
    """The right values; with this gradient mass only grows."""
    p = maps.relu()
    share = (p * region).sum((1, 2)) / p.sum((1, 2)).detach()
    return weight * (logits - old).square().mean(1) - share


@pytest.mark.parametrize("right", [loss, looped])
def test_moving_loss_takes_right_answers(right):
    assert check.moving_loss(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda *a: loss(*a, sign=1.0), "wrong sign"),
        (lambda m, r, s, o, w: loss(m, r, s, o, 0.0), "term is missing"),
        (lambda *a: loss(*a, sign=0.0), "the share is missing"),
        (lambda m, r, s, o, w: loss(m, r, s, o, 1.0), "the weight is missing"),
        (lambda m, r, s, o, w: loss(m, r, s, o, 1.0, sign=-w), "belongs to the logits"),
        (lambda m, r, s, o, w: loss(m, r, s, o, w * s.shape[1]), "mean over the classes"),
        (lambda *a: loss(*a, square=torch.abs), "not squared"),
        (lambda *a: loss(*a, square=torch.clone), "not squared"),
        (of_best, "best class's logit"),
        (lambda *a: loss(*a, share_of=torch.clone), "negative values are in the share"),
        (lambda *a: loss(*a, over=1.0), "not divided"),
        (of_all, "summed over all images"),
        (lambda *a: 2 * loss(*a), "plus weight times"),
        (lambda *a: loss(*a).sum(), "a loss for each"),
        (lambda *a: loss(*a)[:, None], "has shape"),
        (lambda *a: loss(*a).detach(), "no gradient"),
        (lambda m, *a: loss(m.detach(), *a), "no gradient"),
        (half_detached, "their gradient is not"),
    ],
)
def test_moving_loss_says_what_is_wrong(wrong, word):
    rejected(check.moving_loss(wrong), word)
