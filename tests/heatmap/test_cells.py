"""The cells of a heat map, beside cells computed at leisure from all rows."""

from pathlib import Path

import numpy as np
import pytest

import fastact
from fastact import heatmap
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import COLUMN, ROW_DTYPE
from fastact.heatmap.grid import SAMPLES, Grid
from fastact.heatmap.statistics import STATISTICS

RMS, MEAN = STATISTICS["rms"], STATISTICS["mean"]


def rows_of(steps: np.ndarray, means: np.ndarray) -> np.ndarray:
    rows = np.zeros(len(steps), ROW_DTYPE)
    rows["step"], rows["mean"], rows["count"] = steps, means, 10
    return rows


def by_hand(grid: Grid, steps: np.ndarray, layers: np.ndarray, means: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    column = (steps - grid.origin) // grid.width
    cells: dict[tuple[int, int], list[float]] = {}
    for place in zip(layers.tolist(), column.tolist(), means.tolist(), strict=True):
        cells.setdefault(place[:2], []).append(place[2])
    return {place: np.array(values) for place, values in cells.items()}


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("split", [1, 7, 1000])
def test_extremes_and_counts_are_exact_however_rows_come(shuffled: bool, split: int) -> None:
    rng = np.random.default_rng(0)
    steps, layers = np.repeat(np.arange(500, 1237), 3), np.tile(np.arange(3), 737)
    means = rng.normal(size=len(steps))
    order = rng.permutation(len(steps)) if shuffled else np.arange(len(steps))
    grid = Grid([RMS, MEAN], 32, 1)
    for part in np.array_split(order, split):
        grid.add(layers[part], rows_of(steps[part], means[part]))
    count, parts = grid.count[:3, : grid.used], grid.parts(1)
    wanted = by_hand(grid, steps, layers, means)
    assert 16 <= grid.used <= 32
    assert (grid.last, grid.taken) == (1236, len(steps))
    assert len(wanted) == np.count_nonzero(count)
    for (layer, column), values in wanted.items():
        assert count[layer, column] == len(values)
        assert parts.low[layer, column] == values.min()
        assert parts.high[layer, column] == values.max()
        assert parts.low[layer, column] <= parts.lower[layer, column] <= parts.median[layer, column]
        assert parts.median[layer, column] <= parts.upper[layer, column] <= parts.high[layer, column]


def test_quantiles_are_those_of_all_rows_where_they_are_few() -> None:
    rng = np.random.default_rng(1)
    steps, layers = np.arange(16 * SAMPLES), np.zeros(16 * SAMPLES, np.int64)
    means = rng.normal(size=len(steps))
    grid = Grid([MEAN], 16)
    for at in range(len(steps)):
        grid.add(layers[at : at + 1], rows_of(steps[at : at + 1], means[at : at + 1]))
    assert grid.width == SAMPLES
    wanted = np.quantile(means.reshape(16, SAMPLES), [0.25, 0.5, 0.75], axis=1)
    found = grid.parts(0)
    np.testing.assert_allclose([found.lower[0], found.median[0], found.upper[0]], wanted, rtol=1e-14)


def test_samples_are_spread_evenly_over_the_steps_of_a_cell() -> None:
    steps = np.arange(16 * 1000)
    grid = Grid([MEAN], 16)
    for part in np.split(steps, 100):
        grid.add(np.zeros(len(part), np.int64), rows_of(part, part.astype(float)))
    centre = grid.origin + grid.width * (np.arange(grid.used - 1) + 0.5)
    # Its rows rise with the steps, so the median is that of the middle, up to the distance of two samples.
    assert np.all(np.abs(grid.parts(0).median[0, :-1] - centre) <= grid.width / SAMPLES)


def test_steps_of_any_size_and_earlier_ones_are_taken() -> None:
    grid = Grid([MEAN], 8)
    for step in (2**40, 5, -(2**62), 2**62):
        grid.add(np.zeros(1, np.int64), rows_of(np.array([step]), np.array([float(step)])))
    parts = grid.parts(0)
    assert grid.used <= 8
    assert grid.count.sum() == 4
    assert (np.nanmin(parts.low), np.nanmax(parts.high)) == (-(2.0**62), 2.0**62)


def test_cells_of_a_history_and_of_its_log_are_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    with fastact.ActivationMonitor(tmp_path / "run", window_size=100) as monitor:
        for _ in range(40):
            monitor.record("encoder.0", rng.normal(size=(8, 4)), axis=1)
            monitor.record("encoder.1", np.full((8, 4), np.nan))
            monitor.step()
    live = heatmap.cells(monitor.history, "absmax")
    read = heatmap.cells(fastact.open_log(tmp_path / "run"), "absmax")
    assert live.layers == read.layers == (("encoder.0",), ("encoder.1",))
    assert (live.width, live.last, live.merged) == (1, 39, "")
    np.testing.assert_array_equal(live.steps, np.arange(40))
    for name in ("count", "low", "lower", "median", "upper", "high"):
        np.testing.assert_array_equal(getattr(live, name), getattr(read, name))
    rows = monitor.history["encoder.0"].rows
    np.testing.assert_array_equal(live.median[0], np.maximum(-rows["min"], rows["max"]))
    assert np.isnan(live.median[1]).all()
    only = heatmap.cells(monitor.history, "absmax", ["encoder.0"])
    assert only.layers == (("encoder.0",),)


def test_a_budget_bounds_the_cells_and_says_what_was_merged() -> None:
    grid_rows = 300
    with fastact.ActivationMonitor(window_size=50) as monitor:
        for step in range(50):
            for layer in range(grid_rows):
                monitor.record(f"l{layer}", np.array([float(layer == 7 and step == 30)]))
            monitor.step()
    found = heatmap.cells(monitor.history, "rms", budget=1000)
    assert found.median.size <= 1000
    assert found.merged == "4 steps a column, up to 4 layers a row"
    assert sum(map(len, found.layers)) == grid_rows
    # What is seen in one row of one layer is not lost.
    assert np.argwhere(found.high == 1.0).tolist() == [[7 // 4, 30 // 4]]
    assert found.names[1] == "l4 … l7"


@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic_is_finite_or_nan_whatever_the_row(name: str) -> None:
    rows = np.zeros(6, ROW_DTYPE)
    for i, value in enumerate((0.0, 1.0, -1.0, np.nan, np.inf, 1.7e308)):
        for field in COLUMN:
            rows[field][i] = value if rows.dtype[field] == np.float64 else max(min(np.nan_to_num(value), 2.0**60), -1)
    values = STATISTICS[name].of(rows)
    assert values.dtype == np.float64
    assert not np.isinf(values).any()
    if STATISTICS[name].kind == "share":
        assert np.nanmax(values, initial=0.0) <= 1.0


def test_statistics_go_by_the_names_and_values_of_stats() -> None:
    with fastact.ActivationMonitor() as monitor:
        stats = monitor.record("a", np.array([[-3.0, 0.0, 1.0], [np.nan, 2.0, 0.0]]), axis=1)
        monitor.step()
    assert stats is not None
    for name in ("rms", "std", "mean", "abs_mean", "absmax", "min", "max", "zero_ratio", "saturation_ratio"):
        assert heatmap.cells(monitor.history, name).median[0, 0] == pytest.approx(getattr(stats, name), rel=1e-15)


def test_unusable_arguments_are_named() -> None:
    history = fastact.ActivationMonitor().history
    with pytest.raises(ArgumentValueError, match="statistic: got 'size', want one of rms, std"):
        heatmap.cells(history, "size")
    with pytest.raises(ArgumentValueError, match="layers: got 'x'"):
        heatmap.cells(history, "rms", ["x"])
    with pytest.raises(ArgumentTypeError, match="layers: got int"):
        heatmap.cells(history, "rms", 3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="source: got str"):
        heatmap.cells("runs/a", "rms")  # type: ignore[arg-type]
    with pytest.raises(ArgumentValueError, match="budget"):
        heatmap.cells(history, "rms", budget=3)
    assert heatmap.cells(history).median.shape == (0, 0)
