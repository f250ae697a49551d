"""What `fastact.torch.watch` can be asked for (inputs, gradients, which steps), and what it does with trouble."""

import gc
import os
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import fastact
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError
from fastact.torch import watch


class Recorder:
    """Keeps a copy of what it is given."""

    def __init__(self, *, active: bool = True, broken: tuple[str, ...] = ()) -> None:
        self.active = active
        self.broken = broken
        self.given: dict[str, list[torch.Tensor]] = {}
        self.about: dict[str, tuple[int | None, str]] = {}

    def record(self, name: str, x: Any, /, *, axis: int | None = None, kind: str = "") -> None:
        if name in self.broken:
            raise OSError("no room")
        self.given.setdefault(name, []).append(x.detach().clone())
        self.about[name] = axis, kind


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 3))


def test_inputs_are_recorded_as_they_were_before_the_layer_ran() -> None:
    model, x, recorder = mlp(), torch.randn(8, 4), Recorder()
    with watch(model, recorder, inputs=True):
        y = model(x)
    assert list(recorder.given) == ["0:input", "0", "1:input", "1", "2:input", "2"]
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
    assert list(recorder.given) == ["embed", "scale:input[0]", "scale:input[1]", "scale"]
    torch.testing.assert_close(recorder.given["scale"][0], 2 * recorder.given["scale:input[0]"][0])


def test_gradients_are_those_of_the_loss_by_each_output() -> None:
    model, x, recorder = mlp(), torch.randn(8, 4), Recorder()
    with watch(model, recorder, gradients=True):
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
    model, recorder = mlp(), Recorder()
    plain = Recorder()
    x = torch.randn(8, 4, requires_grad=True)
    with watch(model, plain, gradients=True):
        model(x).square().sum().backward()
    with watch(model, recorder, gradients=True, inputs=True):
        y = checkpoint(model, x, use_reentrant=reentrant)
        assert isinstance(y, torch.Tensor)
        y.square().sum().backward()
    layers = ("0", "1", "2")
    wanted = [name + what for name in layers for what in ("", ":input", ":grad")]
    assert {name: len(given) for name, given in recorder.given.items()} == dict.fromkeys(wanted, 1)
    for name, given in plain.given.items():
        torch.testing.assert_close(recorder.given[name], given)


def test_gradients_change_nothing_and_end_with_the_watch() -> None:
    def gradients(watched: bool) -> list[torch.Tensor]:
        model = mlp()
        with watch(model, Recorder(), gradients=watched):
            model(torch.ones(8, 4)).square().sum().backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    for one, other in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(one, other)
    model, recorder = mlp(), Recorder()
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
    model = mlp()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, gradients=True, inputs=True, **options):
        for _ in range(10):
            model(torch.ones(8, 4)).sum().backward()
            monitor.step()
    assert len(monitor.history) == 9
    for layer in monitor.history.values():
        assert layer["step"].tolist() == steps


def test_the_monitor_s_own_every_holds_as_well() -> None:
    model = mlp()
    with fastact.ActivationMonitor(every=2) as monitor, watch(model, monitor, every=3):
        for _ in range(13):
            model(torch.ones(8, 4))
            monitor.step()
    assert monitor.history["0"]["step"].tolist() == [0, 6, 12]


def test_training_only_leaves_validation_out() -> None:
    model, recorder = mlp(), Recorder()
    with watch(model, recorder, training_only=True, inputs=True, gradients=True):
        for mode in (True, False, True):
            model.train(mode)
            model(torch.ones(8, 4))
    assert {len(given) for given in recorder.given.values()} == {2}
    model.eval()
    with watch(model, recorder := Recorder()):
        model(torch.ones(8, 4))
    assert len(recorder.given) == 3


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
        watch(mlp(), Recorder(), **options)


def test_what_computes_nothing_is_left_out_unless_asked_for() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Identity(), nn.Sequential(), nn.ReLU())
    assert watch(model, Recorder()).names == ("0", "3")
    assert watch(model, Recorder(), layers=nn.Identity).names == ("1",)


def test_wrappers_leave_no_trace_in_names() -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    model = nn.Sequential(nn.Linear(2, 2), checkpoint_wrapper(nn.Sequential(nn.Linear(2, 2), nn.ReLU())))
    recorder = Recorder()
    with watch(nn.DataParallel(model), recorder) as handle:
        model(torch.ones(3, 2)).sum().backward()
    assert handle.names == ("0", "1.0", "1.1") == tuple(recorder.given)
    assert {len(given) for given in recorder.given.values()} == {1}


def test_a_child_that_knows_its_parent_ends() -> None:
    model = mlp()
    model[0].parent = model
    recorder = Recorder()
    with watch(model, recorder):
        model(torch.ones(8, 4))
    assert {"1", "2"} <= set(recorder.given)


def test_a_parametrised_layer_of_one_s_own_keeps_its_kind() -> None:
    class Swish(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.beta = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (self.beta * x).sigmoid()

    class Double(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    model, recorder = Swish(), Recorder()
    nn.utils.parametrize.register_parametrization(model, "beta", Double())
    with watch(model, recorder):
        model(torch.ones(2, 3))
    assert [kind for _, kind in recorder.about.values()] == ["Swish"]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_is_its_rows(layout: torch.layout) -> None:
    class Nest(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nested.nested_tensor([x[:2], x[:3]], layout=layout)

    model, recorder = Nest(), Recorder()
    with watch(model, recorder, strict=True):
        model(torch.ones(3, 4))
    assert [tuple(x.shape) for x in recorder.given["Nest"]] == [(5, 4)]
    assert recorder.about["Nest"][0] == 1


def test_of_a_distributed_tensor_each_process_records_its_part() -> None:
    class Sharded(torch.Tensor):
        """As a DTensor: its methods concern the whole, `to_local` gives what is here."""

        def to_local(self) -> torch.Tensor:
            return self.as_subclass(torch.Tensor)[:2]

    class Shard(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.as_subclass(Sharded)

    model, recorder = Shard(), Recorder()
    with watch(model, recorder, strict=True):
        model(torch.ones(8, 4))
    assert [(type(x), tuple(x.shape)) for x in recorder.given["Shard"]] == [(torch.Tensor, (2, 4))]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    model = mlp()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, gradients=True, strict=True):
        with torch.autocast("cpu", dtype=dtype):
            loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        monitor.step()
    name = str(dtype).removeprefix("torch.")
    assert {layer.info.dtype for layer in monitor.history.values()} == {name}
    assert list(monitor.history) == ["0", "1", "2", "2:grad", "1:grad", "0:grad"]


def test_jit_tracing_records_nothing() -> None:
    model, recorder = mlp().eval(), Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with watch(model, recorder, inputs=True, strict=True):
            torch.jit.trace(model, torch.ones(8, 4), check_trace=False)
    assert not recorder.given


def test_a_watched_model_that_nobody_needs_is_gone_at_once() -> None:
    model = mlp()
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


# What goes wrong.


def test_a_failing_record_warns_once_is_counted_and_takes_nothing_else_with_it() -> None:
    model, recorder = mlp(), Recorder(broken=("1", "2", "0:input", "0:grad"))
    with watch(model, recorder, inputs=True, gradients=True) as handle:
        with pytest.warns(RuntimeWarning, match=r"layer '0:input' .*OSError: no room") as caught:
            y = model(torch.ones(2, 4))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model(torch.ones(2, 4))
            y.sum().backward()
    assert len(caught) == 1
    assert handle.failures == 7
    assert {name: len(given) for name, given in recorder.given.items()} == {
        "0": 2, "1:input": 2, "2:input": 2, "2:grad": 1, "1:grad": 1,
    }  # fmt: skip
    assert torch.equal(y, model(torch.ones(2, 4)))


@pytest.mark.parametrize("broken", ["0:input", "1", "0:grad"])
def test_strict_raises(broken: str) -> None:
    model = mlp()
    recorder = Recorder(broken=(broken,))
    with pytest.raises(OSError, match="no room"), watch(model, recorder, inputs=True, gradients=True, strict=True):
        model(torch.ones(2, 4)).sum().backward()


class Odd(nn.Module):
    def __init__(self, output: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: torch.Tensor) -> Any:
        return self.output(x)


class Hostile(dict[str, Any]):
    def items(self) -> Any:
        raise ValueError("no items")


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize(
    "output",
    [
        lambda x: x.to_sparse(),
        lambda x: x.to("meta"),
        lambda x: torch.complex(x, x),
        lambda x: Hostile(x=x),
        lambda x: torch.quantize_per_tensor(x.detach(), 0.1, 0, torch.qint8),
    ],
)
@pytest.mark.filterwarnings("ignore:.*quantize.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*quantize.*:DeprecationWarning")
def test_odd_outputs_warn_once_or_raise_when_strict(output: Callable[[torch.Tensor], Any]) -> None:
    model, x = Odd(output), torch.ones(2, 3)
    want = type(model(x))
    with fastact.ActivationMonitor() as monitor:
        with watch(model, monitor) as handle:
            with pytest.warns(RuntimeWarning, match="fastact could not record layer 'Odd'"):
                assert type(model(x)) is want
            for _ in range(2):  # here another warning is an error
                model(x)
            assert handle.failures == 3
        with watch(model, monitor, strict=True), pytest.raises((FastactError, ValueError)):
            model(x)


def test_a_sampling_function_that_fails_warns_once_and_records_nothing() -> None:
    def every(step: int) -> bool:
        raise KeyError(step)

    model = mlp()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, every=every) as handle:
        with pytest.warns(RuntimeWarning, match="KeyError: 0"):
            model(torch.ones(8, 4))
        for _ in range(2):
            monitor.step()
            model(torch.ones(8, 4))
        assert handle.failures == 3
        assert not monitor.history


def test_a_closed_monitor_warns_once_and_the_training_goes_on() -> None:
    model, monitor = mlp(), fastact.ActivationMonitor()
    with watch(model, monitor) as handle:
        monitor.close()
        with pytest.warns(RuntimeWarning, match="the monitor is closed"):
            model(torch.ones(2, 4))
        assert model(torch.ones(2, 4)).shape == (2, 3)  # here another warning is an error
    assert handle.failures == 6
    with watch(model, monitor, strict=True), pytest.raises(FastactError, match="the monitor is closed"):
        model(torch.ones(2, 4))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_warns_once_and_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    model, x = mlp(), torch.ones(2, 4)
    with fastact.ActivationMonitor(tmp_path / "run") as monitor, watch(model, monitor, strict=True) as handle:
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: write(full, data))

        def train() -> None:
            for _ in range(3):
                model(x)
                monitor.step()
            monitor.flush()

        with pytest.warns(RuntimeWarning, match="No space left on device"):
            train()
        assert len(monitor.history["0"]) == 3
        assert (handle.failures, monitor.failures) == (0, 0)
        monkeypatch.undo()
    os.close(full)


@pytest.mark.parametrize("strict", [False, True])
def test_an_error_of_our_own_costs_that_layer_s_row_alone(strict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, monitor = mlp(), fastact.ActivationMonitor(strict=strict)
    append = monitor._diagnoser.append

    def broken(name: str, row: tuple[Any, ...]) -> None:
        if name == "1":
            raise ZeroDivisionError("a defect")
        append(name, row)

    monkeypatch.setattr(monitor._diagnoser, "append", broken)
    with monitor, watch(model, monitor):
        model(torch.ones(2, 4))
        if strict:
            with pytest.raises(ZeroDivisionError):
                monitor.step()
        else:
            with pytest.warns(RuntimeWarning, match=r"row of layer '1' .*ZeroDivisionError: a defect"):
                monitor.step()
            model(torch.ones(2, 4))
            monitor.step()  # here another warning is an error
            assert monitor.failures == 2
        assert len(monitor.history["0"]) == len(monitor.history["2"]) == monitor.failures
        assert len(monitor.history["1"]) == 0


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
    assert seen == ["0", "1"] * 3
