"""The errors that fastact raises on purpose; `FindingError`, which carries a finding, is in `diagnosis.finding`.

Each message names the argument, says what was got and what is wanted. `ArgumentTypeError` and
`ArgumentValueError` are also the built-in `TypeError` and `ValueError`, so existing handlers catch them.
"""


class FastactError(Exception):
    """Base class of every error that fastact raises on purpose."""


class ArgumentTypeError(FastactError, TypeError):
    """An argument has a type that cannot be used: a `TypeError` with the argument's name in the message."""


class ArgumentValueError(FastactError, ValueError):
    """An argument has the right type but is out of range: a `ValueError` with the argument's name in the message."""


class LogError(FastactError):
    """Nothing can be read from a log, or no log can be written at the given path."""


class MissingExtraError(FastactError, ImportError):
    """A feature needs an optional package; the message names the extra that installs it."""
