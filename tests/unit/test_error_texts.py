"""Error texts without the values in them: MongoDB's and Kafka's."""

from __future__ import annotations

import re
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.protocols.texts import ANY_CODE, KnownTexts

PACKAGES = {"mongodb": "probes.protocols.mongodb", "kafka": "probes.protocols.kafka"}
KNOWN = {name: KnownTexts.load(package) for name, package in PACKAGES.items()}
LINES = [
    (name, *line.split("\t"))
    for name, package in PACKAGES.items()
    for line in resources.files(package).joinpath("error_texts.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
FIND = "Executor error during find command :: caused by :: "


@pytest.mark.parametrize(
    ("code", "text", "shown"),
    [
        (
            11000,
            'E11000 duplicate key error collection: shop.orders index: email_1 dup key: { email: "q"} S3CRETa" }',
            "E11000 duplicate key error collection: shop.orders index: email_1 dup key: ?",
        ),
        (11000, "E11000 duplicate key error collection: a b.c index: x dup key: {}", "E11000 duplicate key error ?"),
        (2, "Unknown type name alias: S3CRETa", "Unknown type name alias: ?"),
        (31, "Could not find role: S3CRETa@shop", "Could not find role: ?"),
        (11, 'Could not find user "S3CRETa" for db "shop"', "Could not find user ?"),
        (8, FIND + "uncaught exception: S3CRETa", FIND + "uncaught exception: ?"),
        (139, FIND + "ReferenceError: S3CRETa is not defined :\n@:1:15\n", FIND + "ReferenceError: ?"),
        (50, FIND + "operation exceeded time limit", FIND + "operation exceeded time limit"),
        (2, FIND + "S3CRETa", FIND + "?"),
        (139, "E11000 duplicate key error collection: S3CRETa index: S3CRETb", "E11000 duplicate key error ?"),
        (
            13,
            "not authorized on shop to execute command { find: 'S3CRETa' }",
            "not authorized on shop to execute command ?",
        ),
        (59, "no such command: 'frob'", "no such command: 'frob'"),
        (40415, "BSON field 'find.foo' is an unknown field.", "BSON field 'find.foo' is an unknown field."),
        (43, "cursor id 1234567 not found", "cursor id ?"),
        (121, "Document failed validation", "Document failed validation"),
        (0, "Document failed validation", "Document failed validation"),
        (1, "whatever a later release says of S3CRETa", "?"),
        (1, "", ""),
    ],
)
def test_mongodb(code: int, text: str, shown: str) -> None:
    assert KNOWN["mongodb"].masked(code, text) == shown


@pytest.mark.parametrize(
    ("code", "text", "shown"),
    [
        (36, "Topic 'orders' already exists.", "Topic 'orders' already exists."),
        (36, "Topic 'a b' already exists.", "?"),
        (38, "Replication factor: 3 larger than available brokers: 1.", "Replication factor: ?"),
        (40, "Invalid value hunter2 for configuration x.y: no", "Invalid value ?"),
        (7, "The request timed out.", "The request timed out."),
        (
            58,
            "Authentication failed: Invalid username or password",
            "Authentication failed: Invalid username or password",
        ),
        (58, "no way in for alice", "?"),
    ],
)
def test_kafka(code: int, text: str, shown: str) -> None:
    assert KNOWN["kafka"].masked(code, text) == shown


@given(
    known=st.sampled_from(LINES),
    value=st.text(min_size=1),
    causes=st.lists(st.sampled_from([FIND, "MapReduce internal error :: caused by :: "]), max_size=3),
)
def test_what_follows_a_known_text_never_shows(known: tuple[str, str, str], value: str, causes: list[str]) -> None:
    """Whatever a value is made of, a known text among it included: of it nothing is left but one "?"."""
    protocol, code, text = known
    secret = f"S3CRETa{value}S3CRETb"
    number = 0 if code == ANY_CODE else int(code)
    beginning = "".join(causes) + text.replace("<>", "name")
    for separator in (" ", ' "', ": { a: '"):
        shown = KNOWN[protocol].masked(number, f"{beginning}{separator}{secret}")
        assert "S3CRET" not in shown
        assert shown.endswith("?")


@given(st.sampled_from(sorted(KNOWN)), st.integers(), st.text(min_size=1))
def test_of_a_text_that_is_not_known_nothing_is_left(protocol: str, code: int, text: str) -> None:
    assert KNOWN[protocol].masked(code, f"~{text}") == "?"


@pytest.mark.parametrize(("protocol", "code", "text"), LINES)
def test_each_known_text_is_shown_as_it_is(protocol: str, code: str, text: str) -> None:
    given_text = text.replace("<>", "shop.orders")
    assert KNOWN[protocol].masked(0 if code == ANY_CODE else int(code), given_text) == given_text


@pytest.mark.parametrize(("protocol", "code", "text"), LINES)
def test_a_known_text_ends_with_a_word(protocol: str, code: str, text: str) -> None:
    """So that what follows it is another word, or else hidden."""
    assert re.search(r"\S$", text)
    assert not text.startswith("<>") or code != ANY_CODE


@pytest.mark.parametrize("line", ["11000 no tab", "*\t", "*\ta name <> in the text of any error"])
def test_lines_that_are_no_known_texts(line: str) -> None:
    with pytest.raises(ValueError, match="no known text"):
        KnownTexts([line])


@pytest.mark.parametrize("text", ["caused by ::" * 5000, FIND * 500, "not authorized on " + "x" * 100_000])
def test_long_texts(text: str) -> None:
    assert KNOWN["mongodb"].masked(13, text).endswith("?")
