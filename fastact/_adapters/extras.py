"""The error of an adapter whose framework is not installed."""

import contextlib
from collections.abc import Iterator

from fastact.errors import MissingExtraError


@contextlib.contextmanager
def needs_extra(adapter: str, framework: str, *packages: str) -> Iterator[None]:
    """Goes around the import of a framework: `MissingExtraError` names the extra to install.

    Args:
        adapter: the full name of what needs the framework; its last part, in small letters, is the extra's name.
        framework: what is needed, for the message.
        packages: the top-level packages that the extra installs. If another one is missing, the installation is
            broken, and the error is left as it is.

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
