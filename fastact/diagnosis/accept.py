"""What the user has accepted: findings that are known, and are to be shown apart and not counted."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from fastact.diagnosis import rules
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.report import Accepted
from fastact.diagnosis.settings import read_settings
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.text import matches

#: Pattern of layer names -> a condition, several, or a reason for each.
Accept = Mapping[str, str | Iterable[str] | Mapping[str, str]]
#: What stands for all conditions.
_ALL: Final = "*"


class Acceptance(NamedTuple):
    """One condition that is accepted of some layers.

    Attributes:
        pattern: a layer's name, or a pattern of names with ``*``, ``?`` and ``[...]``.
        condition: the condition; "*" for every one.
        reason: why, in the user's words; "" where none was given.
    """

    pattern: str
    condition: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether this is about the finding; ``input[1]`` is a pattern and a name, and is taken as both."""
        right = self.condition in (_ALL, finding.condition)
        return right and matches(finding.layer, self.pattern)

    def __str__(self) -> str:
        return f"{self.pattern}: {self.condition}"


def check_accept(accept: object) -> tuple[Acceptance, ...]:
    """What is accepted, from the argument `accept`; None is nothing.

    Raises:
        ArgumentTypeError, ArgumentValueError: it is no mapping of patterns to conditions, or a condition is unknown.

    Example:
        >>> check_accept({"encoder.3": {"dead": "pruned"}, "head": ["saturated"]})[0]
        Acceptance(pattern='encoder.3', condition='dead', reason='pruned')
        >>> check_accept({"encoder.3": "dying"})
        Traceback (most recent call last):
        fastact.errors.ArgumentValueError: accept['encoder.3']: got the condition 'dying', want '*' or one of ...
    """
    if accept is None:
        return ()
    if not isinstance(accept, Mapping):
        raise ArgumentTypeError(f"accept: got {type(accept).__name__}, want a mapping of layer names to conditions")
    result: list[Acceptance] = []
    for pattern, conditions in accept.items():
        if not isinstance(pattern, str) or not pattern:
            raise ArgumentTypeError(
                f"accept: got the key {pattern!r}, want a layer's name, or a pattern such as 'head.*'"
            )
        result += _of_pattern(pattern, conditions)
    return tuple(result)


def _of_pattern(pattern: str, conditions: object) -> list[Acceptance]:
    argument = f"accept[{pattern!r}]"
    wanted = "a condition, a list of conditions, or a mapping of conditions to reasons"
    if isinstance(conditions, str):
        conditions = [conditions]
    if not isinstance(conditions, Iterable):
        raise ArgumentTypeError(f"{argument}: got {type(conditions).__name__}, want {wanted}")
    reasons = dict(conditions) if isinstance(conditions, Mapping) else dict.fromkeys(conditions, "")
    if not reasons:
        raise ArgumentValueError(f"{argument}: got none, want {wanted}")
    known = [rule.condition for rule in rules.RULES]
    for condition, reason in reasons.items():
        if not isinstance(condition, str):
            raise ArgumentTypeError(f"{argument}: got {type(condition).__name__}, want the name of a condition")
        if isinstance(reason, Mapping):
            # A key of TOML is split at its dots unless it is quoted.
            raise ArgumentTypeError(
                f"{argument}: got a table for {condition!r}, want a reason as text; a layer's name with dots has to be "
                f'quoted: "{pattern}.{condition}"'
            )
        if not isinstance(reason, str):
            got = type(reason).__name__
            raise ArgumentTypeError(f"{argument}[{condition!r}]: got {got}, want a reason as text")
        if condition not in (_ALL, *known):
            raise ArgumentValueError(
                f"{argument}: got the condition {condition!r}, want {_ALL!r} or one of {', '.join(known)}"
            )
    return [Acceptance(pattern, condition, reason) for condition, reason in reasons.items()]


def as_mapping(accepted: Iterable[Acceptance]) -> dict[str, dict[str, str]]:
    """What is accepted in the form of the argument, as JSON and TOML can hold it."""
    result: dict[str, dict[str, str]] = {}
    for each in accepted:
        result.setdefault(each.pattern, {})[each.condition] = each.reason
    return result


def accept_from_toml(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    r"""What a TOML file accepts, for the argument `accept` of `ActivationMonitor` and `Log.diagnose`.

    The table is ``[tool.fastact.accept]`` in a ``pyproject.toml``, and ``[accept]`` in a file of its own, which may
    hold thresholds too (`Thresholds.from_toml`). Its keys are names of layers or patterns of names, in quotes; its
    values are a condition, a list of conditions, or a table of conditions with the reason for each.

    Args:
        path: the file.

    Raises:
        ArgumentTypeError: `path` is no path, or a value is none of these.
        ArgumentValueError: the file cannot be read or is no TOML, or a condition is unknown.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "fastact.toml"
        ...     _ = file.write_text('[accept]\n"encoder.*" = { dead = "pruned on purpose" }')
        ...     accept_from_toml(file)
        {'encoder.*': {'dead': 'pruned on purpose'}}
    """
    _, table = read_settings(path)
    try:
        return as_mapping(check_accept(table))
    except (ArgumentTypeError, ArgumentValueError) as error:
        raise type(error)(f"{os.fspath(path)!r}: {error}") from None


def accept_from_option(text: str) -> dict[str, dict[str, str]]:
    """What one option of the command line accepts: ``PATTERN:CONDITION``, or ``PATTERN:CONDITION=REASON``.

    Example:
        >>> accept_from_option("encoder.*:dead=pruned on purpose")
        {'encoder.*': {'dead': 'pruned on purpose'}}
    """
    about, _, reason = text.partition("=")
    pattern, _, condition = about.rpartition(":")  # a name may have colons itself, a condition has none
    if not pattern or not condition:
        raise ArgumentValueError(f"accept: got {text!r}, want PATTERN:CONDITION or PATTERN:CONDITION=REASON")
    return as_mapping(check_accept({pattern.strip(): {condition.strip(): reason.strip()}}))


def to_json(accepted: Iterable[Acceptance]) -> str:
    """What is accepted as text for a log's metadata."""
    return json.dumps(as_mapping(accepted))


def from_json(text: str | None) -> dict[str, dict[str, str]]:
    """What `to_json` wrote; without what cannot be read, such as a condition of a newer version."""
    try:
        stored = json.loads(text or "{}")
        pairs = [(pattern, {name: why}) for pattern, reasons in stored.items() for name, why in reasons.items()]
    except (TypeError, ValueError, AttributeError, RecursionError):
        return {}
    result: list[Acceptance] = []
    for pattern, reason in pairs:
        try:
            result += check_accept({pattern: reason})
        except (ArgumentTypeError, ArgumentValueError):
            continue
    return as_mapping(result)


def is_accepted(finding: Finding, acceptances: Iterable[Acceptance]) -> bool:
    """Whether one of the acceptances is about the finding itself."""
    return any(each.covers(finding) for each in acceptances)


def set_apart(
    findings: Sequence[Finding], acceptances: Sequence[Acceptance]
) -> tuple[tuple[Finding, ...], tuple[Accepted, ...], tuple[str, ...]]:
    """Takes what is accepted out of the findings, and what follows from an accepted culprit with it.

    Args:
        findings: each culprit before its consequences.
        acceptances: of several that are about a finding, the first one's reason is told.

    Returns:
        The findings that are left; those that are accepted; and the acceptances that are about none, as text.
    """
    if not acceptances:
        return tuple(findings), (), ()
    kept: list[Finding] = []
    accepted: list[Accepted] = []
    used: set[Acceptance] = set()
    culprit: Acceptance | None = None
    for finding in findings:
        about = [each for each in acceptances if each.covers(finding)]
        used.update(about)
        if finding.consequence_of is None:
            culprit = about[0] if about else None
        because = about[0] if about else culprit
        if because is None:
            kept.append(finding)
        else:
            accepted.append(Accepted(finding, because.reason))
    return tuple(kept), tuple(accepted), tuple(str(each) for each in acceptances if each not in used)
