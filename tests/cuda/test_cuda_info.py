"""What `fastact info` says of GPUs."""

import pytest

from fastact.cuda import info
from fastact.cuda.compiler import INSTALLED


def test_the_gpu_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "_devices", lambda: ("no CUDA driver found", 0))
    extra = "is installed" if INSTALLED else "is not installed"
    assert info.gpu_line() == f"no CUDA driver found; fastact[cuda] {extra}; sweeps run on the CPU"
    monkeypatch.setattr(info, "_devices", lambda: ("1 CUDA device(s): H100", 1))
    monkeypatch.setattr(info, "unusable", lambda: None)
    assert info.gpu_line() == "1 CUDA device(s): H100; CUDA tensors are swept there"
    monkeypatch.setattr(info, "unusable", lambda: "the extra fastact[cuda] is not installed")
    assert info.gpu_line() == "1 CUDA device(s): H100; not used: the extra fastact[cuda] is not installed"
