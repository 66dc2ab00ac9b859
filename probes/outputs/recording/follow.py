"""A process beside the dashboard that records what ends from now on: `python -m probes.outputs.recording.follow …`.

It reads the store by itself, as the dashboard's user, and never makes that wait. On stdout it says that it has begun,
and at last what became of it. It ends with its stdin, and then records what waits, too.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from probes.exit_codes import ExitCode, Refusal
from probes.outputs.escape import printable
from probes.outputs.recording.files import Files, RecordingEndedError
from probes.outputs.recording.sessions import SessionRecorder
from probes.outputs.recording.writer import Recording
from probes.protocols.chosen import known_protocols
from probes.store.reader import Reader
from probes.store.view import Row, View

BEGUN = "recording what ends from now on in"
_EVERY_S = 0.5
_AT_ONCE = 16_384  # rows that are read
_Key = tuple[int, int | None, int]  # of a row


def command(fd: int, path: str, *, literals: bool) -> list[str]:
    """The process's command line; `fd` is the store's descriptor, to be passed on."""
    words = [sys.executable, "-m", "probes.outputs.recording.follow", str(fd), path]
    return [*words, "--literals"] if literals else words


class Follower:
    """Writes the sessions of `view` that end from now on; `written` so far, `gone` before they could be.

    A request that waited when the store last told so may have ended since, so the last ones that did are remembered.
    """

    def __init__(self, view: View, recording: Recording, *, literals: bool) -> None:
        self.written = self.gone = 0
        self._view, self._recording = view, recording
        self._recorder = SessionRecorder(recording, known_protocols(), literals=literals)
        self._next = view.span().next
        self._known: tuple[set[_Key], set[_Key]] = set(), set()  # what was written last

    def turn(self) -> None:
        """Writes what has ended since. Raises RecordingEndedError."""
        end = self._view.span().next
        while self._next < end:
            until = min(self._next + _AT_ONCE, end)
            rows = self._view.pick(np.arange(self._next, until))
            self.gone += until - self._next - len(rows)
            self._next = until
            self._write(rows)
            self._known = self._known[1], {row.key for row in rows}
        self._recording.flush()

    def finish(self) -> None:
        """Writes what has ended until now, and the requests that still wait. Raises RecordingEndedError."""
        waiting = self._view.inflight().rows
        self.turn()
        self._write([row for row in waiting if not any(row.key in keys for keys in self._known)])
        self._recording.flush()

    def _write(self, rows: Sequence[Row]) -> None:
        """Writes these, as they began: on one connection that is the order of its requests."""
        for row in sorted(rows, key=lambda row: row.start_ns):
            session = self._view.session(row) if row.has_heads else None
            if session is None:
                self.gone += 1
            else:
                self._recorder.session(session)
                self.written += 1

    def told(self) -> str:
        """What became of it, in a sentence."""
        gone = f", {self.gone} were gone before they could be written" if self.gone else ""
        return f"{self.written} requests recorded in {self._recording.name}{gone}"


def main(words: Sequence[str]) -> int:
    """The exit code."""
    fd, path, *options = words
    literals = "--literals" in options
    view = Reader(int(fd))
    try:
        files = Files(Path(path))
    except Refusal as refusal:
        _say(refusal.message)
        return refusal.exit_code
    recording = Recording(files, view.facts().wall_offset_ns, literals=literals)
    follower = Follower(view, recording, literals=literals)
    _say(f"{BEGUN} {recording.name}")
    try:
        while not select.select([0], [], [], _EVERY_S)[0]:
            follower.turn()
        follower.finish()
    except RecordingEndedError as ended:
        _say(str(ended))
        return ExitCode.OUTPUT
    _say(follower.told())
    return ExitCode.OK


def _say(sentence: str) -> None:
    print(printable(sentence, 400), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
