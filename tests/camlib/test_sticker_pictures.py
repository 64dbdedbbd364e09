"""The sticker world, pinned by its version: the shipped networks were trained on these pictures.

Who changes the pictures on purpose raises the version, trains the networks anew and renews this.
"""

import pytest
import torch

from camlib import lab

# Split, number, class, box, mean grey of nine squares of 32 pixels, row by row.
PICTURES = [
    ("train", 0, "scales", [15, 9, 75, 65], [124, 134, 121, 108, 107, 79, 12, 39, 143]),
    ("train", 1, "crosses", [8, 20, 69, 88], [105, 79, 190, 109, 143, 61, 50, 107, 132]),
    ("train", 2, "fine checks", [27, 42, 59, 75], [45, 126, 47, 49, 106, 36, 72, 112, 30]),
    ("valid", 0, "grid", [30, 36, 77, 90], [61, 61, 54, 75, 106, 96, 91, 109, 132]),
    ("valid", 1, "dashes", [6, 9, 75, 76], [108, 115, 91, 120, 116, 120, 186, 125, 77]),
    ("valid", 2, "grid", [23, 30, 53, 62], [83, 85, 107, 73, 96, 101, 89, 111, 93]),
    ("test", 0, "stars", [35, 13, 75, 47], [62, 71, 74, 132, 108, 43, 142, 69, 30]),
    ("test", 1, "stars", [41, 30, 77, 79], [75, 95, 60, 67, 134, 129, 66, 125, 135]),
    ("test", 2, "checks", [40, 8, 91, 59], [126, 127, 124, 128, 132, 132, 116, 133, 106]),
]


def squares(image):
    grey = image.float().mean(dim=0)[None]
    return torch.nn.functional.avg_pool2d(grey, 32).flatten()


@pytest.mark.parametrize(("split", "number", "name", "box", "means"), PICTURES)
def test_the_pictures_are_those_of_this_version(split, number, name, box, means):
    assert lab.VERSION == 1
    image, target = lab.StickerWorld(split)[number]
    assert lab.CLASSES[target["label"]] == name
    # Another Pillow or OpenCV may round otherwise.
    assert (target["boxes"][0] - torch.tensor(box)).abs().max() <= 1
    assert (squares(image) - torch.tensor(means)).abs().max() <= 2


def test_another_picture_is_seen():
    image, _ = lab.StickerWorld("test", seed=1)[0]
    assert (squares(image) - torch.tensor(PICTURES[-3][4])).abs().max() > 2
