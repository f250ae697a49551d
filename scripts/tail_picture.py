"""Draws the README's picture of `fastact tail`: the view itself, of a run that is there, as textual exports it.

fastact demo --out runs/demo
python -m scripts.tail_picture runs/demo/dead-rate bench/results/tail.svg
"""

import argparse
import asyncio
import re
from pathlib import Path

from fastact.live.app import TailApp
from fastact.live.following import Following

__all__ = ["picture"]

#: Columns and lines of the terminal.
SIZE = (116, 34)


async def picture(run: Path) -> str:
    """The view of a run as SVG, without the fonts that textual would have fetched."""
    app = TailApp(Following(run))
    async with app.run_test(size=SIZE) as pilot:
        while app.following.shown.diagnosis is None:
            await pilot.pause(0.1)
        await pilot.pause(0.5)
        await pilot.press("c", "C")  # draws what the last look has found
        await pilot.pause(0.5)
        text = app.export_screenshot(title=f"fastact tail {run}")
    return re.sub(r"\s*@font-face \{.*?\}", "", text, flags=re.DOTALL)


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.tail_picture", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.write_text(asyncio.run(picture(arguments.run)), encoding="utf-8")


if __name__ == "__main__":
    main()
