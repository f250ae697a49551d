"""A report in a real browser, with its network off: drawn, walked through by mouse and keys, read without scripts."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import HOSTILE, STEPS, large_page, sick_monitor

import fastact
from fastact.heatmap.collect import collect
from fastact.text import shown

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs a browser: {CHROMIUM}"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="needs playwright"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        # Without a sandbox of its own, which root may not have; it opens files of these tests alone.
        found = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sick run, the same with hostile names, and one of many layers."""
    folder = tmp_path_factory.mktemp("pages")
    sick, hostile = sick_monitor(), sick_monitor(HOSTILE)
    pages = {
        "sick": sick.diagnose().to_html(sick.history, title="sick run"),
        "hostile": hostile.diagnose().to_html(hostile.history, title=HOSTILE[0]),
        "large": large_page(2_000, 8),
    }
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


class Tab:
    """A page that is open, and what went wrong in it."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, "offline": True, **options})
        self.page = self.context.new_page()
        self.trouble: list[str] = []
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", lambda request: self._request(request.url))
        self.page.goto(file.as_uri())
        if options.get("java_script_enabled", True):
            self.page.wait_for_selector("html[data-drawn]", state="attached", timeout=60_000)

    def _request(self, url: str) -> None:
        if not url.startswith(("file:", "data:")):
            self.trouble.append(url)

    def close(self) -> None:
        self.context.close()
        assert self.trouble == []


@pytest.fixture(params=["sick"])
def tab(browser: Any, files: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[Tab]:
    found = Tab(browser, files[request.param])
    yield found
    found.close()


def cell(page: Any) -> str:
    return str(page.locator(".cell").inner_text())


def test_a_finding_leads_to_the_map(tab: Tab) -> None:
    page = tab.page
    item = page.locator(".finding", has=page.locator("h3", has_text="encoder.1.act")).first
    assert "dead" in item.locator(".condition").inner_text()
    page.locator("select").first.select_option("mean")
    item.locator("[data-finding]").click()
    assert page.locator("select").first.input_value() == "dead_ratio"
    assert re.match(r"encoder\.1\.act; step 30: dead_ratio", cell(page))
    assert page.evaluate("document.activeElement.className") == "view"
    assert page.locator(".panel h3").inner_text() == "encoder.1.act"
    assert page.locator(".panel svg").count() > 5
    box = page.locator(".view").bounding_box()
    assert 0 <= box["y"] < 900


def test_keys_walk_over_every_cell_and_its_numbers_are_right(tab: Tab) -> None:
    page = tab.page
    page.locator("select").first.select_option("rms")
    page.locator(".view").focus()
    for key in ("Home", *["ArrowUp"] * 12):
        page.keyboard.press(key)
    level = collect(sick_monitor().history).levels[0]
    exact = level.parts["rms"].median
    names = ["encoder", "0", "linear", "act", "1", "linear", "act", "head"]
    seen = {}
    for _ in names:
        page.keyboard.press("End")
        seen[cell(page).split(";")[0].split(",")[0]] = cell(page)
        page.keyboard.press("ArrowDown")
    for row, name in enumerate(["encoder.0.linear", "encoder.0.act", "encoder.1.linear", "encoder.1.act", "head"]):
        found = re.search(rf"step {STEPS - 1}: rms ([0-9.e−,]+)", seen[name])
        assert found, seen[name]
        value = float(found[1].replace("−", "-"))
        assert value == pytest.approx(exact[row, -1], rel=0.006, abs=1e-12)
    assert "2 layers" in seen["encoder.0"]


def test_modules_fold_and_steps_zoom_by_key(tab: Tab) -> None:
    page = tab.page
    page.locator(".view").focus()
    for _ in range(12):
        page.keyboard.press("ArrowUp")
    height = page.locator(".spacer").bounding_box()["height"]
    assert "unfolded, 4 layers" in cell(page)
    page.keyboard.press("Space")
    assert "folded, 4 layers" in cell(page)
    assert page.locator(".spacer").bounding_box()["height"] < height
    labels = page.locator(".time span").all_inner_texts()
    page.keyboard.press("+")
    assert page.get_by_role("button", name="All steps").is_visible()
    assert page.locator(".time span").all_inner_texts() != labels
    page.keyboard.press("Escape")
    assert page.locator(".time span").all_inner_texts() == labels


def test_the_pointer_tells_numbers_and_a_click_shows_curves(tab: Tab) -> None:
    page = tab.page
    page.locator(".view").scroll_into_view_if_needed()
    box = page.locator(".view").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 19 * 2 + 9)
    tip = page.locator(".tip").inner_text()
    assert "encoder.0.linear" in tip
    assert "step" in tip
    page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + 19 * 3 + 9)
    assert page.locator(".panel h3").inner_text() == "encoder.0.act"
    assert page.locator(".losschart path.line").count() == 1


def test_dragging_zooms_and_fit_shows_all_rows(tab: Tab) -> None:
    page = tab.page
    page.locator(".view").scroll_into_view_if_needed()
    box = page.locator(".view").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 30, steps=3)
    page.mouse.up()
    assert page.get_by_role("button", name="All steps").is_visible()
    page.mouse.dblclick(box["x"] + box["width"] * 0.7, box["y"] + 30)
    assert not page.get_by_role("button", name="All steps").is_visible()


def test_dark_and_light(tab: Tab) -> None:
    page = tab.page
    colour = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(colour) == "rgb(255, 255, 255)"
    page.locator("#theme").click()
    assert page.evaluate(colour) == "rgb(20, 23, 27)"
    page.locator("#theme").click()
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) == "rgb(255, 255, 255)"  # as it was chosen


def test_the_system_chooses_at_first(browser: Any, files: dict[str, Path]) -> None:
    tab = Tab(browser, files["sick"], color_scheme="dark")
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    tab.close()


def test_it_is_read_without_a_script(browser: Any, files: dict[str, Path]) -> None:
    tab = Tab(browser, files["sick"], java_script_enabled=False)
    page = tab.page
    assert page.locator("h1").inner_text()
    assert page.locator(".finding svg.chart").count() >= 2
    image = page.locator(".still image").first
    assert image.is_visible()
    assert page.locator("table tbody tr").count() >= 5
    assert not page.locator("#theme").is_visible()
    page.locator(".still a").first.click()
    assert re.search(r"#run-0-finding-\d+$", page.url)
    tab.close()


def test_print_shows_the_still_picture(tab: Tab) -> None:
    tab.page.emulate_media(media="print")
    assert tab.page.locator(".still image").is_visible()
    assert not tab.page.locator(".controls").is_visible()


@pytest.mark.parametrize("width", [320, 700, 1600])
def test_nothing_is_wider_than_the_window(browser: Any, files: dict[str, Path], width: int) -> None:
    tab = Tab(browser, files["hostile"], viewport={"width": width, "height": 800})
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    tab.close()


def test_hostile_names_are_names(browser: Any, files: dict[str, Path]) -> None:
    tab = Tab(browser, files["hostile"])
    page = tab.page
    page.get_by_role("button", name="Unfold").click()
    page.locator(".view").focus()
    said = set()
    for _ in range(60):
        page.keyboard.press("ArrowDown")
        said.add(cell(page).split("; step")[0])
    for name in HOSTILE[:6]:
        assert shown(name, 160) in said
    page.keyboard.press("Enter")
    assert page.evaluate("window.hacked") is None
    tab.close()


def test_the_keyboard_reaches_everything(tab: Tab) -> None:
    page = tab.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("`${document.activeElement.tagName} ${document.activeElement.className}`"))
    assert {"BUTTON theme", "A ", "SUMMARY ", "SELECT ", "DIV view", "DIV scroll"} <= seen
    assert page.evaluate("[...document.querySelectorAll('svg[role=img]')].every((e) => e.getAttribute('aria-label'))")


def test_many_layers_are_drawn(browser: Any, files: dict[str, Path]) -> None:
    tab = Tab(browser, files["large"])
    page = tab.page
    page.get_by_role("button", name="Unfold").click()
    # A node for each layer, and more for the modules.
    assert page.locator(".spacer").bounding_box()["height"] > 2_000 * 19
    page.get_by_role("button", name="Fit all").click()
    assert page.locator(".spacer").bounding_box()["height"] < 900
    painted = page.evaluate(
        """() => {
            const canvas = document.querySelector(".view canvas");
            const { data } = canvas.getContext("2d").getImageData(canvas.width / 2, 0, 1, canvas.height);
            return new Set(Array.from({ length: canvas.height }, (_, i) => data.slice(4 * i, 4 * i + 3).join())).size;
        }"""
    )
    assert painted > 50
    tab.close()


def test_the_same_rows_give_the_same_page() -> None:
    pages = []
    for _ in range(2):
        monitor = sick_monitor()
        pages.append(monitor.diagnose().to_html(monitor.history))
    assert pages[0] == pages[1]
    assert np.all([len(page) < 400_000 for page in pages])


def test_a_spike_and_nan_leave_the_map_its_colours(browser: Any, tmp_path: Path) -> None:
    monitor = fastact.ActivationMonitor()
    random = np.random.default_rng(0)
    for step in range(50):
        for i, size in enumerate((0.5, 1.0, 2.0)):
            monitor.record(f"fc{i}", random.normal(size=(16, 8)) * size * (1e12 if step == 30 else 1.0))
        monitor.record("nan", np.full((16, 8), np.nan if step >= 20 else 1.0))
        if step >= 25:
            monitor.record("late", random.normal(size=(16, 8)))
        monitor.step()
    file = tmp_path / "spike.html"
    file.write_text(monitor.diagnose().to_html(monitor.history), encoding="utf-8")
    tab = Tab(browser, file)
    page = tab.page
    page.locator("select").first.select_option("rms")
    legend = page.locator(".legend").inner_text()
    assert re.search(r"≥ [12]\.\d", legend), legend
    assert "no finite number" in legend
    assert "no rows" in legend
    colours = page.evaluate(
        """() => {
            const canvas = document.querySelector(".view canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const at = (x, row) => {
              const place = 4 * (Math.round(canvas.width * x) + canvas.width * (19 * row + 9));
              return data.slice(place, place + 3).join();
            };
            return [at(0.35, 0), at(0.35, 2), at(0.95, 3), at(0.35, 4)];
        }"""
    )
    assert colours[2] == "154,160,166"  # rows, and no finite number
    assert len(set(colours)) == 4
    tab.close()
