"""Logs of every schema so far are read."""

from pathlib import Path

import pyarrow.compute as pc
import pytest

from fastact.fields import ROW
from fastact.replay.log import open_log

DATA = Path(__file__).parent.parent / "data"


def test_a_log_of_schema_1_0_is_read() -> None:
    log = open_log(DATA / "schema-1.0")
    table = log.to_table()
    assert (log.warnings, table.num_rows, log.metadata["model"]) == ((), 120, "tiny")
    assert [(info.name, info.kind) for info in log.layers] == [("fc", "Linear"), ("act", "Tanh"), ("scalar", "")]
    assert not any(pc.any(pc.is_nan(table[name])).as_py() for name in ("mean", "std", "within_std"))
    assert [(layer.name, layer.rows) for layer in log.diagnose().layers] == [("fc", 40), ("act", 40), ("scalar", 40)]


def test_a_log_of_schema_1_1_is_read() -> None:
    """The end of its thinned history, two steps a row, and the beginning of the rows that are kept whole."""
    log = open_log(DATA / "schema-1.1")
    assert (log.warnings, log.metadata) == ((), {"model": "tiny"})
    assert log.to_table()["step"].to_pylist() == [33, 33, 35, 35, 36, 36, 37, 37, 38, 38, 39, 39]
    assert log.aggregate("step")[33].count == 2 * log.aggregate("step")[36].count == 256


def test_a_log_of_schema_1_2_is_read() -> None:
    log = open_log(DATA / "schema-1.2")
    table = log.to_table()
    assert (log.warnings, table.num_rows, log.metadata["model"]) == ((), 36, "tiny")
    assert table["peak_neuron"].to_pylist()[:4] == [2, None, None, 2]
    assert [row["typical_peak"] for row in table.to_pylist()[-1:]] == [None]
    assert [(layer.name, layer.rows) for layer in log.diagnose().layers] == [("fc", 12), ("act", 12), ("scalar", 12)]


def test_a_log_of_schema_1_4_is_read() -> None:
    """A layer that came late begins a segment."""
    log = open_log(DATA / "schema-1.4")
    assert (log.warnings, log.to_table().num_rows, log.metadata["model"]) == ((), 30, "tiny")
    assert [(info.name, info.layer_type) for info in log.layers] == [
        ("fc", "Linear"),
        ("act", "ReLU"),
        ("late", "Tanh"),
    ]
    assert [(layer.name, layer.rows) for layer in log.diagnose().layers] == [("fc", 12), ("act", 12), ("late", 6)]


def test_a_log_of_schema_1_5_is_read() -> None:
    """A parameter, and a layer that comes late without a segment of its own."""
    log = open_log(DATA / "schema-1.5")
    table = log.to_table()
    assert (log.warnings, table.num_rows, table["bit_sum"].null_count, log.metadata["model"]) == ((), 42, 42, "tiny")
    assert [(layer.name, layer.rows) for layer in log.diagnose().layers] == [
        ("fc.weight", 12),
        ("fc", 12),
        ("act", 12),
        ("late", 6),
    ]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_what_older_schemas_do_not_have_is_unknown(version: str) -> None:
    log = open_log(DATA / f"schema-{version}")
    names = [field.name for field in ROW]
    later = [names.index(name) for name in ("peak_neuron", "typical_peak", "bit_sum")]
    assert {repr([record.row[place] for place in later]) for record in log.replay()} == {"[-1, nan, 0]"}
    assert log.to_table()["peak_neuron"].null_count == log.to_table().num_rows


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "1.4", "1.5"])
def test_before_schema_1_6_all_samples_were_swept(version: str) -> None:
    log = open_log(DATA / f"schema-{version}")
    assert {record.row[-2:] for record in log.replay()} == {(0, 0)}
    record = next(iter(log.replay()))
    assert record.estimate("zeros") == (record.stats.zeros, 0.0)
