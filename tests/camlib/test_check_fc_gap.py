"""Every sentence that chapter 2's self-checks can say, and the answer that provokes it."""

import pytest
import torch

from camlib import check

FC6_WEIGHTS = 512 * 14 * 14 * 4096
FC6 = FC6_WEIGHTS + 4096


def says(verdict, ok, words):
    assert isinstance(verdict, check.Verdict)
    assert verdict.ok is ok, verdict
    assert words in verdict.message, verdict


@pytest.mark.parametrize("answer", [FC6, float(FC6), torch.tensor(FC6), torch.Size([FC6])[0]])
def test_fc6_is_right(answer):
    says(check.fc6_of_vgg16_at_448(answer), True, "411,045,888")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (..., "still `...`"),
        (None, "one whole number"),
        ("411045888", "one whole number"),
        (True, "one whole number"),
        (float("nan"), "one whole number"),
        (float("inf"), "one whole number"),
        (FC6 + 0.5, "one whole number"),
        ([FC6], "one whole number"),
        (torch.tensor([FC6, 1]), "one whole number"),
        (FC6_WEIGHTS, "a bias too"),
        (512 * 7 * 7 * 4096 + 4096, "FC6 at 224 x 224"),
        (512 * 7 * 7 * 4096, "FC6 at 224 x 224"),
        (2 * 512 * 7 * 7 * 4096 + 4096, "twice the rows and twice the columns"),
        (512 * 28 * 28 * 4096 + 4096, "before pool5"),
        (FC6 + 1, "one weight per unit for every number"),
        (-FC6, "one weight per unit for every number"),
        (0, "one weight per unit for every number"),
    ],
)
def test_fc6_is_wrong(answer, words):
    says(check.fc6_of_vgg16_at_448(answer), False, words)


def spread(weight, height, width):
    return weight.repeat_interleave(height * width, dim=1) / (height * width)


@pytest.mark.parametrize(
    "function",
    [
        spread,
        lambda w, height, width: (
            w[:, :, None, None].expand(-1, -1, height, width).flatten(1) / (height * width)
        ),
        lambda w, height, width: spread(w.double(), height, width),
    ],
)
def test_fc_weights_of_gap_is_right(function):
    says(check.fc_weights_of_gap(function), True, "one weight per channel")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (..., "still `...`"),
        (None, "expected your function itself"),
        (torch.ones(3, 40), "expected your function itself"),
        (lambda w, height, width: ..., "still gives `...`"),
        (lambda w, height, width: None, "is its `return` missing"),
        (lambda w, height, width: w.tolist(), "expected a tensor"),
        (lambda w: w, "your function stopped with TypeError"),
        (lambda w, height, width: 1 / 0, "your function stopped with ZeroDivisionError"),
        (lambda w, height, width: spread(w, height, width) + 1j, "real numbers"),
        (lambda w, height, width: spread(w, height, width) * torch.nan, "not finite"),
        (lambda w, height, width: w, "has shape (3, 5), expected (3, 40)"),
        (lambda w, height, width: spread(w, height, width).T, "has shape (40, 3)"),
        (lambda w, height, width: spread(w, height, width) * height * width, "sum over the places"),
        (lambda w, height, width: w.repeat(1, height * width) / (height * width), "wrong order"),
        (lambda w, height, width: w.repeat(1, height * width), "wrong order"),
        (lambda w, height, width: spread(w, height, width) / w.shape[1], "logits differ"),
        (lambda w, height, width: spread(w, height, width) * 1.001, "logits differ"),
        (lambda w, height, width: spread(w, height, width) + 1e-3, "logits differ"),
        (lambda w, height, width: spread(w.softmax(1), height, width), "logits differ"),
        (lambda w, height, width: torch.zeros(len(w), w[0].numel() * height * width), "differ"),
        # right for the first map only
        (lambda w, height, width: spread(w, height, width) * height * width / 8, "logits differ"),
    ],
)
def test_fc_weights_of_gap_is_wrong(function, words):
    says(check.fc_weights_of_gap(function), False, words)


def shares(features, weight, bias):
    return (weight.reshape(len(weight), *features.shape) * features).sum(dim=1)


def by_deletion(features, weight, bias):
    def score(maps):
        return weight.double() @ maps.double().flatten() + bias

    _, height, width = features.shape
    maps = torch.zeros(len(weight), height, width)
    for y in range(height):
        for x in range(width):
            without = features.clone()
            without[:, y, x] = 0
            maps[:, y, x] = score(features) - score(without)
    return maps


@pytest.mark.parametrize("function", [shares, by_deletion])
def test_contributions_are_right(function):
    says(check.contributions_by_place(function), True, "add up to the logit")


def channels_last(f, w, b):
    k, height, width = f.shape
    return (w.reshape(len(w), height, width, k) * f.permute(1, 2, 0)).sum(dim=3)


def columns_first(f, w, b):
    k, height, width = f.shape
    return (w.reshape(len(w), k, width, height).transpose(2, 3) * f).sum(dim=1)


def shared(f, w, b):
    return torch.einsum("ck,khw->chw", w.reshape(len(w), len(f), -1).mean(2), f)


def uniform(f, w, b):
    return (w @ f.flatten())[:, None, None].expand(-1, *f.shape[1:]) / f[0].numel()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (..., "still `...`"),
        ("shares", "expected your function itself"),
        (lambda f, w, b: ..., "still gives `...`"),
        (lambda f, w, b: None, "is its `return` missing"),
        (lambda f, w, b: shares(f, w, b).numpy(), "expected a tensor"),
        (lambda f, w: f, "your function stopped with TypeError"),
        (lambda f, w, b: shares(f, w, b) / 0, "not finite"),
        (lambda f, w, b: shares(f, w, b).transpose(1, 2), "rows and columns are swapped: (C, W"),
        (lambda f, w, b: shares(f, w, b)[0], "has shape (2, 4), expected (3, 2, 4)"),
        (lambda f, w, b: w @ f.flatten() + b, "has shape (3,), expected (3, 2, 4)"),
        (lambda f, w, b: shares(f, w, b) + b[:, None, None], "leave the bias out"),
        (lambda f, w, b: shares(f, w, b) + b[:, None, None] / f[0].numel(), "leave the bias out"),
        (lambda f, w, b: shares(f, w, b) / len(f), "these are averages"),
        (lambda f, w, b: shares(f, w, b) / f[0].numel(), "these are averages"),
        (channels_last, "read in the wrong order"),
        (columns_first, "the weights' rows and columns are swapped"),
        (shared, "one weight per channel is GAP's way"),
        (uniform, "the shares are wrong"),
        (lambda f, w, b: shares(f, w, b).flip(2), "the shares are wrong"),
        (lambda f, w, b: shares(f, w, b).relu(), "do not add up"),
        (lambda f, w, b: shares(f, w, b) * 1.001, "do not add up"),
        (lambda f, w, b: shares(f, w, b) + 1e-3, "do not add up"),
        (lambda f, w, b: shares(f, w, b).softmax(0), "do not add up"),
        (lambda f, w, b: torch.zeros(len(w), *f.shape[1:]), "do not add up"),
    ],
)
def test_contributions_are_wrong(function, words):
    says(check.contributions_by_place(function), False, words)


@pytest.mark.parametrize(
    "head",
    [
        lambda f: f.amax(dim=(2, 3)).sum(dim=1),
        lambda f: f.mean(dim=(2, 3)).relu().sum(dim=1),
        lambda f: f.mean(dim=(2, 3)).square().sum(dim=1).float(),
        lambda f: f.flatten(1).logsumexp(dim=1),
        lambda f: f.flatten(2).median(dim=2).values[:, 0],
    ],
)
def test_a_blind_head_is_right(head):
    says(check.blind_but_not_additive(head), True, "the arrangement is lost")


def changing(f):
    changing.calls = getattr(changing, "calls", 0) + 1
    return f.amax(dim=(2, 3)).sum(dim=1) + changing.calls


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (..., "still `...`"),
        (3, "expected your function itself"),
        (lambda f: ..., "still gives `...`"),
        (lambda f: None, "is its `return` missing"),
        (lambda f: 1.0, "expected a tensor"),
        (lambda f: f @ f, "your function stopped with RuntimeError"),
        (lambda f: f.mean() / 0 * f[:, 0, 0, 0], "not finite"),
        (lambda f: f.amax(dim=(2, 3)), "gives shape (6, 4), expected (6,)"),
        (lambda f: f.amax(), "gives shape (), expected (6,)"),
        (changing, "the second time"),
        (lambda f: torch.ones(len(f)), "a constant is no head"),
        (lambda f: torch.zeros(len(f)), "a constant is no head"),
        (lambda f: f.flatten(1).softmax(0).amax(dim=1), "other images of the batch"),
        (lambda f: f[:, 0, 0, 0].relu(), "cells of the map are shuffled"),
        (lambda f: f.amax(dim=3).mean(dim=(1, 2)), "cells of the map are shuffled"),
        (lambda f: f.mean(dim=(1, 2, 3)), "a sum of one share per place"),
        (lambda f: f.mean(dim=(1, 2, 3)) + 7, "a sum of one share per place"),
        (lambda f: f.relu().sum(dim=(1, 2, 3)), "a sum of one share per place"),
    ],
)
def test_a_blind_head_is_wrong(head, words):
    says(check.blind_but_not_additive(head), False, words)
