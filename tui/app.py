"""The dashboard: where one is, what is asked once a second, and which panel is shown."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import psutil
from textual.app import ComposeResult
from textual.notifications import SeverityLevel
from textual.widgets import ContentSwitcher

from probes.exit_codes import ExitCode, Refusal
from probes.filters import FilterError, Term, learn_protocols
from probes.outputs.escape import printable
from probes.outputs.recording.files import RecordingEndedError
from probes.playback import Order
from probes.protocols.interface import WireProtocol
from probes.store.reader import Reader
from probes.store.view import View, Window
from tui import glyphs
from tui.bindings import Key, bindings, rows
from tui.clock import Clock
from tui.export import MOST_REQUESTS, Exporter
from tui.footer import Footer
from tui.header import HANGS_AFTER_NS, Header, Situation
from tui.help import HelpScreen
from tui.palette import KeyProvider
from tui.panel import Detail, Drill, Panel, Where
from tui.playing import Remote
from tui.prompt import FilterInput, Prompt, conditions
from tui.recorder import Recorder
from tui.screens.capture import CapturePanel
from tui.screens.connections import ConnectionsPanel
from tui.screens.detail import DetailPanel
from tui.screens.kafka import KafkaPanel
from tui.screens.mongodb import MongoDBPanel
from tui.screens.overview import OverviewPanel
from tui.screens.protocol import ProtocolPanel
from tui.screens.requests import RequestsPanel
from tui.snapshot import FrozenView
from tui.terminal import TerminalApp, encoding
from tui.text import safe
from tui.theme import THEME
from tui.widgets.table import LineTable

_ANSWER_S = 0.15  # that the collector takes to do what a key says, and to say so
_TOLD_S = 4  # how long what was done, or failed, is told: over the last line
_PLUGINS = 7  # the key of all panels of plugins
_CUT = (Term("truncated", "=", "true"),)


class Place(NamedTuple):
    """Where one is: a panel, and the conditions that led there beside the filter."""

    ident: str
    drill: Where = ()


class Dashboard(TerminalApp):
    """Shows `view`. `clock` tells the time that the view's times are of; without one the view does, as of a capture.

    `protocols` decode a session for the detail. `literals` shows values of documents and payloads, `filter_text` is the
    filter at first. `recorder` records, `remote` plays the capture that the view is of.
    """

    TITLE = "l7top"
    BINDINGS = bindings("app")
    COMMANDS: ClassVar = {KeyProvider}
    ESCAPE_TO_MINIMIZE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]  # noqa: RUF012
    CSS = """
    ContentSwitcher { height: 1fr; }
    ContentSwitcher > * { height: 1fr; }
    #footer { height: 1; }
    CommandPalette > Vertical { margin-top: 1; }
    ToastRack { margin: 0; overflow-y: hidden; }
    Toast { width: auto; max-width: 100%; margin: 0; padding: 0 1; }
    """

    def __init__(
        self,
        view: View,
        *,
        protocols: Mapping[str, WireProtocol],
        literals: bool = False,
        clock: Callable[[], int] | None = time.monotonic_ns,
        filter_text: str = "",
        recorder: Recorder | None = None,
        remote: Remote | None = None,
    ) -> None:
        super().__init__()
        self.register_theme(THEME)
        self.theme = THEME.name
        self._view = view
        self._now = clock or (lambda: self._view.heartbeat_ns())
        self._clock = Clock(self, self._tick)
        self._recorder = recorder
        self._remote = remote
        self._filter_text = filter_text
        taught = [name for name in view.facts().protocols if name not in protocols]
        learn_protocols(taught)
        self._filter: Where = conditions(filter_text)
        self._window = Window.M1
        self._place = Place("overview")
        self._trail: list[Place] = []
        self._wheres: dict[str, Where] = {}  # what each panel was last asked for
        self._frozen: FrozenView | None = None
        self._cut = self._counted = 0  # rows that lack a field, and the row up to which they were counted
        self._prompt, self._footer = Prompt(), Footer()
        self._detail = DetailPanel(protocols, literals=literals)
        self._exporter = Exporter(protocols, literals=literals)
        self._plugins = [ProtocolPanel(name) for name in taught]
        self._panels: dict[str, Panel] = {
            panel.ident: panel
            for panel in (
                OverviewPanel(),
                MongoDBPanel(),
                KafkaPanel(),
                RequestsPanel(),
                ConnectionsPanel(),
                CapturePanel(),
                *self._plugins,
            )
        }
        numbers = (*range(1, _PLUGINS), *[_PLUGINS] * len(taught))
        tabs = zip(numbers, self._panels.values(), strict=True)
        self._header = Header([(number, panel.ident, panel.title) for number, panel in tabs])

    def compose(self) -> ComposeResult:
        yield self._header
        with ContentSwitcher(initial=self._place.ident):
            yield from self._panels.values()
            yield self._detail
        yield self._prompt
        yield self._footer

    def on_mount(self) -> None:
        self.watch(self.screen, "focused", self._tell_keys, init=False)
        self._prompt.hold(self._filter, text=self._filter_text)
        self._go(self._place)
        self._clock.start()
        if not self.is_headless:
            gc.freeze()  # what is here stays: to look through it again and again would keep a key waiting for 0.1 s
            for sign in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(sign, self.exit)
        if self._remote is not None:
            asyncio.get_running_loop().add_reader(self._remote.fileno(), self._take_store)

    # Once a second, and whenever something else is to be shown.

    def _tick(self) -> None:
        if not self._header.is_attached:
            return  # the screen is being taken down
        if self._frozen is None:
            self._ask(self._panel)
        self._tell_recording()
        self._tell_situation()

    def _show(self) -> None:
        self._ask(self._panel)
        self._tell_situation()

    def _ask(self, panel: Panel) -> None:
        view, now_ns = (self._frozen, self._frozen.frozen_ns) if self._frozen else (self._view, self._last_ns())
        drill = next((each.drill for each in (self._place, *reversed(self._trail)) if each.ident == panel.ident), ())
        where = tuple(dict.fromkeys((*self._filter, *drill)))
        try:
            panel.show(view, self._window, where, now_ns)
        except FilterError as error:
            self._prompt.complain(str(error))
        if where != self._wheres.get(panel.ident, where):
            for table in panel.query(LineTable):
                table.let_go()
        self._wheres[panel.ident] = where

    def _last_ns(self) -> int:
        """The time that the view is of: a dead collector's stands still, and what hung then does not hang on."""
        now_ns, heard_ns = self._now(), self._view.heartbeat_ns()
        silent = 0 < heard_ns < now_ns - HANGS_AFTER_NS
        return heard_ns if silent and not _runs(self._view.facts().collector_pid) else now_ns

    @property
    def _panel(self) -> Panel:
        return self._panels.get(self._place.ident, self._detail)

    def _tell_situation(self) -> None:
        view, frozen = self._view, self._frozen
        facts = view.facts()
        cut = view.matching(_CUT, self._counted)
        self._cut += len(cut.numbers)
        self._counted = cut.next
        situation = Situation(
            facts,
            self._now(),
            self._window,
            self._clock.interval_s,
            cut=self._cut,
            frozen_ns=frozen.frozen_ns if frozen else 0,
            rates_ns=frozen.asked_ns if frozen else 0,
            new_rows=frozen.new_rows() if frozen else 0,
            heartbeat_ns=view.heartbeat_ns(),
            collector_runs=_runs(facts.collector_pid),
            behind=self._clock.was_behind,
            recording=self._recorder is not None and self._recorder.is_on,
        )
        tab = "requests" if self._panel is self._detail else self._place.ident
        self._header.tell(situation, tab)

    # Where one is.

    def _go(self, place: Place) -> None:
        self._place = place
        self.query_one(ContentSwitcher).current = self._panel.id
        self._prompt.hold((*self._filter, *place.drill))
        self._show()
        self._panel.focus_table()
        self._tell_keys()

    def on_drill(self, message: Drill) -> None:
        self._trail.append(self._place)
        self._go(Place("requests", message.where))

    def on_detail(self, message: Detail) -> None:
        self._trail.append(self._place)
        self._detail.open(self._view, message.row)
        self._go(Place(self._detail.ident, self._place.drill))

    def action_panel(self, ident: str) -> None:
        self._trail.clear()
        self._go(Place(ident))

    def action_plugin(self) -> None:
        """The next plugin's panel, from anywhere else the first."""
        idents = [panel.ident for panel in self._plugins]
        if not idents:
            self.notify("no plugin is loaded (--plugin)", markup=False, timeout=3)
            return
        here = idents.index(self._place.ident) if self._place.ident in idents else -1
        self.action_panel(idents[(here + 1) % len(idents)])

    @property
    def taught(self) -> tuple[Key, ...]:
        """For each protocol that a plugin teaches what leads to it."""
        return tuple(
            Key(f"app.{panel.ident}", "7", "7", f"app.panel('{panel.ident}')", "", panel.title, "app")
            for panel in self._plugins
        )

    async def action_back(self) -> None:
        if self._trail:
            self._go(self._trail.pop())
        elif self._filter:
            self._set_filter("")

    # What is asked.

    def action_filter(self) -> None:
        self._prompt.write()
        self._tell_keys()

    def on_prompt_filter(self, message: Prompt.Filter) -> None:
        self._set_filter(message.text)

    def _set_filter(self, text: str) -> None:
        self._filter_text, self._filter = text, conditions(text)
        self._prompt.hold((*self._filter, *self._place.drill), text=text)
        self._panel.focus_table()
        self._show()

    def action_window(self, step: int) -> None:
        windows = list(Window)
        self._window = windows[(windows.index(self._window) + step) % len(windows)]
        self._show()

    def action_interval(self, step: int) -> None:
        self._clock.change(step)
        self._tell_situation()

    def action_freeze(self) -> None:
        if self._frozen is None:
            self._frozen = FrozenView(self._view, self._now(), self._now)
            for panel in self._panels.values():  # so that each of them shows this moment when one goes there
                self._ask(panel)
            self._frozen.complete()
        else:
            self._frozen = None
        self._show()

    def action_record(self) -> None:
        if self._recorder is None:
            self.notify("there is nothing to record from", markup=False, severity="warning", timeout=3)
            return
        self._recorder.toggle()
        self._tell_situation()

    # A capture from a file is played.

    def action_play(self, order: str, value: int = 0) -> None:
        """Tells the collector, and shows soon what it does."""
        if self._remote is None:
            self.notify("only a capture from a file is played (--from FILE)", markup=False, timeout=3)
            return
        self._remote.send(Order[order], value)
        self.set_timer(_ANSWER_S, self._tick)

    def _take_store(self) -> None:
        assert self._remote is not None
        store = self._remote.receive()
        if store is None:
            asyncio.get_running_loop().remove_reader(self._remote.fileno())
        else:
            self._turn_to(store)

    def _turn_to(self, store: int) -> None:
        """Shows another store from now on, of the same capture read again. One stays where one is, but on no row."""
        self._view, self._frozen, self._cut, self._counted = Reader(store), None, 0, 0
        if self._recorder is not None:
            self._recorder.turn_to(store)
        for panel in self._panels.values():
            panel.forget()
        self._trail = [place for place in self._trail if place.ident != self._detail.ident]
        if self._panel is self._detail:
            self._go(self._trail.pop() if self._trail else Place("requests"))
        else:
            self._show()

    def action_export(self) -> None:
        """What is shown, in a file."""
        panel, view = self._panel, self._frozen or self._view
        try:
            if panel is self._detail:
                path = self._exporter.connection(view, self._detail.of_connection(MOST_REQUESTS))
            elif isinstance(panel, RequestsPanel):
                path = self._exporter.requests(view, panel.newest(MOST_REQUESTS))
            else:
                path = self._exporter.tables(panel.query(LineTable))
        except (OSError, Refusal, RecordingEndedError) as error:
            self.notify(safe(str(error), 400), markup=False, severity="error", timeout=_TOLD_S)
        else:
            self.notify(safe(f"written to {path}", 400), markup=False, timeout=_TOLD_S)

    def _tell_recording(self) -> None:
        told = self._recorder.look() if self._recorder is not None else None
        if told is not None:
            severity: SeverityLevel = "error" if told.is_bad else "information"
            self.notify(safe(told.sentence, 400), markup=False, severity=severity, timeout=_TOLD_S)

    # Keys.

    @property
    def keys_here(self) -> tuple[Key, ...]:
        """The rows of the table of keys that hold for the focused widget, those of the panel first."""
        focused = self.screen_stack[0].focused
        if isinstance(focused, FilterInput):
            return rows("filter")
        of_table = focused.keys_here if isinstance(focused, LineTable) else ()
        return (*rows(self._panel.place), *of_table, *rows("app"))

    def press(self, key: Key) -> None:
        """Do what `key` does, on the widget that it is for."""
        focused = self.screen.focused
        target = {"app": self, "table": focused}.get(key.where, self._panel)
        self.call_later(self.run_action, key.action, target or self)

    def _tell_keys(self) -> None:
        self._footer.tell(self.keys_here)

    def action_help(self) -> None:
        self.push_screen(HelpScreen(self._panel.place, self._panel.title))


def _runs(pid: int) -> bool:
    """Whether there is such a process; that it is somebody else's is an answer, too."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def run(
    view: View,
    *,
    protocols: Mapping[str, WireProtocol],
    literals: bool = False,
    filter_text: str = "",
    clock: Callable[[], int] | None = time.monotonic_ns,
    recorder: Recorder | None = None,
    remote: Remote | None = None,
) -> ExitCode:
    """Show `view` on this terminal until somebody quits, SIGTERM or SIGHUP. Restores the terminal whatever happens.

    stdin is where keys come from and stderr where the screen goes: both have to be the terminal. Raises FilterError for
    `filter_text`. A bug ends it with one sentence on stderr and ExitCode.INTERNAL; `L7TOP_DEBUG=1` shows where it was.
    """
    charset = encoding(os.environ)
    signs = glyphs.suitable(charset, os.environ)
    glyphs.use(signs)
    app = Dashboard(
        view,
        protocols=protocols,
        literals=literals,
        filter_text=filter_text,
        clock=clock,
        recorder=recorder,
        remote=remote,
    )
    app.keep_encodable(charset if signs.unicode else "ascii")
    app.run(mouse=False)  # the terminal's own selection goes on working, and the wheel moves the cursor
    if app.crash is None:
        return ExitCode.OK
    sentence = f"l7top: the screen ended by a bug: {type(app.crash).__name__}: {app.crash}"
    print(printable(sentence), file=sys.stderr)
    return ExitCode.INTERNAL
