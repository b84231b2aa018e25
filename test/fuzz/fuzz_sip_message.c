// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "proxyd/sip/print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(struct sip_msg *m)
{
    for (enum sip_header_id id = 0; id < SIP_HEADER_COUNT; id++) {
        struct sip_walk walk = {0};
        struct sip_credentials credentials;
        struct sip_addr addr;
        struct str value;

        while (sip_msg_next(m, id, &walk, &value)) {
            if (sip_addr_parse(value, &addr) && addr.uri.scheme != SIP_SCHEME_OTHER)
                assert(sip_uri_equal(&addr.uri, &addr.uri));
            if (sip_credentials_parse(value, &credentials))
                assert(credentials.nonce.len <= value.len);
        }
    }
}

/* Whatever came: what we answer, or pass on, can be parsed again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sip_flow flow = {.transport = SIP_UDP, .remote = {"192.0.2.1", 5060}};
    struct sip_msg *m = sip_msg_parse(str_of_bytes(data, size), &flow), *again;
    struct sip_address self = {"192.0.2.2", 5060};
    struct str aor;
    struct buf out;

    if (!m)
        return 0;
    look_at(m);
    buf_init(&out, 4 * SIP_MESSAGE_MAX);
    if (m->request && m->refusal.code == 0) {
        (void)sip_uri_aor(&m->arena, &m->uri, &aor);
        sip_put_forwarded(&out, m, SIP_TCP, &self, STR("z9hG4bKx"));
        sip_put_body_of(&out, m);
        again = sip_msg_parse(buf_str(&out), &flow);
        assert(out.len > SIP_MESSAGE_MAX || again);
        sip_msg_free(again);
        buf_clear(&out);
        sip_put_response(&out, m, 200, NULL, STR("tag"));
    } else if (!m->request) {
        sip_put_passed_back(&out, m);
    }
    buf_done(&out);
    sip_msg_free(m);
    return 0;
}
