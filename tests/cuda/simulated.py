"""Kernels on any machine: Numba's simulator, and stand-ins for the modules of `fastact.cuda` that know a device.

Numba reads NUMBA_ENABLE_CUDASIM when it is imported, so the simulator needs a process of its own; there `install` has
to be called before anything imports the kernels. They are then the very ones that run on a device.
"""

import sys

from numba.core import config

__all__ = ["SIMULATED", "install"]

#: Whether this process was started with NUMBA_ENABLE_CUDASIM=1.
SIMULATED = bool(config.ENABLE_CUDASIM)


def install() -> None:
    """Puts the stand-ins into their modules' places, and sets up the simulator."""
    import simulated_blocks
    import simulated_driver
    import simulated_instructions
    import simulated_vectors
    import simulated_words

    if simulated_driver is sys.modules.get("fastact.cuda.driver"):
        return
    assert SIMULATED, "want NUMBA_ENABLE_CUDASIM=1"
    assert "fastact.cuda.kernels" not in sys.modules, "the kernels have been imported without the stand-ins"
    sys.modules["fastact.cuda.driver"] = simulated_driver
    sys.modules["fastact.cuda.instructions"] = simulated_instructions
    sys.modules["fastact.cuda.vectors"] = simulated_vectors
    sys.modules["fastact.cuda.words"] = simulated_words
    simulated_blocks.install()
