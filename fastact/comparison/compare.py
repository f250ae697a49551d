"""`compare`: where two runs part beyond what their noise explains."""

import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fastact.comparison.noise import SUSTAINED, THRESHOLD, Comparer, Start
from fastact.comparison.pairs import in_pairs
from fastact.comparison.report import Comparison, LayerComparison, Parting
from fastact.comparison.seeds import Band, band_of
from fastact.comparison.sources import Run, Source, runs_in
from fastact.comparison.statistics import NAMES, unscaled
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.layer_types import OPTIMISER
from fastact.errors import ArgumentValueError
from fastact.history import LayerInfo
from fastact.replay.blocks import Block
from fastact.replay.frames import Progress
from fastact.text import shown


def compare(
    a: Run,
    b: Run,
    *,
    noise: str | os.PathLike[str] | Iterable[Run] | None = None,
    since: int | None = None,
    rank: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """The first layer and step at which two runs part beyond what their own noise explains, and what only one has.

    Rows of the same layer in the same step are compared, statistic by statistic, in forward order. A difference counts
    where it lasts for 8 rows and is more than these explain: how much either run's own numbers change from row to row,
    how far the runs have moved since their beginning, and what a layer of so few neurons differs by between two
    initialisations. Numbers that are not finite in one run alone, and learning
    rates, always count. Both runs are read once, in memory that
    does not grow with their length.

    Args:
        a: the first run: its directory, a `Log`, or a monitor, which is flushed; without a log, its window counts.
        b: the second run, likewise.
        noise: runs of the same training with other seeds, from two on, or a directory of them: what these differ by
            counts as noise too. `a` and `b` are left out where they are among them.
        since: the first step to compare; all by default.
        rank: the rank to compare; None merges all ranks.
        progress: called with the bytes read so far of `a` and `b`.

    Raises:
        ArgumentTypeError: `a` or `b` is none of these.
        ArgumentValueError: `rank` is not in a log, or `noise` has fewer than two runs.
        LogError: a log cannot be read.

    Example:
        >>> import fastact
        >>> runs = []
        >>> for scale in (1.0, 1.0, 3.0):
        ...     random = np.random.default_rng(0)
        ...     with fastact.ActivationMonitor() as monitor:
        ...         for step in range(40):
        ...             x = random.standard_normal((64, 32)) * (scale if step >= 20 else 1.0)
        ...             stats = monitor.record("encoder.0", x, axis=-1)
        ...             monitor.step()
        ...     runs.append(monitor)
        >>> compare(runs[0], runs[1]).summary
        'The runs are the same bit for bit: 1 layer in 40 steps.'
        >>> first = compare(runs[0], runs[2]).first
        >>> first.layer, first.step, first.statistic
        ('encoder.0', 20, 'std')
    """
    read = [0, 0]

    def of(place: int) -> Progress | None:
        if progress is None:
            return None

        def tell(count: int) -> None:
            read[place] = count
            progress(sum(read))

        return tell

    sources = Source("a", a, rank, of(0)), Source("b", b, rank, of(1))
    band = None if noise is None else _band(noise, sources, rank)
    common = _Common()
    comparer = Comparer(common.infos, THRESHOLD, band)
    steps = _Steps()
    of_a, of_b = (common.numbered(place, source) for place, source in enumerate(sources))
    for pairs in in_pairs(of_a, of_b, since or 0):
        comparer.add(pairs)
        steps.add(pairs.a["step"])
    comparer.finish()
    findings = [{(it.layer, it.condition): it for it in source.diagnosis().findings} for source in sources]
    return _comparison(sources, common, comparer, steps, findings, 0 if band is None else band.seeds)


def _band(noise: str | os.PathLike[str] | Iterable[Run], sources: tuple[Source, Source], rank: int | None) -> Band:
    runs = list(runs_in(noise) if isinstance(noise, (str, os.PathLike)) else noise)
    seeds = [Source("noise", run, rank, None) for run in runs]
    seeds = [seed for seed in seeds if all(seed.place is None or seed.place != it.place for it in sources)]
    if len(seeds) < 2:
        raise ArgumentValueError(f"noise: got {len(seeds)} runs besides a and b, want two or more with other seeds")
    return band_of(((seed.infos, seed.blocks()) for seed in seeds), max(len(seed.known) for seed in seeds))


class _Common:
    """Numbers for the layers of both runs: the same name has the same number."""

    def __init__(self) -> None:
        #: What is known of each layer, of the first run where it has it.
        self.infos: list[LayerInfo] = []
        #: By run: number -> what that run knows of the layer.
        self.own: tuple[dict[int, LayerInfo], dict[int, LayerInfo]] = {}, {}
        self._numbers: dict[str, int] = {}

    def numbered(self, place: int, source: Source) -> Iterator[Block]:
        """The blocks of a run with the common numbers."""
        numbers: list[int] = []
        for block in source.blocks():
            for info in source.infos[len(numbers) :]:
                number = self._numbers.setdefault(info.name, len(self.infos))
                if number == len(self.infos):
                    self.infos.append(info)
                self.own[place][number] = info
                numbers.append(number)
            yield Block(np.array(numbers, np.int64)[block.layers], block.rows)


class _Steps:
    """How many steps both runs have, the first and the last: steps come in order, give or take a chunk."""

    def __init__(self) -> None:
        self.count = 0
        self.first: int | None = None
        self.last: int | None = None

    def add(self, steps: np.ndarray) -> None:
        found = np.unique(steps)
        if self.last is not None:
            found = found[found > self.last]
        if len(found):
            self.count += len(found)
            self.first = int(found[0]) if self.first is None else self.first
            self.last = int(found[-1])


def _comparison(
    sources: tuple[Source, Source],
    common: _Common,
    comparer: Comparer,
    steps: _Steps,
    findings: list[dict[tuple[str, str], Finding]],
    seeds: int,
) -> Comparison:
    own_a, own_b = common.own
    # In the forward order of the first run.
    both = sorted(set(own_a) & set(own_b), key=lambda number: (own_a[number].order, own_a[number].name))
    places = {number: place for place, number in enumerate(both)}
    starts = sorted(comparer.starts.values(), key=lambda it: (it.step, places[it.layer], -it.size, it.statistic))
    parted: dict[int, Start] = {}
    for start in starts:
        parted.setdefault(start.layer, start)

    def only(place: int) -> tuple[str, ...]:
        mine, others = common.own[place], common.own[1 - place]
        infos = [info for number, info in mine.items() if number not in others]
        return tuple(info.name for info in sorted(infos, key=lambda info: (info.order, info.name)))

    layers = tuple(_layer(number, common, comparer, parted.get(number)) for number in both)
    return Comparison(
        a=sources[0].name,
        b=sources[1].name,
        partings=tuple(_parting(start, common, comparer) for start in starts),
        layers=layers,
        only_in_a=only(0),
        only_in_b=only(1),
        findings_only_in_a=tuple(it for key, it in findings[0].items() if key not in findings[1]),
        findings_only_in_b=tuple(it for key, it in findings[1].items() if key not in findings[0]),
        steps=steps.count,
        first_step=steps.first,
        last_step=steps.last,
        first_unequal=min(comparer.unequal.values(), default=None),
        noise="seeds" if seeds else "own",
        seeds=seeds,
        notes=tuple(_notes(steps.count, layers)),
    )


def _notes(steps: int, layers: Sequence[LayerComparison]) -> Iterator[str]:
    """What limits the comparison."""
    if 0 < steps < SUSTAINED:
        yield (
            f"a difference must last for {SUSTAINED} rows to be told from noise, and the runs have {steps} steps in "
            "common."
        )
    elif few := [layer.name for layer in layers if layer.rows < SUSTAINED and layer.kind != OPTIMISER]:
        more = f" and {len(few) - 1} more" if len(few) > 1 else ""
        yield (
            f"{shown(few[0])}{more}: fewer than {SUSTAINED} steps in which both runs have rows, too few to tell a "
            "difference from noise."
        )


def _parting(start: Start, common: _Common, comparer: Comparer) -> Parting:
    reference = comparer.references[:, start.layer]
    a, b = (None if np.isnan(value) else unscaled(value, start.statistic, reference) for value in (start.a, start.b))
    return Parting(
        layer=common.infos[start.layer].name,
        statistic=NAMES[start.statistic],
        step=start.step,
        a=a,
        b=b,
        excess=start.size / THRESHOLD if np.isfinite(start.size) else None,
        from_start=start.step <= int(comparer.first_step[start.layer]),
    )


def _layer(number: int, common: _Common, comparer: Comparer, start: Start | None) -> LayerComparison:
    a, b = (own[number] for own in common.own)
    rows = int(comparer.paired[number]) if number < len(comparer.paired) else 0
    return LayerComparison(
        name=a.name,
        kind=a.layer_type,
        kind_b=b.layer_type,
        dtype=a.dtype,
        dtype_b=b.dtype,
        rows=rows,
        first_step=int(comparer.first_step[number]) if rows else None,
        last_step=int(comparer.last_step[number]) if rows else None,
        first_unequal=comparer.unequal.get(number),
        parts_at=None if start is None else start.step,
        statistic="" if start is None else NAMES[start.statistic],
        excess=float(comparer.peaks[number].max()) / THRESHOLD if rows else 0.0,
    )
