"""Which modules are watched, and under which names."""

from typing import Any

import pytest
import torch
from torch import nn
from torch_doubles import Recorder, hooks, mlp, mlp_in_place, seen

from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.torch import watch


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("1", ["1"]),
        ("[02]", ["0", "2"]),
        (nn.Tanh, ["3"]),
        ([nn.ReLU, "3"], ["1", "3"]),
        ((nn.ReLU, nn.Tanh), ["1", "3"]),
        (lambda name, module: isinstance(module, nn.Linear) and name != "0", ["2"]),
        (nn.Sequential, ["Sequential"]),
    ],
)
def test_layers_can_be_chosen(layers: Any, names: list[str]) -> None:
    assert [call.name for call in seen(mlp(), torch.ones(2, 4), layers=layers).calls] == names


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ("relu*", ArgumentValueError, r"layers: got the pattern 'relu\*'.*names: '0', '1', '2', '3'$"),
        (["0", "rel"], ArgumentValueError, "layers: got the pattern 'rel'"),
        (nn.Conv2d, ArgumentValueError, "layers: got the type Conv2d"),
        ([], ArgumentValueError, "layers: "),
        (lambda name, module: False, ArgumentValueError, "layers: "),
        (3, ArgumentTypeError, "layers: got int"),
        ([3], ArgumentTypeError, "layers: got int"),
        (int, ArgumentTypeError, "layers: got int"),
    ],
)
def test_a_choice_that_cannot_be_is_one_clear_error(layers: Any, error: type[Exception], message: str) -> None:
    model = mlp()
    with pytest.raises(error, match=message):
        watch(model, Recorder(), layers=layers)
    assert hooks(model) == 0


def test_what_computes_nothing_is_left_out_unless_asked_for() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Identity(), nn.Sequential(), nn.ReLU())
    assert watch(model, Recorder()).names == ("0", "3")
    assert watch(model, Recorder(), layers=nn.Identity).names == ("1",)


@pytest.mark.parametrize("as_list", [True, False])
def test_what_holds_lists_of_parameters_and_no_layers_is_a_layer(as_list: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            weights = [nn.Parameter(torch.ones(4, 4)) for _ in range(2)]
            self.weights: Any = (
                nn.ParameterList(weights) if as_list else nn.ParameterDict(zip("ab", weights, strict=True))
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for weight in self.weights if as_list else self.weights.values():
                x = x @ weight
            return x

    assert [call.name for call in seen(Net(), torch.ones(2, 4)).calls] == ["Net"]
    inner = nn.Sequential(Net(), nn.Linear(4, 3))
    assert [call.name for call in seen(inner, torch.ones(2, 4)).calls] == ["0", "1"]


def test_wrappers_leave_no_trace_in_names() -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    model = nn.Sequential(nn.Linear(2, 2), checkpoint_wrapper(nn.Sequential(nn.Linear(2, 2), nn.ReLU())))
    recorder = Recorder()
    with watch(nn.DataParallel(model), recorder, inputs=False) as handle:
        model(torch.ones(3, 2)).sum().backward()
    assert handle.names == ("0", "1.0", "1.1") == tuple(recorder.given)
    assert {len(given) for given in recorder.given.values()} == {1}


def test_a_child_that_knows_its_parent_ends() -> None:
    model = mlp_in_place()
    model[0].parent = model
    recorder = Recorder()
    with watch(model, recorder):
        model(torch.ones(8, 4))
    assert {"1", "2"} <= set(recorder.given)
