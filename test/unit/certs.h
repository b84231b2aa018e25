// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A private authority and node certificates for tests, made in a directory of their own: ca.crt,
 * and NAME.crt and NAME.key for each name. And a struct conf that points to them.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/conf.h"

struct certs {
    char dir[64];
    EVP_PKEY *ca_key;
    X509 *ca;
};

static inline void certs_add(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert(extension);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

static inline X509 *certs_sign(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                               const char *alt_names)
{
    static long serial = 1;
    X509 *cert = X509_new();

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
    X509_set_pubkey(cert, key);
    certs_add(cert, issuer ? issuer : cert, NID_basic_constraints,
              issuer ? "CA:FALSE" : "critical,CA:TRUE");
    if (alt_names)
        certs_add(cert, issuer, NID_subject_alt_name, alt_names);
    X509_sign(cert, issuer_key, EVP_sha256());
    return cert;
}

static inline void certs_write(const struct certs *c, const char *name, X509 *cert, EVP_PKEY *key)
{
    char path[128];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s.crt", c->dir, name);
    f = fopen(path, "w");
    assert(f);
    PEM_write_X509(f, cert);
    fclose(f);
    (void)snprintf(path, sizeof(path), "%s/%s.key", c->dir, name);
    f = fopen(path, "w");
    assert(f);
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
}

static inline void certs_init(struct certs *c)
{
    (void)snprintf(c->dir, sizeof(c->dir), "/tmp/muster-certs-XXXXXX");
    if (!mkdtemp(c->dir))
        abort();
    c->ca_key = EVP_EC_gen("P-256");
    c->ca = certs_sign("test authority", c->ca_key, NULL, c->ca_key, NULL);
    certs_write(c, "ca", c->ca, c->ca_key);
}

/* alt_names: "DNS:n1,IP:127.0.1.1". */
static inline void certs_make(struct certs *c, const char *name, const char *alt_names)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = certs_sign(name, key, c->ca, c->ca_key, alt_names);

    certs_write(c, name, cert, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* What tls_new() needs of a configuration; the rest stays as it was. */
static inline void certs_conf(const struct certs *c, const char *name, struct conf *conf)
{
    (void)snprintf(conf->dir, sizeof(conf->dir), "%s", c->dir);
    (void)snprintf(conf->tls_cert, sizeof(conf->tls_cert), "%s/%s.crt", c->dir, name);
    (void)snprintf(conf->tls_key, sizeof(conf->tls_key), "%s/%s.key", c->dir, name);
    (void)snprintf(conf->tls_ca, sizeof(conf->tls_ca), "%s/ca.crt", c->dir);
}

/* Removes the files; `names`: those that were made, NULL at the end. */
static inline void certs_done(struct certs *c, const char *const *names)
{
    char path[128];

    for (; names && *names; names++) {
        (void)snprintf(path, sizeof(path), "%s/%s.crt", c->dir, *names);
        (void)unlink(path);
        (void)snprintf(path, sizeof(path), "%s/%s.key", c->dir, *names);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof(path), "%s/ca.crt", c->dir);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/ca.key", c->dir);
    (void)unlink(path);
    (void)rmdir(c->dir);
    X509_free(c->ca);
    EVP_PKEY_free(c->ca_key);
}
