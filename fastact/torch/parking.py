"""Hooks that are taken off while a step is not recorded: a module that has some costs microseconds, whatever they do.

The monitor tells when another step begins. Nothing is changed that another thread may be going through:
a module gets its own, empty table of hooks meanwhile. Modules that somebody else has hooked too are left as they are,
and so is everything as soon as something was compiled, since compiled code has the hooks that were there then.
"""

import weakref
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

from torch import nn

from fastact.torch.compiled import compilations

_TABLES: Final = ("_forward_hooks", "_forward_pre_hooks")


class Parking:
    """The hooks of one `Watch`, which are on at first.

    Attributes:
        off: whether some are off.
    """

    def __init__(self) -> None:
        self.off = False
        #: Modules and their tables of so many hooks that can be taken off; None before they were looked for.
        self._places: list[tuple[weakref.ref[nn.Module], str, OrderedDict[int, Any], int]] | None = None
        #: Of those that are off the empty tables in their place.
        self._empty: list[OrderedDict[int, Any]] = []
        #: What is in one of these tables meanwhile: which of the places, under which number.
        self._sentinel: tuple[int, int, Any] | None = None
        #: Tables of somebody else's that have some of ours.
        self._shared: list[tuple[weakref.ref[nn.Module], str, tuple[int, ...]]] = []

    def find(self, model: nn.Module, own: Iterable[int], sentinel: Any = None) -> None:
        """Looks for the hooks of a model, by their numbers; the `sentinel` stands for those before its passes."""
        ours, self._sentinel = set(own), None
        self._places = [
            (weakref.ref(module), name, table, len(table))
            for module in model.modules()
            if "_forward_hooks" in module.__dict__
            for name in _TABLES
            if (table := module.__dict__[name]) and ours.issuperset(table)
        ]
        for at, (found, name, table, _) in enumerate(self._places):
            numbers = [number for number in table if number in model._forward_pre_hooks_with_kwargs]
            if sentinel is not None and name == "_forward_pre_hooks" and found() is model and numbers:
                self._sentinel = at, numbers[0], sentinel  # this number's hook is given all arguments

    @property
    def found(self) -> bool:
        """Whether hooks were looked for."""
        return self._places is not None

    def park(self) -> None:
        """Takes the hooks off."""
        if self.off or not self._places or compilations():
            return
        self.off = True
        if len(self._empty) != len(self._places) or any(self._empty):
            self._empty = [OrderedDict() for _ in self._places]
        if self._sentinel is not None:
            at, number, sentinel = self._sentinel
            self._empty[at][number] = sentinel
        for (module, name, table, count), empty in zip(self._places, self._empty, strict=True):
            found = module()
            if found is not None and found.__dict__[name] is table and len(table) == count:
                found.__dict__[name] = empty

    def unpark(self) -> None:
        """Brings them back."""
        if not self.off:
            return
        self.off = False
        if self._sentinel is not None:
            self._empty[self._sentinel[0]].pop(self._sentinel[1], None)
        for (module, name, table, _), empty in zip(self._places or (), self._empty, strict=True):
            if (found := module()) is None or found.__dict__[name] is not empty:
                continue
            if empty:  # somebody has hooked the module meanwhile, and holds on to this table
                empty.update(table)
                self._shared.append((module, name, tuple(table)))
                self._places = None  # to be looked for again, and found hooked by others
            else:
                found.__dict__[name] = table

    def end(self) -> None:
        """Brings all back, for those to take them off who put them on, but for what nobody else would find."""
        self.unpark()
        for module, name, numbers in self._shared:
            if (found := module()) is not None:
                for number in numbers:
                    found.__dict__[name].pop(number, None)
        self._places, self._shared = [], []
