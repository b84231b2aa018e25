// SPDX-License-Identifier: Apache-2.0
#include "common/tls.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "common/log.h"
#include "common/mem.h"

/*
 * Reload. At a handshake, once a second at most, the files are looked at: when they have changed, a
 * context is made of them and takes the place of the old one in that and all later handshakes.
 * Files that cannot be used are complained of once, and change nothing.
 *
 * Ticket keys. Each day has its own, derived from the secret that the nodes of the group share, so
 * none is ever sent or stored. A ticket names the key that seals it; those of today and yesterday
 * are known. The nodes' clocks may differ by less than a day.
 */
enum { SECRET_BYTES_LEAST = 32, SECRET_BYTES_MAX = 256, DAY_S = 86400, TICKET_S = 7200 };

struct ticket_secret {
    unsigned char bytes[SECRET_BYTES_MAX];
    size_t len;
};

enum file { CERTIFICATE, KEY, AUTHORITY, TICKET_SECRET, FILES };

/* What a context was made of. */
struct source {
    enum tls_role role;
    char paths[FILES][CONF_PATH_MAX + 32];
    struct stat seen[FILES]; /* all zero: there is none */
    pthread_mutex_t mutex;   /* of what follows: handshakes are on several threads */
    time_t looked;
    SSL_CTX *newer; /* NULL: none */
};

enum { NAME_BYTES = 16, KEY_BYTES = 32, IV_BYTES = 16 };

struct ticket_key {
    unsigned char name[KEY_BYTES]; /* the first NAME_BYTES are used */
    unsigned char cipher[KEY_BYTES];
    unsigned char mac[KEY_BYTES];
};

/* For TLS 1.2: forward secrecy and AEAD, RFC 9325 4.2. Those of TLS 1.3 all have both. */
static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL";
static const char groups[] = "X25519:P-256:P-384";

/* ---- tickets ---- */

/* Slots of an SSL_CTX; drawn once. */
static int secret_index = -1, source_index = -1;

static void free_secret(void *parent, void *secret, CRYPTO_EX_DATA *data, int index, long argl,
                        void *argp)
{
    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    if (secret)
        OPENSSL_cleanse(secret, sizeof(struct ticket_secret));
    mem_free(secret);
}

static void free_source(void *parent, void *p, CRYPTO_EX_DATA *data, int index, long argl,
                        void *argp)
{
    struct source *source = p;

    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    if (!source)
        return;
    SSL_CTX_free(source->newer);
    pthread_mutex_destroy(&source->mutex);
    mem_free(source);
}

static void find_indexes(void)
{
    secret_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_secret);
    source_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_source);
    assert(secret_index >= 0 && source_index >= 0);
}

static void derive_one(const struct ticket_secret *secret, const char *label, uint64_t day,
                       unsigned char ret_key[KEY_BYTES])
{
    char info[64];
    unsigned len = 0;
    int info_len = snprintf(info, sizeof(info), "muster ticket %s %ju", label, (uintmax_t)day);

    assert(info_len > 0 && (size_t)info_len < sizeof(info));
    HMAC(EVP_sha256(), secret->bytes, (int)secret->len, (unsigned char *)info, (size_t)info_len,
         ret_key, &len);
    assert(len == KEY_BYTES);
}

static void derive(const struct ticket_secret *secret, uint64_t day, struct ticket_key *ret_key)
{
    derive_one(secret, "name", day, ret_key->name);
    derive_one(secret, "cipher", day, ret_key->cipher);
    derive_one(secret, "mac", day, ret_key->mac);
}

static bool set_keys(const struct ticket_key *key, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, bool seal)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, KEY_BYTES),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) &&
           EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, seal);
}

/* The newest secret: a handshake begins with the context that its listener has. */
static bool newest_secret(SSL *ssl, struct ticket_secret *ret_secret)
{
    SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);
    struct source *source = SSL_CTX_get_ex_data(ctx, source_index);
    const struct ticket_secret *secret;

    if (source)
        pthread_mutex_lock(&source->mutex);
    if (source && source->newer)
        ctx = source->newer;
    secret = SSL_CTX_get_ex_data(ctx, secret_index);
    if (secret)
        *ret_secret = *secret;
    if (source)
        pthread_mutex_unlock(&source->mutex);
    return secret;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): -1 error, 0 unknown key, 1 known, 2 known, and a new
 * ticket is due. TLS 1.3 clients use a ticket once (RFC 8446, C.4), so they always need one. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seal)
{
    uint64_t today = (uint64_t)time(NULL) / DAY_S;
    struct ticket_secret secret;
    struct ticket_key key;
    int known = 0;

    if (!newest_secret(ssl, &secret))
        return 0;
    if (seal) {
        derive(&secret, today, &key);
        memcpy(name, key.name, NAME_BYTES);
        known = RAND_bytes(iv, IV_BYTES) == 1 ? 1 : -1;
    }
    for (uint64_t age = 0; age < 2 && !known; age++) {
        derive(&secret, today - age, &key);
        if (CRYPTO_memcmp(name, key.name, NAME_BYTES) == 0)
            known = age || SSL_version(ssl) >= TLS1_3_VERSION ? 2 : 1;
    }
    if (known > 0 && !set_keys(&key, iv, cipher, mac, seal))
        known = -1;
    OPENSSL_cleanse(&key, sizeof(key));
    OPENSSL_cleanse(&secret, sizeof(secret));
    return known;
}

/* NULL: no file, or one that is too short: no tickets then. */
static struct ticket_secret *read_secret(const char *path)
{
    struct ticket_secret *secret = NULL;
    FILE *file = fopen(path, "re");

    if (!file)
        return NULL;
    secret = mem_new(sizeof(*secret));
    secret->len = fread(secret->bytes, 1, sizeof(secret->bytes), file);
    (void)fclose(file); /* it was only read */
    if (secret->len >= SECRET_BYTES_LEAST)
        return secret;
    mem_free(secret);
    return NULL;
}

static void set_tickets(SSL_CTX *ctx, const struct source *source)
{
    static const unsigned char id[] = "muster";
    struct ticket_secret *secret = NULL;

    if (source->role == TLS_SERVER)
        secret = read_secret(source->paths[TICKET_SECRET]);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* a ticket is kept by its client */
    if (!secret) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        (void)SSL_CTX_set_num_tickets(ctx, 0);
        return;
    }
    if (!SSL_CTX_set_ex_data(ctx, secret_index, secret))
        abort();
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
    (void)SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
    (void)SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_timeout(ctx, TICKET_S);
}

/* ---- contexts ---- */

static bool set_limits(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* An idle connection keeps no buffers. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) &&
           SSL_CTX_set_cipher_list(ctx, ciphers) && SSL_CTX_set1_groups_list(ctx, groups);
}

static int complain(struct err *ret_err, const char *what, const char *path)
{
    const char *why = ERR_reason_error_string(ERR_peek_error());

    (void)err_set(ret_err, "%s %s: %s", what, path, why ? why : "cannot be used");
    ERR_clear_error();
    return -1;
}

static int load(SSL_CTX *ctx, const struct source *source, struct err *ret_err)
{
    ERR_clear_error();
    if (!set_limits(ctx))
        return err_set(ret_err, "OpenSSL of this machine has none of our ciphers");
    if (SSL_CTX_use_certificate_chain_file(ctx, source->paths[CERTIFICATE]) != 1)
        return complain(ret_err, "certificate", source->paths[CERTIFICATE]);
    if (SSL_CTX_use_PrivateKey_file(ctx, source->paths[KEY], SSL_FILETYPE_PEM) != 1)
        return complain(ret_err, "key", source->paths[KEY]);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return complain(ret_err, "key", source->paths[KEY]);
    if (source->role == TLS_SERVER)
        return 0;
    if (SSL_CTX_load_verify_locations(ctx, source->paths[AUTHORITY], NULL) != 1)
        return complain(ret_err, "authority", source->paths[AUTHORITY]);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return 0;
}

static SSL_CTX *make(const struct source *source, struct err *ret_err)
{
    bool client = source->role == TLS_CLIENT_MUTUAL;
    SSL_CTX *ctx = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());

    if (!ctx) {
        (void)err_set(ret_err, "OpenSSL of this machine cannot be used");
        return NULL;
    }
    if (load(ctx, source, ret_err) < 0) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    set_tickets(ctx, source);
    return ctx;
}

/* ---- reload ---- */

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* True: some are not as they were. */
static bool look_at_files(struct source *source)
{
    bool changed = false;

    for (size_t i = 0; i < FILES; i++) {
        struct stat now = {0};

        if (stat(source->paths[i], &now))
            now = (struct stat){0};
        changed |= !same_file(&now, &source->seen[i]);
        source->seen[i] = now;
    }
    return changed;
}

static void reload(struct source *source)
{
    struct err err;
    SSL_CTX *newer = make(source, &err);

    if (!newer) {
        log_warning("certificate_not_reloaded", log_str("why", err.text));
        return;
    }
    log_info("certificate_reloaded", log_str("file", source->paths[CERTIFICATE]));
    SSL_CTX_free(source->newer);
    source->newer = newer;
}

/* SSL_CTX_set_cert_cb(3): before a certificate is chosen. 1: go on. */
static int on_certificate(SSL *ssl, void *arg)
{
    struct source *source = arg;
    time_t now = time(NULL);

    pthread_mutex_lock(&source->mutex);
    if (now != source->looked) {
        source->looked = now;
        if (look_at_files(source))
            reload(source);
    }
    if (source->newer && SSL_get_SSL_CTX(ssl) != source->newer)
        (void)SSL_set_SSL_CTX(ssl, source->newer); /* it fails for want of memory: the old one */
    pthread_mutex_unlock(&source->mutex);
    return 1;
}

static struct source *new_source(enum tls_role role, const struct conf *conf)
{
    struct source *source = mem_new(sizeof(*source));
    const char *const paths[] = {
        [CERTIFICATE] = conf->tls_cert, [KEY] = conf->tls_key, [AUTHORITY] = conf->tls_ca};

    source->role = role;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        (void)snprintf(source->paths[i], sizeof(source->paths[i]), "%s", paths[i]);
    (void)snprintf(source->paths[TICKET_SECRET], sizeof(source->paths[0]), "%s/tls/ticket.key",
                   conf->dir);
    pthread_mutex_init(&source->mutex, NULL);
    (void)look_at_files(source);
    return source;
}

SSL_CTX *tls_new(enum tls_role role, const struct conf *conf, struct err *ret_err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct source *source;
    SSL_CTX *ctx;

    pthread_once(&once, find_indexes);
    source = new_source(role, conf);
    ctx = make(source, ret_err);
    if (!ctx) {
        free_source(NULL, source, NULL, 0, 0, NULL);
        return NULL;
    }
    if (!SSL_CTX_set_ex_data(ctx, source_index, source))
        abort();
    SSL_CTX_set_cert_cb(ctx, on_certificate, source);
    return ctx;
}
