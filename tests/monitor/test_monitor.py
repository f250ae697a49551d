"""The monitor as a training loop sees it: live against replay, closing, and what it refuses."""

import dataclasses
import gc
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fastact
from fastact import ActivationMonitor, open_log, summarize

RNG = np.random.default_rng(0)


def test_a_row_holds_the_step_s_stats() -> None:
    x = RNG.standard_normal((32, 5)).astype(np.float32)
    with ActivationMonitor() as monitor:
        stats = monitor.record("a", x, axis=-1, kind="Tanh")
        assert stats == summarize(x, axis=-1).total
        assert "a" in monitor.history
        assert len(monitor.history["a"]) == 0  # the step is not over
        monitor.step()
        row = monitor.history["a"].rows[0]
        for name in ("count", "mean", "std", "min", "max", "zeros", "saturated"):
            assert row[name] == getattr(stats, name)
        assert (row["step"], row["neurons"], row["dead_neurons"]) == (0, 5, 0)
        assert row["within_std"] == pytest.approx(np.sqrt(x.var(0, dtype=np.float64).mean()), rel=1e-6)


def test_every() -> None:
    with ActivationMonitor(every=3) as monitor:
        for step in range(7):
            assert monitor.active == (step % 3 == 0)
            assert monitor.current_step == step
            got = monitor.record("a", np.ones(3))
            assert (got is not None) == monitor.active
            monitor.step()
        assert monitor.history["a"]["step"].tolist() == [0, 3, 6]


def test_the_window_is_a_ring() -> None:
    with ActivationMonitor(window_size=5) as monitor:
        for _ in range(12):
            monitor.record("a", np.ones(3))
            monitor.step()
        assert monitor.history["a"]["step"].tolist() == [7, 8, 9, 10, 11]


def test_live_and_replayed_diagnoses_are_equal(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    with ActivationMonitor(tmp_path / "run", window_size=20, metadata={"model": "made up"}) as monitor:
        for step in range(60):
            x = rng.standard_normal((40, 8)).astype(np.float32)
            monitor.record("linear", x * 2.0 ** max(0, step - 20), axis=-1, kind="Linear")
            monitor.record("tanh", np.tanh(x * 10), axis=-1, kind="Tanh")
            monitor.record("ids", rng.integers(-(2**62), 2**62, 50))
            if step > 30:
                monitor.record("late", np.where(x > 2, np.nan, x), axis=-1)
            monitor.record("empty", x[:0], axis=-1)
            monitor.step()
        live = monitor.diagnose()
    log = open_log(tmp_path / "run")
    assert not live.healthy
    assert log.diagnose() == live
    assert log.metadata["model"] == "made up"
    assert log.warnings == ()
    assert log.to_table().num_rows == 60 * 4 + 29
    rows = [record.row for record in log.replay() if record.layer == "tanh"][-20:]
    assert rows == monitor.history["tanh"].rows.tolist()


def test_kind_tells_the_saturation_interval() -> None:
    x = np.array([0.005, 0.5, 0.995, 3.0, 5.995])
    with ActivationMonitor() as monitor:
        assert monitor.record("sigmoid", x[:3], kind="Sigmoid").saturated == 2  # type: ignore[union-attr]
        assert monitor.record("relu6", x, kind="ReLU6").saturated == 1  # type: ignore[union-attr]
        assert monitor.record("own", x, kind="ReLU6", saturation=(0.0, 2.0)).saturated == 2  # type: ignore[union-attr]


def test_torch_tensors(tmp_path: Path) -> None:
    with ActivationMonitor(tmp_path / "run") as monitor:
        layer = torch.nn.Linear(4, 3)
        out = layer(torch.ones(2, 4))
        monitor.record("layer", out, axis=-1)
        out.sum().backward()
        monitor.step()
    assert layer.weight.grad is not None
    assert open_log(tmp_path / "run").layers[0].dtype == "float32"


def test_close_ends_the_step_under_way_and_is_final(tmp_path: Path) -> None:
    monitor = ActivationMonitor(tmp_path / "run")
    monitor.record("a", np.ones(3))
    monitor.close()
    monitor.close()
    monitor.flush()
    assert open_log(tmp_path / "run").to_table().num_rows == 1
    assert not monitor.active
    with pytest.raises(fastact.FastactError, match="closed"):
        monitor.step()
    with pytest.raises(fastact.FastactError, match="closed"):
        monitor.record("a", np.ones(3))
    assert len(monitor.history["a"]) == 1
    monitor.diagnose()


def test_flush_puts_finished_steps_into_the_log(tmp_path: Path) -> None:
    with ActivationMonitor(tmp_path / "run") as monitor:
        for _ in range(3):
            monitor.record("a", np.ones(3))
            monitor.step()
        monitor.flush()
        assert open_log(tmp_path / "run").to_table().num_rows == 3


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monitor = ActivationMonitor("run")
    monitor.record("a", np.ones(3))
    monitor.step()
    monitor.flush()
    log = open_log("run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    monitor.record("b", np.ones(3))  # a new layer begins a new segment
    monitor.close()
    assert open_log("../run").to_table().column("layer").to_pylist() == ["a", "b"]
    assert log.to_table().num_rows == 2  # it reads what is there now, from where it was opened
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_monitor_that_is_forgotten_still_seals_its_log(tmp_path: Path) -> None:
    monitor = ActivationMonitor(tmp_path / "run")
    monitor.record("a", np.ones(3))
    monitor.step()
    del monitor
    gc.collect()
    assert open_log(tmp_path / "run").to_table().num_rows == 1


def test_a_refused_record_leaves_nothing_behind() -> None:
    with ActivationMonitor() as monitor:
        for bad in ("text", np.zeros(3, complex)):
            with pytest.raises(fastact.ArgumentTypeError, match="x"):
                monitor.record("new", bad)
        with pytest.raises(fastact.ArgumentValueError, match="axis"):
            monitor.record("new", np.ones(3), axis=4)
        assert list(monitor.history) == []
        monitor.step()


@pytest.mark.parametrize("what", [{"name": "x" * 5000}, {"name": "\ud800"}, {"name": "a", "kind": "k" * 5000}])
def test_a_layer_that_the_log_refuses_never_ends_a_step(tmp_path: Path, what: dict[str, Any]) -> None:
    with ActivationMonitor(tmp_path / "run") as monitor:
        for _ in range(2):
            with pytest.raises(fastact.ArgumentValueError, match="info"):
                monitor.record(x=np.ones(3), **what)
            monitor.record("b", np.ones(3))
            monitor.step()
    live = monitor.diagnose()
    assert [layer.name for layer in live.layers] == ["b"]
    assert live == open_log(tmp_path / "run").diagnose()


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"window_size": 10**12}, ValueError, "window_size"),
        ({"metadata": 5}, TypeError, "metadata"),
        ({"metadata": {"a": 1}}, TypeError, "metadata"),
        ({"window_size": 0}, ValueError, "window_size"),
        ({"window_size": 1.5}, TypeError, "window_size"),
        ({"every": 0}, ValueError, "every"),
        ({"every": "2"}, TypeError, "every"),
        ({"thresholds": 3}, TypeError, "thresholds"),
        ({"path": 3}, TypeError, "path"),
        ({"path": "never made", "log": {}}, TypeError, "log"),
    ],
)
def test_what_is_refused(options: dict[str, Any], error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word) as caught:
        ActivationMonitor(**options)
    assert isinstance(caught.value, fastact.FastactError)


def test_names_are_checked() -> None:
    with ActivationMonitor() as monitor:
        for bad in ("", 3, None, ["a"]):
            with pytest.raises(fastact.ArgumentTypeError, match="name"):
                monitor.record(bad, np.ones(3))  # type: ignore[arg-type]
        with pytest.raises(fastact.ArgumentTypeError, match="kind"):
            monitor.record("a", np.ones(3), kind=3)  # type: ignore[arg-type]
        with pytest.raises(fastact.ArgumentTypeError, match="layer_type:"):
            monitor.record("a", np.ones(3), layer_type=3)  # type: ignore[arg-type]


def test_the_layer_type_goes_by_its_older_name_too() -> None:
    info = fastact.LayerInfo("a", 0, kind="ReLU")
    assert info == fastact.LayerInfo("a", 0, "ReLU") == fastact.LayerInfo("a", 0, layer_type="ReLU")
    assert (info.kind, info.layer_type) == ("ReLU", "ReLU")
    assert dataclasses.replace(info, layer_type="Tanh").kind == "Tanh"
    assert pickle.loads(pickle.dumps(info)) == info
    with fastact.ActivationMonitor() as monitor:
        for name, options in (("new", {"layer_type": "Sigmoid"}), ("old", {"kind": "Sigmoid"})):
            stats = monitor.record(name, np.float32([0.5, 0.995]), **options)  # type: ignore[arg-type]
            assert stats is not None
            assert stats.saturated == 1
            assert monitor.history[name].info.layer_type == "Sigmoid"
