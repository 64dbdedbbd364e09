"""What data sets on disk share: reading images, cutting boxes, saying what is missing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from camlib import photos
from camlib.annotations import Listed, Size, read_lines
from camlib.networks import ClassNames

Target = dict[str, Any]
Transform = Callable[[tv_tensors.Image, Target], tuple[Any, Any]]

_ORIENTATION = 0x0112  # EXIF: how the pixels are turned


def collate(items: Sequence[tuple[Tensor, Target]]) -> tuple[Tensor, list[Target]]:
    """A batch for `DataLoader(collate_fn=...)`: images (n, 3, h, w), and the targets in a list.

    Raises:
        ValueError: if the images differ in size: resize and cut them in the transform.
    """
    images = [image for image, _ in items]
    if len({image.shape for image in images}) > 1:
        shapes = ", ".join(str(tuple(image.shape)) for image in images[:4])
        raise ValueError(
            f"collate: the images of a batch have the shapes {shapes}, expected one shape: give "
            "the data set a transform that ends in a cut"
        )
    return torch.stack(images), [target for _, target in items]


class OnDisk(Dataset[tuple[tv_tensors.Image, Target]]):
    """What the data sets share.

    Attributes:
        classes: names by index, and index by name.
        names: the images' files, as in `target["name"]`.
    """

    title = ""
    advice = ""  # what to fetch, from where, and where to put it
    # Whether an image is turned as its EXIF says. Published boxes are those of the stored pixels.
    upright = False
    classes: ClassNames
    names: list[str]
    transform: Transform | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        target = self.target(i)
        pixels = np.array(read_image(self.path(i), self.upright))
        image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
        return self.transform(image, target) if self.transform else (image, target)

    def path(self, i: int) -> Path:
        """Where image i is."""
        raise NotImplementedError

    def target(self, i: int) -> Target:
        """The truth of image i, before the transform; of the image only the header is read.

        Raises:
            FileNotFoundError: if the image or its annotation is missing.
            ValueError: if one of them is broken, or they do not fit each other.
        """
        raise NotImplementedError

    def size(self, i: int) -> Size:
        """(width, height) of image i, from its header."""
        return read_size(self.path(i), self.upright)

    def _target(self, i: int, size: Size, label: int, labels: list[int], boxes: Tensor) -> Target:
        canvas = size[1], size[0]
        return {
            "label": label,
            "labels": torch.tensor(labels, dtype=torch.int64),
            "boxes": tv_tensors.BoundingBoxes(boxes.float(), format="XYXY", canvas_size=canvas),
            "name": self.names[i],
        }

    def _missing(self, what: str | Path) -> FileNotFoundError:
        return FileNotFoundError(f"{self.title}: there is no {what}. {self.advice}")

    def _folder(self, *choices: Path) -> Path:
        for folder in choices:
            if folder.is_dir():
                return folder
        raise self._missing(f"folder {choices[0]}")

    def _lines(self, path: Path, columns: int) -> list[list[str]]:
        if not path.is_file():
            raise self._missing(f"file {path}")
        lines = read_lines(path, columns)
        if not lines:
            raise ValueError(f"{path} lists nothing")
        return lines


def listed(dataset: OnDisk) -> dict[str, Listed]:
    """A data set as wsolevaluation lists one, for `annotations.write_metadata`."""
    found = {}
    for i, name in enumerate(dataset.names):
        target = dataset.target(i)
        own = target["boxes"].as_subclass(Tensor)[target["labels"] == target["label"]]
        found[name] = Listed(target["label"], dataset.size(i), own)
    return found


def read_size(path: Path, upright: bool) -> Size:
    """(width, height) from an image's header, upright as its EXIF says or as stored."""
    try:
        with Image.open(path) as opened:
            width, height = opened.size
            turned = upright and opened.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception as error:
        raise unreadable(path, error) from None
    return (height, width) if turned else (width, height)


def read_image(path: Path, upright: bool) -> Image.Image:
    """An image as RGB, whatever its file is called: some published JPEGs are PNGs, or CMYK."""
    if upright:
        return photos.read(path)
    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> Exception:
    """What to raise for an image that Pillow did not read."""
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"there is no image {path}, which the data set lists")
    if isinstance(error, UnidentifiedImageError):
        return ValueError(f"{path} is not an image that Pillow can read")
    return ValueError(f"{path} cannot be read, it may be truncated or damaged: {error}")


def cut_at_edges(boxes: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Boxes (n, 4) cut at the image's edges, and whether something is left of each, (n,) bool."""
    width, height = size
    inside = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    return inside, (inside[:, 2:] > inside[:, :2]).all(dim=1)


def no_box_left(where: str | Path, box: Tensor, size: Size) -> ValueError:
    """What to raise for a box (4,) of which the cut left nothing."""
    return ValueError(
        f"{where}: of the box {box.tolist()}, (x0, y0, x1, y1), nothing lies in the image, which "
        f"is {size[0]} x {size[1]}"
    )


def expect_split(title: str, split: str, splits: Sequence[str]) -> None:
    """Raises ValueError unless `split` is one of `splits`."""
    if split not in splits:
        raise ValueError(f"{title}: there is no split {split!r}, expected {' or '.join(splits)}")
