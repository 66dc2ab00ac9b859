"""The command line: `l7top requests`, `l7top stat`, `l7top doctor`. stdout is data, stderr is narration.

Whatever happens, a run ends with a number of `ExitCode` and at most one sentence, never with a traceback
(`L7TOP_DEBUG=1` shows it).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points, version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from probes import doctor, headless
from probes.exit_codes import ExitCode, Refusal
from probes.filters import (
    ANY,
    FIELDS,
    FilterError,
    Predicate,
    is_filter,
    learn_protocols,
    parse,
    session_filter,
    tokenize,
)
from probes.options import LIVE, MAX_HEAD_BYTES, MIN_HEAD_BYTES, MIN_MEMORY, STDIN, CaptureOptions
from probes.outputs.escape import printable
from probes.outputs.lines import Lines, ReaderGoneError, give_up_stdout
from probes.outputs.recording.files import Rotation
from probes.records import Side
from probes.store.red import DEFAULT_BY
from probes.store.red import FIELDS as GROUP_FIELDS

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_SECONDS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600}
_SHIFTS = {"k": 10, "M": 20, "G": 30}
_STAT_SECONDS = 10.0
_REPORT_SECONDS = 60.0
_DEFAULTS = CaptureOptions()

_USAGE = """\
l7top [COMMAND] [OPTIONS] [FILTER]

top for layer 7: the MongoDB and Kafka requests that this host serves and sends, live, through eBPF.

commands:
  requests   one JSON line for each request and what became of it
  stat       rate, errors and durations of each operation over some time
  report     what the dashboard shows, over a minute, as Markdown
  record     a pcapng file that replays here and that Wireshark opens
  doctor     what this host can do, what is missing, and the command that mends it

Without a command: the dashboard; where there is no terminal: stat, for 10 s.

options:
  -h, --help   this text; after a command, its options
  --version    the version

of the dashboard:
  --side, --pid, --protocols, --ports, --plugin,
  --head-bytes, --literals, --max-cpu              as of requests (l7top requests --help)
  --memory SIZE                                    for what is kept (default: 256M)
  --speed SPEED                                    of a capture's file: 1x, 10x, max (default)

Capturing needs root: sudo l7top. Reading a capture does not: l7top --from FILE (- for stdin)"""


class _Parser(argparse.ArgumentParser):
    """Refuses in one sentence, and takes options and filter terms in any order."""

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        Lines().text(self.format_help().rstrip())

    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{message}: see {self.prog} --help", ExitCode.USAGE)


def _speed(text: str) -> float:
    """How many times as fast as the clock, 0.0 for max."""
    if text == "max":
        return 0.0
    match = re.fullmatch(r"(\d{1,4}(?:\.\d+)?)x?", text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no speed such as 1x, 0.5x, 10x or max")
    return float(match[1])


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 10s, 500ms, 2m or 1h; 10 is 10s")
    return float(match[1]) * _SECONDS[match[2]]


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([kMG])", text)
    if match is None or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 64M or 1G")
    return int(match[1]) << _SHIFTS[match[2]]


def _size(text: str) -> int:
    size = _bytes(text)
    if size < MIN_MEMORY:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 64M or 1G, of at least {MIN_MEMORY >> 20}M")
    return size


def _bounded(lowest: int, highest: float = float("inf")) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            limit = f"from {lowest} to {highest}" if highest < float("inf") else f"from {lowest} on"
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number {limit}")
        return int(text)

    return number


def _side(text: str) -> Side:
    if text not in list(Side):
        raise argparse.ArgumentTypeError(f"{text!r} is no side: there are {', '.join(Side)}")
    return Side(text)


def _source(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("names no source: live is one")
    return text


def _pids(text: str) -> list[int]:
    return [_bounded(1)(word) for word in text.split(",")]


def _protocols(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split(",")))


def _ports(text: str) -> tuple[str, tuple[int, ...]]:
    name, separator, ports = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form mongodb=27017,27018")
    return name, tuple(_bounded(1, 65535)(port) for port in ports.split(","))


def _plugin(text: str) -> str:
    path = os.path.abspath(text)
    if not os.path.isfile(path):
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return path


def _learn_plugins(arguments: argparse.Namespace) -> None:
    """Raises Refusal where no protocol bears a name that is asked for. What files bring, the collector alone knows."""
    installed = [entry.name for entry in entry_points(group="l7top.protocols")]
    learn_protocols([ANY] if arguments.plugins else installed)
    names = [*arguments.protocols, *dict(arguments.ports)]
    if names and not arguments.plugins:
        from probes.protocols.chosen import known_protocols, require_known  # takes a moment, and is seldom needed here

        require_known(names, [*known_protocols(), *installed])


def _by(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in GROUP_FIELDS:
            raise argparse.ArgumentTypeError(f"{name!r} is nothing to group by: there are {', '.join(GROUP_FIELDS)}")
    return names


def _filtered_parser(prog: str, description: str, *, of_this_host: bool = False) -> _Parser:
    """The options of what captures and shows some of it."""
    fields = "\n".join(f"  {name:<15} {field.help}" for name, field in FIELDS.items())
    parser = _Parser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="FILTER: field:value terms, all of which have to hold. * stands for any text, != for not;\n"
        f"numbers also take > >= < <= (quote these from the shell). The fields:\n{fields}",
    )
    parser.add_argument("filter", nargs="*", metavar="FILTER", help="which requests, e.g. status:error target:shop.*")
    _add_capture_options(parser, of_this_host=of_this_host)
    return parser


def _add_capture_options(parser: _Parser, *, of_this_host: bool = False) -> None:
    """The options that say what to capture; whatever captures has them, but for the source where there is one only."""
    parser.add_argument(
        "--side",
        type=_side,
        metavar="{server,client,both}",
        default=Side.BOTH,
        help="the end to look from (default: both)",
    )
    parser.add_argument(
        "--pid", dest="pids", type=_pids, action="extend", metavar="PID,…", default=[], help="only these processes"
    )
    parser.add_argument(
        "--protocols", type=_protocols, default=(), metavar="NAME,…", help="only these: mongodb, kafka, a plugin's"
    )
    parser.add_argument(
        "--ports",
        type=_ports,
        action="append",
        metavar="NAME=PORT,…",
        default=[],
        help="look for this protocol on these ports only, e.g. mongodb=27017,27018; repeatable",
    )
    parser.add_argument(
        "--plugin",
        dest="plugins",
        type=_plugin,
        action="append",
        metavar="FILE",
        default=[],
        help="a Python file that teaches another protocol (README: plugins); repeatable",
    )
    parser.add_argument(
        "--head-bytes",
        type=_bounded(MIN_HEAD_BYTES, MAX_HEAD_BYTES),
        default=_DEFAULTS.head_bytes,
        metavar="N",
        help="how much of each message to look at (default: %(default)s)",
    )
    parser.add_argument(
        "--max-cpu",
        type=_bounded(0),
        default=int(_DEFAULTS.max_cpu),
        metavar="PERCENT",
        help="of one core: what l7top may use before it leaves things off, 0 for no bound (default: %(default)s)",
    )
    if of_this_host:
        parser.set_defaults(source=LIVE)
        return
    parser.add_argument(
        "--from",
        dest="source",
        type=_source,
        default=LIVE,
        metavar="SOURCE",
        help="where requests come from: live (default), a pcap or pcapng FILE, or - for such a capture on stdin",
    )


def _headless_parser(prog: str, description: str, *, of_this_host: bool = False) -> _Parser:
    """The options of a command that captures for some time and prints."""
    parser = _filtered_parser(prog, description, of_this_host=of_this_host)
    _add_ending_options(parser)
    return parser


def _add_ending_options(parser: _Parser) -> None:
    """The options of whatever captures for some time."""
    parser.add_argument("--for", dest="seconds", type=_seconds, metavar="TIME", help="end after this time, e.g. 10s")
    parser.add_argument("--ledger", action="store_true", help="at the end, what became of each message, on stderr")


def _add_literals(parser: _Parser) -> None:
    parser.add_argument("--literals", action="store_true", help="show values of documents and payloads, too")


def _add_memory(parser: _Parser) -> None:
    parser.add_argument(
        "--memory", type=_size, default=_DEFAULTS.memory, metavar="SIZE", help="for what is kept (default: 256M)"
    )


def _add_speed(parser: _Parser) -> None:
    parser.add_argument(
        "--speed",
        type=_speed,
        metavar="SPEED",
        help="of a capture's file: 1x in its own pace, 10x, max as fast as it can be read (default: max)",
    )


def _parse(parser: _Parser, words: Sequence[str]) -> tuple[argparse.Namespace, CaptureOptions, Predicate]:
    """Raises Refusal."""
    arguments = parser.parse_intermixed_args(words)
    for pid in arguments.pids:
        if arguments.source == LIVE and not os.path.exists(f"/proc/{pid}"):
            raise Refusal(f"argument --pid: there is no process {pid}: see {parser.prog} --help", ExitCode.USAGE)
    speed = getattr(arguments, "speed", None)
    if speed is not None and arguments.source in (LIVE, STDIN):
        parser.error("argument --speed: it is for a capture's file, which --from names")
    _learn_plugins(arguments)
    try:
        selected = session_filter(" ".join(getattr(arguments, "filter", ())))
    except FilterError as error:
        raise Refusal(str(error), ExitCode.USAGE) from error
    ports: dict[str, tuple[int, ...]] = {}
    for name, some in arguments.ports:
        ports[name] = ports.get(name, ()) + some
    options = CaptureOptions(
        source=arguments.source,
        side=arguments.side,
        pids=frozenset(arguments.pids),
        protocols=arguments.protocols,
        plugins=tuple(arguments.plugins),
        ports=tuple(ports.items()),
        head_bytes=arguments.head_bytes,
        memory=getattr(arguments, "memory", _DEFAULTS.memory),
        literals=getattr(arguments, "literals", False),
        max_cpu=float(arguments.max_cpu),
        speed=_DEFAULTS.speed if speed is None else speed,
    )
    return arguments, options, selected


def dashboard(words: Sequence[str]) -> tuple[CaptureOptions, str]:
    """What `l7top` without a command asks for: what to capture, and the filter to begin with. Raises Refusal."""
    parser = _filtered_parser("l7top", "The dashboard: this host's requests, live.")
    _add_literals(parser)
    _add_memory(parser)
    _add_speed(parser)
    arguments, options, _ = _parse(parser, words)
    return options, " ".join(arguments.filter)


def _requests(words: Sequence[str]) -> ExitCode:
    parser = _headless_parser(
        "l7top requests", "One JSON line for each request and what became of it (README: the record)."
    )
    parser.add_argument("--count", type=_bounded(1), metavar="N", help="end after this many requests")
    _add_literals(parser)
    parser.add_argument("--inflight", action="store_true", help="at the end, the requests that still wait for a reply")
    arguments, options, selected = _parse(parser, words)
    headless.requests(
        options,
        selected,
        seconds=arguments.seconds or float("inf"),
        count=arguments.count,
        inflight=arguments.inflight,
        ledger=arguments.ledger,
    )
    return ExitCode.OK


def _stat(words: Sequence[str], *, for_dashboard: bool = False) -> ExitCode:
    """`for_dashboard`: the dashboard was meant, but there is no terminal; its options have no meaning here."""
    parser = _headless_parser(
        "l7top" if for_dashboard else "l7top stat",
        "Rate, errors and durations of each operation, over 10 s, a capture's time, or as long as --for says.",
    )
    parser.add_argument(
        "--by",
        type=_by,
        default=DEFAULT_BY,
        metavar="FIELD,…",
        help=f"group by these (default: {','.join(DEFAULT_BY)})",
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    if for_dashboard:
        _add_literals(parser)
        _add_memory(parser)
        _add_speed(parser)
    arguments, options, selected = _parse(parser, words)
    headless.stat(
        options,
        selected,
        seconds=arguments.seconds or (_STAT_SECONDS if options.is_live else float("inf")),
        by=arguments.by,
        as_json=arguments.json,
        ledger=arguments.ledger,
    )
    return ExitCode.OK


def _record(words: Sequence[str]) -> ExitCode:
    parser = _Parser(
        prog="l7top record",
        description="Records what goes by in FILE, a pcapng that replays here and that Wireshark opens. FILE is new,"
        " and belongs to whoever called sudo. Values of documents and payloads are overwritten: it can be shared.",
        allow_abbrev=False,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="e.g. incident.pcapng")
    _add_capture_options(parser)
    _add_ending_options(parser)
    parser.add_argument("--literals", action="store_true", help="keep values of documents and payloads")
    parser.add_argument(
        "--rotate-size", type=_bytes, metavar="SIZE", help="begin another file (FILE_00002, …) at this size, e.g. 100M"
    )
    parser.add_argument("--rotate-time", type=_seconds, metavar="TIME", help="and after this time, e.g. 10m")
    parser.add_argument("--keep", type=_bounded(1), metavar="N", help="of these files only the last N")
    arguments, options, _ = _parse(parser, words)
    rotation = Rotation(arguments.rotate_size, arguments.rotate_time, arguments.keep)
    if rotation.keep is not None and not rotation.is_wanted:
        parser.error("--keep is for files that --rotate-size or --rotate-time begin")
    headless.record(
        options, arguments.file, rotation, seconds=arguments.seconds or float("inf"), ledger=arguments.ledger
    )
    return ExitCode.OK


def _report(words: Sequence[str]) -> ExitCode:
    description = "What the dashboard shows, as Markdown for the incident's channel."
    parser = _headless_parser("l7top report", description, of_this_host=True)
    arguments, options, _ = _parse(parser, words)
    where = parse(tokenize(" ".join(arguments.filter)))
    headless.report(options, where, seconds=arguments.seconds or _REPORT_SECONDS, ledger=arguments.ledger)
    return ExitCode.OK


def _doctor(words: Sequence[str]) -> ExitCode:
    parser = _Parser(prog="l7top doctor", description="What this host can do, and the command that mends the rest.")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    arguments = parser.parse_args(words)
    facts = doctor.judge(doctor.look())
    Lines().text(doctor.as_json(facts) if arguments.json else doctor.as_text(facts))
    return doctor.exit_code(facts)


COMMANDS: dict[str, Callable[[Sequence[str]], ExitCode]] = {
    "requests": _requests,
    "stat": _stat,
    "record": _record,
    "report": _report,
    "doctor": _doctor,
}


def no_command(words: Sequence[str]) -> bool:
    """Whether `l7top` is called without a command: with options or a filter at most."""
    return not words or words[0].startswith("-") or is_filter(words[0])


def reads_stdin(words: Sequence[str]) -> bool:
    """Whether these options of the dashboard make it read a capture from standard input."""
    return "--from=-" in words or any(pair == ("--from", STDIN) for pair in pairwise(words))


def _dispatch(words: Sequence[str]) -> ExitCode:
    if words and words[0] in ("-h", "--help"):
        Lines().text(_USAGE)
    elif words and words[0] == "--version":
        Lines().text(f"l7top {version('l7top')}")
    elif no_command(words):
        return _stat(words, for_dashboard=True)
    elif words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:])
    else:
        raise Refusal(f"there is no command {words[0]!r}: the commands are {', '.join(COMMANDS)}", ExitCode.USAGE)
    return ExitCode.OK


def guarded(run: Callable[[], ExitCode]) -> int:
    """Calls `run`; every way in which it may end becomes an exit code, and a sentence on stderr."""
    try:
        return run()
    except SystemExit as end:  # argparse, after --help
        return int(end.code or 0)
    except Refusal as refusal:
        headless.narrate(printable(refusal.message))
        if refusal.exit_code is ExitCode.OUTPUT:
            give_up_stdout()
        return refusal.exit_code
    except ReaderGoneError:
        give_up_stdout()
        return ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:
        # Whatever it is: an operator in the middle of an incident has no use for a traceback.
        if os.environ.get("L7TOP_DEBUG") == "1":
            traceback.print_exc()
        sentence = f"internal error: {type(error).__name__}: {error} (L7TOP_DEBUG=1 shows where)"
        headless.narrate(printable(" ".join(sentence.split()), 400))
        return ExitCode.INTERNAL


def leave(code: int) -> NoReturn:
    """Ends the process at once: to take down all that it has imported takes longer than all else at its end."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none at all
            stream.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """The command `l7top`, but for its dashboard; the exit code."""
    return guarded(lambda: _dispatch(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
