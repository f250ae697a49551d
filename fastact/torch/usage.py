"""How often each row of a table is looked up: words of a vocabulary, codes of a codebook.

A table's output shows only the rows that were looked up, so codes that are never chosen are seen in the indices alone.
Counting costs some 10 µs a look-up. A row of the log has a neuron for each row of the table, 0.1 µs each, so the counts
of large tables are added up over several look-ups before they are recorded.

Who chose the indices decides what an unused row means. A quantiser computes them, by `argmin` over distances or the
like: codes that it never chooses are lost. Where the data brought them (tokens, categories, positions), rare rows are
rare by nature.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from fastact.diagnosis.layer_types import USAGE, USAGE_SUFFIX, VOCABULARY
from fastact.monitor.unseen import Missing
from fastact.torch.functional import CHOICE, LOOK_UP
from fastact.torch.hooks import Hook, Watching, backward_pass, transforming
from fastact.torch.passes import Passes
from fastact.torch.tensors import local_values

#: Rows of a table whose counts are recorded at each look-up; of one k times as large at every k-th: 0.1 ms a look-up.
EVERY_TIME: Final = 1024
#: Rows of the largest table that is counted.
MOST_ROWS: Final = 1 << 20
#: Choices that are remembered before those are forgotten whose memory is gone.
_MOST_CHOICES: Final = 64

#: The look-ups that check indices, as those of a subclass may not.
_FORWARD: Final[tuple[Callable[..., Any], ...]] = (nn.Embedding.forward, nn.EmbeddingBag.forward)


def is_table(module: nn.Module) -> bool:
    """Whether the module looks up rows of a table, by indices that are those of the rows."""
    return isinstance(module, nn.Embedding | nn.EmbeddingBag) and type(module).forward in _FORWARD


class TableWatching(Watching, Protocol):
    """What is needed of the `Watch` that a table belongs to."""

    _passes: Passes
    _tables: "Tables"

    def _inside(self, module: str, what: str, otherwise: str) -> str: ...


class Counter:
    """Counts look-ups of one table's rows, and records the counts under `name`."""

    def __init__(self, watch: TableWatching, name: str, rows: int) -> None:
        self.name = name + USAGE_SUFFIX
        self.rows = rows
        self._watch = watch
        #: Who chooses the rows: "Usage" or "Vocabulary"; "" before the first look-up.
        self.layer_type = ""
        self._counts = self._one = torch.zeros(0)
        #: Look-ups since the counts were recorded.
        self._times = 0

    @property
    def missing(self) -> Missing | None:
        """Why the table is not counted; None where it is."""
        if self.rows <= MOST_ROWS:
            return None
        return Missing(
            f"its table has {self.rows:,} rows, and look-ups of at most {MOST_ROWS:,} are counted", warn=False
        )

    def count(self, index: torch.Tensor) -> None:
        """Takes the indices of a look-up, none of them negative."""
        watch = self._watch
        if transforming() or backward_pass() != -1 or self.rows > MOST_ROWS:
            return
        passes = watch._passes
        if passes.outermost is not None and watch._mode(passes.training):
            return  # a validation uses other rows
        index = local_values(index.detach())
        if self._counts.numel() != self.rows or self._counts.device != index.device:
            # Outside of inference mode: what is made within cannot be changed after it.
            with torch.inference_mode(False):
                self._counts = torch.zeros(self.rows, device=index.device)
                self._one = torch.ones(1, device=index.device)
        self._counts.scatter_add_(0, index.reshape(-1).long(), self._one.expand(index.numel()))
        self._times += 1
        if self._times * EVERY_TIME >= self.rows:
            watch._record(self.name, self._counts[None], 1, self.layer_type)
            self._counts.zero_()
            self._times = 0


class UsageHook(Hook):
    """A forward hook of a table: counts how often each of its rows was looked up."""

    __slots__ = ("counter", "tables")
    suffix = USAGE_SUFFIX

    def __init__(self, watch: TableWatching, module: nn.Module, name: str) -> None:
        super().__init__(watch, module, name)
        self.tables = watch._tables
        rows: Any = module.num_embeddings
        self.counter = Counter(watch, name, rows)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        """Called by torch after the module's forward pass, which has checked the indices."""
        self.observe(module, args[0] if args else kwargs.get("input"))

    def _observe_tensor(self, x: torch.Tensor, place: str) -> None:
        counter, module = self.counter, self.module()
        if not counter.layer_type and module is not None:
            trained = any(each.requires_grad for each in module.parameters())
            counter.layer_type = USAGE if self.tables.choices.has(x, trained) else VOCABULARY
        counter.count(x)


class Choices:
    """The indices that a network has chosen, by the memory that they lie in, so that a view of them is known too."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[StorageWeakRef, bool]] = {}

    def add(self, args: tuple[Any, ...], result: Any) -> None:
        """Takes what a function that chooses has returned for `args`."""
        # The data may come as one-hot vectors, which have no gradient; quantisers often choose without one.
        computed = not torch.is_grad_enabled() or any(getattr(arg, "requires_grad", False) for arg in args[:1])
        for x in result if isinstance(result, tuple) else (result,):
            if type(x) is torch.Tensor and not x.is_floating_point():
                # While there is a reference, even a weak one, no other storage takes this address.
                storage = x.untyped_storage()
                self._found[int(storage._cdata)] = StorageWeakRef(storage), computed
        if len(self._found) > _MOST_CHOICES:
            self._found = {key: each for key, each in self._found.items() if not each[0].expired()}

    def has(self, index: torch.Tensor, trained: bool) -> bool:
        """Whether the network has chosen these indices for a look-up in a table that is `trained` or not."""
        found = self._found.get(int(index.untyped_storage()._cdata))
        return found is not None and (found[1] or not trained)


class Tables:
    """What functions tell of tables: which indices were chosen, and look-ups in a parameter or buffer of a module."""

    def __init__(self, watch: TableWatching) -> None:
        self.choices = Choices()
        self._watch = watch
        self._counters: dict[str, Counter] = {}

    def called(self, function: str, args: tuple[Any, ...], result: Any) -> None:
        """Takes the result of one of `functional.OF_TABLES`."""
        name = ""
        try:
            if function == CHOICE:
                self.choices.add(args, result)
            elif len(args) > 1:
                index, table = args[:2] if function == LOOK_UP else args[1::-1]
                plain = type(index) is torch.Tensor and index.dtype is torch.int64 and table.ndim > 1
                # What was not chosen is tokens, or the biases of relative positions.
                if plain and self.choices.has(index, table.requires_grad) and (name := self._name(table, function)):
                    self._looked_up(name, index, table)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            self._watch._failed(name + USAGE_SUFFIX, error)

    def _looked_up(self, name: str, index: torch.Tensor, table: torch.Tensor) -> None:
        counter = self._counters.get(name)
        if counter is None or counter.rows != len(table):
            counter = self._counters[name] = Counter(self._watch, name, len(table))
            counter.layer_type = USAGE
        counter.count(index.remainder(len(table)))  # a selection may count from the end

    def _name(self, table: torch.Tensor, function: str) -> str:
        """The name of a parameter or buffer of the module that runs; "" for any other tensor."""
        running = self._watch._passes.running
        module = running[-1].module() if running else None
        # The look-ups of an `nn.Embedding`, which come by here as well, are counted by its hook.
        if module is None or is_table(module):
            return ""
        inside = function != LOOK_UP
        memory = table.untyped_storage()._cdata
        for name, each in (*module.named_parameters(recurse=inside), *module.named_buffers(recurse=inside)):
            if each.untyped_storage()._cdata == memory:
                return self._watch._inside(running[-1].name, name, "").removesuffix(".weight")
        return ""
