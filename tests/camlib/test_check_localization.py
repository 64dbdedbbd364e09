"""The self-checks of the chapter on localization without boxes: right answers pass, and every
sentence they can say is provoked by a wrong answer."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou
from verdicts import GARBAGE, raising, rejected

from camlib import boxes, check, metrics

CHECKS = [check.hit_rank, check.centre_box, check.two_boxes_each, check.error_parts]


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("checked", CHECKS)
def test_garbage_gets_a_verdict_as_answer_and_as_what_a_function_gives(checked, garbage):
    rejected(checked(garbage), "expected your function itself")
    rejected(checked(lambda *_: garbage))
    rejected(checked(lambda *_: (garbage, garbage)))


@pytest.mark.parametrize("checked", CHECKS)
def test_what_keeps_a_function_from_an_answer(checked):
    rejected(checked(...), "still `...`")
    rejected(checked(raising), "stopped with RuntimeError: shape mismatch")
    rejected(checked(lambda: 1), "stopped with TypeError")
    rejected(checked(lambda *_: None), "`return` missing")
    rejected(checked(lambda *_: ...), "still gives `...`")


# The rank of the first hit by the rule of ILSVRC


def rank(classes, guesses, target, *, by_class=True, by_label=True, over=torch.any, least=0.5):
    label, labels = target["label"], target["labels"]
    own = target["boxes"][labels == label] if by_label else target["boxes"]
    good = over(box_iou(guesses.float(), own).nan_to_num(0) >= least, dim=1)
    hits = (good & (classes == label) if by_class else good).tolist()
    return hits.index(True) + 1 if any(hits) else 0


def by_metrics(classes, guesses, target):
    for i in range(len(classes)):
        one = classes[None, i : i + 1], guesses[None, i : i + 1].float()
        if metrics.localization_error(*one, [target])[0] == 0:
            return i + 1
    return 0


def first_guess(classes, guesses, target):
    return rank(classes[:1], guesses[:1], target)


def of_its_class(classes, guesses, target):
    own = classes == target["label"]
    return rank(classes[own], guesses[own], target) if own.any() else 0


def last_hit(classes, guesses, target):
    back = rank(classes.flip(0), guesses.flip(0), target)
    return back and len(classes) + 1 - back


def class_anywhere(classes, guesses, target):
    return rank(classes, guesses, target, by_class=False) if 3 in classes.tolist() else 0


def mean_iou(classes, guesses, target):
    own = target["boxes"][target["labels"] == target["label"]]
    hits = (box_iou(guesses.float(), own).mean(dim=1) >= 0.5) & (classes == target["label"])
    return int(hits.nonzero()[0]) + 1 if hits.any() else 0


def any_object(classes, guesses, target):
    for i, (c, guess) in enumerate(zip(classes, guesses.float(), strict=True)):
        named = target["boxes"][target["labels"] == c]
        if len(named) and box_iou(guess[None], named).max() >= 0.5:
            return i + 1
    return 0


def empty_is_a_hit(classes, guesses, target):
    empty = [i + 1 for i, guess in enumerate(guesses) if not guess.any()]
    return empty[0] if empty else rank(classes, guesses, target)


@pytest.mark.parametrize(
    "right",
    [
        rank,
        by_metrics,
        lambda *a: torch.tensor(rank(*a)),
        lambda *a: torch.tensor([rank(*a)]),
        lambda *a: np.float32(rank(*a)),
        lambda *a: np.int64(rank(*a)),
    ],
)
def test_rank_accepts_what_is_right(right):
    assert check.hit_rank(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda *a: max(0, rank(*a) - 1), "its rank is 1"),
        (lambda *a: int(rank(*a) == 0), "its rank is 1"),
        (lambda *a: rank(*a) or -1, "none is 0"),
        (lambda *a: rank(*a) or len(a[0]) + 1, "none is 0"),
        (lambda *a: rank(*a, by_class=False), "compare the classes"),
        (lambda *a: rank(*a, by_label=False), "compare `labels`"),
        (any_object, "compare with `label`"),
        (first_guess, "look at all, its rank is 2"),
        (lambda *a: rank(*a) and 1, "look at all, its rank is 2"),
        (of_its_class, "have a rank too"),
        (last_hit, "not the last or their number"),
        (class_anywhere, "in the same guess"),
        (
            lambda c, g, t: rank(c, g, {**t, "boxes": t["boxes"][:1], "labels": torch.tensor([3])}),
            "only the first instance",
        ),
        (lambda *a: rank(*a, over=torch.all), "every instance is asked for"),
        (mean_iou, "or their mean"),
        (lambda *a: rank(*a, least=0.5001), "exactly 0.5"),
        (lambda *a: rank(*a, least=0.4), "below 0.5"),
        (empty_is_a_hit, "overlaps nothing"),
        (lambda *a: "first", "gives str, expected the rank"),
        (lambda *a: bool(rank(*a)), "gives bool, expected the rank"),
        (lambda c, g, t: boxes.iou(g.float(), t["boxes"]), "expected the rank"),
    ],
)
def test_rank_says_what_is_wrong(wrong, words):
    rejected(check.hit_rank(wrong), words)


# A centred box


def centred(width, height, share, side=None):
    side = share**0.5 if side is None else side
    w, h = width * side, height * side
    return [(width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2]


def square(edge):
    def box(width, height, share):
        half = edge(width, height) * share**0.5 / 2
        x, y = width / 2, height / 2
        return [x - half, y - half, x + half, y + half]

    return box


@pytest.mark.parametrize(
    "right",
    [
        centred,
        lambda *a: tuple(round(v) for v in centred(*a)),
        lambda *a: torch.tensor(centred(*a)),
        lambda *a: torch.tensor(centred(*a)).int(),
        lambda *a: np.array(centred(*a)),
    ],
)
def test_centre_box_accepts_what_is_right(right):
    assert check.centre_box(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda w, h, s: centred(w, h, s, side=s), "take the root"),
        (lambda *a: [(b := centred(*a))[0], b[1], b[2] - b[0], b[3] - b[1]], "x, y, width, height"),
        (lambda w, h, s: centred(h, w, s), "x goes with the width"),
        (lambda w, h, s: [0, 0, w * s**0.5, h * s**0.5], "starts in the corner"),
        (square(min), "box is square"),
        (square(max), "box is square"),
        (square(lambda w, h: (w * h) ** 0.5), "box is square"),
        (lambda w, h, s: centred(w, h, 1 - s), "area outside"),
        (lambda *a: [v + 3 for v in centred(*a)], "check its centre and its area"),
        (lambda *_: ["a", 0, 1, 1], "four numbers, x0"),
        (lambda *_: 0.5, "four numbers, x0"),
        (lambda *_: torch.zeros(2, 4), "four numbers, x0"),
        (lambda *_: [0, 0, float("inf"), 1], "four numbers, x0"),
    ],
)
def test_centre_box_says_what_is_wrong(wrong, words):
    rejected(check.centre_box(wrong), words)


# Five guesses


def five(classes, tight, loose, order=(0, 0, 1, 1, 2), kinds="tltll"):
    found = torch.stack([{"t": tight, "l": loose}[k][i] for i, k in zip(order, kinds, strict=True)])
    return classes[list(order)], found


@pytest.mark.parametrize(
    "right",
    [
        five,
        lambda *a: five(*a, order=(2, 1, 0, 1, 0), kinds="lltt" + "l"),
        lambda *a: tuple(part.tolist() for part in five(*a)),
        lambda *a: tuple(part.double() for part in five(*a)),
        lambda *a: tuple(part.numpy() for part in five(*a)),
        lambda *a: tuple(list(part) for part in five(*a)),
        lambda *a: [[row.tolist() for row in part] for part in five(*a)],
        lambda c, t, lo: ([c[0], c[0], c[1], c[1], c[2]], [t[0], lo[0], t[1], lo[1], lo[2]]),
    ],
)
def test_five_guesses_accepts_what_is_right(right):
    assert check.two_boxes_each(right).ok


def test_five_guesses_agrees_with_camlib():
    maps = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([[4, 9, 2]])
    tight, loose = (boxes.boxes_from_maps(maps, share) for share in (0.7, 0.3))
    theirs = boxes.five_guesses(classes, maps, 0.7, 0.3)
    ours = five(classes[0], tight[0], loose[0])
    assert all(torch.equal(a[0], b) for a, b in zip(theirs, ours, strict=True))


def each_of(order, kinds):
    return lambda *a: five(*a, order=order, kinds=kinds)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (each_of((0, 0, 1, 1, 2, 2), "tltltl"), "six guesses"),
        (each_of((0, 0, 1, 1, 2), "tltlt"), "should be the loose one"),
        (each_of((0, 1, 2), "ttl"), "leave room for two"),
        (each_of((0, 0, 1, 2, 2), "tltlt"), "no second box"),
        (each_of((0, 0, 1, 1, 2), "ttttl"), "stands there twice"),
        (lambda c, t, lo: (c[[1, 1, 0, 0, 2]], five(c, t, lo)[1]), "other classes than their own"),
        (lambda c, t, lo: (five(c, t, lo)[0], five(c, t, lo)[1] + 1), "with one of its two boxes"),
        (lambda c, t, lo: five(c, t, lo)[0], "expected classes (5,) and boxes (5, 4)"),
        (lambda c, t, lo: (five(c, t, lo)[0], t), "expected classes (5,) and boxes (5, 4)"),
        (lambda *_: ("a", "b"), "expected classes (5,) and boxes (5, 4)"),
        (lambda c, t, lo: (five(c, t, lo)[0], five(c, t, lo)[1] / 0.0), "not finite"),
    ],
)
def test_five_guesses_says_what_is_wrong(wrong, words):
    rejected(check.two_boxes_each(wrong), words)


# The parts of the error


def parts(answers, labels, ious, least=0.5):
    wrong = answers != labels
    return wrong.double().mean(), (~wrong & (ious < least)).double().mean()


@pytest.mark.parametrize(
    "right",
    [
        parts,
        lambda *a: torch.stack(parts(*a)),
        lambda *a: [float(v) for v in parts(*a)],
        lambda *a: np.array([float(v) for v in parts(*a)]),
    ],
)
def test_error_parts_accepts_what_is_right(right):
    assert check.error_parts(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda *a: parts(*a)[::-1], "swapped"),
        (lambda *a: [10 * v for v in parts(*a)], "are counts"),
        (lambda *a: [100 * v for v in parts(*a)], "per cent"),
        (lambda a, b, i: ((a != b).double().mean(), (i < 0.5).double().mean()), "counts twice"),
        (lambda *a: (parts(*a)[0], parts(*a)[1] / (1 - parts(*a)[0])), "take it of all"),
        (lambda *a: parts(*a, least=0.5001), "exactly 0.5"),
        (lambda *a: (parts(*a)[0], 1 - sum(parts(*a))), "that of good boxes"),
        (lambda *a: (1 - parts(*a)[0], parts(*a)[1]), "that of right classes"),
        (lambda *a: (parts(*a)[0], 0.35), "together they should be the top-1"),
        (lambda *a: sum(parts(*a)), "expected two shares, wrong class"),
        (lambda *a: (*parts(*a), 1), "expected two shares, wrong class"),
        (lambda *a: ("few", "many"), "numbers with str, expected two shares"),
    ],
)
def test_error_parts_says_what_is_wrong(wrong, words):
    rejected(check.error_parts(wrong), words)
