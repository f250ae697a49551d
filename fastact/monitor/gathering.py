"""Rows of all ranks to rank 0 while they train, and what it finds back to all, beside the training.

A thread of each rank takes part in the exchanges, in the same order everywhere: one gathers what each rank has to send,
one brings back what rank 0 found. The training only hands rows over, and at the next exchange, some steps later, takes
the answer, which is there by then as a rule. So every rank gets an answer in the same step, and acts on it there: all
stop, or none. Where an exchange fails, since a rank has died or a time limit passed, nothing is exchanged any more, and
the training goes on, or ends, as it would without.
"""

import json
import queue
import struct
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.report import Diagnosis
from fastact.history import LayerInfo
from fastact.monitor.alerts import Alerts
from fastact.monitor.whole import Whole, packed

Bytes = npt.NDArray[np.uint8]

#: What a rank sends at a time, in bytes: at first, and at most; what is left goes with the next exchange.
_FIRST: Final = 1 << 14
_MOST: Final = 1 << 26
#: A frame: bytes of what is sent, bytes that are left, whether it is the rank's last one.
_FRAME: Final = struct.Struct("<QQQ")
#: What comes back: bytes of the message; those beyond this come separately.
_LENGTH: Final = struct.Struct("<Q")
_MESSAGE: Final = 4096
#: Seconds that closing waits for the others.
_AT_THE_END: Final = 60.0


class Gather(Protocol):
    """How ranks exchange bytes: `fastact.torch.Gather` is one. All ranks call its methods in the same order."""

    every: int
    """Recorded steps from one exchange to the next."""
    only_last: bool
    """Whether the rows of the last of these steps alone are sent."""
    rank: int
    ranks: int

    def connect(self) -> None:
        """Sets `rank` and `ranks`; called by every rank when its monitor is made."""

    def gather(self, part: Bytes) -> Sequence[Bytes] | None:
        """Brings parts of one length to rank 0, which gets all in the order of ranks; the others get None."""

    def broadcast(self, message: Bytes) -> Bytes:
        """Brings rank 0's message to all; each gives one of the same length."""


class Gathering:
    """Takes part in the exchanges of one monitor.

    Args:
        gather: how bytes are exchanged.
        group: the ranks' group that this one belongs to.
        alerts: what is done with findings.
        make: makes a diagnoser, for rank 0.
    """

    def __init__(self, gather: Gather, group: str, alerts: Alerts | None, make: Callable[[], Diagnoser]) -> None:
        gather.connect()
        self._gather, self._group, self._alerts = gather, group, alerts
        self._whole = Whole(gather.ranks, make) if gather.rank == 0 else None
        self._choose = alerts or Alerts("log")
        self._lock = threading.Lock()
        self._steps, self._told = 0, 0
        self._due: list[tuple[int, tuple[tuple[Any, ...], ...]]] = []
        self._stream = bytearray()
        self._capacity = _FIRST
        #: Whether nothing is exchanged any more, and why, where that is a failure.
        self.ended, self.failure = gather.ranks == 1, ""
        self._asked: queue.SimpleQueue[bool | None] = queue.SimpleQueue()
        self._answered: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()
        self._under_way = False
        self._thread = threading.Thread(target=self._run, name="fastact-gather", daemon=True)
        if not self.ended:
            self._thread.start()

    @property
    def alone(self) -> bool:
        """Whether this rank has to judge its own rows: there is no other, or they are out of reach."""
        return self.ended

    def write(self, step: int, rows: Mapping[str, tuple[Any, ...]]) -> None:
        """Takes the rows of a step: as a listener of the monitor."""
        if not self.ended:
            if self._gather.only_last:
                self._due.clear()
            self._due.append((step, tuple(rows.values())))

    def close(self) -> None:
        """As a listener: nothing is left to do."""

    def end_step(self, layers: Sequence[LayerInfo]) -> None:
        """To be called after each recorded step: takes the last answer and begins an exchange, if one is due."""
        if self.ended:
            self._tell_failure()
            return
        self._steps += 1
        if self._steps % self._gather.every:
            return
        found = self._answer(None)
        if not self.ended:
            self._pack(layers)
            self._ask(last=False)
        self._act(found)

    def finish(self, layers: Sequence[LayerInfo]) -> None:
        """Exchanges what is left, and ends the exchanges of all; waits for the others no longer than a minute."""
        if self.ended:
            self._tell_failure()
            return
        found = self._answer(_AT_THE_END)
        if not self.ended:
            self._pack(layers)
            self._ask(last=True)
            found += self._answer(_AT_THE_END)
        self.abandon()
        self._act(found, raises=False)

    def abandon(self) -> None:
        """Ends it here, without a word to the others."""
        if not self.ended:
            self.ended = True
            self._asked.put(None)

    def diagnose(self) -> Diagnosis | None:
        """On rank 0 the diagnosis of all ranks, once an exchange was made; None elsewhere."""
        if self._whole is None:
            return None
        with self._lock:
            return self._whole.diagnose() if self._whole.steps else None

    def _pack(self, layers: Sequence[LayerInfo]) -> None:
        new, self._told = layers[self._told :], len(layers)
        due, self._due = self._due, []
        for place, (_, rows) in enumerate(due or [(0, ())]):
            if rows or new:
                self._stream += packed(self._group, new if place == 0 else (), rows)

    def _ask(self, *, last: bool) -> None:
        self._under_way = True
        self._asked.put(last)

    def _tell_failure(self) -> None:
        """Tells of an exchange that failed before its answer was waited for; nothing else comes of it."""
        if self._under_way and self.failure:
            self._answer(_AT_THE_END)

    def _answer(self, seconds: float | None) -> list[Finding]:
        """What the exchange under way has brought; waits for it."""
        if not self._under_way:
            return []
        try:
            found = self._answered.get(timeout=seconds)
        except queue.Empty:
            self.failure = self.failure or "the other ranks did not answer"
            self.abandon()
            found = []
        self._under_way = False
        if self.ended and self._alerts is not None:
            self._alerts.agreed = False
        if self.failure:
            warnings.warn(
                f"fastact gathers no rows of the ranks any more, and each is judged by itself: {self.failure}",
                RuntimeWarning,
                stacklevel=5,
            )
        return found

    def _act(self, found: Sequence[Finding], *, raises: bool = True) -> None:
        if self._alerts is not None:
            for finding in found:
                self._alerts.act(finding, raises=raises)

    def _run(self) -> None:
        """The thread: one exchange after the other."""
        while (last := self._asked.get()) is not None:
            found: list[Finding] = []
            try:
                found = self._exchange(last=last)
            except Exception as error:  # noqa: BLE001 - of any kind, it must not end the training
                self.failure = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                self.ended = True
            self._answered.put(found)
            if self.ended:
                return

    def _exchange(self, *, last: bool) -> list[Finding]:
        capacity = self._capacity
        part = bytearray(_FRAME.size + capacity)
        sent = min(capacity, len(self._stream))
        part[_FRAME.size : _FRAME.size + sent] = self._stream[:sent]
        del self._stream[:sent]
        _FRAME.pack_into(part, 0, sent, len(self._stream), last)
        parts = self._gather.gather(np.frombuffer(part, np.uint8))
        message = b""
        if self._whole is not None:
            assert parts is not None
            message = self._judge(self._whole, parts)
        first = (_LENGTH.pack(len(message)) + message[:_MESSAGE]).ljust(_LENGTH.size + _MESSAGE, b"\0")
        fixed = self._gather.broadcast(np.frombuffer(bytearray(first), np.uint8))
        (size,) = _LENGTH.unpack(fixed[: _LENGTH.size].tobytes())
        text = fixed[_LENGTH.size : _LENGTH.size + size].tobytes()
        if size > _MESSAGE:
            rest = np.zeros(size - _MESSAGE, np.uint8)
            if self._whole is not None:
                rest[:] = np.frombuffer(message[_MESSAGE:], np.uint8)
            text += self._gather.broadcast(rest).tobytes()
        answer = json.loads(text)
        self._capacity = answer["capacity"]
        self.ended = self.ended or answer["ended"]
        return [finding_from(item) for item in answer["findings"]]

    def _judge(self, whole: Whole, parts: Sequence[Bytes]) -> bytes:
        """On rank 0: takes what came, and says what was found."""
        most, ended = self._capacity, False
        with self._lock:
            for rank, part in enumerate(parts):
                sent, left, last = _FRAME.unpack(part[: _FRAME.size].tobytes())
                ended = ended or bool(last)
                most = max(most, min(sent + left, _MOST))
                whole.take(rank, part[_FRAME.size : _FRAME.size + sent].tobytes())
            whole.settle()
            found = self._choose.fresh(whole.diagnose().findings) if whole.steps or ended else []
        answer = {"capacity": most, "ended": ended, "findings": [finding.to_dict() for finding in found]}
        return json.dumps(answer).encode()


def finding_from(item: Mapping[str, Any]) -> Finding:
    """A finding from what its `to_dict` gives."""
    values = {field.name: item[field.name] for field in fields(Finding)}
    lists = {name: tuple(values[name]) for name in ("remedies", "because", "ranks")}
    return Finding(**{**values, **lists, "evidence": Evidence(**values["evidence"])})
