"""What the text pages say about the commands, the photographs and the cover holds."""

import re
from pathlib import Path

import pytest
import torch

from camlib import cam, cli, networks, photos

ROOT = Path(__file__).resolve().parents[2]
HOW_TO_USE = (ROOT / "book" / "how_to_use.md").read_text(encoding="utf-8")


def test_the_bundled_photographs_are_listed():
    listed = re.search(r"name of a bundled photograph will do: (.*?)\.", HOW_TO_USE, re.DOTALL)
    assert tuple(re.findall(r"`(\w+)`", listed[1])) == photos.NAMES


def test_every_option_of_the_command_is_explained(capsys):
    with pytest.raises(SystemExit):
        cli.main(["cam", "--help"])
    options = set(re.findall(r"--[a-z]+", capsys.readouterr().out)) - {"--help"}
    assert options
    assert all(f"\n`{option}" in HOW_TO_USE for option in options)


def test_windows_gets_the_commands_behind_make():
    for target in ("env", "book", "serve", "test"):
        # The rule of `env` makes the environment's mark.
        rule = r"\$\(MADE\): " if target == "env" else rf"{target}: "
        makefile = (ROOT / "Makefile").read_text()
        recipe = re.search(rf"^{rule}.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
        for command in re.findall(r"^\t\$\(BIN\)/(.*)$", recipe, re.MULTILINE):
            command = command.replace("--quiet ", "").replace("$(PORT)", "8000")
            assert rf".venv\Scripts\{command}" in HOW_TO_USE


@pytest.mark.parametrize(
    "message",
    ["is not an image that Pillow can read", "there is no class", "is in training mode"],
)
def test_quoted_errors_exist(message):
    assert message in HOW_TO_USE
    assert any(message in file.read_text() for file in (ROOT / "camlib").glob("*.py"))


@pytest.mark.parametrize(
    ("photo", "class_name", "box", "is_top"),
    [
        ("astronaut", "football helmet", (278, 343, 512, 512), True),
        ("astronaut", "space shuttle", (352, 0, 458, 288), False),
        ("camera", "tripod", (234, 186, 406, 512), True),
        ("camera", "binoculars", (180, 90, 320, 210), False),  # the eye, the hands, the camera
    ],
)
def test_the_caption_of_the_cover_holds(photo, class_name, box, is_top):
    network = networks.create("lite0")
    image = photos.load(photo).image
    result = cam.class_activation_maps(network, network.transform(image)[None], class_name)
    assert (int(result.logits.argmax()) == network.classes.index(class_name)) == is_top
    row, column = divmod(int(cam.upsample(result.maps[0, 0], 224).argmax()), 224)
    pixel = torch.tensor([column, row, column + 1, row + 1])
    x, y, *_ = network.transform.box_in_photo(pixel, image.size).tolist()
    assert box[0] <= x < box[2]
    assert box[1] <= y < box[3]


def test_no_placeholder_is_left_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not re.findall(r"\b(?:TIME|SIZE)_[A-Z]+\b|TODO|XXX", readme)
