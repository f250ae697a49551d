"""What a log gives back is what the monitor saw: rows, layers, table, and the same diagnosis."""

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

import fastact
from fastact import summarize
from fastact.arithmetic import EMPTY
from fastact.arithmetic import merge as merge_states
from fastact.diagnosis.diagnoser import Diagnoser, Diagnosis
from fastact.diagnosis.rules import Thresholds
from fastact.errors import ArgumentTypeError, ArgumentValueError, LogError
from fastact.fields import NEURON, ROW, ROW_DTYPE, ROW_FORMAT, STATE
from fastact.history import LayerInfo
from fastact.log import LogOptions, LogWriter
from fastact.replay.blocks import LayerNumbers
from fastact.replay.log import Log, open_log

Row = tuple[Any, ...]
RELU = LayerInfo("body.relu", 0, "ReLU", "float32", (-math.inf, 5.99))
TANH = LayerInfo("body.tanh", 1, "Tanh", "float32")
SICK = LayerInfo("head", 2, "Linear", "float32")


def rows_of_a_sick_run(steps: int, first: int = 0) -> list[tuple[LayerInfo, Row]]:
    """Half of the ReLU's neurons die at step 30, the tanh is saturated, the head meets a NaN at step 20."""
    rows: list[tuple[LayerInfo, Row]] = []
    for step in range(first, first + steps):
        dead = 32 if step >= 30 else 0
        relu = (
            6400,
            0,
            0,
            0,
            3200 + dead * 40,
            0,
            0.4,
            0.6,
            0.4,
            0.0,
            3.0 + step / 7,
            64,
            dead,
            dead,
            0,
            0,
            0.5,
            9,
            2.0,
        )
        tanh = (6400, 0, 0, 0, 0, 6300, 0.01, 0.99, 0.98, -1.0, 1.0, 64, 0, 0, 60, 0, 0.9, 3, 1.0)
        head: Row = (640, 0, 0, 0, 0, 0, 0.1, 1.0 + step / 3, 0.8, -3.0, 3.0, *UNSWEPT)
        if step >= 20:
            head = (640, 640, 0, 0, 0, 0, *[math.nan] * 3, math.inf, -math.inf, *UNSWEPT)
        rows += [
            (info, (step, info.order, step * 10**9, *state))
            for info, state in zip(LAYERS, (relu, tanh, head), strict=True)
        ]
    return rows


LAYERS = (RELU, TANH, SICK)
REST = (0, 0, 0.5, 9, 2.0)
UNSWEPT = tuple(field.nothing for field in NEURON)


def write(run: Path, rows: list[tuple[LayerInfo, Row]], metadata: dict[str, str] | None = None, **options: Any) -> None:
    with LogWriter(run, metadata=metadata, options=LogOptions(**{"batch_rows": 32, **options})) as writer:
        for info, row in rows:
            writer.add_layer(info)
            writer.append(row)


def live(rows: list[tuple[LayerInfo, Row]], *settings: Any) -> Any:
    diagnoser = Diagnoser(*settings)
    for info, row in rows:
        diagnoser.add(info)
        diagnoser.append(info.name, row)
    return diagnoser.diagnose()


def bits(row: Row) -> bytes:
    return struct.pack(ROW_FORMAT, *row)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    write(tmp_path / "run", rows_of_a_sick_run(60), metadata={"window_size": "25", "model": "tiny"})
    return open_log(tmp_path / "run")


def test_replay_yields_what_was_recorded_in_order(log: Log) -> None:
    records = list(log.replay())
    written = rows_of_a_sick_run(60)
    assert [(record.info, record.layer) for record in records] == [(info, info.name) for info, _ in written]
    assert [bits(record.row) for record in records] == [bits(row) for _, row in written]
    assert [record.step for record in records] == [row[0] for _, row in written]
    assert {record.rank for record in records} == {0}
    assert log.layers == LAYERS
    assert log.metadata == {"window_size": "25", "model": "tiny"}
    assert log.warnings == ()


def test_a_record_gives_its_stats_and_neurons(log: Log) -> None:
    relu, tanh, head = log.replay(from_step=40, to_step=40)
    assert relu.stats.count == 6400
    assert relu.stats.mean == 0.4
    assert relu.stats.state == relu.row[3 : 3 + len(STATE)]
    assert relu.neurons is not None
    assert relu.neurons["dead_neurons"] == 32
    assert tanh.stats.saturated == 6300
    assert head.neurons is None
    assert head.stats.nans == 640
    assert math.isnan(head.stats.mean)


def test_filters_choose_steps_and_layers(log: Log) -> None:
    assert [record.step for record in log.replay(from_step=57, layers="head")] == [57, 58, 59]
    assert [record.layer for record in log.replay(to_step=0, layers=["head", "body.relu"])] == ["body.relu", "head"]
    assert list(log.replay(from_step=60)) == []
    assert list(log.replay(layers=[])) == []


def test_the_table_has_a_row_for_each_step_layer_and_rank(log: Log) -> None:
    table = log.to_table()
    names = [field.name for field in ROW]
    names.insert(names.index("layer") + 1, "layer_order")
    assert table.column_names == ["rank", *names]
    assert table.num_rows == 180
    assert table.schema.metadata[b"model"] == b"tiny"
    assert set(table["rank"].to_pylist()) == {0}
    assert table["mean"].null_count == 40
    assert table["layer"].to_pylist()[:3] == [info.name for info in LAYERS]


def test_the_diagnosis_is_the_live_one(log: Log, tmp_path: Path) -> None:
    rows = rows_of_a_sick_run(60)
    report = log.diagnose()
    assert not report.healthy
    assert report == live(rows, 25)
    assert log.diagnose(window_size=60) == live(rows, 60)
    strict = Thresholds(dead_critical=0.4)
    assert live(rows, 25, strict) != report
    assert log.diagnose(thresholds=strict) == live(rows, 25, strict)
    # What the monitor wrote into the metadata is the default; without it, the window is 100.
    write(tmp_path / "own", rows, metadata={"thresholds": '{"dead_critical": 0.4, "from_the_future": 1}'})
    assert open_log(tmp_path / "own").diagnose() == live(rows, 100, strict)


@pytest.mark.parametrize(
    "nonsense", ["", "0", "-1", "1e9", "9" * 5000, "²", "[1]", '{"dead_serious": "x"}', "[" * 9999]
)
def test_metadata_of_nonsense_falls_back_to_the_defaults(tmp_path: Path, nonsense: str) -> None:
    rows = rows_of_a_sick_run(12)
    write(tmp_path, rows, metadata={"window_size": nonsense, "thresholds": nonsense})
    assert open_log(tmp_path).diagnose() == live(rows)


def test_a_resumed_run_replays_both_parts(tmp_path: Path) -> None:
    write(tmp_path, rows_of_a_sick_run(30))
    write(tmp_path, rows_of_a_sick_run(40, first=20))
    log = open_log(tmp_path)
    assert [record.step for record in log.replay(layers="head")] == [*range(30), *range(20, 60)]
    assert log.diagnose() == live(rows_of_a_sick_run(30) + rows_of_a_sick_run(40, first=20))


def test_ranks_lie_beside_each_other(tmp_path: Path) -> None:
    write(tmp_path / "rank-00000", rows_of_a_sick_run(10), metadata={"host": "a"})
    write(tmp_path / "rank-00002", rows_of_a_sick_run(40))
    (tmp_path / "rank-00001").mkdir()
    (tmp_path / "notes").mkdir()
    segment = tmp_path / "rank-00002" / "segment-000000.arrows"
    segment.write_bytes(segment.read_bytes()[:-1])
    log = open_log(tmp_path)
    assert log.ranks == (0, 2)
    assert log.to_table()["rank"].to_pylist() == [0] * 30 + [2] * 120
    assert [record.rank for record in log.replay(layers="head", to_step=1)] == [0, 0, 2, 2]
    assert [line.split(":")[0] for line in log.warnings] == [
        "rank-00001",
        "rank-00002/segment-000000.arrows",
        "rank-00002/segment-000000.arrows",
    ]
    assert log.diagnose(rank=2) == live(rows_of_a_sick_run(40))
    with pytest.raises(ArgumentValueError, match=r"rank: got 1, want among \(0, 2\)"):
        log.diagnose(rank=1)


def random_rows(seed: int, steps: range, *, layers: tuple[LayerInfo, ...] = LAYERS) -> list[tuple[LayerInfo, Row]]:
    """Rows of a rank: some layers without finite elements, not swept per neuron, or missing in a step."""
    random = np.random.default_rng(seed)
    rows: list[tuple[LayerInfo, Row]] = []
    for step in steps:
        for info in layers:
            if random.random() < 0.1:
                continue
            x = random.standard_normal(int(random.integers(0, 40))) * 10.0 ** random.integers(-3, 3)
            x[random.random(x.size) < 0.2] = np.nan
            state = summarize(x).state
            neurons: Row = (8, *random.integers(0, 9, 4).tolist())
            finite = state[0] > state[1]
            neurons += (random.random(), (5 * step + seed) % 8, 1.0 + seed) if finite else (math.nan, -1, math.nan)
            rows.append((info, (step, info.order, int(random.integers(1 << 40)), *state, *neurons)))
    return rows


def merged(*ranks: list[tuple[LayerInfo, Row]]) -> list[tuple[LayerInfo, Row]]:
    """The same layers and steps of several ranks as one, the slow way."""
    apart: dict[tuple[int, int], list[tuple[LayerInfo, Row]]] = {}
    for rank in ranks:
        for info, row in rank:
            apart.setdefault((row[0], info.order), []).append((info, row))
    result = []
    for (step, order), same in sorted(apart.items()):
        state: Any = EMPTY
        for _, row in same:
            state = merge_states(state, (*row[3:14], 0.0))
        neurons = [min(row[i] for _, row in same) for i in range(15, 19)]
        finite = [row[3] - row[4] - row[5] - row[6] for _, row in same]
        squares = sum(n * row[19] ** 2 for n, (_, row) in zip(finite, same, strict=True) if n)
        within = math.sqrt(squares / sum(finite)) if sum(finite) else math.nan
        peaks = max((max(-row[12], row[13]), -row[20]) for _, row in same)
        typical = max((row[21] for _, row in same if row[21] == row[21]), default=math.nan)
        row = (step, order, max(row[2] for _, row in same), *state[:11], 8, *neurons, within, -peaks[1], typical)
        result.append((same[0][0], row))
    return result


def close(left: Diagnosis, right: Diagnosis) -> None:
    """Equal but for the rounding of moments."""
    one, other = left.to_dict(), right.to_dict()
    assert [{**layer, "mean": 0, "std": 0} for layer in one["layers"]] == [
        {**layer, "mean": 0, "std": 0} for layer in other["layers"]
    ]
    for a, b in zip(one["layers"], other["layers"], strict=True):
        assert (a["mean"], a["std"]) == (pytest.approx(b["mean"]), pytest.approx(b["std"]))
    assert [(f["layer"], f["condition"], f["severity"], f["first_step"]) for f in one["findings"]] == [
        (f["layer"], f["condition"], f["severity"], f["first_step"]) for f in other["findings"]
    ]


def test_ranks_are_judged_as_one(tmp_path: Path) -> None:
    ranks = [random_rows(seed, range(60)) for seed in range(3)]
    for rank, rows in enumerate(ranks):
        write(tmp_path / f"rank-{rank:05d}", rows, batch_rows=7 + rank)
    log = open_log(tmp_path)
    layers, want = LayerNumbers(), merged(*ranks)
    (block,) = log._merged(log.ranks, layers, None)
    assert [layers.infos[code] for code in block.layers] == [info for info, _ in want]
    for name in ROW_DTYPE.names or ():
        column = [row[[field.name for field in ROW].index(name)] for _, row in want]
        np.testing.assert_allclose(block.rows[name], column, rtol=1e-12, atol=1e-14, err_msg=name)
        if block.rows[name].dtype == np.int64 or name in ("min", "max"):
            assert block.rows[name].tolist() == column
    close(log.diagnose(), live(want))
    assert log.diagnose(rank=1) == live(ranks[1])
    assert log.warnings == ()


def test_a_pipeline_of_ranks_is_one_network(tmp_path: Path) -> None:
    rows = rows_of_a_sick_run(60)
    for rank in range(3):
        write(tmp_path / f"rank-{rank:05d}", [row for row in rows if row[0].order == rank])
    assert open_log(tmp_path).diagnose() == live(rows)


def test_ranks_that_were_resumed_are_merged_pass_by_pass(tmp_path: Path) -> None:
    first, second = rows_of_a_sick_run(30), rows_of_a_sick_run(40, first=20)
    for rank in range(2):
        write(tmp_path / f"rank-{rank:05d}", first[: 90 - 12 * rank])
        write(tmp_path / f"rank-{rank:05d}", second)
    (block,) = open_log(tmp_path)._merged((0, 1), LayerNumbers(), None)
    assert block.rows["step"].tolist() == [row[0] for _, row in first + second]
    sizes = [12800] * 78 + [6400] * 12 + [12800] * 120
    assert block.rows["count"].tolist() == [n // 10 if i % 3 == 2 else n for i, n in enumerate(sizes)]


def test_ranks_wait_in_memory_for_the_slowest_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastact.replay.merge_ranks.BLOCK_ROWS", 64)
    for rank in range(4):
        write(tmp_path / f"rank-{rank:05d}", rows_of_a_sick_run(400), batch_rows=16 << rank)
    whole = [block.rows.copy() for block in open_log(tmp_path)._merged((0, 1, 2, 3), LayerNumbers(), None)]
    assert max(map(len, whole)) <= 4 * 128
    steps = np.concatenate(whole)["step"].tolist()
    assert steps == [step for step in range(400) for _ in range(3)]


@pytest.mark.parametrize("by", ["layer", "step", "rank", ("step", "layer"), ["rank", "layer"]])
def test_any_range_aggregates_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: Any) -> None:
    monkeypatch.setattr("fastact.replay.blocks.BLOCK_ROWS", 50)
    ranks = [random_rows(seed, range(40)) for seed in range(2)]
    for rank, rows in enumerate(ranks):
        write(tmp_path / f"rank-{rank:05d}", rows)
    log = open_log(tmp_path)
    got = log.aggregate(by, from_step=5, to_step=30, layers=["head", "body.relu"])
    names = [by] if isinstance(by, str) else by
    apart: dict[Any, list[Any]] = {}
    for record in log.replay(from_step=5, to_step=30, layers=["head", "body.relu"]):
        key = tuple(getattr(record, name) for name in names)
        apart.setdefault(key[0] if isinstance(by, str) else key, []).append(record.stats)
    assert set(got) == set(apart)
    for key, parts in apart.items():
        want = fastact.merge(parts)
        for field in STATE:
            exact = field.kind == "int64" or field.name in ("min", "max")
            value = getattr(want, field.name)
            expected = value if exact else pytest.approx(value, rel=1e-12, nan_ok=True)
            assert getattr(got[key], field.name) == expected or (math.isnan(value) and exact), field.name
    assert log.aggregate("rank", ranks=1).keys() == {1}
    assert log.aggregate(by, from_step=99) == {}


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


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_what_older_schemas_do_not_have_is_unknown(version: str) -> None:
    log = open_log(DATA / f"schema-{version}")
    assert {(record.row[-2], repr(record.row[-1])) for record in log.replay()} == {(-1, "nan")}
    assert log.to_table()["peak_neuron"].null_count == log.to_table().num_rows


def test_warnings_are_those_of_the_files_not_of_the_calls(tmp_path: Path) -> None:
    write(tmp_path, rows_of_a_sick_run(60))
    segment = tmp_path / "segment-000000.arrows"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 4
    segment.write_bytes(data)
    log = open_log(tmp_path)
    told = log.warnings
    assert len(told) == 2
    assert "are damaged and were skipped" in told[0]
    assert "rows" in told[1]
    assert log.to_table().num_rows == 180 - 32
    next(log.replay())
    assert log.warnings == told


def test_a_live_log_is_read_while_it_is_written(tmp_path: Path) -> None:
    rows = rows_of_a_sick_run(5)
    with LogWriter(tmp_path) as writer:
        with pytest.raises(LogError, match="the run has written nothing yet"):
            open_log(tmp_path)
        for info, row in rows:
            writer.add_layer(info)
            writer.append(row)
        writer.flush()
        log = open_log(tmp_path)
        assert log.to_table().num_rows == 15
        writer.append(rows[0][1])
        writer.flush()
        assert log.to_table().num_rows == 16
        assert log.warnings == ()
    assert log.to_table().num_rows == 16  # sealed and renamed since the log was opened


def test_bad_arguments_are_named(log: Log, tmp_path: Path) -> None:
    bad: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (ArgumentTypeError, "path: got None", lambda: open_log(None)),  # type: ignore[arg-type]
        (LogError, r"cannot read the log '.*missing'", lambda: open_log(tmp_path / "missing")),
        (LogError, r"no log in '.*want a directory", lambda: open_log(tmp_path)),
        (ArgumentTypeError, "from_step: got str", lambda: log.replay(from_step="1")),  # type: ignore[arg-type]
        (ArgumentTypeError, "to_step: got float", lambda: log.replay(to_step=1.5)),  # type: ignore[arg-type]
        (ArgumentValueError, "layers: got 'nope', want among", lambda: log.replay(layers=["head", "nope"])),
        (ArgumentTypeError, "layers: got int", lambda: log.replay(layers=3)),  # type: ignore[arg-type]
    ]
    for kind, message, call in bad:
        with pytest.raises(kind, match=message):
            call()
    (tmp_path / "ranks" / "rank-00000").mkdir(parents=True)
    with pytest.raises(LogError, match=r"nothing can be read from the log .*rank-00000: no log in"):
        open_log(tmp_path / "ranks")
