"""The machine code of the kernels for GPUs, as a histogram: how many of each instruction, and registers of each type.

Names of symbols are left out, for modules and functions are renamed. `tests/test_cuda_kernels.py` compiles, prints and
compares; what comes out depends on the version of numba-cuda and on that of NVIDIA's compiler and its library.
"""

import re
from collections import Counter
from typing import Final

from .store import known

__all__ = ["compiler", "histogram"]

#: An instruction, with or without the predicate that it depends on.
_INSTRUCTION: Final = re.compile(r"^\s+(?:@!?%\w+\s+)?([a-z][\w.:]*)(?=[\s;])", re.MULTILINE)
_REGISTERS: Final = re.compile(r"\.reg\s+(\.\w+)\s+%\w+<(\d+)>")
_PACKAGES: Final = ("numba-cuda", "nvidia-nvvm", "nvidia-cuda-nvrtc")


def histogram(ptx: str) -> dict[str, int]:
    """Instructions with their types, and ``.reg`` with a type for the registers that are declared."""
    found = Counter(_INSTRUCTION.findall(ptx))
    for kind, count in _REGISTERS.findall(ptx):
        found[f".reg{kind}"] += int(count) - 1
    return dict(sorted(found.items()))


def compiler() -> dict[str, str]:
    """The versions of what compiles, the host's part of it included."""
    import llvmlite
    import numba

    return {**{name: known(name) for name in _PACKAGES}, "numba": numba.__version__, "llvmlite": llvmlite.__version__}
