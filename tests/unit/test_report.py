"""The report for the incident's channel: what it says, and that no captured name breaks out of its cell."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from probes.filters import Term
from probes.outputs.report import _name, markdown
from probes.records import Process
from probes.store.layout import MIN_BYTES
from probes.store.reader import Reader
from probes.store.view import Facts, View
from probes.store.writer import Writer
from tests.store.synthetic import START_NS, synthetic_view


@pytest.fixture(scope="module")
def view() -> View:
    return synthetic_view(70)


def section(report: str, title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    _, _, rest = report.partition(f"## {title}\n\n")
    table = rest.partition("\n\n")[0].splitlines()
    return [re.split(r" (?<!\\)\| ", row.strip("| ")) for row in table[2:]]


def test_what_matters_is_told(view: View) -> None:
    report = markdown(view)

    assert report.startswith("# `db1`: 70 s until 2026-11-23T08:")
    assert {row.split(" |")[0] for row in report.splitlines()[4:6]} == {"| `mongodb`", "| `kafka`"}
    slowest = section(report, "Slowest")
    assert len(slowest) == 5
    assert [float(row[4]) for row in slowest] == sorted((float(row[4]) for row in slowest), reverse=True)
    assert "`DuplicateKey`" in {row[1] for row in section(report, "Failing")}
    assert [float(row[2]) for row in section(report, "Hanging")] == pytest.approx([51.0, 13.2], abs=0.1)
    assert section(report, "Processes")[0][0] == "`mongod 712`"
    assert "Of 21000 messages lost on this host: unparsed 2" in report.splitlines()[-1]


def test_a_filter_holds_for_all_of_it(view: View) -> None:
    report = markdown(view, [Term("protocol", "=", "kafka")])

    assert "`kafka`" in report
    assert "mongodb" not in report
    assert not any("find" in row[0] for row in section(report, "Slowest"))


@pytest.fixture
def empty() -> Iterator[View]:
    writer = Writer(MIN_BYTES, START_NS)
    writer.facts(Facts(host="db1"))
    yield Reader(writer.fd)
    writer.close()


def test_where_nothing_went_by_it_says_so(empty: View) -> None:
    report = markdown(empty)

    assert "No request of a known protocol went by." in report
    assert "##" not in report


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("shop.orders", "`shop.orders`"),
        ("a`b|c", "`a'b\\|c`"),
        ("a\\|b", "`a\\|b`"),
        ("a\\\\|b", "`a\\\\\\|b`"),
        ("one\ntwo", "`one\\x0atwo`"),
        ("", "–"),
        (None, "–"),
        (Process(712, "mongod"), "`mongod 712`"),
    ],
)
def test_a_name_stays_within_its_cell(name: str | Process | None, shown: str) -> None:
    assert _name(name) == shown
