// SPDX-License-Identifier: Apache-2.0
#include "common/iopool.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/mem.h"

/*
 * A sender collects what it sends, and hands it over once a turn of its loop (or OUTBOX_MAX at a
 * time): before the loop waits, and an idle handle keeps it from waiting until then. The queue
 * between is a list under a mutex that is held for a few instructions; the receiver takes all of it
 * at once. Only what comes to an empty queue wakes it.
 *
 * Stopping: the core marks each worker and wakes it; the worker handles what was posted, calls
 * on_stop and closes its wake-up, so that its loop ends with its last handle. Then the core joins
 * the thread, takes the messages that are left, and closes its own wake-up. What is posted to a
 * worker after that is dropped.
 */
enum { OUTBOX_MAX = 64 };

struct list {
    struct iopool_message *first, *last;
};

struct queue {
    struct list outbox; /* the sender's thread */
    size_t outbox_count;
    pthread_mutex_t mutex;
    struct list handed; /* under the mutex */
    uv_async_t *receiver;
    atomic_size_t count; /* not taken yet, wherever */
};

/* When a thread hands over. */
struct turn {
    uv_prepare_t before_wait;
    uv_idle_t not_yet; /* active while an outbox has something */
};

struct iopool_worker {
    struct iopool *pool;
    unsigned index;
    uv_loop_t loop; /* the worker's thread, as `wake` and `state` */
    uv_async_t wake;
    struct turn turn;
    void *state;
    pthread_t thread;
    struct queue to_worker;
    struct queue to_core;
    atomic_bool stopping;
};

struct iopool {
    struct iopool_config config;
    uv_async_t wake; /* the core's, as `turn` */
    struct turn turn;
    unsigned handles;
    uv_sem_t started;
    bool stopped;
    struct iopool_worker workers[];
};

/* ---- queues ---- */

static void list_put(struct list *l, struct iopool_message *m)
{
    m->next = NULL;
    if (l->last)
        l->last->next = m;
    else
        l->first = m;
    l->last = m;
}

static void list_join(struct list *l, struct list *more)
{
    if (l->last)
        l->last->next = more->first;
    else
        l->first = more->first;
    l->last = more->last;
    *more = (struct list){0};
}

static void queue_init(struct queue *q, uv_async_t *receiver)
{
    pthread_mutex_init(&q->mutex, NULL);
    q->receiver = receiver;
}

static void queue_hand_over(struct queue *q)
{
    bool was_empty;

    if (!q->outbox.first)
        return;
    q->outbox_count = 0;
    pthread_mutex_lock(&q->mutex);
    was_empty = !q->handed.first;
    list_join(&q->handed, &q->outbox);
    pthread_mutex_unlock(&q->mutex);
    if (was_empty)
        uv_async_send(q->receiver);
}

static void queue_put(struct queue *q, struct iopool_message *m)
{
    atomic_fetch_add_explicit(&q->count, 1, memory_order_relaxed);
    list_put(&q->outbox, m);
    if (++q->outbox_count >= OUTBOX_MAX)
        queue_hand_over(q);
}

static struct iopool_message *queue_take(struct queue *q)
{
    struct iopool_message *all;

    pthread_mutex_lock(&q->mutex);
    all = q->handed.first;
    q->handed = (struct list){0};
    pthread_mutex_unlock(&q->mutex);
    return all;
}

/* The next of a list that was taken; counts it off. */
static struct iopool_message *queue_next(struct queue *q, struct iopool_message **list)
{
    struct iopool_message *m = *list;

    if (m) {
        *list = m->next;
        m->next = NULL;
        atomic_fetch_sub_explicit(&q->count, 1, memory_order_relaxed);
    }
    return m;
}

/* ---- turns ---- */

static void on_not_yet(uv_idle_t *idle)
{
    (void)idle; /* that it is active is what counts */
}

static void turn_init(struct turn *t, uv_loop_t *loop, uv_prepare_cb on_before_wait, void *data)
{
    uv_prepare_init(loop, &t->before_wait);
    uv_idle_init(loop, &t->not_yet);
    t->before_wait.data = t->not_yet.data = data;
    uv_prepare_start(&t->before_wait, on_before_wait);
    uv_unref((uv_handle_t *)&t->before_wait); /* a worker ends when its own handles have */
}

static void turn_close(struct turn *t, uv_close_cb on_closed)
{
    uv_close((uv_handle_t *)&t->before_wait, on_closed);
    uv_close((uv_handle_t *)&t->not_yet, on_closed);
}

/* ---- the worker's thread ---- */

static void on_worker_wake(uv_async_t *wake)
{
    struct iopool_worker *w = wake->data;
    bool stopping = atomic_load(&w->stopping); /* before the queue: nothing is posted after it */
    struct iopool_message *list = queue_take(&w->to_worker);
    struct iopool_message *m;

    while ((m = queue_next(&w->to_worker, &list)))
        w->pool->config.on_message(w, m);
    if (stopping && !uv_is_closing((uv_handle_t *)wake)) {
        uv_close((uv_handle_t *)wake, NULL);
        w->pool->config.on_stop(w);
    }
}

static void on_worker_turn(uv_prepare_t *before_wait)
{
    struct iopool_worker *w = before_wait->data;

    uv_idle_stop(&w->turn.not_yet);
    queue_hand_over(&w->to_core);
}

static void *run_worker(void *arg)
{
    struct iopool_worker *w = arg;
    int r;

    w->state = w->pool->config.on_start(w, w->pool->config.ctx);
    uv_sem_post(&w->pool->started);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    turn_close(&w->turn, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    queue_hand_over(&w->to_core); /* what was said while all was closed */
    r = uv_loop_close(&w->loop);
    assert(r == 0); /* a handle was forgotten */
    return NULL;
}

/* ---- the core's thread ---- */

static bool take_from(struct iopool *p, struct iopool_worker *w)
{
    struct iopool_message *list = queue_take(&w->to_core);
    struct iopool_message *m;
    bool some = list;

    while ((m = queue_next(&w->to_core, &list)))
        p->config.on_core_message(p->config.ctx, w, m);
    return some;
}

static void on_core_wake(uv_async_t *wake)
{
    struct iopool *p = wake->data;
    bool some = false;

    for (unsigned i = 0; i < p->config.threads; i++)
        some |= take_from(p, &p->workers[i]);
    if (some && p->config.on_core_batch)
        p->config.on_core_batch(p->config.ctx);
}

static void on_core_turn(uv_prepare_t *before_wait)
{
    struct iopool *p = before_wait->data;

    uv_idle_stop(&p->turn.not_yet);
    for (unsigned i = 0; i < p->config.threads && !p->stopped; i++)
        queue_hand_over(&p->workers[i].to_worker);
}

static void start_worker(struct iopool *p, unsigned index)
{
    struct iopool_worker *w = &p->workers[index];
    int r;

    w->pool = p;
    w->index = index;
    queue_init(&w->to_worker, &w->wake);
    queue_init(&w->to_core, &p->wake);
    r = uv_loop_init(&w->loop);
    assert(r == 0);
    r = uv_async_init(&w->loop, &w->wake, on_worker_wake);
    assert(r == 0);
    w->wake.data = w;
    turn_init(&w->turn, &w->loop, on_worker_turn, w);
    r = pthread_create(&w->thread, NULL, run_worker, w);
    assert(r == 0); /* once, at start: a machine that has no thread for us has no service */
    uv_sem_wait(&p->started);
}

struct iopool *iopool_start(uv_loop_t *core_loop, const struct iopool_config *config)
{
    struct iopool *p = mem_new(sizeof(*p) + config->threads * sizeof(*p->workers));
    int r;

    assert(config->threads > 0);
    p->config = *config;
    r = uv_sem_init(&p->started, 0);
    assert(r == 0);
    r = uv_async_init(core_loop, &p->wake, on_core_wake);
    assert(r == 0);
    p->wake.data = p;
    turn_init(&p->turn, core_loop, on_core_turn, p);
    p->handles = 3;
    for (unsigned i = 0; i < config->threads; i++)
        start_worker(p, i);
    return p;
}

static void drop_all(struct iopool *p, struct queue *q)
{
    struct iopool_message *m;

    while ((m = queue_next(q, &q->outbox.first)))
        if (p->config.on_drop)
            p->config.on_drop(p->config.ctx, m);
        else
            mem_free(m);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct iopool *p = handle->data;

    if (--p->handles > 0)
        return;
    for (unsigned i = 0; i < p->config.threads; i++) {
        drop_all(p, &p->workers[i].to_worker);
        pthread_mutex_destroy(&p->workers[i].to_worker.mutex);
        pthread_mutex_destroy(&p->workers[i].to_core.mutex);
    }
    uv_sem_destroy(&p->started);
    mem_free(p);
}

void iopool_close(struct iopool *p)
{
    for (unsigned i = 0; i < p->config.threads; i++) {
        queue_hand_over(&p->workers[i].to_worker);
        atomic_store(&p->workers[i].stopping, true);
        uv_async_send(&p->workers[i].wake);
    }
    for (unsigned i = 0; i < p->config.threads; i++)
        pthread_join(p->workers[i].thread, NULL);
    p->stopped = true;
    for (unsigned i = 0; i < p->config.threads; i++)
        (void)take_from(p, &p->workers[i]);
    uv_close((uv_handle_t *)&p->wake, on_handle_closed);
    turn_close(&p->turn, on_handle_closed);
}

unsigned iopool_threads(const struct iopool *p)
{
    return p->config.threads;
}

struct iopool_worker *iopool_worker(struct iopool *p, unsigned index)
{
    assert(index < p->config.threads);
    return &p->workers[index];
}

/* ---- messages ---- */

void iopool_post(struct iopool_worker *w, struct iopool_message *m)
{
    if (w->pool->stopped) {
        list_put(&w->to_worker.outbox, m);
        return;
    }
    queue_put(&w->to_worker, m);
    uv_idle_start(&w->pool->turn.not_yet, on_not_yet);
}

void iopool_send(struct iopool_worker *w, struct iopool_message *m)
{
    queue_put(&w->to_core, m);
    if (!uv_is_closing((uv_handle_t *)&w->turn.not_yet))
        uv_idle_start(&w->turn.not_yet, on_not_yet);
}

size_t iopool_backlog(const struct iopool_worker *w)
{
    return atomic_load_explicit(&w->to_core.count, memory_order_relaxed);
}

uv_loop_t *iopool_loop(struct iopool_worker *w)
{
    return &w->loop;
}

unsigned iopool_index(const struct iopool_worker *w)
{
    return w->index;
}

void *iopool_state(struct iopool_worker *w)
{
    return w->state;
}
