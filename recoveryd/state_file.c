// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/state_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/util.h"

enum { PLAN_BYTES_MAX = 4096, BOOT_ID_BYTES = 36 };

struct state_file {
    uv_loop_t *loop;
    uv_work_t work;
    char dir[STATE_FILE_PATH_MAX];
    char boot_id[BOOT_ID_BYTES + 1]; /* of the kernel */
    int lease_fd;
    bool saving, closed;
    struct buf text;
    int error; /* of the save that ran */
    void (*done)(void *ctx, bool ok);
    void *ctx;
};

/* Every field of the plan, once: name in the file, where it is, how wide. */
#define FIELD(name)                                                                                \
    {                                                                                              \
#name, offsetof(struct rcv_plan, name), sizeof(((struct rcv_plan *)0)->name)               \
    }
static const struct field {
    const char *name;
    size_t offset, size;
} fields[] = {
    FIELD(epoch),         FIELD(goal),           FIELD(reported),        FIELD(cause),
    FIELD(database_node), FIELD(database_alone), FIELD(database_synced), FIELD(database_kept),
    FIELD(from_init),     FIELD(rule),           FIELD(since_unix_ms),   FIELD(resume),
    FIELD(base_epoch),
};

/* ---- fields ---- */

static uint64_t get(const struct rcv_plan *plan, const struct field *f)
{
    const char *at = (const char *)plan + f->offset;
    uint32_t narrow;
    uint64_t wide;

    if (f->size == 1)
        return *(const uint8_t *)at;
    if (f->size == sizeof(narrow)) {
        memcpy(&narrow, at, sizeof(narrow));
        return narrow;
    }
    memcpy(&wide, at, sizeof(wide));
    return wide;
}

static void set(struct rcv_plan *plan, const struct field *f, uint64_t value)
{
    char *at = (char *)plan + f->offset;
    uint32_t narrow = (uint32_t)value;
    uint8_t flag = value != 0;

    if (f->size == 1)
        memcpy(at, &flag, sizeof(flag));
    else if (f->size == sizeof(narrow))
        memcpy(at, &narrow, sizeof(narrow));
    else
        memcpy(at, &value, sizeof(value));
}

static bool set_by_name(struct rcv_plan *plan, struct str name, uint64_t value)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (!str_eq_c(name, fields[i].name))
            continue;
        set(plan, &fields[i], value);
        return true;
    }
    return false;
}

/* ---- files ---- */

static void read_kernel_boot_id(char ret_id[BOOT_ID_BYTES + 1])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, ret_id, BOOT_ID_BYTES);

    ret_id[len > 0 ? len : 0] = '\0';
    if (fd >= 0)
        (void)close(fd);
}

struct state_file *state_file_open(uv_loop_t *loop, const char *dir, struct err *ret_err)
{
    struct state_file *f = mem_new(sizeof(*f));
    char path[STATE_FILE_PATH_MAX + 8];

    f->loop = loop;
    f->work.data = f;
    buf_init(&f->text, PLAN_BYTES_MAX);
    read_kernel_boot_id(f->boot_id);
    (void)snprintf(f->dir, sizeof(f->dir), "%s/state", dir);
    (void)snprintf(path, sizeof(path), "%s/lease", f->dir);
    if (mkdir(f->dir, 0700) && errno != EEXIST) {
        (void)err_set(ret_err, "%s: %s", f->dir, strerror(errno));
    } else {
        f->lease_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (f->lease_fd >= 0)
            return f;
        (void)err_set(ret_err, "%s: %s", path, strerror(errno));
    }
    mem_free(f);
    return NULL;
}

static void free_file(struct state_file *f)
{
    (void)close(f->lease_fd);
    buf_done(&f->text);
    mem_free(f);
}

void state_file_close(struct state_file *f)
{
    f->closed = true;
    if (!f->saving)
        free_file(f);
}

/* ---- the plan ---- */

static int parse(struct str text, struct rcv_plan *plan)
{
    size_t known = 0;

    while (!str_empty(text)) {
        struct str line, name, number;
        uint64_t value;

        (void)str_cut(text, '\n', &line, &text);
        if (str_empty(line))
            continue;
        if (!str_cut(line, ' ', &name, &number) || !str_u64(number, &value))
            return -1;
        known += set_by_name(plan, name, value); /* others are a newer version's */
    }
    return known == ARRAY_LEN(fields) && plan->goal < RCV_ROLES && plan->reported < RCV_ROLES ? 0
                                                                                              : -1;
}

int state_file_load(struct state_file *f, struct rcv_plan *ret_plan, struct err *ret_err)
{
    struct rcv_plan plan = {0};
    char path[STATE_FILE_PATH_MAX + 8], text[PLAN_BYTES_MAX];
    ssize_t len;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/plan", f->dir);
    *ret_plan = plan;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_set(ret_err, "%s: %s", path, strerror(errno));
    len = read(fd, text, sizeof(text));
    (void)close(fd);
    if (len < 0)
        return err_set(ret_err, "%s: %s", path, strerror(errno));
    if (parse(str_of_bytes(text, (size_t)len), &plan))
        return err_set(ret_err, "%s: not a plan that this version understands", path);
    *ret_plan = plan;
    return 0;
}

/* In a thread: the new file whole and on disk, then under its name, then that on disk too. */
static int write_plan(const struct state_file *f)
{
    char path[STATE_FILE_PATH_MAX + 8], fresh[STATE_FILE_PATH_MAX + 16];
    int fd, dir_fd, error = 0;

    (void)snprintf(path, sizeof(path), "%s/plan", f->dir);
    (void)snprintf(fresh, sizeof(fresh), "%s/plan.new", f->dir);
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    if (write(fd, f->text.data, f->text.len) != (ssize_t)f->text.len || fsync(fd))
        error = errno ? errno : EIO;
    if (close(fd) && !error)
        error = errno;
    if (!error && rename(fresh, path))
        error = errno;
    dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!error && (dir_fd < 0 || fsync(dir_fd)))
        error = errno;
    if (dir_fd >= 0)
        (void)close(dir_fd);
    return error;
}

static void work(uv_work_t *job)
{
    struct state_file *f = job->data;

    f->error = write_plan(f);
}

static void after_work(uv_work_t *job, int status)
{
    struct state_file *f = job->data;
    bool ok = status == 0 && f->error == 0;

    f->saving = false;
    if (f->closed) {
        free_file(f);
        return;
    }
    if (!ok)
        log_error("plan_not_saved", log_str("why", strerror(f->error)));
    f->done(f->ctx, ok);
}

void state_file_save(struct state_file *f, const struct rcv_plan *plan,
                     void (*done)(void *ctx, bool ok), void *ctx)
{
    int r;

    assert(!f->saving);
    f->saving = true;
    f->done = done;
    f->ctx = ctx;
    buf_clear(&f->text);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        buf_printf(&f->text, "%s %" PRIu64 "\n", fields[i].name, get(plan, &fields[i]));
    r = uv_queue_work(f->loop, &f->work, work, after_work);
    assert(r == 0);
    (void)r;
}

/* ---- the lease ---- */

void state_file_set_lease(struct state_file *f, uint64_t until_ms)
{
    char line[BOOT_ID_BYTES + 24];
    int len = snprintf(line, sizeof(line), "%-36s %020" PRIu64 "\n", f->boot_id, until_ms);

    /* Lost, it only makes a restart of recoveryd more careful. */
    (void)!pwrite(f->lease_fd, line, (size_t)len, 0);
}

uint64_t state_file_lease(struct state_file *f)
{
    char line[BOOT_ID_BYTES + 24];
    ssize_t len = pread(f->lease_fd, line, sizeof(line), 0);
    struct str text = str_of_bytes(line, len > 0 ? (size_t)len : 0);
    uint64_t until_ms;

    if (!str_eq_c(str_sub(text, 0, BOOT_ID_BYTES), f->boot_id) ||
        !str_u64(str_trim(str_sub(text, BOOT_ID_BYTES, text.len)), &until_ms))
        return 0;
    return until_ms;
}
