"""Which protocols a capture tries, in their order: plugins as they were given, then the built-in ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from probes.exit_codes import ExitCode, Refusal
from probes.options import CaptureOptions
from probes.protocols import plugins
from probes.protocols.guard import Guard, TimeLimit
from probes.protocols.interface import RAW, WireProtocol
from probes.protocols.kafka import Kafka
from probes.protocols.mongodb import MongoDB

BUILT_IN: tuple[Callable[[], WireProtocol], ...] = (MongoDB, Kafka)


def known_protocols() -> dict[str, WireProtocol]:
    """New instances of all built-in protocols by name."""
    return {protocol.name: protocol for protocol in (make() for make in BUILT_IN)}


def chosen(options: CaptureOptions) -> dict[str, WireProtocol]:
    """New instances of all that `options` ask for, by name, in the order in which they are tried. Loads plugins.

    Raises Refusal.
    """
    last = known_protocols()
    known: dict[str, WireProtocol] = {}
    loaded = plugins.load(options.plugins, options.protocols)
    limit = TimeLimit() if loaded else None
    for plugin in loaded:
        plugins.require_sound(plugin, {*known, *last})
        assert limit is not None
        known[plugin.name] = Guard(plugin, limit)
    known |= last
    require_known((*options.protocols, *dict(options.ports)), known)
    for name, ports in options.ports:
        known[name].ports = ports
    wanted = {name: protocol for name, protocol in known.items() if not options.protocols or name in options.protocols}
    for protocol in wanted.values():
        if protocol.framing == RAW and not protocol.ports:
            raise Refusal(f"{protocol.name} needs ports: --ports {protocol.name}=PORT,…", ExitCode.USAGE)
    return wanted


def require_known(names: Collection[str], known: Collection[str]) -> None:
    """Raises Refusal where there is no such protocol."""
    for name in names:
        if name not in known:
            raise Refusal(f"{name!r} is no protocol: there are {', '.join(known)}", ExitCode.USAGE)


def complaints(protocols: Mapping[str, WireProtocol]) -> dict[str, int]:
    """What had to be contained of each plugin, as entries of the ledger that are no messages."""
    found: dict[str, int] = {}
    for name, protocol in protocols.items():
        if isinstance(protocol, Guard):
            counts = {"errors": protocol.errors, "overtimes": protocol.overtimes, "off": int(protocol.is_off)}
            found |= {f"plugin_{name}_{what}": count for what, count in counts.items() if count}
    return found
