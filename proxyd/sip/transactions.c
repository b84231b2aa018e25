// SPDX-License-Identifier: Apache-2.0
#include "proxyd/sip/transactions.h"

#include <assert.h>

#include "proxyd/sip/tx_private.h"

struct sip_transactions *sip_tx_new(const struct sip_tx_config *config)
{
    struct sip_transactions *all = mem_new(sizeof(*all));

    all->config = *config;
    return all;
}

void sip_tx_free(struct sip_transactions *all)
{
    if (!all)
        return;
    while (all->servers)
        sip_server_free(all->servers);
    while (all->clients)
        sip_client_free(all->clients);
    timers_done(&all->timers);
    mem_free(all);
}

mono_t sip_tx_deadline(const struct sip_transactions *all)
{
    return timers_deadline(&all->timers);
}

void sip_tx_tick(struct sip_transactions *all, mono_t now)
{
    all->now = now;
    timers_run(&all->timers, now);
}

size_t sip_tx_count(const struct sip_transactions *all)
{
    return all->count;
}

uint64_t sip_tx_retransmits(const struct sip_transactions *all)
{
    return all->retransmits;
}

void sip_tx_check(const struct sip_transactions *all)
{
    const struct sip_server *s;
    const struct sip_client *c;

    timers_check(&all->timers);
    assert(all->count == HASH_CNT(hh, all->servers) + HASH_CNT(hh, all->clients));
    assert(HASH_CNT(hh, all->clients) == HASH_CNT(hh_token, all->tokens));
    for (s = all->servers; s; s = s->hh.next) {
        assert(!s->request == (s->state >= SIP_TX_COMPLETED));
        /* Whoever has answered has an end; whoever has not waits for its user. */
        assert(timer_is_set(&s->timer) == (s->state >= SIP_TX_COMPLETED));
    }
    for (c = all->clients; c; c = c->hh.next)
        assert(timer_is_set(&c->timer) ||
               (c->config.method == SIP_INVITE && c->state == SIP_TX_PROCEEDING));
}
