"""What a command's name and its first value say: what it acts on, and what its messages need from the parser.

Nothing here decides what is a command: a name that is not listed is one like any other. The names that are listed are
those whose messages mean something more; the server takes many of them in any case, so they are compared in lower case.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Role(IntEnum):
    """What is to be done with a command's messages beyond the usual."""

    PLAIN = 0
    FIND = 1  # may open a cursor that waits for data
    AGGREGATE = 2  # likewise
    GET_MORE = 3  # names its collection in a field of its own, and may wait
    HELLO = 4  # the client introduces itself, may authenticate, and may wait
    ERRORS_ELSEWHERE = 5  # its reply tells of failed writes in another way
    SECRET = 6  # holds credentials, in its request or its reply
    UNSEEN = 7  # not enough of the request was captured to tell


_ROLES = {
    "find": Role.FIND,
    "aggregate": Role.AGGREGATE,
    "getmore": Role.GET_MORE,
    "hello": Role.HELLO,
    "ismaster": Role.HELLO,
    "getlasterror": Role.ERRORS_ELSEWHERE,
    "bulkwrite": Role.ERRORS_ELSEWHERE,
} | dict.fromkeys(
    (
        "authenticate",
        "copydb",
        "copydbgetnonce",
        "copydbsaslstart",
        "createuser",
        "getnonce",
        "saslcontinue",
        "saslstart",
        "setparameter",
        "updateuser",
        "usersinfo",
    ),
    Role.SECRET,
)
# The server's own collections that hold credentials, or the writes of them.
_SECRET_COLLECTIONS = frozenset({"system.users", "system.new_users", "system.backup_users", "oplog.rs", "oplog.$main"})
# Commands whose first value is a string that names no collection ...
_OTHER_NAMES_TEXT = """
    abortmovecollection addshard addshardtozone balancercollectionstatus clone configurefailpoint connpoolstats
    createrole createuser droprole dropuser echo enablesharding eval explain getlog getparameter
    grantprivilegestorole grantrolestorole grantrolestouser hello ismaster killop logapplicationmessage logmessage
    moveprimary removeshard removeshardfromzone replsetsyncfrom revokeprivilegesfromrole revokerolesfromrole
    revokerolesfromuser rolesinfo rotatecertificates setfeaturecompatibilityversion setparameter
    transitiontodedicatedconfigserver updaterole updateuser usersinfo validatedbmetadata
"""
# ... or a whole namespace, whatever database they are sent to.
_FULL_NAMESPACES_TEXT = """
    analyzeshardkey configurecollectionbalancing configurequeryanalyzer cleanuporphaned clearjumboflag
    commitreshardcollection abortreshardcollection getshardversion mergechunks movechunk movecollection moverange
    refinecollectionshardkey renamecollection reshardcollection shardcollection split unshardcollection
    untrackunshardedcollection updatezonekeyrange
"""
_OTHER_NAMES = frozenset(_OTHER_NAMES_TEXT.split())
_FULL_NAMESPACES = frozenset(_FULL_NAMESPACES_TEXT.split())


class Command(NamedTuple):
    """A command (or a legacy operation) and what it acts on; "" is unknown, or nothing."""

    name: str
    database: str
    collection: str
    target: str
    targets: tuple[str, ...]
    role: Role


UNKNOWN_COMMAND = Command("unknown", "", "", "", (), Role.UNSEEN)


def command_of(name: str, value: str | None, database: str) -> Command:
    """The command `name`, whose first value is the string `value` (None: another type), sent to `database`.

    Of getMore `value` is its field `collection`.
    """
    lower = name.lower()
    collection = "" if value is None or lower in _OTHER_NAMES else value
    if collection and lower in _FULL_NAMESPACES:
        database, _, collection = collection.partition(".")
    return on_namespace(name, database, collection, _ROLES.get(lower, Role.PLAIN))


def on_namespace(name: str, database: str, collection: str, role: Role = Role.PLAIN) -> Command:
    """An operation on a collection. What touches the server's own collections of users is secret."""
    target = (f"{database}.{collection}" if collection else database) if database else ""
    if collection in _SECRET_COLLECTIONS:
        role = Role.SECRET
    return Command(name, database, collection, target, (target,) if target else (), role)
