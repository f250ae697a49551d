"""The benchmarks' helpers: a benchmark that compares wrong answers, or skips turns, says nothing."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from bench import peers
from bench.bound import loop_of
from bench.peers import NUMBERS, Data, truth
from fastact.benchmark import turns as timing
from fastact.benchmark.figures import duration, multiple, size
from fastact.benchmark.turns import by_turns


def test_slow_contestants_take_part_in_evenly_spread_rounds() -> None:
    turns = {"fast": lambda: 1.0, "slow": lambda: 2.0}
    taken = by_turns(turns, {"slow": 3}, 9)
    assert [list(turn) for turn in taken] == [["fast", "slow"], ["fast"], ["fast"]] * 3
    assert len([turn for turn in by_turns(turns, {"slow": 4}, 11) if "slow" in turn]) == 4


@pytest.mark.parametrize(("shape", "axis"), [((9999,), None), ((60, 8, 5, 7), 1), ((60, 40, 9), -1)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_the_truth_is_what_numpy_says(shape: tuple[int, ...], axis: int | None, dtype: str) -> None:
    data = Data.make(shape, dtype, axis)
    x, others = data.tensor.double().numpy(), data.others
    want = (x.mean(others), x.std(others), x.min(others), x.max(others))
    found = truth(data)
    for name, value in zip(NUMBERS[1:5], want, strict=True):
        np.testing.assert_allclose(found[name], value, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(found["zeros"], (x == 0).sum(others))
    np.testing.assert_array_equal(found["saturated"], (np.abs(x) > data.limit).sum(others))
    assert np.sum(found["saturated"]) > 0


def test_the_innermost_loop_of_vectors_is_counted() -> None:
    fold = ["vmovups (%rax), %zmm1", "vminps %zmm2, %zmm1, %zmm2", "vcmpltps 8(%rax), %zmm1, %k1 {%k2}"]
    count = "vpaddd %zmm3, %zmm4, %zmm4 {%k1}"
    lines = [
        ".LBB0_1:", "xorl %ecx, %ecx", ".LBB0_2:", *fold, count, *fold, count, "incq %rcx", "jne .LBB0_2",
        *fold, "jne .LBB0_1", ".LBB0_3:", *fold, "vpsubd %zmm3, %zmm4, %zmm4", "jne .LBB0_3",
    ]  # fmt: skip
    loop = loop_of("\n".join(f"\t{line.replace(' ', chr(9), 1)}" for line in lines))
    assert loop is not None
    assert (loop.vectors, loop.loads, loop.others) == (2, 2, 2)
    assert loop.kinds == {"vminps zmm,zmm,zmm": 2, "vcmpltps zmm,zmm,k{k}": 2, "vpaddd zmm,zmm,zmm{k}": 2}
    assert loop_of("\n".join(lines[12:])) is None  # what counts in another way is another loop


def test_a_wrong_answer_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    good = next(peer for peer in peers.PEERS if peer.name == "numpy")

    def named(error: dict[str, float]) -> peers.Peer:
        def wrong(data: Data, got: Any) -> dict[str, Any]:
            right = good.named(data, got)
            return {name: right[name] + error.get(name, 0) for name in right}

        return dataclasses.replace(good, named=wrong)

    data = Data.make((1000,), "float32")
    for errors, off in (({}, set()), ({"std": 0.01}, {"numpy"})):
        monkeypatch.setattr(peers, "PEERS", (named(errors),))
        calls, found = peers.contestants(data)
        assert set(calls) == {"numpy"}
        assert set(found) == off
    monkeypatch.setattr(peers, "PEERS", (named({"zeros": 1}),))
    with pytest.raises(SystemExit, match="zeros"):
        peers.contestants(data)


def test_figures_as_text() -> None:
    assert [duration(seconds) for seconds in (2.5, 0.0111, 9.89e-7)] == ["2.50 s", "11.1 ms", "989 ns"]
    assert [multiple(ratio) for ratio in (0.014, 0.5, 2.34, 74.1)] == ["0.01", "0.50", "2.3", "74"]
    assert [size(elements) for elements in (1000, 5 * 10**7, 10**8)] == ["1e3", "5e7", "1e8"]


def test_a_busy_machine_is_one_on_which_others_work_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one on which this process worked a minute ago, as the load average has it."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (7.0, 0.0, 0.0), raising=False)
    for ticks, load in (([(100, 1000), (110, 1200)], 0.1), ([(100, 1000), (200, 1200)], 1.0), ([None], 7.0)):
        monkeypatch.setattr(timing, "_ticks", iter(ticks).__next__)
        got, warning = timing.load_warning()
        assert got == pytest.approx(load)
        assert (warning is not None) == (load > 0.5)
