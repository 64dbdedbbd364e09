"""Backprop saliency against finite differences and captum, and what it must leave alone.

And the blur of maps against scipy's. Maps of layers: test_layer_maps.py.
"""

import captum.attr
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from camlib import gradients, networks


class Smooth(nn.Module):
    """A small network without kinks, in float64."""

    def __init__(self, first=None):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Identity() if first is None else first,
            nn.Conv2d(3, 6, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(6, 4, 3, stride=2),
            nn.Softplus(),
            nn.Flatten(),
            nn.Linear(4 * 2 * 3, 5),
        ).double()
        self.eval()

    def forward(self, images):
        return self.body(images)


@pytest.fixture
def images():
    return torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(1)).double()


ALL = torch.arange(5).expand(2, -1)


def captums(network, images, classes):
    """The same by captum, class by class; its gradients with sign."""
    method = captum.attr.Saliency(network)
    maps = []
    for column in classes.T:
        raw = method.attribute(images.detach().clone().requires_grad_(), column, abs=False)
        maps.append(raw.abs().amax(dim=1))
    return torch.stack(maps, dim=1)


def test_against_finite_differences(images):
    network = Smooth()
    found = gradients.backprop_saliency(network, images, ALL)
    step = 1e-5
    slopes = torch.zeros(5, *images.shape).double()
    with torch.no_grad():
        for place in torch.ones_like(images[0]).nonzero().tolist():
            c, y, x = place
            more, less = images.clone(), images.clone()
            more[:, c, y, x] += step
            less[:, c, y, x] -= step
            slopes[:, :, c, y, x] = ((network(more) - network(less)) / (2 * step)).T
    expected = slopes.abs().amax(dim=2).transpose(0, 1)
    torch.testing.assert_close(found.maps, expected, rtol=1e-6, atol=1e-9)
    assert torch.equal(found.logits, network(images))
    # The largest over the colours is often not the largest with sign, nor their mean.
    assert (slopes.amax(dim=2).transpose(0, 1) < 0.9 * expected).float().mean() > 0.2


def test_against_captum(images):
    network = Smooth()
    found = gradients.backprop_saliency(network, images, ALL)
    torch.testing.assert_close(found.maps, captums(network, images, ALL), rtol=1e-12, atol=1e-15)
    assert found.maps.shape == (2, 5, 6, 7)
    each = torch.tensor([[4, 1], [0, 4]])  # other classes for each image
    of_each = gradients.backprop_saliency(network, images, each)
    assert torch.equal(of_each.classes, each)
    torch.testing.assert_close(of_each.maps, found.maps[torch.arange(2)[:, None], each])


@pytest.mark.parametrize("name", ["alexnet", "googlenet-gmp"])
def test_the_labs_networks_against_captum(name):
    network = networks.create(name, pretrained=True, scale="lab")
    pixels = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    found = gradients.backprop_saliency(network, pixels, top=2)
    best = network(pixels).topk(2, dim=1).indices
    assert torch.equal(found.classes, best)
    expected = captums(network, pixels, best)
    torch.testing.assert_close(found.maps, expected, rtol=1e-4, atol=1e-6 * expected.max().item())


def test_no_picture_changes_anothers_map(images):
    network = Smooth()
    together = gradients.backprop_saliency(network, images, ALL).maps
    for i in range(2):
        alone = gradients.backprop_saliency(network, images[i : i + 1], range(5)).maps
        torch.testing.assert_close(together[i : i + 1], alone)


def test_under_any_gradient_mode(images):
    network = Smooth()
    expected = gradients.backprop_saliency(network, images, ALL)
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            made = images * 1.0  # under inference mode an inference tensor
            found = gradients.backprop_saliency(network, made, ALL)
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.equal(ours, theirs)
            assert not ours.requires_grad


def test_frozen_parameters(images):
    network = Smooth()
    expected = gradients.backprop_saliency(network, images, ALL).maps
    network.requires_grad_(False)
    assert torch.equal(gradients.backprop_saliency(network, images, ALL).maps, expected)
    assert not any(p.requires_grad for p in network.parameters())


def test_a_first_layer_that_overwrites_its_input(images):
    before = images.clone()
    found = gradients.backprop_saliency(Smooth(nn.ReLU(inplace=True)), images, ALL)
    apart = gradients.backprop_saliency(Smooth(nn.ReLU()), images, ALL)
    assert torch.equal(found.maps, apart.maps)
    assert torch.equal(images, before)
    assert (found.maps[(images < 0).all(dim=1, keepdim=True).expand_as(found.maps)] == 0).all()


def test_nothing_of_the_callers_is_touched(images):
    network = Smooth()
    network.body[1].weight.grad = torch.full_like(network.body[1].weight, 7.0)
    leaf = images.clone().requires_grad_()
    inner = leaf * 2.0
    gradients.backprop_saliency(network, leaf, ALL)
    gradients.backprop_saliency(network, inner, ALL)
    assert leaf.grad is None
    assert leaf.requires_grad
    assert torch.equal(leaf, images)
    assert (network.body[1].weight.grad == 7).all()
    assert all(p.grad is None for p in network.body[3:].parameters())
    assert all(p.requires_grad for p in network.parameters())
    assert not any(m.training or m._forward_hooks for m in network.modules())
    inner.sum().backward()  # their graph is still whole
    assert (leaf.grad == 2).all()


class Broken(Smooth):
    """Fails after some layers, or gives what are no logits."""

    answer = None

    def forward(self, images):
        logits = super().forward(images)
        if self.answer is None:
            raise RuntimeError("out of luck")
        return self.answer(logits)


def test_after_an_exception_all_is_as_before(images):
    network = Broken()
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            enabled, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
            with pytest.raises(RuntimeError, match="out of luck"):
                gradients.backprop_saliency(network, images)
            assert torch.is_grad_enabled() == enabled
            assert torch.is_inference_mode_enabled() == inference
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert not any(m.training for m in network.modules())
    assert images.grad is None


@pytest.mark.parametrize(
    ("answer", "gives"),
    [
        (lambda logits: (logits,), "tuple"),
        (lambda logits: logits[:, :, None], r"\(2, 5, 1\)"),
        (lambda logits: logits[:1], r"\(1, 5\)"),
    ],
)
def test_what_are_no_logits(images, answer, gives):
    network = Broken()
    network.answer = answer
    with pytest.raises(ValueError, match=rf"Broken gives {gives}, expected logits \(N, C\)"):
        gradients.backprop_saliency(network, images)


def test_what_does_not_fit(images):
    network = Smooth()
    for arguments, says in (
        ((images[0],), r"got images torch.float64 \(3, 6, 7\), expected a tensor of floats"),
        (((images * 9).byte(),), "got images torch.uint8"),
        ((images, torch.tensor([[0], [5]])), "got class 5, expected between 0 and 4"),
        ((images, 3), r"got classes of shape \(\) for 2 images"),
    ):
        with pytest.raises(ValueError, match=f"^backprop_saliency: {says}"):
            gradients.backprop_saliency(network, *arguments)
    with pytest.raises(ValueError, match=r"^backprop_saliency: top is 6"):
        gradients.backprop_saliency(network, images, top=6)
    network.body[2].train()
    with pytest.raises(ValueError, match=r"^backprop_saliency: Smooth is in training mode"):
        gradients.backprop_saliency(network, images)
    assert network.body[2].training
    assert not network.body[3].training


@pytest.mark.parametrize("sigma", [0.5, 1, 2.3, 4.0])
def test_smoothed_is_scipys_gaussian(sigma):
    maps = torch.randn(2, 3, 17, 25, generator=torch.Generator().manual_seed(3)).double()
    found = gradients.smoothed(maps, sigma)
    for mode, close in (("mirror", True), ("reflect", False)):  # the last doubles the border
        expected = gaussian_filter(maps.numpy(), sigma, mode=mode, truncate=4, axes=(2, 3))
        assert torch.allclose(found, torch.from_numpy(expected), rtol=0, atol=1e-12) == close
    assert torch.equal(gradients.smoothed(maps[0, 0], sigma), found[0, 0])


def test_smoothed_without_a_width_leaves_maps_as_they_are():
    maps = torch.randn(2, 3, 1, 25)
    assert torch.equal(gradients.smoothed(maps, 0), maps)


@pytest.mark.parametrize(
    ("shape", "sigma"),
    [
        *(((2, 17, 25), -1), ((2, 17, 25), float("nan")), ((2, 17, 25), float("inf"))),
        *(((2, 17, 25), 4.25), ((2, 25, 17), 4.25), ((17,), 1)),
    ],
)
def test_smoothed_refuses_what_would_reach_across_the_map(shape, sigma):
    with pytest.raises(ValueError, match=r"^smoothed: got maps of shape \(.*below a quarter"):
        gradients.smoothed(torch.zeros(shape), sigma)
