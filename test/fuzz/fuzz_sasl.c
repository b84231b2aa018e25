// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "common/digest.h"
#include "routerd/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One user; making credentials costs too much to do it for each input. */
static struct directory *directory(void)
{
    static struct directory *d;
    struct user user = {.aor = "alice@muster.test", .display_name = "", .home = 1};

    if (d)
        return d;
    d = directory_new();
    digest_credentials(STR("alice"), STR("muster.test"), STR("secret"),
                       (const uint8_t *)"0123456789abcdef", &user.credentials);
    directory_put(d, &user);
    return d;
}

/* The first byte chooses the mechanism; a newline ends a message of the client. Without the
 * password nobody gets in. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t secret[SASL_SECRET_BYTES], exporter[SASL_BINDING_BYTES];
    struct sasl_config config = {
        .directory = directory(),
        .domain = STR("muster.test"),
        .tls = true,
        .exporter = exporter,
        .secret = secret,
    };
    struct str rest = str_of_bytes(data + 1, size ? size - 1 : 0), message;
    enum sasl_outcome outcome = SASL_CHALLENGE;
    struct sasl *s;
    struct buf out;

    if (size == 0)
        return 0;
    s = sasl_new(&config, str_of(sasl_mechanism(&config, data[0] % 5)));
    while (outcome == SASL_CHALLENGE && rest.len) {
        str_cut(rest, '\n', &message, &rest);
        buf_init(&out, SASL_MESSAGE_MAX);
        outcome = sasl_step(s, message, &out);
        assert(!out.full);
        buf_done(&out);
    }
    if (outcome == SASL_SUCCESS)
        assert(data[0] % 5 == 4 && str_eq_c(sasl_user(s), "alice@muster.test"));
    if (outcome == SASL_FAILURE)
        assert(sasl_condition(s));
    sasl_free(s);
    return 0;
}
