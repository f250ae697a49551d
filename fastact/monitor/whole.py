"""What rank 0 makes of the rows of all ranks while they train: the diagnosis of the whole."""

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.groups import combined
from fastact.diagnosis.ranks import Parts
from fastact.diagnosis.report import Diagnosis
from fastact.fields import ROW, ROW_DTYPE
from fastact.history import LayerInfo
from fastact.log.schema import layers_from_json, layers_to_json
from fastact.replay.blocks import Block, add_block
from fastact.replay.keyed import keyed

#: A packet: the bytes of its header and of its rows come first.
_LENGTHS: Final = struct.Struct("<QQ")
#: Steps that wait for ranks that lag, before they are judged without these.
_WAITING: Final = 256


def packed(group: str, new_layers: Sequence[LayerInfo], rows: Sequence[tuple[Any, ...]]) -> bytes:
    """The rows of one step of a rank as bytes, with the layers that it has not told of yet."""
    header = json.dumps({"group": group, "layers": layers_to_json(new_layers)}).encode()
    body = np.array(list(rows), ROW_DTYPE).tobytes()
    return _LENGTHS.pack(len(header), len(body)) + header + body


class _Group:
    """Ranks that hold the same layers."""

    def __init__(self, diagnoser: Diagnoser) -> None:
        self.diagnoser = diagnoser
        self.infos: list[LayerInfo] = []
        self._numbers: dict[str, int] = {}

    def number(self, info: LayerInfo) -> int:
        if info.name not in self._numbers:
            self._numbers[info.name] = len(self.infos)
            self.infos.append(info)
        return self._numbers[info.name]

    def take(self, ranks: Sequence[int], found: Sequence[tuple[int, npt.NDArray[np.int64], Any]]) -> None:
        """Takes one step: of each rank the place among `ranks`, the layers' numbers and the rows."""
        for column, numbers, rows in found:
            self.diagnoser.remember(ranks, column, numbers, rows, self.infos)
        numbers, rows = (np.concatenate(parts) for parts in zip(*(each[1:] for each in found), strict=True))
        columns = np.repeat([column for column, _, _ in found], [len(each[1]) for each in found])
        order = np.argsort(numbers, kind="stable")
        numbers, rows, columns = numbers[order], rows[order], columns[order]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        if len(found) > 1:
            self.diagnoser.compare(Parts(tuple(ranks), columns, numbers[starts], rows, starts), self.infos)
        merged = keyed((numbers,), {field.name: rows[field.name] for field in ROW})
        add_block(self.diagnoser, Block(merged.keys[0], merged.rows()), self.infos)


class Whole:
    """All ranks' rows as they come in, merged step by step, and judged.

    Args:
        ranks: how many there are.
        make: makes a diagnoser for a group of ranks.
    """

    def __init__(self, ranks: int, make: Callable[[], Diagnoser]) -> None:
        self._ranks, self._make = tuple(range(ranks)), make
        self._streams = [bytearray() for _ in self._ranks]
        #: Of each rank its group, and the number there of each of its layers, by their order.
        self._group_of: list[str] = [""] * ranks
        self._numbers: list[dict[int, int]] = [{} for _ in self._ranks]
        self._groups: dict[str, _Group] = {}
        #: Steps that not all ranks have sent: (pass is given up) step -> rank -> rows.
        self._pending: dict[int, dict[int, Any]] = {}
        self._latest = [-1] * ranks
        #: Steps that were judged.
        self.steps = 0

    def take(self, rank: int, part: bytes) -> None:
        """Takes what came of a rank: packets, the last of which may be cut."""
        stream = self._streams[rank]
        stream += part
        while len(stream) >= _LENGTHS.size:
            head, body = _LENGTHS.unpack_from(stream)
            end = _LENGTHS.size + head + body
            if len(stream) < end:
                break
            header = json.loads(stream[_LENGTHS.size : _LENGTHS.size + head])
            rows = np.frombuffer(bytes(stream[_LENGTHS.size + head : end]), ROW_DTYPE)
            del stream[:end]
            group = self._groups.get(header["group"]) or self._groups.setdefault(header["group"], _Group(self._make()))
            self._group_of[rank] = header["group"]
            for info in layers_from_json(header["layers"]):
                self._numbers[rank][info.order] = group.number(info)
            if len(rows):
                step = int(rows["step"][0])
                self._pending.setdefault(step, {})[rank] = rows
                self._latest[rank] = step

    def settle(self) -> None:
        """Judges the steps that all ranks have passed."""
        passed = min(self._latest)
        for step in sorted(self._pending):
            if step > passed and len(self._pending) <= _WAITING:
                break
            self._judge(self._pending.pop(step))

    def _judge(self, of_rank: dict[int, Any]) -> None:
        for name, group in self._groups.items():
            found = []
            for rank in sorted(of_rank):
                if self._group_of[rank] == name:
                    rows, numbers = of_rank[rank], self._numbers[rank]
                    found.append((rank, np.array([numbers[order] for order in rows["layer"].tolist()]), rows))
            if found:
                group.take(self._ranks, found)
        self.steps += 1

    def diagnose(self) -> Diagnosis:
        """What is wrong in all of them together."""
        for step in sorted(self._pending):
            self._judge(self._pending.pop(step))
        return combined({name: group.diagnoser.diagnose() for name, group in sorted(self._groups.items())})
