"""The experts of a mixture, known by their layers' names, such as ``blocks.1.experts.3.up``.

They serve samples of their own, side by side, whatever the order in which they ran: none feeds another.
"""

import re
from typing import Final

#: What comes before the expert's number, the number, and what comes after it: the corresponding layer of each sibling
#: differs in the number alone.
_NAME: Final = re.compile(r"(.*?experts?[._\[]?)(\d+)(.*)", re.IGNORECASE | re.DOTALL)


def _match(name: str) -> re.Match[str] | None:
    return _NAME.fullmatch(name) if "xpert" in name else None


def is_expert(name: str) -> bool:
    """Whether a layer is a part of an expert.

    Example:
        >>> is_expert("blocks.1.experts.3.up"), is_expert("experts.router")
        (True, False)
    """
    return _match(name) is not None


def expert_of(name: str) -> tuple[str, str] | None:
    """The mixture that a layer's expert belongs to and the expert's number; None for a layer that is no expert's.

    Example:
        >>> expert_of("blocks.1.experts.3.up")
        ('blocks.1.experts.', '3')
    """
    match = _match(name)
    return None if match is None else (match[1], match[2])


def side_by_side(one: tuple[str, str] | None, other: tuple[str, str] | None) -> bool:
    """Whether two layers are parts of different experts of one mixture (`expert_of`): neither is fed by the other."""
    return one is not None and other is not None and one[0] == other[0] and one != other
