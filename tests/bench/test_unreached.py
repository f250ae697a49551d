"""What no stored log reaches is listed, what one reaches is not."""

import ast
from pathlib import Path

import numpy as np
import pytest

from bench.unreached import ROOT, logs, reached, unreached
from fastact import ActivationMonitor

pytest.importorskip("coverage")


def test_a_rule_is_reached_by_what_it_finds(tmp_path: Path) -> None:
    for name, values in (("dead", 0.0), ("alive", 1.0)):
        with ActivationMonitor(tmp_path / name) as monitor:
            for step in range(24):
                x = values * np.random.default_rng(step).standard_normal((64, 32)).astype(np.float32)
                monitor.record("fc", np.arange(2048, dtype=np.float32).reshape(64, 32), axis=-1, kind="Linear")
                monitor.record("act", np.maximum(x, 0.0), axis=-1, kind="ReLU")
                monitor.step()
    body = ast.parse((ROOT / "causes/dead_neurons.py").read_text(encoding="utf-8")).body
    file = "causes/dead_neurons.py"
    paths = logs([tmp_path])
    assert [path.name for path in paths] == ["alive", "dead"]
    alive, dead, both = (reached(chosen, 8) for chosen in (paths[:1], paths[1:], paths))
    told = [line for line in unreached(file, body, alive, 0) if line.endswith("def verdict")]
    assert len(told) == 1
    assert not [line for line in unreached(file, body, dead, 0) if line.endswith("def verdict")]
    alone = [line for line in unreached(file, body, both, 1) if line.endswith("def verdict")]
    assert len(alone) == 1
    assert f"1 trainings {paths[1]}" in alone[0]
