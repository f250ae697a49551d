"""Which finding is told first, of which layer, and for which of the causes that rows do not refute."""

from typing import Any

import numpy as np
import pytest
from supervised import LN10, Given, layer, loss, noisy, optimiser, seen, values
from synthetic import nothing_finite, plain, row, scaled, watch

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.layer_types import BOUNDED
from fastact.history import LayerInfo


def culprits(diagnoser: Diagnoser) -> list[tuple[str, str, str]]:
    return [(f.layer, f.condition, f.cause_name) for f in diagnoser.diagnose().culprits]


def numbers(targets: Given) -> Given:
    """The same loss with targets that are numbers, no classes."""
    return {
        name: (info if info.layer_type != "Target" else LayerInfo(info.name, 0, "Target", facts={"whole": False}), rows)
        for name, (info, rows) in targets.items()
    }


def codes() -> list[Any]:
    """Rows of a table whose codes move away from step to step."""
    return [row(s, min=-2.0 - s / 90, max=2.0 + s / 80) for s in range(90)]


def test_a_loss_to_what_a_layer_puts_out_is_held_to_no_constant_answer() -> None:
    rising = noisy(np.r_[np.full(12, 0.02), np.linspace(0.3, 0.4, 78)])
    wanted = numbers(loss(rising, 0.25, function="mean_squared_error"))
    made = wanted | {"loss:target": (wanted["loss:target"][0], codes())}
    assert "not_learning" in {
        condition for _, condition, _ in culprits(seen(layer("codes", scaled(*[1.0] * 90)), made))
    }
    assert culprits(seen(layer("codes", codes()), made)) == []
    far = loss(noisy(np.r_[np.full(12, 2e-4), np.full(78, 0.1)]), 0.25, function="mean_squared_error")  # it may grow
    assert culprits(seen(layer("codes", codes()), far | {"loss:target": made["loss:target"]})) == []
    # What a model is given is no output of it, though a layer hands it on.
    given = layer("input", codes(), "Input")
    assert culprits(seen(given, layer("codes", codes()), made)) != []


def test_a_term_may_come_back_while_the_sum_falls() -> None:
    rising = noisy(np.r_[np.full(12, 0.02), np.linspace(0.3, 0.4, 78)])
    part = loss(rising, 0.25, function="mean_squared_error", name="loss:mse_loss:2")
    name = "loss:mse_loss:2"
    part[name] = (LayerInfo(name, 0, "Loss", facts={"function": "mean_squared_error", "part": True}), part[name][1])
    whole = loss(noisy(np.linspace(1.0, 0.4, 90)), None, function="")
    assert culprits(seen(layer("0", scaled(*[1.0] * 90)), whole, part)) == []
    assert culprits(seen(layer("0", scaled(*[1.0] * 90)), loss(noisy([1.0] * 90), None, function=""), part)) != []


@pytest.mark.parametrize(("share", "said"), [(0.99, False), (1.0, True)])
def test_nothing_is_said_of_a_loss_that_is_surely_below_while_nothing_is_known(share: float, said: bool) -> None:
    told = culprits(seen(layer("0", scaled(*[1.0] * 120)), loss(noisy([share * LN10] * 120, 0.02))))
    assert (("loss", "not_learning", "constant_answer") in told) == said


def growing(first: float, then: float, layers: int = 6, steps: int = 12) -> dict[str, tuple[str, list[Any]]]:
    """Layers that are each larger than the one before by a factor, in the first row and in those after it."""
    sizes = [[f**i for f in (first, *[then] * (steps - 1))] for i in range(layers)]
    return {str(i): ("Linear", scaled(*each)) for i, each in enumerate(sizes)}


@pytest.mark.parametrize(("first", "cause"), [(3.0, "initialisation"), (1.0, "learning_rate")])
def test_what_each_layer_multiplied_in_the_first_row_is_no_matter_of_the_rate(first: float, cause: str) -> None:
    layers = growing(first, 9.0) | {"norm": ("LayerNorm", scaled(*[1.0] * 12)), "out": ("Linear", scaled(*[1.0] * 12))}
    ((_, condition, name), *_) = culprits(watch(layers))
    assert (condition, name) == ("exploding", cause)


def squares(last: float, start: int = 0) -> dict[str, tuple[str, list[Any]]]:
    """Squares of squares, of which the last one overflows."""
    sizes = [1.0, 80.0, 1e6, 1e13, last]
    layers = {f"flat{i}": ("Linear", [row(s, mean=0.0, std=x, within_std=x, max=3 * x, min=-3 * x) for s in range(9)])
              for i, x in enumerate(sizes)}  # fmt: skip
    broken = [row(s, pos_infs=900 if s >= start else 0) for s in range(9)]
    return layers | {"square": ("Square", broken), "out": ("Linear", [nothing_finite(s) for s in range(9)])}


def test_squares_of_what_grows_from_layer_to_layer_overflow_without_an_exponential() -> None:
    told = [f for f in watch(squares(1e20)).diagnose().findings if f.layer == "square" and f.condition == "non_finite"]
    assert [f.cause_name for f in told] == ["initialisation"]


def half(jump: float, given: float) -> Diagnoser:
    """A layer in float16 whose values jump at step 30, and the input's, and what squares it."""
    diagnoser = Diagnoser()
    for order, (name, layer_type) in enumerate((("input", "Input"), ("flat", "Linear"), ("square", "Square"))):
        diagnoser.add(LayerInfo(name, order, layer_type, "float16"))
    for step in range(31):
        by = {"input": given, "flat": jump, "square": jump} if step == 30 else {}
        for name in ("input", "flat", "square"):
            x = by.get(name, 1.0)
            infs = 3000 if name == "square" and step == 30 else 0
            diagnoser.append(name, row(step, mean=0.0, std=x, within_std=x, min=-3 * x, max=3 * x, pos_infs=infs))
    return diagnoser


def test_values_that_grow_as_their_data_does_are_no_exponents() -> None:
    causes = {given: {name for _, _, name in culprits(half(60.0, given))} for given in (1.0, 60.0)}
    assert "log_variance" in causes[1.0]
    assert "log_variance" not in causes[60.0]


def test_of_the_heads_of_a_posterior_the_mean_is_told() -> None:
    def head(since: int) -> list[Any]:
        return [row(s, mean=0.0, std=0.01 if s >= since else 0.2, within_std=0.01 if s >= since else 0.2, neurons=8)
                for s in range(80)]  # fmt: skip

    layers = {"mean": ("Linear", head(12)), "width": ("Linear", head(9)), "out": ("Linear", scaled(*[1.0] * 80))}
    assert culprits(watch(layers))[0] == ("mean", "vanishing", "posterior_collapse")


def alike(since: int, rows: int) -> list[Any]:
    return [row(s, within_std=0.05 if s >= since else 0.7, std=1.0) for s in range(rows)]


@pytest.mark.parametrize(("whole", "name"), [(True, "learning_rate"), (False, "representation_collapse")])
def test_samples_that_targets_tell_apart_were_driven_together_by_updates(whole: bool, name: str) -> None:
    wanted = loss(noisy(np.full(70, 1.2 * LN10)))
    given = wanted if whole else {"loss": wanted["loss"]}
    told = culprits(seen(layer("0", alike(20, 70)), layer("1", alike(20, 70)), layer("2", alike(20, 70)), given))
    assert ("0", "collapsed", name) in told


def test_views_that_shall_be_alike_end_alike_soon() -> None:
    rows = [row(s, within_std=0.06 if s >= 20 else 0.7, std=1.0, min=-3.0 - s, max=3.0 + s) for s in range(70)]
    met = loss(noisy(np.linspace(1.0, 0.01, 70)), 0.5, function="mean_squared_error")
    targets = LayerInfo("loss:target", 0, "Target", facts={"whole": False}), rows
    parts = layer("0", scaled(*[1.0] * 70)), layer("1", rows)
    assert culprits(seen(*parts, met | {"loss:target": targets})) == [("1", "collapsed", "representation_collapse")]
    assert culprits(seen(*parts, numbers(met))) == []


def test_a_layer_that_follows_an_input_that_comes_and_goes_has_not_changed() -> None:
    def turns(large: float) -> list[float]:
        return [1.0] * 40 + [large, 1.0] * 3 + [large]

    hidden = scaled(*[1.0] * 40, *[40.0] * 7)
    for given, said in ((turns(60.0), False), (turns(1.0), True)):
        layers = {"input": ("Input", scaled(*given)), "0": ("Linear", hidden), "1": ("Linear", scaled(*[1.0] * 47))}
        assert ("drifting" in {condition for _, condition, _ in culprits(watch(layers))}) == said


def test_shifts_of_several_normalisations_add_up() -> None:
    def rows(steps: range, size: float) -> list[Any]:
        return [row(s, mean=0.0, std=size, within_std=size) for s in steps]

    sizes = {"input": ("Input", 1.0), "0": ("Conv2d", 1.0), "1": ("BatchNorm2d", 0.6), "2": ("Conv2d", 0.6),
             "3": ("BatchNorm2d", 0.55), "4": ("Conv2d", 0.3), "5": ("BatchNorm2d", 0.4)}  # fmt: skip

    def told(share: float) -> list[str]:
        layers = {name: (kind, rows(range(60), 1.0)) for name, (kind, _) in sizes.items()}
        off = {name: (kind, rows(range(4, 60, 5), 1.0 - share * (1.0 - x))) for name, (kind, x) in sizes.items()}
        diagnosis = watch(layers | {f"{name}:eval": each for name, each in off.items()}).diagnose()
        return [f.layer for f in diagnosis.culprits if f.condition == "eval_shift"]

    assert told(1.0) == ["1"]
    assert told(0.4) == []


def test_a_softsign_is_saturated_where_its_gradient_is_that_of_a_saturated_tanh() -> None:
    top = BOUNDED["Softsign"][1]
    assert (1.0 - top) ** 2 == pytest.approx(1.0 - BOUNDED["Tanh"][1] ** 2, rel=0.05)


def test_what_is_certain_comes_before_a_loss_of_which_nothing_is_known() -> None:
    given = [60.0 if s >= 60 and s % 2 else 1.0 for s in range(130)]
    parts = layer("input", scaled(*given), "Input"), layer("0", scaled(*given)), layer("1", scaled(*[1.0] * 130))
    told = culprits(seen(*parts, loss(noisy([LN10] * 130))))
    assert told == [("input", "oscillating", "sources_in_turns"), ("loss", "not_learning", "constant_answer")]


def test_layers_that_grow_with_depth_by_a_little_each_begin_too_large_for_the_loss() -> None:
    parts = [layer(str(i), scaled(*[1.6**i] * 60)) for i in range(12)]
    far = noisy(np.r_[np.geomspace(5000.0, 20.0, 20), np.full(40, 15.0)])
    wanted = loss(far, 1.0, function="mean_squared_error", targets={"mean": 0.0, "std": 1.0, "min": -3.0, "max": 3.0})
    info, rows = wanted["loss"]
    known = {**info.facts, "prediction": {"shape": [64, 64], "units": 64}}
    wanted["loss"] = (LayerInfo("loss", 0, "Loss", source="out", facts=known), rows)
    told = culprits(seen(*parts, layer("out", scaled(*[90.0] * 60)), wanted))
    assert ("11", "exploding", "initialisation") in told


def wandering(drift: float, rows: int) -> list[Any]:
    """Rows whose size differs from batch to batch, and grows in all by a share."""
    sizes = noisy(np.linspace(1.0, 1.0 + drift, rows), 0.02)
    return [row(s, mean=0.0, std=x, within_std=x) for s, x in enumerate(sizes)]


@pytest.mark.parametrize(
    ("drift", "rate", "function", "said"),
    [
        (0.0, 3e-3, "AdamW", True),
        (0.5, 3e-3, "AdamW", False),  # they move
        (0.0, 1e-4, "AdamW", False),  # such steps might not show
        (0.0, 3e-3, "SGD", False),  # whose steps are as small as its gradients
    ],
)
def test_layers_that_stand_still_say_that_no_update_reaches_them(
    drift: float, rate: float, function: str, said: bool
) -> None:
    parts = [layer(str(i), wandering(drift, 40)) for i in range(4)]
    told = culprits(seen(*parts, loss(noisy([LN10] * 40)), optimiser(rate, 40, function=function)))
    assert (("loss", "not_learning", "no_update") in told) == said


def words(used: int, share: float) -> list[Any]:
    """How often each of 40 words was looked up, where one takes a share of 400 lookups and others the rest."""
    return [
        plain(
            s,
            count=40,
            neurons=40,
            zeros=40 - used,
            mean=10.0,
            min=0.0,
            max=400.0 * share,
            std=50.0,
            dead_neurons=40 - used,
        )
        for s in range(30)
    ]


@pytest.mark.parametrize(("used", "share", "said"), [(4, 0.93, True), (4, 0.6, False), (20, 0.93, False)])
def test_a_table_of_which_nearly_all_lookups_are_of_one_row(used: int, share: float, said: bool) -> None:
    parts = layer("words", scaled(*[1.0] * 30), "Embedding"), layer("words:usage", words(used, share), "Vocabulary")
    told = culprits(seen(*parts, layer("out", scaled(*[1.0] * 30)), loss(noisy([LN10] * 30))))
    assert (("words", "unused", "inputs_equal") in told) == said


def test_numbers_whose_products_overflow_are_judged_without_a_word() -> None:
    counts = [
        plain(s, count=64, neurons=64, zeros=60, mean=1e308, min=0.0, max=1e308, dead_neurons=60) for s in range(30)
    ]
    assert (
        culprits(seen(layer("words", scaled(*[1.0] * 30), "Embedding"), layer("words:usage", counts, "Vocabulary")))
        is not None
    )


@pytest.mark.parametrize(
    ("rates", "function", "said"),
    [
        ([0.5] * 40, "Adam", "the learning rate of Adam is 0.5; usual ones go up to 0.01"),
        ([0.005] * 40, "Adam", ""),
        ([60.0] * 40, "SGD", "the learning rate of SGD is 60; usual ones go up to 1"),
        ([0.1] * 40, "SGD", ""),
        ([0.001] * 20 + [0.05] * 20, "RMSprop", "the learning rate rose 50 times at step 20"),
        ([0.0] + [0.01] * 39, "Adam", ""),  # a first step without any
    ],
)
def test_a_rate_that_is_known_to_be_far_too_high_speaks_for_itself(
    rates: list[float], function: str, said: str
) -> None:
    known = {"optimiser": (LayerInfo("optimiser", 0, "Optimiser", facts={"function": function}), values(rates))}
    dying = [row(s, mean=-5.0 if s >= 3 else 0.0) for s in range(40)]
    dead = [row(s, dead_neurons=60 if s >= 22 else 0, silent_neurons=60 if s >= 3 else 0) for s in range(40)]
    parts = layer("0", dying), layer("1", dead, "ReLU", "0"), layer("2", scaled(*[1.0] * 40))
    (finding,) = (f for f in seen(*parts, known).diagnose().findings if f.condition == "dead")
    assert finding.cause_name == "learning_rate"
    assert [each for each in finding.because if "learning rate" in each] == ([said] if said else [])
