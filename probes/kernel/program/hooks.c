// SPDX-License-Identifier: GPL-2.0-only
//
// The attach points. One enter and one exit program serve every system call: what a call does is looked up by number.
//
// Where the kernel has tracepoints within the calls that move bytes over sockets (SOCKET_TRACEPOINTS; Linux 6.3), those
// take the place of their exits, and of the enters of calls that receive: nothing of it then happens for files. What
// a call came with is then read from the task's saved registers, so that calls that open or duplicate descriptors need
// no enter either. Where one more tells when TCP begins to send (SEND_TRACEPOINT; Linux 6.16), calls that send need none:
// of a unix socket, then, only the end of a send is known. The fewer probes, the sooner they are gone: the kernel waits
// for each of them.

struct enter_context { u64 common; u64 number; u64 first; };  // upper half of number is garbage
struct exit_context { u64 common; u64 number; s64 result; };

#define MSG_OOB 1
#define MSG_PEEK 2
#define MSG_TRUNC 0x20
#define MSG_ERRQUEUE 0x2000
#define F_DUPFD 0
#define F_DUPFD_CLOEXEC 1030
#define EINPROGRESS 115
#define LARGE_WRITE 65536

enum { TAIL_WALK = 0, TAIL_WALK_RAW = 1 };

// The messages of a direction that are told and went by whole.
inline_always u64 whole(struct stream *s)
{
    return s->number - (s->total && !s->quiet);
}

inline_always void forget(u64 key)
{
    u64 *id = descriptors.lookup(&key);
    if (!id)
        return;
    u64 connection = *id;
    descriptors.delete(&key);
    struct connection *c = connection ? connections.lookup(&connection) : 0;
    if (!c || --c->references)
        return;
    struct shadow *h = shadows.lookup(&connection);
    if (h) {
        if (h->request_first_ns)
            tell_exchange(connection, h, h->id, 0, 0);
        shadows.delete(&connection);
    }
    if (c->announced) {
        struct lifecycle closed = {};
        closed.kind = EVENT_CLOSED;
        closed.label = c->label;
        closed.tgid = c->tgid;
        closed.fd = c->fd;
        closed.connection = connection;
        closed.ns = bpf_ktime_get_ns();
        closed.inbound = whole(&c->streams[0]);
        closed.outbound = whole(&c->streams[1]);
        tell(&closed, sizeof(closed));
    }
    connections.delete(&connection);
}

inline_always void remember(u64 key, u64 socket)
{
    forget(key);  // an entry that outlived its descriptor
    u32 zero = 0;
    // The scratch is free here, and a connection is too large for the stack.
    struct scratch *e = scratches.lookup(&zero);
    if (!e)
        return;
    struct connection *c = (struct connection *)e->data;
    __builtin_memset(c, 0, sizeof(*c));
    c->opened_ns = bpf_ktime_get_ns();
    c->tgid = key >> 32;
    c->fd = key;
    c->references = 1;
    c->young = 1;
    c->socket = socket;
    // Unique: no CPU opens two within 256 ns. The collector's own ids end in 0xff.
    u64 id = (c->opened_ns & ~0xffull) | (bpf_get_smp_processor_id() & 0x7f);
    if (connections.update(&id, c) || descriptors.update(&key, &id)) {
        count(COUNT_CONNECTIONS_FULL);
        connections.delete(&id);
    }
}

inline_always void verify(u32 tgid, u32 reason)
{
    struct lifecycle v = {};
    v.kind = EVENT_VERIFY;
    v.tgid = tgid;
    v.ns = bpf_ktime_get_ns();
    v.reason = reason;
    tell(&v, sizeof(v));
}

#if SOCKET_TRACEPOINTS

// What a system call came with.
struct registers { u64 first, second, third; u32 number; };

#define USER_CS 0x33  // of 64 bits: other calls have other numbers

// raw sys_enter, only until it has run once: where a task keeps its stack, and where on it the registers are that a
// call came with. The same for all tasks of a kernel, and told by no header that is there.
int on_any_call(struct bpf_raw_tracepoint_args *ctx)
{
    struct settings *s = current_settings();
    if (!s || s->registers_at)
        return 0;
    u64 task = bpf_get_current_task();
#pragma clang loop unroll(disable)
    for (u32 at = 0; at < 512; at += 8) {
        u64 word = 0;
        bpf_probe_read_kernel(&word, sizeof(word), (void *)(task + at));
        u64 distance = ctx->args[0] - word;
        if (word && !(word & 0xfff) && distance < 65536) {
            s->stack_at = at;
            s->registers_at = distance;
            return 0;
        }
    }
    return 0;
}

// What the call that the current thread is in came with. 0 where that is not to be had.
inline_always int user_registers(struct settings *s, struct registers *r)
{
    if (!s->registers_at)
        return 0;
    u64 base = 0;
    bpf_probe_read_kernel(&base, sizeof(base), (void *)(bpf_get_current_task() + s->stack_at));
    base += s->registers_at;
    // Of struct pt_regs.
#if X86_64
    struct { u64 dx, si, di, orig_ax, ip, cs; } saved = {};
    if (bpf_probe_read_kernel(&saved, sizeof(saved), (void *)(base + 96)) || saved.cs != USER_CS)
        return 0;
    r->first = saved.di;
    r->second = saved.si;
    r->third = saved.dx;
    r->number = saved.orig_ax;
#else
    struct { u64 x1, x2; } saved = {};
    struct { u64 orig_x0; u32 syscallno, pad; } call = {};
    if (bpf_probe_read_kernel(&saved, sizeof(saved), (void *)(base + 8)) ||
        bpf_probe_read_kernel(&call, sizeof(call), (void *)(base + 272)))
        return 0;
    r->first = call.orig_x0;
    r->second = saved.x1;
    r->third = saved.x2;
    r->number = call.syscallno;
#endif
    return 1;
}

#endif

// The kernel lets a program touch only the arguments that a call declares, and close has but one: the others are read as
// memory. Those that a call does not have are garbage.
inline_always void read_args(u64 *args, struct enter_context *ctx)
{
    bpf_probe_read_kernel(args, 3 * sizeof(u64), (char *)ctx + sizeof(*ctx));
}

int on_enter(struct enter_context *ctx)
{
    struct settings *s = current_settings();
    if (!s)
        return 0;
    u8 kind = kind_of(s, ctx->number);
    u64 thread = bpf_get_current_pid_tgid();
    u64 process = thread & 0xffffffff00000000ull;
    u64 key = process | (u32)ctx->first;
    u64 args[3] = {};  // the second to the fourth
    struct call now = {};

    if (kind == CALL_NONE) {
        return 0;
    } else if (kind <= CALL_SENDFILE) {
        u64 *id = descriptors.lookup(&key);
        if (!id || !*id)
            return 0;
        if (!s->enabled) {
            struct connection *c = connections.lookup(id);
            if (c)
                c->young = 0;  // its first bytes go by unseen
            return 0;
        }
        read_args(args, ctx);
        now.connection = *id;
        now.buffer = args[0];
        now.size = args[1];
        if (kind == CALL_RECVFROM || kind == CALL_RECVMSG) {
            u32 flags = kind == CALL_RECVFROM ? args[2] : args[1];
            if (flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB))
                return 0;
            now.blind = !!(flags & MSG_TRUNC);
        }
        if (kind == CALL_SENDFILE)
            now.blind = 1;
    } else if (kind == CALL_CLOSE) {
        forget(key);  // now: the number may be used again before close returns
        return 0;
    } else if (kind == CALL_CLOSE_RANGE) {
        verify(thread >> 32, VERIFY_CLOSE_RANGE);
        return 0;
#if !SOCKET_TRACEPOINTS
    } else if (kind == CALL_DUP || kind == CALL_DUP_TO || kind == CALL_FCNTL) {
        if (kind != CALL_DUP)
            read_args(args, ctx);
        if (kind == CALL_FCNTL && args[0] != F_DUPFD && args[0] != F_DUPFD_CLOEXEC)
            return 0;
        if (kind == CALL_DUP_TO && (u32)ctx->first != (u32)args[0])
            forget(process | (u32)args[0]);
        u64 *id = descriptors.lookup(&key);
        if (!id || !*id)
            return 0;
        now.connection = *id;
    } else if (kind == CALL_CONNECT) {
        u16 family = 0;
        read_args(args, ctx);
        bpf_probe_read_user(&family, sizeof(family), (void *)args[0]);
        if (family != 1 && family != 2 && family != 10)  // AF_UNIX, AF_INET, AF_INET6
            return 0;
        now.size = family;
    } else if (kind == CALL_ACCEPT) {
#endif
    } else {
        return 0;
    }
    now.began_ns = bpf_ktime_get_ns();
    now.fd = ctx->first;
    now.kind = kind;
    // A thread's entry stays from call to call: writing it in place is cheaper than insert and delete.
    struct call *call = calls.lookup(&thread);
    if (call)
        *call = now;
    else if (calls.update(&thread, &now))
        count(COUNT_CALLS_FULL);
    return 0;
}

// Follows the `moved` bytes of a call, on `socket` where that is known: at once where that is simple, else by a walk.
inline_always void follow_call(void *ctx, struct settings *s, struct call *call, u8 kind, s64 moved, u64 thread,
                               u64 socket)
{
    u64 now = bpf_ktime_get_ns();
    u32 zero = 0, locked = lock(call->connection);
    int outbound = kind == CALL_WRITE || kind == CALL_WRITEV || kind == CALL_SENDMSG || kind == CALL_SENDFILE;
    struct cursor *q = cursors.lookup(&zero);
    if (!q || usual(s, call, kind, moved, outbound, thread >> 32, now)) {
        unlock(locked);
        return;
    }
    q->outbound = outbound;
    // Outbound bytes count as sent when the call began: their reply may be read before the call returns. A long call
    // is different: its last byte left towards its end.
    q->first_ns = outbound ? call->began_ns : now;
    q->last_ns = outbound && moved <= LARGE_WRITE ? call->began_ns : now;
    q->connection = call->connection;
    q->socket = socket;
    q->left = moved;
    q->blind = call->blind;
    q->tgid = thread >> 32;
    q->fd = call->fd;
    q->rounds = 0;
    q->at = 0;
    q->vectors = 1;
    q->base = call->buffer;
    q->segment = moved;
    if (!q->blind && has_vectors(kind)) {
        u64 vectors;
        q->vector = vector_of(call, kind, &vectors);
        q->vectors = vectors;
        q->segment = 0;
        q->at = -1;  // the first step takes vector 0
    }
    u32 tail = TAIL_WALK;
    if (BY_PORT) {
        struct connection *c = connections.lookup(&q->connection);
        if (!c || (!c->label && !c->tries && !tried_by_port(q, c))) {
            unlock(locked);
            return;
        }
        tail = c->label == LABEL_RAW ? TAIL_WALK_RAW : TAIL_WALK;
    }
    q->lock = locked;
    tails.call(ctx, tail);
    unlock(locked);  // the call failed
}

// A call on `fd` opened descriptor `result` or duplicated it there; CONNECT made of `fd` itself a connection.
inline_always void opened(u8 kind, u64 process, u32 fd, u32 result, u64 socket)
{
    if (kind == CALL_CONNECT) {
        remember(process | fd, socket);
        return;
    }
    u64 key = process | result;
    if (kind == CALL_ACCEPT) {
        remember(key, 0);
        return;
    }
    if (result == fd)
        return;  // dup2 of a descriptor onto itself changes nothing
    forget(key);
    u64 source = process | fd;
    u64 *id = descriptors.lookup(&source);
    if (!id || !*id)
        return;
    u64 connection = *id;
    struct connection *c = connections.lookup(&connection);
    if (c && !descriptors.update(&key, &connection))
        c->references++;
}

// TCP: it has passed through SYN_SENT; what has not is a datagram socket.
inline_always int connects(s64 result, u64 socket, u16 family)
{
    return (result == 0 || result == -EINPROGRESS) && (socket || family == 1 /* AF_UNIX */);
}

#if SOCKET_TRACEPOINTS

// Of the calls that open or duplicate descriptors only.
int on_exit(struct exit_context *ctx)
{
    u64 thread = bpf_get_current_pid_tgid();
    s64 result = ctx->result;
    struct settings *s = current_settings();
    struct registers r = {};
    if (!s || !user_registers(s, &r))
        return 0;
    u8 kind = kind_of(s, ctx->number);
    u64 socket = 0;  // as on_state found it
    if (kind == CALL_CONNECT) {
        u16 family = 0;
        struct call *call = calls.lookup(&thread);
        if (call && call->kind == CALL_CONNECT) {
            call->kind = CALL_NONE;
            socket = call->socket;
        }
        bpf_probe_read_user(&family, sizeof(family), (void *)r.second);
        if (!connects(result, socket, family))
            return 0;
    } else if (result < 0 || (kind == CALL_FCNTL && r.second != F_DUPFD && r.second != F_DUPFD_CLOEXEC)) {
        return 0;
    }
    opened(kind, thread & 0xffffffff00000000ull, r.first, result, socket);
    return 0;
}

#else

int on_exit(struct exit_context *ctx)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct call *call = calls.lookup(&thread);
    if (!call || !call->kind)
        return 0;
    u8 kind = call->kind;
    call->kind = CALL_NONE;
    if (call->adopted && call->adopted != (u16)((u32)ctx->number + 1))
        return 0;  // it had returned before the collector noted it
    s64 result = ctx->result;
    struct settings *s = current_settings();
    if (kind <= CALL_SENDFILE) {
        if (s && result > 0)
            follow_call(ctx, s, call, kind, result, thread, 0);
        return 0;
    }
    if (kind == CALL_CONNECT ? !connects(result, call->socket, call->size) : result < 0)
        return 0;
    opened(kind, thread & 0xffffffff00000000ull, call->fd, result, call->socket);
    return 0;
}

#endif

int walk(void *ctx)
{
    u32 zero = 0;
    struct cursor *q = cursors.lookup(&zero);
    struct scratch *e = scratches.lookup(&zero);
    if (!q || !e)
        return 0;
    struct connection *c = connections.lookup(&q->connection);
    if (!c)
        goto over;
    struct settings *s = current_settings();
    if (s && c->shadows != s->shadows_made) {
        c->shadows = s->shadows_made;
        c->is_shadow = !!shadows.lookup(&q->connection);
    }
#pragma clang loop unroll(disable)
    for (int i = 0; i < STEPS; i++)
        if (!step(q, c, e))
            goto over;
    if (++q->rounds < 33)  // the kernel's limit of chained tail calls
        tails.call(ctx, TAIL_WALK);
    if (q->left) {
        count(COUNT_TOO_MANY);
        lose_sync(c, &c->streams[q->outbound & 1]);
    }
over:
    unlock(q->lock);
    return 0;
}

// The same for connections whose messages only a plugin can find.
int walk_raw(void *ctx)
{
    u32 zero = 0;
    struct cursor *q = cursors.lookup(&zero);
    struct scratch *e = scratches.lookup(&zero);
    if (!q || !e)
        return 0;
    struct connection *c = connections.lookup(&q->connection);
    if (!c)
        goto over;
    if (!q->rounds)
        c->streams[q->outbound & 1].done = 0;
#pragma clang loop unroll(disable)
    for (int i = 0; i < STEPS; i++)
        if (!step_raw(q, c, e))
            goto over;
    if (++q->rounds < 33)  // the kernel's limit of chained tail calls
        tails.call(ctx, TAIL_WALK_RAW);
    if (q->left) {
        count(COUNT_TOO_MANY);
        c->streams[q->outbound & 1].number++;  // a gap
    }
over:
    unlock(q->lock);
    return 0;
}

// The offsets of this tracepoint's fields differ between kernels: compiler.py reads them from its format file.
#define field(type, name) (*(type *)((char *)ctx + name))

// sock:inet_sock_set_state. The local port is 0 at SYN_SENT and right at ESTABLISHED.
int on_state(void *ctx)
{
    u32 state = field(u32, STATE_NEWSTATE);
    u64 socket = field(u64, STATE_SKADDR);
    if (state == 2 /* TCP_SYN_SENT */) {
        u64 thread = bpf_get_current_pid_tgid();
#if SOCKET_TRACEPOINTS
        struct settings *s = current_settings();
        struct registers r = {};
        u8 kind = s && user_registers(s, &r) ? kind_of(s, r.number) : CALL_NONE;
        struct call now = {};
        now.kind = CALL_CONNECT;
        now.socket = socket;
        // Sending may connect, too: that is no call whose end is looked at.
        if (kind == CALL_CONNECT && calls.update(&thread, &now))
            count(COUNT_CALLS_FULL);
#else
        struct call *call = calls.lookup(&thread);
        if (call && call->kind == CALL_CONNECT)
            call->socket = socket;
#endif
    } else if (state == 1 /* TCP_ESTABLISHED */) {
        struct addresses a = {};
        a.family = field(u16, STATE_FAMILY);
        a.near_port = field(u16, STATE_SPORT);
        a.far_port = field(u16, STATE_DPORT);
        if (a.family == 2 /* AF_INET */) {
            bpf_probe_read_kernel(a.near, 4, (char *)ctx + STATE_SADDR);
            bpf_probe_read_kernel(a.far, 4, (char *)ctx + STATE_DADDR);
        } else {
            bpf_probe_read_kernel(a.near, 16, (char *)ctx + STATE_SADDR_V6);
            bpf_probe_read_kernel(a.far, 16, (char *)ctx + STATE_DADDR_V6);
        }
        sockets.update(&socket, &a);
    } else if (state == 7 /* TCP_CLOSE */) {
        sockets.delete(&socket);
    }
    return 0;
}

#if SOCKET_TRACEPOINTS

// The call that the current thread is in moved bytes over `socket`.
inline_always void moved(void *ctx, u64 socket, s64 bytes, u32 flags, int outbound)
{
    struct registers r = {};
    u64 thread = bpf_get_current_pid_tgid(), began_ns = 0;
#if SEND_TRACEPOINT
    struct sending *sending = outbound ? sending_of(thread) : 0;
    if (sending && sending->thread == thread) {
        sending->thread = 0;
        if (sending->socket == socket)
            began_ns = sending->began_ns;
    }
#else
    struct call *entered = outbound ? calls.lookup(&thread) : 0;
#endif
    struct settings *s = current_settings();
    if (bytes <= 0 || flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB) || !s || !user_registers(s, &r))
        return;
    u64 key = (thread & 0xffffffff00000000ull) | (u32)r.first;
    u64 *id = descriptors.lookup(&key);
    if (!id || !*id)
        return;
    u8 kind = kind_of(s, r.number);
    if (!kind || kind > CALL_SENDFILE)
        return;  // a call that is not followed
    if (!s->enabled) {
        struct connection *c = connections.lookup(id);
        if (c)
            c->young = 0;  // its first bytes go by unseen
        return;
    }
    struct call now = {};
    now.connection = *id;
    now.buffer = r.second;
    now.size = r.third;
    now.fd = r.first;
    now.blind = kind == CALL_SENDFILE || flags & MSG_TRUNC;
#if !SEND_TRACEPOINT
    if (entered && entered->connection == *id)
        began_ns = entered->began_ns;
#endif
    now.began_ns = began_ns || !outbound ? began_ns : bpf_ktime_get_ns();
    follow_call(ctx, s, &now, kind, bytes, thread, socket);
}

#if SEND_TRACEPOINT

// tcp_sendmsg_locked(sk, ...): a call has bytes for a TCP socket, and nothing of the next piece of them is sent. The end
// of the call is on_sent, which forgets this.
int on_sending(struct bpf_raw_tracepoint_args *ctx)
{
    u64 thread = bpf_get_current_pid_tgid();
    u64 socket = ctx->args[0];
    struct sending *s = sending_of(thread);
    if (s && (s->thread != thread || s->socket != socket)) {
        s->thread = thread;
        s->socket = socket;
        s->began_ns = bpf_ktime_get_ns();
    }
    return 0;
}

#endif

// sock:sock_recv_length(sk, ret, flags) and sock:sock_send_length, at the end of what a call does with a socket. Raw
// tracepoints: the ordinary ones cost three times as much.
int on_received(struct bpf_raw_tracepoint_args *ctx)
{
    moved(ctx, ctx->args[0], (s32)ctx->args[1], ctx->args[2], 0);
    return 0;
}

int on_sent(struct bpf_raw_tracepoint_args *ctx)
{
    moved(ctx, ctx->args[0], (s32)ctx->args[1], 0, 1);
    return 0;
}

#else

// tcp:tcp_rcv_space_adjust fires inside the call that reads, and so ties a descriptor to its socket. A raw tracepoint:
// the ordinary one costs every receive of the host three times as much. Its first argument is the socket.
int on_received(struct bpf_raw_tracepoint_args *ctx)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct call *call = calls.lookup(&thread);
    if (!call || !call->kind || call->kind > CALL_SENDFILE)
        return 0;
    struct connection *c = connections.lookup(&call->connection);
    if (c && !c->socket)
        c->socket = ctx->args[0];
    return 0;
}

#endif

// sched_process_exit: a thread that ends inside a call leaves its entry behind.
int on_thread_exit(struct bpf_raw_tracepoint_args *ctx)
{
    u64 thread = bpf_get_current_pid_tgid();
    calls.delete(&thread);
#if SEND_TRACEPOINT
    struct sending *s = sending_of(thread);
    if (s && s->thread == thread)
        s->thread = 0;
#endif
    return 0;
}

// sched_process_exec closes descriptors without a system call.
int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
    verify(bpf_get_current_pid_tgid() >> 32, VERIFY_EXEC);
    return 0;
}
