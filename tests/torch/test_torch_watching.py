"""`fastact.torch.watch`: what the monitor gets, in which steps, and that nothing else changes."""

import copy
import gc
import pickle
import subprocess
import sys
import warnings
import weakref
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch_doubles import Recorder, hooks, mlp, mlp_in_place, seen

import fastact
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.torch import Watch, watch


def test_the_monitor_gets_the_numbers_of_every_layer() -> None:
    model, x = mlp(), torch.randn(8, 4)
    outputs: dict[str, torch.Tensor] = {}
    y = x
    for name, module in model.named_children():
        y = outputs[name] = module(y).detach()
    with fastact.ActivationMonitor() as monitor:
        with watch(model, monitor) as handle:
            model(x)
            monitor.step()
        assert list(monitor.history) == ["input", *handle.names] == ["input", "0", "1", "2", "3"]
        for name, want in outputs.items():
            row = monitor.history[name].rows[-1]
            assert row["count"] == want.numel()
            assert row["mean"] == pytest.approx(want.double().mean().item(), rel=1e-6)
            assert row["std"] == pytest.approx(want.double().std(correction=0).item(), rel=1e-6)
            assert row["zeros"] == int((want == 0).sum())
            assert row["neurons"] == want.shape[-1]
        assert [monitor.history[name].info.kind for name in outputs] == ["Linear", "ReLU", "Linear", "Tanh"]


def test_training_is_the_same_bit_for_bit() -> None:
    def trained(watched: bool) -> tuple[list[torch.Tensor], list[torch.Tensor], list[str]]:
        model = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(6, 3)
        )
        torch.manual_seed(1)
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor = fastact.ActivationMonitor()
        handle = watch(model, monitor) if watched else None
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
            monitor.step()
        assert model.training
        if handle is not None:
            assert handle.failures == 0
            assert len(monitor.history["2"]) == 5
        grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        return list(model.state_dict().values()), grads, list(model.state_dict())

    plain, watched = trained(False), trained(True)
    assert plain[2] == watched[2]
    for one, other in zip(plain[0] + plain[1], watched[0] + watched[1], strict=True):
        assert torch.equal(one, other)


def test_a_skipped_step_records_nothing() -> None:
    recorder = Recorder(active=False)
    with watch(mlp(), recorder) as handle:
        mlp()(torch.ones(2, 4))
    assert recorder.calls == []
    assert handle.failures == 0


def test_hooks_are_off_after_the_block_after_an_error_and_after_remove() -> None:
    model, recorder = mlp(), Recorder()
    with watch(model, recorder):
        assert hooks(model) > 4
    assert hooks(model) == 0
    with pytest.raises(RuntimeError, match="shapes"), watch(model, recorder):
        model(torch.ones(2, 5))
    assert hooks(model) == 0
    handle = watch(model, recorder)
    assert hooks(model) > 4
    handle.remove()
    handle.remove()
    assert hooks(model) == 0


def test_a_shared_module_goes_by_its_first_name_and_is_found_by_each() -> None:
    act = nn.Tanh()
    model = nn.Sequential()
    model.add_module("first", act)
    model.add_module("middle", nn.Linear(3, 3))
    model.add_module("second", act)
    assert [call.name for call in seen(model, torch.ones(2, 3)).calls] == ["first", "middle", "first:2"]
    assert {call.name for call in seen(model, torch.ones(2, 3), layers="second").calls} == {"first", "first:2"}


def test_wrong_arguments() -> None:
    with pytest.raises(ArgumentTypeError, match=r"model: got int, want a torch\.nn\.Module"):
        watch(3, Recorder())  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match=r"monitor: got str, want a fastact\.ActivationMonitor"):
        watch(mlp(), "runs/a")  # type: ignore[arg-type]
    model, recorder = mlp(), Recorder()
    with watch(model, recorder):
        with pytest.raises(ArgumentValueError, match=r"layer '0' is watched by this monitor already; .*remove"):
            watch(model, recorder)
        alone = hooks(model)
        with watch(model, Recorder()):  # another monitor may watch as well
            assert hooks(model) == 2 * alone
        assert hooks(model) == alone


def test_checkpointed_layers_are_recorded_once() -> None:

    model, recorder = mlp(), Recorder()
    with watch(model, recorder):
        y = checkpoint(model, torch.ones(2, 4, requires_grad=True), use_reentrant=False)
        assert isinstance(y, torch.Tensor)
        y.sum().backward()
    assert [call.name for call in recorder.calls] == ["input", "0", "1", "2", "3"]


def test_copies_of_a_watched_model_are_not_watched() -> None:
    # A real monitor: it holds a lock, so a copy that took it along would fail.
    model, monitor = mlp(), fastact.ActivationMonitor()
    with watch(model, monitor):
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(twin(torch.ones(2, 4)), twin(torch.ones(2, 4)))
            monitor.step()
            assert len(monitor.history) == 0
        model(torch.ones(2, 4))
        monitor.step()
        assert len(monitor.history) == 5


def test_low_precision_and_inference_mode() -> None:
    model = mlp().to(torch.bfloat16).eval()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor) as handle:
        with torch.inference_mode():
            model(torch.ones(8, 4, dtype=torch.bfloat16))
        monitor.step()
        assert handle.failures == 0
        assert monitor.history["0"].info.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, list(range(10))),
        ({"every": 4}, [0, 4, 8]),
        ({"every": 4, "first": 3}, [0, 1, 2, 4, 8]),
        ({"every": lambda step: step in (3, 5)}, [3, 5]),
        ({"every": lambda step: step in (3, 5), "first": 1}, [0, 3, 5]),
        ({"every": lambda step: step < 2}, [0, 1]),
    ],
)
def test_which_steps_are_recorded(options: dict[str, Any], steps: list[int]) -> None:
    model = mlp_in_place()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, gradients=True, inputs=True, **options):
        for _ in range(10):
            model(torch.ones(8, 4)).sum().backward()
            monitor.step()
    assert len(monitor.history) == 11
    for layer in monitor.history.values():
        assert layer["step"].tolist() == steps


def test_the_monitor_s_own_every_holds_as_well() -> None:
    model = mlp_in_place()
    with fastact.ActivationMonitor(every=2) as monitor, watch(model, monitor, every=3):
        for _ in range(13):
            model(torch.ones(8, 4))
            monitor.step()
    assert monitor.history["0"]["step"].tolist() == [0, 6, 12]


def test_training_only_leaves_validation_out() -> None:
    model, recorder = mlp_in_place(), Recorder()
    with watch(model, recorder, training_only=True, inputs=True, gradients=True):
        for mode in (True, False, True):
            model.train(mode)
            model(torch.ones(8, 4))
    assert {len(given) for given in recorder.given.values()} == {2}
    model.eval()
    with watch(model, recorder := Recorder()):
        model(torch.ones(8, 4))
    assert len(recorder.given) == 4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every": 0}, ArgumentValueError, "every: got 0, want at least 1 step"),
        ({"every": "2"}, ArgumentTypeError, "every: got str, want a number of steps or a function"),
        ({"every": True}, ArgumentTypeError, "every: got bool"),
        ({"first": -1}, ArgumentValueError, "first: got -1, want at least 0 steps"),
        ({"first": 1.5}, ArgumentTypeError, "first: got float, want a number of steps"),
        ({"every": 2}, ArgumentTypeError, "monitor: got Recorder without current_step"),
    ],
)
def test_a_schedule_that_cannot_be_is_one_clear_error(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        watch(mlp_in_place(), Recorder(), **options)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    model = mlp_in_place()
    with (
        fastact.ActivationMonitor() as monitor,
        watch(model, monitor, inputs=False, gradients=True, loss=False, strict=True),
    ):
        with torch.autocast("cpu", dtype=dtype):
            loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        monitor.step()
    name = str(dtype).removeprefix("torch.")
    assert {layer.info.dtype for layer in monitor.history.values()} == {name}
    assert list(monitor.history) == ["0", "1", "2", "2:grad", "1:grad", "0:grad"]


def test_jit_tracing_records_nothing() -> None:
    model, recorder = mlp_in_place().eval(), Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with watch(model, recorder, inputs=True, strict=True):
            torch.jit.trace(model, torch.ones(8, 4), check_trace=False)
    assert not recorder.given


def test_a_watched_model_that_nobody_needs_is_gone_at_once() -> None:
    model = mlp_in_place()
    gone = [weakref.ref(module) for module in model.modules()]
    handle = watch(model, Recorder(), inputs=True, gradients=True)
    model(torch.ones(8, 4)).sum().backward()
    gc.disable()
    try:
        del model
        assert [module() for module in gone] == [None] * 4
    finally:
        gc.enable()
    handle.remove()


@pytest.mark.parametrize("how", ["class", "object"])
def test_a_monitor_with_a_record_of_its_own_is_given_everything(how: str) -> None:
    seen: list[str] = []

    class Own(fastact.ActivationMonitor):
        def record(self, name: str, x: Any, **options: Any) -> Any:
            seen.append(name)
            return super().record(name, x, **options)

    monitor = Own() if how == "class" else fastact.ActivationMonitor()
    if how == "object":
        monitor.record = lambda name, x, **options: seen.append(name)  # type: ignore[method-assign]
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with monitor, fastact.torch.watch(model, monitor):
        for _ in range(3):
            model(torch.ones(8, 4))
            monitor.step()
    assert seen == ["input", "0", "1"] * 3


def test_the_handle_tells_its_state() -> None:
    handle = watch(mlp(), Recorder())
    assert isinstance(handle, Watch)
    assert repr(handle) == "Watch(layers=4, failures=0, on)"
    handle.remove()
    assert repr(handle) == "Watch(layers=4, failures=0, removed)"


def test_without_torch_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['torch'] = None\nimport fastact.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "MissingExtraError: fastact.torch needs PyTorch: pip install 'fastact[torch]'" in done.stderr
