// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Of all programs; nodes of neighbouring versions can talk. */
#define MUSTER_VERSION "0.1.0"
