"""Activations that are called as functions are recorded under the name of the module that calls them."""

import contextlib
import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._device import DeviceContext
from torch_doubles import Recorder, seen

import fastact
from fastact.torch import watch
from fastact.torch.functional import TYPE_OF


class Calls(nn.Module):
    """A linear layer, and a function after it."""

    def __init__(self, function: Callable[[torch.Tensor], Any], width: int = 4) -> None:
        super().__init__()
        self.fc, self.function = nn.Linear(4, width), function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self.fc(x))


FUNCTIONS: list[tuple[Callable[[torch.Tensor], Any], str]] = [
    (functional.relu, "relu"),
    (torch.relu, "relu"),
    (torch.Tensor.relu, "relu"),
    (lambda x: x.relu_(), "relu"),
    (lambda x: functional.relu(x, inplace=True), "relu"),
    (functional.relu6, "relu6"),
    (functional.leaky_relu, "leaky_relu"),
    (lambda x: functional.leaky_relu_(x, 0.2), "leaky_relu"),
    (lambda x: functional.prelu(x, torch.ones(1)), "prelu"),
    (functional.rrelu, "rrelu"),
    (functional.elu, "elu"),
    (functional.celu, "celu"),
    (functional.selu, "selu"),
    (functional.gelu, "gelu"),
    (functional.silu, "silu"),
    (lambda x: functional.silu(x, inplace=True), "silu"),
    (functional.mish, "mish"),
    (functional.softplus, "softplus"),
    (functional.hardswish, "hardswish"),
    (functional.hardtanh, "hardtanh"),
    (functional.hardsigmoid, "hardsigmoid"),
    (functional.logsigmoid, "logsigmoid"),
    (functional.softsign, "softsign"),
    (torch.tanh, "tanh"),
    (functional.tanh, "tanh"),
    (torch.Tensor.tanh, "tanh"),
    (torch.sigmoid, "sigmoid"),
    (torch.Tensor.sigmoid_, "sigmoid"),
    (lambda x: functional.softmax(x, -1), "softmax"),
    (lambda x: torch.softmax(x, -1), "softmax"),
    (lambda x: x.softmax(-1), "softmax"),
    (lambda x: functional.softmin(x, -1), "softmin"),
    (lambda x: functional.log_softmax(x, -1), "log_softmax"),
    (lambda x: x.log_softmax(-1), "log_softmax"),
    (functional.normalize, "normalize"),
    (lambda x: functional.scaled_dot_product_attention(x, x, x), "scaled_dot_product_attention"),
]


@pytest.mark.parametrize(("function", "name"), FUNCTIONS)
def test_each_is_recorded_once_with_the_type_of_the_module_that_does_the_same(
    function: Callable[[torch.Tensor], Any], name: str
) -> None:
    model, x = Calls(function), torch.randn(3, 4)
    torch.manual_seed(1)
    want = model(x).detach().clone()
    torch.manual_seed(1)
    recorder = seen(model, x)
    assert list(recorder.given) == ["fc", name]
    torch.testing.assert_close(recorder.given[name][0], want, rtol=0, atol=0)
    assert recorder.about[name] == (1, TYPE_OF[name])


def test_saturation_is_that_of_the_type() -> None:
    with fastact.ActivationMonitor() as monitor, watch(model := Calls(lambda x: torch.sigmoid(x * 1e6)), monitor):
        model(torch.randn(3, 4))
        monitor.step()
    layer = monitor.history["sigmoid"]
    assert (layer.info.saturation, layer["saturated"][0], layer["neurons"][0]) == ((0.01, 0.99), 12, 4)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.act, self.gelu = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)
        self.late = functional.silu  # taken hold of before anything is watched
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.act(functional.relu(self.fc(x))))
        x = functional.gelu(self.gelu(self.late(x)))
        return x * torch.sigmoid(self.scale)


def test_names_of_modules_of_places_and_of_layers_that_have_the_name_already() -> None:
    model = nn.Sequential(Block(), Calls(torch.tanh))
    assert list(seen(model, torch.randn(3, 4)).given) == [
        "0.fc", "0.relu", "0.act", "0.relu:2", "0.silu", "0.gelu", "0.gelu()", "1.fc", "1.tanh",
    ]  # fmt: skip


def test_a_transformer_layer_calls_its_activation_and_torch_s_own_modules_are_one_layer() -> None:
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Tanh(), nn.Softmax(-1))
    names = list(seen(model, torch.randn(2, 5, 8)).given)
    assert names == [
        "0.self_attn[0]", "0.dropout1", "0.norm1", "0.linear1", "0.relu", "0.dropout", "0.linear2", "0.dropout2",
        "0.norm2", "1", "2",
    ]  # fmt: skip


def test_attention_keeps_its_fast_path() -> None:
    model = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(2, 5, 8)
    with torch.inference_mode():
        want = model(x, x, x, need_weights=False)[0]
        with watch(nn.Sequential(model), Recorder()), watch(model, Recorder(), strict=True):
            assert torch.equal(model(x, x, x, need_weights=False)[0], want)
    assert not _get_current_function_mode_stack()


def test_a_module_that_is_no_more_than_a_function_has_its_type_and_one_row() -> None:
    class Gate(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.gelu(x)

    class NewGELU(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (1 + torch.tanh(x))

    class Attend(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.softmax(x @ x.mT, -1) @ x

    model = nn.Sequential(nn.Linear(4, 4), Gate(), NewGELU(), Attend())
    assert {name: kind for name, (_, kind) in seen(model, torch.randn(3, 4)).about.items()} == {
        "0": "Linear", "1": "GELU", "2": "NewGELU", "3.softmax": "Softmax", "3": "Attend",
    }  # fmt: skip


def test_a_loss_within_the_model_and_weights_are_no_activations() -> None:
    class Losing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))
            self.old = nn.utils.spectral_norm(nn.Linear(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(self.old(self.fc(x)), torch.zeros(len(x), dtype=torch.long))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the older spectral_norm
        assert list(seen(Losing(), torch.randn(3, 4)).given) == ["fc", "old"]


def test_chosen_layers_limit_the_functions_and_one_option_turns_them_off() -> None:
    model, x = nn.Sequential(Block(), Calls(torch.tanh)), torch.randn(3, 4)
    assert list(seen(model, x, layers="1").given) == ["1.tanh", "1"]
    assert list(seen(model, x, layers="1.fc").given) == ["1.fc"]
    assert list(seen(model, x, layers=nn.Sequential).given)[-3:] == ["0.gelu()", "1.tanh", "Sequential"]
    recorder = Recorder()
    with watch(model, recorder, functional=False, inputs=False):
        model(x)
    assert list(recorder.given) == ["0.fc", "0.act", "0.gelu", "1.fc"]


def test_gradients_are_those_by_the_function_s_result() -> None:
    model, recorder = Calls(lambda x: functional.relu(x, inplace=True)), Recorder()
    with watch(model, recorder, gradients=True):
        (model(torch.randn(3, 4)) * 3).sum().backward()
    assert torch.equal(recorder.given["relu:grad"][0], torch.full((3, 4), 3.0))


def test_only_passes_that_are_recorded_ask_the_mode() -> None:
    stacks: list[int] = []

    def function(x: torch.Tensor) -> torch.Tensor:
        stacks.append(len(_get_current_function_mode_stack()))
        return torch.relu(x)

    model = Calls(function)
    with fastact.ActivationMonitor(every=2) as monitor, watch(model, monitor):
        for _ in range(3):
            model(torch.ones(2, 4))
            monitor.step()
        torch.relu(torch.ones(2, 4))  # a function outside of the model
    assert stacks == [1, 0, 1]
    assert monitor.history["relu"]["step"].tolist() == [0, 2]


def test_modes_of_others_are_left_as_they_are() -> None:
    class Counting(TorchFunctionMode):
        calls = 0

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.calls += 1
            return func(*args, **(kwargs or {}))

    outer, inner = Counting(), Counting()

    def function(x: torch.Tensor) -> torch.Tensor:
        with inner:
            return torch.relu(x)

    model, recorder, other = Calls(function), Recorder(), Recorder()
    with outer, torch.device("cpu"), watch(model, recorder, inputs=False), watch(model, other, inputs=False):
        model(torch.ones(2, 4))
        assert list(recorder.given) == list(other.given) == ["fc", "relu"]
        assert len(_get_current_function_mode_stack()) == 2
    assert outer.calls
    assert inner.calls == 1
    assert not _get_current_function_mode_stack()


def test_a_failing_record_of_a_function_changes_nothing() -> None:
    model = Calls(torch.relu)
    with watch(model, Recorder(broken=("relu",)), inputs=False) as handle:
        with pytest.warns(RuntimeWarning, match="could not record layer 'relu'"):
            model(torch.ones(2, 4))
        model(torch.ones(2, 4))
    assert handle.failures == 2
    with watch(model, Recorder(broken=("relu",)), strict=True), pytest.raises(OSError, match="no room"):
        model(torch.ones(2, 4))
    assert not _get_current_function_mode_stack()


def test_a_copy_calls_its_functions_unseen() -> None:
    model, recorder = Calls(torch.relu), Recorder()
    with watch(model, recorder):
        copy.deepcopy(model)(torch.ones(2, 4))
    assert not recorder.given


def test_transforms_and_tracing() -> None:
    model, x = Calls(torch.tanh), torch.randn(5, 3, 4)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, strict=True):
        model(x)
        monitor.step()
        torch.vmap(model)(x)
        monitor.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.trace(model, x, check_trace=False)
        torch.export.export(nn.Sequential(model), (x,))
        torch.fx.symbolic_trace(model)(x)
        monitor.step()
    rows = monitor.history["tanh"].rows.tolist()
    assert rows[0][3:] == rows[1][3:]
    assert [row[0] for row in rows] == [0, 1]


class Everything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm, self.act = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(inplace=True)
        self.drop, self.gru, self.out = nn.Dropout(0.3), nn.GRU(6, 6, num_layers=2, dropout=0.1), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.fc(x)))
        x = self.act(functional.rrelu(self.fc(self.drop(x)), training=self.training))
        x = functional.scaled_dot_product_attention(x, x, functional.relu(x + 1, inplace=True), dropout_p=0.1)
        return functional.softmax(self.out(self.gru(x[None])[0][0]), -1)


def test_training_is_the_same_bit_for_bit_with_everything_on() -> None:
    def trained(watched: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = Everything()
        optimizer = torch.optim.AdamW(model.parameters(), 0.01)
        outputs = []
        with fastact.ActivationMonitor(every=2) as monitor:
            handle = watch(model, monitor, inputs=True, gradients=True, strict=True) if watched else None
            for step in range(6):
                optimizer.zero_grad()
                x = torch.randn(8, 6)
                model(x).square().sum().backward()
                optimizer.step()
                if step % 2:
                    model.eval()
                    with torch.no_grad():
                        outputs.append(model(x))
                    model.train()
                monitor.step()
            if handle is not None:
                assert handle.failures == 0
                assert {"act:2", "fc:2", "rrelu", "relu", "softmax", "gru[1][1]"} <= set(monitor.history)
        return [*outputs, *model.state_dict().values(), *(p.grad for p in model.parameters() if p.grad is not None)]

    for one, other in zip(trained(False), trained(True), strict=True):
        assert torch.equal(one, other)


class Inside(nn.Module):
    """A model whose block runs one of torch's layers, which may fail, and a function after it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.block = Calls(torch.relu)
        self.block.fc = nn.Linear(4, 4)
        self.block.add_module("layer", layer)
        self.block.forward = self._run  # type: ignore[method-assign]

    def _run(self, x: torch.Tensor) -> torch.Tensor:
        with contextlib.suppress(RuntimeError):
            x = self.block.layer(self.block.fc(x))  # type: ignore[operator]
        return torch.relu(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.block(x))


class Looking(nn.Module):
    """Notes how many modes are asked while it runs; it passes for one of torch's layers."""

    __module__ = "torch.nn.modules.normalization"

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.modes.append(len(_get_current_function_mode_stack()))
        if self.modes[2:]:
            raise RuntimeError("no more")
        return x


def test_no_mode_is_asked_inside_of_torch_s_own_layers_and_one_that_fails_hides_the_rest_of_its_module_alone() -> None:
    layer = Looking()
    model = Inside(layer)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, loss=False):
        for _ in range(4):  # the layer fails in the third and fourth
            model(torch.ones(2, 4))
            assert not _get_current_function_mode_stack()
            monitor.step()
    assert layer.modes == [0] * 4
    assert monitor.history["block.relu"]["step"].tolist() == [0, 1]
    assert monitor.history["tanh"]["step"].tolist() == [0, 1, 2, 3]
    context = DeviceContext(torch.device("cpu"))
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, loss=False), context:
        model(torch.ones(2, 4))
        assert len(_get_current_function_mode_stack()) == 1


def test_heads_of_attention_that_lie_behind_positions_are_swept_where_they_are() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(4, 12)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            queries, keys, values = self.qkv(x).view(2, 5, 3, 2, 2).permute(2, 0, 3, 1, 4)
            return functional.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)

    model, shapes = Heads(), []
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, gradients=True) as handle:
        sweep = handle._record_in_place

        def in_place(name: str, x: torch.Tensor, axis: int | None, layer_type: str) -> None:
            shapes.append((name, tuple(x.shape), x.is_contiguous()))
            assert sweep is not None
            sweep(name, x, axis, layer_type)

        handle._record_in_place = in_place
        model(torch.randn(2, 5, 4)).sum().backward()
        monitor.step()
    row = "scaled_dot_product_attention"
    assert (row, (2, 5, 2, 2), True) in shapes
    assert monitor.history[row + ":grad"]["mean"].tolist() == [1.0]
