"""Record batches, as far as their headers tell (message format v2, KIP-98)."""

from __future__ import annotations

from struct import Struct

# baseOffset int64, batchLength int32, partitionLeaderEpoch int32, magic int8, crc uint32, attributes int16,
# lastOffsetDelta int32, baseTimestamp int64, maxTimestamp int64, producerId int64, producerEpoch int16,
# baseSequence int32, recordsCount int32; batchLength counts what follows it.
_HEADER = Struct(">qiibIhiqqqhii")
_BEFORE_LENGTH = 12
_MAGIC = 2


def record_count(data: bytes, start: int, length: int) -> int | None:
    """How many records the `length` bytes of batches at data[start] hold; None where not all headers are visible.

    The last batch of a Fetch reply may be cut by the broker (its size limit): it then does not count.
    """
    count, end = 0, start + length
    while end - start >= _HEADER.size:
        if start + _HEADER.size > len(data):
            return None
        header = _HEADER.unpack_from(data, start)
        size, magic, records = header[1] + _BEFORE_LENGTH, header[3], header[-1]
        if magic != _MAGIC or size < _HEADER.size or records < 0:
            return None
        start += size
        if start <= end:
            count += records
    return count
