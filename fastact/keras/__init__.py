"""Watches a Keras 3 training on the JAX or the PyTorch backend: one callback.

    import fastact.keras

    model.fit(x, y, callbacks=[fastact.keras.ActivationCallback("runs/a")])

On JAX the training step is one compiled graph, which `fastact.jax` has return what is recorded in it; on PyTorch the
outputs are swept in place.

- `callback`: the `ActivationCallback`
- `compiled`: the training step on JAX, with rows and without
- `initial`: whether weights are as they were initialised
- `layers`: which layers of a model compute, and of what types they are
- `losses`: the losses that a model was compiled with, and what they are given
- `optimiser`: its learning rate, and the weights that it holds
- `parameters`: the weights, their gradients and their updates
- `recorder`: takes PyTorch's tensors as `fastact.jax.Recorder` takes those of JAX
"""

from fastact.packages import needs_extra

with needs_extra("fastact.keras", "Keras", "keras"):
    import keras as _keras  # noqa: F401 - imported here, so that a missing one is reported once

from fastact.keras.callback import ActivationCallback

__all__ = ["ActivationCallback"]
