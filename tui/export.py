"""What is shown, as a new file in the working directory: JSON lines; of a request its connection, as a pcapng."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from probes.outputs.record import Recorder, WallClock, json_line
from probes.outputs.recording.files import Files, create
from probes.outputs.recording.sessions import SessionRecorder
from probes.outputs.recording.writer import Recording
from probes.protocols.interface import WireProtocol
from probes.store.view import Row, View
from tui.widgets.table import Cell, LineTable

MOST_REQUESTS = 5000  # at once: the screen waits


class Exporter:
    """Each method returns the file's path, and raises OSError, Refusal or RecordingEndedError where there can be none.

    Values of documents and payloads are in it only with `literals`.
    """

    def __init__(self, protocols: Mapping[str, WireProtocol], *, literals: bool) -> None:
        self._protocols, self._literals = protocols, literals

    def tables(self, tables: Iterable[LineTable]) -> Path:
        """The rows of tables, as they are shown, by their columns' names."""
        return _written(_lines_of(table) for table in tables)

    def requests(self, view: View, rows: Iterable[Row]) -> Path:
        """Requests, as `l7top requests` prints them."""
        recorder = Recorder(literals=self._literals)
        recorder.clock = WallClock(view.facts().wall_offset_ns)
        sessions = ((row, view.session(row)) for row in rows)
        return _written(
            [recorder.line(session, self._protocols.get(row.protocol))]
            for row, session in sessions
            if session is not None
        )

    def connection(self, view: View, rows: Iterable[Row]) -> Path:
        """The messages of requests, as a recording."""
        path = _path("pcapng")
        recording = Recording(Files(path), view.facts().wall_offset_ns, literals=self._literals)
        recorder = SessionRecorder(recording, self._protocols, literals=self._literals)
        try:
            for row in rows:
                session = view.session(row) if row.has_heads else None
                if session is not None:
                    recorder.session(session)
            recording.flush()
        finally:
            recording.close()
        return path


def _lines_of(table: LineTable) -> Iterator[bytes]:
    names = [column.name for column in table.columns]
    for row in table.rows:
        texts = (cell.text if isinstance(cell, Cell) else cell for cell in row.cells)
        yield json_line(dict(zip(names, texts, strict=True)))


def _path(suffix: str) -> Path:
    return Path(time.strftime(f"l7top-%Y%m%d-%H%M%S.{suffix}")).absolute()


def _written(parts: Iterable[Iterable[bytes]]) -> Path:
    path = _path("jsonl")
    with os.fdopen(create(path), "wb") as file:
        for lines in parts:
            file.writelines(lines)
    return path
