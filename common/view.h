// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The cluster view: which nodes there are, who serves whose users, and until when we may act on it.
 * recoveryd makes it, every daemon holds a copy; plain data, usable by cores.
 */
#include <stdbool.h>
#include <stdint.h>

#include <control.pb-c.h>

#include "common/mono.h"
#include "common/str.h"

enum { VIEW_NODES_MAX = 6, VIEW_NAME_MAX = 64, VIEW_ADDRESS_MAX = 64 };

struct view_node {
    uint32_t node;
    uint32_t group;
    char name[VIEW_NAME_MAX + 1];
    char address[VIEW_ADDRESS_MAX + 1];
    Muster__NodeState state;
    Muster__StateReason reason;
    uint32_t served_by; /* 0: nobody serves its users now */
    uint64_t epoch;
    bool services_up;
};

struct view {
    uint64_t version; /* 0: none yet */
    uint64_t epoch;
    uint32_t self;
    uint32_t count;
    struct view_node nodes[VIEW_NODES_MAX];
    mono_t lease_until; /* serve nobody after this */
    bool drain;
};

/* Copies a message into `ret_view`; false if it breaks a limit or names no self. */
bool view_of(const Muster__View *message, struct view *ret_view);

/* NULL when there is none. */
const struct view_node *view_find(const struct view *v, uint32_t node);

/* The node that serves users whose home is `home`; 0: nobody. */
uint32_t view_serving(const struct view *v, uint32_t home);

/* Do we serve users whose home is `home`? False when the lease has run out. */
bool view_is_mine(const struct view *v, uint32_t home, mono_t now);

/* The other node of our group; 0 when the group has one. */
uint32_t view_peer(const struct view *v);

/* Does that node serve users whose home is `home`? */
bool view_is_peers(const struct view *v, uint32_t home);

/* "Running in Backup Mode", "Peer Down": the exact names of HA.md. */
const char *view_state_name(Muster__NodeState state);
const char *view_reason_name(Muster__StateReason reason);
