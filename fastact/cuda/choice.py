"""What sweeps on a GPU: kernels of ours, or a framework's own operations; FASTACT_GPU chooses."""

import os
from typing import Final, Literal

from fastact.errors import ArgumentValueError

#: - auto: kernels that have proven themselves on the device, and a framework's operations for the others
#: - native: kernels alone, unproven
#: - torch: a framework's operations alone (torch's, or CuPy's where that is what is imported)
#: - off: nothing: what lies on a GPU is refused
Choice = Literal["auto", "native", "torch", "off"]
_CHOICES: Final[tuple[Choice, ...]] = ("auto", "native", "torch", "off")


def choice() -> Choice:
    """What FASTACT_GPU says; auto where it is not set.

    Raises:
        ArgumentValueError: it says something else.
    """
    said = os.environ.get("FASTACT_GPU", "").strip().lower() or "auto"
    for known in _CHOICES:
        if said == known:
            return known
    raise ArgumentValueError(f"FASTACT_GPU: got {said!r}, want one of {', '.join(_CHOICES)}")
