"""What `fastact info` says about GPUs."""

import ctypes
import sys

from fastact.cuda.compiler import INSTALLED
from fastact.cuda.driver import unusable


def gpu_line() -> str:
    """The devices, and whether tensors are swept there; if not, why."""
    found, devices = _devices()
    if not devices:
        extra = "installed" if INSTALLED else "not installed"
        return f"{found}; fastact[cuda] is {extra}; sweeps run on the CPU"
    problem = unusable()
    return f"{found}; " + ("CUDA tensors are swept there" if problem is None else f"not used: {problem}")


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
