// SPDX-License-Identifier: Apache-2.0
/*
 * Two routers with their replicas, four clients that talk to each other without a pause, and
 * everything that can happen to them: connections that break with bytes under way in both
 * directions, clients that log out and in, a link that breaks, nodes that die, are taken over and
 * come back without memory, users that are moved as planned.
 *
 * Whatever happens, once it is quiet: every message has been acknowledged to its sender, and its
 * recipient has it exactly once; everybody sees everybody as they are. No client ever has to log in
 * again.
 *
 * test_router [FIRST_SEED COUNT]; a failure names its seed. With a count of 1 it tells all.
 */
#include "test/unit/routerd/world.h"

enum { PEOPLE = 4, MESSAGES_MAX = 4000, STEPS = 3000, TAKEOVER_MS = 3000 };

static uint64_t first_seed = 1, seeds = 60;

/* ---- a client that does what XEP-0198 says ---- */

#define BIND                                                                                       \
    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource>"  \
    "</bind></iq>"

enum phase { AWAY, GREETING, PROVING, BINDING, ENABLING, READY, LEAVING };

struct line {
    struct line *prev, *next;
    int message; /* that it carries; -1: none */
    bool stanza; /* counts for XEP-0198 */
    char text[512];
};

struct person {
    struct sim *sim;
    const char *name;
    enum phase phase;
    struct world_client *connection;
    struct xml_stream *parser;
    uint32_t node;        /* to try next */
    struct line *outbox;  /* on the wire to the server */
    struct line *unacked; /* sent, or to be sent, and not acknowledged */
    uint64_t out_acked;
    char smid[40];
    bool left; /* it wanted to end that session */
    uint32_t in_count;
    bool counting; /* from <enabled/> or <resumed/> on */
    int mood;      /* of its last presence */
    int sees[PEOPLE];
    bool restart;
};

struct message {
    int from, to;
    bool acked;
    int delivered;
};

struct sim {
    struct world *w;
    uint64_t seed, random;
    struct person people[PEOPLE];
    struct message messages[MESSAGES_MAX];
    int message_count;
    bool quiet; /* no faults and no new messages any more */
    bool safe;  /* a node may die */

    mono_t mend_at; /* the link */
    uint32_t dead;  /* a node; 0: none */
    mono_t takeover_at, restart_at;
    uint32_t giving; /* a node whose users move away, or back; 0: none */
    uint32_t to_whom;
};

static uint64_t draw(struct sim *s, uint64_t below)
{
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;
    return (s->random >> 33) % below;
}

static bool chance(struct sim *s, uint64_t one_in)
{
    return draw(s, one_in) == 0;
}

static void complain(struct sim *s, const char *what)
{
    print_error("seed %llu at %llu ms: %s\n", (unsigned long long)s->seed,
                (unsigned long long)s->w->now.mono.ms, what);
    fail();
}

static void tell_all(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell_all(struct sim *s, const char *format, ...)
{
    va_list args;

    if (seeds != 1)
        return;
    printf("%llu ", (unsigned long long)s->w->now.mono.ms);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
}

static void post_line(struct line **list, const struct line *line)
{
    struct line *copy = mem_new(sizeof(*copy));

    *copy = *line;
    DL_APPEND(*list, copy);
}

static void drop_lines(struct line **list)
{
    while (*list) {
        struct line *l = *list;

        DL_DELETE(*list, l);
        mem_free(l);
    }
}

static void say(struct person *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct person *p, const char *format, ...)
{
    struct line line = {.message = -1};
    va_list args;

    va_start(args, format);
    vsnprintf(line.text, sizeof(line.text), format, args);
    va_end(args);
    post_line(&p->outbox, &line);
}

/* A stanza: kept until it is acknowledged; sent now if there is a stream to carry it. */
static void send_stanza(struct person *p, const struct line *line)
{
    post_line(&p->unacked, line);
    if (p->phase == READY) {
        post_line(&p->outbox, line);
        if (chance(p->sim, 3))
            say(p, "<r xmlns='urn:xmpp:sm:3'/>");
    }
}

static void acknowledged(struct person *p, uint32_t h)
{
    uint32_t count = h - (uint32_t)p->out_acked;

    for (; count; count--) {
        struct line *l = p->unacked;

        if (!l)
            complain(p->sim, "more was acknowledged than was sent");
        DL_DELETE(p->unacked, l);
        if (l->message >= 0)
            p->sim->messages[l->message].acked = true;
        mem_free(l);
        p->out_acked++;
    }
}

static void hear_message(struct person *p, struct arena *arena, const struct xml_node *node)
{
    struct str body = xml_text(arena, xml_child(node, NULL, "body"));
    struct sim *s = p->sim;
    uint32_t number;

    if (str_eq_c(xml_get(node, "type"), "error"))
        complain(s, "a message was refused");
    if (!str_u32(str_sub(body, 2, SIZE_MAX), &number) || (int)number >= s->message_count)
        complain(s, "a message that nobody sent");
    if (strcmp(s->people[s->messages[number].to].name, p->name) != 0)
        complain(s, "a message for somebody else");
    if (++s->messages[number].delivered > 1)
        complain(s, "a message was delivered twice");
}

/* Moods are told in the status; -1: not there. */
static void hear_presence(struct person *p, struct arena *arena, const struct xml_node *node)
{
    struct str from = xml_get(node, "from");
    struct str status = xml_text(arena, xml_child(node, NULL, "status"));
    uint32_t mood = 0;

    (void)str_u32(status, &mood);
    for (int i = 0; i < PEOPLE; i++)
        if (str_starts(from, str_of(p->sim->people[i].name)))
            p->sees[i] = xml_get(node, "type").p ? -1 : (int)mood;
}

/* All that is unacknowledged goes out, in its order. */
static void send_all(struct person *p)
{
    struct line *l;

    p->phase = READY;
    DL_FOREACH (p->unacked, l) {
        post_line(&p->outbox, l);
    }
    if (p->unacked)
        say(p, "<r xmlns='urn:xmpp:sm:3'/>");
}

static void hear_features(struct person *p, const struct xml_node *node)
{
    char plain[64];
    struct buf b;
    int len;

    if (xml_child(node, NULL, "mechanisms")) {
        len = snprintf(plain, sizeof(plain), "%c%s%csecret", 0, p->name, 0);
        buf_init(&b, 256);
        digest_base64(&b, str_of_bytes(plain, (size_t)len));
        say(p, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>",
            b.data);
        buf_done(&b);
        p->phase = PROVING;
    } else if (p->smid[0]) {
        say(p, "<resume xmlns='urn:xmpp:sm:3' previd='%s' h='%u'/>", p->smid, p->in_count);
        p->phase = BINDING;
    } else {
        say(p, BIND);
        p->phase = BINDING;
    }
}

static void hear_enabled(struct person *p, const struct xml_node *node)
{
    struct line presence = {.message = -1, .stanza = true};
    struct line *copy = mem_new(sizeof(*copy));

    snprintf(p->smid, sizeof(p->smid), "%.*s", STR_ARG(xml_get(node, "id")));
    p->in_count = 0;
    p->out_acked = 0;
    p->left = false;
    p->counting = true;
    snprintf(presence.text, sizeof(presence.text), "<presence><status>%d</status></presence>",
             p->mood);
    *copy = presence;
    for (int i = 0; i < PEOPLE; i++)
        p->sees[i] = -1;
    DL_PREPEND(p->unacked, copy);
    send_all(p);
}

/* It had logged out, and nobody told it so. */
static void hear_left(struct person *p)
{
    p->smid[0] = '\0';
    say(p, BIND);
}

static void hear_h(struct person *p, const struct xml_node *node)
{
    uint32_t h;

    if (!str_u32(xml_get(node, "h"), &h))
        complain(p->sim, "an h that is no number");
    acknowledged(p, h);
}

static void hear_error(struct person *p, struct arena *arena, const struct xml_node *node)
{
    struct xml_node *other = xml_child(node, NULL, "see-other-host");
    struct str host = xml_text(arena, other);

    if (other)
        p->node = str_starts(host, STR("127.0.1.1")) ? 1 : 2;
    else if (!xml_child(node, NULL, "conflict") && !xml_child(node, NULL, "resource-constraint"))
        complain(p->sim, "a stream error");
}

static void on_open(void *ctx, const struct xml_node *root)
{
    (void)ctx;
    (void)root;
}

static void hear(struct person *p, struct arena *arena, const struct xml_node *node)
{
    bool stanza = str_eq_c(node->ns, "jabber:client");

    if (stanza && p->counting)
        p->in_count++;
    if (xml_is(node, NULL, "features"))
        hear_features(p, node);
    else if (xml_is(node, NULL, "success"))
        p->restart = true;
    else if (xml_is(node, NULL, "iq") && p->phase == BINDING) {
        say(p, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        p->phase = ENABLING;
    } else if (xml_is(node, NULL, "enabled"))
        hear_enabled(p, node);
    else if (xml_is(node, NULL, "resumed")) {
        hear_h(p, node);
        p->counting = true;
        p->left = false;
        send_all(p);
    } else if (xml_is(node, NULL, "failed") && p->left)
        hear_left(p);
    else if (xml_is(node, NULL, "failed"))
        complain(p->sim, "a session was lost");
    else if (xml_is(node, NULL, "a"))
        hear_h(p, node);
    else if (xml_is(node, NULL, "r"))
        say(p, "<a xmlns='urn:xmpp:sm:3' h='%u'/>", p->in_count);
    else if (xml_is(node, NULL, "message"))
        hear_message(p, arena, node);
    else if (xml_is(node, NULL, "presence"))
        hear_presence(p, arena, node);
    else if (xml_is(node, NULL, "error"))
        hear_error(p, arena, node);
}

static void on_stanza(void *ctx, struct arena *arena, struct xml_node *stanza)
{
    hear(ctx, arena, stanza);
    arena_done(arena);
    mem_free(arena);
}

static void on_close(void *ctx)
{
    struct person *p = ctx;

    if (p->phase == LEAVING)
        p->smid[0] = '\0';
}

static const struct xml_stream_ops parser_ops = {on_open, on_stanza, on_close};

/* ---- its connection ---- */

static void forget_connection(struct person *p)
{
    xml_stream_free(p->parser);
    p->parser = NULL;
    drop_lines(&p->outbox);
    p->connection = NULL;
    p->counting = p->restart = false;
    p->phase = AWAY;
}

static void dial(struct person *p)
{
    struct world *w = p->sim->w;

    if (!w->nodes[p->node].router) {
        p->node = 3 - p->node;
        return;
    }
    p->connection = world_dial(w, p->node);
    tell_all(p->sim, "%s dials node %u, stream %d", p->name, (unsigned)p->node,
             (int)p->connection->stream);
    p->parser = xml_stream_new(&parser_ops, p, 1 << 20);
    p->phase = GREETING;
    world_header(w, p->connection, "muster.test", true);
}

/* It reads some of what was sent to it. */
static void read_some(struct person *p, size_t most)
{
    struct world_client *c = p->connection;
    size_t len = c->out.len < most ? c->out.len : most;
    uint8_t *bytes = mem_dup(c->out.data ? c->out.data : "", len);

    tell_all(p->sim, "%s < %.*s", p->name, (int)len, (const char *)bytes);
    buf_drop(&c->out, len);
    if (xml_stream_feed(p->parser, bytes, len) != 0)
        complain(p->sim, "what the server sent cannot be parsed");
    mem_free(bytes);
    if (p->restart) {
        p->restart = false;
        xml_stream_restart(p->parser);
        if (!c->closed)
            world_header(p->sim->w, c, "muster.test", true);
    }
    if (c->closed && c->out.len == 0)
        forget_connection(p);
}

/* A line arrives. */
static void transmit(struct person *p)
{
    struct line *l = p->outbox;

    DL_DELETE(p->outbox, l);
    tell_all(p->sim, "%s > %s", p->name, l->text);
    world_put(p->sim->w, p->connection, l->text);
    mem_free(l);
}

static void break_connection(struct person *p)
{
    struct world_client *c = p->connection;

    tell_all(p->sim, "%s breaks", p->name);
    if (!c->closed)
        router_on_stream_closed(p->sim->w->nodes[c->node].router, c->stream, &p->sim->w->now);
    c->closed = c->ending = true;
    forget_connection(p);
    if (chance(p->sim, 2))
        p->node = 1 + (uint32_t)draw(p->sim, 2);
}

/* Says what it has, and goes. It has gone when the server says so; until then it may come back. */
static void log_out(struct person *p)
{
    struct world_client *c = p->connection;

    if (p->phase != READY || p->unacked || p->outbox || c->out.len || c->closed)
        return;
    tell_all(p->sim, "%s logs out", p->name);
    say(p, "<a xmlns='urn:xmpp:sm:3' h='%u'/>", p->in_count);
    transmit(p);
    if (c->closed || c->ending)
        return;
    router_on_stream_end(p->sim->w->nodes[c->node].router, c->stream, &p->sim->w->now);
    p->phase = LEAVING;
    p->left = true;
}

static void write_message(struct sim *s, struct person *p)
{
    struct line line = {.stanza = true};
    int number = s->message_count;
    int to = (int)draw(s, PEOPLE);
    char id[64] = "", origin[96] = "";

    if (number == MESSAGES_MAX)
        return;
    s->message_count++;
    s->messages[number] = (struct message){.from = (int)(p - s->people), .to = to};
    if (chance(s, 2))
        snprintf(id, sizeof(id), " id='%d'", number % 10); /* begins anew, as with some clients */
    if (chance(s, 2))
        snprintf(origin, sizeof(origin), "<origin-id xmlns='urn:xmpp:sid:0' id='o%d'/>", number);
    line.message = number;
    snprintf(line.text, sizeof(line.text),
             "<message to='%s@muster.test' type='chat'%s><body>m %d</body>%s</message>",
             s->people[to].name, id, number, origin);
    send_stanza(p, &line);
}

static void change_mood(struct sim *s, struct person *p)
{
    struct line line = {.message = -1, .stanza = true};

    if (p->phase != READY)
        return;
    p->mood = (int)draw(s, 1000);
    snprintf(line.text, sizeof(line.text), "<presence><status>%d</status></presence>", p->mood);
    send_stanza(p, &line);
}

static void act(struct sim *s, struct person *p)
{
    if (p->connection && p->connection->closed && p->connection->out.len == 0)
        forget_connection(p);
    if (!p->connection) {
        if (s->quiet || chance(s, 5))
            dial(p);
        return;
    }
    if (p->connection->out.len && chance(s, 2))
        read_some(p, s->quiet ? SIZE_MAX : 1 + draw(s, 2000));
    else if (p->outbox && !p->connection->ending)
        transmit(p);
    else if (!s->quiet && chance(s, 3))
        write_message(s, p);
    else if (!s->quiet && chance(s, 20))
        change_mood(s, p);
    else if (!s->quiet && chance(s, 20))
        break_connection(p);
    else if (!s->quiet && chance(s, 20))
        log_out(p);
}

/* ---- faults ---- */

static struct replica *replica_of(struct sim *s, uint32_t node)
{
    return s->w->nodes[node].replica;
}

static bool in_sync(struct sim *s)
{
    for (uint32_t i = 1; i <= WORLD_NODES; i++)
        if (!s->w->nodes[i].router ||
            replica_state(replica_of(s, i)) != MUSTER__REPLICA_STATE__REPLICA_IN_SYNC)
            return false;
    return true;
}

static void cut_link(struct sim *s)
{
    tell_all(s, "link breaks");
    world_set_link(s->w, false);
    s->mend_at = mono_after(s->w->now.mono, 1 + draw(s, 2000));
}

static void mend_link(struct sim *s)
{
    if (s->w->linked || s->dead || !mono_reached(s->w->now.mono, s->mend_at))
        return;
    tell_all(s, "link is mended");
    world_set_link(s->w, true);
}

/* What it sent last may still arrive. */
static void kill_node(struct sim *s)
{
    uint32_t node = 1 + (uint32_t)draw(s, 2);
    struct world_frame *f, *next;
    bool arrives = true;

    tell_all(s, "node %u dies", (unsigned)node);
    DL_FOREACH_SAFE (s->w->frames, f, next) {
        if (f->from != node)
            continue;
        arrives = arrives && !chance(s, 4);
        if (arrives)
            world_deliver(s->w, f);
    }
    world_power_off(s->w, node);
    s->dead = node;
    s->giving = 0;
    s->takeover_at = mono_after(s->w->now.mono, TAKEOVER_MS);
    s->restart_at = mono_after(s->takeover_at, 500 + draw(s, 20000));
}

static void tell(struct sim *s, uint32_t node)
{
    tell_all(s, "node %u gets view %d: %u serves 1, %u serves 2", (unsigned)node,
             (int)s->w->view.version, (unsigned)s->w->view.nodes[0].served_by,
             (unsigned)s->w->view.nodes[1].served_by);
    world_give_view(s->w, &s->w->nodes[node]);
}

static void recover(struct sim *s)
{
    struct world *w = s->w;
    mono_t now = w->now.mono;

    if (!s->dead)
        return;
    if (s->takeover_at.ms && mono_reached(now, s->takeover_at)) {
        world_change_view(w, 3 - s->dead, 3 - s->dead);
        tell(s, 3 - s->dead);
        s->takeover_at.ms = 0;
    } else if (!s->takeover_at.ms && mono_reached(now, s->restart_at)) {
        tell_all(s, "node %u starts", (unsigned)s->dead);
        world_start(w, s->dead);
        tell(s, s->dead);
        tell(s, 3 - s->dead);
        s->dead = 0;
        world_set_link(w, true);
    }
}

static uint32_t served_by(const struct sim *s, uint32_t home)
{
    return s->w->view.nodes[home - 1].served_by;
}

/* Users of one home move: the node that has them lets go of them, then the other takes them. */
static void begin_move(struct sim *s)
{
    uint32_t home = 1 + (uint32_t)draw(s, 2);
    uint32_t served[3] = {0, served_by(s, 1), served_by(s, 2)};

    s->giving = served[home];
    s->to_whom = 3 - s->giving;
    served[home] = 0;
    world_change_view(s->w, served[1], served[2]);
    tell(s, s->giving);
}

static void end_move(struct sim *s)
{
    struct world *w = s->w;
    uint32_t served[3];

    if (!s->giving || router_view_done(w->nodes[s->giving].router) != w->view.version)
        return;
    for (uint32_t home = 1; home <= 2; home++)
        served[home] = served_by(s, home) ? served_by(s, home) : s->to_whom;
    world_change_view(w, served[1], served[2]);
    tell(s, s->to_whom);
    tell(s, s->giving);
    s->giving = 0;
}

/* Both memories hold all that was committed, also what did not wait because they were not in sync
 * yet: only from then on may one of them be lost. */
static void watch_sync(struct sim *s)
{
    if (!in_sync(s))
        s->safe = false;
    else if (!s->w->frames && !world_pending(s->w))
        s->safe = true;
}

static void disturb(struct sim *s)
{
    watch_sync(s);
    mend_link(s);
    recover(s);
    end_move(s);
    if (s->quiet || s->dead || s->giving)
        return;
    if (s->w->linked && chance(s, 400))
        cut_link(s);
    else if (s->safe && chance(s, 300))
        kill_node(s);
    else if (s->safe && chance(s, 200))
        begin_move(s);
}

/* ---- the whole ---- */

static struct world_frame *next_frame(struct sim *s)
{
    uint32_t from = 1 + (uint32_t)draw(s, 2);
    struct world_frame *f;

    DL_FOREACH (s->w->frames, f) {
        if (f->from == from)
            return f;
    }
    return s->w->frames;
}

static void deliver(struct sim *s)
{
    struct world_frame *f = next_frame(s);
    Muster__Envelope *e;

    if (!f)
        return;
    e = muster__envelope__unpack(NULL, f->len, f->bytes);
    if (e->body_case == MUSTER__ENVELOPE__BODY_IM)
        tell_all(s, "node %u -> %u Im %d %s %s %.*s", (unsigned)f->from, (unsigned)f->to,
                 (int)e->id, e->im->from, e->im->id, (int)e->im->body.len, e->im->body.data);
    else if (e->body_case == MUSTER__ENVELOPE__BODY_IM_REPLY)
        tell_all(s, "node %u -> %u ImReply %d %d", (unsigned)f->from, (unsigned)f->to, (int)e->id,
                 (int)e->im_reply->result);
    muster__envelope__free_unpacked(e, NULL);
    world_deliver(s->w, f);
}

static void answer(struct sim *s)
{
    static const char *const works[] = {"roster", "put", "delete", "store", "list", "forget"};
    struct world_job *j = s->w->jobs;

    if (!j)
        return;
    tell_all(s, "database %s %s for node %u, %.*s", works[j->work], j->aor, (unsigned)j->node,
             j->im ? (int)j->im->body.len : 0, j->im ? (const char *)j->im->body.data : "");
    world_do_job(s->w);
}

static void pass_time(struct sim *s)
{
    uint64_t ms = chance(s, 10) ? draw(s, 200) : draw(s, 4);

    s->w->now.mono.ms += ms;
    s->w->now.unix_ms += ms;
    world_tick(s->w);
}

static void step(struct sim *s)
{
    struct world *w = s->w;

    switch (draw(s, 8)) {
    case 0:
    case 1:
        deliver(s);
        break;
    case 2:
        answer(s);
        break;
    case 3:
        world_flush(w);
        break;
    case 4:
        world_end_streams(w);
        pass_time(s);
        break;
    default:
        act(s, &s->people[draw(s, PEOPLE)]);
        break;
    }
    disturb(s);
    world_check(w);
}

static bool is_settled(struct sim *s)
{
    for (int i = 0; i < PEOPLE; i++) {
        struct person *p = &s->people[i];

        if (p->phase != READY || p->unacked || p->outbox || p->connection->out.len)
            return false;
    }
    return !s->dead && !s->giving && s->w->linked && !s->w->messages && !s->w->jobs &&
           !s->w->frames && in_sync(s);
}

static void settle(struct sim *s)
{
    s->quiet = true;
    for (int i = 0; i < 400000; i++) {
        step(s);
        if (i % 64)
            continue;
        if (is_settled(s))
            return;
        for (int k = 0; k < PEOPLE; k++)
            if (s->people[k].phase == READY && s->people[k].unacked && !s->people[k].outbox)
                say(&s->people[k], "<r xmlns='urn:xmpp:sm:3'/>");
    }
    complain(s, "it does not settle");
}

static void judge_presence(struct sim *s)
{
    for (int i = 0; i < PEOPLE; i++)
        for (int k = 0; k < PEOPLE; k++)
            if (s->people[i].sees[k] != s->people[k].mood) {
                tell_all(s, "%s sees %s at %d, who is at %d", s->people[i].name, s->people[k].name,
                         s->people[i].sees[k], s->people[k].mood);
                complain(s, "somebody is seen as they are not");
            }
}

static void judge(struct sim *s)
{
    judge_presence(s);
    for (int i = 0; i < s->message_count; i++) {
        if (!s->messages[i].acked)
            complain(s, "a message was never acknowledged");
        if (s->messages[i].delivered != 1)
            tell_all(s, "m %d from %s to %s", i, s->people[s->messages[i].from].name,
                     s->people[s->messages[i].to].name);
        if (s->messages[i].delivered != 1)
            complain(s, "an acknowledged message was lost");
    }
}

/* All watch each other from the beginning. */
static void befriend_all(struct sim *s)
{
    for (int i = 0; i < PEOPLE; i++)
        for (int k = 0; k < PEOPLE; k++) {
            struct world_row *row = mem_new(sizeof(*row));
            char text[64];

            snprintf(text, sizeof(text), "%s@muster.test", s->people[i].name);
            row->aor = mem_strdup(text);
            snprintf(text, sizeof(text), "%s@muster.test", s->people[k].name);
            row->contact = mem_strdup(text);
            row->name = mem_strdup("");
            snprintf(row->subscription, sizeof(row->subscription), "both");
            if (i == k)
                world_row_free(row);
            else
                DL_APPEND(s->w->rows, row);
        }
}

static int run_seed(uint64_t seed)
{
    static const char *const names[PEOPLE] = {"alice", "bob", "carol", "dave"};
    struct sim *s = mem_new(sizeof(*s));
    int count;

    s->seed = seed;
    s->random = seed * 0x9e3779b97f4a7c15u + 1;
    s->w = world_new();
    for (int i = 0; i < PEOPLE; i++)
        s->people[i] = (struct person){.sim = s, .name = names[i], .node = 1 + (uint32_t)i % 2};
    befriend_all(s);
    for (int i = 0; i < STEPS; i++)
        step(s);
    settle(s);
    judge(s);
    count = s->message_count;
    for (int i = 0; i < PEOPLE; i++) {
        drop_lines(&s->people[i].outbox);
        drop_lines(&s->people[i].unacked);
        xml_stream_free(s->people[i].parser);
    }
    world_free(s->w);
    mem_free(s);
    return count;
}

static void every_seed(void **state)
{
    uint64_t count = 0;

    (void)state;
    for (uint64_t i = 0; i < seeds; i++)
        count += (uint64_t)run_seed(first_seed + i);
    print_message("%llu seeds, %llu messages\n", (unsigned long long)seeds,
                  (unsigned long long)count);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_seed),
    };

    if (argc == 3) {
        first_seed = strtoull(argv[1], NULL, 10);
        seeds = strtoull(argv[2], NULL, 10);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
