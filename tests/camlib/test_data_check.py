"""`camlib data check`: what it counts, what it finds, and its exit codes."""

import subprocess
import sys

import dataset_folders as folders
import pytest

from camlib import cli, data_check


def check(capsys, *arguments):
    """The exit code and the lines of standard output."""
    code = cli.main(["data", "check", *map(str, arguments)])
    captured = capsys.readouterr()
    assert not [line for line in captured.err.splitlines() if line.startswith("camlib")]
    return code, captured.out.splitlines()


def refused(capsys, *arguments):
    """The one line on standard error of a check that could not begin."""
    assert cli.main(["data", "check", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("camlib: ")
    assert not captured.out
    return captured.err


def findings(lines):
    return [line.strip() for line in lines if line.startswith("  ") and ": " in line]


@pytest.fixture
def as_published(monkeypatch):
    """As if the small data sets were the published ones."""
    counts = {
        "pets": ({"trainval": 3, "test": 3}, 3),
        "cub": ({"train": 2, "test": 1}, 2),
        "ilsvrc": ({"train": 2, "train_loc": None, "val": 3}, 1000),
    }
    for name, (splits, classes) in counts.items():
        made = data_check.PUBLISHED[name]._replace(splits=splits, classes=classes)
        monkeypatch.setitem(data_check.PUBLISHED, name, made)
    monkeypatch.setattr(data_check, "BLACKLISTED", 1)


MAKE = {"pets": folders.pets, "cub": folders.cub, "ilsvrc": folders.ilsvrc}


@pytest.mark.parametrize("name", MAKE)
def test_a_small_data_set_is_told_from_the_published_one(tmp_path, capsys, name):
    code, lines = check(capsys, name, MAKE[name](tmp_path))
    assert code == 1
    expected = {
        "pets": {
            "trainval: 3 images, published are 3,680",
            "test: 3 images, published are 3,669",
            "trainval: 3 classes, published are 37",
            "test: 3 classes, published are 37",
        },
        "cub": {
            "train: 2 images, published are 5,994",
            "test: 1 images, published are 5,794",
            "train: 2 classes, published are 200",
            "test: 2 classes, published are 200",
        },
        "ilsvrc": {
            "train: 2 images, published are 1,281,167",
            "val: 3 images, published are 50,000",
            "val: 1 images are listed as unreliable, published are 1,762",
        },
    }[name]
    found = lines[lines.index(f"{len(expected)} findings:") + 1 :]
    assert {line.strip() for line in found} == expected


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("sample", ["0", "2", "99"])
def test_a_whole_data_set_passes(tmp_path, capsys, as_published, name, sample):
    code, lines = check(capsys, name, MAKE[name](tmp_path), "--sample", sample)
    assert code == 0
    assert lines[-1] == "Nothing is missing and nothing is broken."
    assert any("is hashed" in line for line in lines)
    largest = {"pets": 3, "cub": 2, "ilsvrc": 3}[name]
    decoded = min(int(sample), largest)
    assert any(f"; {decoded} images decoded" in line for line in lines)


def test_ones_own_folder(tmp_path, capsys):
    root = folders.own(tmp_path / "images")
    code, lines = check(capsys, "folder", root)
    assert code == 0
    assert lines[1] == "3 images of 2 classes"
    code, lines = check(capsys, "folder", root, "--boxes", folders.own_csv(tmp_path / "boxes.csv"))
    assert code == 0
    assert lines[2].startswith("  3 boxes; 0 images decoded")


def test_every_broken_image_is_named_and_a_cut_one_only_when_decoded(
    tmp_path, capsys, as_published
):
    images = folders.ilsvrc(tmp_path) / "ILSVRC/Data/CLS-LOC/val"
    first, second, third = (images / f"{folders.val_name(n)}.JPEG" for n in (1, 2, 3))
    first.unlink()
    second.write_bytes(second.read_bytes()[:1500])
    third.write_text("no picture")
    code, lines = check(capsys, "ilsvrc", tmp_path)
    assert code == 1
    assert len(findings(lines[lines.index("2 findings:") :])) == 2
    assert any(f"val, val/{first.name}: there is no image" in line for line in lines)
    assert any(f"val, val/{third.name}: " in line and "not an image" in line for line in lines)
    code, lines = check(capsys, "ilsvrc", tmp_path, "--sample", "3")
    assert code == 1
    assert "3 findings:" in lines
    assert any(f"val, val/{second.name}: " in line and "truncated" in line for line in lines)


def test_broken_annotations_are_findings(tmp_path, capsys, as_published):
    boxes = folders.ilsvrc(tmp_path) / "ILSVRC/Annotations/CLS-LOC"
    (boxes / "val" / f"{folders.val_name(1)}.xml").unlink()
    (boxes / "val" / f"{folders.val_name(2)}.xml").write_text("<!DOCTYPE a []><a/>")
    (boxes / "train" / f"{folders.KIT_FOX}/{folders.KIT_FOX}_7.xml").unlink()
    code, lines = check(capsys, "ilsvrc", tmp_path)
    assert code == 1
    assert "3 findings:" in lines  # the training image has a box in train_loc, and may have none
    assert any("no annotation" in line and "00000001.xml" in line for line in lines)
    assert any("document type" in line and "00000002.xml" in line for line in lines)
    assert any("train_loc, train/n02119789" in line for line in lines)


def test_oddities_are_told_and_are_no_findings(tmp_path, capsys, as_published):
    images = folders.ilsvrc(tmp_path) / "ILSVRC/Data/CLS-LOC/val"
    picture = folders.picture(0)[0]
    picture.save(images / f"{folders.val_name(1)}.JPEG", format="PNG")
    picture.convert("CMYK").save(images / f"{folders.val_name(2)}.JPEG", format="JPEG")
    code, lines = check(capsys, "ilsvrc", tmp_path, "--sample", "3")
    assert code == 0
    assert "  1 PNG named .JPEG: read as any other" in lines
    assert "  1 CMYK: read as any other" in lines


def test_splits_that_are_not_there_are_findings(tmp_path, capsys, as_published):
    code, lines = check(capsys, "ilsvrc", folders.ilsvrc_of_2012(tmp_path))
    assert code == 1
    assert "2 findings:" in lines
    assert any("train: ILSVRC-2012: there is no folder" in line for line in lines)
    assert any("train_loc: ILSVRC-2012: there is no folder" in line for line in lines)
    assert any("1 validation images have boxes listed as unreliable" in line for line in lines)


def test_without_a_kit_nothing_is_said_of_unreliable_boxes(tmp_path, capsys, as_published):
    code, lines = check(capsys, "ilsvrc", folders.ilsvrc(tmp_path, kit=False))
    assert code == 0
    assert any("have unreliable boxes is not known" in line for line in lines)


def test_an_image_listed_twice_is_a_finding(tmp_path, capsys, as_published):
    path = folders.pets(tmp_path) / "annotations" / "test.txt"
    lines = path.read_text().splitlines()
    folders.write(path, *lines[:2], lines[2], lines[2])
    code, lines = check(capsys, "pets", tmp_path)
    assert code == 1
    assert "  test: 4 images, published are 3" in lines
    assert "  test: 1 images are listed more than once" in lines


def test_the_first_twenty_findings_are_shown_and_all_are_counted(tmp_path, capsys):
    root = folders.own(tmp_path)
    for n in range(25):
        (root / "cup" / f"broken{n:02}.jpg").write_text("no picture")
    code, lines = check(capsys, "folder", root)
    assert code == 1
    assert "25 findings:" in lines
    assert len([line for line in lines if "broken" in line]) == data_check.SHOWN == 20
    assert lines[-1] == "  ... and 5 more"


def test_what_cannot_be_checked_is_said_in_one_line(tmp_path, capsys):
    nowhere = tmp_path / "nowhere"
    for name in ("pets", "cub", "ilsvrc", "folder"):
        error = refused(capsys, name, nowhere)
        assert "there is no folder" in error
        assert str(nowhere) in error
    assert "no data set 'imagenet', expected pets, cub, ilsvrc, folder" in refused(
        capsys, "imagenet", tmp_path
    )
    assert "--sample is -1, expected" in refused(capsys, "pets", tmp_path, "--sample", "-1")
    assert "--boxes is for folder, cub has its own" in refused(
        capsys, "cub", tmp_path, "--boxes", "a.csv"
    )
    root = folders.own(tmp_path / "images")
    folders.write(tmp_path / "boxes.csv", "a,b")
    assert "the header is 'a,b'" in refused(
        capsys, "folder", root, "--boxes", tmp_path / "boxes.csv"
    )


def test_nothing_on_the_disk_is_changed(tmp_path, capsys):
    def state():
        return {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}

    root = folders.ilsvrc(tmp_path)
    before = state()
    check(capsys, "ilsvrc", root, "--sample", "5")
    assert state() == before


def test_the_installed_command(tmp_path):
    """The exit code reaches the shell; a progress bar would be on standard error."""
    root = folders.own(tmp_path)
    (root / "cup" / "broken.png").write_text("no picture")
    command = [sys.executable, "-m", "camlib", "data", "check", "folder", root, "--sample", "9"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stdout.splitlines()[-2] == "1 findings:"
    assert "broken.png is not an image" in run.stdout.splitlines()[-1]
