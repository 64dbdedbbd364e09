"""The self-checks of the chapter from map to box: right answers pass, and every sentence they can
say is provoked by a wrong answer."""

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from camlib import boxes, check

GARBAGE = [None, "map", 3, [1, 2], {}, object(), float("nan"), torch.zeros(0), torch.tensor(True)]
GARBAGE += [
    torch.eye(3).to_sparse(),
    torch.full((4,), torch.nan),
    ["a", "b", "c", "d"],
    torch.Tensor,
]
CHECKS = {
    "overlap": check.overlap_of_boxes,
    "mask": check.box_of_mask,
    "component": check.component_box,
    "share": check.share_chosen,
    "ilsvrc": lambda function: check.half_open_boxes(function, from_cub),
    "cub": lambda function: check.half_open_boxes(from_ilsvrc, function),
}


def rejected(verdict, words):
    assert isinstance(verdict, check.Verdict)
    assert not verdict.ok, verdict
    assert words in verdict.message, verdict.message


def raising(*_):
    raise RuntimeError("no such box")


@pytest.mark.parametrize("name", CHECKS)
def test_garbage_gets_a_verdict(name):
    for garbage in GARBAGE:
        if not callable(garbage):
            rejected(CHECKS[name](garbage), "expected your function itself")
        for given in (garbage, (garbage,) * 2, (garbage,) * 4):
            assert not CHECKS[name](lambda *_, given=given: given).ok
    rejected(CHECKS[name](...), "still `...`")
    rejected(CHECKS[name](raising), "stopped with RuntimeError: no such box")
    rejected(CHECKS[name](lambda *_: None), "`return` missing")
    rejected(CHECKS[name](lambda *_: ...), "still gives `...`")


# Intersection over union


def overlap(a, b, last=0, clip=True, of=lambda both, a, b: both / (a + b - both)):
    sides = [min(a[i + 2], b[i + 2]) - max(a[i], b[i]) + last for i in (0, 1)]
    both = max(sides[0], 0) * max(sides[1], 0) if clip else sides[0] * sides[1]
    return of(both, *((box[2] - box[0] + last) * (box[3] - box[1] + last) for box in (a, b)))


def half_clipped(a, b):
    """The overlap is cut off at zero in the union, not above it."""
    raw = overlap(a, b, clip=False, of=lambda both, *_: both)
    return overlap(a, b, of=lambda both, a, b: raw / (a + b - both))


def of_hull(a, b):
    sides = [max(a[i + 2], b[i + 2]) - min(a[i], b[i]) for i in (0, 1)]
    return overlap(a, b, of=lambda both, *_: both) / (sides[0] * sides[1])


@pytest.mark.parametrize(
    "right",
    [
        overlap,
        boxes.iou,
        lambda a, b: overlap(b, a),
        lambda a, b: overlap(a.tolist(), b.tolist()),
        lambda a, b: np.float32(overlap(a.numpy(), b.numpy())),
        lambda a, b: boxes.iou(a[None], b[None]),
    ],
)
def test_overlap_accepts_what_is_right(right):
    assert check.overlap_of_boxes(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda a, b: overlap(a, b, clip=False), "negative sides"),
        (half_clipped, "negative sides"),
        (lambda a, b: overlap(a, b, last=1), "half-open"),
        (lambda a, b: overlap(a, b, of=lambda i, a, b: i / (a + b)), "counts it twice"),
        (lambda a, b: overlap(a, b, of=lambda i, a, b: 2 * i / (a + b)), "Dice"),
        (lambda a, b: overlap(a, b, of=lambda i, a, b: i / a), "area of one box"),
        (lambda a, b: overlap(a, b, of=lambda i, a, b: i / b), "area of one box"),
        (lambda a, b: overlap(a, b, of=lambda i, a, b: i / min(a, b)), "area of one box"),
        (of_hull, "rectangle around both"),
        (lambda a, b: overlap(a, b, of=lambda i, *_: i), "in pixels"),
        (lambda a, b: 1 - overlap(a, b), "1 - IoU"),
        (lambda a, b: 100 * overlap(a, b), "per cent"),
        (lambda a, b: overlap(a, b) + 0.01, "values miss by"),
        (lambda a, b: "half", "your function gives str, expected one number"),
    ],
)
def test_overlap_says_what_is_wrong(wrong, words):
    rejected(check.overlap_of_boxes(wrong), words)


# The box of a mask


def around(mask, last=1):
    ys, xs = np.nonzero(np.asarray(mask))
    if not len(ys):
        return [0, 0, 0, 0]
    return [int(xs.min()), int(ys.min()), int(xs.max()) + last, int(ys.max()) + last]


def turned(box):
    return [box[1], box[0], box[3], box[2]]


def sized(box):
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


@pytest.mark.parametrize(
    "right", [around, lambda m: torch.tensor(around(m)), lambda m: tuple(np.float32(around(m)))]
)
def test_box_of_mask_accepts_what_is_right(right):
    assert check.box_of_mask(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda m: around(m, last=0), "end one further"),
        (lambda m: turned(around(m)), "x counts columns"),
        (lambda m: turned(around(m, last=0)), "x counts columns"),
        (lambda m: sized(around(m)), "width, height"),
        (lambda m: around(m, last=2), "too large by a row and a column"),
        (lambda m: [0, 0, *around(m)[2:]], "not the smallest box"),
        (lambda m: around(m)[:3], "gives list, expected four numbers"),
        (lambda m: [*around(m)[:3], "x"], "numbers with str, expected four"),
        (lambda m: around(m) if m.any() else raising(), "without a true pixel your function stop"),
        (lambda m: around(m) if m.any() else None, "without a true pixel your function gives None"),
        (lambda m: around(m) if m.any() else [0, 0, 9, 6], "expected four zeros"),
    ],
)
def test_box_of_mask_says_what_is_wrong(wrong, words):
    rejected(check.box_of_mask(wrong), words)


# The largest component


def component(heatmap, share, links=8, pick="pixels", cut=lambda m, t: t * m.max(), last=1):
    """By OpenCV, where the check goes by SciPy."""
    values = heatmap.numpy()
    above = (values > cut(values, share)).astype(np.uint8)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=links)
    worth = {
        "pixels": stats[1:, cv2.CC_STAT_AREA],
        "box": stats[1:, cv2.CC_STAT_WIDTH] * stats[1:, cv2.CC_STAT_HEIGHT],
        "brightest": [values[regions == n].max() for n in range(1, len(stats))],
        "sum": [values[regions == n].sum() for n in range(1, len(stats))],
    }
    return around(above if pick == "all" else regions == 1 + np.argmax(worth[pick]), last)


@pytest.mark.parametrize(
    "right",
    [
        component,
        boxes.box_from_map,
        lambda m, t: boxes.box_from_map(m.double(), t).float().numpy(),
        lambda m, t: component(m, t, cut=lambda m, t: np.float64(t) * m.max()),
    ],
)
def test_component_accepts_what_is_right(right):
    assert check.component_box(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda *a: component(*a, last=0), "end one further"),
        (lambda *a: turned(component(*a)), "x counts columns"),
        (lambda *a: turned(component(*a, last=0)), "x counts columns"),
        (lambda *a: sized(component(*a)), "width, height"),
        (lambda *a: component(*a, last=2), "too large by a row"),
        (lambda *a: component(*a, pick="all"), "around all pixels above"),
        (lambda *a: component(*a, pick="brightest"), "brightest region"),
        (lambda *a: component(*a, pick="sum"), "sum of values"),
        (lambda *a: component(*a, pick="box"), "area of their boxes"),
        (lambda *a: component(*a, links=4), "8 neighbours"),
        (
            lambda *a: component(*a, cut=lambda m, t: m.min() + t * np.ptp(m)),
            "share is of the range",
        ),
        (lambda *a: component(*a, cut=lambda m, t: t), "used as a map value"),
        (lambda m, _: component(m, 0.2), "another than that around the largest"),
        (lambda m, _: 3, "gives int, expected four numbers"),
    ],
)
def test_component_says_what_is_wrong(wrong, words):
    rejected(check.component_box(wrong), words)


def test_component_knows_what_scipy_does_unasked():
    def labelled(heatmap, share):
        numbers, _ = ndimage.label((heatmap > share * heatmap.max()).numpy())
        return around(numbers == 1 + np.bincount(numbers.ravel())[1:].argmax())

    rejected(check.component_box(labelled), "8 neighbours")


# Choose, then report


def choose(valid, test, shares):
    i = valid.mean(1).argmin()
    return shares[i], test[i].mean()


def by_test(valid, test, shares, reported=lambda valid, test: test):
    i = test.mean(1).argmin()
    return shares[i], reported(valid, test)[i].mean()


@pytest.mark.parametrize(
    "right",
    [
        choose,
        lambda *a: torch.tensor(choose(*a)),
        lambda *a: [float(v) for v in choose(*a)],
        lambda v, t, s: (np.array(s)[v.numpy().sum(1).argmin()], choose(v, t, s)[1].float()),
    ],
)
def test_share_accepts_what_is_right(right):
    assert check.share_chosen(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (by_test, "suits the test pictures"),
        (lambda *a: by_test(*a, reported=lambda valid, test: valid), "suits the test pictures"),
        (lambda v, t, s: choose(v, v, s), "on which the share was chosen"),
        (lambda v, t, s: (choose(v, t, s)[0], t.mean(1).min()), "at another share"),
        (lambda v, t, s: (s[v.mean(1).argmax()], t[v.mean(1).argmax()].mean()), "lowest mean"),
        (lambda v, t, s: (s[v.mean(1).argmax()], v.mean(1).max()), "lowest mean"),
        (lambda *a: (choose(*a)[0], 1 - choose(*a)[1]), "not the error"),
        (lambda v, t, s: (v.mean(1).argmin(), choose(v, t, s)[1]), "place of the share"),
        (lambda *a: choose(*a)[::-1], "swapped"),
        (lambda v, t, s: (choose(v, t, s)[0], t.mean()), "not the mean over the test"),
        (lambda v, t, s: (s[1], t[1].mean()), "none of the shares, or not the best"),
        (lambda *a: choose(*a)[0], "gives float, expected two numbers"),
        (lambda *a: (choose(*a)[0], "low"), "your function gives numbers with str"),
    ],
)
def test_share_says_what_is_wrong(wrong, words):
    rejected(check.share_chosen(wrong), words)


# Other conventions


def from_ilsvrc(box):
    return box[0], box[1], box[2] + 1, box[3] + 1


def from_cub(box):
    return torch.cat([box[:2], box[:2] + box[2:]])


def test_half_open_accepts_what_is_right():
    assert check.half_open_boxes(from_ilsvrc, from_cub).ok
    assert check.half_open_boxes(
        lambda box: np.array(from_ilsvrc(box.tolist())), lambda box: from_cub(box.float()).tolist()
    ).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda box: box, "ILSVRC: nothing has changed"),
        (lambda box: box + 1, "ILSVRC: the first pixel stays"),
        (lambda box: (box[0] - 1, box[1] - 1, box[2], box[3]), "ILSVRC: the first pixel stays"),
        (lambda box: (*box[:2], box[2] - 1, box[3] - 1), "one *after* the last"),
        (from_cub, "ILSVRC: xmax and ymax are places"),
        (lambda box: from_ilsvrc(from_cub(box)), "ILSVRC: xmax and ymax are places"),
        (lambda box: box + 5, "ILSVRC: try a box of one pixel"),
        (lambda box: 1, "for a box of ILSVRC your function gives int"),
    ],
)
def test_half_open_says_what_is_wrong_with_the_first(wrong, words):
    rejected(check.half_open_boxes(wrong, from_cub), words)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda box: box, "CUB: nothing has changed"),
        (lambda box: from_ilsvrc(from_cub(box)), "first pixel outside already"),
        (lambda box: [*from_cub(box)[:2], *(from_cub(box)[2:] - 1)], "first pixel outside already"),
        (from_ilsvrc, "CUB: the last two numbers are sizes"),
        (lambda b: (b[0], b[1], b[0] + b[3], b[1] + b[2]), "width belongs to x"),
        (lambda box: box + 5, "CUB: try a box of one pixel"),
    ],
)
def test_half_open_says_what_is_wrong_with_the_second(wrong, words):
    rejected(check.half_open_boxes(from_ilsvrc, wrong), words)
