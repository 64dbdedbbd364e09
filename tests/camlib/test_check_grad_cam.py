"""The self-checks of the chapter on Grad-CAM: right answers pass, and every sentence they can say
is provoked by a wrong answer."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from verdicts import GARBAGE, raising, rejected

from camlib import check

FUNCTIONS = [check.own_grad_cam, check.places_of_tokens, check.positive_gradients]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_gets_a_verdict_as_answer_and_as_what_a_function_gives(garbage):
    rejected(check.small_alpha(garbage))
    for checked in FUNCTIONS:
        rejected(checked(garbage), "expected your function itself")
        rejected(checked(lambda *_: garbage))
        rejected(checked(lambda *_: (garbage, garbage)))
        rejected(checked(raising), "RuntimeError")


@pytest.mark.parametrize("checked", [check.small_alpha, *FUNCTIONS])
def test_a_missing_answer_is_said_to_be_missing(checked):
    rejected(checked(...), "still `...`")


# Two weights by hand


@pytest.mark.parametrize(
    "right", [(3, 1.5), [3.0, 1.5], torch.tensor([3, 1.5]), np.array([3, 1.5])]
)
def test_small_alpha_takes_right_answers(right):
    assert check.small_alpha(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ((12, 6), "sums over places"),
        ((1.5, 0.75), "all eight"),
        ((3, 1), "which of them are open"),
        ((0, 0.5), "the unit that is closed"),
        ((0, -0.5), "the unit that is closed"),
        ((1, 0.5), "the score weighs the unit"),
        ((3, 3), "no absolute values"),
        ((3, 2.25), "negative gradients count"),
        ((1.5, 1.5), "HiResCAM"),
        ((6, 6), "HiResCAM"),
        ((1, 1), "means of the activations"),
        ((1.5, 3), "swapped"),
        ((3, -1.5), "alpha of channel 0 is right"),
        ((7, 1.5), "alpha of channel 1 is right"),
        ((8, 9), "the mean of a channel's four"),
        ((3, 1.5, 0), "two numbers"),
        ((3, "1.5x"), "two numbers"),
    ],
)
def test_small_alpha_names_what_is_wrong(wrong, word):
    rejected(check.small_alpha(wrong), word)


# Grad-CAM of one's own


def parts_of(trunk, head, images, classes, score=None):
    """Activations and gradients, by torch.func and so without any gradient left behind."""
    score = score or (lambda logits, c: logits[c])
    with torch.no_grad():
        maps = trunk(images)

    def of_one(one, c):
        return score(head(one[None])[0], int(c))

    slopes = [torch.func.grad(of_one)(one, c) for one, c in zip(maps, classes, strict=True)]
    return maps, torch.stack(slopes)


def by_func(trunk, head, images, classes):
    maps, slopes = parts_of(trunk, head, images, classes)
    return torch.einsum("nkhw,nk->nhw", maps, slopes.mean((2, 3))).clamp(min=0)


def by_loop(trunk, head, images, classes):
    found = []
    for image, label in zip(images, classes.tolist(), strict=True):
        cut = trunk(image[None]).detach().requires_grad_()
        (slope,) = torch.autograd.grad(head(cut)[0, label], cut)
        weighed = sum(slope[0, k].mean() * cut[0, k] for k in range(cut.shape[1]))
        found.append(functional.relu(weighed).detach())
    return torch.stack(found)


def by_backward(trunk, head, images, classes):
    maps = trunk(images)
    maps.retain_grad()
    head(maps).gather(1, classes[:, None]).sum().backward()
    return (maps.grad.mean((2, 3), keepdim=True) * maps).sum(1).relu()


@pytest.mark.parametrize("right", [by_func, by_loop, lambda *a: by_func(*a).float()])
def test_own_grad_cam_takes_right_answers(right):
    assert check.own_grad_cam(right).ok


def test_own_grad_cam_sees_gradients_left_on_the_weights():
    rejected(check.own_grad_cam(by_backward), "left gradients on the weights")


def wrong_by(combine, score=None, classes=None):
    def function(trunk, head, images, given):
        asked = given if classes is None else classes(trunk, head, images, given)
        return combine(*parts_of(trunk, head, images, asked, score))

    return function


def mean(slopes):
    return slopes.mean((2, 3), keepdim=True)


def usual(maps, slopes):
    return (mean(slopes) * maps).sum(1).relu()


def all_classes(trunk, head, images, classes):
    def score(logits, _):
        return logits[classes].sum()

    return usual(*parts_of(trunk, head, images, classes, score))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (wrong_by(usual, lambda logits, c: logits.softmax(0)[c]), "probability"),
        (wrong_by(usual, lambda logits, c: logits.log_softmax(0)[c]), "probability"),
        (all_classes, "classes of all images"),
        (wrong_by(usual, classes=lambda t, h, i, c: c[:1].expand(3)), "class of the first"),
        (wrong_by(usual, classes=lambda t, h, i, c: h(t(i)).argmax(1)), "top class"),
        (wrong_by(lambda m, g: (mean(g) * m).sum(1)), "still negative"),
        (wrong_by(lambda m, g: (mean(g) * m).sum(1).abs()), "absolute value of the sum"),
        (wrong_by(lambda m, g: (mean(g) * m).relu().sum(1)), "after the sum over channels"),
        (wrong_by(lambda m, g: (mean(g) * m).relu().mean(1)), "after the sum over channels"),
        (wrong_by(lambda m, g: usual(m, g.abs())), "lost its sign"),
        (wrong_by(lambda m, g: usual(m, g.relu())), "lost its sign"),
        (wrong_by(lambda m, g: usual(m, mean(g).abs())), "lost its sign"),
        (wrong_by(lambda m, g: usual(m, mean(g).relu())), "lost its sign"),
        (wrong_by(lambda m, g: usual(m, g) / 4), "mean over channels"),
        (wrong_by(lambda m, g: usual(m, g) * 30), "summed over places"),
        (wrong_by(lambda m, g: (g * m).sum(1).relu()), "HiResCAM"),
        (wrong_by(lambda m, g: (g.relu() * m).sum(1).relu()), "Layer-CAM"),
        (wrong_by(lambda m, g: usual(m, g) / usual(m, g).amax((1, 2), True)), "own maximum"),
        (wrong_by(lambda m, g: usual(m, g) / usual(m, g).max()), "own maximum"),
        (wrong_by(lambda m, g: usual(m, g.mean(0, True))), "share one alpha"),
        (wrong_by(lambda m, g: mean(g) * m), "channels are still there"),
        (
            wrong_by(lambda m, g: functional.interpolate(usual(m, g)[None], (10, 12))[0]),
            "the size of the image",
        ),
        (wrong_by(lambda m, g: usual(m, g)[0]), "one map for each image"),
        (wrong_by(lambda m, g: usual(m, g) + 1), "miss by up to"),
    ],
)
def test_own_grad_cam_names_what_is_wrong(wrong, word):
    rejected(check.own_grad_cam(wrong), word)


# Tokens


def by_loop_of_places(tokens, height, width, extra):
    result = torch.empty(len(tokens), tokens.shape[2], height, width)
    for y in range(height):
        for x in range(width):
            result[:, :, y, x] = tokens[:, extra + y * width + x]
    return result


def by_reshape(tokens, height, width, extra):
    rows = tokens[:, extra:].reshape(len(tokens), height, width, -1)
    return rows.permute(0, 3, 1, 2)


@pytest.mark.parametrize("right", [by_loop_of_places, by_reshape])
def test_places_of_tokens_takes_right_answers(right):
    assert check.places_of_tokens(right).ok


def reshaped(tokens, height, width):
    return tokens.reshape(len(tokens), tokens.shape[2], height, width)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda t, h, w, e: by_reshape(t[:, : h * w], h, w, 0), "stand in front"),
        (lambda t, h, w, e: by_reshape(t[:, 1 : 1 + h * w], h, w, 0), "stand in front"),
        (lambda t, h, w, e: reshaped(t[:, e:], h, w), "reshape alone"),
        (lambda t, h, w, e: reshaped(t[:, : h * w], h, w), "reshape alone"),
        (lambda t, h, w, e: by_reshape(t, w, h, e).transpose(2, 3), "column by column"),
        (lambda t, h, w, e: by_reshape(t, h, w, e).flip(2), "reverse order"),
        (lambda t, h, w, e: by_reshape(t, h, w, e).flip(3), "reverse order"),
        (lambda t, h, w, e: by_reshape(t, h, w, e).permute(0, 2, 3, 1), "channels come last"),
        (lambda t, h, w, e: by_reshape(t, w, h, e), "width comes before height"),
        (lambda t, h, w, e: t[:, e:].transpose(1, 2), "not in rows yet"),
        (lambda t, h, w, e: by_reshape(t, h, w, e)[:1], "your answer has shape"),
        (lambda t, h, w, e: -by_reshape(t, h, w, e), "miss by up to"),
    ],
)
def test_places_of_tokens_names_what_is_wrong(wrong, word):
    rejected(check.places_of_tokens(wrong), word)


# Layer-CAM from HiResCAM's parts


def by_signs(parts, activations):
    return (parts * (parts.sign() == activations.sign())).sum(0).relu()


def by_division(parts, activations):
    slope = torch.where(activations == 0, 0.0, parts / activations)
    return (slope.relu() * activations).sum(0).relu()


@pytest.mark.parametrize("right", [by_signs, by_division])
def test_positive_gradients_takes_right_answers(right):
    assert check.positive_gradients(right).ok


def slope_of(parts, activations):
    return torch.where(activations == 0, 0.0, parts / activations)


def kept(parts, activations):
    return parts * (parts * activations > 0)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda p, a: ((p / a).relu() * a).sum(0).relu(), "without a division"),
        (lambda p, a: p.relu().sum(0), "by their own sign"),
        (lambda p, a: p.relu().mean(0), "by their own sign"),
        (lambda p, a: kept(p, a).sum(0), "ReLU after the sum"),
        (lambda p, a: p.sum(0), "that is HiResCAM"),
        (lambda p, a: p.sum(0).relu(), "that is HiResCAM"),
        (lambda p, a: (p * (a > 0)).sum(0), "sign of the activation"),
        (lambda p, a: (p * (a > 0)).sum(0).relu(), "sign of the activation"),
        (lambda p, a: (kept(p, a) * (a > 0)).sum(0), "only places with positive activations"),
        (lambda p, a: (p * (p * a < 0)).sum(0), "parts with negative gradients"),
        (lambda p, a: (p * (p * a < 0)).sum(0).relu(), "parts with negative gradients"),
        (lambda p, a: slope_of(p, a).relu().sum(0), "activations are lost"),
        (lambda p, a: p.abs().sum(0), "no absolute values"),
        (lambda p, a: kept(p, a).abs().sum(0), "no absolute values"),
        (lambda p, a: kept(p, a).mean(0).relu(), "mean over channels"),
        (lambda p, a: kept(p, a), "one value for each place"),
        (lambda p, a: kept(p, a).sum(0).relu() + 1, "miss by up to"),
    ],
)
def test_positive_gradients_names_what_is_wrong(wrong, word):
    rejected(check.positive_gradients(wrong), word)
