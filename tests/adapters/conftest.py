"""What several tests of sinks begin with."""

import pytest
from sink_doubles import Memory, Sent, train

from fastact import ActivationMonitor, sinks


@pytest.fixture
def expected() -> Sent:
    """What any sink must have got."""
    memory = Memory()
    monitor = ActivationMonitor()
    sinks.attach(monitor, memory)
    train(monitor)
    return memory.sent
