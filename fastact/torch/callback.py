"""What the callbacks of PyTorch's trainers share: hooks and a log that are there while the trainer trains."""

from collections.abc import Callable
from typing import Any

from fastact._adapters.attachment import Attachment, Run
from fastact.monitor.monitor import ActivationMonitor
from fastact.torch import Watch, watch

__all__ = ["WatchingCallback"]


class WatchingCallback:
    """Watches a model from `begin` to `close`; a trainer's callback derives from it and calls them.

    Args:
        run: an `ActivationMonitor`; or the path of a log, opened when the training starts and closed when it ends.
            With several processes each writes its own ``rank-00000`` and so on there; `fastact.open_log` reads all.
        strict: raise what goes wrong; by default it is counted and warned of once.
        options: for `fastact.torch.watch`: ``layers``, ``inputs``, ``gradients``, ``every``, ``first``.

    Raises:
        ArgumentTypeError: `run` is neither a monitor nor a path.
    """

    def __init__(self, run: Run, *, strict: bool = False, **options: Any) -> None:
        super().__init__()
        self._attachment = Attachment(f"{type(self).__module__}.{type(self).__qualname__}", run, strict=strict)
        self._options = options
        self._watch: Watch | None = None

    @property
    def monitor(self) -> ActivationMonitor:
        """The monitor; it still diagnoses after the training has ended."""
        return self._attachment.monitor

    @property
    def failures(self) -> int:
        """How often something went wrong; the first time was warned of."""
        return self._attachment.guard.failures + (self._watch.failures if self._watch else 0)

    def begin(self, model: Any, when: Callable[[], bool], rank: int, ranks: int) -> None:
        """Opens the log of this process and sets the hooks, whose tensors count while `when` says so."""
        self.close()  # of a training that failed
        attachment = self._attachment
        attachment.open(rank, ranks)
        attachment.when = when
        with attachment.guard("watch the model"):
            self._watch = watch(model, attachment, strict=attachment.guard.strict, **self._options)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_watch": None}  # a copy of the callback watches nothing yet

    def close(self) -> None:
        """Takes the hooks off and closes the log, as the end of a training does. Harmless when that was done."""
        if self._watch is not None:
            self._watch.remove()
        self._attachment.close()
