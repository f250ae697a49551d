"""The hooks: inputs as they were before the layer ran, and gradients of outputs."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch_doubles import Recorder, mlp_in_place

from fastact.torch import watch


def test_inputs_are_recorded_as_they_were_before_the_layer_ran() -> None:
    model, x, recorder = mlp_in_place(), torch.randn(8, 4), Recorder()
    with watch(model, recorder, inputs=True):
        y = model(x)
    assert list(recorder.given) == ["input", "0:input", "0", "1:input", "1", "2:input", "2"]
    torch.testing.assert_close(recorder.given["0:input"][0], x)
    hidden = recorder.given["0"][0]
    assert (hidden < 0).any()
    torch.testing.assert_close(recorder.given["1:input"][0], hidden)  # not what the in-place ReLU made of it
    torch.testing.assert_close(recorder.given["2:input"][0], hidden.relu())
    torch.testing.assert_close(recorder.given["2"][0], y)
    assert recorder.about["2:input"] == (1, "Input")


def test_several_inputs_are_numbered_and_tokens_left_out() -> None:
    class Scale(nn.Module):
        def forward(self, x: torch.Tensor, *, by: torch.Tensor, mask: Any = None) -> torch.Tensor:
            return x * by

    recorder = Recorder()
    model = nn.ModuleDict({"scale": Scale(), "embed": nn.Embedding(5, 3)})
    with watch(model, recorder, inputs=True):
        model["scale"](model["embed"](torch.tensor([[1, 2]])), by=torch.full((1, 2, 3), 2.0))
    assert list(recorder.given) == ["embed", "embed:usage", "scale:input[0]", "scale:input[1]", "scale"]
    torch.testing.assert_close(recorder.given["scale"][0], 2 * recorder.given["scale:input[0]"][0])


def test_gradients_are_those_of_the_loss_by_each_output() -> None:
    model, x, recorder = mlp_in_place(), torch.randn(8, 4), Recorder()
    with watch(model, recorder, inputs=False, gradients=True):
        y = model(x)
        y.square().sum().backward()
    assert list(recorder.given) == ["0", "1", "2", "2:grad", "1:grad", "0:grad"]
    torch.testing.assert_close(recorder.given["2:grad"][0], 2 * y)
    hidden = recorder.given["0"][0].requires_grad_()
    model[2](hidden.relu()).square().sum().backward()
    assert hidden.grad is not None
    torch.testing.assert_close(recorder.given["0:grad"][0], hidden.grad)
    assert recorder.about["0:grad"] == (1, "Gradient")


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradients_under_checkpointing_are_recorded_once(reentrant: bool) -> None:
    model, recorder = mlp_in_place(), Recorder()
    plain = Recorder()
    x = torch.randn(8, 4, requires_grad=True)
    with watch(model, plain, inputs=False, gradients=True):
        model(x).square().sum().backward()
    with watch(model, recorder, gradients=True, inputs=True):
        y = checkpoint(model, x, use_reentrant=reentrant)
        assert isinstance(y, torch.Tensor)
        y.square().sum().backward()
    layers = ("0", "1", "2")
    wanted = ["input"] + [name + what for name in layers for what in ("", ":input", ":grad")]
    assert {name: len(given) for name, given in recorder.given.items()} == dict.fromkeys(wanted, 1)
    for name, given in plain.given.items():
        torch.testing.assert_close(recorder.given[name], given)


def test_gradients_change_nothing_and_end_with_the_watch() -> None:
    def gradients(watched: bool) -> list[torch.Tensor]:
        model = mlp_in_place()
        with watch(model, Recorder(), gradients=watched):
            model(torch.ones(8, 4)).square().sum().backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    for one, other in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(one, other)
    model, recorder = mlp_in_place(), Recorder()
    with watch(model, recorder, gradients=True):
        y = model(torch.ones(8, 4))
    y.sum().backward()
    assert not any(name.endswith(":grad") for name in recorder.given)


def test_a_leaf_is_not_hooked_again_in_every_step() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.ones(3, 2))

        def forward(self) -> torch.Tensor:
            return self.table

    model, recorder = Positions(), Recorder()
    with watch(model, recorder, gradients=True):
        for _ in range(3):
            model().sum().backward()
    assert not model.table._backward_hooks
    assert len(recorder.given["Positions"]) == 3
