"""A monitor in a notebook: its view is brought up to date while it trains, seldom enough, and ends nothing."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.errors import ArgumentValueError, FastactError
from fastact.monitor import notebook


class Kernel:
    """A notebook as far as a view knows one: a shell with a kernel, and what was sent to it for display."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ipython = pytest.importorskip("IPython")
        from IPython.core.displaypub import DisplayPublisher
        from IPython.core.interactiveshell import InteractiveShell

        self.sent: list[tuple[str | None, bool, str]] = []
        kernel = self

        class Publisher(DisplayPublisher):
            def publish(self, data: Any, *_: Any, transient: Any = None, update: bool = False, **__: Any) -> None:
                kernel.sent.append(((transient or {}).get("display_id"), update, data["text/html"]))

        shell = InteractiveShell.instance(display_pub_class=Publisher)
        setattr(shell, "kernel", object())  # noqa: B010 - which its type does not know
        monkeypatch.setattr(ipython, "get_ipython", lambda: shell)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    yield Kernel(monkeypatch)
    InteractiveShell.clear_instance()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still until a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(notebook.time, "monotonic", lambda: now[0])  # type: ignore[attr-defined]
    return now


def step(monitor: fastact.ActivationMonitor, *, dead: bool = False) -> None:
    x = np.zeros((64, 8), np.float32) if dead else np.random.default_rng(0).standard_normal((64, 8))
    monitor.record("act<b>", x, axis=-1, layer_type="ReLU")
    monitor.step()


def test_the_view_follows_the_training_and_says_what_is_found(kernel: Kernel, clock: list[float]) -> None:
    with fastact.ActivationMonitor() as monitor:
        view = monitor.live(every=5.0)
        for _ in range(20):
            step(monitor, dead=True)
            clock[0] += 1.0
    assert [update for _, update, _ in kernel.sent] == [False] + [True] * (view.updates)
    # Every five seconds, and at the end.
    assert view.updates == 4
    assert len({name for name, _, _ in kernel.sent}) == 1
    assert "Nothing was recorded" in kernel.sent[0][2]
    last = kernel.sent[-1][2]
    assert "in memory, step 20, closed" in last
    assert "dead (critical)" in last
    assert "act&lt;b&gt;" in last
    assert "<b>" not in last
    assert '<path d="M' in last  # the curve


def test_a_view_that_takes_long_is_drawn_so_seldom_that_it_takes_two_per_cent(
    kernel: Kernel, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = vars(notebook)["card"]

    def card(*arguments: Any) -> Any:
        clock[0] += 3.0
        return slow(*arguments)

    monkeypatch.setattr(notebook, "card", card)
    monitor = fastact.ActivationMonitor()
    begin = clock[0]
    view = monitor.live(every=0.1)
    for _ in range(1500):
        step(monitor)
        clock[0] += 1.0
    assert view.updates == 9
    assert view.seconds == 30.0  # with the first view
    assert view.seconds / (clock[0] - begin) < 0.021
    monitor.close()


def test_a_view_that_is_stopped_or_fails_does_not_hold_the_training_up(
    kernel: Kernel, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = fastact.ActivationMonitor()
    view = monitor.live()
    clock[0] += 100.0
    step(monitor)
    assert view.updates == 1
    view.stop()
    view.stop()
    sent = len(kernel.sent)
    clock[0] += 100.0
    step(monitor)
    assert len(kernel.sent) == sent
    monitor.live()
    clock[0] += 100.0
    monkeypatch.setattr(notebook, "card", None)
    with pytest.warns(RuntimeWarning, match="could not hand its rows to a listener"):
        step(monitor)
    step(monitor)  # not again at once
    assert monitor.failures == 1
    with pytest.warns(RuntimeWarning, match="could not show the last step"):
        monitor.close()
    assert len(monitor.history["act<b>"]) == 4
    with pytest.raises(FastactError, match="the monitor is closed: cannot show it live"):
        monitor.live()


def test_outside_of_a_notebook_it_is_said_what_to_do() -> None:
    code = "import fastact\nfastact.ActivationMonitor().live()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "FastactError: live: there is no notebook to show it in; in a terminal, run: fastact tail RUN" in done.stderr


@pytest.mark.parametrize("every", [0.0, float("nan"), 1e9])
def test_every_is_a_number_of_seconds(every: float) -> None:
    with pytest.raises(ArgumentValueError, match="every: got"):
        fastact.ActivationMonitor().live(every=every)
