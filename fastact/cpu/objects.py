"""Machine code as it is kept: an object file as the compiler emitted it, and the names by which it is called.

Plain fields and bytes, of which nothing is run until it is called: not a pickle, which can run anything, and nothing of
Numba's own descriptions, which differ from version to version. An object file names what it needs: functions of
Python's stable interface, a few of Numba's runtime, and the C library's mathematics.
"""

import ctypes
import hashlib
import json
import sys
from typing import Any, Final, NamedTuple

import llvmlite.binding
from numba import _dynfunc
from numba.core.runtime import rtsys

#: Of the file, in the key of what is kept.
FORMAT: Final = 2
_DIGEST, _LENGTH = 32, 4


class Entry(NamedTuple):
    """An entry point: the symbols of what Python calls, of what C calls and of Numba's environment; the object file."""

    python: str
    c: str
    environment: str
    code: bytes

    def pack(self, key: str) -> bytes:
        """A file's content; `key` is what the code was compiled from, and for."""
        fields = json.dumps({"key": key, "python": self.python, "c": self.c, "environment": self.environment}).encode()
        payload = len(fields).to_bytes(_LENGTH, "little") + fields + self.code
        return hashlib.sha256(payload).digest() + payload

    @classmethod
    def any(cls, content: bytes) -> "tuple[Entry, str]":
        """What `pack` was given, and the key; ValueError, KeyError or TypeError where anything about it is wrong."""
        digest, payload = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(payload).digest() != digest:
            raise ValueError("damaged machine code")
        end = _LENGTH + int.from_bytes(payload[:_LENGTH], "little")
        fields = json.loads(payload[_LENGTH:end])
        python, c, environment, kept_as = (str(fields[name]) for name in ("python", "c", "environment", "key"))
        return cls(python, c, environment, payload[end:]), kept_as

    @classmethod
    def unpack(cls, content: bytes, key: str) -> "Entry | None":
        """The entry point that was packed under this key; None where anything about it is wrong."""
        try:
            entry, found = cls.any(content)
        except (ValueError, KeyError, TypeError):
            return None
        return entry if found == key else None


class Loaded(NamedTuple):
    """An entry point in memory, as Numba's dispatcher takes it, and its address for C."""

    signature: Any
    entry_point: Any
    address: int
    objectmode: bool = False


def entry_of(result: Any) -> Entry:
    """What Numba has just compiled (a `CompileResult`)."""
    described = result.fndesc
    environment = result.target_context.get_env_name(described)
    code = result.library._get_compiled_object()
    return Entry(described.llvm_cpython_wrapper_name, described.llvm_cfunc_wrapper_name, environment, bytes(code))


def load(entry: Entry, function: Any, signature: Any, target_context: Any) -> Loaded:
    """Makes an entry point callable; RuntimeError where the code lacks what its names say.

    Each has an engine of its own: in a common one, machine code from several processes is found by its name, in which
    Numba numbers the functions of each process for itself.
    """
    # What machine code needs of Numba. Its cache refreshes all of the compiler's registries as well, which is most of
    # the time of a start: 0.3 s, SciPy's import included.
    rtsys.initialize(target_context)
    triple = llvmlite.binding.get_process_triple()
    empty = llvmlite.binding.parse_assembly(f'target triple = "{triple}"')
    target = llvmlite.binding.Target.from_triple(triple)
    engine = llvmlite.binding.create_mcjit_compiler(empty, target.create_target_machine(jit=True))
    engine.add_object_file(llvmlite.binding.ObjectFileRef.from_data(entry.code))
    engine.finalize_object()
    places = [engine.get_function_address(name) for name in (entry.python, entry.c)]
    place = engine.get_global_value_address(entry.environment)
    engine.detach()  # it stays: a thread may still be in it when the interpreter ends
    if not (all(places) and place):
        raise RuntimeError("machine code without its symbols")
    environment = _dynfunc.Environment(function.__globals__)
    ctypes.c_void_p.from_address(place).value = id(environment)
    module = sys.modules[function.__module__]
    about = f"machine code of {function.__qualname__}"
    call = _dynfunc.make_function(module, function.__name__, about, places[0], environment, (engine,))
    return Loaded(signature, call, places[1])
