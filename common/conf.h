// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * node.conf: what a node must know before it can read its parameters. One `key = value` a line,
 * `#` starts a comment. Written by quickgroup or by hand; read by every program with --dir.
 *
 *     node      = 1
 *     domain    = muster.test
 *     nodes     = 1:n1:1:127.0.1.1 2:n2:1:127.0.1.2      number:name:group:address
 *     tls_cert  = tls/node.crt                           relative to the node's directory
 *     tls_key   = tls/node.key
 *     tls_ca    = tls/ca.crt
 *     database  = managed                                or external
 *     postgres_bin = /usr/lib/postgresql/15/bin
 *     conninfo  = host=127.0.1.1,127.0.1.2 ...           how daemons reach a writable database
 *     set.recoveryd.heartbeat_interval = 100ms           overrides a parameter, for this node
 */
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/str.h"
#include "common/view.h"

enum { CONF_PATH_MAX = 512, CONF_SETS_MAX = 64 };

enum conf_port {
    CONF_PORT_SIP,       /* 5060, UDP and TCP */
    CONF_PORT_SIPS,      /* 5061, TLS */
    CONF_PORT_SIP_PEER,  /* 5062, mutual TLS */
    CONF_PORT_XMPP,      /* 5222, STARTTLS */
    CONF_PORT_XMPPS,     /* 5223, direct TLS */
    CONF_PORT_FABRIC,    /* 7400 */
    CONF_PORT_HEARTBEAT, /* 7401 */
    CONF_PORT_METRICS,   /* 9464 */
    CONF_PORT_DATABASE,  /* 5432 */
    CONF_PORTS,
};

struct conf_set {
    char service[32];
    char name[64];
    char value[128];
};

struct conf {
    char dir[CONF_PATH_MAX]; /* absolute; run/, log/, state/, data/, tls/ and node.conf are in it */
    uint32_t node;
    char domain[256];
    struct view nodes; /* version 0: only who and where */
    char tls_cert[CONF_PATH_MAX], tls_key[CONF_PATH_MAX], tls_ca[CONF_PATH_MAX];
    char postgres_bin[CONF_PATH_MAX];
    char conninfo[1024];
    bool database_external;
    uint16_t ports[CONF_PORTS]; /* keys port.sip, port.sips, port.sip_peer, port.xmpp, ... */
    struct conf_set sets[CONF_SETS_MAX];
    size_t set_count;
};

/* Reads DIR/node.conf. 0, or -1 with file, line and what is allowed in *ret_err. */
int conf_load(const char *dir, struct conf *ret_conf, struct err *ret_err)
    __attribute__((warn_unused_result));

/* The same from text; `file` is for the sentence. Reads nothing else. */
int conf_parse(const char *dir, const char *file, struct str text, struct conf *ret_conf,
               struct err *ret_err) __attribute__((warn_unused_result));

/* Our own entry in conf->nodes. */
const struct view_node *conf_self(const struct conf *c);
