"""Collapse: samples that become alike while their size stays, and softmaxes that have nothing to choose."""

import math
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from synthetic import found, row, watch
from torch import nn

import fastact
import fastact.torch
from fastact.diagnosis.evidence import softmax
from fastact.diagnosis.evidence.similarity import likeness
from fastact.fields import ROW_DTYPE

Layers = dict[str, tuple[str, list[Any]]]


def alike(first: float, last: float, rows: int = 60, since: int = 20, **more: float) -> list[Any]:
    """Rows of a layer whose likeness goes from one value to another one in a step."""
    return [row(step, within_std=first if step < since else last, **more) for step in range(rows)]


def network(last: float = 0.1, behind: float = 0.15, outputs: int = 64, **more: Any) -> Layers:
    """Layers whose samples become alike at layer 2, with one after it and an output layer."""
    layers = {"0": ("Linear", alike(0.9, 0.9)), "1": ("ReLU", alike(0.8, 0.7)), "2": ("Linear", alike(0.7, last))}
    layers |= {"3": ("ReLU", alike(0.7, behind)), "4": ("Linear", alike(0.7, behind))}
    return layers | {"5": ("Linear", alike(0.7, behind, neurons=outputs, **more))}


def causes(layers: Layers) -> list[tuple[str, str, str]]:
    return [(f.layer, f.condition, f.cause_name) for f in watch(layers).diagnose().culprits]


def test_the_layer_in_which_samples_become_alike_is_named() -> None:
    (finding,) = watch(network()).diagnose().culprits
    assert (finding.layer, finding.condition, finding.severity, finding.first_step) == ("2", "collapsed", "warning", 20)
    assert finding.cause_name == "representation_collapse"
    assert finding.evidence["likeness_before"] == pytest.approx(0.7)
    assert finding.message == (
        "2 (Linear) has been collapsed since step 20: samples are nearly alike, only 10% of what its outputs differ by "
        "lies between samples (70% at step 0)."
    )


@pytest.mark.parametrize(
    ("last", "severity"), [(0.12, "warning"), (0.121, None), (0.03, "serious"), (0.003, "critical")]
)
def test_how_alike_decides_how_grave_it_is(last: float, severity: str | None) -> None:
    layers = network(last) | {"5": ("Linear", alike(0.7, 0.5))}
    assert found(watch(layers))[:1] == ([("2", "collapsed", severity, 20)] if severity else [])


@pytest.mark.parametrize(
    ("last", "outputs", "grown", "found_it"),
    [(0.24, 0.3, 1.0, True), (0.25, 0.3, 1.0, False), (0.24, 0.31, 1.0, False), (0.24, 0.3, 2.0, False)],
)
def test_what_still_tells_samples_apart_a_little_has_collapsed_in_part(
    last: float, outputs: float, grown: float, found_it: bool
) -> None:
    """Layer 2 comes down to a third, and each after it; `grown` is what its samples differ by, next to the first row.

    A network whose targets have an offset comes as low in between, but its samples come to differ by more.
    """
    size = grown * 0.7 / last
    hidden = [
        row(step, within_std=0.7 if step < 20 else grown * 0.7, std=1.0 if step < 20 else size) for step in range(60)
    ]
    layers = network(outputs, outputs) | {"2": ("Linear", hidden)}
    layers |= {name: ("Linear", alike(0.8, outputs)) for name in "345"}
    told = [each[:2] for each in found(watch(layers))]
    assert (("2", "collapsed") in told) is found_it


@pytest.mark.parametrize("grown", [1.0, 2.0])
def test_outputs_that_move_to_where_the_targets_are_have_not_collapsed(grown: float) -> None:
    """By themselves they are judged where their samples do not come to differ by more, as they do where it learns."""
    moved = [row(s, within_std=0.5 if s < 20 else grown * 0.5, std=1.0 if s < 20 else 5.0 * grown) for s in range(140)]
    layers = {"0": ("Linear", alike(0.9, 0.9, 140)), "1": ("Linear", moved)}
    assert [each[:2] for each in found(watch(layers))] == ([("1", "collapsed")] if grown == 1.0 else [])


def test_what_tells_samples_apart_behind_it_makes_a_layer_healthy() -> None:
    assert found(watch(network(behind=0.2)))
    apart = {"5": ("Linear", alike(0.7, 0.7))}
    assert found(watch(network(behind=0.21) | apart)) == []  # a gate, a scale, a branch


def test_it_takes_twenty_rows_and_a_fall_to_a_third() -> None:
    def layers(since: int, first: float) -> Layers:
        hidden = ("Linear", alike(first, 0.1, since=since))
        return {"0": ("Linear", alike(0.9, 0.9)), "1": hidden, "2": hidden, "3": ("Linear", alike(0.2, 0.2))}

    assert found(watch(layers(40, 0.7)))[:1] == [("1", "collapsed", "warning", 40)]
    assert found(watch(layers(41, 0.7))) == []
    assert found(watch(layers(20, 0.28))) == []


@pytest.mark.parametrize(
    ("start", "rows", "found_it"),
    [
        (0.06, 100, True),
        (0.061, 100, False),
        (0.06, 99, False),
        (0.12, 120, True),
        (0.121, 120, False),
        (0.12, 119, False),
    ],
)
def test_what_begins_alike_is_told_once_it_has_stayed_so(start: float, rows: int, found_it: bool) -> None:
    hidden = ("Conv", alike(start, start, rows))  # of a graph: as large as what feeds it
    layers = {"0": ("Linear", alike(0.9, 0.9, rows, std=0.5))} | {str(i): hidden for i in range(1, 14)}
    layers |= {"14": ("Linear", alike(0.1, 0.1, rows, neurons=4))}
    collapsed = [f for f in watch(layers).diagnose().findings if f.condition in ("collapsed", "vanishing")]
    assert bool(collapsed) is found_it
    assert all(f.cause_name == "depth" and f.first_step == 0 for f in collapsed)


def test_few_outputs_in_raw_units_make_hidden_layers_alike_and_healthy() -> None:
    assert found(watch(network(0.02, 0.02, outputs=1, mean=300.0, std=10.0, count=64))) == []
    assert found(watch(network(0.05, 0.05, outputs=4, count=256))) == []
    assert found(watch(network(0.02, 0.02, outputs=4, count=256)))
    assert found(watch(network(0.05, 0.05, mean=300.0))) == []


def test_layers_of_few_neurons_or_few_samples_are_not_judged() -> None:
    narrow = {name: (kind, alike(0.7, 0.05, neurons=7, count=448)) for name, (kind, _) in network().items()}
    assert found(watch(narrow)) == []
    few = {name: (kind, alike(0.7, 0.05, count=64 * 7)) for name, (kind, _) in network().items()}
    assert found(watch(few)) == []


def test_what_was_found_stays_while_it_hovers_around_the_threshold() -> None:
    layers = network() | {"5": ("Linear", alike(0.7, 0.7))}
    hovering = [row(step, within_std=0.7 if step < 20 else 0.11 if step % 3 else 0.14) for step in range(60)]
    layers["2"] = ("Linear", hovering)
    assert found(watch(layers))[:1] == [("2", "collapsed", "warning", 20)]
    layers["2"] = ("Linear", [*hovering[:50], *(row(step, within_std=0.3) for step in range(50, 60))])
    assert found(watch(layers)) == []  # it has recovered


def test_a_module_of_its_own_is_judged_to_its_end() -> None:
    generator: Layers = {f"g.{i}": ("Linear", alike(0.9, 0.9 if i < 2 else 0.05)) for i in range(4)}
    discriminator: Layers = {f"d.{i}": ("Linear", alike(0.9, 0.9)) for i in range(3)}
    assert causes(generator | discriminator) == [("g.2", "collapsed", "representation_collapse")]


def test_how_large_outputs_are_is_asked_of_the_module_that_collapses() -> None:
    layers = network()
    layers["5"] = ("Linear", alike(0.7, 0.15, mean=30.0))
    assert found(watch(layers)) == []  # hidden layers share what makes up outputs in raw units
    assert causes({f"encoder.{name}" if name in "012" else f"head.{name}": it for name, it in layers.items()}) == [
        ("encoder.2", "collapsed", "representation_collapse")
    ]


def test_many_tokens_that_become_alike_block_by_block_are_a_matter_of_depth() -> None:
    shares = [max(0.9 - 0.06 * i, 0.05) for i in range(20)]
    kinds = ["Linear", "LayerNorm"] * 10
    layers = {str(i): (kinds[i], alike(0.8, share)) for i, share in enumerate(shares)}
    layers |= {str(i): ("Linear", alike(0.8, 0.05)) for i in range(20, 26)}
    layers["0"] = ("MultiheadAttention", alike(0.8, 0.9))
    (finding,) = watch(layers).diagnose().culprits
    assert finding.cause_name == "depth"
    assert finding.remedies[0] == "normalise before each block, not after it (norm_first=True)"


def weights(step: int, concentration: float, places: int = 12, **more: float) -> Any:
    """A row of a softmax over so many places, whose E[x²]/E[x] is given."""
    mean = 1.0 / places
    std = math.sqrt(max(concentration * mean - mean * mean, 0.0))
    return row(step, **{"mean": mean, "std": std, "min": 0.0, "max": 1.0, "neurons": places, "within_std": std, **more})


def attention(first: float, last: float, rows: int = 60, places: int = 12, size: float = 1.0) -> Layers:
    """Queries, keys, the softmax of their products, and a layer after it."""
    layers: Layers = {name: ("Linear", alike(0.9 * size, 0.9 * size, rows, std=size, mean=0.0)) for name in ("q", "k")}
    layers["softmax"] = ("Softmax", [weights(s, first if s < 10 else last, places) for s in range(rows)])
    return layers | {"out": ("Linear", alike(0.9, 0.9, rows)), "head": ("Linear", alike(0.9, 0.9, rows))}


def test_attention_without_its_scale_looks_at_one_place_from_the_start() -> None:
    (finding,) = watch(attention(0.81, 0.9)).diagnose().findings
    assert (finding.layer, finding.condition, finding.severity) == ("softmax", "collapsed", "serious")
    assert finding.cause_name == "attention_scale"
    assert finding.because == ("products of q and k are about 8, 1 with it",)
    assert found(watch(attention(0.79, 0.99))) == []  # it was learned
    assert found(watch(attention(0.9, 0.79))) == []
    assert found(watch(attention(0.9, 0.9, places=3))) == []
    assert causes(attention(0.9, 0.9, size=6.0)) == [("softmax", "collapsed", "inputs_not_normalised")]


@pytest.mark.parametrize(
    ("first", "size", "sure", "expected"),
    [(0.6, 2.0, 100, True), (0.49, 2.0, 100, False), (0.6, 0.7, 100, False), (0.6, 2.0, 80, False)],
)
def test_products_that_are_known_to_be_too_large_explain_a_softmax_that_is_less_sharp(
    first: float, size: float, sure: int, expected: bool
) -> None:
    layers = attention(first, first, size=size)
    layers["softmax"] = ("Softmax", [weights(s, first, saturated=sure) for s in range(60)])
    assert causes(layers) == ([("softmax", "collapsed", "attention_scale")] if expected else [])


def test_the_softmax_of_a_router_is_told_as_one() -> None:
    layers = attention(0.9, 0.9, places=4)
    experts: Layers = {f"experts.{i}.up": ("Linear", alike(0.9, 0.9)) for i in range(4)}
    assert causes({**layers, **experts}) == [("softmax", "collapsed", "router")]


def test_one_sharp_attention_among_several_is_healthy() -> None:
    layers = attention(0.9, 0.9)
    layers = {f"a.{name}": rows for name, rows in layers.items()}
    for block in "bcd":
        layers |= {f"{block}.{name}": rows for name, rows in attention(0.3, 0.4).items()}
    assert found(watch(layers)) == []


def test_attention_to_all_places_alike_while_others_learn() -> None:
    grown = [row(step, std=1.0 + step / 50, within_std=0.9) for step in range(120)]
    even = attention(1 / 12, 1 / 12, rows=120) | {"out": ("Linear", grown)}
    assert found(watch(even)) == [("softmax", "collapsed", "warning", 0)]
    assert found(watch(attention(1 / 12, 1 / 12, rows=120))) == []  # nothing has learned yet
    assert found(watch(attention(1.01 / 12, 1.01 / 12, rows=120) | {"out": ("Linear", grown)})) == []


@pytest.mark.parametrize(
    ("first", "scores", "classes", "expected"),
    [(0.95, 30.0, 10, True), (0.95, 9.0, 10, False), (0.79, 30.0, 10, False), (0.95, 30.0, 2, False)],
)
def test_an_output_that_is_sure_before_anything_was_learned(
    first: float, scores: float, classes: int, expected: bool
) -> None:
    layers: Layers = {"0": ("Linear", alike(0.9, 0.9)), "1": ("Linear", alike(scores, scores, std=scores, mean=0.0))}
    layers["2"] = ("Softmax", [weights(step, first, classes) for step in range(60)])
    assert found(watch(layers)) == ([("2", "collapsed", "serious", 0)] if expected else [])


def test_large_inputs_are_the_cause_of_an_output_that_is_sure() -> None:
    layers: Layers = {"input": ("Input", alike(60.0, 60.0, std=70.0, mean=90.0, max=255.0))}
    layers |= {str(i): ("Linear", alike(40.0, 40.0, std=45.0, mean=0.0)) for i in range(2)}
    layers["2"] = ("Softmax", [weights(step, 0.95, 10) for step in range(60)])
    assert ("2", "collapsed", "inputs_not_normalised") in causes(layers)
    layers["input"] = ("Input", alike(0.9, 0.9))
    assert ("2", "collapsed", "initialisation") in causes(layers)


def test_the_numbers_are_what_they_say_of_real_tensors() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 32, generator=generator) * 0.1 + torch.randn(32, generator=generator)
    p = torch.softmax(torch.randn(64, 12, generator=generator) * 3, dim=1)
    with fastact.ActivationMonitor() as monitor:
        monitor.record("x", x, axis=1)
        monitor.record("p", p, axis=1, layer_type="Softmax")
        monitor.step()
        rows = {name: history.rows for name, history in monitor.history.items()}
    assert likeness(rows["x"], 8)[0] == pytest.approx(float(x.var(0, correction=0).mean().sqrt() / x.std(correction=0)))
    assert softmax.concentration(rows["p"])[0] == pytest.approx(float(p.square().sum(1).mean()), rel=1e-5)
    assert rows["p"].dtype == ROW_DTYPE


def siamese(*, normalised: bool, stopped: bool) -> list[tuple[str, str, str]]:
    """Two views of digits are drawn together, with nothing that keeps samples apart, or as they should be."""
    torch.manual_seed(3)
    torch.set_num_threads(1)
    x = torch.from_numpy(load_digits().data / 8 - 1).float()
    norm = nn.BatchNorm1d if normalised else nn.Identity
    encoder = nn.Sequential(nn.Linear(64, 48), norm(48), nn.ReLU(), nn.Linear(48, 24), norm(24))
    predictor = nn.Sequential(nn.Linear(24, 12), norm(12), nn.ReLU(), nn.Linear(12, 24))
    model = nn.ModuleDict({"encoder": encoder, "predictor": predictor})
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor):
        for _ in range(90):
            views = [x[torch.randint(len(x), (96,))]] * 2
            z = [encoder(view + 0.3 * torch.randn_like(view)) for view in views]
            targets = [each.detach() if stopped else each for each in z]
            alike = [nn.functional.cosine_similarity(predictor(z[i]), targets[1 - i]).mean() for i in (0, 1)]
            loss = -(alike[0] + alike[1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step()
        culprits = monitor.diagnose().culprits
    return [
        (f.layer, f.condition, f.cause_name) for f in culprits if f.condition in ("collapsed", "constant", "vanishing")
    ]


def test_a_siamese_network_collapses_without_what_keeps_samples_apart() -> None:
    ((layer, condition, cause),) = siamese(normalised=False, stopped=False)
    assert layer.startswith(("encoder.3", "encoder.4", "predictor.0"))
    assert (condition, cause) == ("collapsed", "representation_collapse")
    assert siamese(normalised=True, stopped=True) == []
