"""Which tests stay together when several processes share them (`pytest -n 2`)."""

from __future__ import annotations

import os

import pytest
from xdist.scheduler import LoadScopeScheduling

# What stays in one process: the coursework, whose tests open rooms as the same users and whose
# notebooks write beside their sources; and the book, which is built once.
TOGETHER = {"tests/course/": "course", "notebooks/coursework/": "course", "tests/book/": "book"}


class ByFile(LoadScopeScheduling):
    """The tests of a file stay together, such as the cells of a notebook, and those named above."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return next((name for start, name in TOGETHER.items() if file.startswith(start)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)


def pytest_xdist_setupnodes() -> None:
    """Processes with several threads each, which wait by spinning, would slow each other down."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
