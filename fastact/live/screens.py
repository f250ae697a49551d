"""The other pages of the terminal view: a layer, a finding, the ranks, the warnings, the keys."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from fastact import heatmap
from fastact.diagnosis.finding import Finding
from fastact.errors import FastactError
from fastact.heatmap.statistics import STATISTICS, Floats
from fastact.live.following import Following
from fastact.live.words import STYLES, facts, numbers, picture, told
from fastact.replay.log import open_log
from fastact.text import shown

_BACK: Final = Binding("escape,backspace", "app.pop_screen", "Back", key_display="esc")
_QUIT: Final = Binding("q", "app.quit", "Quit")
_KEYS: Final = """\
The table of layers
  up, down, page up, page down, home, end   move
  enter        the layer's page: curves, numbers, neurons, what is known of it
  /            filter by words of a name, type or status; esc takes it away
  s, S         sort by the next column, or the one before
  c, C         another statistic for the sparklines: of the rows in the window, as many as the monitor keeps
  a            losses, targets, parameters and updates as well
  tab          to the findings, and back

The findings
  enter        the finding's page: why, how sure, the numbers, what to try, what follows

Elsewhere
  d            the report, as fastact diagnose has it: notes, what is accepted, what was not looked at
  r            the ranks: which are sick; enter shows one
  [ and ]      the rank before, the next one
  m            what of the log is lost or damaged
  esc          back
  q, ctrl+c    quit; the run goes on

A line of × has no number there: no element was finite. A share is drawn from 0 to 1, a size of several orders of
magnitude by its logarithm, anything else from its least to its largest value.
"""


class _Page(Screen[None]):
    """A page of text that can be scrolled."""

    BINDINGS: ClassVar[list[BindingType]] = [_BACK, _QUIT]

    def compose(self) -> ComposeResult:
        """The text, and the keys."""
        with VerticalScroll():
            yield Static(classes="page", id="text", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Shows the text."""
        self.query_one(VerticalScroll).focus()
        self.show()

    def on_resize(self) -> None:
        """Shows the text in its new width."""
        self.show()

    def show(self) -> None:
        """Brings the text up to date."""
        self.query_one("#text", Static).update(self.text((self.size.width or 80) - 4))

    def text(self, width: int) -> Text:
        """The text for so many columns."""
        raise NotImplementedError


class KeysScreen(_Page):
    """What the keys do."""

    def text(self, width: int) -> Text:
        """The text for so many columns."""
        return Text(_KEYS)


class ReportScreen(_Page):
    """The whole diagnosis, as `fastact diagnose` has it."""

    def __init__(self, following: Following) -> None:
        super().__init__()
        self.following = following

    def text(self, width: int) -> Text:
        """The text for so many columns."""
        diagnosis = self.following.shown.diagnosis
        return Text("not judged yet" if diagnosis is None else str(diagnosis))


class MessagesScreen(_Page):
    """What of the log is lost."""

    def __init__(self, following: Following) -> None:
        super().__init__()
        self.following = following

    def text(self, width: int) -> Text:
        """The text for so many columns."""
        messages = list(self.following.messages)
        if not messages:
            return Text("Nothing is damaged or missing.")
        more = self.following.lost - len(messages)
        head = [f"{more} earlier ones are not kept."] if more else []
        return Text("\n".join([*head, *(shown(message, 1000) for message in messages)]))


class FindingScreen(_Page):
    """A finding in full."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("l", "layer", "Layer")]

    def __init__(self, following: Following, finding: Finding, follow: Sequence[Finding]) -> None:
        super().__init__()
        self.following, self.finding, self.follow = following, finding, follow

    def text(self, width: int) -> Text:
        """The text for so many columns."""
        text = told(self.finding, self.follow)
        diagnosis = self.following.shown.diagnosis
        now = () if diagnosis is None else diagnosis.findings
        same = (self.finding.layer, self.finding.condition)
        if same not in {(each.layer, each.condition) for each in now}:
            text.append("It is no longer found.\n", "bold green")
        return text

    def action_layer(self) -> None:
        """Opens the page of its layer."""
        name = self.finding.layer
        self.app.switch_screen(LayerScreen(self.following, name, [name], "rms"))


class LayerScreen(_Page):
    """A layer: its curve, all of its numbers, its findings, what is known of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "statistic(1)", "Statistic"),
        Binding("C", "statistic(-1)", "Statistic back", show=False),
        Binding("w", "whole", "Whole run"),
        Binding("n", "layer(1)", "Next layer"),
        Binding("p", "layer(-1)", "Layer before"),
    ]

    def __init__(self, following: Following, name: str, names: Sequence[str], statistic: str) -> None:
        super().__init__()
        self.following, self.name_of, self.names, self.statistic = following, name, list(names), statistic
        self.whole = False
        self._found: tuple[str, str, Any, Floats, Floats] | None = None
        self._failed = ""

    def text(self, width: int) -> Text:
        """The text for so many columns."""
        rank, name = self.following.shown, self.name_of
        diagnosis = rank.diagnosis
        known = rank.tail.history.get(name)
        if known is None or diagnosis is None:
            return Text(f"{shown(name)} has no rows{f' on {rank.label}' if rank.label else ''}.")
        health = next((layer for layer in diagnosis.layers if layer.name == name), None)
        text = facts(known.info, health)
        rows = rank.rows(name, wait=0.1)
        text.append("\n\n")
        if rows is None or not len(rows):
            text.append("rows are coming in\n", "dim")
        else:
            text.append_text(self._curve(rows, width))
            text.append("\n")
            text.append_text(numbers(rows, width))
        for finding in diagnosis.findings:
            if finding.layer == name:
                text.append("\n")
                text.append_text(told(finding))
        for note in diagnosis.notes:
            if name in note.layers:
                text.append(f"\nNote: {note.message}\n", STYLES["note"])
        return text

    def _curve(self, rows: Any, width: int) -> Text:
        text = Text()
        steps, values = rows["step"], STATISTICS[self.statistic].of(rows)
        low = high = values
        over = f"the last {len(rows):,} rows"
        if self.whole:
            over = "the whole run"
            if self._failed:
                over += f": {self._failed}"
            elif self._found is None or self._found[:2] != (self.name_of, self.statistic):
                over += ": reading it"
            else:
                _, _, steps, low, high = self._found
        text.append(f"{self.statistic}: {STATISTICS[self.statistic].meaning}, over {over}\n", "bold")
        text.append_text(picture(steps, low, high, self.statistic, width, 8))
        return text

    def action_statistic(self, by: int) -> None:
        """Draws another statistic."""
        names = list(STATISTICS)
        self.statistic = names[(names.index(self.statistic) + by) % len(names)]
        self._read()
        self.show()

    def action_layer(self, by: int) -> None:
        """Goes to another layer of the table."""
        if self.name_of in self.names:
            self.name_of = self.names[(self.names.index(self.name_of) + by) % len(self.names)]
            self._read()
            self.show()

    def action_whole(self) -> None:
        """Draws the whole run, or the window again."""
        self.whole = not self.whole
        self._read()
        self.show()

    def _read(self) -> None:
        if self.whole:
            self._failed = ""
            self.run_worker(self._read_whole, thread=True, exclusive=True)

    def _read_whole(self) -> None:
        name, statistic = self.name_of, self.statistic
        try:
            found = heatmap.cells(open_log(self.following.shown.folder), statistic, [name], 512)
        except FastactError as error:
            self._failed = shown(str(error), 200)
        else:
            keep = ~np.isnan(found.low[0])
            self._found = (name, statistic, found.steps[keep], found.low[0][keep], found.high[0][keep])
        if self.is_attached:
            self.app.call_from_thread(self.show)


class RanksScreen(Screen[None]):
    """The ranks: how far each is, and which are sick."""

    BINDINGS: ClassVar[list[BindingType]] = [_BACK, _QUIT]

    def __init__(self, following: Following) -> None:
        super().__init__()
        self.following = following

    def compose(self) -> ComposeResult:
        """The list, and the keys."""
        yield Static(classes="page", id="text", markup=False)
        yield OptionList(id="ranks", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Shows the list."""
        self.show()
        ranks = self.query_one("#ranks", OptionList)
        ranks.highlighted = self.following.ranks.index(self.following.shown)
        ranks.focus()

    def show(self) -> None:
        """Brings the list up to date."""
        ranks = self.query_one("#ranks", OptionList)
        at = ranks.highlighted
        furthest = max((rank.tail.step or 0 for rank in self.following.ranks), default=0)
        lines = []
        for rank in self.following.ranks:
            text = Text(no_wrap=True, overflow="ellipsis")
            step = rank.tail.step
            behind = 0 if step is None else furthest - step
            text.append(f"{rank.label or 'one process':<12} step {'-' if step is None else format(step, ','):>10}  ")
            text.append(f"{rank.sick:,} sick, {rank.gravest}" if rank.gravest else "none sick", STYLES[rank.gravest])
            text.append(f"  {behind:,} steps behind" if behind else "", "dim")
            text.append(f"  {shown(rank.state, 60)}", "dim")
            lines.append(text)
        head = f"{len(lines)} ranks" if len(lines) > 1 else "one rank"
        if self.following.left_out:
            head += f", and {self.following.left_out} more that are not followed: choose one by --rank"
        self.query_one("#text", Static).update(Text(head, "bold"))
        ranks.clear_options()
        ranks.add_options([Option(text) for text in lines])
        ranks.highlighted = None if at is None else min(at, len(lines) - 1)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Shows the rank that was chosen."""
        self.following.shown = self.following.ranks[event.option_index]
        self.app.pop_screen()
