"""What several files of the repository say, they say alike."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_continuous_integration_runs_every_python_that_is_promised() -> None:
    promised = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    (matrix,) = re.findall(r"python: \[(.*)\]", WORKFLOW)
    assert re.findall(r"3\.\d+", matrix) == promised
    assert PROJECT["requires-python"] == f">={promised[0]}"


def test_pre_commit_lints_with_the_version_that_scripts_test_has() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==(.*)$", (ROOT / "scripts" / "constraints.txt").read_text(), re.MULTILINE))
    assert re.findall(r"ruff-pre-commit\n\s+rev: v(\S+)", hooks) == [pinned["ruff"]]


@pytest.mark.parametrize(
    "page", ["README.md", "fastact/README.md", ".github/CONTRIBUTING.md", "bench/results/README.md"]
)
def test_links_of_the_repository_s_pages_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    assert targets or page == "bench/results/README.md"
    assert [target for target in targets if "://" not in target and not (path.parent / target).exists()] == []


MAP = (ROOT / "fastact" / "README.md").read_text(encoding="utf-8")


def test_the_map_has_every_room() -> None:
    rooms = [path for path in (ROOT / "fastact").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    names = {f"{path.name}/" if path.is_dir() else path.name for path in rooms if not path.name.startswith("__")}
    assert {name for name in names if f"[{name}](" not in MAP} == set()


def test_the_map_names_files_that_exist() -> None:
    files = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.*") if ".venv" not in str(path)]
    named = re.findall(r"`([\w./]+\.(?:py|md|toml))`", MAP)
    assert len(named) > 20
    assert [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)] == []


def test_the_glossary_is_short_and_sorted() -> None:
    (table,) = re.findall(r"^## Words\n\n\| word.*\n\| :-- .*\n((?:\|.*\n)+)", MAP, re.MULTILINE)
    words = [line.split("|")[1].strip() for line in table.splitlines()]
    assert words == sorted(words)
    assert len(words) <= 25
