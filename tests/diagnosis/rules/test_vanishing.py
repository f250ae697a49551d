"""Vanishing: over depth and over steps, and what is small by design."""

import math
from typing import Any

import pytest
from synthetic import found, plain, row, signals, watch

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.rules import Thresholds
from fastact.history import LayerInfo


def test_vanishing_over_depth_names_the_layer_where_the_signal_is_lost() -> None:
    findings = watch(signals(0.5, 0.1, 0.02, 4e-4, 1e-6, 1e-9)).diagnose().findings
    assert [(f.layer, f.consequence_of) for f in findings] == [("3", None), ("4", "3"), ("5", "3")]
    first = findings[0]
    assert first.severity == "critical"  # by what reaches the end
    assert first.evidence["bits_lost"] == pytest.approx(math.log2(0.5 / 4e-4))
    assert first.evidence["bits_lost_after"] == pytest.approx(math.log2(0.5 / 1e-9))
    assert first.evidence["reference_layer"] == "0"
    assert first.message == (
        "3 (Linear) has been vanishing since step 0: the spread between samples is 0.0004, only 0.08% of the 0.5 in "
        "0 (Linear)."
    )


@pytest.mark.parametrize(
    "values",
    [
        [0.5, 1e-6, 0.5, 0.4],  # small by design, or before a normalisation
        [0.5, 0.1, 0.02, 1e-6],  # the output alone follows its targets
        [2e4, 2e4, 1.0, 1.0],  # large inputs
        [1e-5, 1e-5, 1e-5, 1e-5],  # small inputs
        [0.26, 0.06, 0.033, 0.0076, 0.0044],  # two sigmoid layers as PyTorch initialises them
    ],
)
def test_what_is_small_has_not_vanished(values: list[float]) -> None:
    assert found(watch(signals(*values))) == []


def test_a_batch_of_few_samples_says_nothing_of_what_they_differ_by() -> None:
    layers = signals(0.5, 0.5, 0.0, 0.0, count=64 * 7)
    diagnosis = watch(layers).diagnose()
    assert diagnosis.healthy
    assert all("vanishing" in layer.not_judged for layer in diagnosis.layers)


def test_collapse_over_steps() -> None:
    rows = [row(step, within_std=1.0 if step < 20 else 1e-4) for step in range(40)]
    layers = {"0": ("Linear", rows), "1": ("LayerNorm", [row(step) for step in range(40)])}
    assert found(watch(layers)) == [("0", "vanishing", "serious", 20)]
    (finding,) = watch(layers).diagnose().findings
    assert finding.message.endswith("the spread between samples is 0.0001, only 0.01% of the 1 at step 0.")


def test_std_stands_in_where_no_layer_was_swept_per_neuron() -> None:
    values = (1.0, 1e-2, 1e-4, 1e-6)
    layers = {str(i): ("Tanh", [plain(step, std=value) for step in range(10)]) for i, value in enumerate(values)}
    assert [f.layer for f in watch(layers).diagnose().culprits] == ["2"]


@pytest.mark.parametrize(("left", "first", "severity"), [(0.04, 1.0, "warning"), (0.06, 1.0, None), (0.4, 10.0, None)])
def test_a_layer_that_fades_is_told_before_it_has_vanished(left: float, first: float, severity: str | None) -> None:
    fading = [row(i, within_std=first if i < 20 else left) for i in range(40)]
    layers = {"0": ("Linear", [row(i) for i in range(40)]), "1": ("Linear", fading)}
    layers["2"] = ("LayerNorm", [row(i) for i in range(40)])
    assert found(watch(layers)) == ([("1", "vanishing", severity, 20)] if severity else [])
    assert found(watch(layers, thresholds=Thresholds(vanish_fade=0.001))) == []


@pytest.mark.parametrize(("left", "end", "told"), [(0.04, 1.5, []), (0.04, 0.5, ["warning"]), (5e-5, 1.5, ["serious"])])
def test_what_fades_is_noted_while_the_outputs_tell_samples_apart_by_more(
    left: float, end: float, told: list[str]
) -> None:
    """Past a branch that shrinks, or through a norm that makes up for it."""
    layers = {
        "0": ("Linear", [row(i) for i in range(40)]),
        "1": ("Linear", [row(i, within_std=1.0 if i < 20 else left) for i in range(40)]),
        "2": ("LayerNorm", [row(i) for i in range(40)]),
        "3": ("Linear", [row(i, within_std=1.0 if i < 20 else end) for i in range(40)]),
    }
    diagnosis = watch(layers).diagnose()
    assert [f.severity for f in diagnosis.findings] == told
    assert [note.layers for note in diagnosis.notes] == ([] if told else [("1",)])


def causes(layers: dict[str, Any], **more: Any) -> list[tuple[str, str, str]]:
    """(layer, condition, name of the cause) of each culprit that vanishes."""
    culprits = watch(layers, **more).diagnose().culprits
    return [(f.layer, f.condition, f.cause_name) for f in culprits if f.condition == "vanishing"]


def test_what_draws_random_numbers_ends_the_chain_on_both_sides() -> None:
    lost = signals(0.5, 0.02, 1e-4)
    noise = {"drop": ("Dropout", [row(s, within_std=0.3) for s in range(10)])}
    behind = {"5": ("Linear", [row(s, within_std=0.2) for s in range(10)])}
    assert found(watch(lost | behind)) == []  # small by design
    assert found(watch(lost | noise | behind)) == [("2", "vanishing", "warning", 0)]
    after = {"6": ("Linear", [row(s, within_std=1e-5) for s in range(10)])}
    small = {"7": ("Linear", [row(s, within_std=1e-5) for s in range(10)])}
    assert found(watch(signals(0.5) | noise | after | small)) == []  # the noise is no signal


def test_a_layer_is_judged_by_the_one_that_feeds_it() -> None:
    diagnoser = Diagnoser()
    values = {"main": 0.5, "side": 1e-5, "side2": 9e-6}
    for order, name in enumerate(values):
        diagnoser.add(LayerInfo(name, order, "Linear", "float32", source="side" if name == "side2" else "elsewhere"))
    for step in range(10):
        for name, value in values.items():
            diagnoser.append(name, row(step, within_std=value))
    sources = [(f.layer, f.evidence["reference_layer"]) for f in diagnoser.diagnose().findings]
    assert sources == [("side", "main"), ("side2", "main")]


def stuck(rows: int, likeness: float = 0.04, grown: float = 1.0) -> dict[str, Any]:
    """A network whose deep layers are alike from the first row on: sigmoids in between, an output layer behind."""
    first = {"0": ("Linear", [row(step, within_std=0.9) for step in range(rows)])}
    deep = [row(step, within_std=likeness * (grown if step > rows - 20 else 1.0)) for step in range(rows)]
    first |= {
        str(i): ("Sigmoid" if i % 2 else "Linear", [row(step, within_std=0.2) for step in range(rows)]) for i in (1, 2)
    }
    return first | {str(i): ("Sigmoid" if i % 2 else "Linear", deep) for i in range(3, 7)}


def test_a_network_that_is_stuck_as_it_was_initialised() -> None:
    assert causes(stuck(100)) == [("3", "vanishing", "activation_slope")]
    assert causes(stuck(99)) == []
    assert causes(stuck(100, likeness=0.061)) == []
    assert causes(stuck(110, likeness=0.02, grown=2.1)) == []  # it is on its way


def test_the_cause_over_depth_fits_what_lies_between() -> None:
    assert causes(signals(0.5, 0.02, 4e-4, 3e-5))[0][2] == "initialisation"
    slow = [0.5 * 0.45**i for i in range(12)]
    assert causes(signals(*slow))[0][2] == "depth"
    between = signals(0.5, 0.1, 0.02, 4e-3, 4e-4, 1e-5)
    between |= {name: ("Sigmoid", between[name][1]) for name in ("1", "3")}
    (finding,) = watch(between).diagnose().culprits
    assert finding.cause_name == "activation_slope"
    assert finding.because == ("2 sigmoids lie between 0 and it",)


@pytest.mark.parametrize(("size", "cause"), [(900.0, "inputs_not_normalised"), (1.0, "depth")])
def test_a_sigmoid_of_what_large_inputs_add_up_to_is_no_matter_of_depth(size: float, cause: str) -> None:
    numbers = {"mean": size / 2.0, "std": size, "within_std": size / 4.0, "min": 0.0, "max": 4.0 * size}
    layers = {"input": ("Input", [row(step, **numbers) for step in range(10)])}
    layers["0"] = "ReLU", [row(step, within_std=size) for step in range(10)]
    layers["1"] = "Sigmoid", [row(step, mean=1e-20, std=1e-20, within_std=1e-20, min=0.0) for step in range(10)]
    found = [each for each in watch(layers).diagnose().findings if each.condition == "vanishing"]
    assert [(each.layer, each.cause_name) for each in found] == [("1", cause)]


def fading(steps: int, every: float, least: float = 1e-9) -> list[Any]:
    """Rows of a layer that shrinks with its differences, by a factor in each step."""
    sizes = [max(every**step, least) for step in range(steps)]
    return [row(step, mean=0.0, std=size, within_std=0.9 * size) for step, size in enumerate(sizes)]


def test_weight_decay_shrinks_all_layers_step_by_step() -> None:
    layers = {str(i): ("Linear", fading(90, 0.93 - 0.01 * i)) for i in range(4)}
    diagnosis = watch(layers).diagnose()
    (culprit,) = diagnosis.culprits
    assert (culprit.layer, culprit.cause_name) == ("2", "weight_decay")  # the deepest but the output, so the earliest
    assert culprit.remedies[0] == "use less weight decay"
    assert {f.consequence_of for f in diagnosis.findings if f is not culprit} == {"2"}


def test_a_decay_that_takes_much_of_each_weight_is_quick() -> None:
    def told(decay: float) -> str:
        diagnoser = watch({str(i): ("Linear", fading(40, 0.3)) for i in range(4)})
        info = LayerInfo("optimiser", 9, "Optimiser", "float64", facts={"function": "SGD", "weight_decay": decay})
        diagnoser.add(info)
        diagnoser.append("optimiser", plain(39, count=1, mean=0.1, min=0.1, max=0.1))
        return diagnoser.diagnose().culprits[0].cause_name

    assert told(1.0) == "weight_decay"
    assert told(1e-3) != "weight_decay"


def test_one_layer_that_fades_among_many_that_do_not_is_no_weight_decay() -> None:
    steady = [row(step) for step in range(90)]
    layers = {str(i): ("Linear", fading(90, 0.93) if i == 1 else steady) for i in range(4)}
    ((_, _, cause),) = causes(layers)
    assert cause not in ("weight_decay", "learning_rate")
    knocked = [row(step, within_std=0.9 if step < 20 else 1e-3) for step in range(90)]
    layers["1"] = ("Linear", knocked)
    assert causes(layers) == [("1", "vanishing", "representation_collapse")]
    small = [row(step, **({"std": 1e-3, "mean": 0.0, "within_std": 1e-3} if step > 19 else {})) for step in range(90)]
    layers["1"] = ("Linear", small)
    assert causes(layers) == [("1", "vanishing", "learning_rate")]


def head(first: float, last: float, steps: int = 80) -> list[Any]:
    """Rows of a head of 8 latents that goes from one size to another one."""
    sizes = [first if step < 5 else last for step in range(steps)]
    return [row(step, mean=0.0, std=v, within_std=0.9 * v, neurons=8, count=512) for step, v in enumerate(sizes)]


@pytest.mark.parametrize(("size", "steps", "found"), [(0.04, 80, True), (0.06, 80, False), (0.04, 54, False)])
def test_heads_that_say_nothing_while_the_decoder_lives_are_a_posterior_that_collapsed(
    size: float, steps: int, found: bool
) -> None:
    steady = [row(step) for step in range(steps)]
    layers = {"enc": ("Linear", steady), "mu": ("Linear", head(0.5, size, steps))}
    layers |= {"logvar": ("Linear", head(0.5, 0.8 * size, steps)), "dec": ("Linear", steady), "out": ("Linear", steady)}
    assert causes(layers) == ([("mu", "vanishing", "posterior_collapse")] if found else [])


def test_heads_that_began_the_same_for_every_sample_have_lost_nothing() -> None:
    steady = [row(step) for step in range(80)]
    alike = [row(0, mean=0.0, std=0.5, within_std=0.0, neurons=8, count=512)]
    layers = {"enc": ("Linear", steady), "mu": ("Linear", alike + head(0.5, 0.04)[1:])}
    layers |= {"logvar": ("Linear", alike + head(0.5, 0.03)[1:]), "dec": ("Linear", steady), "out": ("Linear", steady)}
    assert [each for each in causes(layers) if each[1] == "vanishing"] == []


def test_what_was_found_does_not_flicker() -> None:
    rows = [row(step, within_std=0.9 if step < 20 else 0.06 if step in (40, 41) else 0.04) for step in range(60)]
    layers = {"0": ("Linear", [row(step) for step in range(60)]), "1": ("Linear", rows)}
    layers["2"] = ("LayerNorm", [row(step) for step in range(60)])
    assert found(watch(layers)) == [("1", "vanishing", "warning", 20)]


@pytest.mark.parametrize("kind", ["Bumps", "Linear", "ReLU"])
def test_a_layer_without_weights_that_loses_all_at_once_lost_it_by_itself(kind: str) -> None:
    layers = signals(0.5, 0.4, 1e-6, 1e-7, 1e-7)
    layers["2"] = (kind, layers["2"][1])
    culprit = watch(layers).diagnose().culprits[0]
    assert (culprit.layer, culprit.condition) == ("2", "vanishing")
    assert ("at once" in culprit.cause) is (kind == "Bumps")


@pytest.mark.parametrize(("source", "told"), [("", False), ("drop", True)])
def test_a_branch_that_is_small_behind_its_dropout_is_beside_the_samples_that_pass(source: str, *, told: bool) -> None:
    """A norm of the dropout's output alone is given its noise; one of the sum with a skip, whose source is not seen."""
    diagnoser = Diagnoser()
    given = {"input": ("Input", 1.0, ""), "fc": ("Linear", 3e-4, "input"), "drop": ("Dropout", 2e-3, "fc")}
    layers = given | {"norm": ("LayerNorm", 1.0, source), "out": ("Linear", 0.5, "norm")}
    for order, (name, (kind, _, fed)) in enumerate(layers.items()):
        diagnoser.add(LayerInfo(name, order, kind, "float32", source=fed))
    for step in range(12):
        for name, (_, spread, _) in layers.items():
            diagnoser.append(name, row(step, mean=0.0, std=spread, within_std=spread))
    assert (("fc", "vanishing") in [each[:2] for each in found(diagnoser)]) is told
