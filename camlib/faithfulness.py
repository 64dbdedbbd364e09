"""Does the score follow the map? Pixels removed or added in the map's order, and maps to beat.

A map is faithful to a network as far as its high places are those the score depends on. That says
nothing about where the object is: see `camlib.metrics` for that.
"""

from collections.abc import Callable

import numpy as np
import torch
from skimage.filters import sobel
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.v2.functional import gaussian_blur

from camlib import cam


def confidence_curves(
    network: nn.Module,
    start: Tensor,
    end: Tensor,
    maps: Tensor,
    classes: Tensor,
    *,
    steps: int = 24,
    batch: int = 200,
    seed: int = 0,
) -> Tensor:
    """The probability of a class while pixels pass from one image to another, highest first.

    Deletion (Petsiuk et al., "RISE", 2018): from the image to a `fill`; a faithful map brings the
    probability down early. Insertion: from the fill to the image; it brings it up early.

    Args:
        network: in evaluation mode.
        start, end: (N, 3, h, w), transformed as the network expects; `end` may be any shape that
            fits, such as (3, 1, 1). For insertion `start` is the fill: fill.expand_as(images).
        maps: (N, h, w), or (N, H, W) to be upsampled; only their order counts. Pixels of one value
            come in random order: in the order of reading, a map that is zero in many places would
            remove the image from the top.
        classes: (N,), whose probability.
        steps: equal shares of the pixels, one after another.
        batch: images at once.
        seed: of the order of equal pixels.

    Returns:
        (N, steps + 1), float32, on the CPU: at no pixel, at the first share, ..., at all of them.

    Raises:
        ValueError: if the shapes do not fit, or a map has values that are not finite.
    """
    start, end, maps, classes = _fitted("confidence_curves", network, start, end, maps, classes)
    number, _, height, width = start.shape
    if not 1 <= steps <= height * width:
        raise ValueError(
            f"confidence_curves: steps is {steps}, expected from 1 to the number of pixels, "
            f"{height * width}"
        )
    shuffle = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))
    shuffle = shuffle.to(maps.device)
    order = shuffle[maps.flatten(1)[:, shuffle].argsort(dim=1, descending=True, stable=True)]
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(height * width, device=order.device).expand_as(order))
    rank = rank.reshape(number, 1, height, width)
    curves = torch.empty(number, steps + 1)
    for step in range(steps + 1):
        passed = rank < round(step * height * width / steps)
        curves[:, step] = _confidence(network, torch.where(passed, end, start), classes, batch)
    return curves


def area(curves: Tensor) -> Tensor:
    """The area under each curve, (..., steps + 1) -> (...): trapezoids, over shares from 0 to 1."""
    if not curves.ndim or curves.shape[-1] < 2:
        raise ValueError(
            f"area: got curves of shape {tuple(curves.shape)}, expected two points or more each"
        )
    return torch.trapezoid(curves, dx=1 / (curves.shape[-1] - 1))


def drop_and_increase(
    network: nn.Module,
    images: Tensor,
    fill: Tensor,
    maps: Tensor,
    classes: Tensor,
    *,
    batch: int = 200,
) -> tuple[Tensor, Tensor]:
    """What becomes of a class's probability if the image is left only as far as the map is high.

    Chattopadhay et al., "Grad-CAM++", 2018, section 4.1: Y on the image, O on the image where the
    map, scaled to 0 ... 1, fades it into the fill; drop max(0, Y - O) / Y, increase where O > Y.

    Args:
        images, fill, maps, classes, batch: as `start`, `end` and the others of
            `confidence_curves`. The maps are cut below zero and divided by their maximum.

    Returns:
        Drop, 0 to 1, and increase, 0 or 1, for each image, (N,) both. A map without a positive
        value leaves the fill alone.
    """
    images, fill, maps, classes = _fitted("drop_and_increase", network, images, fill, maps, classes)
    positive = maps.relu()
    share = positive / positive.amax(dim=(1, 2), keepdim=True).clamp(
        min=torch.finfo(maps.dtype).tiny
    )
    before = _confidence(network, images, classes, batch)
    after = _confidence(
        network, torch.lerp(fill, images, share[:, None].to(images.dtype)), classes, batch
    )
    least = torch.finfo(before.dtype).tiny  # of a probability that has become zero
    return (before - after).relu() / before.clamp(min=least), (after > before).to(before.dtype)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Images (N, 3, h, w) without their detail, to fill in for them: blurred with this sigma."""
    reach = 2 * round(3 * sigma) + 1
    soft: Tensor = gaussian_blur(images, [reach, reach], [float(sigma)] * 2)
    return soft


# Maps that know nothing of the network. What does not beat them shows nothing about it.


def noise(images: Tensor, cells: int = 12, seed: int = 0) -> Tensor:
    """Random maps, (N, h, w): uniform on cells x cells places, as coarse as a network's map."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(len(images), cells, cells, generator=generator)
    return cam.upsample(values, (images.shape[2], images.shape[3])).to(images.device)


def centre(images: Tensor) -> Tensor:
    """The same Gaussian in the middle of every image, (N, h, w); sigma is a quarter of the side."""
    rows, columns = (
        torch.exp(-((((torch.arange(side) + 0.5) / side - 0.5) / 0.25) ** 2) / 2)
        for side in images.shape[2:]
    )
    return torch.outer(rows, columns).expand(len(images), -1, -1).to(images.device)


def edges(images: Tensor) -> Tensor:
    """How much the brightness changes at each pixel (Sobel), (N, h, w)."""
    grey = images.mean(dim=1).double().cpu().numpy()
    found = np.stack([sobel(one) for one in grey])  # type: ignore[no-untyped-call]
    return torch.from_numpy(found).to(images)


BASELINES: dict[str, Callable[[Tensor], Tensor]] = {
    "noise": noise,
    "centre": centre,
    "edges": edges,
}


@torch.no_grad()
def _confidence(network: nn.Module, images: Tensor, classes: Tensor, batch: int) -> Tensor:
    """The probability of each image's class, (N,), on the CPU."""
    parts = [
        functional.softmax(network(some).float(), dim=1).gather(1, own[:, None])[:, 0].cpu()
        for some, own in zip(torch.split(images, batch), torch.split(classes, batch), strict=True)
    ]
    return torch.cat(parts)


def _fitted(
    caller: str, network: nn.Module, images: Tensor, other: Tensor, maps: Tensor, classes: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, the others at their shape, maps at their size, and classes; all on their device."""
    cam.expect_ready(caller, network, images)
    number, _, height, width = images.shape
    try:
        other = torch.broadcast_to(other.to(images), images.shape)
    except RuntimeError:
        raise ValueError(
            f"{caller}: got images of shape {tuple(images.shape)} and {tuple(other.shape)}, "
            "expected the same, or one colour (3, 1, 1)"
        ) from None
    if maps.ndim != 3 or len(maps) != number or classes.shape != (number,):
        raise ValueError(
            f"{caller}: got maps {tuple(maps.shape)} and classes {tuple(classes.shape)} for "
            f"{number} images, expected (N, h, w) and (N,): one map each, such as maps[:, 0]"
        )
    if not bool(maps.isfinite().all()):
        raise ValueError(f"{caller}: the maps have values that are not finite (NaN or infinite)")
    if maps.shape[1:] != (height, width):
        maps = cam.upsample(maps, (height, width))
    return images, other, maps.to(images.device), classes.to(images.device).long()
