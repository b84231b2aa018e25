// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/pg/settings.h"

#include <string.h>

/*
 * wal_log_hints (with data checksums of initdb implied) is what pg_rewind needs. The timeouts find
 * a dead peer within five seconds; recoveryd, by its heartbeat, is faster. A slot of a node that is
 * away may hold 1 GiB of WAL: after that the node gets a new copy instead.
 */
static const char fixed[] =
    "wal_level = replica\n"
    "max_wal_senders = 16\n"
    "max_replication_slots = 16\n"
    "max_connections = 100\n"
    "max_slot_wal_keep_size = 1GB\n"
    "wal_keep_size = 64MB\n"
    "max_wal_size = 512MB\n"
    "min_wal_size = 80MB\n"
    "checkpoint_timeout = 5min\n"
    "checkpoint_completion_target = 0.9\n"
    "hot_standby = on\n"
    "wal_log_hints = on\n"
    "fsync = on\n"
    "full_page_writes = on\n"
    "synchronous_commit = on\n"
    "recovery_target_timeline = 'latest'\n"
    "shared_buffers = 64MB\n"
    "wal_sender_timeout = 5s\n"
    "wal_receiver_timeout = 5s\n"
    "wal_receiver_status_interval = 1s\n"
    "wal_retrieve_retry_interval = 500ms\n"
    "tcp_keepalives_idle = 2\n"
    "tcp_keepalives_interval = 1\n"
    "tcp_keepalives_count = 3\n"
    "tcp_user_timeout = 5000\n"
    "authentication_timeout = 10s\n"
    "password_encryption = 'scram-sha-256'\n"
    "unix_socket_directories = '../run'\n" /* from DIR/data: no limit on the length of DIR */
    "unix_socket_permissions = 0700\n"
    "ssl = on\n"
    "ssl_min_protocol_version = 'TLSv1.2'\n"
    "logging_collector = off\n"
    "log_destination = 'stderr'\n"
    "log_line_prefix = '%m [%p] %q%a '\n"
    "log_checkpoints = off\n"
    "log_timezone = 'UTC'\n"
    "timezone = 'UTC'\n"
    "cluster_name = 'muster'\n";

/* A conninfo and postgresql.conf agree here: a backslash escapes. */
static void put_quoted(struct buf *out, const char *value)
{
    buf_put_c(out, '\'');
    for (; *value; value++) {
        if (*value == '\'' || *value == '\\')
            buf_put_c(out, '\\');
        buf_put_c(out, *value);
    }
    buf_put_c(out, '\'');
}

static void put_setting(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s = ", name);
    put_quoted(out, value);
    buf_put_c(out, '\n');
}

static void put_path_setting(struct buf *out, const char *name, const struct conf *conf,
                             const char *file)
{
    char path[2 * CONF_PATH_MAX];
    struct buf b;

    buf_init(&b, sizeof(path));
    buf_printf(&b, "%s/%s", conf->dir, file);
    put_setting(out, name, b.data);
    buf_done(&b);
}

void settings_put_conninfo(struct buf *out, const char *key, const char *value)
{
    buf_printf(out, "%s=", key);
    put_quoted(out, value);
    buf_put_c(out, ' ');
}

void settings_main(struct buf *out, const struct conf *conf)
{
    buf_puts(out, "# Written by recoveryd; changes are lost.\n");
    put_setting(out, "listen_addresses", view_find(&conf->nodes, conf->node)->address);
    buf_printf(out, "port = %u\n", conf->ports[CONF_PORT_DATABASE]);
    put_path_setting(out, "hba_file", conf, "postgres/pg_hba.conf");
    put_path_setting(out, "ident_file", conf, "postgres/pg_ident.conf");
    put_setting(out, "ssl_cert_file", conf->tls_cert);
    put_setting(out, "ssl_key_file", conf->tls_key);
    put_setting(out, "ssl_ca_file", conf->tls_ca);
    buf_puts(out, fixed);
    buf_puts(out, "include_if_exists = 'upstream.conf'\n");
    buf_puts(out, "include_if_exists = 'synchronous.conf'\n");
}

/* The socket is in a directory that only we may enter; from outside only nodes come in, and prove
 * it with their certificate. */
void settings_hba(struct buf *out)
{
    buf_puts(out, "local   all,replication all    trust\n"
                  "hostssl all,replication muster all cert map=nodes\n");
}

void settings_ident(struct buf *out)
{
    buf_puts(out, "nodes /^.*$ muster\n");
}

void settings_standby_name(struct buf *out, uint32_t node)
{
    buf_printf(out, "node%u", node);
}

uint32_t settings_standby_of(struct str name)
{
    uint32_t node;

    if (!str_starts(name, STR("node")) || !str_u32(str_sub(name, 4, name.len), &node))
        return 0;
    return node <= VIEW_NODES_MAX ? node : 0;
}

void settings_conninfo(struct buf *out, const struct conf *conf, const struct view_node *peer,
                       const char *database, const char *application)
{
    settings_put_conninfo(out, "host", peer->address);
    buf_printf(out, "port=%u ", conf->ports[CONF_PORT_DATABASE]);
    settings_put_conninfo(out, "dbname", database);
    settings_put_conninfo(out, "user", "muster");
    settings_put_conninfo(out, "application_name", application);
    settings_put_conninfo(out, "sslmode", "verify-full");
    settings_put_conninfo(out, "sslcert", conf->tls_cert);
    settings_put_conninfo(out, "sslkey", conf->tls_key);
    settings_put_conninfo(out, "sslrootcert", conf->tls_ca);
    buf_puts(out, "gssencmode=disable connect_timeout=2 keepalives_idle=2 keepalives_interval=1 "
                  "keepalives_count=3 tcp_user_timeout=5000");
}

void settings_upstream(struct buf *out, const struct conf *conf, const struct view_node *peer)
{
    struct buf name, conninfo;

    buf_init(&name, 32);
    buf_init(&conninfo, SETTINGS_TEXT_MAX);
    settings_standby_name(&name, conf->node);
    settings_conninfo(&conninfo, conf, peer, "replication", name.data);
    put_setting(out, "primary_conninfo", conninfo.data);
    put_setting(out, "primary_slot_name", name.data);
    buf_done(&conninfo);
    buf_done(&name);
}

void settings_synchronous(struct buf *out, uint32_t node)
{
    if (node)
        buf_printf(out, "synchronous_standby_names = 'node%u'\n", node);
    else
        buf_puts(out, "synchronous_standby_names = ''\n");
}
