"""What a monitor tells of what it does not have: rows that were lost, layers that were not seen."""

from fastact.failures import FailureCounter
from fastact.log.writer import LogWriter
from fastact.monitor.alerts import Alerts
from fastact.monitor.unseen import Unseen


class TellsLost:
    """The part of `ActivationMonitor` that tells what is missing."""

    _alerts: Alerts | None
    _failures: FailureCounter
    _writer: LogWriter | None
    _unseen: Unseen

    @property
    def failures(self) -> int:
        """How often something went wrong in the monitor, such as a row that was not made; the first was warned of."""
        return self._failures.failures

    @property
    def dropped(self) -> dict[str, int]:
        """Rows that are lost, by reason: not made (each a failure), or made and not in the log; {} where none is."""
        made = {} if self._writer is None else self._writer.losses
        lost = self._failures.lost_rows
        return ({"not made": lost} if lost else {}) | made

    @property
    def unseen(self) -> dict[str, str]:
        """What was watched and not recorded so far, by name, and why: layers that never ran, outputs without numbers.

        Only who says beforehand what will be recorded can miss something: `fastact.torch.watch` does.
        """
        return dict(self._unseen.look())

    @property
    def should_stop(self) -> bool:
        """With ``on_finding="stop"``, whether there has been a finding, which asks the loop to stop."""
        return self._alerts is not None and self._alerts.stop
