"""What the README shows runs: its Python blocks, in order, with the model and the data that it leaves out."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import plot, readme

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.mark.e2e
def test_the_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def loader() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _ in range(8):
            yield torch.randn(32, 8), torch.randint(0, 2, (32,))

    names: dict[str, Any] = {
        "model": model,
        "optimizer": optimizer,
        "loader": list(loader()),
        "loss_of": torch.nn.functional.cross_entropy,
    }
    monkeypatch.chdir(tmp_path)
    assert BLOCKS
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    # The loop wrote what the last block read.
    assert (tmp_path / "runs" / "a").is_dir()
    rows = Counter(names["log"].to_table()["layer"].to_pylist())
    for layer in ("input", "0", "1", "2", "loss", "loss:target", "loss:baseline"):
        assert rows[layer] == 8, layer


def test_a_picture_of_other_results_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tmp_path / "sweep.svg"
    picture.write_text(plot.PLOT.read_text().replace(plot.digest(readme.SWEEP), "results sha256 0"))
    monkeypatch.setattr(readme, "PLOT", picture)
    monkeypatch.setattr(readme, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text(README)
    monkeypatch.setattr(readme, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr("sys.argv", ["scripts.readme", "--check"])
    with pytest.raises(SystemExit, match=r"page\.md, sweep\.svg"):
        readme.main()


def test_an_index_page_has_no_link_that_leads_nowhere() -> None:
    pytest.importorskip("hatchling")
    from scripts.index_page import for_index

    shown = for_index(README)
    assert not re.findall(r"\]\((?!https?:|#)", shown)
    assert "fastact explain" in shown
    assert "`fastact.torch.watch(model, monitor)`" in shown
