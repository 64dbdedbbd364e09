"""The self-checks of the chapter on backprop saliency: right answers pass, and every sentence they
can say is provoked by a wrong answer."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from verdicts import GARBAGE, raising, rejected

from camlib import check, gradients

CHECKS = [
    check.relu_net_gradient,
    check.chosen_setting,
    check.smooth_gradient,
    check.contrast_saliency,
]


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


# A network of one hidden layer, by hand


def by_gates(weight, outer, x):
    return weight.T @ (outer * (weight @ x > 0))


def by_autograd(weight, outer, x):
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        return torch.autograd.grad(outer @ (weight @ x).relu(), x)[0]


def by_loop(weight, outer, x):
    total = torch.zeros(len(x))
    for row, above in zip(weight, outer, strict=True):
        if row @ x > 0:
            total += above * row
    return total


@pytest.mark.parametrize("right", [by_gates, by_autograd, by_loop])
def test_relu_net_gradient_takes_right_answers(right):
    assert check.relu_net_gradient(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda w, v, x: w.T @ v, "all units open"),
        (lambda w, v, x: w.T @ (v * (w @ x < 0)), "the closed units"),
        (lambda w, v, x: w.T @ (v * (w @ x).relu()), "the units' values"),
        (lambda w, v, x: w.T @ (w @ x).relu(), "the units' values"),
        (lambda w, v, x: w.T @ (w @ x > 0).float(), "last layer's weights"),
        (lambda w, v, x: by_gates(w, v, x) * x, "multiplied by the input"),
        (lambda w, v, x: by_gates(w, v, x).abs(), "the sign is gone"),
        (lambda w, v, x: w.T @ v * (x > 0), "not to the inputs"),
        (lambda w, v, x: w.T @ v.relu() * (x > 0), "not to the inputs"),
        (lambda w, v, x: w.T @ v.relu(), "weight above"),
        (lambda w, v, x: w.T @ (v.relu() * (w @ x > 0)), "weight above"),
        (lambda w, v, x: -by_gates(w, v, x), "path by path"),
        (lambda w, v, x: v * (w @ x > 0), "one for each hidden unit"),
        (lambda w, v, x: w * (v * (w @ x > 0))[:, None], "add up over the hidden units"),
        (lambda w, v, x: by_gates(w, v, x).sum(), "one number in all"),
        (lambda w, v, x: by_gates(w, v, x)[None], "has shape"),
    ],
)
def test_relu_net_gradient_says_what_is_wrong(wrong, word):
    rejected(check.relu_net_gradient(wrong), word)


# A setting chosen on validation pictures


def by_flat_index(valid, test):
    return test.flatten()[valid.argmin()]


def by_numpy(valid, test):
    valid = valid.numpy()
    return test.numpy()[np.unravel_index(valid.argmin(), valid.shape)]


def by_double_loop(valid, test):
    places = [(valid[i, j], i, j) for i in range(len(valid)) for j in range(valid.shape[1])]
    _, i, j = min(places)
    return test[i, j].item()


@pytest.mark.parametrize("right", [by_flat_index, by_numpy, by_double_loop])
def test_chosen_setting_takes_right_answers(right):
    assert check.chosen_setting(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda v, t: t.min(), "the test pictures have chosen"),
        (lambda v, t: v.min(), "flatters"),
        (lambda v, t: v.argmin(), "the place of the setting"),
        (lambda v, t: t.flatten()[v.argmax()], "better when low"),
        (lambda v, t: t[v.amin(1).argmin()].min(), "chose the blur only"),
        (lambda v, t: t[:, v.amin(0).argmin()].min(), "chose the share only"),
        (lambda v, t: t[v.mean(1).argmin(), v.mean(0).argmin()], "one by one"),
        (lambda v, t: v.flatten()[t.argmin()], "roles are swapped"),
        (lambda v, t: t.mean(), "the mean over all"),
        (lambda v, t: v.mean(), "the mean over all"),
        (lambda v, t: t.max(), "lowest validation error, then"),
    ],
)
def test_chosen_setting_says_what_is_wrong(wrong, word):
    rejected(check.chosen_setting(wrong), word)


# SmoothGrad


def gradients_of(gradient_of, image, noise):
    return torch.stack([gradient_of(image + one) for one in noise])


def smooth(gradient_of, image, noise):
    return gradients_of(gradient_of, image, noise).mean(0).abs().amax(0)


def smooth_at_once(gradient_of, image, noise):
    return gradient_of(image + noise).mean(dim=0).abs().max(dim=0).values


def smooth_running(gradient_of, image, noise):
    total = 0
    for one in noise:
        total = total + gradient_of(image + one) / len(noise)
    return torch.maximum(total.amax(0), -total.amin(0))


@pytest.mark.parametrize("right", [smooth, smooth_at_once, smooth_running])
def test_smooth_gradient_takes_right_answers(right):
    assert check.smooth_gradient(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda g, x, n: g(x).abs().amax(0), "plain saliency"),
        (lambda g, x, n: g(x + n.mean(0)).abs().amax(0), "the noise was averaged"),
        (lambda g, x, n: gradients_of(g, x, n).abs().mean(0).amax(0), "before the mean"),
        (lambda g, x, n: gradients_of(g, x, n).abs().amax(1).mean(0), "before the mean"),
        (lambda g, x, n: gradients_of(g, x, n).sum(0).abs().amax(0), "sum of the gradients"),
        (lambda g, x, n: smooth(lambda z: g(x * z), torch.zeros_like(x), n), "multiplies"),
        (lambda g, x, n: smooth(g, torch.zeros_like(x), n), "at the noise alone"),
        (lambda g, x, n: g(x + n[-1]).abs().amax(0), "only one of the noisy"),
        (lambda g, x, n: gradients_of(g, x, n).mean(0).amax(0), "absolute value is missing"),
        (lambda g, x, n: gradients_of(g, x, n).amax(1).mean(0), "absolute value is missing"),
        (lambda g, x, n: gradients_of(g, x, n).mean(0).amax(0).abs(), "absolute value is missing"),
        (lambda g, x, n: gradients_of(g, x, n).mean(0).amax(0).relu(), "absolute value is missing"),
        (lambda g, x, n: gradients_of(g, x, n).mean(0).abs().mean(0), "not the mean or the sum"),
        (lambda g, x, n: gradients_of(g, x, n).mean(0).abs().sum(0), "not the mean or the sum"),
        (lambda g, x, n: gradients_of(g, x, n).mean(0).mean(0).abs(), "not the mean or the sum"),
        (lambda g, x, n: gradients_of(g, x, n).mean(0).sum(0).abs(), "not the mean or the sum"),
        (lambda g, x, n: smooth(g, x, 2 * n), "in this order"),
        (lambda g, x, n: gradients_of(g, x, n).mean(0).abs(), "the colours are still there"),
        (lambda g, x, n: gradients_of(g, x, n).abs().amax(1), "the copies are still there"),
        (lambda g, x, n: smooth(g, x, n).T, "has shape"),
    ],
)
def test_smooth_gradient_says_what_is_wrong(wrong, word):
    rejected(check.smooth_gradient(wrong), word)


# The saliency of a difference of two logits


def slope(network, images, value):
    with torch.enable_grad():
        pixels = images.detach().clone().requires_grad_()
        return torch.autograd.grad(value(network(pixels)).sum(), pixels)[0]


def of_difference(network, images, a, b):
    return slope(network, images, lambda s: s[:, a] - s[:, b]).abs().amax(1)


def of_gradients(network, images, a, b):
    both = [slope(network, images, lambda s, c=c: s[:, c]) for c in (a, b)]
    return (both[0] - both[1]).abs().amax(1)


def of_log_probabilities(network, images, a, b):
    def value(scores):
        return functional.log_softmax(scores, dim=1)[:, [a, b]] @ torch.tensor([1.0, -1.0]).double()

    return slope(network, images, value).abs().amax(1)


def image_by_image(network, images, a, b):
    return torch.cat([of_difference(network, one[None], a, b) for one in images])


def changed(change):
    """A function that changes the gradient (N, 3, h, w) in the end."""
    return lambda n, x, a, b: change(slope(n, x, lambda s: s[:, a] - s[:, b]))


def combined(value):
    """A function that differentiates something else of the logits."""
    return lambda n, x, a, b: slope(n, x, lambda s: value(s, a, b)).abs().amax(1)


def saliency(network, images, c):
    classes = torch.full((len(images), 1), c)
    return gradients.backprop_saliency(network, images, classes).maps[:, 0]


def subtracted(change=lambda apart: apart):
    return lambda n, x, a, b: change(saliency(n, x, a) - saliency(n, x, b))


def accumulating(network, images, a, b):
    images.requires_grad_()
    score = network(images)
    (pixels,) = torch.autograd.grad((score[:, a] - score[:, b]).sum(), images)
    images.grad = pixels if images.grad is None else images.grad + pixels
    return images.grad.abs().amax(1)


def leaving(network, images, a, b):
    pixels = images.detach().clone().requires_grad_()
    score = network(pixels)
    (score[:, a] - score[:, b]).sum().backward()
    return pixels.grad.abs().amax(1)


def separately(network, images, a, b):
    first, second = (slope(network, images, lambda s, c=c: s[:, c]) for c in (a, b))
    return (first.abs() - second.abs()).abs().amax(1)


@pytest.mark.parametrize(
    "right", [of_difference, of_gradients, of_log_probabilities, image_by_image]
)
def test_contrast_saliency_takes_right_answers(right):
    assert check.contrast_saliency(right).ok


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda n, x, a, b: saliency(n, x, a), "one of the two classes"),
        (lambda n, x, a, b: saliency(n, x, b), "one of the two classes"),
        (subtracted(), "two saliencies were subtracted"),
        (subtracted(torch.neg), "two saliencies were subtracted"),
        (subtracted(torch.abs), "two saliencies were subtracted"),
        (subtracted(torch.relu), "two saliencies were subtracted"),
        (separately, "two saliencies were subtracted"),
        (combined(lambda s, a, b: s[:, a] + s[:, b]), "sum of the two logits"),
        (combined(lambda s, a, b: s.softmax(1)[:, a] - s.softmax(1)[:, b]), "no softmax"),
        (combined(lambda s, a, b: s.softmax(1)[:, a]), "no softmax"),
        (combined(lambda s, a, b: (s[:, a] - s[:, b]).square()), "squared before"),
        (combined(lambda s, a, b: (s[:, a] - s[:, b]).mean()), "number of images"),
        (changed(lambda g: g.abs().mean(1)), "over the colours"),
        (changed(lambda g: g.abs().sum(1)), "over the colours"),
        (changed(lambda g: g.mean(1).abs()), "over the colours"),
        (changed(lambda g: g.sum(1).abs()), "over the colours"),
        (changed(lambda g: g.square().sum(1)), "over the colours"),
        (changed(lambda g: g.norm(dim=1)), "over the colours"),
        (changed(lambda g: g.amax(1)), "absolute value is missing"),
        (changed(lambda g: g.amax(1).abs()), "absolute value is missing"),
        (changed(lambda g: g.amax(1).relu()), "absolute value is missing"),
        (changed(lambda g: -g.amin(1)), "absolute value is missing"),
        (changed(lambda g: g.abs().amax(1) / g.abs().amax((1, 2, 3))[:, None, None]), "is scaled"),
        (combined(lambda s, a, b: s[:, a] - s[:, 0]), "one backward pass"),
        (accumulating, "called twice"),
        (leaving, "left behind"),
        (changed(torch.abs), "the colours are still there"),
        (changed(lambda g: g.abs().amax(1)[0]), "the batch is gone"),
        (changed(lambda g: g.abs().amax(3)), "has shape"),
    ],
)
def test_contrast_saliency_says_what_is_wrong(wrong, word):
    rejected(check.contrast_saliency(wrong), word)


def test_contrast_saliency_stands_a_function_that_fails_the_second_time():
    calls = []

    def once(*arguments):
        calls.append(1)
        return of_difference(*arguments) if len(calls) == 1 else raising()

    rejected(check.contrast_saliency(once), "stopped with RuntimeError")
