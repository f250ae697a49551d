"""What a watch has not recorded is told: by name, with the reason, in the monitor, in the diagnosis and in the log."""

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fastact
from fastact.replay.tail import Tail
from fastact.torch import watch


class Parts(nn.Module):
    """Has layers that `path` chooses among."""

    def __init__(self, path: Callable[["Parts", torch.Tensor, int], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.path = path
        self.calls = -1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        result: torch.Tensor = self.last(self.path(self, self.first(x), self.calls))
        return result


class Make(nn.Module):
    def __init__(self, output: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: torch.Tensor) -> Any:
        return self.output(x)


@dataclasses.dataclass
class Pair:
    hidden: torch.Tensor
    places: torch.Tensor


def train(model: Callable[[torch.Tensor], Any], monitor: fastact.ActivationMonitor, steps: int) -> None:
    for _ in range(steps):
        model(torch.randn(8, 4))
        monitor.step()


@pytest.mark.parametrize(
    "path", [lambda parts, x, calls: parts.second.forward(x), lambda parts, x, calls: x], ids=["forward", "not called"]
)
def test_a_layer_whose_hook_never_ran_is_warned_of_once_and_listed(path: Any, tmp_path: Path) -> None:
    monitor = fastact.ActivationMonitor(tmp_path / "run")
    model = Parts(path)
    with monitor, watch(model, monitor):
        train(model, monitor, 4)
        with pytest.warns(RuntimeWarning, match=r"nothing of second in 5 steps: its hook never ran") as caught:
            train(model, monitor, 40)  # any further warning would be an error
        assert len(caught) == 1
        assert list(monitor.unseen) == ["second"]
        assert "called as .forward()" in monitor.unseen["second"]
        live = monitor.diagnose()
        assert live.unseen == tuple(monitor.unseen.items())
        assert live.to_dict()["unseen"] == monitor.unseen
    assert monitor.diagnose() == live == fastact.open_log(tmp_path / "run").diagnose()


def test_a_layer_that_runs_after_all_leaves_what_is_unseen(tmp_path: Path) -> None:
    model = Parts(lambda parts, x, calls: parts.second(x) if calls >= 7 else x)
    with fastact.ActivationMonitor(tmp_path / "run") as monitor, watch(model, monitor):
        with pytest.warns(RuntimeWarning, match="nothing of second"):
            train(model, monitor, 7)
        monitor.flush()
        assert list(fastact.open_log(tmp_path / "run").unseen) == ["second"]
        train(model, monitor, 1)
        assert monitor.unseen == {}
        assert monitor.diagnose().unseen == ()
        monitor.flush()
        log = fastact.open_log(tmp_path / "run")
        assert log.unseen == {} == dict(log.diagnose().unseen)


def test_a_layer_that_runs_in_every_other_step_is_not_warned_of() -> None:
    model = Parts(lambda parts, x, calls: parts.second(x) if calls % 2 else x)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor):
        train(model, monitor, 12)
        assert monitor.unseen == {}


def test_the_log_tells_what_was_unseen_after_the_process_died(tmp_path: Path) -> None:
    model = Parts(lambda parts, x, calls: x)
    monitor = fastact.ActivationMonitor(tmp_path / "run", log=fastact.LogOptions(batch_rows=2))
    with watch(model, monitor):
        with pytest.warns(RuntimeWarning, match="nothing of second"):
            train(model, monitor, 6)
        monitor.flush()
        tail = Tail(tmp_path / "run")
        tail.look()
        # Nothing is closed: what is on the disk now is what a killed process leaves.
        log = fastact.open_log(tmp_path / "run")
        assert monitor.diagnose() == log.diagnose() == tail.diagnose()
        assert [name for name, _ in log.diagnose().unseen] == ["second"]
    monitor.close()


def test_what_was_not_seen_when_the_watch_ended_stays_told(tmp_path: Path) -> None:
    model = Parts(lambda parts, x, calls: x)
    with fastact.ActivationMonitor(tmp_path / "run") as monitor:
        with watch(model, monitor):
            train(model, monitor, 2)
        del model
        assert list(monitor.unseen) == ["second"]
        monitor.step()
    assert monitor.diagnose() == fastact.open_log(tmp_path / "run").diagnose()
    assert list(dict(monitor.diagnose().unseen)) == ["second"]


def test_hooks_that_compiled_code_ignores_are_told() -> None:
    torch._dynamo.reset()
    compiled: Any = torch.compile(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), backend="eager")
    compiled(torch.randn(8, 4))
    with fastact.ActivationMonitor() as monitor, watch(compiled, monitor):
        with pytest.warns(RuntimeWarning, match="compiled before `watch`"):
            train(compiled, monitor, 6)
        assert list(monitor.unseen) == ["0", "1"]
        assert not monitor.diagnose().layers


def test_a_watch_before_the_first_compiled_call_sees_all() -> None:
    torch._dynamo.reset()
    compiled: Any = torch.compile(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), backend="eager")
    with fastact.ActivationMonitor() as monitor, watch(compiled, monitor):
        train(compiled, monitor, 6)
        assert monitor.unseen == {}


def test_a_model_that_is_not_called_at_all_is_told() -> None:
    with fastact.ActivationMonitor() as monitor, watch(nn.Linear(4, 4), monitor):
        with pytest.warns(RuntimeWarning, match="no layer of its model ran"):
            train(lambda x: None, monitor, 5)
        assert list(monitor.unseen) == ["Linear"]


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (lambda x: None, "it returns no tensor"),
        (lambda x: (None, "text", 3), "it returns no tensor"),
        (lambda x: x.argmax(-1), "it returns no floating-point numbers"),
        (lambda x: {"mask": x > 0}, "it returns no floating-point numbers"),
    ],
)
def test_an_output_without_numbers_is_listed_without_a_warning(output: Any, reason: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Make(output))
    with fastact.ActivationMonitor() as monitor, watch(model, monitor) as handle:
        train(model, monitor, 12)
        assert (monitor.unseen, handle.failures) == ({"1": reason}, 0)
        assert list(monitor.history) == ["input", "0"]


def test_numbers_beside_integers_are_recorded_and_nothing_is_missed() -> None:
    model = Make(lambda x: (x, x.argmax(-1), Pair(x + 1, x > 0), x[:0], [x.mean(), None]))
    with fastact.ActivationMonitor() as monitor, watch(model, monitor):
        train(model, monitor, 6)
        assert list(monitor.history) == ["input", "Make[0]", "Make[2].hidden", "Make[3]", "Make[4][0]"]
        assert monitor.unseen == {}


def test_both_parts_of_complex_numbers_are_recorded_by_neuron() -> None:
    model = nn.Sequential(Make(lambda x: torch.complex(x, -x)), nn.Linear(4, 3, dtype=torch.cfloat))
    x = torch.randn(8, 4)
    with fastact.ActivationMonitor() as monitor:
        with watch(model, monitor, gradients=True) as handle:
            y = model(x)
            y.abs().sum().backward()
            monitor.step()
            broken = x.clone()
            broken[0, 0] = torch.nan
            model(broken.conj())
            monitor.step()
        rows = monitor.history["1"].rows
        assert handle.failures == 0
        assert (rows["count"].tolist(), rows["neurons"].tolist()) == ([48, 48], [3, 3])
        assert rows["mean"][0] == pytest.approx(torch.view_as_real(y).mean().item(), rel=1e-5)
        assert monitor.history["0"]["nans"].tolist() == [0, 2]
        assert monitor.history["1:grad"]["count"].tolist() == [48]
        assert ("0", "non_finite") in {(found.layer, found.condition) for found in monitor.diagnose().findings}


def test_conjugated_complex_numbers_are_recorded() -> None:
    model = Make(lambda x: torch.complex(x, x).conj())
    with fastact.ActivationMonitor() as monitor, watch(model, monitor):
        model(torch.ones(2, 3))
        monitor.step()
        assert monitor.history["Make"]["mean"].tolist() == [0.0]


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.filterwarnings("ignore:.*quantize.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*quantize.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize(
    ("output", "count"),
    [
        (lambda x: x.relu().to_sparse(), 3),
        (lambda x: x.relu().to_sparse_csr(), 3),
        (lambda x: torch.nested.nested_tensor([x[:1], x[:2]]), 9),
        (lambda x: torch.nested.nested_tensor([x[:1], x[:2]], layout=torch.jagged), 9),
        (lambda x: torch.quantize_per_tensor(x, 0.5, 0, torch.qint8), 6),
    ],
)
def test_sparse_nested_and_quantised_outputs_are_recorded(output: Any, count: int) -> None:
    model = Make(output)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor) as handle:
        model(torch.tensor([[1.0, 2.0, -3.0], [-1.0, 4.0, -1.0]]))
        monitor.step()
        rows = monitor.history["Make"].rows
        assert (handle.failures, rows["count"].tolist(), rows["max"].tolist()) == (0, [count], [4.0])
        assert monitor.unseen == {}


def test_a_model_that_is_only_evaluated_is_told_where_training_alone_is_recorded() -> None:
    model = nn.Sequential(nn.Linear(4, 4)).eval()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, training_only=True):
        train(model, monitor, 6)
        assert monitor.unseen == {"0": "it ran in evaluation mode only, which training_only=True leaves out"}


def test_two_models_with_equal_layer_names_need_a_prefix() -> None:
    one, other = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Sequential(nn.Linear(4, 2))
    with fastact.ActivationMonitor() as monitor, watch(one, monitor, inputs=True):
        with pytest.raises(fastact.ArgumentValueError, match=r"layer '0' too; .*watch\(model, monitor, prefix="):
            watch(other, monitor)
        with watch(other, monitor, prefix="d.", inputs=True, gradients=True) as handle:
            assert (handle.names, handle.prefix) == (("d.0",), "d.")
            (one(torch.randn(8, 4)).sum() + other(torch.randn(8, 4)).sum()).backward()
            monitor.step()
        assert {"0", "0:input", "1", "1:input", "d.0", "d.0:input", "d.0:grad"} <= set(monitor.history)
        # The names are free again: another model may have them.
        with watch(nn.Sequential(nn.Linear(4, 2)), monitor, prefix="d."):
            pass


def test_a_name_of_a_watch_that_is_recorded_by_hand_is_told_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    with fastact.ActivationMonitor() as monitor, watch(model, monitor):
        monitor.record("loss", torch.ones(3))
        with pytest.warns(RuntimeWarning, match="records layer '0' already"):
            monitor.record("0", model(torch.randn(8, 4)))
        monitor.record("0", model(torch.randn(8, 4)))  # here another warning is an error


def test_a_monitor_of_ones_own_gets_the_names_of_its_watch_without_a_warning() -> None:
    class Own(fastact.ActivationMonitor):
        def record(self, name: str, x: Any, **options: Any) -> Any:
            return super().record(name, x, **options)

    model = nn.Sequential(nn.Linear(4, 4))
    with Own() as monitor, watch(model, monitor), warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, monitor, 6)
        assert monitor.history["0"].total == 6
