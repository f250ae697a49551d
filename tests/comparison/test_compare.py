"""Where two runs part: on runs made by hand, whose difference is known."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact
from fastact import ActivationMonitor, ArgumentTypeError, ArgumentValueError, LogError, compare

Change = Callable[[int, int, np.ndarray[Any, Any]], np.ndarray[Any, Any]]


def same(step: int, layer: int, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    del step, layer
    return x


def run(
    change: Change = same,
    *,
    seed: int = 0,
    steps: int = 40,
    layers: int = 3,
    path: Path | None = None,
    every: int = 1,
    start_step: int = 0,
) -> ActivationMonitor:
    random = np.random.default_rng(seed)
    with ActivationMonitor(path, every=every, window_size=1000, start_step=start_step) as monitor:
        for step in range(steps):
            for layer in range(layers):
                x = random.standard_normal((64, 32)).astype(np.float32)
                if step < start_step:
                    continue
                monitor.record(f"layer.{layer}", change(step, layer, x), axis=-1, layer_type="Linear")
            if step >= start_step:
                monitor.step()
    return monitor


def grown(since: int, first: int = 0, by: float = 6.0) -> Change:
    return lambda step, layer, x: x * by if step >= since and layer >= first else x


def test_the_same_run_is_the_same_bit_for_bit() -> None:
    found = compare(run(), run())
    assert found.identical
    assert found.summary == "The runs are the same bit for bit: 3 layers in 40 steps."
    assert (found.first, found.partings, found.first_unequal) == (None, (), None)


def test_seeds_do_not_part() -> None:
    found = compare(run(), run(seed=1))
    assert found.first is None
    assert (found.steps, found.first_unequal) == (40, 0)
    assert found.summary.startswith("The runs do not part: they differ by no more than their own noise explains (3 lay")


@pytest.mark.parametrize("since", [0, 7, 16, 31, 32])
def test_they_part_where_one_is_changed(since: int) -> None:
    found = compare(run(), run(grown(since, first=1)))
    assert found.first is not None
    assert (found.first.layer, found.first.step, found.first.from_start) == ("layer.1", since, since == 0)
    assert {parting.layer for parting in found.partings} == {"layer.1", "layer.2"}
    assert found.first_unequal == since
    assert [layer.parts_at for layer in found.layers] == [None, since, since]
    assert (
        f"the first step that both have, {since}, in" in found.summary
        or f"part at step {since} in layer.1" in found.summary
    )


def test_what_does_not_last_is_noise() -> None:
    assert compare(run(), run(lambda step, layer, x: x * 6.0 if 20 <= step < 27 else x)).first is None
    assert compare(run(), run(lambda step, layer, x: x * 6.0 if 20 <= step < 28 else x)).first is not None


def test_nan_in_one_run_alone_counts_at_once() -> None:
    def spoil(step: int, layer: int, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if step == 39 and layer == 2:
            x[0, 0] = math.nan
        return x

    found = compare(run(), run(spoil))
    assert [(it.layer, it.statistic, it.step, it.excess) for it in found.partings] == [
        ("layer.2", "non_finite_ratio", 39, None)
    ]
    assert found.partings[0].a == 0.0
    assert found.partings[0].b == pytest.approx(1 / 2048)


def test_a_learning_rate_has_no_noise() -> None:
    def settings(rate: float) -> ActivationMonitor:
        with ActivationMonitor() as monitor:
            for step in range(40):
                if step % 10 == 0:
                    monitor.record("optimiser", np.array(rate if step >= 20 else 0.1), layer_type="Optimiser")
                monitor.record("act", np.ones(3), layer_type="ReLU")
                monitor.step()
        return monitor

    assert compare(settings(0.1), settings(0.1002)).first is None
    first = compare(settings(0.1), settings(0.11)).first
    assert first is not None
    assert (first.layer, first.statistic, first.step, first.excess) == ("optimiser", "mean", 20, None)
    assert first.a == pytest.approx(0.1)
    assert first.b == pytest.approx(0.11)


def test_layers_and_findings_of_one_run_alone() -> None:
    found = compare(run(layers=2), run(lambda step, layer, x: x * 0.0 if layer == 0 else x))
    assert (found.only_in_a, found.only_in_b) == ((), ("layer.2",))
    assert found.findings_only_in_a == ()
    assert "layer.0" in {finding.layer for finding in found.findings_only_in_b}
    assert compare(run(), ActivationMonitor()).summary == (
        "The runs have no layer in common: 3 are only in a, 0 only in b."
    )


def test_paths_logs_and_monitors(tmp_path: Path) -> None:
    a, b = run(path=tmp_path / "a"), run(grown(12), path=tmp_path / "b")
    found = compare(a, b)
    assert found.a == str(tmp_path / "a")
    assert found == compare(str(tmp_path / "a"), fastact.open_log(tmp_path / "b"))
    assert found.partings == compare(run(), run(grown(12))).partings
    with pytest.raises(ArgumentTypeError, match="b: got int, want the path of a run, a log or a monitor"):
        compare(a, 3)  # type: ignore[arg-type]
    with pytest.raises(LogError):
        compare(a, tmp_path / "nowhere")


def test_steps_are_aligned_by_their_number() -> None:
    random = np.random.default_rng(0)

    def sparse(every: int) -> ActivationMonitor:
        with ActivationMonitor(window_size=1000, every=every) as monitor:
            for step in range(120):
                x = random.standard_normal((64, 32)) * (6.0 if step >= 60 and every > 1 else 1.0)
                monitor.record("act", x, axis=-1)
                monitor.step()
        return monitor

    found = compare(sparse(1), sparse(3))
    assert (found.steps, found.first_step, found.last_step) == (40, 0, 117)
    assert found.first is not None
    assert found.first.step == 60


def test_seeds_widen_what_counts_as_noise_and_narrow_it(tmp_path: Path) -> None:
    def wide(seed: int) -> Change:
        return lambda step, layer, x: x * np.float32(3.0 ** (seed % 5 - 2)) if layer == 1 else x

    for seed in range(2, 7):
        run(wide(seed), seed=seed, path=tmp_path / "seeds" / str(seed))
    a, b = run(wide(0), seed=10), run(wide(4), seed=11)
    assert {parting.layer for parting in compare(a, b).partings} == {"layer.1"}
    found = compare(a, b, noise=tmp_path / "seeds")
    assert (found.first, found.noise, found.seeds) == (None, "seeds", 5)
    # What all seeds agree on is noticed sooner.
    c = run(lambda step, layer, x: x * 2.0 if layer == 0 else wide(2)(step, layer, x), seed=12)
    assert compare(run(wide(2), seed=10), c).first is None
    narrow = compare(run(wide(2), seed=10), c, noise=(run(wide(2), seed=seed) for seed in range(20, 32)))
    assert {parting.layer for parting in narrow.partings} == {"layer.0"}
    assert "times what the seeds differ by" in narrow.summary


def test_noise_needs_two_runs_besides_those_compared(tmp_path: Path) -> None:
    for seed in range(3):
        run(seed=seed, path=tmp_path / str(seed))
    (tmp_path / "notes").mkdir()
    assert compare(run(), run(seed=1), noise=tmp_path).seeds == 3
    with pytest.raises(ArgumentValueError, match="noise: got 1 runs besides a and b, want two or more with other s"):
        compare(tmp_path / "0", tmp_path / "1", noise=tmp_path)
    with pytest.raises(LogError, match="cannot read the runs"):
        compare(tmp_path / "0", tmp_path / "1", noise=tmp_path / "nowhere")


def test_it_does_not_depend_on_how_rows_come_in_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(steps=100, path=tmp_path / "a")
    run(grown(57), steps=100, path=tmp_path / "b")
    run(seed=1, steps=100, path=tmp_path / "c")
    whole = compare(tmp_path / "a", tmp_path / "b"), compare(tmp_path / "a", tmp_path / "c")
    with monkeypatch.context() as patched:
        patched.setattr("fastact.replay.blocks.BLOCK_ROWS", 7)
        parts = compare(tmp_path / "a", tmp_path / "b"), compare(tmp_path / "a", tmp_path / "c")
    assert parts == whole


@pytest.mark.parametrize("rows", [7, 1000])
def test_a_step_that_a_resumed_run_goes_through_again_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr("fastact.replay.blocks.BLOCK_ROWS", rows)
    run(steps=60, path=tmp_path / "a")
    run(grown(30), steps=60, path=tmp_path / "b")
    run(steps=60, path=tmp_path / "b", start_step=30)  # takes the place of what was there
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found.identical
    assert [layer.rows for layer in found.layers] == [60, 60, 60]


def test_extremes_of_more_elements_are_not_compared() -> None:
    def batches(size: int, seed: int) -> ActivationMonitor:
        random = np.random.default_rng(seed)
        with ActivationMonitor() as monitor:
            for _ in range(60):
                x = random.standard_normal((size, 256)).astype(np.float32)
                x[0, 0] = 0.02 * size  # as extremes grow
                monitor.record("act", x, axis=-1)
                monitor.step()
        return monitor

    # As the rows of a thinned log: each stands for the elements of many steps.
    assert compare(batches(4, 0), batches(4000, 1)).first is None


def test_it_is_shown_in_plain_text_and_escaped() -> None:
    monitors = []
    for by in (1.0, 9.0):
        random = np.random.default_rng(0)
        with ActivationMonitor() as monitor:
            for step in range(30):
                x = random.standard_normal((64, 32)) * (by if step >= 10 else 1.0)
                monitor.record("a\x1b[2J", x, axis=-1)
                monitor.step()
        monitors.append(monitor)
    text = str(compare(*monitors))
    assert text.splitlines()[0].startswith("The runs part at step 10 in layer a\\u001b[2J: its ")
    assert text.splitlines()[0].endswith("; before step 10 they are the same bit for bit.")
    assert "1 of 1 layer parts:\n- step 10: a\\u001b[2J, its " in text
    assert "\x1b" not in text


def test_layers_of_other_types_under_one_name_are_said_to_be() -> None:
    a, b = run(), ActivationMonitor()
    random = np.random.default_rng(0)
    for _ in range(40):
        for layer in range(3):
            x = random.standard_normal((64, 32)).astype(np.float32)
            b.record(f"layer.{layer}", x * (1 + 9 * (layer == 1)), axis=-1, layer_type="Conv2d" if layer else "Linear")
        b.step()
    text = str(compare(a, b))
    assert "in layer.1 (Linear in a, Conv2d in b): its " in text.splitlines()[0]
    assert "Types that differ: layer.1 (Linear and Conv2d); layer.2 (Linear and Conv2d)." in text


def test_runs_that_start_alike_are_told_apart_by_less() -> None:
    def halved(step: int, layer: int, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return x * np.float32(0.6) if step >= 20 and layer == 1 else x

    first = compare(run(), run(halved)).first
    assert first is not None
    assert (first.layer, first.step) == ("layer.1", 20)
    # With other weights, as these would be, as much is put down to them.
    assert compare(run(), run(lambda step, layer, x: halved(step, layer, x * np.float32(1.1)), seed=1)).first is None


def test_what_moved_in_both_runs_explains_a_difference_only_since_they_are_unequal() -> None:
    def moving(late: float) -> Change:
        return lambda step, layer, x: x * np.float32(1.03**step * (late if step >= 80 else 1.0))

    first = compare(run(moving(1.0), steps=100), run(moving(6.0), steps=100)).first
    assert first is not None
    assert first.step == 80


def test_what_is_too_short_is_said() -> None:
    (note,) = compare(run(steps=5), run(grown(0), steps=9)).notes
    assert note == "a difference must last for 8 rows to be told from noise, and the runs have 5 steps in common."
    assert compare(run(steps=8), run(steps=8)).notes == ()
    monitors = []
    for _ in range(2):
        with ActivationMonitor() as monitor:
            for step in range(20):
                monitor.record("a", np.ones(3))
                if step % 5 == 0:
                    monitor.record("b", np.ones(3))
                monitor.step()
        monitors.append(monitor)
    (note,) = compare(*monitors).notes
    assert note.startswith("b: fewer than 8 steps in which both runs have rows")
