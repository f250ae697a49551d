"""Flax NNX: `fastact.flax.watch` around the loop. Trains on scikit-learn's digits and finds a dead layer."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from sklearn.datasets import load_digits

import fastact.flax
import fastact.jax

recorder = fastact.jax.Recorder(sys.argv[1] if sys.argv[1:] else "runs/flax")


class Network(nnx.Module):
    """Two hidden layers, the second of which starts dead: the mistake that fastact is to find."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden1 = nnx.Linear(64, 64, rngs=rngs)
        self.hidden2 = nnx.Linear(64, 64, rngs=rngs, bias_init=nnx.initializers.constant(-10.0))
        self.output = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        # The layers are watched; a function is recorded where it is called.
        x = recorder.record("act1", nnx.relu(self.hidden1(x)), axis=-1, layer_type="ReLU")
        x = recorder.record("act2", nnx.relu(self.hidden2(x)), axis=-1, layer_type="ReLU")
        return self.output(x)


@partial(recorder.jit, jit=nnx.jit)
def train_step(model: Network, optimizer: nnx.Optimizer, x: jax.Array, y: jax.Array) -> None:
    """One step of Adam."""

    def loss(model: Network) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    optimizer.update(model, nnx.grad(loss)(model))


x, y = map(jnp.asarray, load_digits(return_X_y=True))
model = Network(nnx.Rngs(0))
optimizer = nnx.Optimizer(model, optax.adam(0.003), wrt=nnx.Param)
with recorder, fastact.flax.watch(model, recorder):
    for key in jax.random.split(jax.random.key(1), 60):
        batch = jax.random.randint(key, (128,), 0, len(x))
        train_step(model, optimizer, x[batch] / 16, y[batch])
        recorder.step()
    print(recorder.monitor.diagnose())
