"""A compacted run has the same rows in few segments, whatever happens meanwhile."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from typer.testing import CliRunner

import fastact
from fastact.cli.app import app
from fastact.errors import LogError
from fastact.log import LogOptions, LogWriter
from fastact.replay.compact import compact, to_parquet


def made(run: Path, steps: int = 60, layers: int = 3) -> Path:
    with LogWriter(run, LogOptions(batch_rows=layers, segment_bytes=1, flush_seconds=60)) as writer:
        for order in range(layers):
            writer.add_layer(fastact.LayerInfo(f"layer {order}", order, "ReLU"))
        for step in range(steps):
            for order in range(layers):
                writer.append(
                    (
                        step,
                        order,
                        step,
                        10,
                        0,
                        0,
                        0,
                        0,
                        0,
                        0.5 * step,
                        1.0,
                        1.0,
                        -1.0,
                        2.0,
                        *[0] * 5,
                        0.0,
                        0,
                        1.0,
                        *[0] * 3,
                    )
                )
            writer.flush()
    return run


def test_many_segments_become_few(tmp_path: Path) -> None:
    run = made(tmp_path)
    before = fastact.open_log(run)
    want, diagnosis = before.to_table(), before.diagnose()
    found = compact(run)
    assert (found.segments_before, found.segments) == (60, 1)
    assert found.bytes < found.bytes_before / 3
    log = fastact.open_log(run)
    assert log.to_table().equals(want)
    assert (log.diagnose(), log.warnings, log.layers) == (diagnosis, (), before.layers)
    assert compact(run).segments == 1
    result = CliRunner().invoke(app, ["compact", str(run)])
    assert result.exit_code == 0
    assert result.output.startswith("1 segment of ")
    assert " became 1 of " in result.output


def test_a_run_that_is_written_is_refused(tmp_path: Path) -> None:
    run = made(tmp_path)
    writer = LogWriter(run)
    with pytest.raises(LogError, match="is being written by this process"):
        compact(run)
    writer.close()
    with pytest.raises(LogError, match="no log in"):
        compact(_empty(tmp_path / "empty"))


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_killed_at_any_instant_the_run_has_all_of_its_rows_once(tmp_path: Path) -> None:
    run = made(tmp_path / "run", 30)
    want = fastact.open_log(run).to_table()
    kills = runs = 0
    until = time.monotonic() + float(os.environ.get("FASTACT_ATTACK_SECONDS", "1.5"))
    while not kills or time.monotonic() < until:  # one, however fast the machine
        child = os.fork()
        if child == 0:
            try:
                compact(run)
            finally:
                os._exit(0)
        time.sleep(random.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        kills += killed
        log = fastact.open_log(run)
        assert log.to_table().equals(want)
        assert log.warnings == ()
        if not killed:
            runs += 1
            run = made(tmp_path / f"run {runs}", 30)
            want = fastact.open_log(run).to_table()
    compact(run)
    assert fastact.open_log(run).to_table().equals(want)


def test_parquet_by_run_and_steps_is_one_table_for_duckdb_and_polars(tmp_path: Path) -> None:
    for name in ("a", "b"):
        log = fastact.open_log(made(tmp_path / name))
        assert to_parquet(log, tmp_path / "all", steps=25) == 180
    result = CliRunner().invoke(app, ["compact", str(tmp_path / "b"), "--to", str(tmp_path / "all"), "--steps", "25"])
    assert result.exit_code == 0
    assert {path.name for path in (tmp_path / "all" / "run=b").iterdir()} == {"steps=0", "steps=25", "steps=50"}
    files = f"{tmp_path}/all/**/*.parquet"
    rows = f"from read_parquet('{files}', hive_partitioning=true)"
    found: Any = duckdb.sql(f"select run, steps, count(*) {rows} where steps >= 25 group by all")
    assert sorted(found.fetchall()) == [("a", 25, 75), ("a", 50, 30), ("b", 25, 75), ("b", 50, 30)]
    table = pl.scan_parquet(files, hive_partitioning=True).filter(pl.col("run") == "a", pl.col("step") >= 50)
    assert table.collect().height == 30
    assert table.select(pl.col("mean").max()).collect().item() == 29.5
