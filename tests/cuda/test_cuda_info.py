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
    monkeypatch.setattr(info, "_devices", lambda: ("no CUDA driver found", 0))
    monkeypatch.setenv("FASTACT_GPU", "on")
    assert info.gpu_line() == (
        "no CUDA driver found; not used: FASTACT_GPU: got 'on', want one of auto, native, torch, off"
    )


def test_the_check_in_full(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from typer import Exit

    from fastact.cli.commands.info import info as command
    from fastact.cuda import proof
    from fastact.cuda.layouts import FLAT

    monkeypatch.setattr(info, "_devices", lambda: ("no CUDA driver found", 0))
    assert info.gpu_check() == []
    command(gpu=True)
    assert "nothing was checked" in capsys.readouterr().out

    def prove_all(device: int, names: tuple[str, ...]) -> list[proof.Proof]:
        problems = dict(zip(names, ("", "std 1.0 instead of 2.0 for 'jump'"), strict=False))
        return [proof.Proof("sweep", name, FLAT, device, problem, 0.005) for name, problem in problems.items()]

    monkeypatch.setattr(info, "_devices", lambda: ("1 CUDA device(s): H100", 1))
    monkeypatch.setattr(info, "unusable", lambda: None)
    monkeypatch.setattr(proof, "prove_all", prove_all)
    assert info.gpu_check() == [
        ("0", "sweep, flat", "float32", "as the host", "5"),
        ("0", "sweep, flat", "bfloat16", "std 1.0 instead of 2.0 for 'jump'", "5"),
    ]
    with pytest.raises(Exit):
        command(gpu=True)
    out = capsys.readouterr().out
    assert "as the host" in out
    assert "instead of 2.0" in out
    monkeypatch.setenv("FASTACT_GPU", "torch")
    assert "FASTACT_GPU=torch" in info.gpu_line()
