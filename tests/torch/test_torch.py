"""The hooks of `fastact.torch.watch`: what they record, and that nothing else changes."""

import copy
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import fastact
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.torch import Watch, watch


class Call(NamedTuple):
    name: str
    shape: tuple[int, ...]
    axis: int | None
    kind: str


class Recorder:
    """The least that `watch` takes: it notes what it is given."""

    def __init__(self, *, active: bool = True, broken: tuple[str, ...] = ()) -> None:
        self.active = active
        self.broken = broken
        self.calls: list[Call] = []

    def record(self, name: str, x: Any, /, *, axis: int | None = None, kind: str = "") -> None:
        if name in self.broken:
            raise RuntimeError("no room")
        self.calls.append(Call(name, tuple(x.shape), axis, kind))

    def axes(self) -> dict[str, int | None]:
        return {call.name: call.axis for call in self.calls}


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Tanh())


def seen(model: nn.Module, *args: Any, layers: Any = None) -> Recorder:
    recorder = Recorder()
    with watch(model, recorder, layers=layers):
        model(*args)
    return recorder


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
        assert list(monitor.history) == ["0", "1", "2", "3"] == list(handle.names)
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


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_hooks_are_off_after_the_block_after_an_error_and_after_remove() -> None:
    model, recorder = mlp(), Recorder()
    with watch(model, recorder):
        assert hooks(model) == 4
    assert hooks(model) == 0
    with pytest.raises(RuntimeError, match="shapes"), watch(model, recorder):
        model(torch.ones(2, 5))
    assert hooks(model) == 0
    handle = watch(model, recorder)
    assert hooks(model) == 4
    handle.remove()
    handle.remove()
    assert hooks(model) == 0


class Head(nn.Module):
    """Returns `shape(x)`, whatever that is."""

    def __init__(self, shape: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> Any:
        return self.shape(x)


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    extra: Any = None


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        (lambda x: (x, 3, None, x), ["h[0]", "h[3]"]),
        (lambda x: [x, [x, "a"]], ["h[0]", "h[1][0]"]),
        (lambda x: {"logits": x, "loss": 0.5, 7: x}, ["h['logits']", "h[7]"]),
        (lambda x: Output(x, (x,)), ["h.logits", "h.extra[0]"]),
        (lambda x: Output, []),
        (lambda x: None, []),
    ],
)
def test_tensors_inside_of_an_output_are_named_by_their_place(
    shape: Callable[[torch.Tensor], Any], names: list[str]
) -> None:
    model = nn.ModuleDict({"h": Head(shape)})
    recorder = Recorder()
    with watch(model, recorder) as handle:
        model["h"](torch.ones(2, 3))
    assert [call.name for call in recorder.calls] == names
    assert {call.shape for call in recorder.calls} <= {(2, 3)}
    assert handle.failures == 0


def test_a_structure_that_holds_itself_ends() -> None:
    loop: list[Any] = [torch.ones(2, 3)]
    loop.append(loop)
    recorder = seen(nn.ModuleDict({"h": Head(lambda x: loop)})["h"], torch.ones(1))
    assert 1 < len(recorder.calls) < 20


def test_lstm_outputs_and_packed_sequences() -> None:
    model = nn.ModuleDict({"lstm": nn.LSTM(4, 5, batch_first=True)})
    recorder = Recorder()
    with watch(model, recorder):
        model["lstm"](torch.ones(2, 3, 4))
        model["lstm"](pack_padded_sequence(torch.ones(2, 3, 4), torch.tensor([3, 1]), batch_first=True))
    assert recorder.calls[:3] == [
        Call("lstm[0]", (2, 3, 5), 2, "LSTM"),
        Call("lstm[1][0]", (1, 2, 5), 2, "LSTM"),
        Call("lstm[1][1]", (1, 2, 5), 2, "LSTM"),
    ]
    assert recorder.calls[3] == Call("lstm[0].data", (4, 5), 1, "LSTM")


def test_a_module_called_twice_in_a_step_has_one_row_with_both() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.act(x), self.act(x[:, :2] + 1)], dim=1)

    with fastact.ActivationMonitor() as monitor:
        model = Twice()
        with watch(model, monitor) as handle:
            model(torch.tensor([[1.0, -1.0, 3.0]]))
            monitor.step()
        row = monitor.history["act"].rows[-1]
    assert handle.failures == 0
    assert (row["count"], row["max"], row["zeros"], row["mean"]) == (5, 3.0, 2, pytest.approx(6 / 5))


def test_a_shared_module_goes_by_its_first_name_and_is_found_by_each() -> None:
    act = nn.Tanh()
    model = nn.Sequential()
    model.add_module("first", act)
    model.add_module("middle", nn.Linear(3, 3))
    model.add_module("second", act)
    assert [call.name for call in seen(model, torch.ones(2, 3)).calls] == ["first", "middle", "first"]
    assert {call.name for call in seen(model, torch.ones(2, 3), layers="second").calls} == {"first"}


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


def test_wrong_arguments() -> None:
    with pytest.raises(ArgumentTypeError, match=r"model: got int, want a torch\.nn\.Module"):
        watch(3, Recorder())  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match=r"monitor: got str, want a fastact\.ActivationMonitor"):
        watch(mlp(), "runs/a")  # type: ignore[arg-type]
    model, recorder = mlp(), Recorder()
    with watch(model, recorder):
        with pytest.raises(ArgumentValueError, match="layer '0' is watched by this monitor already"):
            watch(model, recorder)
        with watch(model, Recorder()):  # another monitor may watch as well
            assert hooks(model) == 8
        assert hooks(model) == 4


def test_neuron_axes_of_a_convolutional_network() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.GroupNorm(1, 5),
        nn.Flatten(),
        nn.Linear(45, 7),
        nn.ReLU(),
        nn.Softmax(dim=1),
    )
    axes = seen(model, torch.randn(2, 3, 8, 8)).axes()
    assert list(axes.values()) == [1, 1, 1, 1, 1, 1, 1, 1, 1]
    # Without the batch axis channels come first.
    unbatched = nn.Sequential(nn.Conv2d(3, 5, 3), nn.InstanceNorm2d(5), nn.ReLU())
    assert list(seen(unbatched, torch.randn(3, 8, 8)).axes().values()) == [0, 0, 0]


def test_neuron_axes_follow_the_layer_before() -> None:
    sequence = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 5), nn.GELU(), nn.LayerNorm(5), nn.Dropout(0.0))
    assert set(seen(sequence, torch.zeros(2, 3, dtype=torch.long)).axes().values()) == {2}
    signal = nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU(), nn.BatchNorm1d(5), nn.AvgPool1d(2))
    assert set(seen(signal, torch.randn(2, 3, 8)).axes().values()) == {1}
    # Channels last in four axes: a Linear there says so, and the activation after it follows.
    channels_last = nn.Sequential(nn.Linear(3, 5), nn.GELU())
    assert set(seen(channels_last, torch.randn(2, 4, 4, 3)).axes().values()) == {3}


def test_a_layer_that_is_not_chosen_still_tells_the_axis() -> None:
    model = nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(30, 4))
    for _ in range(2):
        assert seen(model, torch.randn(2, 3, 8), layers=nn.ReLU).calls == [Call("1", (2, 5, 6), 1, "ReLU")]


def test_outputs_without_two_axes_have_no_neurons() -> None:
    assert seen(nn.Linear(4, 3), torch.ones(4)).calls == [Call("Linear", (3,), None, "Linear")]
    assert seen(nn.MSELoss(), torch.ones(2, 3), torch.ones(2, 3)).axes() == {"MSELoss": None}


def test_attention_is_one_layer_whose_weights_have_no_neurons() -> None:
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(2, 5, 8)
    assert seen(model, x, x, x).calls == [
        Call("MultiheadAttention[0]", (2, 5, 8), 2, "MultiheadAttention"),
        Call("MultiheadAttention[1]", (2, 5, 5), None, "MultiheadAttention"),
    ]


def test_a_transformer_layer_is_recorded_in_training_and_in_evaluation() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    x = torch.randn(2, 5, 8)
    training = seen(model, x)
    assert {"linear1", "linear2", "norm1", "norm2", "self_attn[0]"} <= set(training.axes())
    model.eval()
    with torch.inference_mode():
        assert set(seen(model, x).axes()) == set(training.axes())


def test_kinds_are_those_that_the_rules_know() -> None:
    class MyTanh(nn.Tanh):
        pass

    class Swish(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * x.sigmoid()

    linear = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    model = nn.Sequential(linear, MyTanh(), Swish(), nn.LazyLinear(2))
    calls = seen(model, torch.ones(2, 4)).calls
    assert [(call.name, call.kind) for call in calls] == [
        ("0", "Linear"),
        ("1", "Tanh"),
        ("2", "Swish"),
        ("3", "Linear"),
    ]


def test_checkpointed_layers_are_recorded_once() -> None:
    from torch.utils.checkpoint import checkpoint

    model, recorder = mlp(), Recorder()
    with watch(model, recorder):
        y = checkpoint(model, torch.ones(2, 4, requires_grad=True), use_reentrant=False)
        assert isinstance(y, torch.Tensor)
        y.sum().backward()
    assert [call.name for call in recorder.calls] == ["0", "1", "2", "3"]


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
        assert len(monitor.history) == 4


def test_low_precision_and_inference_mode() -> None:
    model = mlp().to(torch.bfloat16).eval()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor) as handle:
        with torch.inference_mode():
            model(torch.ones(8, 4, dtype=torch.bfloat16))
        monitor.step()
        assert handle.failures == 0
        assert monitor.history["0"].info.dtype == "bfloat16"


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
