"""`summarize_many` of what lies on GPUs: one launch, and each tensor's numbers as by itself."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from on_device import (
    OnDevice,
    OnDeviceTensor,
    check,
    normal,
    on_device,
)

import fastact
from fastact import summarize, summarize_many
from fastact.cuda import sweep


@on_device
def test_many_in_one_launch_are_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[int] = []
    begin = sweep.NativeManySweep.__init__

    def counted(self: Any, xs: Any, bounds: Any) -> None:
        launched.append(len(xs))
        begin(self, xs, bounds)

    monkeypatch.setattr(sweep.NativeManySweep, "__init__", counted)
    xs: list[Any] = [normal(1 + 37 * i) for i in range(9)]
    xs[3] = np.full(500, np.nan, np.float32)
    xs += [normal(700, dtype=np.float64), normal(3000, dtype=ml_dtypes.bfloat16), np.arange(-9, 600), normal(2, 0)]
    owners = [OnDevice(x) for x in xs]
    owners[1] = OnDevice(normal(60), lambda x: x[23:])
    choices: list[dict[str, Any]] = [{}, {"saturation": (-math.inf, 0.5), "zero_tol": 0.1}]
    for _ in range(2):
        for options in choices:
            launched.clear()
            # What lies elsewhere goes with them, in its place.
            got = summarize_many([*owners[:5], xs[0], *owners[5:]], **options)
            assert sorted(launched) == [1, 1, 1, 9]
            assert [repr(s._state) for s in got[:5] + got[6:]] == [repr(summarize(x, **options)._state) for x in owners]
            assert got[5] == summarize(xs[0], **options)
            assert got[0].saturation == options.get("saturation", (-0.99, 0.99))
    check(summarize_many([OnDevice(xs[8])])[0], xs[8], 1e-6)
    assert summarize_many(owners[:2], axis=-1)[0] == summarize(owners[0], axis=-1)


@on_device
def test_many_of_several_streams(torch: Any) -> None:
    want, owners = [], []
    for i in range(4):
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(10_000_000)
            x = torch.full((1000 + i,), float(i), device="cuda")
            owners.append(OnDeviceTensor(x, torch.cuda.current_stream().cuda_stream))
            want.append(i)
    assert [s.mean for s in summarize_many(owners)] == want


@on_device
def test_an_error_names_which_of_many() -> None:
    owners = [OnDevice(normal(6, 8)), OnDevice(normal(6, 8), lambda x: x[:, ::2])]
    with pytest.raises(fastact.ArgumentValueError, match=r"^xs\[1\]: got elements on a GPU"):
        summarize_many(owners)
