"""Takes the README's pictures of a report: of a real run, in a real browser.

python -m scripts.pictures    # trains, makes the report, writes bench/results/report-*.png

A network of eight transformer blocks learns scikit-learn's digits. One block's biases begin so low that its ReLU never
fires, and at step 240 the learning rate becomes 150 times as high. Needs PyTorch, scikit-learn, playwright and Debian's
chromium. The machine's fonts are in the pictures, so they differ from machine to machine.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from sklearn.datasets import load_digits
from torch import nn

import fastact
import fastact.torch
from bench import RESULTS

CHROMIUM = Path("/usr/bin/chromium")
STEPS, WIDTH, BLOCKS = 400, 32, 8
#: The largest picture, in bytes.
MOST = 150_000


class Block(nn.Module):
    """A block of a transformer: attention and two linear layers, each beside the way straight on."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Takes and gives (batch, places, WIDTH)."""
        normed = self.norm1(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        out: torch.Tensor = x + self.mlp(self.norm2(x))
        return out


class Net(nn.Module):
    """Eight blocks over the eight lines of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 8, 8) to (batch, 10)."""
        out: torch.Tensor = self.head(self.blocks(self.embed(x)).mean(1))
        return out


def train(run: Path) -> None:
    """Trains the network, and leaves its log."""
    torch.set_num_threads(1)  # of which more wait for each other, in a network as small as this
    torch.manual_seed(0)
    images, digits = load_digits(return_X_y=True)
    x, y = torch.from_numpy(images / 16).float().view(-1, 8, 8), torch.from_numpy(digits)
    net = Net()
    with torch.no_grad():
        net.get_parameter("blocks.3.mlp.0.bias").fill_(-6.0)
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.AdamW(net.parameters(), 1e-3)
    metadata = {"model": f"{BLOCKS} blocks, width {WIDTH}"}
    with (
        fastact.ActivationMonitor(run, metadata=metadata) as monitor,
        fastact.torch.watch(net, monitor, loss=criterion, gradients=True),
    ):
        for step in range(STEPS):
            if step == 240:
                optimizer.param_groups[0]["lr"] = 0.15
            batch = torch.randint(len(x), (64,))
            loss = criterion(net(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step()


@contextmanager
def opened(page: Path, scheme: Literal["dark", "light"]) -> Iterator[Any]:
    """The page in a browser of 1100 by 800 pixels, its network off, drawn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        context = browser.new_context(
            offline=True, viewport={"width": 1100, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
        )
        tab = context.new_page()
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-drawn]", state="attached")
        yield tab
        browser.close()


def picture(tab: Any, name: str) -> None:
    """Keeps what is in the window."""
    tab.mouse.move(2, 2)
    tab.wait_for_timeout(200)
    content = tab.screenshot()
    if len(content) > MOST:
        raise SystemExit(f"{name}: {len(content):,} bytes, want at most {MOST:,}")
    (RESULTS / name).write_bytes(content)
    print(f"{name}: {len(content):,} bytes")


def main() -> None:
    """Trains, makes the report, takes the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        run, page = Path(folder) / "transformer", Path(folder) / "report.html"
        train(run)
        print(fastact.open_log(run))
        fastact.open_log(run).report(page)
        with opened(page, "light") as tab:
            picture(tab, "report-top.png")
            tab.locator("[data-finding]").nth(1).click()
            picture(tab, "report-map.png")
        with opened(page, "dark") as tab:
            tab.locator("[data-finding]").nth(1).click()
            tab.locator(".panel").evaluate("panel => panel.scrollIntoView()")
            picture(tab, "report-curves.png")


if __name__ == "__main__":
    main()
