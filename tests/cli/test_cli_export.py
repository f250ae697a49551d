"""`fastact export`: every number, in every format, and what it means."""

import json
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from command_line import NASTY, STEPS, call, complaint

import fastact
import fastact.log


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
    assert version == "1.6"
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
        *(*measured, "within_std", "peak_neuron", "typical_peak", "bit_sum"),
    ]
    assert [name for name, value in second.items() if value is None] == [
        *("neurons", "silent_neurons", "dead_neurons", "saturated_neurons", "constant_neurons", "within_std"),
        *("peak_neuron", "typical_peak", "bit_sum"),
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


def test_export_replaces_only_when_told(sick: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("mine")
    assert "exists already" in complaint("export", sick, "--to", path)
    assert path.read_text() == "mine"
    call("export", sick, "--to", path, "--force")
    assert path.read_text() != "mine"
    assert "to: got 'rows.xls'" in complaint("export", sick, "--to", tmp_path / "rows.xls")
