"""The benchmark of watching: that it times what it says, with everybody's hooks off again after their turn."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

import fastact
from bench import watch
from bench.tables import BARE, cost_table, watch_table


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> watch.Case:
    monkeypatch.setattr(watch, "STEPS", 10)
    return watch.Case("tiny", lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)), lambda: watch.images(2))


@pytest.mark.parametrize("case", [watch.CASES[1], watch.CASES[3]], ids=lambda case: case.name)
def test_the_networks_train_and_every_layer_of_theirs_is_seen(case: watch.Case) -> None:
    training = watch.Training(case)
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(training.model, monitor, strict=True) as handle:
        training.step()
        monitor.step()
    assert set(monitor.history) >= set(handle.names)  # and inputs, functions and usage
    assert all(parameter.grad is not None for parameter in training.model.parameters())


def test_contestants_look_at_every_layer_and_leave_no_hooks(tiny: watch.Case, tmp_path: Path) -> None:
    training = watch.Training(tiny)
    seen: list[torch.Tensor] = []
    with watch.contestants(str(tmp_path)) as watchers:
        for watcher in (*watchers.values(), watch.hooked(seen.append)):
            watch.turn(training, watcher)
    assert len(seen) == (watch.STEPS + 1) * 2  # the first step is not timed
    assert not any(module._forward_hooks for module in training.model.modules())
    rows = [len(fastact.open_log(tmp_path / every).to_table()) for every in ("1", "10")]
    # The input, too, and the loss with targets and constant answer; the optimiser in each tenth step that is recorded.
    assert rows == [6 * (watch.STEPS + 1) + 2, 6 * 2 + 1]


def test_others_find_what_they_should() -> None:
    x = torch.tensor([[1.0, -2.0], [0.0, 4.0]])
    assert watch.four_numbers(x) == pytest.approx([0.75, 2.5, -2.0, 4.0])
    low, high, counts = watch.histogram(torch.cat([x, torch.tensor([[torch.nan, torch.inf]])]))
    assert (low, high, sum(counts), len(counts)) == (-2.0, 4.0, 4, 64)
    assert watch.fastai(x)[2] == 0.5
    found = watch.inspect(x)
    assert found.tolist() == pytest.approx([-2.0, 4.0, 0.75, 6.25, 7.0, 21**0.5, 2.0, 0.0])


def test_trainings_are_chosen_by_name(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def run(console: Console, quick: bool, step: object, cases: object) -> dict[str, object]:
        asked.append(cases)
        return {"rows": []}

    monkeypatch.setattr(watch, "BENCHMARK", watch.BENCHMARK._replace(run=run))
    monkeypatch.setattr("sys.argv", ["watch", "--quick", "--case", "ResNet-18"])
    watch.main()
    assert asked == [[watch.CASES[0]]]
    monkeypatch.setattr("sys.argv", ["watch", "--case", "VGG"])
    with pytest.raises(SystemExit):
        watch.main()
    assert "argument --case: got 'VGG', want part of one of ResNet-18" in capsys.readouterr().err


def test_a_slow_down_is_that_of_the_median_round(tiny: watch.Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(turns: object, shares: object, rounds: int) -> list[dict[str, float]]:
        # The machine is twice as slow from round to round; only the second has all contestants.
        rounds_of = [{"fastact": 0.0103, BARE: 0.01}, {"hooks": 0.04, "fastact": 0.0204, BARE: 0.02}]
        return [*rounds_of, {"fastact": 0.042, BARE: 0.04}]

    monkeypatch.setattr(watch, "by_turns", taken)
    watchers = dict.fromkeys(["hooks", "fastact", BARE], watch.bare)
    lines = watch_table({"rows": watch.measure(tiny, 3, watchers)})
    assert [row[1:] for row in lines.rows] == [
        ["hooks", "40.0 ms", "+100.0%", "+100.0 to +100.0"],
        ["fastact", "20.4 ms", "+3.0%", "+2.0 to +5.0"],
        [BARE, "20.0 ms", "", ""],
    ]


def test_the_cost_has_a_row_for_each_training() -> None:
    rows = [
        {"case": "tiny", "name": name, "seconds": 0.1 * ratio, "ratio": ratio, "quartiles": [ratio, ratio]}
        for name, ratio in (("fastact", 1.02), ("hooks", 1.5), (BARE, 1.0))
    ]
    asked = {BARE: "nothing", "fastact": "all", "hooks": "some"}
    lines = cost_table({"asked": asked, "rows": rows, "bytes": {"tiny": 10**7}})
    assert lines.header == ["training", "step", "outputs", "fastact", "hooks"]
    assert lines.rows == [["tiny", "100 ms", "10 MB", "+2.0%", "+50.0%"]]


def test_what_is_watched_is_counted_in_bytes(tiny: watch.Case) -> None:
    assert watch.watched_bytes(tiny) == 4 * 2 * (3 * 32 * 32 + 10)


def test_results_of_other_trainings_are_kept(tiny: watch.Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tiny._replace(name="other")
    monkeypatch.setattr(watch, "CASES", (other, tiny))
    monkeypatch.setattr(watch, "SOURCE", tmp_path / "watch.json")
    monkeypatch.setattr(watch, "OTHERS", {})
    first = watch.run(Console(), quick=True, step=lambda _: None, cases=[tiny])
    watch.SOURCE.write_text(json.dumps(first))
    both = watch.run(Console(), quick=True, step=lambda _: None, cases=[other])
    assert list(dict.fromkeys(row["case"] for row in both["rows"])) == ["other", "tiny"]
    assert [row for row in both["rows"] if row["case"] == "tiny"] == first["rows"]
    assert set(both["bytes"]) == {"other", "tiny"}
