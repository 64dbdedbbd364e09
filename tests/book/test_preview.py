"""What a link to a page shows where it is shared."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from building import build_book, toc_pages
from page_rules import bad_alt_text, parsed
from PIL import Image

CHAPTER = """# Two

The world of this chapter: the lab.

*World: photographs.*

Of $x$ says this nothing.

{first} {second}

Another paragraph.
"""
FIRST = "After this chapter you can read a map, draw a box, and say what both of them leave out."
SECOND = "You need " + "patience and " * 9 + "time."


def tags(page: Path) -> dict[str, str]:
    """The page's meta tags by name."""
    found = parsed(page).select("meta[property], meta[name]")
    return {tag.get("property", tag.get("name")): tag["content"] for tag in found}


def built(source: Path, address: str, second: str = SECOND) -> dict[str, str]:
    config = yaml.safe_load((source / "_config.yml").read_text())
    config["html"]["baseurl"] = address
    (source / "_config.yml").write_text(yaml.safe_dump(config))
    (source / "two.ipynb").unlink(missing_ok=True)
    (source / "two.md").write_text(CHAPTER.format(first=FIRST, second=second))
    code, log = build_book(source)
    assert code == 0, log
    return tags(source / "_build/html/two.html")


def test_without_an_address_there_is_text_and_no_half_address(small_book: Path):
    found = built(small_book, "", second="It is short.")
    assert found["og:title"] == "Two"
    assert found["og:type"] == "article"
    assert found["og:description"] == found["description"] == f"{FIRST} It is short."
    assert [key for key in found if key.startswith(("og:url", "og:image", "twitter"))] == []


@pytest.mark.parametrize("address", ["https://example.org/cam", "https://example.org/cam/"])
def test_with_an_address_there_is_a_picture(small_book: Path, address: str):
    found = built(small_book, address)
    assert found["og:url"] == "https://example.org/cam/two.html"
    assert found["og:image"] == "https://example.org/cam/_static/social.png"
    assert not bad_alt_text(found["og:image:alt"])
    assert found["twitter:card"] == "summary_large_image"
    assert found["og:description"] == FIRST  # as many sentences as fit


def test_every_page_is_described_in_its_own_words(book: Path):
    described = {page: tags(book / f"{page}.html").get("og:description") for page in toc_pages()}
    assert [page for page, text in described.items() if not text] == []
    assert [page for page, text in described.items() if not 20 <= len(text) <= 200] == []
    assert [text for text in described.values() if "world of this chapter" in text.lower()] == []
    assert len(set(described.values())) == len(described)


def test_the_picture_has_the_size_that_is_announced(book: Path):
    with Image.open(book / "_static/social.png") as picture:
        assert picture.size == (1200, 630)
    assert (book / "_static/social.png").stat().st_size < 300_000
