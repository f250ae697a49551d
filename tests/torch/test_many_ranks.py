"""Several real processes: rows of all to rank 0, findings to all, one stop; and what is left when a rank dies."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fastact

pytest.importorskip("torch.distributed")

#: Imports once, and forks the ranks of one run after the other, so that the whole takes little more than one process.
TRAINING = """
import json, os, sys, warnings
import torch, torch.distributed as dist
import fastact, fastact.torch


def run(what, rank, ranks, folder):
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks)}
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/{what}.store", ranks), rank=rank, world_size=ranks)
    torch.manual_seed(0)
    layers = torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)
    model = torch.nn.Sequential(*layers)
    if what == "sharded":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        torch.nn.init.zeros_(layers[0].bias)  # its parts are equal, and stay so until the first update
        fully_shard(model, mesh=init_device_mesh("cpu", (ranks,)))
    else:
        model = torch.nn.parallel.DistributedDataParallel(model)
    # A rank that dies takes DDP's own collectives with it: here the others go on without them.
    model = model.module if what == "die" else model
    optimiser = torch.optim.SGD(model.parameters(), 0.01)
    data = torch.Generator().manual_seed(rank)
    told = []

    def tell(finding):
        told.append([monitor.current_step, finding.layer, finding.condition, finding.ranks])

    gather = None if what == "alone" else fastact.torch.Gather(every=5, node="ab"[rank // 2])
    action = tell if what == "function" else "stop"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with fastact.ActivationMonitor(f"{folder}/{what}", gather=gather, on_finding=action) as monitor:
            with fastact.torch.watch(model, monitor, weights=True):
                for step in range(40):
                    if what == "die" and rank == 1 and step == 12:
                        os.kill(os.getpid(), 9)
                    size = 20 if step % 10 == 9 and rank else 32  # a short last batch
                    x, y = torch.randn(size, 8, generator=data), torch.randint(4, (size,), generator=data)
                    if rank == 1 and step == 17 and what not in ("healthy", "sharded"):
                        x[0] = torch.nan
                    loss = torch.nn.functional.cross_entropy(model(x), y)
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    monitor.step()
                    if monitor.should_stop:
                        break
        steps = monitor.current_step
        found = [(f.layer, f.condition, f.first_step, f.ranks, f.of_ranks) for f in monitor.diagnose().findings]
    warned = [str(each.message) for each in caught if "gathers" in str(each.message)]
    with open(f"{folder}/{what}-{rank}.json", "w") as file:
        json.dump({"steps": steps, "told": told, "found": found, "warned": warned}, file)


folder = sys.argv[1]
for what, ranks in {"stop": 2, "alone": 2, "healthy": 2, "sharded": 2, "function": 4, "die": 2}.items():
    children = []
    for rank in range(ranks):
        if not (child := os.fork()):
            try:
                run(what, rank, ranks, folder)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all runs left."""
    folder = tmp_path_factory.mktemp("ranks")
    script = folder / "training.py"
    script.write_text(TRAINING)
    subprocess.run([sys.executable, str(script), str(folder)], check=True, timeout=550)
    return folder


def said(folder: Path, what: str, name: str) -> list[Any]:
    """What each rank said at its end."""
    return [json.loads(file.read_text())[name] for file in sorted(folder.glob(f"{what}-*.json"))]


def test_all_ranks_stop_in_the_same_step(folder: Path) -> None:
    assert said(folder, "stop", "steps") == [25, 25]


def test_a_rank_does_not_stop_alone(folder: Path) -> None:
    assert said(folder, "alone", "steps") == [40, 40]


def test_every_rank_is_told_what_rank_0_finds_and_on_which_rank(folder: Path) -> None:
    first, *others = said(folder, "function", "told")
    assert others == [first] * 3
    assert [(step, condition, ranks) for step, _, condition, ranks in first] == [(25, "rank_differs", [1])]


def test_rank_0_diagnoses_what_the_logs_say(folder: Path) -> None:
    log = fastact.open_log(folder / "function")
    assert log.ranks == (0, 1, 2, 3)
    want = [[f.layer, f.condition, f.first_step, list(f.ranks), f.of_ranks] for f in log.diagnose().findings]
    assert ["input", "non_finite", 17, [1], 4] in want
    assert said(folder, "function", "found")[0] == want


@pytest.mark.parametrize("what", ["healthy", "sharded"])
def test_healthy_ranks_are_told_nothing(folder: Path, what: str) -> None:
    assert said(folder, what, "steps") == [40, 40]
    assert said(folder, what, "found")[0] == []
    assert fastact.open_log(folder / what).diagnose().findings == ()


def test_copies_have_the_same_bits_and_parts_are_told(folder: Path) -> None:
    """By DDP each rank has all of a weight, by FSDP2 a part of it."""
    for what, elements, part in (("healthy", 128, None), ("sharded", 64, True)):
        log = fastact.open_log(folder / what)
        assert {(info.facts or {}).get("part") for info in log.layers if info.name == "0.weight"} == {part}
        rows = [each.to_dict() for each in log.replay(layers="0.weight")]
        assert {row["count"] for row in rows} == {elements}
        sums = {step: {row["bit_sum"] for row in rows if row["step"] == step} for step in range(0, 40, 10)}
        assert {len(each) for each in sums.values()} == {2 if part else 1}


def test_a_rank_that_dies_takes_nobody_with_it(folder: Path) -> None:
    assert said(folder, "die", "steps") == [40]
    ((warned,),) = said(folder, "die", "warned")
    assert "each is judged by itself" in warned
