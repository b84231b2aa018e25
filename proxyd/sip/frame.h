// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where a message ends in a stream (RFC 3261, 18.3): behind its headers, Content-Length bytes.
 */
#include "common/str.h"
#include "proxyd/sip/msg.h"

enum sip_frame {
    SIP_FRAME_MORE,      /* not complete yet */
    SIP_FRAME_MESSAGE,   /* the first `len` bytes are one message */
    SIP_FRAME_BLANK,     /* the first `len` bytes are line ends between messages */
    SIP_FRAME_PING,      /* the first `len` bytes are a keep-alive: answer CRLF (RFC 5626, 3.5.1) */
    SIP_FRAME_UNBOUNDED, /* ... are headers without a usable Content-Length; answer 400, then close
                          */
    SIP_FRAME_TOO_LARGE, /* ... are headers of a message beyond the limit; answer 413, then close */
    SIP_FRAME_LOST,      /* no message will ever be found in here; close */
};

struct sip_framer {
    size_t scanned; /* of the first message, without an end of its headers */
};

/* Looks at what has come and was not consumed. Call again after dropping *ret_len bytes. */
enum sip_frame sip_frame_next(struct sip_framer *f, struct str data, size_t *ret_len);
