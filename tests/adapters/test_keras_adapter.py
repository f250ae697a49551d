"""Keras trainings on both backends: what is recorded, what is left alone, and what happens when it fails."""

from pathlib import Path

import pytest
from frameworks import run_keras


@pytest.mark.e2e
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras_trains_as_it_would_without_us(backend: str, tmp_path: Path) -> None:
    assert run_keras(_KERAS, backend, tmp_path).stdout.split() == ["done"]


_KERAS = """
import copy, pickle, sys, warnings
import keras, numpy as np, fastact, fastact.keras

class Block(keras.layers.Layer):
    def __init__(self, **options):
        super().__init__(**{"name": "block", **options})
        self.inner = keras.layers.Dense(5, activation="tanh", name="inner")
    def call(self, x):
        return self.inner(x)

def build():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4, 3))
    x = keras.layers.LSTM(6, name="lstm")(inputs)
    x = Block()(x)
    x = keras.layers.Dropout(0.5, name="dropout", seed=1)(x)
    x = keras.Sequential([keras.layers.Dense(4, name="relu", activation="relu")], name="head")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="output", activation="softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model

rng = np.random.default_rng(0)
x, y = rng.standard_normal((40, 4, 3)).astype("float32"), rng.integers(0, 2, 40)
train = lambda model, callbacks: model.fit(
    x, y, batch_size=8, epochs=2, validation_split=0.2, verbose=0, shuffle=False, callbacks=callbacks).history
plain = build()
want = [train(plain, []), train(plain, []), train(plain, [])]

model = build()
assert train(model, [])["loss"] == want[0]["loss"]
outputs = {"weights": False, "gradients": False, "updates": False, "strict": True}  # alone
callback = fastact.keras.ActivationCallback(sys.argv[1], **outputs)
saver = keras.callbacks.ModelCheckpoint(sys.argv[1] + "/model.keras")
got = train(model, [callback, saver])
assert all(np.allclose(got[name], want[1][name], rtol=1e-6) for name in ("loss", "val_loss"))
log = fastact.open_log(sys.argv[1])
names = [(info.name, info.kind) for info in log.layers]
kinds = {"input": "Input", "lstm": "LSTM", "block/inner": "Tanh", "dropout": "Dropout", "head/relu": "ReLU",
         "output": "Softmax", "loss:target": "Target", "loss": "Loss", "loss:baseline": "Baseline",
         "optimiser": "Optimiser"}
assert names == list(kinds.items()), names
rows = log.to_table().to_pylist()
assert len(rows) == 10 * 8, len(rows)  # the validation's batches are not in it
assert [row["count"] for row in rows[:6]] == [96, 48, 40, 40, 32, 16], rows[:6]
assert [row["neurons"] for row in rows[:6]] == [3, 6, 5, 5, 4, 2]
sources = [info.source for info in log.layers]
assert sources == ["", "input", "lstm", "block/inner", "dropout", "head/relu", "", "output", "", ""], sources
losses = [row["mean"] for row in rows if row["layer"] == "loss"]
assert np.allclose(np.reshape(losses, (2, 4)).mean(axis=1), got["loss"], rtol=1e-6), (losses, got)
assert callback.failures == 0 and callback.monitor.diagnose().layers
# Nothing is left behind, in the layers or in the compiled functions.
left = lambda: [name for layer in model._flatten_layers() for name in ("call", "compute_loss") if name in vars(layer)]
assert not left() and "apply" not in vars(model.optimizer)
assert isinstance(model._compile_loss._flat_losses[0].loss, keras.losses.Loss)
train(model, [])
assert fastact.open_log(sys.argv[1]).to_table().num_rows == 80
keras.models.load_model(sys.argv[1] + "/model.keras", custom_objects={"Block": Block}, compile=False)

# Again on the same model: chosen layers, into a monitor of ours.
with fastact.ActivationMonitor(every=2) as monitor:
    train(model, [fastact.keras.ActivationCallback(monitor, layers=["head/*", "lstm"], **outputs)])
    supervision = ["loss:prediction", "loss:target", "loss", "loss:baseline", "optimiser"]
    assert list(monitor.history) == ["input", "lstm", "head/relu", *supervision], list(monitor.history)
    assert monitor.history["lstm"]["step"].tolist() == [0, 2, 4, 6]
    assert not monitor.closed

# What fails is warned of once, and the training goes on.
monitor = fastact.ActivationMonitor()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", RuntimeWarning)
    callback = fastact.keras.ActivationCallback(monitor, layers=lambda name, layer: 1 / 0)
    assert len(train(model, [callback])["loss"]) == 2
ours = [str(w.message) for w in caught if "continues without it" in str(w.message)]
assert len(ours) == 1 and "could not watch the model" in ours[0], ours
assert callback.failures == 1

# A closed monitor, a callback that was copied before and one that has run, and a training that fails.
monitor = fastact.ActivationMonitor()
class Do(keras.callbacks.Callback):
    def __init__(self, what):
        super().__init__()
        self.what = what
    def on_train_batch_end(self, batch, logs=None):
        self.what()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", RuntimeWarning)
    callback = fastact.keras.ActivationCallback(monitor)
    assert len(train(model, [Do(monitor.close), callback])["loss"]) == 2
    assert callback.failures > 1
assert sum("the monitor is closed" in str(w.message) for w in caught) == 1, caught
original = fastact.keras.ActivationCallback(sys.argv[1] + "/copy", **outputs)
copied = copy.deepcopy(original)
train(model, [copied])
train(model, [pickle.loads(pickle.dumps(copied))])
assert [fastact.open_log(sys.argv[1] + "/copy", session=k).to_table().num_rows for k in (0, 1)] == [80, 80]
for error in (RuntimeError, KeyboardInterrupt):
    def fail():
        raise error
    try:
        train(model, [copied, Do(fail)])
    except error:
        copied.close()
    assert not left()
    assert copied.monitor.closed

# Called again, fit goes on with the run, and what was known of it; another model begins a session of its own.
if keras.backend.backend() == "torch":
    place = sys.argv[1] + "/again"
    rows_of = lambda *session: fastact.open_log(place, session=session[0] if session else None).to_table().num_rows
    callback = fastact.keras.ActivationCallback(place, overwrite=True, **outputs)
    for count in (80, 160):
        train(model, [callback])
        assert rows_of() == count, (count, rows_of())
    assert callback.monitor.current_step == 16
    assert callback.monitor.history["lstm"]["step"].tolist() == list(range(16))
    assert callback.monitor.diagnose() == fastact.open_log(place).diagnose()
    train(build(), [callback])
    assert (rows_of(0), rows_of(1)) == (160, 80)
    callback = fastact.keras.ActivationCallback(place, overwrite=True, **outputs)
    train(model, [callback])
    log = fastact.open_log(place)
    assert (log.to_table().num_rows, len(log.sessions), log.notes) == (80, 1, ())

# What is computed twice counts once on PyTorch.
with keras.RematScope(mode="full"):
    again = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, activation="relu", name="dense"),
                              keras.layers.Dense(2, name="out")])
again.compile("sgd", "mse")
with fastact.ActivationMonitor() as monitor:
    again.fit(x[:, 0], x[:, 0, :2], batch_size=40, verbose=0,
              callbacks=[fastact.keras.ActivationCallback(monitor, **outputs)])
    counts = {name: int(layer["count"][0]) for name, layer in monitor.history.items()}
    assert counts.pop("input") % 120 == 0 and counts.pop("optimiser") == 1
    runs = 1 if keras.backend.backend() == "torch" else counts["dense"] // 200
    supervision = {name: counts.pop(name) for name in list(counts) if name.startswith("loss")}
    assert supervision.pop("loss:prediction", 80) == 80
    assert supervision == {"loss:target": 80, "loss": 1, "loss:baseline": 1}, supervision
    assert counts == {"dense": runs * 200, "out": runs * 80}, counts
print("done")
"""
