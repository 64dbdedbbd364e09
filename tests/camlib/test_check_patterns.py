"""The self-checks of the chapter on patterns and units: right answers pass, and every sentence they
can say is provoked by a wrong answer."""

import numpy as np
import pytest
import torch
from verdicts import GARBAGE, raising, rejected

from camlib import check, patterns, units

CHECKS = [check.telling, check.mined, check.unit_order, check.without_units]


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("checked", CHECKS)
def test_garbage_gets_a_verdict_as_answer_and_as_what_a_function_gives(checked, garbage):
    rejected(checked(garbage), "expected your function itself")
    rejected(checked(lambda *_: garbage))
    rejected(checked(lambda *_: (garbage, garbage)))
    rejected(checked(raising), "stopped with")
    rejected(checked(...), "still `...`")
    rejected(checked(lambda *_: None), "None")
    rejected(checked(lambda *_: ...), "still gives `...`")


# How much a motif tells


def smooth(of):
    return (of.double().sum(0) + 0.5) / (len(of) + 1)


def telling(p, y, c):
    return (smooth(p[y == c]) / smooth(p[y != c])).log()


@pytest.mark.parametrize(
    "right",
    [
        telling,
        lambda p, y, c: smooth(p[y == c]).log() - smooth(p[y != c]).log(),
        lambda p, y, c: torch.from_numpy(
            np.log(smooth(p[y == c]).numpy() / smooth(p[y != c]).numpy())
        ),
        lambda p, y, c: telling(p, y, c).float(),
    ],
)
def test_telling_takes_right_answers(right):
    assert check.telling(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda p, y, c: (p[y == c].double().mean(0) / p[y != c].double().mean(0)).log(), "half"),
        (lambda p, y, c: p[y == c].double().mean(0), "other categories have not"),
        (lambda p, y, c: smooth(p[y == c]).log(), "other categories have not"),
        (lambda p, y, c: -telling(p, y, c), "the other way round"),
        (lambda p, y, c: telling(p, y, c).exp(), "logarithm is missing"),
        (lambda p, y, c: smooth(p[y == c]) - smooth(p[y != c]), "difference"),
        (lambda p, y, c: (smooth(p[y == c]) / smooth(p)).log(), "among those it is compared"),
        (
            lambda p, y, c: ((p[y == c].sum(0) + 0.5) / (p[y != c].sum(0) + 0.5)).log(),
            "counts are divided",
        ),
        (lambda p, y, c: telling(p, y, 0), "another category"),
        (lambda p, y, c: telling(p, y, c) / np.log(2), "another logarithm"),
        (lambda p, y, c: telling(p, y, c) + 1, "(count + 1/2)"),
        (lambda p, y, c: telling(p, y, c).sum(), "summed up"),
        (lambda p, y, c: p.double(), "pictures are still there"),
        (lambda p, y, c: torch.stack([telling(p, y, k) for k in range(3)]), "all categories"),
        (lambda p, y, c: telling(p, y, c)[:2], "one number for each motif."),
    ],
)
def test_telling_says_what_is_wrong(wrong, word):
    rejected(check.telling(wrong), word)


# Hard negatives


def mined(scores, labels, used, number):
    free = labels == 0
    free[used] = False
    return scores.masked_fill(~free, -torch.inf).topk(number).indices


def by_sorting(scores, labels, used, number):
    taken = set(used.tolist())
    order = scores.argsort(descending=True).tolist()
    return torch.tensor([i for i in order if i not in taken and labels[i] == 0][:number])


def within(scores, labels, used, number):
    free = labels == 0
    free[used] = False
    return scores[free].topk(number).indices


def with_copies(s, y, u, n):
    return mined(s, y, u, n)[:1].expand(n)


def spoiling(s, y, u, n):
    s[u] = s[y == 1] = -1e9
    return s.topk(n).indices


@pytest.mark.parametrize(
    "right",
    [
        mined,
        by_sorting,
        spoiling,  # what it is given is a copy
        lambda s, y, u, n: mined(s, y, u, n).flip(0).int(),
        lambda s, y, u, n: patterns.hard_negatives(s, torch.cat([u, (y == 1).nonzero()[:, 0]]), n),
    ],
)
def test_mined_takes_right_answers(right):
    assert check.mined(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda s, y, u, n: mined(-s, y, u, n), "lowest scores"),
        (within, "within the negatives that are left"),
        (lambda s, y, u, n: s[y == 0].topk(n).indices, "counts within the negatives:"),
        (lambda s, y, u, n: mined(-s.abs(), y, u, n), "nearest to the boundary"),
        (with_copies, "twice"),
        (lambda s, y, u, n: mined(s, torch.zeros_like(y), u, n), "positives among them"),
        (lambda s, y, u, n: mined(s, y, u[:0], n), "used already"),
        (lambda s, y, u, n: mined(s, y, u, n + 1)[1:], "others have higher scores"),
        (lambda s, y, u, n: mined(s, y, u, n + 1), "your answer has shape (7,)"),
        (lambda s, y, u, n: s, "one value for each picture"),
        (lambda s, y, u, n: s[mined(s, y, u, n)], "those are scores"),
        (lambda s, y, u, n: mined(s, y, u, n) + 100, "those are scores, or no indices"),
    ],
)
def test_mined_says_what_is_wrong(wrong, word):
    rejected(check.mined(wrong), word)


# Units by contribution


def parts(w, f, y, c):
    return w[c] * f[y == c].mean(0)


@pytest.mark.parametrize(
    "right",
    [
        lambda w, f, y, c: parts(w, f, y, c).argsort(descending=True),
        lambda w, f, y, c: (-(w[c] * f[y == c]).sum(0)).argsort(),
        lambda w, f, y, c: units.ranking(w, f, y, "contribution")[c],
    ],
)
def test_unit_order_takes_right_answers(right):
    assert check.unit_order(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda w, f, y, c: units.ranking(w, f, y, "weight")[c], "order by weight"),
        (lambda w, f, y, c: f[y == c].mean(0).argsort(descending=True), "order by activation"),
        (lambda w, f, y, c: f.mean(0).argsort(descending=True), "order by activation"),
        (lambda w, f, y, c: parts(w, f, y, c).argsort(), "smallest contribution"),
        (lambda w, f, y, c: (w[c] * f.mean(0)).argsort(descending=True), "over all pictures"),
        (lambda w, f, y, c: parts(w, f, y, c).abs().argsort(descending=True), "absolute value"),
        (
            lambda w, f, y, c: (w[0] * f[y == c].mean(0)).argsort(descending=True),
            "weights of another class",
        ),
        (
            lambda w, f, y, c: parts(w, f, y, c).argsort(descending=True).argsort(),
            "places of the units",
        ),
        (lambda w, f, y, c: torch.tensor([3, 1, 0, 2, 5, 4, 8, 7, 6]), "the largest first"),
        (lambda w, f, y, c: parts(w, f, y, c).sort(descending=True).values, "argsort gives"),
        (lambda w, f, y, c: torch.arange(3), "each unit once"),
    ],
)
def test_unit_order_says_what_is_wrong(wrong, word):
    rejected(check.unit_order(wrong), word)


# Without units


def without(f, w, b, r, fill):
    return units.ablated(f, w, b, r, fill)


def in_place(f, w, b, r, fill):
    f[:, r] = fill[r]
    return f @ w.T + b


def by_difference(f, w, b, r, fill):
    return f @ w.T + b - (f[:, r] - fill[r]) @ w[:, r].T


def rows_removed(f, w, b, r, fill):
    w = w.clone()
    w[r[r < 3]] = 0
    return f @ w.T + b


def first_values(f, w, b, r, fill):
    f = f.clone()
    f[:, r] = fill[: len(r)]
    return f @ w.T + b


def others_removed(f, w, b, r, fill):
    kept = torch.zeros_like(f)
    kept[:, r] = f[:, r]
    return kept @ w.T + b


@pytest.mark.parametrize("right", [without, by_difference])
def test_without_units_takes_right_answers(right):
    assert check.without_units(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda f, w, b, r, fill: f @ w.T + b, "nothing is removed"),
        (lambda f, w, b, r, fill: without(f, w, b, r, fill * 0), "set to zero"),
        (others_removed, "the others are removed"),
        (lambda f, w, b, r, fill: without(f, w, b, r, fill) - b, "bias is missing"),
        (rows_removed, "a column of the weight"),
        (first_values, "each of the K units"),
        (lambda f, w, b, r, fill: without(f, w, b, r, fill) * 2, "as ever"),
        (in_place, "overwritten"),
        (lambda f, w, b, r, fill: without(f, w, b, r, fill).T, "your answer has shape (3, 5)"),
    ],
)
def test_without_units_says_what_is_wrong(wrong, word):
    rejected(check.without_units(wrong), word)
