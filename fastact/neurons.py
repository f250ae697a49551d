"""Which neurons of a layer are dead: bitmaps at some of its steps, as few bytes as need be, and what they tell."""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.json_schema import document

#: Neurons of a layer that are kept: the first ones of a wider layer.
MOST_NEURONS: Final = 1 << 18
#: Bytes of the two bitmaps of a snapshot, deflated: 8 kB as text. Of what takes more, the first neurons are kept.
_MOST_BYTES: Final = 6144
#: Snapshots of a layer in a monitor's memory, and those that are read of a log.
MOST_LIVE, MOST_READ = 64, 256
Bits = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class Snapshot(NamedTuple):
    """Which of a layer's neurons were dead and silent at the end of a step.

    Attributes:
        step: the step.
        neurons: how many the layer has.
        covered: how many the bitmaps are of: the first ones.
        dead: a bit for each that was dead, the first one lowest.
        silent: a bit for each that was silent in this step.
    """

    step: int
    neurons: int
    covered: int
    dead: bytes
    silent: bytes


def snapshot(step: int, silence: Ints, dead_after: int) -> Snapshot:
    r"""The snapshot of what each neuron's silence (`arithmetic.silence`) has come to, int64[neurons].

    Example:
        >>> snapshot(7, np.array([0, 5, 9, 0]), 9)
        Snapshot(step=7, neurons=4, covered=4, dead=b'\x04', silent=b'\x06')
    """
    first = silence[:MOST_NEURONS]
    return Snapshot(step, silence.size, first.size, _pack(first >= dead_after), _pack(first > 0))


def _pack(bits: Bits) -> bytes:
    return np.packbits(bits, bitorder="little").tobytes()


def _unpack(packed: bytes, count: int) -> Bits:
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count, bitorder="little").view(np.bool_)


def thinned(snapshots: Sequence[Snapshot], most: int) -> list[Snapshot]:
    """At most so many of them: where there are more, the last quarter as they are, and before it half of that number.

    These are the first one and others as evenly spread over the steps as there are.

    Example:
        >>> [each.step for each in thinned([Snapshot(step, 0, 0, b"", b"") for step in range(9)], 8)]
        [0, 2, 4, 6, 7, 8]
    """
    found = list(snapshots)
    if len(found) <= most:
        return found
    old, last = found[: -(most // 4)], found[-(most // 4) :]
    steps = np.array([each.step for each in old], np.float64)
    places = np.searchsorted(steps, np.linspace(steps[0], steps[-1], most // 2))
    return [old[place] for place in sorted(set(places.tolist()))] + last


def to_json(name: str, found: Snapshot) -> str:
    """A layer's snapshot as a log has it: at most 8 kB, and the layer's name."""
    covered, dead, silent = found.covered, found.dead, found.silent
    while True:
        packed = [zlib.compress(part, 1) if any(part) else b"" for part in (dead, silent)]
        if sum(map(len, packed)) <= _MOST_BYTES:
            break
        covered = covered // 16 * 8
        dead, silent = dead[: covered // 8], silent[: covered // 8]
    texts = [base64.b64encode(part).decode() for part in packed]
    own = {"layer": name, "step": found.step, "neurons": found.neurons, "dead": texts[0], "silent": texts[1]}
    return json.dumps(own | ({} if covered == found.neurons else {"covered": covered}))


def from_json(text: str | bytes) -> list[tuple[str, Snapshot]]:
    """What a list of `to_json` says, by layer. Raises ValueError for nonsense."""
    try:
        return [_from_item(item) for item in json.loads(text)]
    except (KeyError, TypeError, AttributeError, RecursionError, zlib.error) as error:
        raise ValueError(f"no snapshots of neurons: {error!r}") from error


def _from_item(item: Mapping[str, Any]) -> tuple[str, Snapshot]:
    name, step, neurons = item["layer"], item["step"], item["neurons"]
    covered = item.get("covered", neurons)
    if not isinstance(name, str) or not all(isinstance(each, int) for each in (step, neurons, covered)):
        raise TypeError("values of other types")
    if not (0 <= covered <= min(neurons, MOST_NEURONS) and neurons < 1 << 62 and 0 <= step < 1 << 63):
        raise ValueError(f"{covered} of {neurons} neurons at step {step}")
    dead, silent = (_inflated(item[name], -(-covered // 8)) for name in ("dead", "silent"))
    return name, Snapshot(step, neurons, covered, dead, silent)


def _inflated(text: str, size: int) -> bytes:
    packed = base64.b64decode(text, validate=True)
    # No more than is wanted, whatever was meant to come of it.
    found = zlib.decompressobj().decompress(packed, size + 1) if packed else bytes(size)
    if len(found) != size:
        raise ValueError(f"a bitmap of {len(found)} bytes, want {size}")
    return found


def merged(ranks: Sequence[Mapping[int, Snapshot]]) -> list[Snapshot]:
    """The snapshots of ranks that saw parts of one batch, by step, as one's: what is dead, is so on all of them.

    Of steps that one of them has none of there is none.
    """
    found = []
    for step in sorted(set.intersection(*map(set, ranks))) if ranks else []:
        parts = [each[step] for each in ranks]
        covered = min(part.covered for part in parts)
        if len({part.neurons for part in parts}) == 1:
            size = -(-covered // 8)
            dead = _all_of([part.dead[:size] for part in parts])
            silent = _all_of([part.silent[:size] for part in parts])
            found.append(Snapshot(step, parts[0].neurons, covered, dead, silent))
    return found


def _all_of(bitmaps: Sequence[bytes]) -> bytes:
    found: npt.NDArray[np.uint8] = np.bitwise_and.reduce([np.frombuffer(each, np.uint8) for each in bitmaps])
    return found.tobytes()


@dataclass(frozen=True, eq=False)
class Neurons:
    """Which neurons of a layer were dead or silent, at those of its steps at which that was kept.

    That is at each tenth of its first hundred recorded steps, then at each hundredth; at each tenth also where the
    number of dead ones has changed; where there is a new finding of the layer; and at the end of the run. A neuron is
    silent in a step without a non-zero element, and dead once it has been silent long enough (`Thresholds.dead_window`,
    `dead_samples` and `dead_fires`).

    Attributes:
        layer: the layer's name.
        layer_type: its type, such as "ReLU".
        neurons: how many neurons it has.
        steps: the steps, ascending, int64[snapshots]; empty where nothing was kept, as of a layer that is not swept per
            neuron, or on a GPU.
        dead: which were dead at the end of each, bool[snapshots, covered]: `covered` neurons from the first, which are
            all of them but in very wide layers (a bitmap takes up to 8 kB).
        silent: which were silent in each, bool[snapshots, covered].

    Example:
        >>> from fastact import ActivationMonitor
        >>> with ActivationMonitor() as monitor:
        ...     for _ in range(20):
        ...         x = np.maximum(np.random.default_rng(0).standard_normal((64, 8)), 0.0)
        ...         x[:, 2:4] = 0.0
        ...         stats = monitor.record("act", x, axis=-1, layer_type="ReLU")
        ...         monitor.step()
        ...     found = monitor.neurons("act")
        >>> found.dead_now.tolist(), found.steps.tolist()
        ([2, 3], [9, 19])
    """

    layer: str
    layer_type: str
    neurons: int
    steps: Ints
    dead: Bits
    silent: Bits

    @classmethod
    def of(cls, layer: str, layer_type: str, snapshots: Iterable[Snapshot]) -> "Neurons":
        """What a layer's snapshots say, in the order of their steps; where its width has changed, the last ones."""
        found = list(snapshots)
        found = [each for each in found if each.neurons == found[-1].neurons]
        covered = min((each.covered for each in found), default=0)
        dead, silent = (np.zeros((len(found), covered), np.bool_) for _ in range(2))
        for i, each in enumerate(found):
            dead[i], silent[i] = _unpack(each.dead, covered), _unpack(each.silent, covered)
        steps = np.array([each.step for each in found], np.int64)
        return cls(layer, layer_type, found[-1].neurons if found else 0, steps, dead, silent)

    @property
    def covered(self) -> int:
        """How many neurons the bitmaps are of, from the first."""
        return int(self.dead.shape[1])

    @property
    def dead_now(self) -> Ints:
        """The neurons that were dead at the last of the steps, from 0, ascending: int64[dead]."""
        return np.flatnonzero(self.dead[-1]) if len(self.steps) else np.zeros(0, np.int64)

    @property
    def silent_now(self) -> Ints:
        """The neurons that were silent in the last of the steps, from 0, ascending: int64[silent]."""
        return np.flatnonzero(self.silent[-1]) if len(self.steps) else np.zeros(0, np.int64)

    @property
    def dead_since(self) -> Ints:
        """For each of `dead_now` the first of the steps from which on it was dead at all of them: int64[dead]."""
        if not len(self.steps):
            return self.steps
        alive = ~self.dead[:, self.dead_now]
        last_alive = len(self.steps) - np.argmax(alive[::-1], axis=0)
        return self.steps[np.where(alive.any(axis=0), last_alive, 0)]

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers, text and lists of them: what ``fastact neurons --json`` prints."""
        return {
            "layer": self.layer,
            "layer_type": self.layer_type,
            "neurons": self.neurons,
            "covered": self.covered,
            "step": int(self.steps[-1]) if len(self.steps) else None,
            "dead": self.dead_now.tolist(),
            "dead_since": self.dead_since.tolist(),
            "silent": self.silent_now.tolist(),
            "steps": self.steps.tolist(),
            "dead_at": [_runs(np.flatnonzero(row)) for row in self.dead],
            "silent_at": [_runs(np.flatnonzero(row)) for row in self.silent],
        }

    def __repr__(self) -> str:
        at = f" at step {self.steps[-1]}" if len(self.steps) else ""
        what = f"{len(self.dead_now)} of {self.covered} dead{at}, snapshots={len(self.steps)}"
        return f"Neurons({self.layer!r}, {what})"


def _runs(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as [first, last] of each run of neighbours."""
    runs: list[list[int]] = []
    for number in map(int, numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


def ranges(numbers: Iterable[int], most: int | None = None) -> str:
    """Ascending numbers as text, neighbours as ranges; at most so many of these.

    Example:
        >>> ranges([0, 1, 2, 5, 8, 9]), ranges([1, 3, 5, 7], most=2)
        ('0-2, 5, 8-9', '1, 3 and 2 more')
    """
    runs = _runs(numbers)
    told = runs if most is None else runs[:most]
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in told)
    more = sum(last - first + 1 for first, last in runs[len(told) :])
    return f"{text} and {more:,} more" if more else text


def neurons_schema() -> dict[str, Any]:
    """The JSON Schema of `Neurons.to_dict`: what ``fastact neurons --json`` prints."""
    numbers = {"type": "array", "items": {"type": "integer"}}
    run = {**numbers, "minItems": 2, "maxItems": 2}
    runs = {"type": "array", "items": {"type": "array", "items": run}}
    facts: dict[str, tuple[dict[str, Any], str]] = {
        "layer": ({"type": "string"}, "the layer's name"),
        "layer_type": ({"type": "string"}, "its type, such as ReLU"),
        "neurons": ({"type": "integer"}, "how many neurons it has; 0 where nothing was kept of them"),
        "covered": ({"type": "integer"}, "how many of them, from the first, the rest is told of"),
        "step": ({"type": ["integer", "null"]}, "the last step of which it was kept; null for none"),
        "dead": (numbers, "the neurons that were dead at that step, from 0"),
        "dead_since": (numbers, "for each of these the first of the steps from which on it was dead at all of them"),
        "silent": (numbers, "the neurons without a non-zero element in that step"),
        "steps": (numbers, "all steps of which it was kept, ascending"),
        "dead_at": (runs, "the dead neurons at each of these steps, as runs: [[0, 2], [5, 5]] are 0, 1, 2 and 5"),
        "silent_at": (runs, "the silent neurons in each of these steps, likewise"),
    }
    properties = {name: {**kind, "description": said} for name, (kind, said) in facts.items()}
    root = {"type": "object", "properties": properties, "required": list(properties)}
    return document("neurons:1", "Neurons", root)
