"""What a filter lets pass, and what it says where it cannot be understood."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.filters import FIELDS, FilterError, Term, parse, session_filter, tokenize
from probes.records import Address, Connection, Process, Side
from tests.unit.sample_sessions import duplicate_key, fetch, find, hanging, samples, undecodable


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("status:error", [Term("status", ":", "error")]),
        ("a:b and c:d", [Term("a", ":", "b"), Term("c", ":", "d")]),
        ("a:b c!=d", [Term("a", ":", "b"), Term("c", "!=", "d")]),
        ("a:b AND c>=d", [Term("a", ":", "b"), Term("c", ">=", "d")]),
        ("duration > 50ms", [Term("duration", ">", "50ms")]),
        ("client:10.0.0.5:51544", [Term("client", ":", "10.0.0.5:51544")]),
        ("client:[::1]:51544", [Term("client", ":", "[::1]:51544")]),
        ('process:"two words" a:and', [Term("process", ":", "two words"), Term("a", ":", "and")]),
        ('a:""', [Term("a", ":", "")]),
        ("and:x", [Term("and", ":", "x")]),
    ],
)
def test_terms(text: str, terms: list[Term]) -> None:
    assert parse(tokenize(text)) == terms


@pytest.mark.parametrize(
    "text",
    [
        "protocol:mongodb",
        "PROTOCOL=MongoDB",
        "operation:insert",
        "operation:ins*",
        "operation:*ser*",
        "operation:*",
        "target:shop.orders",
        "target:shop.*",
        "target:*.orders",
        "target:s*p.o*s",
        "status:error",
        "status!=ok",
        "error:DuplicateKey",
        "error:duplicatekey",
        "error:11000",
        "error:*",
        "client:10.0.0.5",
        "client:10.0.0.5:51544",
        "client:10.0.*",
        "server:10.0.0.9:27017",
        "pid:712",
        "pid:4711",
        "pid!=1",
        "process:billing",
        "process:mongod",
        "duration>1.5ms",
        "duration:2ms",
        "duration<=2000us",
        "duration<=2000µs",
        "duration>=0.002s",
        "request_bytes:212",
        "request_bytes<1k",
        "response_bytes>0.25KiB",
        "seen_from:both",
        "long_poll:false",
        "truncated:false",
        "version!=9",
        "protocol:mongodb and operation:insert status:error duration>1ms",
    ],
)
def test_terms_that_an_insert_with_a_duplicate_key_fits(text: str) -> None:
    assert session_filter(text)(duplicate_key())


@pytest.mark.parametrize(
    "text",
    [
        "protocol:kafka",
        "operation:inser",
        "operation:nsert",
        "target:shop",
        "target:orders",
        "target:shop.orders*s",
        "status:ok",
        "error!=11000",
        "error:1100",
        "client:10.0.0.9",
        "client:10.0.0.5:5154",
        "pid:71",
        "pid!=712",
        "version:9",
        "version<9",
        "duration>2ms",
        "wait>1ns",
        "seen_from:server",
        "status:error and operation:find",
    ],
)
def test_terms_that_it_does_not_fit(text: str) -> None:
    assert not session_filter(text)(duplicate_key())


def test_any_target_of_a_request_fits() -> None:
    assert session_filter("target:orders target:lines version:13 wait>=500ms long_poll:true")(fetch())
    assert not session_filter("duration>1ns")(fetch())


def test_a_request_without_targets_is_known_by_its_target() -> None:
    session = find()
    assert session.request is not None
    session.request.targets = ()
    assert session_filter("target:shop.orders")(session)


def test_what_a_session_lacks_fits_nothing() -> None:
    for text in ("operation:*", "version>=0", "target:*", "error:*", "duration>=0ms", "response_bytes>=0"):
        assert not session_filter(text)(undecodable())
    assert not session_filter("duration>=0ms")(hanging())
    assert session_filter("error!=*")(hanging())


def test_an_ipv6_address_with_and_without_its_port() -> None:
    session = find()
    session.connection = Connection(3, Process(1, "x"), near=Address("::1", 27017), far=Address("::1", 51544))
    for text in ("client:::1", "client:[::1]:51544", "server:[::1]:27017"):
        assert session_filter(text)(session)
    session.seen_from = Side.CLIENT
    assert session_filter("server:[::1]:51544")(session)


def test_an_unknown_address_fits_nothing() -> None:
    session = find()
    session.connection = Connection(3, None)
    assert not session_filter("client:*")(session)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("operatoin:find", "there is no field 'operatoin' to filter by: perhaps operation; the fields are protocol, "),
        ("find", "'find' is no term: write field:value"),
        ("status:ok or status:error", "'or' is no term"),
        ("not status:ok", "'not' is no term"),
        ("status:", "status: lacks a value"),
        ("status:ok and", "a term has to follow 'and'"),
        ("and status:ok", "'and' is no term"),
        ("status:eror", "status is never 'eror': it is one of ok, error, oneway"),
        ("status>ok", "status is text and has no order: write status:ok"),
        ("duration>50", "duration takes no value '50': its units are ns, us, "),
        ("duration>fast", "duration is a number, which 'fast' is not"),
        ("duration>5parsec", "duration takes no value '5parsec'"),
        ("pid:12k", "pid takes no value '12k': its units are none"),
        (":ok", "the filter cannot be read at ':ok'"),
        ("(status:ok)", "the filter cannot be read at '(status:ok)'"),
        ('process:"open', "the filter cannot be read at '\"open'"),
    ],
)
def test_a_filter_that_cannot_be_understood_is_refused_in_one_sentence(text: str, complaint: str) -> None:
    with pytest.raises(FilterError) as caught:
        session_filter(text)
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        selected = session_filter(text)
    except FilterError:
        return
    for session in samples():
        selected(session)


FIELD = st.sampled_from(sorted(FIELDS))
SIGN = st.sampled_from([":", "=", "!=", ">", ">=", "<", "<="])


@given(
    FIELD,
    SIGN,
    st.text(st.characters(exclude_characters='"'), min_size=1) | st.from_regex(r"\d+(ms|k|)", fullmatch=True),
)
def test_any_value_is_compared_or_refused(field: str, sign: str, value: str) -> None:
    try:
        selected = session_filter(f'{field}{sign}"{value}"')
    except FilterError:
        return
    for session in samples():
        assert isinstance(selected(session), bool)


def test_many_wildcards_take_no_time() -> None:
    session = find(operation="a" * 100_000)
    assert not session_filter("operation:" + "*a" * 200 + "*b")(session)
