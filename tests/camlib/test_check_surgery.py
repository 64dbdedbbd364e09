"""Every sentence that chapter 4's self-checks can say, and the answer that provokes it."""

import copy

import pytest
import torch
from torch import nn

from camlib import check, networks


def says(verdict, ok, words):
    assert isinstance(verdict, check.Verdict)
    assert verdict.ok is ok, verdict
    assert words in verdict.message, verdict


class Largest(nn.Module):
    def forward(self, features):
        return features.amax(dim=(2, 3), keepdim=True)


class Sum(nn.Module):
    def forward(self, features):
        return features.sum(dim=(2, 3), keepdim=True)


def cut(
    vgg,
    end="conv5_3",
    pad=1,
    relu=True,
    pool=None,
    units=128,
    size=3,
    stride=1,
    classes=16,
    groups=1,
):
    names = [name for name, _ in vgg.features.named_children()]
    trunk = copy.deepcopy(vgg.features[: names.index(end) + 1])
    conv = nn.Conv2d(64, units, size, stride, pad, groups=groups)
    between = [nn.ReLU()] if relu else []
    pool = pool or nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(trunk, conv, *between, pool, nn.Flatten(), nn.Linear(units, classes))


def shared(vgg):
    return nn.Sequential(vgg.features[:-1], *cut(vgg)[1:])


def without_last_relu(vgg):
    form = cut(vgg)
    form[0].conv5_3 = form[0].conv5_3[:-1]
    return form


def untrained(vgg):
    return cut(networks.create("vgg16", scale="lab"))


def nothing_cut(vgg):
    return copy.deepcopy(vgg)


def no_pooling(vgg):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(128 * 144, 16))
    return nn.Sequential(*cut(vgg)[:3], flat)


def with_noise(vgg):
    class Noise(nn.Module):
        def forward(self, logits):
            return logits + 0.01 * logits.abs().max()

    return nn.Sequential(cut(vgg), Noise())


def in_place(vgg):
    """The original itself is changed and handed back."""
    form = cut(vgg)
    vgg.features, vgg.head, vgg.classifier = form[:3], form[3:5], form[5]
    return copy.deepcopy(vgg)


@pytest.mark.parametrize("function", [cut, lambda vgg: cut(vgg).double().float(), in_place])
def test_surgery_is_right(function):
    says(check.gap_surgery(function, "vgg16-gap"), True, "cut after conv5_3")


def test_surgery_is_right_for_alexnet_too():
    def function(alexnet):
        return cut(alexnet, end="conv5")

    says(check.gap_surgery(function, "alexnet-gap"), True, "cut after conv5, and")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (..., "still `...`"),
        (None, "expected your function itself"),
        (lambda vgg: ..., "still gives `...`"),
        (lambda vgg: None, "is its `return` missing"),
        (lambda vgg: 1 / 0, "stopped with ZeroDivisionError"),
        (lambda vgg: "vgg", "gives str, expected a network"),
        (lambda vgg: nn.Linear(5, 2), "stopped with RuntimeError"),
        (nothing_cut, "it has 3 linear layers"),
        (lambda vgg: cut(vgg)[:5], "it has 0 linear layers"),
        (lambda vgg: cut(vgg, end="conv5_2"), "13 convolutions, expected the 13 up to conv5_3"),
        (lambda vgg: nn.Sequential(vgg.features[0], nn.Flatten(), nn.Linear(27648, 16)), "1 conv"),
        (untrained, "are not the original's"),
        (shared, "shared with the original"),
        (lambda vgg: cut(vgg, size=1, pad=0), "weights of shape (128, 64, 1, 1)"),
        (lambda vgg: cut(vgg, units=1024), "weights of shape (1024, 64, 3, 3)"),
        (lambda vgg: cut(vgg, groups=2), "weights of shape (128, 32, 3, 3)"),
        (lambda vgg: cut(vgg, stride=2), "a stride of 2, and the linear layer takes 128"),
        (no_pooling, "a stride of 1, and the linear layer takes 18432"),
        (lambda vgg: cut(vgg, classes=1000), "scores of shape (2, 1000)"),
        (lambda vgg: cut(vgg, end="pool5"), "pool5 is still there"),
        (lambda vgg: cut(vgg, pad=0), "has no padding"),
        (lambda vgg: cut(vgg, relu=False), "the ReLU after the new convolution is missing"),
        (without_last_relu, "conv5_3 lost its ReLU"),
        (lambda vgg: cut(vgg, pool=Largest()), "by their maximum"),
        (lambda vgg: cut(vgg, pool=Sum()), "are summed"),
        (with_noise, "your layers are there"),
    ],
)
def test_surgery_is_wrong(function, words):
    says(check.gap_surgery(function, "vgg16-gap"), False, words)


def by_counting(layers):
    """The pixels of a row that cell 0 reads, walked backwards; and where cell 1 begins."""
    firsts = []
    for cell in (0, 1):
        read = {cell}
        for kernel, stride in reversed(layers):
            read = {place * stride + i for place in read for i in range(kernel)}
        firsts.append(read)
    side = max(firsts[0]) - min(firsts[0]) + 1
    return side, min(firsts[1]) - min(firsts[0])


def walk(layers, start=1, less=1, early=False, scaled=True):
    field, step = start, 1
    for kernel, stride in layers:
        factor = step * stride if early else step
        field += (kernel - less) * (factor if scaled else 1)
        step *= stride
    return field, step


@pytest.mark.parametrize(
    "function", [by_counting, walk, lambda la: torch.tensor(walk(la)).tolist()]
)
def test_receptive_field_is_right(function):
    says(check.receptive_field(function), True, "agree for four stacks")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (..., "still `...`"),
        (3, "expected your function itself"),
        (lambda layers: None, "is its `return` missing"),
        (lambda layers: layers[99], "stopped with IndexError"),
        (lambda layers: walk(layers)[0], "expected two numbers"),
        (lambda layers: "ab", "expected two numbers"),
        (lambda layers: (None, 1), "gives NoneType, expected one number"),
        (lambda layers: (float("nan"), 1), "gives nan, expected one number"),
        (lambda layers: walk(layers)[::-1], "are swapped"),
        (lambda layers: walk(layers, scaled=False), "in steps of its input"),
        (lambda layers: walk(layers, early=True), "add first, multiply then"),
        (lambda layers: walk(layers, start=0), "start from 1"),
        (lambda layers: walk(layers, less=0), "k - 1, not k"),
        (lambda layers: (walk(layers)[0], sum(s for _, s in layers)), "strides multiply"),
        (lambda layers: walk(layers[::-1]), "wrong for [(3, 2), (3, 1)]"),
        (lambda layers: (walk(layers)[0] + 1, walk(layers)[1]), "wrong for [(3, 1)]"),
    ],
)
def test_receptive_field_is_wrong(function, words):
    says(check.receptive_field(function), False, words)


def test_map_sides_are_right():
    says(check.map_sides(27, 26), True, "rounds down by itself")
    says(check.map_sides(torch.tensor(27), 26.0), True, "rounds down by itself")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (..., 26, "still `...`"),
        (27, ..., "still `...`"),
        (None, 26, "at 448 pixels, got NoneType"),
        ("27", 26, "at 448 pixels, got str"),
        (27, (26, 26), "with a stride of 2, got tuple"),
        (27, float("nan"), "with a stride of 2, got nan"),
        (26, 26, "at 448 pixels: that is twice 13"),
        (13, 26, "at 448 pixels: that is the map after pool5"),
        (27, 12, "with a stride of 2: that is the map after pool5"),
        (25, 26, "at 448 pixels: the new convolution has padding 1"),
        (27, 24, "with a stride of 2: the new convolution has padding 1"),
        (28, 26, "at 448 pixels: that is pixels divided by the step"),
        (27, 28, "with a stride of 2: that is pixels divided by the step"),
        (54, 26, "at 448 pixels: that map has fewer rows"),
        (27, 27, "with a stride of 2: that map has fewer rows"),
        (27, 7, "with a stride of 2: that map has more rows"),
        (27.5, 26, "at 448 pixels: that map has fewer rows"),
    ],
)
def test_map_sides_are_wrong(first, second, words):
    says(check.map_sides(first, second), False, words)


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    original = networks.create("alexnet", scale="lab")
    with torch.no_grad():
        original.classifier.bias += 1  # as after training; the form's is zero
    form = networks.gap_form(original, "alexnet-gap")
    kept = [n for n in form.state_dict() if not n.startswith(("features.cam", "classifier"))]
    return original, form, kept


def test_kept_tensors_are_right(pair):
    original, form, kept = pair
    for answer in (kept, set(kept), tuple(kept), dict.fromkeys(kept), iter(kept)):
        says(check.kept_tensors(answer, original, form), True, "30 tensors are the original's")


def test_kept_tensors_are_wrong(pair):
    original, form, kept = pair
    everything = list(form.state_dict())
    both = [n for n in everything if n in original.state_dict()]
    parameters = [n for n in kept if n in dict(form.named_parameters())]
    for answer, words in (
        (..., "still `...`"),
        (None, "got NoneType"),
        ("features.conv1.conv.weight", "got str"),
        (7, "got int"),
        ([None], 'no tensor "None"'),
        (["conv1.weight"], 'no tensor "conv1.weight"'),
        (["head." * 50], "names as in its"),
        (everything, "all tensors of the form"),
        (both, "the names that both have"),
        (parameters, "running mean and variance are kept too"),
        ([*kept, "classifier.weight"], '"classifier.weight" is new'),
        ([*kept[1:], "features.cam_conv1.conv.weight"], "is new"),
        (kept[2:], "2 more are kept"),
        ([], "30 more are kept"),
    ):
        says(check.kept_tensors(answer, original, form), False, words)
