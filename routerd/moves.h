// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Users come and go with the view. activate.c builds live state from the records of those who came;
 * release.c lets go of those who are taken away, and leaves their records to the other node.
 */
#include "routerd/state.h"

/* Activates all homes that are ours by the view, the lease and the directory, and are not active.
 */
void activate(struct router *r);

/* Lets go of homes that `next` gives to others; before `next` is in force. Streams are sent to the
 * other node; sessions that can be resumed wait there. */
void release_taken(struct router *r, const struct view *next);
/* Lets go of all: the lease ran out. */
void release_all(struct router *r);
/* Says that the view is carried out (router_view_done()) when nothing of those who were let go is
 * under way here any more, and the peer has all. */
void release_finish(struct router *r);
void release_init(struct router *r);
