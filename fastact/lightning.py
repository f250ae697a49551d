"""Watches a Lightning training: one callback.

    import fastact.lightning

    trainer = lightning.Trainer(callbacks=[fastact.lightning.ActivationCallback("runs/a")])
    trainer.fit(module, loader)

A training to run: scripts/examples/lightning_digits.py.
"""

from typing import Any

from fastact.adapter import Attachment, Run
from fastact.errors import MissingExtraError
from fastact.monitor import ActivationMonitor
from fastact.torch import Watch, watch

try:
    try:
        from lightning.pytorch import Callback
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "lightning":
            raise
        # The same under its older name.
        from pytorch_lightning import Callback
except ModuleNotFoundError as error:  # pragma: no cover - the tests need it; a subprocess test takes this branch
    if error.name != "pytorch_lightning":
        raise
    raise MissingExtraError("fastact.lightning needs Lightning: pip install 'fastact[lightning]'") from error

__all__ = ["ActivationCallback"]


class ActivationCallback(Callback):  # type: ignore[misc] # mypy does not follow Lightning
    """Records what the layers of a `LightningModule` give in each training step.

    Args:
        run: an `ActivationMonitor`; or the path of a log, opened when the training starts and closed when it ends.
            With several processes each writes its own ``rank-00000`` and so on there; `fastact.open_log` reads all.
        strict: raise what goes wrong; by default it is counted and warned of once.
        options: for `fastact.torch.watch`: ``layers``, ``inputs``, ``gradients``, ``every``, ``first``.

    A step is one of the optimizer's: batches whose gradients are accumulated make one row. Validation and the sanity
    check are left out.

    Raises:
        ArgumentTypeError: `run` is neither a monitor nor a path.
    """

    def __init__(self, run: Run, *, strict: bool = False, **options: Any) -> None:
        super().__init__()
        self._attachment = Attachment("fastact.lightning.ActivationCallback", run, strict=strict)
        self._options = options
        self._watch: Watch | None = None
        self._global_step = 0

    @property
    def monitor(self) -> ActivationMonitor:
        """The monitor; it still diagnoses after the training has ended."""
        return self._attachment.monitor

    @property
    def failures(self) -> int:
        """How often something went wrong; the first time was warned of."""
        return self._attachment.guard.failures + (self._watch.failures if self._watch else 0)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Opens the log and sets the hooks."""
        attachment = self._attachment
        attachment.open(trainer.global_rank, trainer.world_size)
        attachment.when = lambda: bool(trainer.training)
        self._global_step = trainer.global_step
        with attachment.guard("watch the model"):
            self._watch = watch(pl_module, attachment, strict=attachment.guard.strict, **self._options)

    def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        """Ends the step, if the optimizer has made one."""
        if trainer.global_step != self._global_step:
            self._global_step = trainer.global_step
            self._attachment.step()

    def on_train_end(self, *_: Any) -> None:
        """Takes the hooks off and closes the log."""
        if self._watch is not None:
            self._watch.remove()
        self._attachment.close()

    def on_exception(self, *_: Any) -> None:
        """Does so when the training fails or is interrupted, too."""
        self.on_train_end()
