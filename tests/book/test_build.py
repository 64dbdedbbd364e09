"""The book builds strictly from nothing, and its buttons follow the repository's address."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml
from building import BUILD, ROOT, build_book, toc_pages
from page_rules import parsed
from run_notebooks import notebooks_of


def test_every_page_of_the_table_of_contents_is_built(book: Path):
    assert [page for page in toc_pages() if not (book / f"{page}.html").is_file()] == []


def test_make_book_builds_with_the_same_options():
    assert f"jupyter-book {' '.join(BUILD)} ." in (ROOT / "Makefile").read_text()


def test_pages_carry_no_traceback(book: Path):
    pages = [page for page in book.rglob("*.html") if "_static" not in page.parts]
    wrong = [page for page in pages if "Traceback (most recent call last)" in page.read_text()]
    assert wrong == []


def test_pages_carry_no_state_of_widgets(book: Path):
    """It holds the pictures of every explorer once more, and needs a kernel to be shown."""
    pages = [page for page in book.rglob("*.html") if "_static" not in page.parts]
    assert [page for page in pages if "jupyter.widget-state" in page.read_text()] == []


def links_out(source: Path, address: str) -> list[str]:
    """The links of the notebook's page that leave the book, built with this address."""
    config = yaml.safe_load((source / "_config.yml").read_text())
    config["repository"]["url"] = address
    (source / "_config.yml").write_text(yaml.safe_dump(config))
    code, log = build_book(source)
    assert code == 0, log
    links = parsed(source / "_build/html/two.html").select("a[href]")
    return [link["href"] for link in links if link["href"].startswith("http")]


def test_without_an_address_no_link_leaves_the_page(small_book: Path):
    assert links_out(small_book, "") == []


def test_with_an_address_the_buttons_lead_there(small_book: Path):
    links = links_out(small_book, "https://github.com/someone/cam-book")
    assert "https://github.com/someone/cam-book" in links
    assert "https://github.com/someone/cam-book/edit/main/two.ipynb" in links
    colab = "https://colab.research.google.com/github/someone/cam-book/blob/main/two.ipynb"
    assert colab in links
    assert any(link.startswith("https://github.com/someone/cam-book/issues/new") for link in links)


def add_cell(source: Path, code: str) -> None:
    notebook = nbformat.read(source / "two.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(code))
    nbformat.write(notebook, source / "two.ipynb")


def test_a_dead_reference_stops_the_build(small_book: Path):
    (small_book / "one.md").write_text("# One\n\n{ref}`nowhere`\n")
    code, log = build_book(small_book)
    assert code != 0
    assert "nowhere" in log


@pytest.fixture
def run_before(small_book: Path) -> None:
    """The small book's notebook is run before the build, as the book's are."""
    shutil.copy(ROOT / "book/run_notebooks.py", small_book / "book")


@pytest.mark.usefixtures("run_before")
def test_a_failing_cell_stops_what_comes_before_the_build(small_book: Path):
    add_cell(small_book, "1 / 0")
    code, log = build_book(small_book)
    assert code != 0
    assert "two.ipynb fails:" in log
    assert "----> 1 1 / 0" in log
    assert "ZeroDivisionError: division by zero" in log
    assert not (small_book / "_build/html").exists()


def test_a_failing_cell_stops_the_build(small_book: Path):
    add_cell(small_book, "1 / 0")
    code, log = build_book(small_book)
    assert code != 0
    assert "ZeroDivisionError" in log


@pytest.mark.usefixtures("run_before")
def test_the_build_takes_the_outputs_of_the_notebooks_that_were_run(small_book: Path):
    add_cell(small_book, "print(6 * 7)")
    code, log = build_book(small_book)
    assert code == 0, log
    assert re.search(r"^two\.ipynb: \d+ s$", log, re.MULTILINE)
    assert "Using cached notebook" in log
    assert "Executing notebook" not in log
    page = parsed(small_book / "_build/html/two.html")
    assert page.select_one(".output").text.strip() == "42"


@pytest.mark.usefixtures("run_before")
def test_a_cell_that_takes_too_long_stops_the_build(small_book: Path):
    config = yaml.safe_load((small_book / "_config.yml").read_text())
    config["execute"]["timeout"] = 2
    (small_book / "_config.yml").write_text(yaml.safe_dump(config))
    add_cell(small_book, "import time\n\ntime.sleep(1000)")
    code, log = build_book(small_book)
    assert code != 0
    assert "CellTimeoutError" in log
    assert "time.sleep(1000)" in log


def test_all_notebooks_of_the_book_are_run_before_the_build():
    pages = [ROOT / f"{page}.ipynb" for page in toc_pages()]
    assert notebooks_of(ROOT) == [path for path in pages if path.is_file()]


@pytest.mark.usefixtures("run_before")
def test_the_working_directory_is_the_notebook_s_folder(small_book: Path):
    (small_book / "_toc.yml").write_text("format: jb-book\nroot: one\nchapters: [{file: in/two}]\n")
    notebook = nbformat.read(small_book / "two.ipynb", as_version=4)
    code = "import os\n\nprint(os.path.basename(os.getcwd()))"
    notebook.cells.append(nbformat.v4.new_code_cell(code))
    (small_book / "in").mkdir()
    nbformat.write(notebook, small_book / "in/two.ipynb")
    exit_code, log = build_book(small_book)
    assert exit_code == 0, log
    assert parsed(small_book / "_build/html/in/two.html").select_one(".output").text.strip() == "in"


def test_outputs_do_not_outlive_a_change_of_what_a_notebook_imports(small_book: Path):
    """The cache compares notebooks alone: it would not see this change."""
    add_cell(small_book, "import helper\n\nprint(helper.ANSWER)")
    for answer in ("before", "after"):
        (small_book / "helper.py").write_text(f"ANSWER = {answer!r}\n")
        code, log = build_book(small_book)
        assert code == 0, log
        page = parsed(small_book / "_build/html/two.html")
        assert page.select_one(".output").text.strip() == answer
    assert (small_book / "_build/.jupyter_cache").is_dir()  # it was there, and had to go


def test_make_book_removes_the_outputs_of_the_last_build():
    done = subprocess.run(
        ["make", "--dry-run", "book"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    steps = [line.split()[0:3] for line in done.stdout.splitlines()]
    build = next(i for i, step in enumerate(steps) if step[0].endswith("jupyter-book"))
    assert ["rm", "-rf", "_build"] in steps[:build]
