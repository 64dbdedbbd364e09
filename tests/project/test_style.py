"""Style and types, as the tools see them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from project_rules import ROOT


def complaints(*command: str) -> str:
    """What a tool of this environment says when it is not content."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "--quiet", "--output-format=concise"),
        ("ruff", "format", "--check", "--quiet", "--diff"),
        ("mypy", "--no-error-summary"),
    ],
    ids=["ruff check", "ruff format", "mypy"],
)
def test_tool_is_content(command: tuple[str, ...]):
    said = complaints(*command)
    if said:
        pytest.fail(said, pytrace=False)


def test_the_tools_complain_of_bad_code(tmp_path: Path):
    bad = tmp_path / "bad.py"
    bad.write_text("import os\ndef f( x: int ) -> str: return x\n")
    assert "F401" in complaints("ruff", "check", str(bad))
    assert complaints("ruff", "format", "--check", str(bad))
    assert "Incompatible return" in complaints("mypy", str(bad))


def test_notebooks_are_seen_too(tmp_path: Path):
    bad = tmp_path / "bad.ipynb"
    bad.write_text(
        '{"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "outputs": [],'
        ' "execution_count": null, "source": "import os"}], "metadata": {},'
        ' "nbformat": 4, "nbformat_minor": 5}'
    )
    assert "F401" in complaints("ruff", "check", str(bad))
