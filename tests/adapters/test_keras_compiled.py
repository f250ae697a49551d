"""Keras on JAX: rows come as results of the compiled step, and a step that is not recorded has none."""

import pytest
from frameworks import run_keras


@pytest.mark.e2e
def test_rows_are_results_of_the_compiled_step() -> None:
    assert run_keras(_PROGRAM, "jax").stdout.split() == ["done"]


_PROGRAM = """
import keras, numpy as np, jax, jax.numpy as jnp, fastact, fastact.keras, fastact.keras.compiled

def build(policy="float32", **options):
    keras.utils.set_random_seed(1)
    dense = keras.layers.Dense
    model = keras.Sequential([keras.Input((6,)), dense(8, activation="relu", name="hidden", dtype=policy),
                              keras.layers.BatchNormalization(name="norm", dtype=policy), dense(1, name="output")])
    model.compile("adam", "mse", **options)
    return model

rng = np.random.default_rng(0)
x = rng.standard_normal((100, 6)).astype("float32")
y = x[:, :1] * 2

class By(keras.callbacks.Callback):
    "Which of the graphs ran."
    def on_train_begin(self, logs=None):
        self.returned, recorder = [], callback._recorder
        take = recorder.take
        recorder.take = lambda returned: (self.returned.append(len(jax.tree.leaves(returned))), take(returned))

def fit(model, monitor, **options):
    global callback, by
    given = {key: options.pop(key) for key in ("layers", "parameters_every") if key in options}
    callback, by = fastact.keras.ActivationCallback(monitor, strict=True, **given), By()
    usual = {"batch_size": 10, "epochs": 2, "verbose": 0, "shuffle": False, "callbacks": [callback, by]}
    history = model.fit(x, y, **usual | options).history
    assert callback.failures == 0
    return history

want = build().fit(x, y, batch_size=10, epochs=2, verbose=0, shuffle=False).history
# All steps, weights in every tenth.
monitor = fastact.ActivationMonitor()
got = fit(build(), monitor)
assert np.allclose(got["loss"], want["loss"], rtol=1e-5), (got, want)
assert not callback._recorder._calls_back
assert len(by.returned) == 20 and len(set(by.returned)) == 2 and by.returned[0] == by.returned[10] > by.returned[1]
history = monitor.history
assert history["hidden"]["step"].tolist() == list(range(20))
for name in ("hidden/kernel", "hidden/kernel:grad", "hidden/kernel:update", "norm/gamma"):
    assert history[name]["step"].tolist() == [0, 10], (name, history[name]["step"])
assert np.allclose(history["hidden/bias:grad"]["count"], 8)

# Some steps: the others return nothing, and the last batch of an epoch, which is smaller, has its row.
monitor = fastact.ActivationMonitor(every=4)
got = fit(build(), monitor, batch_size=15, parameters_every=4)
assert len(by.returned) == 4 and not callback._recorder._calls_back
assert monitor.history["hidden"]["step"].tolist() == [0, 4, 8, 12]
assert monitor.history["hidden/kernel"]["step"].tolist() == [0, 4, 8, 12]
monitor = fastact.ActivationMonitor(every=3)
fit(build(), monitor, batch_size=15)  # seven batches, the last of ten samples
assert monitor.history["hidden"]["count"].tolist() == [120, 120, 80, 120, 120], monitor.history["hidden"]["count"]

# Several steps of an execution are one row; eager steps; a train_step of one's own; accumulated gradients.
monitor = fastact.ActivationMonitor()
got = fit(build(steps_per_execution=5), monitor)
assert np.allclose(got["loss"], want["loss"], rtol=1e-4), (got, want)
assert len(monitor.history["hidden"]) == 4 and set(monitor.history["hidden"]["count"].tolist()) == {400}
assert not callback._recorder._calls_back
monitor = fastact.ActivationMonitor(every=2)
fit(build(run_eagerly=True), monitor)
assert len(monitor.history["hidden"]) == 10 and len(monitor.history["loss"]) == 10

class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense, self.loss_of = keras.layers.Dense(1, name="dense"), keras.losses.MeanSquaredError()
    def call(self, x):
        return self.dense(x)
    def train_step(self, state, data):
        logs, state = super().train_step(state, data)
        return {**logs, "own": logs["loss"]}, state
own = Own()
own.compile("adam", "mse")
monitor = fastact.ActivationMonitor()
assert set(fit(own, monitor)) == {"loss", "own"}
assert len(monitor.history["dense"]) == 20 and not callback._recorder._calls_back

model = build()
model.compile(keras.optimizers.Adam(gradient_accumulation_steps=4), "mse")
monitor = fastact.ActivationMonitor()
fit(model, monitor, parameters_every=2)
assert monitor.history["hidden/kernel"]["step"].tolist() == [3, 11, 19], monitor.history["hidden/kernel"]["step"]

# A scaled loss steps within a condition of the graph: its weights come by callbacks.
model = build("mixed_float16")
model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), "mse")
monitor = fastact.ActivationMonitor()
fit(model, monitor)
assert len(monitor.history["hidden"]) == 20 and monitor.history["hidden"].info.dtype == "float16"
assert len(monitor.history["hidden/kernel"]) == 2

# A loop of one's own, a second fit, and nothing that is left behind.
model = build()
monitor = fastact.ActivationMonitor(every=2)
callback = fastact.keras.ActivationCallback(monitor, strict=True)
callbacks = keras.callbacks.CallbackList([callback], model=model)
callbacks.on_train_begin()
for batch in range(6):
    model.train_on_batch(x[:10], y[:10])
    callbacks.on_train_batch_end(batch)
callbacks.on_train_end()
assert monitor.history["hidden"]["step"].tolist() == [0, 2, 4]
assert not {"train_step", "_make_function"} & set(vars(model)) and model.train_function is None
fit(model, monitor)
assert monitor.history["hidden"].total == 13

# What the device summarises (no GPU is needed for that) says the same.
found = []
for backend in ("cpu", "gpu"):
    jax.default_backend = lambda: backend
    monitor = fastact.ActivationMonitor()
    fit(build(), monitor)
    found.append({name: layer["std"].tolist() for name, layer in monitor.history.items()})
assert list(found[0]) == list(found[1])
assert all(np.allclose(found[0][name], found[1][name], rtol=1e-3, atol=1e-6, equal_nan=True) for name in found[0])
print("done")
"""
