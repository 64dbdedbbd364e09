"""What full-scale training and evaluation read: data sets and networks by name, views of images.

A data set gives items as `lab.StickerWorld` does: (image, target), see `camlib.datasets`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision.transforms import v2 as transforms

from camlib import networks, photos
from camlib.datasets import CUB, ILSVRC, Folder, Pets
from camlib.lab import StickerWorld
from camlib.networks import Transform

Data = Dataset[tuple[Any, dict[str, Any]]]
# Of each data set the split to train on and that to evaluate on; a folder of images has none.
SPLITS = {
    "pets": ("trainval", "test"),
    "cub": ("train", "test"),
    "ilsvrc": ("train", "val"),
    "lab": ("train", "valid"),
}
DATASETS = (*SPLITS, "folder")
VIEWS = ("whole", "centre")


def open_dataset(
    name: str,
    root: str | Path | None = None,
    split: str | None = None,
    *,
    boxes: str | Path | None = None,
    limit: int | None = None,
) -> Any:
    """A data set by name.

    Args:
        name: one of `DATASETS`.
        root: its folder; the lab's pictures have none, they are made.
        split: of the data set; without it the one to evaluate on.
        boxes: the file of boxes of a folder of images, see `datasets.Folder`.
        limit: only so many of its images, evenly spread over all of them.

    Raises:
        ValueError: if there is no such data set or split, or an argument does not belong to it.
        FileNotFoundError: if a file is missing.
    """
    if name not in DATASETS:
        hint = photos.did_you_mean(str(name), DATASETS)
        raise ValueError(f"there is no data set {name!r}{hint}")
    if (root is None) != (name == "lab"):
        what = "is made and has no root" if name == "lab" else "is read from disk: give its root"
        raise ValueError(f"the data set {name} {what}")
    if boxes is not None and name != "folder":
        raise ValueError(f"a file of boxes belongs to a folder of images, not to {name}")
    data: Any
    if name == "folder":
        if split is not None:
            raise ValueError(
                f"a folder of images has no split {split!r}: its images are those in the root"
            )
        data = Folder(str(root), boxes)
    elif name == "lab":
        data = StickerWorld(split or SPLITS[name][1])
    elif name == "ilsvrc":
        # Boxes that contradict their image are in the training annotations, and are not used there.
        split = split or SPLITS[name][1]
        data = ILSVRC(str(root), split, strict=split == "val")
    else:
        data = {"pets": Pets, "cub": CUB}[name](str(root), split or SPLITS[name][1])
    return data if limit is None else Spread(data, limit)


class Spread(Dataset[tuple[Any, dict[str, Any]]]):
    """So many items of a data set, evenly spread over it: a trial sees all classes.

    Raises:
        ValueError: if there are not so many.
    """

    def __init__(self, data: Any, count: int) -> None:
        if not isinstance(count, int) or not 1 <= count <= len(data):
            raise ValueError(f"the limit is {count!r}, expected from 1 to {len(data)}, all images")
        self.data, self.classes = data, data.classes
        self.indices = [i * len(data) // count for i in range(count)]
        names = getattr(data, "names", None)
        if names is not None:
            self.names = [names[i] for i in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[Any, dict[str, Any]]:
        item: tuple[Any, dict[str, Any]] = self.data[self.indices[i]]
        return item


def image_name(data: Any, i: int, target: dict[str, Any] | None = None) -> str | None:
    """The name of image i; of the lab's, which have none, the number; None if not yet known."""
    names = getattr(data, "names", None)
    if names is not None:
        return str(names[i])
    if isinstance(data, StickerWorld | Spread):
        return f"{i:06d}"
    return None if target is None else str(target.get("name", f"{i:06d}"))


# ---- networks ----


def create_network(
    name: str, num_classes: int | None = None, pretrained: bool = False, scale: str = "paper"
) -> Any:
    """A network of `networks.create`, or of timm by its name there, in evaluation mode.

    A network of timm gets `name`, `scale` ("timm"), `classes` (None) and `transform` (resize, cut
    and normalisation as timm has them for its weights) attached.

    Args:
        name, num_classes, pretrained, scale: as in `networks.create`; timm's have one scale.

    Raises:
        ValueError: if there is no such network, or it cannot be had this way.
        OSError: if weights have to be downloaded and cannot be.
    """
    if name in networks.NAMES or not timm.is_model(name):
        if name not in networks.NAMES:
            hint = photos.did_you_mean(str(name), [*networks.NAMES, *timm.list_models()])
            raise ValueError(
                f"there is no network {name!r}, neither of camlib nor of timm{hint}"
                + ("" if hint else f" (camlib's: {', '.join(networks.NAMES)})")
            )
        made: Any = networks.create(name, num_classes, pretrained, scale)
        made.name, made.scale = name, scale  # lite0 has none
        return made
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    network: Any = timm.create_model(name, pretrained=pretrained, **options)
    found: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    network.name, network.scale, network.classes = name, "timm", None
    network.transform = Transform(
        size=found["input_size"][-1],
        crop=found["crop_pct"],
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
        interpolation=transforms.InterpolationMode(found["interpolation"]),
    )
    return network.eval()


def expect_classes(network: Any, data: Any, logits: int) -> None:
    """Refuse a network whose outputs are not the classes of a data set, in their order.

    Names that only one of the two knows may be other words for the same class: they are let pass.

    Raises:
        ValueError: if their number differs, or a name that both know is at another place.
    """
    name, known = getattr(network, "name", type(network).__name__), len(data.classes)
    if logits != known:
        raise ValueError(
            f"{name} gives scores for {logits} classes, but the data set has {known}: give a "
            "network that was trained on these classes, such as a checkpoint of camlib train"
        )
    theirs, ours = getattr(network, "classes", None), tuple(data.classes)
    if theirs is None or len(theirs) != known:
        return
    # ILSVRC has two classes called crane: of those the name says nothing.
    both = {one for one in theirs if theirs.count(one) == ours.count(one) == 1}
    moved = [i for i in range(known) if theirs[i] != ours[i] and both & {theirs[i], ours[i]}]
    if moved:
        i = moved[0]
        raise ValueError(
            f"{name} has the classes of the data set in another order: its class {i} is "
            f"{theirs[i]!r}, that of the data set {ours[i]!r}"
        )


# ---- views ----


class View(NamedTuple):
    """An image as an evaluation sees it.

    Attributes:
        number: its index in the data set.
        name: of the image.
        image: uint8 (3, s, s).
        label: index of its class.
        boxes: of its class, (m, 4) float64, in pixels of the view, not cut at its edges: IoU with
            them is that in the whole image.
        scale: (x, y), pixels of the view for one of the image.
        mask: where the class is, bool (s, s), or None.
        ignored: pixels whose truth is not known, bool (s, s), or None.
    """

    number: int
    name: str
    image: Tensor
    label: int
    boxes: Tensor
    scale: tuple[float, float]
    mask: Tensor | None
    ignored: Tensor | None


@dataclass(frozen=True)
class ViewBatch:
    """Views as worker processes hand them over: few tensors, for each takes an open file."""

    images: Tensor  # uint8 (n, 3, s, s)
    labels: Tensor  # (n,)
    masks: Tensor  # bool (2, n, s, s): masks and ignored
    rest: list[tuple[Any, ...]]  # of each view what else it holds, boxes as a list

    def pin_memory(self, *device: Any) -> "ViewBatch":
        """For the DataLoader, which would look for tensors in every number of `rest`."""
        images, labels = self.images.pin_memory(), self.labels.pin_memory()
        return ViewBatch(images, labels, self.masks.pin_memory(), self.rest)


def pack(views: Sequence[View]) -> ViewBatch:
    """A batch of views; `unpack` gives them back."""
    images = torch.stack([view.image for view in views])
    masks = torch.zeros(2, len(views), *images.shape[-2:], dtype=torch.bool)
    rest = []
    for i, view in enumerate(views):
        for at, mask in zip(masks[:, i], (view.mask, view.ignored), strict=True):
            if mask is not None:
                at.copy_(mask)
        kept = view.number, view.name, view.boxes.tolist(), view.scale
        rest.append((*kept, view.mask is not None, view.ignored is not None))
    return ViewBatch(images, torch.tensor([view.label for view in views]), masks, rest)


def unpack(batch: ViewBatch) -> list[View]:
    """The views of a batch, one by one."""
    views = []
    each = zip(batch.images, batch.labels.tolist(), *batch.masks, batch.rest, strict=True)
    for image, label, mask, ignored, one in each:
        number, name, corners, scale, has_mask, has_ignored = one
        boxes = torch.tensor(corners, dtype=torch.float64).reshape(-1, 4)
        truth = mask if has_mask else None, ignored if has_ignored else None
        views.append(View(number, name, image, label, boxes, tuple(scale), *truth))
    return views


class EvaluationViews(Dataset[View]):
    """The views of a data set's images.

    Args:
        data: gives (image, target).
        transform: the network's.
        kind: "whole": the whole image, resized to size x size whatever its shape, so that no
            object is cut off (as in wsolevaluation); "centre": the network's own resize and cut.
        size: of the view in pixels; without it the transform's.
        truth: whether boxes and masks are needed.

    Raises:
        ValueError: for another kind.
    """

    def __init__(
        self,
        data: Any,
        transform: Transform,
        kind: str = "whole",
        size: int | None = None,
        truth: bool = True,
    ) -> None:
        if kind not in VIEWS:
            raise ValueError(f'the view is {kind!r}, expected "whole" or "centre"')
        self.data, self.transform, self.kind, self.truth = data, transform, kind, truth
        self.size = transform.size if size is None else size

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> View:
        image, target = self.data[i]
        image = torch.as_tensor(image)
        height, width = image.shape[-2:]
        size = self.size
        if self.kind == "whole":
            scale, border = (size / width, size / height), [0, 0]
        else:
            shorter = math.floor(size / self.transform.crop)
            # In whole pixels, as torchvision resizes and cuts.
            resized = [int(shorter * side / min(width, height)) for side in (width, height)]
            scale = resized[0] / width, resized[1] / height
            border = [round((side - size) / 2) for side in resized]
        boxes, mask, ignored = torch.zeros(0, 4, dtype=torch.float64), None, None
        if self.truth:
            own = target["labels"] == target["label"]
            boxes = target["boxes"].as_subclass(Tensor)[own].double()
            factors = torch.tensor(scale * 2, dtype=torch.float64)
            boxes = boxes * factors - torch.tensor(border * 2)
            if "masks" in target:
                mask = self._seen_mask(target["masks"].as_subclass(Tensor)[own])
                if "border" in target:
                    ignored = self._seen_mask(target["border"].as_subclass(Tensor))
        name = image_name(self.data, i, target) or ""
        return View(i, name, self._seen(image), int(target["label"]), boxes, scale, mask, ignored)

    def _seen(self, image: Tensor, nearest: bool = False) -> Tensor:
        how = transforms.InterpolationMode.NEAREST if nearest else self.transform.interpolation
        if self.kind == "whole":
            whole: Tensor = transforms.functional.resize(
                image, [self.size, self.size], how, antialias=not nearest
            )
            return whole
        shorter = math.floor(self.size / self.transform.crop)
        resized = transforms.functional.resize(image, [shorter], how, antialias=not nearest)
        cut: Tensor = transforms.functional.center_crop(resized, [self.size, self.size])
        return cut

    def _seen_mask(self, masks: Tensor) -> Tensor:
        one = masks.any(dim=0, keepdim=True).to(torch.uint8)
        return self._seen(one, nearest=True)[0].bool()


class TrainingViews(Dataset[tuple[Tensor, int]]):
    """Images as a training sees them, uint8 (3, size, size), with their label.

    `views[epoch, i]`; chance depends on the seed, the epoch and i alone, not on which worker
    process makes the view, or when.

    Args:
        data: gives (image, target).
        transform: the network's.
        recipe: see `fullscale.Recipe`.
        size: of the view in pixels.
    """

    def __init__(self, data: Any, transform: Transform, recipe: Any, size: int) -> None:
        self.data, self.transform, self.recipe, self.size = data, transform, recipe, size

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, i = place
        image, target = self.data[i]
        with torch.random.fork_rng([]):
            torch.manual_seed(seed_of(self.recipe.seed, "view", epoch, i))
            view = self._view(torch.as_tensor(image))
            if self.recipe.flip and torch.rand(()) < 0.5:
                view = transforms.functional.horizontal_flip(view)
        return view.contiguous(), int(target["label"])

    def _view(self, image: Tensor) -> Tensor:
        how, size, shift = self.transform.interpolation, self.size, self.recipe.shift
        view: Tensor
        if self.recipe.area < 1:
            crop = transforms.RandomResizedCrop(
                size, scale=(self.recipe.area, 1.0), interpolation=how, antialias=True
            )
            view = crop(image)
            return view
        shorter = math.floor(size / self.transform.crop)
        resized = transforms.functional.resize(image, [shorter], how, antialias=True)
        # Only as much of the border is made up as a shift can reach.
        padded = transforms.functional.pad(resized, [shift] * 4, padding_mode="reflect")
        window = transforms.functional.center_crop(padded, [size + 2 * shift] * 2)
        top, left = torch.randint(2 * shift + 1, (2,)).tolist()
        view = transforms.functional.crop(window, top, left, size, size)
        return view


_PURPOSES = ("view", "order", "step")


def seed_of(seed: int, purpose: str, *numbers: int) -> int:
    """A seed for one purpose at one place, independent of all others."""
    entropy = [seed, _PURPOSES.index(purpose), *numbers]
    # 63 bits, which torch takes everywhere.
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


class Parts(Sampler[list[tuple[int, int]]]):
    """Of every batch from a step on, the parts that fall to this process, as (epoch, index).

    A batch is cut into `parts` of equal size, part 0 to parts - 1; a process takes those numbered
    in `mine`, one after the other. Which images are in which part depends on the seed and the
    step alone, not on the number of processes. Images left over by the last whole batch of an
    epoch wait for another epoch.
    """

    def __init__(
        self, length: int, batch: int, seed: int, parts: int, mine: Sequence[int], steps: range
    ) -> None:
        self.length, self.batch, self.seed = length, batch, seed
        self.parts, self.mine, self.steps = parts, mine, steps

    def __len__(self) -> int:
        return len(self.steps) * len(self.mine)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        of_epoch, order = -1, torch.zeros(0, dtype=torch.int64)
        size = self.batch // self.parts
        for step in self.steps:
            epoch, at = divmod(step, self.length // self.batch)
            if epoch != of_epoch:
                chance = torch.Generator().manual_seed(seed_of(self.seed, "order", epoch))
                of_epoch, order = epoch, torch.randperm(self.length, generator=chance)
            for part in self.mine:
                start = at * self.batch + part * size
                yield [(epoch, i) for i in order[start : start + size].tolist()]
