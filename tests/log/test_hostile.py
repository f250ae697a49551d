"""A log made to do harm: it costs what was asked for, and nothing else happens."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

import fastact
from fastact.cli.app import app
from fastact.errors import LogError
from fastact.fields import SCHEMA_VERSION
from fastact.log import LogWriter
from fastact.log.frames import END_MARK, finish, stamp_text
from fastact.log.schema import COLUMNS, Header

FUZZ = Path(__file__).parent / "fuzz_reader.py"
ROW = (100, 0, 0, 0, 90, 0, 0.3, 0.1, 0.5, -1.0, 2.0, 8, 7, 7, 0, 0, 0.7, 3, 0.9, 0, 0, 0)
NAMES = [
    "../../../etc/passwd",
    "/etc/shadow",
    "C:\\Windows\\x",
    "rank-00000/segment-000000.arrows",
    "\x1b[2J\x1b]0;pwned\x07",
    "\x9b31m\x85\u202e\u2028",
    "[red]x[/red] [link=file:///]y[/link] [/]",
    "<script>alert(1)</script>",
    "=cmd|'/C calc'!A0",
    "a\nb\rc\td\0e",
    '","x":"',
    "{0.__class__} %s %n ${HOME} $(touch /tmp/x)",
    "é" * 2000,
]


def hostile(run: Path, steps: int = 12) -> Path:
    with LogWriter(run, metadata={name[:200]: name for name in NAMES}) as writer:
        for order, name in enumerate(NAMES):
            writer.add_layer(fastact.LayerInfo(name, order, f"ReLU {name[:50]}", name[:50]))
        for step in range(steps):
            for order in range(len(NAMES)):
                writer.append((step, order, step, *ROW))
    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ["diagnose"],
        ["diagnose", "--json"],
        ["layers"],
        ["replay"],
        ["tail", "--once"],
        ["tail"],
        ["export", "--to", "out.csv"],
        ["export", "--to", "out.jsonl"],
        ["export", "--to", "out.parquet"],
        ["recover", "--to", "out"],
    ],
    ids=" ".join,
)
def test_names_neither_leave_the_folder_nor_reach_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    run = hostile(tmp_path / "run")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(app, [arguments[0], str(run), *arguments[1:]])
    assert result.exit_code in {0, 1}, result.output
    assert all(char.isprintable() or char == "\n" for char in result.output)
    made = sorted(set(tmp_path.rglob("*")) - set(before))
    assert all(path.relative_to(tmp_path).parts[0] == "here" for path in made)
    assert {path.relative_to(tmp_path / "here").parts[0] for path in made} <= {
        *("out.csv", "out.csv.meta.json", "out.jsonl", "out.jsonl.meta.json", "out.parquet", "out"),
    }
    if arguments[-1] == "out.jsonl":
        lines = Path("out.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["layer"] for line in lines] == NAMES * 12


def segment(run: Path, messages: list[bytes]) -> Path:
    run.mkdir()
    (run / "segment-000000.arrows").write_bytes(b"".join(messages) + END_MARK)
    return run


def front(columns: Any, change: Callable[[dict[bytes, bytes]], None] = lambda _: None) -> bytes:
    """A schema message with a stamp that holds."""
    stamp = stamp_text(SCHEMA_VERSION, "schema", "0" * 16, 0, 0)
    metadata = dict(Header("0" * 16, layers=(fastact.LayerInfo("a", 0),)).schema("1", stamp).metadata)
    change(metadata)
    return finish(columns.with_metadata(metadata).serialize().to_pybytes(), stamp)


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("extension", ["arrow.py_extension_type", "arrow.json", "arrow.opaque", "pandas", "fastact.x"])
def test_extension_types_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str) -> None:
    """pyarrow before 14 unpickled the first of these on sight (CVE-2023-47248)."""
    monkeypatch.chdir(tmp_path)
    metadata = {"ARROW:extension:name": extension, "ARROW:extension:metadata": pickle.dumps(_Bomb())}
    for kind in (pa.binary(), pa.utf8(), pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.null()):
        columns = COLUMNS.append(pa.field("x", kind, metadata=metadata))
        run = segment(tmp_path / f"{extension}-{kind}"[:40].replace("<", "_"), [front(columns)])
        try:
            assert fastact.open_log(run).to_table().num_rows == 0
        except LogError as error:
            assert "nothing can be read" in str(error)  # noqa: PT017 - text columns that are not known are let in
    assert not Path("pwned").exists()


@pytest.mark.parametrize("nonsense", [b"[" * 3_000_000, b"[[]," * 1_000_000, b'[{"name":' * 100_000, b"9" * 3_000_000])
def test_a_deep_or_huge_header_is_refused(tmp_path: Path, nonsense: bytes) -> None:
    run = segment(tmp_path / "run", [front(COLUMNS, lambda metadata: metadata.update({b"fastact.layers": nonsense}))])
    with pytest.raises(LogError, match="nothing can be read"):
        fastact.open_log(run)


@pytest.mark.parametrize("length", [2**26, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_length_of_gigabytes_allocates_nothing(tmp_path: Path, length: int) -> None:
    run = hostile(tmp_path / "run")
    (place,) = run.glob("segment-*")
    rows = fastact.open_log(run).to_table().num_rows
    lie = b"\xff\xff\xff\xff" + length.to_bytes(4, "little") + b"version=1.1 kind=batch session=" + b"0" * 16
    place.write_bytes(lie * 100 + place.read_bytes() + lie * 100)
    before = pa.total_allocated_bytes()
    log = fastact.open_log(run)
    assert log.to_table().num_rows == rows
    assert pa.total_allocated_bytes() - before < 1 << 24
    assert len(log.warnings) == 2


def program(*arguments: object, timeout: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FUZZ), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.mark.e2e
@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the address space")
def test_mutants_end_neither_the_process_nor_its_memory() -> None:
    # 10,000 of them take a minute: `fuzz_reader.py mutants 10000`.
    done = program("mutants", 2_000, timeout=600)
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "whole"), done.stderr[-2000:]


@pytest.mark.e2e
def test_a_fuzzer_guided_by_coverage_finds_nothing() -> None:
    pytest.importorskip("atheris", reason="atheris is not installed: it has builds for Linux and some Pythons only")
    done = program("atheris", 10, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done" in done.stderr
