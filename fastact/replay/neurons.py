"""Which neurons of a layer were dead, by what a log has kept of it."""

from collections.abc import Iterable

from fastact.checks import check_integer
from fastact.errors import ArgumentValueError
from fastact.log.reader import RunReader
from fastact.neurons import MOST_READ, Neurons, Snapshot, merged, thinned
from fastact.replay.layouts import places_of_groups
from fastact.text import shown

#: Snapshots by their steps, of each layer.
_OfLayers = dict[str, dict[int, Snapshot]]


class OfNeurons:
    """What `Log` knows of neurons."""

    ranks: tuple[int, ...]
    runs: dict[int, RunReader]

    def _check_rank(self, argument: str, rank: int) -> int:
        raise NotImplementedError

    def neurons(
        self, layer: str, *, from_step: int | None = None, to_step: int | None = None, rank: int | None = None
    ) -> Neurons:
        """Which neurons of a layer were dead or silent, at those of its steps of which the log has kept it.

        Of several ranks that saw parts of each batch a neuron is dead or silent where it was so on all of them; steps
        of which one of them has nothing are left out. Of more than 256 steps the older ones are thinned.

        Args:
            layer: the layer's name; of ranks of several groups with the group's name, as in a diagnosis.
            from_step: the first step to look at; from the start by default.
            to_step: the last step to look at, included; to the end by default.
            rank: the rank to look at; None merges all ranks.

        Raises:
            ArgumentTypeError, ArgumentValueError: an argument is unusable, or names what the log does not have.

        Example:
            >>> import tempfile, fastact
            >>> run = tempfile.mkdtemp()
            >>> with fastact.ActivationMonitor(run) as monitor:
            ...     for _ in range(20):
            ...         stats = monitor.record("act", memoryview(bytes([0, 1])), axis=-1, layer_type="ReLU")
            ...         monitor.step()
            >>> found = fastact.open_log(run).neurons("act")
            >>> found.silent_now.tolist(), found.steps.tolist()
            ([0], [9, 19])
        """
        for argument, step in (("from_step", from_step), ("to_step", to_step)):
            if step is not None:
                check_integer(argument, step, 0, 2**63 - 1)
        types = self._types(rank)
        if layer not in types:
            some = ", ".join(shown(name, 40) for name in list(types)[:20])
            more = f" and {len(types) - 20} more" if len(types) > 20 else ""
            raise ArgumentValueError(f"layer: got {layer!r}, want one of {some or 'those of a log with rows'}{more}")
        return self.neurons_of([layer], rank, from_step or 0, to_step)[0]

    def neurons_of(
        self, layers: Iterable[str], rank: int | None = None, first: int = 0, last: int | None = None
    ) -> list[Neurons]:
        """`neurons` of several layers, for which the log is gone through once; of a layer that it has not, nothing."""
        types = self._types(rank)
        wanted = {name: types[name] for name in layers if name in types}
        found: _OfLayers = {}
        for prefix, run in self._prefixed(rank):
            theirs = {prefix + info.name for info in run.layers} & wanted.keys()
            own: _OfLayers = {name: {} for name in theirs}
            for bare, each in run.snapshots():
                name = prefix + bare
                if name not in own or each.step < first or (last is not None and each.step > last):
                    continue
                if name not in found or each.step in found[name]:
                    own[name][each.step] = each
                    if len(own[name]) > 2 * MOST_READ:
                        own[name] = _by_step(thinned(_in_order(own[name]), MOST_READ))
            for name, steps in own.items():
                found[name] = _by_step(merged([found[name], steps])) if name in found else steps
        return [
            Neurons.of(name, layer_type, thinned(_in_order(found.get(name, {})), MOST_READ))
            for name, layer_type in wanted.items()
        ]

    def _prefixed(self, rank: int | None) -> list[tuple[str, RunReader]]:
        """The runs of a rank or of all, and what stands before the names of their layers."""
        runs = list(self.runs.values()) if rank is None else [self.runs[self._check_rank("rank", rank)]]
        groups = [run.metadata.get("group", "") for run in runs]
        apart = bool(places_of_groups(groups))
        return [(f"{group}/" if apart else "", run) for group, run in zip(groups, runs, strict=True)]

    def _types(self, rank: int | None) -> dict[str, str]:
        return {f"{prefix}{info.name}": info.layer_type for prefix, run in self._prefixed(rank) for info in run.layers}


def _in_order(steps: dict[int, Snapshot]) -> list[Snapshot]:
    return [steps[step] for step in sorted(steps)]


def _by_step(snapshots: Iterable[Snapshot]) -> dict[int, Snapshot]:
    return {each.step: each for each in snapshots}
