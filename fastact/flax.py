"""Watches Flax models, NNX and Linen: their layers are handed to a `fastact.jax.Recorder`.

    import fastact.flax, fastact.jax
    from flax import nnx

    with fastact.jax.Recorder("runs/a") as recorder, fastact.flax.watch(model, recorder):
        for x, y in batches:
            train_step(model, optimizer, x, y)  # nnx.jit, as before
            recorder.step()
        print(recorder.monitor.diagnose())

For Linen, `intercept` goes around ``model.apply`` instead. Functions, such as `nnx.relu`, are no layers: what they
give is recorded where they are called, by ``x = recorder.record("act1", nnx.relu(x), axis=-1, layer_type="ReLU")``.
"""

import contextlib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Final, Self

import jax

from fastact.checks import check_type
from fastact.errors import ArgumentValueError, MissingExtraError
from fastact.jax import Recorder

try:
    from flax import linen, nnx
except ModuleNotFoundError as error:  # pragma: no cover - the tests need Flax; a subprocess test takes this branch
    if error.name != "flax":
        raise
    raise MissingExtraError("fastact.flax needs Flax: pip install 'fastact[flax]'") from error

__all__ = ["Layers", "Watch", "intercept", "watch"]

#: Which layers: all, those whose name matches a pattern (`fnmatch`), or those for which a function of name and module
#: is true.
Layers = str | Callable[[str, Any], bool] | None

#: Modules of Flax that only call others.
_CONTAINERS: Final = ("Sequential", "Module")


def watch(model: Any, recorder: Recorder, *, layers: Layers = None) -> "Watch":
    """Records the layers of an NNX model whenever it is called, within `nnx.jit` too, until the end of the ``with``.

    Args:
        model: the `nnx.Module`. Its layers are those without modules inside, by their path: ``"blocks.0.linear"``.
        recorder: what takes them. Call its ``step()`` at the end of each training step.
        layers: which of them.

    While it is watched a layer is of a class of its own, derived from its class, which is how it stays watched when
    `nnx.jit` takes the model apart and puts it together again. What was traced before is traced once more.

    Raises:
        ArgumentTypeError: `model` is no `nnx.Module`.
        ArgumentValueError: no layer is chosen.
    """
    check_type("model", model, nnx.Module, "a flax.nnx.Module; for Linen see intercept")
    chosen: list[tuple[Any, str]] = []
    for path, module in nnx.iter_modules(model):
        name = ".".join(map(str, path)) or type(module).__name__
        leaf = sum(1 for _ in nnx.iter_modules(module)) == 1
        if leaf and callable(module) and _wanted(layers, name, module):
            chosen.append((module, name))
    if not chosen:
        raise ArgumentValueError(f"layers: got {layers!r}, want some that {type(model).__name__} has")
    return Watch(chosen, recorder)


class Watch:
    """The watched layers of one `watch` call; use it as a context manager or call `remove`.

    Attributes:
        names: the watched layers.
    """

    def __init__(self, chosen: list[tuple[Any, str]], recorder: Recorder) -> None:
        self.names = tuple(name for _, name in chosen)
        self._originals = [(module, type(module)) for module, _ in chosen]
        for module, name in chosen:
            object.__setattr__(module, "__class__", _watched(type(module), name, recorder))

    def remove(self) -> None:
        """Gives the layers their own classes back. Harmless when they have them."""
        while self._originals:
            module, kind = self._originals.pop()
            object.__setattr__(module, "__class__", kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"Watch(layers={len(self.names)}, {'on' if self._originals else 'removed'})"


def _watched(kind: type, name: str, recorder: Recorder) -> type:
    """A class like `kind` that hands over what its calls give."""

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - it becomes the class's own
        output = kind.__call__(self, *args, **kwargs)
        _take(recorder, name, output, kind.__name__)
        return output

    def __reduce_ex__(self: Any, protocol: Any) -> Any:  # noqa: N807
        # By its own class, which is the one that pickle finds; what is loaded is not watched.
        plain: Any = kind.__reduce_ex__
        make, (_, *arguments), *rest = plain(self, max(protocol, 2))
        return _made, (make, kind, *arguments), *rest

    members = {
        "__call__": __call__,
        "__reduce_ex__": __reduce_ex__,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
    }
    return type(kind)(kind.__name__, (kind,), members)


def _made(make: Callable[..., Any], kind: type, *arguments: Any) -> Any:
    """What pickle calls for a watched layer: it refuses `make` with another class than the object's."""
    return make(kind, *arguments)


@contextlib.contextmanager
def intercept(recorder: Recorder, *, layers: Layers = None) -> Iterator[None]:
    """Records the layers of Linen modules that are applied, or traced, within the ``with``.

    Args:
        recorder: what takes them. Call its ``step()`` at the end of each training step.
        layers: which of Flax's own layers; they are named by their path: ``"encoder/Dense_0"``. What a layer of Flax
            calls itself is its own affair.

    A function that is traced inside keeps its recording, one that was traced before has none: put it around
    ``model.apply`` within the function. ``model.init`` is not recorded.
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
        if _wanted(layers, name, module):
            _take(recorder, name, output, type(module).__name__)
        return output

    with linen.intercept_methods(interceptor):
        yield


def _wanted(layers: Layers, name: str, module: Any) -> bool:
    if layers is None:
        return True
    return layers(name, module) if callable(layers) else fnmatchcase(name, layers)


def _take(recorder: Recorder, name: str, output: Any, layer_type: str) -> None:
    arrays = jax.tree.leaves(output)
    for place, x in enumerate(arrays):
        # Flax has the features last, whatever the layer.
        full = name if len(arrays) == 1 else f"{name}[{place}]"
        recorder.record(full, x, axis=-1 if x.ndim > 1 else None, layer_type=layer_type)
