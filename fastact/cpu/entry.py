"""An entry point as a file: its machine code, and what Numba must know of it, as plain fields.

No pickle: whatever the fields hold, reading them runs nothing. (The machine code itself is run, so `cpu.cache` takes it
from its owner's folders alone.) The layout:

- 32 bytes: the SHA-256 of all that follows
- 4 bytes: the size of the fields, little-endian
- the fields, as JSON
- the machine code, and LLVM's bitcode of the names that it defines

The types are not among the fields: whoever asks for an entry point has its signature.
"""

import hashlib
import json
import sys
from types import ModuleType
from typing import Any, Final

import numpy as np
from numba.core.compiler import CompileResult
from numba.core.environment import Environment, lookup_environment
from numba.core.funcdesc import PythonFunctionDescriptor
from numba.core.runtime import rtsys

_DIGEST, _SIZE = 32, 4
#: What is kept of a function's descriptor by its name there.
_DESCRIPTOR: Final = ("modname", "qualname", "unique_name", "args", "abi_tags", "uid", "mangled_name", "env_name")


def pack(key: str, result: Any) -> bytes:
    """The file of a compiled entry point. Raises ValueError: it has what no plain field can hold."""
    library, descriptor, environment, _, object_mode, lifted, _, reload_init, referenced = result._reduce()
    name, kind, (code, bitcode) = library
    if kind != "object" or object_mode or lifted or reload_init or environment.env_name != descriptor.env_name:
        raise ValueError(f"{key}: not a plain function")
    fields = {
        "key": key,
        "library": name,
        "descriptor": {field: getattr(descriptor, field) for field in _DESCRIPTOR},
        "environments": [_environment_fields(each) for each in (environment, *referenced)],
        "code": len(code),
    }
    head = json.dumps(fields, allow_nan=False).encode()
    content: bytes = len(head).to_bytes(_SIZE, "little") + head + code + bitcode
    return hashlib.sha256(content).digest() + content


def unpack(content: bytes, key: str, signature: Any, target_context: Any) -> Any:
    """The entry point of this key and signature; what is raised where `pack` has not made it may be anything."""
    if hashlib.sha256(memoryview(content)[_DIGEST:]).digest() != content[:_DIGEST]:
        raise ValueError("damaged")
    begin = _DIGEST + _SIZE
    end = begin + int.from_bytes(content[_DIGEST:begin], "little")
    fields = json.loads(content[begin:end])
    if fields["key"] != key:
        raise ValueError("of another key")
    code, bitcode = content[end : end + fields["code"]], content[end + fields["code"] :]
    # What machine code needs of Numba. Its own cache refreshes all of the compiler's registries as well, which is most
    # of the time of a start: 0.3 s, SciPy's import included.
    rtsys.initialize(target_context)
    environment, *referenced = (_environment(*each) for each in fields["environments"])
    return CompileResult._rebuild(
        target_context,
        (fields["library"], "object", (code, bitcode)),
        _descriptor(fields["descriptor"], signature),
        environment,
        signature,
        False,  # no object mode
        (),  # no lifted loops
        "",  # no annotations
        (),  # nothing to be run first
        (environment, *referenced),
    )


def _descriptor(fields: dict[str, Any], signature: Any) -> Any:
    mangled = fields["mangled_name"]
    return PythonFunctionDescriptor(
        native=True,
        modname=fields["modname"],
        qualname=fields["qualname"],
        unique_name=fields["unique_name"],
        doc="",
        typemap=None,
        restype=signature.return_type,
        calltypes=None,
        args=tuple(fields["args"]),
        kws=(),
        mangler=lambda *_, **__: mangled,
        argtypes=signature.args,
        env_name=fields["env_name"],
        abi_tags=tuple(fields["abi_tags"]),
        uid=fields["uid"],
    )


def _environment_fields(environment: Any) -> tuple[str, str, list[Any]]:
    return environment.env_name, environment.globals["__name__"], [_plain(constant) for constant in environment.consts]


def _environment(name: str, module: str, constants: list[Any]) -> Any:
    """The environment of this name, in which Numba keeps a function's globals and constants."""
    found = lookup_environment(name)
    if found is None:
        # Compiled code looks nothing up there; no module is imported because a file names it.
        found = Environment(sys.modules.get(module, ModuleType(module)).__dict__)
        found.consts[:] = map(_constant, constants)
        found.env_name = name
        Environment._memo[name] = found
    return found


def _plain(constant: Any) -> Any:
    if isinstance(constant, np.dtype) and constant.kind in "biuf":
        return {"dtype": constant.str}
    if constant is None or isinstance(constant, (bool, int, str)):
        return constant
    raise ValueError(f"a constant that is no plain field: {constant!r}")


def _constant(plain: Any) -> Any:
    return np.dtype(plain["dtype"]) if isinstance(plain, dict) else plain
