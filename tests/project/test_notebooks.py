"""Chapters are stored without outputs, with alt texts, and are all in the book."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from project_rules import ROOT, chapters_missing_from_toc, notebook_faults, notebooks

ALT = "The map is highest on the coffee's surface and zero on the saucer"
KEPT = ["keep_output", "nbval-check-output"]
PRINTED = new_output("stream", text="7 7\n")
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_chapter_is_stored_as_it_must_be(path: Path):
    if faults := notebook_faults(path):
        pytest.fail("\n".join([path.name, *faults]), pytrace=False)


def test_all_chapters_are_in_the_book():
    assert notebooks()
    assert chapters_missing_from_toc(ROOT) == []


def stored(folder: Path, *cells: nbformat.NotebookNode, **metadata: object) -> Path:
    path = folder / "chapter.ipynb"
    nbformat.write(new_notebook(cells=list(cells), metadata={**METADATA, **metadata}), path)
    return path


def drawing(alt: str) -> nbformat.NotebookNode:
    return new_code_cell("plots.overlay(image)", metadata={"mystnb": {"image": {"alt": alt}}})


def test_a_good_chapter_passes(tmp_path: Path):
    path = stored(
        tmp_path,
        new_markdown_cell("# A chapter"),
        new_code_cell("from camlib import plots  # for plots.overlay\n\nplots.use_book_style()"),
        new_code_cell("def figure():\n    return plots.overlay(image)"),
        drawing(ALT),
        new_code_cell("print(7, 7)", outputs=[PRINTED], metadata={"tags": KEPT}),
    )
    assert notebook_faults(path) == []


BAD_CELLS = {
    "output": (new_code_cell("1", outputs=[PRINTED]), "run nbstripout"),
    "count": (new_code_cell("1", execution_count=3), "run nbstripout"),
    "long": (new_code_cell("x = 1\n" * 26), "26 lines"),
    "one tag": (new_code_cell("1", metadata={"tags": ["keep_output"]}), "both tags"),
    "other tag": (new_code_cell("1", metadata={"tags": ["nbval-check-output"]}), "both tags"),
    "nothing kept": (new_code_cell("1", metadata={"tags": KEPT}), "keeps none"),
    "picture kept": (
        new_code_cell(
            "1",
            metadata={"tags": KEPT},
            outputs=[new_output("display_data", {"image/png": "aGk="})],
        ),
        "not plain text",
    ),
    "error kept": (
        new_code_cell("1", metadata={"tags": KEPT}, outputs=[new_output("error")]),
        "traceback",
    ),
    "no alt": (new_code_cell("plt.imshow(image)"), "no alt text"),
    "no alt, axes": (new_code_cell("axes.imshow(image)"), "no alt text"),
    "no alt, IPython": (new_code_cell("%time plots.overlay(image)"), "no alt text"),
    "no alt, explorer": (new_code_cell("widgets.classes()"), "no alt text"),
    "short alt": (drawing("A map"), "no alt text"),
    "file name": (drawing("figures/maps/espresso/overlay_final.png"), "no sentence"),
}


@pytest.mark.parametrize("name", BAD_CELLS)
def test_a_bad_cell_is_caught(name: str, tmp_path: Path):
    cell, complaint = BAD_CELLS[name]
    assert any(complaint in fault for fault in notebook_faults(stored(tmp_path, cell)))


def test_bad_notebooks_are_caught(tmp_path: Path):
    path = stored(tmp_path, kernelspec={"name": "my-env", "display_name": "My env"})
    assert "kernel" in notebook_faults(path)[0]
    path = stored(tmp_path, language_info={"name": "python", "version": "3.11.7"})
    assert "version" in notebook_faults(path)[0]
    path.write_text("{}")
    assert "no valid notebook" in notebook_faults(path)[0]
    path.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}')
    assert "cell ids" in notebook_faults(path)[0]
    cell = '{"cell_type": "markdown", "id": "a", "metadata": {}, "source": ""}'
    path.write_text(
        f'{{"cells": [{cell}, {cell}], "metadata": {{}}, "nbformat": 4, "nbformat_minor": 5}}'
    )
    assert "several cells with the id a" in notebook_faults(path)[0]


def test_a_chapter_outside_the_book_is_caught(tmp_path: Path):
    (tmp_path / "notebooks").mkdir()
    for name in ("01_in", "02_out", "01"):
        (tmp_path / f"notebooks/{name}.ipynb").touch()
    (tmp_path / "_toc.yml").write_text("chapters:\n  - file: notebooks/01_in\n")
    assert chapters_missing_from_toc(tmp_path) == ["notebooks/01", "notebooks/02_out"]


def hook(name: str) -> list[str]:
    """The command of a pre-commit hook, to run in this environment."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {one["id"]: one for repo in config["repos"] for one in repo["hooks"]}
    python, *arguments = hooks[name]["entry"].split()
    assert python == "python"
    return [sys.executable, *arguments]


def test_the_hook_strips_what_is_not_tagged(tmp_path: Path):
    path = stored(
        tmp_path,
        drawing(ALT),
        new_code_cell("print(7, 7)", outputs=[PRINTED], metadata={"tags": KEPT}),
        new_code_cell("print(1)", outputs=[PRINTED], execution_count=2),
        language_info={"name": "python", "version": "3.11.7"},
    )
    before = nbformat.read(path, as_version=4)
    subprocess.run([*hook("nbstripout"), str(path)], check=True)
    after = nbformat.read(path, as_version=4)
    assert [cell.id for cell in after.cells] == [cell.id for cell in before.cells]
    assert after.cells[0].metadata == before.cells[0].metadata
    assert after.cells[1].outputs == [PRINTED]
    assert after.cells[2].outputs == []
    assert notebook_faults(path) == []
