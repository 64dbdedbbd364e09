"""The self-checks of the chapter on fine-tuning: right answers pass, and every sentence they can
say is provoked by a wrong answer."""

import math

import pytest
import torch
from torch.nn import functional
from verdicts import GARBAGE, raising, rejected

from camlib import check, metrics, training

OF_FUNCTIONS = [
    check.top_k_missed,
    check.standard_errors,
    check.repaired_epoch,
    check.cosine_schedule,
]


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("checked", OF_FUNCTIONS)
def test_garbage_gets_a_verdict_as_answer_and_as_what_a_function_gives(checked, garbage):
    rejected(checked(garbage), "expected your function itself")
    rejected(checked(lambda *_: garbage))
    rejected(checked(lambda *_: (garbage, garbage)))


@pytest.mark.parametrize("checked", OF_FUNCTIONS)
def test_what_keeps_a_function_from_an_answer(checked):
    rejected(checked(...), "still `...`")
    rejected(checked(raising), "stopped with RuntimeError: shape mismatch")
    rejected(checked(lambda: 1), "stopped with TypeError")
    rejected(checked(lambda *_: None), "`return` missing")
    rejected(checked(lambda *_: ...), "still gives `...`")


# Top-k error


def by_metrics(logits, labels, k):
    return metrics.top_k_error(logits, labels, k).mean()


def by_rank(logits, labels, k, missed=lambda rank, k: rank >= k, others=torch.ge):
    """Rank 0 is best; the own score is taken out of those that stand before it."""
    own = logits.gather(1, labels[:, None])
    rank = others(logits, own).sum(1) - int(others is torch.ge)
    return missed(rank, k).double().mean().item()


def by_topk(logits, labels, k):
    """Ties go to whoever comes first."""
    return 1 - (logits.topk(k).indices == labels[:, None]).any(1).double().mean().item()


def any_tie_missed(logits, labels, k):
    own = logits.gather(1, labels[:, None])
    tied = (logits == own).sum(1) > 1
    return ((by_each(logits, labels, k) > 0) | tied).double().mean()


def by_each(logits, labels, k):
    return metrics.top_k_error(logits, labels, k)


@pytest.mark.parametrize(
    "right", [by_metrics, by_rank, lambda *a: by_metrics(*a).numpy(), lambda *a: float(by_rank(*a))]
)
def test_top_k_accepts_what_is_right(right):
    assert check.top_k_missed(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda *a: 1 - by_metrics(*a), "share that is right"),
        (lambda *a: 100 * by_metrics(*a), "per cent"),
        (lambda *a: by_each(*a).sum(), "are counted"),
        (lambda logits, labels, k: by_metrics(logits, labels, 1), "k makes no difference"),
        (lambda logits, labels, k: by_metrics(-logits, labels, k), "k lowest"),
        (lambda *a: by_rank(*a, missed=lambda rank, k: rank > k), "one place off"),
        (lambda logits, labels, k: by_metrics(logits, labels, k + 1), "one place off"),
        (by_topk, "gives all classes one score"),
        (lambda *a: by_rank(*a, others=torch.gt), "gives all classes one score"),
        (any_tie_missed, "room for both"),
        (by_each, "expected the share that is missed"),
        (lambda *a: by_metrics(*a) + 0.01, "values miss by"),
        (lambda *a: "half", "gives str, expected the share"),
    ],
)
def test_top_k_says_what_is_wrong(wrong, words):
    rejected(check.top_k_missed(wrong), words)


# Standard errors of a difference


def errors_of(a, b, correction=1):
    n = len(a)
    first = math.sqrt(a.var(correction=correction) / n + b.var(correction=correction) / n)
    return first, (a - b).std(correction=correction).item() / math.sqrt(n)


@pytest.mark.parametrize(
    "right",
    [
        errors_of,
        lambda a, b: torch.tensor(errors_of(a, b)),
        lambda a, b: list(errors_of(a, b, correction=0)),
        lambda a, b: errors_of(b, a),
    ],
)
def test_standard_errors_accepts_what_is_right(right):
    assert check.standard_errors(right).ok


def test_standard_errors_agree_with_many_draws():
    """What the two formulas speak of: the spread of a difference over new draws of images."""
    chance = torch.Generator().manual_seed(0)
    hard = torch.randn(2000, 2, 400, generator=chance)
    a, b = (hard[:, 0] > 0.5).double().mean(1), (hard[:, 1] > 0.7).double().mean(1)
    first, second = errors_of((hard[0, 0] > 0.5).double(), (hard[0, 0] > 0.7).double())
    assert (a - b).std().item() == pytest.approx(first, rel=0.1)
    same = (hard[:, 0] > 0.5).double() - (hard[:, 0] > 0.7).double()
    assert same.mean(1).std().item() == pytest.approx(second, rel=0.2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda a, b: errors_of(a, b)[::-1], "swapped"),
        (lambda a, b: errors_of(a, b)[:1] * 2, "both are the one for two sets"),
        (lambda a, b: errors_of(a, b)[1:] * 2, "both are the one for pairs"),
        (lambda a, b: tuple(20 * e for e in errors_of(a, b)), "of single images"),
        (lambda a, b: tuple(e / 20 for e in errors_of(a, b)), "not its square root"),
        (lambda a, b: tuple(e**2 for e in errors_of(a, b)), "these are variances"),
        (lambda a, b: tuple(1.96 * e for e in errors_of(a, b)), "half widths"),
        (
            lambda a, b: ((a.std() + b.std()) / 20, errors_of(a, b)[1]),
            "not standard deviations",
        ),
        (lambda a, b: (errors_of(a, b)[0], 0.01), "subtracts first"),
        (lambda a, b: (0.01, errors_of(a, b)[1]), "adds the variances"),
        (lambda a, b: tuple(1.01 * e for e in errors_of(a, b)), "adds the variances"),
        (lambda a, b: errors_of(a, b)[0], "expected two numbers"),
        (lambda a, b: (*errors_of(a, b), 1.0), "expected two numbers"),
        (lambda a, b: (a, b), "one of the two is"),
    ],
)
def test_standard_errors_says_what_is_wrong(wrong, words):
    rejected(check.standard_errors(wrong), words)


# A loop to repair


def epoch(network, optimizer, images, labels, *, slips="", size=16, rolled=0, step=True):
    network.train("train" not in slips)
    for batch, targets in zip(images.split(size), labels.roll(rolled).split(size), strict=True):
        scores = network(batch)
        loss = functional.cross_entropy(
            scores.softmax(1) if "softmax" in slips else scores, targets
        )
        if "zero" not in slips:
            network.zero_grad()
        loss.backward()
        if step:
            optimizer.step()
    network.train("eval" in slips)
    with torch.no_grad():
        return (network(images).argmax(1) == labels).double().mean()


def test_repaired_epoch_accepts_what_is_right():
    assert check.repaired_epoch(epoch).ok
    assert check.repaired_epoch(lambda *a: epoch(*a).item()).ok
    state = torch.get_rng_state()
    check.repaired_epoch(epoch)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"slips": "zero"}, "gradients of earlier batches"),
        ({"slips": "zero softmax train"}, "gradients of earlier batches"),
        ({"slips": "softmax"}, "softmax inside"),
        ({"slips": "softmax eval"}, "softmax inside"),
        ({"slips": "train"}, "came in evaluation mode"),
        ({"slips": "eval"}, "counted in training mode"),
        ({"slips": "train eval"}, "came in evaluation mode"),
        ({"rolled": 1}, "weights are not those of three steps"),
        ({"size": 48}, "weights are not those of three steps"),
        ({"step": False}, "weights are not those of three steps"),
    ],
)
def test_repaired_epoch_says_what_is_wrong(options, words):
    rejected(check.repaired_epoch(lambda *a: epoch(*a, **options)), words)


def test_repaired_epoch_looks_at_the_share_too():
    rejected(check.repaired_epoch(lambda *a: epoch(*a) * 48), "the share is not")
    rejected(check.repaired_epoch(lambda *a: (epoch(*a), None)[1]), "`return` missing")
    rejected(check.repaired_epoch(lambda *a: raising()), "given a Sequential, a SGD")


# The schedule


def schedule(step, steps, warm, down=lambda t: (1 + math.cos(math.pi * t)) / 2, first=1):
    if step < warm:
        return (step + first) / warm
    return down((step - warm) / (steps - warm))


def test_schedule_accepts_what_is_right():
    assert check.cosine_schedule(schedule).ok
    assert check.cosine_schedule(lambda *a: torch.tensor(schedule(*a))).ok

    def of_the_recipe(step, steps, warm):
        return training.Recipe(1, 0.1, warmup=warm / steps).share_of_rate(step, steps)

    assert check.cosine_schedule(of_the_recipe).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda *a: schedule(*a, first=0), "rate of zero"),
        (lambda step, steps, warm: schedule(step, steps, 0), "warm-up is missing"),
        (lambda s, n, w: 1 if s < w else schedule(s, n, w), "warm-up is missing"),
        (lambda s, n, w: schedule(s, n, w if s < w else 0), "begin it after the warm-up"),
        (lambda *a: schedule(*a, down=lambda t: math.cos(math.pi * t)), "below zero"),
        (lambda *a: schedule(*a, down=lambda t: math.cos(math.pi * t / 2)), "quarter"),
        (lambda *a: schedule(*a, down=lambda t: 1 - t), "straight line"),
        (lambda *a: schedule(*a, down=lambda t: (1 - math.cos(math.pi * t)) / 2), "rises"),
        (lambda *a: 0.1 * schedule(*a), "values miss by"),
        (lambda s, n, w: schedule(s, n, w) / min(w, 1), "stopped with ZeroDivisionError"),
        (lambda *a: "high", "gives str, expected one number"),
    ],
)
def test_schedule_says_what_is_wrong(wrong, words):
    rejected(check.cosine_schedule(wrong), words)


# Conclusions


@pytest.mark.parametrize(
    "right", ["acf", "F, C, A", ["a", "c", "f"], {"a", "f", "c"}, ("a ", "c", "f")]
)
def test_conclusions_accepts_what_is_right(right):
    assert check.conclusions(right).ok


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("abcf", "b is not supported: no difference was found"),
        ("acdf", "d is not supported: neither row compares"),
        ("acef", "e is not supported: each network was trained once"),
        ("abcdef", "b is not supported"),
        ("cf", "B's interval lies above zero"),
        ("af", "end of its interval"),
        ("ac", "what 95 % means"),
        ("", "one that is supported"),
        ("acfg", "no statement 'g'"),
        (["a", "c", 7], "no statement '7'"),
        (3, "expected letters, got int"),
        (None, "expected letters, got NoneType"),
        (..., "still `...`"),
    ],
)
def test_conclusions_says_what_is_wrong(wrong, words):
    rejected(check.conclusions(wrong), words)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_conclusions_survives_garbage(garbage):
    rejected(check.conclusions(garbage))
