// SPDX-License-Identifier: Apache-2.0
#include "common/dns.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <ares.h>

#include "common/dns_reply.h"
#include "common/loop.h"
#include "common/mem.h"

#define uthash_malloc(size)    mem_new(size)
#define uthash_free(p, size)   mem_free(p)
#define uthash_fatal(sentence) abort()

#include <uthash.h>

/*
 * c-ares says which sockets it wants watched; each has a uv_poll while it does. Answers, known ones
 * too, are told from the idle handle, so never from within a call.
 */
enum {
    TRY_MS = 1000,
    TRIES = 3,
    TICK_MS = 250,
    TTL_MAX_S = 3600,
    TTL_NEGATIVE_S = 10,
    CACHE_MAX = 10000,
    KEY_MAX = 2 + sizeof(((struct dns_target *)0)->host), /* kind, space, name */
};

struct answer {
    int status;
    size_t count;
    struct dns_target targets[DNS_ANSWERS_MAX];
};

struct cached {
    UT_hash_handle hh;
    mono_t expires;
    char key[KEY_MAX]; /* kind, then name: "A example.org" */
    struct answer *answer;
};

struct question {
    struct question *next;
    struct dns *dns;
    dns_done_cb *done;
    void *ctx;
    uint16_t port;
    char key[KEY_MAX];
    struct answer answer;
};

struct watched {
    struct watched *next;
    struct dns *dns;
    ares_socket_t fd;
    uv_poll_t poll;
};

struct dns {
    uv_loop_t *loop;
    ares_channel channel;
    uv_timer_t timer; /* c-ares' own time-outs, while it has questions */
    uv_idle_t tell;   /* active while answers wait to be told */
    struct question *ready, **ready_end;
    struct watched *watched;
    struct cached *cache;
    size_t asked;
    unsigned handles;
    bool closing;
};

/* ---- c-ares and the loop ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watched *w = poll->data;
    ares_socket_t fd = w->fd;

    ares_process_fd(w->dns->channel, status || events & UV_READABLE ? fd : ARES_SOCKET_BAD,
                    status || events & UV_WRITABLE ? fd : ARES_SOCKET_BAD);
}

static void on_poll_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void on_socket(void *ctx, ares_socket_t fd, int readable, int writable)
{
    struct dns *d = ctx;
    struct watched **at = &d->watched;
    struct watched *w;

    while (*at && (*at)->fd != fd)
        at = &(*at)->next;
    w = *at;
    if (!readable && !writable) {
        if (w) {
            *at = w->next;
            uv_close((uv_handle_t *)&w->poll, on_poll_closed);
        }
        return;
    }
    if (!w) {
        w = mem_new(sizeof(*w));
        w->dns = d;
        w->fd = fd;
        w->poll.data = w;
        if (uv_poll_init(d->loop, &w->poll, fd)) {
            mem_free(w); /* the question times out */
            return;
        }
        w->next = d->watched;
        d->watched = w;
    }
    uv_poll_start(&w->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_poll);
}

static void on_tick(uv_timer_t *timer)
{
    struct dns *d = timer->data;

    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    if (d->asked == 0)
        uv_timer_stop(timer);
}

/* ---- cache ---- */

static void forget(struct dns *d, struct cached *c)
{
    HASH_DEL(d->cache, c);
    mem_free(c->answer);
    mem_free(c);
}

static const struct answer *recall(struct dns *d, const char *key)
{
    struct cached *c;

    HASH_FIND_STR(d->cache, key, c);
    if (!c)
        return NULL;
    if (!mono_reached(loop_now(d->loop), c->expires))
        return c->answer;
    forget(d, c);
    return NULL;
}

static void keep(struct dns *d, const struct question *q, uint32_t ttl_s)
{
    struct cached *c;

    HASH_FIND_STR(d->cache, q->key, c);
    if (c)
        forget(d, c);
    if (q->answer.status == UV_EAI_AGAIN || ttl_s == 0)
        return;
    if (HASH_COUNT(d->cache) >= CACHE_MAX)
        forget(d, d->cache); /* the oldest */
    c = mem_new(sizeof(*c));
    memcpy(c->key, q->key, sizeof(c->key));
    c->answer = mem_dup(&q->answer, sizeof(q->answer));
    ttl_s = q->answer.status ? TTL_NEGATIVE_S : ttl_s > TTL_MAX_S ? TTL_MAX_S : ttl_s;
    c->expires = mono_after(loop_now(d->loop), ttl_s * 1000ull);
    HASH_ADD_STR(d->cache, key, c);
}

/* ---- answers ---- */

static void on_tell(uv_idle_t *idle)
{
    struct dns *d = idle->data;
    struct question *q = d->ready;

    uv_idle_stop(idle);
    d->ready = NULL;
    d->ready_end = &d->ready;
    while (q) {
        struct question *next = q->next;

        if (!d->closing)
            q->done(q->ctx, q->answer.status, q->answer.targets, q->answer.count);
        mem_free(q);
        q = next;
    }
}

static void tell_soon(struct question *q)
{
    struct dns *d = q->dns;

    q->next = NULL;
    *d->ready_end = q;
    d->ready_end = &q->next;
    uv_idle_start(&d->tell, on_tell);
}

static int status_of(int ares)
{
    switch (ares) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
    case ARES_EBADNAME:
        return UV_ENOENT;
    default:
        return UV_EAI_AGAIN;
    }
}

/* c-ares has finished with it. */
static void finish(struct question *q, int status, uint32_t ttl_s)
{
    q->dns->asked--;
    q->answer.status = status;
    if (q->dns->closing) {
        mem_free(q);
        return;
    }
    keep(q->dns, q, ttl_s);
    tell_soon(q);
}

static void set_port(struct dns_target *t, uint16_t port)
{
    t->port = port;
    if (t->address.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&t->address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)&t->address)->sin_port = htons(port);
}

static void on_addresses(void *ctx, int ares, int timeouts, struct ares_addrinfo *info)
{
    struct question *q = ctx;
    struct answer *a = &q->answer;
    uint32_t ttl_s = TTL_MAX_S;

    (void)timeouts;
    for (struct ares_addrinfo_node *n = info ? info->nodes : NULL; n && a->count < DNS_ANSWERS_MAX;
         n = n->ai_next) {
        struct dns_target *t = &a->targets[a->count];

        if (n->ai_addrlen > sizeof(t->address))
            continue;
        memcpy(&t->address, n->ai_addr, n->ai_addrlen);
        memcpy(t->host, q->key + 2, sizeof(t->host));
        set_port(t, q->port);
        a->count++;
        if (n->ai_ttl >= 0 && (uint32_t)n->ai_ttl < ttl_s)
            ttl_s = (uint32_t)n->ai_ttl;
    }
    if (info)
        ares_freeaddrinfo(info);
    finish(q, ares == ARES_SUCCESS && a->count == 0 ? UV_ENOENT : status_of(ares), ttl_s);
}

static uint64_t draw(void)
{
    uint64_t number = 0;

    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        abort();
    return number;
}

static void on_srv(void *ctx, int ares, int timeouts, unsigned char *reply, int len)
{
    struct question *q = ctx;
    struct answer *a = &q->answer;
    int status = status_of(ares);
    uint32_t ttl_s = 1;

    (void)timeouts;
    if (ares == ARES_SUCCESS && !dns_reply_srv(reply, (size_t)len, a->targets, &a->count, &ttl_s))
        status = UV_EAI_AGAIN;
    if (!status && a->count == 0)
        status = UV_ENOENT;
    dns_reply_order(a->targets, a->count, draw());
    finish(q, status, ttl_s);
}

/* ---- questions ---- */

/* True: the answer was known. Otherwise *ret_question is to be asked. */
static bool is_known(struct dns *d, char kind, const char *name, uint16_t port, dns_done_cb *done,
                     void *ctx, struct question **ret_question)
{
    struct question *q = mem_new(sizeof(*q));
    const struct answer *known;
    int len = snprintf(q->key, sizeof(q->key), "%c %s", kind, name);

    q->dns = d;
    q->done = done;
    q->ctx = ctx;
    q->port = port;
    *ret_question = q;
    if (len < 0 || (size_t)len >= sizeof(q->key) || !*name) {
        q->answer.status = UV_ENOENT;
        tell_soon(q);
        return true;
    }
    known = recall(d, q->key);
    if (!known) {
        d->asked++;
        if (!uv_is_active((uv_handle_t *)&d->timer))
            uv_timer_start(&d->timer, on_tick, TICK_MS, TICK_MS);
        return false;
    }
    q->answer = *known;
    for (size_t i = 0; i < q->answer.count && kind == 'A'; i++)
        set_port(&q->answer.targets[i], port);
    tell_soon(q);
    return true;
}

static bool is_numeric(const char *host, struct sockaddr_storage *ret_address)
{
    return uv_ip4_addr(host, 0, (struct sockaddr_in *)ret_address) == 0 ||
           uv_ip6_addr(host, 0, (struct sockaddr_in6 *)ret_address) == 0;
}

void dns_address(struct dns *d, const char *host, uint16_t port, dns_done_cb *done, void *ctx)
{
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT};
    struct sockaddr_storage address = {0};
    struct question *q;

    if (is_numeric(host, &address)) {
        q = mem_new(sizeof(*q));
        q->dns = d;
        q->done = done;
        q->ctx = ctx;
        q->answer.count = 1;
        q->answer.targets[0].address = address;
        (void)snprintf(q->answer.targets[0].host, sizeof(q->answer.targets[0].host), "%s", host);
        set_port(&q->answer.targets[0], port);
        tell_soon(q);
    } else if (!is_known(d, 'A', host, port, done, ctx, &q)) {
        ares_getaddrinfo(d->channel, host, NULL, &hints, on_addresses, q);
    }
}

void dns_srv(struct dns *d, const char *name, dns_done_cb *done, void *ctx)
{
    enum { CLASS_IN = 1, TYPE_SRV = 33 };
    struct question *q;

    if (!is_known(d, 'S', name, 0, done, ctx, &q))
        ares_query(d->channel, name, CLASS_IN, TYPE_SRV, on_srv, q);
}

/* ---- start and close ---- */

struct dns *dns_start(uv_loop_t *loop, const char *servers)
{
    struct dns *d = mem_new(sizeof(*d));
    struct ares_options options = {
        .timeout = TRY_MS, .tries = TRIES, .sock_state_cb = on_socket, .sock_state_cb_data = d};
    int r = ares_library_init(ARES_LIB_INIT_ALL);

    assert(r == ARES_SUCCESS);
    d->loop = loop;
    d->ready_end = &d->ready;
    r = ares_init_options(&d->channel, &options,
                          ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    assert(r == ARES_SUCCESS);
    if (servers && ares_set_servers_ports_csv(d->channel, servers) != ARES_SUCCESS)
        abort(); /* ours to say */
    uv_timer_init(loop, &d->timer);
    uv_idle_init(loop, &d->tell);
    d->timer.data = d->tell.data = d;
    d->handles = 2;
    return d;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct dns *d = handle->data;

    if (--d->handles > 0)
        return;
    while (d->cache)
        forget(d, d->cache);
    mem_free(d);
}

void dns_close(struct dns *d)
{
    if (!d)
        return;
    d->closing = true;
    ares_destroy(d->channel); /* ends all questions and closes all sockets */
    ares_library_cleanup();
    while (d->ready) {
        struct question *next = d->ready->next;

        mem_free(d->ready);
        d->ready = next;
    }
    uv_close((uv_handle_t *)&d->timer, on_handle_closed);
    uv_close((uv_handle_t *)&d->tell, on_handle_closed);
}
