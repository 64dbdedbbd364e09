"""What single units of the last convolution respond to, and what they do for a class (section 5).

A unit is a channel k of the last convolution. In a network that ends in GAP and one linear layer
it adds w_k^c F_k to the score of class c, and nothing else: the scores of a network without some
of its units need no second forward pass.
"""

from typing import Any

import torch
from torch import Tensor, nn

from camlib import cam

ORDERS = ("weight", "contribution", "lowest weight", "random")


def receptive_field(
    network: nn.Module,
    images: Tensor,
    unit: int | None = None,
    places: Tensor | None = None,
) -> Tensor:
    """How much each pixel moves a unit at one place: |d f_k(x, y) / d pixel|.

    Args:
        network: follows timm's protocol, in evaluation mode.
        images: transformed, (N, 3, h, w).
        unit: which channel; None: the sum of all.
        places: row and column of the cell in each image, int (N, 2); None: the middle one.

    Returns:
        (N, h, w), the largest over the colours. Zero throughout where a ReLU is closed.

    Raises:
        ValueError: if the network is in training mode or the images are no batch.
    """
    cam.expect_ready("receptive_field", network, images)
    timm_network: Any = network
    with torch.enable_grad():
        pixels = images.detach().clone().requires_grad_()
        features = timm_network.forward_features(pixels)
        height, width = features.shape[2:]
        if places is None:
            places = torch.tensor([[height // 2, width // 2]]).expand(len(images), 2)
        chosen = features[torch.arange(len(images)), :, places[:, 0], places[:, 1]]
        value = chosen.sum() if unit is None else chosen[:, unit].sum()
        [slope] = torch.autograd.grad(value, pixels)
    return slope.abs().amax(dim=1)


def extent(field: Tensor, share: float = 1.0) -> tuple[int, int, int, int]:
    """The box that holds a share of a receptive field along rows, and along columns.

    From each of the four ends (1 - share) / 2 of the sum is left outside, so that the box as a
    whole holds less than the share, and at least 2 share - 1.

    Args:
        field: (h, w), not negative.
        share: of the sum; 1 keeps every pixel that is not zero.

    Returns:
        (x0, y0, x1, y1), half-open pixels.

    Raises:
        ValueError: if nothing in it is above zero, or the share is not in (0, 1].
    """
    if field.ndim != 2 or not bool((field >= 0).all()) or not bool(field.any()):
        raise ValueError(
            f"extent: got a field of shape {tuple(field.shape)} without a positive value, or with "
            "negative ones; expected (h, w) from receptive_field, of a unit that fires"
        )
    if not 0 < share <= 1:
        raise ValueError(f"extent: share is {share}, expected above 0 and up to 1")
    ends = []
    for axis in (0, 1):  # the sum over rows leaves columns, x first
        profile = field.double().sum(dim=axis)
        inside = profile.cumsum(0) / profile.sum()
        out = (1 - share) / 2
        first = int((inside > out + 1e-12).nonzero()[0])
        last = int((inside >= 1 - out - 1e-12).nonzero()[0])
        ends.append((first, last + 1))
    (x0, x1), (y0, y1) = ends
    return x0, y0, x1, y1


def top_activations(features: Tensor, unit: int, number: int) -> Tensor:
    """Where a unit is highest, at most once in each image: rows of (image, row, column), int64.

    Args:
        features: f_k(x, y) of many images, (N, K, H, W).
        unit: k.
        number: how many, the highest first.
    """
    width = features.shape[3]
    values, at = features[:, unit].flatten(1).max(dim=1)
    best = values.topk(number).indices
    return torch.stack([best, at[best] // width, at[best] % width], dim=1)


def ranking(
    weight: Tensor, pooled: Tensor, labels: Tensor, order: str = "weight", seed: int = 0
) -> Tensor:
    """The units of every class in an order, (C, K): the first is the first to go.

    Args:
        weight: w_k^c, (C, K).
        pooled: F_k of images that the order may be made from, (N, K).
        labels: their classes, (N,).
        order: "weight", largest w_k^c first, as in the paper; "contribution", largest mean of
            w_k^c F_k over the images of c first; "lowest weight", most negative first; "random".
        seed: of a random order.

    Raises:
        ValueError: for another order.
    """
    if order not in ORDERS:
        raise ValueError(f"ranking: order is {order!r}, expected one of {', '.join(ORDERS)}")
    if order == "random":
        chance = torch.Generator().manual_seed(seed)
        return torch.stack([torch.randperm(weight.shape[1], generator=chance) for _ in weight])
    if order == "contribution":
        weight = weight * torch.stack([pooled[labels == c].mean(0) for c in range(len(weight))])
    return weight.argsort(dim=1, descending=order != "lowest weight")


def ablated(pooled: Tensor, weight: Tensor, bias: Tensor, units: Tensor, fill: Tensor) -> Tensor:
    """Logits (N, C) of a network that ends in GAP and one linear layer, without some of its units.

    Args:
        pooled: F_k, (N, K).
        weight, bias: of the linear layer, (C, K) and (C,).
        units: which channels, int (n,).
        fill: what takes the place of each F_k, (K,): zero, or its mean over other images.
    """
    without = pooled.clone()
    without[:, units] = fill[units]
    return without @ weight.T + bias
