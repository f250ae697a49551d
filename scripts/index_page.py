"""README as a package index shows it, where there is no repository beside it: without links that would lead nowhere."""

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: Of Markdown: an image or a link to a place beside README; addresses and places within it are left alone.
_BESIDE: Final = r"\((?!https?:|#)[^)]*\)"
_IMAGE: Final = re.compile(rf"^!\[[^\]]*\]{_BESIDE}\n", re.MULTILINE)
_LINK: Final = re.compile(rf"\[([^\]]+)\]{_BESIDE}")


def for_index(text: str) -> str:
    r"""README with links to other files of the repository as plain text, and without pictures that lie there.

    Example:
        >>> for_index("![what it looks like](a.svg)\nSee [the map](fastact/README.md), [Arrow](https://arrow.apache.org).")
        'See the map, [Arrow](https://arrow.apache.org).'
    """
    return _LINK.sub(r"\1", _IMAGE.sub("", text))


class IndexPageHook(MetadataHookInterface):
    """hatchling calls `update` where it needs the package's metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds the description: `fastact explain` shows in an installed package what README links to."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": for_index(text)}
