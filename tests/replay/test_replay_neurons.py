"""Which neurons a log says are dead: of one rank, of all of them, of groups; and what the command line prints."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fastact
from fastact import ActivationMonitor, ArgumentTypeError, ArgumentValueError, open_log
from fastact.cli.app import app

#: The neurons that are dead on each rank: 2 and 3 on both.
DEAD = ([1, 2, 3], [2, 3, 4, 5])


def train(path: Path, rank: int, steps: int = 40, group: str = "", layer: str = "act", axis: int | None = -1) -> None:
    with ActivationMonitor(path, rank=rank, ranks=2, group=group) as monitor:
        for step in range(steps):
            x = np.maximum(np.random.default_rng((rank, step)).standard_normal((64, 16)), 0.0)
            x[:, DEAD[rank]] = 0.0
            monitor.record(layer, x, axis=axis, layer_type="ReLU")
            monitor.step()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranks")
    for rank in range(2):
        train(path, rank, 40 + 5 * rank)
    return path


def test_dead_is_what_is_dead_on_all_ranks(ranks: Path) -> None:
    log = open_log(ranks)
    found = log.neurons("act")
    assert found.steps.tolist() == [9, 19, 29, 39]
    assert found.dead_now.tolist() == [2, 3]
    assert found.dead_since.tolist() == [19, 19]
    assert log.neurons("act", rank=1).dead_now.tolist() == DEAD[1]
    assert log.neurons("act", rank=1).steps.tolist() == [9, 19, 29, 39, 44]
    assert log.neurons("act", to_step=15).dead_now.tolist() == []


def test_groups_are_told_apart_by_their_names(tmp_path: Path) -> None:
    for rank in range(2):
        train(tmp_path, rank, group=f"tensor {rank}")
    log = open_log(tmp_path)
    assert log.neurons("tensor 0/act").dead_now.tolist() == DEAD[0]
    assert log.neurons("tensor 1/act").dead_now.tolist() == DEAD[1]
    assert log.neurons("act", rank=1).dead_now.tolist() == DEAD[1]
    with pytest.raises(ArgumentValueError, match="layer: got 'act', want one of tensor 0/act, tensor 1/act"):
        log.neurons("act")


def test_where_a_rank_has_kept_nothing_nothing_is_said_of_all(tmp_path: Path) -> None:
    train(tmp_path, 0)
    train(tmp_path, 1, axis=None)
    log = open_log(tmp_path)
    assert log.neurons("act").to_dict()["steps"] == []
    assert log.neurons("act", rank=0).dead_now.tolist() == DEAD[0]


def test_a_layer_of_one_rank_alone_is_its_own(tmp_path: Path) -> None:
    train(tmp_path, 0, layer="first")
    train(tmp_path, 1, layer="second")
    first, second, nothing = *open_log(tmp_path).neurons_of(["first", "second"]), open_log(tmp_path).neurons_of(["no"])
    assert (first.dead_now.tolist(), second.dead_now.tolist(), nothing) == (*DEAD, [])


def test_of_many_steps_the_older_ones_are_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastact.replay.neurons, "MOST_READ", 8)
    train(tmp_path, 0, 300)
    steps = open_log(tmp_path).neurons("act").steps.tolist()
    assert len(steps) <= 8
    assert (steps[0], steps[-2:]) == (9, [199, 299])


def test_unusable_arguments(ranks: Path) -> None:
    log = open_log(ranks)
    with pytest.raises(ArgumentValueError, match="layer: got 'acts', want one of act"):
        log.neurons("acts")
    with pytest.raises(ArgumentValueError, match="rank: got 2"):
        log.neurons("act", rank=2)
    with pytest.raises(ArgumentTypeError, match="to_step"):
        log.neurons("act", to_step="x")  # type: ignore[arg-type]
    with pytest.raises(ArgumentValueError, match="from_step"):
        log.neurons("act", from_step=-1)


def command(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["neurons", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_says_which_and_since_when(ranks: Path) -> None:
    code, out, _ = command(ranks, "act", "--rank", 1)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "act (ReLU), step 44: of 16 neurons 4 dead (25%), 4 silent in this step"
    assert lines[1] == "dead at step 19 and since: 2-5"
    assert [[*map(str.strip, line.split("│"))] for line in lines[5:]] == [
        ["9", "0", "0%", "4", "-"],
        *([str(step), "4", "25%", "4", "2-5"] for step in (19, 29, 39, 44)),
    ]
    assert command(ranks, "act")[1].splitlines()[1] == "dead at step 19 and since: 2-3"


def test_the_command_looks_at_a_step_and_prints_json(ranks: Path) -> None:
    assert command(ranks, "act", "--step", 15)[1].startswith("act (ReLU), step 9: of 16 neurons none is dead, 2 silent")
    code, out, _ = command(ranks, "act", "--step", 25, "--json")
    assert (code, json.loads(out)["step"], json.loads(out)["dead"]) == (0, 19, [2, 3])
    code, out, said = command(ranks, "act", "--step", 5)
    assert (code, out) == (0, "")
    assert said.startswith("note: of the neurons of 'act' nothing was kept up to step 5")
    assert command(ranks, "acts")[0] == 2
