"""The error of an adapter whose framework is not installed."""

import contextlib
from collections.abc import Iterator

from fastact.errors import MissingExtraError

__all__ = ["needs_extra"]


@contextlib.contextmanager
def needs_extra(adapter: str, framework: str, *packages: str) -> Iterator[None]:
    """Goes around the import of a framework: where it is missing, the error names the extra to install.

    Args:
        adapter: what needs the framework, by its full name; the extra has its last part as name, in small letters.
        framework: what is needed, for the message.
        packages: the top-level packages whose absence means that the extra is not installed. The absence of any other
            package is a defect of the installation, and its error is left as it is.

    Raises:
        MissingExtraError: one of `packages` is missing.

    Example:
        >>> with needs_extra("fastact.keras", "Keras", "no_such_package"):
        ...     import no_such_package
        Traceback (most recent call last):
        fastact.errors.MissingExtraError: fastact.keras needs Keras: pip install 'fastact[keras]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in packages:
            raise
        extra = adapter.rpartition(".")[2].lower()
        raise MissingExtraError(f"{adapter} needs {framework}: pip install 'fastact[{extra}]'") from error
