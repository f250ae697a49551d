"""Watches a Lightning training: one callback.

    import fastact.lightning

    trainer = lightning.Trainer(callbacks=[fastact.lightning.ActivationCallback("runs/a")])
    trainer.fit(module, loader)

A training to run: scripts/examples/lightning_digits.py.
"""

from collections.abc import Mapping
from typing import Any

from fastact._adapters.attachment import Run
from fastact.monitor.gathering import Gather
from fastact.packages import needs_extra
from fastact.torch.callback import WatchingCallback

with needs_extra("fastact.lightning", "Lightning", "pytorch_lightning"):
    try:
        from lightning.pytorch import Callback
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "lightning":
            raise
        from pytorch_lightning import Callback  # the older name of the package

__all__ = ["ActivationCallback"]


class ActivationCallback(WatchingCallback, Callback):  # type: ignore[misc] # mypy does not follow Lightning
    """Records the outputs of the layers of a `LightningModule` in each training step.

    Args:
        run: an `ActivationMonitor`; or the path of a log, opened when the training starts and closed when it ends.
            With several processes each writes its own ``rank-00000`` and so on there; `fastact.open_log` reads all.
        overwrite: where `run` is a path, remove the run that is there first.
        gather: where `run` is a path and there are several processes, how their rows come to rank 0 while they train:
            `fastact.torch.Gather`.
        strict: raise what goes wrong; by default it is counted and warned of once.
        options: for `fastact.torch.watch`: ``layers``, ``inputs``, ``gradients``, ``loss``, ``every``, ``first``,
            ``sample``.

    A step is a step of the optimizer: batches whose gradients are accumulated make one row. The loss is recorded by
    itself, with what it was given. Validation and the sanity check are left out, and what runs in hooks,
    such as a look at some samples in ``on_train_batch_end``. What ``training_step`` computes counts, in whatever mode
    the modules are: an evaluation there ends up in the same rows, unless it is in a hook. The log is also closed when
    the training fails or is interrupted. Where the trainer resumes from a checkpoint, the run at the path is resumed,
    too.

    Raises:
        ArgumentTypeError: `run` is neither a monitor nor a path.
    """

    def __init__(
        self, run: Run, *, overwrite: bool = False, gather: Gather | None = None, strict: bool = False, **options: Any
    ) -> None:
        super().__init__(run, overwrite=overwrite, gather=gather, strict=strict, **options)
        self._global_step = 0
        #: Whether the loss is being told, in a hook of ours.
        self._telling = False

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Opens the log and sets the hooks."""
        self._global_step = trainer.global_step

        def trains() -> bool:
            # In hooks, its own and those of other callbacks, a module is looked at and not trained; `training_step`,
            # `backward` and `optimizer_step` are none. Of one that does not say what runs, all counts.
            hook = getattr(pl_module, "_current_fx_name", None) or ""
            return bool(trainer.training) and (self._telling or not hook.startswith("on_"))

        self.begin(pl_module, trains, trainer.global_rank, trainer.world_size, trainer.global_step)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any, **__: Any) -> None:
        """Ends the step, if the optimizer has taken one."""
        self._telling = True
        try:
            self.told_loss(outputs.get("loss") if isinstance(outputs, Mapping) else outputs)
        finally:
            self._telling = False
        if trainer.global_step != self._global_step:
            self._global_step = trainer.global_step
            self._attachment.step()

    def on_train_end(self, *_: Any) -> None:
        """Takes the hooks off and closes the log."""
        self.close()

    def on_exception(self, *_: Any) -> None:
        """Takes the hooks off and closes the log when the training fails or is interrupted."""
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        # Lightning sets these methods of the module on the callback, and a copy with them would contain the module.
        return {name: value for name, value in super().__getstate__().items() if name not in {"log", "log_dict"}}
