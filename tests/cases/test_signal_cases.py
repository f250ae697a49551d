"""Dead, saturated, exploding and fading layers, each beside its repaired twin."""

from typing import Any

import pytest
import torch
from situations import DIGITS, PIXELS, adam, perceptron, said, train
from torch import nn


class Recurrent(nn.Module):
    """Reads an image in steps of time and names its digit."""

    def __init__(self, recurrent: nn.RNNBase) -> None:
        super().__init__()
        self.recurrent, self.head = recurrent, nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.recurrent(x)[0][:, -1])


class Shared(nn.Module):
    """One ReLU in three places."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers, self.act = nn.ModuleList(nn.Linear(64, 64) for _ in range(3)), nn.ReLU()
        self.out = nn.Linear(64, 10)
        with torch.no_grad():
            self.get_parameter("layers.1.bias").add_(bias)

    def forward(self, x: torch.Tensor) -> Any:
        for layer in self.layers:
            x = self.act(layer(x))
        return self.out(x)


class Functions(Shared):
    """The same with functions."""

    def __init__(self, bias: float) -> None:
        super().__init__(bias)
        del self.act

    def forward(self, x: torch.Tensor) -> Any:
        for layer in self.layers:
            x = nn.functional.relu(layer(x))
        return self.out(x)


@pytest.mark.parametrize("rate", [0.5, 1e-3])
def test_units_die_of_a_rate_that_is_too_high(rate: float) -> None:
    culprits = said(train(perceptron(), update=adam(rate), steps=80))
    assert {each[1:] for each in culprits} == ({("dead", "learning_rate")} if rate == 0.5 else set())
    assert {each[0] for each in culprits} <= {"1", "3"}


@pytest.mark.parametrize(("make", "name"), [(Shared, "act:2"), (Functions, "relu:2")])
def test_a_dead_place_of_a_shared_relu_or_a_function(make: type[Shared], name: str) -> None:
    assert said(train(make(-20.0), steps=40)) == [(name, "dead", "initialisation")]
    assert not train(make(0.0), steps=40).findings


@pytest.mark.parametrize("scale", [100.0, 1.0])
def test_an_actor_whose_states_are_not_normalised(scale: float) -> None:
    torch.manual_seed(0)
    states = torch.randn(2000, 6)
    actions = torch.tanh(states @ (torch.randn(6, 2) / 2))
    actor = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2), nn.Tanh())
    diagnosis = train(actor, states * scale, actions, shape=(6,), loss=nn.functional.mse_loss, update=adam(1e-4))
    assert said(diagnosis) == ([("5", "saturated", "inputs_not_normalised")] if scale > 1 else [])
    assert not any("ReLU" in remedy for finding in diagnosis.culprits for remedy in finding.remedies)


@pytest.mark.parametrize("scale", [500.0, 1.0])
def test_the_gates_of_a_gated_unit_are_shut_by_large_inputs(scale: float) -> None:
    torch.manual_seed(0)
    culprits = said(train(Recurrent(nn.GRU(8, 32, batch_first=True)), PIXELS * scale, shape=(8, 8), steps=40))
    assert [each[1:] for each in culprits] == ([("saturated", "inputs_not_normalised")] if scale > 1 else [])


def test_the_gates_of_an_lstm_are_shut_by_large_inputs() -> None:
    torch.manual_seed(0)
    culprits = said(train(Recurrent(nn.LSTM(8, 32, batch_first=True)), PIXELS * 300, shape=(8, 8), steps=40))
    assert [each[1:] for each in culprits] == [("saturated", "inputs_not_normalised")]


def test_a_recurrence_with_relu_grows_over_time() -> None:
    torch.manual_seed(0)
    cell = nn.RNN(1, 32, nonlinearity="relu", batch_first=True)
    with torch.no_grad():
        nn.init.orthogonal_(cell.get_parameter("weight_hh_l0")).mul_(2)
    ((layer, condition, cause),) = said(train(Recurrent(cell), shape=(64, 1), steps=20))
    assert layer.startswith("recurrent")
    assert (condition, cause) == ("exploding", "recurrent_unbounded")


@pytest.mark.parametrize("decay", [0.3, 0.0])
def test_weights_that_decay_to_zero(decay: float) -> None:
    culprits = said(train(perceptron(nn.Tanh, depth=3), update=adam(3e-3, decay=decay), steps=120))
    assert [each[2] for each in culprits] == (["weight_decay"] if decay else [])


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.GELU])
def test_a_deep_stack_of_sigmoids(activation: type[nn.Module]) -> None:
    depth = 12 if activation is nn.Sigmoid else 3
    culprits = said(train(perceptron(activation, depth=depth), steps=50))
    assert [each[1] for each in culprits] in ([["vanishing"], ["collapsed"]] if depth == 12 else [[]])


def test_weights_that_begin_too_large() -> None:
    model = perceptron(depth=6)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight)
    assert said(train(model, steps=40))[0][1:] == ("exploding", "initialisation")


def test_weights_that_are_replaced_by_others_of_a_wrong_scale() -> None:
    model = perceptron(nn.Tanh, depth=3)

    def replace(step: int, x: torch.Tensor) -> torch.Tensor:
        if step == 30:
            with torch.no_grad():
                model.get_parameter("2.weight").mul_(30)
        return x

    ((layer, _, cause),) = said(train(model, data=replace, steps=70))
    assert layer in ("2", "3")
    assert cause == "weights_replaced"


@pytest.mark.parametrize("units", [1, 2])
def test_a_softmax_over_one_unit(units: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, units), nn.Softmax(-1))

    def loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(out[:, 0], (y % 2).float())

    assert said(train(model, PIXELS, DIGITS, loss=loss)) == (
        [("3", "output_mismatch", "softmax_over_one_unit")] if units == 1 else []
    )


class Written(nn.Module):
    """A recurrent layer that is written out, from a state of zeros, in which the inner weights have nothing to tell."""

    def __init__(self, bias: bool, scale: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.again, self.act = nn.Linear(8, 32), nn.Linear(32, 32, bias=bias), nn.Tanh()
        self.head = nn.Linear(32, 10)
        with torch.no_grad():
            self.again.weight.mul_(scale)
            self.inner.weight.mul_(scale)

    def forward(self, x: torch.Tensor) -> Any:
        state = x.new_zeros(len(x), 32)
        for part in x.unbind(1):
            state = self.act(self.inner(part) + self.again(state))
        return self.head(state)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", [15.0, 1.0])
def test_a_recurrent_layer_that_is_written_out(bias: bool, scale: float) -> None:
    culprits = said(train(Written(bias, scale), shape=(8, 8), steps=30))
    assert [each[1:] for each in culprits] == ([("saturated", "initialisation")] if scale > 1 else [])


@pytest.mark.parametrize("scale", [30.0, 1.0])
def test_the_gates_of_an_lstm_are_at_their_ends_by_its_weights(scale: float) -> None:
    torch.manual_seed(0)
    cell = nn.LSTM(8, 32, batch_first=True)
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            parameter.mul_(scale if "weight" in name else 1.0)
    culprits = said(train(Recurrent(cell), shape=(8, 8), steps=30))
    assert [each[1:] for each in culprits] == ([("saturated", "initialisation")] if scale > 1 else [])


class Scaled(nn.Module):
    """A scale of one's own."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((32,), scale), requires_grad=False)

    def forward(self, x: torch.Tensor) -> Any:
        return x * self.alpha


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_scale_of_zero_that_nothing_trains(scale: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), Scaled(scale), nn.GELU(), nn.Linear(32, 10))
    told = said(train(model, steps=40))[:1]
    assert told == ([("1", "dead", "weights_zero")] if scale == 0.0 else [])


@pytest.mark.parametrize("frozen", [True, False])
def test_attention_whose_last_projection_stays_at_zero(frozen: bool) -> None:
    """Its twin begins at zero too, and learns."""
    torch.manual_seed(0)

    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Linear(8, 32), nn.Linear(32, 10)
            self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
            nn.init.zeros_(self.attention.out_proj.weight).requires_grad_(not frozen)
            nn.init.zeros_(self.attention.out_proj.bias).requires_grad_(not frozen)

        def forward(self, x: torch.Tensor) -> Any:
            h = self.embed(x)
            return self.head(self.attention(h, h, h, need_weights=False)[0].mean(1))

    told = said(train(Looking(), shape=(8, 8), steps=40, update=adam(5e-3)))[:1]
    assert told == ([("attention[0]", "dead", "weights_zero")] if frozen else [])


@pytest.mark.parametrize("deep", [True, False])
def test_convolutions_whose_places_differ_and_whose_samples_do_not(deep: bool) -> None:
    """Zeros at the borders make places differ, to the end of a stack in which samples no longer do."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(1, 12, 3, padding=1), nn.Sigmoid()]
    for _ in range(12 if deep else 0):
        layers += [nn.Conv2d(12, 12, 3, padding=1), nn.Sigmoid()]
    told = said(train(nn.Sequential(*layers, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 10)), shape=(1, 8, 8)))
    assert {each[2] for each in told} <= {"depth", "activation_slope"}
    assert bool(told) is deep
