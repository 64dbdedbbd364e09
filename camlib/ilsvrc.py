"""ILSVRC-2012 from disk: its folders, its two orders of classes, its unreliable boxes."""

import re
from pathlib import Path

import torch
from timm.data.imagenet_info import ImageNetInfo

from camlib.annotations import Annotation, Size, read_devkit_order, read_numbers, read_voc
from camlib.networks import IMAGENET_CLASSES, ClassNames
from camlib.on_disk import OnDisk, Target, Transform, cut_at_edges, expect_split, no_box_left


class ILSVRC(OnDisk):
    """ILSVRC-2012, classification and localization (Russakovsky et al., IJCV 2015): 1,000 classes.

    Fetch the data of the object localization challenge from https://image-net.org/challenges/LSVRC/
    (or from Kaggle; an account is needed) and unpack them: ROOT/ILSVRC/Data/CLS-LOC,
    ROOT/ILSVRC/Annotations/CLS-LOC and ROOT/ILSVRC/ImageSets/CLS-LOC; the development kit, where
    you have it, goes into ROOT/ILSVRC/devkit. For the validation images alone the archives of 2012
    serve too, each unpacked in a folder of its name: ROOT/ILSVRC2012_img_val,
    ROOT/ILSVRC2012_bbox_val_v3 and ROOT/ILSVRC2012_devkit_t12.

    Splits, as published: "train", 1,281,167 images, some without boxes; "train_loc", those with
    boxes; "val", 50,000 images with boxes. The test images have no published labels.

    `label` is the place of the class among the sorted WordNet IDs (`wnids`), as in the weights of
    torchvision and timm. The development kit numbers the classes otherwise (its ID 1 is the kit
    fox); its IDs are converted, and a kit with other classes than these 1,000 is refused. Without
    a kit a validation image's class is that of its XML; with one, both have to agree.

    Where the XML is for another size of the same image, as annotators saw it, its boxes are scaled.
    Boxes are cut at the image's edges: some of the training boxes reach beyond.

    Args:
        root: the folder.
        split: "train", "train_loc" or "val".
        transform: takes (image, target), see this module.
        skip_blacklisted: leaves out the 1,762 validation images whose boxes the organisers found
            unreliable, as the challenge does; their numbers are in the kit.
        strict: raise for a box that lies outside of its image, is empty or of another class than
            the image. False: leave such boxes out, some training annotations have them.

    Raises:
        FileNotFoundError: if a folder or a list is missing.
        ValueError: for another split, or a kit that does not fit.
    """

    title = "ILSVRC-2012"
    advice = (
        "Fetch the object localization data from https://image-net.org/challenges/LSVRC/ (an "
        "account is needed) and unpack them so that ROOT/ILSVRC has Data, Annotations and ImageSets"
    )
    wnids: tuple[str, ...]

    def __init__(
        self,
        root: str | Path,
        split: str = "val",
        transform: Transform | None = None,
        *,
        skip_blacklisted: bool = False,
        strict: bool = True,
    ) -> None:
        expect_split(self.title, split, ("train", "train_loc", "val"))
        self.transform, self.split, self.strict = transform, split, strict
        self.wnids = tuple(ImageNetInfo("imagenet-1k").label_names())  # type: ignore[no-untyped-call]
        self.classes = ClassNames(IMAGENET_CLASSES)
        self._label_of = {wnid: label for label, wnid in enumerate(self.wnids)}
        root = Path(root)
        base = root / "ILSVRC" if (root / "ILSVRC").is_dir() else root
        kind = "val" if split == "val" else "train"
        old = root / "ILSVRC2012_bbox_val_v3"
        if kind == "val" and (root / "ILSVRC2012_img_val").is_dir():
            self._images = root / "ILSVRC2012_img_val"
            self._annotations = self._folder(old / "val", old)
            ids = sorted(p.stem for p in self._images.glob("*.JPEG"))
        else:
            self._images = self._folder(base / "Data" / "CLS-LOC" / kind)
            self._annotations = self._folder(base / "Annotations" / "CLS-LOC" / kind)
            path = base / "ImageSets" / "CLS-LOC" / f"{_ILSVRC_LISTS[split]}.txt"
            ids = [name for name, _ in self._lines(path, 2)]
        kits = (root / "ILSVRC2012_devkit_t12" / "data", base / "devkit" / "data")
        self._kit = next((kit for kit in kits if kit.is_dir()), None)
        if skip_blacklisted and kind == "val":
            bad = set(self._kit_numbers("blacklist"))
            ids = [name for name in ids if _val_number(name) not in bad]
        self.names = [f"{kind}/{name}.JPEG" for name in ids]
        self._val_labels = self._labels_of_kit() if self._kit and kind == "val" else None

    def _kit_numbers(self, what: str) -> list[int]:
        """The numbers in the kit's validation_blacklist.txt or validation_ground_truth.txt."""
        if self._kit is None:
            raise FileNotFoundError(
                f"{self.title}: there is no development kit, which lists the unreliable validation "
                "images. Fetch it from https://image-net.org/challenges/LSVRC/ and unpack it to "
                "ROOT/ILSVRC/devkit (that of 2012: ROOT/ILSVRC2012_devkit_t12)"
            )
        pattern = rf"ILSVRC\d{{4}}_(clsloc_)?validation_{what}\.txt"
        for path in sorted(self._kit.iterdir()):
            if re.fullmatch(pattern, path.name):
                return [read_numbers(path, row)[0] for row in self._lines(path, 1)]
        raise FileNotFoundError(
            f"{self.title}: there is no file ILSVRC..._validation_{what}.txt in {self._kit}"
        )

    def _labels_of_kit(self) -> list[int]:
        """Labels of the validation images by number, from 1 on, converted from the kit's IDs."""
        assert self._kit is not None
        order = read_devkit_order(self._kit)
        if sorted(order) != list(self.wnids):
            raise ValueError(
                f"{self._kit} numbers {len(order)} classes that are not the 1,000 of ILSVRC-2012, "
                "so its labels cannot be converted: use its development kit"
            )
        numbers = self._kit_numbers("ground_truth")
        if not 1 <= min(numbers) <= max(numbers) <= len(order):
            raise ValueError(
                f"{self._kit}: the labels of the validation images run from {min(numbers)} to "
                f"{max(numbers)}, expected IDs from 1 to 1,000"
            )
        return [self._label_of[order[number - 1]] for number in numbers]

    def path(self, i: int) -> Path:
        """Where image i is."""
        return self._images / self.names[i].partition("/")[2]

    def target(self, i: int) -> Target:
        """The truth of image i, see `OnDisk.target`."""
        name = self.names[i].partition("/")[2]
        size = self.size(i)
        path = self._annotations / f"{name.removesuffix('.JPEG')}.xml"
        if path.is_file():
            found = _scaled(path, read_voc(path), size)
        elif self.split == "train":
            found = Annotation(torch.zeros(0, 4), [], size)
        else:
            raise FileNotFoundError(f"there is no annotation {path} of {self.names[i]}")
        label = self._label(name, path, found)
        boxes, is_left = cut_at_edges(found.boxes, size)
        # A name that is none of the 1,000 stands for the image's class: some files have
        # "Scottish_deerhound" for n02092002.
        is_own = torch.tensor(
            [self._label_of.get(str(n), label) == label for n in found.names], dtype=torch.bool
        )
        for k in (~(is_left & is_own)).nonzero().flatten().tolist() if self.strict else ():
            if not is_left[k]:
                raise no_box_left(path, found.boxes[k], size)
            raise ValueError(
                f"{path} has a box of class {found.names[k]}, but {self.names[i]} is of class "
                f"{self.wnids[label]}, {self.classes[label]!r}"
            )
        boxes = boxes[is_left & is_own]
        if self.split != "train" and not len(boxes):
            raise ValueError(f"{path} has no box of {self.names[i]}")
        return self._target(i, size, label, [label] * len(boxes), boxes)

    def _label(self, name: str, path: Path, found: Annotation) -> int:
        if self.split != "val":
            wnid = name.partition("/")[0]
        elif self._val_labels is not None:
            number = _val_number(name)
            if not 1 <= number <= len(self._val_labels):
                raise ValueError(
                    f"{name} has the number {number}, but the development kit has labels for "
                    f"{len(self._val_labels)} validation images"
                )
            return self._val_labels[number - 1]
        else:
            wnid = str(found.names[0]) if found.names else ""
        if wnid not in self._label_of:
            where = path if self.split == "val" else name
            raise ValueError(f"{where}: {wnid!r} is not one of the 1,000 classes of ILSVRC-2012")
        return self._label_of[wnid]


_ILSVRC_LISTS = {"train": "train_cls", "train_loc": "train_loc", "val": "val"}


def _val_number(name: str) -> int:
    """Of ILSVRC2012_val_00000001, with or without ending: 1; 0 for another name."""
    match = re.fullmatch(r"ILSVRC2012_val_(\d{8})(\.JPEG)?", name)
    return int(match[1]) if match else 0


def _scaled(path: Path, found: Annotation, size: Size) -> Annotation:
    """An annotation brought to the image's size."""
    assert found.size is not None
    (width, height), (wide, high) = found.size, size
    # Of the same shape, but for a pixel of rounding.
    if min(width, height) < 1 or abs(width * high - height * wide) > max(wide, high):
        raise ValueError(
            f"{path} is for an image of {width} x {height}, but the image is {wide} x {high}: it "
            "seems to be another image's"
        )
    scale = torch.tensor([wide / width, high / height]).repeat(2)
    return Annotation(found.boxes * scale, found.names, size)
