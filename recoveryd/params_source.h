// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Service parameters from the table `parameters`, kept fresh by NOTIFY muster_params, with a copy
 * in DIR/state/params, so that they are known before the database is.
 */
#include <control.pb-c.h>

#include "common/conf.h"
#include "common/db.h"

struct params_source;

struct params_source_config {
    const struct conf *conf; /* borrowed */
    struct db *db;           /* borrowed; outlives this */
    /* The parameters have changed. Never from within params_source_start(). */
    void (*on_change)(void *ctx);
    void *ctx;
};

/* Reads the copy, then listens. params_source_message() can be used at once. */
struct params_source *params_source_start(const struct params_source_config *config);
/* Before db_close(). */
void params_source_close(struct params_source *s);

/* What concerns our node: its own values before the cluster's. Belongs to the source and is valid
 * until the next on_change or params_source_close(). `version` grows with each change, from 1. */
const Muster__Params *params_source_message(const struct params_source *s);
