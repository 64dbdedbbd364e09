"""The page about troubles is run: its code says what stands below it, and what it advises works."""

from __future__ import annotations

import ast
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch

PAGE = (Path(__file__).resolve().parents[2] / "book/troubleshooting.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def entries(page: str) -> dict[str, str]:
    """The text of each entry, by its title."""
    parts = re.split(r"^##+ (.*)\n", page, flags=re.MULTILINE)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {title: text for title, text in pairs if BLOCK.search(text)}


def said(code: str, namespace: dict[str, Any]) -> tuple[str, bool]:
    """What a notebook would show below this code, and whether it is an error."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    try:
        exec(compile(tree, "page", "exec"), namespace)
        value = last and eval(compile(ast.Expression(last.value), "page", "eval"), namespace)
    except Exception as error:
        return f"{type(error).__name__}: {error}", True
    finally:
        plt.close("all")
    return repr(value), False


def fits(shown: str, text: str) -> bool:
    pattern = r"(?s:.*)".join(map(re.escape, shown.split("...")))
    return re.fullmatch(pattern, text) is not None


def faults(entry: str, namespace: dict[str, Any]) -> Iterator[str]:
    """Where the blocks of an entry do something else than it says."""
    blocks = [(kind, text.strip()) for kind, text in BLOCK.findall(entry)]
    for (kind, code), after in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "text":
            continue
        text, failed = said(code, namespace)
        if after[0] == "text" and not fits(after[1], text):
            yield f"{code}\nsays\n{text}\nand not\n{after[1]}"
        if after[0] != "text" and failed:
            yield f"{code}\nfails: {text}"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nowhere(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))


@pytest.fixture
def names() -> dict[str, Any]:
    """What the page's first block defines; made anew for each entry, which may change it."""
    namespace: dict[str, Any] = {}
    [(_, code)] = BLOCK.findall(PAGE.split("\n## ")[0])
    exec(code, namespace)
    return namespace


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("title", entries(PAGE))
def test_the_trouble_and_its_remedy_are_real(title: str, names: dict[str, Any]):
    assert list(faults(entries(PAGE)[title], names)) == []


def test_each_entry_ends_with_what_works_and_says_how_to_tell():
    for title, entry in entries(PAGE).items():
        assert "Cause: " in entry, title
        assert BLOCK.findall(entry)[-1][0] == "python" or "True" in entry or "tensor" in entry, (
            title
        )
    assert len(entries(PAGE)) >= 20


@pytest.mark.parametrize(
    ("entry", "complaints"),
    [
        ("```python\n1 / 0\n```\n\n```text\nZeroDivisionError: division...\n```\n", 0),
        ("```python\n1 / 0\n```\n\n```text\nZeroDivisionError: ...modulo\n```\n", 1),
        ("```python\n1\n```\n\n```text\nZeroDivisionError: division by zero\n```\n", 1),
        ("```python\n1 / 0\n```\n", 1),
        ("```python\nx = 2\nx + 1\n```\n\n```text\n3\n```\n```python\nx\n```\n", 0),
    ],
)
def test_a_wrong_quote_is_seen(entry: str, complaints: int):
    assert len(list(faults(entry, {}))) == complaints


INLINE = {
    "expected scalar type Byte": lambda n, x: n((x * 0).to(torch.uint8)),
    "Input type (torch.HalfTensor) and weight type (torch.FloatTensor) should be the same": (
        lambda n, x: n(x.half())
    ),
    "Target 1000 is out of bounds": (
        lambda n, x: torch.nn.functional.cross_entropy(n(x), torch.tensor([1000]))
    ),
}


@pytest.mark.parametrize("message", INLINE)
def test_messages_in_the_text_are_real(message: str, names: dict[str, Any]):
    assert message in " ".join(PAGE.split())
    with pytest.raises((RuntimeError, IndexError), match=re.escape(message)):
        INLINE[message](names["network"], names["images"])


ON_A_GPU = {
    "CUDA out of memory": lambda n, x: torch.empty(2**50, device="cuda"),
    "Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the same": (
        lambda n, x: n.cuda()(x)
    ),
    "Expected all tensors to be on the same device": lambda n, x: x.cuda() + x[0, :, :1, :1],
}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("message", ON_A_GPU)
def test_messages_of_gpus_are_real(message: str, names: dict[str, Any]):
    assert message in " ".join(PAGE.split())
    with pytest.raises(RuntimeError, match=re.escape(message)):
        ON_A_GPU[message](names["network"], names["images"])
