"""Parameters, their gradients and updates, and the optimisers that make them: what is recorded at a step."""

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_doubles import Recorder, mlp
from torch_learning import (
    _ALL,
    _nothing_is_left,  # noqa: F401, a fixture of all
    learn,
    rows_of,
    sgd,
    weight_of,
)

import fastact
from fastact.torch import watch
from fastact.torch.updates import Sample


def test_rows_are_what_the_optimiser_is_given_and_makes_of_it() -> None:
    model, recorder = mlp(), Recorder()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with watch(model, recorder, layers="*", inputs=False, **_ALL):
        learn(model, sgd(model))
    for name, parameter in model.named_parameters():
        assert torch.equal(recorder.given[name][0], before[name])
        assert parameter.grad is not None
        assert torch.equal(recorder.given[f"{name}:grad"][0], parameter.grad)
        update = (parameter.detach() - before[name]).flatten()
        assert torch.equal(recorder.given[f"{name}:update"][0], update)
    assert recorder.given["optimiser"][0].tolist() == [0.1]
    axes = {name: recorder.about[name] for name in ("0.weight", "0.bias", "0.weight:grad", "0.weight:update")}
    assert axes == {
        "0.weight": (0, "Parameter"),
        "0.bias": (None, "Parameter"),
        "0.weight:grad": (0, "ParameterGradient"),
        "0.weight:update": (None, "Update"),
    }


@pytest.mark.parametrize(
    ("options", "suffixes"),
    [
        ({"gradients": True}, {":grad"}),
        ({"gradients": "outputs"}, None),
        ({"weights": True}, {""}),
        ({"updates": True}, {":update"}),
        ({}, None),
    ],
)
def test_each_kind_of_row_is_asked_for_by_itself(options: dict[str, Any], suffixes: set[str] | None) -> None:
    model, recorder = mlp(), Recorder()
    with watch(model, recorder, inputs=False, loss=False, **options):
        learn(model, sgd(model))
    found = {call.name.removeprefix("0.weight") for call in recorder.calls if call.name.startswith("0.weight")}
    assert found == (suffixes or set())
    assert ("optimiser" in recorder.given) == (suffixes is not None)
    assert ("1:grad" in recorder.given) == (options.get("gradients") in (True, "outputs"))


def test_one_in_so_many_recorded_steps_has_rows_and_the_first_ones() -> None:
    model = mlp()
    with fastact.ActivationMonitor(every=2) as monitor:
        with watch(model, monitor, **{**_ALL, "parameters_every": 3}, first=3):
            learn(model, sgd(model), 16, monitor)
        steps = monitor.history["0.weight:update"]["step"].tolist()
        assert steps == monitor.history["optimiser"]["step"].tolist() == [0, 2, 6, 12]


def test_facts_say_what_no_row_shows() -> None:
    model = nn.ModuleDict({"used": nn.Linear(4, 3), "spare": nn.Linear(3, 3), "frozen": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    model["used"].other = model["used"].weight  # tied
    held: list[Any] = [model["used"].weight, *model["spare"].parameters()]
    optimiser = torch.optim.AdamW(held, lr=0.1)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, layers="used", **_ALL):
        learn(model["used"], optimiser, 1, monitor)
        assert "used.weight" in monitor.history
        assert "spare.weight" not in monitor.history  # it was not chosen
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, layers="*", **_ALL):
        learn(model["used"], optimiser, 2, monitor)
        history = monitor.history
        facts = {name: history[name].info.facts for name in history if history[name].info.layer_type == "Parameter"}
        said = {name: (of["trainable"], of["optimiser"], of["gradient"]) for name, of in facts.items()}
        assert said == {
            "used.weight": (True, True, True),
            "used.bias": (True, False, True),
            "spare.weight": (True, True, False),
            "spare.bias": (True, True, False),
            "frozen.weight": (False, False, False),
            "frozen.bias": (False, False, False),
        }
        assert facts["used.weight"]["names"] == ["used.weight", "used.other"]
        assert {**facts["used.weight"], "names": []} == {
            "trainable": True, "optimiser": True, "gradient": True, "elements": 12, "shape": [3, 4], "layer": "used",
            "names": [],
        }  # fmt: skip
        # What is held and has no gradient does not move; what is in no optimiser has no update; the frozen stay.
        assert rows_of(history, "spare.weight:update")["zeros"] == [9, 9]
        assert "spare.weight:grad" not in history
        assert "used.bias:update" not in history
        assert rows_of(history, "used.bias")["step"] == [0, 1]
        assert rows_of(history, "frozen.bias")["step"] == [0]
        told = dict(history["optimiser"].info.facts)
        assert told == {
            "function": "AdamW", "groups": 1, "parameters": 3, "others": 0, "trainable": 4, "elements": 27,
            "missing": ["used.bias"], "missing_tensors": 1, "missing_elements": 3, "idle": [], "idle_tensors": 0,
            "frozen": ["frozen.weight", "frozen.bias"], "frozen_tensors": 2, "frozen_elements": 6,
            "without_gradient": ["spare.weight", "spare.bias"], "without_gradient_tensors": 2,
            "weight_decay": 0.01, "betas": [0.9, 0.999],
        }  # fmt: skip
        assert {"spare.weight:grad", "spare.bias:grad"} <= monitor.unseen.keys()
        model["spare"](torch.ones(1, 3)).sum().backward()
        learn(model["used"], torch.optim.SGD(held, lr=0.1), 1)
        monitor.step()
        assert "spare.weight:grad" in monitor.unseen  # zeroed to None
        model["spare"](torch.ones(1, 3)).sum().backward()
        optimiser.step()
        assert not [name for name in monitor.unseen if name.endswith(":grad")]


@pytest.mark.parametrize("fused", [False, True])
def test_training_is_the_same_bit_for_bit(fused: bool) -> None:
    ends = []
    for watched in (False, True):
        model = nn.Sequential(nn.Linear(4, 2000), nn.Dropout(0.5), nn.Linear(2000, 3))
        torch.manual_seed(1)
        for parameter in model.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)
        optimiser = torch.optim.Adam(model.parameters(), fused=fused)
        monitor = fastact.ActivationMonitor()
        handle = watch(model, monitor, strict=True, **_ALL) if watched else None
        learn(model, optimiser, 5, monitor)
        if handle is not None:
            assert rows_of(monitor.history, "0.weight:update")["step"] == [0, 1, 2, 3, 4]
            handle.remove()
        ends.append([parameter.detach().clone() for parameter in model.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*ends, strict=True))


def test_copies_carry_nothing_and_nothing_is_kept_alive() -> None:
    model = mlp()
    optimiser = sgd(model, momentum=0.9)
    with fastact.ActivationMonitor() as monitor:
        handle = watch(model, monitor, **_ALL)
        learn(model, optimiser, 2, monitor)
        twin, second = copy.deepcopy((model, optimiser))
        third = pickle.loads(pickle.dumps(optimiser))
        for each in (second, third):
            each.step()
        monitor.step()
        assert rows_of(monitor.history, "optimiser")["step"] == [0, 1]
        assert "optimiser:2" not in monitor.history
        gone = [weakref.ref(each) for each in (model, *model.parameters(), optimiser)]
        del model, optimiser
        gc.collect()
        assert [each() for each in gone] == [None] * len(gone)
        learn(twin, sgd(twin), 1, monitor)  # and the hooks of a model that is gone do nothing
        handle.remove()


def test_what_is_put_in_a_parameters_place_is_found() -> None:
    model = mlp()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, **_ALL) as handle:
        model[2] = nn.Linear(6, 3)
        model[0].weight = nn.Parameter(weight_of(model).detach() * 2.0)
        learn(model, sgd(model), 1, monitor)
        assert monitor.history["2.weight"]["mean"][0] == pytest.approx(0.0, abs=0.4)
        assert monitor.history["optimiser"].info.facts["others"] == 0
        assert rows_of(monitor.history, "0.weight:update")["zeros"] == [0]
        assert handle.failures == 0


def test_a_failure_ends_no_training_unless_asked_to() -> None:
    model, recorder = mlp(), Recorder(broken=("0.weight:update",))
    with watch(model, recorder, **_ALL) as handle, pytest.warns(RuntimeWarning, match="0.weight:update"):
        learn(model, sgd(model), 2)
    assert handle.failures == 2
    assert "0.bias:update" in recorder.given
    with watch(model, recorder, strict=True, **_ALL), pytest.raises(OSError, match="no room"):
        learn(model, sgd(model))


def test_a_step_that_fails_leaves_nothing_behind() -> None:
    model, recorder = mlp(), Recorder()
    optimiser = sgd(model)
    with watch(model, recorder, **{**_ALL, "parameters_every": 2}):
        with pytest.raises(ZeroDivisionError):
            optimiser.step(lambda: 1 / 0)
        learn(model, optimiser)  # this step is not recorded, and ends no other one
        assert "0.weight:update" not in recorder.given
        learn(model, optimiser)
    assert len(recorder.given["0.weight:update"]) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", 1, "weights: got int"),
        ("updates", "yes", "updates: got str"),
        ("gradients", "both", "gradients: got 'both'"),
        ("parameters_every", 0, "parameters_every: got 0"),
    ],
)
def test_arguments_are_checked(name: str, value: Any, message: str) -> None:
    with pytest.raises((fastact.errors.ArgumentTypeError, fastact.errors.ArgumentValueError), match=message):
        watch(mlp(), Recorder(), **{name: value})


def test_a_sample_is_a_view_that_covers_every_column() -> None:
    sample = Sample()
    parameter = torch.zeros(1000, 1000)
    assert sample.look(parameter)
    sample.now.fill_(1.0)
    assert 2000 <= int(parameter.sum()) <= 2048
    assert int((parameter.sum(dim=0) > 0).sum()) == 1000
    assert int((parameter.sum(dim=1) > 0).sum()) == 1000
    turned = torch.zeros(64, 128, 3, 3).to(memory_format=torch.channels_last)
    sample.release()
    assert sample.look(turned)
    sample.now.fill_(1.0)
    assert 1900 <= int(turned.sum()) <= 2048


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_updates_of_other_types_are_exact(dtype: torch.dtype) -> None:
    model, recorder = nn.Module(), Recorder()
    model.scale = nn.Parameter(torch.full((8,), 0.1, dtype=dtype))
    model.scale.grad = torch.tensor([0.0, *[1.0] * 7], dtype=dtype)
    before = model.scale.detach().clone()
    wide = {torch.float16: torch.float32, torch.bfloat16: torch.float32}.get(dtype, dtype)
    with watch(model, recorder, layers=lambda name, module: True, **_ALL):
        torch.optim.SGD(model.parameters(), lr=0.01).step()
    update = recorder.given["scale:update"][0]
    wanted = model.scale.detach().to(wide) - before.to(wide)
    assert torch.equal(update, torch.view_as_real(wanted) if dtype.is_complex else wanted)
    assert not update[0].any()
    assert np.count_nonzero(update[1:].numpy()) >= 7


def test_sparse_gradients_and_tables() -> None:
    model, recorder = nn.Sequential(nn.Embedding(5000, 2, sparse=True)), Recorder()
    with watch(model, recorder, inputs=False, **_ALL):
        model(torch.arange(16)).sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert recorder.about["0.weight"] == (None, "Parameter")
    assert recorder.given["0.weight:grad"][0].shape == (16, 2)
    assert recorder.given["0.weight:update"][0].numel() < 4096
