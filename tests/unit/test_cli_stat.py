"""`l7top stat`: groups as a table and as JSON."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from probes import cli, headless
from probes.exit_codes import ExitCode
from probes.outputs.escape import UNSAFE, cells
from probes.outputs.table import short, table
from probes.records import Session
from probes.store.red import FIELDS
from tests.unit.fake_collector import FakeCollector
from tests.unit.sample_sessions import MS, duplicate_key, fetch, find, hanging

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `l7top stat` over batches of sessions: exit code, stdout, stderr."""

    def run(*words: str, batches: list[list[Session]], **rest: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(headless, "open_collector", FakeCollector(batches, **rest).open)
        code = cli.main(("stat", "--for", "50ms", *words))
        out, err = capsys.readouterr()
        return code, out, err

    return run


TRAFFIC = [[find() for _ in range(10)], [duplicate_key(), duplicate_key(), find(operation="insert"), fetch()]]


def groups(out: str) -> dict[str, dict[str, Any]]:
    return {group["operation"]: group for group in json.loads(out)["groups"]}


def test_groups_by_operation_are_the_default(stat: Run) -> None:
    code, out, _ = stat("--json", batches=TRAFFIC, waiting=[hanging()], ledger={"seen": 29, "sessions": 28})
    assert code == ExitCode.OK
    told = json.loads(out)
    assert 0.05 <= told["window_s"] < 5
    assert told["capture"] == {"seen": 29, "sessions": 28, "in_other": 0}
    found = groups(out)
    assert {name: group["requests"] for name, group in found.items()} == {
        "find": 10,
        "insert": 3,
        "Fetch": 1,
        "aggregate": 1,
    }
    insert = found["insert"]
    assert (insert["protocol"], insert["target"], insert["responses"], insert["errors"]) == (
        "mongodb",
        "shop.orders",
        3,
        2,
    )
    assert insert["error_ratio"] == pytest.approx(2 / 3)
    assert insert["rate"] == pytest.approx(3 / told["window_s"], rel=0.05)
    assert insert["p50_ns"] == pytest.approx(2 * MS, rel=0.05)
    assert found["aggregate"]["inflight"] == 1
    assert found["Fetch"]["version"] == 13
    assert found["Fetch"]["long_polls"] == 1
    assert "p99_ns" not in found["Fetch"]


def test_the_filter_and_the_fields_decide_what_is_counted_and_how(stat: Run) -> None:
    _, out, _ = stat("--json", "--by", "seen_from,error_name", "operation:insert", batches=TRAFFIC)
    told = [(g.get("seen_from"), g.get("error_name"), g["requests"]) for g in json.loads(out)["groups"]]
    assert sorted(told, key=str) == [("both", "DuplicateKey", 2), ("server", None, 1)]


def test_every_field_of_the_cells_can_be_grouped_by(stat: Run) -> None:
    for field in FIELDS:
        assert stat("--by", field, "--json", batches=TRAFFIC)[0] == ExitCode.OK
        assert stat("--by", field, batches=TRAFFIC)[0] == ExitCode.OK


def test_what_cannot_be_grouped_by_is_refused(stat: Run) -> None:
    code, out, err = stat("--by", "operation,shoe", batches=[])
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.startswith("l7top: argument --by: 'shoe' is nothing to group by: there are protocol, operation, ")


def test_a_table_for_people(stat: Run) -> None:
    code, out, err = stat(batches=TRAFFIC, waiting=[hanging()])
    assert code == ExitCode.OK
    first, head, *rows = out.splitlines()
    assert first.startswith("15 requests in 0.")
    assert head.split()[:5] == ["protocol", "operation", "version", "target", "req/s"]
    assert rows[0].split()[:4] == ["mongodb", "find", "–", "shop.orders"]
    assert rows[1].split()[5] == "66.7"
    assert err == "l7top: capturing mongodb and kafka requests of this host\n"


def test_without_traffic_there_is_an_empty_table(stat: Run) -> None:
    code, out, _ = stat(batches=[])
    assert code == ExitCode.OK
    assert out.startswith("0 requests in 0.")
    assert json.loads(stat("--json", batches=[])[1])["groups"] == []


def test_bare_l7top_is_stat(stat: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(headless, "open_collector", FakeCollector(TRAFFIC).open)
    assert cli.main(["--for", "30ms"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("14 requests in 0.")


def test_losses_and_the_ledger_are_told(stat: Run) -> None:
    _, out, err = stat("--json", "--ledger", batches=[], ledger={"seen": 3, "unparsed": 3})
    assert json.loads(out)["capture"]["unparsed"] == 3
    assert err.splitlines()[1:] == ["l7top: lost on this host: unparsed 3", '{"seen": 3, "unparsed": 3}']


HOSTILE = ["[/x]\x1b]52;c;cm0=\x07", "\u202eevil", "漢" * 60, "e" + "\u0301" * 50, "nul\x00", "x" * 100_000, "\ud800"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_in_their_column(stat: Run, name: str) -> None:
    _, out, _ = stat(batches=[[find(operation=name, target=name)]])
    assert not UNSAFE.search(out.replace("\n", ""))
    assert len(out.splitlines()) == 3
    assert "\x1b" not in stat("--json", batches=[[find(operation=name, target=name)]])[1]


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("name", [*HOSTILE, "shop.orders"])
def test_a_table_fits_its_width(name: str, width: int) -> None:
    rows = [
        {"protocol": "mongodb", "operation": name, "version": 13, "target": name, "rate": 4_123.4, "error_ratio": 1.0}
        | {"p50_ns": 912_345, "p90_ns": 12_345_678, "p99_ns": 48_000_000, "max_ns": 3_600_000_000_000, "inflight": 12}
    ]
    text = table(rows, ("protocol", "operation", "version", "target"), width)
    assert all(cells(line) <= width for line in text.splitlines())
    assert len({cells(line) for line in text.splitlines()}) == 1


def test_a_process_is_its_name_and_pid() -> None:
    row = {"server_process": {"pid": os.getpid(), "name": "mongod"}, "rate": 1.0, "inflight": 0}
    assert f"mongod {os.getpid()} " in table([row], ("server_process",))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0.00"),
        (0.004, "0.00"),
        (0.123, "0.12"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.96, "100"),
        (999.4, "999"),
        (999.6, "1.00k"),
        (4123, "4.12k"),
        (48_000, "48.0k"),
        (3.6e6, "3.60M"),
        (7.2e9, "7.20G"),
        (5e12, "5T"),
    ],
)
def test_numbers_have_three_digits(number: float, text: str) -> None:
    assert short(number) == text


def test_without_a_terminal_the_dashboards_options_and_a_filter_alone_are_stats(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(headless, "open_collector", FakeCollector(TRAFFIC).open)
    assert cli.main(("operation:find", "--for", "50ms", "--memory", "64M", "--literals", "--json")) == ExitCode.OK
    assert set(groups(capsys.readouterr().out)) == {"find"}
