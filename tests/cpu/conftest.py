"""What several tests of the sweeps on CPU share."""

from collections.abc import Iterator

import pytest

import fastact


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads is set back after the test."""
    before = fastact.get_num_threads()
    yield
    fastact.set_num_threads(before)
