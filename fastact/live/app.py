"""The terminal view of a run: layers, findings as they come, and pages on a layer, a finding, the ranks."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from fastact.diagnosis.finding import Finding
from fastact.diagnosis.report import LayerHealth
from fastact.diagnosis.show.render import in_table
from fastact.heatmap.statistics import STATISTICS
from fastact.live.following import Following
from fastact.live.layer_table import ORDERS, LayerTable, Spark
from fastact.live.screens import FindingScreen, KeysScreen, LayerScreen, MessagesScreen, RanksScreen, ReportScreen
from fastact.live.sparks import sparkline
from fastact.live.words import followers, head, line, note_line, told, value
from fastact.text import shown

#: Findings in the pane; the rest is counted.
_MOST: Final = 200
#: Looks for which a finding is called new.
_NEW: Final = 10
#: Lines of a terminal that has room for what the chosen finding says.
_HIGH: Final = 34


class Overview(Screen[None]):
    """The first page."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("s", "sort(1)", "Sort"),
        Binding("S", "sort(-1)", "Sort back", show=False),
        Binding("c", "statistic(1)", "Statistic"),
        Binding("C", "statistic(-1)", "Statistic back", show=False),
        Binding("tab", "other", "Findings", show=True),
        Binding("a", "all", "All rows", show=False),
        Binding("r", "ranks", "Ranks"),
        Binding("right_square_bracket", "rank(1)", "Next rank", show=False),
        Binding("left_square_bracket", "rank(-1)", "Rank before", show=False),
        Binding("d", "report", "Report"),
        Binding("m", "messages", "Warnings", show=False),
        Binding("question_mark", "keys", "Keys", key_display="?"),
        Binding("escape", "clear", "Clear the filter", show=False),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(self, following: Following) -> None:
        super().__init__()
        self.following = following
        self.order, self.statistic = "sick first", "rms"
        self.wanted: tuple[str, ...] = ()
        self.everything = False
        self._findings: list[Finding] = []
        self._lines: list[str] = []
        self._state: object = None

    def compose(self) -> ComposeResult:
        """Head, table, findings, footer."""
        yield Static(id="head")
        yield LayerTable(self._spark, id="layers")
        yield Input(placeholder="words of a layer's name, type or status", id="filter")
        yield Static(id="count")
        yield OptionList(id="findings", markup=False)
        yield Static(id="advice", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Begins with the table."""
        self.query_one("#filter").display = False
        self.query_one(LayerTable).focus()
        self.show()

    def _spark(self, name: str, width: int) -> Spark | None:
        values = self.following.shown.recent(name, self.statistic)
        if values is None or not len(values):
            return None
        last = value(self.statistic, float(values[-1]))
        return Spark(last, sparkline(values, width, STATISTICS[self.statistic].kind))

    def chosen_layers(self) -> list[LayerHealth]:
        """The layers to show: those of the filter, in the order that was asked for."""
        diagnosis = self.following.shown.diagnosis
        if diagnosis is None:
            return []
        layers: Iterable[LayerHealth] = diagnosis.layers if self.everything else in_table(diagnosis)
        if self.wanted:
            layers = [
                each
                for each in layers
                if all(word in f"{each.name} {each.kind} {each.status} {each.severity}".lower() for word in self.wanted)
            ]
        return sorted(layers, key=ORDERS[self.order])

    def show(self, *, looked: bool = False) -> None:
        """Shows what the last look has left."""
        rank = self.following.shown
        settings = f"by {self.order}" + (f", filter: {shown(' '.join(self.wanted), 30)}" if self.wanted else "")
        text = head(self.following, self.size.width or 80, settings)
        self.query_one("#head", Static).update(text, layout=False)
        new = rank.new(_NEW)
        state = (rank.number, rank.tail.rows, rank.diagnosis is None, new)
        if looked and state == self._state:  # whatever a key has changed is shown at once
            return
        self._state = state
        self.query_one(LayerTable).show_layers(self.chosen_layers(), self.statistic)
        findings = () if rank.diagnosis is None else rank.diagnosis.culprits
        follow = {} if rank.diagnosis is None else followers(rank.diagnosis)
        keys = [(each.layer, each.condition) for each in findings[:_MOST]]
        lines = [line(each, len(follow[key]), new=key in new) for each, key in zip(findings, keys, strict=False)]
        notes = () if rank.diagnosis is None else rank.diagnosis.notes
        lines += map(note_line, notes)
        said = [text.plain for text in lines]
        pane = self.query_one("#findings", OptionList)
        if said != self._lines:
            at = pane.highlighted
            before = self._findings[at] if at is not None and at < len(self._findings) else None
            self._lines, self._findings = said, list(findings[:_MOST])
            pane.clear_options()
            pane.add_options([Option(text) for text in lines])
            if self._findings:
                same = before is not None and (before.layer, before.condition) in keys
                pane.highlighted = keys.index((before.layer, before.condition)) if same and before is not None else 0
        self.query_one("#count", Static).update(self._counted(len(findings)), layout=False)
        self._advise()

    def _counted(self, findings: int) -> Text:
        rank = self.following.shown
        if rank.diagnosis is None:
            return Text("not judged yet", "dim")
        gone = sum(not event.found for event in rank.events)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{findings:,} finding{'s' * (findings != 1)}", "bold")
        text.append(f", {findings - _MOST:,} of them not shown" if findings > _MOST else "")
        text.append(f", {gone} gone since" if gone else "", "dim")
        notes = len(rank.diagnosis.notes)
        text.append(f", {notes} note{'s' * (notes > 1)}" if notes else "", "dim")
        return text

    def _advise(self) -> None:
        high = self.size.height >= _HIGH
        advice = self.query_one("#advice", Static)
        at = self.query_one("#findings", OptionList).highlighted
        advice.display = high and at is not None and at < len(self._findings)
        if advice.display and at is not None:
            advice.update(told(self._findings[at]))

    def on_resize(self) -> None:
        """Shows as much as there is room for."""
        self.show()

    def on_option_list_option_highlighted(self) -> None:
        """Another finding is under the cursor."""
        self._advise()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Opens the finding's page; for a note the report, which has them all."""
        if event.option_index >= len(self._findings):
            self.action_report()
            return
        finding = self._findings[event.option_index]
        diagnosis = self.following.shown.diagnosis
        follow = {} if diagnosis is None else followers(diagnosis)
        self.app.push_screen(FindingScreen(self.following, finding, follow.get((finding.layer, finding.condition), [])))

    def on_layer_table_chosen(self, event: LayerTable.Chosen) -> None:
        """Opens the layer's page."""
        names = [layer.name for layer in self.query_one(LayerTable).listed]
        self.app.push_screen(LayerScreen(self.following, event.name, names, self.statistic))

    def action_other(self) -> None:
        """Goes from the table to the findings, and back."""
        table, findings = self.query_one(LayerTable), self.query_one("#findings")
        (findings if table.has_focus else table).focus()

    def action_filter(self) -> None:
        """Opens the line for the filter."""
        line = self.query_one("#filter", Input)
        line.display = True
        line.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filters while it is written."""
        self.wanted = tuple(event.value.lower().split())
        self.show()

    def on_input_submitted(self) -> None:
        """Goes back to the table, with the filter."""
        self.query_one("#filter").display = False
        self.query_one(LayerTable).focus()

    def action_clear(self) -> None:
        """Takes the filter away."""
        self.query_one("#filter", Input).value = ""
        self.on_input_submitted()

    def action_sort(self, by: int) -> None:
        """Sorts by another column."""
        self.order = _next(list(ORDERS), self.order, by)
        self.show()

    def action_statistic(self, by: int) -> None:
        """Shows another statistic."""
        self.statistic = _next(list(STATISTICS), self.statistic, by)
        self.show()

    def action_all(self) -> None:
        """Shows losses, parameters and their like too, or no longer."""
        self.everything = not self.everything
        self.show()

    def action_rank(self, by: int) -> None:
        """Shows another rank."""
        self.following.turn(by)
        self.show()

    def action_ranks(self) -> None:
        """Opens the page of the ranks."""
        self.app.push_screen(RanksScreen(self.following))

    def action_messages(self) -> None:
        """Opens the page of the warnings."""
        self.app.push_screen(MessagesScreen(self.following))

    def action_report(self) -> None:
        """Opens the whole report."""
        self.app.push_screen(ReportScreen(self.following))

    def action_keys(self) -> None:
        """Opens the page of the keys."""
        self.app.push_screen(KeysScreen())


def _next(names: list[str], name: str, by: int) -> str:
    return names[(names.index(name) + by) % len(names)]


class TailApp(App[None]):
    """What `fastact tail` shows on a terminal.

    Args:
        following: the run.
    """

    TITLE = "fastact tail"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head, #findings { padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #head { height: 3; }
    #count { height: 1; padding: 0 1; background: $panel; }
    #filter { border: none; height: 1; padding: 0 1; }
    #findings { height: auto; max-height: 30%; min-height: 1; border: none; }
    #advice { height: auto; max-height: 30%; padding: 0 1; border-top: solid $panel; }
    .page { padding: 0 1; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c,ctrl+q", "quit", "Quit", show=False, priority=True)]

    def __init__(self, following: Following) -> None:
        super().__init__()
        self.following = following
        self._stop, self._wake = threading.Event(), threading.Event()
        self._told: set[tuple[object, str, str]] = set()
        self._thread: threading.Thread | None = None
        self._looks = 0

    def get_default_screen(self) -> Screen[None]:
        """The first page."""
        return Overview(self.following)

    def on_mount(self) -> None:
        """Begins to follow the run."""
        loop = asyncio.get_running_loop()
        for each in ("SIGINT", "SIGTERM", "SIGHUP"):
            with contextlib.suppress(NotImplementedError, ValueError, AttributeError, RuntimeError):
                loop.add_signal_handler(getattr(signal, each), self.exit)
        # A thread of its own, which an exit does not wait for: the first look at a long log takes its time.
        self._thread = threading.Thread(target=self._follow, name="fastact-tail", daemon=True)
        self._thread.start()
        self.set_interval(1.0, self._tick)

    def _follow(self) -> None:
        self.following.follow(self._stop, self._wake, lambda: self._ask(self._looked))

    def _ask(self, what: Any) -> None:
        if not self._stop.is_set():
            with contextlib.suppress(RuntimeError):  # it has ended in the meantime
                self.call_later(what)

    def _tick(self) -> None:
        """Shows how far a look is that takes longer: the first one at a long log."""
        if not self._looks:
            self.show(looked=True)
        self._looks = 0

    def _looked(self) -> None:
        self._looks += 1
        self.show(looked=True)
        self._tell()

    def show(self, *, looked: bool = False) -> None:
        """Brings the page that is shown up to date; after a look the first page too, which counts them."""
        for screen in self.screen_stack:
            if screen is self.screen or (looked and isinstance(screen, Overview)):
                update = getattr(screen, "show", None)
                if update is None or self._stop.is_set():
                    continue
                with contextlib.suppress(NoMatches):  # its widgets are not there yet, or no longer
                    update(looked=looked) if isinstance(screen, Overview) else update()

    def _tell(self) -> None:
        """A word on findings that are new since the run was opened, of any rank."""
        new = [
            (rank, event.finding)
            for rank in self.following.ranks
            for event in rank.events
            if event.found
            and event.step is not None
            and (rank.number, event.finding.layer, event.finding.condition) not in self._told
        ]
        self._told.update((rank.number, each.layer, each.condition) for rank, each in new)
        for rank, finding in new[:3]:
            whose = f"{rank.label}: " if rank.label else ""
            self.notify(f"{whose}{shown(finding.message, 200)}", severity="warning", markup=False)
        if len(new) > 3:
            self.notify(f"{len(new) - 3} more findings", severity="warning")

    def look_now(self) -> None:
        """Ends the pause before the next look."""
        self._wake.set()

    async def on_unmount(self) -> None:
        """Ends to follow the run."""
        self._stop.set()
        self._wake.set()
