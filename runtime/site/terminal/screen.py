"""The screen of `mammoedge watch` (Textual, extra `[watch]`)."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding
from textual.widgets import DataTable, Footer, RichLog, Static

from runtime.image.outcome import Flag
from runtime.messages.payloads import ExamMessage
from runtime.site.live_model.change import ChangeKind
from runtime.site.subscriber.recording import RecordingError
from runtime.site.terminal.filters import QUIET_KINDS
from runtime.site.terminal.lines import line_of, printable
from runtime.site.terminal.unit_row import COLUMNS, unit_lines
from runtime.timing.timestamps import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

    from runtime.site.live_model.change import Change
    from runtime.site.terminal.feed import LiveFeed
    from runtime.site.terminal.unit_row import UnitRow

REFRESH_S = 0.25
TURN_S = 0.2
LOG_LINES = 2000
WAITING_LINES = 500
"""Changes between two refreshes that the log takes; of more it shows the last, and says so."""
TROUBLE = frozenset(
    {
        ChangeKind.CONFLICT, ChangeKind.GAP_OPENED, ChangeKind.SEQ_RESTARTED, ChangeKind.TWO_UNITS,
        ChangeKind.FOREIGN, ChangeKind.DISCONNECTED, ChangeKind.ALARM, ChangeKind.STALE,
        ChangeKind.LEDGER_ROLLED_BACK,
    }
)  # fmt: skip


def _all(change: Change) -> bool:
    return change.kind not in QUIET_KINDS


def _flags(change: Change) -> bool:
    return isinstance(change.message, ExamMessage) and change.kind is ChangeKind.ROW


def _trouble(change: Change) -> bool:
    return change.kind in TROUBLE


VIEWS: tuple[tuple[str, Callable[[Change], bool]], ...] = (
    ("everything", _all),
    ("flags", _flags),
    ("trouble", _trouble),
)


# Textual is an extra: mypy reads it as Any, so that checks need not install it.
class SiteScreen(App[int]):  # type: ignore[misc]
    """Units above, what happens below. One thread hears; this one shows, under the lock."""

    TITLE = "mammoedge watch"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #link { height: 1; padding: 0 1; background: $panel; }
    #link.away { background: $error; color: $text; text-style: bold; }
    #units { height: 1fr; }
    #story { height: 1fr; border-top: solid $primary; }
    """
    BINDINGS: ClassVar[list[Any]] = [
        Binding("q", "quit", "Quit"),
        Binding("f", "view", "Flags, trouble, everything"),
        Binding("p", "pause", "Pause"),
        Binding("g", "replay", "Ask for what is missing"),
        Binding("b", "rebirth", "Ask for status"),
    ]

    def __init__(self, listening: LiveFeed) -> None:
        super().__init__()
        self._listening = listening
        self._changes: SimpleQueue[Change] = SimpleQueue()
        self._wishes: SimpleQueue[Callable[[], bool]] = SimpleQueue()
        self._ended = threading.Event()
        self._view = 0
        self._paused = False
        self._shown: dict[str, UnitRow] = {}
        self._order: list[str] = []
        self._note = ""
        self.heard_all = threading.Event()
        """There is nothing more to hear: a recording came to its end, or a file failed."""
        self._hearing = threading.Thread(target=self._hear, name="watch-hears", daemon=True)

    # --- the screen ---------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """The line of the connection, the units, the story, the keys."""
        yield Static(id="link", markup=False)
        yield DataTable(id="units", cursor_type="row", zebra_stripes=True)
        yield RichLog(id="story", max_lines=LOG_LINES, markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begins to hear."""
        self.query_one("#units", DataTable).add_columns(*COLUMNS)
        self.query_one("#units").focus()
        self.set_interval(REFRESH_S, self.refresh_view)
        self._hearing.start()
        self.refresh_view()

    def on_unmount(self) -> None:
        """Ends the hearing thread."""
        self._ended.set()
        self._listening.source.stop()
        if self._hearing.is_alive():
            self._hearing.join(10)

    def refresh_view(self) -> None:
        """Shows the state of this moment; nothing once the screen closes.

        Textual takes the widgets away before it stops the timers of the application.
        """
        if not self.is_running:
            return
        listening = self._listening
        with listening.lock:
            lines = unit_lines(listening.site_state, listening.clock_ms())
            link, away = self._link_line()
        bar = self.query_one("#link", Static)
        bar.update(link)
        bar.set_class(away, "away")
        self._show_units(lines)
        self._show_story()

    def _link_line(self) -> tuple[str, bool]:
        site_state = self._listening.site_state
        link, foreign = site_state.link, sum(site_state.foreign.values())
        view = f"shown: {VIEWS[self._view][0]}{', paused' if self._paused else ''}"
        tail = f"  foreign: {foreign}  {view}  {self._note}".rstrip()
        if self._hearing.ident and not self._hearing.is_alive() and not self._listening.finished:
            return f"{site_state.site}  NO LONGER LISTENING{tail}", True
        if link is None:
            return f"{site_state.site}  connecting ...{tail}", True
        since = utc_text(link.at_ms)[:19].replace("T", " ")
        if link.up:
            return f"{site_state.site}  connected since {since} UTC{tail}", False
        reason = printable(link.reason, 60)
        return f"{site_state.site}  NOT CONNECTED since {since} UTC: {reason}{tail}", True

    def _show_units(self, lines: tuple[UnitRow, ...]) -> None:
        table = self.query_one("#units", DataTable)
        order = [line.unit for line in lines]
        if order != self._order:
            chosen = self._chosen()
            table.clear()
            for line in lines:
                table.add_row(*self._styled(line), key=line.unit)
            self._order = order
            if chosen in order:
                table.move_cursor(row=order.index(chosen))
        else:
            for row, line in enumerate(lines):
                if self._shown.get(line.unit) != line:
                    for column, cell in enumerate(self._styled(line)):
                        table.update_cell_at((row, column), cell)
        self._shown = {line.unit: line for line in lines}

    @staticmethod
    def _styled(line: UnitRow) -> list[Text]:
        style = "bold red" if line.grave else ""
        cells = [Text(cell) for cell in line.cells]
        for index in (0, 1, len(cells) - 1):
            cells[index].stylize(style)
        if line.cells[2] != "0":
            cells[2].stylize("bold yellow")
        return cells

    def _show_story(self) -> None:
        if self._paused:
            return
        changes = []
        while True:
            try:
                changes.append(self._changes.get_nowait())
            except Empty:
                break
        story = self.query_one("#story", RichLog)
        wanted = [change for change in changes if VIEWS[self._view][1](change)]
        if len(wanted) > WAITING_LINES:
            story.write(Text(f"... {len(wanted) - WAITING_LINES} more", style="dim"))
        for change in wanted[-WAITING_LINES:]:
            story.write(Text(line_of(change), style=_style(change)))

    # --- keys ---------------------------------------------------------------------------------

    def action_view(self) -> None:
        """What the story shows from now on."""
        self._view = (self._view + 1) % len(VIEWS)
        self.refresh_view()

    def action_pause(self) -> None:
        """Holds the story; what happens meanwhile is shown afterwards."""
        self._paused = not self._paused
        self.refresh_view()

    def action_replay(self) -> None:
        """Asks the chosen unit for its lowest missing number."""
        name = self._chosen()
        with self._listening.lock:
            unit = self._listening.site_state.units.get(name or "")
            gaps = unit.book.gaps() if unit else ()
        if name is None or not gaps:
            self._say("nothing is missing")
            return
        source, first = self._listening.source, gaps[0].first
        self._wish(lambda: source.ask_replay(name, first), f"asking {name} from {first} on")

    def action_rebirth(self) -> None:
        """Asks the chosen unit for its status."""
        name, source = self._chosen(), self._listening.source
        if name is not None:
            self._wish(lambda: source.ask_rebirth(name), f"asking {name} for its status")

    def _wish(self, wish: Callable[[], bool], note: str) -> None:
        self._wishes.put(wish)
        self._say(note)

    def _say(self, note: str) -> None:
        self._note = printable(note, 60)
        self.refresh_view()

    def _chosen(self) -> str | None:
        row = self.query_one("#units", DataTable).cursor_row
        return self._order[row] if 0 <= row < len(self._order) else None

    # --- the hearing thread -------------------------------------------------------------------

    def _hear(self) -> None:
        try:
            while not self._ended.is_set() and not self._listening.finished:
                for change in self._listening.turn(TURN_S):
                    if self._changes.qsize() < LOG_LINES:
                        self._changes.put(change)
                self._grant()
        except (RecordingError, OSError) as error:
            self._note = printable(str(error))
        finally:
            self.heard_all.set()

    def _grant(self) -> None:
        """Commands are said by the thread that hears: the session belongs to one."""
        while not self._wishes.empty():
            if not self._wishes.get()():
                self._note = "not now: no connection, or asked too often"


def _style(change: Change) -> str:
    if _trouble(change):
        return "red"
    if isinstance(change.message, ExamMessage) and change.message.flag is Flag.PRIORITY:
        return "bold yellow"
    return ""
