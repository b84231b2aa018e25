// SPDX-License-Identifier: Apache-2.0
/*
 * Two presenced processes as they are on two nodes, with a database, and around each its recoveryd,
 * routerd and proxyd, which this test plays: a publication, a watcher, a killed daemon, its return,
 * and the users' move back.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/util.h"
#include "presenced/shell.h"
#include "test/unit/postgres.h"

enum { PATIENCE_MS = 20000, VIEW_MS = 100 };

struct node {
    uint32_t number;
    struct stage *stage;
    char dir[96], run_dir[112];
    pid_t pid;
    struct ipc *recoveryd, *routerd, *proxyd;
    struct ipc_link *from_recoveryd, *from_routerd, *from_proxyd; /* to the daemon */
    bool routerd_up;
    uint64_t view_done;
    bool healthy;
    uint32_t replica;
    /* What it said last. */
    uint32_t code;
    char etag[64];
    char availability[128];
    unsigned syncs, notifies;
    uint32_t cseq;
    char state[64], document[4096];
};

struct stage {
    uv_loop_t loop;
    uv_timer_t views, watchdog;
    struct postgres postgres;
    struct node nodes[2];
    uint64_t version, epoch, link_id;
    uint32_t served_by[2];
};

/* What a link does not take is lost, as with any process that dies. */
static void say(struct ipc_link *link, const Muster__Envelope *e)
{
    int r = ipc_send(link, e);

    (void)r;
}

/* ---- what the daemon says ---- */

static void on_view_ack(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct node *n = ctx;

    (void)link;
    n->view_done = e->view_ack->version;
    n->healthy = e->view_ack->healthy;
    n->replica = e->view_ack->replica;
}

static void ignore(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    (void)ctx;
    (void)link;
    (void)e;
}

static void on_availability(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct node *n = ctx;

    (void)link;
    snprintf(n->availability, sizeof(n->availability), "%s %d %s %s", e->availability->presentity,
             e->availability->available, e->availability->show, e->availability->status);
}

static void on_presence_sync(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    (void)link;
    (void)e;
    ((struct node *)ctx)->syncs++;
}

/* As both routerds do: what cannot be delivered is lost. */
static void on_replica(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct node *n = ctx, *peer = &n->stage->nodes[2 - n->number];

    (void)link;
    if (peer->routerd_up)
        say(peer->from_routerd, e);
}

static void on_publish_reply(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct node *n = ctx;

    (void)link;
    n->code = e->publish_reply->code;
    snprintf(n->etag, sizeof(n->etag), "%s", e->publish_reply->etag);
}

static void on_subscribe_reply(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    (void)link;
    ((struct node *)ctx)->code = e->subscribe_reply->code;
}

static void on_notify(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct node *n = ctx;
    Muster__Envelope answer = MUSTER__ENVELOPE__INIT;
    Muster__NotifyReply reply = MUSTER__NOTIFY_REPLY__INIT;

    n->notifies++;
    n->cseq = e->notify->dialog->local_cseq;
    snprintf(n->state, sizeof(n->state), "%s", e->notify->subscription_state);
    snprintf(n->document, sizeof(n->document), "%.*s", (int)e->notify->document.len,
             (char *)e->notify->document.data);
    reply.code = 200;
    answer.id = e->id;
    answer.body_case = MUSTER__ENVELOPE__BODY_NOTIFY_REPLY;
    answer.notify_reply = &reply;
    say(link, &answer);
}

enum { FROM_PRESENCED = 1u << MUSTER__SERVICE__PRESENCED };

static const struct ipc_handler handlers[] = {
    [MUSTER__ENVELOPE__BODY_VIEW_ACK] = {on_view_ack, FROM_PRESENCED},
    [MUSTER__ENVELOPE__BODY_ALARM] = {ignore, FROM_PRESENCED},
    [MUSTER__ENVELOPE__BODY_AVAILABILITY] = {on_availability, FROM_PRESENCED},
    [MUSTER__ENVELOPE__BODY_PRESENCE_SYNC] = {on_presence_sync, FROM_PRESENCED},
    [MUSTER__ENVELOPE__BODY_REPLICA] = {on_replica, FROM_PRESENCED},
    [MUSTER__ENVELOPE__BODY_PUBLISH_REPLY] = {on_publish_reply, FROM_PRESENCED},
    [MUSTER__ENVELOPE__BODY_SUBSCRIBE_REPLY] = {on_subscribe_reply, FROM_PRESENCED},
    [MUSTER__ENVELOPE__BODY_NOTIFY] = {on_notify, FROM_PRESENCED},
};

/* ---- the fabric ---- */

static void say_fabric(struct node *n)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__FabricState state = MUSTER__FABRIC_STATE__INIT;

    if (!n->routerd_up)
        return;
    state.peer_up = true;
    state.link_id = n->stage->link_id;
    e.body_case = MUSTER__ENVELOPE__BODY_FABRIC_STATE;
    e.fabric_state = &state;
    say(n->from_routerd, &e);
}

static void say_sync(struct node *n)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__PresenceSync sync = MUSTER__PRESENCE_SYNC__INIT;

    e.body_case = MUSTER__ENVELOPE__BODY_PRESENCE_SYNC;
    e.presence_sync = &sync;
    say(n->from_routerd, &e);
}

static void on_routerd_up(void *ctx, struct ipc_link *link)
{
    struct node *n = ctx;

    n->from_routerd = link;
    n->routerd_up = true;
    n->stage->link_id++;
    say_fabric(&n->stage->nodes[0]);
    say_fabric(&n->stage->nodes[1]);
    say_sync(n);
}

static void on_routerd_down(void *ctx, struct ipc_link *link)
{
    (void)link;
    ((struct node *)ctx)->routerd_up = false;
}

/* ---- the view ---- */

static void send_view(struct node *n)
{
    struct stage *s = n->stage;
    Muster__View view = MUSTER__VIEW__INIT;
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__NodeView nodes[2] = {MUSTER__NODE_VIEW__INIT, MUSTER__NODE_VIEW__INIT};
    Muster__NodeView *pointers[] = {&nodes[0], &nodes[1]};

    for (uint32_t i = 0; i < 2; i++) {
        nodes[i].node = i + 1;
        nodes[i].group = 1;
        nodes[i].name = i ? "n2" : "n1";
        nodes[i].address = "127.0.1.1";
        nodes[i].served_by = s->served_by[i];
        nodes[i].services_up = s->nodes[i].pid > 0;
    }
    view.version = s->version;
    view.epoch = s->epoch;
    view.self = n->number;
    view.n_nodes = 2;
    view.nodes = pointers;
    view.made_at_ms = uv_now(&s->loop);
    view.lease_ms = 2000;
    e.body_case = MUSTER__ENVELOPE__BODY_VIEW;
    e.view = &view;
    if (n->from_recoveryd && ipc_is_up(n->from_recoveryd))
        say(n->from_recoveryd, &e);
}

static void on_views(uv_timer_t *timer)
{
    struct stage *s = timer->data;

    uv_update_time(&s->loop);
    send_view(&s->nodes[0]);
    send_view(&s->nodes[1]);
}

static void serve(struct stage *s, uint32_t first, uint32_t second)
{
    s->version++;
    s->epoch++;
    s->served_by[0] = first;
    s->served_by[1] = second;
    on_views(&s->views);
}

/* ---- processes ---- */

static void on_stop(struct daemon *d)
{
    shell_stop(d->ctx);
}

/* The same as main(), in a child. */
static void run_daemon(struct node *n)
{
    static struct presenced p;
    static const struct daemon_config config = {
        .service = MUSTER__SERVICE__PRESENCED,
        .summary = "presence",
        .on_view = shell_on_view,
        .on_serving = shell_on_serving,
        .on_link_up = shell_on_link_up,
        .on_link_down = shell_on_link_down,
        .on_health = shell_on_health,
        .on_stop = on_stop,
    };
    static struct daemon_config filled;
    char *argv[] = {(char *)"presenced", (char *)"--dir", n->dir, NULL};
    bool is_over;

    filled = config;
    filled.handlers = shell_handlers;
    filled.handler_count = shell_handler_count;
    if (daemon_init(&p.daemon, &filled, 3, argv, &is_over))
        _exit(1);
    p.daemon.ctx = &p;
    shell_start(&p);
    exit(daemon_run(&p.daemon));
}

static void start_daemon(struct node *n)
{
    n->pid = fork();
    assert_true(n->pid >= 0);
    if (n->pid == 0)
        run_daemon(n);
}

static void kill_daemon(struct node *n)
{
    if (n->pid <= 0)
        return;
    kill(n->pid, SIGKILL);
    (void)waitpid(n->pid, NULL, 0);
    n->pid = 0;
}

/* It closes everything that it has opened, or dies trying. */
static void stop_daemon(struct node *n)
{
    int status;

    kill(n->pid, SIGTERM);
    assert_int_equal(waitpid(n->pid, &status, 0), n->pid);
    n->pid = 0;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static struct ipc *play(struct node *n, Muster__Service service)
{
    return ipc_new(&n->stage->loop,
                   &(struct ipc_config){
                       .service = service,
                       .node = n->number,
                       .boot_id = 100 * n->number + service,
                       .run_dir = n->run_dir,
                       .handlers = handlers,
                       .handler_count = ARRAY_LEN(handlers),
                       .on_up = service == MUSTER__SERVICE__ROUTERD ? on_routerd_up : NULL,
                       .on_down = service == MUSTER__SERVICE__ROUTERD ? on_routerd_down : NULL,
                       .ctx = n});
}

static void start_node(struct stage *s, uint32_t number)
{
    struct node *n = &s->nodes[number - 1];
    char path[128];
    FILE *file;

    n->number = number;
    n->stage = s;
    snprintf(n->dir, sizeof(n->dir), "%s/n%u", s->postgres.dir, number);
    snprintf(n->run_dir, sizeof(n->run_dir), "%s/n%u/run", s->postgres.dir, number);
    snprintf(path, sizeof(path), "%s/n%u/node.conf", s->postgres.dir, number);
    assert_int_equal(mkdir(n->dir, 0755), 0);
    assert_int_equal(mkdir(n->run_dir, 0755), 0);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "node = %u\ndomain = x\nnodes = 1:n1:1:127.0.1.1 2:n2:1:127.0.1.2\n"
            "database = external\nconninfo = %s\n",
            number, s->postgres.conninfo);
    fclose(file);
    start_daemon(n);
    n->recoveryd = play(n, MUSTER__SERVICE__RECOVERYD);
    n->routerd = play(n, MUSTER__SERVICE__ROUTERD);
    n->proxyd = play(n, MUSTER__SERVICE__PROXYD);
    assert_int_equal(ipc_listen(n->routerd), 0);
    n->from_recoveryd = ipc_connect(n->recoveryd, MUSTER__SERVICE__PRESENCED);
    n->from_proxyd = ipc_connect(n->proxyd, MUSTER__SERVICE__PRESENCED);
}

static void add_user(struct stage *s, const char *name, uint32_t home)
{
    char sql[1024];

    snprintf(sql, sizeof(sql),
             "INSERT INTO users (aor, userid, home, salt, iterations, sha1_stored_key,"
             " sha1_server_key, sha256_stored_key, sha256_server_key, digest_md5, digest_sha256)"
             " SELECT '%s@x', '%s', %u, b(16), 4096, b(20), b(20), b(32), b(32),"
             " repeat('0', 32), repeat('0', 64)",
             name, name, home);
    assert_int_equal(postgres_sql(&s->postgres, sql), 0);
}

static void start_database(struct stage *s)
{
    postgres_init(&s->postgres);
    assert_int_equal(chmod(s->postgres.dir, 0755), 0);
    assert_int_equal(postgres_sql_file(&s->postgres, "deploy/schema/001_users.sql"), 0);
    assert_int_equal(postgres_sql(&s->postgres,
                                  "CREATE FUNCTION b(n int) RETURNS bytea LANGUAGE"
                                  " sql AS $$SELECT decode(repeat('00', n), 'hex')$$"),
                     0);
    add_user(s, "alice", 1);
    add_user(s, "bob", 2);
}

/* ---- what clients do ---- */

static void publish(struct node *n, const char *basic)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__Publish m = MUSTER__PUBLISH__INIT;
    char text[512];

    snprintf(text, sizeof(text),
             "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:alice@x'>"
             "<tuple id='a'><status><basic>%s</basic></status><note>here</note></tuple></presence>",
             basic);
    m.presentity = (char *)"alice@x";
    m.etag = n->etag;
    m.document = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
    m.content_type = (char *)"application/pidf+xml";
    e.id = 1;
    e.body_case = MUSTER__ENVELOPE__BODY_PUBLISH;
    e.publish = &m;
    n->code = 0;
    assert_int_equal(ipc_send(n->from_proxyd, &e), 0);
}

static void subscribe(struct node *n)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__Subscribe m = MUSTER__SUBSCRIBE__INIT;
    Muster__Dialog dialog = MUSTER__DIALOG__INIT;

    dialog.call_id = (char *)"call";
    dialog.local_tag = (char *)"l";
    dialog.remote_tag = (char *)"r";
    dialog.remote_cseq = 1;
    m.presentity = (char *)"alice@x";
    m.watcher = (char *)"bob@x";
    m.initial = true;
    m.dialog = &dialog;
    e.id = 2;
    e.body_case = MUSTER__ENVELOPE__BODY_SUBSCRIBE;
    e.subscribe = &m;
    n->code = 0;
    assert_int_equal(ipc_send(n->from_proxyd, &e), 0);
}

static void on_watchdog(uv_timer_t *timer)
{
    struct stage *s = timer->data;

    kill_daemon(&s->nodes[0]);
    kill_daemon(&s->nodes[1]);
    postgres_done(&s->postgres);
    fail_msg("what was waited for did not happen in %d ms", PATIENCE_MS);
}

#define UNTIL(stage, condition)                                                                    \
    do {                                                                                           \
        uv_timer_start(&(stage)->watchdog, on_watchdog, PATIENCE_MS, 0);                           \
        while (!(condition))                                                                       \
            uv_run(&(stage)->loop, UV_RUN_ONCE);                                                   \
        uv_timer_stop(&(stage)->watchdog);                                                         \
    } while (0)

static bool in_sync(const struct node *n, uint64_t version)
{
    return n->healthy && n->view_done == version &&
           n->replica == MUSTER__REPLICA_STATE__REPLICA_IN_SYNC;
}

static bool is_open(const struct node *n)
{
    return strstr(n->document, "<basic>open</basic>") != NULL;
}

static void stage_close(struct stage *s)
{
    for (int i = 0; i < 2; i++) {
        stop_daemon(&s->nodes[i]);
        ipc_close(s->nodes[i].recoveryd);
        ipc_close(s->nodes[i].routerd);
        ipc_close(s->nodes[i].proxyd);
    }
    uv_close((uv_handle_t *)&s->views, NULL);
    uv_close((uv_handle_t *)&s->watchdog, NULL);
    loop_run(&s->loop);
    postgres_done(&s->postgres);
    mem_free(s);
}

static struct stage *stage_open(void)
{
    struct stage *s = mem_new(sizeof(*s));

    start_database(s);
    uv_loop_init(&s->loop);
    uv_timer_init(&s->loop, &s->views);
    uv_timer_init(&s->loop, &s->watchdog);
    s->views.data = s->watchdog.data = s;
    start_node(s, 1);
    start_node(s, 2);
    uv_timer_start(&s->views, on_views, 0, VIEW_MS);
    serve(s, 1, 2);
    return s;
}

static void a_watcher_outlives_the_daemon_that_served_it(void **state)
{
    struct stage *s = stage_open();
    struct node *a = &s->nodes[0], *b = &s->nodes[1];
    uint32_t cseq;

    (void)state;
    UNTIL(s, in_sync(a, s->version) && in_sync(b, s->version) && ipc_is_up(a->from_proxyd));
    subscribe(a);
    UNTIL(s, a->code && a->notifies);
    assert_int_equal(a->code, 200);
    assert_false(is_open(a));
    publish(a, "open");
    UNTIL(s, a->code && is_open(a) && a->availability[0]);
    assert_int_equal(a->code, 200);
    assert_string_equal(a->availability, "alice@x 1  here");
    publish(b, "open"); /* not ours */
    UNTIL(s, b->code);
    assert_int_equal(b->code, 503);

    /* Its node dies; the peer goes on in the same dialog, above its numbers. */
    cseq = a->cseq;
    kill_daemon(a);
    UNTIL(s, !a->routerd_up);
    serve(s, 2, 2);
    UNTIL(s, b->notifies);
    assert_true(is_open(b));
    assert_true(b->cseq > cseq);
    UNTIL(s, b->view_done == s->version && b->availability[0]);

    /* It comes back without its memory, is given everything, then its users. */
    cseq = b->cseq;
    a->notifies = 0;
    a->availability[0] = '\0';
    start_daemon(a);
    UNTIL(s, in_sync(a, s->version) && in_sync(b, s->version));
    assert_int_equal(a->notifies, 0);
    serve(s, 1, 2);
    UNTIL(s, a->notifies && a->availability[0]);
    assert_true(is_open(a));
    assert_true(a->cseq > cseq);
    UNTIL(s, in_sync(a, s->version) && in_sync(b, s->version) && ipc_is_up(a->from_proxyd));

    /* The entity tag that the first node gave is still good. */
    publish(a, "closed");
    UNTIL(s, a->code && !is_open(a));
    assert_int_equal(a->code, 200);
    stage_close(s);
}

static void what_is_no_document_is_refused(void **state)
{
    struct stage *s = stage_open();
    struct node *a = &s->nodes[0];

    (void)state;
    UNTIL(s, in_sync(a, s->version) && ipc_is_up(a->from_proxyd));
    publish(a, "<");
    UNTIL(s, a->code);
    assert_int_equal(a->code, 400);
    assert_int_equal(postgres_sql(&s->postgres, "DELETE FROM users WHERE aor = 'alice@x'"), 0);
    do {
        publish(a, "open");
        UNTIL(s, a->code);
    } while (a->code == 200);
    assert_int_equal(a->code, 404);
    stage_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watcher_outlives_the_daemon_that_served_it),
        cmocka_unit_test(what_is_no_document_is_refused),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
