"""`camlib data check NAME ROOT`: is a data set on disk whole, readable, and as large as published?

The published numbers of images: Oxford-IIIT Pet 3,680 and 3,669, CUB-200-2011 5,994 and 5,794 (the
splits in their own lists, counted in the catalogue of TensorFlow Datasets); ILSVRC-2012 1,281,167
and 50,000, of which 1,762 are listed as unreliable (readme of the ILSVRC2015 development kit,
sections 1.1 and 3.2.2). How many images ILSVRC's train_loc lists, and how many boxes there are, is
counted and not judged.

Nothing is hashed: the checksums that are published are of the archives, not of the images in them.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from camlib.datasets import CUB, ILSVRC, Folder, OnDisk, Pets

SHOWN = 20  # findings that are printed; the others are counted


class Published(NamedTuple):
    """A data set: how to open a split, its splits with their sizes (None: not judged), classes."""

    open: Callable[[Path, str], OnDisk]
    splits: dict[str, int | None]
    classes: int


PUBLISHED = {
    "pets": Published(Pets, {"trainval": 3680, "test": 3669}, 37),
    "cub": Published(CUB, {"train": 5994, "test": 5794}, 200),
    "ilsvrc": Published(ILSVRC, {"train": 1_281_167, "train_loc": None, "val": 50_000}, 1000),
}
BLACKLISTED = 1762
NAMES = (*PUBLISHED, "folder")


def check(name: str, root: Path, sample: int = 0, boxes: Path | None = None) -> int:
    """Print what is found, a line each.

    Args:
        name: one of `NAMES`.
        root: where the data set is, see its docstring in `datasets`.
        sample: how many images of each split to decode in full, spread over it; of the others the
            header is read. Annotations are read for all.
        boxes: the file of boxes for "folder".

    Returns:
        The exit code: 0 where all is as published and readable, 1 where something is not.

    Raises:
        FileNotFoundError, ValueError: if no split of the data set can be opened.
    """
    if name not in NAMES:
        raise ValueError(f"data check: there is no data set {name!r}, expected {', '.join(NAMES)}")
    if boxes and name != "folder":
        raise ValueError(f"data check: --boxes is for folder, {name} has its own")
    if sample < 0:
        raise ValueError(f"data check: --sample is {sample}, expected a number of images")
    findings: list[str] = []
    opened: dict[str, OnDisk] = {}
    failed: Exception | None = None
    for split in PUBLISHED[name].splits if name in PUBLISHED else ("all",):
        try:
            opened[split] = (
                PUBLISHED[name].open(root, split) if name in PUBLISHED else Folder(root, boxes)
            )
        except (FileNotFoundError, ValueError) as error:
            failed = failed or error
            findings.append(f"{split}: {error}")
    if failed and not opened:
        raise failed

    print(f"{next(iter(opened.values())).title} in {root}")
    for split, dataset in opened.items():
        if name in PUBLISHED:
            findings += _counts(split, dataset, PUBLISHED[name])
        else:
            print(f"{len(dataset):,} images of {len(dataset.classes):,} classes")
        findings += _images(split, dataset, sample)
    if name == "ilsvrc" and "val" in opened:
        findings += _blacklist(root, len(opened["val"]))
    print("No file is hashed: published checksums are of the archives.")
    if not findings:
        print("Nothing is missing and nothing is broken.")
        return 0
    print(f"{len(findings):,} findings:")
    for finding in findings[:SHOWN]:
        print(f"  {' '.join(finding.split())}")
    if len(findings) > SHOWN:
        print(f"  ... and {len(findings) - SHOWN:,} more")
    return 1


def _counts(split: str, dataset: OnDisk, published: Published) -> Iterator[str]:
    expected = published.splits[split]
    print(f"{split}: {len(dataset):,} images of {len(dataset.classes):,} classes")
    if expected is not None and len(dataset) != expected:
        yield f"{split}: {len(dataset):,} images, published are {expected:,}"
    if len(dataset.classes) != published.classes:
        yield f"{split}: {len(dataset.classes):,} classes, published are {published.classes:,}"
    if repeated := len(dataset) - len(set(dataset.names)):
        yield f"{split}: {repeated:,} images are listed more than once"


def _images(split: str, dataset: OnDisk, sample: int) -> Iterator[str]:
    """What is wrong with single images; prints what was looked at, and what is only odd."""
    decoded = set(np.linspace(0, len(dataset) - 1, min(sample, len(dataset))).round().astype(int))
    boxes, odd = 0, Counter[str]()
    for i in tqdm(range(len(dataset)), desc=split, unit=" images", delay=1, leave=False):
        try:
            target = dataset[i][1] if i in decoded else dataset.target(i)
            boxes += len(target["boxes"])
            odd.update(_oddities(dataset.path(i)))
        except (OSError, ValueError) as error:
            yield f"{split}, {dataset.names[i]}: {error}"
    print(f"  {boxes:,} boxes; {len(decoded):,} images decoded, of the others the header read")
    for what, number in sorted(odd.items()):
        print(f"  {number:,} {what}: read as any other")


def _oddities(path: Path) -> Iterator[str]:
    """What other programs stumble over, and this one does not."""
    with Image.open(path) as opened:
        named = Image.registered_extensions().get(path.suffix.lower())
        if opened.format != named:
            yield f"{opened.format} named {path.suffix}"
        if opened.mode == "CMYK":
            yield "CMYK"


def _blacklist(root: Path, everything: int) -> Iterator[str]:
    try:
        number = everything - len(ILSVRC(root, "val", skip_blacklisted=True))
    except (FileNotFoundError, ValueError) as error:
        print(f"  which validation images have unreliable boxes is not known. {error}")
        return
    print(f"  {number:,} validation images have boxes listed as unreliable")
    if number != BLACKLISTED:
        yield f"val: {number:,} images are listed as unreliable, published are {BLACKLISTED:,}"
