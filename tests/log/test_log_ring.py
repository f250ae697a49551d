"""The ring of rows that wait."""

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
