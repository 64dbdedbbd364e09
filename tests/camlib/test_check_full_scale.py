"""The self-checks of the chapter on full scale: right answers pass, and every sentence they can say
is provoked by a wrong answer."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from verdicts import GARBAGE, raising, rejected

from camlib import check
from camlib.datasets import Pets
from camlib.fullscale_data import EvaluationViews, Parts
from camlib.networks import Transform

CHECKS = [check.box_in_view, check.class_order, check.training_hours, check.place_to_resume]


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("checked", CHECKS)
def test_garbage_gets_a_verdict_as_answer_and_as_what_a_function_gives(checked, garbage):
    rejected(checked(garbage), "expected your function itself")
    rejected(checked(lambda *_: garbage))
    rejected(checked(lambda *_: (garbage, garbage)))
    rejected(checked(raising), "stopped with")
    rejected(checked(...), "still `...`")


# A box in the view


def half_open(kind, box):
    x0, y0, a, b = box
    return (x0, y0, a + 1, b + 1) if kind == "ILSVRC" else (x0, y0, x0 + a, y0 + b)


def scaled(box, size, side, factors=None):
    x, y = factors or (side / size[0], side / size[1])
    return [box[0] * x, box[1] * y, box[2] * x, box[3] * y]


def in_view(kind, box, size, side):
    return scaled(half_open(kind, box), size, side)


@pytest.mark.parametrize(
    "right",
    [
        in_view,
        lambda *a: tuple(in_view(*a)),
        lambda *a: np.array(in_view(*a)),
        lambda *a: torch.tensor(in_view(*a)),
    ],
)
def test_box_in_view_takes_right_answers(right):
    assert check.box_in_view(right).ok


def test_the_view_of_camlib_agrees_with_the_answer(tmp_path):
    """Through a data set and its view, not through the formula."""
    from dataset_folders import SIZE, pets

    data = Pets(pets(tmp_path), "test")
    view = EvaluationViews(data, Transform(224, 1.0))[0]
    x0, y0, x1, y1 = data.target(0)["boxes"][0].tolist()
    ours = in_view("CUB", (x0, y0, x1 - x0, y1 - y0), SIZE, 224)
    assert view.boxes[0].tolist() == pytest.approx(ours)
    ours = in_view("ILSVRC", (x0, y0, x1 - 1, y1 - 1), SIZE, 224)
    assert view.boxes[0].tolist() == pytest.approx(ours)


def only(kind, wrong):
    """Wrong for one of the two formats, right for the other."""
    return lambda k, b, size, side: (wrong if k == kind else in_view)(k, b, size, side)


def ends(change):
    return lambda k, b, size, side: scaled(change(*b), size, side)


def changed(change):
    return lambda k, b, size, side: change(half_open(k, b), size, side)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (only("ILSVRC", ends(lambda x, y, a, b: (x, y, a, b))), "pixels xmax and ymax belong"),
        (only("ILSVRC", ends(lambda x, y, a, b: (x, y, x + a, y + b))), "places, not sizes"),
        (
            only("ILSVRC", ends(lambda x, y, a, b: (x, y, x + a + 1, y + b + 1))),
            "places, not sizes",
        ),
        (only("ILSVRC", ends(lambda *b: [v + 1 for v in b])), "only the end moves"),
        (only("ILSVRC", ends(lambda *b: [v - 1 for v in b])), "only the end moves"),
        (only("ILSVRC", ends(lambda x, y, a, b: (x, y, a - 1, b - 1))), "*after* the last"),
        (only("CUB", ends(lambda x, y, a, b: (x, y, a, b))), "sizes, not places"),
        (only("CUB", ends(lambda x, y, a, b: (x, y, a + 1, b + 1))), "sizes, not places"),
        (
            only("CUB", ends(lambda x, y, a, b: (x, y, x + a + 1, y + b + 1))),
            "first pixel outside already",
        ),
        (
            only("CUB", ends(lambda x, y, a, b: (x, y, x + a - 1, y + b - 1))),
            "first pixel outside already",
        ),
        (
            only(
                "ILSVRC",
                lambda k, b, size, side: [
                    v + i for v, i in zip(scaled(b, size, side), (0, 0, 1, 1), strict=True)
                ],
            ),
            "added in the view",
        ),
        (changed(lambda b, size, side: b), "box in the image"),
        (changed(lambda b, size, side: scaled(b, size, 1)), "share of the image"),
        (
            changed(lambda b, size, side: scaled(b, size, side, [side / size[0]] * 2)),
            "one factor",
        ),
        (
            changed(lambda b, size, side: scaled(b, size, side, [side / min(size)] * 2)),
            "one factor",
        ),
        (changed(lambda b, size, side: scaled(b, size[::-1], side)), "factors are swapped"),
        (
            changed(lambda b, size, side: scaled(b, size, side, [s / side for s in size])),
            "upside down",
        ),
        (
            changed(lambda b, size, side: [scaled(b, size, side)[i] for i in (1, 0, 3, 2)]),
            "x counts columns",
        ),
        (changed(lambda b, size, side: [round(v) for v in scaled(b, size, side)]), "rounded"),
        (changed(lambda b, size, side: [int(v) for v in scaled(b, size, side)]), "rounded"),
        (lambda *_: (1, 2, 3, 4), "try the whole image by hand"),
        (lambda *_: (1, 2, 3), "expected four numbers"),
    ],
)
def test_box_in_view_says_what_is_wrong(wrong, word):
    rejected(check.box_in_view(wrong), word)


@pytest.mark.parametrize("kind", ["ILSVRC", "CUB"])
def test_box_in_view_says_which_format_is_wrong(kind):
    rejected(check.box_in_view(only(kind, changed(lambda b, *_: b))), kind)


# The order of the classes


def by_rows(counts):
    return (counts / counts.sum(dim=1, keepdim=True)).argmax(dim=0)


@pytest.mark.parametrize(
    "right",
    [
        by_rows,
        lambda counts: by_rows(counts).tolist(),
        lambda counts: counts.argmax(dim=1).argsort().numpy(),  # each row's largest, turned round
        lambda counts: linear_sum_assignment(-counts.numpy().T)[1],
        lambda counts: [max(range(len(counts)), key=lambda i: s[i]) for s in shares(counts)],
    ],
)
def test_class_order_takes_right_answers(right):
    assert check.class_order(right).ok


def shares(counts):
    return (counts.double() / counts.sum(dim=1, keepdim=True)).T.tolist()


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda counts: counts.argmax(dim=1), "reverse question"),
        (lambda counts: by_rows(counts).argsort(), "reverse question"),
        (lambda counts: list(range(len(counts))), "left as it is"),
        (lambda counts: by_rows(counts) + 1, "count from 0"),
        (lambda counts: counts.argmax(dim=0), "outvotes a small one"),
        (lambda counts: [0] * len(counts), "each means another"),
        (lambda counts: by_rows(counts).roll(1), "get this answer"),
        (lambda counts: by_rows(counts)[:-1], "one for each output"),
        (lambda counts: counts, "one for each output"),
    ],
)
def test_class_order_says_what_is_wrong(wrong, word):
    rejected(check.class_order(wrong), word)


# Hours


def hours(speed, steps, batch, gpus, accumulate):
    return steps * batch / (speed * gpus * 3600)


@pytest.mark.parametrize(
    "right",
    [hours, lambda *a: torch.tensor(hours(*a)), lambda s, n, b, g, a: n / (s * g / b) / 60 / 60],
)
def test_training_hours_takes_right_answers(right):
    assert check.training_hours(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda *a: 3600 * hours(*a), "seconds"),
        (lambda *a: 60 * hours(*a), "minutes"),
        (lambda *a: hours(*a) / 24, "days"),
        (lambda *a: hours(*a) * a[-1], "adds no images"),
        (lambda *a: hours(*a) / a[-1], "adds no images"),
        (lambda s, n, b, g, a: hours(s, n, b, 1, a), "GPUs share the images"),
        (lambda s, n, b, g, a: hours(s, n, b * g * g, g, a), "GPUs share the images"),
        (lambda s, n, b, g, a: hours(s, n, b * g * a, g, a), "GPUs share the images"),
        (lambda s, n, b, g, a: hours(s, n, 1, g, a), "the batch is missing"),
        (lambda s, n, b, g, a: hours(s, n, 1, 1, a), "the batch is missing"),
        (lambda *a: 1 / hours(*a), "upside down"),
        (lambda *a: 1 / hours(*a) * 3600, "upside down"),
        (lambda *_: 12.5, "by images a second"),
        (lambda *_: "long", "expected a number of hours"),
    ],
)
def test_training_hours_says_what_is_wrong(wrong, word):
    rejected(check.training_hours(wrong), word)


# Where to go on


def place(step, images, batch):
    epoch, steps = divmod(step, images // batch)
    return epoch, steps * batch


@pytest.mark.parametrize(
    "right",
    [place, lambda *a: list(place(*a)), lambda *a: torch.tensor(place(*a))],
)
def test_place_to_resume_takes_right_answers(right):
    assert check.place_to_resume(right).ok


@pytest.mark.parametrize(("step", "images", "batch"), [(7, 100, 32), (3, 100, 32), (4, 20, 4)])
def test_the_place_is_the_one_where_camlib_goes_on(step, images, batch):
    """The batches of a training from the start, and of one from this step on, are the same."""
    every = list(Parts(images, batch, 0, 1, [0], range(step + 1)))
    epoch, used = place(step, images, batch)
    assert every[step] == next(iter(Parts(images, batch, 0, 1, [0], range(step, step + 1))))
    assert {e for e, _ in every[step]} == {epoch}
    before = [i for part in every[:step] for e, i in part if e == epoch]
    assert len(before) == used


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda s, n, b: divmod(s * b, n), "count its steps"),
        (lambda s, n, b: place(s, n + b - 1, b), "a step less"),
        (lambda s, n, b: divmod(s, n // b), "images are asked"),
        (lambda s, n, b: (place(s, n, b)[0], n - place(s, n, b)[1]), "what is used is asked"),
        (
            lambda s, n, b: (place(s, n, b)[0], n // b * b - place(s, n, b)[1]),
            "what is used is asked",
        ),
        (lambda s, n, b: (place(s, n, b)[0], s * b), "those of this epoch"),
        (lambda s, n, b: (place(s, n, b)[0] + 1, place(s, n, b)[1]), "count from 0"),
        (lambda *a: place(*a)[::-1], "comes first"),
        (lambda *_: (1, 2), "the steps that remain"),
        (lambda *_: 3, "expected two numbers"),
    ],
)
def test_place_to_resume_says_what_is_wrong(wrong, word):
    rejected(check.place_to_resume(wrong), word)
