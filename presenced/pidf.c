// SPDX-License-Identifier: Apache-2.0
#include "presenced/pidf.h"

#include <string.h>

#include "common/util.h"

#define NS_PIDF   "urn:ietf:params:xml:ns:pidf"
#define NS_DM     "urn:ietf:params:xml:ns:pidf:data-model"
#define NS_RPID   "urn:ietf:params:xml:ns:pidf:rpid"
#define NS_CLIENT "jabber:client"

enum { ACTIVITIES_MAX = 16, NOTES_MAX = 16 };

// clang-format off
/* Which activity means which show; of several, the first row wins. The first activity of a show
 * is the one that is said for it. */
static const struct {
    const char *activity;
    const char *show;
} shows[] = {
    {"busy",              "dnd"},
    {"on-the-phone",      "dnd"},
    {"meeting",           "dnd"},
    {"appointment",       "dnd"},
    {"presentation",      "dnd"},
    {"permanent-absence", "xa"},
    {"vacation",          "xa"},
    {"holiday",           "xa"},
    {"sleeping",          "xa"},
    {"away",              "away"},
    {"meal",              "away"},
    {"lunch",             "away"},
    {"breakfast",         "away"},
    {"dinner",            "away"},
    {"in-transit",        "away"},
    {"travel",            "away"},
};
// clang-format on

/* ---- reading ---- */

/* A copy of the text, cut at PIDF_TEXT_MAX; NULL when the arena is full. */
static char *text_of(struct arena *a, const struct xml_node *node)
{
    return arena_dup_c(a, str_utf8_prefix(str_trim(xml_text(a, node)), PIDF_TEXT_MAX));
}

static char *attribute_of(struct arena *a, const struct xml_node *node, const char *name)
{
    return arena_dup_c(a, str_utf8_prefix(xml_get(node, name), PIDF_TEXT_MAX));
}

/* Appends a string to a repeated field that has room for `max`; what is beyond, or empty, is
 * dropped. */
static bool add_text(struct arena *a, char ***list, size_t *count, size_t max, char *text)
{
    if (!text)
        return false;
    if (!*text || *count == max)
        return true;
    if (!*list)
        *list = arena_alloc(a, max * sizeof(**list));
    if (!*list)
        return false;
    (*list)[(*count)++] = text;
    return true;
}

/* Keeps an element that we do not know, behind those kept before. */
static bool keep(struct arena *a, ProtobufCBinaryData *kept, const struct xml_node *node)
{
    struct buf out;
    char *data;
    bool ok;

    buf_init(&out, PIDF_BYTES_MAX);
    buf_put(&out, kept->data, kept->len);
    xml_print(&out, node, STR(NS_PIDF));
    data = out.full ? NULL : arena_dup_c(a, buf_str(&out));
    ok = data != NULL;
    if (ok)
        *kept = (ProtobufCBinaryData){out.len, (uint8_t *)data};
    buf_done(&out);
    return ok;
}

static bool read_status(struct arena *a, const struct xml_node *status, Muster__PidfTuple *t)
{
    for (const struct xml_node *n = xml_first(status); n; n = xml_next(n)) {
        bool ok = true;

        if (xml_is(n, NS_PIDF, "basic"))
            t->open = str_eq_c(str_trim(xml_text(a, n)), "open");
        else if (xml_is(n, NS_CLIENT, "show"))
            ok = (t->show = text_of(a, n)) != NULL;
        else
            ok = keep(a, &t->status_extension, n);
        if (!ok)
            return false;
    }
    return true;
}

static bool read_tuple_child(struct arena *a, const struct xml_node *n, Muster__PidfTuple *t)
{
    if (xml_is(n, NS_PIDF, "status"))
        return read_status(a, n, t);
    if (xml_is(n, NS_PIDF, "note"))
        return add_text(a, &t->notes, &t->n_notes, NOTES_MAX, text_of(a, n));
    if (xml_is(n, NS_PIDF, "timestamp"))
        return (t->timestamp = text_of(a, n)) != NULL;
    if (xml_is(n, NS_PIDF, "contact")) {
        t->contact = text_of(a, n);
        t->priority = attribute_of(a, n, "priority");
        return t->contact && t->priority;
    }
    return keep(a, &t->extension, n);
}

static bool read_tuple(struct arena *a, const struct xml_node *node, Muster__Pidf *pidf)
{
    Muster__PidfTuple *t = arena_alloc(a, sizeof(*t));

    if (!t || pidf->n_tuples == PIDF_TUPLES_MAX || str_empty(xml_get(node, "id")))
        return false;
    if (!pidf->tuples)
        pidf->tuples = arena_alloc(a, PIDF_TUPLES_MAX * sizeof(Muster__PidfTuple *));
    muster__pidf_tuple__init(t);
    t->id = attribute_of(a, node, "id");
    if (!t->id || !pidf->tuples)
        return false;
    for (const struct xml_node *n = xml_first(node); n; n = xml_next(n))
        if (!read_tuple_child(a, n, t))
            return false;
    pidf->tuples[pidf->n_tuples++] = t;
    return true;
}

static bool read_person(struct arena *a, const struct xml_node *person, Muster__Pidf *pidf)
{
    const struct xml_node *activities = xml_child(person, NS_RPID, "activities");
    const struct xml_node *note = xml_child(person, NS_DM, "note");

    for (const struct xml_node *n = activities ? xml_first(activities) : NULL; n; n = xml_next(n)) {
        if (!str_eq_c(n->ns, NS_RPID) || str_eq_c(n->name, "note"))
            continue;
        if (!add_text(a, &pidf->activities, &pidf->n_activities, ACTIVITIES_MAX,
                      arena_dup_c(a, n->name)))
            return false;
    }
    if (note && !*pidf->person_note)
        pidf->person_note = text_of(a, note);
    return pidf->person_note != NULL;
}

static bool read_child(struct arena *a, const struct xml_node *n, Muster__Pidf *pidf)
{
    if (xml_is(n, NS_PIDF, "tuple"))
        return read_tuple(a, n, pidf);
    if (xml_is(n, NS_PIDF, "note"))
        return add_text(a, &pidf->notes, &pidf->n_notes, NOTES_MAX, text_of(a, n));
    if (xml_is(n, NS_DM, "person"))
        return read_person(a, n, pidf);
    return keep(a, &pidf->extension, n);
}

int pidf_read(struct arena *a, const struct xml_node *root, Muster__Pidf *ret_pidf)
{
    Muster__Pidf pidf = MUSTER__PIDF__INIT;

    if (!xml_is(root, NS_PIDF, "presence"))
        return PIDF_E_MALFORMED;
    for (const struct xml_node *n = xml_first(root); n; n = xml_next(n))
        if (!read_child(a, n, &pidf))
            return PIDF_E_MALFORMED;
    *ret_pidf = pidf;
    return 0;
}

/* ---- printing ---- */

/* <name>text</name>, or nothing when the text is empty. */
static void print_text(struct buf *out, const char *name, const char *text)
{
    if (!*text)
        return;
    buf_printf(out, "<%s>", name);
    xml_escape(out, str_of(text));
    buf_printf(out, "</%s>", name);
}

static void print_bytes(struct buf *out, ProtobufCBinaryData bytes)
{
    buf_put(out, bytes.data, bytes.len);
}

static void print_contact(struct buf *out, const Muster__PidfTuple *t)
{
    if (!*t->contact)
        return;
    buf_puts(out, "<contact");
    if (*t->priority) {
        buf_puts(out, " priority=\"");
        xml_escape(out, str_of(t->priority));
        buf_put_c(out, '"');
    }
    buf_put_c(out, '>');
    xml_escape(out, str_of(t->contact));
    buf_puts(out, "</contact>");
}

/* Order of the children as in the schema of RFC 3863. */
static void print_tuple(struct buf *out, const Muster__PidfTuple *t)
{
    buf_puts(out, "<tuple id=\"");
    xml_escape(out, str_of(t->id));
    buf_printf(out, "\"><status><basic>%s</basic>", t->open ? "open" : "closed");
    if (*t->show) {
        buf_puts(out, "<show xmlns=\"" NS_CLIENT "\">");
        xml_escape(out, str_of(t->show));
        buf_puts(out, "</show>");
    }
    print_bytes(out, t->status_extension);
    buf_puts(out, "</status>");
    print_bytes(out, t->extension);
    print_contact(out, t);
    for (size_t i = 0; i < t->n_notes; i++)
        print_text(out, "note", t->notes[i]);
    print_text(out, "timestamp", t->timestamp);
    buf_puts(out, "</tuple>");
}

/* An activity's name came from a document: only what can be an element's name is printed. */
static bool is_name(const char *s)
{
    return *s && strspn(s, "abcdefghijklmnopqrstuvwxyz-") == strlen(s) && *s != '-';
}

static void print_person(struct buf *out, const Muster__Pidf *pidf)
{
    if (pidf->n_activities == 0 && !*pidf->person_note)
        return;
    buf_puts(out, "<dm:person id=\"person\">");
    if (pidf->n_activities > 0) {
        buf_puts(out, "<rpid:activities>");
        for (size_t i = 0; i < pidf->n_activities; i++)
            if (is_name(pidf->activities[i]))
                buf_printf(out, "<rpid:%s/>", pidf->activities[i]);
        buf_puts(out, "</rpid:activities>");
    }
    print_text(out, "dm:note", pidf->person_note);
    buf_puts(out, "</dm:person>");
}

void pidf_print(struct buf *out, const char *aor, const Muster__Pidf *pidf)
{
    buf_puts(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<presence xmlns=\"" NS_PIDF
                  "\" xmlns:dm=\"" NS_DM "\" xmlns:rpid=\"" NS_RPID "\" entity=\"sip:");
    xml_escape(out, str_of(aor));
    buf_puts(out, "\">");
    for (size_t i = 0; i < pidf->n_tuples; i++)
        print_tuple(out, pidf->tuples[i]);
    for (size_t i = 0; i < pidf->n_notes; i++)
        print_text(out, "note", pidf->notes[i]);
    print_person(out, pidf);
    print_bytes(out, pidf->extension);
    buf_puts(out, "</presence>\n");
}

/* ---- meaning ---- */

bool pidf_is_open(const Muster__Pidf *pidf)
{
    for (size_t i = 0; i < pidf->n_tuples; i++)
        if (pidf->tuples[i]->open)
            return true;
    return false;
}

static bool has_activity(const Muster__Pidf *pidf, const char *activity)
{
    for (size_t i = 0; i < pidf->n_activities; i++)
        if (strcmp(pidf->activities[i], activity) == 0)
            return true;
    return false;
}

const char *pidf_show(const Muster__Pidf *pidf)
{
    static const char *const known[] = {"away", "chat", "dnd", "xa"};

    for (size_t i = 0; i < pidf->n_tuples; i++)
        for (size_t k = 0; k < ARRAY_LEN(known); k++)
            if (pidf->tuples[i]->open && strcmp(pidf->tuples[i]->show, known[k]) == 0)
                return known[k];
    for (size_t i = 0; i < ARRAY_LEN(shows); i++)
        if (has_activity(pidf, shows[i].activity))
            return shows[i].show;
    return "";
}

const char *pidf_note(const Muster__Pidf *pidf)
{
    if (*pidf->person_note)
        return pidf->person_note;
    if (pidf->n_notes > 0)
        return pidf->notes[0];
    for (size_t i = 0; i < pidf->n_tuples; i++)
        if (pidf->tuples[i]->n_notes > 0)
            return pidf->tuples[i]->notes[0];
    return "";
}

const char *pidf_activity_of_show(const char *show)
{
    for (size_t i = 0; i < ARRAY_LEN(shows); i++)
        if (strcmp(shows[i].show, show) == 0)
            return shows[i].activity;
    return NULL;
}
