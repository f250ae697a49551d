"""`Gather`: rows of all ranks to rank 0 by torch.distributed, beside the training."""

import datetime as dt
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from fastact.checks import check_integer, check_number, check_text

Bytes = npt.NDArray[np.uint8]


class Gather:
    """Gathers the rows of all ranks while they train, for `fastact.ActivationMonitor(gather=...)`.

    Every rank makes one, and a monitor with it, after ``torch.distributed.init_process_group``: this makes a process
    group of its own (gloo, on the CPU), whatever the training uses, so that nothing waits on a device. A thread takes
    part in one gather and one broadcast for each exchange; on several machines first within each, then between them.
    Without `torch.distributed`, or with one process, there is nothing to gather, and the monitor works as without.

    Args:
        every: recorded steps from one exchange to the next.
        only_last: send the rows of the last of these steps alone: with many ranks a fraction of the bytes, but on which
            rank something began may then be gone already. By default all rows are sent, some 200 bytes each, and the
            diagnosis of rank 0 is that of the ranks' logs.
        timeout: seconds that an exchange may take, before it is given up, and no more are made; by default the limit of
            PyTorch's process groups.
        node: the name of this machine; by default its host name.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument is unusable.

    Example:
        >>> import fastact
        >>> with fastact.ActivationMonitor(gather=Gather(every=10), on_finding="stop") as monitor:
        ...     monitor.should_stop  # becomes true on all ranks in the same step
        False
    """

    def __init__(
        self, every: int = 10, *, only_last: bool = False, timeout: float | None = None, node: str | None = None
    ) -> None:
        self.every = check_integer("every", every, 1)
        self.only_last = bool(only_last)
        if timeout is not None:
            check_number("timeout", timeout, 0.1, 1e9, words="a number of seconds", unit="seconds", types=(int, float))
        self._timeout = None if timeout is None else dt.timedelta(seconds=timeout)
        if node is not None:
            check_text("node", node, 200)
        self._node = socket.gethostname() if node is None else node
        self.rank, self.ranks = 0, 1
        self._all: Any = None
        #: Of each machine its ranks, rising, the machine of rank 0 first; one entry where the machines do not matter.
        self._nodes: list[list[int]] = []
        self._of_node: Any = None
        self._leaders: Any = None

    def connect(self) -> None:
        """Makes the process groups: every rank calls it, when its monitor is made."""
        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
            return
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        self._all = self._group(list(range(self.ranks)))
        names: list[Any] = [None] * self.ranks
        dist.all_gather_object(names, self._node, group=self._all)
        found: dict[str, list[int]] = {}
        for rank, name in enumerate(names):
            found.setdefault(name, []).append(rank)
        self._nodes = list(found.values())
        if 1 < len(self._nodes) < self.ranks:
            mine = next(ranks for ranks in self._nodes if self.rank in ranks)
            if len(mine) > 1:
                self._of_node = self._group(mine)
            if mine[0] == self.rank:
                self._leaders = self._group([ranks[0] for ranks in self._nodes])
        else:
            self._nodes = []

    def _group(self, ranks: list[int]) -> Any:
        return dist.new_group(ranks, timeout=self._timeout, backend="gloo", use_local_synchronization=True)

    def gather(self, part: Bytes) -> Sequence[Bytes] | None:
        """Brings parts of one length to rank 0, in the order of ranks; see `fastact.monitor.gathering.Gather`."""
        if not self._nodes:
            return _gathered(torch.from_numpy(part), self._all, self.ranks, at=0, here=self.rank == 0)
        mine = next(ranks for ranks in self._nodes if self.rank in ranks)
        parts: Sequence[Bytes] | None = [part]
        if self._of_node is not None:
            parts = _gathered(torch.from_numpy(part), self._of_node, len(mine), at=mine[0], here=mine[0] == self.rank)
        if self._leaders is None or parts is None:
            return None
        most = max(map(len, self._nodes))
        joined = np.zeros((most, len(part)), np.uint8)
        joined[: len(parts)] = parts
        found = _gathered(torch.from_numpy(joined), self._leaders, len(self._nodes), at=0, here=self.rank == 0)
        if found is None:
            return None
        ordered: list[Bytes] = [part] * self.ranks
        for ranks, of_node in zip(self._nodes, found, strict=True):
            for place, rank in enumerate(ranks):
                ordered[rank] = of_node[place]
        return ordered

    def broadcast(self, message: Bytes) -> Bytes:
        """Brings rank 0's message to all; see `fastact.monitor.gathering.Gather`."""
        tensor = torch.from_numpy(message)
        if not self._nodes:
            dist.broadcast(tensor, 0, group=self._all)
            return message
        if self._leaders is not None:
            dist.broadcast(tensor, 0, group=self._leaders)
        if self._of_node is not None:
            mine = next(ranks for ranks in self._nodes if self.rank in ranks)
            dist.broadcast(tensor, mine[0], group=self._of_node)
        return message


def _gathered(part: torch.Tensor, group: Any, count: int, *, at: int, here: bool) -> Sequence[Bytes] | None:
    """The parts of a group's ranks at one of them; None at the others."""
    into = [torch.empty_like(part) for _ in range(count)] if here else None
    dist.gather(part, into, dst=at, group=group)
    return None if into is None else [each.numpy() for each in into]
