// SPDX-License-Identifier: Apache-2.0
#include "common/daemon.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/alarms.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/util.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, METRICS_BYTES_MAX = 256 * 1024 };

#define FROM_RECOVERYD (1u << MUSTER__SERVICE__RECOVERYD)

/* Down: recoveryd comes back and asks again. Full: it hangs, and will call us unhealthy. */
static void send_or_log(struct ipc_link *link, const Muster__Envelope *envelope)
{
    if (ipc_send(link, envelope) == IPC_E_FULL)
        log_warning("recoveryd_does_not_read", log_u64("body", envelope->body_case));
}

/* ---- the lease ---- */

static void set_serving(struct daemon *d, bool serving)
{
    if (d->serving == serving)
        return;
    d->serving = serving;
    log_info(serving ? "serving" : "serving_stopped", log_u64("version", d->view.version));
    if (d->config->on_serving)
        d->config->on_serving(d, serving);
}

static void on_lease_end(uv_timer_t *timer)
{
    struct daemon *d = timer->data;

    log_warning("lease_ran_out", log_u64("version", d->view.version));
    set_serving(d, false);
}

/* The one place that arms the timer. A view that was long under way brings no lease at all. */
static void follow_lease(struct daemon *d, mono_t now)
{
    uv_timer_stop(&d->lease_timer);
    if (mono_reached(now, d->view.lease_until)) {
        set_serving(d, false);
        return;
    }
    uv_timer_start(&d->lease_timer, on_lease_end, mono_until(now, d->view.lease_until), 0);
    set_serving(d, true);
}

/* ---- what recoveryd says ---- */

static void acknowledge(struct daemon *d, struct ipc_link *link, uint64_t id)
{
    Muster__ViewAck ack = MUSTER__VIEW_ACK__INIT;
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;

    ack.version = d->view_done;
    ack.serving = d->serving;
    ack.healthy = true;
    if (d->config->on_health)
        d->config->on_health(d, &ack);
    envelope.id = id;
    envelope.body_case = MUSTER__ENVELOPE__BODY_VIEW_ACK;
    envelope.view_ack = &ack;
    send_or_log(link, &envelope);
}

static bool read_view(struct daemon *d, const Muster__View *message, mono_t now,
                      struct view *ret_view)
{
    mono_t latest = mono_after(now, message->lease_ms);

    if (!view_of(message, ret_view)) {
        log_warning("view_refused", log_str("why", "it is incomplete or beyond a limit"));
        return false;
    }
    if (ret_view->self != d->conf.node || ret_view->epoch < d->view.epoch) {
        log_warning("view_refused", log_str("why", "it is another node's or of an older epoch"),
                    log_u64("epoch", ret_view->epoch), log_u64("known_epoch", d->view.epoch));
        return false;
    }
    /* Made in the future it would be a lease that never ends. */
    if (ret_view->lease_until.ms > latest.ms)
        ret_view->lease_until = latest;
    return true;
}

static void do_view(struct daemon *d)
{
    log_info("view", log_u64("version", d->view.version), log_u64("epoch", d->view.epoch),
             log_u64("drain", d->view.drain));
    d->in_view = true;
    if (d->config->on_view)
        d->config->on_view(d, &d->view);
    else
        daemon_view_done(d, d->view.version);
    d->in_view = false;
}

static void on_view(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope)
{
    struct daemon *d = ctx;
    uint64_t boot_id = ipc_peer_boot_id(link);
    bool is_new;
    struct view view;
    mono_t now;

    uv_update_time(&d->loop);
    now = loop_now(&d->loop);
    if (!read_view(d, envelope->view, now, &view))
        return;
    /* Another recoveryd counts its versions anew. */
    is_new = view.version != d->view.version || boot_id != d->recoveryd_boot_id;
    if (boot_id != d->recoveryd_boot_id)
        d->view_done = 0;
    d->recoveryd_boot_id = boot_id;
    d->view = view;
    if (is_new)
        do_view(d);
    follow_lease(d, now);
    acknowledge(d, link, envelope->id);
}

void daemon_view_done(struct daemon *d, uint64_t version)
{
    if (version > d->view.version || version <= d->view_done)
        return;
    d->view_done = version;
    /* A planned move waits for this: not only at the next view. */
    if (!d->in_view && d->recoveryd)
        acknowledge(d, d->recoveryd, 0);
}

static void choose_log_level(struct daemon *d)
{
    enum log_level level;

    if (!d->has_log_level && log_level_of(d->params.common_log_level, &level))
        log_set_level(level);
}

static void on_params(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope)
{
    struct daemon *d = ctx;

    (void)link;
    params_apply(&d->params, envelope->params, &d->conf);
    choose_log_level(d);
    if (d->config->on_params)
        d->config->on_params(d, &d->params);
}

static void on_metrics(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope)
{
    struct daemon *d = ctx;
    Muster__MetricsReply reply = MUSTER__METRICS_REPLY__INIT;
    Muster__Envelope answer = MUSTER__ENVELOPE__INIT;
    struct buf text;

    buf_init(&text, METRICS_BYTES_MAX);
    metrics_print(&d->metrics, &text);
    reply.text.data = (uint8_t *)text.data;
    reply.text.len = text.len;
    answer.id = envelope->id;
    answer.body_case = MUSTER__ENVELOPE__BODY_METRICS_REPLY;
    answer.metrics_reply = &reply;
    send_or_log(link, &answer);
    buf_done(&text);
}

/* ---- alarms ---- */

static void tell_alarm(struct daemon *d, size_t row)
{
    Muster__Alarm alarm = MUSTER__ALARM__INIT;
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    size_t count;

    if (!d->recoveryd)
        return;
    alarm.name = (char *)alarms_table(&count)[row].name;
    alarm.raised = d->raised & 1u << row;
    if (d->details[row])
        alarm.detail = d->details[row];
    envelope.body_case = MUSTER__ENVELOPE__BODY_ALARM;
    envelope.alarm = &alarm;
    send_or_log(d->recoveryd, &envelope);
}

void daemon_alarm(struct daemon *d, const char *name, bool raised, const char *detail)
{
    const struct alarm_info *info = alarms_find(name);
    size_t count, row;
    uint32_t bit;

    assert(info);
    row = (size_t)(info - alarms_table(&count));
    bit = 1u << row;
    if (raised == !!(d->raised & bit) && (!raised || str_eq_c(str_of(detail), d->details[row])))
        return;
    if (raised)
        log_warning("alarm_raised", log_str("alarm", name),
                    log_str("detail", detail ? detail : ""));
    else
        log_info("alarm_cleared", log_str("alarm", name));
    mem_free(d->details[row]);
    d->details[row] = str_dup(str_of(detail));
    d->raised = raised ? d->raised | bit : d->raised & ~bit;
    d->told |= bit;
    tell_alarm(d, row);
}

/* ---- links ---- */

static void on_up(void *ctx, struct ipc_link *link)
{
    struct daemon *d = ctx;

    if (ipc_peer(link) == MUSTER__SERVICE__RECOVERYD) {
        d->recoveryd = link;
        for (size_t row = 0; row < DAEMON_ALARMS_MAX; row++)
            if (d->told & 1u << row)
                tell_alarm(d, row);
    }
    if (d->config->on_link_up)
        d->config->on_link_up(d, link);
}

/* That recoveryd goes away changes nothing: only the end of the lease does. */
static void on_down(void *ctx, struct ipc_link *link)
{
    struct daemon *d = ctx;

    if (d->recoveryd == link)
        d->recoveryd = NULL;
    if (d->config->on_link_down)
        d->config->on_link_down(d, link);
}

static void fill_handlers(struct daemon *d)
{
    static const struct ipc_handler ours[] = {
        [MUSTER__ENVELOPE__BODY_VIEW] = {on_view, FROM_RECOVERYD},
        [MUSTER__ENVELOPE__BODY_PARAMS] = {on_params, FROM_RECOVERYD},
        [MUSTER__ENVELOPE__BODY_METRICS_REQUEST] = {on_metrics, FROM_RECOVERYD},
    };

    assert(d->config->handler_count <= DAEMON_BODIES_MAX);
    for (size_t i = 0; i < d->config->handler_count; i++)
        d->handlers[i] = d->config->handlers[i];
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (!ours[i].handle)
            continue;
        assert(!d->handlers[i].handle);
        d->handlers[i] = ours[i];
    }
}

/* ---- start and stop ---- */

struct options {
    const char *dir;
    const char *log_level;
};

static void print_help(const char *name, const char *summary)
{
    printf("%s: %s\n\n"
           "    %s --dir DIR [--log-level error|warning|info|debug]\n"
           "    %s --version | --help\n\n"
           "DIR is the node's directory, with node.conf in it. It is started by recoveryd.\n",
           name, summary, name, name);
}

/* 0, or EXIT_USAGE. */
static int read_options(const struct daemon_config *config, int argc, char **argv,
                        struct options *ret_options, bool *ret_exit)
{
    static const struct option known[] = {
        {"dir", required_argument, NULL, 'd'},
        {"log-level", required_argument, NULL, 'l'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *name = ipc_service_name(config->service);
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (c == 'd') {
            ret_options->dir = optarg;
        } else if (c == 'l') {
            ret_options->log_level = optarg;
        } else if (c == 'v') {
            printf("%s %s\n", name, MUSTER_VERSION);
            *ret_exit = true;
        } else if (c == 'h') {
            print_help(name, config->summary);
            *ret_exit = true;
        } else {
            return EXIT_USAGE; /* getopt_long said why */
        }
    }
    if (*ret_exit)
        return 0;
    if (!ret_options->dir || optind != argc) {
        fprintf(stderr, "%s: --dir DIR is needed, and nothing else; see --help\n", name);
        return EXIT_USAGE;
    }
    return 0;
}

static int read_configuration(struct daemon *d, const struct options *o)
{
    const char *name = ipc_service_name(d->config->service);
    enum log_level level = LOG_INFO;
    struct err e = {""};

    if (o->log_level && !log_level_of(o->log_level, &level)) {
        fprintf(stderr, "%s: --log-level: error, warning, info or debug\n", name);
        return EXIT_USAGE;
    }
    if (conf_load(o->dir, &d->conf, &e)) {
        fprintf(stderr, "%s: %s\n", name, e.text);
        return EXIT_USAGE;
    }
    log_init(name, conf_self(&d->conf)->name, level);
    d->has_log_level = o->log_level;
    params_apply(&d->params, NULL, &d->conf);
    choose_log_level(d);
    return 0;
}

static int start_links(struct daemon *d)
{
    char run_dir[CONF_PATH_MAX + 8];
    struct ipc_config config = {
        .service = d->config->service,
        .node = d->conf.node,
        .boot_id = d->boot_id,
        .handlers = d->handlers,
        .handler_count = DAEMON_BODIES_MAX,
        .on_up = on_up,
        .on_down = on_down,
        .metrics = &d->metrics,
        .ctx = d,
    };

    (void)snprintf(run_dir, sizeof(run_dir), "%s/run", d->conf.dir);
    d->run_dir = mem_strdup(run_dir);
    config.run_dir = d->run_dir;
    fill_handlers(d);
    d->ipc = ipc_new(&d->loop, &config);
    return ipc_listen(d->ipc);
}

static void on_term(void *ctx)
{
    struct daemon *d = ctx;

    log_info("stopping");
    if (d->config->on_stop)
        d->config->on_stop(d);
    ipc_close(d->ipc);
    uv_close((uv_handle_t *)&d->lease_timer, NULL);
}

int daemon_init(struct daemon *d, const struct daemon_config *config, int argc, char **argv,
                bool *ret_exit)
{
    struct options options = {0};
    int r;

    *ret_exit = false;
    *d = (struct daemon){.config = config};
    r = read_options(config, argc, argv, &options, ret_exit);
    if (r || *ret_exit)
        return r;
    r = read_configuration(d, &options);
    if (r)
        return r;
    d->boot_id = daemon_random_u64();
    r = uv_loop_init(&d->loop);
    if (r == 0)
        r = uv_timer_init(&d->loop, &d->lease_timer);
    d->lease_timer.data = d;
    if (r == 0)
        r = start_links(d);
    if (r == 0)
        r = loop_signals_start(&d->signals, &d->loop, on_term, d);
    if (r) {
        log_error("not_started", log_str("why", uv_strerror(r)));
        return EXIT_FAILED;
    }
    return 0;
}

int daemon_run(struct daemon *d)
{
    log_info("ready", log_str("version", MUSTER_VERSION), log_u64("pid", (uint64_t)getpid()));
    loop_run(&d->loop);
    for (size_t i = 0; i < DAEMON_ALARMS_MAX; i++)
        mem_free(d->details[i]);
    mem_free(d->run_dir);
    log_info("stopped");
    return 0;
}

void daemon_random(void *ret_bytes, size_t len)
{
    uint8_t *at = ret_bytes;

    while (len) {
        ssize_t got = getrandom(at, len, 0);

        assert(got > 0 || errno == EINTR);
        if (got > 0) {
            at += got;
            len -= (size_t)got;
        }
    }
}

uint64_t daemon_random_u64(void)
{
    uint64_t value = 0;

    while (value == 0)
        daemon_random(&value, sizeof(value));
    return value;
}

uint64_t daemon_unix_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
