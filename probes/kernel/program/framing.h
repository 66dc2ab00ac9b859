// SPDX-License-Identifier: GPL-2.0-only
//
// Follows each direction message by message, wherever the system calls cut it, and tells the head of each.
// probes/sources/framing.py is the same algorithm for captures; one corpus of streams runs through both.

enum { IMPLAUSIBLE = 0, UNDECIDED = 1 };  // verdicts below any message's length

inline_always u32 little_endian(u8 *p) { return p[0] | p[1] << 8 | p[2] << 16 | (u32)p[3] << 24; }
inline_always u32 big_endian(u8 *p) { return p[3] | p[2] << 8 | p[1] << 16 | (u32)p[0] << 24; }

inline_always int mongodb_opcode(u32 opcode)
{
    return opcode == 2013 || opcode == 2012 || opcode == 1 || opcode == 1000 ||
           (opcode >= 2001 && opcode <= 2007) || opcode == 2010 || opcode == 2011;
}

// MsgHeader: messageLength, requestID, responseTo, opCode; int32 little-endian, the length counts itself.
// A message's length, IMPLAUSIBLE, or UNDECIDED where more bytes are needed.
inline_always u32 mongodb_length(u8 *p, u32 have, int strict)
{
    if (have < 4)
        return UNDECIDED;
    u32 length = little_endian(p);
    if (length < 16 || length > MONGODB_LONGEST)
        return IMPLAUSIBLE;
    if (have < 16)
        return UNDECIDED;
    u32 opcode = little_endian(p + 12);
    if (!mongodb_opcode(opcode))
        return IMPLAUSIBLE;
    if (strict && opcode == 2013) {
        if (length < 26)
            return IMPLAUSIBLE;
        if (have < 21)
            return UNDECIDED;
        if (p[16] & ~3 || p[17] || p[20] > 2)  // unknown required flag bits, section kind
            return IMPLAUSIBLE;
    }
    return length;
}

// Request: length, api_key, api_version, correlation_id, client_id; big-endian, the length does not count itself.
inline_always u32 kafka_request_length(u8 *p, u32 have, int strict, int sasl)
{
    if (have < 4)
        return UNDECIDED;
    u32 length = big_endian(p);
    if (length > KAFKA_LONGEST)
        return IMPLAUSIBLE;
    if (sasl && !strict && length <= KAFKA_TRUSTED)
        return length + 4;
    if (length < 8)
        return IMPLAUSIBLE;
    if (have < 8)
        return UNDECIDED;
    if (p[4] || p[5] > 127 || p[6] || p[7] > 63)  // api_key, api_version
        return IMPLAUSIBLE;
    if (!strict)
        return have < 12 ? UNDECIDED : length + 4;  // its correlation_id has to be seen
    if (length < 10 || length > 200000000)
        return IMPLAUSIBLE;
    if (have < 14)
        return UNDECIDED;
    if (p[8] & 0x80)  // correlation_id
        return IMPLAUSIBLE;
    u32 client_id = p[12] << 8 | p[13];
    if (!client_id || client_id == 0xffff)
        return length + 4;
    if (client_id > 255 || client_id + 10 > length)
        return IMPLAUSIBLE;
    if (have < 15)
        return UNDECIDED;
    return p[14] < 0x20 || p[14] == 0x7f ? IMPLAUSIBLE : length + 4;
}

// Reply: length, correlation_id. Out of sync or long, it has to answer one of the last requests.
inline_always u32 kafka_reply_length(u8 *p, u32 have, int synced, u32 correlation)
{
    if (have < 4)
        return UNDECIDED;
    u32 length = big_endian(p);
    if (length > KAFKA_LONGEST)
        return IMPLAUSIBLE;
    if (synced && length <= KAFKA_TRUSTED)
        return length + 4;
    if (length < 4)
        return IMPLAUSIBLE;
    if (have < 8)
        return UNDECIDED;
    if (correlation - big_endian(p + 4) >= CORRELATIONS)
        return IMPLAUSIBLE;
    return length + 4;
}

inline_always void advance(struct cursor *q, struct stream *s, u64 bytes)
{
    q->left -= bytes;
    q->base += bytes;
    q->segment -= bytes;
    s->done += bytes;
}

inline_always void lose_sync(struct connection *c, struct stream *s)
{
    if (s->synced)
        count(COUNT_RESYNCHRONISED);
    c->young = 0;
    s->synced = 0;
    s->total = 0;
    s->done = 0;
    s->held = 0;
}

// Whether a connection without a label is to be tried as this.
#define may_be(c, use) ((EVERYWHERE & (use)) || ((BY_PORT & (use)) && ((c)->tries & (use))))

// The verdict on a header that begins `available` bytes. Labels the connection where there is no label yet.
inline_always u32 message_length(struct connection *c, struct stream *s, struct stream *back, u8 *p, u32 have,
                                 u64 available, int shadow)
{
    if (c->label == LABEL_MONGODB)
        return mongodb_length(p, have, !s->synced);
    u32 length = IMPLAUSIBLE;
    if (c->label == LABEL_KAFKA && !s->requests) {
        length = kafka_reply_length(p, have, s->synced && !shadow, c->correlation);
        if (length != IMPLAUSIBLE || s->number)
            return length;
        // No reply was seen here yet. In mid-stream the label may have come from a reply that looks like a request, as
        // those to correlation ids below 64 do: a real request tells.
    } else if (!c->label && may_be(c, PORT_MONGODB)) {
        length = mongodb_length(p, have, 1);
        if (length > UNDECIDED) {
            c->label = LABEL_MONGODB;
            return length;
        }
    }
    u32 request = may_be(c, PORT_KAFKA) ? kafka_request_length(p, have, !s->synced, c->sasl) : IMPLAUSIBLE;
    if (request > UNDECIDED && !s->requests) {
        u32 client_id = p[12] << 8 | p[13];
        if (!c->young && (!client_id || client_id == 0xffff) && request != available)
            return length;  // zeros are everywhere: in mid-stream they alone make no request
        c->label = LABEL_KAFKA;
        s->requests = 1;
        if (back->requests) {
            back->requests = 0;
            back->synced = 0;  // was never a step that could be lost
            lose_sync(c, back);
        }
    }
    return request > length ? request : length;  // undecided if one of them is
}

inline_always void find_addresses(struct cursor *q, struct connection *c)
{
    if (!c->socket)
        c->socket = q->socket;
    if (!c->addresses.family && c->socket) {
        struct addresses *a = sockets.lookup(&c->socket);
        if (a)
            c->addresses = *a;
    }
}

inline_always void announce(struct cursor *q, struct connection *c)
{
    find_addresses(q, c);
    u8 news = c->addresses.family ? 2 : 1;
    if (c->announced == news)
        return;
    struct lifecycle opened = {};
    opened.kind = EVENT_OPENED;
    opened.label = c->label;
    opened.flags = c->young;
    opened.tgid = q->tgid;
    opened.connection = q->connection;
    opened.ns = c->opened_ns;
    opened.fd = q->fd;
    opened.addresses = c->addresses;
    if (!tell(&opened, sizeof(opened)))
        c->announced = news;
}

inline_always void ignore(struct cursor *q, struct connection *c)
{
    struct lifecycle ignored = {};
    ignored.kind = EVENT_IGNORED;
    ignored.tgid = q->tgid;
    ignored.connection = q->connection;
    ignored.ns = q->last_ns;
    ignored.fd = q->fd;
    ignored.addresses = c->addresses;
    ignored.reason = c->tls > c->strange / 2 ? REASON_TLS : REASON_UNRECOGNISED;
    tell(&ignored, sizeof(ignored));
    count(COUNT_IGNORED);
    u64 key = (u64)q->tgid << 32 | q->fd, none = 0;
    descriptors.update(&key, &none);
    connections.delete(&q->connection);
}

inline_always void tell_exchange(u64 connection, struct shadow *h, u32 id, u64 reply_first_ns, u64 reply_last_ns)
{
    struct exchange told = {};
    told.kind = EVENT_EXCHANGE;
    told.id = id;
    told.connection = connection;
    if (h->request_first_ns && h->id == id) {
        told.messages = 1;
        told.request_first_ns = h->request_first_ns;
        told.request_last_ns = h->request_last_ns;
        h->request_first_ns = 0;
    }
    if (reply_last_ns) {
        told.messages++;
        told.reply_first_ns = reply_first_ns;
        told.reply_last_ns = reply_last_ns;
    }
    tell(&told, sizeof(told));
}

// Whether the request that begins so may get no reply: only its own bytes then show that it was sent.
inline_always int may_be_oneway(struct connection *c, u8 *p, u32 have)
{
    if (c->label == LABEL_KAFKA)
        return !p[4] && !p[5];  // Produce, maybe with acks=0
    u32 opcode = little_endian(p + 12);
    if (opcode == 2013)
        return have < 20 || p[16] & 2;  // moreToCome
    return opcode != 2004 && opcode != 2005 && opcode != 2010 && opcode != 2012;
}

// A shadow's message begins. Of a request what shows what it is stays, for as long as it waits.
inline_always void begin_quiet(struct cursor *q, struct connection *c, struct stream *s, u32 have, u64 held,
                               u64 available)
{
    struct shadow *h = shadows.lookup(&q->connection);
    if (!h)
        return;
    u8 *p = q->peek;
    if (!q->outbound) {
        s->quiet = 1;
        s->id = c->label == LABEL_KAFKA ? big_endian(p + 4) : little_endian(p + 8);
        return;
    }
    u8 oneway = blur(q->last, may_be_oneway(c, p, have));
    if (oneway)
        return;
    held = blur(q->c, held);
    s->quiet = 1;
    s->id = c->label == LABEL_KAFKA ? big_endian(p + 8) : little_endian(p + 4);
    if (h->request_first_ns)
        tell_exchange(q->connection, h, h->id, 0, 0);  // there are several at once
    h->id = s->id;
    h->total = s->total;
    u64 more = s->total - held;
    if (more > available)
        more = available;
    __builtin_memcpy(h->data, p, HOLD);
    bound(held, HOLD - 1);  // for the verifier
    bound(more, SHADOW_HEAD - HOLD);
    h->length = bpf_probe_read_user(h->data + held, more, (void *)q->base) ? 0 : held + more;
}

// The rest of a shadow's message goes by.
inline_always int pass_quiet(struct cursor *q, struct stream *s, u64 available)
{
    u64 take = s->total - s->done;
    u8 last = available >= take;
    advance(q, s, last ? take : available);
    if (!last)
        return 1;
    s->total = 0;
    s->done = 0;
    s->held = 0;
    struct shadow *h = shadows.lookup(&q->connection);
    if (!h)
        return 1;
    if (!q->outbound) {
        h->replied = 1ull << 32 | s->id;
        tell_exchange(q->connection, h, s->id, s->first_ns, q->last_ns);
    } else {
        h->request_first_ns = s->first_ns;
        h->request_last_ns = q->last_ns;
        // Its reply may be faster than the thread that sent it comes back.
        if (h->replied == (1ull << 32 | s->id))
            tell_exchange(q->connection, h, s->id, 0, 0);
    }
    return 1;
}

// A header is due: gathers its bytes, if need be over several calls, and decides what begins here. 0 ends the walk.
inline_always int begin(struct cursor *q, struct connection *c, struct stream *s, u64 available)
{
    if (q->blind) {
        lose_sync(c, s);
        return 0;
    }
    u32 held = s->held & (HOLD - 1);
    u64 more = HOLD - held;
    if (more > available)
        more = available;
    __builtin_memcpy(q->peek, s->hold, HOLD);
    bound(more, HOLD);  // for the verifier
    if (bpf_probe_read_user(q->peek + held, more, (void *)q->base)) {
        count(COUNT_UNREADABLE);
        lose_sync(c, s);
        return 0;
    }
    if (!held)
        s->first_ns = q->first_ns;
    u8 unlabelled = blur(q->untold, !c->label);
    more = blur(q->b, more);
    held = blur(q->c, held);
    struct stream *back = &c->streams[!q->outbound];
    u8 shadow = blur(q->shadow, c->announced && !c->sasl && c->is_shadow);
    u32 length = blur(q->a, message_length(c, s, back, q->peek, held + more, held + available, shadow));
    unlabelled = q->untold;
    more = q->b;
    held = q->c;
    if (length == UNDECIDED) {
        __builtin_memcpy(s->hold, q->peek, HOLD);
        s->held = held + more;
        advance(q, s, more);
        s->done = 0;
        return 1;
    }
    if (length == IMPLAUSIBLE || length < held) {
        lose_sync(c, s);
        if (!c->label && q->peek[0] >= 0x14 && q->peek[0] <= 0x17 && q->peek[1] == 3)
            c->tls++;
        if (held) {  // a message may begin at a later one of the held bytes
            __builtin_memcpy(s->hold, q->peek + 1, HOLD - 1);
            s->held = held - 1;
            return 1;
        }
        if (!c->label && ++c->strange > STRANGE_CALLS) {
            ignore(q, c);
            return 0;
        }
        advance(q, s, available);  // the next buffer may begin with one
        s->done = 0;
        return 1;
    }
    if (c->label == LABEL_KAFKA && s->requests && held + more >= 12) {
        c->correlation = big_endian(q->peek + 8);
        if (q->peek[5] == 17 && !q->peek[7])  // SaslHandshake v0: tokens without header follow
            c->sasl = 1;
    }
    if (unlabelled && c->young && c->label == LABEL_KAFKA && !back->held)
        back->synced = 1;  // the next bytes there are the first reply
    s->synced = 1;
    s->total = length;
    s->done = held;
    struct settings *now = current_settings();
    s->keep = now && now->enabled == SPARING && HEAD_BYTES > SHORT_HEAD ? SHORT_HEAD : HEAD_BYTES;
    if (c->label == LABEL_MONGODB && little_endian(q->peek + 12) == 2012)  // OP_COMPRESSED: useless when cut
        s->keep = LONGEST_HEAD;
    count(COUNT_MESSAGES);
    s->quiet = 0;
    if (q->shadow)
        begin_quiet(q, c, s, held + more, held, available);
    s->number += !blur(q->last, s->quiet);
    return 1;
}

// Some bytes of a message whose length is known: tells its head, passes over the rest. 0 ends the walk.
inline_always int follow(struct cursor *q, struct connection *c, struct stream *s, struct scratch *e, u64 available)
{
    u64 take = s->total - s->done;
    u8 last = blur(q->last, available >= take);
    take = blur(q->a, last ? take : available);
    u8 untold = blur(q->untold, s->held == s->done);
    u64 held = blur(q->b, untold ? s->held : 0);

    if (!last && untold && !q->blind && held + take <= HOLD) {  // a pre-read: waits for the rest
        u64 more = take;
        bound(held, HOLD - 1);
        bound(more, HOLD);  // for the verifier
        __builtin_memcpy(q->peek, s->hold, HOLD);
        u64 now = held + take;
        if (bpf_probe_read_user(q->peek + held, more, (void *)q->base)) {
            count(COUNT_UNREADABLE);
            now = 0;  // the message goes by untold
        }
        __builtin_memcpy(s->hold, q->peek, HOLD);
        s->held = now;
        advance(q, s, take);
        return 1;
    }

    u64 kept = 0, tail = 0;
    if (!q->blind && s->done < s->keep) {
        kept = s->keep - s->done;
        if (kept > take)
            kept = take;
    }
    if (!q->blind && last && kept < take) {
        tail = take - kept;
        if (tail > TAIL)
            tail = TAIL;
    }
    kept = blur(q->b, kept);
    tail = blur(q->c, tail);
    if (untold || kept || last) {
        e->head.kind = EVENT_HEAD;
        e->head.framing = FRAMING_MESSAGE;
        e->head.label = c->label;
        e->head.flags = (q->outbound ? HEAD_OUTBOUND : 0) | (untold ? HEAD_FIRST : 0) | (last ? HEAD_LAST : 0);
        e->head.tgid = q->tgid;
        e->head.connection = q->connection;
        e->head.number = s->number - 1;
        e->head.first_ns = s->first_ns;
        e->head.last_ns = last ? q->last_ns : 0;
        e->head.total = s->total;
        e->head.offset = untold ? 0 : s->done;
        __builtin_memcpy(e->data, s->hold, HOLD);
        bound(held, HOLD);  // for the verifier
        bound(kept, LONGEST_HEAD);  // for the verifier
        if (kept && bpf_probe_read_user(e->data + held, kept, (void *)q->base)) {
            count(COUNT_UNREADABLE);
            kept = 0;
            tail = 0;
        }
        u64 length = blur(q->b, held + kept);
        tail = blur(q->c, tail);
        bound(tail, TAIL);  // for the verifier
        bound(length, LONGEST_HEAD + HOLD);  // for the verifier
        if (tail && bpf_probe_read_user(e->data + length, tail, (void *)(q->base + take - tail))) {
            count(COUNT_UNREADABLE);
            tail = 0;
        }
        tail = blur(q->c, tail);
        e->head.length = length;
        e->head.tail = tail;
        announce(q, c);
        u64 size = sizeof(struct head) + length + tail;
        opaque(size);
        if (size > sizeof(struct scratch))  // for the verifier
            size = sizeof(struct scratch);
        tell(e, size);
        s->held = 0;
    }
    advance(q, s, take);
    if (q->blind && s->keep < s->done + WINDOW)
        s->keep = s->done + WINDOW;
    if (last) {
        s->total = 0;
        s->done = 0;
    }
    return 1;
}

// Learns from its ports, once they are known, what a connection may carry. 0 where that is nothing: it is left alone.
inline_always int tried_by_port(struct cursor *q, struct connection *c)
{
    find_addresses(q, c);
    if (!c->addresses.family)
        return 1;
    u32 near = c->addresses.near_port, far = c->addresses.far_port;
    u8 *here = ports.lookup(&near), *there = ports.lookup(&far);
    c->tries = PORT_KNOWN | (here ? *here : 0) | (there ? *there : 0);
    if (c->tries & PORT_RAW)
        c->label = LABEL_RAW;
    else if (!EVERYWHERE && c->tries == PORT_KNOWN) {
        u64 key = (u64)q->tgid << 32 | q->fd, none = 0;
        descriptors.update(&key, &none);
        connections.delete(&q->connection);
        return 0;
    }
    return 1;
}

// Bytes of one buffer of one call: a plugin finds the messages in them. 0 ends the walk.
inline_always int tell_raw(struct cursor *q, struct connection *c, struct stream *s, struct scratch *e, u64 available)
{
    u64 kept = q->blind || s->done >= RAW_BYTES ? 0 : available;
    bound(kept, LONGEST_HEAD);
    if (kept)
        available = kept;  // the rest with the next step
    if (kept && bpf_probe_read_user(e->data, kept, (void *)q->base)) {
        count(COUNT_UNREADABLE);
        kept = 0;
    }
    available = blur(q->a, available);
    kept = blur(q->b, kept);
    bound(kept, LONGEST_HEAD);  // for the verifier
    __builtin_memset(&e->head, 0, sizeof(e->head));
    e->head.kind = EVENT_HEAD;
    e->head.framing = FRAMING_RAW;
    e->head.label = LABEL_RAW;
    e->head.flags = (q->outbound ? HEAD_OUTBOUND : 0) | HEAD_FIRST | HEAD_LAST;
    e->head.tgid = q->tgid;
    e->head.connection = q->connection;
    e->head.number = s->number++;
    e->head.first_ns = q->first_ns;
    e->head.last_ns = q->last_ns;
    e->head.total = available;
    e->head.length = kept;
    announce(q, c);
    tell(e, sizeof(struct head) + kept);
    advance(q, s, available);
    return 1;
}

// Takes the next buffer where one has been walked. 0 where there is none.
inline_always int next_buffer(struct cursor *q, struct connection *c, struct stream *s)
{
    if (q->segment)
        return 1;
    if (++q->at >= q->vectors)
        return 0;
    struct { u64 base, length; } v = {};
    if (bpf_probe_read_user(&v, sizeof(v), (void *)(q->vector + q->at * sizeof(v)))) {
        count(COUNT_UNREADABLE);
        lose_sync(c, s);
        return 0;
    }
    q->base = v.base;
    q->segment = v.length;
    return 1;
}

inline_always int step_raw(struct cursor *q, struct connection *c, struct scratch *e)
{
    struct stream *s = &c->streams[q->outbound & 1];
    if (!q->left || !next_buffer(q, c, s))
        return 0;
    u64 available = q->segment < q->left ? q->segment : q->left;
    return available ? tell_raw(q, c, s, e, available) : 1;
}

inline_always int step(struct cursor *q, struct connection *c, struct scratch *e)
{
    struct stream *s = &c->streams[q->outbound & 1];
    if (!q->left || !next_buffer(q, c, s))
        return 0;
    if (!q->segment)
        return 1;
    u64 available = q->segment < q->left ? q->segment : q->left;
    if (!s->total)
        return begin(q, c, s, available);
    if (s->quiet)
        return pass_quiet(q, s, available);
    return follow(q, c, s, e, available);
}
