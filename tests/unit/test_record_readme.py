"""The README promises what the code keeps: fields, options, exit codes."""

import re
from pathlib import Path

import pytest

from probes import cli
from probes.exit_codes import ExitCode
from probes.filters import FIELDS as FILTER_FIELDS
from probes.outputs.record import FIELDS as RECORD_FIELDS
from probes.records import Status
from probes.sessions.causes import Cause
from probes.store.red import DEFAULT_BY as GROUPED_BY
from probes.store.red import FIELDS as GROUP_FIELDS
from probes.store.red import MAX_CELLS, Red
from tests.unit.sample_sessions import samples

README = (Path(__file__).parents[2] / "README.md").read_text()


def section(heading: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ ", README.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def table(heading: str, first: str) -> list[str]:
    """The code words in the first column of the table with that first column, below that heading."""
    rows = re.split(rf"^\| {re.escape(first)} \|", section(heading), maxsplit=1, flags=re.MULTILINE)[1].split("\n\n")[0]
    names: list[str] = []
    for row in rows.splitlines()[2:]:
        cell = row.split("|")[1]
        names += re.findall(r"`([^`]+)`", cell) or [cell.strip()]
    return names


def test_the_fields_of_the_record() -> None:
    assert [name for name in table("The record", "Field") if name not in ("mongodb", "kafka")] == list(RECORD_FIELDS)


def test_the_fields_of_a_filter() -> None:
    assert sorted(table("FILTER", "Field")) == sorted(FILTER_FIELDS)


def test_the_exit_codes() -> None:
    assert [int(code) for code in table("Exit codes", "Code")] == sorted(ExitCode)


def test_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    documented = {
        (command, row.split("`")[1].split()[0])
        for row in section("Commands").splitlines()
        if row.startswith("| `--")
        for command in row.split("|")[2].replace(",", " ").split()
    }
    offered = set()
    for command in cli.COMMANDS:
        cli.main([command, "--help"])
        usage = capsys.readouterr().out.split("\n\n")[0]
        offered |= {(command, option) for option in re.findall(r"--[a-z-]+", usage)}
    assert documented == offered


def test_the_fields_of_a_group() -> None:
    red = Red()
    for session in samples():
        red.add(session)
    told = {name for group in red.groups() for name in group.row(1.0) if name not in GROUP_FIELDS}
    assert sorted(table("Rates, errors, durations", "In a group")) == sorted(told)
    taken = section("Rates, errors, durations").split("`--by` takes: ")[1].split("At most")[0]
    assert re.findall(r"`([a-z_]+)`", taken) == list(GROUP_FIELDS)
    assert f"{MAX_CELLS:,}" in section("Rates, errors, durations")
    assert ",".join(GROUPED_BY) in section("Commands")


def test_the_causes_of_the_ledger() -> None:
    assert sorted(table("Losses", "Cause")) == sorted(["seen", *Cause])


def test_every_status_is_explained() -> None:
    (row,) = (line for line in section("The record").splitlines() if line.startswith("| `status`"))
    assert set(Status) <= set(re.findall(r"`([a-z]+)`", row))
