"""What one truth and l7top's records say, fact by fact."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.agreement.table import Row

MISSING = object()  # what a record does not say
_SHOWN = 10  # differences of one kind


@dataclass
class Agreement:
    """How many requests, and where the records differ, by the fact."""

    requests: Counter[str] = field(default_factory=Counter)
    truncated: int = 0
    lost: int = 0  # whose client left before the answer
    dropped: int = 0  # whose reply went by unseen, as the record says: l7top had no CPU
    left_out: Counter[str] = field(default_factory=Counter)  # messages whose fields are not compared, by the reason
    compared: Counter[str] = field(default_factory=Counter)
    different: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def expect(self, fact: str, expected: Any, seen: Any, where: str, *, truncated: bool = False) -> None:
        """`seen` is MISSING where the record does not say, which one marked truncated may."""
        if seen is MISSING and truncated:
            return
        self.compared[fact] += 1
        if expected != seen:
            shown = "nothing" if seen is MISSING else repr(seen)
            self.different[fact].append(f"{where}: {expected!r} but {shown}")

    def table(self, title: str) -> str:
        total = self.requests.total()
        lines = [
            f"{title}: {total:,} requests, {self.truncated:,} records marked truncated, {self.dropped:,} dropped, "
            f"{self.lost:,} clients left before",
            "  " + ", ".join(f"{name} {count:,}" for name, count in self.requests.most_common()),
        ]
        lines += [f"  left out: {count:,} messages, {reason}" for reason, count in self.left_out.most_common()]
        for fact, compared in self.compared.items():
            wrong = self.different.get(fact, [])
            lines.append(f"  {fact:<16} {compared:>10,} compared, {len(wrong)} differ")
            lines += [f"    {each}" for each in wrong[:_SHOWN]]
        return "\n".join(lines)

    def row(self, truth: str) -> Row:
        different = sum(map(len, self.different.values()))
        return Row(
            truth,
            self.requests.total(),
            self.compared.total(),
            different,
            self.truncated,
            self.dropped,
            self.left_out,
        )

    def add(self, other: Agreement) -> None:
        self.requests += other.requests
        self.truncated += other.truncated
        self.lost += other.lost
        self.dropped += other.dropped
        self.left_out += other.left_out
        self.compared += other.compared
        for fact, wrong in other.different.items():
            self.different[fact] += wrong

    @property
    def agrees(self) -> bool:
        return bool(self.requests) and not any(self.different.values())
