"""Compiles an entry point once, where Numba compiles each function that it is made of anew, together with all it calls.

Numba optimises every function with its callees and emits machine code for it, before its caller does the same again.
Here a function that is only ever called by compiled code stays as it was lowered, and the entry point alone, which all
of them are linked into, goes through the optimiser: 9.8 → 6.3 s of a CPU for the first two entry points.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime import rtsys


class _Part(JITCodeLibrary):  # type: ignore[misc]
    """A function and its callees as they were lowered, to be linked into an entry point."""

    def finalize(self) -> None:
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            if hasattr(library, "_reload_init"):  # from Numba 0.62 on
                self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """0, as of any function that has no machine code."""
        self._ensure_finalized()
        return 0


@contextlib.contextmanager
def linked_once(target_context: Any, entry: str) -> Iterator[None]:
    """Within, what is compiled is a part of the entry point called `entry` and gets no code of its own."""
    codegen = target_context.codegen()
    rtsys.initialize(target_context)  # which is a library of its own
    set_environment = codegen.set_env

    def create_library(name: str, **options: Any) -> Any:
        return (JITCodeLibrary if name == entry else _Part)(codegen, name, **options)

    def set_env(name: str, environment: Any) -> None:
        if codegen._engine.is_symbol_defined(name):
            set_environment(name, environment)

    with global_compiler_lock:
        codegen.create_library, codegen.set_env = create_library, set_env
        try:
            yield
        finally:
            del codegen.create_library, codegen.set_env
