"""The command line: what it prints, its exit codes, and that no input ends it with a traceback."""

import contextlib
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import ml_dtypes
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import fastact
import fastact.log
from fastact.cli.app import app

STEPS = 40
#: A name that would clear the screen, and turn red, if it were shown as it is.
NASTY = "act\x1b[2J[red]\n"


def record(path: Path, *, sick: bool) -> Path:
    random = np.random.default_rng(0)
    with fastact.ActivationMonitor(path) as monitor:
        for _ in range(STEPS):
            x = random.standard_normal((64, 16)).astype(np.float32)
            monitor.record("linear", x, axis=1, kind="Linear")
            y = np.maximum(x, 0)
            if sick:
                y[:, :12] = 0
            monitor.record(NASTY, y, axis=1, kind="ReLU")
            monitor.step()
    return path


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # set where tests run in several processes


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("runs") / "healthy", sick=False)


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("runs") / "sick", sick=True)


def call(*args: object, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output
    return result.stdout, result.stderr


def complaint(*args: object) -> str:
    """The one line that a failing command leaves on stderr."""
    out, err = call(*args, code=2)
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_diagnose_tells_by_its_exit_code(healthy: Path, sick: Path) -> None:
    out, _ = call("diagnose", healthy)
    assert "Nothing wrong was found in 2 layers" in out
    out, _ = call("diagnose", sick, code=1)
    assert "12 of its 16 neurons" in out
    assert "leaky ReLU" in out
    assert "[red]" in out


def test_diagnose_json_is_the_diagnosis(sick: Path) -> None:
    out, _ = call("diagnose", sick, "--json", code=1)
    diagnosis = fastact.open_log(sick).diagnose()
    assert json.loads(out) == json.loads(diagnosis.to_json())
    assert diagnosis.findings[0].layer == NASTY


def test_diagnose_window(sick: Path) -> None:
    out, _ = call("diagnose", sick, "--json", "--window", 3)
    assert json.loads(out)["findings"] == []
    call("diagnose", sick, "--window", 0, code=2)


def test_diagnose_for_scripts(sick: Path, tmp_path: Path) -> None:
    call("diagnose", sick, "--fail-on", "critical", code=1)  # 12 of 16 neurons are dead
    limits = tmp_path / "limits.toml"
    limits.write_text("dead_critical = 0.9\n")
    call("diagnose", sick, "--thresholds", limits, "--fail-on", "critical")
    call("diagnose", sick, "--thresholds", limits, "--fail-on", "serious", code=1)
    limits.write_text("dead_critcal = 0.9\n")
    assert "the nearest known one is 'dead_critical'" in complaint("diagnose", sick, "--thresholds", limits)
    call("diagnose", sick, "--fail-on", "much", code=2)


def test_diagnose_by_others_rules(sick: Path) -> None:
    out, _ = call("diagnose", sick, "--preset", "sagemaker", "--json", code=1)
    assert "DeadRelu" in out
    assert "preset: got 'mine', want one of naive" in complaint("diagnose", sick, "--preset", "mine")


@pytest.mark.parametrize("command", ["diagnose", "layers", "replay"])
def test_a_missing_or_foreign_run_is_one_line(command: str, tmp_path: Path) -> None:
    assert "no-run" in complaint(command, tmp_path / "no-run")
    (tmp_path / "file").write_text("hello")
    complaint(command, tmp_path / "file")
    complaint(command, tmp_path)


def test_damage_is_told_and_the_rest_is_used(sick: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for part in sick.iterdir():
        data = part.read_bytes()
        (run / part.name).write_bytes(data[: len(data) - 40])
    result = CliRunner().invoke(app, ["layers", str(run)])
    assert result.exit_code in {0, 2}
    assert result.stderr
    assert "Traceback" not in result.output


def test_layers_shows_every_layer_in_forward_order(sick: Path) -> None:
    out, _ = call("layers", sick)
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["linear", "act\\u001b[2J[red]\\n"]
    assert "dead (critical)" in lines[3]
    assert "75%" in lines[3]


def test_replay_shows_the_rows_as_they_were(sick: Path) -> None:
    out, err = call("replay", sick)
    lines = out.splitlines()
    assert len(lines) == 1 + 2 * STEPS
    assert "80 rows" in err
    want = list(fastact.open_log(sick).replay())
    assert [int(line.split()[0]) for line in lines[1:]] == [row.step for row in want]
    assert lines[1].split()[2:5] == ["linear", "1024", f"{want[0].stats.mean:.5g}"]


def test_replay_filters(sick: Path) -> None:
    out, _ = call("replay", sick, "--from", 5, "--to", 7, "--layer", "lin*")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["5", "6", "7"]
    assert "layer: got 'no*'" in complaint("replay", sick, "--layer", "no*")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_export_holds_every_number(suffix: str, sick: Path, tmp_path: Path) -> None:
    path = tmp_path / f"rows{suffix}"
    call("export", sick, "--to", path)
    table = fastact.open_log(sick).to_table()
    if suffix == ".parquet":
        assert pq.read_table(path).equals(table)
        assert list(tmp_path.iterdir()) == [path]
        return
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / f"rows{suffix}.meta.json"]
    if suffix == ".csv":
        got = pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=False),
        ).to_pylist()
    else:
        got = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
    want = table.to_pylist()
    assert len(want) == 2 * STEPS
    times = [row.pop("time") for row in got]
    # CSV readers take so many nanoseconds for a number, each in its own way.
    assert [int(time) for time in times] == [row.pop("time") for row in want]
    assert got == want


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_export_tells_what_the_numbers_mean(suffix: str, tmp_path: Path) -> None:
    with fastact.ActivationMonitor(tmp_path / "run", metadata={"model": "ärger"}) as monitor:
        monitor.record(NASTY, np.ones(4, np.float32), kind="ReLU")
    path = tmp_path / f"rows{suffix}"
    call("export", tmp_path / "run", "--to", path)
    if suffix == ".parquet":
        schema = pq.read_schema(path)
        metadata = {key.decode(): value.decode() for key, value in schema.metadata.items()}
        version, layers = metadata["fastact.schema_version"], json.loads(metadata["fastact.layers"])
        fields = {field.name: field.metadata[b"meaning"].decode() for field in schema}
    else:
        notes = json.loads(path.with_name(f"{path.name}.meta.json").read_text())
        metadata, version, layers = notes["metadata"], notes["schema_version"], notes["layers"]
        fields = {field["name"]: field["meaning"] for field in notes["fields"]}
    assert metadata["model"] == "ärger"
    assert json.loads(metadata["thresholds"])["dead_window"] > 0
    assert version == "1.2"
    assert layers == [{"name": NASTY, "order": 0, "kind": "ReLU", "dtype": "float32", "saturation": ["-0.99", "0.99"]}]
    assert "nanoseconds since 1970" in fields["time"]
    assert all(fields.values())


def nothing_to_measure(path: Path) -> Path:
    """A run with a layer that was not swept per neuron, and one that is NaN in every neuron."""
    with fastact.ActivationMonitor(path) as monitor:
        monitor.record("a", np.full((8, 4), np.nan, np.float32), axis=1)
        monitor.record("b", np.ones(4, np.float32))
    return path


def test_null_is_neither_nan_nor_zero_in_an_export(tmp_path: Path) -> None:
    run = nothing_to_measure(tmp_path / "run")
    for suffix in (".parquet", ".csv", ".jsonl"):
        call("export", run, "--to", tmp_path / f"rows{suffix}")
    measured = ("mean", "std", "abs_mean", "min", "max")
    first, second = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [name for name, value in first.items() if value is None] == [
        *(*measured, "within_std", "peak_neuron", "typical_peak"),
    ]
    assert [name for name, value in second.items() if value is None] == [
        *("neurons", "silent_neurons", "dead_neurons", "saturated_neurons", "constant_neurons", "within_std"),
        *("peak_neuron", "typical_peak"),
    ]
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail) for line in lines] == [first, second]
    names, *cells = (line.split(",") for line in (tmp_path / "rows.csv").read_text().splitlines())
    for row, want in zip(cells, (first, second), strict=True):
        got = {name.strip('"'): cell.strip('"') for name, cell in zip(names, row, strict=True)}
        assert {name: cell == "" for name, cell in got.items()} == {name: value is None for name, value in want.items()}
        assert "nan" not in got.values()


def test_an_interrupted_export_leaves_nothing(sick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastact.replay.export.without_nan", interrupted)
    for suffix in (".parquet", ".csv", ".jsonl"):
        path = tmp_path / f"rows{suffix}"
        call("export", sick, "--to", path, code=130)
        assert list(tmp_path.iterdir()) == []
        path.write_text("mine")
        call("export", sick, "--to", path, "--force", code=130)
        assert path.read_text() == "mine"
        path.unlink()


def test_export_streams(sick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small pieces give the same file as one."""
    for suffix in (".parquet", ".csv", ".jsonl"):
        call("export", sick, "--to", tmp_path / f"one{suffix}")
    monkeypatch.setattr("fastact.replay.export._ROWS", 1)
    run = tmp_path / "run"
    with fastact.log.LogWriter(run, fastact.log.LogOptions(batch_rows=7)) as writer:
        for record in fastact.open_log(sick).replay():
            writer.add_layer(record.info)
            writer.append(record.row)
    for suffix in (".parquet", ".csv", ".jsonl"):
        call("export", run, "--to", tmp_path / f"many{suffix}")
    for suffix in (".csv", ".jsonl"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"many{suffix}").read_bytes()
    assert pq.ParquetFile(tmp_path / "many.parquet").num_row_groups == 12
    assert pq.read_table(tmp_path / "many.parquet").equals(pq.read_table(tmp_path / "one.parquet"))


def test_what_is_not_finite_is_null_in_json(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((8, 4), np.nan, np.float32))
    out, _ = call("stats", "--json", "--axis", "1", tmp_path / "x.npy")
    (entry,) = json.loads(out, parse_constant=pytest.fail)
    assert (entry["nans"], entry["mean"], entry["neurons"]["mean"]) == (32, None, [None] * 4)


def test_export_replaces_only_when_told(sick: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("mine")
    assert "exists already" in complaint("export", sick, "--to", path)
    assert path.read_text() == "mine"
    call("export", sick, "--to", path, "--force")
    assert path.read_text() != "mine"
    assert "to: got 'rows.xls'" in complaint("export", sick, "--to", tmp_path / "rows.xls")


@pytest.fixture
def torn(sick: Path, tmp_path: Path) -> Path:
    """The sick run as a process that was killed leaves it, in small batches, one of them damaged and the last torn."""
    run = tmp_path / "torn"
    with fastact.log.LogWriter(run, fastact.log.LogOptions(batch_rows=10)) as writer:
        for record in fastact.open_log(sick).replay():
            writer.add_layer(record.info)
            writer.append(record.row)
    segment = run / "segment-000000.arrows"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.with_suffix(".live").write_bytes(data[:-100])
    segment.unlink()
    return run


def test_recover_writes_a_whole_copy(torn: Path, tmp_path: Path) -> None:
    before = {item.name: item.read_bytes() for item in torn.iterdir()}
    segment = torn / "segment-000000.live"
    with pytest.raises(pl.exceptions.ComputeError):  # why the command is there
        pl.read_ipc_stream(segment)
    copy = tmp_path / "deep" / "copy"
    _, err = call("recover", torn, "--to", copy)
    assert "60 rows to" in err
    assert "lost: segment-000000.live: bytes" in err
    assert "rows 30 to 39 of this writer are missing" in err
    want = fastact.open_log(torn).to_table()
    assert want.num_rows == 60
    (whole,) = copy.iterdir()
    assert whole.name == "segment-000000.arrows"
    assert pl.read_ipc_stream(whole).height == 60
    with pa.ipc.open_stream(whole) as stream, duckdb.connect() as database:
        assert len(database.from_arrow(stream).fetchall()) == 60
    log = fastact.open_log(copy)
    assert log.to_table().equals(want)
    assert [line for line in log.warnings if "missing" not in line] == []
    assert (log.layers, log.metadata) == (fastact.open_log(torn).layers, {})
    assert {item.name: item.read_bytes() for item in torn.iterdir()} == before
    assert sorted(item.name for item in copy.parent.iterdir()) == ["copy"]


def test_recover_makes_a_header_where_it_is_lost(torn: Path, tmp_path: Path) -> None:
    segment = torn / "segment-000000.live"
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(data)
    call("recover", torn, "--to", tmp_path / "copy")
    log = fastact.open_log(tmp_path / "copy")
    assert log.to_table().num_rows == 60
    assert {info.name for info in log.layers} == set()  # nothing else tells their kinds
    assert pl.read_ipc_stream(tmp_path / "copy" / "segment-000000.arrows").height == 60


def test_recover_keeps_the_ranks(sick: Path, torn: Path, tmp_path: Path) -> None:
    (tmp_path / "ranks").mkdir()
    torn.rename(tmp_path / "ranks" / "rank-00001")
    shutil.copytree(sick, tmp_path / "ranks" / "rank-00000")
    call("recover", tmp_path / "ranks", "--to", tmp_path / "copy")
    assert fastact.open_log(tmp_path / "copy").ranks == (0, 1)
    assert fastact.open_log(tmp_path / "copy").to_table().equals(fastact.open_log(tmp_path / "ranks").to_table())


def test_recover_leaves_nothing_half(torn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "exists already" in complaint("recover", torn, "--to", torn)

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in complaint("recover", torn, "--to", tmp_path / "copy")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["torn"]


def test_diagnose_merges_ranks(sick: Path, tmp_path: Path) -> None:
    for rank in range(2):
        shutil.copytree(sick, tmp_path / f"rank-{rank:05d}")
    out, _ = call("diagnose", tmp_path, code=1)
    assert "12 of its 16 neurons" in out
    alone, _ = call("diagnose", tmp_path, "--rank", 1, code=1)
    assert alone == call("diagnose", sick, code=1)[0]
    assert "rank: got 7, want among (0, 1)" in complaint("diagnose", tmp_path, "--rank", 7)
    out, _ = call("layers", tmp_path)
    assert "75%" in out


def test_tail_shows_how_it_is_now(sick: Path) -> None:
    out, _ = call("tail", sick, "--once")
    assert out.splitlines()[0] == "step 39, 80 rows, 0 rows/s, closed"
    assert "dead (critical)" in out
    out, _ = call("tail", sick)  # it is closed
    assert out.splitlines() == [
        "step 39, 80 rows, 0 rows/s, closed: act\\u001b[2J[red]\\n dead (critical)",
    ]


@pytest.mark.e2e
def test_tail_follows_a_run_until_it_is_closed(tmp_path: Path) -> None:
    command = python("-m", "fastact", "tail", tmp_path / "run", "--every", "0.1")
    rows = [record.row for record in fastact.open_log(record(tmp_path / "other", sick=True)).replay()]
    options = fastact.log.LogOptions(segment_bytes=1, keep_bytes=20_000)
    with (
        fastact.log.LogWriter(tmp_path / "run", options) as writer,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)
        writer.add_layer(fastact.LayerInfo("linear", 0, "Linear"))
        writer.add_layer(fastact.LayerInfo("act", 1, "ReLU"))
        assert process.stdout is not None
        assert process.stdout.readline().startswith("no rows yet")
        for i in range(0, len(rows), 8):
            for row in rows[i : i + 8]:
                writer.append(row)
            writer.flush()
            assert process.stdout.readline().startswith(f"step {rows[i + 7][0]}, {i + 8} rows, ")
        writer.close()
        out, err = process.communicate(timeout=60)
    # Segments were removed behind it, which is nothing to complain about.
    assert (process.returncode, out, err) == (0, "", "")
    assert fastact.open_log(tmp_path / "run").to_table().num_rows < len(rows)


@pytest.mark.e2e
def test_tail_draws_on_a_terminal_and_ends_by_an_interrupt(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="needs pseudo terminals")
    with fastact.ActivationMonitor(tmp_path / "run") as monitor:
        for layer in range(40):
            monitor.record(f"{NASTY}{layer}", np.zeros((64, 16), np.float32), axis=1, kind="ReLU")
        monitor.step()
        monitor.flush()
        child, terminal = pty.openpty()
        command = python("-m", "fastact", "tail", tmp_path / "run", "--every", "0.1")
        env = {**os.environ, "COLUMNS": "100", "LINES": "24", "TERM": "xterm"}
        with (
            subprocess.Popen(command, stdout=terminal, stderr=terminal, env=env) as process,
            contextlib.ExitStack() as stack,
        ):
            stack.callback(process.kill)
            os.close(terminal)
            seen = b""
            while seen.count(b"40 rows") < 3:
                seen += os.read(child, 4096)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):  # how Linux says that the other side is closed
                while data := os.read(child, 4096):
                    seen += data
    os.close(child)
    assert process.returncode == 0
    assert b"21 more layers do not fit" in seen
    assert b"\x1b[2J" not in seen
    assert b"Traceback" not in seen


def arrays(*args: object, code: int = 0) -> dict[str, dict[str, Any]]:
    out, _ = call("stats", "--json", *args, code=code)
    return {entry["array"]: entry for entry in json.loads(out)}


def check(entry: dict[str, Any], x: npt.NDArray[Any]) -> None:
    values = x.astype(np.float64)
    finite = values[np.isfinite(values)]
    assert entry["count"] == values.size
    assert entry["mean"] == pytest.approx(finite.mean(), rel=1e-6)
    assert entry["std"] == pytest.approx(finite.std(), rel=1e-6)
    assert (entry["min"], entry["max"]) == (finite.min(), finite.max())
    assert entry["nans"] == int(np.isnan(values).sum())


def test_stats_of_npy(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    x[:, 1] = 0
    x[0, 0] = np.nan
    np.save(tmp_path / "x.npy", x)
    check(arrays(tmp_path / "x.npy")[""], x)
    entry = arrays(tmp_path / "x.npy", "--axis", "1")[""]
    assert entry["neurons"]["zeros"] == [0, 50, 0, 0]
    assert entry["neurons"]["nans"] == [1, 0, 0, 0]
    out, _ = call("stats", tmp_path / "x.npy", "--axis", "-1")
    assert out.splitlines()[2].replace("│", " ").split()[-2:] == ["4", "1"]
    assert arrays(tmp_path / "x.npy", "--saturation", "-9", "9")[""]["saturated"] == 0


def safetensors(path: Path, tensors: dict[str, npt.NDArray[Any]], **header: Any) -> bytes:
    """The format as its document says: a length, that much JSON, the bytes."""
    names = {"float32": "F32", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "int64": "I64", "bool": "BOOL"}
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, x in tensors.items():
        raw = x.tobytes()
        entries[name] = {"dtype": names[x.dtype.name], "shape": x.shape, "data_offsets": [len(data), len(data + raw)]}
        data += raw
    entries.update(header)
    text = json.dumps(entries).encode()
    whole = struct.pack("<Q", len(text)) + text + data
    path.write_bytes(whole)
    return whole


def test_stats_of_safetensors(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tensors = {
        "a.weight": random.standard_normal((8, 5)).astype(np.float32),
        "b": random.standard_normal(7).astype(ml_dtypes.bfloat16),
        "c": random.standard_normal(9).astype(ml_dtypes.float8_e4m3fn),
        "d": np.arange(6),
        "e": np.array([True, False, True]),
    }
    path = tmp_path / "model.safetensors"
    safetensors(path, tensors)
    got = arrays(path)
    assert list(got) == list(tensors)
    for name, x in tensors.items():
        check(got[name], x)
        assert (got[name]["dtype"], got[name]["shape"]) == (x.dtype.name, list(x.shape))


def test_a_damaged_safetensors_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    whole = safetensors(path, {"a": np.ones((4, 4), np.float32)})
    for size in [0, 3, 8, 20, len(whole) - 1]:
        path.write_bytes(whole[:size])
        assert "model.safetensors" in complaint("stats", path)
    assert "tensor 'a' does not fit its bytes" in complaint("stats", path)
    entry = {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}
    changes: tuple[dict[str, Any], ...] = (
        {"data_offsets": [0, 1 << 60]},
        {"data_offsets": [-64, 0]},
        {"data_offsets": [64, 0]},
        {"data_offsets": "ab"},
        {"data_offsets": None},
        {"shape": [-4, -4]},
        {"shape": [1 << 40, 1 << 40]},
        {"shape": 3},
        {"dtype": "F7"},
        {"dtype": []},
    )
    for change in changes:
        safetensors(path, {}, a=entry | change)
        complaint("stats", path)
    for header in (b"[]", b"null", b"{", b'{"a": 3}', b"\xff\xfe"):
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        complaint("stats", path)


@pytest.mark.parametrize("suffix", [".arrow", ".feather", ".parquet"])
def test_stats_of_columns(suffix: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal(1000)
    table = pa.table(
        {
            "x": x,
            "with_nulls": pa.array([1.0, None, 3.0, math.nan] * 250),
            "name": ["a"] * 1000,
            "vectors": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(4000.0)), 4),
            "flags": [True, False] * 500,
        }
    )
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        pq.write_table(table, path, row_group_size=300)
    else:
        make = pa.ipc.new_stream if suffix == ".arrow" else pa.ipc.new_file
        with make(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=300)
    got = arrays(path)
    assert list(got) == ["x", "with_nulls", "vectors", "flags"]
    check(got["x"], x)
    entry = got["with_nulls"]
    assert (entry["count"], entry["nulls"], entry["nans"], entry["mean"]) == (750, 250, 250, 2.0)
    check(got["vectors"], np.arange(4000.0))
    assert got["vectors"]["shape"] == [1000, 4]
    assert (got["flags"]["count"], got["flags"]["zeros"]) == (1000, 500)
    path.write_bytes(path.read_bytes()[:-700])
    CliRunner().invoke(app, ["stats", str(path)])
    path.write_bytes(b"PAR1 ARROW1 no")
    complaint("stats", path)


def test_stats_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    assert "FILE: got 'x.txt'" in complaint("stats", tmp_path / "x.txt")
    complaint("stats", tmp_path / "missing.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "objects.npy" in complaint("stats", tmp_path / "objects.npy")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    complaint("stats", tmp_path / "cut.npy")
    pq.write_table(pa.table({"a": ["b"]}), tmp_path / "text.parquet")
    assert "without any numeric array" in complaint("stats", tmp_path / "text.parquet")
    assert "axis: got 1" in complaint("stats", tmp_path / "text.parquet", "--axis", "1")


def test_stats_goes_on_after_a_file_that_fails(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(3))
    out, err = call("stats", tmp_path / "no.npy", tmp_path / "x.npy", code=2)
    assert "x.npy" in out
    assert err.startswith("error: ")


def test_info_tells_versions_threads_and_the_gpu() -> None:
    out, _ = call("info")
    for line in (fastact.__version__, np.__version__, "threads", "gpu"):
        assert line in out


def test_help_and_version() -> None:
    out, _ = call("--help")
    for command in ("demo", "diagnose", "replay", "layers", "stats", "export", "info"):
        assert command in out
    assert call("--version")[0].strip() == fastact.__version__
    call("no-such-command", code=2)


def python(*args: object) -> list[str]:
    return [sys.executable, *map(str, args)]


def test_the_command_line_loads_only_what_it_needs() -> None:
    code = "import sys, fastact.cli.app; print(*sys.modules)"
    done = subprocess.run(python("-c", code), capture_output=True, text=True, check=True)
    assert {"torch", "pyarrow", "sklearn", "rich"}.isdisjoint(done.stdout.split())


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More rows than a pipe holds when they are printed."""
    path = tmp_path_factory.mktemp("runs") / "long"
    with fastact.ActivationMonitor(path) as monitor:
        for _ in range(3000):
            monitor.record("a", np.ones(4, np.float32))
            monitor.step()
    return path


@pytest.mark.e2e
def test_a_reader_that_leaves_is_no_error(long_run: Path) -> None:
    command = python("-m", "fastact", "replay", long_run)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().split()[0] == "step"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.e2e
def test_an_interrupt_is_quiet(long_run: Path) -> None:
    command = python("-m", "fastact", "replay", long_run)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # The pipe is full before the rows are, so the process is at work when the signal comes.
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err) == (130, "")


@pytest.mark.e2e
def test_a_terminal_that_knows_ascii_only(sick: Path) -> None:
    command = python("-X", "utf8=0", "-m", "fastact", "diagnose", sick)
    env = {"PYTHONIOENCODING": "ascii", "PATH": "", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"12 of its 16 neurons" in done.stdout


@pytest.mark.parametrize("width", ["1", "30", "80"])
def test_a_narrow_terminal_never_cuts_a_number_or_a_name(
    sick: Path, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    cells = {}
    for columns in ("200", width):
        monkeypatch.setenv("COLUMNS", columns)
        for command, code in (("layers", 0), ("diagnose", 1)):
            out, _ = call(command, sick, code=code)
            assert "…" not in out
            cells[columns, command] = {word for word in out.split() if word[0].isdigit()}
    assert cells[width, "layers"] == cells["200", "layers"]
    assert cells[width, "diagnose"] == cells["200", "diagnose"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deep.safetensors", (200_000).to_bytes(8, "little") + b"[" * 200_000),
        ("inf.safetensors", (58).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,0]}}'),
        ("open.npy", b"\x93NUMPY\x01\x00\x0a\x00{'descr': \n"),
    ],
)
def test_hostile_headers_are_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert name in complaint("stats", tmp_path / name)


def test_bench_times_what_is_right() -> None:
    rows = json.loads(call("bench", "-n", "1000", "-n", "20", "--rounds", "1", "--json")[0])
    assert [(row["elements"], row["nbytes"], row["wrong"]) for row in rows] == [(1000, 4000, []), (20, 80, [])]
    for row in rows:
        assert set(row["seconds"]) == set(row["ratios"]) == {"fastact", "numpy", "torch", "read"}
        assert min(*row["seconds"].values(), *row["ratios"].values()) > 0
    table = call("bench", "-n", "1000", "--rounds", "1", "--dtype", "float16")[0]
    assert re.search(r"1e3 .* float16 .*s ", table)
    assert "want one of float32" in complaint("bench", "--dtype", "int8")


def test_bench_times_nothing_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastact.benchmark import peers, sweeps

    monkeypatch.setattr("fastact.benchmark.turns.load_warning", lambda: (0.0, None))
    monkeypatch.setattr(sweeps, "summarize", lambda x: fastact.summarize(x[1:]))
    assert "fastact: zeros is" in complaint("bench", "-n", "1000")
    monkeypatch.setattr(sweeps, "summarize", fastact.summarize)
    right = peers.numpy_numbers

    def coarse(*arguments: Any) -> tuple[Any, ...]:
        nonzero, mean, *rest = right(*arguments)
        return (nonzero, mean + 0.1, *rest)

    monkeypatch.setattr(sweeps, "numpy_numbers", coarse)
    assert "†" in call("bench", "-n", "1000", "--rounds", "1")[0]
