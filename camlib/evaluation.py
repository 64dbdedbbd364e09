"""A network's maps for a whole split of the lab, and what their boxes are worth (Tables 2, 3)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from camlib import boxes, cam, metrics
from camlib.cam import CamResult
from camlib.lab import CLASSES, StickerWorld
from camlib.training import normalise

TOP = 5
KINDS = ("right", "wrong class", "several objects", "part only", "too large", "beside")
# Shares of the maximum among which a threshold is chosen.
SHARES = tuple(share / 100 for share in range(0, 96, 5))


class Split(NamedTuple):
    """Pictures of the lab with their truth.

    Attributes:
        images: uint8 (n, 3, h, w).
        targets: n dicts, see `lab.StickerWorld`.
        labels: (n,).
    """

    images: Tensor
    targets: list[dict[str, Any]]
    labels: Tensor

    @property
    def masks(self) -> Tensor:
        """Where the picture's class is, all its instances in one, bool (n, h, w)."""
        masks = [t["masks"].as_subclass(Tensor)[t["labels"] == t["label"]] for t in self.targets]
        return torch.stack([own.any(dim=0) for own in masks])

    @property
    def boxes(self) -> list[Tensor]:
        """The boxes of the picture's class, n times (m, 4)."""
        return [t["boxes"].as_subclass(Tensor)[t["labels"] == t["label"]] for t in self.targets]


def split(world: StickerWorld, length: int | None = None) -> Split:
    """The first pictures of a world, with their truth; all of them without a length."""
    made = [world[i] for i in range(len(world) if length is None else length)]
    targets = [target for _, target in made]
    labels = torch.tensor([target["label"] for target in targets])
    return Split(torch.stack([torch.as_tensor(image) for image, _ in made]), targets, labels)


def map_split(
    network: nn.Module,
    pictures: Split,
    method: Callable[..., CamResult] = cam.class_activation_maps,
    *,
    top: int = TOP,
    batch: int = 100,
    **options: Any,
) -> CamResult:
    """Maps of the classes with the highest scores and, last, of the true class, for each picture.

    Args:
        network: in evaluation mode; `method` must be able to map it.
        pictures: from `split`.
        method: called as method(network, images, classes, **options).
        top: how many classes before the true one; 0: only that.
        batch: pictures at once.

    Returns:
        CamResult(logits (n, C), classes (n, top + 1), maps (n, top + 1, H, W)), on the CPU.

    Raises:
        ValueError: if the network is in training mode, or what `method` raises.
    """
    parts = []
    device = next(network.parameters()).device
    chunks = zip(
        torch.split(pictures.images, batch), torch.split(pictures.labels, batch), strict=True
    )
    for images, labels in chunks:
        inputs = normalise(images, network).to(device)
        # In training mode a pass for the best classes would change batch norm's averages.
        cam.expect_ready("map_split", network, inputs)
        if method is cam.class_activation_maps:  # maps of all classes cost no second forward pass
            every = torch.arange(len(CLASSES), device=device).expand(len(images), -1)
            of_all = method(network, inputs, every, **options)
            logits, _, maps = (tensor.cpu() for tensor in of_all)
            classes = torch.cat([logits.topk(top, dim=1).indices, labels[:, None]], dim=1)
            own = maps[torch.arange(len(maps))[:, None], classes]
            parts.append(CamResult(logits, classes, own))
            continue
        with torch.no_grad():
            best = network(inputs).topk(top, dim=1).indices
        classes = torch.cat([best, labels[:, None].to(device)], dim=1)
        result = method(network, inputs, classes, **options)
        parts.append(CamResult(*(tensor.cpu() for tensor in result)))
    return CamResult(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def localization_errors(
    found: CamResult, targets: Sequence[Mapping[str, Any]], threshold: float
) -> dict[str, Tensor]:
    """Which pictures are missed with the box at a share of each map's maximum (Table 2).

    Args:
        found: from `map_split`.
        targets: of the same pictures, to whose size the maps are brought.
        threshold: share of the maximum.

    Returns:
        "top-1", "top-5" and "GT-known": (n,) each, 1 for a miss.

    Raises:
        ValueError: if the maps are not those of `TOP` classes and the true one.
    """
    if found.classes.shape[1] != TOP + 1:
        raise ValueError(
            f"localization_errors: got maps of {found.classes.shape[1]} classes for each picture, "
            f"expected {TOP + 1}, the first {TOP} and the true one: map_split(..., top={TOP})"
        )
    guesses = boxes.boxes_from_maps(_at_size(found.maps, targets), threshold)
    columns = {"top-1": slice(0, 1), "top-5": slice(0, TOP), "GT-known": slice(-1, None)}
    return {
        name: metrics.localization_error(found.classes[:, of], guesses[:, of], targets)
        for name, of in columns.items()
    }


def _at_size(maps: Tensor, targets: Sequence[Mapping[str, Any]]) -> Tensor:
    height, width = targets[0]["boxes"].canvas_size  # torchvision's boxes know their picture's size
    return cam.upsample(maps, (height, width))


def error_curve(found: CamResult, targets: Sequence[Mapping[str, Any]]) -> Tensor:
    """GT-known localization error at each of `SHARES`: the data for choosing a threshold."""
    known, maps = found.classes[:, -1:], _at_size(found.maps[:, -1:], targets)
    return torch.stack(
        [
            metrics.localization_error(known, boxes.boxes_from_maps(maps, share), targets).mean()
            for share in SHARES
        ]
    )


def best_share(curve: Tensor) -> float:
    """The share with the lowest error; where several are level, the middle one of them."""
    lowest = (curve == curve.min()).nonzero().flatten()
    return SHARES[int(lowest[len(lowest) // 2])]


def failure_kinds(
    found: CamResult, targets: Sequence[Mapping[str, Any]], threshold: float
) -> list[str]:
    """What becomes of each picture's first guess, the box of the top class: one of `KINDS`.

    With the right class and IoU below 0.5, the first of these that fits: it holds at least half of
    each of two or more instances of the class (several objects); three quarters of it lie on the
    instance it overlaps best (part only); it holds three quarters of that instance (too large);
    none of these, or there is no box (beside).

    Args:
        found, targets, threshold: as in `localization_errors`.
    """
    maps = _at_size(found.maps[:, 0], targets)
    guesses = boxes.boxes_from_maps(maps, threshold).double()
    kinds = []
    for guess, answer, target in zip(guesses, found.classes[:, 0], targets, strict=True):
        if answer != target["label"]:
            kinds.append("wrong class")
            continue
        own = target["boxes"].as_subclass(Tensor)[target["labels"] == target["label"]].double()
        corners = torch.minimum(guess[2:], own[:, 2:]) - torch.maximum(guess[:2], own[:, :2])
        both = corners.clamp(min=0).prod(dim=1)
        area, areas = (guess[2:] - guess[:2]).prod(), (own[:, 2:] - own[:, :2]).prod(dim=1)
        overlap = both / (area + areas - both)
        best = int(overlap.argmax())
        of_guess, of_object = both[best] / area.clamp(min=1), both[best] / areas[best]
        if overlap[best] >= 0.5:
            kinds.append("right")
        elif int((both >= 0.5 * areas).sum()) > 1:
            kinds.append("several objects")
        elif of_guess >= 0.75:
            kinds.append("part only")
        else:
            kinds.append("too large" if of_object >= 0.75 else "beside")
    return kinds
