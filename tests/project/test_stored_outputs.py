"""Stored outputs are compared: a notebook whose cell prints something else must fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

CONFTEST = Path(__file__).parents[2] / "notebooks" / "conftest.py"


@pytest.mark.parametrize(("printed", "exit_code"), [("(7, 7)", 0), ("(7, 8)", 1)])
def test_what_a_tagged_cell_prints_is_compared(tmp_path: Path, printed: str, exit_code: int):
    shutil.copy(CONFTEST, tmp_path)
    cell = new_code_cell(
        f"print({printed!r})",
        metadata={"tags": ["keep_output", "nbval-check-output"]},
        outputs=[new_output("stream", name="stdout", text="(7, 7)\n")],
    )
    notebook = new_notebook(cells=[cell])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "stored.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "--nbval-lax", "--rootdir", str(tmp_path)]
    run = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == exit_code, run.stdout
