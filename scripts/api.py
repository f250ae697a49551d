"""Renders the reference of the public names from their docstrings: a page for each public module, in fastact/pages/api.

Griffe reads the source (names, signatures, the sections of docstrings) and runs none of it, so no framework is needed,
and what comes out holds no address, version or date. Its own renderer, griffe2md, was tried: Markdown with anchors that
lead nowhere on a repository's page, HTML around each type, and examples that are not fenced. mkdocstrings needs a site.

python -m scripts.api           # writes the pages
python -m scripts.api --check   # exit code 1 when they are not what the docstrings say
"""

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import griffe

__all__ = ["FOLDER", "MODULES", "pages"]

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = ROOT / "fastact" / "pages" / "api"
#: The public modules: the package, and an adapter for each framework or service.
MODULES: Final = (
    "fastact",
    "fastact.dask",
    "fastact.flax",
    "fastact.huggingface",
    "fastact.jax",
    "fastact.keras",
    "fastact.lightning",
    "fastact.ray",
    "fastact.sinks",
    "fastact.sklearn",
    "fastact.torch",
)
#: Columns of a signature before it takes a line for each parameter.
_WIDTH: Final = 100
#: What follows "Returns:" is one text, without a name or a type, which the signature has.
_PARSING: Final[Any] = {"returns_multiple_items": False, "returns_named_value": False}
_NOTE: Final = "<!-- made by python -m scripts.api -->"


def pages() -> dict[str, str]:
    """Each public module's page, by the module's name."""
    package = griffe.load(
        "fastact", search_paths=[str(ROOT)], docstring_parser="google", docstring_options=_PARSING, resolve_aliases=True
    )
    assert isinstance(package, griffe.Module)
    return {name: "\n\n".join(_page(package, name)) + "\n" for name in MODULES}


def _page(package: griffe.Module, name: str) -> Iterator[str]:
    inside = name.partition(".")[2]
    module = package[inside] if inside else package
    public = [str(export) for export in module.exports or () if str(export) != "__version__"]
    items = [(title, module[title]) for title in sorted(public, key=str.lower)]
    # A repository's page numbers the anchors of headings that differ by case alone.
    anchors = [title.lower() for title, _ in items]
    anchors = [f"{name}-{before}" if (before := anchors[:i].count(name)) else name for i, name in enumerate(anchors)]
    yield f"# {name}"
    yield _NOTE
    yield from _sections(module)
    yield "\n".join(
        [
            "| name | summary |",
            "| :-- | :-- |",
            *(
                f"| [`{title}`](#{anchor}) | {_summary(item).replace('|', '&#124;')} |"
                for (title, item), anchor in zip(items, anchors, strict=True)
            ),
        ]
    )
    if not inside:
        yield f"Adapters: {', '.join(f'[{other}]({other}.md)' for other in MODULES[1:])}."
    for title, item in items:
        yield f"## `{title}`"
        yield from _body(title, item)


def _body(title: str, item: Any) -> Iterator[str]:
    """What a page says of one name, below its heading."""
    if item.is_function:
        yield _signature(title, item.parameters, item.returns)
    elif item.is_class:
        if _is_transformed(item):
            fields = [each for each in item.inherited_members.values() if each.is_attribute and each.name[0] != "_"]
            kind = griffe.ParameterKind.keyword_only
            yield _signature(
                title,
                [griffe.Parameter(f.name, annotation=f.annotation, kind=kind, default=f.value) for f in fields],
                None,
            )
        elif "__init__" in item.all_members:
            yield _signature(title, [each for each in item.parameters if each.name != "self"], None)
        # Its bases' members are listed as its own.
        own = "dataclass" in item.labels or _is_transformed(item) or _type_arguments(item)
        bases = [name for base in item.bases if (name := str(base))[0] != "_" and not own]
        if bases:
            yield f"Bases: {', '.join(f'`{base}`' for base in bases)}."
    yield from _sections(item)
    if item.is_class:
        yield from _members(title, item)
    elif item.is_attribute:
        yield _flat(_attribute_text(item))


def _members(title: str, item: Any) -> Iterator[str]:
    """The public members of a class that its own docstring does not list: properties, then methods.

    A dataclass has the fields of its bases too: those of `Thresholds` are declared rule by rule. So has a class the
    members of a generic base, with its own types: the statistics of `ActivationStats` and `ChannelStats`.
    """
    types = _type_arguments(item)
    listed = {
        each.name
        for section in _parsed(item)
        if section.kind is griffe.DocstringSectionKind.attributes
        for each in section.value
    }
    inherited = item.inherited_members if types or _is_transformed(item) or "dataclass" in item.labels else {}
    every = [*inherited.values(), *item.members.values()]
    members = [member for member in every if member.name not in listed and member.name[0] != "_"]
    texts = {member: _attribute_text(member) for member in members if member.is_attribute}
    if any(texts.values()):
        yield "Also:" if listed else "Attributes:"
        yield "\n".join(
            _entry(member.name, types.get(str(member.annotation), member.annotation), text)
            for member, text in texts.items()
            if text
        )
    for member in members:
        if member.is_function and member.docstring:
            yield f"### `{title}.{member.name}`"
            parameters = [each for each in member.parameters if each.name not in ("self", "cls")]
            yield _signature(member.name, parameters, member.returns)
            yield from _sections(member)


def _is_transformed(item: Any) -> bool:
    """Whether a base makes dataclasses of its subclasses, which Griffe takes for plain classes: `Thresholds`."""
    return any("dataclass_transform" in str(each.value) for base in item.mro() for each in base.decorators)


def _type_arguments(item: Any) -> dict[str, str]:
    """What a class with a generic base puts in the place of the base's type variables."""
    ancestors = item.mro()
    subscripts = [base for base in item.bases if isinstance(base, griffe.ExprSubscript)] if ancestors else []
    generic = [base for base in ancestors[0].bases if isinstance(base, griffe.ExprSubscript)] if subscripts else []
    if not generic:
        return {}
    variables, arguments = (getattr(found[0].slice, "elements", [found[0].slice]) for found in (generic, subscripts))
    return dict(zip(map(str, variables), map(str, arguments), strict=True))


def _parsed(item: Any) -> list[Any]:
    return item.docstring.parsed if item.docstring else []


def _sections(item: Any) -> Iterator[str]:
    """An object's docstring, section by section."""
    kinds = griffe.DocstringSectionKind
    for section in _parsed(item):
        if section.kind is kinds.text:
            yield section.value.strip()
        elif section.kind is kinds.examples:
            yield "\n\n".join(_fenced(text) for _, text in section.value)
        elif section.kind is kinds.admonition:
            text = section.value.description
            title = section.title or section.value.kind.title()
            yield _fenced(text) if ">>>" in text else f"**{title}**: {text}"
        elif section.kind in (kinds.parameters, kinds.attributes):
            yield "Arguments:" if section.kind is kinds.parameters else "Attributes:"
            yield "\n".join(_entry(each.name, each.annotation, each.description) for each in section.value)
        else:
            yield f"{section.kind.value.title()}:"
            # An error is told by its type alone; the type of what is returned stands in the signature.
            errors = section.kind is kinds.raises
            yield "\n".join(
                _entry(str(each.annotation).strip("()") if errors else "", None, each.description)
                for each in section.value
            )


def _entry(name: str, annotation: Any, description: str) -> str:
    of_type = f" (`{annotation}`)" if annotation else ""
    return f"- `{name}`{of_type}: {_flat(description)}" if name else f"- {_flat(description)}"


def _signature(name: str, parameters: Any, returns: Any) -> str:
    """A call with all its parameters, in one line or a line for each."""
    words: list[str] = []
    kinds = griffe.ParameterKind
    seen: set[griffe.ParameterKind] = set()
    for each in parameters:
        if each.kind is not kinds.positional_only and kinds.positional_only in seen and "/" not in words:
            words.append("/")
        if each.kind is kinds.keyword_only and not seen & {kinds.keyword_only, kinds.var_positional}:
            words.append("*")
        seen.add(each.kind)
        stars = {kinds.var_positional: "*", kinds.var_keyword: "**"}.get(each.kind, "")
        of_type = f": {each.annotation}" if each.annotation else ""
        default = f" = {_literal(each.default)}" if each.default is not None and not stars else ""
        words.append(f"{stars}{each.name}{of_type}{default}")
    end = f" -> {returns}" if returns else ""
    line = f"{name}({', '.join(words)}){end}"
    if len(line) > _WIDTH:
        inner = "".join(f"    {word},\n" for word in words)
        line = f"{name}(\n{inner}){end}"
    return f"```python\n{line}\n```"


def _literal(default: Any) -> str:
    """A default as a reader can use it: a constant's value, and of a field that is described, its first argument."""
    if isinstance(default, griffe.ExprCall) and default.arguments:
        return str(default.arguments[0])
    if isinstance(default, griffe.ExprName):
        constant: Any = default.resolved
        try:
            value = str(constant.value) if constant is not None and constant.is_attribute else ""
            ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return str(default)
        return value
    return str(default)


def _attribute_text(item: Any) -> str:
    """What an attribute or a constant is, by its docstring, its field's second argument, its value or a comment."""
    value = getattr(item, "value", None)
    if item.docstring:
        return str(item.docstring.value)
    if isinstance(value, griffe.ExprCall) and isinstance(text := (*value.arguments, "", "")[1], str) and text:
        return str(ast.literal_eval(text))
    if isinstance(value, griffe.ExprName) and value.name != item.name and value.name in item.parent.all_members:
        return f"another name of `{value}`"
    above = item.filepath.read_text(encoding="utf-8").splitlines()[: item.lineno - 1]
    comment: list[str] = []
    while above and above[-1].strip().startswith("#:"):
        comment.insert(0, above.pop().strip().removeprefix("#:"))
    return " ".join(comment)


def _summary(item: Any) -> str:
    for section in _parsed(item):
        if section.kind is griffe.DocstringSectionKind.text:
            return _flat(section.value.partition("\n\n")[0])
    return _flat(_attribute_text(item)) if item.is_attribute else ""


def _fenced(text: str) -> str:
    return f"```pycon\n{text.strip()}\n```"


def _flat(text: str) -> str:
    return " ".join(text.split())


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.api", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail when a page is out of date")
    arguments = parser.parse_args()
    wanted = {FOLDER / f"{name}.md": text for name, text in pages().items()}
    found = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    stale = sorted(path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))
    names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
    if arguments.check and stale:
        raise SystemExit(f"not what the docstrings say: {names}; run: python -m scripts.api")
    if not arguments.check:
        FOLDER.mkdir(exist_ok=True)
        for path in stale:
            if path in wanted:
                path.write_text(wanted[path], encoding="utf-8")
            else:
                path.unlink()
    print(f"written: {names}" if stale else "the reference agrees with the docstrings")


if __name__ == "__main__":
    main()
