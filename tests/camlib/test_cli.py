"""The command: what it prints, what it writes, and one line and exit code 2 for what goes wrong."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from camlib import cli, photos


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def phone_photo(here):
    """The coffee as a phone would store it held upright: pixels turned, EXIF says how."""
    image = photos.load("coffee").image
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(here / "IMG_1.jpg", exif=exif, quality=95)
    return "IMG_1.jpg"


def test_a_phone_photo_gives_five_classes_and_an_overlay(phone_photo, here, capsys):
    assert cli.main(["cam", phone_photo, "--class", "espresso", "--class", "968", "--box"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "espresso (967)" in lines[0]  # turned the wrong way it is no espresso
    assert all("%" in line for line in lines[:5])
    assert lines[5].startswith("box of espresso: [")
    assert lines[6].startswith("box of cup: [")
    with Image.open(here / "IMG_1.cam.png") as png:
        assert png.format == "PNG"
        assert len(png.convert("L").getcolors(100_000) or []) > 100  # something is drawn
    assert sorted(p.name for p in here.iterdir()) == ["IMG_1.cam.png", "IMG_1.jpg"]


def test_a_bundled_name_and_an_output_that_is_replaced(here):
    (here / "out.png").write_text("old")
    assert cli.main(["cam", "coffee", "--output", "out.png"]) == 0
    with Image.open(here / "out.png") as png:
        assert png.width > 400
    (here / "new").touch()  # what any new file may be read by
    assert (here / "out.png").stat().st_mode == (here / "new").stat().st_mode


def test_the_photo_itself_is_not_overwritten(here, capsys):
    photos.load("coffee").image.save(here / "photo.png")
    before = (here / "photo.png").read_bytes()
    assert "is the photo itself" in fails(capsys, "photo.png", "--output", "./photo.png")
    assert (here / "photo.png").read_bytes() == before


def test_a_link_is_written_through(here):
    (here / "target.png").write_text("old")
    try:
        (here / "link.png").symlink_to(here / "target.png")
    except OSError:
        pytest.skip("Windows gives links to administrators only")
    assert cli.main(["cam", "coffee", "--output", "link.png"]) == 0
    assert (here / "link.png").is_symlink()
    with Image.open(here / "target.png") as png:
        assert png.width > 400


def test_the_box_is_in_pixels_of_the_photo(capsys):
    assert cli.main(["cam", "camera", "--class", "tripod", "--box"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("box"))
    x0, _, x1, y1 = json.loads(line[line.index("[") : line.index("]") + 1])
    # The camera's photo is 512 x 512, of which the network sees the central 448 x 448.
    assert 32 <= x0 < x1 <= 480
    assert y1 > 400


def fails(capsys, *arguments):
    assert cli.main(["cam", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("camlib: ")
    return captured.err


def test_what_goes_wrong_is_said_in_one_line(here, capsys):
    (here / "text.jpg").write_text("not a picture")
    photos.load("coffee").image.save(here / "whole.jpg")
    data = (here / "whole.jpg").read_bytes()
    (here / "cut.jpg").write_bytes(data[:20_000])
    assert "there is no file missing.jpg" in fails(capsys, "missing.jpg")
    assert "is not an image" in fails(capsys, "text.jpg")
    assert "may be truncated" in fails(capsys, "cut.jpg")
    assert 'did you mean "espresso"?' in fails(capsys, "whole.jpg", "--class", "expresso")
    assert "expected between 0 and 999" in fails(capsys, "whole.jpg", "--class", "1000")
    assert "folder nowhere" in fails(capsys, "whole.jpg", "--output", "nowhere/out.png")
    assert "ending in .png" in fails(capsys, "whole.jpg", "--output", "out.jpg")
    (here / "folder.png").mkdir()
    assert "is a folder" in fails(capsys, "whole.jpg", "--output", "folder.png")
    assert sorted(p.name for p in here.iterdir()) == [
        "cut.jpg",
        "folder.png",
        "text.jpg",
        "whole.jpg",
    ]


def test_a_write_that_fails_leaves_nothing_and_keeps_the_old_file(here, capsys, monkeypatch):
    (here / "out.png").write_text("old")

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full_disk)
    assert "cannot write out.png: No space left" in fails(capsys, "coffee", "--output", "out.png")
    assert [(p.name, p.read_text()) for p in here.iterdir()] == [("out.png", "old")]


def test_a_folder_without_write_permission(here, capsys, monkeypatch):
    def locked(*_, **__):
        raise PermissionError(13, "Permission denied", "tmp1234.png")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", locked)
    assert "cannot write out.png: Permission denied" in fails(
        capsys, "coffee", "--output", "out.png"
    )


def test_the_installed_command_exits_with_2(here):
    command = [sys.executable, "-m", "camlib", "cam", "missing.jpg"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == "camlib: there is no file missing.jpg\n"
