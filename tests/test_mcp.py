"""The MCP server, asked by the SDK's own client: in memory, and once over the standard streams."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact

mcp = pytest.importorskip("mcp")

from fastact.mcp import server  # noqa: E402 - needs the package

TOOLS = {"runs", "summary", "diagnose", "layers", "rows", "compare", "explain"}


def train(path: Path, *, seed: int = 0, dead_since: int = 1000, layers: int = 3) -> None:
    random = np.random.default_rng(seed)
    with fastact.ActivationMonitor(path) as monitor:
        for step in range(60):
            for layer in range(layers):
                x = np.maximum(random.standard_normal((64, 16)), 0.0) * (step < dead_since or layer == 0)
                monitor.record(f"act.{layer}", x, axis=-1, layer_type="ReLU")
            monitor.step()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mcp")
    train(folder / "runs" / "good")
    train(folder / "runs" / "bad", dead_since=20)
    for seed in range(1, 4):
        train(folder / "runs" / f"seed-{seed}", seed=seed)
    train(folder / "secret")
    (folder / "runs" / "link").symlink_to(folder / "secret")
    (folder / "runs" / "inside").mkdir()
    for part in (folder / "secret").iterdir():
        (folder / "runs" / "inside" / part.name).symlink_to(part)
    (folder / "runs" / "notes").mkdir()
    return folder


def asked(target: Any, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    async def talk() -> Any:
        async with mcp.Client(target, read_timeout_seconds=60) as client:
            return await ask(client)

    return asyncio.run(talk())


def call(folder: Path, tool: str, **arguments: object) -> Any:
    result = asked(server([folder / "runs"]), lambda client: client.call_tool(tool, arguments))
    if result.is_error:
        raise RuntimeError(result.content[0].text)
    return result.structured_content if isinstance(result.structured_content, dict) else result.content[0].text


def test_the_tools_say_that_they_read_and_no_more(folder: Path) -> None:
    tools = asked(server([folder / "runs"]), lambda client: client.list_tools()).tools
    assert {tool.name for tool in tools} == TOOLS
    assert all(tool.annotations.read_only_hint and tool.description for tool in tools)


def test_what_is_told_is_what_fastact_tells(folder: Path) -> None:
    log = fastact.open_log(folder / "runs" / "bad")
    diagnosis = log.diagnose()
    assert call(folder, "runs") == {"runs": ["bad", "good", "seed-1", "seed-2", "seed-3"], "left_out": 0}
    assert call(folder, "summary", run="bad")["result"] == str(diagnosis).partition("\n\n")[0]
    found = call(folder, "diagnose", run="bad")
    assert found["findings"] == diagnosis.to_dict()["findings"]
    assert (found["left_out"], found["healthy"]) == ({}, False)
    assert call(folder, "diagnose", run="bad", since=21)["findings"] == diagnosis.since(21).to_dict()["findings"]
    assert call(folder, "layers", run="bad")["layers"] == [layer.to_dict() for layer in diagnosis.layers]
    assert call(folder, "explain", name="dead")["result"] == fastact.explain("dead")


def test_runs_are_compared(folder: Path) -> None:
    found = call(folder, "compare", a="good", b="bad")
    own = fastact.compare(folder / "runs" / "good", folder / "runs" / "bad")
    assert (found["summary"], found["first"]["step"], found["first"]["layer"]) == (own.summary, 20, "act.1")
    found = call(folder, "compare", a="good", b="bad", noise=["seed-1", "seed-2", "seed-3"], limit=1)
    assert (found["noise"], found["seeds"], len(found["partings"]), len(found["layers"])) == ("seeds", 3, 1, 1)
    assert found["left_out"]["layers"] == 2


def test_answers_are_bounded_and_can_be_gone_through(folder: Path) -> None:
    first = call(folder, "layers", run="good", limit=2)
    rest = call(folder, "layers", run="good", limit=2, offset=first["next_offset"])
    assert [it["name"] for it in first["layers"] + rest["layers"]] == ["act.0", "act.1", "act.2"]
    assert rest["next_offset"] is None
    assert call(folder, "layers", run="bad", sick_only=True)["layers"][0]["name"] == "act.1"
    found = call(folder, "rows", run="good", layer="act.1", from_step=10, limit=20)
    assert [row["step"] for row in found["rows"]] == list(range(10, 30))
    assert found["next_step"] == 30
    found = call(folder, "rows", run="good", layer="act.1", from_step=50)
    assert ([row["step"] for row in found["rows"]], found["next_step"]) == (list(range(50, 60)), None)
    assert call(folder, "diagnose", run="bad", limit=1)["left_out"]["findings"] >= 1
    with pytest.raises(RuntimeError, match="less than or equal to 200"):
        call(folder, "rows", run="good", layer="act.1", limit=201)


@pytest.mark.parametrize("name", ["../secret", "secret", "link", "inside", "notes", ".", "", "/", "good/../bad", "\0"])
def test_nothing_else_is_read(folder: Path, name: str) -> None:
    for tool, arguments in (("diagnose", {"run": name}), ("compare", {"a": "good", "b": name})):
        with pytest.raises(RuntimeError, match=r"run: got .*, want one of 'bad', 'good', 'seed-1'"):
            call(folder, tool, **arguments)


def test_what_cannot_be_done_is_said(folder: Path) -> None:
    with pytest.raises(RuntimeError, match=r"layers: got 'x', want one of 'act.0', 'act.1'"):
        call(folder, "rows", run="good", layer="x")
    with pytest.raises(RuntimeError, match="rank: got 3, want one of 0"):
        call(folder, "rows", run="good", layer="act.0", rank=3)
    with pytest.raises(RuntimeError, match="name: got 'dread', did you mean 'dead'"):
        call(folder, "explain", name="dread")
    with pytest.raises(fastact.LogError, match="no directory"):
        server([folder / "nowhere"])


def test_ranks_have_rows_of_their_own(tmp_path: Path) -> None:
    for rank in range(2):
        train(tmp_path / "run" / f"rank-{rank:05d}", seed=rank)
    target = server([tmp_path / "run"])
    means: dict[int | None, float] = {}
    for of in (None, 0, 1):
        ask: dict[str, Any] = {"run": "run", "layer": "act.0", "limit": 200} | ({} if of is None else {"rank": of})
        found = asked(target, lambda client: client.call_tool("rows", ask)).structured_content  # noqa: B023
        assert [row["step"] for row in found["rows"]] == list(range(60))
        assert found["next_step"] is None
        means[of] = found["rows"][0]["mean"]
    assert means[None] == means[0] != means[1]


def test_a_run_can_be_given_itself_and_names_do_not_clash(folder: Path) -> None:
    target = server([folder / "runs" / "good", folder / "runs", folder / "secret"])
    listed = asked(target, lambda client: client.call_tool("runs", {})).structured_content
    assert listed["runs"] == ["good", "bad", "good (2)", "seed-1", "seed-2", "seed-3", "secret"]


@pytest.mark.e2e
def test_over_the_standard_streams(folder: Path) -> None:
    parameters = mcp.StdioServerParameters(command=sys.executable, args=["-m", "fastact", "mcp", str(folder / "runs")])
    result = asked(parameters, lambda client: client.call_tool("diagnose", {"run": "bad"}))
    assert result.structured_content == json.loads(json.dumps(call(folder, "diagnose", run="bad")))
