"""What `ActivationMonitor.record` does with what lies on a GPU: rows as from the CPU, later, none lost unsaid."""

import math
import os
import pickle
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deferred_rows import relu, same_rows, soon
from on_device import OnDevice, in_simulator, normal, on_device

import fastact
from fastact import ActivationMonitor

STEPS: dict[str, list[list[tuple[Any, Any]]]] = {
    "a whole tensor": [[(normal(300, seed=i), None)] for i in range(2)],
    "columns in some groups": [[(relu(40, 11, seed=i), -1)] for i in range(3)],
    "columns in parts": [[(relu(9, 5, seed=3 * i + j, dtype=np.float16), -1) for j in range(2)] for i in range(3)],
    "runs": [[(relu(3, 4, 4, 5, seed=i).transpose(0, 3, 1, 2).copy(), 1)] for i in range(2)],
    "odd runs": [[(relu(2, 3, 3, 5, seed=i).transpose(0, 3, 1, 2).copy(), 1)] for i in range(2)],
    "one neuron": [[(np.zeros((30, 1), np.float32), -1)] for i in range(2)],
    "64-bit integers": [[(relu(9, 5, seed=i, dtype=np.int64) * 10**15, -1)] for i in range(2)],
    "nothing finite": [[(np.full((4, 3), math.nan, np.float32), -1)]],
    "neurons that come and go": [[(relu(8, n), -1)] for n in (5, 5, 7, 7, 5, 5)],
    "a step without neurons between": [[(relu(8, 5), axis)] for axis in (-1, -1, None, -1)],
    "a step of parts with other neurons": [
        [(relu(8, 5), -1)],
        [(np.ones((8, n), np.float32), -1) for n in (5, 6, 5)],
        [(relu(8, 5), -1)],
        [(np.ones((8, 5), np.float32), -1)],
        [(relu(8, 5), -1)],
    ],
    "nothing, and a part of nothing": [[(relu(0, 5), -1)], [(relu(8, 5), -1), (relu(0, 5), -1)]],
}


@on_device
@pytest.mark.parametrize("case", STEPS)
def test_rows_are_those_of_the_cpu(case: str) -> None:
    with ActivationMonitor() as want, ActivationMonitor() as got:
        for parts in STEPS[case]:
            for x, axis in parts:
                here = want.record("layer", x, axis=axis, kind="ReLU")
                there = got.record("layer", OnDevice(x), axis=axis, kind="ReLU")
                assert there is not None
                assert here is not None
                assert (there.count, there.min, there.zeros) == pytest.approx(
                    (here.count, here.min, here.zeros), nan_ok=True
                )
            want.step()
            got.step()
        same_rows(got, want)
        assert got.failures == 0


@on_device
@pytest.mark.parametrize("sparse", [False, True])
def test_silence_comes_to_the_same(sparse: bool) -> None:
    rng = np.random.default_rng(0)
    thresholds = fastact.Thresholds(dead_window=3, dead_samples=20, dead_fires=2, dead_sparse=2)
    with ActivationMonitor(thresholds=thresholds) as want, ActivationMonitor(thresholds=thresholds) as got:
        for step in range(40):
            # A layer that grows sparse, of which some neurons die one after the other, and all of it in the end.
            x = (rng.random((3 + step % 5, 6)) < (0.5 if step < 10 else 0.1)).astype(np.float32)
            x[:, : step // 8] = 0
            x *= step < 34
            for part in np.array_split(x, 1 + step % 3):
                want.record("layer", part, axis=-1, layer_type="ReLU", sparse=sparse)
                got.record("layer", OnDevice(part), axis=-1, layer_type="ReLU", sparse=sparse)
            want.step()
            got.step()
        same_rows(got, want)
        dead = want.history["layer"]["dead_neurons"].tolist()
        assert len(set(dead)) > 2
        assert (dead[-1] == 6) is not sparse


@on_device
def test_64_bit_integers_stay_exact() -> None:
    x = np.array([2**63 - 1, -(2**63), 1])
    with ActivationMonitor() as monitor:
        stats = monitor.record("layer", OnDevice(x))
        unsigned = monitor.record("unsigned", OnDevice(np.array([2**64 - 1, 2**64 - 3], np.uint64)), axis=0)
        assert stats is not None
        assert unsigned is not None
        assert (stats.min, stats.max) == (-(2**63), 2**63 - 1)
        assert (unsigned.min, unsigned.max) == (2**64 - 3, 2**64 - 1)


@on_device
def test_what_record_returns_is_stats_like_any() -> None:
    x = normal(20, 3)
    with ActivationMonitor() as monitor:
        stats = monitor.record("layer", OnDevice(x))
        assert isinstance(stats, fastact.ActivationStats)
        again = pickle.loads(pickle.dumps(stats))
        assert type(again) is fastact.ActivationStats
        assert again == stats
        assert (stats | fastact.summarize(x)).count == 120
        with pytest.raises(AttributeError):
            stats.mean = 1  # type: ignore[misc]
        with pytest.raises(fastact.ArgumentValueError, match="contiguous"):
            monitor.record("other", OnDevice(x, lambda x: x[:, ::2]))
    assert list(monitor.history) == ["layer"]


@in_simulator
def test_the_ablation_waits_for_each_row() -> None:
    pytest.importorskip("torch", reason="the benchmarks need it")
    from bench.gpu.deferred import wait_at_once

    with ActivationMonitor() as want, ActivationMonitor() as got:
        wait_at_once(got)
        for step in range(3):
            want.record("layer", OnDevice(relu(8, 5, seed=step)), axis=-1)
            stats = got.record("layer", OnDevice(relu(8, 5, seed=step)), axis=-1)
            assert type(stats) is fastact.ActivationStats
            want.step()
            got.step()
        same_rows(got, want)


@in_simulator
def test_nothing_waits_but_who_reads(stream: Any) -> None:
    with ActivationMonitor() as monitor:
        monitor.record("first", OnDevice(normal(9)))
        monitor.step()
        stream.held = []
        stats: Any = monitor.record("layer", OnDevice(np.full((4, 3), 5.0)), axis=-1)
        elsewhere: Any = monitor.record("elsewhere", OnDevice(np.full(4, 6.0), stream=7))
        here = monitor.record("here", np.full(4, 7.0))
        monitor.step()
        assert not stats.ready
        assert elsewhere.mean == 6.0  # reading waits for just that
        assert len(monitor._diagnoser.history["here"]) == 0  # which comes after "layer"
        monitor.record("elsewhere", OnDevice(np.full(4, 8.0), stream=7))
        monitor.step()
        assert len(monitor._diagnoser.history["elsewhere"]) == 0
        soon(stream.release)
        assert stats.mean == 5.0
        assert stats.ready
        assert here is not None
        assert monitor.history["elsewhere"]["step"].tolist() == [1, 2]
        assert monitor.history["layer"]["step"].tolist() == [1]


@in_simulator
@pytest.mark.parametrize("who", ["history", "diagnose", "flush", "close"])
def test_who_needs_finished_steps_waits_for_them(who: str, stream: Any, tmp_path: Path) -> None:
    monitor = ActivationMonitor(tmp_path / "run")
    stream.held = []
    try:
        monitor.record("late", OnDevice(relu(4, 3)), axis=-1)
        monitor.record("here", relu(4, 3), axis=-1)
        monitor.step()
        monitor.record("here", relu(4, 3), axis=-1)
        monitor.step()
        monitor.record("late", OnDevice(relu(4, 3)), axis=-1)
        assert monitor._diagnoser.history["here"].total == 0
        soon(stream.release)
        if who == "history":
            assert [layer.total for layer in monitor.history.values()] == [1, 2]
        elif who == "diagnose":
            assert len(monitor.diagnose().layers) == 2
        elif who == "flush":
            monitor.flush()
            table = fastact.open_log(tmp_path / "run").to_table()
            assert table["step"].to_pylist() == [0, 0, 1]
    finally:
        monitor.close()
    table = fastact.open_log(tmp_path / "run").to_table()
    assert table["step"].to_pylist() == [0, 0, 1, 2]
    assert [row["layer"] for row in table.select(["layer"]).to_pylist()] == table["layer"].to_pylist()
    assert monitor.failures == 0


@in_simulator
def test_a_training_that_raises_keeps_its_rows(stream: Any, tmp_path: Path) -> None:
    stream.held = []

    def training() -> None:
        with ActivationMonitor(tmp_path / "run") as monitor:
            for _ in range(2):
                monitor.record("late", OnDevice(relu(4, 3)), axis=-1)
                monitor.step()
            soon(stream.release)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        training()
    assert fastact.open_log(tmp_path / "run").to_table()["step"].to_pylist() == [0, 1]


@in_simulator
def test_what_owners_free_out_of_order_is_kept_until_it_was_swept(stream: Any) -> None:
    with ActivationMonitor() as monitor:
        monitor.record("layer", OnDevice(normal(3)))
        stream.held = []
        owner = OnDevice(normal(30))
        there = weakref.ref(owner)
        stats: Any = monitor.record("layer", owner)
        del owner
        assert there() is not None
        stream.release()
        assert stats.count == 30
        assert there() is None


@in_simulator
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_no_part_in_it(stream: Any) -> None:
    with ActivationMonitor() as monitor:
        stream.held = []
        stats: Any = monitor.record("layer", OnDevice(normal(3)))
        monitor.step()
        child = os.fork()
        if child == 0:
            try:
                _ = stats.mean
            except fastact.FastactError as error:
                os._exit(0 if "forked" in str(error) else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        stream.release()
        assert stats.count == 3
        assert monitor.history["layer"].total == 1


@in_simulator
def test_a_layer_on_two_devices_is_swept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastact.cuda import arrays

    x = relu(6, 5)
    with ActivationMonitor() as want, ActivationMonitor() as got:
        for _ in range(3):
            for device in range(2):
                monkeypatch.setattr(arrays, "device_of", lambda _, device=device: device)
                want.record("layer", x, axis=-1)
                got.record("layer", OnDevice(x), axis=-1)
            want.step()
            got.step()
        rows, theirs = got.history["layer"].rows, want.history["layer"].rows
        assert rows["count"].tolist() == [60] * 3
        assert rows["neurons"].tolist() == [0, 5, 5]  # where it was found out, the parts have only the tensor in common
        assert (rows[1:]["silent_neurons"] == theirs[1:]["silent_neurons"]).all()


@in_simulator
def test_a_part_from_the_cpu_leaves_the_neurons_out(stream: Any) -> None:
    x = relu(6, 5)
    with ActivationMonitor() as monitor:
        for step in range(3):
            monitor.record("layer", OnDevice(x), axis=-1)
            if step == 1:
                monitor.record("layer", x, axis=-1)
            monitor.step()
        rows = monitor.history["layer"].rows
        assert rows["count"].tolist() == [30, 60, 30]
        assert rows["neurons"].tolist() == [5, 0, 5]


@on_device
def test_record_does_not_wait_for_the_device(torch: Any) -> None:
    x = torch.zeros(1 << 20, 8, device="cuda")
    with ActivationMonitor() as monitor:
        for axis in (None, -1):
            monitor.record(f"warm {axis}", x, axis=axis)
        monitor.step()
        monitor.flush()
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(2_000_000_000)
            x.fill_(3.0)
            stats: list[Any] = [monitor.record(f"warm {axis}", x, axis=axis) for axis in (None, -1)]
            monitor.step()
            assert not any(one.ready for one in stats)
            x.fill_(4.0)
        assert [one.mean for one in stats] == [3.0, 3.0]
        assert monitor.history["warm -1"]["mean"].tolist() == [0.0, 3.0]


@on_device
def test_watching_does_not_wait_for_the_device(torch: Any) -> None:
    import fastact.torch

    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8)).cuda()
    x = torch.randn(32, 64, device="cuda")
    with ActivationMonitor() as monitor, fastact.torch.watch(model, monitor, gradients=True):
        for _ in range(2):
            model(x).sum().backward()
            monitor.step()
        assert monitor.history["1"].total == 2
        torch.cuda._sleep(2_000_000_000)
        model(x).sum().backward()
        monitor.step()
        assert not torch.cuda.current_stream().query()
        assert monitor.history["1"]["neurons"].tolist() == [64] * 3
        assert monitor.failures == 0


@on_device
def test_memory_does_not_grow(torch: Any) -> None:
    x = torch.randn(1 << 16, 32, device="cuda")
    with ActivationMonitor() as monitor:
        free = []
        for _ in range(4):
            for _ in range(500):
                monitor.record("columns", x, axis=-1)
                monitor.record("whole", x)
                monitor.step()
            monitor.flush()
            torch.cuda.synchronize()
            free.append(torch.cuda.mem_get_info()[0])
        assert free[1] == free[-1]
        assert monitor.failures == 0


@on_device
def test_many_streams_and_threads(torch: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ActivationMonitor() as monitor:

        def work(i: int) -> None:
            with torch.cuda.stream(torch.cuda.Stream()):
                x = torch.full((1000 + i, 64), float(i), device="cuda")
                for _ in range(100):
                    stats = monitor.record(f"layer {i}", x, axis=-1)
                    assert stats is not None
                    assert stats.mean == i

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        monitor.step()
        for i in range(8):
            assert monitor.history[f"layer {i}"]["mean"].tolist() == [i]
            assert monitor.history[f"layer {i}"]["count"].tolist() == [100 * 64 * (1000 + i)]
