"""A cell that is run again, and evaluation between the steps, with Keras, JAX and Lightning."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frameworks import linear_net, run_keras

import fastact


@pytest.mark.e2e
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras(backend: str, tmp_path: Path) -> None:
    done = run_keras(_KERAS, backend, tmp_path)
    assert done.stdout.split() == ["done"]
    assert done.stderr.count("was still open in this process") == 1


_KERAS = """
import sys
import keras, numpy as np, fastact, fastact.keras

x = np.random.default_rng(0).standard_normal((12, 3)).astype("float32")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, activation="relu", name="act"),
                          keras.layers.Dense(1)])
model.compile("sgd", "mse")

def look():
    if keras.backend.backend() == "jax":
        model.jax_state_sync()  # as Keras wants it of whoever looks at a model between two steps
    model.evaluate(x, x[:, :1], verbose=0)
    model.predict_on_batch(x)
    model(x, training=False)

class Between(keras.callbacks.Callback):
    look = None
    def on_epoch_begin(self, epoch, logs=None):
        look()
    def on_train_batch_end(self, batch, logs=None):
        if self.look is None:
            raise KeyboardInterrupt
        self.look()

def fit(callback, look):
    between = Between()
    between.look = look
    model.fit(x, x[:, :1], batch_size=4, epochs=1, verbose=0, callbacks=[callback, between])

# A cell that was interrupted after a step is run again. What another callback does with the model between two steps,
# and before the first, is none of them.
for cell, given in enumerate((None, look)):
    callback = fastact.keras.ActivationCallback(sys.argv[1], layers="act", strict=True)
    try:
        fit(callback, given)
    except KeyboardInterrupt:
        assert not callback.monitor.closed
for session, steps in enumerate(([0], [0, 1, 2])):
    log = fastact.open_log(sys.argv[1], session=session)
    for row, count in {"input": 12, "act": 20, "loss:target": 4}.items():
        found = [(row.step, row.stats.count) for row in log.replay(layers=row)]
        assert found == [(step, count) for step in steps], (session, row, found)
assert not any("call" in vars(layer) for layer in model.layers) and "train_step" not in vars(model)

# So it is in a loop of one's own, once it has taken a step: the same on both, and JAX takes a second to compile it.
if keras.backend.backend() == "torch":
    monitor = fastact.ActivationMonitor()
    callbacks = keras.callbacks.CallbackList(
        [fastact.keras.ActivationCallback(monitor, layers="act", strict=True)], model=model)
    callbacks.on_train_begin()
    for batch in range(3):
        model.train_on_batch(x[:4], x[:4, :1])
        look()
        callbacks.on_train_batch_end(batch)
    callbacks.on_train_end()
    assert monitor.history["act"]["count"].tolist() == [20] * 3, monitor.history["act"]["count"]
    monitor.close()
print("done")
"""


def test_a_cell_with_a_recorder_of_jax_takes_its_run_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    import fastact.jax

    monitors = []
    for steps in (2, 1, 3):
        with caplog.at_level(logging.WARNING, "fastact"):
            recorder = fastact.jax.Recorder(tmp_path, strict=True)
        monitors.append(recorder.monitor)
        relu = jax.jit(lambda x, recorder=recorder: recorder.record("act", jax.nn.relu(x), axis=-1, layer_type="ReLU"))
        for _ in range(steps):
            relu(np.ones((5, 2), np.float32))
            recorder.step()
    recorder.close()
    assert [monitor.closed for monitor in monitors] == [True, True, True]
    assert sum("was still open in this process" in message for message in caplog.messages) == 2
    logs = [fastact.open_log(tmp_path, session=n) for n in range(3)]
    rows = [[(row.step, row.stats.count) for row in log.replay()] for log in logs]
    assert rows == [[(step, 10) for step in range(steps)] for steps in (2, 1, 3)]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("place", ["on_train_batch_start", "on_train_batch_end", "on_train_epoch_end"])
def test_what_a_hook_of_lightning_looks_at_is_no_step(place: str) -> None:
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    import torch

    from fastact.lightning import ActivationCallback

    x = torch.randn(12, 4)

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = linear_net()

        def training_step(self, batch: Any) -> Any:
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    def look(*_: Any) -> None:
        module.net.eval()
        with torch.no_grad():
            module.net(x)
        module.net.train()

    module, other = Module(), lightning.Callback()
    setattr(module, place, look)
    setattr(other, place, look)
    with fastact.ActivationMonitor() as monitor:
        lightning.Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[other, ActivationCallback(monitor, strict=True)],
        ).fit(module, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=4))  # fmt: skip
        assert monitor.history["net.1"]["count"].tolist() == [4 * 3] * 6
        assert monitor.history["loss"]["count"].tolist() == [1] * 6
