// SPDX-License-Identifier: Apache-2.0
/*
 * What an operator may ask for, and when not. A refusal names the state that forbids it and what
 * would help.
 */
#include <stdarg.h>
#include <stdio.h>

#include "common/view.h"
#include "recoveryd/rcv_core.h"

enum { WISH_MS = 120000 /* how long a fallback waits for what it needs */ };

static void reply(struct rcv *r, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void reply(struct rcv *r, int status, const char *format, ...)
{
    struct rcv_effect *e = rcv_effect(r, RCV_REPLY);
    va_list args;

    e->reply.status = status;
    va_start(args, format);
    (void)vsnprintf(e->reply.sentence, sizeof(e->reply.sentence), format, args);
    va_end(args);
}

static void fail_over(struct rcv *r)
{
    const char *waits_for = rcv_move_waits_for(r);

    if (rcv_alone(r))
        reply(r, 1, "this node has no peer that could take over its users");
    else if (r->disk.goal != RCV_OWN || !rcv_settled(r))
        reply(r, 1, "this node is %s (%s), and only a node in Normal can fail over%s",
              view_state_name(r->state), view_reason_name(r->reason),
              r->disk.goal == RCV_NONE ? "; its users are at the peer already" : "");
    else if (waits_for)
        reply(r, 1, "a failover now would lose something: %s; try again", waits_for);
    else {
        r->failover_asked = true;
        reply(r, 0, "this node fails over to its peer");
    }
}

static bool may_wish_fallback(const struct rcv *r)
{
    enum rcv_role theirs = (enum rcv_role)r->peer.last.goal;

    return rcv_settled(r) && ((r->disk.goal == RCV_BOTH && theirs == RCV_NONE) ||
                              (r->disk.goal == RCV_NONE && theirs == RCV_BOTH));
}

static void fall_back(struct rcv *r)
{
    const char *waits_for;

    if (rcv_alone(r)) {
        reply(r, 1, "this node has no peer");
    } else if (!rcv_peer_alive(r)) {
        reply(r, 1, "the peer cannot be heard; start it, and try again");
    } else if (!may_wish_fallback(r)) {
        reply(r, 1, "this node is %s (%s) and its peer %s: there is nothing to fall back from%s",
              view_state_name(r->state), view_reason_name(r->reason),
              view_state_name((Muster__NodeState)r->peer.last.state),
              r->disk.goal == RCV_FAILED ? "; try: nodectl ha recover" : "");
    } else {
        r->wish = RCV_WISH_FALLBACK;
        r->wish_until = mono_after(r->now, WISH_MS);
        r->beat_now = true;
        waits_for = r->disk.goal == RCV_BOTH ? rcv_move_waits_for(r) : NULL;
        if (waits_for)
            reply(r, 0, "the group falls back as soon as it can; now %s", waits_for);
        else
            reply(r, 0, "the group falls back");
    }
}

static void recover(struct rcv *r)
{
    if (r->disk.goal == RCV_INIT || r->disk.goal == RCV_FAILED) {
        r->forced = true;
        reply(r, 0, "this node goes on with what it has");
    } else {
        reply(r, 1, "this node is %s (%s), and there is nothing to recover from",
              view_state_name(r->state), view_reason_name(r->reason));
    }
}

/* Of a service that an operator stops the node knows that nobody serves; that is a failure too. */
static void run_service(struct rcv *r, enum rcv_command command, Muster__Service service)
{
    if (service <= MUSTER__SERVICE__SERVICE_NONE || (unsigned)service >= SERVICES_COUNT) {
        reply(r, 1,
              "nodectl starts and stops proxyd, presenced, routerd and syncagent; PostgreSQL "
              "is managed by recoveryd itself");
        return;
    }
    if (command == RCV_SERVICE_RESTART)
        services_restart(&r->services, service, r->now);
    else
        services_operator(&r->services, service, command == RCV_SERVICE_START, r->now);
    if (command != RCV_SERVICE_STOP && !r->services.all[service].wanted)
        reply(r, 0, "it starts when this node is no longer Idle: nodectl ha fallback");
    else if (command == RCV_SERVICE_STOP && services_is_critical(service) && !rcv_alone(r))
        reply(r, 0, "it stops; it is critical, so this node fails over in %u s",
              (unsigned)(r->config.timers.critical_service_down_delay_ms / 1000));
    else
        reply(r, 0, "%s", "");
}

void commands_run(struct rcv *r, enum rcv_command command, Muster__Service service)
{
    if (r->stopping) {
        reply(r, 1, "this node is being stopped");
        return;
    }
    switch (command) {
    case RCV_FAILOVER:
        fail_over(r);
        break;
    case RCV_FALLBACK:
        fall_back(r);
        break;
    case RCV_RECOVER:
        recover(r);
        break;
    case RCV_SERVICE_START:
    case RCV_SERVICE_STOP:
    case RCV_SERVICE_RESTART:
        run_service(r, command, service);
        break;
    }
}
