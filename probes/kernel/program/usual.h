// SPDX-License-Identifier: GPL-2.0-only
//
// The calls that nearly all are, of a connection that is known and in step: one whole message in one buffer, or one in
// two, its header first. Their way is short, because what a program touches is cold: the traced process has pushed it
// out of the caches since the last call. What it tells and leaves behind is what a walk would; whatever is not as
// expected is left to that. framing.h has the reasons.

// One buffer of a call: `bytes` from `base` on, all that the call moved.
struct piece { u64 base, connection, first_ns, last_ns; u32 bytes, tgid; u8 outbound; };

inline_always int has_vectors(u8 kind) { return kind >= CALL_READV && kind != CALL_RECVFROM; }

// The iovecs of such a call, and how many.
inline_always u64 vector_of(struct call *call, u8 kind, u64 *vectors)
{
    *vectors = call->size;
    if (kind != CALL_RECVMSG && kind != CALL_SENDMSG)
        return call->buffer;
    struct { u64 name, name_length, vector, vectors; } message = {};  // struct user_msghdr
    bpf_probe_read_user(&message, sizeof(message), (void *)call->buffer);
    *vectors = message.vectors;
    return message.vector;
}

// Where the call's bytes are, if in one buffer. 0 where they are not.
inline_always int one_buffer(struct call *call, u8 kind, u64 bytes, u64 *base)
{
    *base = call->buffer;
    if (!has_vectors(kind))
        return 1;
    u64 vectors;
    struct { u64 base, length; } v = {};
    bpf_probe_read_user(&v, sizeof(v), (void *)vector_of(call, kind, &vectors));
    *base = v.base;
    return v.length >= bytes;
}

// Whether a message of just so many bytes begins with the `have` bytes at `p`, 16 or more.
inline_always int is_whole(struct connection *c, struct stream *s, u8 *p, u32 have, u32 bytes, int shadow)
{
    if (c->label == LABEL_MONGODB)
        return mongodb_length(p, have, 0) == bytes;
    if (!s->requests)
        return kafka_reply_length(p, have, !shadow, c->correlation) == bytes;
    if (kafka_request_length(p, have, 0, 0) != bytes || (p[5] == 17 && !p[7]))  // SaslHandshake
        return 0;
    c->correlation = big_endian(p + 8);
    return 1;
}

// Of a message that is at hand: `length` bytes in the scratch.
inline_always void tell_whole(struct piece *p, struct connection *c, struct scratch *e, u64 number, u64 first_ns,
                              u64 length)
{
    e->head.kind = EVENT_HEAD;
    e->head.framing = FRAMING_MESSAGE;
    e->head.label = c->label;
    e->head.flags = (p->outbound ? HEAD_OUTBOUND : 0) | HEAD_FIRST | HEAD_LAST;
    e->head.tgid = p->tgid;
    e->head.connection = p->connection;
    e->head.number = number;
    e->head.first_ns = first_ns;
    e->head.last_ns = p->last_ns;
    e->head.total = length;
    e->head.offset = 0;
    e->head.length = length;
    e->head.tail = 0;
    u64 size = sizeof(struct head) + length;
    bound(size, sizeof(struct head) + HEAD_BYTES + HOLD);  // for the verifier
    tell(e, size);
}

inline_always int usual_shadow(struct piece *p, struct connection *c, struct stream *s)
{
    struct shadow *h = shadows.lookup(&p->connection);
    if (!h)
        return 0;
    u64 bytes = p->bytes;
    if (p->outbound) {
        if (h->request_first_ns)
            return 0;  // there are several at once
        bound(bytes, SHADOW_HEAD - HOLD);  // as many as a walk keeps
        if (bpf_probe_read_user(h->data, bytes, (void *)p->base) || bytes < 21 ||
            !is_whole(c, s, h->data, bytes, p->bytes, 1) || may_be_oneway(c, h->data, bytes))
            return 0;
        h->id = c->label == LABEL_KAFKA ? big_endian(h->data + 8) : little_endian(h->data + 4);
        h->total = p->bytes;
        h->length = bytes;
        h->request_first_ns = p->first_ns;
        h->request_last_ns = p->last_ns;
        count(COUNT_MESSAGES);
        if (h->replied == (1ull << 32 | h->id))  // its reply may be faster than the thread that sent it comes back
            tell_exchange(p->connection, h, h->id, 0, 0);
        return 1;
    }
    u8 header[16];
    if (bpf_probe_read_user(header, sizeof(header), (void *)p->base) || !is_whole(c, s, header, 16, bytes, 1))
        return 0;
    u32 id = c->label == LABEL_KAFKA ? big_endian(header + 4) : little_endian(header + 8);
    h->replied = 1ull << 32 | id;
    count(COUNT_MESSAGES);
    tell_exchange(p->connection, h, id, p->first_ns, p->last_ns);
    return 1;
}

// 0 where the call is not usual: then nothing is told, and nothing changed that matters.
inline_always int usual(struct settings *settings, struct call *call, u8 kind, u64 bytes, int outbound, u32 tgid,
                        u64 now)
{
    u32 zero = 0;
    struct connection *c = connections.lookup(&call->connection);
    if (!c || call->blind || bytes < 16 || bytes > HEAD_BYTES || c->announced != 2 || c->sasl ||
        (c->label != LABEL_MONGODB && c->label != LABEL_KAFKA))
        return 0;
    struct stream *s = &c->streams[outbound];
    if (!s->synced || c->shadows != settings->shadows_made || settings->enabled == SPARING)
        return 0;
    struct piece p = {};
    if (!one_buffer(call, kind, bytes, &p.base))
        return 0;
    p.connection = call->connection;
    p.first_ns = p.last_ns = outbound ? call->began_ns : now;
    p.bytes = bytes;
    p.tgid = tgid;
    p.outbound = outbound;
    u64 held = s->held;
    if (!held && !s->total) {
        if (c->is_shadow)
            return usual_shadow(&p, c, s);
        if (bytes == 16) {  // a header by itself
            if (c->label != LABEL_MONGODB || bpf_probe_read_user(s->hold, 16, (void *)p.base))
                return 0;
            u32 length = mongodb_length(s->hold, 16, 0);
            if (length <= 16)
                return 0;
            s->total = length;
            s->done = s->held = 16;
            s->first_ns = p.first_ns;
            s->quiet = 0;
            s->keep = little_endian(s->hold + 12) == 2012 ? LONGEST_HEAD : HEAD_BYTES;
            s->number++;
            count(COUNT_MESSAGES);
            return 1;
        }
        struct scratch *e = scratches.lookup(&zero);
        u64 length = bytes;
        bound(length, HEAD_BYTES);  // for the verifier
        if (!e || bpf_probe_read_user(e->data, length, (void *)p.base) || !is_whole(c, s, e->data, length, bytes, 0))
            return 0;
        count(COUNT_MESSAGES);
        tell_whole(&p, c, e, s->number++, p.first_ns, length);
        return 1;
    }
    if (!held || s->quiet || held != s->done || held > HOLD || s->total != held + bytes || s->total > s->keep)
        return 0;
    struct scratch *e = scratches.lookup(&zero);
    u64 length = bytes;
    bound(held, HOLD);          // for the verifier
    bound(length, HEAD_BYTES);  // for the verifier
    if (!e)
        return 0;
    __builtin_memcpy(e->data, s->hold, HOLD);
    if (bpf_probe_read_user(e->data + held, length, (void *)p.base))
        return 0;
    tell_whole(&p, c, e, s->number - 1, s->first_ns, held + length);
    s->total = s->done = s->held = 0;
    return 1;
}
