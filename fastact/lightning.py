"""Watches a Lightning training: one callback.

    import fastact.lightning

    trainer = lightning.Trainer(callbacks=[fastact.lightning.ActivationCallback("runs/a")])
    trainer.fit(module, loader)

A training to run: scripts/examples/lightning_digits.py.
"""

from typing import Any

from fastact._adapters.attachment import Run
from fastact.errors import MissingExtraError
from fastact.torch.callback import WatchingCallback

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


class ActivationCallback(WatchingCallback, Callback):  # type: ignore[misc] # mypy does not follow Lightning
    """Records what the layers of a `LightningModule` give in each training step.

    Args:
        run: an `ActivationMonitor`; or the path of a log, opened when the training starts and closed when it ends.
            With several processes each writes its own ``rank-00000`` and so on there; `fastact.open_log` reads all.
        strict: raise what goes wrong; by default it is counted and warned of once.
        options: for `fastact.torch.watch`: ``layers``, ``inputs``, ``gradients``, ``every``, ``first``.

    A step is one of the optimizer's: batches whose gradients are accumulated make one row. Validation and the sanity
    check are left out. A training that fails or is interrupted closes the log, too.

    Raises:
        ArgumentTypeError: `run` is neither a monitor nor a path.
    """

    def __init__(self, run: Run, *, strict: bool = False, **options: Any) -> None:
        super().__init__(run, strict=strict, **options)
        self._global_step = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Opens the log and sets the hooks."""
        self._global_step = trainer.global_step
        self.begin(pl_module, lambda: bool(trainer.training), trainer.global_rank, trainer.world_size)

    def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        """Ends the step, if the optimizer has made one."""
        if trainer.global_step != self._global_step:
            self._global_step = trainer.global_step
            self._attachment.step()

    def on_train_end(self, *_: Any) -> None:
        """Takes the hooks off and closes the log."""
        self.close()

    def on_exception(self, *_: Any) -> None:
        """Does so when the training fails or is interrupted, too."""
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        # Lightning gives a callback these methods of the module, with which a copy would take the whole module along.
        return {name: value for name, value in super().__getstate__().items() if name not in {"log", "log_dict"}}
