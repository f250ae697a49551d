"""Thresholds from a file: what is overridden, what stays, and what is said when a file is wrong."""

import math
from dataclasses import fields
from pathlib import Path

import pytest
from synthetic import found, row, saturated, watch

from fastact.diagnosis.rules import Thresholds
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError


def load(folder: Path, text: str) -> Thresholds:
    file = folder / "thresholds.toml"
    file.write_text(text, "utf-8")
    return Thresholds.from_toml(file)


def test_what_a_file_says_is_overridden_and_the_rest_stays(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Thresholds()
    assert load(tmp_path, "dead_warning = 0.1\nmin_rows = 7") == Thresholds(dead_warning=0.1, min_rows=7)
    assert load(tmp_path, "explode_growth = 100") == Thresholds(explode_growth=100)  # a whole number of a factor
    assert Thresholds.from_toml(str(tmp_path / "thresholds.toml")).explode_growth == 100


def test_it_may_stand_in_a_pyproject(tmp_path: Path) -> None:
    text = "[project]\nname = 'x'\n[tool.ruff]\nline-length = 100\n"
    assert load(tmp_path, text) == Thresholds()
    assert load(tmp_path, text + "[tool.fastact.thresholds]\nmin_rows = 7") == Thresholds(min_rows=7)


def test_it_is_what_the_rules_compare_with(tmp_path: Path) -> None:
    rows = [row(step, saturated=820, min=-1.0, max=1.0) for step in range(9)]
    assert found(watch({"act": ("Tanh", rows)})) == []
    low = load(tmp_path, "saturated_warning = 0.1")
    assert found(watch({"act": ("Tanh", rows)}, thresholds=low)) == [("act", "saturated", "warning", 0)]


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("dead_waring = 0.1", ArgumentValueError, "unknown key 'dead_waring'; the nearest known one is 'dead_warning'"),
        ("[thresholds]\nmin_rows = 3", ArgumentValueError, "unknown key 'thresholds'"),
        ("dead_warning = 2.0", ArgumentValueError, "dead_warning: got 2.0, want more than 0 and at most 1"),
        ("dead_warning = '0.1'", ArgumentTypeError, "dead_warning: got str, want a float"),
        ("min_rows = 2.5", ArgumentTypeError, "min_rows: got float, want an int"),
        ("dead_warning = nan", ArgumentValueError, "dead_warning: got nan"),
        ("dead_warning = 0.9", ArgumentValueError, "dead_serious: got 0.2, want at least dead_warning"),
        ("dead_warning 0.9", ArgumentValueError, "want a TOML file"),
        ("[tool]\nfastact = 3", None, ""),
        (
            "[tool.fastact]\nthresholds = 3",
            ArgumentTypeError,
            "tool.fastact.thresholds: got int, want a table",
        ),
    ],
)
def test_what_is_wrong_is_named_with_the_file(
    tmp_path: Path, text: str, error: type[Exception] | None, said: str
) -> None:
    if error is None:
        assert load(tmp_path, text) == Thresholds()
        return
    with pytest.raises(error) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)
    assert "thresholds.toml" in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentValueError, match=r"cannot read 'no/such\.toml', want a TOML file"):
        Thresholds.from_toml("no/such.toml")
    with pytest.raises(ArgumentValueError, match="want a TOML file"):
        Thresholds.from_toml("a\0b")
    with pytest.raises(ArgumentTypeError, match="path: got int"):
        Thresholds.from_toml(3)  # type: ignore[arg-type]
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(ArgumentValueError, match=r"latin\.toml"):
        Thresholds.from_toml(tmp_path / "latin.toml")


@pytest.mark.parametrize("name", [item.name for item in fields(Thresholds)])
def test_thresholds_refuse_what_makes_no_sense_by_name(name: str) -> None:
    for value in (-1, 0, "1", None, True, math.nan, math.inf):
        with pytest.raises(FastactError, match=rf"^{name}: got"):
            Thresholds(**{name: value})  # type: ignore[arg-type]
    assert name in Thresholds.describe()


def test_thresholds_refuse_bands_out_of_order_and_are_used() -> None:
    for wrong in (
        {"dead_warning": 0.6},
        {"saturated_critical": 0.1},
        {"explode_critical": 2.0},
        {"vanish_serious": 0.5},
    ):
        with pytest.raises(ArgumentValueError, match="want"):
            Thresholds(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="min_rows"):
        Thresholds(min_rows=2.5)  # type: ignore[arg-type]
    low = Thresholds(saturated_warning=0.1)
    assert found(watch({"act": ("Tanh", saturated(0.2))}, thresholds=low)) == [("act", "saturated", "warning", 0)]
