"""Sanity checks of maps (Adebayo et al., NeurIPS 2018): do they change when the weights do?

A map that stays the same when what the network has learnt is destroyed cannot show what it has
learnt.
"""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from skimage import metrics as skimage_metrics
from torch import Tensor, nn

from camlib.photos import did_you_mean


def randomised(network: nn.Module, layers: Sequence[str], seed: int = 0) -> nn.Module:
    """A copy of a network in which the weights of some layers have changed places at random.

    Within each tensor, so that the numbers stay the same and the function does not. (Adebayo et al.
    draw new ones; where batch norm follows, those would meet running statistics of another scale,
    and activations could vanish or explode, which changes maps for another reason.) The running
    statistics of batch norm stay.

    Args:
        network: stays as it is.
        layers: dotted names; all that is inside a layer is randomised.
        seed: of the places.

    Raises:
        ValueError: if there is no such layer, or it has no weights.
    """
    other = copy.deepcopy(network)
    known = {k: m for k, m in other.named_modules(remove_duplicate=False) if k}
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in layers:
            if layer not in known:
                hint = did_you_mean(str(layer), known)
                raise ValueError(f"randomised: the network has no layer {layer!r}{hint}")
            weights = list(known[layer].parameters())
            if not weights:
                raise ValueError(
                    f"randomised: {layer} has no weights: leave it out, it cannot change"
                )
            for weight in weights:
                places = torch.randperm(weight.numel(), generator=generator)
                weight.copy_(weight.flatten()[places.to(weight.device)].reshape(weight.shape))
    return other


def cascading(
    network: nn.Module, layers: Sequence[str], seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """Cascading randomisation: the first layer, the first two, and so on, each with its last name.

    Args:
        network: stays as it is.
        layers: dotted names, from the output down.
        seed: a layer, once randomised, stays the same.
    """
    other = network
    for number, layer in enumerate(layers):
        other = randomised(other, [layer], seed + number)
        yield layer, other


def independent(
    network: nn.Module, layers: Sequence[str], seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """Independent randomisation: one layer each time, all others as trained."""
    for number, layer in enumerate(layers):
        yield layer, randomised(network, [layer], seed + number)


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Spearman's rank correlation of maps, (..., h, w) -> (...): 1 same order, 0 none, -1 reverse.

    Equal values share their mean rank. A map with a single value has no order: NaN.
    """
    _expect_alike("rank_correlation", maps, others)
    first, second = (
        torch.from_numpy(
            np.asarray(rankdata(m.detach().cpu().double().flatten(-2).numpy(), axis=-1))
        )
        for m in (maps, others)
    )
    first, second = (rank - rank.mean(dim=-1, keepdim=True) for rank in (first, second))
    correlation: Tensor = (first * second).sum(-1) / (first.norm(dim=-1) * second.norm(dim=-1))
    return correlation


def similarity(maps: Tensor, others: Tensor) -> Tensor:
    """Structural similarity (SSIM, Wang et al., 2004) of maps as they are shown, (..., h, w).

    Each map is scaled to 0 ... 1 first, as a picture of it would be; a map with a single value
    becomes zero. scikit-image's, with windows of 7 x 7 pixels.

    Returns:
        (...): 1 for the same picture, about 0 for unrelated ones.
    """
    _expect_alike("similarity", maps, others)
    if min(maps.shape[-2:]) < 7:
        raise ValueError(
            f"similarity: got maps of {tuple(maps.shape[-2:])}, expected 7 x 7 or more: upsample "
            "them to the size at which they are shown"
        )

    def shown(of: Tensor) -> np.ndarray:
        flat = of.detach().double().cpu().reshape(-1, *of.shape[-2:])
        low, high = (f(dim=(1, 2), keepdim=True) for f in (flat.amin, flat.amax))
        scaled: np.ndarray = ((flat - low) / (high - low).clamp(min=1e-300)).numpy()
        return scaled

    values = [
        skimage_metrics.structural_similarity(a, b, data_range=1.0)  # type: ignore[no-untyped-call]
        for a, b in zip(shown(maps), shown(others), strict=True)
    ]
    return torch.tensor(values, dtype=torch.float64).reshape(maps.shape[:-2])


def _expect_alike(caller: str, maps: Tensor, others: Tensor) -> None:
    if maps.shape != others.shape or maps.ndim < 2 or not maps.numel():
        raise ValueError(
            f"{caller}: got maps of shape {tuple(maps.shape)} and {tuple(others.shape)}, expected "
            "the same (..., h, w)"
        )
    if not (bool(maps.isfinite().all()) and bool(others.isfinite().all())):
        raise ValueError(f"{caller}: the maps have values that are not finite (NaN or infinite)")
