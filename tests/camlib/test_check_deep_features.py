"""The self-checks of the chapter on deep features: right answers pass, and every sentence they can
say is provoked by a wrong answer."""

import numpy as np
import pytest
import torch
from verdicts import GARBAGE, raising, rejected

from camlib import check

CHECKS = [
    check.svm_on_raw_features,
    check.maps_after_unit_length,
    check.square_around,
    check.folds_by_photograph,
]


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("checked", CHECKS)
def test_garbage_gets_a_verdict_as_answer_and_as_what_a_function_gives(checked, garbage):
    rejected(checked(garbage), "expected your function itself")
    rejected(checked(lambda *_: garbage))
    rejected(checked(lambda *_: (garbage, garbage)))
    rejected(checked(raising), "stopped with")
    rejected(checked(...), "still `...`")


# An SVM on scaled features, as a layer on raw ones


def raw(w, b, m, s):
    return w / s, b - (w / s) @ m


@pytest.mark.parametrize(
    "right",
    [
        raw,
        lambda w, b, m, s: [w / s[None], b - (w * (m / s)).sum(1)],
        lambda w, b, m, s: (w @ torch.diag(1 / s), b - torch.mv(w, m / s)),
    ],
)
def test_svm_on_raw_features_takes_right_answers(right):
    assert check.svm_on_raw_features(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda w, b, m, s: w / s, ("gives Tensor, expected two",)),
        (lambda w, b, m, s: (w, b, m), ("3 things",)),
        (lambda w, b, m, s: ((w / s).T, b), ("your weights have shape (5, 3)",)),
        (lambda w, b, m, s: (w / s, b[0]), ("your bias has shape ()",)),
        (lambda w, b, m, s: (w, raw(w, b, m, s)[1]), ("the weights are as they were",)),
        (lambda w, b, m, s: (w * s, b), ("multiplied by the deviation",)),
        (lambda w, b, m, s: (w / s**2, b), ("variance",)),
        (lambda w, b, m, s: ((w - m) / s, b), ("taken off the weights",)),
        (lambda w, b, m, s: (w - m, b), ("taken off the weights",)),
        (lambda w, b, m, s: (w / s.sqrt(), b), ("write out the decision value",)),
        (lambda w, b, m, s: (w / s, b), ("the bias is as it was",)),
        (lambda w, b, m, s: (w / s, b + (w / s) @ m), ("the other way",)),
        (lambda w, b, m, s: (w / s, b - w @ m), ("divided by the deviation too",)),
        (lambda w, b, m, s: (w / s, -(w / s) @ m), ("the old bias is missing",)),
        (lambda w, b, m, s: (w / s, b - m[:3]), ("at F = 0",)),
    ],
)
def test_svm_on_raw_features_says_what_is_wrong(wrong, words):
    rejected(check.svm_on_raw_features(wrong), *words)


# Maps behind a division by the length


def unit(f, w, length=lambda pooled: pooled.norm(dim=1)):
    return torch.einsum("ck,nkhw->nchw", w, f) / length(f.mean((2, 3)))[:, None, None, None]


@pytest.mark.parametrize(
    "right",
    [
        unit,
        lambda f, w: (
            (w @ (f / f.mean((2, 3), keepdim=True).norm(dim=1, keepdim=True)).flatten(2))
            .unflatten(2, f.shape[2:])
            .double()
        ),
        lambda f, w: torch.stack([unit(one[None], w)[0] for one in f]),
    ],
)
def test_maps_after_unit_length_takes_right_answers(right):
    assert check.maps_after_unit_length(right).ok


def scaled(f, w, by):
    return torch.einsum("ck,nkhw->nchw", w, f / by)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda f, w: f.mean((2, 3)) @ w.T, ("the maps have places",)),
        (lambda f, w: f, ("the channels are still there",)),
        (lambda f, w: unit(f, w)[0], ("one for each image",)),
        (lambda f, w: unit(f, w)[:, 0], ("one for each class",)),
        (lambda f, w: unit(f, w).mean(), ("has shape ()",)),
        (lambda f, w: scaled(f, w, 1), ("without the division",)),
        (lambda f, w: scaled(f, w, f.norm(dim=1, keepdim=True)), ("its own length",)),
        (
            lambda f, w: scaled(f, w, f.flatten(1).norm(dim=1)[:, None, None, None]),
            ("all activations",),
        ),
        (lambda f, w: unit(f * 1.0, w) / 30, ("sum over places",)),
        (lambda f, w: scaled(f, w, f.mean((2, 3)).norm()), ("one length for the whole batch",)),
        (lambda f, w: unit(f, w, lambda p: p.sum(1)), ("square root of the sum of squares",)),
        (lambda f, w: unit(f, w, lambda p: p.norm(dim=1) ** 2), ("square root",)),
        (lambda f, w: unit(f, w, lambda p: 1 / p.norm(dim=1)), ("multiplied by the length",)),
        (lambda f, w: unit(f, w) - 0.5, ("begin with the map of w",)),
    ],
)
def test_maps_after_unit_length_says_what_is_wrong(wrong, words):
    rejected(check.maps_after_unit_length(wrong), *words)


# The square around a box


def square(box, height, width):
    x0, y0, x1, y1 = box.tolist()
    side = min(max(x1 - x0, y1 - y0), height, width)
    left = min(max((x0 + x1 - side) / 2, 0), width - side)
    top = min(max((y0 + y1 - side) / 2, 0), height - side)
    return left, top, left + side, top + side


def free(box, height, width):
    x0, y0, x1, y1 = box.tolist()
    half = max(x1 - x0, y1 - y0) / 2
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return x - half, y - half, x + half, y + half


def shorter(box, height, width):
    x0, y0, x1, y1 = box.tolist()
    half = min(x1 - x0, y1 - y0) / 2
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return square(torch.tensor([x - half, y - half, x + half, y + half]), height, width)


def from_corner(box, height, width):
    x0, y0, x1, y1 = box.tolist()
    side = min(max(x1 - x0, y1 - y0), height, width)
    return square(torch.tensor([x0, y0, x0 + side, y0 + side]), height, width)


def in_the_middle(box, height, width):
    left, _, right, _ = square(box, height, width)
    half = (right - left) / 2
    return width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half


@pytest.mark.parametrize(
    "right",
    [
        square,
        lambda *of: torch.tensor(square(*of)).round().long(),
        lambda *of: np.array(square(*of)),
    ],
)
def test_square_around_takes_right_answers(right):
    assert check.square_around(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda *of: square(*of)[:3], ("four numbers",)),
        (lambda box, h, w: box, ("which is not square",)),
        (free, ("stick out",)),
        (
            lambda box, h, w: [
                min(max(v, 0), end) for v, end in zip(free(box, h, w), (w, h, w, h), strict=True)
            ],
            ("cut off at the border",),
        ),
        (shorter, ("shorter",)),
        (from_corner, ("begins where the box begins",)),
        (in_the_middle, ("middle of the picture",)),
        (
            lambda *of: (*square(*of)[:2], *[square(*of)[2] - square(*of)[0]] * 2),
            ("width and height",),
        ),
        (lambda box, h, w: square(box, w, h), ("then moved inside",)),
    ],
)
def test_square_around_says_what_is_wrong(wrong, words):
    rejected(check.square_around(wrong), *words)


# Folds


def folds(photo):
    return photo[None] != photo.unique()[:, None]


@pytest.mark.parametrize(
    "right", [folds, lambda p: folds(p).int(), lambda p: torch.stack([p != i for i in range(4)])]
)
def test_folds_by_photograph_takes_right_answers(right):
    assert check.folds_by_photograph(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda p: ~folds(p), ("true is asked where a crop is trained on",)),
        (lambda p: folds(p).flip(0), ("in another order",)),
        (lambda p: torch.ones(4, 11), ("trained on in every fold",)),
        (lambda p: torch.arange(11)[None] % 4 != torch.arange(4)[:, None], ("on both sides",)),
        (lambda p: ~torch.eye(11, dtype=torch.bool), ("would leave a crop out",)),
        (lambda p: folds(p).T, ("has shape (11, 4)",)),
        (lambda p: torch.zeros(4, 11), ("row p is false",)),
    ],
)
def test_folds_by_photograph_says_what_is_wrong(wrong, words):
    rejected(check.folds_by_photograph(wrong), *words)
