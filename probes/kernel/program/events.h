// SPDX-License-Identifier: GPL-2.0-only
//
// What the program tells the collector: the records of the ring buffer.
//
// probes/kernel/layout.py mirrors these structs and passes their sizes and offsets as LAYOUT_* macros: a difference
// stops the compilation, so the two sides cannot drift apart.

enum event_kind {
    EVENT_HEAD = 1,      // a piece of a message
    EVENT_OPENED = 2,    // a connection that is about to show its first message, or whose addresses became known
    EVENT_CLOSED = 3,    // its last descriptor was closed
    EVENT_IGNORED = 4,   // it carries nothing that we know
    EVENT_VERIFY = 5,    // a process changed descriptors in a way that only /proc tells
    EVENT_EXCHANGE = 6,  // when a shadow's request and reply went by
};

enum framing { FRAMING_MESSAGE = 0, FRAMING_RAW = 1 };
enum label { LABEL_NONE = 0, LABEL_MONGODB = 1, LABEL_KAFKA = 2, LABEL_RAW = 3 };

enum head_flag {
    HEAD_OUTBOUND = 1,
    HEAD_FIRST = 2,  // the piece begins the message
    HEAD_LAST = 4,   // the message is complete
};

struct head {
    u8 kind, framing, label, flags;
    u32 tgid;
    u64 connection;
    u64 number;    // of the message in its direction, from 0
    u64 first_ns;  // its first byte
    u64 last_ns;   // its last byte, 0 before HEAD_LAST
    u32 total;     // its length on the wire
    u32 offset;    // where in the message `data` begins
    u32 length;    // bytes of `data` at `offset`
    u32 tail;      // bytes after those: the very end of the message
};

struct addresses {
    u16 family, near_port, far_port, pad;
    u8 near[16], far[16];
};

struct lifecycle {
    u8 kind, framing, label, flags;
    u32 tgid;
    u64 connection;
    u64 ns;
    u64 inbound, outbound;  // whole messages so far in each direction
    u32 fd;
    u32 reason;
    struct addresses addresses;
};

// What a shadow tells of an exchange: the times of the request, of the reply, or of both; 0 where it does not tell.
struct exchange {
    u8 kind, framing, label, messages;  // how many messages it tells of
    u32 id;                             // requestID or correlation_id
    u64 connection;
    u64 request_first_ns, request_last_ns;
    u64 reply_first_ns, reply_last_ns;
};

enum ignore_reason { REASON_UNRECOGNISED = 0, REASON_TLS = 1 };
enum verify_reason { VERIFY_EXEC = 0, VERIFY_CLOSE_RANGE = 1 };

// Counters by cause; probes/kernel/layout.py has the same names in the same order.
enum counter {
    COUNT_MESSAGES,      // messages begun, both directions
    COUNT_RING_FULL,     // records that the ring buffer had no room for
    COUNT_UNREADABLE,    // pieces whose memory could not be read
    COUNT_CONNECTIONS_FULL,
    COUNT_CALLS_FULL,
    COUNT_RESYNCHRONISED,  // directions that lost the message boundary
    COUNT_TOO_MANY,      // calls with more messages than one walk can see
    COUNT_IGNORED,
    COUNTERS,
};
