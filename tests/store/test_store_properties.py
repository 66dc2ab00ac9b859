"""Any sessions, folds and gaps: the store agrees with plain Python, and gives every session back as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.protocols.kafka.messages import KafkaReply, KafkaRequest
from probes.protocols.mongodb.messages import MongoReply, MongoRequest
from probes.records import Reply, Request, Session, Status
from probes.store.details import codec
from probes.store.reader import Reader
from probes.store.view import GROUP_FIELDS, Window
from probes.store.writer import Writer
from tests.store.model import Model
from tests.store.strategies import sessions
from tests.store.synthetic import SECOND, START_NS
from tests.store.test_agreement import FILTERS, LOG_FILTERS, conditions, facts_of, same_groups, same_totals

SIZE = 4 << 20


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, list[Session]]]:
    """Sessions, and the time of the fold after them: a second later most often, or after a gap."""
    now_ns = START_NS + draw(st.integers(0, SECOND - 1))
    history = []
    for _ in range(draw(st.integers(1, 6))):
        now_ns += draw(
            st.sampled_from((SECOND, SECOND, SECOND // 3, 3 * SECOND, 12 * SECOND, 70 * SECOND, 1000 * SECOND))
        )
        history.append((now_ns, draw(st.lists(sessions(now_ns), max_size=8))))
    return history


bys = st.lists(st.sampled_from(GROUP_FIELDS), max_size=4, unique=True)


@given(histories(), st.lists(bys, min_size=1, max_size=3), st.sampled_from(FILTERS))
@settings(deadline=None)
def test_sums_agree(history: list[tuple[int, list[Session]]], some: list[list[str]], text: str) -> None:
    writer, model = Writer(SIZE, START_NS), Model(START_NS)
    reader = Reader(writer.fd)
    where = conditions(text)
    for now_ns, ended in history:
        for session in ended:
            writer.session(session)
            model.add(session)
        writer.fold(now_ns)
        model.fold(now_ns)
        for window in Window:
            for by in some:
                same_groups(reader.groups(by, window, where), model.groups(by, window, where))
            for one, other in zip(reader.series((), window), model.series((), window), strict=True):
                assert [point and point.start_ns for point in one.points] == [p and p.start_ns for p in other.points]
                for point, exact in zip(one.points, other.points, strict=True):
                    if point is not None and exact is not None:
                        same_totals(point.totals, exact.totals)
        same_groups(reader.baseline(some[0], where), model.baseline(some[0], where))
    writer.close()


@given(st.lists(sessions(START_NS), max_size=12), st.sampled_from(FILTERS + LOG_FILTERS))
@settings(deadline=None)
def test_sessions_come_back(ended: list[Session], text: str) -> None:
    writer, model = Writer(SIZE, START_NS), Model(START_NS)
    reader = Reader(writer.fd)
    for session in ended:
        writer.session(session)
        model.add(session)
    # On one connection no two requests wait with the same id.
    unique = {(s.connection.id, s.request.id): s for s in ended if s.request is not None}
    waiting = [_waiting(session) for session in unique.values()]
    writer.inflight(waiting, START_NS)
    model.set_inflight(waiting, START_NS)
    writer.flush(START_NS)
    assert reader.rows(0, 100) == model.rows(0, 100)
    assert reader.inflight() == model.inflight()
    assert reader.matching(conditions(text)).numbers.tolist() == model.matching(conditions(text)).numbers.tolist()
    for row in (*reader.rows(0, 100), *reader.inflight().rows):
        assert facts_of(reader.session(row)) == facts_of(model.session(row))
    writer.close()


def _waiting(session: Session) -> Session:
    times = session.times._replace(reply_first=0, reply_last=0)
    return replace(session, status=Status.INFLIGHT, reply=None, times=times, reply_bytes=0, client_times=None)


@pytest.mark.parametrize("message", [MongoRequest, MongoReply, KafkaRequest, KafkaReply])
def test_the_built_in_protocols_messages_are_kept_as_what_they_are(message: type[Request] | type[Reply]) -> None:
    assert codec(message).of is message
