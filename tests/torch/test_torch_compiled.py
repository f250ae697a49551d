"""`fastact.torch.watch` and torch.compile: whole graphs, the same rows as eager, and nothing compiled twice."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import nn
from torch._dynamo.utils import counters

import fastact
from fastact.torch import watch
from fastact.torch.compiled import forget, new_order, record, register

BACKENDS = ("eager", "aot_eager")

# torch's own, about itself, with and without hooks.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.fc = nn.Linear(8, 8)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.act(self.fc(self.norm(x)))
        return y


def blocks(count: int = 3) -> nn.Sequential:
    return nn.Sequential(*(Block() for _ in range(count)))


def rows(monitor: fastact.ActivationMonitor) -> dict[str, list[Any]]:
    """All rows by layer, without their times."""
    return {name: [row[:2] + row[3:] for row in layer.rows.tolist()] for name, layer in monitor.history.items()}


def train(
    model: nn.Module, call: Callable[[torch.Tensor], torch.Tensor], batches: list[torch.Tensor], **options: Any
) -> tuple[fastact.ActivationMonitor, int]:
    """Watches some training steps; the rows, and how many tensors could not be recorded."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, loss=False, **options) as handle:
        for x in batches:
            optimizer.zero_grad()
            call(x).square().mean().backward()
            optimizer.step()
            monitor.step()
    return monitor, handle.failures


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_whole_graph_gives_the_rows_of_eager_at_every_step(backend: str) -> None:
    model, batches = blocks(), [torch.randn(4, 8) for _ in range(5)]
    start = {name: value.clone() for name, value in model.state_dict().items()}
    eager, failures = train(model, model, batches)
    model.load_state_dict(start)
    assert failures == 0
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    monitor, failures = train(model, compiled, batches)
    assert failures == 0
    assert list(monitor.history) == ["input", *(f"{n}.{part}" for n in range(3) for part in ("norm", "fc", "act"))]
    assert rows(monitor) == rows(eager)
    assert len(monitor.history["0.fc"]) == 5
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


class Calling(nn.Module):
    """A block that calls its activations as functions, one of them in two places, and a layer in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.act = nn.Linear(8, 8), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.gelu(self.fc(x))
        y = nn.functional.relu(self.act(y.tanh()) - 0.1)
        y = self.act(nn.functional.relu(y - 0.1, inplace=True))
        z: torch.Tensor = nn.functional.scaled_dot_product_attention(y, y, y) + x
        return z


CALLED = ["fc", "gelu", "tanh", "act", "relu", "relu:2", "act:2", "scaled_dot_product_attention"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_functions_and_places_of_whole_graphs_are_those_of_eager(backend: str) -> None:
    model, batches = nn.Sequential(*(Calling() for _ in range(2))), [torch.randn(4, 8) for _ in range(4)]
    start = {name: value.clone() for name, value in model.state_dict().items()}
    eager, failures = train(model, model, batches, every=2)
    assert failures == 0
    trained = [value.clone() for value in model.state_dict().values()]
    model.load_state_dict(start)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    monitor, failures = train(model, compiled, batches, every=2)
    assert failures == 0
    assert list(monitor.history) == ["input", *(f"{block}.{part}" for block in range(2) for part in CALLED)]
    assert rows(monitor) == rows(eager)
    assert counters["stats"]["unique_graphs"] == 1
    for one, other in zip(trained, model.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert not torch.overrides._get_current_function_mode_stack()


@pytest.mark.parametrize("backend", BACKENDS)
def test_blocks_that_call_functions_share_their_code_and_a_schedule_compiles_nothing_anew(backend: str) -> None:
    model, batches = nn.Sequential(*(Calling() for _ in range(12))), [torch.randn(4, 8) for _ in range(4)]
    eager, _ = train(model, model, batches, every=2, first=1)
    for block in model:
        block.compile(backend=backend, fullgraph=True)
    monitor, failures = train(model, model, batches, every=2, first=1)
    assert failures == 0
    assert list(monitor.history) == list(eager.history)
    assert {tuple(layer["step"].tolist()) for layer in monitor.history.values()} == {(0, 2)}
    # At most one for a first block whose input needs no gradient, and one for the others.
    assert counters["stats"]["unique_graphs"] <= 2


def test_the_mode_of_compiled_code_is_seen_while_it_runs() -> None:
    model = nn.Sequential(Calling())
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor):
        for mode in (True, False, True):
            model.train(mode)
            compiled(torch.randn(4, 8))
            monitor.step()
    names = ["input", *(f"0.{part}" for part in CALLED)]
    assert {name: (layer.info.mode, layer["step"].tolist()) for name, layer in monitor.history.items()} == {
        **dict.fromkeys(names, ("", [0, 2])), **{f"{name}:eval": ("evaluation", [1]) for name in names},
    }  # fmt: skip


def test_explain_counts_one_graph_and_no_break() -> None:
    model = blocks()
    with watch(model, fastact.ActivationMonitor()):
        found = torch._dynamo.explain(model)(torch.randn(4, 8))
    assert (found.graph_count, found.graph_break_count) == (1, 0)


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
@pytest.mark.skipif(" " in torch.__file__, reason="torch compiles no C++ from below a path with a space")
def test_inductor_records_what_eager_does() -> None:
    model, batches = blocks(2), [torch.randn(4, 8) for _ in range(3)]
    start = {name: value.clone() for name, value in model.state_dict().items()}
    eager, _ = train(model, model, batches)
    model.load_state_dict(start)
    monitor, failures = train(model, torch.compile(model, fullgraph=True), batches)
    assert failures == 0
    assert counters["stats"]["unique_graphs"] == 1
    assert list(monitor.history) == list(eager.history)
    for name, layer in eager.history.items():
        for field in ("count", "neurons", "zeros"):
            assert monitor.history[name][field].tolist() == layer[field].tolist()
        for field in ("mean", "std", "min", "max", "within_std"):  # fused operations round otherwise
            assert monitor.history[name][field] == pytest.approx(layer[field], rel=1e-4, abs=1e-6)


def test_blocks_that_are_compiled_one_by_one_share_their_code() -> None:
    model = blocks(12)
    for block in model:
        block.compile(backend="eager", fullgraph=True)
    monitor, failures = train(model, model, [torch.randn(4, 8) for _ in range(2)])
    assert failures == 0
    assert [len(layer) for layer in monitor.history.values()] == [2] * 37
    # At most one for a first block whose input needs no gradient, and one for the others.
    assert counters["stats"]["unique_graphs"] <= 2


def test_a_schedule_compiles_nothing_anew() -> None:
    model, batches = blocks(), [torch.randn(4, 8) for _ in range(7)]
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    monitor, failures = train(model, compiled, batches, every=3, first=2)
    assert failures == 0
    assert monitor.history["1.fc"]["step"].tolist() == [0, 1, 3, 6]
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("watched", ["model", "compiled"])
def test_a_compiled_model_has_the_names_of_the_inner_one(watched: str) -> None:
    block: Any = torch.compile(Block(), backend="eager")
    model = nn.Sequential(nn.Linear(4, 4), block)
    compiled: Any = torch.compile(model, backend="eager")
    with watch({"model": model, "compiled": compiled}[watched], fastact.ActivationMonitor()) as handle:
        assert handle.names == ("0", "1.norm", "1.fc", "1.act")
    with watch(compiled, fastact.ActivationMonitor(), layers=Block) as handle:
        assert handle.names == ("1",)


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]


class Heads(nn.Module):
    def __init__(self, form: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.form = form

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(x * 2)


@pytest.mark.parametrize(
    ("form", "names"),
    [
        (lambda x: (x, None, x + 1), ["h[0]", "h[2]"]),
        (lambda x: {"logits": x, "loss": x.mean()}, ["h['logits']", "h['loss']"]),
        (lambda x: Output(x, (x + 1,)), ["h.logits", "h.hidden[0]"]),
    ],
)
def test_tensors_inside_of_an_output(form: Callable[[torch.Tensor], Any], names: list[str]) -> None:
    model = nn.ModuleDict({"h": Heads(form)})
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, inputs=True):
        torch.compile(model["h"], backend="eager", fullgraph=True)(torch.ones(2, 3))
        monitor.step()
    assert sorted(monitor.history) == sorted(["h:input", *names])


def test_after_the_watch_compiled_code_records_nothing_more() -> None:
    model, monitor = blocks(1), fastact.ActivationMonitor()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    x = torch.randn(4, 8)
    with watch(model, monitor):
        compiled(x)
        hook: Any = next(iter(model.get_submodule("0.fc")._forward_hooks.values()))
    monitor.step()
    compiled(x)
    record(x, hook.key, new_order(), "")  # as code would that was not compiled anew
    monitor.step()
    assert {len(layer) for layer in monitor.history.values()} == {1}


def test_gradients_within_compiled_code_are_warned_of_once() -> None:
    model = blocks(1)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with pytest.warns(RuntimeWarning, match="compiled code shows no gradients") as caught:
        monitor, failures = train(model, compiled, [torch.randn(4, 8) for _ in range(2)], gradients="outputs")
    assert len(caught) == 1
    assert failures == 6
    assert [len(layer) for layer in monitor.history.values()] == [2, 2, 2, 2]


def test_checkpointing_within_compiled_code_counts_once() -> None:
    from torch.utils.checkpoint import checkpoint

    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = blocks(1)

        def forward(self, x: torch.Tensor) -> Any:
            return checkpoint(self.inner, x, use_reentrant=False)

    model = Saving()
    monitor, failures = train(model, torch.compile(model, backend="aot_eager"), [torch.randn(4, 8)])
    assert failures == 0
    assert [layer["count"].tolist() for layer in monitor.history.values()] == [[32]] * 4


def test_training_only_holds_in_compiled_code() -> None:
    model = blocks(1)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, training_only=True):
        for mode in (True, False, True):
            model.train(mode)
            compiled(torch.randn(4, 8))
            monitor.step()
    assert monitor.history["0.fc"]["step"].tolist() == [0, 2]


def test_an_exported_program_is_free_of_hooks() -> None:
    model = blocks(1)
    with watch(model, fastact.ActivationMonitor()):
        program = torch.export.export(model, (torch.randn(4, 8),))
    assert "fastact" not in str(program.graph)


def test_transforms_of_functions_are_recorded_as_one_batch() -> None:
    model, x = nn.Sequential(nn.Linear(8, 4), nn.Tanh()), torch.randn(5, 3, 8)
    parameters: dict[str, torch.Tensor] = dict(model.named_parameters())

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = torch.func.functional_call(model, parameters, (x,)).sum()
        return total

    per_sample = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, strict=True):
        model(x)
        monitor.step()
        torch.vmap(model)(x)
        monitor.step()
        per_sample(parameters, x)
        monitor.step()
        torch.compile(per_sample, backend="eager", fullgraph=True)(parameters, x)
        monitor.step()
    for layer in monitor.history.values():
        want = layer.rows.tolist()[0][3:]
        assert [row[3:] for row in layer.rows.tolist()] == [want] * 4


def test_the_operator_keeps_torch_s_rules() -> None:
    class Noting:
        def observe_compiled(self, x: torch.Tensor, place: str) -> None:
            seen.append((x.tolist(), place))

    seen: list[tuple[list[float], str]] = []
    hook = Noting()
    key = register(hook)
    torch.library.opcheck(record, (torch.ones(2), key, new_order(), "[0]"))
    assert seen
    assert set(map(str, seen)) == {"([1.0, 1.0], '[0]')"}
    seen.clear()
    forget(key)
    record(torch.ones(2), key, new_order(), "")
    assert not seen
