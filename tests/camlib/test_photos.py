"""camlib.photos: the bundled photographs, and pictures of every kind read right."""

import numpy as np
import pytest
import torch
from PIL import Image

from camlib import networks, photos


def test_there_are_photographs_with_boxes_and_known_classes():
    classes = networks.create("lite0").classes
    boxed = 0
    for name in photos.NAMES:
        photo = photos.load(name)
        width, height = photo.image.size
        assert photo.image.mode == "RGB"
        assert photo.credit
        assert photo.licence
        boxed += bool(photo.objects)
        for thing in photo.objects:
            x0, y0, x1, y1 = thing.box
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            for class_name in filter(None, (thing.class_name, thing.stand_in)):
                assert class_name in classes
            assert not (thing.class_name and thing.stand_in)
    assert len(photos.NAMES) >= 10
    assert boxed >= 8


def test_the_boxes_of_the_dahlias_hold_the_orange_pixels():
    photo = photos.load("flower")
    pixels = np.asarray(photo.image).astype(int)
    orange = pixels[..., 0] - pixels[..., 2] > 90  # far more red than blue
    total = orange.sum()
    for thing in photo.objects:
        x0, y0, x1, y1 = thing.box
        orange[y0:y1, x0:x1] = False
    assert orange.sum() < 0.03 * total


def test_a_near_miss_of_a_name_is_suggested():
    with pytest.raises(ValueError, match='did you mean "coffee"'):
        photos.load("cofee")
    with pytest.raises(ValueError, match="there are: astronaut"):
        photos.load("xyz")


# Reading: four corners of known colour, through every format.

CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)
PICTURE = CORNERS.repeat(16, axis=0).repeat(24, axis=1)  # 32 x 48


def corners(image):
    pixels = np.asarray(image).astype(int)
    assert image.mode == "RGB"
    return pixels[[2, 2, -3, -3], [2, -3, 2, -3]]


FOUR = CORNERS.reshape(4, 3)


def assert_corners(image, expected=FOUR, tolerance=0):
    assert np.abs(corners(image) - expected).max() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_of_phones(orientation, tmp_path):
    # What a phone stores is the scene, turned; the tag says how to turn it back.
    back = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = Image.fromarray(PICTURE)
    stored = stored.transpose(back) if back is not None else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "phone.jpg", exif=exif, quality=95)
    image = photos.read(tmp_path / "phone.jpg")
    assert image.size == (48, 32)
    assert_corners(image, tolerance=8)


def test_transparency_is_laid_on_white():
    rgba = np.dstack([PICTURE, np.full(PICTURE.shape[:2], 255, np.uint8)])
    rgba[:16, :24, 3] = 0  # the red corner is transparent
    expected = FOUR.copy()
    expected[0] = 255
    assert_corners(photos.read(Image.fromarray(rgba)), expected)
    assert_corners(photos.read(rgba), expected)


def test_palette_with_a_transparent_colour(tmp_path):
    palette = Image.fromarray(PICTURE).quantize(8)
    assert_corners(photos.read(palette), tolerance=2)
    palette.save(tmp_path / "p.png", transparency=palette.getpixel((0, 0)))
    expected = FOUR.copy()
    expected[0] = 255
    assert_corners(photos.read(tmp_path / "p.png"), expected, tolerance=2)


def test_cmyk_jpeg(tmp_path):
    Image.fromarray(PICTURE).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert_corners(photos.read(str(tmp_path / "print.jpg")), tolerance=10)


def test_greyscale_and_16_bit(tmp_path):
    grey = np.zeros((32, 48), np.uint16)
    grey[:16, :24], grey[:16, 24:], grey[16:, :24], grey[16:, 24:] = 0, 257, 32896, 65535
    expected = np.array([[0] * 3, [1] * 3, [128] * 3, [255] * 3])
    Image.fromarray(grey).save(tmp_path / "scan.png")
    assert_corners(photos.read(tmp_path / "scan.png"), expected)
    Image.fromarray(grey).save(tmp_path / "scan.tif")
    assert_corners(photos.read(tmp_path / "scan.tif"), expected)
    assert_corners(photos.read(grey), expected)
    assert_corners(photos.read((grey // 257).astype(np.uint8)), expected)
    assert_corners(photos.read(grey / 65535), expected)
    one_bit = photos.read(Image.fromarray(grey > 300))
    assert_corners(one_bit, np.array([[0] * 3, [0] * 3, [255] * 3, [255] * 3]))


def test_tensors_and_arrays():
    tensor = torch.from_numpy(PICTURE).permute(2, 0, 1)
    assert_corners(photos.read(tensor))
    assert_corners(photos.read(tensor / 255))
    assert_corners(photos.read(PICTURE))
    assert photos.read(tensor[:1]).size == (48, 32)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\), expected \(h, w\)"),
        (torch.zeros(8, 8, 3), r"tensor of shape \(8, 8, 3\), expected one picture"),
        (torch.zeros(2, 3, 8, 8), "one picture"),
        (np.full((8, 8), 1.5), "floats between 0 and 1"),
        (np.full((8, 8), -0.5), "floats between 0 and 1"),
        (np.full((8, 8), np.nan), "floats between 0 and 1"),
        (np.full((8, 8), 70000), "expected uint8"),
        (np.full((8, 8, 3), 200), "got int64 values between 200 and 200"),
        (np.zeros((0, 8)), "empty"),
        (42, "got int"),
    ],
)
def test_what_is_no_picture(wrong, says):
    with pytest.raises(ValueError, match=says):
        photos.read(wrong)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*missing\.jpg"):
        photos.read(tmp_path / "missing.jpg")
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(ValueError, match=r"text\.jpg is not an image"):
        photos.read(tmp_path / "text.jpg")
    Image.fromarray(PICTURE.repeat(8, 0)).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cut\.jpg cannot be read, it may be truncated"):
        photos.read(tmp_path / "cut.jpg")
    with pytest.raises(ValueError, match="is a folder"):
        photos.read(tmp_path)
