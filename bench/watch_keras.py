"""What watching costs a step of Keras, of JAX and of Flax: by turns, in CPU time and on the clock.

python -m bench.watch_keras                    # Keras on JAX and on PyTorch, a function in plain JAX; a few minutes
python -m bench.watch_keras --backend jax      # one of: jax, torch, plain

The trainings of a round are of one model, one after the other in random order, each a `fit` of one epoch. What is told
is the median over rounds of the time of a step, and what is added to that of the bare one, by the clock and in CPU time
of all threads, which other programs on the machine hardly change. First steps, in which code is compiled, are told
apart: `first` is how long the first `fit` of a contestant takes longer than its later ones.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

BACKENDS: Final = ("jax", "torch", "plain")
#: Batches of an epoch, and samples of a batch.
STEPS: Final = 100
BATCH: Final = 32
ROUNDS: Final = 9


def perceptron(keras: Any) -> tuple[Any, Any, Any]:
    """Two hidden layers of 32 units: computes next to nothing."""
    dense = keras.layers.Dense
    layers = [keras.Input((20,)), dense(32, activation="relu"), dense(32, activation="relu"), dense(1)]
    model = keras.Sequential(layers)
    model.compile("adam", "mse")
    x = np.random.default_rng(0).standard_normal((STEPS * BATCH, 20)).astype(np.float32)
    return model, x, x[:, :1]


def convolutions(keras: Any) -> tuple[Any, Any, Any]:
    """Two convolutions and two dense layers, for images of 28 x 28 pixels."""
    of = keras.layers
    layers = [of.Conv2D(16, 3, activation="relu"), of.MaxPooling2D(), of.Conv2D(32, 3, activation="relu")]
    layers += [of.MaxPooling2D(), of.Flatten(), of.Dense(64, activation="relu"), of.Dense(10, activation="softmax")]
    model = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).standard_normal((STEPS * BATCH, 28, 28, 1)).astype(np.float32)
    return model, x, np.arange(len(x)) % 10


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of CPU time."""
    began, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - used


def compare(name: str, contestants: Mapping[str, Callable[[], Callable[[], object]]], rounds: int) -> None:
    """Prints a table of contestants: what makes an epoch of each."""
    runs = {one: make() for one, make in contestants.items()}
    first = {one: timed(run)[0] for one, run in runs.items()}
    taken: dict[str, list[tuple[float, float]]] = {one: [] for one in runs}
    order, chosen = list(runs), np.random.default_rng(0)
    for _ in range(rounds):
        chosen.shuffle(order)
        for one in order:
            taken[one].append(timed(runs[one]))
    table = Table("", "us a step", "added", "CPU us a step", "added", "first s", title=name)
    base: list[float] = []
    for one in runs:
        clock, cpu = (statistics.median(column) / STEPS * 1e6 for column in zip(*taken[one], strict=True))
        base = base or [clock, cpu]
        added = [
            f"{now - before:+.0f} ({now / before - 1:+.0%})" for now, before in zip((clock, cpu), base, strict=True)
        ]
        later = statistics.median(seconds for seconds, _ in taken[one])
        table.add_row(one, f"{clock:.0f}", added[0], f"{cpu:.0f}", added[1], f"{first[one] - later:.2f}")
    Console(width=110).print(table)


def of_keras(rounds: int, folder: str) -> None:
    """The trainings in Keras."""
    import keras

    from fastact import ActivationMonitor
    from fastact.keras import ActivationCallback

    cases: dict[str, Callable[[Any], tuple[Any, Any, Any]]] = {"perceptron": perceptron, "convolutions": convolutions}
    layers_alone = {"weights": False, "gradients": False, "updates": False}
    options: dict[str, tuple[dict[str, Any], dict[str, Any]] | None] = {
        "bare": None,
        "bare, again": None,
        "fastact": ({}, {}),
        "fastact, layers alone": ({}, layers_alone),
        "fastact, every=10": ({"every": 10}, {}),
        "fastact, every=1000": ({"every": 1000}, {}),
    }

    def epoch(make: Callable[[Any], tuple[Any, Any, Any]], one: str) -> Callable[[], object]:
        keras.utils.set_random_seed(0)
        model, x, y = make(keras)
        callbacks: list[Any] = []
        given = options[one]
        if given is not None:
            monitor = ActivationMonitor(f"{folder}/{make.__name__}-{one}", **given[0])
            callbacks = [_Stay(ActivationCallback(monitor, **given[1]))]
        return lambda: model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0, shuffle=False, callbacks=callbacks)

    class _Stay(keras.callbacks.Callback):  # type: ignore[misc] # mypy does not follow Keras
        """Goes on with a callback in the next fit, which would compile anew: begins it once, and never ends it."""

        def __init__(self, callback: Any) -> None:
            super().__init__()
            self._callback, self._began = callback, False

        def on_train_begin(self, logs: Any = None) -> None:
            if not self._began:
                self._began = True
                self._callback.set_model(self.model)
                self._callback.set_params(self.params)
                self._callback.on_train_begin(logs)

        def on_train_batch_end(self, batch: Any, logs: Any = None) -> None:
            self._callback.on_train_batch_end(batch, logs)

    for name, make in cases.items():
        made = {one: partial(epoch, make, one) for one in options}
        compare(f"Keras on {keras.backend.backend()}: {name}, batches of {BATCH}", made, rounds)


def of_jax(rounds: int, folder: str) -> None:
    """A training step in plain JAX, by callbacks and by what it returns."""
    import jax
    import jax.numpy as jnp

    from fastact import ActivationMonitor
    from fastact.jax import Recorder

    rng = np.random.default_rng(0)
    sizes = (64, 256, 256, 256, 10)
    first = [jnp.asarray(rng.standard_normal(pair) / pair[0] ** 0.5, jnp.float32) for pair in pairwise(sizes)]
    x = jnp.asarray(rng.standard_normal((128, 64)), jnp.float32)

    def epoch(one: str) -> Callable[[], object]:
        every = 10 if "every" in one else 1
        recorder = None if one.startswith("bare") else Recorder(ActivationMonitor(f"{folder}/{one}", every=every))

        def step(weights: Any, x: Any) -> Any:
            def loss(weights: Any) -> Any:
                y = x
                for number, weight in enumerate(weights):
                    y = jax.nn.relu(y @ weight)
                    y = y if recorder is None else recorder.record(f"layer{number}", y, axis=-1, layer_type="ReLU")
                return jnp.mean((y - 1) ** 2)

            return jax.tree.map(lambda w, g: w - 0.01 * g, weights, jax.grad(loss)(weights))

        compiled = jax.jit(step) if recorder is None or "jax.jit" in one else recorder.jit(step)

        def run() -> None:
            weights = first
            for _ in range(STEPS):
                weights = compiled(weights, x)
                if recorder is not None:
                    recorder.step()
            weights[0].block_until_ready()

        return run

    names = ("bare", "bare, again", "jax.jit", "recorder.jit", "jax.jit, every=10", "recorder.jit, every=10")
    compare("plain JAX: 4 layers, batches of 128", {one: partial(epoch, one) for one in names}, rounds)


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.watch_keras", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS, help="by default all, each in a process of its own")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    if options.backend is None:
        for backend in BACKENDS:
            command = [sys.executable, "-m", "bench.watch_keras", "--backend", backend, "--rounds", str(options.rounds)]
            subprocess.run(command, check=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.backend == "plain":
            of_jax(options.rounds, folder)
        else:
            os.environ["KERAS_BACKEND"] = options.backend
            of_keras(options.rounds, folder)


if __name__ == "__main__":
    main()
