"""Packages that fastact can do without: the error that names the extra to install where one of them is missing."""

import contextlib
from collections.abc import Iterator

from fastact.errors import MissingExtraError


@contextlib.contextmanager
def needs_extra(user: str, wanted: str, *packages: str, extra: str = "") -> Iterator[None]:
    """Goes around the import of an optional package: `MissingExtraError` names the extra to install.

    Args:
        user: the full name of what needs the package.
        wanted: what is needed, for the message.
        packages: the top-level packages that the extra installs. If another one is missing, the installation is
            broken, and the error is left as it is.
        extra: the extra's name; by default the last part of `user`, in small letters.

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
        extra = extra or user.rpartition(".")[2].lower()
        raise MissingExtraError(f"{user} needs {wanted}: pip install 'fastact[{extra}]'") from error
