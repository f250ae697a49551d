"""Every error that fastact raises on purpose.

Each message names the argument, says what was got and what is wanted. `ArgumentTypeError` and
`ArgumentValueError` are also the built-in `TypeError` and `ValueError`, so existing handlers catch them.
"""

__all__ = ["ArgumentTypeError", "ArgumentValueError", "FastactError", "LogError", "MissingExtraError"]


class FastactError(Exception):
    """Base class of every error that fastact raises on purpose."""


class ArgumentTypeError(FastactError, TypeError):
    """An argument is of a kind that cannot be used: `TypeError` with the argument's name in the message."""


class ArgumentValueError(FastactError, ValueError):
    """An argument is of the right kind but out of range: `ValueError` with the argument's name in the message."""


class LogError(FastactError):
    """Nothing can be read from a log, or a log cannot be written where it was asked for."""


class MissingExtraError(FastactError, ImportError):
    """A feature needs an optional package; the message names the extra that brings it."""
