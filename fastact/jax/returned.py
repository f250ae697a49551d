"""Rows as results: what a compiled function records, it returns beside its own result.

A callback from the graph to the host costs near a millisecond, for each layer and in steps that are not recorded, too.
A result costs microseconds, and there is none where nothing is recorded: the function is compiled a second time
without. Only what is computed in the outermost trace can be its result: what is recorded within a `jax.lax.scan`,
`jax.vmap` or `jax.checkpoint` takes the callback.
"""

import dataclasses
import functools
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import jax

from fastact._adapters.attachment import Attachment

_T = TypeVar("_T")

#: What takes the numbers of rows on the host, by their names.
Keeps = Mapping[str, Callable[[Any], None]]
#: Bytes of outputs that one call may return as they are, for the host to sweep; what comes after is summarised.
_WHOLE_BYTES: Final = 1 << 28


class Names(tuple[Keeps, ...]):
    """What takes each of the parts; compared by identity, as it is part of the structure of what is returned."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, slots=True)
class Returned:
    """What a function has recorded: a pytree, which it returns.

    Attributes:
        parts: numbers by the names of rows.
        flags: for each of the parts whether it is there; None where it always is.
        keeps: what takes each of them.
    """

    parts: list[Mapping[str, Any]]
    flags: list[Any]
    keeps: Names = dataclasses.field(metadata={"static": True})


class Collector:
    """What is recorded while a function is traced, or runs.

    Args:
        rows: whether it is returned; otherwise it is left out.
        whole: whether outputs are returned as they are: where host and device have the same memory, the host sweeps
            them in less time than the graph takes, and than it takes to compile.
    """

    def __init__(self, *, rows: bool, whole: bool) -> None:
        self.rows = rows
        self._room = _WHOLE_BYTES if whole and rows else 0
        self._trace = _trace()
        self._parts: list[Mapping[str, Any]] = []
        self._flags: list[Any] = []
        self._keeps: list[Keeps] = []

    def reaches(self, tensors: Iterable[Any]) -> bool:
        """Whether what is computed here of these is the function's to return: of its own trace, not of an inner one."""
        return _trace() is self._trace and all(_trace_of(x) in (None, self._trace) for x in tensors)

    def takes_whole(self, x: Any) -> bool:
        """Whether this tensor is returned as it is; to be asked once."""
        size = math.prod(x.shape) * x.dtype.itemsize
        if size > self._room:
            return False
        self._room -= size
        return True

    def add(self, keeps: Keeps, parts: Mapping[str, Any], flag: Any = None) -> None:
        """Takes numbers, and whether they are there."""
        self._keeps.append(keeps)
        self._parts.append(parts)
        self._flags.append(flag)

    def returned(self) -> Returned:
        """What the function is to return."""
        return Returned(self._parts, self._flags, Names(self._keeps))


class Collecting(threading.local):
    """The collector of the function that this thread traces; None outside of one that returns its rows."""

    collector: Collector | None = None

    def around(self, function: Callable[..., Any], collector: Collector, args: Sequence[Any], kwargs: Any) -> Any:
        """Calls a function, and collects what is recorded in it."""
        before, self.collector = self.collector, collector
        try:
            return function(*args, **kwargs)
        finally:
            self.collector = before


class Returning(ABC):
    """The part of `fastact.jax.Recorder` that compiles functions which return what they record."""

    _attachment: Attachment
    _collecting: Collecting
    _paused: bool

    @abstractmethod
    def take(self, returned: Returned) -> None:
        """Takes what a function has returned; the device may still be computing it."""

    def jit(
        self, function: Callable[..., _T], /, *, jit: Callable[..., Any] = jax.jit, **options: Any
    ) -> Callable[..., _T]:
        """Compiles a function that records, in place of `jax.jit`, so that watching it costs as little as it can.

        It is compiled twice: with the rows as further results, which takes no callback to the host; and without any,
        for the steps that are not recorded, which cost nothing then. On the CPU the host sweeps the outputs where they
        lie, in less time than the graph would take.

        Args:
            function: what is compiled, such as a training step.
            jit: what compiles it, such as `flax.nnx.jit`.
            options: those of `jit`, such as ``donate_argnums``.

        Example:
            >>> from fastact import ActivationMonitor
            >>> from fastact.jax import Recorder
            >>> recorder = Recorder(ActivationMonitor(every=2))
            >>> double = recorder.jit(lambda x: recorder.record("twice", 2 * x, axis=-1))
            >>> for _ in range(3):
            ...     _ = double(jax.numpy.ones((4, 2)))
            ...     recorder.step()
            >>> recorder.monitor.history["twice"]["step"].tolist()
            [0, 2]
        """
        shardings = {"out_shardings": (options["out_shardings"], None)} if "out_shardings" in options else {}
        with_rows = jit(self.returning(function), **options | shardings)
        without = jit(self.silent(function), **options)

        @functools.wraps(function)
        def compiled(*args: Any, **kwargs: Any) -> _T:
            if is_traced():  # by a function that does not return what is recorded here
                return function(*args, **kwargs)
            if not self.recording:
                silent: _T = without(*args, **kwargs)
                return silent
            result: _T
            result, returned = with_rows(*args, **kwargs)
            self.take(returned)
            return result

        return compiled

    @property
    def returns(self) -> bool:
        """Whether what is recorded here and now, while a function is traced, is returned by it."""
        into = self._collecting.collector
        return into is not None and into.reaches(())

    @property
    def recording(self) -> bool:
        """Whether what runs now is recorded."""
        return not self._paused and self._attachment.active

    def returning(self, function: Callable[..., _T]) -> Callable[..., tuple[_T, Returned]]:
        """A function, to be compiled, that also returns what is recorded in it, for `take`."""

        @functools.wraps(function)
        def traced(*args: Any, **kwargs: Any) -> tuple[_T, Returned]:
            whole = jax.default_backend() == "cpu" and jax.process_count() == 1
            collector = Collector(rows=True, whole=whole)
            return self._collecting.around(function, collector, args, kwargs), collector.returned()

        return traced

    def silent(self, function: Callable[..., _T]) -> Callable[..., _T]:
        """A function, to be compiled, in which nothing is recorded."""

        @functools.wraps(function)
        def traced(*args: Any, **kwargs: Any) -> _T:
            result: _T = self._collecting.around(function, Collector(rows=False, whole=False), args, kwargs)
            return result

        return traced


def is_traced() -> bool:
    """Whether JAX traces what runs now."""
    return _trace() is not None


def _trace() -> Any:
    """The trace that constants are made in: that of the function, within its gradient, too. None outside of any."""
    return _trace_of(jax.lax.full((), 0.0))


def _trace_of(x: Any) -> Any:
    """The trace that an array without its gradient is of; None for one that is there."""
    if not isinstance(x, jax.core.Tracer):
        return None
    # An older JAX has no such attribute, or another trace for the gradient: then nothing is returned.
    return getattr(jax.lax.stop_gradient(x), "_trace", x)
