"""How loops are compiled for the CPU: flags, the few instructions Numba has no name for, and the cache on disk.

Nothing here knows what is computed. `jit` compiles a function for its callers; `kernel` builds an entry point with an
explicit signature whose machine code is kept on disk.
"""

import contextlib
import ctypes
import functools
import hashlib
import math
import os
import pickle
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps
from numba.extending import intrinsic

__all__ = [
    "COMPILED",
    "VECTOR_BYTES",
    "Cache",
    "at_address",
    "borrow",
    "c_ask",
    "c_call",
    "c_entry",
    "cache",
    "carve",
    "exact_jit",
    "fetch",
    "fetch_add",
    "jit",
    "kernel",
    "lane_max",
    "lane_min",
    "like",
    "minus",
    "stretch",
]

# Sums may be regrouped into vector lanes and multiply-adds fused; -0.0 counts as 0.0. NaN and Inf keep their meaning:
# with "nnan" or "ninf" the compiler deletes the test that finds them (a NaN count of 0 was seen with fastmath=True).
_FASTMATH: Final = {"reassoc", "contract", "nsz"}

jit: Final[Callable[..., Any]] = numba.njit(fastmath=_FASTMATH, error_model="numpy")
#: For code whose order of operations matters.
exact_jit: Final[Callable[..., Any]] = numba.njit(error_model="numpy")


_FEATURES: Final = llvmlite.binding.get_host_cpu_features()
#: Bytes of this CPU's vector registers.
VECTOR_BYTES: Final = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16


@exact_jit
def minus(a: Any, b: Any) -> Any:
    """a - b, never regrouped. Numba marks all that `jit` compiles; what is inlined from here keeps its own flags.

    sum + (a - b) became (sum - b) + a, which rounds the same way each time: means of |x| were 1e-6 too large.
    """
    return a - b


#: False under NUMBA_DISABLE_JIT=1, which runs the same loops as plain Python.
COMPILED: Final = not config.DISABLE_JIT

if not COMPILED:

    def like(value: Any, example: Any) -> Any:
        return type(example)(value)

    def stretch(x: Any, offset: int, size: int) -> Any:
        return x.reshape(-1)[offset : offset + size]

    def at_address(address: int, shape: tuple[int, ...], example: Any) -> Any:
        kind, size = np.dtype(type(example)), int(math.prod(shape))
        memory: Any = (ctypes.c_uint8 * (size * kind.itemsize)).from_address(int(address))
        return np.frombuffer(memory, kind, size).reshape(shape)

    def carve(memory: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], example: Any) -> Any:
        kind = np.dtype(type(example))
        strides = tuple(stride * kind.itemsize for stride in strides)
        return np.lib.stride_tricks.as_strided(memory[offset:].view(kind), shape, strides)

    def borrow(address: int, size: int, example: Any) -> Any:
        memory = (ctypes.c_char * (int(size) * example.itemsize)).from_address(int(address))
        return np.frombuffer(memory, example.dtype)

    def fetch(address: int, example: Any) -> Any:
        return borrow(address, 1, np.empty(0, type(example)))[0]

    def c_call(function: Any, arguments: tuple[Any, ...]) -> None:
        function(*arguments)

    def c_ask(function: Any) -> int:
        return int(function())

    def fetch_add(counter: Any) -> int:
        counter[0] += 1
        return int(counter[0]) - 1

    def lane_min(a: Any, b: Any) -> Any:
        return b if b < a else a

    def lane_max(a: Any, b: Any) -> Any:
        return b if b > a else a

else:

    @intrinsic
    def like(typingctx: Any, value: Any, example: Any) -> Any:
        """`value` in the type of `example`."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.cast(builder, args[0], value, example)

        return example(value, example), codegen

    @intrinsic
    def stretch(typingctx: Any, x: Any, offset: Any, size: Any) -> Any:
        """The `size` elements from `offset` on of a contiguous array's memory, as a 1-D array that owns nothing.

        A slice would count a reference up and down, atomically, which on x86 waits for all loads under way: a bubble
        of 100 ns for each block.
        """
        result = types.Array(x.dtype, 1, "C", readonly=not x.mutable)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(x)(context, builder, args[0])
            view = context.make_array(result)(context, builder)
            context.populate_array(
                view,
                data=builder.gep(array.data, [args[1]]),
                shape=(args[2],),
                strides=(array.itemsize,),
                itemsize=array.itemsize,
                meminfo=None,
            )
            return view._getvalue()

        return result(x, types.intp, types.intp), codegen

    @intrinsic
    def at_address(typingctx: Any, address: Any, shape: Any, example: Any) -> Any:
        """The memory at an address as a contiguous array of `shape` of what `example` is, which owns nothing."""
        example = types.unliteral(example)
        result = types.Array(example, len(shape), "C")

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sizes = cgutils.unpack_tuple(builder, args[1])
            itemsize = context.get_constant(types.intp, example.bitwidth // 8)
            strides = [itemsize]
            for size in reversed(sizes[1:]):
                strides.insert(0, builder.mul(strides[0], size))
            data = builder.inttoptr(args[0], context.get_data_type(example).as_pointer())
            return _view(context, builder, result, data, sizes, strides, itemsize)

        return result(types.intp, shape, example), codegen

    @intrinsic
    def carve(typingctx: Any, memory: Any, offset: Any, shape: Any, strides: Any, example: Any) -> Any:
        """An array of what `example` is in `memory` (contiguous, 1-D) from an element on; `strides` are in elements."""
        result = types.Array(example, len(shape), "A")

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(memory)(context, builder, args[0])
            itemsize = context.get_constant(types.intp, example.bitwidth // 8)
            start = builder.gep(array.data, [args[1]])
            data = builder.bitcast(start, context.get_data_type(example).as_pointer())
            steps = [builder.mul(stride, itemsize) for stride in cgutils.unpack_tuple(builder, args[3])]
            return _view(context, builder, result, data, cgutils.unpack_tuple(builder, args[2]), steps, itemsize)

        return result(memory, types.intp, shape, strides, example), codegen

    def _view(context: Any, builder: Any, kind: Any, data: Any, shape: Any, strides: Any, itemsize: Any) -> Any:
        view = context.make_array(kind)(context, builder)
        context.populate_array(view, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
        return view._getvalue()

    @intrinsic
    def borrow(typingctx: Any, address: Any, size: Any, example: Any) -> Any:
        """The `size` elements at an address as a read-only array like `example`, contiguous, that owns nothing."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            itemsize = context.make_array(example)(context, builder, args[2]).itemsize
            view = context.make_array(example)(context, builder)
            context.populate_array(
                view,
                data=builder.inttoptr(args[0], view.data.type),
                shape=(args[1],),
                strides=(itemsize,),
                itemsize=itemsize,
                meminfo=None,
            )
            return view._getvalue()

        return example(types.intp, types.intp, example), codegen

    @intrinsic
    def fetch(typingctx: Any, address: Any, example: Any) -> Any:
        """The number at an address, of the type of `example`."""
        example = types.unliteral(example)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(builder.inttoptr(args[0], args[1].type.as_pointer()))

        return example(types.intp, example), codegen

    @intrinsic
    def c_call(typingctx: Any, function: Any, arguments: Any) -> Any:
        """Calls the C function at an address, which returns nothing, with a tuple of integers or addresses."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = cgutils.unpack_tuple(builder, args[1])
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
            builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
            return context.get_dummy_value()

        return types.void(types.intp, arguments), codegen

    @intrinsic
    def c_ask(typingctx: Any, function: Any) -> Any:
        """The int that the C function at an address returns, which takes nothing."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.FunctionType(ir.IntType(32), [])
            answer = builder.call(builder.inttoptr(args[0], kind.as_pointer()), [])
            return context.cast(builder, answer, types.int32, types.intp)

        return types.intp(types.intp), codegen

    @intrinsic
    def fetch_add(typingctx: Any, counter: Any) -> Any:
        """The value of `counter[0]`, an int64, before one was added to it: atomic, so that threads share out work."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(counter)(context, builder, args[0])
            return builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "monotonic")

        return types.int64(counter), codegen

    def _select(name: str, comparison: str) -> Callable[..., Any]:
        # Python's own min and max compile to a branch, or to a select that must honour NaN: 7 GB/s instead of 80.
        # NaN is promised away on these two instructions alone; a block that holds one is folded again with care.
        def define(typingctx: Any, a: Any, b: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                a_value, b_value = args
                if isinstance(a, types.Integer):
                    compare = builder.icmp_signed if a.signed else builder.icmp_unsigned
                    return builder.select(compare(comparison, b_value, a_value), b_value, a_value)
                test = builder.fcmp_ordered(comparison, b_value, a_value, flags=("nnan", "nsz"))
                return builder.select(test, b_value, a_value, flags=("nnan", "nsz"))

            return a(a, a), codegen

        define.__name__ = define.__qualname__ = name
        return intrinsic(define)  # type: ignore[no-any-return]

    lane_min = _select("lane_min", "<")
    lane_max = _select("lane_max", ">")


class Cache(NamedTuple):
    """Where machine code is kept: a folder, or the reason why there is none."""

    folder: Path | None
    problem: str = ""


#: A folder of code for other versions goes when it was not used for so long; a draft that a crash left, sooner.
_KEPT_SECONDS: Final = 30 * 86400
_DRAFT_SECONDS: Final = 3600
#: Numba's own settings that change the code it makes.
_SETTINGS: Final = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")


class _DiskCache:
    """Machine code on disk, one file an entry point, in a folder that nobody but its owner can write.

    Instead of Numba's own cache, which keys by one source file and so misses an edit in a callee, reads pickles from
    folders that others may write, never heals a damaged file, and can mix up entries when two processes race (numba
    issues 10128, 4807). Here the folder's name holds a hash of the package's sources and of all versions; a file
    holds a digest of itself, is replaced atomically, and is thrown away when anything about it is wrong.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def _entry(self, signature: Any, target_context: Any) -> tuple[Path, str]:
        # The host CPU's name and features, in the file's name too: machines that differ may share the folder.
        settings = [getattr(config, setting, None) for setting in _SETTINGS]
        key = f"{self._name} {signature} {target_context.codegen().magic_tuple()} {settings}"
        return self._folder / f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.bin", key

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compiled entry point, or None when it must be compiled."""
        path, wanted = self._entry(signature, target_context)
        try:
            with path.open("rb") as file:
                if not _only_its_owner_writes(os.fstat(file.fileno())):
                    return None
                content = file.read()
            digest, payload = content[:32], content[32:]
            if hashlib.sha256(payload).digest() == digest:
                key, data = pickle.loads(payload)  # noqa: S301 - written by this user or root alone, with a digest
                if key == wanted:
                    # What machine code needs of Numba. Its cache refreshes all of the compiler's registries as well,
                    # which is most of the time of a start: 0.3 s, SciPy's import included.
                    rtsys.initialize(target_context)
                    return CompileResult._rebuild(target_context, *data)
        except Exception:  # noqa: BLE001 - no file, or whatever a damaged pickle raises: compile afresh and overwrite it
            return None
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Writes the compiled entry point; a disk that is full or read-only costs the next start's time only."""
        if _identity() != _LOADED:  # upgraded in place meanwhile: this code is not what the folder's name says
            return
        path, key = self._entry(signature, result.target_context)
        draft = path.with_suffix(f".{secrets.token_hex(8)}.tmp")
        try:
            payload: bytes = dumps((key, result._reduce()))
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
                file.write(hashlib.sha256(payload).digest() + payload)
            draft.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()
        _remove(self._folder.glob("*.tmp"), time.time() - _DRAFT_SECONDS)


def _only_its_owner_writes(status: os.stat_result) -> bool:
    # Machine code is loaded from there. Root, who may have built the image, could do as he likes anyway.
    return not hasattr(os, "geteuid") or (status.st_uid in (os.geteuid(), 0) and status.st_mode & 0o022 == 0)


def _remove(paths: Iterable[Path], before: float) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()


def _identity() -> str:
    """A hash of the sources that reach the compiler and of all versions; empty where there are no sources to read."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {np.__version__} {sys.version}".encode())
    try:
        package = Path(__file__).parent.parent
        sources = sorted(path for folder in ("arithmetic", "cpu") for path in (package / folder).glob("*.py"))
        sources.append(package / "fields.py")
        for path in sources:
            digest.update(path.read_bytes())
    except OSError:
        return ""
    return digest.hexdigest()[:16] if sources else ""


#: Taken now, as the modules are loaded: later the files may be those of another version.
_LOADED: Final = _identity()


@functools.cache
def cache() -> Cache:
    """The folder for the code of this package's sources and these versions, made if need be.

    It is ``fastact/<hash>`` in FASTACT_CACHE_DIR, XDG_CACHE_HOME or ~/.cache. It may be read-only. It must belong to
    the user or to root, and nobody else may be able to write it.
    """
    if not _LOADED:
        return Cache(None, "the package's sources cannot be read")
    try:
        root = os.environ.get("FASTACT_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
        home = (Path(root) if root else Path.home() / ".cache") / "fastact"
        folder = home / _LOADED
        if not folder.is_dir():
            home.parent.mkdir(parents=True, exist_ok=True)
            for path in (home, folder):
                path.mkdir(exist_ok=True, mode=0o755)
            _prune(home, folder)
        status = folder.stat()
        if status.st_mtime < time.time() - _KEPT_SECONDS / 10:
            with contextlib.suppress(OSError):  # read-only
                os.utime(folder)
    except (OSError, RuntimeError) as error:
        return Cache(None, str(error))
    if not _only_its_owner_writes(status):
        return Cache(None, f"{folder} can be written by others than this user and root")
    return Cache(folder)


def _prune(home: Path, keep: Path) -> None:
    """Removes code of other versions that nobody used for a month; nothing but files of ours in folders of ours."""
    before = time.time() - _KEPT_SECONDS
    with contextlib.suppress(OSError):
        for folder in home.iterdir():
            if folder == keep or re.fullmatch("[0-9a-f]{16}", folder.name) is None or folder.is_symlink():
                continue
            with contextlib.suppress(OSError):
                if folder.stat().st_mtime < before:
                    _remove((*folder.glob("*.bin"), *folder.glob("*.tmp")), math.inf)
                    folder.rmdir()


def kernel(function: Callable[..., Any], name: str, signature: Any, *, nogil: bool) -> Callable[..., Any]:
    """Compiles an entry point for one signature, or loads its machine code from disk.

    Args:
        function: the entry point's source.
        name: its name on disk, unique in the package.
        signature: a Numba signature; a call with other types raises TypeError and compiles nothing.
        nogil: release the interpreter lock while it runs, which costs a call 40 ns.
    """
    if not COMPILED:
        return function
    # Machine code from several processes may meet in one, and is found by its name there. In that Numba numbers the
    # functions of each process for itself: the kernel of another kind was run.
    function.__qualname__ = re.sub(r"\W", "_", name)
    dispatcher = numba.njit(error_model="numpy", nogil=nogil)(function)
    folder = cache().folder
    if folder is not None:
        dispatcher._cache = _DiskCache(folder, name)
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher  # type: ignore[no-any-return]


def c_entry(entry: Callable[..., Any]) -> Any:
    """The address at which C finds what `kernel` made (it lives as long as that does); itself, if it is Python."""
    if not COMPILED:
        return entry
    result = next(iter(entry.overloads.values()))  # type: ignore[attr-defined]
    return result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name)
