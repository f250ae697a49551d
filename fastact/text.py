"""How a name, a share and a number are shown to a person, wherever fastact prints one; and patterns of names."""

import json
import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

#: Ranks that are named one by one.
_MOST_RANKS: Final = 8


def matches(name: str, pattern: str) -> bool:
    """Whether a layer has this name, or one that the pattern stands for: ``*``, ``?``, ``[...]``, as `fnmatch` has it.

    Names have brackets themselves, as the outputs of a layer with several have: ``lstm[0]``. So brackets stand for
    themselves as well.

    Example:
        >>> matches("lstm[0]", "lstm[0]"), matches("a.lstm[0]", "*.lstm[0]"), matches("act3", "act[1-3]")
        (True, True, True)
    """
    return name == pattern or fnmatchcase(name, pattern) or ("[" in pattern and fnmatchcase(name, _plain(pattern)))


def _plain(pattern: str) -> str:
    return pattern.replace("[", "[[]")


def shown(text: str, limit: int = 80) -> str:
    r"""A name as it can be shown: what is not printable is escaped, what is too long is cut in the middle.

    Names come from models and logs, so they may hold terminal escapes, line breaks or megabytes.

    Example:
        >>> shown("a\x1b[2Jb")
        'a\\u001b[2Jb'
    """
    if len(text) > limit:
        half = limit // 2
        text = f"{text[: half - 1]}…{text[len(text) - half :]}"
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


def percent(share: float) -> str:
    """A share in words: "61%", "0.4%", "all", "none".

    Example:
        >>> percent(0.614), percent(0.004), percent(1.0), percent(0.0), percent(0.9999)
        ('61%', '0.4%', '100%', '0%', '99.9%')
    """
    value = 100.0 * share
    if 99.0 < value < 100.0:
        return f"{math.floor(10.0 * value) / 10.0:.1f}%"
    return f"{value:.0f}%" if value >= 1.0 or value == 0.0 else f"{value:.2g}%"


def number(value: float) -> str:
    """A number in words, three digits: "0.25", "1,230", "4.1e+12".

    Example:
        >>> number(0.25), number(1234.5), number(4.1e12)
        ('0.25', '1,230', '4.1e+12')
    """
    if 1000.0 <= abs(value) < 1e6:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def some_ranks(ranks: Sequence[int], of: int) -> str:
    """Which ranks of how many, or how many of them.

    Example:
        >>> some_ranks([3], 8), some_ranks([1, 2, 5], 8), some_ranks(range(700), 1024)
        ('rank 3 of 8', 'ranks 1, 2 and 5 of 8', '700 of 1,024 ranks, of which the first is rank 0')
    """
    if len(ranks) == 1:
        return f"rank {ranks[0]} of {of:,}"
    if len(ranks) > _MOST_RANKS:
        return f"{len(ranks):,} of {of:,} ranks, of which the first is rank {min(ranks)}"
    *most, last = map(str, ranks)
    return f"ranks {', '.join(most)} and {last} of {of:,}"
