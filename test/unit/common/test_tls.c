// SPDX-License-Identifier: Apache-2.0
/*
 * TLS contexts: what they agree on, what they refuse, and that a ticket of one node is good on the
 * other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "common/tls.h"
#include "test/unit/certs.h"

static struct certs certs;
static struct conf first, second;

static SSL_CTX *context(enum tls_role role, const struct conf *conf)
{
    struct err err;
    SSL_CTX *ctx = tls_new(role, conf, &err);

    if (!ctx)
        fail_msg("%s", err.text);
    return ctx;
}

/* In the directory of a node's configuration; NULL removes it. */
static void write_secret(const char *dir, const char *bytes)
{
    char path[CONF_PATH_MAX + 32];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/tls", dir);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof(path), "%s/tls/ticket.key", dir);
    f = bytes ? fopen(path, "w") : NULL;
    if (f) {
        fputs(bytes, f);
        fclose(f);
        return;
    }
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/tls", dir);
    (void)rmdir(path);
}

/* Both ends in memory. The client's session, when it got one by a ticket, is in *ret_session. */
static SSL_SESSION *got_session;

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(got_session);
    got_session = session;
    return 1;
}

/* 1: done anew, 2: resumed, 0: failed. */
static int handshake(SSL_CTX *server_ctx, SSL_CTX *client_ctx, SSL_SESSION *session)
{
    SSL *server = SSL_new(server_ctx), *client = SSL_new(client_ctx);
    BIO *one, *other;
    char c;
    int result;

    assert_int_equal(BIO_new_bio_pair(&one, 0, &other, 0), 1);
    SSL_set_bio(server, one, one);
    SSL_set_bio(client, other, other);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    if (session)
        SSL_set_session(client, session);
    for (int i = 0; i < 10; i++) {
        (void)SSL_do_handshake(client);
        (void)SSL_do_handshake(server);
    }
    (void)SSL_read(client, &c, 1); /* takes the ticket in */
    result = !SSL_is_init_finished(server) || !SSL_is_init_finished(client) ? 0
             : SSL_session_reused(client)                                   ? 2
                                                                            : 1;
    ERR_clear_error();
    SSL_shutdown(client);
    SSL_free(server);
    SSL_free(client);
    return result;
}

static SSL_CTX *client_context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    return ctx;
}

static void a_ticket_is_good_on_both_nodes(void **state)
{
    SSL_CTX *client = client_context();

    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct conf other = first;
        SSL_CTX *one, *two, *strange;

        (void)snprintf(other.dir, sizeof(other.dir), "%s/other", certs.dir);
        (void)mkdir(other.dir, 0700);
        write_secret(other.dir, "another secret, of another group.");
        write_secret(certs.dir, "0123456789abcdef0123456789abcdef");
        one = context(TLS_SERVER, &first);
        two = context(TLS_SERVER, &second);
        strange = context(TLS_SERVER, &other);
        SSL_CTX_set_max_proto_version(client, version);

        assert_int_equal(handshake(one, client, NULL), 1);
        assert_non_null(got_session);
        assert_int_equal(handshake(two, client, got_session), 2);
        assert_int_equal(handshake(one, client, got_session), 2);
        assert_int_equal(handshake(strange, client, got_session), 1);
        SSL_SESSION_free(got_session);
        got_session = NULL;
        SSL_CTX_free(one);
        SSL_CTX_free(two);
        SSL_CTX_free(strange);
        write_secret(other.dir, NULL);
        write_secret(certs.dir, NULL);
        (void)rmdir(other.dir);
    }
    SSL_CTX_free(client);
}

static void without_a_secret_there_are_no_tickets(void **state)
{
    SSL_CTX *client = client_context();
    SSL_CTX *server;

    (void)state;
    write_secret(certs.dir, "too short");
    server = context(TLS_SERVER, &first);
    assert_int_equal(handshake(server, client, NULL), 1);
    write_secret(certs.dir, NULL);
    assert_null(got_session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void old_versions_and_ciphers_are_refused(void **state)
{
    SSL_CTX *server = context(TLS_SERVER, &first);
    SSL_CTX *client = client_context();

    (void)state;
    SSL_CTX_set_security_level(client, 0);
    SSL_CTX_set_min_proto_version(client, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(client, TLS1_1_VERSION);
    assert_int_equal(handshake(server, client, NULL), 0);
    SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(client, "ECDHE+AES+SHA1:ECDHE+AES+SHA256:!AESGCM");
    assert_int_equal(handshake(server, client, NULL), 0);
    SSL_CTX_set_cipher_list(client, "ECDHE+AESGCM");
    assert_int_equal(handshake(server, client, NULL), 1);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void a_node_must_show_a_certificate(void **state)
{
    SSL_CTX *server = context(TLS_SERVER_MUTUAL, &first);
    SSL_CTX *nobody = client_context();
    SSL_CTX *node = context(TLS_CLIENT_MUTUAL, &second);

    (void)state;
    assert_int_equal(handshake(server, nobody, NULL), 0);
    assert_int_equal(handshake(server, node, NULL), 1);
    SSL_CTX_free(server);
    SSL_CTX_free(nobody);
    SSL_CTX_free(node);
}

static void what_is_wrong_is_said(void **state)
{
    struct conf bad = first;
    struct err err;

    (void)state;
    (void)snprintf(bad.tls_key, sizeof(bad.tls_key), "%s", second.tls_key);
    assert_null(tls_new(TLS_SERVER, &bad, &err));
    assert_non_null(strstr(err.text, second.tls_key));
    (void)snprintf(bad.tls_cert, sizeof(bad.tls_cert), "/nowhere.crt");
    assert_null(tls_new(TLS_SERVER, &bad, &err));
    assert_non_null(strstr(err.text, "/nowhere.crt"));
}

static char *peer_name(SSL_CTX *server_ctx, SSL_CTX *client_ctx)
{
    static char name[64];
    SSL *server = SSL_new(server_ctx), *client = SSL_new(client_ctx);
    BIO *one, *other;

    assert_int_equal(BIO_new_bio_pair(&one, 0, &other, 0), 1);
    SSL_set_bio(server, one, one);
    SSL_set_bio(client, other, other);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    for (int i = 0; i < 10; i++) {
        (void)SSL_do_handshake(client);
        (void)SSL_do_handshake(server);
    }
    assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
    X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(client)),
                              NID_commonName, name, sizeof(name));
    SSL_free(server);
    SSL_free(client);
    return name;
}

static void copy_file(const char *from, const char *to)
{
    char text[8192];
    FILE *f = fopen(from, "r");
    size_t len = fread(text, 1, sizeof(text), f);

    fclose(f);
    f = fopen(to, "w");
    fwrite(text, 1, len, f);
    fclose(f);
}

/* A context looks at its first handshake, so no time is waited for. */
static void a_new_certificate_is_taken(void **state)
{
    struct conf changing;
    SSL_CTX *server, *client = context(TLS_CLIENT_MUTUAL, &second);

    (void)state;
    certs_make(&certs, "change", "DNS:n1");
    certs_conf(&certs, "change", &changing);
    for (int broken = 0; broken < 2; broken++) {
        copy_file(first.tls_cert, changing.tls_cert);
        copy_file(first.tls_key, changing.tls_key);
        server = context(TLS_SERVER_MUTUAL, &changing);
        copy_file(second.tls_cert, changing.tls_cert);
        if (!broken)
            copy_file(second.tls_key, changing.tls_key);
        assert_string_equal(peer_name(server, client), broken ? "n1" : "n2");
        assert_string_equal(peer_name(server, client), broken ? "n1" : "n2");
        SSL_CTX_free(server);
    }
    SSL_CTX_free(client);
}

static int make_certs(void **state)
{
    (void)state;
    certs_init(&certs);
    certs_make(&certs, "n1", "DNS:n1,IP:127.0.0.1");
    certs_make(&certs, "n2", "DNS:n2,IP:127.0.0.2");
    certs_conf(&certs, "n1", &first);
    certs_conf(&certs, "n2", &second);
    return 0;
}

static int remove_certs(void **state)
{
    (void)state;
    certs_done(&certs, (const char *[]){"n1", "n2", "change", NULL});
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ticket_is_good_on_both_nodes),
        cmocka_unit_test(without_a_secret_there_are_no_tickets),
        cmocka_unit_test(old_versions_and_ciphers_are_refused),
        cmocka_unit_test(a_node_must_show_a_certificate),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(a_new_certificate_is_taken),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
