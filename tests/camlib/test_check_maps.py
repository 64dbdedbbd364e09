"""The self-checks of the chapter on the equations: right answers pass, and every sentence they can
say is provoked by a wrong answer."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional
from verdicts import GARBAGE, raising, rejected

from camlib import cam, check


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("checked", [check.maps_from_weights, check.upsampled, check.identity_test])
def test_garbage_gets_a_verdict_as_answer_and_as_what_a_function_gives(checked, garbage):
    rejected(checked(garbage), "expected your function itself")
    rejected(checked(lambda *_: garbage))


@pytest.mark.parametrize("checked", [check.maps_from_weights, check.upsampled, check.identity_test])
def test_what_keeps_a_function_from_an_answer(checked):
    rejected(checked(...), "still `...`")
    rejected(checked(raising), "stopped with RuntimeError: shape mismatch")
    rejected(checked(lambda: 1), "stopped with TypeError")
    rejected(checked(lambda *_: None), "`return` missing")
    rejected(checked(lambda *_: ...), "still gives `...`")


# Maps from weights


def true_maps(features, weight):
    return torch.einsum("ck,nkyx->ncyx", weight, features)


def by_channel(features, weight):
    return torch.einsum("ck,nkyx->nckyx", weight, features)


def min_max(maps):
    low, high = maps.amin((2, 3), True), maps.amax((2, 3), True)
    return (maps - low) / (high - low)


@pytest.mark.parametrize(
    "right",
    [
        true_maps,
        lambda f, w: functional.conv2d(f, w[:, :, None, None]),
        lambda f, w: (w.double() @ f.double().flatten(2)).unflatten(2, (3, 4)),
        lambda f, w: true_maps(f, nn.Parameter(w)),  # with a gradient
    ],
)
def test_maps_from_weights_accepts_what_is_right(right):
    assert check.maps_from_weights(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda f, w: true_maps(f, w).mT, "transposed"),
        (lambda f, w: true_maps(f, w).transpose(0, 1), "swapped"),
        (lambda f, w: torch.einsum("ck,nkyx->nyxc", w, f), "class comes last"),
        (lambda f, w: torch.einsum("ck,kyx->cyx", w, f[0]), "only the first image"),
        (lambda f, w: torch.einsum("ck,nkyx->nc", w, f), "summed away"),
        (lambda f, w: f.mean((2, 3)) @ w.T, "averaged away"),
        (by_channel, "sum over k is missing"),
        (lambda f, w: true_maps(f, w).softmax(1), "softmax over the classes"),
        (
            lambda f, w: true_maps(f, w).flatten(2).softmax(2).unflatten(2, (3, 4)),
            "softmax over the places",
        ),
        (lambda f, w: true_maps(f, w).relu(), "no ReLU"),
        (lambda f, w: true_maps(f, w).abs(), "no absolute value"),
        (lambda f, w: by_channel(f, w).mean(2), "channels were averaged"),
        (lambda f, w: true_maps(f, w) / 12, "H W times too small"),
        (lambda f, w: true_maps(f, w.abs()), "lost their signs"),
        (lambda f, w: true_maps(f.flip(1), w), "reverse order"),
        (lambda f, w: true_maps(f, w)[:, :3], "(2, 3, 3, 4), expected (2, 6, 3, 4)"),
        (lambda f, w: min_max(true_maps(f, w)), "scale of its own"),
        (lambda f, w: true_maps(f, w) / true_maps(f, w).amax((2, 3), True), "scale of its own"),
        (lambda f, w: true_maps(f, w.roll(1, 0)), "another order of classes"),
        (lambda f, w: true_maps(f, w).flip(0), "values miss by"),
        (lambda f, w: true_maps(f, w) + 1e-3, "values miss by"),
        (lambda f, w: true_maps(f, w) * torch.nan, "not finite"),
        (lambda f, w: true_maps(f, w) + 0j, "real numbers"),
        (lambda f, w: true_maps(f, w).numpy(), "expected a tensor, got ndarray"),
    ],
)
def test_maps_from_weights_says_what_is_wrong(wrong, words):
    rejected(check.maps_from_weights(wrong), words)


# Upsampling


def resized(heatmap, size, mode="bilinear", **options):
    return functional.interpolate(heatmap[None, None], size=size, mode=mode, **options)[0, 0]


def read_at(heatmap, size, half=0.5, outside="border"):
    """grid_sample as a second implementation."""
    y, x = ((torch.arange(n) + half) / n * 2 - 1 for n in size)
    if half == 0:  # pixel i reads at i H / h, in cells
        y, x = (
            (torch.arange(n) * m / n + 0.5) / m * 2 - 1
            for n, m in zip(size, heatmap.shape, strict=True)
        )
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
    return functional.grid_sample(
        heatmap[None, None], grid, padding_mode=outside, align_corners=False
    )[0, 0]


def extrapolated(heatmap, size):
    """The slope goes on beyond the outermost centres."""
    for _ in range(2):
        cells, pixels = len(heatmap), size[0]
        u = (torch.arange(pixels) + 0.5) * cells / pixels - 0.5
        low = u.floor().long().clamp(0, cells - 2)
        share = (u - low)[:, None]
        heatmap = (heatmap[low] * (1 - share) + heatmap[low + 1] * share).T
        size = size[::-1]
    return heatmap


@pytest.mark.parametrize("right", [cam.upsample, read_at, lambda m, s: resized(m.double(), s)])
def test_upsampled_accepts_what_is_right(right):
    assert check.upsampled(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda m, s: resized(m, s).T, "axes are swapped"),
        (lambda m, s: resized(m, s[::-1]), "(30, 13), expected (13, 30)"),
        (lambda m, s: m, "(3, 5), expected (13, 30)"),
        (lambda m, s: resized(m, s, "nearest"), "nearest neighbour"),
        (lambda m, s: resized(m, s, align_corners=True), "align_corners=True"),
        (lambda m, s: resized(m, s, "bicubic"), "bicubic"),
        (lambda m, s: read_at(m, s, half=0), "without the two halves"),
        (lambda m, s: read_at(m, s, outside="zeros"), "fades to zero"),
        (lambda m, s: resized(m, s).relu(), "negative values are gone"),
        (lambda m, s: resized(m, s).flip(0), "upside down"),
        (lambda m, s: resized(m, s).flip(1), "mirrored"),
        (lambda m, s: resized(m.T, s), "transposed before"),
        (
            lambda m, s: (
                (resized(m, s) - resized(m, s).min()) / (resized(m, s).max() - resized(m, s).min())
            ),
            "the values were brought to 0",
        ),
        (
            lambda m, s: resized((m - m.min()) / (m.max() - m.min()), s),
            "the heatmap was brought to 0",
        ),
        (lambda m, s: resized(m, s) / resized(m, s).max(), "values were divided"),
        (lambda m, s: resized(m / m.max(), s), "heatmap was divided"),
        (extrapolated, "the border is not"),
        (lambda m, s: resized(m, s) + 1e-3, "values miss by"),
        (lambda m, s: resized(m, s).roll(1, 1), "values miss by"),
        (lambda m, s: resized(m, s) / 0, "not finite"),
    ],
)
def test_upsampled_says_what_is_wrong(wrong, words):
    rejected(check.upsampled(wrong), words)


# The twin whose map is empty


@pytest.fixture
def network():
    torch.manual_seed(0)
    linear = nn.Linear(8, 5)
    names = SimpleNamespace(index=["cup", "espresso", "cat", "dog", "car"].index)
    return SimpleNamespace(get_classifier=lambda: linear, classes=names)


def test_empty_map_twin_accepts_the_one_solution(network):
    weight = network.get_classifier().weight
    assert check.empty_map_twin(weight - weight[1], network, "espresso").ok
    assert check.empty_map_twin((weight - weight[1]).double(), network, 1).ok


def row_emptied(w):
    w = w.clone()
    w[1] = 0
    return w


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda w: w, "own weights"),
        (lambda w: w + w[1], "doubled"),
        (lambda w: w - w[0], "class 0 that is zero"),
        (lambda w: w - w.mean(0), 'map of "espresso" is not zero'),
        (row_emptied, "probabilities are different now"),
        (lambda w: w * 0.5, "did not all get the same change"),
        (lambda w: w - w[1] + 1e-3, 'map of "espresso" is not zero'),
        (lambda w: w - w[1] + 1e-3 * torch.arange(5.0)[:, None], "did not all get"),
        (lambda w: w - w.mean(1, keepdim=True), "did not all get"),
        (lambda w: -w[1], "One vector is not enough"),
        (lambda w: (w - w[1]).T, "expected weights of shape (5, 8), (C, K), got (8, 5)"),
        (lambda w: (w - w[1]) * torch.inf, "not finite"),
    ],
)
def test_empty_map_twin_says_what_is_wrong(network, wrong, words):
    weight = network.get_classifier().weight.detach()
    rejected(check.empty_map_twin(wrong(weight), network, "espresso"), words)


@pytest.mark.parametrize("garbage", [*GARBAGE, ..., lambda w: w])
def test_empty_map_twin_gives_garbage_a_verdict(network, garbage):
    rejected(check.empty_map_twin(garbage, network, "espresso"))


# The identity test


def identity(
    allowed=None,
    absolute=False,
    size_of=lambda maps, bias, scores: maps.abs().amax((2, 3)) + bias.abs(),
    reduce=lambda error: error,
    with_bias=True,
    nan_passes=False,
    pool=lambda maps: maps.mean((2, 3)),
    half=1e-2,
):
    """A function for the check; with the defaults a right one."""

    def function(features, weight, bias, logits):
        tolerance = allowed or (half if features.dtype == torch.float16 else 1e-5)
        f, w, b, s = (t.float() for t in (features, weight, bias, logits))
        m = torch.einsum("ck,nkyx->ncyx", w, f)
        error = reduce(pool(m) + (b if with_bias else 0) - s)
        limit = tolerance if absolute else tolerance * size_of(m, b, s)
        return bool(not (error.abs() > limit).any() if nan_passes else (error.abs() <= limit).all())

    return function


def test_identity_test_accepts_what_is_right():
    assert check.identity_test(identity()).ok
    assert check.identity_test(identity(allowed=None, half=5e-3)).ok
    # The tensor and NumPy forms of True and False will do.
    assert check.identity_test(lambda *a: torch.tensor(identity()(*a))).ok
    assert check.identity_test(lambda *a: torch.tensor(identity()(*a)).numpy()[()]).ok


HEADS = list(check._heads())


@pytest.mark.parametrize("number", range(len(HEADS)))
def test_identity_test_names_the_head_that_is_misjudged(number):
    arguments, expected, sentence = HEADS[number]

    def wrong_about_one(*given):
        same = all(
            a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
            for a, b in zip(given, arguments, strict=True)
        ) and torch.equal(given[3].isnan(), arguments[3].isnan())
        return not expected if same else identity()(*given)

    assert identity()(*arguments) == expected
    assert check.identity_test(wrong_about_one) == check.Verdict(False, sentence)


def ignoring_nan(pick):
    return lambda error: pick(error) if error.isfinite().all() else error


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda *_: True, "accepts every head"),
        (lambda *_: False, "refuses every head"),
        (identity(with_bias=False), "accepts scores without the bias"),
        (identity(allowed=1e-12), "refuses"),
        (identity(allowed=3.0), "accepts"),
        (identity(reduce=ignoring_nan(lambda e: e[:, :1]), absolute=True), "accepts"),
        (identity(reduce=ignoring_nan(lambda e: e.clamp(min=0))), "accepts"),
        (identity(reduce=ignoring_nan(lambda e: e.clamp(max=0))), "accepts"),
        (identity(reduce=ignoring_nan(lambda e: e[:1])), "one score of twelve"),
        (identity(allowed=1e-4, absolute=True, reduce=torch.sum), "accepts"),
        (identity(allowed=1e-5, absolute=True), "absolute tolerance is blind"),
        (identity(allowed=5e-3), "off by a thousandth"),
        (identity(size_of=lambda m, b, s: s.abs()), "map and bias cancel"),
        (identity(size_of=lambda m, b, s: m.abs().amax((2, 3))), "bias is far larger"),
        (identity(half=1e-5), "in float16: there rounding"),
        (identity(half=0.5), "a tenth of the map in float16"),
        (identity(nan_passes=True), "NaN"),
        (identity(pool=lambda m: m.sum((2, 3))), "refuses"),
        (identity(pool=lambda m: m.amax((2, 3))), "refuses"),
        (lambda f, w, b, s: s > 0, "got Tensor of shape (2, 6)"),
        (lambda f, w, b, s: 1e-7, "expected one True or False for the whole batch, got float"),
        (lambda f, w, b, s: "True", "got str"),
    ],
)
def test_identity_test_says_what_is_wrong(wrong, words):
    rejected(check.identity_test(wrong), words)
