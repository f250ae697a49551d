"""The terminal view of a run while it is written: what `fastact tail` shows on a terminal, by textual.

`following` reads the log and judges it, and knows no terminal; `sparks` draws numbers as text; the other modules are
widgets and screens.
"""

from fastact.packages import needs_extra

with needs_extra("fastact.live", "textual", "textual"):
    import textual  # noqa: F401 - to say what is missing before anything else is loaded
