"""Watches a PyTorch model: hooks that hand every layer's output to a monitor, and change nothing.

The hooks only read. They return nothing, so outputs, gradients, the state_dict and the training mode are what they
would be without them, and a failure inside one is counted and warned of once instead of ending the training.

`choose` says which modules are watched and by which names, `layers` what a module's type tells, `op` how compiled
code calls back, and `hooks` does the watching.
"""

from fastact.errors import MissingExtraError

try:
    import torch as _torch  # noqa: F401 - asked for here, so that the error below comes once
except ModuleNotFoundError as error:  # pragma: no cover - the tests need torch; a subprocess test takes this branch
    if error.name != "torch":
        raise
    raise MissingExtraError("fastact.torch needs PyTorch: pip install 'fastact[torch]'") from error

from fastact.torch.choose import Layers
from fastact.torch.hooks import Recorder, Watch, watch

__all__ = ["Layers", "Recorder", "Watch", "watch"]
