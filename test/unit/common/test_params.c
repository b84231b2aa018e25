// SPDX-License-Identifier: Apache-2.0
/*
 * Service parameters: how their values are read, printed and put in force; and the tables of alarms
 * that stand beside them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/alarms.h"
#include "common/log.h"
#include "common/params.h"
#include "common/util.h"

static void defaults_are_those_of_the_table(void **state)
{
    struct params p;
    size_t count;
    const struct param_info *infos = params_table(&count);

    (void)state;
    params_defaults(&p);
    assert_int_equal(p.recoveryd_heartbeat_interval_ms, 200);
    assert_int_equal(p.routerd_stanza_bytes_max, 262144);
    assert_true(p.recoveryd_automatic_fallback);
    assert_string_equal(p.common_log_level, "info");

    /* Each can be set to its default, and is printed like it. */
    for (size_t i = 0; i < count; i++) {
        char text[PARAM_TEXT_MAX + 1];
        struct err e;

        params_get(&p, &infos[i], text, sizeof(text));
        assert_string_equal(text, infos[i].default_text);
        if (params_set(&p, infos[i].service, infos[i].name, text, &e))
            fail_msg("%s", e.text);
        assert_ptr_equal(params_find(infos[i].service, infos[i].name), &infos[i]);
        assert_true(infos[i].least <= infos[i].most);
    }
    assert_null(params_find("proxyd", "heartbeat_interval"));
}

static void values_are_read_with_their_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
        const char *printed;
    } rows[] = {
        {"50ms", 50, "50ms"},       {"1000ms", 1000, "1s"}, {"1s", 1000, "1s"},
        {"1500ms", 1500, "1500ms"}, {"10s", 10000, "10s"},  {"1min", 60000, "1min"},
        {"90s", 90000, "90s"},      {"1h", 3600000, "1h"},  {"24h", 86400000, "1d"},
    };
    const struct param_info *delay = params_find("recoveryd", "automatic_fallback_delay");
    struct params p;
    struct err e;

    (void)state;
    params_defaults(&p);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *name = rows[i].ms < 1000 ? "heartbeat_interval" : "automatic_fallback_delay";
        const struct param_info *info = rows[i].ms < 1000 ? params_find("recoveryd", name) : delay;
        char text[40];

        assert_int_equal(params_set(&p, "recoveryd", name, rows[i].text, &e), 0);
        assert_int_equal(rows[i].ms < 1000 ? p.recoveryd_heartbeat_interval_ms
                                           : p.recoveryd_automatic_fallback_delay_ms,
                         rows[i].ms);
        params_get(&p, info, text, sizeof(text));
        assert_string_equal(text, rows[i].printed);
    }
}

static void wrong_values_get_a_sentence_and_change_nothing(void **state)
{
    static const struct {
        const char *service, *name, *text, *sentence;
    } rows[] = {
        {"recoveryd", "heartbeat_interval", "200", "recoveryd.heartbeat_interval: 50ms to 10s"},
        {"recoveryd", "heartbeat_interval", "49ms", "recoveryd.heartbeat_interval: 50ms to 10s"},
        {"recoveryd", "heartbeat_interval", "11s", "recoveryd.heartbeat_interval: 50ms to 10s"},
        {"recoveryd", "heartbeat_interval", "ms", "recoveryd.heartbeat_interval: 50ms to 10s"},
        {"recoveryd", "heartbeat_interval", "-1s", "recoveryd.heartbeat_interval: 50ms to 10s"},
        {"recoveryd", "heartbeat_interval", "1 s", "recoveryd.heartbeat_interval: 50ms to 10s"},
        {"recoveryd", "heartbeat_interval", "1S", "recoveryd.heartbeat_interval: 50ms to 10s"},
        {"recoveryd", "heartbeat_interval", "18446744073709551615d",
         "recoveryd.heartbeat_interval: 50ms to 10s"},
        {"recoveryd", "automatic_fallback", "yes", "recoveryd.automatic_fallback: on or off"},
        {"routerd", "stanza_bytes_max", "256k", "routerd.stanza_bytes_max: 10000 to 1048576"},
        {"routerd", "stanza_bytes_max", "", "routerd.stanza_bytes_max: 10000 to 1048576"},
        {"common", "log_level", "loud", "common.log_level: one of error|warning|info|debug"},
        {"common", "log_level", "", "common.log_level: one of error|warning|info|debug"},
        {"common", "colour", "red", "common.colour: there is no such parameter"},
    };
    struct params p, before;

    (void)state;
    params_defaults(&p);
    before = p;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = {""};

        assert_int_equal(params_set(&p, rows[i].service, rows[i].name, rows[i].text, &e), -1);
        assert_string_equal(e.text, rows[i].sentence);
    }
    assert_memory_equal(&p, &before, sizeof(p));
}

static void flags_and_texts_are_read(void **state)
{
    struct params p;
    struct err e;

    (void)state;
    params_defaults(&p);
    assert_int_equal(params_set(&p, "recoveryd", "automatic_fallback", "off", &e), 0);
    assert_false(p.recoveryd_automatic_fallback);
    assert_int_equal(params_set(&p, "common", "log_level", "debug", &e), 0);
    assert_string_equal(p.common_log_level, "debug");
}

static void last_word_is_node_confs_and_absence_is_the_default(void **state)
{
    static struct conf c;
    Muster__Param p1 = MUSTER__PARAM__INIT, p2 = MUSTER__PARAM__INIT, bad = MUSTER__PARAM__INIT;
    Muster__Param *pointers[] = {&p1, &p2, &bad};
    Muster__Params message = MUSTER__PARAMS__INIT;
    struct params p;

    (void)state;
    log_init("test", "n1", LOG_ERROR);
    p1.service = p2.service = bad.service = "recoveryd";
    p1.name = "heartbeat_interval";
    p1.value = "300ms";
    p2.name = "heartbeat_timeout";
    p2.value = "4s";
    bad.name = "serving_lease";
    bad.value = "soon";
    message.params = pointers;
    message.n_params = ARRAY_LEN(pointers);
    c.sets[0] = (struct conf_set){"recoveryd", "heartbeat_interval", "100ms"};
    c.set_count = 1;

    params_apply(&p, &message, &c);
    assert_int_equal(p.recoveryd_heartbeat_interval_ms, 100);
    assert_int_equal(p.recoveryd_heartbeat_timeout_ms, 4000);
    assert_int_equal(p.recoveryd_serving_lease_ms, 2000);
    params_apply(&p, NULL, &c);
    assert_int_equal(p.recoveryd_heartbeat_interval_ms, 100);
    assert_int_equal(p.recoveryd_heartbeat_timeout_ms, 3000);
}

static void alarms_tell_what_to_do(void **state)
{
    size_t count;
    const struct alarm_info *infos = alarms_table(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(alarms_find(infos[i].name), &infos[i]);
        assert_true(strcmp(infos[i].severity, "critical") == 0 ||
                    strcmp(infos[i].severity, "major") == 0 ||
                    strcmp(infos[i].severity, "minor") == 0);
        assert_true(*infos[i].cause && *infos[i].action);
    }
    assert_string_equal(alarms_find("PeerDown")->severity, "critical");
    assert_null(alarms_find("peerdown"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(values_are_read_with_their_units),
        cmocka_unit_test(wrong_values_get_a_sentence_and_change_nothing),
        cmocka_unit_test(flags_and_texts_are_read),
        cmocka_unit_test(last_word_is_node_confs_and_absence_is_the_default),
        cmocka_unit_test(alarms_tell_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
