"""One seed, and what is handed out with the sets made once for all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from sources import SOURCES, handout_of

from course import sets
from course.flow import hand_out

SEED = "the secret seed of the tests"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each set with its handed-out files, networks hardly trained; and `private`."""
    place = tmp_path_factory.mktemp("made")
    (place / "private").mkdir()
    for name in sets.NAMES:
        (place / name).mkdir()
        if (SOURCES / name / "handout.py").exists():
            shutil.copyfile(SOURCES / name / "handout.py", place / name / "handout.py")
        hand_out(name, place / name, place / "private", SEED, quick=True)
    return place


@pytest.fixture
def inside(made: Path) -> Callable[[str], AbstractContextManager[None]]:
    """Runs a block as a student's notebook would be run: in the folder of its set."""

    @contextmanager
    def entered(name: str) -> Iterator[None]:
        before = Path.cwd()
        os.chdir(made / name)
        try:
            if (SOURCES / name / "handout.py").exists():
                handout_of(name)
            yield
        finally:
            os.chdir(before)

    return entered
