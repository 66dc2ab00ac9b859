"""What a store tells, as Markdown for the incident's channel: tables, names in code spans, no values of anybody's.

In: a `View`, and conditions that requests have to fit. Out: text. Whatever the names are that were captured, they stay
within their cell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from probes.outputs.escape import printable
from probes.outputs.losses import losses_line
from probes.outputs.record import iso_time
from probes.outputs.table import short
from probes.records import Process
from probes.store.view import UNKNOWN, Condition, Group, Groups, KeyValue, Quantiles, View, Window

_MOST = 5  # rows of a table
_MOST_QUESTIONS = 50  # for shapes
_WIDEST = 120  # cells of a name
_HANGS_AFTER_NS = 1_000_000_000
_MS = 1_000_000
_OPERATION = ("operation", "version", "target")
_NONE = "–"
_BARE_PIPE = re.compile(r"(?<!\\)((?:\\\\)*)\|")  # after an odd number of backslashes it is escaped already

_Row = Sequence[str]
_Named = Callable[[Sequence[KeyValue]], str]


def markdown(view: View, where: Sequence[Condition] = ()) -> str:
    """The report."""
    groups = view.groups(("protocol",), Window.START, where)
    facts = view.facts()
    ended = iso_time((groups.end_ns + facts.wall_offset_ns) // 1000)
    lines = [f"# {_name(facts.host)}: {groups.seconds:.0f} s until {ended[:19]}Z", ""]
    lines += _table(
        ("", *_RATES, "waiting"), ((_name(g.key[0]), *_rates(groups, g), str(g.inflight)) for g in groups.groups)
    )
    if not groups.groups:
        lines += ["No request of a known protocol went by.", ""]
    sections = (
        ("Slowest", _slowest(view, where)),
        ("Slowest shapes of MongoDB's requests", _shapes(view, where)),
        ("Failing", _failing(view, where)),
        ("Hanging", _hanging(view, where)),
        ("Busiest clients", _clients(view, where)),
        ("Processes", _processes(view)),
    )
    for title, table in sections:
        if table:
            lines += [f"## {title}", "", *table]
    lost = losses_line(facts.ledger) or "lost: nothing"
    lines.append(
        f"Of {facts.ledger.get('seen', 0)} messages {lost}. Seen by l7top at {facts.cpu_percent:.0f} % of a core."
    )
    return "\n".join(lines)


_RATES = ("req/s", "errors", "p50 ms", "p99 ms", "max ms")


def _rates(groups: Groups, group: Group) -> _Row:
    totals = group.totals
    ratio = totals.error_ratio
    errors = _NONE if ratio is None else f"{ratio:.1%}"
    return (short(groups.rate(totals.requests)), errors, *_durations(totals.durations))


def _durations(durations: Quantiles) -> _Row:
    if not durations.count:
        return (_NONE,) * 3
    return tuple(short(ns / _MS) for ns in (durations.p50, durations.p99, durations.max))


def _slowest(view: View, where: Sequence[Condition]) -> list[str]:
    return _by_p99(view.groups(_OPERATION, Window.START, where), _operation)


def _shapes(view: View, where: Sequence[Condition]) -> list[str]:
    unread = -1
    for _ in range(_MOST_QUESTIONS):  # each reads more of them, the latest first
        groups = view.groups(("shape",), Window.START, where)
        left = sum(group.totals.requests for group in groups.groups if group.key[0] == UNKNOWN)
        if left in (0, unread):
            break
        unread = left
    return _by_p99(groups, lambda key: "" if key[0] in ("", UNKNOWN) else _name(key[0]))


def _by_p99(groups: Groups, name: _Named) -> list[str]:
    found = [group for group in groups.groups if group.totals.durations.count and name(group.key)]
    found.sort(key=lambda group: -group.totals.durations.p99)
    return _table(("", *_RATES), ((name(group.key), *_rates(groups, group)) for group in found[:_MOST]))


def _failing(view: View, where: Sequence[Condition]) -> list[str]:
    groups = view.groups((*_OPERATION, "error_name"), Window.START, where)
    found = sorted((group for group in groups.groups if group.totals.errors), key=lambda g: -g.totals.errors)
    rows = ((_operation(g.key), _name(g.key[3]), short(groups.rate(g.totals.errors))) for g in found[:_MOST])
    return _table(("", "error", "errors/s"), rows)


def _hanging(view: View, where: Sequence[Condition]) -> list[str]:
    waiting = view.inflight(where)
    ages = ((row, waiting.age_ns(row, waiting.taken_ns)) for row in waiting.rows if not row.long_poll)
    found = [(row, age_ns) for row, age_ns in ages if age_ns > _HANGS_AFTER_NS]
    rows = (
        (_operation((row.operation, row.version, row.target)), _name(str(row.client)), f"{age_ns / 1e9:.1f}")
        for row, age_ns in found[:_MOST]
    )
    return _table(("", "client", "for s"), rows)


def _clients(view: View, where: Sequence[Condition]) -> list[str]:
    groups = view.groups(("client", "application"), Window.START, where)
    rows = ((_name(g.key[0]), _name(g.key[1]), *_rates(groups, g)) for g in groups.groups[:_MOST])
    return _table(("", "application", *_RATES), rows)


def _processes(view: View) -> list[str]:
    rows = (
        (
            _name(each.process),
            str(each.visibility),
            " ".join(map(str, each.listens)) or _NONE,
            str(each.clients),
            _NONE if each.cpu_percent is None else f"{each.cpu_percent:.0f}",
            _NONE if each.rss_bytes is None else f"{each.rss_bytes / 2**20:.0f}",
        )
        for each in view.facts().processes
    )
    return _table(("", "", "listens", "clients", "cpu %", "MiB"), rows)


def _operation(key: Sequence[KeyValue]) -> str:
    operation, version, target = key[:3]
    name = f"{operation}_v{version}" if version is not None else str(operation)
    return _name(f"{name} {target}".strip())


def _name(value: KeyValue) -> str:
    """A captured name as a code span that ends where it ends, within its cell."""
    if isinstance(value, Process):
        value = f"{value.name} {value.pid}"
    text = printable(str(value), _WIDEST) if value not in (None, "") else ""
    return "`" + _BARE_PIPE.sub(r"\1\\|", text.replace("`", "'")) + "`" if text.strip() else _NONE


def _table(head: Iterable[str], rows: Iterable[_Row]) -> list[str]:
    """Lines of Markdown, a blank one at the end; none where there are no rows. Numbers stand at the right."""
    lines = list(_lines(head, rows))
    return [*lines, ""] if len(lines) > 2 else []


def _lines(head: Iterable[str], rows: Iterable[_Row]) -> Iterator[str]:
    names = list(head)
    yield f"| {' | '.join(names)} |"
    yield f"|{'|'.join('---' if not name or name in _TEXTS else '--:' for name in names)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


_TEXTS = frozenset({"error", "client", "application", "listens"})
