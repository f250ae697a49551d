"""Optimisers of PyTorch: which are found, how their rates are followed, and which steps count."""

import copy
import gc
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch_doubles import Recorder, mlp
from torch_learning import (
    _ALL,
    _nothing_is_left,  # noqa: F401, a fixture of all
    batch,
    learn,
    rows_of,
    sgd,
    weight_of,
)

import fastact
from fastact.torch import watch
from fastact.torch.optimisers import rates, unfollow
from fastact.torch.parameters import attach_parameters


def gradient_of(model: nn.Module) -> torch.Tensor:
    gradient = weight_of(model).grad
    assert gradient is not None
    return gradient


def test_the_first_of_several_steps_counts() -> None:
    model = mlp()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, **_ALL):
        learn(model, sgd(model), 3)
        monitor.step()
        assert rows_of(monitor.history, "0.weight")["count"] == [24]
        assert rows_of(monitor.history, "optimiser")["count"] == [1]


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
