"""The demo: real networks, healthy and sick, trained on scikit-learn's digits, watched, diagnosed and replayed.

Each sick network is made sick as people do it by mistake. Its run is diagnosed live, from the monitor's memory, and
again by a second process that has only the log. The two must be equal, and must name what was done to the network.
"""

import functools
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastact.errors import ArgumentValueError, FastactError, MissingExtraError
from fastact.monitor.monitor import ActivationMonitor

if TYPE_CHECKING:
    import torch
    from rich.console import Console

#: The file that marks a folder as made by the demo, which may clear it.
MARKER: Final = ".fastact-demo"

WINDOW, BATCH, WIDTH, CLASSES = 100, 128, 64, 10


@dataclass(frozen=True, slots=True)
class Case:
    """One network of the demo."""

    name: str  # its folder's name
    recipe: str  # what was done, in words
    depth: int  # hidden layers
    activation: str  # its class name in `torch.nn`
    std: float | None  # standard deviation of the initial weights; None for He's, sqrt(2 / n_in)
    optimizer: tuple[str, dict[str, float]]  # the class name in `torch.optim`, with its options
    expect: frozenset[str] = frozenset()  # what the diagnosis must name; empty: it must find the network healthy
    warmup: int = 1  # steps over which the learning rate rises to its full value
    bias: float = 0.0  # at which the biases of the second layer start; all others start at 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one case: its log, how well the network learned, and the live diagnosis at the end."""

    case: Case
    path: Path
    steps: int
    seconds: float
    loss: float
    accuracy: float
    live: Any


_SGD: Final = ("SGD", {"lr": 0.02, "momentum": 0.9})
CASES: Final = (
    Case("healthy", "3 hidden ReLU layers, He initialisation, SGD with learning rate 0.02", 3, "ReLU", None, _SGD),
    Case("dead-bias", "The healthy network, but the second layer's biases start at -10",
         3, "ReLU", None, _SGD, frozenset({"dead"}), bias=-10.0),
    Case("dead-rate", "The healthy network, but trained by Adam with a learning rate of 0.2, not 0.001",
         3, "ReLU", None, ("Adam", {"lr": 0.2}), frozenset({"dead"})),
    Case("saturated", "3 hidden tanh layers, weights from N(0, 1), not N(0, sqrt(1/n_in))",
         3, "Tanh", 1.0, _SGD, frozenset({"saturated"})),
    Case("exploding", "12 hidden ReLU layers without normalisation, and a learning rate that is warmed up to 1.0",
         12, "ReLU", 0.2, ("SGD", {"lr": 1.0, "momentum": 0.9}), frozenset({"exploding"}), warmup=100),
    Case("vanishing", "10 hidden sigmoid layers with small weights, from N(0, 0.05)",
         10, "Sigmoid", 0.05, _SGD, frozenset({"vanishing"})),
)  # fmt: skip


def _packages() -> tuple[Any, Any]:
    """PyTorch and scikit-learn, or an error that says how to install them."""
    try:
        import sklearn.datasets
        import sklearn.model_selection
        import torch
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"torch", "sklearn"}:
            raise
        missing = f"the demo needs PyTorch and scikit-learn ({error.name} is missing)"
        raise MissingExtraError(f"{missing}: pip install 'fastact[demo]'") from error
    return torch, sklearn


@dataclass(frozen=True, slots=True)
class Digits:
    """1,797 images of handwritten digits, 8 by 8, as scikit-learn ships them: three quarters to train on."""

    train_x: "torch.Tensor"
    train_y: "torch.Tensor"
    test_x: "torch.Tensor"
    test_y: "torch.Tensor"


def load_digits() -> Digits:
    """The data, shuffled and split with a fixed seed, each pixel standardised over the training part.

    A pixel that is almost always blank has a tiny deviation; clipping at 3 keeps its rare ink from being 20 of those.
    """
    torch, sklearn = _packages()
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = sklearn.model_selection.train_test_split(
        x, y, test_size=0.25, random_state=0, shuffle=True, stratify=y
    )
    mean, std = train_x.mean(axis=0), train_x.std(axis=0)
    std[std == 0] = 1.0

    def scaled(part: Any) -> Any:
        return torch.from_numpy(((part - mean) / std).clip(-3.0, 3.0)).float()

    return Digits(scaled(train_x), torch.from_numpy(train_y), scaled(test_x), torch.from_numpy(test_y))


def build(case: Case) -> "torch.nn.Module":
    """The network of a case, with weights that depend on nothing but the case."""
    framework, _ = _packages()
    framework.manual_seed(0)
    model: torch.nn.Module = framework.nn.Sequential()
    for i in range(1, case.depth + 1):
        model.add_module(f"hidden{i}", framework.nn.Linear(WIDTH, WIDTH))  # an image has WIDTH pixels, too
        model.add_module(f"act{i}", getattr(framework.nn, case.activation)())
    model.add_module("output", framework.nn.Linear(WIDTH, CLASSES))
    for i, linear in enumerate(layer for layer in model.children() if isinstance(layer, framework.nn.Linear)):
        linear.weight.data.normal_(0.0, case.std or (2.0 / linear.in_features) ** 0.5)
        linear.bias.data.fill_(case.bias if i == 1 else 0.0)
    return model


def train(case: Case, data: Digits, path: Path, steps: int, tick: Callable[[], None] = lambda: None) -> Outcome:
    """Trains the network of a case, with every layer watched and logged to `path`, a new or empty folder.

    There are `steps` steps of 128 images each; fewer where the loss ceases to be finite. `tick` is called after each.
    """
    torch, _ = _packages()
    import fastact.torch

    model = build(case)
    name, options = case.optimizer
    optimizer = getattr(torch.optim, name)(model.parameters(), **options)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / case.warmup))
    order = torch.Generator().manual_seed(1)
    done, loss = 0, torch.zeros(())
    started = time.perf_counter()
    metadata = {"demo": case.name, "recipe": case.recipe}
    with ActivationMonitor(path, window_size=WINDOW, metadata=metadata) as monitor:
        with fastact.torch.watch(model, monitor):
            while done < steps and torch.isfinite(loss):
                batch = torch.randint(len(data.train_x), (BATCH,), generator=order)
                loss = torch.nn.functional.cross_entropy(model(data.train_x[batch]), data.train_y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                monitor.step()
                done += 1
                tick()
        live = monitor.diagnose()
    seconds = time.perf_counter() - started
    with torch.no_grad():
        hits = model(data.test_x).argmax(dim=1) == data.test_y
    return Outcome(case, path, done, seconds, float(loss.detach()), float(hits.float().mean()), live)


def replay(path: Path) -> dict[str, Any]:
    """The diagnosis of a log by a second process, as strict JSON has it; `FastactError` if the process fails."""
    command = [sys.executable, "-m", "fastact", "diagnose", "--json", "--", str(path)]
    # Only this interpreter and this package run here; the path is an argument, never a shell's text.
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in {0, 1}:
        raise FastactError(f"replay of {path}: exit code {done.returncode}: {done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def failures(outcome: Outcome, replayed: dict[str, Any]) -> Iterator[str]:
    """The ways in which an outcome is not as it should be, one line each; none when all is well."""
    case = outcome.case
    found = {finding.condition for finding in outcome.live.findings}
    states = {layer.status for layer in outcome.live.layers} - {"healthy"}
    if states and not case.expect:
        yield f"{case.name}: want every layer healthy, got {', '.join(sorted(states))}"
    if case.expect - found:
        wanted, got = ", ".join(sorted(case.expect - found)), ", ".join(sorted(found)) or "none"
        yield f"{case.name}: want the finding {wanted}, got {got}"
    if not _equal(outcome, replayed):
        yield f"{case.name}: the diagnosis replayed from the log differs from the live one"


def _equal(outcome: Outcome, replayed: dict[str, Any]) -> bool:
    # Through JSON on both sides, so that tuples and lists are alike; numbers go through it exactly.
    return bool(json.loads(outcome.live.to_json()) == replayed)


def clear(out: Path) -> None:
    """Makes the folder for the demo's logs and removes those of an earlier demo. Nothing else is ever touched.

    Raises:
        ArgumentValueError: `out` exists and was not made by the demo.
    """
    marker, want = out / MARKER, "want a new folder or one that the demo made"
    if out.exists() and not out.is_dir():
        raise ArgumentValueError(f"out: got {str(out)!r}, which is not a folder; {want}")
    if out.is_dir() and any(out.iterdir()) and not marker.is_file():
        raise ArgumentValueError(f"out: got {str(out)!r}, which holds other files; {want}")
    runs = [out / case.name for case in CASES]
    for run in runs:
        if run.is_symlink() or (run.exists() and not run.is_dir()):
            raise ArgumentValueError(f"out: {str(run)!r} was not made by the demo; want another folder")
    out.mkdir(parents=True, exist_ok=True)
    marker.write_text("Made by `fastact demo`, which replaces the runs beside this file.\n", encoding="utf-8")
    for run in runs:
        if run.exists():
            shutil.rmtree(run)


def run(out: Path, steps: int, console: "Console") -> list[str]:
    """The whole demo: trains, shows and replays every case, `steps` each. Returns what went wrong, one line each.

    The logs go to `out`, which `clear` prepares, one folder for each case. Only a terminal gets a progress bar.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table
    from rich.text import Text

    from fastact.diagnosis.show.render import render_rich

    torch, _ = _packages()
    data = load_digits()
    clear(out)
    head = "network", "what was done", "test accuracy", "found", "first culprit", "live == replayed"
    summary = Table(*head, title="Summary")
    problems: list[str] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small are slower on two threads than on one
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            for case in CASES:
                task = progress.add_task(f"training {case.name}", total=steps)
                outcome = train(case, data, out / case.name, steps, functools.partial(progress.advance, task))
                progress.update(task, description=f"replaying {case.name}")
                replayed = replay(outcome.path)
                progress.remove_task(task)
                problems += failures(outcome, replayed)
                equal = _equal(outcome, replayed)
                said = "is equal to" if equal else "DIFFERS from"
                console.rule(Text(case.name, style="bold"))
                finite = math.isfinite(outcome.loss)
                loss = f"loss {outcome.loss:.3g}" if finite else "stopped there, because the loss is no longer finite"
                accuracy = f"test accuracy {outcome.accuracy:.1%} (guessing gives {1 / CLASSES:.0%})"
                learned = f"{outcome.steps} steps in {outcome.seconds:.1f} s; {loss}; {accuracy}."
                console.print(Text(f"{case.recipe}.\n{learned}\n"))
                console.print(render_rich(outcome.live))
                compared = f"\nThe diagnosis of {outcome.path} by a second process {said} the live one.\n"
                console.print(Text(compared), soft_wrap=True)
                found = ", ".join(dict.fromkeys(f.condition for f in outcome.live.findings)) or "nothing"
                culprit = next((f"{f.layer} since step {f.first_step}" for f in outcome.live.findings), "-")
                cells = map(Text, (case.name, case.recipe, f"{outcome.accuracy:.1%}", found, culprit))
                summary.add_row(*cells, Text("yes" if equal else "NO", style="green" if equal else "bold red"))
    finally:
        torch.set_num_threads(threads)
    console.print(summary)
    return problems
