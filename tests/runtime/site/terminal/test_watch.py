"""`mammoedge watch`: the screen in a real Textual, JSON for scripts, lines elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import os
import pty
import re
import subprocess
import sys
import threading

import pytest

from runtime.cli.main import main
from runtime.site.live_model.site_state import SiteState
from runtime.site.subscriber.arrival import LinkChange
from runtime.site.terminal.feed import LiveFeed, RecordingSource
from runtime.site.terminal.unit_row import COLUMNS, unit_lines
from tests.conftest import ROOT, module_or_skip
from tests.runtime.site import said
from tests.runtime.site.listeners import outbox_rows
from tests.runtime.site.stories import record, troubled_site
from tests.support.waiting import CHILD_S, LONG_S, joined, wait_until, wait_until_async

SCREENS = ROOT / "tests" / "runtime" / "site" / "screens"
SIZE = (132, 26)
SVG_CELL = 12.2
"""Width of a character in Textual's pictures of itself."""


class Asked(RecordingSource):
    """A recording that remembers what was asked of units, and goes on living at its end."""

    def __init__(self, heard) -> None:
        super().__init__(iter(heard))
        self.asked = []
        self.more = []

    def receive(self, timeout_s):
        """At the end: what the test adds."""
        heard = super().receive(0)
        if heard is None:
            self.finished = False
            self._stopped.wait(0.01)
            self._heard = iter([self.more.pop(0)] if self.more else [])
        return heard

    def ask_replay(self, unit, from_seq):
        """Remembers."""
        self.asked.append(("replay", unit, from_seq))
        return True

    def ask_rebirth(self, unit):
        """Refuses, as the limit would."""
        self.asked.append(("rebirth", unit))
        return False


def text_of(app) -> str:
    """The screen as lines of text, from Textual's own picture of it."""
    svg = app.export_screenshot(simplify=True)
    rows: dict[float, list[tuple[float, str]]] = {}
    for x, y, text in re.findall(r'<text[^>]*x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', svg):
        rows.setdefault(float(y), []).append((float(x), html.unescape(text)))
    lines = []
    for y in sorted(rows):
        line = ""
        for x, text in sorted(rows[y]):
            line = line.ljust(round(x / SVG_CELL)) + text.replace("\xa0", " ")
        # The bar beside a list that can be scrolled is Textual's business.
        lines.append(line.rstrip(" ▁▂▃▄▅▆▇█"))
    return "\n".join(lines) + "\n"


def on_screen(heard, play):
    """Runs the screen without a terminal; `play(app, pilot, source)` plays the user."""
    module_or_skip("textual", "extra [watch] is not installed")
    from runtime.site.terminal.screen import SiteScreen

    source = Asked(heard)
    listening = LiveFeed(source, SiteState(said.SITE), clock_ms=source.clock_ms)

    async def run() -> None:
        app = SiteScreen(listening)
        async with app.run_test(size=SIZE) as pilot:
            await until(
                app,
                pilot,
                lambda: source._next is None and not app._changes.qsize(),
                "everything heard is taken in",
            )
            await play(app, pilot, source)

    asyncio.run(asyncio.wait_for(run(), CHILD_S))


async def until(app, pilot, condition, what) -> None:
    """Lets the screen live until the condition holds."""

    async def live() -> None:
        await pilot.pause(0.05)
        app.refresh_view()

    await pilot.pause()
    app.refresh_view()
    await wait_until_async(condition, what, step=live)
    await pilot.pause()


def until_shown(app, pilot, *texts):
    """Until all of these stand on the screen."""
    return until(
        app,
        pilot,
        lambda: all(text in text_of(app) for text in texts),
        lambda: f"{texts} on the screen:\n{text_of(app)}",
    )


def test_the_screen_shows_who_is_well_who_is_not_and_what_happened():
    """The whole screen, as text, is the committed one."""

    async def play(app, pilot, source) -> None:
        await until_shown(app, pilot, "OFFLINE", "foreign")
        # Without the window's title and the keys, which Textual draws.
        link, _title, *shown, keys = text_of(app).splitlines()
        committed = (SCREENS / "troubled_site.txt").read_text().splitlines()
        assert [link, *shown] == committed
        assert "q Quit" in keys

    on_screen(troubled_site(), play)


def test_keys_choose_the_story_and_ask_units():
    """f: flags only; g: the lowest missing number of the chosen unit; b: refused, and said so."""

    async def play(app, pilot, source) -> None:
        await until_shown(app, pilot, "mammo-2")
        await pilot.press("f")
        source.more.append(said.event(5))
        source.more.append(said.exam(6, study="1.2.9"))
        await until_shown(app, pilot, "seq 6")
        assert "seq 5" not in text_of(app)
        # Trouble stands first: mammo-1 is chosen, whose number 4 is missing by now.
        await pilot.press("g")
        await until(app, pilot, lambda: source.asked, "a replay is asked for")
        assert source.asked == [("replay", "mammo-1", 4)]
        await pilot.press("b")
        await until_shown(app, pilot, "asked too often")
        await pilot.press("p")
        await until_shown(app, pilot, "paused")

    on_screen(troubled_site(), play)


def test_a_lost_connection_is_the_loudest_thing_on_the_screen():
    """Since when, and why; what is shown below is known to be of before."""

    async def play(app, pilot, source) -> None:
        source.more.append(LinkChange(up=False, at_ms=said.AT_MS + 60_000, reason="broker gone"))
        await until_shown(app, pilot, "NOT CONNECTED")
        shown = text_of(app)
        assert "NOT CONNECTED since 2026-11-22 15:05:05 UTC: broker gone" in shown
        assert app.query_one("#link").has_class("away")

    on_screen(troubled_site(), play)


def test_a_refresh_that_comes_while_the_screen_closes_shows_nothing():
    """The timer may fire once more when the widgets are gone: the screen still ends in order."""
    module_or_skip("textual", "extra [watch] is not installed")
    from textual.widget import Widget

    refreshed = []

    class Last(Widget):
        """Goes when another has gone, and refreshes then, as the timer may."""

        async def on_unmount(self) -> None:
            """Lets the others go first."""
            await wait_until_async(
                lambda: not self.screen.query("#link"),
                "the others are gone",
                step=lambda: asyncio.sleep(0),
            )
            self.app.refresh_view()
            refreshed.append(True)

    async def play(app, pilot, source) -> None:
        await app.mount(Last())
        assert not refreshed

    on_screen(troubled_site(), play)
    assert refreshed


def test_trouble_stands_first_and_says_what_it_is():
    """Offline, missing numbers, foreign messages, a wrong clock, silence."""
    site_state = SiteState(said.SITE)
    for each in troubled_site():
        site_state.link_changed(each) if isinstance(each, LinkChange) else site_state.hear(each)
    well = said.message_factory(unit="a-well-unit", boot="c")
    site_state.hear(said.status(0, by=well))
    soon = {line.unit: line.cells[-1] for line in unit_lines(site_state, said.AT_MS + 5000)}
    assert list(soon) == ["mammo-1", "mammo-2", "a-well-unit"]
    assert soon["mammo-1"] == "foreign messages"
    assert soon["mammo-2"] == "offline, numbers missing"
    assert soon["a-well-unit"] == ""
    later = {line.unit: line.cells for line in unit_lines(site_state, said.AT_MS + 600_000)}
    assert later["a-well-unit"][-1] == "silent"
    assert later["a-well-unit"][COLUMNS.index("heard")] == "10 min"


def test_in_a_real_terminal_it_shows_the_site_and_q_ends_it(mosquitto, unit):
    """A pseudo-terminal, a real broker, a real unit: its line appears; `q` leaves with 0."""
    module_or_skip("textual", "extra [watch] is not installed")
    broker = mosquitto().start()
    unit(broker.port).start()
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime.cli.main", "watch", "--site", "st-anna", "--no-tls",
         "--broker", f"127.0.0.1:{broker.port}"],
        cwd=ROOT, stdin=its, stdout=its, stderr=its, start_new_session=True,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "132", "LINES": "26"},
    )  # fmt: skip
    os.close(its)
    shown = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # EIO: the other side has closed it
            while piece := os.read(ours, 65536):
                shown.extend(piece)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        wait_until(lambda: b"mammo-1" in shown and b"online" in shown, "the unit's line")
        os.write(ours, b"q")
        assert process.wait(LONG_S) == 0
    finally:
        process.kill()
        process.wait(LONG_S)
        joined(reader, "the end of the terminal")
        os.close(ours)


# --- without a screen -------------------------------------------------------------------------


def test_json_ends_with_the_picture(tmp_path, capsys):
    """A line for each change, then the whole picture; with --rows every row of every unit."""
    path = record(tmp_path / "r.jsonl", troubled_site())
    assert main(["watch", "--replay", str(path), "--json", "--rows"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["change"] == "connected"
    site_state = lines[-1]["picture"]
    assert site_state["foreign"] == {"not_json": 1}
    first, second = site_state["units"]
    assert [row["seq"] for row in first["rows"]] == [1, 2, 3]
    assert second["seq"]["gaps"] == [[2, 3]]
    assert (second["state"], second["seq"]["behind"]) == ("offline", 5)
    assert main(["watch", "--replay", str(path), "--json", "--rows", "--keep", "1"]) == 0
    site_state = json.loads(capsys.readouterr().out.splitlines()[-1])["picture"]
    assert [[row["seq"] for row in unit["rows"]] for unit in site_state["units"]] == [[3], [4]]


def test_without_a_terminal_it_says_so_and_prints_lines(tmp_path, capsys):
    """A pipe gets lines, and standard error says why."""
    path = record(tmp_path / "r.jsonl", troubled_site())
    assert main(["watch", "--replay", str(path)]) == 0
    said_ = capsys.readouterr()
    assert "no terminal" in said_.err
    assert "PRIORITY" in said_.out
    assert main(["watch", "--replay", str(path), "--snapshot"]) == 2


def test_a_snapshot_of_a_live_site_equals_the_ledger(mosquitto, unit, capsys):
    """`--json --snapshot --rows --follow-gaps` after a broker's death: the ledger, row by row."""
    broker = mosquitto().start()
    publisher = unit(broker.port, health_interval_s=0.2).start()
    options = ["watch", "--site", "st-anna", "--broker", f"127.0.0.1:{broker.port}", "--no-tls",
               "--json", "--snapshot", "--rows", "--session", "one"]  # fmt: skip
    assert main([*options, "--seconds", "1"]) == 0
    publisher.say(20)
    publisher.say_exam()
    assert main([*options, "--seconds", "2", "--follow-gaps"]) == 0
    site_state = json.loads(capsys.readouterr().out.splitlines()[-1])["picture"]
    rows = [
        (row["seq"], row["kind"], row["topic"], row["payload"])
        for row in site_state["units"][0]["rows"]
    ]
    assert rows == [
        (seq, kind, topic, json.loads(payload))
        for seq, kind, topic, payload in outbox_rows(publisher.ledger)
    ]


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_a_broker_that_is_never_reached_is_a_fault(capsys, extra):
    """4, and the reason."""
    code = main(
        ["watch", "--site", "s", "--broker", "127.0.0.1:1", "--no-tls", "--seconds", "0.3", *extra]
    )
    assert code == 4
    assert "never reached" in capsys.readouterr().err
