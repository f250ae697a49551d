"""Every error that fastact raises on purpose.

Each message names the argument, says what was got and what is wanted. `ArgumentTypeError` and
`ArgumentValueError` are also the built-in `TypeError` and `ValueError`, so existing handlers catch them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastact.diagnosis.rules import Finding

__all__ = ["ArgumentTypeError", "ArgumentValueError", "FastactError", "FindingError", "LogError", "MissingExtraError"]


class FastactError(Exception):
    """Base class of every error that fastact raises on purpose."""


class ArgumentTypeError(FastactError, TypeError):
    """An argument is of a kind that cannot be used: `TypeError` with the argument's name in the message."""


class ArgumentValueError(FastactError, ValueError):
    """An argument is of the right kind but out of range: `ValueError` with the argument's name in the message."""


class FindingError(FastactError):
    """A network is sick, and its monitor was asked to raise then.

    Attributes:
        finding: what is wrong.
    """

    def __init__(self, message: str, finding: "Finding") -> None:
        super().__init__(message)
        self.finding = finding

    def __reduce__(self) -> tuple[type["FindingError"], tuple[str, "Finding"]]:
        return FindingError, (str(self), self.finding)


class LogError(FastactError):
    """Nothing can be read from a log, or a log cannot be written where it was asked for."""


class MissingExtraError(FastactError, ImportError):
    """A feature needs an optional package; the message names the extra that brings it."""
