"""What a monitor says that it does not have, where memory gives out at some place: rows kept + rows counted = rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastact import ActivationMonitor, open_log
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.log.ring import Ring
from fastact.log.writer import LogWriter
from fastact.monitor import layer as layers
from fastact.monitor.pace import Pace

_X = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
_STEPS = set(range(4, 9))  # in which memory gives out


def _failing(original: Callable[..., Any], failing: Callable[[], bool], *, after: bool = False) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        found = original(*arguments, **named) if after or not failing() else None
        if failing():
            raise MemoryError
        return found

    return call


@pytest.mark.filterwarnings("ignore:fastact")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name", "lost"),
    [
        (ActivationMonitor, "_record", {False: 10, True: 0}),
        (Diagnoser, "append_step", {False: 0, True: 0}),
        (layers, "row_of", {False: 10, True: 10}),
        (LogWriter, "append_all", {False: 10, True: 0}),
        (Ring, "put_all", {False: 10, True: 0}),
        (Pace, "ended", {False: 10, True: 10}),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_rows_kept_and_rows_counted_are_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, lost: dict[bool, int], after: bool
) -> None:
    monitor = ActivationMonitor(tmp_path / "run")
    under_way = {0}
    monkeypatch.setattr(owner, name, _failing(getattr(owner, name), lambda: under_way <= _STEPS, after=after))
    for step in range(20):
        under_way.clear()
        under_way.add(step)
        for layer in ("a", "b"):
            monitor.record(layer, _X, axis=-1)
        monitor.step()
    under_way.add(-1)
    assert monitor.current_step == 20
    monitor.close()
    table = open_log(tmp_path / "run").to_table()
    assert monitor.failures > 0
    assert sum(monitor.dropped.values()) == lost[after]
    assert table.num_rows + lost[after] == 40
    rows = set(zip(table["layer"].to_pylist(), table["step"].to_pylist(), strict=True))
    assert rows >= {(layer, step) for layer in "ab" for step in range(20) if step not in _STEPS}
