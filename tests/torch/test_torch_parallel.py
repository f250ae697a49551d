"""`fastact.torch.watch` where other processes are about: DDP, FSDP2, DataLoader workers, loading elsewhere."""

import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

import fastact
from fastact.torch import watch

STEPS = 3
#: What the processes report: wrapper -> layer -> field -> values.
Report = dict[str, dict[str, dict[str, list[Any]]]]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(8, 6), nn.ReLU())
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.body(x))
        return y


def batch(step: int, rank: int) -> torch.Tensor:
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(10 * step + rank))


def train(model: nn.Module, rank: int) -> dict[str, dict[str, list[Any]]]:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, strict=True, gradients="outputs", loss=False):
        for step in range(STEPS):
            optimizer.zero_grad()
            model(batch(step, rank)).square().mean().backward()
            optimizer.step()
            monitor.step()
    return {
        name: {"kind": [layer.info.kind], **{field: layer[field].tolist() for field in ("count", "mean", "neurons")}}
        for name, layer in monitor.history.items()
    }


def process(rank: int, world: int, folder: str) -> None:
    """One of the processes of a training run."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    try:
        report = {"ddp": train(DistributedDataParallel(Net()), rank)}
        try:
            report["fsdp2"] = train(sharded(Net()), rank)
        except (ImportError, NotImplementedError) as error:  # a build without it; any other error is one
            report["fsdp2 is missing"] = {str(error): {}}
        Path(folder, f"{rank}.pickle").write_bytes(pickle.dumps(report))
    finally:
        dist.destroy_process_group()


def sharded(model: Net) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    fully_shard(model.body, mesh=mesh)
    fully_shard(model.head, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    """What two processes recorded, which were started as torchrun would."""
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("this build of PyTorch has no gloo")
    folder = tmp_path_factory.mktemp("parallel")
    code = "import sys; from tests.torch.test_torch_parallel import process as p; p(int(sys.argv[1]), 2, sys.argv[2])"
    code += "; import os; os._exit(0)"  # gloo's threads may end the process with an abort as it tears down
    root = Path(__file__).parent.parent.parent
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank), str(folder)], cwd=root, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=500)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(errors)
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]


@pytest.mark.e2e
@pytest.mark.parametrize("wrapper", ["ddp", "fsdp2"])
def test_each_process_records_its_own_batches_by_the_names_of_the_inner_model(
    reports: list[Report], wrapper: str
) -> None:
    if wrapper not in reports[0]:
        pytest.skip(f"this build of PyTorch cannot shard on the CPU: {reports[0]}")
    # The same training in one process, on both batches.
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    outputs: dict[str, list[torch.Tensor]] = {"body.0": [], "body.1": [], "head": []}
    for name, seen in outputs.items():
        model.get_submodule(name).register_forward_hook(lambda m, a, y, seen=seen: seen.append(y.detach().clone()))
    for step in range(STEPS):
        optimizer.zero_grad()
        model(torch.cat([batch(step, rank) for rank in range(2)])).square().mean().backward()
        optimizer.step()
    for rank, report in enumerate(reports):
        layers = report[wrapper]
        assert list(layers) == ["input", "body.0", "body.1", "head", "head:grad", "body.1:grad", "body.0:grad"]
        assert [layers[name]["kind"] for name in outputs] == [["Linear"], ["ReLU"], ["Linear"]]
        for name, seen in outputs.items():
            mine = [y[5 * rank : 5 * rank + 5] for y in seen]
            assert layers[name]["count"] == [y.numel() for y in mine]
            assert layers[name]["neurons"] == [y.shape[1] for y in mine]
            assert layers[name]["mean"] == pytest.approx([y.mean().item() for y in mine], rel=1e-4, abs=1e-6)


class Features(Dataset[torch.Tensor]):
    """Runs a watched model in the worker, as those do that compute features while loading."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        assert multiprocessing.parent_process() is not None
        hooks = sum(len(module._forward_hooks) for module in self.model.modules())
        with torch.no_grad():
            return torch.cat([self.model(torch.ones(1, 8)).ravel(), torch.tensor([float(hooks)])])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork.* was called:RuntimeWarning")  # JAX's, where another test loaded it
def test_a_forked_worker_of_a_dataloader_records_nothing(tmp_path: Path) -> None:
    model = Net()
    with fastact.ActivationMonitor(tmp_path / "run") as monitor, watch(model, monitor) as handle:
        # A record on the way, by another thread, while the worker is forked.
        with monitor._queue.lock:
            loader = DataLoader(Features(model), num_workers=1, multiprocessing_context="fork", timeout=300)
            given = torch.cat(list(loader))
        assert given[:, 2].tolist() == [0.0] * 4  # no hooks there
        monitor.step()
        assert len(monitor.history) == 0
        model(torch.ones(1, 8))
        monitor.step()
        assert len(monitor.history) == 4
        assert handle.failures == 0


@pytest.mark.e2e
def test_a_pickled_model_loads_where_there_is_no_fastact(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, inputs=True, gradients=True):
        torch.save(model, tmp_path / "model.pt")
    code = (
        "import sys, torch; sys.modules['fastact'] = None;"
        "model = torch.load(sys.argv[1], weights_only=False); print(model(torch.ones(1, 3)).tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.pt")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(eval(done.stdout), model(torch.ones(1, 3)).tolist(), rtol=1e-6)
