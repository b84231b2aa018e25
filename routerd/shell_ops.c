// SPDX-License-Identifier: Apache-2.0
/*
 * What the router wants done, one function an op: none decides anything.
 */
#include "routerd/shell.h"

/* ---- streams; after the stop there are none ---- */

static void do_write(void *ctx, uint64_t stream, struct str bytes)
{
    struct routerd *r = ctx;

    if (r->streams)
        stream_io_write(r->streams, stream, bytes);
}

static void do_starttls(void *ctx, uint64_t stream)
{
    struct routerd *r = ctx;

    if (r->streams)
        stream_io_starttls(r->streams, stream);
}

static void do_restart(void *ctx, uint64_t stream)
{
    struct routerd *r = ctx;

    if (r->streams)
        stream_io_restart(r->streams, stream);
}

static void do_limit(void *ctx, uint64_t stream, size_t stanza_bytes_max)
{
    struct routerd *r = ctx;

    if (r->streams)
        stream_io_limit(r->streams, stream, stanza_bytes_max);
}

static void do_close(void *ctx, uint64_t stream)
{
    struct routerd *r = ctx;

    if (r->streams)
        stream_io_end(r->streams, stream);
}

/* ---- other processes ---- */

static bool do_to_proxyd(void *ctx, const Muster__Envelope *envelope)
{
    struct routerd *r = ctx;

    return r->proxyd.link && ipc_send(r->proxyd.link, envelope) == 0;
}

static bool do_to_presenced(void *ctx, const Muster__Envelope *envelope)
{
    struct routerd *r = ctx;

    return r->presenced.link && ipc_send(r->presenced.link, envelope) == 0;
}

static bool do_to_node(void *ctx, uint32_t node, const Muster__Envelope *envelope)
{
    struct routerd *r = ctx;

    return r->fabric && fabric_send(r->fabric, node, envelope);
}

/* ---- database ---- */

static void do_roster_load(void *ctx, uint64_t request, struct str aor)
{
    struct routerd *r = ctx;

    durable_roster_load(r->durable, request, aor);
}

static void do_roster_put(void *ctx, uint64_t request, struct str aor,
                          const struct router_roster_item *item)
{
    struct routerd *r = ctx;

    durable_roster_put(r->durable, request, aor, item);
}

static void do_roster_delete(void *ctx, uint64_t request, struct str aor, struct str contact)
{
    struct routerd *r = ctx;

    durable_roster_delete(r->durable, request, aor, contact);
}

static void do_offline_put(void *ctx, uint64_t request, struct str aor, const Muster__Im *im)
{
    struct routerd *r = ctx;

    durable_offline_put(r->durable, request, aor, im);
}

static void do_offline_list(void *ctx, uint64_t request, struct str aor)
{
    struct routerd *r = ctx;

    durable_offline_list(r->durable, request, aor);
}

static void do_offline_delete(void *ctx, uint64_t request, uint64_t id)
{
    struct routerd *r = ctx;

    durable_offline_delete(r->durable, request, id);
}

static void do_random(void *ctx, void *ret_bytes, size_t len)
{
    (void)ctx;
    daemon_random(ret_bytes, len);
}

const struct router_ops shell_router_ops = {
    .write = do_write,
    .starttls = do_starttls,
    .restart = do_restart,
    .limit = do_limit,
    .close = do_close,
    .to_proxyd = do_to_proxyd,
    .to_presenced = do_to_presenced,
    .to_node = do_to_node,
    .roster_load = do_roster_load,
    .roster_put = do_roster_put,
    .roster_delete = do_roster_delete,
    .offline_put = do_offline_put,
    .offline_list = do_offline_list,
    .offline_delete = do_offline_delete,
    .random = do_random,
};
