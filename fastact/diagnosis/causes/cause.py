"""Causes as small hypotheses: each says what in the rows speaks for it and against it, and the best one is told.

A rule lists what could have brought its condition about. What the rows refute is never told, and where they refute all,
the cause is unknown: a wrong cause costs more trust than none.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from fastact.diagnosis.finding import Confidence, Evidence, Finding, Severity


class Cause(NamedTuple):
    """A hypothesis on why a layer has a condition.

    Attributes:
        name: the cause in a word, such as "learning_rate"; the same word in all rules.
        says: the cause as one sentence.
        remedies: what to try, the likeliest first.
        speaks_for: what in the rows speaks for it, each a clause such as "its input reaches 255".
        refuted_by: what in the rows speaks against it; with any, it is never told.
        proved: whether what speaks for it leaves no other.
    """

    name: str
    says: str
    remedies: tuple[str, ...]
    speaks_for: tuple[str, ...] = ()
    refuted_by: tuple[str, ...] = ()
    proved: bool = False


def refuted(name: str, *why: str) -> Cause:
    """A hypothesis that the rows refute, which is never told: what it would say need not be made."""
    return Cause(name, "", (), refuted_by=why)


UNKNOWN: Final = Cause("", "The recorded rows do not show why.", ())


class Verdict(NamedTuple):
    """The cause that is told, and how sure it is."""

    cause: Cause
    confidence: Confidence

    def finding(
        self, layer: str, condition: str, severity: Severity, step: int, evidence: Evidence, message: str
    ) -> Finding:
        """The finding that tells this cause; the arguments are the fields of `Finding`."""
        says, remedies, name, because = self.cause.says, self.cause.remedies, self.cause.name, self.cause.speaks_for
        return Finding(
            layer, condition, severity, step, evidence, message, says, remedies, None, name, because, self.confidence
        )


def best(causes: Iterable[Cause], otherwise: tuple[str, ...] = ()) -> Verdict:
    """The cause that the rows speak for most, of those that they do not refute; of equals the first.

    Args:
        causes: the likeliest first, by what is known without looking at the rows.
        otherwise: what to try where all are refuted.

    Example:
        >>> rate = Cause("learning_rate", "An update was too large.", ("use a lower learning rate",))
        >>> inputs = Cause("inputs", "The inputs are not normalised.", ("normalise them",), ("they reach 255",))
        >>> best([rate, inputs]).cause.name, best([rate]).confidence
        ('inputs', 'possible')
        >>> best([rate._replace(refuted_by=("it was so at step 0",))]).confidence
        'unknown'
    """
    left = [cause for cause in causes if not cause.refuted_by]
    if not left:
        return Verdict(UNKNOWN._replace(remedies=otherwise), "unknown")
    cause = left[0]
    for each in left:  # the first of equals
        if (each.proved, len(each.speaks_for)) > (cause.proved, len(cause.speaks_for)):
            cause = each
    if cause.proved:
        return Verdict(cause, "certain")
    return Verdict(cause, "likely" if cause.speaks_for else "possible")
