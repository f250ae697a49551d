"""Watches a training by the Hugging Face Trainer: one callback.

    import fastact.huggingface

    trainer = transformers.Trainer(model, ..., callbacks=[fastact.huggingface.ActivationCallback("runs/a")])
    trainer.train()

A training to run: scripts/examples/huggingface_digits.py.
"""

from typing import Any

from fastact.adapter import Attachment, Run
from fastact.errors import MissingExtraError
from fastact.monitor import ActivationMonitor
from fastact.torch import Watch, watch

try:
    from transformers import TrainerCallback
except ModuleNotFoundError as error:  # pragma: no cover - the tests need it; a subprocess test takes this branch
    if error.name != "transformers":
        raise
    raise MissingExtraError("fastact.huggingface needs Transformers: pip install 'fastact[huggingface]'") from error

__all__ = ["ActivationCallback"]


class ActivationCallback(TrainerCallback):  # type: ignore[misc] # mypy does not follow Transformers
    """Records what the layers of the Trainer's model give in each training step.

    Args:
        run: an `ActivationMonitor`; or the path of a log, opened when the training starts and closed when it ends.
            With several processes each writes its own ``rank-00000`` and so on there; `fastact.open_log` reads all.
        strict: raise what goes wrong; by default it is counted and warned of once.
        options: for `fastact.torch.watch`: ``layers``, ``inputs``, ``gradients``, ``every``, ``first``.

    A step is one of the optimizer's: batches whose gradients are accumulated make one row. Evaluation is left out.

    Raises:
        ArgumentTypeError: `run` is neither a monitor nor a path.
    """

    def __init__(self, run: Run, *, strict: bool = False, **options: Any) -> None:
        self._attachment = Attachment("fastact.huggingface.ActivationCallback", run, strict=strict)
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

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:
        """Opens the log and sets the hooks."""
        attachment = self._attachment
        attachment.open(args.process_index, args.world_size)
        # The Trainer puts the model as a whole in training mode at each step, and out of it to evaluate.
        attachment.when = lambda: bool(model.training)
        if self._watch is not None:  # of a training that failed
            self._watch.remove()
        with attachment.guard("watch the model"):
            self._watch = watch(model, attachment, strict=attachment.guard.strict, **self._options)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Ends the step."""
        self._attachment.step()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Takes the hooks off and closes the log."""
        if self._watch is not None:
            self._watch.remove()
        self._attachment.close()
