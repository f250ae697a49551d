"""The reference in fastact/pages/api: what the docstrings say, of every public name."""

import dataclasses
import re

import pytest

import fastact
from fastact.pages import explain, names
from scripts import api

PAGES = api.pages()


@pytest.mark.parametrize("module", api.MODULES)
def test_a_page_is_as_the_docstrings_have_it(module: str) -> None:
    assert explain(module) == PAGES[module], "run: python -m scripts.api"


def test_each_module_has_a_page_and_each_page_a_module() -> None:
    assert set(names("api")) == set(api.MODULES) == set(PAGES)


def test_every_public_name_is_explained() -> None:
    heads = re.findall(r"^## `(\w+)`\n\n(.)", PAGES["fastact"], re.MULTILINE)
    assert {name for name, _ in heads} == set(fastact.__all__) - {"__version__"}


def test_the_first_page_leads_to_the_others() -> None:
    assert [name for name in api.MODULES[1:] if f"]({name}.md)" not in PAGES["fastact"]] == []


def test_every_threshold_is_there_with_its_type_default_meaning_and_source() -> None:
    text = PAGES["fastact"].partition("\n## `Thresholds`\n")[2]
    for item in dataclasses.fields(fastact.Thresholds):
        kind = type(item.default).__name__
        assert f"\n    {item.name}: {kind} = {item.default!r},\n" in text
        assert f"\n- `{item.name}` (`{kind}`): {item.metadata['doc']}\n" in text


def test_what_a_reader_needs_of_a_function_is_there() -> None:
    (text,) = re.findall(r"^## `summarize`\n(.*?)^## ", PAGES["fastact"], re.MULTILINE | re.DOTALL)
    for part in (
        "saturation: tuple[float, float] = (-0.99, 0.99)",
        "Arguments:",
        "Returns:",
        "Raises:",
        "```pycon\n>>> ",
    ):
        assert part in text
    assert "object at 0x" not in "".join(PAGES.values())
