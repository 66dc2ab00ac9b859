"""A store so small that everything in it is overwritten soon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

from probes.store.layout import MIN_BYTES, Layout
from probes.store.reader import Reader
from probes.store.writer import Writer
from tests.store.synthetic import START_NS


@contextmanager
def small_layout(rows: int = 400, details: int = 32768, shared: int = 65536) -> Iterator[None]:
    """Stores made and read within have room for that many rows, and bytes of details and of what they share."""
    whole = Layout.of(MIN_BYTES)
    small = replace(
        whole,
        rows=(whole.rows[0], rows),
        details=(whole.details[0], details),
        shared=(whole.shared[0], shared),
    )
    with mock.patch.object(Layout, "of", return_value=small):
        yield


@contextmanager
def small_store(rows: int = 400, details: int = 32768, shared: int = 65536) -> Iterator[tuple[Writer, Reader]]:
    """Such a store, and a reader of it."""
    with small_layout(rows, details, shared):
        writer = Writer(MIN_BYTES, START_NS)
        yield writer, Reader(writer.fd)
        writer.close()
