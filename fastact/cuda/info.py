"""What `fastact info` says about GPUs."""

import ctypes
import sys
from typing import Final

from fastact.cuda.choice import choice
from fastact.cuda.compiler import INSTALLED
from fastact.cuda.driver import unusable
from fastact.errors import ArgumentValueError

#: The element types whose kernels `fastact info --gpu` checks.
CHECKED: Final = ("float32", "bfloat16", "float16", "float64")


def gpu_line() -> str:
    """The devices, and whether tensors are swept there; if not, why."""
    found, devices = _devices()
    try:
        choice()
    except ArgumentValueError as error:
        return f"{found}; not used: {error}"
    if not devices:
        extra = "installed" if INSTALLED else "not installed"
        return f"{found}; fastact[cuda] is {extra}; sweeps run on the CPU"
    problem = unusable()
    if problem is None and choice() == "torch":
        return f"{found}; CUDA tensors are swept there by torch's or CuPy's operations (FASTACT_GPU=torch)"
    return f"{found}; " + ("CUDA tensors are swept there" if problem is None else f"not used: {problem}")


def gpu_check() -> list[tuple[str, str, str, str, str]]:
    """The check of every kernel on every device: (device, kernel, element type, result, milliseconds) each.

    Empty where no kernel can run.
    """
    _, devices = _devices()
    if not devices or unusable() is not None:
        return []
    from fastact.cuda.proof import prove_all

    return [
        (
            str(device), f"{one.kind}, {one.layout.name}", one.name, one.problem or "as the host",
            f"{1000 * one.seconds:.0f}",
        )
        for device in range(devices)
        for one in prove_all(device, CHECKED)
    ]  # fmt: skip


def _devices() -> tuple[str, int]:
    """What the CUDA driver itself says, without the extra or a framework, and the number of its devices."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "no CUDA driver found", 0
    count, name = ctypes.c_int(), ctypes.create_string_buffer(128)
    if (code := driver.cuInit(0)) != 0 or (code := driver.cuDeviceGetCount(ctypes.byref(count))) != 0:
        return f"a CUDA driver that reports error {code}", 0
    names = []
    for i in range(count.value):
        driver.cuDeviceGetName(name, len(name), i)
        names.append(name.value.decode("ascii", "backslashreplace"))
    return f"{count.value} CUDA device(s): {', '.join(names) or 'none'}", count.value
