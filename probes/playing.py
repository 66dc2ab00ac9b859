"""The collector's process on a capture from a file: plays it into a store, as the keys of the screen say.

To go back, it reads the file again from its beginning, into a new store: nothing that was learned later may be known
earlier. The screen goes on showing the old one until that is where it is wanted, and is given the new one then.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import closing

from probes import privileges
from probes.collector import Collector
from probes.feeding import STEP_S, Feeding
from probes.governor import Level
from probes.options import CaptureOptions
from probes.playback import COMMAND_BYTES, Command, Playback
from probes.scope import Scope
from probes.sources.captures.reading import open_reading
from probes.sources.captures.source import CaptureSource
from probes.sources.sink import Sink
from probes.sources.source import Source

STORE = b"store"  # says that a store's descriptor comes with it
_REST_S = 0.25  # between two looks whether somebody is still there, where there is nothing more to read


class Player:
    """`control` brings the keys. `ended()` says whether there is nobody any more to play for.

    Raises Refusal where the file cannot be read.
    """

    def __init__(self, options: CaptureOptions, control: socket.socket, ended: Callable[[], bool]) -> None:
        self._options, self._ended = options, ended
        self._control: socket.socket | None = control
        self._reading = open_reading(options.source)  # once: who gave up root's rights may not be able to do it again
        self._playback = Playback(options.speed)

    def run(self, begun: Callable[[tuple[str, ...], int], None]) -> None:
        """Plays until there is nobody any more. `begun` is told of the protocols and the first store's descriptor."""
        tell = begun
        while self._play(tell):
            tell = self._hand_over

    def _open(self, options: CaptureOptions, scope: Scope, sink: Sink) -> Source:
        self._source = CaptureSource(self._reading.again(), sink, head_bytes=options.head_bytes, scope=scope)
        return self._source

    def _play(self, tell: Callable[[tuple[str, ...], int], None]) -> bool:
        """From the beginning; whether that has to be done again. `tell` gives away the store once it is to be."""
        feeding = Feeding(self._options)
        with closing(Collector(self._options, feeding.ended, self._open, sparing=Level.COUNTING)) as capture:
            privileges.keep_only()
            while not (capture.now_ns() or capture.is_over or self._ended()):
                capture.step(STEP_S)  # its time begins with its first packet
            store = feeding.begin(capture)
            is_shown = is_exhausted = again = False
            said: tuple[str, float | None] | None = None
            while not (again or self._ended()):
                now_ns = capture.now_ns()
                self._source.limit_ns = self._playback.limit_ns(now_ns)
                told = self._playback.told(now_ns)
                if not is_shown and (told != "seeking" or capture.is_over):
                    tell(tuple(capture.protocols), store)
                    feeding.close()
                    is_shown = True
                if capture.is_over and not is_exhausted:
                    feeding.exhaust()
                    self._playback.over(capture.now_ns())
                    is_exhausted = True
                if not is_exhausted:
                    feeding.turn()
                progress = capture.progress
                if said != (said := (told, progress and round(progress, 2))):
                    feeding.say(*said)
                again = self._commands(feeding, capture.now_ns(), wait_s=_REST_S if is_exhausted else 0)
            if not is_shown:
                feeding.close()  # nobody will be given it, and its memory is not to stay
            return again

    def _commands(self, feeding: Feeding, now_ns: int, *, wait_s: float) -> bool:
        """Does what keys say that were pressed; whether the file has to be read again."""
        while self._control is not None and select.select([self._control], [], [], wait_s)[0]:
            data = self._control.recv(COMMAND_BYTES)
            command = Command.read(data)
            if not data:
                self._control = None
            elif command is not None and self._playback.take(command, now_ns):
                feeding.say("seeking", None)
                return True
            wait_s = 0
        return False

    def _hand_over(self, protocols: tuple[str, ...], store: int) -> None:
        if self._control is not None:
            socket.send_fds(self._control, [STORE], [store])
