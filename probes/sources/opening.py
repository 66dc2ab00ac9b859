"""Opens what `--from` names."""

from __future__ import annotations

from probes.options import LIVE, CaptureOptions
from probes.sources.captures.reading import open_reading
from probes.sources.captures.source import CaptureSource
from probes.sources.sink import Sink
from probes.sources.source import Source


def open_source(options: CaptureOptions, protocols: tuple[str, ...], sink: Sink) -> Source:
    """The source for the protocols of these names, of which `sink` hears. Raises Refusal."""
    if options.source != LIVE:
        return CaptureSource(open_reading(options.source), sink, head_bytes=options.head_bytes, protocols=protocols)
    from probes.sources.host import Host  # needs Linux

    return Host(sink, head_bytes=options.head_bytes, ring_bytes=options.ring_bytes, protocols=protocols)
