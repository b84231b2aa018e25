// SPDX-License-Identifier: Apache-2.0
/*
 * /metrics and /healthz: what several daemons say, as one text, over real HTTP.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/util.h"
#include "recoveryd/metrics_http.h"
#include "recoveryd/metrics_text.h"

static void same_names_stand_together(void **state)
{
    const struct metrics_text_source sources[] = {
        {"proxyd", STR("# HELP a_total what\n# TYPE a_total counter\na_total 1\n"
                       "# HELP b x\n# TYPE b gauge\nb{x=\"}\\\"\"} 2\n")},
        {"routerd", STR("# HELP a_total what\n# TYPE a_total counter\na_total 3")},
    };
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    metrics_text_merge(&out, sources, 2, "n1");
    assert_string_equal(out.data, "# HELP a_total what\n# TYPE a_total counter\n"
                                  "a_total{service=\"proxyd\",node=\"n1\"} 1\n"
                                  "a_total{service=\"routerd\",node=\"n1\"} 3\n"
                                  "# HELP b x\n# TYPE b gauge\n"
                                  "b{service=\"proxyd\",node=\"n1\",x=\"}\\\"\"} 2\n");
    buf_done(&out);
}

static void what_is_no_sample_is_left_out(void **state)
{
    const struct metrics_text_source source = {
        "x", STR("\n# \n# HELP\n# HELP a\n{}\n a{ 1\n1a 2\na{x=\"1\"}\nno-name 3\n\xff 1\nok 7\n")};
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    metrics_text_merge(&out, &source, 1, "n\"1");
    assert_string_equal(out.data, "ok{service=\"x\",node=\"n\\\"1\"} 7\n");
    buf_done(&out);
}

static struct metrics_http *http;
static unsigned refreshes;

static void on_refresh(void *ctx)
{
    (void)ctx;
    refreshes++;
    metrics_http_put(http, "proxyd", STR("up 1\n"));
}

static uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

/* The answer as it came; the server has a thread of its own, so we may block. */
static void get(uint16_t port, const char *request, char *ret_answer, size_t size)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t len = 0;
    ssize_t n;

    a.sin_port = htons(port);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_true(write(fd, request, strlen(request)) > 0);
    while (len < size - 1 && (n = read(fd, ret_answer + len, size - 1 - len)) > 0)
        len += (size_t)n;
    ret_answer[len] = '\0';
    close(fd);
}

static void over_http(void **state)
{
    struct metrics_http_config config = {.address = "127.0.0.1", .node = "n1"};
    struct err e = {""};
    char answer[4096];
    uv_loop_t loop;

    (void)state;
    config.port = free_port();
    config.on_refresh = on_refresh;
    uv_loop_init(&loop);
    http = metrics_http_start(&loop, &config, &e);
    assert_non_null(http);
    assert_null(metrics_http_start(&loop, &config, &e)); /* the port is taken */
    assert_string_not_equal(e.text, "");

    get(config.port, "GET /healthz HTTP/1.0\r\n\r\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, " 503 "));
    while (!refreshes)
        uv_run(&loop, UV_RUN_ONCE);
    get(config.port, "GET /metrics HTTP/1.0\r\n\r\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, " 200 "));
    assert_non_null(strstr(answer, "\r\n\r\nup{service=\"proxyd\",node=\"n1\"} 1\n"));
    metrics_http_health(http, true, "Normal");
    get(config.port, "GET /healthz HTTP/1.0\r\n\r\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, " 200 "));
    get(config.port, "GET /x HTTP/1.0\r\n\r\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, " 404 "));
    get(config.port, "DELETE /metrics HTTP/1.0\r\n\r\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, " 405 "));

    metrics_http_close(http);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_names_stand_together),
        cmocka_unit_test(what_is_no_sample_is_left_out),
        cmocka_unit_test(over_http),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
