"""The first cell of the notebooks, for Colab: `python book/colab.py` writes or removes it.

Where `repository.url` in _config.yml names the project's address, every notebook that needs no more
than camlib begins with a cell that installs it from there. Without an address there is none. The
rest of a notebook stays as it is, to the byte.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
# Of the coursework the example alone: the sets come with files beside them, and what stands in a
# set is run by the grader, too.
NOTEBOOKS = ("notebooks/*.ipynb", "notebooks/coursework/source/project/example_report.ipynb")
ID = "install-camlib"
START = '{\n "cells": [\n'

CODE = """\
# For Colab: installs camlib and leaves torch, torchvision and numpy as they are.
import importlib.util

if importlib.util.find_spec("camlib") is None:
    import subprocess
    import sys
    import tempfile
    from importlib import invalidate_caches, metadata
    from pathlib import Path

    have = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    kept = [f"{name}=={have[name]}" for name in ("torch", "torchvision", "numpy") if name in have]
    constraints = Path(tempfile.mkdtemp(), "constraints.txt")
    constraints.write_text("\\n".join(kept))
    wanted = "camlib[notebooks] @ git+ADDRESS"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(constraints)]
    subprocess.run([*pip, wanted], check=True)
    invalidate_caches()"""


def address(root: Path) -> str:
    """What pip takes the project from, ADDRESS@BRANCH; empty without an address.

    Raises:
        ValueError: if it is no address of a repository.
    """
    repository = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]
    if not repository["url"]:
        return ""
    found = f"{repository['url'].rstrip('/')}@{repository.get('branch') or 'main'}"
    if not re.fullmatch(r"https://[\w.-]+(/[\w.~-]+)+@[\w./-]+", found):
        raise ValueError(f"_config.yml: {found!r} is no address https://HOST/PATH and branch")
    return found


def cell(place: str) -> str:
    """The cell as it is stored, with the lines' ends."""
    lines = CODE.replace("ADDRESS", place).splitlines(keepends=True)
    content = {
        "cell_type": "code",
        "execution_count": None,
        "id": ID,
        "metadata": {"tags": ["remove-cell"]},
        "outputs": [],
        "source": lines,
    }
    return "".join(f"  {line}\n" for line in json.dumps(content, indent=1).splitlines())


def with_cell(text: str, place: str) -> str:
    """A notebook's text with the cell for this address, or without one.

    Raises:
        ValueError: if the text is not as nbformat writes it.
    """
    if not text.startswith(START):
        raise ValueError("is not stored as nbformat writes a notebook with cells")
    rest = text.removeprefix(START)
    if json.loads(text)["cells"][0]["id"] == ID:
        rest = rest.split("\n  },\n", 1)[1]
    return START + (cell(place).rstrip("\n") + ",\n" if place else "") + rest


def paths(root: Path) -> list[Path]:
    return sorted(path for pattern in NOTEBOOKS for path in root.glob(pattern))


def disagreeing(root: Path) -> list[Path]:
    """The notebooks whose first cell is not the one that _config.yml asks for."""
    place = address(root)
    texts = ((path, path.read_bytes().decode()) for path in paths(root))
    return [path for path, text in texts if with_cell(text, place) != text]


def main(root: Path = ROOT) -> None:
    place = address(root)
    for path in disagreeing(root):
        path.write_bytes(with_cell(path.read_bytes().decode(), place).encode())
        print(f"{path.relative_to(root)}: {'writes' if place else 'removes'} the cell for Colab")


if __name__ == "__main__":
    main()
