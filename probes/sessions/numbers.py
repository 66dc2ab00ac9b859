"""The message numbers of one direction of a connection: what is missing among them is a loss on our side.

Numbers may arrive out of order, because the events of two threads may: a gap counts only once it is old enough,
and a message that arrives after all is taken off again.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_GAPS = 64


@dataclass(slots=True)
class Gap:
    """`missing` of the messages from `first` to before `end`, noticed at `ns`.

    `bound`, of replies: what was lost answered requests with a lower number than this; None as long as that is
    not known. `counted` of the missing ones were told as lost already. `at_least`: there may have been more of them.
    """

    first: int
    end: int
    missing: int
    ns: int
    bound: int | None = None
    counted: int = 0
    at_least: bool = False

    def within(self, most: int) -> int:
        """How many of `most` the missing ones may have been."""
        return most if self.at_least else min(self.missing, most)


class Numbers:
    """`next` is the number expected next: while messages come in order, all a caller has to do is to raise it."""

    __slots__ = ("gaps", "next", "settled")

    def __init__(self) -> None:
        self.next = 0
        self.gaps: list[Gap] = []
        self.settled = 0  # missing messages of gaps that are no longer kept

    def reach(self, number: int, ns: int) -> Gap | None:
        """Messages before `number` exist. Those not seen yet form a gap, which is returned."""
        if number <= self.next:
            return None
        gap = Gap(self.next, number, number - self.next, ns)
        self.gaps.append(gap)
        self.next = number
        if len(self.gaps) > MAX_GAPS:
            first, second, *_ = self.gaps
            self.gaps[:2] = [
                Gap(
                    first.first,
                    second.end,
                    first.missing + second.missing,
                    first.ns,
                    second.bound,
                    first.counted + second.counted,
                    first.at_least or second.at_least,
                )
            ]
        return gap

    def see(self, number: int, ns: int) -> int:
        """A message arrived. Returns 1 where it had been counted as missing, else 0."""
        if number >= self.next:
            self.reach(number, ns)
            self.next = number + 1
            return 0
        for gap in self.gaps:
            if gap.missing and gap.first <= number < gap.end:
                gap.missing -= 1
                if gap.missing < gap.counted:
                    gap.counted = gap.missing
                    return 1
                return 0
        if self.settled:
            self.settled -= 1
            return 1
        return 0

    def count(self, gap: Gap) -> int:
        """How many messages of `gap` are to be told as lost now."""
        fresh = gap.missing - gap.counted
        gap.counted = gap.missing
        return fresh

    def settle(self, gap: Gap) -> None:
        """What the gap explains has been explained."""
        self.settled += gap.missing
        self.gaps.remove(gap)

    def missing_before(self, number: int) -> int:
        """How many messages of open gaps that end by `number` are missing."""
        return sum(gap.missing for gap in self.gaps if gap.end <= number)
