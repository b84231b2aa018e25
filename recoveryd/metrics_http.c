// SPDX-License-Identifier: Apache-2.0
/*
 * Two threads meet at `snapshot`, under `mutex`: the loop's replaces it, libmicrohttpd's copies
 * from it. Nothing else is shared.
 */
#include "recoveryd/metrics_http.h"

#include <stdio.h>
#include <string.h>

#include <microhttpd.h>

#include "common/buf.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/net.h"
#include "common/util.h"
#include "recoveryd/metrics_text.h"

enum {
    SERVICES_MAX = 8,
    TEXT_MAX = 256 * 1024,
    ANSWER_MAX = SERVICES_MAX * TEXT_MAX * 2,
    CONNECTIONS_MAX = 16,
    IDLE_S = 10,
};

struct source {
    char service[32];
    char *text; /* NULL: stale, or none yet */
    size_t len;
    mono_t at;
};

struct metrics_http {
    struct metrics_http_config config;
    uv_loop_t *loop;
    uv_timer_t timer;
    struct MHD_Daemon *server;

    uv_mutex_t mutex; /* of what follows */
    struct source sources[SERVICES_MAX];
    size_t count;
    bool healthy;
    char health[256];
};

/* ---- the server's thread ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, const char *text,
                              size_t len)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, (void *)text, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result r;

    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    r = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return r;
}

static void free_texts(struct source *sources, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free(sources[i].text);
}

static size_t copy_sources(struct metrics_http *m, struct source *ret_copies)
{
    size_t count = 0;

    uv_mutex_lock(&m->mutex);
    for (size_t i = 0; i < m->count; i++) {
        if (!m->sources[i].text)
            continue;
        ret_copies[count] = m->sources[i];
        ret_copies[count++].text = mem_dup(m->sources[i].text, m->sources[i].len);
    }
    uv_mutex_unlock(&m->mutex);
    return count;
}

static enum MHD_Result answer_metrics(struct metrics_http *m, struct MHD_Connection *connection)
{
    struct metrics_text_source sources[SERVICES_MAX];
    struct source copies[SERVICES_MAX];
    size_t count = copy_sources(m, copies);
    enum MHD_Result r;
    struct buf text;

    for (size_t i = 0; i < count; i++)
        sources[i] = (struct metrics_text_source){copies[i].service,
                                                  str_of_bytes(copies[i].text, copies[i].len)};
    buf_init(&text, ANSWER_MAX);
    metrics_text_merge(&text, sources, count, m->config.node);
    r = answer(connection, MHD_HTTP_OK, text.len ? text.data : "", text.len);
    buf_done(&text);
    free_texts(copies, count);
    return r;
}

static enum MHD_Result answer_health(struct metrics_http *m, struct MHD_Connection *connection)
{
    enum MHD_Result r;

    uv_mutex_lock(&m->mutex);
    r = answer(connection, m->healthy ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, m->health,
               strlen(m->health));
    uv_mutex_unlock(&m->mutex);
    return r;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_len, void **request)
{
    static const char unknown[] = "There are /metrics and /healthz.\n";
    struct metrics_http *m = ctx;

    (void)version;
    (void)body;
    (void)request;
    *body_len = 0; /* what comes as a body is read and dropped */
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET\n", 4);
    if (strcmp(url, "/metrics") == 0)
        return answer_metrics(m, connection);
    if (strcmp(url, "/healthz") == 0)
        return answer_health(m, connection);
    return answer(connection, MHD_HTTP_NOT_FOUND, unknown, strlen(unknown));
}

/* ---- the loop's thread ---- */

static void drop_stale(struct metrics_http *m)
{
    mono_t now = loop_now(m->loop);

    uv_mutex_lock(&m->mutex);
    for (size_t i = 0; i < m->count; i++) {
        if (!mono_reached(now, mono_after(m->sources[i].at, METRICS_HTTP_STALE_MS)))
            continue;
        mem_free(m->sources[i].text);
        m->sources[i].text = NULL;
    }
    uv_mutex_unlock(&m->mutex);
}

static void on_timer(uv_timer_t *timer)
{
    struct metrics_http *m = timer->data;

    drop_stale(m);
    m->config.on_refresh(m->config.ctx);
}

static struct source *find(struct metrics_http *m, const char *service)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->sources[i].service, service) == 0)
            return &m->sources[i];
    if (m->count == SERVICES_MAX)
        return NULL;
    snprintf(m->sources[m->count].service, sizeof(m->sources[0].service), "%s", service);
    return &m->sources[m->count++];
}

void metrics_http_put(struct metrics_http *m, const char *service, struct str text)
{
    struct source *s;

    if (text.len > TEXT_MAX)
        return;
    uv_mutex_lock(&m->mutex);
    s = find(m, service);
    if (s) {
        mem_free(s->text);
        s->text = mem_dup(text.p, text.len);
        s->len = text.len;
        s->at = loop_now(m->loop);
    }
    uv_mutex_unlock(&m->mutex);
}

void metrics_http_health(struct metrics_http *m, bool healthy, const char *text)
{
    uv_mutex_lock(&m->mutex);
    m->healthy = healthy;
    snprintf(m->health, sizeof(m->health), "%s\n", text);
    uv_mutex_unlock(&m->mutex);
}

static struct MHD_Daemon *start_server(struct metrics_http *m)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL;
    struct sockaddr_storage address;

    if (net_address(m->config.address, m->config.port, &address) != 0)
        return NULL;
    if (address.ss_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, m, MHD_OPTION_SOCK_ADDR, &address,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_END);
}

static void free_all(struct metrics_http *m)
{
    free_texts(m->sources, m->count);
    uv_mutex_destroy(&m->mutex);
    mem_free(m);
}

struct metrics_http *metrics_http_start(uv_loop_t *loop, const struct metrics_http_config *config,
                                        struct err *ret_err)
{
    struct metrics_http *m = mem_new(sizeof(*m));

    m->config = *config;
    m->loop = loop;
    snprintf(m->health, sizeof(m->health), "starting\n");
    uv_mutex_init(&m->mutex);
    m->server = start_server(m);
    if (!m->server) {
        err_set(ret_err, "cannot serve metrics on %s port %u", config->address, config->port);
        free_all(m);
        return NULL;
    }
    uv_timer_init(loop, &m->timer);
    m->timer.data = m;
    uv_timer_start(&m->timer, on_timer, 0, METRICS_HTTP_REFRESH_MS);
    return m;
}

static void on_closed(uv_handle_t *handle)
{
    free_all(handle->data);
}

void metrics_http_close(struct metrics_http *m)
{
    if (!m)
        return;
    MHD_stop_daemon(m->server);
    uv_close((uv_handle_t *)&m->timer, on_closed);
}
