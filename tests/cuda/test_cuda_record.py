"""What `ActivationMonitor.record` does with elements on a GPU: rows as from the CPU, later, in order, none lost unsaid.

As in `test_cuda` the tests marked gpu run on a device and in the simulator, which also can be made to lag: a
stream that is held back, or captured.
"""

import math
import os
import pickle
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cuda import OnDevice, normal, on_device, run_in_the_simulator

import fastact
from fastact import ActivationMonitor
from fastact.cuda.device import SIMULATED

in_simulator = pytest.mark.skipif(not SIMULATED, reason="of the simulator alone, whose streams can be held back")


def simulated(test: Any) -> Any:
    return pytest.mark.gpu(in_simulator(pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")(test)))


def test_in_the_simulator() -> None:
    run_in_the_simulator(__file__, 20)


def relu(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Any:
    """[..., neurons]: neuron 0 is silent, 1 is constant."""
    x = np.maximum(normal(*shape, seed=seed), 0)
    x[..., 0] = 0
    x[..., 1] = 2
    return np.ascontiguousarray(x).astype(dtype)


def same_rows(got: ActivationMonitor, want: ActivationMonitor) -> None:
    assert list(got.history) == list(want.history)
    for name, layer in want.history.items():
        ours, theirs = got.history[name].rows, layer.rows
        for field in theirs.dtype.names or ():
            if field == "time":
                continue
            message = f"{name}: {field}"
            if theirs[field].dtype.kind == "i" or field in ("min", "max"):
                np.testing.assert_array_equal(ours[field], theirs[field], message)
            else:
                np.testing.assert_allclose(ours[field], theirs[field], rtol=1e-6, atol=1e-6, err_msg=message)


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


_timers: list[threading.Timer] = []


def soon(work: Callable[[], object]) -> None:
    """Has it done while this thread waits for it."""
    _timers.append(threading.Timer(0.2, work))
    _timers[-1].start()


@pytest.fixture
def stream() -> Iterator[Any]:
    """The stream of all `OnDevice` that say no other; what is held back is released in the end."""
    from fastact.cuda.host import side_stream, stream_at

    def release() -> None:
        for some in (stream_at(1, 0), stream_at(7, 0), side_stream(0)):
            some.captured = None
            some.release()

    # A test that fails while a stream is held back closes its monitor, which would wait for ever.
    last = threading.Timer(100, release)
    last.start()
    yield stream_at(1, 0)
    last.cancel()
    while _timers:
        _timers.pop().join()
    release()


@simulated
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


@simulated
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


@simulated
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


@simulated
def test_a_copy_that_is_under_way_is_not_waited_for_and_copied_once_more(stream: Any) -> None:
    from fastact.cuda.host import side_stream

    side = side_stream(0)
    with ActivationMonitor() as monitor:
        monitor.record("layer", OnDevice(normal(9)))
        monitor.step()
        stream.held, side.held = [], []
        first: Any = monitor.record("layer", OnDevice(np.full(4, 1.0)))
        monitor.step()
        assert not first.ready
        side.release()  # copied before the kernel ran
        side.held = []
        stream.release()
        second: Any = monitor.record("layer", OnDevice(np.full(4, 2.0)))
        monitor.step()
        assert not first.ready
        assert not second.ready
        soon(side.release)
        assert (second.mean, first.mean) == (2.0, 1.0)


@simulated
def test_a_torn_row_is_not_taken() -> None:
    from fastact.cuda.record import CHECK, RING_WORDS, STAMP, checks
    from fastact.cuda.ring import Ring

    ring = Ring(0, slots=4)
    memory = ring._memory._words[-4 * RING_WORDS :].reshape(4, RING_WORDS)
    rng = np.random.default_rng(0)
    for lap in range(3):
        numbers = [ring.next() for _ in range(3)]
        rows = rng.integers(-(2**62), 2**62, (3, RING_WORDS))
        rows[:, STAMP] = np.array(numbers) + 1
        rows[:, CHECK] = checks(rows)
        slots = [number % 4 for number in numbers]
        for torn in range(CHECK + 1):  # word by word, the stamp first
            memory[slots[1], torn] = rows[1, torn]
            ring.fetch()
            taken = [number for number, _ in ring.take()]
            assert taken == ([numbers[1]] if torn == CHECK else []), (lap, torn)
        memory[slots] = rows
        ring.fetch()
        assert [number for number, _ in ring.take()] == [numbers[0], numbers[2]]
        assert ring.tail == ring.head == 3 * (lap + 1)


def step_and_wait(monitor: ActivationMonitor) -> None:
    monitor.step()
    monitor.diagnose()


def small_ring(monitor: ActivationMonitor, slots: int) -> None:
    from fastact.cuda.deferred import DeferredRows

    monitor._queue.deferred = DeferredRows(monitor._queue._dead_window, slots)


@simulated
def test_a_full_ring_drops_rows_and_says_so(stream: Any) -> None:
    with ActivationMonitor() as monitor:
        small_ring(monitor, 4)
        for _ in range(3):  # around the ring
            monitor.record("first", OnDevice(normal(9)))
            monitor.step()
        stream.held = []
        stats: list[Any] = [monitor.record(f"layer {i}", OnDevice(normal(9))) for i in range(6)]
        monitor.step()
        stream.release()
        assert [s.count for s in stats[:4]] == [9] * 4
        with pytest.raises(fastact.FastactError, match="full"):
            _ = stats[4].mean
        monitor.record("layer 4", OnDevice(normal(9)))
        with pytest.warns(RuntimeWarning, match="'layer 4'.*ring of 4 rows was full"):
            monitor.step()
        assert [layer.total for layer in monitor.history.values()] == [3, 1, 1, 1, 1, 1, 0]
        assert monitor.failures == 2


@simulated
def test_more_rows_than_slots_in_one_step() -> None:
    with ActivationMonitor() as monitor:
        small_ring(monitor, 4)
        for _ in range(11):
            monitor.record("layer", OnDevice(normal(3)))
        monitor.step()
        assert monitor.history["layer"]["count"].tolist() == [33]
        assert monitor.failures == 0


class Graph:
    """What the simulator's stream was given while it was captured."""

    def __init__(self, stream: Any, work: Callable[[], object]) -> None:
        stream.captured = []
        try:
            work()
        finally:
            self._work, stream.captured = stream.captured, None
        self._stream = stream

    def replay(self) -> None:
        for work in self._work:
            self._stream.run(work)


@simulated
def test_a_graph_gives_rows_at_each_replay(stream: Any) -> None:
    owners = {"columns": OnDevice(relu(9, 11)), "twice": OnDevice(relu(6, 5)), "whole": OnDevice(normal(30))}
    with ActivationMonitor() as want, ActivationMonitor() as got:
        stats: list[Any] = []

        def work() -> None:
            stats.append(got.record("columns", owners["columns"], axis=-1))
            stats.append(got.record("twice", owners["twice"], axis=-1))
            stats.append(got.record("twice", owners["twice"], axis=-1))
            stats.append(got.record("whole", owners["whole"]))

        graph = Graph(stream, work)
        with pytest.raises(fastact.FastactError, match="CUDA graph"):
            _ = stats[0].mean
        for step in range(4):
            x = {name: np.roll(owner.memory, step) for name, owner in owners.items()}
            for name, owner in owners.items():
                owner.memory[...] = x[name]
            if step == 2:
                stream.held = []
            graph.replay()
            for name in ("columns", "twice", "twice", "whole"):
                want.record(name, x[name], axis=None if name == "whole" else -1)
            want.step()
            got.step()
            if step == 2:
                assert got._diagnoser.history["whole"].total == 2
                stream.release()
        same_rows(got, want)
        assert got.failures == 0
    before = len(got._diagnoser.history["whole"])
    graph.replay()  # of a monitor that is closed
    assert len(got._diagnoser.history["whole"]) == before


@simulated
def test_a_graph_that_is_replayed_twice_a_step_and_not_in_each(stream: Any) -> None:
    x = relu(6, 5)
    owner = OnDevice(x)
    with ActivationMonitor() as want, ActivationMonitor(every=2) as got:
        graph = Graph(stream, lambda: got.record("layer", owner, axis=-1))
        for step, replays in enumerate((2, 1, 0, 1, 1)):
            owner.memory[...] = 1 if step % 2 else x  # which would end the silence of a neuron
            for _ in range(replays):
                graph.replay()
                if step % 2 == 0:
                    want.record("layer", x, axis=-1)
            want.step()
            got.step()
        same_rows(got, want)
        assert got.history["layer"]["step"].tolist() == [0, 4]
        graph.replay()  # of a step that only closing ends, but which is not recorded
    assert got.history["layer"].total == 2


@simulated
def test_replays_that_overrun_the_ring_are_counted(stream: Any) -> None:
    with ActivationMonitor() as monitor:
        small_ring(monitor, 4)
        owner = OnDevice(normal(3))
        graph = Graph(stream, lambda: monitor.record("layer", owner))
        graph.replay()
        monitor.step()
        for _ in range(9):
            graph.replay()
        with pytest.warns(RuntimeWarning, match="replayed CUDA graph"):
            step_and_wait(monitor)
        # Of nine rows and the word that the step has ended the last four are there.
        assert monitor.history["layer"]["count"].tolist() == [3, 9]
        assert monitor.failures == 6
        graph.replay()
        monitor.step()
        assert monitor.history["layer"]["count"].tolist() == [3, 9, 3]
        assert monitor.failures == 6


@simulated
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


@simulated
def test_a_device_that_fails_costs_rows_and_not_the_training(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastact.cuda.host import Event

    with ActivationMonitor() as monitor:
        monitor.record("layer", OnDevice(normal(3)))
        monitor.step()
        monkeypatch.setattr(Event, "done", lambda _: fail("an illegal memory access"))
        stats: list[Any] = []
        for step in range(3):
            stats.append(monitor.record("layer", OnDevice(normal(3))))
            monitor.record("here", normal(3))
            if step:
                monitor.step()
            else:
                with pytest.warns(RuntimeWarning, match="an illegal memory access"):
                    monitor.step()
        with pytest.raises(fastact.FastactError, match="illegal memory access"):
            _ = stats[0].mean
        assert [layer.total for layer in monitor.history.values()] == [1, 3]
        assert monitor.failures == 3


def fail(words: str) -> None:
    raise OSError(words)


@simulated
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_launch_that_fails_leaves_the_next_as_it_was(
    error: Any, stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastact.cuda import recorder

    with ActivationMonitor() as monitor:
        monitor.record("layer", OnDevice(normal(3)))
        monitor.step()

        def launcher(*_: Any) -> Any:
            def launch(*_: Any) -> None:
                raise error("no launch")

            return launch

        with monkeypatch.context() as patch:
            patch.setattr(recorder, "_kernel", launcher)
            if error is KeyboardInterrupt:
                with pytest.raises(KeyboardInterrupt):
                    monitor.record("layer", OnDevice(normal(3)))
            else:
                monitor.record("layer", OnDevice(normal(3)))
                with pytest.warns(RuntimeWarning, match="'layer'.*no launch"):
                    monitor.step()
        stats: Any = monitor.record("layer", OnDevice(normal(4)))
        monitor.step()
        assert stats.count == 4
        assert monitor.history["layer"]["count"].tolist() == [3, 4]
        assert monitor.failures == (error is OSError)
        rows = monitor._queue.deferred
        assert rows is not None
        assert rows._devices[0].ring.tail == rows._devices[0].ring.head == 3


@simulated
def test_an_interrupt_while_closing_is_counted(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monitor = ActivationMonitor()
    stream.held = []
    monitor.record("layer", OnDevice(normal(3)))
    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.warns(RuntimeWarning, match="step 0.*interrupted"), pytest.raises(KeyboardInterrupt):
        monitor.close()
    monkeypatch.undo()
    assert monitor.closed
    assert monitor.failures == 1


@simulated
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


@simulated
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


@simulated
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


@pytest.fixture
def torch() -> Any:
    if SIMULATED:
        pytest.skip("the simulator has no torch tensors; it has streams of its own, in other tests")
    return pytest.importorskip("torch", reason="makes CUDA tensors, streams and graphs")


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
def test_a_torch_graph_gives_rows_at_each_replay(torch: Any) -> None:
    x = torch.zeros(64, 16, device="cuda")
    with ActivationMonitor() as monitor:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            monitor.record("layer", torch.relu(x), axis=-1)
        torch.cuda.current_stream().wait_stream(side)
        monitor.step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = torch.relu(x)
            captured: Any = monitor.record("layer", y, axis=-1)
        with pytest.raises(fastact.FastactError, match="CUDA graph"):
            _ = captured.mean
        for step in range(1, 200):
            x.fill_(float(step))
            graph.replay()
            monitor.step()
        rows = monitor.history["layer"].rows
        assert rows["step"].tolist() == list(range(100, 200))
        assert rows["mean"].tolist() == [float(step) for step in range(100, 200)]
        assert (rows["silent_neurons"] == 0).all()
        assert monitor.failures == 0
    graph.replay()
    torch.cuda.synchronize()


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
