"""Recorded logs, old and new, say what they said, and a log that is written now holds what it held."""

from pathlib import Path
from typing import Any

import pytest

from . import zoo
from .logs import live, logs, unpack
from .store import differences, load, machine, same_machine

CONDITIONS = {
    "collapsed", "constant", "dead", "drifting", "exploding", "non_finite", "oscillating", "outlier_channels",
    "overflow_risk", "saturated", "underflow_risk", "unused", "vanishing",
}  # fmt: skip


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    return load("logs")


def test_every_recorded_log_says_what_it_said(tmp_path: Path, stored: dict[str, Any]) -> None:
    unpack(tmp_path)
    found = dict(logs(tmp_path))
    wrong = differences(stored["logs"], found, exact=same_machine(stored))
    assert not wrong, f"{len(wrong)} differences, such as\n" + "\n".join(wrong[:20])


def test_a_log_written_now_holds_what_it_held(tmp_path: Path, stored: dict[str, Any]) -> None:
    if not same_machine(stored):
        pytest.skip(f"sums were made on another machine: {stored['machine']}, not {machine()}")
    found = dict(live(tmp_path))
    wrong = differences(stored["live"], found, exact=True)
    assert not wrong, f"{len(wrong)} differences, such as\n" + "\n".join(wrong[:20])


def test_each_condition_is_found_in_some_and_some_are_healthy(stored: dict[str, Any]) -> None:
    said = [entry["diagnosis"] for entry in stored["logs"].values()]
    assert {finding[1] for one in said for finding in one["findings"]} == CONDITIONS
    assert sum(one["healthy"] for one in said) > 50
    assert {finding[2] for one in said for finding in one["findings"]} == {"warning", "serious", "critical"}
    assert sum(entry["warnings"] for entry in stored["logs"].values()) > 2


def test_verdicts_of_two_checkouts_are_compared_run_by_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unpack(tmp_path / "logs")
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    monkeypatch.setattr("sys.argv", ["zoo", "judge", str(tmp_path / "logs" / "zoo"), "--out", str(before)])
    assert zoo.main() == 0
    text = before.read_text()
    after.write_text(text)
    monkeypatch.setattr("sys.argv", ["zoo", "compare", str(before), str(after)])
    assert zoo.main() == 0
    after.write_text(text.replace('"warning"', '"serious"', 1))
    assert zoo.main() == 1
    assert "was 'warning', is 'serious'" in capsys.readouterr().out
