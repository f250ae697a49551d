"""How a log is written and how much of it is kept: one small object, checked when it is made."""

from dataclasses import dataclass
from typing import Final, Literal

from fastact.checks import check_choice, check_integer, check_number, check_text
from fastact.errors import ArgumentValueError
from fastact.log.schema import MAX_BATCH_ROWS
from fastact.remote import redacted

#: What is kept spans at least this many segments, so that the oldest can go in small steps: for a while, there may be
#: one segment more than was asked for.
_SEGMENTS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """How a log is written: how often, how safely, and how much of it stays.

    A row is on its way to the disk after `batch_rows` further rows or `flush_seconds`, whichever comes first, and
    then survives the death of the process. What is kept is bounded by `keep_bytes` and `keep_steps`, both, one or
    neither; the oldest whole segments go first, those of earlier writers of the run included.

    Args:
        batch_rows: rows of a batch, 1 to 65536. A full one is written at once; a small one takes more bytes a row.
            Where more than 4096 have piled up, up to 32768 are written as one.
        flush_seconds: waiting rows are written after so many seconds, even if they fill no batch; 0.01 to 86400.
        buffer_rows: rows that may wait in memory while the disk does not take them (200 bytes each), 1 to 2^27; there
            is always room for two batches. Rows that find no room are dropped and counted.
        durability: "process": a written row survives the death of the process, and a power loss once its segment is
            sealed. "fsync": each batch is forced to the disk, and survives a power loss as well.
        compression: "lz4", "zstd" or None. Rows of a trained MLP, in batches of 1024, took 54 bytes each with lz4, 46
            with zstd and 217 without; in batches of 128, 79, 73 and 228 (`python -m bench.record`). Up to 4096 rows are
            compressed by lz4's slower search, those that have piled up by its faster one. Reading zstd takes twice as
            long, which is why lz4 is the default.
        segment_bytes: a segment that has grown to this size is sealed, and the next one begun.
        segment_seconds: a segment whose first row is this old is sealed, too; None: only its size counts.
        keep_bytes: the most bytes that the run's segments take in all: the oldest are removed before a batch that
            would not fit. The one being written, an eighth of this or one batch, always stays.
        keep_steps: the newest steps whose rows are kept as they are; older segments are removed. Up to an eighth more,
            or the steps of a tenth of a second, stay until their segment is sealed. The steps that a resumed run
            repeats count again.
        merge_steps: merge rows older than `keep_steps` instead of removing them: all rows of a layer with the same
            ``step // merge_steps`` become one (see `fastact.log.thin`), those older than ``keep_steps * merge_steps``
            are merged by the square of it, and so on: a layer has some `keep_steps` rows of each kind, and a log grows
            with the logarithm of its steps. Segments are merged only where that makes them smaller. None: old rows are
            removed.
        upload: where sealed segments move to, as a URI (``s3://bucket/run``, or what else `fastact.remote` knows) or a
            path: copied as a whole by a thread of its own, and then removed here. What the store does not take stays
            here, is counted (`LogWriter.not_uploaded`) and tried again. With `segment_seconds` they go as often as
            that. Rows are read from there by ``open_log(upload)``. None: they stay.

    Raises:
        ArgumentTypeError, ArgumentValueError: a value is unusable.

    Example:
        >>> LogOptions(keep_bytes=1 << 30, keep_steps=10_000, merge_steps=100).durability
        'process'
    """

    batch_rows: int = 1024
    flush_seconds: float = 1.0
    buffer_rows: int = 65_536
    durability: Literal["process", "fsync"] = "process"
    compression: Literal["lz4", "zstd"] | None = "lz4"
    segment_bytes: int = 64 << 20
    segment_seconds: float | None = None
    keep_bytes: int | None = None
    keep_steps: int | None = None
    merge_steps: int | None = None
    upload: str | None = None

    def __post_init__(self) -> None:
        check_integer("batch_rows", self.batch_rows, 1, MAX_BATCH_ROWS)
        _check_seconds("flush_seconds", self.flush_seconds)
        check_integer("buffer_rows", self.buffer_rows, 1, 1 << 27)
        check_choice("durability", self.durability, ("process", "fsync"))
        check_choice("compression", self.compression, ("lz4", "zstd", None))
        check_integer("segment_bytes", self.segment_bytes, 1, 1 << 62)
        if self.segment_seconds is not None:
            _check_seconds("segment_seconds", self.segment_seconds)
        for name, low in (("keep_bytes", 1), ("keep_steps", 1), ("merge_steps", 2)):
            value = getattr(self, name)
            if value is not None:
                check_integer(name, value, low, 1 << 62)
        if self.merge_steps is not None and self.keep_steps is None:
            want = "keep_steps: the steps that stay unmerged"
            raise ArgumentValueError(f"merge_steps: got {self.merge_steps} without keep_steps, want {want}")

        if self.upload is not None:
            check_text("upload", self.upload, 1 << 12)
            if not self.upload or self.keep_bytes is not None or self.keep_steps is not None:
                raise ArgumentValueError(
                    f"upload: got {redacted(self.upload)!r} with keep_bytes={self.keep_bytes} and "
                    f"keep_steps={self.keep_steps}, want a place, and neither: what is uploaded is the store's to keep"
                )

    @property
    def capacity(self) -> int:
        """Rows that may wait in memory."""
        return max(self.buffer_rows, 2 * self.batch_rows)

    @property
    def rotate_bytes(self) -> int:
        """Bytes after which a segment is sealed, so that the oldest can go in small steps."""
        return min(self.segment_bytes, max(1, (self.keep_bytes or 1 << 62) // _SEGMENTS))

    @property
    def rotate_steps(self) -> int:
        """Steps after which a segment is sealed, for the same reason."""
        return max(1, (self.keep_steps or 1 << 62) // _SEGMENTS)


def _check_seconds(argument: str, value: object) -> None:
    check_number(argument, value, 0.01, 86_400, words="a number of seconds", unit="seconds", types=(int, float))
