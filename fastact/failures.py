"""Keeps what goes wrong in fastact from ending a training: counted, warned of once, or raised where asked for."""

import contextlib
from collections.abc import Iterator

from fastact.diagnosis.finding import FindingError
from fastact.warn import warn


class FailureCounter:
    """Counts failures and warns of the first: ``with counter("close the log"): ...``.

    The warning says whose failures these are (`owner`), and where a user reads how many there were (`counter`). If
    `strict`, they are raised instead.

    Example:
        >>> import warnings
        >>> counter = FailureCounter("fastact")
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     for _ in range(3):
        ...         with counter("divide"):
        ...             1 / 0
        >>> counter.failures, len(caught)
        (3, 1)
    """

    def __init__(self, owner: str, *, strict: bool = False, counter: str = "`failures`") -> None:
        self.owner, self.strict, self.counter = owner, strict, counter
        self.failures = self.lost_rows = 0

    def failed(self, what: str, error: Exception, rows: int = 0) -> None:
        """Counts `error`, by which `what` failed, and warns of the first. If `strict`, the caller is to raise it.

        `rows` is how many rows there are not because of it: a row that could not be judged is a failure, and is there.
        """
        self.failures += 1
        self.lost_rows += rows
        if self.failures == 1 and not self.strict:
            warn(
                f"{self.owner} could not {what} and continues without it ({type(error).__name__}: {error});"
                f" {self.counter} counts further failures"
            )

    @contextlib.contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Catches what goes wrong in the ``with`` block, in which `what` is tried."""
        try:
            yield
        except FindingError:
            raise  # the monitor was asked to raise it
        except Exception as error:
            self.failed(what, error)
            if self.strict:
                raise
