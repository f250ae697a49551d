"""`fastact diagnose` and `fastact layers`: what they print, and exit codes that scripts can rely on."""

import json
import shutil
from pathlib import Path

from command_line import NASTY, call, complaint

import fastact


def test_diagnose_tells_by_its_exit_code(healthy: Path, sick: Path) -> None:
    out, _ = call("diagnose", healthy)
    assert "No problems found in 2 layers" in out
    out, _ = call("diagnose", sick, code=1)
    assert "12 of its 16 neurons" in out
    assert "leaky ReLU" in out
    assert "[red]" in out


def test_diagnose_json_is_the_diagnosis(sick: Path) -> None:
    out, _ = call("diagnose", sick, "--json", code=1)
    diagnosis = fastact.open_log(sick).diagnose()
    assert json.loads(out) == json.loads(diagnosis.to_json())
    assert diagnosis.findings[0].layer == NASTY


def test_diagnose_window(sick: Path) -> None:
    out, _ = call("diagnose", sick, "--json", "--window", 3)
    assert json.loads(out)["findings"] == []
    call("diagnose", sick, "--window", 0, code=2)


def test_diagnose_for_scripts(sick: Path, tmp_path: Path) -> None:
    call("diagnose", sick, "--fail-on", "critical", code=1)  # 12 of 16 neurons are dead
    limits = tmp_path / "limits.toml"
    limits.write_text("dead_critical = 0.9\n")
    call("diagnose", sick, "--thresholds", limits, "--fail-on", "critical")
    call("diagnose", sick, "--thresholds", limits, "--fail-on", "serious", code=1)
    limits.write_text("dead_critcal = 0.9\n")
    assert "the nearest known one is 'dead_critical'" in complaint("diagnose", sick, "--thresholds", limits)
    call("diagnose", sick, "--fail-on", "much", code=2)


def test_diagnose_by_others_rules(sick: Path) -> None:
    out, _ = call("diagnose", sick, "--preset", "sagemaker", "--json", code=1)
    assert "DeadRelu" in out
    assert "preset: got 'mine', want one of naive" in complaint("diagnose", sick, "--preset", "mine")


def test_layers_shows_every_layer_in_forward_order(sick: Path) -> None:
    out, _ = call("layers", sick)
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["linear", "act\\u001b[2J[red]\\n"]
    assert "dead (critical)" in lines[3]
    assert "75%" in lines[3]


def test_diagnose_merges_ranks(sick: Path, tmp_path: Path) -> None:
    for rank in range(2):
        shutil.copytree(sick, tmp_path / f"rank-{rank:05d}")
    out, _ = call("diagnose", tmp_path, code=1)
    assert "12 of its 16 neurons" in out
    alone, _ = call("diagnose", tmp_path, "--rank", 1, code=1)
    assert alone == call("diagnose", sick, code=1)[0]
    assert "rank: got 7, want one of 0, 1" in complaint("diagnose", tmp_path, "--rank", 7)
    out, _ = call("layers", tmp_path)
    assert "75%" in out
