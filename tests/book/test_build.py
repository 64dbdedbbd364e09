"""The book builds strictly from nothing, and its buttons follow the repository's address."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
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


@pytest.fixture
def small_book(tmp_path: Path) -> Path:
    """A book of two pages with the configuration of the real one."""
    for name in ("_config.yml", "book/_ext/bookweb.py", "book/_static/book.css"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    (tmp_path / "book/references.bib").touch()
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: one\nchapters: [{file: two}]\n")
    (tmp_path / "one.md").write_text("# One\n")
    (tmp_path / "two.ipynb").write_text(
        '{"cells": [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Two"}],'
        ' "metadata": {"kernelspec": {"display_name": "Python 3", "name": "python3"}},'
        ' "nbformat": 4, "nbformat_minor": 5}'
    )
    return tmp_path


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
