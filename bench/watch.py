"""What watching costs: training steps with every layer watched, beside bare ones and beside what others do in hooks.

python -m bench.watch                # the table, and bench/results/watch.json; some ten minutes
python -m bench.watch --case GPT     # the trainings of that name alone; the others' results are kept
python -m bench.watch --quick        # few rounds, nothing written

All contestants take turns in one process with one and the same model: a turn puts hooks on, times some training
steps (forward, backward, AdamW) and takes the hooks off. A turn is compared with the bare one of the same round.
"""

import argparse
import contextlib
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from rich.console import Console
from torch import nn
from torch.nn import functional

import fastact
import fastact.torch
from bench import RESULTS
from bench.run import Benchmark, command
from bench.tables import BARE, watch_table
from fastact.benchmark.turns import by_turns
from fastact.monitor.pace import Auto

ROUNDS = 12
#: Rounds that the others take part in: they are slow, and what they cost shows without so many.
FEWER_ROUNDS = 4
#: Training steps of a turn, so that every 10th is one of them.
STEPS = 10
SOURCE = RESULTS / "watch.json"


class Residual(nn.Module):
    """He et al. (2016), "Deep residual learning for image recognition": the basic block."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.relu2 = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != outside:
            self.shortcut.append(nn.Conv2d(inside, outside, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outside))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape in and out: (batch, channels, height, width)."""
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        y += self.shortcut(x)
        result: torch.Tensor = self.relu2(y)
        return result


def resnet(widths: list[int], blocks: int) -> nn.Sequential:
    """A residual network for images of 32 x 32 pixels and ten classes."""
    layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(True)]
    inside = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            layers.append(Residual(inside, width, 2 if stage and not block else 1))
            inside = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 10))


class Attention(nn.Module):
    """Causal self-attention and what follows it, as in GPT-2."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape in and out: (batch, positions, width)."""
        batch, positions, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, positions, 3, self.heads, width // self.heads)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, positions, width))
        result: torch.Tensor = x + self.mlp(self.norm2(x))
        return result


class GPT(nn.Module):
    """A decoder of characters."""

    def __init__(self, width: int, heads: int, layers: int, positions: int, characters: int = 65) -> None:
        super().__init__()
        self.token = nn.Embedding(characters, width)
        self.position = nn.Embedding(positions, width)
        self.blocks = nn.Sequential(*(Attention(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Shape in: (batch, positions); out: (batch * positions, characters)."""
        x = self.token(tokens) + self.position(torch.arange(tokens.shape[1], device=tokens.device))
        result: torch.Tensor = self.head(self.norm(self.blocks(x))).flatten(0, 1)
        return result


class Case(NamedTuple):
    """A training run: its name, how its model is made, and its batch."""

    name: str
    build: Callable[[], nn.Module]
    batch: Callable[[], tuple[torch.Tensor, torch.Tensor]]


def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal noise and labels: what the numbers are makes no difference to the time."""
    return torch.randn(count, 3, 32, 32), torch.randint(0, 10, (count,))


def characters(count: int, positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random characters and the ones to predict."""
    return torch.randint(0, 65, (count, positions)), torch.randint(0, 65, (count * positions,))


#: The widths of papers and of nanoGPT's two small configurations (`train_shakespeare_char`, and its one for a laptop),
#: with batches for which a step takes some 50 to 200 ms on two cores. The narrower a network, the less it computes for
#: each element that it hands on, and the more watching weighs.
CASES = (
    Case("ResNet-18, 8 images", lambda: resnet([64, 128, 256, 512], 2), lambda: images(8)),
    Case("ResNet-20, 64 images", lambda: resnet([16, 32, 64], 3), lambda: images(64)),
    Case("GPT 6 x 384, 4 x 128 characters", lambda: GPT(384, 6, 6, 128), lambda: characters(4, 128)),
    Case("GPT 4 x 128, 12 x 64 characters", lambda: GPT(128, 4, 4, 64), lambda: characters(12, 64)),
)


class Training:
    """One model in training; `step` is what is timed."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        self.model = case.build()
        self._inputs, self._labels = case.batch()
        self._optimizer = torch.optim.AdamW(self.model.parameters(), 1e-4)

    def step(self) -> None:
        """Forward, backward and update."""
        self._optimizer.zero_grad()
        functional.cross_entropy(self.model(self._inputs), self._labels).backward()
        self._optimizer.step()


#: Puts hooks on a model for as long as the context lasts, and gives what to call after each step.
Watcher = Callable[[nn.Module], contextlib.AbstractContextManager[Callable[[], object]]]


@contextlib.contextmanager
def bare(model: nn.Module) -> Iterator[Callable[[], object]]:
    """No hooks."""
    del model
    yield lambda: None


def ours(
    monitor: fastact.ActivationMonitor, *, functional: bool = True, loss: bool | None = None, sample: float = 1.0
) -> Watcher:
    """Everything: per neuron, into history and log, with the diagnosis following."""

    @contextlib.contextmanager
    def watcher(model: nn.Module) -> Iterator[Callable[[], object]]:
        with fastact.torch.watch(model, monitor, functional=functional, loss=loss, sample=sample):
            yield monitor.step

    return watcher


def adapted(monitor: fastact.ActivationMonitor) -> Watcher:
    """The same with ``every="auto"``, long after the beginning: what it may spend at first was spent."""
    pace = monitor._queue.pace
    assert isinstance(pace, Auto)
    pace.account = min(pace.account, 0.0)
    watched = ours(monitor)

    @contextlib.contextmanager
    def watcher(model: nn.Module) -> Iterator[Callable[[], object]]:
        pace.pause()  # what the other turns took pays for nothing
        with watched(model) as after:
            yield after

    return watcher


def hooked(look: Callable[[torch.Tensor], object]) -> Watcher:
    """A forward hook on the same layers that appends what `look` finds to a list."""

    @contextlib.contextmanager
    def watcher(model: nn.Module) -> Iterator[Callable[[], object]]:
        chosen = fastact.torch.watch(model, fastact.ActivationMonitor())
        names = set(chosen.names)
        chosen.remove()
        found: list[object] = []

        def hook(module: nn.Module, args: object, output: torch.Tensor) -> None:
            del module, args
            found.append(look(output.detach()))

        handles = [m.register_forward_hook(hook) for name, m in model.named_modules() if name in names]
        yield found.clear
        for handle in handles:
            handle.remove()

    return watcher


def four_numbers(x: torch.Tensor) -> list[float]:
    """What people write by hand: whole tensors, no zeros, no neurons."""
    return [x.mean().item(), x.std().item(), x.min().item(), x.max().item()]


def histogram(x: torch.Tensor) -> tuple[float, float, list[float]]:
    """As `wandb.watch` makes them of gradients and weights (wandb 0.21, `TorchHistory.log_tensor_stats`)."""
    flat = x.reshape(-1)
    if not torch.isfinite(flat).all():
        flat = flat[torch.isfinite(flat)]
    low, high = flat.min().item(), flat.max().item()
    return low, high, flat.histc(bins=64, min=low, max=high).tolist()


def inspect(x: torch.Tensor) -> torch.Tensor:
    """The numbers that NVIDIA's Transformer Engine logs of a tensor (`LogTensorStats`); it needs CUDA to install.

    Min, max, mean, variance, both norms, and the range in powers of two; nothing is fetched from the device here.
    """
    size = x.abs()
    there = size[size != 0]
    norms = torch.linalg.vector_norm(x, 1), torch.linalg.vector_norm(x, 2)
    return torch.stack([x.min(), x.max(), x.mean(), x.var(), *norms, there.max().log2(), there.min().log2()])


def fastai(x: torch.Tensor) -> tuple[float, float, float]:
    """As fastai's `ActivationStats`: mean, std and the share that is near zero."""
    x = x.float()
    return x.mean().item(), x.std().item(), (x <= 0.05).long().sum().item() / x.numel()


OTHERS: dict[str, Watcher] = {
    "hooks": hooked(four_numbers),
    "histograms": hooked(histogram),
    "ActivationStats": hooked(fastai),
    "inspect": hooked(inspect),
}
#: What has each output read once, by torch and all its threads, and does little else.
LOOK: Final = "one look"
#: What each contestant does, for the page beside the results.
ASKED = {
    BARE: "the training step alone",
    f"{BARE}, again": "the same once more, to show what two equal things differ by",
    LOOK: "torch.amax of each output, without .item(): the least for which anybody can have looked at all elements",
    "fastact": "watch(model, monitor): all of a row's numbers, per neuron, history, log on disk",
    "fastact, layers alone": "the same with functional=False: no activations that are called as functions",
    "fastact, no loss": "the same with loss=False: neither the loss nor its targets",
    "fastact, every 10th": "the same with every=10",
    "fastact, sample": "the same with sample=0.1",
    "fastact, auto": 'the same with every="auto", after the second that a run may cost at first',
    "hooks": "mean, std, min and max with .item()",
    "histograms": "torch.histc of 64 bins between min and max, as wandb.watch makes them",
    "ActivationStats": "mean, std and share near zero, as fastai does",
    "inspect": "what NVIDIA's Transformer Engine logs of a tensor (LogTensorStats), by the same torch operations",
}


@contextlib.contextmanager
def contestants(folder: str) -> Iterator[dict[str, Watcher]]:
    """By name, the bare step last, right after what is most exactly compared with it; logs go to `folder`."""
    with (
        fastact.ActivationMonitor(f"{folder}/1") as each,
        fastact.ActivationMonitor(f"{folder}/2") as layers,
        fastact.ActivationMonitor(f"{folder}/3") as outputs,
        fastact.ActivationMonitor(f"{folder}/10", every=10) as tenth,
        fastact.ActivationMonitor(f"{folder}/sample") as some,
        fastact.ActivationMonitor(f"{folder}/auto", every="auto") as auto,
    ):
        yield {
            **OTHERS,
            f"{BARE}, again": bare,
            LOOK: hooked(torch.amax),
            "fastact, layers alone": ours(layers, functional=False),
            "fastact, no loss": ours(outputs, loss=False),
            "fastact": ours(each),
            "fastact, every 10th": ours(tenth),
            "fastact, sample": ours(some, sample=0.1),
            "fastact, auto": adapted(auto),
            BARE: bare,
        }


def turn(training: Training, watcher: Watcher) -> float:
    """Seconds a step, but for the first one with these hooks, in which they find out what there is: a run has one."""
    with watcher(training.model) as after:
        training.step()
        after()
        start = time.perf_counter()
        for _ in range(STEPS):
            training.step()
            after()
        return (time.perf_counter() - start) / STEPS


def measure(case: Case, rounds: int, watchers: Mapping[str, Watcher]) -> list[dict[str, Any]]:
    """One row for each contestant."""
    training = Training(case)
    for watcher in watchers.values():
        turn(training, watcher)
    turns = {name: functools.partial(turn, training, watcher) for name, watcher in watchers.items()}
    taken = by_turns(turns, dict.fromkeys(OTHERS, min(FEWER_ROUNDS, rounds)), rounds)
    rows = []
    for name in watchers:
        seconds = statistics.median(times[name] for times in taken if name in times)
        ratios = [times[name] / times[BARE] for times in taken if name in times]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        quartiles = [low, high]
        rows.append({"case": case.name, "name": name, "seconds": seconds, "ratio": middle, "quartiles": quartiles})
    return rows


def watched_bytes(case: Case) -> int:
    """Bytes of all outputs that are watched in a step: what a sweep must read."""
    training = Training(case)
    sizes: list[int] = []
    with hooked(lambda x: sizes.append(x.nbytes))(training.model):
        training.step()
    return sum(sizes)


def run(console: Console, quick: bool, step: Callable[[str], None], cases: Sequence[Case] = CASES) -> dict[str, Any]:
    """Every case in turn; the rows of those that are left out are the recorded ones."""
    del console
    rounds = 1 if quick else ROUNDS
    done = {case.name for case in cases}
    rows: list[dict[str, Any]] = []
    nbytes: dict[str, int] = {}
    if len(cases) < len(CASES) and SOURCE.exists():
        before = json.loads(SOURCE.read_text())
        rows = [row for row in before["rows"] if row["case"] not in done]
        nbytes = {name: number for name, number in before["bytes"].items() if name not in done}
    for case in cases:
        step(case.name)
        nbytes[case.name] = watched_bytes(case)
        with tempfile.TemporaryDirectory() as folder, contestants(folder) as watchers:
            rows += measure(case, rounds, watchers)
    order = [case.name for case in CASES]
    rows.sort(key=lambda row: order.index(row["case"]))
    return {"asked": ASKED, "rounds": rounds, "steps": STEPS, "bytes": nbytes, "rows": rows}


BENCHMARK = Benchmark("watch", "what watching costs a training step", run, watch_table)


def named(part: str) -> list[Case]:
    """The trainings with this in their name."""
    cases = [case for case in CASES if part in case.name]
    if not cases:
        known = ", ".join(case.name for case in CASES)
        raise argparse.ArgumentTypeError(f"got {part!r}, want part of one of {known}")
    return cases


def main() -> None:
    """Runs from the command line."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--case", type=named, default=CASES, dest="cases", metavar="NAME", help="the trainings of that name alone"
    )
    command([BENCHMARK], options=options)


if __name__ == "__main__":
    main()
