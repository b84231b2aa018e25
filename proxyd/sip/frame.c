// SPDX-License-Identifier: Apache-2.0
#include "proxyd/sip/frame.h"

#include <string.h>

static enum sip_frame blank(struct str data, size_t *ret_len)
{
    if (data.len >= 4 && memcmp(data.p, "\r\n\r\n", 4) == 0) {
        *ret_len = 4;
        return SIP_FRAME_PING;
    }
    /* One CRLF may be the first half of a keep-alive. */
    if (data.len < 4 && memcmp(data.p, "\r\n\r", data.len) == 0)
        return SIP_FRAME_MORE;
    *ret_len = 2;
    return data.len >= 2 && data.p[1] == '\n' ? SIP_FRAME_BLANK : SIP_FRAME_LOST;
}

/* Value of Content-Length among the lines of `head`; false when there is none or it is no number.
 */
static bool content_length(struct str head, uint64_t *ret_value)
{
    while (head.len) {
        struct str line, name, value;

        str_cut(head, '\n', &line, &head);
        if (str_cut(line, ':', &name, &value) &&
            sip_header_of(str_trim(name)) == SIP_HEADER_CONTENT_LENGTH)
            return str_u64(str_trim(value), ret_value);
    }
    return false;
}

enum sip_frame sip_frame_next(struct sip_framer *f, struct str data, size_t *ret_len)
{
    const char *end;
    uint64_t body;
    size_t head;

    if (data.len == 0)
        return SIP_FRAME_MORE;
    if (data.p[0] == '\r')
        return blank(data, ret_len);
    end = memmem(data.p + f->scanned, data.len - f->scanned, "\r\n\r\n", 4);
    if (!end) {
        f->scanned = data.len > 3 ? data.len - 3 : 0;
        return data.len >= SIP_MESSAGE_MAX ? SIP_FRAME_LOST : SIP_FRAME_MORE;
    }
    head = (size_t)(end - data.p) + 4;
    f->scanned = head - 4;
    if (!content_length(str_sub(data, 0, head), &body)) {
        *ret_len = head;
        return SIP_FRAME_UNBOUNDED;
    }
    if (head > SIP_MESSAGE_MAX)
        return SIP_FRAME_LOST;
    if (body > SIP_MESSAGE_MAX - head) {
        *ret_len = head;
        return SIP_FRAME_TOO_LARGE;
    }
    if (data.len - head < body)
        return SIP_FRAME_MORE;
    *ret_len = head + (size_t)body;
    f->scanned = 0;
    return SIP_FRAME_MESSAGE;
}
