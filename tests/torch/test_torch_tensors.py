"""Tensors inside of outputs: tuples, dicts, dataclasses, packed, nested and distributed ones."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch_doubles import Call, Recorder, seen

from fastact.torch import watch


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
    with watch(model, recorder, inputs=False) as handle:
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
    with watch(model, recorder, inputs=False):
        model["lstm"](torch.ones(2, 3, 4))
        model["lstm"](pack_padded_sequence(torch.ones(2, 3, 4), torch.tensor([3, 1]), batch_first=True))
    assert recorder.calls[:3] == [
        Call("lstm[0]", (2, 3, 5), 2, "LSTM"),
        Call("lstm[1][0]", (1, 2, 5), 2, "LSTM"),
        Call("lstm[1][1]", (1, 2, 5), 2, "LSTMState"),
    ]
    assert recorder.calls[3] == Call("lstm[0].data", (4, 5), 1, "LSTM")


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
