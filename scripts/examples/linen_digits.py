"""Flax Linen: `fastact.flax.intercept` around `apply`. Trains on scikit-learn's digits and finds a dead layer."""

import sys

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from sklearn.datasets import load_digits

import fastact.flax
import fastact.jax

recorder = fastact.jax.Recorder(sys.argv[1] if sys.argv[1:] else "runs/linen")


class Network(nn.Module):
    """Two hidden layers, the second of which starts dead: the mistake that fastact is to find."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(64, name="hidden1")(x)
        x = recorder.record("act1", nn.relu(x), axis=-1, layer_type="ReLU")
        x = nn.Dense(64, name="hidden2", bias_init=nn.initializers.constant(-10.0))(x)
        x = recorder.record("act2", nn.relu(x), axis=-1, layer_type="ReLU")
        return nn.Dense(10, name="output")(x)


model, optimizer = Network(), optax.adam(0.003)


@recorder.jit
def train_step(params, state, x, y):
    """One step of Adam."""

    def loss(params):
        with fastact.flax.intercept(recorder):
            logits = model.apply(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    updates, state = optimizer.update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state


x, y = map(jnp.asarray, load_digits(return_X_y=True))
recorder.pause()  # a pass to find the shapes is no training
params = model.init(jax.random.key(0), x[:1])
recorder.resume()
state = optimizer.init(params)
with recorder:
    for key in jax.random.split(jax.random.key(1), 60):
        batch = jax.random.randint(key, (128,), 0, len(x))
        params, state = train_step(params, state, x[batch] / 16, y[batch])
        recorder.step()
    print(recorder.monitor.diagnose())
