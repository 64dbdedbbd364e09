"""The cover of the book and the README is what its code draws today."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BOOK = Path(__file__).resolve().parents[2] / "book"
# Mean absolute difference of 8-bit values, after averaging 4 x 4 pixels so that the dots of the
# 256 colours cancel: about 0.7 is left of them, and another map costs 2 or more.
ALLOWED = 1.3


@pytest.fixture(scope="module")
def cover():
    spec = importlib.util.spec_from_file_location("cover", BOOK / "cover.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def difference(committed: Image.Image, drawn: Image.Image) -> float:
    assert committed.size == drawn.size, "the cover has another size: run book/cover.py"
    coarse = (image.convert("RGB").reduce(4) for image in (committed, drawn))
    one, other = (np.asarray(image, dtype=float) for image in coarse)
    return float(np.abs(one - other).mean())


def test_the_committed_cover_is_what_the_code_draws(cover):
    with Image.open(cover.FILE) as committed:
        stale = difference(committed, cover.draw()) >= ALLOWED
    assert not stale, "the code draws another cover: run book/cover.py, look at it, commit it"


def test_a_cover_with_one_other_map_is_refused(cover):
    other = (cover.ROWS[0], ("camera", "tripod", "tripod"))
    with Image.open(cover.FILE) as committed:
        assert difference(committed, cover.draw(other)) > ALLOWED


def test_the_cover_is_small(cover):
    assert cover.FILE.stat().st_size < 200_000
    with Image.open(cover.FILE) as committed:
        assert committed.mode == "P"
