"""Watches a training by the Hugging Face Trainer: one callback.

    import fastact.huggingface

    trainer = transformers.Trainer(model, ..., callbacks=[fastact.huggingface.ActivationCallback("runs/a")])
    trainer.train()

A training to run: scripts/examples/huggingface_digits.py.
"""

from typing import Any

from fastact.packages import needs_extra
from fastact.torch.callback import WatchingCallback

with needs_extra("fastact.huggingface", "Transformers", "transformers"):
    from transformers import TrainerCallback

__all__ = ["ActivationCallback"]


class ActivationCallback(WatchingCallback, TrainerCallback):  # type: ignore[misc] # mypy does not follow Transformers
    """Records the outputs of the layers of the Trainer's model in each training step.

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
    itself, with the logits and the summary of the labels that it was given. Evaluation is left out.
    Where the Trainer resumes from a checkpoint, the run at the path is resumed, too.
    The Trainer does not tell its callbacks that a training failed: call `close` then, or train again.

    Raises:
        ArgumentTypeError: `run` is neither a monitor nor a path.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:
        """Opens the log and sets the hooks."""
        # The Trainer puts the whole model into training mode at each step, and into evaluation mode to evaluate.
        self.begin(model, lambda: bool(model.training), args.process_index, args.world_size, state.global_step)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Ends the step."""
        self._attachment.step()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Takes the hooks off and closes the log."""
        self.close()
