"""What the pages serve besides text: `python book/static_files.py` writes book/_static/made."""

from __future__ import annotations

import shutil
from pathlib import Path

MADE = Path(__file__).parent / "_static" / "made"


def make(folder: Path = MADE) -> None:
    """Writes all files anew; what an earlier run left is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


if __name__ == "__main__":
    make()
