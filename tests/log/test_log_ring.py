"""The ring of rows that wait."""

import numpy as np

from fastact.fields import ROW_DTYPE
from fastact.log.ring import Ring


def test_no_batch_spans_a_gap() -> None:
    ring = Ring(4)
    ring.head = 4
    ring.drop()
    ring.drop()
    ring.advance(2)
    ring.head = 6  # two rows after the gap, with room again
    rows, dropped = ring.oldest(10)
    assert (len(rows), dropped) == (2, None)
    ring.advance(2)
    rows, dropped = ring.oldest(10)
    assert (len(rows), dropped) == (2, (2, 0))


def test_rows_together_go_in_as_each_alone() -> None:
    size = np.dtype(ROW_DTYPE).itemsize
    one, many = Ring(5), Ring(5)
    given = [bytes([i]) * size for i in range(13)]
    for tail, count in ((0, 3), (2, 4), (6, 4), (6, 1)):  # it wraps, and is full
        for ring in (one, many):
            ring.tail = tail
        rows, given = given[:count], given[count:]
        assert many.put_all(rows) == sum([one.put(row) for row in rows])
        assert (many.head, bytes(many.buffer)) == (one.head, bytes(one.buffer))
    assert one.head - one.tail == 5
    one.orphan()
    many.orphan()
    assert (one.put(given[0]), many.put_all(given)) == (False, 0)
