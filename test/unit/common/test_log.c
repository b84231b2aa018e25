// SPDX-License-Identifier: Apache-2.0
/*
 * Log lines: what a peer can write into one, and what it cannot.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"

/* Standard error goes into a pipe while a line is written. */
static char text[4096];
static int ends[2], saved;

static void catch_lines(void)
{
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
}

static const char *caught(void)
{
    ssize_t len;

    dup2(saved, STDERR_FILENO);
    len = read(ends[0], text, sizeof(text) - 1);
    text[len > 0 ? len : 0] = '\0';
    close(saved);
    close(ends[0]);
    close(ends[1]);
    return text;
}

static void line_names_service_node_and_event(void **state)
{
    (void)state;
    log_init("proxyd", "n1", LOG_INFO);
    catch_lines();
    log_info("peer_silent", log_str("peer", "n2"), log_u64("timeout_ms", 3000));
    assert_string_equal(caught(), "level=info service=proxyd node=n1 event=peer_silent "
                                  "peer=\"n2\" timeout_ms=3000\n");
    catch_lines();
    log_info("stopped");
    assert_string_equal(caught(), "level=info service=proxyd node=n1 event=stopped\n");
}

static void value_cannot_forge_a_line(void **state)
{
    (void)state;
    log_init("proxyd", "n1", LOG_INFO);
    catch_lines();
    log_warning("refused", log_str("from", "a\"\nlevel=error \\ \x1b[31m\x7f"));
    assert_string_equal(caught(), "level=warning service=proxyd node=n1 event=refused "
                                  "from=\"a\\\"?level=error \\\\ ?[31m?\"\n");
}

static void long_line_is_cut_and_ends(void **state)
{
    static char value[5000];

    (void)state;
    memset(value, 'x', sizeof(value) - 1);
    catch_lines();
    log_error("long", log_str("value", value));
    assert_int_equal(strlen(caught()), 1024);
    assert_int_equal(text[1023], '\n');
}

static void level_can_change_at_any_time(void **state)
{
    enum log_level level;

    (void)state;
    log_init("proxyd", "n1", LOG_INFO);
    catch_lines();
    log_debug("unseen");
    log_set_level(LOG_DEBUG);
    log_debug("seen");
    log_set_level(LOG_ERROR);
    log_warning("unseen");
    assert_string_equal(caught(), "level=debug service=proxyd node=n1 event=seen\n");

    assert_true(log_level_of("warning", &level) && level == LOG_WARNING);
    assert_false(log_level_of("Warning", &level));
    assert_false(log_level_of("", &level));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_names_service_node_and_event),
        cmocka_unit_test(value_cannot_forge_a_line),
        cmocka_unit_test(long_line_is_cut_and_ends),
        cmocka_unit_test(level_can_change_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
