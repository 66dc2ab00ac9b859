// SPDX-License-Identifier: GPL-2.0-only
//
// What the program remembers, and its maps.

#define HOLD 64         // bytes of a message's beginning that wait for the rest: size and header pre-reads
#define TAIL 512        // bytes of a long message's end that are kept
#define WINDOW 256      // bytes that are kept after a stretch of sendfile
#define LONGEST_HEAD 16384
#define RAW_BYTES 65536   // of one call that are told where a plugin has to find the messages
#define SHORT_HEAD 128
#define SPARING 2       // of `enabled`: bytes count, but heads are short
#define SHADOW_HEAD 512  // bytes of a shadow's request that are kept while it waits for its reply
#define LOCKS 1024
#define SENDS 16384
#define LOCK_TRIES 512     // some ten microseconds
#define STRANGE_CALLS 256  // calls that make no sense before a connection is ignored

#define MONGODB_LONGEST 48000000       // MaxMessageSizeBytes
#define KAFKA_LONGEST (1u << 30)
#define KAFKA_TRUSTED (1u << 24)       // a length up to this needs no other sign, in sync
#define CORRELATIONS 4096              // how far behind the last request a reply may be

// One direction of a connection.
struct stream {
    u64 number;    // messages begun
    u64 first_ns;  // first byte of the current one
    u32 total;     // its length, 0 while its header is due
    u32 done;      // bytes of it that went by
    u32 keep;      // bytes are kept while done < keep
    u32 held;      // bytes of its beginning in hold[]: nothing of it was told yet while held == done
    u8 synced;     // a message begins where the last one ended
    u8 requests;   // Kafka: this direction carries the requests
    u8 quiet;      // the current message is a shadow's: not told, and not in `number`
    u8 pad;
    u32 id;        // of the exchange that a quiet message is part of
    u8 hold[HOLD];
};

// Also written by the collector, for connections it finds in /proc: see layout.py.
struct connection {
    u64 opened_ns;
    u32 tgid;
    u32 fd;
    u32 references;  // descriptors
    u8 young;        // seen from its first byte
    u8 label;
    u8 announced;    // 1 told, 2 told with addresses
    u8 sasl;         // Kafka: frames without header may come
    u32 strange;     // calls that began with nothing plausible, while there is no label
    u32 tls;         // of those, TLS records
    u32 correlation; // Kafka: of the last request
    u32 tries;       // PORT_*: what its ports may carry, 0 as long as they are not known
    u32 shadows;     // how many there had been when it was last looked whether it is one of them
    u32 is_shadow;
    u64 socket;      // kernel address, 0 where not known
    struct addresses addresses;
    struct stream streams[2];  // inbound, outbound
};

// What a port may carry. EVERYWHERE and BY_PORT are knobs: what is tried on every connection, and what only on those
// with such a port.
enum port_use { PORT_MONGODB = 1, PORT_KAFKA = 2, PORT_RAW = 4, PORT_KNOWN = 128 };

enum call_kind {
    CALL_NONE,
    CALL_READ, CALL_WRITE, CALL_READV, CALL_WRITEV, CALL_RECVFROM, CALL_RECVMSG, CALL_SENDMSG, CALL_SENDFILE,
    CALL_CONNECT, CALL_ACCEPT, CALL_CLOSE, CALL_DUP, CALL_DUP_TO, CALL_FCNTL, CALL_CLOSE_RANGE,
};

// A system call that a thread is in.
struct call {
    u64 connection;
    u64 buffer;  // or iovec, or msghdr
    u64 size;    // bytes, or iovecs
    u64 began_ns;
    u64 socket;  // connect: the one that went to SYN_SENT
    u32 fd;
    u8 kind;     // CALL_NONE: in none that matters
    u8 blind;    // its bytes are in no buffer
    u16 adopted; // number + 1 of a call that the collector found the thread in, 0: we saw it begin
};

// A thread that sends on a TCP socket: from when on. Its place follows from its id alone, so there is no hash to look
// into: of two threads with one place the later one is there, and the other's bytes count as sent at the end.
struct sending { u64 thread, socket, began_ns, pad[5]; };  // a cache line

// A client's end of a connection whose server's end is watched too. That one tells the messages, this one only when
// they went by here: half of the work, where both ends are on this host. The collector makes the entry, empty.
struct shadow {
    u64 request_first_ns, request_last_ns;  // of the last request, 0 once it is told
    u64 replied;                            // 1 << 32 | id of the last reply
    u32 id, total, length;                  // of the last request; bytes of data
    u32 pad;
    u8 data[SHADOW_HEAD];
};

// Where the walk over the bytes of one call is. Per CPU: tracepoint programs run with preemption off, so it is safe
// across tail calls; and state in a map, not on the stack, is what lets the verifier prune the loop.
struct cursor {
    u64 connection;
    u64 socket;            // kernel address, 0 where not known
    u64 first_ns, last_ns;
    u64 left;              // bytes of the call to walk
    u64 base, segment;     // the current buffer and what is left of it
    u64 vector;            // iovec array
    u32 vectors, at;
    u32 tgid, fd;
    u32 rounds;
    u32 lock;              // LOCKS: none
    u8 outbound, blind, last, untold, shadow;
    u64 a, b, c;           // see `blur`
    u8 peek[2 * HOLD];     // held bytes and what follows them
};

struct lock { u64 taken, pad[7]; };  // a cache line

// What all programs go by, written by the collector. In one place, for each place less is a cache line less in a call.
struct settings {
    u32 stack_at, registers_at;  // see user_registers; 0 where they are not known
    u32 shadows_made;            // so far: a look into the hash, only where that changed
    u8 enabled;                  // whether bytes count: for all calls at once
    u8 pad[3];
    u8 kinds[512];               // enum call_kind by system call number
};

struct scratch {
    struct head head;
    u8 data[LONGEST_HEAD + HOLD + TAIL];
};

BPF_HASH(descriptors, u64, u64, MAX_CONNECTIONS);              // tgid << 32 | fd → connection, 0: ignored
BPF_HASH(connections, u64, struct connection, MAX_CONNECTIONS);
BPF_F_TABLE("hash", u64, struct shadow, shadows, MAX_CONNECTIONS, 1 /* BPF_F_NO_PREALLOC */);
BPF_HASH(calls, u64, struct call, 32768);                       // tgid << 32 | tid
BPF_ARRAY(sends, struct sending, SENDS);                        // by thread
BPF_TABLE("lru_hash", u64, struct addresses, sockets, 16384);   // sockets that connected, by kernel address
BPF_ARRAY(settings, struct settings, 1);
BPF_ARRAY(ports, u8, 65536);                                    // PORT_*, written before the probes are attached
BPF_PERCPU_ARRAY(counters, u64, COUNTERS);
BPF_PERCPU_ARRAY(cursors, struct cursor, 1);
BPF_PERCPU_ARRAY(scratches, struct scratch, 1);
BPF_ARRAY(locks, struct lock, LOCKS);                           // by hash of the connection
BPF_PROG_ARRAY(tails, 2);
BPF_RINGBUF_OUTPUT(events, RING_PAGES);

#define inline_always static inline __attribute__((always_inline))
// Keeps clang from proving away a bound that the verifier needs to see.
#define opaque(x) asm volatile("" : "+r"(x))
// In one, so that nothing comes between the comparison and the register that it is about: until Linux 6.9 the verifier
// does not know of the copy on the stack what was found of the one in the register. `x` has 64 bits, `most` is constant.
#define bound(x, most) asm volatile("if %0 <= %1 goto +1; %0 = %1" : "+r"(x) : "i"(most))

// For the verifier: a value that went through memory is any value, so that paths which differ in nothing else are one
// path from here on. Without it each step of a walk costs three times the instructions to verify.
#define blur(slot, x) ({ (slot) = (x); asm volatile("" ::: "memory"); (slot); })

inline_always struct settings *current_settings(void)
{
    u32 zero = 0;
    return settings.lookup(&zero);
}

inline_always u8 kind_of(struct settings *s, u32 number)
{
    u64 place = number;
    bound(place, sizeof(s->kinds) - 1);  // no call has the last number
    return s->kinds[place];
}

inline_always struct sending *sending_of(u64 thread)
{
    u32 place = thread & (SENDS - 1);
    return sends.lookup(&place);
}

inline_always void count(u32 cause)
{
    u64 *n = counters.lookup(&cause);
    if (n)
        *n += 1;
}

// Threads may use one connection at once, and a walk is not atomic. An atomic add is all that old kernels offer: whoever
// reads 1 after adding 1 is alone. The holder runs on another CPU with preemption off, for microseconds; should its
// (virtual) CPU be taken away for long, the walk goes on without. What is to be unlocked, LOCKS for nothing.
inline_always u32 lock(u64 connection)
{
    u32 index = connection * 0x9e3779b97f4a7c15ull >> 54;
    struct lock *l = locks.lookup(&index);
    if (!l)
        return LOCKS;
#pragma clang loop unroll(disable)
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (*(volatile u64 *)&l->taken) {
            bpf_ktime_get_ns();  // takes time, and the verifier none
            bpf_ktime_get_ns();
            bpf_ktime_get_ns();
            bpf_ktime_get_ns();
            continue;
        }
        __sync_fetch_and_add(&l->taken, 1);
        if (*(volatile u64 *)&l->taken == 1)
            return index;
        __sync_fetch_and_add(&l->taken, -1);
    }
    return LOCKS;
}

inline_always void unlock(u32 index)
{
    struct lock *l = locks.lookup(&index);
    if (l)
        __sync_fetch_and_add(&l->taken, -1);
}

// Adds no wake-up: that is what costs the traced process most. The collector drains on a timer.
inline_always int tell(void *record, u64 size)
{
    int failed = events.ringbuf_output(record, size, 1 /* BPF_RB_NO_WAKEUP */);
    if (failed)
        count(COUNT_RING_FULL);
    return failed;
}
