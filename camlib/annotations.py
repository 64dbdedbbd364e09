"""Boxes as others write them down, read as camlib counts them: (x0, y0, x1, y1), half-open pixels.

Pixels count from 0, and a half-open box ends before x1 and y1. What a format counts otherwise is
converted in its reader here, and nowhere else.
"""

import csv
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.io import loadmat
from torch import Tensor

Size = tuple[int, int]  # (width, height) in pixels


class Annotation(NamedTuple):
    """The boxes of one image.

    Attributes:
        boxes: (n, 4) float32, half-open pixels.
        names: the class of each, as the file writes it; None where it says nothing.
        size: (width, height) of the image that the boxes are for; None where the file is silent.
    """

    boxes: Tensor
    names: list[str | None]
    size: Size | None


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return path.read_bytes().decode("utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8") from None


def read_lines(path: Path, columns: int, separator: str | None = None) -> list[list[str]]:
    """A list in text, each line split into as many columns; errors as `read_text`, with the line.

    The last column takes what is left. Empty lines are skipped.
    """
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            cells = line.strip().split(separator, columns - 1)
            if len(cells) != columns:
                raise ValueError(
                    f"{path}, line {number}: got {line.strip()!r}, expected {columns} columns"
                )
            rows.append(cells)
    return rows


def read_numbers(path: Path, row: Iterable[str], kind: Callable[[str], Any] = int) -> list[Any]:
    """The numbers of a row, finite; the error names the file."""
    row = list(row)
    try:
        numbers = [kind(cell) for cell in row]
    except ValueError:
        numbers = [float("nan")]
    if not np.isfinite(numbers).all():
        raise ValueError(f"{path}: got {' '.join(row)!r}, expected numbers")
    return numbers


# ---- PASCAL VOC's XML, as ILSVRC has it ----


def read_voc(path: Path) -> Annotation:
    """The XML of one image of ILSVRC.

    Its numbers count pixels from 0 and its box includes the last pixel. In the validation set xmin
    and ymin go down to 0, and xmax and ymax up to width - 1 and height - 1 (seen in its first 200
    images, in wsolevaluation's copy), and the development kit (compute_overlap) measures a width as
    xmax - xmin + 1. So x1 = xmax + 1 and y1 = ymax + 1. PASCAL's own annotations count from 1: do
    not read them with this.

    A document type is refused unread, since only there can entities be declared that grow without
    bound or fetch other files.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a file.
    """
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError(
            f"{path} declares a document type or entities, which no annotation of ILSVRC does: it "
            "is not read"
        )
    try:
        root = ElementTree.fromstring(text)  # of a string: no other encoding can hide anything
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{path} is not well-formed XML: {error}") from None
    width, height = _voc_numbers(path, root, "size", ("width", "height"))
    corners, names = [], []
    for thing in root.findall("object"):
        corners.append(_voc_numbers(path, thing, "bndbox", ("xmin", "ymin", "xmax", "ymax")))
        names.append(thing.findtext("name"))
    boxes = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
    return Annotation(boxes + torch.tensor([0, 0, 1, 1]), names, (int(width), int(height)))


def _voc_numbers(
    path: Path, parent: ElementTree.Element, name: str, fields: Sequence[str]
) -> list[float]:
    element = parent.find(name)
    texts = [None if element is None else element.findtext(field) for field in fields]
    if None in texts:
        raise ValueError(f"{path} has no <{name}> with {', '.join(fields)}")
    return read_numbers(path, map(str, texts), float)  # in some files they are not whole


# ---- the development kits of ILSVRC ----


def read_devkit_order(folder: Path) -> list[str]:
    """WordNet IDs of the 1,000 classes by ILSVRC2012_ID, which counts from 1: the first is ID 1.

    Args:
        folder: a development kit's `data`, with meta.mat (2012) or meta_clsloc.mat (from 2013 on).

    Raises:
        FileNotFoundError: if neither is there.
        ValueError: if it does not hold IDs from 1 on without gaps.
    """
    path = next((p for p in map(folder.joinpath, _DEVKIT_META) if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"there is neither {' nor '.join(_DEVKIT_META)} in {folder}")
    try:
        synsets = loadmat(path, squeeze_me=True)["synsets"]
        fields = synsets.dtype.names
        # The kit of 2012 also has the classes above the 1,000 in WordNet: those with children.
        leaves = [s for s in synsets if "num_children" not in fields or not s["num_children"]]
        number = next(field for field in fields if field.endswith("_ID"))
        wnids = {int(s[number]): str(s["WNID"]) for s in leaves}
    except Exception as error:  # the decoder raises all kinds of errors
        raise ValueError(f"{path} is not a table of ILSVRC's classes: {error!r}") from error
    if sorted(wnids) != list(range(1, len(leaves) + 1)):
        raise ValueError(f"{path}: the IDs of the classes do not count from 1 without gaps")
    return [wnids[number] for number in sorted(wnids)]


_DEVKIT_META = ("meta.mat", "meta_clsloc.mat")


# ---- one's own boxes ----


def read_csv(path: Path) -> dict[str, Annotation]:
    """Boxes in a table with the header image,x0,y0,x1,y1 or image,x0,y0,x1,y1,label.

    One line for each box: the image's file relative to the folder of images, with / between folder
    and file; the box in half-open pixels, so that x1 - x0 is its width; its class.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another header, or a line that does not fit.
    """
    header, *rows = list(csv.reader(read_text(path).splitlines())) or [[]]
    if header not in ([*_CSV_HEADER], [*_CSV_HEADER, "label"]):
        raise ValueError(
            f"{path}: the header is {','.join(header)!r}, expected {','.join(_CSV_HEADER)!r}, with "
            "or without ,label"
        )
    found: dict[str, Annotation] = {}
    for row in filter(None, rows):
        if len(row) != len(header):
            raise ValueError(f"{path}: got {','.join(row)!r}, expected {len(header)} columns")
        label = row[5] if len(header) > 5 and row[5] else None
        _add(found, row[0], read_numbers(path, row[1:5], float), label, None)
    return found


_CSV_HEADER = ("image", "x0", "y0", "x1", "y1")


def read_coco(path: Path) -> dict[str, Annotation]:
    """Boxes in COCO's JSON, with its images, annotations and categories.

    `file_name` is relative to the folder of images. `bbox` is x, y, width, height, from the upper
    left corner of the image: x1 = x + width. Regions marked as crowds are left out.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a file, or an annotation is of an image or category not in it.
    """
    text = read_text(path)
    try:
        document = json.loads(text)
        sizes = {
            image["id"]: (_text(image["file_name"]), (int(image["width"]), int(image["height"])))
            for image in document["images"]
        }
        categories = {
            category["id"]: _text(category["name"]) for category in document["categories"]
        }
        things = [
            (thing["image_id"], thing["category_id"], [float(number) for number in thing["bbox"]])
            for thing in document["annotations"]
            if not thing.get("iscrowd")
        ]
        fits = [i in sizes and c in categories and len(box) == 4 for i, c, box in things]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not COCO's JSON of boxes: {error!r}") from None
    found: dict[str, Annotation] = {}
    for name, size in sizes.values():
        found[name] = Annotation(torch.zeros(0, 4), [], size)
    for (image, category, box), is_known in zip(things, fits, strict=True):
        if not is_known:
            raise ValueError(
                f"{path}: an annotation has image {image}, category {category} and the box {box}, "
                "expected an image and a category of this file and four numbers"
            )
        x, y, width, height = read_numbers(path, map(str, box), float)
        name, size = sizes[image]
        _add(found, name, [x, y, x + width, y + height], categories[category], size)
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"got {value!r} for a name, expected text")
    return value


def _add(
    found: dict[str, Annotation], name: str, box: list[float], label: str | None, size: Size | None
) -> None:
    boxes, names, _ = found.get(name, Annotation(torch.zeros(0, 4), [], size))
    found[name] = Annotation(torch.cat([boxes, torch.tensor([box])]), [*names, label], size)


# ---- the metadata of wsolevaluation ----


class Listed(NamedTuple):
    """One image of wsolevaluation's metadata.

    Attributes:
        label: class index.
        size: (width, height).
        boxes: (n, 4) float32, half-open pixels.
    """

    label: int
    size: Size
    boxes: Tensor


_METADATA = ("image_ids.txt", "class_labels.txt", "image_sizes.txt", "localization.txt")


def read_metadata(folder: str | Path) -> dict[str, Listed]:
    """A split of wsolevaluation (https://github.com/clovaai/wsolevaluation), metadata/CUB/test say.

    Their boxes are whole numbers that include the last pixel: their IoU measures a width as
    x1 - x0 + 1. So here x1 and y1 are larger by one. For ILSVRC this gives the same boxes as the
    XML. For CUB it does not: their x1 is x + width of CUB's file, at most the image's last pixel,
    so that their boxes are a pixel wider and higher than CUB's. For figures that compare with
    published ones, take the boxes from here.

    Their labels of ILSVRC are those of torchvision's weights, and so those of `datasets.ILSVRC`.

    Returns:
        by image ID, in their order.

    Raises:
        FileNotFoundError: if one of the four files is missing.
        ValueError: if they do not fit together, or hold masks (OpenImages) in place of boxes.
    """
    ids, labels, sizes, boxes = (Path(folder) / name for name in _METADATA)
    label_of = {
        name: read_numbers(labels, [label])[0] for name, label in read_lines(labels, 2, ",")
    }
    size_of = {name: read_numbers(sizes, row) for name, *row in read_lines(sizes, 3, ",")}
    boxes_of: dict[str, list[list[int]]] = {}
    for line in filter(str.strip, read_text(boxes).splitlines()):
        name, *row = line.strip().split(",")
        if len(row) != 4:
            raise ValueError(
                f"{boxes}: got {line!r}, expected path,x0,y0,x1,y1 (the masks of OpenImages are "
                "not read)"
            )
        boxes_of.setdefault(name, []).append(read_numbers(boxes, row))
    found = {}
    for (name,) in read_lines(ids, 1):
        for path, table in ((labels, label_of), (sizes, size_of), (boxes, boxes_of)):
            if name not in table:
                raise ValueError(f"{path} has no line for {name}, which is in {ids}")
        last_in = torch.tensor(boxes_of[name], dtype=torch.float32)
        width, height = size_of[name]
        found[name] = Listed(label_of[name], (width, height), last_in + torch.tensor([0, 0, 1, 1]))
    return found


def write_metadata(folder: str | Path, images: Mapping[str, Listed]) -> None:
    """Write the four files of a split of wsolevaluation; `read_metadata` reads them back.

    Args:
        folder: is made where it does not exist; files of these names are replaced.
        images: by image ID, as from `datasets.listed`. Boxes are rounded to whole pixels.

    Raises:
        ValueError: if an image has no box, or a name that their format cannot hold.
    """
    lines: list[list[str]] = [[], [], [], []]
    for name, (label, (width, height), boxes) in images.items():
        if "," in name or name != name.strip() or len(name.splitlines()) != 1:
            raise ValueError(
                f"write_metadata: the image ID {name!r} has a comma, a line break or a blank at an "
                "end, which the format cannot hold: rename the file"
            )
        if not len(boxes):
            raise ValueError(f"write_metadata: {name} has no box, expected at least one")
        lines[0].append(name)
        lines[1].append(f"{name},{label}")
        lines[2].append(f"{name},{width},{height}")
        for x0, y0, x1, y1 in boxes.round().int().tolist():
            lines[3].append(f"{name},{x0},{y0},{x1 - 1},{y1 - 1}")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for file, rows in zip(_METADATA, lines, strict=True):
        (Path(folder) / file).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
