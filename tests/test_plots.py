"""Plots: what is drawn is what the rows and the findings are. Axes are looked at; no picture is compared."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import nothing_finite, row, saturated, watch

import fastact
from fastact import Diagnosis, heatmap, plots
from fastact.diagnosis.finding import Evidence
from fastact.errors import ArgumentTypeError
from fastact.history import History
from fastact.log import LogWriter

pytest.importorskip("matplotlib")
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.figure import Figure

STEPS = 40


def axes() -> Any:
    return Figure(layout="constrained").add_subplot()


def drawn(ax: Any) -> Any:
    """Draws everything: warnings are errors."""
    ax.figure.draw_without_rendering()
    return ax


@pytest.fixture(scope="module")
def sick() -> tuple[History, Diagnosis]:
    """A tanh that is saturated from step 0 on, what follows, and a layer whose rms grows a millionfold."""
    rows = [row(step, mean=0.0, std=2.0**step / 1e4, within_std=0.5) for step in range(STEPS)]
    diagnoser = watch({
        "fc1": ("Linear", [row(step) for step in range(STEPS)]),
        "odd [red]\n": ("Tanh", saturated(0.97, range(STEPS))),
        "grows": ("Linear", rows),
        "nan": ("Linear", [*(row(step) for step in range(30)), *(nothing_finite(step) for step in range(30, STEPS))]),
    })  # fmt: skip
    return diagnoser.history, diagnoser.diagnose()


def names(labels: Any) -> list[str]:
    return [label.get_text() for label in labels]


def test_a_heat_map_is_the_medians_of_the_cells(sick: tuple[History, Diagnosis]) -> None:
    history, diagnosis = sick
    cells = heatmap.cells(history, "rms")
    ax = drawn(plots.heat_map(cells, axes(), findings=diagnosis.findings))
    (image,) = ax.images
    assert np.array_equal(image.get_array().filled(np.nan), cells.median, equal_nan=True)
    assert image.get_array().mask[3, 30:].all()  # no finite number: the grey behind it
    assert image.get_extent() == [-0.5, STEPS - 0.5, 3.5, -0.5]
    assert isinstance(image.norm, LogNorm)
    assert image.cmap.name == "viridis"
    assert names(ax.get_yticklabels()) == ["fc1", "odd [red]\\n", "grows", "nan"]
    assert len(ax.figure.axes) == 2  # with the colour bar
    marks = {(x, y) for line in ax.lines for x, y in zip(*line.get_data(), strict=True)}
    places = {"fc1": 0, "odd [red]\n": 1, "grows": 2, "nan": 3}
    assert marks == {(each.first_step, places[each.layer]) for each in diagnosis.findings}
    assert {"critical"} <= set(names(ax.get_legend().get_texts()))


def test_colours_follow_values_as_they_are_asked_to(sick: tuple[History, Diagnosis]) -> None:
    history, _ = sick

    def norm(statistic: str, scale: Any = "auto") -> Any:
        return plots.heat_map(heatmap.cells(history, statistic), axes(), scale=scale, colour_bar=False).images[0].norm

    assert type(norm("rms", "linear")) is Normalize
    assert type(norm("zero_ratio")) is Normalize
    signed = norm("min")
    assert (signed.vmin, signed.vmax) == (-3.0, 3.0) or signed.vmax < 0
    symmetric = norm("rms", "symlog")
    assert isinstance(symmetric, SymLogNorm)
    assert symmetric.vmax is not None
    assert symmetric.vmin == -symmetric.vmax
    with pytest.raises(fastact.ArgumentValueError, match="scale: got 'cubic', want one of auto, linear, log, symlog"):
        norm("rms", "cubic")


def test_curves_have_bands_where_a_cell_has_several_rows(sick: tuple[History, Diagnosis]) -> None:
    history, diagnosis = sick
    cells = heatmap.cells(history, "rms")
    ax = drawn(plots.curves(cells, axes(), findings=diagnosis.findings))
    assert ax.get_yscale() == "log"
    assert ax.lines[2].get_ydata().tolist() == cells.median[2].tolist()
    assert not ax.collections  # each cell is one row
    assert "odd [red]\\n" in names(ax.get_legend().get_texts())
    wide = heatmap.cells(history, "std", ["grows"], budget=64)
    assert wide.width == 1
    many = heatmap.cells(watch({"a": ("Linear", [row(s, std=1 + s % 7) for s in range(900)])}, 1000).history, "std")
    assert many.width == 2
    ax = drawn(plots.curves(many, axes()))
    assert len(ax.collections) == 2
    lowest = min(path[:, 1].min() for path in (ax.collections[1].get_paths()[0].vertices,))
    assert lowest == 1.0
    assert not drawn(plots.curves(many, axes(), bands=False)).collections
    image: Any = plots.heat_map(many, axes()).images[0].get_array()
    assert np.array_equal(image, many.median)
    assert not np.array_equal(image, many.high)


def test_a_finding_where_a_curve_is_zero_is_marked_at_the_bottom_of_a_logarithmic_axis() -> None:
    dead = [row(s, std=2.0**s, mean=0.0) if s < 9 else row(s, std=0.0, mean=0.0) for s in range(20)]
    history = watch({"a": ("Linear", dead)}).history
    found = fastact.Finding("a", "vanishing", "serious", 12, Evidence(), "", "", ())
    ax = drawn(plots.curves(heatmap.cells(history, "std"), axes(), findings=[found]))
    assert ax.get_yscale() == "log"
    assert [line.get_xydata().tolist() for line in ax.lines[1:]] == [[[12, 1.0]]]


def test_findings_are_bars_from_their_first_step_on(sick: tuple[History, Diagnosis]) -> None:
    _, diagnosis = sick
    ax = drawn(diagnosis.plot(axes()))
    bars = [tuple(bar.get_paths()[0].vertices[:, 0][[0, 2]]) for bar in ax.collections]
    assert sorted(bars) == sorted((each.first_step - 0.5, STEPS - 0.5) for each in diagnosis.findings)
    ill = {each.layer for each in diagnosis.findings}
    assert len(names(ax.get_yticklabels())) == len(ill)
    assert any("saturated (critical)" in text.get_text() for text in ax.texts)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first layer on top
    healthy = watch({"a": ("Linear", [row(step) for step in range(9)])}).diagnose()
    assert names(drawn(healthy.plot(axes())).texts) == ["no problems found"]
    assert drawn(Diagnosis((), ()).plot(axes())).get_title("left") == "findings"


def test_a_log_is_plotted_with_its_findings(tmp_path: Path) -> None:
    with LogWriter(tmp_path) as writer:
        writer.add_layer(fastact.LayerInfo("act", 0, "Tanh"))
        for each in saturated(0.97, range(12)):
            writer.append(each)
    log = fastact.open_log(tmp_path)
    ax = axes()
    assert log.plot("saturation_ratio", ax) is ax
    (finding,) = log.diagnose().findings
    assert drawn(ax).lines[0].get_xdata().tolist() == [finding.first_step]
    assert not log.plot("saturation_ratio", axes(), findings=False).lines
    curves = log.plot("rms", axes(), kind="curves", layers="act", findings=log.diagnose())
    assert curves.lines[0].get_label() == "act"
    with pytest.raises(fastact.ArgumentValueError, match="kind: got 'pie', want one of map, curves"):
        log.plot(kind="pie")  # type: ignore[arg-type]
    with pytest.raises(fastact.ArgumentValueError, match="layers: got 'none'"):
        log.plot(layers="none")


def test_new_axes_are_those_of_a_new_figure(sick: tuple[History, Diagnosis]) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    first, second = sick[1].plot(), sick[1].plot()
    assert first.figure is not second.figure
    plt.close("all")


def test_nothing_is_drawn_of_nothing() -> None:
    cells = heatmap.cells({}, "rms")
    assert not names(drawn(plots.heat_map(cells, axes())).get_yticklabels())
    assert not drawn(plots.curves(cells, axes())).lines


def test_a_missing_matplotlib_names_the_extra() -> None:
    code = "import sys; sys.modules['matplotlib'] = None\nimport fastact\nfastact.Diagnosis((), ()).plot()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: fastact.plots needs matplotlib: pip install 'fastact[plot]'" in done.stderr


def test_names_are_no_formulas_and_none_is_left_out() -> None:
    given = ["$\\frac$", "a$x_1$b", "_hidden", "$"]
    diagnoser = watch({name: ("Tanh", saturated(0.97, range(STEPS))) for name in given})
    cells, diagnosis = heatmap.cells(diagnoser.history, "rms"), diagnoser.diagnose()
    wanted = ["\\$\\frac\\$", "a\\$x_1\\$b", " _hidden", "\\$"]
    assert names(drawn(plots.heat_map(cells, axes(), findings=diagnosis.findings)).get_yticklabels()) == wanted
    assert names(drawn(plots.curves(cells, axes())).get_legend().get_texts()) == wanted
    assert set(names(drawn(diagnosis.plot(axes())).get_yticklabels())) <= set(wanted)


def test_one_spike_leaves_the_colours_to_the_others() -> None:
    rows = [row(step, mean=0.0, std=1e12 if step == 20 else 1.0 + step / STEPS) for step in range(STEPS)]
    history = watch(dict.fromkeys("abc", ("Linear", rows))).history
    ax = drawn(plots.heat_map(heatmap.cells(history, "rms"), axes()))
    (image,) = ax.images
    assert image.norm.vmax < 2.0
    assert image.colorbar.extend == "max"


def test_what_is_no_axes_is_refused(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    _, several = plt.subplots(2)
    for wrong in (several, 3, "ax"):
        with pytest.raises(ArgumentTypeError, match=r"ax: got .*, want matplotlib's Axes, a single one"):
            fastact.Diagnosis((), ()).plot(wrong)  # type: ignore[arg-type]
    plt.close("all")
