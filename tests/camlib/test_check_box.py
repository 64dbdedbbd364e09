"""The self-checks of the chapter from map to box: right answers pass, and every sentence they can
say is provoked by a wrong answer."""

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from verdicts import GARBAGE, rejected

from camlib import boxes, check

ODD = [
    *GARBAGE,
    torch.eye(3).to_sparse(),
    torch.full((4,), torch.nan),
    ["a", "b", "c", "d"],
    torch.Tensor,
]
CHECKS = {
    "overlap": check.overlap_of_boxes,
    "masks": check.boxes_of_masks,
    "regions": check.region_boxes,
    "share": check.share_chosen,
    "ilsvrc": lambda function: check.half_open_boxes(function, from_cub),
    "cub": lambda function: check.half_open_boxes(from_ilsvrc, function),
}


def raising(*_):
    raise RuntimeError("no such box")


@pytest.mark.parametrize("name", CHECKS)
def test_garbage_gets_a_verdict(name):
    for garbage in ODD:
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


# The boxes of masks


def around(mask, last=1):
    ys, xs = np.nonzero(np.asarray(mask))
    if not len(ys):
        return [0, 0, 0, 0]
    return [int(xs.min()), int(ys.min()), int(xs.max()) + last, int(ys.max()) + last]


def turned(box):
    return [box[1], box[0], box[3], box[2]]


def sized(box):
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def each(masks, of=around, empty=(0, 0, 0, 0)):
    return [of(m) if m.any() else empty for m in masks]


def strict(mask):
    return around(mask) if mask.any() else raising()


@pytest.mark.parametrize(
    "right",
    [
        each,
        lambda m: torch.tensor(each(m)),
        lambda m: np.float32(each(m)),
        lambda m: [tuple(torch.tensor(box)) for box in each(m)],
        lambda m: tuple(np.array(box) for box in each(m)),
    ],
)
def test_boxes_of_masks_accepts_what_is_right(right):
    assert check.boxes_of_masks(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda m: each(m, lambda one: around(one, last=0)), "end one further"),
        (lambda m: each(m, lambda one: turned(around(one))), "x counts columns"),
        (lambda m: each(m, lambda one: turned(around(one, last=0))), "x counts columns"),
        (lambda m: each(m, lambda one: sized(around(one))), "width, height"),
        (lambda m: each(m, lambda one: around(one, last=2)), "too large by a row and a column"),
        (lambda m: each(m, lambda one: [0, 0, *around(one)[2:]]), "not the smallest boxes"),
        (lambda m: [around(m.any(dim=0))] * len(m), "not the smallest boxes"),
        (lambda m: torch.tensor(each(m)).T, "gives rows with list, expected four numbers"),
        (lambda m: around(m[0]), "gives rows with int, expected four numbers"),
        (lambda m: each(m)[:2], "for 3 masks your boxes have shape (2, 4), expected (3, 4)"),
        (lambda m: [[*box[:3], "x"] for box in each(m)], "rows with numbers with str, expected"),
        (lambda m: "boxes", "gives str, expected boxes (n, 4)"),
        (lambda m: [strict(one) for one in m], "without a true pixel among them your function st"),
        (lambda m: each(m, empty=None), "true pixel among them your function gives rows with Non"),
        (lambda m: each([one for one in m if one.any()]), "among them 4 masks get boxes of shape"),
        (lambda m: each(m, empty=(0, 0, 9, 6)), "[0, 0, 9, 6], [0, 0, 6, 6]], expected four zeros"),
    ],
)
def test_boxes_of_masks_says_what_is_wrong(wrong, words):
    rejected(check.boxes_of_masks(wrong), words)


# All regions


WORTH = {
    "pixels": lambda m, r: r.sum(),
    "fewest": lambda m, r: -r.sum(),
    "label": lambda m, r: 0,
    "sum": lambda m, r: m[r].sum(),
    "brightest": lambda m, r: m[r].max(),
    "box": lambda m, r: r.any(0).sum() * r.any(1).sum(),
}


def regions(heatmap, share, links=8, order="pixels", cut=lambda m, t: m > t * m.max(), first=1):
    """By OpenCV, where the check goes by SciPy."""
    values = heatmap.numpy()
    count, numbers = cv2.connectedComponents(
        cut(values, share).astype(np.uint8), connectivity=links
    )
    found = [numbers == n for n in range(first, count)]
    return sorted(found, key=lambda r: -WORTH[order](values, r))


def boxed(*case, last=1, **more):
    return [around(r, last) for r in regions(*case, **more)]


def by_solution(heatmap, share):
    above = (heatmap > share * heatmap.max()).numpy()
    numbers, _ = ndimage.label(above, np.ones((3, 3)))
    sizes = np.bincount(numbers.ravel())[1:]
    return torch.tensor([around(numbers == 1 + i) for i in np.argsort(-sizes)])


@pytest.mark.parametrize(
    "right",
    [
        boxed,
        by_solution,
        lambda *a: tuple(np.float32(boxed(*a))),
        lambda m, t: boxed(m.double(), t, cut=lambda m, t: m > np.float64(t) * m.max()),
    ],
)
def test_regions_accepts_what_is_right(right):
    assert check.region_boxes(right).ok


def test_the_first_region_is_the_books():
    for seed in range(5):
        fields = torch.randn(5, 6, generator=torch.Generator().manual_seed(seed))
        assert boxed(fields, 0.2)[0] == boxes.box_from_map(fields, 0.2).tolist()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda *a: boxed(*a, last=0), "end one further"),
        (lambda *a: [turned(box) for box in boxed(*a)], "x counts columns"),
        (lambda *a: [turned(box) for box in boxed(*a, last=0)], "x counts columns"),
        (lambda *a: [sized(box) for box in boxed(*a)], "width, height"),
        (lambda *a: boxed(*a, last=2), "too large by a row"),
        (lambda *a: [around(sum(regions(*a)))], "around all pixels: give"),
        (lambda *a: boxed(*a)[:1], "largest region alone"),
        (lambda *a: [boxes.box_from_map(*a).tolist()], "largest region alone"),
        (lambda *a: boxed(*a, first=0), "label 0 is the background"),
        (lambda *a: boxed(*a, order="fewest"), "smallest comes first"),
        (lambda *a: boxed(*a, order="label"), "not sorted"),
        (lambda *a: boxed(*a, order="sum"), "sum of values"),
        (lambda *a: boxed(*a, order="brightest"), "brightest pixel"),
        (lambda *a: boxed(*a, order="box"), "area of the boxes"),
        (lambda *a: boxed(*a, links=4), "8 neighbours"),
        (lambda *a: boxed(*a, cut=lambda m, t: m >= t * m.max()), "a pixel at it stays out"),
        (
            lambda *a: boxed(*a, cut=lambda m, t: m > m.min() + t * np.ptp(m)),
            "share is of the range",
        ),
        (lambda *a: boxed(*a, cut=lambda m, t: m > t), "used as a map value"),
        (lambda m, _: boxed(m, 0.2), "at least one box is missing"),
        (lambda *a: boxed(*a)[:2], "at least one box is missing"),
        (lambda *a: [], "at least one box is missing"),
        (lambda m, _: 3, "gives int, expected boxes (n, 4)"),
        (lambda *a: boxed(*a)[0], "gives rows with int, expected four numbers"),
    ],
)
def test_regions_says_what_is_wrong(wrong, words):
    rejected(check.region_boxes(wrong), words)


def test_regions_knows_what_scipy_does_unasked():
    def labelled(heatmap, share):
        numbers, count = ndimage.label((heatmap > share * heatmap.max()).numpy())
        found = sorted((numbers == n for n in range(1, count + 1)), key=lambda r: -r.sum())
        return [around(r) for r in found]

    rejected(check.region_boxes(labelled), "8 neighbours")


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
