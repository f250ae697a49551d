"""The pages: one for each condition of a network, for symptoms, for each kind of training loop and public module.

They are Markdown files beside this one, read by `fastact explain` and by whoever browses the repository.
"""

import difflib
from typing import TYPE_CHECKING, Final

from fastact.errors import ArgumentValueError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

#: The folders, and what the pages in them are about.
FOLDERS: Final = {
    "conditions": "what can be wrong with a layer",
    "guides": "from a symptom to its cause, and how to look",
    "frameworks": "how to watch a training",
    "api": "the public names of a module",
    "": "what is new",
}


def where(folder: str, name: str) -> str:
    """The place of a page in the repository, and in the folder that fastact is installed into."""
    return "/".join(["fastact/pages", *([folder] if folder else []), f"{name}.md"])


def names(folder: str) -> tuple[str, ...]:
    """The names of the pages of a folder of `FOLDERS`, in the order of the alphabet.

    Example:
        >>> "saturated" in names("conditions"), "pytorch" in names("frameworks")
        (True, True)
    """
    pages = _folder(folder).iterdir()
    return tuple(sorted(page.name.removesuffix(".md") for page in pages if page.name.endswith(".md")))


def _folder(name: str) -> "Traversable":
    from importlib.resources import files  # only a reader pays for it

    return files(__name__).joinpath(name)


def explain(name: str) -> str:
    """The page on a condition (``"saturated"``), a symptom, a framework (``"pytorch"``) or a module, in Markdown.

    Args:
        name: a condition, as `Finding.condition` names it; a framework; a public module (``"fastact.torch"``); or
            ``"changes"``; or a guide, such as ``"my-network-does-not-learn"``.

    Raises:
        ArgumentValueError: there is no such page.

    Example:
        >>> print(explain("saturated").splitlines()[0])
        # saturated
        >>> explain("saturation")
        Traceback (most recent call last):
        fastact.errors.ArgumentValueError: name: got 'saturation', did you mean 'saturated'? The pages are ...
    """
    known = {page: folder for folder in FOLDERS for page in names(folder)}
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]!r}? The pages are" if near else "want one of"
        raise ArgumentValueError(f"name: got {name!r}, {hint} {', '.join(known)}")
    return _folder(known[name]).joinpath(f"{name}.md").read_text(encoding="utf-8")
