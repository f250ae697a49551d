"""Saturation: which layers are judged, by what share, and what a layer may learn."""

from typing import Any

import pytest
from synthetic import Row, found, only, plain, row, saturated, scaled, watch

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.rules import Thresholds
from fastact.history import LayerInfo


@pytest.mark.parametrize(
    ("share", "severity"), [(0.49, None), (0.51, "warning"), (0.7, "serious"), (0.9, "critical")]
)  # fmt: skip
def test_saturation_by_share(share: float, severity: str | None) -> None:
    assert found(watch({"act": ("Tanh", saturated(share))})) == (
        [("act", "saturated", severity, 0)] if severity else []
    )


@pytest.mark.parametrize(
    ("kind", "numbers", "judged"),
    [
        ("Sigmoid", {}, True),
        ("Linear", {}, False),
        ("Softmax", {}, False),
        ("ReLU", {}, False),
        ("", {}, True),  # looks like a tanh
        ("", {"max": 1.5}, False),
        ("", {"min": 0.0}, False),  # pixels
    ],
)
def test_saturation_knows_what_is_bounded(kind: str, numbers: dict[str, float], judged: bool) -> None:
    rows = [row(step, **{"saturated": 4000, "min": -1.0, "max": 1.0, **numbers}) for step in range(10)]
    assert bool(found(watch({"act": (kind, rows)}))) is judged


def test_what_a_layer_learned_to_saturate_is_sick_only_when_hardly_any_gradient_is_left() -> None:
    def rising(rows: int, to: float) -> list[Any]:
        """From 20% to 50% within so many rows, then held at `to`."""
        ramp = [row(i, saturated=int(4096 * (0.2 + 0.3 * i / rows)), min=-1.0, max=1.0) for i in range(rows)]
        return ramp + saturated(to, range(rows, rows + 10))

    # Half of the warning (25%) is reached after a sixth of the ramp.
    assert found(watch({"act": ("Tanh", rising(36, 0.7))})) == []
    assert found(watch({"act": ("Tanh", rising(36, 0.9))})) == [("act", "saturated", "critical", 36)]
    assert found(watch({"act": ("Tanh", rising(12, 0.7))})) == [("act", "saturated", "serious", 12)]
    soon = Thresholds(saturated_rows=5)
    assert found(watch({"act": ("Tanh", rising(12, 0.7))}, thresholds=soon)) == []
    # From the first row on: nobody learned it.
    assert found(watch({"act": ("Tanh", saturated(0.4, range(30)) + saturated(0.7, range(30, 40)))})) == []
    assert found(watch({"act": ("Tanh", saturated(0.6, range(40)))})) == [("act", "saturated", "warning", 0)]


def test_a_sigmoid_among_other_activations_is_a_gate_that_may_open_and_shut() -> None:
    hidden = ("Linear", [row(step) for step in range(30)])
    shut = saturated(0.0, range(5)) + saturated(0.9, range(5, 30))
    for other, judged in (("ReLU", False), ("Tanh", False), ("Linear", True), ("Sigmoid", True), ("BatchNorm1d", True)):
        layers = {"act": (other, [row(step) for step in range(30)]), "gate": ("Sigmoid", shut), "out": hidden}
        assert bool(found(watch(layers))) is judged
        born = {**layers, "gate": ("Sigmoid", saturated(0.9, range(30)))}
        assert found(watch(born)) == [("gate", "saturated", "critical", 0)]


def test_a_finding_outlasts_a_few_rows_that_are_better_and_ends_with_the_saturation() -> None:
    rows = saturated(0.9, range(20)) + saturated(0.1, range(20, 22)) + saturated(0.9, range(22, 25))
    assert found(watch({"act": ("Tanh", rows)})) == [("act", "saturated", "serious", 0)]
    assert found(watch({"act": ("Tanh", rows + saturated(0.45, range(25, 33)))})) == [
        ("act", "saturated", "warning", 0)
    ]
    assert found(watch({"act": ("Tanh", rows + saturated(0.1, range(25, 35)))})) == []
    assert found(watch({"act": ("Tanh", saturated(0.9, range(1)) + saturated(0.1, range(1, 9)))})) == []


def test_a_share_of_few_elements_is_pooled_until_there_are_enough() -> None:
    few = [row(s, count=16, saturated=12, neurons=2, min=-1.0, max=1.0) for s in range(40)]
    assert found(watch({"act": ("Tanh", few[:18])})) == []
    assert found(watch({"act": ("Tanh", few)})) == [("act", "saturated", "serious", 0)]
    odd = [row(s, count=16, saturated=16 if s > 35 else 0, neurons=2, min=-1.0, max=1.0) for s in range(41)]
    assert found(watch({"act": ("Tanh", odd)})) == []


def test_what_was_learned_is_healthy_while_the_layers_behind_keep_their_signal() -> None:
    ramp = [row(i, saturated=int(4096 * (0.2 + 0.3 * i / 36)), min=-1.0, max=1.0) for i in range(36)]
    act = ("Tanh", ramp + saturated(0.95, range(36, 60)))
    for spread, sick in ((0.9, False), (0.01, True)):
        layers = {"act": act, "fc": ("Linear", [row(s, within_std=spread) for s in range(60)])}
        assert bool(found(watch(layers | {"end": layers["fc"]}))) is sick


def test_a_discriminator_that_is_sure_is_told_beside_a_generator_alone() -> None:
    sure = ("Sigmoid", saturated(0.1, range(15)) + saturated(0.95, range(15, 40)))
    hidden = ("Linear", [row(s) for s in range(40)])
    finding = only({"generator.0": hidden, "discriminator.0": hidden, "discriminator.1": sure})
    assert (finding.layer, finding.cause_name) == ("discriminator.1", "discriminator_wins")
    assert "the generator gets no gradient" in finding.cause
    assert found(watch({"encoder.0": hidden, "discriminator.0": hidden, "discriminator.1": sure})) == []


def test_causes_fit_the_input_and_the_time_and_remedies_the_place() -> None:
    steps = range(20)
    hidden = ("Linear", [row(s, min=-60.0, max=60.0) for s in steps])
    pixels = ("Input", [row(s, min=0.0, max=255.0, mean=80.0, std=90.0) for s in steps])
    normal = ("Input", [row(s, mean=0.0) for s in steps])
    act, end = ("Tanh", saturated(0.9, steps)), ("Linear", [row(s) for s in steps])
    large = only({"input": pixels, "0": hidden, "1": act, "2": end})
    assert large.cause_name == "inputs_not_normalised"
    assert "reaches 255" in large.because[0]
    weights = only({"input": normal, "0": hidden, "1": act, "2": end})
    assert weights.cause_name == "initialisation"
    assert not any("normalise the inputs" in remedy for remedy in weights.remedies)
    later = ("Tanh", saturated(0.0, range(5)) + saturated(0.9, range(5, 20)))
    rate = only({"input": normal, "0": hidden, "1": later, "2": end})
    assert (rate.cause_name, rate.remedies[0]) == ("learning_rate", "use a lower learning rate")
    relu = ("ReLU", [row(s) for s in steps])
    for layers in ({"0": hidden, "r": relu, "1": act, "2": end}, {"0": hidden, "1": act}):
        assert not any("ReLU" in remedy for remedy in only(layers).remedies)
    jumped = ("Input", [row(s, mean=0.0, std=1.0 if s < 10 else 50.0) for s in steps])
    late = ("Tanh", saturated(0.0, range(10)) + saturated(0.9, range(10, 20)))
    findings = watch({"input": jumped, "0": hidden, "1": late, "2": end}).diagnose().findings
    assert [f.cause_name for f in findings if f.condition == "saturated"] == ["data_changed"]


def test_outputs_near_the_bounds_are_good_predictions() -> None:
    hidden = ("Linear", [row(step) for step in range(20)])
    assert found(watch({"0": hidden, "out": ("Sigmoid", saturated(0.9))})) == []
    far = ("Linear", [row(step, min=-80.0, max=90.0) for step in range(20)])
    assert found(watch({"0": far, "out": ("Sigmoid", saturated(0.9))})) == [("out", "saturated", "critical", 0)]
    learned = saturated(0.0, range(5)) + saturated(0.9, range(5, 20))
    assert found(watch({"0": hidden, "out": ("Tanh", learned)})) == []
    assert found(watch({"0": hidden, "out": ("Tanh", saturated(0.9))})) != []
    assert found(watch({"act": ("Tanh", learned), "0": hidden})) == [("act", "saturated", "critical", 5)]


def test_a_recurrent_layer_at_the_ends_of_tanh_is_saturated() -> None:
    flat = [row(step, saturated=3000, min=-1.0, max=1.0) for step in range(9)]
    unbounded = [row(step, saturated=3000, min=-1.0, max=2.0) for step in range(9)]
    end = ("Linear", [row(step) for step in range(9)])
    finding = only({"rnn[0]": ("RNN", flat), "head": end})
    assert (finding.condition, finding.severity) == ("saturated", "serious")
    assert not any("ReLU" in remedy for remedy in finding.remedies)
    assert found(watch({"lstm[1][1]": ("LSTM", unbounded), "head": end})) == []


@pytest.mark.parametrize(
    ("kind", "zeros", "condition"),
    [
        ("LSTM", 2000, "saturated"),
        ("GRUCell", 2000, "saturated"),
        ("RNN", 2000, None),
        ("LSTM", 1000, "saturated"),
        ("LSTM", 50, None),
    ],
)
def test_zeros_behind_gates_are_saturated(kind: str, zeros: int, condition: str | None) -> None:
    rows = [row(step, saturated=300 if kind != "RNN" else 50, zeros=zeros, min=-1.0, max=1.0) for step in range(8)]
    layers = {"rnn": (kind, rows), "head": ("Linear", [row(step) for step in range(8)])}
    assert [f.condition for f in watch(layers).diagnose().findings] == ([condition] if condition else [])
    if condition:
        assert "next to zero behind a shut gate" in only(layers).message


def test_a_recurrent_layer_of_zeros_is_dead_and_one_behind_shut_gates_is_saturated_first() -> None:
    head = ("Linear", [row(step) for step in range(30)])
    ends = {"min": -1.0, "max": 1.0}
    zero = {"zeros": 4096, "silent_neurons": 64, "dead_neurons": 64, "mean": 0.0, "std": 0.0, "min": 0.0, "max": 0.0}
    nothing = [row(i, **(zero if i else ends)) for i in range(30)]
    assert {f.condition for f in watch({"rnn": ("LSTM", nothing), "head": head}).diagnose().culprits} == {"dead"}
    shut = [row(i, saturated=900, zeros=3000, dead_neurons=60, min=-1.0, max=1.0) for i in range(30)]
    findings = watch({"rnn": ("LSTM", shut), "head": head}).diagnose().findings
    assert [(f.condition, f.consequence_of) for f in findings] == [("saturated", None), ("dead", "rnn")]
    assert "gates" in findings[1].cause


def test_a_discriminator_is_known_by_what_it_does_too() -> None:
    def told(*means: float, twice: bool = False) -> bool:
        layers: dict[str, tuple[str, list[Row]]] = {"maker.0": ("Linear", scaled(*[1.0] * 60))}
        layers |= {"maker.0:2": ("Linear", scaled(*[1.0] * 60))} if twice else {}
        for i, mean in enumerate(means):
            name = "judge.end" + (f":{i + 1}" if i else "")
            rows = [row(s, saturated=4000 if s > 20 else 0, mean=mean, min=0.0, max=1.0, std=0.01) for s in range(60)]
            layers[name] = ("Sigmoid", rows)
        return "discriminator_wins" in {f.cause_name for f in watch(layers).diagnose().findings}

    assert told(0.99, 0.01)
    assert not told(0.99, 0.98)
    assert not told(0.99, 0.01, twice=True)
    assert not told(0.99)


@pytest.mark.parametrize(
    ("samples", "neurons", "lowest", "sure"),
    [(96, 64, -1.0, True), (64, 64, -1.0, False), (96, 32, -1.0, False), (96, 64, 0.5, False)],
)
def test_a_discriminator_is_given_more_samples_than_the_other_model_makes(
    samples: int, neurons: int, lowest: float, sure: bool
) -> None:
    """Models that are called one by one have one row each, in which real and made samples are together."""
    made = [row(s, count=64 * 64, neurons=64) for s in range(60)]
    given = [row(s, count=samples * neurons, neurons=neurons) for s in range(60)]
    end = [
        row(s, count=samples, neurons=1, saturated=samples if s > 20 else 0, mean=0.5, min=lowest, max=1.0)
        for s in range(60)
    ]
    layers = {"painter.0": ("Linear", made), "judge.input": ("Input", given), "judge.1": ("Sigmoid", end)}
    assert ("discriminator_wins" in {f.cause_name for f in watch(layers).diagnose().findings}) is sure


def test_a_prefix_without_a_dot_names_a_discriminator_too() -> None:
    sure = ("Sigmoid", saturated(0.1, range(15)) + saturated(0.95, range(15, 40)))
    hidden = ("Linear", [row(s) for s in range(40)])
    assert only({"netG0": hidden, "netD0": hidden, "netD1": sure}).cause_name == "discriminator_wins"


@pytest.mark.parametrize(("within", "size", "judged"), [(0.9, 5.0, False), (0.02, 5.0, True), (0.9, 50.0, True)])
def test_an_output_that_went_to_its_bounds_is_judged_where_no_learning_brings_it_there(
    within: float, size: float, judged: bool
) -> None:
    """One action for all states, or inputs far beyond where a tanh still has a gradient; not one bound or the other."""
    steps = range(60)
    act = [
        row(s, saturated=0 if s < 20 else 4000, mean=0.1, std=0.95, min=-1.0, max=1.0, within_std=within) for s in steps
    ]
    before = [row(s, mean=0.0, std=1.0 if s < 20 else size, within_std=1.0 if s < 20 else size * within) for s in steps]
    layers = {"0": ("Linear", [row(s) for s in steps]), "1": ("Linear", before), "2": ("Tanh", act)}
    assert ("saturated" in {f.condition for f in watch(layers).diagnose().findings}) is judged


@pytest.mark.parametrize(("first", "now", "shut"), [(0.2, 1e-8, True), (0.2, 0.002, False), (1e-3, 1e-4, False)])
def test_half_of_a_layer_whose_gates_are_shut_is_saturated(first: float, now: float, shut: bool) -> None:
    """What was next to nothing from the first row on was given as little."""
    rows = [row(s, typical_peak=now if s > 10 else first, saturated=60, min=-1.0, max=1.0) for s in range(40)]
    layers = {"rnn": ("LSTM", rows), "head": ("Linear", [row(s) for s in range(40)])}
    assert ("saturated" in {f.condition for f in watch(layers).diagnose().findings}) is shut


@pytest.mark.parametrize(("kind", "outputs", "told"), [("LSTM", 0.3, True), ("LSTM", 2.0, False), ("GRU", 0.3, False)])
def test_outputs_of_an_lstm_near_the_ends_say_that_its_gates_are_where_nothing_was_learned(
    kind: str, outputs: float, told: bool
) -> None:
    rows = [row(s, saturated=100, min=-1.0, max=1.0) for s in range(40)]
    head = [row(s, mean=0.0, std=outputs if s == 0 else 2.0) for s in range(40)]
    assert bool(found(watch({"rnn": (kind, rows), "head": ("Linear", head)}))) is told


@pytest.mark.parametrize(
    ("told", "fooled", "rows", "expected"),
    [(0.01, 6.0, 40, True), (0.2, 6.0, 40, False), (0.01, 3.0, 40, False), (0.01, 6.0, 29, False)],
)
def test_a_discriminator_of_logits_wins_by_the_losses_of_both(
    told: float, fooled: float, rows: int, expected: bool
) -> None:
    diagnoser = Diagnoser()
    function = {"function": "binary_cross_entropy_with_logits"}
    diagnoser.add(LayerInfo("g.0", 0, "Linear"))
    diagnoser.add(LayerInfo("d.0", 1, "Linear"))
    for name in ("real", "made", "fooled"):
        diagnoser.add(LayerInfo(name, 2, "Loss", facts=function))
        diagnoser.add(LayerInfo(f"{name}:target", 2, "Target"))
    for step in range(rows):
        diagnoser.append("g.0", row(step))
        diagnoser.append("d.0", row(step, neurons=1))
        for name, label, loss in (("real", 1.0, told), ("made", 0.0, told), ("fooled", 1.0, fooled)):
            diagnoser.append(f"{name}:target", plain(step, mean=label, std=0.0, min=label, max=label))
            diagnoser.append(name, plain(step, count=1, mean=loss, std=0.0, min=loss, max=loss))
    found = [(f.layer, f.cause_name, f.first_step) for f in diagnoser.diagnose().findings if f.condition == "saturated"]
    assert found == [("d.0", "discriminator_wins", 0)] * expected


@pytest.mark.parametrize(
    ("loss", "share", "behind", "judged"),
    [(0.1, 0.7, 0.9, False), (0.9, 0.7, 0.9, True), (0.1, 0.9, 0.9, True), (0.1, 0.7, 0.01, True)],
)
def test_what_was_quick_does_no_harm_where_all_is_learned_with_the_gradient_that_is_left(
    loss: float, share: float, behind: float, *, judged: bool
) -> None:
    """A loss of which a constant answer's is 1, and layers behind whose samples differ by so much."""
    steps = range(40)
    fc = ("Linear", [row(s, within_std=behind) for s in steps])
    layers = {
        "act": ("Tanh", saturated(0.1, range(5)) + saturated(share, range(5, 40))),
        "fc": fc,
        "out": fc,
        "loss": ("Loss", [plain(s, count=1, mean=loss, min=loss, max=loss, std=0.0) for s in steps]),
        "loss:baseline": ("Baseline", [plain(s, count=1, mean=1.0, min=1.0, max=1.0, std=0.0) for s in steps]),
    }
    assert (("act", "saturated") in [each[:2] for each in found(watch(layers))]) is judged
