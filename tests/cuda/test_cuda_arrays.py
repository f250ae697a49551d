"""What is taken for elements on a GPU, over which protocol, and what is refused and how."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from on_device import (
    SIMULATED,
    OnDevice,
    check,
    dlpack_only,
    normal,
    on_device,
)

import fastact
from fastact import summarize
from fastact.cuda import arrays


@on_device
def test_dlpack() -> None:
    x = normal(30, 5)
    if not SIMULATED:
        torch = pytest.importorskip("torch", reason="makes CUDA tensors")
        tensor = torch.from_numpy(x).cuda()
        check(summarize(tensor), x, 1e-6)
        check(summarize(dlpack_only(tensor, tensor.__dlpack_device__()[1])), x, 1e-6)
        check(summarize(tensor.bfloat16()), x.astype(ml_dtypes.bfloat16), 1e-6)
        return
    owner = dlpack_only(x)
    check(summarize(owner), x, 1e-6)
    assert owner.asked["stream"] == 1  # the legacy default stream, on which it is swept
    assert summarize(owner, axis=-1).shape == (5,)
    check(summarize(dlpack_only(np.arange(9))), np.arange(9), 1e-13)


@on_device
@pytest.mark.parametrize("view", [lambda x: x[:, ::2], lambda x: np.broadcast_to(x[:1], (3, 8))])
def test_what_has_gaps_is_refused(view: Any) -> None:
    for axis in (None, -1):
        with pytest.raises(fastact.ArgumentValueError, match="contiguous"):
            summarize(OnDevice(normal(6, 8), view), axis=axis)


@on_device
@pytest.mark.parametrize(
    ("change", "words"),
    [({"typestr": ">f4"}, "byte order"), ({"typestr": "<c8"}, "Owner"), ({"mask": 1}, "masked"), ({"data": 1}, "x: ")],
)
def test_what_cannot_be_swept_is_refused(change: dict[str, Any], words: str) -> None:
    interface = {**OnDevice(normal(6)).__cuda_array_interface__, **change}
    owner = type("Owner", (), {"__cuda_array_interface__": interface})()
    with pytest.raises(fastact.ArgumentTypeError, match=words):
        summarize(owner)


@on_device
def test_extras_are_refused() -> None:
    with pytest.raises(fastact.ArgumentValueError, match=r"extras: got .* on a GPU"):
        summarize(OnDevice(normal(6)), extras="shape")


def test_without_a_device_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = type("Owner", (), {"__cuda_array_interface__": {}})()
    for axis in (None, -1):
        monkeypatch.setattr(arrays, "unusable", lambda: "the extra fastact[cuda] is not installed")
        with pytest.raises(fastact.MissingExtraError, match=r"x: got Owner on a GPU.*fastact\[cuda\].*\.cpu\(\)"):
            summarize(owner, axis=axis)
        monkeypatch.setattr(arrays, "unusable", lambda: "the CUDA driver finds no device")
        with pytest.raises(fastact.ArgumentValueError, match=r"the CUDA driver finds no device.*\.cpu\(\)"):
            summarize(dlpack_only(None), axis=axis)
