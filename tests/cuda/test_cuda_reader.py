"""The benchmarks' bare read."""

import numpy as np
from on_device import (
    OnDevice,
    on_device,
)


@on_device
def test_the_benchmarks_reader_reads_every_packet() -> None:
    from bench.gpu.reader import NEVER, reader
    from fastact.cuda.driver import stream_at

    for place in (0, 4 * 129 + 3, 4 * 700 - 1):
        x = np.zeros(4 * 700, np.float32)
        for value, found in ((1.0, 0), (NEVER, 1)):
            x[place] = value
            owner = OnDevice(x)
            out, rows = reader(owner.__cuda_array_interface__["data"][0], 700, 0, 0)(), np.empty(1, np.int64)
            out.copy_to(rows, stream_at(0, 0))
            stream_at(0, 0).synchronize()
            assert rows[0] == found
