"""Reports findings while a network trains: each once, and again when it has become more severe."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal

from fastact.checks import check_choice, check_integer
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import SEVERITIES, Finding, FindingError, Severity, gravity
from fastact.diagnosis.show.render import advice
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.failures import FailureCounter

#: What to do with a finding: end the training by a `FindingError`, write a warning to the logger "fastact", ask the
#: loop to stop (`ActivationMonitor.should_stop`), or call a function with it.
Action = Literal["raise", "log", "stop"] | Callable[[Finding], object]

_LOGGER: Final = logging.getLogger("fastact")
_ALONE: Final = (
    "on_finding='stop' was not followed: of several ranks one that stops alone leaves the others waiting for it. "
    "With gather=fastact.torch.Gather() all stop in the same step. The finding was:"
)


class Alerts:
    """Diagnoses now and then, and reports what is new: culprits, not their consequences; no note, nothing accepted.

    Of a culprit and the layers that have the same because of it, the gravest one is reported, the first of equals.

    The arguments are `on_finding`, `alert_severity` and `alert_every` of `ActivationMonitor`. What a function raises
    reaches the training loop, and so may end it.

    Example:
        >>> from fastact.history import LayerInfo
        >>> diagnoser = Diagnoser()
        >>> diagnoser.add(LayerInfo("act", 0, "Tanh"))
        >>> alerts = Alerts(lambda finding: print(finding.layer, finding.condition, finding.severity), every=5)
        >>> for step in range(20):  # 1000 elements, 900 of them beyond ±0.99
        ...     state = (1000, 0, 0, 0, 0, 900, 0.0, 0.95, 0.94, -1.0, 1.0)
        ...     diagnoser.append("act", (step, 0, 0, *state, 0, 0, 0, 0, 0, float("nan"), -1, float("nan"), 0, 0, 0))
        ...     alerts.look(diagnoser)
        act saturated critical
    """

    def __init__(self, action: Action, severity: Severity = "serious", every: int = 10) -> None:
        if not callable(action) and action not in ("raise", "log", "stop"):
            error = ArgumentValueError if isinstance(action, str) else ArgumentTypeError
            raise error(f"on_finding: got {action!r}, want 'raise', 'log', 'stop' or a function of a Finding")
        check_choice("alert_severity", severity, SEVERITIES)
        #: Whether the loop was asked to stop; and whether it may be: a rank that stops alone leaves others waiting.
        self.stop, self.agreed = False, True
        self._warned = False
        self._action, self._least = action, gravity(severity)
        self._every = check_integer("alert_every", every, 1)
        self._steps = 0
        #: (layer, condition) -> the `gravity` that was reported.
        self._reported: dict[tuple[str, str], int] = {}

    def look(
        self,
        diagnoser: Diagnoser,
        failures: FailureCounter | None = None,
        seen: Callable[[Sequence[Finding]], None] = lambda _: None,
    ) -> None:
        """To be called after each recorded step; diagnoses at one in `every`. May raise a `FindingError`.

        A diagnosis that fails is counted in `failures`, and ends no training. `seen` is given all findings first.
        """
        self._steps += 1
        if self._steps % self._every:
            return
        found: tuple[Finding, ...] = ()
        with failures("diagnose") if failures is not None else contextlib.nullcontext():
            found = diagnoser.diagnose().findings
            seen(found)
        for finding in self.fresh(found):
            self.act(finding)

    def fresh(self, found: Iterable[Finding]) -> Iterator[Finding]:
        """The findings that are to be reported, once: each counts as reported when it is given out."""
        culprit: Finding | None = None
        gravest: dict[Finding, Finding] = {}
        for finding in found:
            if finding.consequence_of is None:
                culprit = gravest[finding] = finding
            elif culprit is not None and culprit.condition == finding.condition:
                gravest[culprit] = max(gravest[culprit], finding, key=lambda each: gravity(each.severity))
        for culprit, finding in gravest.items():
            name, severity = (culprit.layer, culprit.condition), gravity(finding.severity)
            if severity >= self._least and severity > self._reported.get(name, -1):
                # First, so that a function that raises gets it only once as well.
                self._reported[name] = severity
                yield finding

    def act(self, finding: Finding, *, raises: bool = True) -> None:
        """Does with a finding what was asked for; without `raises`, a finding that would be raised is logged."""
        if callable(self._action):
            self._action(finding)
        elif self._action == "raise" and raises:
            raise FindingError(finding.message, finding)
        elif self._action == "stop" and self.agreed:
            self.stop = True
        elif self._action == "stop":
            if not self._warned:
                self._warned = True
                _LOGGER.warning(_ALONE)
            _LOGGER.warning("%s", " ".join([finding.message, *advice(finding)]))
        else:
            _LOGGER.warning("%s", " ".join([finding.message, *advice(finding)]))
