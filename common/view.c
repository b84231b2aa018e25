// SPDX-License-Identifier: Apache-2.0
#include "common/view.h"

#include <string.h>

#include "common/util.h"

/* Copies a NUL-terminated text of 1 to `max` bytes. */
static bool copy_text(char *to, const char *from, size_t max)
{
    size_t len = strnlen(from, max + 1);

    if (len == 0 || len > max)
        return false;
    memcpy(to, from, len + 1);
    return true;
}

static bool copy_node(const Muster__NodeView *message, struct view_node *to)
{
    if (message->node < 1 || message->node > VIEW_NODES_MAX || message->group < 1 ||
        message->group > VIEW_NODES_MAX || message->served_by > VIEW_NODES_MAX)
        return false;
    if (!copy_text(to->name, message->name, VIEW_NAME_MAX) ||
        !copy_text(to->address, message->address, VIEW_ADDRESS_MAX))
        return false;
    to->node = message->node;
    to->group = message->group;
    to->state = (Muster__NodeState)message->state;
    to->reason = (Muster__StateReason)message->reason;
    to->served_by = message->served_by;
    to->epoch = message->epoch;
    to->services_up = message->services_up;
    return true;
}

bool view_of(const Muster__View *message, struct view *ret_view)
{
    struct view v = {
        .version = message->version,
        .epoch = message->epoch,
        .self = message->self,
        .lease_until = mono_after((mono_t){message->made_at_ms}, message->lease_ms),
        .drain = message->drain,
    };

    if (message->version == 0 || message->n_nodes > VIEW_NODES_MAX)
        return false;
    for (size_t i = 0; i < message->n_nodes; i++) {
        if (!copy_node(message->nodes[i], &v.nodes[i]) || view_find(&v, v.nodes[i].node))
            return false;
        v.count++;
    }
    if (!view_find(&v, v.self))
        return false;
    *ret_view = v;
    return true;
}

const struct view_node *view_find(const struct view *v, uint32_t node)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (v->nodes[i].node == node)
            return &v->nodes[i];
    return NULL;
}

uint32_t view_serving(const struct view *v, uint32_t home)
{
    const struct view_node *n = view_find(v, home);

    return n ? n->served_by : 0;
}

bool view_is_mine(const struct view *v, uint32_t home, mono_t now)
{
    return v->version != 0 && !mono_reached(now, v->lease_until) &&
           view_serving(v, home) == v->self;
}

uint32_t view_peer(const struct view *v)
{
    const struct view_node *self = view_find(v, v->self);

    for (uint32_t i = 0; self && i < v->count; i++)
        if (v->nodes[i].group == self->group && v->nodes[i].node != v->self)
            return v->nodes[i].node;
    return 0;
}

bool view_is_peers(const struct view *v, uint32_t home)
{
    uint32_t peer = view_peer(v);

    return peer != 0 && view_serving(v, home) == peer;
}

const char *view_state_name(Muster__NodeState state)
{
    static const char *const names[] = {
        [MUSTER__NODE_STATE__STATE_UNKNOWN] = "Unknown",
        [MUSTER__NODE_STATE__INITIALIZING] = "Initializing",
        [MUSTER__NODE_STATE__IDLE] = "Idle",
        [MUSTER__NODE_STATE__NORMAL] = "Normal",
        [MUSTER__NODE_STATE__RUNNING_IN_BACKUP_MODE] = "Running in Backup Mode",
        [MUSTER__NODE_STATE__TAKING_OVER] = "Taking Over",
        [MUSTER__NODE_STATE__FAILING_OVER] = "Failing Over",
        [MUSTER__NODE_STATE__FAILED_OVER] = "Failed Over",
        [MUSTER__NODE_STATE__FAILED_OVER_CRITICAL] =
            "Failed Over with Critical Services Not Running",
        [MUSTER__NODE_STATE__FALLING_BACK] = "Falling Back",
        [MUSTER__NODE_STATE__TAKING_BACK] = "Taking Back",
        [MUSTER__NODE_STATE__RUNNING_IN_FAILED_MODE] = "Running in Failed Mode",
    };

    return (size_t)state < ARRAY_LEN(names) ? names[state] : names[0];
}

const char *view_reason_name(Muster__StateReason reason)
{
    static const char *const names[] = {
        [MUSTER__STATE_REASON__REASON_UNKNOWN] = "Unknown",
        [MUSTER__STATE_REASON__REASON_NORMAL] = "Normal",
        [MUSTER__STATE_REASON__ON_ADMIN_REQUEST] = "On Admin Request",
        [MUSTER__STATE_REASON__INITIALIZATION] = "Initialization",
        [MUSTER__STATE_REASON__AUTOMATIC_FALLBACK] = "Automatic Fallback",
        [MUSTER__STATE_REASON__CRITICAL_SERVICE_DOWN] = "Critical Service Down",
        [MUSTER__STATE_REASON__DATABASE_FAILURE] = "Database Failure",
        [MUSTER__STATE_REASON__START_OF_CRITICAL_SERVICES_FAILED] =
            "Start of Critical Services Failed",
        [MUSTER__STATE_REASON__PEER_DOWN] = "Peer Down",
        [MUSTER__STATE_REASON__PEER_REBOOT] = "Peer Reboot",
        [MUSTER__STATE_REASON__PEER_DOWN_DURING_INITIALIZATION] = "Peer Down During Initialization",
        [MUSTER__STATE_REASON__TAKE_OVER_USERS_FAILED] = "Take Over Users Failed",
        [MUSTER__STATE_REASON__TAKE_BACK_USERS_FAILED] = "Take Back Users Failed",
        [MUSTER__STATE_REASON__AUTO_RECOVER_CRITICAL_SERVICE_DOWN] =
            "Auto Recover Critical Service Down",
        [MUSTER__STATE_REASON__AUTO_RECOVER_DATABASE_FAILURE] = "Auto Recover Database Failure",
        [MUSTER__STATE_REASON__ISOLATED] = "Isolated",
        [MUSTER__STATE_REASON__PEER_UNREACHABLE] = "Peer Unreachable",
    };

    return (size_t)reason < ARRAY_LEN(names) ? names[reason] : names[0];
}
