// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is in both memories (proto/session_record.proto): its tables and keys, packing and
 * unpacking. Everything that is put here belongs to the bare JID that it is about.
 */
#include <session_record.pb-c.h>

#include "routerd/known.h"

enum {
    TABLE_SESSIONS = 1, /* SessionRecord; key: full JID */
    TABLE_COUNTERS,     /* SessionCounters; key: smid */
    TABLE_QUEUE,        /* QueuedStanza; key: smid, then the stanza's number, 8 bytes big-endian */
    TABLE_KNOWN,        /* KnownIm; key: delivery_key() */
    TABLE_STORED,       /* an offline message that was delivered and must be deleted; key: aor, NUL,
                           its number, 8 bytes big-endian; no value */
    TABLE_SIP,          /* SipPresence; key: aor */
};

enum { RECORD_SMID_LEN = 32, RECORD_QUEUE_KEY_LEN = RECORD_SMID_LEN + 8 };

/* All false when the replica is full: nothing changed. */
bool record_put_session(const struct session *s);
void record_delete_session(const struct session *s); /* and its counters */
bool record_put_counters(struct session *s);

void record_queue_key(const char *smid, uint64_t number, char ret_key[RECORD_QUEUE_KEY_LEN]);
/* The number that a key of TABLE_QUEUE or TABLE_STORED ends with. */
uint64_t record_number(struct str key);
bool record_put_queued(struct session *s, uint64_t number, struct str xml, const Muster__Im *im);
void record_delete_queued(struct session *s, uint64_t number);
/* NULL when there is none; free with muster__queued_stanza__free_unpacked(). */
Muster__QueuedStanza *record_queued(struct router *r, const char *smid, uint64_t number);

bool record_put_known(struct router *r, struct str key, struct str user,
                      const struct known_im *known);
bool record_find_known(const struct router *r, struct str key, struct known_im *ret_known);
bool record_put_stored(struct router *r, struct str aor, uint64_t id);
bool record_has_stored(struct router *r, struct str aor, uint64_t id);
void record_delete_stored(struct router *r, struct str aor, uint64_t id);
void record_put_sip(struct router *r, const struct account *a);
