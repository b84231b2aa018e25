// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "recoveryd/nodectl/password.h"
#include "recoveryd/nodectl/users_csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte is the size of the pieces in which the file comes. Without a complaint every user
 * has a name, once, and a password. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t piece = size ? data[0] % 64 + 1u : 1;
    struct str rest = size ? str_of_bytes(data + 1, size - 1) : STR("");
    struct users_csv_reader *r = users_csv_reader_new("muster.test");
    struct users_csv *all;

    while (rest.len) {
        users_csv_feed(r, str_sub(rest, 0, piece));
        rest = str_sub(rest, piece, rest.len);
    }
    all = users_csv_end(r);
    for (size_t i = 0; i < all->count; i++) {
        assert(*all->users[i].userid && str_utf8(str_of(all->users[i].userid)));
        assert(*all->users[i].password);
        assert(strlen(all->users[i].password) <= PASSWORD_BYTES_MAX);
        assert(strlen(all->users[i].display_name) <= USERS_CSV_FIELD_MAX);
        assert(i == 0 || all->users[i].line >= all->users[i - 1].line);
    }
    users_csv_free(all);
    return 0;
}
