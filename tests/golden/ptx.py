"""The machine code of the kernels for GPUs, as a histogram: how many of each instruction, and registers of each type.

With it goes a digest of the constants in the instructions, however they are ordered.

Names of symbols are left out, for modules and functions are renamed. `tests/test_cuda_kernels.py` compiles, prints and
compares; what comes out depends on the version of numba-cuda and on that of NVIDIA's compiler and its library.
"""

import re
from collections import Counter
from typing import Final

from .store import digest, known

__all__ = ["compiler", "histogram"]

#: An instruction, with or without the predicate that it depends on.
_INSTRUCTION: Final = re.compile(r"^\s+(?:@!?%\w+\s+)?([a-z][\w.:]*)(?=[\s;])(.*)", re.MULTILINE)
#: A number that is no part of a name.
_CONSTANT: Final = re.compile(r"(?<![\w%$.])-?\d\w*")
_REGISTERS: Final = re.compile(r"\.reg\s+(\.\w+)\s+%\w+<(\d+)>")
_PACKAGES: Final = ("numba-cuda", "nvidia-nvvm", "nvidia-cuda-nvrtc")


def histogram(ptx: str) -> dict[str, int | str]:
    """Instructions with their types, ``.reg`` with a type for the registers that are declared, and the constants."""
    lines = _INSTRUCTION.findall(ptx)
    found = Counter(name for name, _ in lines)
    for kind, count in _REGISTERS.findall(ptx):
        found[f".reg{kind}"] += int(count) - 1
    constants = sorted(number for _, operands in lines for number in _CONSTANT.findall(operands))
    return {**dict(sorted(found.items())), "constants": digest(constants)}


def compiler() -> dict[str, str]:
    """The versions of what compiles, the host's part of it included."""
    import llvmlite
    import numba

    return {**{name: known(name) for name in _PACKAGES}, "numba": numba.__version__, "llvmlite": llvmlite.__version__}
