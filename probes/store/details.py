"""What a row has no room for: the messages' heads and the facts that only their protocol understands.

Most of it repeats itself from session to session, so it comes in two parts. What many sessions share (texts, the
protocol's own records) is written once and pointed at; what is a session's own (numbers, heads) is written with it.
A message's fields are told apart by their types.
"""

from __future__ import annotations

import io
import marshal
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from enum import Enum
from operator import attrgetter
from struct import Struct
from typing import Any, NamedTuple, get_type_hints

from probes.records import Failure, Fault, Reply, Request, Session, Times
from probes.store.rings import ByteRingReader

Getter = Callable[[Any], tuple[Any, ...]]

_PLAIN = (int, float, bool, bytes, type(None))
_ASKED = (
    "operation",
    "version",
    "target",
    "targets",
    "expects_reply",
    "long_poll",
    "truncated",
    "in_order",
    "attributes",
)
_ANSWERED = ("continues", "truncated", "attributes")
_KEPT_APART = {"id", "data", "failure"}
MARSHAL_VERSION = 2  # without back-references, which cost more than they save


@dataclass(frozen=True, slots=True)
class Codec:
    """How messages of class `of` are taken apart and made again. What of it cannot be looked up (lists, dicts) is only
    for the collector itself, and made again as the class sets it.

    `take` gives the attributes `names`, of which the first `shared` are shared and the others numbers of their own.
    `bulk` gives those that hold bytes, which are too many to be compared; it is None where there are none. Where they
    are `unset`, as the class itself sets them, they need not be kept.
    """

    of: type[Any]
    take: Getter
    names: tuple[str, ...]
    shared: int
    bulk: Getter | None
    bulk_names: tuple[str, ...]
    unset: tuple[Any, ...]

    def bulk_of(self, message: Request | Reply | None) -> tuple[Any, ...]:
        """Of a message those of its attributes that hold bytes; () where they need not be kept."""
        bulk = () if self.bulk is None or message is None else self.bulk(message)
        return () if bulk == self.unset else bulk

    def restored(self, id: int | None, data: bytes, values: tuple[Any, ...], bulk: tuple[Any, ...]) -> Any:
        """The message again; a reply is still without its failure."""
        attributes = dict(zip(self.names, values, strict=True))
        if bulk:
            attributes |= zip(self.bulk_names, bulk, strict=True)
        return self.of(id=id, data=data, **attributes)


def codec(message: type[Request] | type[Reply]) -> Codec:
    """The codec of a class of requests or replies; that of its base where a reader could not make it again."""
    known: Codec | None = _codecs.get(message)
    if known is None:
        known = _codecs[message] = _codec(message)
    return known


_codecs: dict[type, Codec] = {}


def _codec(message: type[Request] | type[Reply]) -> Codec:
    base = Request if issubclass(message, Request) else Reply
    first = _ASKED if base is Request else _ANSWERED
    kept = {each.name: each.default for each in fields(message) if each.init and each.name not in _KEPT_APART}
    hints: dict[str, Any] = {}
    if message is not base:
        try:
            loads(dumps(message))
            hints = get_type_hints(message)
            unhashable = {name for name in kept if not _is_hashable(hints[name])}
        except Exception:  # whatever the class of a plugin does
            return codec(base)
        if any(kept[name] is MISSING for name in unhashable):
            return codec(base)
        kept = {name: default for name, default in kept.items() if name not in unhashable}
    shared = list(first)
    own: list[str] = []
    bulk: list[str] = []
    for name in (name for name in kept if name not in first):
        plain = _plain_parts(hints[name])
        (shared if plain is None else bulk if bytes in plain else own).append(name)
    names = (*shared, *own)
    unset = tuple(kept[name] for name in bulk)
    return Codec(message, _getter(names), names, len(shared), _getter(bulk) if bulk else None, tuple(bulk), unset)


def _is_hashable(hint: Any) -> bool:
    """Whether values of this type can be looked up, and so be shared."""
    inner = (each for each in getattr(hint, "__args__", ()) if each is not Ellipsis)
    kind = getattr(hint, "__origin__", hint)
    return getattr(kind, "__hash__", None) is not None and all(map(_is_hashable, inner))


def _plain_parts(hint: Any) -> set[type] | None:
    """The types that values of this type consist of, if those are numbers and bytes, in tuples at most; else None."""
    inner = getattr(hint, "__args__", None)
    if inner is None:
        return {hint} if hint in _PLAIN else None
    parts = [_plain_parts(each) for each in inner if each is not Ellipsis]
    return None if None in parts else {part for some in parts if some is not None for part in some}


def _getter(names: Sequence[str]) -> Getter:
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda message: (get(message),)


class Shared(NamedTuple):
    """What many sessions have in common: the shared attributes of their messages, by class; None for no message."""

    request: type[Request] | None
    asked: tuple[Any, ...]
    reply: type[Reply] | None
    answered: tuple[Any, ...]
    failed: tuple[int, str, str] | None  # code, name, fault
    namespace: int

    def dumps(self) -> bytes:
        return dumps(tuple(self))

    @classmethod
    def loads(cls, raw: bytes) -> Shared:
        return cls(*loads(raw))


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        return (type(value), (value.value,)) if isinstance(value, Enum) else NotImplemented


def dumps(value: Any) -> bytes:
    """What `loads` reads."""
    stream = io.BytesIO()
    _Pickler(stream, protocol=5).dump(value)
    return stream.getvalue()


class _Unpickler(pickle.Unpickler):
    """Makes nothing but records of this program, whatever the bytes ask for."""

    def find_class(self, module: str, name: str) -> Any:
        found = getattr(sys.modules.get(module), name, None) if module.startswith("probes.") else None
        if isinstance(found, type) and issubclass(found, (Request, Reply, tuple, Enum)):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no record")


def loads(raw: bytes) -> Any:
    """What was pickled, if it consists of plain values and records of this program. Raises UnpicklingError."""
    return _Unpickler(io.BytesIO(raw)).load()


class Own(NamedTuple):
    """What is a session's own, but for the heads. `shared` is where to find the rest, and how many bytes of it."""

    shared: tuple[int, int]
    asked: tuple[Any, ...]
    answered: tuple[Any, ...]
    more: More | None

    @classmethod
    def load(cls, raw: bytes) -> tuple[Own, bytes]:
        """What `marshal` made of such a tuple, and the bytes after it."""
        stream = io.BytesIO(raw)
        shared, asked, answered, more = marshal.load(stream)  # noqa: S302 - the collector's, and known to be whole
        if more is CLIENT_FOLLOWS:
            client, *times = CLIENT.unpack(stream.read(CLIENT.size))
            more = "", client, tuple(times), (), ()
        return cls(shared, asked, answered, more and More(*more)), stream.read()


class More(NamedTuple):
    """What only some sessions have."""

    error_text: str
    client: int  # the id of the client's connection
    client_times: tuple[int, ...]
    request_bulk: tuple[Any, ...]
    reply_bulk: tuple[Any, ...]


NO_MORE = More("", 0, (), (), ())
CLIENT_FOLLOWS = True  # in the place of a `More` of which nothing else is set: its `client` and `client_times`, packed
CLIENT = Struct("<Q4q")
_MAX_SHARED = 1 << 14  # that are remembered


class DetailsReader:
    """Details by the place where their row says they are. What many rows share is read once."""

    def __init__(self, details: ByteRingReader, shared: ByteRingReader) -> None:
        self._details, self._shared = details, shared
        self._known: dict[tuple[int, int], Shared] = {}

    def has(self, position: int, size: int) -> bool:
        """Whether there are details, and they are still there."""
        return size > 0 and self._details.has(position, size)

    def read(self, position: int, size: int) -> tuple[Shared, Own, bytes] | None:
        """The details there, and the heads behind them; None where there are none, or not any more."""
        raw = self._details.read(position, size) if size else None
        if raw is None:
            return None
        own, heads = Own.load(raw)
        shared = self._known.get(own.shared)
        if shared is None:
            pickled = self._shared.read(*own.shared)
            if not pickled:
                return None
            if len(self._known) >= _MAX_SHARED:
                self._known.clear()
            shared = self._known[own.shared] = Shared.loads(pickled)
        return shared, own, heads


def request_of(id: int, data: bytes, shared: Shared, own: Own) -> Request | None:
    """The request, from its row's id and head and its details."""
    if shared.request is None:
        return None
    bulk = (own.more or NO_MORE).request_bulk
    request: Request = codec(shared.request).restored(id, data, shared.asked + own.asked, bulk)
    return request


def reply_of(id: int | None, data: bytes, shared: Shared, own: Own) -> Reply | None:
    """The reply, likewise."""
    if shared.reply is None:
        return None
    more = own.more or NO_MORE
    reply: Reply = codec(shared.reply).restored(id, data, shared.answered + own.answered, more.reply_bulk)
    if shared.failed is not None:
        code, name, fault = shared.failed
        reply.failure = Failure(code, name, more.error_text, Fault(fault))
    return reply


def restore(session: Session, shared: Shared, own: Own) -> Session:
    """`session`, which was made from a row alone but for its heads, with all that is known of it."""
    request, reply = session.request, session.reply
    more = own.more or NO_MORE
    if request is not None:
        request = request_of(request.id, request.data, shared, own) or request
    if reply is not None:
        reply = reply_of(reply.id, reply.data, shared, own) or reply
    client = session.client
    if client is not None:
        client = replace(client, id=more.client, namespace=shared.namespace)
    return replace(
        session,
        request=request,
        reply=reply,
        connection=replace(session.connection, namespace=shared.namespace),
        client=client,
        client_times=Times(*more.client_times) if more.client_times else None,
    )
