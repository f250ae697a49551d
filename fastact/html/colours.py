"""Colours of heat maps, safe for the colour-blind: viridis for sizes, blue by white to red for signed numbers."""

import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

#: Seventeen colours, evenly spaced, between which is interpolated: matplotlib's "viridis" and "RdBu_r".
SEQUENTIAL: Final = (
    "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725"
)
DIVERGING: Final = (
    "0530611752902a71b23f8ec06bacd19bc9e0c2ddece0ecf3f7f6f6fbe5d8fbccb4f5aa89e48066d05548ba2832930e2667001f"
)
#: Where there are rows, and none has a finite number: a grey that neither has, on light and dark paper.
BARE: Final = "868c93"
#: Colours of a picture; the grey and transparency are the last two of 256.
_PLACES: Final = 254
Bytes = npt.NDArray[np.uint8]


def palette(anchors: str, entries: int = _PLACES) -> Bytes:
    """Colours as uint8, shape (entries, 3).

    Example:
        >>> palette(SEQUENTIAL)[[0, -1]].tolist()
        [[68, 1, 84], [253, 231, 37]]
    """
    known = np.frombuffer(bytes.fromhex(anchors), np.uint8).reshape(-1, 3).astype(np.float64)
    places = np.linspace(0.0, len(known) - 1.0, entries)
    columns = [np.interp(places, np.arange(len(known)), known[:, channel]) for channel in range(3)]
    return np.rint(np.stack(columns, 1)).astype(np.uint8)


def png(places: npt.NDArray[np.float64], anchors: str, bare: npt.NDArray[np.bool_] | None = None) -> bytes:
    """A picture with one pixel for each place in a colour map.

    Args:
        places: shape (rows, columns), from 0 to 1; NaN is transparent.
        anchors: `SEQUENTIAL` or `DIVERGING`.
        bare: where NaN is `BARE` instead.
    """
    colours = np.vstack((palette(anchors), np.frombuffer(bytes.fromhex(BARE), np.uint8)))
    nothing = np.where(False if bare is None else bare, _PLACES, len(colours))
    places = np.where(np.isnan(places), np.nan, np.clip(places, 0.0, 1.0))
    indices = np.where(np.isnan(places), nothing, np.rint(np.nan_to_num(places) * (_PLACES - 1))).astype(np.uint8)
    rows, columns = indices.shape
    lines = np.zeros((rows, columns + 1), np.uint8)  # each begins with a 0: no filter
    lines[:, 1:] = indices

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = columns.to_bytes(4, "big") + rows.to_bytes(4, "big") + bytes([8, 3, 0, 0, 0])
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"PLTE", colours.tobytes() + bytes(3)),
            chunk(b"tRNS", bytes([255] * len(colours) + [0])),
            chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            chunk(b"IEND", b""),
        )
    )
