"""How golden values are stored, and on which machines they hold bit for bit.

Sums depend on the width of the CPU's vectors and on what LLVM makes of the loops. So what is stored carries a key:
where the running machine has the same, all must be equal bit for bit; elsewhere counts and extremes must, and moments
to a tolerance.
"""

import hashlib
import json
import lzma
import math
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["FOLDER", "LOGS", "differences", "digest", "known", "load", "machine", "plain", "same_machine", "save"]

FOLDER: Final = Path(__file__).parent / "stored"
#: The recorded logs, packed.
LOGS: Final = FOLDER / "logs.tar.xz"


def machine() -> dict[str, str]:
    """What bits of sums depend on: the CPU as LLVM knows it, and the compiler's and NumPy's versions."""
    import llvmlite
    import llvmlite.binding as llvm
    import numba

    features = sorted(name for name, there in llvm.get_host_cpu_features().items() if there)
    return {
        "cpu": llvm.get_host_cpu_name(),
        "features": hashlib.sha256(" ".join(features).encode()).hexdigest()[:16],
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "numpy": np.__version__,
    }


def same_machine(stored: dict[str, Any]) -> bool:
    """Whether what was stored holds here bit for bit."""
    return bool(stored["machine"] == machine())


def known(package: str) -> str:
    """The version of a package, or "" where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def save(name: str, values: dict[str, Any]) -> int:
    """Stores values as compressed JSON; returns how many bytes that takes."""
    FOLDER.mkdir(exist_ok=True)
    data = lzma.compress(json.dumps(values, separators=(",", ":"), allow_nan=False).encode(), preset=9)
    (FOLDER / f"{name}.json.xz").write_bytes(data)
    return len(data)


def load(name: str) -> dict[str, Any]:
    """The values that `save` stored."""
    values: dict[str, Any] = json.loads(lzma.decompress((FOLDER / f"{name}.json.xz").read_bytes()))
    return values


def plain(value: Any) -> Any:
    """Numbers, arrays and containers as JSON that loses no bit: floats in hexadecimal, NaN without its payload."""
    if isinstance(value, np.ndarray):
        return [value.dtype.str, list(value.shape), digest(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value.hex()
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value


def digest(*values: Any) -> str:
    """A short digest of numbers, arrays and containers of them, of every bit but a NaN's payload."""
    found = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            found.update(f"{value.dtype.str}{value.shape}".encode())
            found.update(_canonical(value).tobytes())
        else:
            found.update(json.dumps(plain(value), sort_keys=True).encode())
    return found.hexdigest()[:16]


def _canonical(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.where(np.isnan(values), np.nan, values) if values.dtype.kind == "f" else values


def differences(stored: Any, found: Any, *, exact: bool, relative: float = 1e-9, path: str = "") -> list[str]:
    """Where two trees of `plain` values differ; with `exact` false, floats may by a relative error."""
    if isinstance(stored, dict) and isinstance(found, dict):
        lines = [f"{path}/{name}: is gone" for name in stored if name not in found]
        lines += [f"{path}/{name}: is new" for name in found if name not in stored]
        for name in stored:
            if name in found:
                lines += differences(stored[name], found[name], exact=exact, relative=relative, path=f"{path}/{name}")
        return lines
    if isinstance(stored, list) and isinstance(found, list) and len(stored) == len(found):
        lines = []
        for place, (one, other) in enumerate(zip(stored, found, strict=True)):
            lines += differences(one, other, exact=exact, relative=relative, path=f"{path}[{place}]")
        return lines
    if stored == found or (not exact and _close(stored, found, relative)):
        return []
    return [f"{path}: was {stored!r}, is {found!r}"]


def _close(stored: Any, found: Any, relative: float) -> bool:
    if not (isinstance(stored, str) and isinstance(found, str)):
        return False
    try:
        return math.isclose(float.fromhex(stored), float.fromhex(found), rel_tol=relative, abs_tol=1e-300)
    except (ValueError, OverflowError):
        return False
