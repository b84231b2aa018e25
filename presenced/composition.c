// SPDX-License-Identifier: Apache-2.0
/*
 * Composition: one document from all that is known about a presentity (RFC 3856, section 6.11).
 * Simple on purpose: every publication's tuples and one tuple for every device stand side by side,
 * and the person is as the most recent source says.
 */
#include <stdio.h>
#include <string.h>

#include "common/arena.h"
#include "presenced/model.h"
#include "presenced/pidf.h"

enum { ARENA_MAX = 1 << 20, ID_MAX = 32 };

/* xs:ID: must be a name, unique in the document, and the same the next time. */
static char *tuple_id(struct arena *a, char kind, struct str source, struct str id)
{
    char text[ID_MAX];
    uint64_t hash = str_hash(source) * 31 + str_hash(id);

    (void)snprintf(text, sizeof(text), "%c%016llx", kind, (unsigned long long)hash);
    return arena_dup_c(a, str_of(text));
}

static bool add_tuple(struct arena *a, Muster__Pidf *doc, Muster__PidfTuple tuple, char *id)
{
    enum { TUPLES_MAX = ENGINE_PUBLICATIONS_MAX * PIDF_TUPLES_MAX + ENGINE_DEVICES_MAX };
    Muster__PidfTuple *copy = arena_alloc(a, sizeof(*copy));

    if (!doc->tuples)
        doc->tuples = arena_alloc(a, TUPLES_MAX * sizeof(Muster__PidfTuple *));
    if (!copy || !doc->tuples || !id || doc->n_tuples == TUPLES_MAX)
        return false;
    *copy = tuple;
    copy->id = id;
    doc->tuples[doc->n_tuples++] = copy;
    return true;
}

static bool add_publication(struct arena *a, Muster__Pidf *doc, const struct publication *p)
{
    const Muster__Pidf *pidf = p->record->pidf;

    for (size_t i = 0; i < pidf->n_tuples; i++)
        if (!add_tuple(a, doc, *pidf->tuples[i],
                       tuple_id(a, 't', str_of(p->record->id), str_of(pidf->tuples[i]->id))))
            return false;
    return true;
}

static bool add_device(struct arena *a, Muster__Pidf *doc, const struct presentity *p,
                       const struct device *d)
{
    Muster__PidfTuple tuple = MUSTER__PIDF_TUPLE__INIT;
    struct buf contact;
    bool ok;

    buf_init(&contact, PIDF_TEXT_MAX);
    buf_printf(&contact, "sip:%s", p->aor);
    tuple.open = d->status->available;
    tuple.show = d->status->show;
    tuple.contact = contact.full ? (char *)"" : contact.data;
    tuple.contact = arena_dup_c(a, str_of(tuple.contact));
    tuple.notes = &d->status->status;
    tuple.n_notes = *d->status->status ? 1 : 0;
    ok = tuple.contact &&
         add_tuple(a, doc, tuple, tuple_id(a, 'x', STR(""), str_of(d->status->resource)));
    buf_done(&contact);
    return ok;
}

/* The newest publication that says something about the person, or the newest device. */
static void add_person(struct arena *a, Muster__Pidf *doc, const struct presentity *p)
{
    const struct device *device = NULL;
    const struct publication *newest = NULL;
    const char *activity;

    for (const struct publication *q = p->publications; q; q = q->next)
        if ((q->record->pidf->n_activities || *q->record->pidf->person_note) &&
            (!newest || q->record->since_unix_ms >= newest->record->since_unix_ms))
            newest = q;
    for (const struct device *d = p->devices; d; d = d->next)
        if (d->status->available &&
            (!device || d->status->since_unix_ms >= device->status->since_unix_ms))
            device = d;
    if (newest && (!device || newest->record->since_unix_ms >= device->status->since_unix_ms)) {
        doc->activities = newest->record->pidf->activities;
        doc->n_activities = newest->record->pidf->n_activities;
        doc->person_note = newest->record->pidf->person_note;
        return;
    }
    activity = device ? pidf_activity_of_show(device->status->show) : NULL;
    if (device)
        doc->person_note = device->status->status;
    if (activity && (doc->activities = arena_alloc(a, sizeof(char *))) != NULL &&
        (doc->activities[0] = arena_dup_c(a, str_of(activity))) != NULL)
        doc->n_activities = 1;
}

/* False when there is more than a document can hold. */
static bool compose(struct arena *a, const struct presentity *p, Muster__Pidf *doc)
{
    for (const struct publication *q = p->publications; q; q = q->next)
        if (!add_publication(a, doc, q))
            return false;
    for (const struct device *d = p->devices; d; d = d->next)
        if (!add_device(a, doc, p, d))
            return false;
    add_person(a, doc, p);
    return true;
}

bool composition_is_open(const struct presentity *p)
{
    if (p->devices)
        return true;
    for (const struct publication *q = p->publications; q; q = q->next)
        if (pidf_is_open(q->record->pidf))
            return true;
    return false;
}

/* For a presentity of which nothing is known, or too much for a document. */
static void print_summary(struct presentity *p)
{
    Muster__Pidf doc = MUSTER__PIDF__INIT;
    Muster__PidfTuple tuple = MUSTER__PIDF_TUPLE__INIT, *tuples[] = {&tuple};

    tuple.open = composition_is_open(p);
    tuple.id = (char *)(tuple.open ? "open" : "closed");
    doc.tuples = tuples;
    doc.n_tuples = 1;
    buf_clear(&p->document);
    pidf_print(&p->document, p->aor, &doc);
}

struct str composition_document(struct presentity *p)
{
    Muster__Pidf doc = MUSTER__PIDF__INIT;
    struct arena a;

    if (p->document.len > 0)
        return buf_str(&p->document);
    arena_init(&a, ARENA_MAX);
    if (compose(&a, p, &doc) && doc.n_tuples > 0)
        pidf_print(&p->document, p->aor, &doc);
    if (p->document.len == 0 || p->document.full)
        print_summary(p);
    arena_done(&a);
    return buf_str(&p->document);
}

void composition_availability(const struct presentity *p, Muster__Availability *ret_availability)
{
    const struct publication *best = NULL;

    for (const struct publication *q = p->publications; q; q = q->next)
        if (pidf_is_open(q->record->pidf) &&
            (!best || q->record->since_unix_ms >= best->record->since_unix_ms))
            best = q;
    ret_availability->presentity = p->aor;
    ret_availability->available = best != NULL;
    ret_availability->show = (char *)(best ? pidf_show(best->record->pidf) : "");
    ret_availability->status = (char *)(best ? pidf_note(best->record->pidf) : "");
}
