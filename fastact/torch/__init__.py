"""Watches a PyTorch model: hooks that hand every layer's output to a monitor and change nothing.

The hooks only read. They return nothing, so outputs, gradients, the state_dict and the training mode are what they
would be without them, and a failure inside one is counted and warned of once instead of ending the training.

- `watching`: `watch`
- `handle`: the `Watch` that it returns
- `monitoring`: what `watch` needs of a monitor, and in which steps it records
- `selection`: which modules are watched, and under which names
- `hooks`: what a hook does with an output, an input or a gradient
- `scopes`: the hooks around a module, which say where a forward pass begins and ends
- `passes`: what is counted and known in a forward pass, so that each place in it has a row
- `functional`: activations that are called as functions
- `losses`: which losses are recorded, and under which names
- `loss_hooks`: the hooks of criteria
- `loss_mode`: how a loss is seen that the training loop computes
- `criteria`: what a call of a loss function tells
- `layers`: what a module's type tells: its neuron axis and its layer type
- `tensors`: the tensors inside of an output
- `unseen`: why a hook has recorded nothing
- `parameters`: what is recorded of parameters, their gradients and updates
- `optimisers`: which optimisers step, and what they hold
- `usage`: how often each row of a table is looked up
- `compiled`: the operator by which compiled code calls back
- `gathering`: rows of all ranks to rank 0 while they train
- `callback`: what the callbacks of Lightning and Hugging Face share
"""

from fastact.packages import needs_extra

with needs_extra("fastact.torch", "PyTorch", "torch"):
    import torch as _torch  # noqa: F401 - imported here, so that a missing one is reported once

from fastact.torch.gathering import Gather
from fastact.torch.handle import Watch
from fastact.torch.monitoring import MonitorLike
from fastact.torch.selection import Layers
from fastact.torch.watching import watch

#: The older name of `MonitorLike`.
Recorder = MonitorLike

__all__ = ["Gather", "Layers", "MonitorLike", "Recorder", "Watch", "watch"]
