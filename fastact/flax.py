"""Watches Flax models, NNX and Linen: hands the outputs of their layers to a `fastact.jax.Recorder`.

    import fastact.flax, fastact.jax
    from flax import nnx

    with fastact.jax.Recorder("runs/a") as recorder, fastact.flax.watch(model, recorder):
        for x, y in batches:
            train_step(model, optimizer, x, y)  # nnx.jit, as before
            recorder.step()
        print(recorder.monitor.diagnose())

For Linen, `intercept` goes around ``model.apply`` instead. Functions such as `nnx.relu` are not layers: record their
results where they are called, by ``x = recorder.record("act1", nnx.relu(x), axis=-1, layer_type="ReLU")``.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

import jax

from fastact._adapters.layers import is_selected, named_outputs
from fastact.checks import check_type
from fastact.errors import ArgumentValueError
from fastact.jax import Recorder
from fastact.packages import needs_extra

with needs_extra("fastact.flax", "Flax", "flax"):
    from flax import linen, nnx

__all__ = ["Layers", "Watch", "intercept", "watch"]

#: Which layers to record: None for all, a pattern (`fnmatch`) of their names, or a function of name and module that is
#: true for them.
Layers = str | Callable[[str, Any], bool] | None

#: Modules of Flax that only call others.
_CONTAINERS: Final = ("Sequential", "Module")


def watch(model: Any, recorder: Recorder, *, layers: Layers = None) -> "Watch":
    """Records the layers of an NNX model whenever it is called, within `nnx.jit` too, until the end of the ``with``.

    Args:
        model: the `nnx.Module`. Its layers are the modules without modules inside; they are named by their path, such
            as ``"blocks.0.linear"``.
        recorder: where they are recorded. Call its ``step()`` at the end of each training step.
        layers: which of them; by default all.

    While a layer is watched it has a class of its own, derived from its real one: so it stays watched when `nnx.jit`
    takes the model apart and puts it together again. Functions that were traced before are traced once more.

    Raises:
        ArgumentTypeError: `model` is no `nnx.Module`.
        ArgumentValueError: `layers` selects none.
    """
    check_type("model", model, nnx.Module, "a flax.nnx.Module; for Linen see intercept")
    named = ((module, ".".join(map(str, path)) or type(module).__name__) for path, module in nnx.iter_modules(model))
    leaves = ((module, name) for module, name in named if callable(module) and len(list(nnx.iter_modules(module))) == 1)
    selected = [(module, name) for module, name in leaves if is_selected(layers, name, module)]
    if not selected:
        raise ArgumentValueError(f"layers: got {layers!r}, want some that {type(model).__name__} has")
    return Watch(selected, recorder)


class Watch:
    """The watched layers of one `watch` call; use it as a context manager, or call `remove`.

    Attributes:
        names: the watched layers.
    """

    def __init__(self, chosen: list[tuple[Any, str]], recorder: Recorder) -> None:
        self.names = tuple(name for _, name in chosen)
        self._originals = [(module, type(module)) for module, _ in chosen]
        for module, name in chosen:
            object.__setattr__(module, "__class__", _watched(type(module), name, recorder))

    def remove(self) -> None:
        """Gives the layers their own classes back. Calling it again is harmless."""
        while self._originals:
            module, original = self._originals.pop()
            object.__setattr__(module, "__class__", original)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"Watch(layers={len(self.names)}, {'on' if self._originals else 'removed'})"


def _watched(original: type, name: str, recorder: Recorder) -> type:
    """A class like `original` whose calls are recorded."""

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - it becomes the class's own
        output = original.__call__(self, *args, **kwargs)
        _record(recorder, name, output, original.__name__)
        return output

    def __reduce_ex__(self: Any, protocol: Any) -> Any:  # noqa: N807
        # As an object of its original class, which is the one that pickle finds; what is loaded is not watched.
        reduce: Any = original.__reduce_ex__
        make, (_, *arguments), *rest = reduce(self, max(protocol, 2))
        return _make_original, (make, original, *arguments), *rest

    own = {"__call__": __call__, "__reduce_ex__": __reduce_ex__}
    home = {"__module__": original.__module__, "__qualname__": original.__qualname__}
    return type(original)(original.__name__, (original,), own | home)


def _make_original(make: Callable[..., Any], original: type, *arguments: Any) -> Any:
    """Called by pickle for a watched layer, since it refuses `make` itself with another class than the object's."""
    return make(original, *arguments)


@contextlib.contextmanager
def intercept(recorder: Recorder, *, layers: Layers = None) -> Iterator[None]:
    """Records the layers of Linen modules that are applied, or traced, within the ``with``.

    Args:
        recorder: where they are recorded. Call its ``step()`` at the end of each training step.
        layers: which of Flax's own layers, by default all; they are named by their path, such as
            ``"encoder/Dense_0"``. Layers that a layer of Flax calls itself are not recorded.

    A function that is traced inside the ``with`` keeps its recording, and one that was traced before has none: put the
    ``with`` around ``model.apply`` within the function. ``model.init`` is not recorded.
    """
    inside = 0

    def interceptor(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        nonlocal inside
        module = context.module
        own = type(module).__module__.startswith("flax.") and type(module).__name__ not in _CONTAINERS
        if inside or not own or context.method_name != "__call__" or module.is_initializing():
            return call(*args, **kwargs)
        inside += 1
        try:
            output = call(*args, **kwargs)
        finally:
            inside -= 1
        name = "/".join(module.path) or type(module).__name__
        if is_selected(layers, name, module):
            _record(recorder, name, output, type(module).__name__)
        return output

    with linen.intercept_methods(interceptor):
        yield


def _record(recorder: Recorder, name: str, output: Any, layer_type: str) -> None:
    for full, x in named_outputs(name, jax.tree.leaves(output)):
        # All layers of Flax have their features on the last axis.
        recorder.record(full, x, axis=-1 if x.ndim > 1 else None, layer_type=layer_type)
