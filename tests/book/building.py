"""The command that builds the book, and what it is to build."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
BEFORE = ("static_files.py", "run_notebooks.py")
BUILD = ("build", "-n", "-W", "--keep-going")


def build_book(source: Path) -> tuple[int, str]:
    """Builds strictly and from nothing, as `make book` does; returns exit code and log."""
    shutil.rmtree(source / "_build", ignore_errors=True)
    steps = [[sys.executable, str(source / "book" / name)] for name in BEFORE]
    steps = [step for step in steps if Path(step[1]).exists()]
    steps.append([str(Path(sys.executable).with_name("jupyter-book")), *BUILD, str(source)])
    log = ""
    for step in steps:
        done = subprocess.run(
            step, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
        )
        log += re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
        if done.returncode:
            break
    return done.returncode, log


def toc_pages() -> list[str]:
    """The pages of the book in reading order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *(page["file"] for one in chapters for page in (one, *sections(one)))]


def sections(chapter: dict[str, Any]) -> list[dict[str, Any]]:
    """The pages below a page."""
    return chapter.get("sections", [])
