"""The terminal view, driven by textual's pilot: what is on the screen, and what the keys do."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from live_runs import NASTY, begin, placed, write
from synthetic import row
from textual.pilot import Pilot

from fastact.history import LayerInfo
from fastact.live import screens
from fastact.live.app import Overview, TailApp
from fastact.live.following import Following
from fastact.live.layer_table import LayerTable, Spark

#: How the hostile name is shown.
SHOWN = "act\\u001b[2J[red]\\n"


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sick")
    with begin(path) as writer:
        write(writer, range(20), sick=False)
        write(writer, range(20, 60), sick=True)
    return path


def seen(app: TailApp) -> str:
    """The text on the screen, a line for each of its lines."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    lines = ["".join(segment.text for segment in strip) for strip in strips]
    assert (len(lines), {len(line) for line in lines}) == (height, {width})
    return "\n".join(line.rstrip() for line in lines)


async def until(pilot: Pilot[None], holds: Callable[[], Any]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        await pilot.pause()
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not so:\n{seen(pilot.app)}")  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def opened(
    path: Path, size: tuple[int, int] = (80, 24), every: float = 10.0
) -> AsyncIterator[tuple[TailApp, "Pilot[None]"]]:
    app = TailApp(Following(path, every=every))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.following.shown.diagnosis is not None or not app.following.shown.tail.rows)
        await pilot.pause()
        yield app, pilot


def test_the_first_page_fits_a_small_terminal(sick: Path) -> None:
    async def look() -> None:
        async with opened(sick) as (app, pilot):
            await until(pilot, lambda: "1 finding" in seen(app))
            lines = seen(app).splitlines()
            assert "closed" in lines[0]
            assert lines[1].startswith(" step 59  240 rows, ")
            assert "4 layers, 1 sick" in lines[1]
            assert re.match(r" loss 0\.0167 █▇?[▁-▇]+▁", lines[2]), lines[2]
            assert lines[3].split() == ["layer", "status", "rms", "recent", "rows"]
            assert lines[4].startswith(SHOWN[:10])  # sick first
            assert "saturated (critical)" in lines[4]
            assert [line.split()[0] for line in lines[5:7]] == ["fc1", "fc2"]  # the loss is above
            assert lines[-3].startswith(" 1 finding")
            assert re.match(rf" critical step 20 +{re.escape(SHOWN)}: saturated", lines[-2])
            assert lines[-1].split()[::2] == ["⏎", "tab", "/", "s", "c", "r", "d", "?", "q"]
            assert "\x1b" not in "".join(lines)
            await pilot.resize_terminal(140, 40)
            await pilot.pause()
            wide = seen(app)
            titles = "layer type status mean std saturated dead rms recent rows"
            assert wide.splitlines()[3].split() == titles.split()
            assert "Try: " in wide  # there is room for what the finding says
            assert "cause" in wide

    asyncio.run(look())


def test_keys_filter_sort_and_change_the_statistic(sick: Path) -> None:
    async def look() -> None:
        async with opened(sick) as (app, pilot):
            table = app.screen.query_one(LayerTable)

            def names() -> list[str]:
                return [layer.name for layer in table.listed]

            assert names() == [NASTY, "fc1", "fc2"]
            await pilot.press("s")
            assert names() == ["fc1", NASTY, "fc2"]  # forward order
            assert "by forward order" in seen(app)
            await pilot.press("s", "s", "S")
            assert names() == sorted([NASTY, "fc1", "fc2"])
            await pilot.press("a")
            assert "loss" in names()
            await pilot.press("a", "slash", *"LINEAR", "enter")
            assert names() == ["fc1", "fc2"]
            assert "filter: linear" in seen(app)
            assert table.has_focus
            await pilot.press("slash", *" none")
            assert names() == []
            assert "no layer matches" in seen(app)
            await pilot.press("escape")
            assert len(names()) == 3
            await pilot.press("end", "up", "up", "down", "j", "k", "home", "pagedown")
            assert table.under == names()[-1]
            before = seen(app)
            await pilot.press("c")
            assert before.splitlines()[3].split()[2] == "rms"
            assert seen(app).splitlines()[3].split()[2] == "std"
            assert "1▅█" not in seen(app)
            fc1 = next(line for line in seen(app).splitlines() if line.startswith("fc1"))
            # 20 rows of 1, 2, 3 in 16 places: the largest of those that share one.
            assert set(fc1.split()[-1]) <= set("▁▅█")
            assert "█" in fc1
            await pilot.press("C")
            assert seen(app) == before

    asyncio.run(look())


def test_pages_on_a_layer_a_finding_the_report_and_the_keys(sick: Path) -> None:
    async def look() -> None:
        async with opened(sick, (100, 60)) as (app, pilot):
            await pilot.press("enter")
            await until(pilot, lambda: "in forward order" in seen(app))
            page = seen(app)
            assert SHOWN in page
            assert "Tanh, float32; number 1 in forward order" in page
            assert "60 rows, steps 0 to 59" in page
            assert re.search(r"saturation_ratio +97\.7%|saturation_ratio +98%", page)
            assert "64 neurons: 0 silent, 0 dead" in page
            assert "saturated, since step 20" in page
            assert "Try: " in page
            assert "over the last 20 rows" in page
            await pilot.press("c", "w")
            await until(pilot, lambda: "over the whole run" in seen(app) and "reading" not in seen(app))
            assert re.search(r"step 0 +59", seen(app))
            await pilot.press("n")
            await until(pilot, lambda: seen(app).lstrip().startswith("fc1"))
            await pilot.press("p", "p")
            await until(pilot, lambda: seen(app).lstrip().startswith("fc2"))
            await pilot.press("escape", "tab", "enter")
            await until(pilot, lambda: isinstance(app.screen, screens.FindingScreen))
            page = seen(app)
            assert f"critical  {SHOWN}: saturated, since step 20" in page
            assert re.search(r"Numbers: .*ratio 0\.9\d", page)
            await pilot.press("l")
            await until(pilot, lambda: isinstance(app.screen, screens.LayerScreen))
            await pilot.press("escape", "d")
            await until(pilot, lambda: "fastact explain saturated" in seen(app))
            await pilot.press("escape", "question_mark")
            await until(pilot, lambda: "the findings" in seen(app).lower())
            await pilot.press("escape", "m")
            await until(pilot, lambda: "Nothing is damaged or missing." in seen(app))
            await pilot.press("q")
        assert app.return_code == 0

    asyncio.run(look())


def test_findings_come_while_the_run_is_written(tmp_path: Path) -> None:
    async def look() -> None:
        with begin(tmp_path) as writer:
            async with opened(tmp_path, (100, 30), every=0.1) as (app, pilot):
                assert "waiting for the first row" in seen(app)
                write(writer, range(10), sick=False)
                await until(pilot, lambda: "none sick" in seen(app))
                write(writer, range(10, 40), sick=True)
                await until(pilot, lambda: "1 sick" in seen(app))
                assert re.search(r"saturated .* new", seen(app))
                assert any("saturated" in str(told.message) for told in app._notifications)
                write(writer, range(40, 80), sick=False)
                await until(pilot, lambda: "0 findings, 1 gone since" in seen(app))
                writer.close()
                await until(pilot, lambda: "closed" in seen(app))

    asyncio.run(look())


def test_of_many_ranks_the_sick_one_is_seen_and_shown(tmp_path: Path) -> None:
    for number in range(3):
        with begin(tmp_path / f"rank-{number:05d}") as writer:
            write(writer, range(30 + number), sick=number == 2)

    async def look() -> None:
        async with opened(tmp_path, (120, 24), every=0.1) as (app, pilot):
            await until(pilot, lambda: "rank 0 of 3  sick: 2" in seen(app))
            await pilot.press("r")
            await until(pilot, lambda: "rank 2" in seen(app))
            assert re.search(r"rank 0 +step +29 +none sick +2 steps behind +closed", seen(app))
            assert re.search(r"rank 2 +step +31 +1 sick, critical +closed", seen(app))
            await pilot.press("down", "down", "enter")
            await until(pilot, lambda: "rank 2 of 3" in seen(app))
            assert "saturated (critical)" in seen(app)
            await pilot.press("left_square_bracket")
            assert "rank 1 of 3" in seen(app)

    asyncio.run(look())


def test_of_thousands_of_layers_only_those_on_the_screen_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastact.log import LogWriter

    with LogWriter(tmp_path, metadata={"window_size": "5"}) as writer:
        for layer in range(2_000):
            writer.add_layer(LayerInfo(f"layer.{layer}", layer, "Linear"))
            writer.append(placed(row(0), layer))
        writer.flush()
    drawn: list[str] = []
    spark = Overview._spark

    def counted(self: Overview, name: str, width: int) -> Spark | None:
        drawn.append(name)
        return spark(self, name, width)

    monkeypatch.setattr(Overview, "_spark", counted)

    async def look() -> None:
        async with opened(tmp_path) as (app, pilot):
            table = app.screen.query_one(LayerTable)
            await until(pilot, lambda: len(table.listed) == 2_000)
            await until(pilot, lambda: "layer.0" in seen(app))
            drawn.clear()
            await pilot.press("end")
            await until(pilot, lambda: "layer.1999" in seen(app))
            assert len(set(drawn)) < 60
            await pilot.press("slash", *"777", "enter")
            assert [layer.name for layer in table.listed] == ["layer.777", "layer.1777"]

    asyncio.run(look())
