// SPDX-License-Identifier: Apache-2.0
/*
 * SASL exchanges: a SCRAM client that shares nothing with the server but RFC 5802 and the digests,
 * and everything that it can get wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/digest.h"
#include "common/mem.h"
#include "common/util.h"
#include "routerd/sasl.h"

static const uint8_t secret[SASL_SECRET_BYTES] = "thirty-two bytes that are secret";
static const uint8_t exporter[SASL_BINDING_BYTES] = "what both ends of the TLS derive";

struct fixture {
    struct directory *directory;
    struct sasl_config config;
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(sizeof(*f));
    struct user user = {.aor = "alice@muster.test", .display_name = "", .home = 1};

    digest_credentials(STR("alice"), STR("muster.test"), STR("secret"),
                       (const uint8_t *)"0123456789abcdef", &user.credentials);
    f->directory = directory_new();
    directory_put(f->directory, &user);
    f->config = (struct sasl_config){
        .directory = f->directory,
        .domain = STR("muster.test"),
        .tls = true,
        .exporter = exporter,
        .secret = secret,
        .nonce = "eighteen bytes....",
    };
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    directory_free(f->directory);
    mem_free(f);
    return 0;
}

/* ---- the client ---- */

/* What one does, and how it goes wrong if it does. */
struct attempt {
    const char *mechanism;
    const char *header; /* gs2 header; NULL: the right one */
    const char *name;
    const char *password;
    const char *binding;   /* in place of c=; NULL: the right one */
    const char *condition; /* NULL: success */
};

static void get_attribute(struct str message, char attribute, struct buf *out)
{
    struct str rest = message, part;

    do {
        str_cut(rest, ',', &part, &rest);
        if (part.len > 2 && part.p[0] == attribute && part.p[1] == '=') {
            buf_put_str(out, str_sub(part, 2, SIZE_MAX));
            return;
        }
    } while (rest.len);
    fail_msg("no %c in %.*s", attribute, STR_ARG(message));
}

struct client {
    enum digest_kind kind;
    const struct attempt *attempt;
    struct buf header, first, challenge, final, auth_message;
    uint8_t salted[DIGEST_BYTES_MAX];
};

static void init(struct client *c, const struct attempt *a)
{
    bool plus = strstr(a->mechanism, "-PLUS") != NULL;

    c->attempt = a;
    c->kind = strstr(a->mechanism, "SHA-256") ? DIGEST_SHA256 : DIGEST_SHA1;
    buf_init(&c->header, 4096);
    buf_init(&c->first, 4096);
    buf_init(&c->challenge, 4096);
    buf_init(&c->final, 4096);
    buf_init(&c->auth_message, 16384);
    buf_puts(&c->header, a->header ? a->header : plus ? "p=tls-exporter,," : "n,,");
    buf_printf(&c->first, "%sn=%s,r=clientnonce", c->header.data, a->name);
}

static void done(struct client *c)
{
    buf_done(&c->header);
    buf_done(&c->first);
    buf_done(&c->challenge);
    buf_done(&c->final);
    buf_done(&c->auth_message);
}

static void put_binding(struct client *c)
{
    struct buf raw;

    buf_puts(&c->final, "c=");
    if (c->attempt->binding) {
        buf_puts(&c->final, c->attempt->binding);
        return;
    }
    buf_init(&raw, 4096);
    buf_put_str(&raw, buf_str(&c->header));
    if (strstr(c->attempt->mechanism, "-PLUS"))
        buf_put(&raw, exporter, sizeof(exporter));
    digest_base64(&c->final, buf_str(&raw));
    buf_done(&raw);
}

/* SaltedPassword := Hi(password, salt, i) */
static void salt(struct client *c)
{
    struct buf encoded, salt, iterations;
    uint32_t count;

    buf_init(&encoded, 4096);
    buf_init(&salt, 4096);
    buf_init(&iterations, 4096);
    get_attribute(buf_str(&c->challenge), 's', &encoded);
    get_attribute(buf_str(&c->challenge), 'i', &iterations);
    assert_true(digest_unbase64(&salt, buf_str(&encoded)));
    assert_int_equal(salt.len, DIRECTORY_SALT_BYTES);
    assert_true(str_u32(buf_str(&iterations), &count));
    assert_int_equal(count, DIRECTORY_ITERATIONS);
    digest_pbkdf2(c->kind, str_of(c->attempt->password), buf_str(&salt), count, c->salted);
    buf_done(&encoded);
    buf_done(&salt);
    buf_done(&iterations);
}

/* HMAC(HMAC(SaltedPassword, label), AuthMessage) if `label`'s key is signed directly. */
static void sign(struct client *c, struct str key, uint8_t *ret)
{
    digest_hmac(c->kind, key, buf_str(&c->auth_message), ret);
}

static void make_final(struct client *c)
{
    size_t size = digest_size(c->kind);
    uint8_t client_key[DIGEST_BYTES_MAX], stored[DIGEST_BYTES_MAX], signature[DIGEST_BYTES_MAX];

    put_binding(c);
    buf_puts(&c->final, ",r=");
    get_attribute(buf_str(&c->challenge), 'r', &c->final);
    buf_printf(&c->auth_message, "%s,%s,%s", c->first.data + c->header.len, c->challenge.data,
               c->final.data);
    salt(c);
    digest_hmac(c->kind, str_of_bytes(c->salted, size), STR("Client Key"), client_key);
    digest_raw(c->kind, str_of_bytes(client_key, size), stored);
    sign(c, str_of_bytes(stored, size), signature);
    for (size_t i = 0; i < size; i++)
        client_key[i] ^= signature[i];
    buf_puts(&c->final, ",p=");
    digest_base64(&c->final, str_of_bytes(client_key, size));
}

static void check_server(struct client *c, struct str final)
{
    size_t size = digest_size(c->kind);
    uint8_t key[DIGEST_BYTES_MAX], signature[DIGEST_BYTES_MAX];
    struct buf wanted;

    buf_init(&wanted, 4096);
    digest_hmac(c->kind, str_of_bytes(c->salted, size), STR("Server Key"), key);
    sign(c, str_of_bytes(key, size), signature);
    buf_puts(&wanted, "v=");
    digest_base64(&wanted, str_of_bytes(signature, size));
    assert_string_equal(wanted.data, final.p);
    buf_done(&wanted);
}

static void exchange(struct client *c, struct sasl *s)
{
    enum sasl_outcome outcome = sasl_step(s, buf_str(&c->first), &c->challenge);
    struct buf out;

    buf_init(&out, 4096);
    if (outcome == SASL_CHALLENGE) {
        make_final(c);
        outcome = sasl_step(s, buf_str(&c->final), &out);
    }
    if (c->attempt->condition) {
        assert_int_equal(outcome, SASL_FAILURE);
        assert_string_equal(sasl_condition(s), c->attempt->condition);
    } else {
        assert_int_equal(outcome, SASL_SUCCESS);
        assert_true(str_eq_c(sasl_user(s), "alice@muster.test"));
        check_server(c, buf_str(&out));
    }
    buf_done(&out);
}

/* ---- the stories ---- */

// clang-format off
static const struct attempt attempts[] = {
    {"SCRAM-SHA-256",      NULL,       "alice", "secret", NULL, NULL},
    {"SCRAM-SHA-1",        NULL,       "alice", "secret", NULL, NULL},
    {"SCRAM-SHA-256-PLUS", NULL,       "alice", "secret", NULL, NULL},
    {"SCRAM-SHA-1-PLUS",   NULL,       "alice", "secret", NULL, NULL},
    {"SCRAM-SHA-256",      NULL,       "ALICE", "secret", NULL, NULL},
    {"SCRAM-SHA-256",      NULL,       "alice@muster.test", "secret", NULL, NULL},
    {"SCRAM-SHA-256",      "n,a=alice,", "alice", "secret", NULL, NULL},
    {"SCRAM-SHA-256",      NULL,       "alice", "wrong",  NULL, "not-authorized"},
    {"SCRAM-SHA-1",        NULL,       "alice", "",       NULL, "not-authorized"},
    {"SCRAM-SHA-256",      NULL,       "mallory", "secret", NULL, "not-authorized"},
    {"SCRAM-SHA-256",      NULL,       "b=2Cd", "secret", NULL, "not-authorized"},
    {"SCRAM-SHA-256",      NULL,       "b=ad",  "secret", NULL, "malformed-request"},
    {"SCRAM-SHA-256",      NULL,       "",      "secret", NULL, "malformed-request"},
    {"SCRAM-SHA-256",      "n,a=bob,", "alice", "secret", NULL, "invalid-authzid"},
    /* "I would bind the channel, but you did not offer it": somebody took our offer away. */
    {"SCRAM-SHA-256",      "y,,",      "alice", "secret", NULL, "malformed-request"},
    {"SCRAM-SHA-256",      "p=tls-exporter,,", "alice", "secret", NULL, "malformed-request"},
    {"SCRAM-SHA-256-PLUS", "n,,",      "alice", "secret", NULL, "malformed-request"},
    {"SCRAM-SHA-256-PLUS", "p=tls-unique,,", "alice", "secret", NULL, "malformed-request"},
    {"SCRAM-SHA-256-PLUS", NULL,       "alice", "secret", "biws", "malformed-request"},
    {"SCRAM-SHA-256",      NULL,       "alice", "secret", "eSws", "malformed-request"},
};
// clang-format on

static void scram_lets_in_who_knows_the_password(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
        struct sasl *s = sasl_new(&f->config, str_of(attempts[i].mechanism));
        struct client c;

        print_message("%zu: %s %s\n", i, attempts[i].mechanism, attempts[i].name);
        assert_non_null(s);
        init(&c, &attempts[i]);
        exchange(&c, s);
        done(&c);
        sasl_free(s);
    }
}

static void challenge_of(struct fixture *f, const char *first, struct buf *out)
{
    struct sasl *s = sasl_new(&f->config, STR("SCRAM-SHA-256"));

    buf_clear(out);
    assert_int_equal(sasl_step(s, str_of(first), out), SASL_CHALLENGE);
    sasl_free(s);
}

static void nobody_is_asked_like_anybody(void **state)
{
    struct fixture *f = *state;
    struct buf alice, mallory, again, other;

    buf_init(&alice, 4096);
    buf_init(&mallory, 4096);
    buf_init(&again, 4096);
    buf_init(&other, 4096);
    challenge_of(f, "n,,n=alice,r=clientnonce", &alice);
    challenge_of(f, "n,,n=mallory,r=clientnonce", &mallory);
    challenge_of(f, "n,,n=MALLORY,r=clientnonce", &again);
    challenge_of(f, "n,,n=eve,r=clientnonce", &other);
    assert_int_equal(alice.len, mallory.len);
    assert_string_equal(mallory.data, again.data);
    assert_string_not_equal(mallory.data, other.data);
    buf_done(&alice);
    buf_done(&mallory);
    buf_done(&again);
    buf_done(&other);
}

static enum sasl_outcome plain(struct fixture *f, const char *message, size_t len,
                               const char **ret_condition)
{
    struct sasl *s = sasl_new(&f->config, STR("PLAIN"));
    enum sasl_outcome outcome;
    struct buf out;

    buf_init(&out, 4096);
    outcome = sasl_step(s, str_of_bytes(message, len), &out);
    *ret_condition = sasl_condition(s);
    assert_int_equal(out.len, 0);
    buf_done(&out);
    sasl_free(s);
    return outcome;
}

static void plain_needs_the_password(void **state)
{
    static const struct {
        const char *message;
        size_t len;
        const char *condition;
    } rows[] = {
        {"\0alice\0secret", 13, NULL},
        {"alice\0alice\0secret", 18, NULL},
        {"\0alice\0wrong", 12, "not-authorized"},
        {"\0mallory\0secret", 15, "not-authorized"},
        {"bob\0alice\0secret", 16, "invalid-authzid"},
        {"\0alice\0", 7, "malformed-request"},
        {"\0\0secret", 8, "malformed-request"},
        {"alice", 5, "malformed-request"},
        {"", 0, "malformed-request"},
    };
    const char *condition;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(plain(*state, rows[i].message, rows[i].len, &condition),
                         rows[i].condition ? SASL_FAILURE : SASL_SUCCESS);
        if (rows[i].condition)
            assert_string_equal(condition, rows[i].condition);
    }
}

static void what_is_offered_depends_on_the_channel(void **state)
{
    struct fixture *f = *state;
    struct sasl_config plain_tcp = {.directory = f->directory, .secret = secret};

    assert_string_equal(sasl_mechanism(&f->config, 0), "SCRAM-SHA-256-PLUS");
    assert_string_equal(sasl_mechanism(&f->config, 4), "PLAIN");
    assert_null(sasl_mechanism(&f->config, 5));
    assert_string_equal(sasl_mechanism(&plain_tcp, 0), "SCRAM-SHA-256");
    assert_string_equal(sasl_mechanism(&plain_tcp, 1), "SCRAM-SHA-1");
    assert_null(sasl_mechanism(&plain_tcp, 2));
    assert_null(sasl_new(&plain_tcp, STR("PLAIN")));
    assert_null(sasl_new(&plain_tcp, STR("SCRAM-SHA-256-PLUS")));
    assert_null(sasl_new(&f->config, STR("DIGEST-MD5")));
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(scram_lets_in_who_knows_the_password),
        STORY(nobody_is_asked_like_anybody),
        STORY(plain_needs_the_password),
        STORY(what_is_offered_depends_on_the_channel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
