"""Opens what `--from` names."""

from __future__ import annotations

from probes.options import LIVE, CaptureOptions
from probes.scope import Scope
from probes.sources.captures.reading import open_reading
from probes.sources.captures.source import CaptureSource
from probes.sources.sink import Sink
from probes.sources.source import Source


def open_source(options: CaptureOptions, scope: Scope, sink: Sink) -> Source:
    """The source of what `scope` asks for, of which `sink` hears. Raises Refusal."""
    if options.source != LIVE:
        return CaptureSource(open_reading(options.source), sink, head_bytes=options.head_bytes, scope=scope)
    from probes.sources.host import Host  # needs Linux

    return Host(sink, head_bytes=options.head_bytes, ring_bytes=options.ring_bytes, scope=scope)
