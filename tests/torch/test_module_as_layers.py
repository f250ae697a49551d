"""A module where a name of one is wanted."""

import pytest
import torch
from torch import nn

import fastact
import fastact.torch
from fastact.errors import ArgumentTypeError


def test_a_module_is_told_by_its_name() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with fastact.ActivationMonitor() as monitor:
        for layers in (model[1], [model[1]]):
            with pytest.raises(ArgumentTypeError, match="layers: got a module, ReLU, want its name, '1'"):
                fastact.torch.watch(model, monitor, layers=layers)  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match="got a module, Tanh, want the name of one"):
            fastact.torch.watch(model, monitor, layers=nn.Tanh())
    with pytest.raises(ArgumentTypeError, match="x: got a module, ReLU: give what it returns"):
        fastact.summarize(model[1])
    assert fastact.summarize(model(torch.ones(1, 4))).count == 3
