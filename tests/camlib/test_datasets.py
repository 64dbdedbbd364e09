"""camlib.datasets: small data sets in the published folders, whole and broken in every way."""

import json
import shutil
import time

import dataset_folders as folders
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets as torchvision_datasets
from torchvision import tv_tensors
from torchvision.transforms import v2

from camlib import annotations, datasets, metrics, networks

DATA, BOXES = "ILSVRC/Data/CLS-LOC", "ILSVRC/Annotations/CLS-LOC"


def is_like_the_lab(dataset, i):
    """An item as `lab.StickerWorld` gives one, and the image as Pillow reads it."""
    image, target = dataset[i]
    assert type(image) is tv_tensors.Image
    assert image.dtype == torch.uint8
    with Image.open(dataset.path(i)) as opened:
        assert np.array_equal(image.permute(1, 2, 0), np.asarray(opened.convert("RGB")))
    assert type(target["boxes"]) is tv_tensors.BoundingBoxes
    assert target["boxes"].format is tv_tensors.BoundingBoxFormat.XYXY
    assert target["boxes"].canvas_size == tuple(image.shape[1:])
    assert target["boxes"].dtype == torch.float32
    assert target["labels"].dtype == torch.int64
    assert len(target["labels"]) == len(target["boxes"])
    assert isinstance(target["label"], int)
    assert dataset.path(i).as_posix().endswith(target["name"].split("/")[-1])
    return target


# ---- Oxford-IIIT Pet ----


@pytest.mark.parametrize("split", ["trainval", "test"])
def test_pets_agree_with_torchvision(tmp_path, split):
    folders.pets(tmp_path / "oxford-iiit-pet")
    ours = datasets.Pets(tmp_path, split)
    theirs = torchvision_datasets.OxfordIIITPet(tmp_path, split, ["category", "segmentation"])
    assert list(ours.classes) == theirs.classes
    assert len(ours) == len(theirs) == 3
    for i, (image, (label, trimap)) in enumerate(theirs):
        target = is_like_the_lab(ours, i)
        assert np.array_equal(ours[i][0].permute(1, 2, 0), np.asarray(image))
        assert target["label"] == label
        assert target["name"] == theirs._images[i].name
        classes = np.asarray(trimap)
        assert np.array_equal(target["masks"][0], classes != 2)
        assert np.array_equal(target["border"][0], classes == 3)


def test_the_box_of_a_pet_is_tight_around_body_and_border(tmp_path):
    dataset = datasets.Pets(folders.pets(tmp_path))
    drawn = np.full((80, 96), 2, np.uint8)
    drawn[21:40, 31:60] = 1
    drawn[20:41, 30] = 3  # a border on one side, an ear that is all border on top
    drawn[10:21, 50] = 3
    Image.fromarray(drawn).save(tmp_path / "annotations/trimaps/Abyssinian_1.png")
    assert dataset[0][1]["boxes"].tolist() == [[30, 10, 60, 41]]  # not that of the head's XML


def test_broken_pets_are_refused(tmp_path):
    dataset = datasets.Pets(folders.pets(tmp_path))
    trimaps = tmp_path / "annotations" / "trimaps"
    Image.fromarray(np.full((80, 96), 2, np.uint8)).save(trimaps / "Abyssinian_1.png")
    with pytest.raises(ValueError, match="background everywhere: there is nothing to box"):
        dataset[0]
    Image.fromarray(np.full((80, 96), 255, np.uint8)).save(trimaps / "Abyssinian_1.png")
    with pytest.raises(ValueError, match=r"holds the values \[255\], expected 1"):
        dataset[0]
    Image.fromarray(np.ones((96, 80), np.uint8)).save(trimaps / "Abyssinian_1.png")
    with pytest.raises(ValueError, match=r"shape \(96, 80\), but the image is 96 x 80"):
        dataset[0]
    (trimaps / "Bengal_3.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"no trimap .*Bengal_3.png of Bengal_3.jpg"):
        dataset[2]
    folders.write(tmp_path / "annotations/test.txt", "Abyssinian_1 1 1 1", "Bengal_3 1 1 2")
    with pytest.raises(ValueError, match="class 1 is 'Abyssinian', but of Bengal_3 it is 'Bengal'"):
        datasets.Pets(tmp_path, "test")
    folders.write(tmp_path / "annotations/test.txt", "Abyssinian_1 1 1 1", "Bengal_3 3 1 2")
    with pytest.raises(ValueError, match=r"the classes are \[1, 3\], expected numbers from 1"):
        datasets.Pets(tmp_path, "test")
    folders.write(tmp_path / "annotations/test.txt", "Abyssinian_1 1")
    with pytest.raises(ValueError, match="line 1: got 'Abyssinian_1 1', expected 4 columns"):
        datasets.Pets(tmp_path, "test")
    folders.write(tmp_path / "annotations/test.txt")
    with pytest.raises(ValueError, match=r"test.txt lists nothing"):
        datasets.Pets(tmp_path, "test")


# ---- CUB-200-2011 ----


def test_cub_counts_pixels_from_zero_and_its_boxes_end_at_x_plus_width(tmp_path):
    folders.cub(tmp_path)
    train, test = datasets.CUB(tmp_path), datasets.CUB(tmp_path / "CUB_200_2011", "test")
    assert (len(train), len(test)) == (2, 1)
    assert list(train.classes) == ["Black footed Albatross", "Laysan Albatross"]
    assert is_like_the_lab(test, 0)["boxes"].tolist() == [[60, 27, 85, 61]]
    assert is_like_the_lab(train, 0)["boxes"].tolist() == [[0, 0, 96, 80]]  # the whole image
    target = is_like_the_lab(train, 1)
    assert target["boxes"].tolist() == [[5, 12, 96, 23]]  # 5 + 92 is one too many: cut
    assert (target["label"], target["labels"].tolist()) == (1, [1])
    assert target["name"] == "002.Laysan_Albatross/Laysan_Albatross_0002_1027.jpg"


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        (
            "bounding_boxes.txt",
            "1 96.0 27.0 25.0 34.0",
            "nothing lies in the image, which is 96 x 80",
        ),
        ("bounding_boxes.txt", "1 60.0 27.0 0.0 34.0", "nothing lies in the image"),
        (
            "bounding_boxes.txt",
            "1 60.0 27.0 nan 34.0",
            "bounding_boxes.txt: got .* expected numbers",
        ),
        (
            "bounding_boxes.txt",
            "9 60.0 27.0 5.0 34.0",
            "bounding_boxes.txt has no line for image 1",
        ),
        ("image_class_labels.txt", "1 2", "of class 2 in .*, but in the folder 001.Black_footed"),
        ("image_class_labels.txt", "1 77", "of class 77 in"),
        ("train_test_split.txt", "7 0", "train_test_split.txt has no line for image 1"),
        ("train_test_split.txt", "1 2", r"train_test_split.txt has '2', expected 1 \(train\) or 0"),
        ("image_class_labels.txt", "1 one", "image_class_labels.txt: got 'one', expected numbers"),
        (
            "images.txt",
            "1 001.Black_footed_Albatross/gone.jpg",
            "no image .*gone.jpg, which the data",
        ),
    ],
)
def test_broken_lists_of_cub_are_refused(tmp_path, file, line, complaint):
    path = folders.cub(tmp_path) / "CUB_200_2011" / file
    folders.write(path, line, *path.read_text().splitlines()[1:])
    with pytest.raises((ValueError, FileNotFoundError), match=complaint):
        datasets.CUB(tmp_path, "test")[0]


# ---- ILSVRC-2012 ----


@pytest.mark.parametrize("kit", [True, False])
def test_labels_of_ilsvrc_are_those_of_the_weights(tmp_path, kit):
    dataset = datasets.ILSVRC(folders.ilsvrc(tmp_path, kit))
    names = [dataset.classes[is_like_the_lab(dataset, i)["label"]] for i in range(3)]
    assert names == ["sea snake", "kit fox", "tench"]
    # 65 is also what wsolevaluation and torchvision call the class of the first validation image.
    assert [target["label"] for _, target in dataset] == [65, 278, 0]
    assert list(dataset.classes) == list(networks.create("lite0").classes)
    assert dataset[1][1]["name"] == "val/ILSVRC2012_val_00000002.JPEG"


def test_boxes_of_ilsvrc_include_their_last_pixel(tmp_path):
    dataset = datasets.ILSVRC(folders.ilsvrc(tmp_path))
    assert dataset[0][1]["boxes"].tolist() == [[11, 8, 42, 20]]
    assert dataset[1][1]["boxes"].tolist() == [[0, 0, 96, 80], [5, 6, 8, 9]]
    assert dataset[1][1]["labels"].tolist() == [278, 278]


def test_training_images_with_and_without_boxes(tmp_path):
    everything = datasets.ILSVRC(folders.ilsvrc(tmp_path), "train")
    assert [len(target["boxes"]) for _, target in everything] == [0, 1]
    assert is_like_the_lab(everything, 0)["label"] == 0
    boxed = datasets.ILSVRC(tmp_path, "train_loc")
    assert len(boxed) == 1
    assert is_like_the_lab(boxed, 0)["boxes"].tolist() == [[1, 2, 31, 41]]
    assert boxed[0][1]["name"] == "train/n02119789/n02119789_7.JPEG"


def test_the_unreliable_images_are_left_out_where_asked(tmp_path):
    dataset = datasets.ILSVRC(folders.ilsvrc(tmp_path), skip_blacklisted=True)
    assert dataset.names == [f"val/{folders.val_name(n)}.JPEG" for n in (1, 3)]
    assert [target["label"] for _, target in dataset] == [65, 0]  # labels go by number, not place
    data = tmp_path / "ILSVRC/devkit/data"
    (data / "ILSVRC2015_clsloc_validation_blacklist.txt").unlink()  # that of DET does not count
    with pytest.raises(FileNotFoundError, match=r"no file ILSVRC..._validation_blacklist.txt in"):
        datasets.ILSVRC(tmp_path, skip_blacklisted=True)
    shutil.rmtree(tmp_path / "ILSVRC/devkit")
    with pytest.raises(FileNotFoundError, match="no development kit, which lists the unreliable"):
        datasets.ILSVRC(tmp_path, skip_blacklisted=True)


def test_the_archives_of_2012_serve_for_validation(tmp_path):
    old = datasets.ILSVRC(folders.ilsvrc_of_2012(tmp_path / "old"))
    new = datasets.ILSVRC(folders.ilsvrc(tmp_path / "new"))
    assert old.names == new.names
    for (image, target), (same_image, same_target) in zip(old, new, strict=True):
        assert torch.equal(image, same_image)
        assert target["label"] == same_target["label"]
        assert torch.equal(target["boxes"], same_target["boxes"])
    assert len(datasets.ILSVRC(tmp_path / "old", skip_blacklisted=True)) == 2
    with pytest.raises(
        FileNotFoundError, match=r"no folder .*Data/CLS-LOC/train. Fetch the object"
    ):
        datasets.ILSVRC(tmp_path / "old", "train")


def test_a_kit_of_other_classes_is_refused(tmp_path):
    data = folders.ilsvrc(tmp_path) / "ILSVRC/devkit/data"
    for other in (folders.KIT_ORDER[:999], [*folders.KIT_ORDER[:999], "n00000001"]):
        folders.meta(data / "meta_clsloc.mat", "ILSVRC2015_CLSLOC_ID", other)
        with pytest.raises(ValueError, match="classes that are not the 1,000 of ILSVRC-2012"):
            datasets.ILSVRC(tmp_path)
    folders.meta(data / "meta_clsloc.mat", "WNID_of", folders.KIT_ORDER)
    with pytest.raises(ValueError, match="is not a table of ILSVRC's classes"):
        datasets.ILSVRC(tmp_path)
    (data / "meta_clsloc.mat").write_bytes(b"broken")
    with pytest.raises(ValueError, match="is not a table of ILSVRC's classes"):
        datasets.ILSVRC(tmp_path)
    (data / "meta_clsloc.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither meta.mat nor meta_clsloc.mat in"):
        datasets.ILSVRC(tmp_path)


def test_labels_in_another_order_are_not_taken_silently(tmp_path):
    """The place among the sorted WordNet IDs, written where the kit's ID belongs."""
    root = folders.ilsvrc(tmp_path)
    truth = root / "ILSVRC/devkit/data/ILSVRC2015_clsloc_validation_ground_truth.txt"
    folders.write(truth, 65, 278, 0)
    with pytest.raises(ValueError, match="run from 0 to 278, expected IDs from 1 to 1,000"):
        datasets.ILSVRC(root)
    folders.write(truth, 66, 279, 1)
    with pytest.raises(
        ValueError, match="has a box of class n01751748, but val/ILSVRC2012_val_0000"
    ):
        datasets.ILSVRC(root)[0]
    folders.write(truth, 1)
    with pytest.raises(
        ValueError, match="has the number 2, but the development kit has labels for 1"
    ):
        datasets.ILSVRC(root)[1]


def break_xml(root, text, split="val", name="ILSVRC2012_val_00000001"):
    (root / BOXES / split / f"{name}.xml").write_text(text)


FIRST = ("n01751748", (11, 8, 41, 19))
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "'
    + "&a;" * 1000
    + '"><!ENTITY c "'
    + "&b;" * 1000
    + '"><!ENTITY d "'
    + "&c;" * 1000
    + '">]><annotation><object><name>&d;</name></object></annotation>'
)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            folders.voc("x", (80, 96), FIRST),
            "for an image of 80 x 96, but the image is 96 x 80: it",
        ),
        (folders.voc("x", (0, 0), FIRST), "for an image of 0 x 0"),
        (
            folders.voc("x", folders.SIZE, ("n01751748", (96, 8, 120, 19))),
            "nothing lies in the image",
        ),
        (
            folders.voc("x", folders.SIZE, ("n01751748", (41, 8, 11, 19))),
            "nothing lies in the image",
        ),
        (folders.voc("x", folders.SIZE), "has no box of val/ILSVRC2012_val_00000001.JPEG"),
        (
            folders.voc("x", folders.SIZE, ("n01440764", (1, 2, 3, 4))),
            "has a box of class n01440764",
        ),
        (folders.voc("x", folders.SIZE, ("x", ("a", 2, 3, 4))), "got 'a 2 3 4', expected numbers"),
        (folders.voc("x", folders.SIZE).replace("<width>", "<with>"), "is not well-formed XML"),
        ("<annotation></annotation>", "has no <size> with width, height"),
        ("", "is not well-formed XML"),
        (BOMB, "declares a document type or entities"),
    ],
)
def test_broken_annotations_of_ilsvrc_are_refused(tmp_path, text, complaint):
    root = folders.ilsvrc(tmp_path)
    break_xml(root, text)
    start = time.perf_counter()
    with pytest.raises(ValueError, match=complaint):
        datasets.ILSVRC(root)[0]
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-7"])
def test_a_bomb_in_another_encoding_is_not_read_either(tmp_path, encoding):
    path = tmp_path / "bomb.xml"
    path.write_bytes(BOMB.replace("?>", f' encoding="{encoding}"?>', 1).encode(encoding))
    with pytest.raises(ValueError, match=r"not text in UTF-8|not well-formed|document type"):
        annotations.read_voc(path)


def test_without_a_kit_the_xml_must_name_one_of_the_classes(tmp_path):
    root = folders.ilsvrc(tmp_path, kit=False)
    break_xml(root, folders.voc("x", folders.SIZE, ("n00001740", (1, 2, 3, 4))))
    with pytest.raises(ValueError, match=r"xml: 'n00001740' is not one of the 1,000 classes"):
        datasets.ILSVRC(root)[0]
    folders.write(root / "ILSVRC/ImageSets/CLS-LOC/train_cls.txt", "n00001740/n00001740_1 1")
    folders.save(root / DATA / "train/n00001740/n00001740_1.JPEG", 0)
    with pytest.raises(ValueError, match=r"n00001740_1.JPEG: 'n00001740' is not one of the 1,000"):
        datasets.ILSVRC(root, "train")[0]


def test_a_missing_annotation_is_named(tmp_path):
    root = folders.ilsvrc(tmp_path)
    (root / BOXES / "val" / f"{folders.val_name(1)}.xml").unlink()
    with pytest.raises(FileNotFoundError, match=r"no annotation .*00000001.xml of val/ILSVRC2012"):
        datasets.ILSVRC(root)[0]


def test_boxes_for_a_displayed_size_are_scaled_and_cut(tmp_path):
    root = folders.ilsvrc(tmp_path)
    thing = (
        "Scottish_deerhound",
        (10, 10, 29.0, 300),
    )  # some names are no IDs, some numbers floats
    break_xml(root, folders.voc("%s", (192, 160), thing))
    assert datasets.ILSVRC(root)[0][1]["boxes"].tolist() == [[5, 5, 15, 80]]


def test_boxes_that_fit_nothing_can_be_left_out(tmp_path):
    root = folders.ilsvrc(tmp_path)
    name = f"{folders.KIT_FOX}/{folders.KIT_FOX}_7"
    things = [
        (folders.KIT_FOX, (500, 1, 600, 5)),
        (folders.TENCH, (1, 2, 3, 4)),
        (folders.KIT_FOX, (1, 2, 9, 9)),
    ]
    break_xml(root, folders.voc("x", folders.SIZE, *things), "train", name)
    with pytest.raises(ValueError, match="nothing lies in the image"):
        datasets.ILSVRC(root, "train_loc")[0]
    target = datasets.ILSVRC(root, "train_loc", strict=False)[0][1]
    assert target["boxes"].tolist() == [[1, 2, 10, 10]]
    break_xml(root, folders.voc("x", folders.SIZE, *things[:2]), "train", name)
    assert len(datasets.ILSVRC(root, "train", strict=False)[1][1]["boxes"]) == 0
    with pytest.raises(ValueError, match="has no box of train/n02119789"):
        datasets.ILSVRC(root, "train_loc", strict=False)[0]


# ---- images of every kind ----


@pytest.mark.parametrize("kind", ["CMYK", "PNG", "grey"])
def test_odd_jpegs_are_read_as_pillow_reads_them(tmp_path, kind):
    dataset = datasets.ILSVRC(folders.ilsvrc(tmp_path))
    image = folders.picture(0)[0]
    if kind == "PNG":
        image.save(dataset.path(0), format="PNG")
    else:
        image.convert({"CMYK": "CMYK", "grey": "L"}[kind]).save(dataset.path(0), format="JPEG")
    is_like_the_lab(dataset, 0)


def test_damaged_and_absent_images_are_named(tmp_path):
    dataset = datasets.ILSVRC(folders.ilsvrc(tmp_path))
    path = dataset.path(0)
    path.write_bytes(path.read_bytes()[:1500])
    assert dataset.target(0)["label"] == 65  # the header is whole
    with pytest.raises(ValueError, match=r"00000001.JPEG cannot be read, it may be truncated"):
        dataset[0]
    path.write_text("not a picture")
    with pytest.raises(ValueError, match=r"00000001.JPEG is not an image that Pillow can read"):
        dataset[0]
    path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no image .*00000001.JPEG, which the data set lists"
    ):
        dataset[0]
    with pytest.raises(IndexError):
        dataset[3]


def test_published_images_are_not_turned_and_ones_own_are(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    folders.cub(tmp_path)
    path = tmp_path / "CUB_200_2011/images" / folders.CUB[0][0]
    folders.picture(0)[0].save(path, exif=exif)
    image, target = datasets.CUB(tmp_path, "test")[0]
    assert image.shape == (3, 80, 96)
    assert target["boxes"].tolist() == [[60, 27, 85, 61]]
    shutil.copytree(path.parent, tmp_path / "own" / "bird")
    folders.write(tmp_path / "boxes.csv", "image,x0,y0,x1,y1", f"bird/{path.name},0,0,80,96")
    dataset = datasets.Folder(tmp_path / "own", tmp_path / "boxes.csv")
    image, target = dataset[dataset.names.index(f"bird/{path.name}")]
    assert image.shape == (3, 96, 80)
    assert target["boxes"].canvas_size == (96, 80)


# ---- one's own images ----


def test_a_folder_agrees_with_torchvision(tmp_path):
    dataset = datasets.Folder(folders.own(tmp_path))
    shutil.rmtree(tmp_path / ".cache")  # torchvision takes it for a class
    theirs = torchvision_datasets.ImageFolder(tmp_path)
    assert list(dataset.classes) == theirs.classes == ["cup", "spoon"]
    assert [(str(dataset.path(i)), dataset[i][1]["label"]) for i in range(3)] == theirs.samples
    assert len(is_like_the_lab(dataset, 0)["boxes"]) == 0


@pytest.mark.parametrize("kind", ["csv", "coco"])
def test_boxes_from_a_table_and_from_coco(tmp_path, kind):
    root = folders.own(tmp_path / "images")
    if kind == "csv":
        path = folders.own_csv(tmp_path / "boxes.csv")
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as a spreadsheet writes it
    else:
        path = folders.own_coco(tmp_path / "boxes.json")
    dataset = datasets.Folder(root, path)
    target = is_like_the_lab(dataset, 0)
    assert target["boxes"].tolist() == [[10, 20, 30, 60], [0, 0, 96, 80]]
    assert target["labels"].tolist() == [0, 1]
    assert target["label"] == 0
    assert len(dataset[1][1]["boxes"]) == 0
    assert dataset[2][1]["boxes"].tolist() == [[1.5, 2, 3.25, 4]]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["file,x,y,w,h", "cup/1.png,1,2,3,4"], "the header is 'file,x,y,w,h', expected 'image,x0"),
        ([], "the header is ''"),
        (["image,x0,y0,x1,y1", "cup/9.png,1,2,3,4"], "'cup/9.png', which is not in .*did you mean"),
        (["image,x0,y0,x1,y1", "cup/1.png,1,2,3"], "got 'cup/1.png,1,2,3', expected 5 columns"),
        (["image,x0,y0,x1,y1", "cup/1.png,1,2,x,4"], "got '1 2 x 4', expected numbers"),
        (["image,x0,y0,x1,y1,label", "cup/1.png,1,2,3,4,spon"], "'spon' .*did you mean \"spoon\""),
        (["image,x0,y0,x1,y1", "cup/1.png,3,2,3,4"], "nothing lies in the image"),
        (["image,x0,y0,x1,y1", "cup/1.png,99,2,103,4"], "nothing lies in the image"),
        (["image,x0,y0,x1,y1", "cup/1.png,1,2,97,4"], "reaches outside of the image, which is 96"),
        (["image,x0,y0,x1,y1", "cup/1.png,-2,2,9,4"], "reaches outside of the image"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, lines, complaint):
    root = folders.own(tmp_path / "images")
    folders.write(tmp_path / "boxes.csv", *lines)
    with pytest.raises(ValueError, match=complaint):
        datasets.Folder(root, tmp_path / "boxes.csv")[0]


def test_json_nested_without_end_is_refused(tmp_path):
    folders.write(tmp_path / "boxes.json", "[" * 100_000)
    with pytest.raises(ValueError, match="is not COCO's JSON of boxes"):
        annotations.read_coco(tmp_path / "boxes.json")


def without(document, key):
    return {k: v for k, v in document.items() if k != key}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: without(d, "categories"), "is not COCO's JSON of boxes: KeyError"),
        (lambda d: [d], "is not COCO's JSON of boxes"),
        (lambda d: {**d, "images": [{**d["images"][0], "file_name": None}]}, "expected text"),
        (lambda d: {**d, "categories": [{"id": 1, "name": 5}]}, "got 5 for a name, expected text"),
        (
            lambda d: {**d, "annotations": [{**d["annotations"][0], "category_id": []}]},
            "is not COCO's JSON of boxes: TypeError",
        ),
        (lambda d: d | {"annotations": [{**d["annotations"][0], "image_id": 5}]}, "has image 5"),
        (lambda d: d | {"annotations": [{**d["annotations"][0], "category_id": 4}]}, "category 4"),
        (lambda d: d | {"annotations": [{**d["annotations"][0], "bbox": [1, 2]}]}, "four numbers"),
        (
            lambda d: (
                d | {"images": [{**image, "file_name": "cup/7.png"} for image in d["images"]]}
            ),
            "has the image 'cup/7.png', which is not in",
        ),
        (
            lambda d: d | {"images": [{**image, "width": 80} for image in d["images"]]},
            "says that cup/1.png is 80 x 80, but the image, upright, is 96 x 80",
        ),
        (
            lambda d: d | {"categories": [{"id": 1, "name": "fork"}, d["categories"][1]]},
            "a box of class 'fork' in cup/1.png, but no folder has this name",
        ),
    ],
)
def test_wrong_coco_files_are_refused(tmp_path, change, complaint):
    root = folders.own(tmp_path / "images")
    path = folders.own_coco(tmp_path / "boxes.json")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=complaint):
        datasets.Folder(root, path)[0]


def test_other_files_of_boxes_and_empty_folders_are_refused(tmp_path):
    root = folders.own(tmp_path / "images")
    with pytest.raises(ValueError, match=r"is boxes.xls, expected a .csv or COCO's .json"):
        datasets.Folder(root, "boxes.xls")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none.csv"):
        datasets.Folder(root, tmp_path / "none.csv")
    (root / "empty").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"there is no image in .*empty. Put the images into"
    ):
        datasets.Folder(root)
    with pytest.raises(FileNotFoundError, match="there is no folder of a class in"):
        datasets.Folder(root / "empty")


# ---- what is missing ----


@pytest.mark.parametrize(
    ("kind", "make", "gone", "page"),
    [
        (datasets.Pets, folders.pets, "images", "robots.ox.ac.uk"),
        (datasets.Pets, folders.pets, "annotations/trimaps", "robots.ox.ac.uk"),
        (datasets.Pets, folders.pets, "annotations/trainval.txt", "robots.ox.ac.uk"),
        (datasets.CUB, folders.cub, "CUB_200_2011/images", "vision.caltech.edu"),
        (datasets.CUB, folders.cub, "CUB_200_2011/classes.txt", "vision.caltech.edu"),
        (datasets.CUB, folders.cub, "CUB_200_2011/bounding_boxes.txt", "vision.caltech.edu"),
        (datasets.ILSVRC, folders.ilsvrc, f"{DATA}/val", "image-net.org"),
        (datasets.ILSVRC, folders.ilsvrc, f"{BOXES}/val", "image-net.org"),
        (datasets.ILSVRC, folders.ilsvrc, "ILSVRC/ImageSets/CLS-LOC/val.txt", "image-net.org"),
    ],
)
def test_what_is_missing_is_named_with_where_to_get_it(tmp_path, kind, make, gone, page):
    path = make(tmp_path) / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        kind(tmp_path)
    message = str(caught.value)
    assert f"{path}. Fetch " in message
    assert page in message
    assert "  " not in message


@pytest.mark.parametrize("kind", [datasets.Pets, datasets.CUB, datasets.ILSVRC])
def test_splits_that_do_not_exist_are_refused(tmp_path, kind):
    with pytest.raises(ValueError, match="there is no split 'valid', expected"):
        kind(tmp_path, "valid")


# ---- transforms and batches ----


def test_boxes_and_masks_follow_a_resize_and_a_cut(tmp_path):
    steps = v2.Compose([v2.Resize((160, 192)), v2.CenterCrop(150), v2.SanitizeBoundingBoxes()])
    dataset = datasets.Pets(folders.pets(tmp_path), transform=steps)
    image, target = dataset[0]
    assert image.shape == (3, 150, 150)
    assert target["masks"].shape == target["border"].shape == (1, 150, 150)
    x0, y0, x1, y1 = datasets.Pets(tmp_path)[0][1]["boxes"][0].tolist()
    expected = torch.tensor([2 * x0 - 21, 2 * y0 - 5, 2 * x1 - 21, 2 * y1 - 5]).clamp(0, 150)
    assert target["boxes"][0].tolist() == expected.tolist()
    assert isinstance(target["label"], int)


def test_a_box_that_a_cut_loses_goes_with_its_label(tmp_path):
    cut = v2.Compose([v2.CenterCrop(40), v2.SanitizeBoundingBoxes()])
    dataset = datasets.ILSVRC(folders.ilsvrc(tmp_path), transform=cut)
    _, target = dataset[1]
    assert target["boxes"].tolist() == [[0, 0, 40, 40]]
    assert target["labels"].tolist() == [278]


def test_batches_for_a_network(tmp_path):
    geometry = networks.create("lite0").transform.geometry(64)
    dataset = datasets.CUB(folders.cub(tmp_path), transform=geometry)
    (batch,) = DataLoader(dataset, batch_size=2, collate_fn=datasets.collate)
    images, targets = batch
    assert images.shape == (2, 3, 64, 64)
    assert [target["label"] for target in targets] == [0, 1]
    own = datasets.Folder(folders.own(tmp_path / "own"))
    folders.picture(0)[0].resize((50, 50)).save(own.path(0))
    with pytest.raises(ValueError, match=r"have the shapes \(3, 50, 50\), \(3, 80, 96\), expected"):
        next(iter(DataLoader(own, batch_size=2, collate_fn=datasets.collate)))


# ---- the metadata of wsolevaluation ----


def test_published_lines_of_wsolevaluation_are_read(tmp_path):
    """The first validation image of ILSVRC: its XML says 111, 108, 441, 193."""
    name = "val/ILSVRC2012_val_00000001.JPEG"
    folders.write(tmp_path / "image_ids.txt", name)
    folders.write(tmp_path / "class_labels.txt", f"{name},65")
    folders.write(tmp_path / "image_sizes.txt", f"{name},500,375")
    folders.write(tmp_path / "localization.txt", f"{name},111,108,441,193")
    folders.write(
        tmp_path / "first.xml",
        folders.voc("x", (500, 375), (folders.SEA_SNAKE, (111, 108, 441, 193))),
    )
    (listed,) = annotations.read_metadata(tmp_path).values()
    assert (listed.label, listed.size) == (65, (500, 375))
    assert listed.boxes.tolist() == [[111, 108, 442, 194]]
    assert torch.equal(annotations.read_voc(tmp_path / "first.xml").boxes, listed.boxes)


def test_published_boxes_of_cub_are_a_pixel_larger_there_than_in_cub(tmp_path):
    """The first image of CUB is 500 x 335 and has the box 60.0 27.0 325.0 304.0."""
    name = folders.CUB[0][0]
    folders.cub(tmp_path)
    folders.picture(0)[0].resize((500, 335)).save(tmp_path / "CUB_200_2011/images" / name)
    boxes = tmp_path / "CUB_200_2011/bounding_boxes.txt"
    folders.write(boxes, "1 60.0 27.0 325.0 304.0", *boxes.read_text().splitlines()[1:])
    folders.write(tmp_path / "image_ids.txt", name)
    folders.write(tmp_path / "class_labels.txt", f"{name},0")
    folders.write(tmp_path / "image_sizes.txt", f"{name},500,335")
    folders.write(tmp_path / "localization.txt", f"{name},60,27,385,331")
    dataset = datasets.CUB(tmp_path, "test")
    (ours,), (theirs,) = (
        datasets.listed(dataset).items(),
        annotations.read_metadata(tmp_path).items(),
    )
    assert (ours[0], *ours[1][:2]) == (theirs[0], *theirs[1][:2]) == (name, 0, (500, 335))
    assert ours[1].boxes.tolist() == [[60, 27, 385, 331]]
    assert theirs[1].boxes.tolist() == [[60, 27, 386, 332]]


def test_a_data_set_is_written_as_wsolevaluation_has_it_and_read_back(tmp_path):
    dataset = datasets.ILSVRC(folders.ilsvrc(tmp_path))
    written = datasets.listed(dataset)
    annotations.write_metadata(tmp_path / "metadata/ILSVRC/test", written)
    text = (tmp_path / "metadata/ILSVRC/test/localization.txt").read_text()
    first, second, third, _ = text.splitlines()
    assert first == "val/ILSVRC2012_val_00000001.JPEG,11,8,41,19"  # as in the XML
    assert second == "val/ILSVRC2012_val_00000002.JPEG,0,0,95,79"
    assert third == "val/ILSVRC2012_val_00000002.JPEG,5,6,7,8"
    again = annotations.read_metadata(tmp_path / "metadata/ILSVRC/test")
    assert list(again) == dataset.names
    for name, (label, size, boxes) in again.items():
        assert (label, size) == written[name][:2]
        assert torch.equal(boxes, written[name].boxes)
    # They count a found box of 31 x 12 pixels as 32 x 13, and the true one as it is.
    maps = torch.zeros(1, 80, 96)
    maps[0, 8:20, 11:42] = 1
    ious = metrics.level_ious(maps, [again[dataset.names[0]].boxes])
    assert torch.allclose(ious, torch.tensor(31 * 12 / (32 * 13)))


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("image_sizes.txt", "other.jpg,5,6", "image_sizes.txt has no line for"),
        ("localization.txt", "", "localization.txt has no line for"),
        ("localization.txt", "a/b.jpg,a/mask.png,a/ignore.png", "masks of OpenImages are not read"),
        ("class_labels.txt", "val/ILSVRC2012_val_00000001.JPEG,x", "expected numbers"),
        ("class_labels.txt", "val/ILSVRC2012_val_00000001.JPEG", "expected 2 columns"),
    ],
)
def test_broken_metadata_is_refused(tmp_path, file, line, complaint):
    annotations.write_metadata(
        tmp_path, {folders.val_name(1): annotations.Listed(0, (9, 9), torch.tensor([[1, 2, 3, 4]]))}
    )
    folders.write(tmp_path / file, line)
    with pytest.raises(ValueError, match=complaint):
        annotations.read_metadata(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"there is no file .*{file}"):
        annotations.read_metadata(tmp_path)


def test_what_the_metadata_cannot_hold_is_refused(tmp_path):
    box = torch.tensor([[1.0, 2, 3, 4]])
    with pytest.raises(ValueError, match=r"'a,b.jpg' has a comma"):
        annotations.write_metadata(tmp_path, {"a,b.jpg": annotations.Listed(0, (9, 9), box)})
    with pytest.raises(ValueError, match=r"a.jpg has no box"):
        annotations.write_metadata(tmp_path, {"a.jpg": annotations.Listed(0, (9, 9), box[:0])})
    assert not list(tmp_path.iterdir())
