"""Small data sets in exactly the folders and files of the published ones, of the lab's pictures."""

import functools
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.io import savemat
from timm.data import ImageNetInfo

from camlib import lab

SIZE = (96, 80)  # width and height, unlike, so that swapped axes are seen


@functools.cache
def picture(i: int) -> tuple[Image.Image, np.ndarray]:
    """A picture of SIZE, and where its sticker is."""
    image, target = lab.StickerWorld("test", length=50)[i]
    pixels = image.permute(1, 2, 0).numpy()[8:88]
    return Image.fromarray(pixels), target["masks"].numpy()[0][8:88]


def save(path: Path, i: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(i)[0].save(path, format="PNG" if path.suffix == ".png" else "JPEG", quality=95)


def write(path: Path, *lines: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


# ---- Oxford-IIIT Pet ----

PETS = {  # the file, then class, species and breed within the species, as in annotations/list.txt
    "trainval": ["Abyssinian_1 1 1 1", "american_bulldog_10 2 2 1", "Bengal_3 3 1 2"],
    "test": ["Abyssinian_20 1 1 1", "american_bulldog_2 2 2 1", "Bengal_30 3 1 2"],
}


def pets(root: Path) -> Path:
    for split, lines in PETS.items():
        write(root / "annotations" / f"{split}.txt", *lines)
    write(
        root / "annotations" / "list.txt",
        "#Image CLASS-ID SPECIES BREED ID",
        *PETS["trainval"],
        *PETS["test"],
    )
    for i, line in enumerate([*PETS["trainval"], *PETS["test"]]):
        name = line.split()[0]
        save(root / "images" / f"{name}.jpg", i)
        trimap(root / "annotations" / "trimaps" / f"{name}.png", i)
        write(
            root / "annotations" / "xmls" / f"{name}.xml",
            voc(name, SIZE, ("cat", (1, 1, 5, 5))),
        )
    return root


def trimap(path: Path, i: int) -> None:
    """1 inside, 3 around the outline, 2 outside, as annotations/README says."""
    mask = picture(i)[1].astype(np.uint8)
    inner, outer = cv2.erode(mask, np.ones((3, 3))), cv2.dilate(mask, np.ones((3, 3)))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.where(inner, 1, np.where(outer, 3, 2)).astype(np.uint8)).save(path)


# ---- CUB-200-2011 ----

CUB = [  # name, class, in the training set, box as in bounding_boxes.txt
    ("001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg", 1, 0, "60.0 27.0 25.0 34.0"),
    ("001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg", 1, 1, "0.0 0.0 96.0 80.0"),
    ("002.Laysan_Albatross/Laysan_Albatross_0002_1027.jpg", 2, 1, "5.0 12.0 92.0 11.0"),
]


def cub(root: Path) -> Path:
    base = root / "CUB_200_2011"
    write(base / "classes.txt", "1 001.Black_footed_Albatross", "2 002.Laysan_Albatross")
    columns = list(zip(*CUB, strict=True))
    for file, column in (
        ("images.txt", columns[0]),
        ("image_class_labels.txt", columns[1]),
        ("train_test_split.txt", columns[2]),
        ("bounding_boxes.txt", columns[3]),
    ):
        write(base / file, *(f"{number} {cell}" for number, cell in enumerate(column, start=1)))
    for i, name in enumerate(columns[0]):
        save(base / "images" / name, i)
    return root


# ---- ILSVRC-2012 ----

WNIDS = ImageNetInfo("imagenet-1k").label_names()
TENCH, SEA_SNAKE, KIT_FOX, SETTER = "n01440764", "n01751748", "n02119789", "n02100735"
# The kit's first two IDs are those of the real one; the rest are in an order of our own.
KIT_ORDER = [KIT_FOX, SETTER, *(w for w in reversed(WNIDS) if w not in (KIT_FOX, SETTER))]
VAL = [  # class, boxes as in the XML, the last pixel included
    (SEA_SNAKE, [(11, 8, 41, 19)]),
    (KIT_FOX, [(0, 0, 95, 79), (5, 6, 7, 8)]),
    (TENCH, [(20, 30, 40, 50)]),
]
TRAIN = [(f"{TENCH}/{TENCH}_10026", None), (f"{KIT_FOX}/{KIT_FOX}_7", [(1, 2, 30, 40)])]


def voc(name: str, size: tuple[int, int], *things: tuple[str, tuple[float, ...]]) -> str:
    objects = "".join(
        f"<object><name>{wnid}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>"
        f"<ymax>{y1}</ymax></bndbox></object>\n"
        for wnid, (x0, y0, x1, y1) in things
    )
    return (
        f"<annotation>\n<folder>val</folder><filename>{name}</filename>\n"
        "<source><database>ILSVRC_2012</database></source>\n"
        f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>\n"
        f"<segmented>0</segmented>\n{objects}</annotation>"
    )


def val_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08}"


def ilsvrc(root: Path, kit: bool = True) -> Path:
    base = root / "ILSVRC"
    sets = base / "ImageSets" / "CLS-LOC"
    write(sets / "val.txt", *(f"{val_name(n)} {n}" for n in range(1, len(VAL) + 1)))
    write(sets / "train_cls.txt", *(f"{name} {n}" for n, (name, _) in enumerate(TRAIN, start=1)))
    write(sets / "train_loc.txt", *(f"{name} 1" for name, boxes in TRAIN if boxes))
    for i, (wnid, boxes) in enumerate(VAL):
        name = val_name(i + 1)
        save(base / "Data" / "CLS-LOC" / "val" / f"{name}.JPEG", i)
        write(
            base / "Annotations" / "CLS-LOC" / "val" / f"{name}.xml",
            voc(name, SIZE, *((wnid, box) for box in boxes)),
        )
    (base / "Annotations" / "CLS-LOC" / "train").mkdir(parents=True)
    for i, (name, boxes) in enumerate(TRAIN):
        save(base / "Data" / "CLS-LOC" / "train" / f"{name}.JPEG", i + 10)
        if boxes:
            write(
                base / "Annotations" / "CLS-LOC" / "train" / f"{name}.xml",
                voc(name, SIZE, *((name.split("/")[0], box) for box in boxes)),
            )
    if kit:
        data = base / "devkit" / "data"
        kit_lists(data, "ILSVRC2015_clsloc_")
        meta(data / "meta_clsloc.mat", "ILSVRC2015_CLSLOC_ID", KIT_ORDER)
    return root


def kit_lists(data: Path, start: str) -> None:
    labels = [KIT_ORDER.index(wnid) + 1 for wnid, _ in VAL]
    write(data / f"{start}validation_ground_truth.txt", *labels)
    write(data / f"{start}validation_blacklist.txt", 2)
    write(data / "ILSVRC2015_det_validation_blacklist.txt", "1 3")


def meta(path: Path, field: str, order: list[str], above: tuple[str, ...] = ()) -> None:
    """The kit's table of classes; with `above`, that of 2012, with classes above the leaves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = [(field, "O"), ("WNID", "O"), ("words", "O")]
    rows = [(float(number), wnid, f"name of {wnid}") for number, wnid in enumerate(order, start=1)]
    if above:
        kinds += [("num_children", "O")]
        rows = [(*row, 0.0) for row in rows]
        rows += [(float(len(rows) + k), wnid, wnid, 2.0) for k, wnid in enumerate(above, start=1)]
    savemat(path, {"synsets": np.array(rows, dtype=kinds).reshape(-1, 1)})


def ilsvrc_of_2012(root: Path) -> Path:
    """The validation set as its archives of 2012 unpack."""
    for i, (wnid, boxes) in enumerate(VAL):
        name = val_name(i + 1)
        save(root / "ILSVRC2012_img_val" / f"{name}.JPEG", i)
        write(
            root / "ILSVRC2012_bbox_val_v3" / "val" / f"{name}.xml",
            voc(name, SIZE, *((wnid, box) for box in boxes)),
        )
    data = root / "ILSVRC2012_devkit_t12" / "data"
    kit_lists(data, "ILSVRC2012_")
    meta(data / "meta.mat", "ILSVRC2012_ID", KIT_ORDER, above=("n00001740", "n00001930"))
    return root


# ---- one's own ----


def own(root: Path) -> Path:
    for i, name in enumerate(("cup/1.png", "cup/2.jpg", "spoon/a.png")):
        save(root / name, i)
    (root / ".cache").mkdir()
    write(root / "cup" / "notes.txt", "no image")
    return root


def own_csv(path: Path) -> Path:
    write(
        path,
        "image,x0,y0,x1,y1,label",
        "cup/1.png,10,20,30,60,",
        "cup/1.png,0,0,96,80,spoon",
        "spoon/a.png,1.5,2,3.25,4,spoon",
    )
    return path


def own_coco(path: Path) -> Path:
    document = {
        "images": [
            {"id": 7, "file_name": "cup/1.png", "width": 96, "height": 80},
            {"id": 8, "file_name": "spoon/a.png", "width": 96, "height": 80},
        ],
        "categories": [{"id": 1, "name": "spoon"}, {"id": 90, "name": "cup"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [10, 20, 20, 40]},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 96, 80]},
            {"id": 3, "image_id": 8, "category_id": 1, "bbox": [1.5, 2, 1.75, 2]},
            {"id": 4, "image_id": 8, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
    }
    path.write_text(json.dumps(document))
    return path
