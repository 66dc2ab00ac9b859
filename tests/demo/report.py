"""What the dashboard shows, as text, for where there is no terminal: read from the same store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from probes.background import Background
from probes.options import CaptureOptions
from probes.outputs.escape import printable
from probes.outputs.losses import losses_line
from probes.outputs.table import short, table
from probes.store.reader import Reader
from probes.store.red import DEFAULT_BY
from probes.store.view import Condition, Group, Groups, Is, Row, View, Window

MS = 1_000_000
HANGING_AFTER_NS = 1_000 * MS
_OPERATIONS = ("operation", "version", "target")


def capture(seconds: float) -> str:
    """Captures for so long and reports. Raises Refusal."""
    with Background(CaptureOptions()) as background:
        time.sleep(seconds)
        return report(Reader(background.store), background.protocols)


def report(view: View, protocols: tuple[str, ...]) -> str:
    """All protocols in a few lines each, then every operation, then what became of the messages."""
    groups = view.groups(DEFAULT_BY, Window.START)
    lines = [f"{view.facts().host}: the last {groups.seconds:.1f} s"]
    for protocol in protocols:
        lines += ["", *_protocol(view, protocol)]
    lines += ["", table([_row(groups, group) for group in groups.groups], DEFAULT_BY), "", *_capture(view)]
    return "\n".join(lines)


def _protocol(view: View, protocol: str) -> Iterator[str]:
    where: tuple[Condition, ...] = (Is("protocol", protocol),)
    groups = view.groups(_OPERATIONS, Window.START, where)
    for whole in view.groups(("protocol",), Window.START, where).groups:
        totals = whole.totals
        yield (
            f"{protocol}: {short(groups.rate(totals.requests))} requests/s, {totals.error_ratio or 0:.1%} errors,"
            f" p99 {short(totals.durations.p99 / MS)} ms"
        )
    slowest = max(groups.groups, key=lambda group: group.totals.durations.p99, default=None)
    if slowest is not None and slowest.totals.durations.count:
        yield f"  slowest: {_named(slowest.key)}, p99 {short(slowest.totals.durations.p99 / MS)} ms"
    failing = view.groups((*_OPERATIONS, "error_name"), Window.START, where)
    failed = [group for group in failing.groups if group.totals.errors]
    for worst in sorted(failed, key=lambda group: -group.totals.errors)[:1]:
        *operation, error = worst.key
        name = printable(str(error))
        yield f"  failing: {_named(operation)}, {name} {short(failing.rate(worst.totals.errors))}/s"
    for row, age_s in _hanging(view, where):
        yield f"  hanging: {_named((row.operation, row.version, row.target))}, for {age_s:.1f} s"


def _hanging(view: View, where: tuple[Condition, ...]) -> Iterator[tuple[Row, float]]:
    """What has waited for so long that it is no news any more, and its age in seconds."""
    waiting = view.inflight(where)
    for row in waiting.rows:
        age_ns = waiting.age_ns(row, waiting.taken_ns)
        if not row.long_poll and age_ns > HANGING_AFTER_NS:
            yield row, age_ns / 1e9


def _capture(view: View) -> Iterator[str]:
    facts, use = view.facts(), view.use()
    ledger = facts.ledger
    yield f"capture: {ledger['seen']} messages seen, {use.rows} requests kept in {use.used_bytes / 2**20:.1f} MiB"
    yield losses_line(ledger) or "lost on this host: nothing"
    yield f"collector: {facts.cpu_percent:.1f} % of a core, {facts.rss_bytes / 2**20:.0f} MiB"


def _named(key: Any) -> str:
    operation, version, target = key
    name = operation if version is None else f"{operation}_v{version}"
    return printable(f"{name} {target}".strip())


def _row(groups: Groups, group: Group) -> dict[str, Any]:
    """A group as `l7top stat` has it."""
    totals, row = group.totals, dict[str, Any](zip(groups.by, group.key, strict=True))
    row.update(rate=groups.rate(totals.requests), inflight=group.inflight)
    if totals.error_ratio is not None:
        row["error_ratio"] = totals.error_ratio
    if totals.durations.count:
        row.update({f"{name}_ns": getattr(totals.durations, name) for name in ("p50", "p90", "p99", "max")})
    return row
