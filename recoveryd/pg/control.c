// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/pg/control.h"

/* Up to eight hexadecimal digits. */
static bool parse_hex(struct str s, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (s.len == 0 || s.len > 8)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;

        if (digit == 16)
            return false;
        value = value << 4 | digit;
    }
    *ret_value = value;
    return true;
}

bool control_parse_lsn(struct str text, uint64_t *ret_lsn)
{
    struct str high_text, low_text;
    uint64_t high, low;

    if (!str_cut(text, '/', &high_text, &low_text) || !parse_hex(high_text, &high) ||
        !parse_hex(low_text, &low))
        return false;
    *ret_lsn = high << 32 | low;
    return true;
}

bool control_parse(struct str text, struct control *ret_control)
{
    struct control c = {0};
    uint64_t checkpoint = 0, recovery_end = 0;
    struct str line, label, value, rest = text;

    while (rest.len) {
        (void)str_cut(rest, '\n', &line, &rest); /* without a newline it is the last one */
        if (!str_cut(line, ':', &label, &value))
            continue;
        value = str_trim(value);
        if (str_eq_c(label, "Database system identifier"))
            (void)str_u64(value, &c.system_id); /* 0 is refused below */
        else if (str_eq_c(label, "Latest checkpoint's TimeLineID"))
            (void)str_u32(value, &c.timeline);
        else if (str_eq_c(label, "Latest checkpoint location"))
            (void)control_parse_lsn(value, &checkpoint);
        else if (str_eq_c(label, "Minimum recovery ending location"))
            (void)control_parse_lsn(value, &recovery_end);
    }
    if (!c.system_id || !c.timeline || !checkpoint)
        return false;
    c.lsn = recovery_end > checkpoint ? recovery_end : checkpoint;
    *ret_control = c;
    return true;
}
