// SPDX-License-Identifier: Apache-2.0
/*
 * Presentities: finding them, and what follows when something about one has changed.
 */
#include <string.h>

#include "presenced/model.h"

enum { DOCUMENT_MAX = 256 * 1024, TOLD_MAX = 4096 };

struct presentity *presentity_find(const struct engine *e, struct str aor)
{
    struct presentity *p;

    HASH_FIND(hh, e->presentities, aor.p, aor.len, p);
    return p;
}

struct presentity *presentity_get(struct engine *e, struct str aor)
{
    struct presentity *p = presentity_find(e, aor);

    if (p)
        return p;
    p = mem_new(sizeof(*p));
    p->engine = e;
    p->aor = str_dup(aor);
    buf_init(&p->document, DOCUMENT_MAX);
    HASH_ADD_KEYPTR(hh, e->presentities, p->aor, aor.len, p);
    return p;
}

void presentity_release(struct presentity *p)
{
    if (p->publications || p->devices || p->subscriptions)
        return;
    HASH_DEL(p->engine->presentities, p);
    buf_done(&p->document);
    mem_free(p->told);
    mem_free(p->aor);
    mem_free(p);
}

/* All of an Availability in one text, to compare it with what was said before. */
static void write_told(struct buf *out, const Muster__Availability *a)
{
    buf_printf(out, "%d %s %s", a->available, a->show, a->status);
}

void presentity_tell_routerd(struct presentity *p)
{
    const struct engine_config *c = &p->engine->config;
    Muster__Availability availability = MUSTER__AVAILABILITY__INIT;
    struct buf told;

    if (!p->engine->routerd_up || !engine_serves(p->engine, str_of(p->aor)))
        return;
    composition_availability(p, &availability);
    if (!availability.available && !p->told)
        return;
    buf_init(&told, TOLD_MAX);
    write_told(&told, &availability);
    if ((!p->told || strcmp(p->told, told.data) != 0) &&
        c->ops->availability(c->ctx, &availability)) {
        mem_free(p->told);
        p->told = availability.available ? buf_take(&told) : NULL;
    }
    buf_done(&told);
}

void presentity_tell_all(struct engine *e)
{
    struct presentity *p, *next;

    if (!e->sync_due || !e->routerd_up || !e->active)
        return;
    e->sync_due = false;
    HASH_ITER (hh, e->presentities, p, next)
        presentity_tell_routerd(p);
    e->config.ops->presence_sync(e->config.ctx);
}

void presentity_changed(struct presentity *p)
{
    struct subscription *next;

    buf_clear(&p->document);
    presentity_tell_routerd(p);
    for (struct subscription *s = p->subscriptions; s; s = next) {
        next = s->next;
        notify_soon(s);
    }
}
