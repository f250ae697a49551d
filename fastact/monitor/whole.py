"""What rank 0 makes of the rows of all ranks while they train: the diagnosis of the whole."""

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.ranks import Parts
from fastact.diagnosis.report import Diagnosis
from fastact.fields import ROW, ROW_DTYPE
from fastact.history import LayerInfo
from fastact.log.schema import layers_from_json, layers_to_json
from fastact.replay.blocks import Block, add_block
from fastact.replay.keyed import Tree, keyed
from fastact.replay.layouts import of_group, places_of_groups

#: A packet: the bytes of its header and of its rows come first.
_LENGTHS: Final = struct.Struct("<QQ")
#: Steps that wait for ranks that lag, before they are judged without these.
_WAITING: Final = 256


def packed(group: str, new_layers: Sequence[LayerInfo], rows: Sequence[tuple[Any, ...]]) -> bytes:
    """The rows of one step of a rank as bytes, with the layers that it has not told of yet."""
    header = json.dumps({"group": group, "layers": layers_to_json(new_layers)}).encode()
    body = np.array(list(rows), ROW_DTYPE).tobytes()
    return _LENGTHS.pack(len(header), len(body)) + header + body


class Whole:
    """All ranks' rows as they come in, merged step by step, and judged.

    Args:
        ranks: how many there are.
        make: makes a diagnoser.
    """

    def __init__(self, ranks: int, make: Callable[[], Diagnoser]) -> None:
        self._ranks, self.diagnoser = tuple(range(ranks)), make()
        self._streams = [bytearray() for _ in self._ranks]
        #: Of each rank its group, and the numbers of its layers by their order.
        self._groups: list[str | None] = [None] * ranks
        self._numbers: list[dict[int, int]] = [{} for _ in self._ranks]
        #: What each rank has told of its layers, until all ranks have said of which group they are.
        self._untold: list[tuple[int, LayerInfo]] = []
        self._infos: list[LayerInfo] = []
        self._by_name: dict[str, int] = {}
        #: Steps that not all ranks have sent yet: step -> rank -> rows.
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
            self._groups[rank] = header["group"]
            self._untold += [(rank, info) for info in layers_from_json(header["layers"])]
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

    def _number_layers(self) -> None:
        places = places_of_groups([group for group in self._groups if group is not None])
        for rank, own in self._untold:
            group = self._groups[rank] or ""
            info = of_group(own, group, places[group]) if places else own
            if info.name not in self._by_name:
                self._by_name[info.name] = len(self._infos)
                self._infos.append(info)
            self._numbers[rank][own.order] = self._by_name[info.name]
        self._untold = []

    def _judge(self, of_rank: dict[int, Any]) -> None:
        """Takes a step into the diagnosis."""
        self._number_layers()
        ranks = sorted(of_rank)
        found = []
        tree = Tree()
        for rank in ranks:
            of_order, own = self._numbers[rank], of_rank[rank]
            found.append(np.array([of_order[place] for place in own["layer"].tolist()], np.int64))
            self.diagnoser.remember(self._ranks, rank, found[-1], own, self._infos)
            tree.add(keyed((found[-1],), {field.name: own[field.name] for field in ROW}))
        numbers, rows = np.concatenate(found), np.concatenate([of_rank[rank] for rank in ranks])
        columns = np.repeat(ranks, [len(each) for each in found])
        order = np.argsort(numbers, kind="stable")
        numbers, rows, columns = numbers[order], rows[order], columns[order]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        self.diagnoser.compare(Parts(self._ranks, columns, numbers[starts], rows, starts), self._infos)
        merged = tree.whole()
        add_block(self.diagnoser, Block(merged.keys[0], merged.rows()), self._infos)
        self.steps += 1

    def diagnose(self) -> Diagnosis:
        """What is wrong in all of them together."""
        for step in sorted(self._pending):
            self._judge(self._pending.pop(step))
        return self.diagnoser.diagnose()
