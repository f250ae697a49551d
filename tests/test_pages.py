"""The pages: one for each condition and each framework, and what they say is what the code does."""

import ast
import dataclasses
import inspect
import json
import math
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from synthetic import row, watch
from typer.testing import CliRunner

import fastact
from fastact.cli.app import app
from fastact.diagnosis.layer_types import BOUNDED
from fastact.diagnosis.presets import PRESETS
from fastact.diagnosis.rules import RULES, Thresholds
from fastact.diagnosis.rules.overflow_risk import LARGEST
from fastact.diagnosis.rules.underflow_risk import SMALLEST
from fastact.pages import FOLDERS, explain, names, where
from scripts.pages import EXAMPLES, PAGES, blocks, named, outputs, printed, rendered, report, run

TEXTS = {path: path.read_text(encoding="utf-8") for path in sorted(PAGES.rglob("*.md"))}
CONDITIONS = {rule.condition: rule for rule in RULES}
ROOT = PAGES.parent.parent


def test_each_condition_has_a_page_and_each_page_a_condition() -> None:
    assert set(names("conditions")) == set(CONDITIONS)
    assert {rule.condition for rules in PRESETS.values() for rule in rules} <= set(CONDITIONS)


def test_a_page_is_headed_by_its_name_and_no_name_stands_twice() -> None:
    every = [name for folder in FOLDERS for name in names(folder)]
    assert len(set(every)) == len(every) == len(TEXTS)
    for name in names("conditions"):
        assert explain(name).startswith(f"# {name}\n")


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_page_has_the_sections_and_the_thresholds_that_its_rule_uses(condition: str) -> None:
    text = explain(condition)
    heads = re.findall(r"^## (.*)", text, re.MULTILINE)
    assert heads == [
        "How it looks",
        "Why it happens",
        "How it is detected",
        "What to do",
        "A network that has it",
    ]
    module = sys.modules[type(CONDITIONS[condition]).__module__]
    source = inspect.getsource(module)
    # What the rule asks of others it need not name itself.
    asked = {getattr(value, "__module__", "") for value in vars(module).values() if callable(value)}
    asked |= {value.__name__ for value in vars(module).values() if inspect.ismodule(value)}
    others = [sys.modules[name] for name in asked if name.startswith("fastact.diagnosis.")]
    fields = {field.name for field in dataclasses.fields(Thresholds)}
    used = set(re.findall(r"thresholds\.(\w+)", source)) & fields
    # What `Network` has compared, the rule need not name.
    known = set(re.findall(r"(?:thresholds|limits)\.(\w+)", "".join(map(inspect.getsource, others)))) & fields
    assert used <= set(named(text, "thresholds")) <= used | known | {"recent_rows", "vanish_samples"}
    prose = re.sub(r"<!-- thresholds.*?<!-- end -->", "", text, flags=re.DOTALL)
    assert [name for name in named(text, "thresholds") if name not in prose] == []


def test_what_is_saturated_is_on_its_page() -> None:
    text = explain("saturated")
    for kind, (low, high) in BOUNDED.items():
        assert kind.lower() in text.lower(), kind
        assert f"{high:g}" in text, kind
        assert low == -high or f"{low:g}" in text or low == -float("inf"), kind


def test_the_ends_of_the_dtypes_are_on_their_pages() -> None:
    for dtype, ends in SMALLEST.items():
        normal, subnormal = (f"2^{math.log2(end):g}" for end in ends)
        assert f"| {dtype} | {normal} | {subnormal} |" in explain("underflow_risk")
    assert f"{LARGEST['float16']:g}" in explain("overflow_risk")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_what_is_taken_from_the_code_is_as_the_code_has_it(path: Path) -> None:
    assert rendered(TEXTS[path]) == TEXTS[path], "run: python -m scripts.pages"


def test_a_default_that_is_out_of_date_is_seen() -> None:
    text = explain("dead")
    assert rendered(text.replace("| `dead_warning` | 0.05 |", "| `dead_warning` | 0.5 |")) == text
    assert rendered(explain("jax").replace("import sys", "import os")) == explain("jax")


@pytest.mark.e2e
@pytest.mark.parametrize("name", [*CONDITIONS, *(name for name in names("guides") if "<!-- report" in explain(name))])
def test_the_network_on_the_page_has_what_its_report_says(name: str) -> None:
    missing = [name for name in ("torch", "sklearn") if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    text = explain(name)
    diagnosis = run(text, f"{name}.md")
    assert diagnosis.findings[0].condition == name or name in names("guides")
    now = report(diagnosis)
    then = re.search(r"^<!-- report .*?^```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert then is not None
    assert words(now) == words(then[1]), "run: python -m scripts.pages --capture"
    assert then[1].splitlines()[-1] == now.splitlines()[-1]


@pytest.mark.e2e
@pytest.mark.parametrize("name", [name for name in names("guides") if "<!-- output" in explain(name)])
def test_the_code_on_a_guide_prints_what_the_guide_says(name: str) -> None:
    missing = [name for name in ("torch", "sklearn") if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    text = explain(name)
    now = outputs(rendered(text, prints=printed(text, f"{name}.md")))
    assert [words(each) for each in now] == [words(each) for each in outputs(text)], "python -m scripts.pages --capture"
    assert all(now)


def words(text: str) -> list[str]:
    """What a report opens with, without numbers: their last digits are the processor's."""
    return re.sub(r"[-\d.,e+%]+", "#", text.partition("\n\n")[0]).split()


def test_the_readme_links_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = [where(folder, name) for folder in FOLDERS for name in names(folder) if folder != "api"]
    pages.append(where("api", "fastact"))  # which leads to the others of its folder
    assert [page for page in pages if f"]({page})" not in readme] == []


@pytest.mark.parametrize(
    "path", [*TEXTS, ROOT / "README.md", EXAMPLES / "README.md"], ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert "://" in target or (path.parent / target).exists(), target


def test_every_python_block_of_a_framework_s_page_is_run() -> None:
    # tests/test_examples.py runs a page's blocks from each example to the next.
    for name in names("frameworks"):
        text = explain(name)
        found = blocks(text)
        examples = named(text, "example")
        assert examples, name
        assert found[0] == (EXAMPLES / examples[0]).read_text(encoding="utf-8")


def test_a_finding_leads_to_its_page() -> None:
    diagnosis = watch({"act": ("Tanh", [row(s, saturated=4000, min=-1.0, max=1.0) for s in range(9)])}).diagnose()
    finding = diagnosis.findings[0]
    assert (ROOT / finding.page).read_text(encoding="utf-8") == explain(finding.condition)
    assert json.loads(diagnosis.to_json())["findings"][0]["page"] == "fastact/pages/conditions/saturated.md"
    assert str(diagnosis).splitlines()[-1] == "More: fastact explain saturated"
    healthy = watch({"act": ("Tanh", [row(s) for s in range(9)])}).diagnose()
    assert "More:" not in str(healthy)


def command(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["explain", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_lists_shows_and_refuses() -> None:
    code, out, _ = command()
    assert code == 0
    for folder, about in FOLDERS.items():
        assert f"{about}: {', '.join(names(folder))}\n" in out
    code, out, _ = command("saturated")
    assert code == 0
    assert "saturated_warning" in out
    assert "<!--" not in out
    assert max(map(len, out.splitlines())) <= 100
    assert command("--raw", "dead", "pytorch") == (0, explain("dead") + "\n" + explain("pytorch"), "")
    code, out, error = command("saturation")
    assert (code, out) == (2, "")
    assert error.startswith(
        "error: name: got 'saturation', did you mean 'saturated'? The pages are collapsed, constant, "
    )
    assert command("\x1b[2J")[2].startswith("error: name: got '\\x1b[2J', want one of collapsed, constant, ")


def test_explain_is_a_function_too() -> None:
    assert fastact.explain("keras").startswith("# Keras 3\n")
    with pytest.raises(fastact.ArgumentValueError, match="want one of"):
        fastact.explain("zzz")
    with pytest.raises(fastact.ArgumentValueError, match="name: got None"):
        fastact.explain(None)  # type: ignore[arg-type]


@pytest.mark.e2e
def test_the_wheel_has_the_pages(tmp_path: Path) -> None:
    if find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the wheel, is not installed here")
    code = "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        # Its machine code takes three minutes of a core; tests/cpu/test_prebuilt.py compiles a small part of it.
        env={**os.environ, "FASTACT_PURE_WHEEL": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {str(path.relative_to(ROOT)) for path in TEXTS} <= packed


#: What packages are imported as, where that is not their name.
IMPORTED_AS = {"scikit-learn": "sklearn", "mlflow-skinny": "mlflow", "prometheus-client": "prometheus_client"}


def installed(requirements: list[str], extras: dict[str, list[str]]) -> set[str]:
    """What is there to import after installing this."""
    found: set[str] = set()
    for requirement in requirements:
        if own := re.match(r"fastact\[(.*?)\]", requirement):
            for extra in own[1].split(","):
                found |= installed(extras[extra.strip()], extras)
        elif name := re.match(r"[A-Za-z0-9_.-]+", requirement):
            found.add(IMPORTED_AS.get(name[0], name[0].replace("-", "_")))
    return found


@pytest.mark.parametrize("name", [name for folder in ("frameworks", "guides", "conditions") for name in names(folder)])
def test_a_page_imports_what_it_says_to_install(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    text = explain(name)
    lines = re.findall(r"pip install ([^`\n#]*)", text)
    there = installed([*project["dependencies"], *(part.strip("'") for line in lines for part in line.split())], extras)
    imported: set[str] = set()
    for node in (node for block in blocks(text) for node in ast.walk(ast.parse(block))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.partition(".")[0])
    assert imported - there - {"fastact"} - sys.stdlib_module_names == set()
