// SPDX-License-Identifier: Apache-2.0
/*
 * Devices: the XMPP resources that routerd tells of.
 */
#include <string.h>

#include "presenced/model.h"

static struct device **find(struct presentity *p, const char *resource)
{
    struct device **at = &p->devices;

    while (*at && strcmp((*at)->status->resource, resource) != 0)
        at = &(*at)->next;
    return at;
}

static void remove_at(struct presentity *p, struct device **at)
{
    struct device *d = *at;

    *at = d->next;
    p->device_count--;
    muster__device_status__free_unpacked(d->status, NULL);
    mem_free(d);
}

void device_drop_all(struct presentity *p)
{
    while (p->devices)
        remove_at(p, &p->devices);
}

static Muster__DeviceStatus *copy(const Muster__DeviceStatus *status)
{
    size_t size = muster__device_status__get_packed_size(status);
    uint8_t *packed = mem_new(size);
    Muster__DeviceStatus *made;

    muster__device_status__pack(status, packed);
    made = muster__device_status__unpack(NULL, size, packed);
    mem_free(packed);
    return made;
}

static bool says_the_same(const Muster__DeviceStatus *a, const Muster__DeviceStatus *b)
{
    return a->available == b->available && a->priority == b->priority &&
           strcmp(a->show, b->show) == 0 && strcmp(a->status, b->status) == 0;
}

/* True when something is different now. */
static bool put(struct presentity *p, const Muster__DeviceStatus *status)
{
    struct device **at = find(p, status->resource);
    bool same;

    if (!*at) {
        if (p->device_count == ENGINE_DEVICES_MAX)
            return false;
        *at = mem_new(sizeof(**at));
        (*at)->status = copy(status);
        p->device_count++;
        return true;
    }
    same = says_the_same((*at)->status, status);
    muster__device_status__free_unpacked((*at)->status, NULL);
    (*at)->status = copy(status);
    (*at)->stale = false;
    return !same;
}

void engine_on_device_status(struct engine *e, const Muster__DeviceStatus *status,
                             const struct engine_now *now)
{
    struct presentity *p = presentity_find(e, str_of(status->user));
    bool changed;

    e->now = *now;
    if (!status->available) {
        struct device **at = p ? find(p, status->resource) : NULL;

        if (!at || !*at)
            return;
        remove_at(p, at);
        changed = true;
    } else {
        p = p ? p : presentity_get(e, str_of(status->user));
        changed = put(p, status);
    }
    if (changed)
        presentity_changed(p);
    presentity_release(p);
}

/* A device that was not said again since the link is new is gone. */
static void drop_stale(struct presentity *p)
{
    bool changed = false;

    for (struct device **at = &p->devices; *at;) {
        if ((*at)->stale) {
            remove_at(p, at);
            changed = true;
        } else {
            at = &(*at)->next;
        }
    }
    if (changed)
        presentity_changed(p);
    presentity_release(p);
}

void engine_on_presence_sync(struct engine *e, const struct engine_now *now)
{
    struct presentity *p, *next;

    e->now = *now;
    HASH_ITER (hh, e->presentities, p, next)
        drop_stale(p);
    moves_doubt_ends(e);
}

void engine_on_routerd_link(struct engine *e, bool up, const struct engine_now *now)
{
    struct presentity *p, *next;

    e->now = *now;
    e->routerd_up = up;
    HASH_ITER (hh, e->presentities, p, next) {
        for (struct device *d = p->devices; d && !up; d = d->next)
            d->stale = true;
        mem_free(p->told);
        p->told = NULL;
    }
    e->sync_due = up;
    presentity_tell_all(e);
    if (!e->devices_known)
        moves_doubt(e);
}
