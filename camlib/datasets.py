"""Data sets of photographs from your own disk: Oxford-IIIT Pet, CUB-200-2011, ILSVRC, your images.

Nothing is downloaded and no archive is unpacked: the docstring of each data set says what to fetch,
from where, and how its folders lie once unpacked. `camlib data check NAME ROOT` looks at all of it.

All give what `lab.StickerWorld` gives. `dataset[i]` is (image, target): image uint8 (3, h, w), a
`tv_tensors.Image`; target a dict with

    label   int, index into `classes`
    labels  (n,) int64, class of each box
    boxes   (n, 4) float32, (x0, y0, x1, y1), half-open pixels; n is 0 where no box is published
    masks   (n, h, w) bool, Pets only
    name    str, the image's file, relative to the folder of images

Images come in different sizes. A `transform` of torchvision's v2 takes (image, target), so that
the boxes follow a resize or a cut; `networks.create(...).transform.geometry()` is one. A cut can
leave a box empty: `v2.SanitizeBoundingBoxes()` removes such boxes with their labels.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.ops import masks_to_boxes

from camlib import photos
from camlib.annotations import Annotation, read_coco, read_csv, read_numbers
from camlib.ilsvrc import ILSVRC
from camlib.networks import ClassNames
from camlib.on_disk import (
    OnDisk,
    Target,
    Transform,
    collate,
    cut_at_edges,
    expect_split,
    listed,
    no_box_left,
    unreadable,
)

__all__ = ["CUB", "ILSVRC", "Folder", "OnDisk", "Pets", "collate", "listed"]


class Pets(OnDisk):
    """Oxford-IIIT Pet (Parkhi et al., "Cats and Dogs", CVPR 2012): 37 breeds, with masks.

    Fetch images.tar.gz and annotations.tar.gz from https://www.robots.ox.ac.uk/~vgg/data/pets/ and
    unpack both in one folder: ROOT/images and ROOT/annotations (or in ROOT/oxford-iiit-pet, where
    torchvision puts them).

    Splits: "trainval", 3,680 images, and "test", 3,669.

    The mask is the trimap's foreground (1) with its border (3, "not classified"), and the box is
    tight around the mask. Within the border runs the outline; ears and tails thinner than it are
    border alone. Left out, whole parts would be lost; kept, an edge is off by less than the
    border's width. Where each pixel counts, leave the border out:

        border  (1, h, w) bool, the pixels that are not classified

    The boxes in annotations/xmls are of heads, and are not read.

    Args:
        root: the folder.
        split: "trainval" or "test".
        transform: takes (image, target), see this module.

    Raises:
        FileNotFoundError: if a folder or a list is missing.
        ValueError: for another split, or a list that contradicts itself.
    """

    title = "Oxford-IIIT Pet"
    advice = (
        "Fetch images.tar.gz and annotations.tar.gz from "
        "https://www.robots.ox.ac.uk/~vgg/data/pets/ and unpack both in the folder that you name"
    )

    def __init__(
        self, root: str | Path, split: str = "trainval", transform: Transform | None = None
    ) -> None:
        expect_split(self.title, split, ("trainval", "test"))
        self.transform = transform
        root = Path(root)
        base = root / "oxford-iiit-pet" if (root / "oxford-iiit-pet").is_dir() else root
        self._images = self._folder(base / "images")
        self._trimaps = self._folder(base / "annotations" / "trimaps")
        path = base / "annotations" / f"{split}.txt"
        breeds: dict[int, str] = {}
        self.names, self._labels = [], []
        for name, number, *_ in self._lines(path, 4):
            label = read_numbers(path, [number])[0] - 1
            breed = name.rpartition("_")[0].replace("_", " ").title()
            if breeds.setdefault(label, breed) != breed:
                raise ValueError(
                    f"{path}: class {label + 1} is {breeds[label]!r}, but of {name} it is {breed!r}"
                )
            self.names.append(f"{name}.jpg")
            self._labels.append(label)
        if sorted(breeds) != list(range(len(breeds))) or len(set(breeds.values())) < len(breeds):
            raise ValueError(
                f"{path}: the classes are {sorted(label + 1 for label in breeds)}, expected "
                "numbers from 1 on without gaps, and a breed of its own for each"
            )
        self.classes = ClassNames(breeds[label] for label in sorted(breeds))

    def path(self, i: int) -> Path:
        """Where image i is."""
        return self._images / self.names[i]

    def target(self, i: int) -> Target:
        """The truth of image i, see `OnDisk.target`; of the trimap all is read."""
        size = self.size(i)
        path = self._trimaps / f"{Path(self.names[i]).stem}.png"
        try:
            with Image.open(path) as opened:
                trimap = torch.from_numpy(np.array(opened))
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no trimap {path} of {self.names[i]}") from None
        except Exception as error:
            raise unreadable(path, error) from None
        if trimap.shape != (size[1], size[0]):
            raise ValueError(
                f"{path} is a trimap of shape {tuple(trimap.shape)}, but the image is {size[0]} x "
                f"{size[1]}"
            )
        if not torch.isin(trimap, torch.tensor([1, 2, 3])).all():
            raise ValueError(
                f"{path} holds the values {np.unique(trimap.numpy())[:8].tolist()}, expected 1 "
                "(foreground), 2 (background) and 3 (border)"
            )
        mask = (trimap != 2)[None]
        if not mask.any():
            raise ValueError(f"{path} is background everywhere: there is nothing to box")
        box = masks_to_boxes(mask) + torch.tensor([0, 0, 1, 1])  # their last pixel included
        target = self._target(i, size, self._labels[i], [self._labels[i]], box)
        target["masks"] = tv_tensors.Mask(mask)
        target["border"] = tv_tensors.Mask((trimap == 3)[None])
        return target


class CUB(OnDisk):
    """Caltech-UCSD Birds-200-2011 (Wah et al., 2011): 200 species, one box for each image.

    Fetch CUB_200_2011.tgz from https://www.vision.caltech.edu/datasets/cub_200_2011/ and unpack it:
    ROOT/CUB_200_2011/images, and lists such as ROOT/CUB_200_2011/bounding_boxes.txt (ROOT may be
    CUB_200_2011 itself).

    Splits: "train", 5,994 images, and "test", 5,794.

    bounding_boxes.txt has x, y, width and height, "measured in pixels": its README says no more.
    Image 272, of 500 x 375 pixels, has the box 0 0 500 375. So pixels count from 0, the width is a
    number of pixels, and x1 = x + width. A few boxes then end a pixel outside, as if counted from 1
    (image 47 has 5 127 496 131 and is 500 wide): boxes are cut at the image's edge. The boxes of
    wsolevaluation are a pixel larger, see `annotations.read_metadata`. The segmentations, a
    download of their own, are not read.

    Args:
        root: the folder.
        split: "train" or "test".
        transform: takes (image, target), see this module.

    Raises:
        FileNotFoundError: if a folder or a list is missing.
        ValueError: for another split, or a list that lacks an image.
    """

    title = "CUB-200-2011"
    advice = (
        "Fetch CUB_200_2011.tgz from https://www.vision.caltech.edu/datasets/cub_200_2011/ and "
        "unpack it in the folder that you name"
    )

    def __init__(
        self, root: str | Path, split: str = "train", transform: Transform | None = None
    ) -> None:
        expect_split(self.title, split, ("train", "test"))
        self.transform = transform
        root = Path(root)
        base = root / "CUB_200_2011" if (root / "CUB_200_2011").is_dir() else root
        self._images = self._folder(base / "images")
        self._species = [name for _, name in self._lines(base / "classes.txt", 2)]
        self.classes = ClassNames(
            name.partition(".")[2].replace("_", " ") for name in self._species
        )
        self._labels_path = base / "image_class_labels.txt"
        self._boxes_path = base / "bounding_boxes.txt"
        split_path = base / "train_test_split.txt"
        label_of = dict(self._lines(self._labels_path, 2))
        in_train = dict(self._lines(split_path, 2))
        boxes = {number: row for number, *row in self._lines(self._boxes_path, 5)}
        if others := set(in_train.values()) - {"0", "1"}:
            raise ValueError(f"{split_path} has {min(others)!r}, expected 1 (train) or 0 (test)")
        self.names, self._labels, self._boxes = [], [], []
        for number, name in self._lines(base / "images.txt", 2):
            for path, table in (
                (self._labels_path, label_of),
                (split_path, in_train),
                (self._boxes_path, boxes),
            ):
                if number not in table:
                    raise ValueError(
                        f"{path} has no line for image {number}, which images.txt lists as {name}"
                    )
            if in_train[number] == ("1" if split == "train" else "0"):
                self.names.append(name)
                self._labels.append(label_of[number])
                self._boxes.append(boxes[number])

    def path(self, i: int) -> Path:
        """Where image i is."""
        return self._images / self.names[i]

    def target(self, i: int) -> Target:
        """The truth of image i, see `OnDisk.target`."""
        name, size = self.names[i], self.size(i)
        label = read_numbers(self._labels_path, [self._labels[i]])[0] - 1
        folder = name.partition("/")[0]
        if not 0 <= label < len(self._species) or self._species[label] != folder:
            raise ValueError(
                f"{name} is of class {label + 1} in image_class_labels.txt, but in the folder "
                f"{folder}: one of them is wrong"
            )
        x, y, width, height = read_numbers(self._boxes_path, self._boxes[i], float)
        boxes = torch.tensor([[x, y, x + width, y + height]])
        inside, is_left = cut_at_edges(boxes, size)
        if not is_left.all():
            raise no_box_left(f"{self._boxes_path}, {name}", boxes[0], size)
        return self._target(i, size, label, [label], inside)


class Folder(OnDisk):
    """Your own images, a folder for each class, with or without boxes.

    Put the images into a folder for each class: ROOT/cat/1.jpg, ROOT/dog/2.png, ... Classes are the
    folders' names in alphabetical order, as in torchvision's ImageFolder; files and folders whose
    names begin with a dot are skipped.

    Boxes come in one file: a table, see `annotations.read_csv`, or COCO's JSON, see
    `annotations.read_coco`. An image that it does not name has no box. A box without a class is of
    its image's class. Images are turned as their EXIF says, and boxes are those of the turned
    image.

    Args:
        root: the folder.
        boxes: a .csv or .json file.
        transform: takes (image, target), see this module.

    Raises:
        FileNotFoundError: if a folder or the file of boxes is missing, or a class has no image.
        ValueError: for a file of boxes that does not fit the images.
    """

    title = "Your images"
    advice = "Put the images into a folder for each class, such as ROOT/cat/1.jpg"
    upright = True

    def __init__(
        self,
        root: str | Path,
        boxes: str | Path | None = None,
        transform: Transform | None = None,
    ) -> None:
        self.transform = transform
        self._root = self._folder(Path(root))
        folders = sorted(p for p in self._root.iterdir() if p.is_dir() and p.name[0] != ".")
        if not folders:
            raise self._missing(f"folder of a class in {self._root}")
        self.classes = ClassNames(folder.name for folder in folders)
        self.names = []
        for folder in folders:
            names = sorted(_images_in(folder, self._root))
            if not names:
                raise self._missing(f"image in {folder}")
            self.names += names
        self._boxes_path = Path(boxes or "")
        self._boxes = self._read_boxes() if boxes else {}

    def _read_boxes(self) -> dict[str, Annotation]:
        path = self._boxes_path
        readers = {".csv": read_csv, ".json": read_coco}
        if path.suffix.lower() not in readers:
            raise ValueError(f"the file of boxes is {path}, expected a .csv or COCO's .json")
        found = readers[path.suffix.lower()](path)
        known = set(self.names)
        for name, annotation in found.items():
            if name not in known:
                hint = photos.did_you_mean(name, self.names)
                raise ValueError(
                    f"{path} has the image {name!r}, which is not in {self._root}{hint}"
                )
            for label in annotation.names:
                if label is not None and label not in self.classes:
                    hint = photos.did_you_mean(label, self.classes)
                    raise ValueError(
                        f"{path} has a box of class {label!r} in {name}, but no folder has this "
                        f"name{hint}"
                    )
        return found

    def path(self, i: int) -> Path:
        """Where image i is."""
        return self._root / self.names[i]

    def target(self, i: int) -> Target:
        """The truth of image i, see `OnDisk.target`."""
        name, size = self.names[i], self.size(i)
        label = self.classes.index(name.partition("/")[0])
        found = self._boxes.get(name, Annotation(torch.zeros(0, 4), [], None))
        if found.size not in (None, size):
            raise ValueError(
                f"{self._boxes_path} says that {name} is {found.size[0]} x {found.size[1]}, but "
                f"the image, upright, is {size[0]} x {size[1]}"
            )
        boxes, is_left = cut_at_edges(found.boxes, size)
        for given, inside, left in zip(found.boxes, boxes, is_left, strict=True):
            if not left:
                raise no_box_left(f"{self._boxes_path}, {name}", given, size)
            if (given - inside).abs().max() > 0.5:  # more than rounding
                raise ValueError(
                    f"{self._boxes_path}: the box {given.tolist()} of {name} reaches outside of "
                    f"the image, which is {size[0]} x {size[1]}"
                )
        labels = [label if n is None else self.classes.index(n) for n in found.names]
        return self._target(i, size, label, labels, boxes)


def _images_in(folder: Path, root: Path) -> Iterable[str]:
    for path in folder.rglob("*"):
        inside = path.relative_to(root)
        is_hidden = any(part.startswith(".") for part in inside.parts)
        if path.suffix.lower() in IMG_EXTENSIONS and path.is_file() and not is_hidden:
            yield inside.as_posix()
