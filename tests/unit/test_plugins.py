"""Plugins: how they are loaded, what they may decide, and how what they do is contained."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probes.collector import scope_of
from probes.exit_codes import ExitCode, Refusal
from probes.options import CaptureOptions
from probes.protocols import plugins
from probes.protocols.chosen import chosen, complaints
from probes.protocols.guard import Fault, Guard, TimeLimit
from probes.protocols.interface import Abort, Pass, ProtocolError, SwitchedOff, WireProtocol
from probes.records import Address, Connection, Head, Ledger, Process, Reply, Request, Session, Status, Verdict
from probes.scope import PortUse
from probes.sessions.causes import Cause
from probes.sessions.pairing import Pairing
from tests.on_terminal import CHECKOUT
from tests.unit.fake_protocol import REPLY, REQUEST, FakeProtocol, head

README = (Path(__file__).parents[2] / "README.md").read_text()
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
MS = 1_000_000

SOURCE = """
from probes.protocols.interface import RAW, WireProtocol

class First(WireProtocol):
    name = "first"
    framing = RAW
    ports = (7000,)

class Second(WireProtocol):
    name = "second"
    framing = "kafka"
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], str]:
    """Writes a plugin's file."""

    def write(source: str = SOURCE, name: str = "mine.py") -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(source))
        return str(path)

    tmp_path.chmod(0o700)
    return write


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refused:
        call()
    assert refused.value.exit_code is ExitCode.USAGE
    return refused.value.message


# Loading.


def test_plugins_come_first_in_the_order_of_files_and_classes(plugin: Callable[..., str]) -> None:
    other = plugin(SOURCE.replace("first", "third").replace("second", "fourth"), "other.py")
    names = list(chosen(CaptureOptions(plugins=(other, plugin()))))
    assert names == ["third", "fourth", "first", "second", "mongodb", "kafka"]


def test_protocols_and_ports_limit_what_is_tried_and_where(plugin: Callable[..., str]) -> None:
    options = CaptureOptions(
        plugins=(plugin(),),
        protocols=("first", "second", "mongodb"),
        ports=(("second", (9092,)), ("mongodb", (9092, 1))),
    )
    protocols = chosen(options)
    assert list(protocols) == ["first", "second", "mongodb"]
    scope = scope_of(protocols.values())
    assert scope.everywhere is PortUse.NONE
    assert scope.ports == {7000: PortUse.RAW, 9092: PortUse.KAFKA | PortUse.MONGODB, 1: PortUse.MONGODB}
    assert scope.skim is None
    everything = scope_of(chosen(CaptureOptions()).values())
    assert everything.everywhere == PortUse.MONGODB | PortUse.KAFKA
    assert everything.skim is not None


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("x = 1", "has no class derived from WireProtocol"),
        ("import nothing_of_the_kind", "cannot be loaded: ModuleNotFoundError"),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
        ("def", "cannot be loaded: SyntaxError"),
        (SOURCE.replace('"first"', '"First"'), "a plugin cannot be called 'First'"),
        (SOURCE.replace('"first"', '"kafka"'), "there are two protocols called kafka"),
        (SOURCE.replace('"second"', '"first"'), "there are two protocols called first"),
        (
            SOURCE.replace('"kafka"', '"amqp"'),
            "plugin second does not say its framing: it is one of mongodb, kafka, raw",
        ),
        (SOURCE.replace("7000", "70000"), "plugin first names ports that are none: (70000,)"),
        (SOURCE.replace("(7000,)", "()"), "first needs ports: --ports first=PORT,…"),
    ],
)
def test_what_is_no_plugin_is_refused_in_one_sentence(plugin: Callable[..., str], source: str, sentence: str) -> None:
    path = plugin(source)
    message = refusal(lambda: chosen(CaptureOptions(plugins=(path,))))
    assert sentence in message
    assert "\n" not in message


def test_names_that_nobody_bears_are_refused(plugin: Callable[..., str]) -> None:
    path = plugin()
    assert refusal(lambda: chosen(CaptureOptions(plugins=(path,), protocols=("sip",)))) == (
        "'sip' is no protocol: there are first, second, mongodb, kafka"
    )


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_is_not_loaded(plugin: Callable[..., str], mode: int) -> None:
    path = plugin()
    os.chmod(path, mode)
    assert refusal(lambda: plugins.from_file(path)) == (
        f"plugins are loaded only from where nobody else can write: chmod go-w {path}"
    )


@pytest.mark.parametrize(
    ("mode", "mend"), [(0o770, "chmod go-w"), (0o777, "chmod go-w"), (0o1777, "move it away from")]
)
def test_a_file_in_a_directory_that_others_may_write_is_not_loaded(
    plugin: Callable[..., str], tmp_path: Path, mode: int, mend: str
) -> None:
    path = plugin()
    tmp_path.chmod(mode)
    assert f"{mend} {tmp_path}" in refusal(lambda: plugins.from_file(path))


def test_a_directory_above_that_others_may_write_does_not_do_either(plugin: Callable[..., str], tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir(mode=0o700)
    path, other = plugin(name="inner/mine.py"), plugin(name="inner/other.py")
    assert len(plugins.from_file(path)) == 2
    tmp_path.chmod(0o777)
    assert f"chmod go-w {tmp_path}" in refusal(lambda: plugins.from_file(other))


@as_root
def test_a_file_of_another_user_is_not_loaded(plugin: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = plugin()
    os.chown(path, 4711, 4711)
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert f"{path} is another's" in refusal(lambda: plugins.from_file(path))
    monkeypatch.setenv("SUDO_UID", "4711")
    assert len(plugins.from_file(path)) == 2


@as_root
def test_it_is_loaded_again_by_who_could_not_read_it_any_more(plugin: Callable[..., str]) -> None:
    """As the process that plays a file does, after it gave up root's rights."""
    path = plugin()
    os.chown(path, 4711, 4711)
    os.chmod(path, 0o600)
    script = f"""
        from probes import privileges
        from probes.protocols.plugins import from_file
        before = from_file({path!r})
        privileges.keep_only()
        after = from_file({path!r})
        print([protocol.name for protocol in after], {{*map(type, before)}} & {{*map(type, after)}})
        open({path!r})
    """
    words = [sys.executable, "-c", textwrap.dedent(script)]
    result = subprocess.run(
        words, cwd=CHECKOUT, env={**os.environ, "SUDO_UID": "4711"}, capture_output=True, text=True, check=False
    )
    assert result.stdout == "['first', 'second'] set()\n", result.stderr
    assert "PermissionError" in result.stderr


def test_a_link_is_judged_by_what_it_leads_to(plugin: Callable[..., str], tmp_path: Path) -> None:
    path = plugin()
    os.chmod(path, 0o666)
    link = tmp_path / "link.py"
    link.symlink_to(path)
    assert f"chmod go-w {path}" in refusal(lambda: plugins.from_file(str(link)))


def entry_point(name: str, value: str) -> importlib.metadata.EntryPoint:
    return importlib.metadata.EntryPoint(name, value, plugins.GROUP)


@pytest.fixture
def package(plugin: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable package with the module `protocols`."""
    name = f"package_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name).mkdir(mode=0o700)
    plugin("", f"{name}/__init__.py")
    plugin(SOURCE, f"{name}/protocols.py")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_installed_plugins_are_loaded_unless_they_are_left_out(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry_point("first", f"{package}.protocols:First"), entry_point("second", f"{package}.protocols:Second")]
    monkeypatch.setattr(plugins, "installed", lambda: entries)
    assert list(chosen(CaptureOptions())) == ["first", "second", "mongodb", "kafka"]
    assert list(chosen(CaptureOptions(protocols=("kafka", "second")))) == ["second", "kafka"]


def test_an_installed_plugin_bears_its_entry_points_name(package: str) -> None:
    entry = entry_point("mine", f"{package}.protocols:First")
    assert "calls itself 'first': both have to be the same" in refusal(lambda: plugins.from_entry_point(entry))


@pytest.mark.parametrize("file", ["__init__.py", "protocols.py"])
def test_an_installed_plugins_files_are_checked_before_they_are_run(package: str, tmp_path: Path, file: str) -> None:
    path = tmp_path / package / file
    path.write_text("raise AssertionError('this was run')")
    path.chmod(0o666)
    entry = entry_point("first", f"{package}.protocols:First")
    assert f"chmod go-w {path}" in refusal(lambda: plugins.from_entry_point(entry))


# What is contained.


class Talkative(FakeProtocol):
    """Does in each call what it was told to."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__("talkative")
        self.act = act

    def request(self, head: Head, memory: Any) -> Request:
        answer: Request = self.act()
        return answer


def asked(act: Callable[[], Any]) -> Guard:
    """A guard whose plugin was asked for one request."""
    guard = Guard(Talkative(act), TimeLimit(0.02))
    with pytest.raises(Fault):
        guard.request(head(False, 0, 0, REQUEST, 1), None)
    return guard


def spin() -> None:
    while True:
        try:
            sum(range(100))
        except Exception:
            continue


@pytest.mark.parametrize("act", [spin, lambda: time.sleep(60)], ids=["runs", "sleeps"])
def test_a_call_that_takes_too_long_is_interrupted_and_the_third_one_switches_off(act: Callable[[], None]) -> None:
    guard = asked(act)
    for overtimes in (2, 3):
        with pytest.raises(Fault):
            guard.request(head(False, 0, 0, REQUEST, 1), None)
        assert guard.overtimes == overtimes
    assert guard.is_off
    with pytest.raises(SwitchedOff):
        guard.request(head(False, 0, 0, REQUEST, 1), None)
    assert guard.identify(REQUEST, 1) is Verdict.FOREIGN
    assert complaints({"talkative": guard}) == {"plugin_talkative_overtimes": 3, "plugin_talkative_off": 1}


def test_what_is_quick_is_not_interrupted() -> None:
    limit = TimeLimit(0.02)
    for number in range(1000):
        assert limit.run(lambda value: value, number) == number
    time.sleep(0.05)  # no alarm is left


def fail(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    "act",
    [
        fail(ZeroDivisionError()),
        fail(RecursionError()),
        fail(MemoryError()),
        fail(SystemExit()),
        lambda: None,
        lambda: Reply(1, b""),
        lambda: Request("1", "ask", b""),  # type: ignore[arg-type]
        lambda: Request(1, None, b""),  # type: ignore[arg-type]
        lambda: Request(1, "ask", "data"),  # type: ignore[arg-type]
        lambda: Request(1, "ask", b"", targets=[1]),  # type: ignore[arg-type]
        lambda: Request(1, "ask", b"", attributes={"a": 1}),  # type: ignore[arg-type]
        lambda: Request(1, "ask", b"", attributes=(("a", b""),)),  # type: ignore[arg-type]
        lambda: type("Mine", (Request,), {})(1, "ask", b""),
    ],
)
def test_whatever_a_plugin_does_is_contained_and_counted(act: Callable[[], Any]) -> None:
    guard = asked(act)
    assert (guard.errors, guard.is_off) == (1, False)


@pytest.mark.parametrize("decision", [Pass(), Abort(), ProtocolError("no")])
def test_what_a_plugin_decides_is_no_error(decision: Exception) -> None:
    guard = Guard(Talkative(fail(decision)), TimeLimit())
    with pytest.raises(type(decision)):
        guard.request(head(False, 0, 0, REQUEST, 1), None)
    assert complaints({"talkative": guard}) == {}


# What it may decide.


class Deciding(FakeProtocol):
    """Like the protocol it is of, but for the requests with an id of `special`."""

    def __init__(self, decide: Callable[[Request], Exception]) -> None:
        super().__init__("deciding", confirms_alone=True)
        self.framing = "fake"
        self.decide = decide
        self.foreign = False

    def identify(self, data: bytes, total: int) -> Verdict:
        return Verdict.FOREIGN if self.foreign else super().identify(data, total)

    def request(self, head: Head, memory: Any) -> Request:
        request = super().request(head, memory)
        if request.id >= 100:
            raise self.decide(request)
        request.attributes = (("kind", "usual"),)
        return request


class Exchange:
    """A server's connection under a plugin and the built-in protocol of the same framing."""

    def __init__(self, decide: Callable[[Request], Exception]) -> None:
        self.plugin = Deciding(decide)
        self.sessions: list[Session] = []
        self.ledger = Ledger()
        known = FakeProtocol("fake", confirms_alone=True)
        self.pairing = Pairing([self.plugin, known], self.sessions.append, self.ledger)
        ends = Address("10.0.0.9", 9), Address("10.0.0.5", 51544)
        self.connection = Connection(1, Process(7, "server"), *ends, protocol="fake")
        self.pairing.opened(self.connection)
        self.numbers = [0, 0]

    def ask(self, id: int) -> None:
        self._message(False, REQUEST, id, 0)

    def answer(self, id: int) -> None:
        self._message(True, REPLY, 900 + id, id)

    def _message(self, outbound: bool, kind: bytes, id: int, answers: int) -> None:
        number = self.numbers[outbound]
        self.numbers[outbound] += 1
        self.pairing.message(self.connection, head(outbound, number, sum(self.numbers) * MS, kind, id, answers))

    def told(self) -> list[tuple[str, int, Status]]:
        return [(s.protocol, s.request.id if s.request else 0, s.status) for s in self.sessions]

    def counts(self, at_ms: int = 10_000) -> dict[str, int]:
        self.pairing.tick(at_ms * MS)
        return {str(cause): count for cause, count in self.ledger.counts.items() if count}


def test_to_answer_is_to_tell_it_under_the_plugins_name() -> None:
    exchange = Exchange(lambda request: Pass())
    exchange.ask(1)
    exchange.answer(1)
    assert exchange.told() == [("deciding", 1, Status.OK)]
    assert exchange.sessions[0].request is not None
    assert exchange.sessions[0].request.attributes == (("kind", "usual"),)
    assert exchange.counts() == {"sessions": 2}


def test_to_pass_a_connection_leaves_it_to_the_next_one() -> None:
    exchange = Exchange(lambda request: Pass())
    exchange.plugin.foreign = True
    exchange.ask(1)
    exchange.answer(1)
    assert exchange.told() == [("fake", 1, Status.OK)]


def test_to_pass_a_request_leaves_it_and_its_reply_to_the_next_one() -> None:
    exchange = Exchange(lambda request: Pass())
    for id in (1, 100, 2):
        exchange.ask(id)
    waiting = exchange.pairing.waiting(10**12)
    assert [session.protocol for session in waiting] == ["deciding", "fake", "deciding"]
    for id in (2, 100, 1):
        exchange.answer(id)
    assert exchange.told() == [("deciding", 2, Status.OK), ("fake", 100, Status.OK), ("deciding", 1, Status.OK)]
    assert exchange.counts() == {"sessions": 6}


def test_what_is_passed_before_anything_was_answered_confirms_the_connection_too() -> None:
    exchange = Exchange(lambda request: Pass())
    exchange.ask(100)
    exchange.answer(100)
    exchange.ask(1)
    exchange.answer(1)
    assert exchange.told() == [("fake", 100, Status.OK), ("deciding", 1, Status.OK)]


def test_to_abort_is_to_tell_nothing_neither_of_the_reply() -> None:
    exchange = Exchange(Abort)
    for id in (1, 100, 101):
        exchange.ask(id)
    assert len(exchange.pairing.waiting(10**12)) == 1
    for id in (100, 1):
        exchange.answer(id)
    exchange.pairing.closed(exchange.connection, 100 * MS)
    assert exchange.counts() == {"sessions": 2, "aborted": 3}
    assert exchange.told() == [("deciding", 1, Status.OK)]


def test_to_abort_with_error_is_counted_and_shown() -> None:
    exchange = Exchange(lambda request: ProtocolError("broken"))
    exchange.ask(1)
    exchange.ask(100)
    assert exchange.told() == [("deciding", 0, Status.UNPARSED)]
    assert exchange.counts(1) == {"unparsed": 1, "waiting": 1}


def test_to_abort_a_connection_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = Exchange(lambda request: Pass())

    def abort(data: bytes, total: int) -> Verdict:
        raise Abort

    monkeypatch.setattr(exchange.plugin, "identify", abort)
    for id in (1, 2):
        exchange.ask(id)
        exchange.answer(id)
    assert exchange.told() == []
    assert exchange.counts() == {str(Cause.ABORTED): 4}


def test_the_messages_of_a_plugin_that_was_switched_off_are_counted() -> None:
    exchange = Exchange(lambda request: SwitchedOff())
    exchange.ask(1)
    exchange.ask(100)
    exchange.answer(1)
    assert exchange.counts() == {"sessions": 2, "switched_off": 1}


# The README's example.


def test_the_plugin_in_the_readme_works(plugin: Callable[..., str]) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", README, re.S)
    (lines,) = plugins.from_file(plugin(source, "lines.py"))
    guard = Guard(lines, TimeLimit())
    memory = guard.memory(Connection(1, None))
    assert [guard.frame(data, memory) for data in (b"GET", b"GET k\nSET", b"")] == [0, 6, 0]

    def message(data: bytes) -> Head:
        return Head(False, 0, 1, 2, len(data), data)

    assert guard.identify(b"GET k\n", 6) is Verdict.REQUEST
    request = guard.request(message(b"GET k\n"), memory)
    assert (request.id, request.operation, request.target, request.in_order) == (1, "GET", "k", True)
    assert guard.reply_to(message(b"v\n"), memory) is None
    assert guard.reply(message(b"v\n"), request, memory).attributes == (("bytes", 2),)
    failure = guard.reply(message(b"ERROR no such key\n"), request, memory).failure
    assert failure is not None
    assert failure.name == "ERROR"
    with pytest.raises(ProtocolError):
        guard.request(message(b"PUT k\n"), memory)
    assert isinstance(lines, WireProtocol)


def test_no_alarm_comes_while_the_interpreter_ends() -> None:
    """By then nobody takes it: it would end the process with a signal instead of its exit code."""
    code = """
import time
from probes.protocols.guard import TimeLimit

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(0.3)

slow = Slow()
TimeLimit().run(int)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=False).returncode == 0
