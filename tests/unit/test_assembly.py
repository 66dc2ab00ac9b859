"""Pieces of a message become one head."""

from probes.records import Framing
from probes.sources.assembly import Assembly


def test_contiguous_pieces_become_the_beginning() -> None:
    assembly = Assembly(7, 100, 5000, b"abc")
    assert assembly.add(7, 3, b"def")
    head = assembly.head(True, 200, b"xyz", 0)
    assert (head.data, head.tail, head.windows) == (b"abcdef", b"xyz", ())
    assert (head.number, head.first_ns, head.last_ns, head.total, head.outbound) == (7, 100, 200, 5000, True)
    assert head.framing is Framing.MESSAGE
    assert head.truncated


def test_a_piece_behind_a_stretch_without_bytes_is_a_window() -> None:
    assembly = Assembly(0, 1, 5000, b"abc")
    assembly.add(0, 4000, b"later")
    assembly.add(0, 4005, b"still later")  # right behind: the same window
    head = assembly.head(False, 2, b"", 0)
    assert head.data == b"abc"
    assert head.windows == ((4000, b"laterstill later"),)


def test_a_piece_of_another_message_is_refused() -> None:
    assembly = Assembly(3, 1, 100, b"abc")
    assert not assembly.add(4, 3, b"def")
    assert assembly.head(False, 2, b"", 0).data == b"abc"


def test_a_message_whose_end_was_lost_ends_where_it_began() -> None:
    assert Assembly(3, 17, 100, b"abc").head(False, 0, b"", 0).last_ns == 17
