"""What the callbacks of Lightning and Hugging Face share: hooks and a log for as long as the trainer trains."""

from collections.abc import Callable
from typing import Any

from fastact._adapters.attachment import Attachment, Run
from fastact.monitor.gathering import Gather
from fastact.monitor.monitor import ActivationMonitor
from fastact.torch import Watch, watch


class WatchingCallback:
    """Watches a model from `begin` to `close`; a trainer's callback derives from it, calls them, and has its arguments.

    `options` are those of `fastact.torch.watch`.
    """

    def __init__(
        self, run: Run, *, overwrite: bool = False, gather: Gather | None = None, strict: bool = False, **options: Any
    ) -> None:
        super().__init__()
        owner = f"{type(self).__module__}.{type(self).__qualname__}"
        self._attachment = Attachment(owner, run, strict=strict, overwrite=overwrite)
        self._attachment.gather = gather
        self._options = options
        self._watch: Watch | None = None

    @property
    def monitor(self) -> ActivationMonitor:
        """The monitor; it still diagnoses after the training has ended."""
        return self._attachment.monitor

    @property
    def failures(self) -> int:
        """How often something went wrong; the first failure was warned of."""
        return self._attachment.failure_counter.failures + (self._watch.failures if self._watch else 0)

    def begin(self, model: Any, when: Callable[[], bool], rank: int, ranks: int, start_step: int = 0) -> None:
        """Opens the log of this process and sets the hooks, which record only while `when` is true.

        `start_step` is how many steps the trainer has taken: above 0 it goes on with the run's last session.
        """
        self.close()  # in case the last training failed
        attachment = self._attachment
        attachment.open(rank, ranks, start_step)
        attachment.when = when
        with attachment.failure_counter("watch the model"):
            self._watch = watch(model, attachment, strict=attachment.failure_counter.strict, **self._options)
            # The trainer says what belongs to the training, whatever mode it finds or leaves the model in.
            self._watch._home = None

    def told_loss(self, value: Any) -> None:
        """Records the loss that the trainer tells of a batch, where none was seen that was computed from the model."""
        watch, attachment = self._watch, self._attachment
        if watch is None or value is None or watch._losses.found or self._options.get("loss") is False:
            return
        with attachment.failure_counter("record the loss"):
            if watch._due():
                attachment.record_loss(value, facts={"framework": "torch"})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_watch": None}  # a copy of the callback watches nothing yet

    def close(self) -> None:
        """Takes the hooks off and closes the log. Calling it again is harmless."""
        if self._watch is not None:
            self._watch.remove()
        self._attachment.close()
