"""The self-checks of the chapter on average and maximum: right answers pass, and every sentence
they can say is provoked by a wrong answer."""

import numpy as np
import pytest
import torch
from verdicts import GARBAGE, rejected

from camlib import check, metrics

CHECKS = [check.maximum_gradient, check.coverage, check.recall_given, check.soft_maximum]


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("checked", CHECKS)
def test_garbage_gets_a_verdict_as_answer_and_as_what_a_function_gives(checked, garbage):
    rejected(checked(garbage), "expected your function itself")
    rejected(checked(lambda *_: garbage))
    rejected(checked(lambda *_: (garbage, garbage)))
    rejected(checked(...), "still `...`")


# The gradient of global max pooling


def by_autograd(features, above):
    with torch.enable_grad():
        values = features.clone().requires_grad_()
        (values.amax((1, 2)) * above).sum().backward()
    return values.grad


def by_mask(features, above):
    highest = features == features.amax((1, 2), keepdim=True)
    return highest.double() * above[:, None, None]


def transposed_place(features, above):
    result = torch.zeros_like(features)
    for k, i in enumerate(features.flatten(1).argmax(1).tolist()):
        result[k, i % 3, i // 3] = above[k]
    return result


def one(features):
    return by_mask(features, torch.ones(len(features)))


@pytest.mark.parametrize("right", [by_autograd, by_mask, lambda *a: by_mask(*a).float()])
def test_maximum_gradient_takes_right_answers(right):
    assert check.maximum_gradient(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda f, g: (g[:, None, None] / 12).expand_as(f), "average pooling's"),
        (lambda f, g: g[:, None, None].expand_as(f), "every place gets it all"),
        (lambda f, g: one(f), "chain rule"),
        (lambda f, g: one(f) * f, "its derivative is 1"),
        (lambda f, g: by_mask(f, g) * f, "its derivative is 1"),
        (lambda f, g: (f == f.max()) * g[:, None, None], "only one channel"),
        (lambda f, g: by_mask(f, g) * (f > 0), "a negative maximum"),
        (transposed_place, "y * W + x"),
        (lambda f, g: -by_mask(f, g), "zero but at each"),
        (lambda f, g: by_mask(f, g).sum(0), "has shape"),
        (lambda f, g: f.amax((1, 2)) * g, "has shape"),
    ],
)
def test_maximum_gradient_says_what_is_wrong(wrong, word):
    rejected(check.maximum_gradient(wrong), word)


# Recall and precision of a cut


def by_metrics(heatmap, mask, share):
    recall, precision = metrics.extent(heatmap[None], mask[None], [share])
    return recall[0, 0], precision[0, 0]


def cut(threshold, keep=torch.gt):
    def function(heatmap, mask, share):
        kept = keep(heatmap, threshold(heatmap, share))
        both = (kept & mask).sum().item()
        return both / mask.sum().item(), both / kept.sum().item()

    return function


def of_maximum(heatmap, share):
    return share * heatmap.max()


def by_numpy(heatmap, mask, share):
    kept = heatmap.numpy() > share * heatmap.numpy().max()
    both = np.logical_and(kept, mask.numpy()).sum()
    return np.array([both / mask.numpy().sum(), both / kept.sum()])


def parts(heatmap, mask, share):
    kept = heatmap > share * heatmap.max()
    return (kept & mask).sum(), mask.sum(), kept.sum(), (kept | mask).sum()


def ratio(first, second):
    """A function whose two numbers divide the overlap by the parts at these places."""

    def function(*case):
        found = parts(*case)
        return found[0] / found[first], found[0] / found[second]

    return function


@pytest.mark.parametrize(
    "right",
    [by_metrics, cut(of_maximum), by_numpy, lambda *a: torch.stack(by_metrics(*a)), ratio(1, 2)],
)
def test_coverage_takes_right_answers(right):
    assert check.coverage(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda *a: by_metrics(*a)[::-1], "swapped"),
        (lambda *a: [100 * v for v in by_metrics(*a)], "per cent"),
        (lambda *a: (parts(*a)[0], parts(*a)[0]), "counts"),
        (cut(of_maximum, torch.ge), "at the threshold"),
        (cut(lambda heatmap, share: torch.tensor(share)), "not the share itself"),
        (cut(lambda heatmap, share: share * heatmap.mean()), "not of the mean"),
        (
            cut(lambda m, share: m.min() + share * (m.max() - m.min())),
            "the minimum was taken off first",
        ),
        (ratio(3, 3), "IoU"),
        (ratio(3, 2), "IoU"),
        (ratio(1, 3), "IoU"),
        (lambda *a: (by_metrics(*a)[0], 0.5), "precision is not"),
        (lambda *a: (0.5, by_metrics(*a)[1]), "recall is not"),
        (lambda *a: (0.5, 0.5), "miss by up to"),
        (lambda *a: by_metrics(*a)[0], "expected two numbers, (recall"),
        (lambda *a: (0.5, 0.5, 0.5), "expected two numbers, (recall"),
        (lambda *a: (0.5, "half"), "one of the two is"),
    ],
)
def test_coverage_says_what_is_wrong(wrong, word):
    rejected(check.coverage(wrong), word)


# Recall at a precision


def largest(recall, precision, wanted):
    fine = recall[precision >= wanted]
    return fine.max() if len(fine) else 0


def by_loop(recall, precision, wanted):
    pairs = zip(recall.tolist(), precision.tolist(), strict=True)
    return max((r for r, p in pairs if p >= wanted), default=0.0)


@pytest.mark.parametrize("right", [largest, by_loop, lambda *a: np.float32(by_loop(*a))])
def test_recall_given_takes_right_answers(right):
    assert check.recall_given(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (
            lambda r, p, w: max((a for a, b in zip(r, p, strict=True) if b > w), default=0),
            "exactly",
        ),
        (lambda r, p, w: largest(p, r, w), "the two are swapped"),
        (lambda r, p, w: r.max(), "largest of all recalls"),
        (lambda r, p, w: r[(p - w).abs().argmin()], "nearest precision"),
        (lambda r, p, w: r[p >= w].min(), "smallest recall"),
        (lambda r, p, w: r[(p >= w).int().argmax()], "in any order"),
        (lambda r, p, w: r[p.argmax()], "most precise cut"),
        (lambda r, p, w: torch.where(p >= w, r, 0).argmax(), "number of the cut"),
        (lambda r, p, w: 0.5, "take the largest recall"),
        (lambda r, p, w: "0.5", "your function gives str"),
        (lambda r, p, w: float("nan") if w > 0.9 else largest(r, p, w), "precision of 0.95"),
        (lambda r, p, w: 0.3 if w > 0.9 else largest(r, p, w), "no cut has a precision"),
        (lambda r, p, w: r[p >= w].max(), "stopped with"),
    ],
)
def test_recall_given_says_what_is_wrong(wrong, word):
    rejected(check.recall_given(wrong), word)


# Log-sum-exp pooling


def pooled(f, r):
    return (torch.logsumexp(r * f.flatten(2), 2) - np.log(f[0, 0].numel())) / r


def shifted(f, r):
    top = f.amax((2, 3), keepdim=True)
    return top[..., 0, 0] + (r * (f - top)).exp().mean((2, 3)).log() / r


@pytest.mark.parametrize("right", [pooled, shifted, lambda f, r: pooled(f.float(), r)])
def test_soft_maximum_takes_right_answers(right):
    assert check.soft_maximum(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda f, r: torch.logsumexp(r * f.flatten(2), 2) / r, "take their mean"),
        (lambda f, r: pooled(f, r) * r, "1 / r before"),
        (lambda f, r: pooled(f, 1.0) / r, "r inside the exponential"),
        (lambda f, r: f.mean((2, 3)), "that is the average"),
        (lambda f, r: f.amax((2, 3)), "that is the maximum"),
        (lambda f, r: -pooled(-f, r), "soft minimum"),
        (lambda f, r: pooled(f, 1.0), "it agrees for r = 1"),
        (lambda f, r: 2 * pooled(f, r), "miss by up to"),
        (lambda f, r: (r * f).exp().mean((2, 3)).log() / r, "overflows for r = 1000"),
        (lambda f, r: pooled(f, r) if r < 10 else f.mean((2, 3)), "near the maximum"),
        (lambda f, r: pooled(f, r) if r > 0.1 else f.amax((2, 3)), "near the average"),
        (lambda f, r: torch.logsumexp(r * f, (0, 2, 3)), "has shape"),
        (lambda f, r: pooled(f, r) if r < 10 else f[:2, 0, 0], "has shape"),
    ],
)
def test_soft_maximum_says_what_is_wrong(wrong, word):
    rejected(check.soft_maximum(wrong), word)
