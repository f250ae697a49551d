"""The table of layers: only the lines on the screen are made, so that ten thousand layers cost what twenty do."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from fastact.diagnosis.finding import SEVERITIES
from fastact.diagnosis.report import LayerHealth
from fastact.diagnosis.show.render import status_of
from fastact.live.words import STYLES
from fastact.text import number, percent, shown

#: The orders of the table, and the keys by which they sort; all but the first two begin with the largest.
_NOTHING: Final = float("-inf")
ORDERS: Final[dict[str, Callable[[LayerHealth], Any]]] = {
    "sick first": lambda layer: -1 - SEVERITIES.index(layer.severity) if layer.severity else 0,
    "forward order": lambda _: 0,
    "name": lambda layer: layer.name,
    "dead": lambda layer: -(_NOTHING if layer.dead is None else layer.dead),
    "saturated": lambda layer: -(_NOTHING if layer.saturated is None else layer.saturated),
    "std": lambda layer: -(_NOTHING if layer.std is None else layer.std),
    "|mean|": lambda layer: -(_NOTHING if layer.mean is None else abs(layer.mean)),
}


class Spark(NamedTuple):
    """What the table shows of a layer's recent rows: the last value, and the line."""

    last: str
    line: str


class LayerTable(ScrollView, can_focus=True):
    """The layers, of which one is under the cursor.

    Attributes:
        listed: the layers that are shown, in order.
    """

    DEFAULT_CSS = "LayerTable { height: 1fr; } LayerTable:focus { background-tint: $foreground 3%; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Layer"),
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "move(-1000000000)", "First", show=False),
        Binding("end,G", "move(1000000000)", "Last", show=False),
    ]

    class Chosen(Message):
        """A layer was chosen."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, spark: Callable[[str, int], Spark | None], **more: Any) -> None:
        super().__init__(**more)
        self.listed: Sequence[LayerHealth] = ()
        self.statistic = ""
        self.cursor = 0
        self._spark = spark
        self._sparks: dict[tuple[str, int], Spark] = {}

    def show_layers(self, layers: Sequence[LayerHealth], statistic: str) -> None:
        """Shows layers; the cursor stays on the layer that it is on, or else in its line."""
        under = self.under
        self.listed = layers
        if statistic != self.statistic or len(self._sparks) > 4096:
            self._sparks.clear()
        self.statistic = statistic
        if under is not None:
            self.cursor = next((place for place, each in enumerate(layers) if each.name == under), self.cursor)
        self.cursor = max(0, min(self.cursor, len(layers) - 1))
        self.virtual_size = Size(0, len(layers) + 1)
        self.refresh()

    @property
    def under(self) -> str | None:
        """The name of the layer under the cursor."""
        return self.listed[self.cursor].name if self.cursor < len(self.listed) else None

    def action_move(self, by: int) -> None:
        """Moves the cursor."""
        self.cursor = max(0, min(self.cursor + by, len(self.listed) - 1))
        self.scroll_to_region(Region(0, self.cursor, 1, 2), animate=False, force=True)  # the head takes a line
        self.refresh()

    def action_page(self, by: int) -> None:
        """Moves the cursor by a page."""
        self.action_move(by * max(1, self.size.height - 2))

    def action_choose(self) -> None:
        """Tells which layer was chosen."""
        if self.under is not None:
            self.post_message(self.Chosen(self.under))

    def on_click(self, event: Any) -> None:
        """A click chooses the line, a second one its layer."""
        place = int(event.y) - 1 + self.scroll_offset.y
        if 0 <= place < len(self.listed):
            if place == self.cursor:
                self.action_choose()
            self.cursor = place
            self.refresh()

    def _columns(self, width: int) -> list[tuple[str, int, bool]]:
        """(title, width, whether its text is on the right) of the columns that a width has room for."""
        columns = [("", 0, False), ("status", 26 if width >= 100 else 20, False)]
        if width >= 90:
            columns.insert(1, ("type", 12, False))
        if width >= 120:
            columns += [("mean", 9, True), ("std", 9, True), ("saturated", 9, True)]
        if width >= 100:
            columns.append(("dead", 5, True))
        columns += [(self.statistic, 10, True), ("recent rows", max(16, width // 5), False)]
        rest = width - sum(size + 1 for _, size, _ in columns)
        columns[0] = ("layer", max(12, rest), False)
        return columns

    def _cell(self, title: str, size: int, layer: LayerHealth, spark: Spark) -> str:
        def share(x: float | None) -> str:
            return "-" if x is None else percent(x)

        if title == "layer":
            return shown(layer.name, size)
        if title == "type":
            return shown(layer.kind, size)
        if title == "status":
            return shown(status_of(layer), size)
        if title in ("mean", "std"):
            x = getattr(layer, title)
            return "-" if x is None else number(x)
        if title in ("dead", "saturated"):
            return share(getattr(layer, title))
        return spark.line if title == "recent rows" else spark.last

    def render_line(self, y: int) -> Strip:
        """One line of the widget: the head, or a layer."""
        width = self.size.width
        columns = self._columns(width)
        base = self.rich_style
        if y == 0:
            cells = (f"{title[:size]:{'>' if right else '<'}{size}}" for title, size, right in columns)
            return Strip([Segment(" ".join(cells), base + Style(bold=True, underline=True))]).adjust_cell_length(width)
        place = y - 1 + self.scroll_offset.y
        if place >= len(self.listed):
            text = "no layer matches" if place == 0 else ""
            return Strip([Segment(text, base)]).adjust_cell_length(width, base)
        layer = self.listed[place]
        size = columns[-1][1]
        spark = self._spark(layer.name, size)
        if spark is None:  # rows are coming in
            spark = self._sparks.get((layer.name, size), Spark("", ""))
        else:
            self._sparks[layer.name, size] = spark
        row = base + Style(reverse=self.has_focus, bold=not self.has_focus) if place == self.cursor else base
        quiet = layer.status in ("not enough data", "accepted")
        status = Style.parse("dim" if quiet else STYLES[layer.severity])
        segments = []
        for title, wide, right in columns:
            text = self._cell(title, wide, layer, spark)
            text = text.rjust(wide) if right else text
            style = row + status if title == "status" else base + Style.parse("cyan") if title == "recent rows" else row
            segments += [Segment(set_cell_size(text, wide), style), Segment(" ", row)]
        return Strip(segments).adjust_cell_length(width, row)
