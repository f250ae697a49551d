"""What ``--json`` prints is what its published schema says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

import fastact
from fastact.cli.app import app
from fastact.schemas import SCHEMAS, published
from scripts.schemas import FOLDER, texts

VALIDATORS: Any = {name: Draft202012Validator(json.loads(published(name))) for name in SCHEMAS}


def train(path: Path, *, dead_since: int = 10_000, steps: int = 60, seed: int = 0) -> fastact.ActivationMonitor:
    random = np.random.default_rng(seed)
    with fastact.ActivationMonitor(path) as monitor:
        for step in range(steps):
            x = np.maximum(random.standard_normal((64, 16)), 0.0) * (step < dead_since)
            monitor.record("encoder.0", x, axis=-1, layer_type="ReLU")
            monitor.record("encoder.1", np.full((4, 4), np.nan if step == 30 else 1.0), layer_type="Linear")
            monitor.step()
    return monitor


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "a")
    train(folder / "b", dead_since=20)
    return folder


def command(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_as_published(name: str) -> None:
    Draft202012Validator.check_schema(json.loads(published(name)))
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == texts()[f"{name}.json"], "python -m scripts.schemas"
    assert {path.name for path in FOLDER.glob("*.json")} == set(texts())
    assert command("schema", name) == (0, published(name))


def test_schemas_are_listed() -> None:
    assert command("schema") == (0, "".join(f"{name}\n" for name in SCHEMAS))
    assert command("schema", "demo")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("diagnose", "b", "--json"), 1),
        (("compare", "a", "b", "--json"), 1),
        (("layers", "b", "--json"), 0),
        (("neurons", "b", "encoder.0", "--json"), 0),
        (("tail", "b", "--once", "--json"), 0),
        (("tail", "b", "--json"), 0),
        (("replay", "b", "--json"), 0),
    ],
)
def test_what_is_printed_is_as_the_schema_says(runs: Path, arguments: tuple[str, ...], code: int) -> None:
    name, *rest = arguments
    found, out = command(name, *(runs / each if len(each) == 1 else each for each in rest))
    assert found == code
    printed = [json.loads(line) for line in out.splitlines()] if name in ("replay", "tail") else [json.loads(out)]
    for each in printed:
        VALIDATORS[name].validate(each)
        assert sorted(each) == sorted(VALIDATORS[name].schema["required"])
    assert len(printed) == (120 if name == "replay" else 1)


def test_rows_say_null_where_there_was_nothing(runs: Path) -> None:
    _, out = command("replay", runs / "b", "--json", "--from", 30, "--to", 30)
    first, second = map(json.loads, out.splitlines())
    assert (first["layer"], first["step"], first["neurons"], first["rank"]) == ("encoder.0", 30, 16, 0)
    assert (second["nans"], second["mean"], second["min"], second["within_std"]) == (16, None, None, None)


def test_since_leaves_out_what_began_before(runs: Path) -> None:
    every = json.loads(command("diagnose", runs / "b", "--json")[1])["findings"]
    assert {finding["first_step"] for finding in every} > {20}
    code, out = command("diagnose", runs / "b", "--json", "--since", 21)
    assert json.loads(out)["findings"] == [finding for finding in every if finding["first_step"] >= 21]
    assert code == int(bool(json.loads(out)["findings"]))
    assert command("diagnose", runs / "b", "--since", 60)[0] == 0
    found = json.loads(command("compare", runs / "a", runs / "b", "--json", "--since", 40)[1])
    assert (found["first_step"], found["first"]["step"], found["first"]["from_start"]) == (40, 40, True)
    code, out = command("compare", runs / "a", runs / "b", "--json", "--since", 1000)
    assert (code, json.loads(out)["steps"]) == (2, 0)  # nothing compared is not "they do not part"


def test_information_is_an_object() -> None:
    code, out = command("info", "--json")
    assert code == 0
    assert json.loads(out)["fastact"] == fastact.__version__


def test_a_finding_keeps_its_id_live_replayed_and_later(tmp_path: Path) -> None:
    seen: dict[int, dict[tuple[str, str], str]] = {}
    random = np.random.default_rng(0)
    with fastact.ActivationMonitor(tmp_path / "run") as monitor:
        for step in range(80):
            x = np.maximum(random.standard_normal((64, 16)), 0.0) * (step < 20)
            for layer in range(2):
                monitor.record(f"act.{layer}", x, axis=-1, layer_type="ReLU")
            monitor.step()
            if step in (40, 79):
                seen[step] = {(it.layer, it.condition): it.id for it in monitor.diagnose().findings}
    replayed = {(it.layer, it.condition): it.id for it in fastact.open_log(tmp_path / "run").diagnose().findings}
    assert seen[79] == replayed
    assert seen[40].items() <= replayed.items()
    assert len(set(replayed.values())) == len(replayed) >= 2
    assert ("act.0", "dead") in replayed
    # It is a promise: whoever kept it finds it again with a later version.
    assert replayed["act.0", "dead"] == "6284eb2fac05"


def test_ids_are_the_same_on_every_rank(tmp_path: Path) -> None:
    for rank in range(2):
        train(tmp_path / f"rank-{rank:05d}", dead_since=20, seed=rank)
    log = fastact.open_log(tmp_path)
    every = [{it.id for it in log.diagnose(rank=rank).findings if it.condition == "dead"} for rank in (0, 1, None)]
    assert every[0] == every[1] == every[2] != set()
