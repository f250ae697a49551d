"""What the machine code on disk is keyed by: the sources that reach the compiler, all of them and no others."""

import re
import shutil
from pathlib import Path

import pytest

import fastact
from fastact.cpu import cache

PACKAGE = Path(fastact.__file__).parent
#: What makes a function, a constant or a type of machine code.
COMPILES = re.compile(r"\b(exact_jit|jit|kernel|intrinsic_of|overload|register_model)\b\(|@(exact_)?jit\b")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the package, to be edited."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "fastact", ignore=shutil.ignore_patterns("__pycache__")))


def key(package: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(cache, "__file__", str(package / "cpu" / "cache.py"))
    return cache._identity()


def test_an_edit_of_a_kernels_source_changes_the_key(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(copied, monkeypatch)
    assert before == cache._LOADED
    sources = [path for path in copied.rglob("*.py") if path.parent.name in ("cpu", "arithmetic")]
    kernels = [path for path in sources if COMPILES.search(path.read_text())]
    assert {"flat.py", "columns.py", "runs.py", "simd.py", "widen.py", "sweep.py"} <= {path.name for path in kernels}
    facts = [
        copied / "fields.py",
        *(copied / "arithmetic" / f"{name}.py" for name in ("element_types", "state", "moments")),
    ]
    for path in {*kernels, *facts}:
        text = path.read_bytes()
        path.write_bytes(text + b"\n# edited\n")
        assert key(copied, monkeypatch) != before, path
        path.write_bytes(text)
    assert key(copied, monkeypatch) == before
    (copied / "cpu" / "new.py").write_text("# new\n")
    assert key(copied, monkeypatch) != before


def test_an_edit_of_anything_else_keeps_it(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(copied, monkeypatch)
    hashed = {*cache._sources(copied)}
    others = [path for path in copied.rglob("*.py") if path not in hashed]
    places = {path.relative_to(copied).parts[0] for path in others}
    assert {"cli", "diagnosis", "stats", "monitor", "log", "cuda"} <= places
    assert copied / "cpu" / "threads.py" in others
    for path in others:
        path.write_text("# edited\n")
    assert key(copied, monkeypatch) == before
