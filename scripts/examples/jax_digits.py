"""Plain JAX: a recorder inside of the jitted step. Trains on scikit-learn's digits and finds a dead layer."""

import sys

import jax
import jax.numpy as jnp
from sklearn.datasets import load_digits

import fastact.jax

x, y = map(jnp.asarray, load_digits(return_X_y=True))
x = x / 16
keys = jax.random.split(jax.random.key(0), 4)
he = jax.nn.initializers.he_normal()
params = {
    "hidden1": (he(keys[0], (64, 64)), jnp.zeros(64)),
    "hidden2": (he(keys[1], (64, 64)), jnp.full(64, -10.0)),  # the mistake that fastact is to find
    "output": (he(keys[2], (64, 10)), jnp.zeros(10)),
}
recorder = fastact.jax.Recorder(sys.argv[1] if sys.argv[1:] else "runs/jax")


def network(params, x):
    """The logits; the layers are recorded on the way."""
    for place in ("1", "2"):
        weight, bias = params["hidden" + place]
        x = recorder.record("hidden" + place, x @ weight + bias, axis=-1, layer_type="Linear")
        x = recorder.record("act" + place, jax.nn.relu(x), axis=-1, layer_type="ReLU")
    weight, bias = params["output"]
    return recorder.record("output", x @ weight + bias, axis=-1, layer_type="Linear")


@recorder.jit
def train_step(params, x, y):
    """One step of gradient descent."""

    def loss(params):
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(network(params, x)), y[:, None], 1))

    return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))


for key in jax.random.split(keys[3], 60):
    batch = jax.random.randint(key, (128,), 0, len(x))
    params = train_step(params, x[batch], y[batch])
    recorder.step()
print(recorder.monitor.diagnose())
recorder.close()
