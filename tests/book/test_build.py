"""The book builds strictly from nothing, and its buttons follow the repository's address."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nbformat
import yaml
from building import BUILD, ROOT, build_book, toc_pages
from page_rules import parsed


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


def test_a_dead_reference_stops_the_build(small_book: Path):
    (small_book / "one.md").write_text("# One\n\n{ref}`nowhere`\n")
    code, log = build_book(small_book)
    assert code != 0
    assert "nowhere" in log


def test_a_failing_cell_stops_the_build(small_book: Path):
    notebook = nbformat.read(small_book / "two.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("1 / 0"))
    nbformat.write(notebook, small_book / "two.ipynb")
    code, log = build_book(small_book)
    assert code != 0
    assert "ZeroDivisionError" in log


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
    notebook = nbformat.read(small_book / "two.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import helper\n\nprint(helper.ANSWER)"))
    nbformat.write(notebook, small_book / "two.ipynb")
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
