"""What takes the tensors of a model that runs on PyTorch, in place of the recorder of traced code."""

from typing import Any

from fastact._adapters.attachment import Attachment


class TorchRecorder:
    """Sweeps PyTorch tensors as soon as a layer returns them; has the methods of `fastact.jax.Recorder`."""

    failures = 0  # the attachment counts them

    def __init__(self, attachment: Attachment) -> None:
        from fastact.torch.hooks import backward_pass

        self._attachment = attachment
        self._backward_pass = backward_pass
        self._paused = False
        self.step = attachment.step

    def takes(self, x: Any) -> bool:
        """Whether the tensors of this moment are recorded."""
        # A model that is being built runs on shapes alone, and a rematerialised layer runs again in the backward pass.
        return self._attachment.active and not self._paused and x.device.type != "meta" and self._backward_pass() == -1

    def record(self, name: str, x: Any, /, *, axis: int | None, layer_type: str) -> None:
        """Records the output of a layer, in a moment that is recorded."""
        self._attachment.record(name, x.detach(), axis=axis, layer_type=layer_type)

    def record_loss(self, value: Any, **options: Any) -> None:
        """Records a loss; `options` are those of `ActivationMonitor.record_loss`."""
        if self.takes(value):
            self._attachment.monitor.record_loss(value, **options)

    def pause(self) -> None:
        """Records nothing until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Ends a `pause`."""
        self._paused = False
