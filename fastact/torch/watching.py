"""`watch`: which layers are recorded, in which steps, and until when."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from fastact._adapters.drawing import checked_share
from fastact.checks import check_type
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.monitor.monitor import ActivationMonitor
from fastact.torch import criteria
from fastact.torch.criteria import Loss
from fastact.torch.drawn import Draws
from fastact.torch.handle import Watch, live
from fastact.torch.hooks import Hook
from fastact.torch.losses import Losses
from fastact.torch.monitoring import Gradients, MonitorLike, of_outputs, recorded_steps
from fastact.torch.parameters import attach_parameters
from fastact.torch.scopes import attach_scopes
from fastact.torch.selection import Layers, select_modules


def watch(
    model: nn.Module,
    monitor: MonitorLike,
    *,
    layers: Layers | None = None,
    inputs: bool | None = None,
    weights: bool = False,
    gradients: Gradients = False,
    updates: bool = False,
    parameters_every: int = 10,
    functional: bool = True,
    loss: Loss | None = None,
    every: int | Callable[[int], bool] = 1,
    first: int = 0,
    sample: float = 1.0,
    training_only: bool = False,
    sparse: str | Iterable[str] = (),
    prefix: str = "",
    strict: bool = False,
) -> Watch:
    """Records the outputs of a model's layers into `monitor` at every forward pass, until the end of the ``with``.

    Args:
        model: the model. Its layers are named as in ``model.named_modules()``, without the names that `torch.compile`,
            DDP, DataParallel, FSDP and checkpoint wrappers add. The model itself, where it is a layer or is chosen,
            goes by its class name. A module with several names is recorded under the first.
        monitor: an `ActivationMonitor`. Call its ``step()`` at the end of each training step: all outputs of a layer
            between two calls, however many, make one row.
        layers: what to watch. None: every leaf module that computes something, and `MultiheadAttention` as a whole.
            A string: the modules whose name matches this `fnmatch` pattern, such as ``"encoder.*"``. A type: its
            instances. An iterable of these: their union. A function: the modules for which ``layers(name, module)``
            is true.
        inputs: None: what the model itself is given is recorded as ``"input"`` (``"input[1]"``, ``"input['image']"``).
            True: also the inputs of each layer, as they are before it runs, under its name and ``":input"``
            (``":input[1]"`` where it has several). False: neither. The model's masks are left out.
        weights: also record each parameter, under its name of ``named_parameters()``, as it is before an optimiser's
            step (after it where the step is given a closure); per unit of its layer, but for embeddings.
        gradients: also record the gradient of the loss by each output, when the backward pass reaches it (not within
            compiled code), and by each parameter, as the optimiser gets it: accumulated, unscaled, clipped. They go by
            the output's or the parameter's name and ``":grad"``. ``"outputs"`` or ``"parameters"``: these alone.
        updates: also record what an optimiser's step adds to each parameter, under its name and ``":update"``. Of more
            than 4096 elements some 2048 are compared, evenly spaced and always the same: zeros there say that none of
            these has changed.
        parameters_every: with any of these, parameters and optimisers are recorded in one of so many of the recorded
            steps in which an optimiser steps, beginning with the first.
        functional: also record activations that a watched module calls as functions, such as `F.relu`, `torch.softmax`
            or `F.scaled_dot_product_attention`, under its name and theirs: ``"block3.relu"``, or ``"relu"`` in the
            model itself. Their type is that of the module which does the same.
        loss: which losses are recorded, with summaries of their targets, as `ActivationMonitor.record_loss` has them.
            None: whatever loss is computed from the model's outputs, by a criterion such as `nn.CrossEntropyLoss`, by a
            function such as `F.cross_entropy`, or by hand: whatever the backward pass begins with. True: the same, and
            it is told if there is none. A criterion (`nn.Module`), or one of PyTorch's loss functions: calls of this
            one alone. Several of these, or a mapping of names to them. False: none.
        every: record the monitor's steps that are divisible by this number, or those for which ``every(step)`` is
            true, which is asked once, when a step begins. The monitor's own ``every`` also holds. Where neither this
            nor `training_only` is given, a pass in evaluation mode is recorded in any step: the first one after each
            call of ``step()``, and with it what else its step has; not in a run of several ranks.
        first: record each of this many first steps, whatever `every` says, and all samples of them.
        sample: the share of the samples that is swept, such as 0.1: whole samples, drawn without bias from all of the
            batch, the same ones in all layers of a pass, and others in each step until all places of the batch had
            their turn. Rows say how many elements were left out (``left_out``), and counts are of those that were
            swept (`fastact.estimates`). At least 8 samples are drawn, in fewer steps if need be, and a batch of less
            than 16 is taken whole: with 0.1, one of 8 in one of ten steps. Samples are along the first axis of what the
            model is given; losses, targets and parameters are never drawn from.
        training_only: leave out modules that are not in training mode.
        sparse: layers whose neurons fire seldom by design, such as the features of a sparse autoencoder: it takes ten
            times the samples to call one of them dead. A name or an `fnmatch` pattern, or several: ``"*.features"``.
        prefix: goes before all names, to tell the layers of several models apart: ``"g."`` and ``"d."``.
        strict: raise what goes wrong, to find out about it; by default it is counted and warned of once.

    Returns:
        A `Watch`: a context manager, and also a handle whose ``remove()`` ends it. The hooks are on when `watch`
        returns.

    Tensors inside a tuple, list, dict or dataclass are recorded under the module's name followed by their place, such
    as ``"lstm[0]"`` or ``"head['logits']"``; integers and anything but a tensor are left out. Of complex numbers both
    parts are recorded, of sparse tensors what they store, of quantised ones what they stand for. Each layer is swept
    per neuron along the axis that its type implies: the last one for Linear, LayerNorm, RNN, Embedding and attention,
    the channel axis for convolutions and the other norms. A module of any other type takes the axis of the layer that
    ran before it if both outputs have the same number of axes; otherwise 2-D and 3-D outputs have their neurons on the
    last axis and larger ones on axis 1. Outputs with fewer than two axes have no neurons.

    A forward pass begins with the outermost module that is called: the model, or one of its parts where these are
    called by themselves, whose inputs are recorded as ``"encoder.input"`` then (of a single layer only data, not what
    the model has computed). A layer, or function, that is called in several places of one pass has a row for each:
    ``"act"``, ``"act:2"``, up to ``"act:8"``, which has all further calls; recurrent cells have one row. Several passes
    in one step are merged, place by place. Where the model is in another mode than when `watch` was called, rows go by
    the layer's name and ``":eval"`` (``":train"`` for a model that was in evaluation), so that a validation pass
    between two steps does not end up in the rows of the training.

    The loss is in the row ``"loss"``, or one of the name that was given. Where the backward pass begins with a sum of
    losses, ``"loss"`` is the sum, and its terms are ``"loss:cross_entropy"``, ``"loss:mse_loss"`` and so on; factors of
    a `GradScaler` are left out. Another line of the program that computes a loss has rows of its own, such as
    ``"loss:2"``; calls of one line are merged, as those of accumulated gradients are, unless they follow one and the
    same pass. What is computed while the model is in evaluation mode goes by ``"loss:eval"``. A loss that needs no
    gradient is none while the model trains. To see losses that the training loop computes, PyTorch tells us of each
    call of its functions from the end of a recorded pass until the backward pass begins, and no longer; without
    ``loss=True``, not after three passes that no loss follows, nor while there is an `nn.MultiheadAttention` in
    evaluation outside of the model, such as a teacher's, which rounds otherwise then. Losses that compiled code
    computes after the model are seen where the criterion is given. Of predictions on a GPU the first batch is looked at
    on the host, of targets the first ten.

    Forward passes that activation checkpointing repeats are recorded once. Copies of the model (``copy.deepcopy``,
    pickle) and forked processes (DataLoader workers) are not watched. With `torch.compile`, call `watch` before the
    first compiled forward pass, since compiled code has only the hooks that were there when it was compiled; no graph
    is broken, and nothing is compiled again from step to step. Within `torch.vmap` a layer's row covers all samples
    together.

    Optimisers are found by themselves, where losses or parameters are recorded. Each has a row ``"optimiser"`` (a
    second one ``"optimiser:2"``) with its learning rates, whose facts say which parameters that require a gradient no
    optimiser holds. Of several steps of one optimiser between two calls of ``step()`` the first counts; steps in
    compiled code or a CUDA graph are not seen.

    What is watched and not recorded is told: a layer that never ran, or was called as ``.forward()``, an output that
    cannot be swept, hooks that compiled code ignores. ``monitor.unseen`` has the reasons by name, the diagnosis lists
    them, and one warning says so while the model trains.

    Raises:
        ArgumentTypeError: `model` is no `nn.Module` (or a TorchScript one, whose layers run outside of Python),
            `monitor` has no ``record``, or another argument has the wrong type.
        ArgumentValueError: a pattern or type matches nothing, this monitor already watches one of the layers, or a
            layer of another model that has the same name, or `every` or `first` is out of range.

    Example:
        >>> import torch, fastact, fastact.torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
        >>> with fastact.ActivationMonitor() as monitor:
        ...     with fastact.torch.watch(model, monitor):
        ...         _ = model(torch.ones(8, 4))
        ...         monitor.step()
        ...     print([(name, int(layer["count"][-1])) for name, layer in monitor.history.items()])
        [('input', 32), ('0', 24), ('1', 24)]
    """
    check_type("model", model, nn.Module, "a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise ArgumentTypeError("model: got a TorchScript module, want one whose layers run in Python")
    if not (callable(getattr(monitor, "record", None)) and hasattr(monitor, "active")):
        raise ArgumentTypeError(f"monitor: got {type(monitor).__name__}, want a fastact.ActivationMonitor")
    plan = recorded_steps(every, first)
    if plan is not None and not hasattr(monitor, "current_step"):
        got = f"{type(monitor).__name__} without current_step"
        raise ArgumentTypeError(f"monitor: got {got}, want one that counts steps, or every=1")
    check_type("prefix", prefix, str, "a str")
    patterns = [sparse] if isinstance(sparse, str) else list(sparse)
    if patterns:
        check_type("monitor", monitor, ActivationMonitor, "an ActivationMonitor, as sparse is given")
        assert isinstance(monitor, ActivationMonitor)
        monitor.declare_sparse(*(prefix + check_type("sparse", pattern, str, "a str") for pattern in patterns))
    share = checked_share(sample)
    losses = criteria.named(loss)
    selected = {module: prefix + name for module, name in select_modules(model, layers, losses.values()).items()}
    for other in live:
        other._unpark()
    for module, name in selected.items():
        if any(isinstance(h, Hook) and h.name and h.watch.monitor is monitor for h in module._forward_hooks.values()):
            hint = "to watch it anew, end the first watch: handle.remove()"
            raise ArgumentValueError(f"model: layer {name!r} is watched by this monitor already; {hint}")
    handle = Watch(
        monitor,
        tuple(selected.values()),
        plan,
        home=model.training,
        prefix=prefix,
        training_only=training_only,
        strict=strict,
    )
    if share < 1.0:
        if handle.by_record:
            raise ArgumentTypeError(
                f"monitor: got {type(monitor).__name__}, want an ActivationMonitor, as sample is given"
            )
        handle._draws = Draws(share, first)
    handle._losses = Losses(handle, model, loss, losses)
    if add := getattr(monitor, "add_watcher", None):
        add(handle)
    if on_release := getattr(monitor, "on_release", None):
        on_release(handle.remove)
    others = (other for other in live if other.monitor is monitor and other.prefix == prefix)
    if next(others, None) is not None:
        handle._root_name = type(model).__name__
    outputs = of_outputs(gradients)
    handle._attach(model, selected, inputs=bool(inputs), gradients=outputs)
    chosen = layers is not None
    handle._parameters = attach_parameters(
        handle, model, selected if chosen else None, weights=weights, gradients=gradients, updates=updates,
        every=parameters_every, first=first, losses=loss is not False
    )  # fmt: skip
    attach_scopes(handle, model, selected, chosen=chosen, inputs=inputs, gradients=outputs, functional=functional)
    live.add(handle)
    return handle
