"""Watches JAX code: summaries computed on the device, within `jax.jit`, and handed to a monitor.

A `Recorder` goes into any function that JAX traces. The layer is summarised in the graph, in plain JAX, and what leaves
the device is a dozen numbers (with `axis`, a dozen per neuron), as results of the function:

    import fastact.jax, jax

    recorder = fastact.jax.Recorder("runs/a")

    @recorder.jit  # in place of jax.jit
    def train_step(params, x, y):
        def loss(params):
            hidden = recorder.record("hidden", jax.nn.relu(x @ params["w1"]), axis=-1, layer_type="ReLU")
            logits = recorder.record("logits", hidden @ params["w2"], axis=-1, layer_type="Linear")
            return recorder.record_loss(loss_of(logits, y), predictions=logits, targets=y, function="cross_entropy")
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    for x, y in batches:
        params = train_step(params, x, y)
        recorder.step()
    print(recorder.monitor.diagnose())
    recorder.close()

`summarize` gives the summary as a value: return it from the function, and on the host give its ``stats()`` to
``monitor.record``. It works wherever JAX does, also within `jax.lax.scan`, `jax.vmap` and `jax.checkpoint`.

- `summary`: `summarize`, and the `Summary` that it returns
- `recorder`: the `Recorder`
- `returned`: functions that return what is recorded in them
- `kept`: what the host makes of what was handed over
- `samples`: what of a loss's predictions and targets leaves the device
"""

from fastact.packages import needs_extra

with needs_extra("fastact.jax", "JAX", "jax", "jaxlib"):
    import jax as _jax  # noqa: F401 - imported here, so that a missing one is reported once

from fastact.jax.recorder import Recorder
from fastact.jax.summary import Summary, summarize

__all__ = ["Recorder", "Summary", "summarize"]
