// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proxyd/sip/print.h"
#include "proxyd/sip/transactions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OPEN_MAX = 8 };

struct world {
    struct sip_transactions *all;
    struct sip_server *open[OPEN_MAX]; /* not answered yet */
    uint64_t last_token;
    mono_t now;
};

static void on_send(void *ctx, const struct sip_flow *to, struct str bytes, uint64_t token)
{
    struct world *w = ctx;

    (void)to;
    (void)bytes;
    if (token)
        w->last_token = token;
}

static void on_response(void *ctx, unsigned code, const struct sip_msg *response, mono_t now)
{
    (void)ctx;
    (void)now;
    assert(!response || response->status == code);
}

static struct sip_msg *message(const char *line, enum sip_method method, unsigned branch,
                               enum sip_transport transport)
{
    struct sip_flow flow = {.transport = transport, .remote = {"192.0.2.1", 5060}};
    char text[500];

    snprintf(text, sizeof(text),
             "%s\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK%u\r\nf: <sip:a@b>;tag=1\r\nt: <sip:a@b>\r\n"
             "i: 1\r\nCSeq: 1 %s\r\nl: 0\r\n\r\n",
             line, branch, sip_method_name(method));
    return sip_msg_parse(str_of(text), &flow);
}

static void request(struct world *w, uint8_t what, size_t slot)
{
    static const enum sip_method methods[] = {SIP_INVITE, SIP_ACK, SIP_MESSAGE, SIP_SUBSCRIBE};
    enum sip_method method = methods[what & 3];
    struct sip_msg *m;
    char line[50];

    if (w->open[slot])
        return;
    snprintf(line, sizeof(line), "%s sip:a@b SIP/2.0", sip_method_name(method));
    m = message(line, method, what >> 2 & 7, what & 32 ? SIP_TCP : SIP_UDP);
    if (sip_tx_request(w->all, m, w->now, &w->open[slot]) == SIP_TX_FULL)
        sip_msg_free(m);
}

static void reply(struct world *w, uint8_t what, size_t slot)
{
    unsigned code = what & 1 ? 180 : what & 2 ? 200 : 404;

    if (!w->open[slot])
        return;
    sip_server_reply(w->open[slot], code, STR("x"), w->now);
    if (code >= 200)
        w->open[slot] = NULL;
}

static void ask(struct world *w, uint8_t what)
{
    static unsigned serial;
    enum sip_method method = what & 1 ? SIP_INVITE : SIP_MESSAGE;
    char branch[50], bytes[500];

    snprintf(branch, sizeof(branch), "z9hG4bK%u", serial++ % 1000000);
    snprintf(bytes, sizeof(bytes),
             "%s sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=%s\r\nf: <sip:a@b>;tag=1\r\n"
             "t: <sip:a@b>\r\ni: 1\r\nCSeq: 1 %s\r\nl: 0\r\n\r\n",
             sip_method_name(method), branch, sip_method_name(method));
    sip_client_start(w->all,
                     &(struct sip_client_config){.method = method,
                                                 .branch = str_of(branch),
                                                 .to.transport = what & 2 ? SIP_TCP : SIP_UDP,
                                                 .bytes = str_of(bytes),
                                                 .on_response = on_response},
                     w->now);
}

/* Two bytes are an event; the invariants must hold after any of them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {0};

    w.all = sip_tx_new(&(struct sip_tx_config){.send = on_send, .ctx = &w, .max = 20});
    for (size_t i = 0; i + 1 < size; i += 2) {
        uint8_t what = data[i + 1];

        switch (data[i] & 7) {
        case 0:
        case 1:
            request(&w, what, data[i] >> 5);
            break;
        case 2:
        case 3:
            reply(&w, what, data[i] >> 5);
            break;
        case 4:
            ask(&w, what);
            break;
        case 5:
            sip_tx_failed(w.all, w.last_token - (what & 3), w.now);
            break;
        default:
            w.now = mono_after(w.now, (uint64_t)what * what);
            sip_tx_tick(w.all, w.now);
        }
        sip_tx_check(w.all);
    }
    sip_tx_free(w.all);
    return 0;
}
