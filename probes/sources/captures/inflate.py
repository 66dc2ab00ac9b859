"""A stream that may be compressed by gzip, as its bytes come.

In: bytes, cut anywhere. Out: what they hold, in pieces of at most PIECE bytes. Raises CaptureError where the
compression is damaged: what came before has been told.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from probes.sources.captures.container import CaptureError

PIECE = 1 << 18
_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS


class Inflation:
    """Passes on what is not compressed as it is."""

    def __init__(self) -> None:
        self._begun: bytes | None = b""  # None once it is known what it is
        self._member: zlib._Decompress | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the stream may end here."""
        return not self._begun and (self._member is None or self._member.eof)

    def receive(self, data: bytes) -> Iterator[bytes]:
        if self._begun is not None:
            self._begun += data
            if len(self._begun) < len(_MAGIC):
                return
            data, self._begun = self._begun, None
            if data.startswith(_MAGIC):
                self._member = zlib.decompressobj(_GZIP)
        if self._member is None:
            yield data
            return
        while data:
            if self._member.eof:
                data = data.lstrip(b"\0")  # padding between members
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP)
            try:
                piece = self._member.decompress(data, PIECE)
            except zlib.error as error:
                raise CaptureError(f"is damaged: {error}") from error
            if piece:
                yield piece
            data = self._member.unconsumed_tail or self._member.unused_data
