// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_WITHOUT_CMOCKA
#include "test/unit/routerd/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SAYING_MAX = 4000 };

static struct world_client *clients[4];

/* A line begins with what happens: a digit, one of the clients says the rest of it; a letter,
 * something else. */
static void happen(struct world *w, char what, struct str rest)
{
    struct world_client *c = clients[(unsigned char)what % 4];
    struct xml_node *root;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    if (what == 'k' && w->nodes[1].router) {
        world_kill(w, 1);
        world_serve(w, 2, 2);
    } else if (what == 'l') {
        world_link(w, !w->linked);
    } else if (what == 't') {
        world_pass(w, 1000);
    } else if (what == 'm') {
        world_serve(w, 2, 2);
    } else if (what == 'b') {
        world_break(w, c);
    } else if (what == 'e' && !c->closed) {
        router_on_stream_end(w->nodes[c->node].router, c->stream, &w->now);
    } else if (!c->closed && !c->ending && xml_parse(&arena, rest, &root) == 0) {
        router_on_stanza(w->nodes[c->node].router, c->stream, &arena, root, &w->now);
    }
    arena_done(&arena);
    world_run(w);
}

/* Two nodes and four clients, of which some are logged in. Whatever they say, in whatever order,
 * all invariants hold (world_run() checks them). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = world_new();
    struct str rest = str_of_bytes(data, size), line;

    clients[0] = world_online(w, 1, "alice", "r");
    clients[1] = world_login(w, 2, "bob", "r");
    clients[2] = world_authenticate(w, 2, "carol");
    clients[3] = world_connect(w, 1, true);
    while (rest.len) {
        str_cut(rest, '\n', &line, &rest);
        if (line.len && line.len < SAYING_MAX)
            happen(w, line.p[0], str_sub(line, 1, SIZE_MAX));
    }
    world_free(w);
    return 0;
}
