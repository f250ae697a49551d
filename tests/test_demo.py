"""The demo: that it trains, finds what was done to each network, and touches nothing that is not its own."""

import copy
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastact import demo
from fastact.errors import ArgumentValueError


def test_cases_are_one_healthy_network_and_five_sick_ones() -> None:
    assert [case.name for case in demo.CASES if not case.expect] == ["healthy"]
    assert {condition for case in demo.CASES for condition in case.expect} == {
        *("dead", "saturated", "exploding", "vanishing")
    }
    assert len({case.name for case in demo.CASES}) == len(demo.CASES) == 6


def test_the_data_is_real_split_and_standardised() -> None:
    data = demo.load_digits()
    assert (len(data.train_x), len(data.test_x)) == (1347, 450)
    assert float(data.train_x.abs().max()) <= 3.0
    assert abs(float(data.train_x.mean())) < 0.05
    assert sorted(set(data.test_y.tolist())) == list(range(10))
    # No image of the test part is among those that are trained on.
    seen = {tuple(row) for row in data.train_x.tolist()}
    assert not any(tuple(row) in seen for row in data.test_x.tolist())


def test_networks_start_alike_every_time() -> None:
    for case in demo.CASES:
        one, other = demo.build(case), demo.build(case)
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_what_goes_wrong_is_told(tmp_path: Path) -> None:
    healthy = demo.CASES[0]
    outcome = demo.train(healthy, demo.load_digits(), tmp_path / "run", steps=30)
    replayed = demo.replay(outcome.path)
    assert list(demo.failures(outcome, replayed)) == []
    wanting = dataclasses.replace(outcome, case=dataclasses.replace(healthy, expect=frozenset({"dead"})))
    assert list(demo.failures(wanting, replayed)) == ["healthy: want the finding dead, got none"]
    other = copy.deepcopy(replayed)
    other["layers"][0]["mean"] += 1e-12
    assert list(demo.failures(outcome, other)) == [
        "healthy: the diagnosis replayed from the log differs from the live one"
    ]
    short = demo.train(healthy, demo.load_digits(), tmp_path / "short", steps=1)
    assert any("want every layer healthy" in line for line in demo.failures(short, demo.replay(short.path)))


def test_only_the_demos_own_folders_are_cleared(tmp_path: Path) -> None:
    out = tmp_path / "a" / "demo"
    demo.clear(out)
    (out / "healthy").mkdir()
    (out / "healthy" / "old").touch()
    (out / "mine").mkdir()
    (out / "notes.txt").touch()
    demo.clear(out)
    assert sorted(path.name for path in out.iterdir()) == [demo.MARKER, "mine", "notes.txt"]


def test_a_folder_of_others_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "healthy").mkdir()
    (tmp_path / "healthy" / "thesis.tex").touch()
    with pytest.raises(ArgumentValueError, match=r"out: got .*which holds other files"):
        demo.clear(tmp_path)
    assert (tmp_path / "healthy" / "thesis.tex").exists()
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ArgumentValueError, match=r"out: got .*not a folder"):
        demo.clear(file)


def test_a_link_in_place_of_a_run_is_not_followed(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.tex").touch()
    demo.clear(out)
    (out / "dead-bias").symlink_to(elsewhere)
    with pytest.raises(ArgumentValueError, match="was not made by the demo"):
        demo.clear(out)
    assert (elsewhere / "thesis.tex").exists()


@pytest.mark.parametrize("package", ["torch", "sklearn"])
def test_without_its_packages_the_demo_names_the_extra(package: str, tmp_path: Path) -> None:
    code = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from fastact.cli.app import main
main()
"""
    command = [sys.executable, "-c", code, "demo", "--out", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "pip install 'fastact[demo]'" in done.stderr
    assert not (tmp_path / "demo").exists()


@pytest.mark.e2e
def test_the_demo_finds_what_was_done_to_each_network(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "fastact", "demo", "--out", str(out), "--steps", "80"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert " ".join(done.stdout.split()).count("by a second process is equal to the live one") == 6
    assert "\x1b" not in done.stdout
    for case in demo.CASES:
        result = demo.replay(out / case.name)
        found = {finding["condition"] for finding in result["findings"]}
        assert case.expect <= found, case.name
        assert result["healthy"] is not bool(case.expect), case.name
        assert all(finding["remedies"] and finding["cause"] for finding in result["findings"])
        json.dumps(result, allow_nan=False)
