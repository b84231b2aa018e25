// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * PostgreSQL's configuration, as text (core). It stands in DIR/postgres, outside of the cluster,
 * because pg_rewind and pg_basebackup copy whatever configuration they find in one:
 *
 *     postgresql.conf    the same as long as the node's own configuration is
 *     upstream.conf      which node a standby follows
 *     synchronous.conf   whose acknowledgement commits wait for
 *     pg_hba.conf, pg_ident.conf
 */
#include <stdint.h>

#include "common/buf.h"
#include "common/conf.h"

/* Largest text of these; what is longer is cut, and the buffer `full`. */
enum { SETTINGS_TEXT_MAX = 16 * 1024 };

void settings_main(struct buf *out, const struct conf *conf);
void settings_hba(struct buf *out);
void settings_ident(struct buf *out);
/* `peer`: an entry of conf->nodes. */
void settings_upstream(struct buf *out, const struct conf *conf, const struct view_node *peer);
/* `node` 0: nobody. */
void settings_synchronous(struct buf *out, uint32_t node);

/* "node2": application_name of a standby, and the name of its slot. */
void settings_standby_name(struct buf *out, uint32_t node);
/* The node of such a name; 0: it is none. */
uint32_t settings_standby_of(struct str name);

/* Conninfo for `peer`'s database over TLS. application: settings_standby_name() makes it one whose
 * acknowledgement commits can wait for, so tools must use another. */
void settings_conninfo(struct buf *out, const struct conf *conf, const struct view_node *peer,
                       const char *database, const char *application);
/* key='value', quoted for a conninfo, and a space. */
void settings_put_conninfo(struct buf *out, const char *key, const char *value);
