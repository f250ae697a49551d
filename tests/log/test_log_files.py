"""Segments on the disk: numbered, and none is shared."""

from pathlib import Path

from fastact.log.files import Segment


def test_two_segments_never_share_a_number(tmp_path: Path) -> None:
    first, second = Segment(tmp_path, 0), Segment(tmp_path, 0)
    first.seal()
    third = Segment(tmp_path, 0)
    assert [first.number, second.number, third.number] == [0, 1, 2]
    second.leave()
    third.leave()
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "segment-000000.arrows",
        "segment-000001.live",
        "segment-000002.live",
    ]
