"""What a notebook shows: each value has a card, whatever comes from outside is escaped, and numbers are the value's."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import nothing_finite, row, saturated, watch

import fastact
from fastact.html.notebook import Card, Line, Table, Told, small_curve, style

HOSTILE = "<script>alert(1)</script>\x1b[2J\"'&"
#: Elements without an end.
VOID = {"path", "br", "img"}


class Read(HTMLParser):
    """The elements and the text of a card; elements that do not end where they should are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += f" {data.strip()}"


def shown(value: Any) -> Read:
    text: str = value._repr_html_()
    found = Read(text)
    assert "script" not in found.tags
    assert "\x1b" not in text
    assert "http" not in text  # nothing is fetched
    assert text.startswith('<div class="fastact">')
    return found


def test_stats_show_every_number() -> None:
    x = np.array([[0.0, 1.0, math.nan], [0.0, 3.0, math.inf]])
    text = shown(fastact.summarize(x)).text
    assert "6 elements" in text
    assert re.search(r"zeros +2 ", text)
    assert re.search(r"zero_ratio +33%", text)
    neurons = shown(fastact.summarize(x, axis=-1)).text
    assert "3 neurons, 1 of them all zero, in 6 elements" in neurons
    assert re.search(r"mean +1 +0 +0 +2 ", neurons)  # of all, and the least, the median and the largest of a neuron
    assert re.search(r"max +3 +0 +0 +3 ", neurons)
    assert re.search(r"mean +- ", shown(fastact.summarize(np.full(3, math.nan))).text)
    assert "0 elements" in shown(fastact.summarize(np.zeros(0))).text


def test_a_diagnosis_shows_the_first_culprit_in_full_and_the_sick_layers_first() -> None:
    names = [f"layer{place}" for place in range(50)]
    layers: Any = {name: ("Linear", [row(step) for step in range(9)]) for name in names}
    layers |= {HOSTILE: ("Tanh", saturated(0.97)), "nan": ("Linear", [nothing_finite(step) for step in range(9)])}
    diagnosis = watch(layers).diagnose()
    found = shown(diagnosis)
    assert diagnosis.findings[0].message in found.text
    assert re.search(r"Cause|cause", found.text)
    assert "Try" in found.text
    assert "\\u001b[2J" in found.text
    table = found.text[found.text.index("layer type") if "layer type" in found.text else 0 :]
    assert table.index("nan") < table.index("layer0 ")
    assert "22 more are not shown." in found.text  # 52 layers, of which 30 are
    assert found.tags.count("tr") == 31
    healthy = shown(watch({"a": ("Linear", [row(step) for step in range(9)])}).diagnose())
    assert "No problems found" in healthy.text
    assert "Nothing was recorded" in shown(fastact.Diagnosis((), ())).text


@pytest.mark.filterwarnings("ignore:fastact. layer_type")
def test_history_and_log_show_their_layers(tmp_path: Path) -> None:
    with fastact.ActivationMonitor(tmp_path, metadata={HOSTILE: HOSTILE}) as monitor:
        for step in range(3):
            monitor.record(HOSTILE, np.full((4, 2), 1.0 + step), layer_type="<i>")
            monitor.step()
    for value in (monitor.history, monitor.history[HOSTILE]):
        found = shown(value)
        assert "path" in found.tags
        assert "<i>" in found.text
        assert re.search(r"3 +3 +0 +8 +2 ", found.text)  # rows, rms, std, elements, step
    log = shown(fastact.open_log(tmp_path))
    assert "Log of 1 layer," in log.text
    assert "log.plot()" in log.text
    assert log.text.count("alert(1)") == 3
    monitor = fastact.ActivationMonitor()
    assert "in memory, step 0" in shown(monitor).text
    assert "History(layers=0" in shown(monitor.history).text


def test_cards_are_escaped_and_folded() -> None:
    card = Card(
        HOSTILE, HOSTILE, "critical", [(HOSTILE, HOSTILE)], [Told("serious", HOSTILE, [("Try", HOSTILE)])],
        Table([(HOSTILE, False), ("n", True)], [Line((HOSTILE, "1"), "warning", "M0 0")], HOSTILE, 1234, 1),
        [(HOSTILE, [HOSTILE]), ("none", [])],
    )  # fmt: skip
    found = Read(card.to_html())
    assert "script" not in found.tags
    assert found.text.count("alert(1)") == 11
    assert "1,234 more" in found.text
    assert "none" not in found.text
    assert found.tags.count("details") == 2


def test_a_small_curve_has_gaps_where_there_is_no_number() -> None:
    assert small_curve([1.0, 1.0]) == "M1 9L119 9"
    assert small_curve([1e308, -1e308]) == "M1 1L119 17"
    assert small_curve([]) == small_curve([math.inf]) == ""
    assert small_curve([0.0, math.inf, 1.0, 1.0]).count("M") == 2
    assert small_curve(np.arange(10_000)).count("L") < 130


def test_colours_are_those_of_the_report_in_light_and_dark() -> None:
    sheet = style()
    assert sheet.count("--critical:") == 3  # light, dark where the notebook says so, dark where the system does
    assert '[data-jp-theme-light="false"] .fastact' in sheet
    used = set(re.findall(r"var\((--[\w-]+)\)", sheet))
    declared = set(re.findall(r"(--[\w-]+):", sheet))
    assert used <= declared
    selectors = re.findall(r"^([^@\s/][^{]*) \{", sheet, re.MULTILINE)
    assert selectors
    assert all(".fastact" in part for selector in selectors for part in selector.split(", "))


def test_a_card_is_small() -> None:
    assert len(fastact.summarize(np.zeros(3))._repr_html_()) < 12_000
    with pytest.raises(AssertionError):
        Read("<p>")
