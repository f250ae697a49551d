"""Watches a training by the Hugging Face Trainer: one callback.

    import fastact.huggingface

    trainer = transformers.Trainer(model, ..., callbacks=[fastact.huggingface.ActivationCallback("runs/a")])
    trainer.train()

A training to run: scripts/examples/huggingface_digits.py.
"""

from typing import Any

from fastact.errors import MissingExtraError
from fastact.torch.callback import WatchingCallback

try:
    from transformers import TrainerCallback
except ModuleNotFoundError as error:  # pragma: no cover - the tests need it; a subprocess test takes this branch
    if error.name != "transformers":
        raise
    raise MissingExtraError("fastact.huggingface needs Transformers: pip install 'fastact[huggingface]'") from error

__all__ = ["ActivationCallback"]


class ActivationCallback(WatchingCallback, TrainerCallback):  # type: ignore[misc] # mypy does not follow Transformers
    """Records what the layers of the Trainer's model give in each training step.

    Args:
        run: an `ActivationMonitor`; or the path of a log, opened when the training starts and closed when it ends.
            With several processes each writes its own ``rank-00000`` and so on there; `fastact.open_log` reads all.
        strict: raise what goes wrong; by default it is counted and warned of once.
        options: for `fastact.torch.watch`: ``layers``, ``inputs``, ``gradients``, ``every``, ``first``.

    A step is one of the optimizer's: batches whose gradients are accumulated make one row. Evaluation is left out.
    The Trainer does not tell its callbacks of a training that fails: call `close` then, or train again.

    Raises:
        ArgumentTypeError: `run` is neither a monitor nor a path.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:
        """Opens the log and sets the hooks."""
        # The Trainer puts the model as a whole in training mode at each step, and out of it to evaluate.
        self.begin(model, lambda: bool(model.training), args.process_index, args.world_size)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Ends the step."""
        self._attachment.step()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Takes the hooks off and closes the log."""
        self.close()
