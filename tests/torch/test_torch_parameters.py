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
from torch._dynamo.testing import CompileCounter
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from torch_doubles import Recorder, mlp

import fastact
from fastact.torch import watch
from fastact.torch.optimisers import rates, unfollow
from fastact.torch.parameters import attach_parameters
from fastact.torch.updates import Sample

_ALL: dict[str, Any] = {"weights": True, "gradients": "parameters", "updates": True, "parameters_every": 1}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Any:
    """No hook of an optimiser survives a test."""
    yield
    assert not _global_optimizer_pre_hooks
    assert not _global_optimizer_post_hooks


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(16, 4, generator=made), torch.randint(3, (16,), generator=made)


def weight_of(model: nn.Module) -> nn.Parameter:
    return model.get_parameter("0.weight")


def gradient_of(model: nn.Module) -> torch.Tensor:
    gradient = weight_of(model).grad
    assert gradient is not None
    return gradient


def learn(model: nn.Module, optimiser: Any, steps: int = 1, monitor: Any = None) -> None:
    for step in range(steps):
        x, y = batch(step)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
        if monitor is not None:
            monitor.step()


def sgd(model: nn.Module, **options: Any) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), **{"lr": 0.1, **options})


def rows_of(history: Any, name: str) -> dict[str, Any]:
    return {field: history[name][field].tolist() for field in ("step", "mean", "count", "zeros", "neurons")}


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


def test_the_first_of_several_steps_counts() -> None:
    model = mlp()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, **_ALL):
        learn(model, sgd(model), 3)
        monitor.step()
        assert rows_of(monitor.history, "0.weight")["count"] == [24]
        assert rows_of(monitor.history, "optimiser")["count"] == [1]


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


def test_an_optimiser_that_steps_later_is_found() -> None:
    model = nn.ModuleDict({"g": mlp(), "d": mlp()})
    optimisers = {name: sgd(part) for name, part in model.items()}
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, **_ALL):
        learn(model["d"], optimisers["d"], 1)
        learn(model["g"], optimisers["g"], 1, monitor)
        history = monitor.history
        assert {history[name].info.facts["optimiser"] for name in history if name.endswith("weight")} == {True}
        assert rows_of(history, "optimiser:2")["step"] == [0]
        assert history["optimiser"].info.facts["missing"] == []


def test_an_average_of_the_model_is_not_missed() -> None:
    model = nn.ModuleDict({"trained": mlp()})
    model["average"] = copy.deepcopy(model["trained"])
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, **_ALL):
        learn(model["trained"], sgd(model["trained"]), 1, monitor)
        facts = monitor.history["optimiser"].info.facts
        assert (facts["missing"], facts["idle_tensors"], facts["idle"][0]) == ([], 4, "average.0.weight")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of TorchScript
@pytest.mark.parametrize("fullgraph", [False, True])
def test_a_compiled_step_runs_as_ever_and_is_told_of(fullgraph: bool) -> None:
    class Plain(torch.optim.Optimizer):
        """Unlike torch's own it can be compiled as a whole."""

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for parameter in self.param_groups[0]["params"]:
                parameter.add_(parameter.grad, alpha=-0.1)

    model = mlp()
    optimiser = Plain(model.parameters(), {})
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, strict=True, **_ALL):
        torch.compiler.reset()
        frames = CompileCounter()
        step = torch.compile(optimiser.step, backend=frames, fullgraph=fullgraph)
        before = weight_of(model).detach().clone()
        for seed in range(3):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(batch(seed)[0]), batch(seed)[1]).backward()
            step()
            monitor.step()
        assert not torch.equal(weight_of(model), before)
        assert frames.frame_count == 1
        assert monitor.unseen == {"optimiser.step": "it lies in compiled code, which shows no parameters"}
    torch.compiler.reset()


def test_two_watches_tell_the_optimisers_of_their_models() -> None:
    model, other = mlp(), mlp()
    with fastact.ActivationMonitor() as monitor:
        with watch(model, monitor, prefix="g.", **_ALL), watch(other, monitor, prefix="d.", **_ALL):
            optimisers = sgd(model), sgd(other, lr=0.2)
            for _ in range(2):
                learn(other, optimisers[1], 1)
                learn(model, optimisers[0], 1, monitor)
        rates = {name: monitor.history[name]["mean"].tolist() for name in monitor.history if "optimiser" in name}
        assert rates == {"g.optimiser": [0.1, 0.1], "d.optimiser": [0.2, 0.2]}


def test_an_optimiser_of_another_model_is_told() -> None:
    model = mlp()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, **_ALL):
        optimiser = sgd(mlp())
        for _ in range(2):
            nn.functional.cross_entropy(model(batch()[0]), batch()[1]).backward()
            optimiser.step()
            monitor.step()
        facts = monitor.history["optimiser"].info.facts
        assert (facts["parameters"], facts["others"], facts["missing_tensors"]) == (0, 4, 4)
        assert monitor.history["0.weight"].info.facts["optimiser"] is None
        assert len(set(monitor.history["0.weight"]["mean"].tolist())) == 1
        assert "0.weight:update" not in monitor.history


def test_the_rate_is_followed_and_a_new_optimiser_takes_the_old_ones_row() -> None:
    model = mlp()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, **_ALL):
        optimiser = sgd(model, lr=0.5)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5**step if step < 2 else 0.0)
        for _ in range(3):
            learn(model, optimiser, 1, monitor)
            schedule.step()
        del optimiser, schedule
        gc.collect()
        learn(model, torch.optim.Adam([{"params": [p], "lr": float(n)} for n, p in enumerate(model.parameters())]))
        monitor.step()
        row = monitor.history["optimiser"]
        assert row["mean"].tolist() == [0.5, 0.25, 0.0, 1.5]
        assert row["max"].tolist()[-1] == 3.0
        assert rows_of(monitor.history, "0.weight:update")["zeros"] == [0, 0, 24, 24]


@pytest.mark.parametrize(("rate", "want"), [("auto", None), (None, None), (torch.tensor([0.1, 0.3]), 0.2)])
def test_rates_that_are_no_single_number(rate: Any, want: float | None) -> None:
    model = mlp()
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    optimiser.param_groups[0]["lr"] = rate
    found = rates(optimiser)
    assert (found.mean().item() if found.numel() else None) == pytest.approx(want)


def test_without_a_step_it_is_told() -> None:
    model = mlp()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, updates=True):
        for _ in range(4):
            model(batch()[0])
            monitor.step()
        model(batch()[0])
        with pytest.warns(RuntimeWarning, match="nothing of optimiser in 5 steps: no optimiser has stepped"):
            monitor.step()
        assert set(monitor.unseen) == {"optimiser"}
        learn(model, sgd(model), 1, monitor)
        assert not monitor.unseen


def test_gradients_of_a_closure_are_those_that_it_computes() -> None:
    model, recorder = mlp(), Recorder()
    optimiser = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)
    x, y = batch()

    def closure() -> Any:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    before = weight_of(model).detach().clone()
    with watch(model, recorder, inputs=False, **_ALL):
        optimiser.step(closure)
    assert recorder.given["0.weight:grad"][0].tolist() == gradient_of(model).tolist()
    assert torch.equal(recorder.given["0.weight:update"][0], (weight_of(model).detach() - before).flatten())
    # The rows of parameters come after those of layers, as ever.
    assert [call.name for call in recorder.calls].index("0.weight") > 3


def test_a_skipped_step_has_no_rows() -> None:
    model = mlp()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
    optimiser = sgd(model)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, **_ALL):
        for step in range(3):
            x, y = batch(step)
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y) * (float("inf") if step == 0 else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()
            monitor.step()
        rows = rows_of(monitor.history, "0.weight:grad")
        assert rows["step"] == [1, 2]
        assert rows["mean"][-1] == pytest.approx(float(gradient_of(model).mean()))  # unscaled


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


def test_with_a_loss_alone_optimisers_are_followed_and_no_parameter_is_swept() -> None:
    model, recorder = mlp(), Recorder()
    with watch(model, recorder, loss=False) as handle:
        follower = attach_parameters(
            handle, model, None, weights=False, gradients=False, updates=False, every=1, first=0, losses=True
        )
        assert follower is not None
        assert not follower.unseen()  # nothing has been asked of one
        assert follower.unseen({"loss"}).keys() == {"optimiser"}
        learn(model, sgd(model))
        unfollow(follower)
    assert "optimiser" in recorder.given
    assert not [name for name in recorder.given if "weight" in name]
    assert not follower.unseen({"loss"})


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
