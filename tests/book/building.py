"""The command that builds the book, and what it is to build."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BUILD = ("build", "-n", "-W", "--keep-going")


def build_book(source: Path) -> tuple[int, str]:
    """Builds strictly and from nothing, as `make book` does; returns exit code and log."""
    shutil.rmtree(source / "_build", ignore_errors=True)
    if (source / "book/static_files.py").exists():
        subprocess.run([sys.executable, source / "book/static_files.py"], check=True)
    command = [str(Path(sys.executable).with_name("jupyter-book")), *BUILD, str(source)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )
    return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


def toc_pages() -> list[str]:
    """The pages of the book in reading order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *chapters]
