"""The command line in this process, with a collector that needs no kernel."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from probes import cli, headless
from probes.exit_codes import ExitCode, Refusal
from probes.options import CaptureOptions
from probes.records import Session, Side
from tests.unit.fake_collector import FakeCollector
from tests.unit.sample_sessions import duplicate_key, fetch, find, hanging, samples

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def l7top(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `l7top` with words and a collector: exit code, stdout, stderr."""

    def run(*words: str, collector: FakeCollector | None = None) -> tuple[int, str, str]:
        monkeypatch.setattr(headless, "open_collector", (collector or FakeCollector([])).open)
        code = cli.main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_each_session_is_a_line(l7top: Run) -> None:
    code, out, err = l7top("requests", "--for", "50ms", collector=FakeCollector([samples(), [find()]]))
    assert code == ExitCode.OK
    assert [line["status"] for line in lines(out)] == ["ok", "error", "inflight", "ok", "unparsed", "ok"]
    assert lines(out)[0]["mongodb"] == {"opcode": 2013}
    assert err == "l7top: capturing mongodb and kafka requests of this host\n"


def test_only_what_the_filter_means_is_printed(l7top: Run) -> None:
    words = ("requests", "protocol:mongodb", "--for", "50ms", "and", "status:ok", "duration>1ms")
    code, out, _ = l7top(*words, collector=FakeCollector([samples()]))
    assert code == ExitCode.OK
    assert [line["operation"] for line in lines(out)] == ["find"]


def test_count_ends_a_capture_in_the_middle_of_a_batch(l7top: Run) -> None:
    collector = FakeCollector([[find()] * 10] * 10, held=[find()])
    code, out, _ = l7top("requests", "--count", "13", "operation:find", collector=collector)
    assert (code, len(lines(out))) == (ExitCode.OK, 13)
    assert collector.closed


def test_what_the_collector_held_back_comes_at_the_end(l7top: Run) -> None:
    _, out, _ = l7top("requests", "--for", "20ms", collector=FakeCollector([[find()]], held=[fetch()]))
    assert [line["operation"] for line in lines(out)] == ["find", "Fetch"]


def test_waiting_requests_are_printed_where_they_are_asked_for(l7top: Run) -> None:
    words = ("requests", "--for", "20ms", "status:inflight")
    assert lines(l7top(*words, collector=FakeCollector([], waiting=[hanging()]))[1]) == []
    (line,) = lines(l7top(*words, "--inflight", collector=FakeCollector([], waiting=[hanging()]))[1])
    assert (line["status"], line["operation"]) == ("inflight", "aggregate")
    assert (
        l7top("requests", "--for", "20ms", "pid:1", "--inflight", collector=FakeCollector([], waiting=[hanging()]))[1]
        == ""
    )


def test_losses_are_told_by_cause(l7top: Run) -> None:
    ledger = {"seen": 20, "sessions": 10, "other_end": 2, "unparsed": 1, "ring_full": 7, "dropped": 0, "waiting": 2}
    _, _, err = l7top("requests", "--for", "20ms", collector=FakeCollector([], ledger=ledger))
    assert err.splitlines()[1:] == ["l7top: lost on this host: ring_full 7, unparsed 1"]


def test_the_whole_ledger_is_told_where_it_is_asked_for(l7top: Run) -> None:
    ledger = {"seen": 4, "sessions": 4, "unparsed": 0}
    _, _, err = l7top("requests", "--for", "20ms", "--ledger", collector=FakeCollector([], ledger=ledger))
    assert [json.loads(line) for line in err.splitlines()[1:]] == [{**ledger, "undescribed": 0}]


def test_options_reach_the_collector(l7top: Run) -> None:
    pid = str(os.getpid())
    collector = FakeCollector([])
    words = [
        "--side",
        "client",
        "--pid",
        f"{pid},1",
        "--pid",
        pid,
        "--head-bytes",
        "512",
        "--literals",
        "--from",
        "live",
    ]
    assert l7top("requests", "--for", "10ms", *words, collector=collector)[0] == ExitCode.OK
    assert collector.options == CaptureOptions(
        side=Side.CLIENT, pids=frozenset({os.getpid(), 1}), head_bytes=512, literals=True
    )
    assert l7top("requests", "--for", "10ms", "--protocols", "kafka,kafka", collector=collector)[0] == ExitCode.OK
    assert collector.options is not None
    assert collector.options.protocols == ("kafka",)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (
            ["nonsense"],
            ExitCode.USAGE,
            "there is no command 'nonsense': the commands are requests, stat, record, report, doctor",
        ),
        (
            ["requests", "--frm", "live"],
            ExitCode.USAGE,
            "unrecognized arguments: --frm: see l7top requests --help",
        ),
        (
            ["--memory", "3"],
            ExitCode.USAGE,
            "argument --memory: '3' is no size such as 64M or 1G: see l7top --help",
        ),
        (
            ["--speed", "2x"],
            ExitCode.USAGE,
            "argument --speed: it is for a capture's file, which --from names: see l7top --help",
        ),
        (
            ["requests", "--for", "soon"],
            ExitCode.USAGE,
            "argument --for: 'soon' is no time such as 10s, 500ms, 2m or 1h",
        ),
        (["requests", "--for", "0s"], ExitCode.USAGE, "argument --for: '0s' is no time"),
        (["requests", "--for"], ExitCode.USAGE, "argument --for: expected one argument"),
        (["requests", "--count", "0"], ExitCode.USAGE, "argument --count: '0' is no whole number from 1 on"),
        (
            ["requests", "--head-bytes", "9"],
            ExitCode.USAGE,
            "argument --head-bytes: '9' is no whole number from 64 to 16384",
        ),
        (["requests", "--pid", "x"], ExitCode.USAGE, "argument --pid: 'x' is no whole number"),
        (["requests", "--pid", "4194305"], ExitCode.USAGE, "argument --pid: there is no process 4194305"),
        (
            ["requests", "--side", "left"],
            ExitCode.USAGE,
            "argument --side: 'left' is no side: there are server, client, both",
        ),
        (["requests", "--from", ""], ExitCode.USAGE, "argument --from: names no source"),
        (["record"], ExitCode.USAGE, "the following arguments are required: FILE: see l7top record --help"),
        (
            ["record", "it", "--keep", "3"],
            ExitCode.USAGE,
            "--keep is for files that --rotate-size or --rotate-time begin",
        ),
        (
            ["record", "it", "--rotate-size", "9"],
            ExitCode.USAGE,
            "argument --rotate-size: '9' is no size such as 64M or 1G",
        ),
        (["report", "--from", "x.pcap"], ExitCode.USAGE, "unrecognized arguments: --from"),
        (["stat", "protocol:http"], ExitCode.USAGE, "protocol is never 'http': it is one of mongodb, kafka"),
        (["--memory", "1"], ExitCode.USAGE, "argument --memory: '1' is no size such as 64M"),
        (["status:fine"], ExitCode.USAGE, "status is never 'fine'"),
        (
            ["requests", "--protocols", "sip"],
            ExitCode.USAGE,
            "'sip' is no protocol: there are mongodb, kafka",
        ),
        (["stat", "--ports", "sip=5060"], ExitCode.USAGE, "'sip' is no protocol: there are mongodb, kafka"),
        (["stat", "--ports", "kafka"], ExitCode.USAGE, "argument --ports: 'kafka' is not of the form mongodb=27017"),
        (["stat", "--ports", "kafka=0"], ExitCode.USAGE, "argument --ports: '0' is no whole number from 1 to 65535"),
        (["stat", "--plugin", "none.py"], ExitCode.USAGE, "argument --plugin: there is no file none.py"),
        (["requests", "find"], ExitCode.USAGE, "'find' is no term: write field:value"),
        (["requests", "x:y"], ExitCode.USAGE, "there is no field 'x' to filter by: the fields are protocol"),
        (["doctor", "--jsn"], ExitCode.USAGE, "unrecognized arguments: --jsn: see l7top doctor --help"),
        (["requests", "x\x1b[2J:y"], ExitCode.USAGE, "there is no field 'x\\x1b[2J' to filter by"),
    ],
)
def test_bad_input_is_one_sentence_and_an_exit_code(
    l7top: Run, words: list[str], code: ExitCode, sentence: str
) -> None:
    ended, out, err = l7top(*words)
    assert (ended, out) == (code, "")
    assert err.startswith(f"l7top: {sentence}")
    assert err.count("\n") == 1


def test_a_refusal_of_the_host_is_one_sentence(l7top: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(options: CaptureOptions, emit: Callable[[Session], None]) -> FakeCollector:
        raise Refusal("cannot capture: BCC: not installed", ExitCode.BCC)

    collector = FakeCollector([])
    monkeypatch.setattr(collector, "open", refuse)
    assert l7top("requests", collector=collector) == (4, "", "l7top: cannot capture: BCC: not installed\n")


def test_a_bug_is_one_sentence_and_a_traceback_only_where_it_is_asked_for(
    l7top: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(timeout_s: float) -> int:
        raise ZeroDivisionError("a\n\x1bb")

    collector = FakeCollector([])
    monkeypatch.setattr(collector, "step", broken)
    code, out, err = l7top("requests", collector=collector)
    assert (code, out) == (ExitCode.INTERNAL, "")
    assert err.splitlines()[1:] == ["l7top: internal error: ZeroDivisionError: a \\x1bb (L7TOP_DEBUG=1 shows where)"]
    assert collector.closed

    monkeypatch.setenv("L7TOP_DEBUG", "1")
    assert "Traceback" in l7top("requests", collector=collector)[2]


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["requests", "--help"], ["stat", "-h"], ["doctor", "--help"], ["--version"]]
)
def test_help_and_version_go_to_stdout(l7top: Run, words: list[str]) -> None:
    code, out, err = l7top(*words)
    assert (code, err) == (ExitCode.OK, "")
    assert "l7top" in out
    assert all(len(line) <= 100 for line in out.splitlines())


def test_help_names_every_command_and_the_filter_its_fields(l7top: Run) -> None:
    out = l7top("--help")[1]
    assert all(command in out for command in cli.COMMANDS)
    out = l7top("requests", "--help")[1]
    assert "\n  operation " in out


def test_an_error_in_a_record_needs_no_literals(l7top: Run) -> None:
    _, out, _ = l7top("requests", "--for", "20ms", collector=FakeCollector([[duplicate_key()]]))
    assert "_id: 7" not in out


def test_doctor_prints_facts_and_ends_with_their_code(l7top: Run) -> None:
    code, out, err = l7top("doctor")
    assert err == ""
    assert out.endswith("a live capture can run\n" if code == 0 else "a live capture cannot run\n")
    assert json.loads(l7top("doctor", "--json")[1])["able"] is (code == 0)
