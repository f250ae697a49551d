"""A report page as text: whole, bounded, exact, and closed to what names try."""

import base64
import hashlib
import html
import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from pages import HOSTILE, STEPS, Elements, data_of, large_page, sick_monitor, values_of

import fastact
from fastact.diagnosis.report import Diagnosis
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.heatmap.collect import collect
from fastact.heatmap.groups import groups_of
from fastact.heatmap.statistics import STATISTICS
from fastact.history import LayerInfo
from fastact.html.colours import BARE, DIVERGING, SEQUENTIAL, palette, png
from fastact.html.pack import Cells, pack
from fastact.html.page import MOST_BYTES, for_script
from fastact.html.scales import Scale, label, round_numbers, scale_of

#: Elements that a page is built of; whatever a name smuggles in would be another one, or another attribute.
TAGS = """
html head meta title link style body a header span i nav main article section p h1 h2 h3 dl div dt dd ol ul li details
summary figure figcaption svg line text rect path circle image b small code button footer script table thead tbody tr th
td bdi img
"""


@pytest.fixture(scope="module")
def monitor() -> fastact.ActivationMonitor:
    return sick_monitor()


@pytest.fixture(scope="module")
def page(monitor: fastact.ActivationMonitor) -> str:
    return monitor.diagnose().to_html(monitor.history, title="a run")


def test_it_says_what_the_diagnosis_says(page: str, monitor: fastact.ActivationMonitor) -> None:
    text = " ".join(Elements(page).text)
    diagnosis = monitor.diagnose()
    assert {f.condition for f in diagnosis.culprits} >= {"saturated", "dead"}
    for finding in diagnosis.culprits:
        assert finding.message in text
        assert f"since step {finding.first_step}" in text
        for remedy in finding.remedies:
            assert remedy.lower() in text.lower()
    for layer in diagnosis.layers:
        assert layer.name in text


def test_findings_are_drawn_with_their_threshold_and_first_step(page: str) -> None:
    charts = re.findall(r'<svg class="chart" [^>]*aria-label="([^"]*)">(.*?)</svg>', page, re.DOTALL)
    dead = next(body for title, body in charts if title.startswith("dead_ratio of encoder.1.act"))
    assert 'class="limit"' in dead
    assert "a finding where it does harm (0.5)" in dead
    assert re.search(r'class="since-text"[^>]*>step 30<', dead)
    # Where its axis is 560 wide from 52 to 548, step 30 of 0 to 59 lies in the middle.
    x = float(re.search(r'class="since" x1="([0-9.]+)"', dead)[1])  # type: ignore[index]
    assert x == pytest.approx(52 + 496 * 30 / (STEPS - 1), abs=0.1)


def test_it_loads_nothing_and_runs_nothing_but_its_own(page: str) -> None:
    assert page.startswith("<!doctype html>")
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1].startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        body = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert len(body) == 1
        digest = base64.b64encode(hashlib.sha256(body[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in html.unescape(policy[1])
    assert ' style="' not in page  # which the policy would refuse


def test_a_system_that_is_dark_gets_the_colours_of_a_page_that_was_made_so(page: str) -> None:
    by_button = re.findall(r':root\[data-theme="dark"\] \{(.*?)\}', page, re.DOTALL)
    by_system = re.findall(
        r'prefers-color-scheme: dark\) \{ :root:not\(\[data-theme="light"\]\) \{(.*?)\}', page, re.DOTALL
    )
    assert len(by_button) == len(by_system) == 1
    assert by_button[0].split() == by_system[0].split()
    assert "--paper:" in by_button[0]


def test_names_stay_text_whatever_they_hold() -> None:
    monitor = sick_monitor(HOSTILE)
    page = monitor.diagnose().to_html(monitor.history, title=HOSTILE[0])
    plain = sick_monitor(tuple(f"plain{i}" for i in range(len(HOSTILE))))
    wanted = Elements(plain.diagnose().to_html(plain.history, title="x"))
    found = Elements(page)
    assert {tag for tag, _ in found.tags} <= set(TAGS.split())
    names = {name for _, attributes in found.tags for name in attributes}
    assert names == {name for _, attributes in wanted.tags for name in attributes}
    assert len(found.scripts) == len(wanted.scripts)
    assert page.count("</script") == page.count("<script")
    assert "49" not in "".join(t for t in found.text if "{{" in t)
    assert len(page.encode()) <= MOST_BYTES
    for sign in ("\x00", "\x1b", "\u202e", "\u2028"):
        assert sign not in page
    layers = data_of(page)["runs"][0]["layers"]
    assert HOSTILE[0] in layers
    assert max(map(len, layers)) <= 160


def test_a_script_element_cannot_be_ended_by_json() -> None:
    assert for_script({"</script>": "<!--"}) == '{"\\u003c/script\\u003e":"\\u003c!--"}'


def test_cells_are_as_exact_as_they_say(page: str, monitor: fastact.ActivationMonitor) -> None:
    collection = collect(monitor.history)
    level = collection.levels[0]
    assert level.width == 1
    assert data_of(page)["runs"][0]["layers"] == [info.name for info in collection.layers]
    act = [info.name for info in collection.layers].index("encoder.1.act")
    for statistic in ("rms", "mean", "zero_ratio", "dead_ratio", "min"):
        for which in ("low", "lower", "median", "upper", "high"):
            exact = getattr(level.parts[statistic], which)[act]
            np.testing.assert_allclose(values_of(page, statistic, which)[act], exact, rtol=0.0021, atol=0.0)
    assert (values_of(page, "dead_ratio", "median")[act] == 1.0).any()  # exactly


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_packed_numbers_of_any_size(scale: float) -> None:
    values = np.array([[0.0, np.nan, 1.0, -1.0, 1e-5, 3.0]]) * scale
    level = Cells([[0]], 0, 1, 6, np.ones((1, 6), np.int64), {"x": (values,)})
    packed = pack([level])
    facts = packed.levels[0]["statistics"]["x"]
    assert facts["step"] == 0.004
    assert len(zlib.decompress(base64.b64decode(packed.blob))) == 2 * 2 * 6
    wide = Cells([[0]], 0, 1, 2, np.ones((1, 2), np.int64), {"x": (np.array([[5e-324, 1.7e308]]),)})
    assert pack([wide]).levels[0]["statistics"]["x"]["step"] < 0.05


def test_many_layers_fit() -> None:
    page = large_page(length=300)
    assert len(page.encode()) <= MOST_BYTES
    facts = data_of(page)["runs"][0]
    assert len(facts["layers"]) == 10_000
    assert sorted(set(facts["row"])) == list(range(facts["levels"][0]["rows"]))
    assert "its 640 rows are modules" in page


def test_groups_are_modules_and_have_every_layer_once() -> None:
    infos = [LayerInfo(f"block.{i // 6}.{'abc'[i % 3]}.{i % 2}", i) for i in range(600)]
    infos += [LayerInfo(f"block.{i}:grad", 600 + i) for i in range(100)]
    for most in (1, 2, 7, 100, 150, 699, 700, 5000):
        groups = groups_of(infos, most)
        assert len(groups) <= most
        assert sorted(place for group in groups for place in group) == list(range(700))
    names = [{infos[place].name.split(".")[1] for place in group} for group in groups_of(infos, 200)]
    assert max(map(len, names)) == 1  # no group has layers of two blocks


def test_a_diagnosis_without_rows_is_a_page_of_text() -> None:
    page = Diagnosis((), ()).to_html(title="nothing")
    assert "Nothing was recorded" in page
    assert "<image" not in page
    assert "About this report" not in page
    with pytest.raises(ArgumentTypeError, match="source: got int"):
        Diagnosis((), ()).to_html(3)
    with pytest.raises(ArgumentTypeError, match="title: got int, want text"):
        Diagnosis((), ()).to_html(title=3)  # type: ignore[arg-type]


def test_a_log_writes_its_report(tmp_path: Path) -> None:
    with fastact.ActivationMonitor(tmp_path / "run", metadata={"who": "<b>me</b>"}) as monitor:
        for _ in range(10):
            monitor.record("a", np.ones((4, 4)), axis=1)
            monitor.step()
    log = fastact.open_log(tmp_path / "run")
    log.report(tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;me&lt;/b&gt;" in text
    assert [path.name for path in tmp_path.iterdir() if "r.html" in path.name] == ["r.html"]
    with pytest.raises(ArgumentTypeError, match="path: got int"):
        log.report(3)  # type: ignore[arg-type]
    os.mkfifo(tmp_path / "pipe")
    before = {place: place.read_bytes() for place in (tmp_path / "run").iterdir()}
    for place in (tmp_path, tmp_path / "pipe", *before, tmp_path / "nowhere" / "r.html"):
        with pytest.raises(ArgumentValueError, match="path: got"):
            log.report(place)
    assert {place: place.read_bytes() for place in (tmp_path / "run").iterdir()} == before
    (tmp_path / "link").symlink_to(tmp_path / "r.html")
    log.report(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()


def test_pictures_hold_the_colours_of_their_places() -> None:
    places = np.array([[0.0, 0.5, 1.0], [np.nan, 1.0, 0.0]])
    picture = png(places, SEQUENTIAL)
    start = picture.index(b"IDAT") + 4
    lines = np.frombuffer(zlib.decompress(picture[start : picture.index(b"IEND") - 8]), np.uint8).reshape(2, 4)
    assert lines.tolist() == [[0, 0, 126, 253], [0, 255, 253, 0]]
    assert palette(DIVERGING, 3)[1].tolist() == [247, 246, 246]


def test_scales_and_their_numbers() -> None:
    assert round_numbers(0.0, 299.0) == [0.0, 100.0, 200.0]
    assert Scale("log", 1e-3, 1e3).ticks() == [1e-3, 1e-1, 1e1, 1e3]
    assert Scale("log", 1.0, 100.0)(np.array([10.0, 1000.0, np.nan])).tolist()[:2] == [0.5, 1.0]
    symlog = Scale("symlog", -10.0, 10.0)
    assert symlog(np.array([-10.0, 0.0, 10.0])).tolist() == [0.0, 0.5, 1.0]
    assert [label(x) for x in (1e6, 20_000.0, 0.25, -1e-7)] == ["1M", "20k", "0.25", "−1e−07"]
    for kind in ("share", "size", "signed"):
        for values in ([], [np.nan], [0.0], [5.0, 5.0], [-1.0, 1e9], [1e-300, 1e300]):
            scale, _, _ = scale_of([np.array(values, float)], kind)
            assert scale.low < scale.high
            assert all(np.isfinite(scale.ticks()))


def test_every_rule_is_seen_in_a_statistic_that_there_is(monitor: fastact.ActivationMonitor) -> None:
    from fastact.diagnosis.rules import RULES, Thresholds

    for rule in RULES:
        assert rule.shows in STATISTICS
    for finding in monitor.diagnose().findings:
        rule = next(rule for rule in RULES if rule.condition == finding.condition)
        assert rule.shown(finding) in STATISTICS
        for value, what in rule.limits(finding, Thresholds()):
            assert np.isfinite(value)
            assert what


def test_a_spike_does_not_take_the_colours_of_all_other_cells() -> None:
    ordinary = np.geomspace(0.2, 2.0, 500)
    with_spike = np.append(ordinary, [1e12] * 8)
    scale, below, above = scale_of([with_spike], "size")
    assert (scale.shape, scale.high, below, above) == ("linear", 2.0, False, True)
    exploded = np.append(ordinary, np.geomspace(10.0, 1e37, 25))  # and then NaN
    scale, below, above = scale_of([exploded], "size")
    assert scale(ordinary).max() - scale(ordinary).min() > 0.05
    assert scale.high <= 1e13
    assert above
    scale, _, above = scale_of([exploded], "size", exact=True)  # a curve keeps its peak
    assert (scale.low < 0.21, scale.high, above) == (True, 1e37, False)
    signed, below, above = scale_of([np.append(-ordinary, with_spike)], "signed")
    assert (signed.low, signed.high, below, above) == (-2.0, 2.0, False, True)
    # What is a tenth of all is no outlier.
    assert scale_of([np.append(ordinary, [1e3] * 60)], "size")[0].high == 1e3


def test_rows_without_a_finite_number_are_grey_and_no_rows_are_nothing(page: str) -> None:
    picture = png(np.array([[np.nan, np.nan, 0.0]]), SEQUENTIAL, np.array([[True, False, True]]))
    start = picture.index(b"IDAT") + 4
    assert zlib.decompress(picture[start : picture.index(b"IEND") - 8]) == bytes([0, 254, 255, 0])
    assert bytes.fromhex(BARE) == picture[picture.index(b"PLTE") + 4 :][254 * 3 : 255 * 3]
    assert "no finite number" in " ".join(Elements(page).text)


def test_too_few_rows_are_not_told_as_healthy() -> None:
    monitor = fastact.ActivationMonitor()
    monitor.record("a", np.ones((4, 4)), axis=1)
    monitor.record_loss(1.0)
    monitor.step()
    page = monitor.diagnose().to_html(monitor.history)
    assert "Not enough data yet to judge any layer" in page
    assert '<section class="verdict unknown">' in page
