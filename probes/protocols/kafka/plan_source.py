"""What messages are asked for at capture time, and the Python source that reads it from one of them.

In: a layout of the table. Out: the source of one function, `read(b, p, w)`, for `plan.py` to compile. It is straight
code without a call per field: fields that do not matter are stepped over, runs of fixed size in one addition, and
reading stops after the last field that matters, so that a record batch cut off at the end of a message costs nothing.
In it positions only move forward and reading past the end raises, so any loop over a hostile count ends with the bytes.
"""

from __future__ import annotations

from typing import NamedTuple

from probes.protocols.kafka.table import Direction, Field, Layout

FETCH, SHARE_FETCH = 1, 78

# Replies that tell a topic's name beside its id: Metadata, CreateTopics, DescribeTopicPartitions,
# DescribeShareGroupOffsets, AlterShareGroupOffsets.
TEACHES_TOPICS = frozenset({3, 19, 75, 90, 91})
# Those, and Fetch, whose topics decide about covering its records.
_REPLIES_WITH_TOPICS = {FETCH, *TEACHES_TOPICS}
# Topics that a request names without asking anything of them.
_NOT_TARGETS = {"forgotten_topics_data"}
# Not captured, but part of the record: a head cut before them has lost something.
_SHOWN = {
    *("partition", "partition_index", "index", "partitions", "partition_indexes", "records"),
    *("fetch_offset", "base_offset", "high_watermark", "offset", "committed_offset"),
}
_SESSION = {"session_id": "session_id", "session_epoch": "session_epoch", "share_session_epoch": "session_epoch"}
_TOPIC_RESOURCE = 2  # the type "topic" of ACL and config resources


class RequestFacts(NamedTuple):
    """`names` and `ids` of topics in wire order, in step where a message has both; a null name is None.

    `parts`, where they are asked for, in step with the topics: the offset of each partition, -1 where it has none.
    """

    cut: bool
    names: list[str | None]
    ids: list[bytes]
    groups: list[str]
    others: list[str]  # transactional ids, coordinator keys
    member: str | None
    acks: int | None
    max_wait_ms: int | None
    min_bytes: int | None
    partitions: int
    parts: list[dict[int, int]]
    fetch: tuple[int | None, int | None, int] | None  # session id and epoch (KIP-227), how many topics it forgets


class ReplyFacts(NamedTuple):
    """`parts`, where they are asked for: the end of each partition that is told without an error, -1 where of none."""

    cut: bool
    code: int  # the first error code that is not 0, one of the message before one of a part
    throttle_ms: int | None
    names: list[str | None]
    ids: list[bytes]
    session_id: int | None
    parts: list[dict[int, int]]


# What `parts` are made of, by the variables that take it: a message has one spelling of each at most.
_POSITIONS = {
    "index": {"partition", "partition_index", "index"},
    "offset": {"fetch_offset", "committed_offset", "high_watermark"},
    "failed": {"error_code"},
}


def source_of(layout: Layout, header_tags: bool, api_key: int, direction: Direction, *, positions: bool = False) -> str:
    """The function's source; with `positions` of one that gives `parts` too."""
    writer = _PositionsWriter(api_key, direction) if positions else _Writer(api_key, direction)
    writer.message(layout, header_tags)
    return "\n".join(writer.lines) + "\n"


class _Role(NamedTuple):
    """What a field means to us: the variable that takes it, and how."""

    variable: str
    how: str  # "append", "first" or "resource" (texts, ids), "nonzero" or "set" (numbers)


def _role(field: Field, path: tuple[str, ...], api_key: int, direction: Direction) -> _Role | None:
    """`path`: the names of the structs around the field, outermost first."""
    topic = _topic_role(field, path)
    if not path and api_key in (FETCH, SHARE_FETCH) and field.name in _SESSION:
        return _Role(_SESSION[field.name], "set")
    if direction == "response":
        if field.type == "int16" and field.name.endswith("error_code"):
            return _Role("code" if not path else "part_code", "nonzero")
        if field.name == "throttle_time_ms":
            return _Role("throttle_ms", "set")
        return topic if api_key in _REPLIES_WITH_TOPICS else None
    if topic is not None:
        return topic
    if field.type == "string":
        if field.entity == "groupId" or field.name == "group_id":
            return _Role("groups", "append")
        if field.entity == "transactionalId" or field.name in ("key", "coordinator_keys"):
            return _Role("others", "append")
        if field.name == "resource_name":
            return _Role("names", "resource")
        if field.name == "member_id":
            return _Role("member", "first")
    if not path and field.name in ("acks", "max_wait_ms", "min_bytes"):
        return _Role(field.name, "set")
    if field.name == "resource_type":
        return _Role("resource", "set")
    return None


def _topic_role(field: Field, path: tuple[str, ...]) -> _Role | None:
    if _NOT_TARGETS.intersection(path):
        return None
    if field.type == "string" and field.entity == "topicName":
        return _Role("names", "append")
    if field.type == "uuid" and field.name in ("topic_id", "topic_ids"):
        return _Role("ids", "append")
    return None


_DEFAULTS = {
    "names": "[]",
    "ids": "[]",
    "groups": "[]",
    "others": "[]",
    "member": "None",
    "acks": "None",
    "max_wait_ms": "None",
    "min_bytes": "None",
    "throttle_ms": "None",
    "partitions": "0",
    "fetch": "None",
    "session_id": "None",
    "session_epoch": "None",
    "forgotten": "0",
    "parts": "[]",
    "code": "0",
    "part_code": "0",
    "resource": "0",
}


class _Writer:
    """Writes one function. In it: `b` the bytes, `size` how many, `p` the position, `w` the windows, `o` the start of
    `b` in the message, `n` the last length, `i1`, `i2`, … what is left of each loop around, this round included."""

    def __init__(self, api_key: int, direction: Direction) -> None:
        self.api_key = api_key
        self.direction = direction
        self.lines: list[str] = []
        self.indent = 0
        self.ahead = 0  # bytes to add to p: whole runs of fixed size cost one addition
        self.shown = 0  # bytes of them that have to be there, and of which nothing else would tell
        self.depth = 0
        self.used: set[str] = set()  # variables that something is put into

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    def settle(self) -> None:
        """Bring `p` up to date."""
        if self.shown:
            self.emit(f"b[{self.here(self.shown - self.ahead - 1)}]")
            self.shown = 0
        if self.ahead:
            self.emit(f"p += {self.ahead}")
            self.ahead = 0

    def leap(self, reading: str, size: int) -> None:
        """Read the next `size` bytes by `reading` of their place; `p` is then behind them, and all before is there."""
        self.emit(f"{reading.format(self.here())}; p += {self.ahead + size}")
        self.ahead = self.shown = 0

    def here(self, offset: int = 0) -> str:
        ahead = self.ahead + offset
        return f"p + {ahead}" if ahead else "p"

    def message(self, layout: Layout, header_tags: bool) -> None:
        self.emit("def read(b, p, w):")
        self.indent = 1
        at = len(self.lines)
        self.emit("try:")
        self.indent = 2
        self.emit("o, size = 0, len(b)")
        if header_tags:
            self.tags()
        self.struct(layout, (), ends="True")
        self.settle()
        self.indent = 1
        self.emit("    cut = False")
        self.emit("except (IndexError, error):")
        self.emit("    cut = True")
        variables = [name for name in _DEFAULTS if name in self.used]
        self.lines[at:at] = [f"    {name} = {_DEFAULTS[name]}" for name in variables]
        self.emit(f"return cut, {', '.join(self.answer(variables))}")

    def answer(self, variables: list[str]) -> list[str]:
        """What the function gives, but for `cut`."""
        facts = RequestFacts if self.direction == "request" else ReplyFacts
        answer = {
            name: name if name in variables else _DEFAULTS[name].replace("[]", "()") for name in facts._fields[1:]
        }
        if self.direction == "request" and self.api_key in (FETCH, SHARE_FETCH):
            names = ("session_id", "session_epoch", "forgotten")
            answer["fetch"] = f"({', '.join(name if name in variables else _DEFAULTS[name] for name in names)})"
        if "part_code" in variables:
            answer["code"] = "code or part_code" if "code" in variables else "part_code"
        return list(answer.values())

    def role(self, field: Field, path: tuple[str, ...]) -> _Role | None:
        return _role(field, path, self.api_key, self.direction)

    def matters(self, field: Field, path: tuple[str, ...]) -> bool:
        """Whether a head that ends before this field has lost something."""
        if field.name in _NOT_TARGETS:
            return self.direction == "request"  # how many they are
        if self.role(field, path) is not None or field.name in _SHOWN:
            return True
        if field.struct is None:
            return False
        return any(self.matters(each, (*path, field.name)) for each in field.struct.fields)

    def struct(self, layout: Layout, path: tuple[str, ...], ends: str) -> None:
        """`ends`: the condition under which nothing that matters follows this struct ("" for never)."""
        mattering = [index for index, field in enumerate(layout.fields) if self.matters(field, path)]
        last = mattering[-1] if mattering and ends else -1
        if ends == "True" and not mattering:
            return
        for index, field in enumerate(layout.fields):
            self.field(field, layout.flexible, path, ends if index == last else "")
            if index == last:
                if ends == "True":
                    return
                if field.type not in ("bytes", "records"):  # those leave before their bytes
                    self.settle()
                    self.emit(f"if {ends}: break")
        if layout.flexible:
            self.tags()

    def field(self, field: Field, flexible: bool, path: tuple[str, ...], ends: str) -> None:
        role = self.role(field, path)
        if field.array:
            self.array(field, flexible, path, ends, role)
        elif field.struct is not None:
            self.nested(field, field.struct, path)
        elif field.fixed_size is not None:
            self.fixed(field, field.fixed_size, role)
        elif field.type == "string":
            self.string(flexible, role)
        else:
            self.blob(field, flexible, ends)

    def nested(self, field: Field, struct: Layout, path: tuple[str, ...]) -> None:
        if not field.nullable:
            self.struct(struct, (*path, field.name), ends="")
            return
        self.leap("n = b[{}]", 1)
        self.emit("if n < 128:")  # a negative byte is null
        self.indent += 1
        self.struct(struct, (*path, field.name), ends="")
        self.settle()
        self.emit("pass")
        self.indent -= 1

    def fixed(self, field: Field, size: int, role: _Role | None) -> None:
        if role is None:
            self.ahead += size
            if field.name in _SHOWN:
                self.shown = self.ahead
            return
        self.shown = 0  # what is read now stands behind it
        self.used.add(role.variable)
        if field.type == "uuid":
            self.emit(f"v = b[{self.here()}:{self.here(16)}]")
            self.emit("if len(v) < 16: raise IndexError")
            self.emit(f"{role.variable}.append(v)")
        elif role.how == "nonzero":
            self.emit(f"v, = {field.type}(b, {self.here()})")
            self.emit(f"if v and not {role.variable}: {role.variable} = v")
        else:
            self.emit(f"{role.variable}, = {field.type}(b, {self.here()})")
        self.ahead += size

    def string_length(self, flexible: bool) -> None:
        """`n`: the length, negative for null; `p`: after it."""
        if flexible:
            self.leap("n = b[{}] - 1", 1)
            self.more_length()
        else:
            self.leap("n, = int16(b, {})", 2)

    def more_length(self) -> None:
        """Where a length did not fit into its first byte."""
        self.emit("if n > 126: n, p = uvarint(b, p, n + 1); n -= 1")

    def count(self, flexible: bool) -> None:
        """`n`: the length of bytes or an array, negative for null; `p`: after it."""
        if flexible:
            self.string_length(flexible)
        else:
            self.leap("n, = int32(b, {})", 4)

    def string(self, flexible: bool, role: _Role | None) -> None:
        self.string_length(flexible)
        if role is None:
            self.emit("if n > 0: p += n")
            return
        self.used.add(role.variable)
        if role.how == "resource":
            self.emit(f"if n > 0 and resource == {_TOPIC_RESOURCE}:")
        else:
            self.emit("if n > 0:")
        self.emit("    v = b[p:p + n]")
        self.emit("    if len(v) < n: raise IndexError")
        self.emit("    v = v.decode('utf-8', 'replace')")
        if role.how == "first":
            self.emit(f"    if {role.variable} is None: {role.variable} = v")
        else:
            self.emit(f"    {role.variable}.append(v)")
        self.emit("if n > 0: p += n")
        if role.variable == "names":  # in step with the ids
            self.emit("else: names.append(None)")

    def blob(self, field: Field, flexible: bool, ends: str) -> None:
        self.count(flexible)
        if ends and ends != "True":
            self.emit(f"if {ends}: break")  # its length was what mattered
        self.emit("if n > 0: p += n")
        if field.type == "records" and self.direction == "response":
            self.emit("if p >= size: b, o, p = beyond(o + p, w); size = len(b)")

    def array(self, field: Field, flexible: bool, path: tuple[str, ...], ends: str, role: _Role | None) -> None:
        if self.matters(field, path) or not flexible:
            self.count(flexible)
            self.elements(field, flexible, path, ends, role)
            return
        self.leap("n = b[{}]", 1)
        self.emit("if n > 1:")  # mostly it is empty
        self.indent += 1
        self.emit("n -= 1")
        self.more_length()
        self.elements(field, flexible, path, ends, role)
        self.indent -= 1

    def elements(self, field: Field, flexible: bool, path: tuple[str, ...], ends: str, role: _Role | None) -> None:
        """Those of an array, of which there are `n`."""
        if field.name in _NOT_TARGETS and ends == "True":
            self.used.add("forgotten")
            self.emit("forgotten = n")
            return
        struct = field.struct
        if self.direction == "request" and self.counts_partitions(field, path):
            self.used.add("partitions")
            self.emit("if n > 0: partitions += n")
        size = field.fixed_size
        if size is not None and role is None and (struct is None or not self.matters(field, path)):
            self.emit(f"if n > 0: p += n * {size}")
            if field.name in _SHOWN:
                self.emit("if n > 0: b[p - 1]")
            return
        self.begin(field)
        at_once = self.at_once(field, path)
        if at_once:
            self.emit(at_once)
            self.emit("else:")
            self.indent += 1
        self.depth += 1
        counter = f"i{self.depth}"
        self.emit(f"for {counter} in range(n, 0, -1):")
        self.indent += 1
        if struct is not None:
            last_round = f"{counter} == 1"
            inner = last_round if ends == "True" else f"{last_round} and {ends}" if ends else ""
            self.struct(struct, (*path, field.name), inner)
        elif size is not None:
            self.fixed(field, size, role)
        else:
            self.string(flexible, role)
        self.settle()
        self.indent -= 2 if at_once else 1
        self.depth -= 1

    def begin(self, field: Field) -> None:
        """Before the elements of an array."""

    def at_once(self, field: Field, path: tuple[str, ...]) -> str:
        """`if` with a condition and what then does for a whole array, where all its elements are there and of one size.

        "" where some kind of element never is, or has something that is to be read.
        """
        struct = field.struct
        if self.direction == "response" or struct is None:
            return ""
        size = int(struct.flexible)  # the count of its tags
        for each in struct.fields:
            if each.array or each.fixed_size is None or self.role(each, (*path, field.name)) is not None:
                return ""
            size += each.fixed_size
        tagless = f"b[p + {size - 1}:p + n * {size}:{size}].count(0) == n"
        there = tagless if struct.flexible else f"0 <= n * {size} <= size - p"
        return f"if {there}: {self.keep_all(struct, size)}p += n * {size}"

    def keep_all(self, struct: Layout, size: int) -> str:
        """What is to be done with an array whose elements are all there and of that size."""
        return ""

    def counts_partitions(self, field: Field, path: tuple[str, ...]) -> bool:
        """An array of a topic's partitions (not one of topics, whatever its name)."""
        if "partition" not in field.name or field.type not in ("struct", "int32"):
            return False
        if _NOT_TARGETS.intersection((*path, field.name)):
            return False
        children = field.struct.fields if field.struct is not None else ()
        return not any(_topic_role(child, path) for child in children)

    def tags(self) -> None:
        self.leap("n = b[{}]", 1)
        self.emit("if n: p = tags(b, p, n)")


FORM, EACH = "form_", "each_"
"""Begin the name of what unpacks the struct format (big-endian) that the name ends with: once, or again and again."""
_CODES = {"int16": "h", "int32": "i", "int64": "q"}


class _PositionsWriter(_Writer):
    """Writes a function that gives `parts` too. In it: `part` those of the topic at hand; the names of _POSITIONS."""

    def __init__(self, api_key: int, direction: Direction) -> None:
        super().__init__(api_key, direction)
        self.layout: Layout | None = None
        # What one call takes: a run of fixed size from byte `start` on, laid out like `form`, and what is done with it.
        self.taken: list[str] = []
        self.start, self.form = 0, ""
        self.then: list[str] = []

    def take(self) -> None:
        self.emit(f"{', '.join(self.taken)}, = {FORM}{self.form}(b, {self.here(self.start - self.ahead)})")
        for line in self.then:
            self.emit(line)
        self.taken, self.then = [], []

    def settle(self) -> None:
        if self.taken:
            self.take()
        super().settle()

    def leap(self, reading: str, size: int) -> None:
        if self.taken:
            self.take()
        super().leap(reading, size)

    def role(self, field: Field, path: tuple[str, ...]) -> _Role | None:
        return super().role(field, path) or _topic_role(field, path)

    def struct(self, layout: Layout, path: tuple[str, ...], ends: str) -> None:
        around, self.layout = self.layout, layout
        super().struct(layout, path, ends)
        self.layout = around

    def fixed(self, field: Field, size: int, role: _Role | None) -> None:
        asked = _asked(self.layout)
        variable = _position(field)
        if "index" not in asked or variable is None:
            if self.taken:
                self.form += f"{size}x"
            super().fixed(field, size, role)
            return
        if not self.taken:
            self.start, self.form = self.ahead, ""
        self.taken.append(variable)
        self.form += _CODES[field.type]
        self.ahead += size
        self.shown = 0  # it stands behind it
        if role is not None:
            self.used.add(role.variable)
            self.then.append(f"if {variable} and not {role.variable}: {role.variable} = {variable}")
        if variable == asked[-1]:
            self.then.append(self.keep(asked))
            self.take()

    def keep(self, asked: list[str]) -> str:
        """Put a partition with what is `asked` of it where it belongs."""
        conditions = []
        if "failed" in asked:
            conditions.append("not failed")
        if self.direction == "response" and "offset" in asked:
            conditions.append("offset >= 0")
        keep = f"part[index] = {'offset' if 'offset' in asked else '-1'}"
        return f"if {' and '.join(conditions)}: {keep}" if conditions else keep

    def begin(self, field: Field) -> None:
        if "index" in _asked(field.struct):
            self.used.add("parts")
            self.emit("part = {}; parts.append(part)")

    def at_once(self, field: Field, path: tuple[str, ...]) -> str:
        asked = _asked(field.struct)
        return super().at_once(field, path) if asked == ["index", "offset"] or "index" not in asked else ""

    def keep_all(self, struct: Layout, size: int) -> str:
        if "index" not in _asked(struct):
            return ""
        form = "".join(_CODES[each.type] if _position(each) else f"{each.fixed_size}x" for each in struct.fields)
        return f"part.update({EACH}{form}{'x' if struct.flexible else ''}(b[p:p + n * {size}])); "


def _asked(layout: Layout | None) -> list[str]:
    """What of _POSITIONS the struct has, in wire order."""
    fields = layout.fields if layout is not None else ()
    return [variable for each in fields if (variable := _position(each)) is not None]


def _position(field: Field) -> str | None:
    """Which of _POSITIONS it is."""
    return next((variable for variable, names in _POSITIONS.items() if field.name in names), None)
