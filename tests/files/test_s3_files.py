"""Files on a server that speaks S3, read through Arrow's own client: the same numbers as here."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastact import sweep_files
from fastact.remote import locate


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str]]:
    """(a file system, the options of its addresses)."""
    server = pytest.importorskip("moto.server", reason="needs moto[server]")
    for name, value in (("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")):
        monkeypatch.setenv(name, value)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    started = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    port = started.get_host_and_port()[1]
    options = f"?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    filesystem, _ = locate(f"s3://dumps{options}")
    filesystem.create_dir("dumps")
    yield filesystem, options
    started.stop()


def test_files_on_s3_are_swept_as_files_here(bucket: tuple[Any, str], tmp_path: Path) -> None:
    filesystem, options = bucket
    for i in range(3):
        np.save(tmp_path / f"a b{i}.npy", np.full((5, 3), i, np.float32))
    np.savez(tmp_path / "x.npz", fc=np.arange(7.0))
    pq.write_table(pa.table({"column": [1.0, None, 3.0]}), tmp_path / "t.parquet")
    zarr = pytest.importorskip("zarr")
    zarr.open_group(tmp_path / "z.zarr", mode="w").create_array("array", data=np.arange(20.0), chunks=7)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            with filesystem.open_output_stream(f"dumps/run/{path.relative_to(tmp_path).as_posix()}") as file:
                file.write(path.read_bytes())
    here, there = sweep_files(tmp_path), sweep_files(f"s3://dumps/run{options}")
    assert repr(here.total._state) == repr(there.total._state)
    assert here.layers == there.layers
    assert [Path(name).name for name in here.files] == [Path(name).name for name in there.files]
    assert all(name.startswith("s3://dumps/run/") and "?" not in name for name in there.files)
    assert sweep_files(f"s3://dumps/run/*.npy{options}").total.count == 45
    with pytest.raises(FileNotFoundError, match="s3://dumps/nothing"):
        sweep_files(f"s3://dumps/nothing{options}")
