"""Fixtures of real servers, and what becomes of live tests where they cannot run."""

import importlib.util
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.servers import ApacheKafka, Mongod, Redis, Tansu

# No test fails because the machine is busy.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

LIVE_REQUIRED = bool(os.environ.get("L7TOP_REQUIRE_LIVE") or os.environ.get("CI"))
LIVE_FOLDER = Path(__file__).parent / "live"


def missing_for_live_tests() -> str | None:
    """What this host lacks for live tests, in one sentence; None where nothing is missing."""
    if os.geteuid() != 0:
        return "live tests need root: sudo make test"
    if importlib.util.find_spec("bcc") is None:
        return "live tests need BCC in this venv: make setup"
    if not Path("/sys/kernel/tracing/events/syscalls").is_dir():
        return "live tests need tracefs at /sys/kernel/tracing: make setup"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = missing_for_live_tests()
    if missing:
        for item in items:
            if item.get_closest_marker("live"):
                item.add_marker(pytest.mark.skip(reason=missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a live test that was skipped, wherever and why, has failed."""
    report = yield
    if item.get_closest_marker("live"):
        fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a live module that skips itself as a whole."""
    report = yield
    if collector.path.is_relative_to(LIVE_FOLDER):
        fail_if_skipped(report)
    return report


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if LIVE_REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"a live test must not be skipped here: {reason}"


@pytest.fixture(scope="session")
def mongod() -> Iterator[Mongod]:
    """A standalone mongod, shared by the session."""
    with Mongod() as server:
        yield server


@pytest.fixture(scope="session")
def mongod_replica_set() -> Iterator[Mongod]:
    """A replica set of one, shared by the session."""
    with Mongod(replica_set=True) as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """A redis-server, shared by the session."""
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def tansu() -> Iterator[Tansu]:
    """A Kafka-compatible broker, shared by the session."""
    with Tansu() as server:
        yield server


@pytest.fixture(scope="session")
def apache_kafka() -> Iterator[ApacheKafka]:
    """Apache Kafka 4.0 with its request log, shared by the session."""
    with ApacheKafka(request_log=True) as server:
        yield server
