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
    CARRIER = 8  # may hold another command, and that one credentials


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
SECRET_COMMANDS = frozenset(name.encode() for name, role in _ROLES.items() if role is Role.SECRET)
# The commands of every day, in which no other one can stand. Any that is not listed here may hold one.
_FLAT_TEXT = """
    aborttransaction buildinfo collstats committransaction connectionstatus count create createindexes dbstats delete
    distinct drop dropdatabase dropindexes endsessions findandmodify getcmdlineopts hostinfo insert killcursors
    killsessions listcollections listdatabases listindexes ping refreshsessions replsetgetstatus replsetheartbeat
    replsetupdateposition serverstatus startsession top update validate whatsmyuri
"""
_ROLES |= dict.fromkeys(_FLAT_TEXT.split(), Role.PLAIN)
# The server's own collections that hold credentials, or the writes of them.
SECRET_COLLECTIONS = frozenset({"system.users", "system.new_users", "system.backup_users", "oplog.rs", "oplog.$main"})
# Commands whose first value is the name of a collection. Of others it may be anything, a script or a role's name ...
_COLLECTIONS_TEXT = """
    aggregate analyze cleanupstructuredencryptiondata clonecollectionascapped collmod collstats compact
    compactstructuredencryptiondata converttocapped count create createindexes createsearchindexes delete
    deleteindexes distinct drop dropindexes dropsearchindex find findandmodify geonear geosearch getmore insert
    killcursors listindexes listsearchindexes mapreduce parallelcollectionscan plancacheclear plancacheclearfilters
    plancachelistfilters plancachelistplans plancachelistqueryshapes plancachesetfilter reindex setindexcommitquorum
    touch update updatesearchindex validate
"""
# ... or a whole namespace, whatever database they are sent to.
_FULL_NAMESPACES_TEXT = """
    analyzeshardkey configurecollectionbalancing configurequeryanalyzer cleanuporphaned clearjumboflag
    commitreshardcollection abortreshardcollection datasize getshardversion mergechunks movechunk movecollection
    moverange refinecollectionshardkey renamecollection reshardcollection shardcollection split unshardcollection
    untrackunshardedcollection updatezonekeyrange
"""
_COLLECTIONS = frozenset(_COLLECTIONS_TEXT.split())
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
    collection = ""
    if value is not None and lower in _COLLECTIONS:
        collection = value
    elif value is not None and lower in _FULL_NAMESPACES:
        database, _, collection = value.partition(".")
    return on_namespace(name, database, collection, _ROLES.get(lower, Role.CARRIER))


def on_namespace(name: str, database: str, collection: str, role: Role = Role.PLAIN) -> Command:
    """An operation on a collection. What touches the server's own collections of users is secret."""
    target = (f"{database}.{collection}" if collection else database) if database else ""
    if collection in SECRET_COLLECTIONS:
        role = Role.SECRET
    return Command(name, database, collection, target, (target,) if target else (), role)
