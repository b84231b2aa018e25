// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/ipc.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"

enum { SERVICES = MUSTER__SERVICE__SYNCAGENT + 1, PATH_BYTES = 700 };

struct watched {
    struct supervisor *supervisor;
    Muster__Service service;
    uint32_t pid; /* 0: not running */
    int pidfd;
    uv_poll_t poll;
};

struct supervisor {
    uv_loop_t *loop;
    struct supervisor_config config;
    struct watched *watched[SERVICES]; /* NULL: none */
};

struct supervisor *supervisor_new(uv_loop_t *loop, const struct supervisor_config *config)
{
    struct supervisor *s = mem_new(sizeof(*s));

    s->loop = loop;
    s->config = *config;
    return s;
}

/* ---- watching ---- */

static void on_poll_closed(uv_handle_t *handle)
{
    struct watched *w = handle->data;

    (void)close(w->pidfd);
    mem_free(w);
}

static void forget(struct watched *w)
{
    w->supervisor->watched[w->service] = NULL;
    uv_close((uv_handle_t *)&w->poll, on_poll_closed);
}

static void on_ended(uv_poll_t *poll, int status, int events)
{
    struct watched *w = poll->data;
    struct supervisor *s = w->supervisor;
    Muster__Service service = w->service;

    (void)status;
    (void)events;
    /* Reaps it if it was our child; else whoever adopted it does. */
    (void)waitpid((pid_t)w->pid, NULL, WNOHANG);
    log_info("service_ended", log_str("name", ipc_service_name(service)), log_u64("pid", w->pid));
    forget(w);
    s->config.on_exit(s->config.ctx, service);
}

/* False when there is no such process any more. */
static bool watch(struct supervisor *s, Muster__Service service, uint32_t pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct watched *w;

    if (pidfd < 0)
        return false;
    w = mem_new(sizeof(*w));
    *w = (struct watched){.supervisor = s, .service = service, .pid = pid, .pidfd = pidfd};
    (void)fcntl(pidfd, F_SETFD, FD_CLOEXEC);
    uv_poll_init(s->loop, &w->poll, pidfd);
    w->poll.data = w;
    uv_poll_start(&w->poll, UV_READABLE, on_ended);
    s->watched[service] = w;
    return true;
}

void supervisor_close(struct supervisor *s)
{
    for (int i = 0; i < SERVICES; i++)
        if (s->watched[i])
            forget(s->watched[i]);
    mem_free(s);
}

/* ---- pid files ---- */

static void pid_path(const struct supervisor *s, Muster__Service service, char ret_path[PATH_BYTES])
{
    (void)snprintf(ret_path, PATH_BYTES, "%s/run/%s.pid", s->config.dir, ipc_service_name(service));
}

static size_t read_file(const char *path, char *ret_bytes, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, ret_bytes, size);

    if (fd >= 0)
        (void)close(fd);
    return len > 0 ? (size_t)len : 0;
}

static void write_pid(const struct supervisor *s, Muster__Service service, uint32_t pid)
{
    char path[PATH_BYTES], text[16];
    int len = snprintf(text, sizeof(text), "%" PRIu32 "\n", pid);
    int fd;

    pid_path(s, service, path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, (size_t)len) != len)
        log_warning("pid_file_failed", log_str("path", path), log_str("why", strerror(errno)));
    if (fd >= 0)
        (void)close(fd);
}

/* Is `pid` a process of that name with our directory among its arguments? Pids are used again. */
static bool is_ours(const struct supervisor *s, Muster__Service service, uint32_t pid)
{
    char path[64], line[PATH_BYTES * 2];
    struct str args, program, arg;

    (void)snprintf(path, sizeof(path), "/proc/%" PRIu32 "/cmdline", pid);
    args = str_of_bytes(line, read_file(path, line, sizeof(line)));
    (void)str_cut(args, '\0', &program, &args);
    if (!str_ends(program, str_of(ipc_service_name(service))))
        return false;
    while (!str_empty(args)) {
        (void)str_cut(args, '\0', &arg, &args);
        if (str_eq_c(arg, s->config.dir))
            return true;
    }
    return false;
}

uint32_t supervisor_find(struct supervisor *s, Muster__Service service)
{
    char path[PATH_BYTES], text[16];
    uint32_t pid;

    pid_path(s, service, path);
    if (!str_u32(str_trim(str_of_bytes(text, read_file(path, text, sizeof(text)))), &pid) ||
        pid == 0 || !is_ours(s, service, pid) || !watch(s, service, pid))
        return 0;
    log_info("service_found", log_str("name", ipc_service_name(service)), log_u64("pid", pid));
    return pid;
}

/* ---- starting ---- */

static int open_log(const struct supervisor *s, Muster__Service service)
{
    char path[PATH_BYTES];

    (void)snprintf(path, sizeof(path), "%s/log", s->config.dir);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof(path), "%s/log/%s.log", s->config.dir, ipc_service_name(service));
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The program beside our own; false when our own cannot be found. */
static bool program_path(Muster__Service service, char ret_path[PATH_BYTES])
{
    char self[PATH_BYTES];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    size_t slash;

    if (len <= 0)
        return false;
    slash = str_rfind((struct str){self, (size_t)len}, '/');
    return snprintf(ret_path, PATH_BYTES, "%.*s/%s", (int)slash, self, ipc_service_name(service)) <
           PATH_BYTES;
}

/* In the child, between fork and exec: only what is safe there. */
static void become(const char *program, const char *dir, int log_fd)
{
    const char *const args[] = {program, "--dir", dir, NULL};
    sigset_t none;
    int null_fd;

    (void)setsid();
    for (int signum = 1; signum < NSIG; signum++)
        if (signum != SIGKILL && signum != SIGSTOP)
            (void)signal(signum, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    null_fd = open("/dev/null", O_RDWR);
    (void)dup2(null_fd, STDIN_FILENO);
    (void)dup2(log_fd >= 0 ? log_fd : null_fd, STDOUT_FILENO);
    (void)dup2(log_fd >= 0 ? log_fd : null_fd, STDERR_FILENO);
    (void)syscall(SYS_close_range, 3u, ~0u, 0);
    (void)execv(program, (char *const *)args);
    _exit(127);
}

uint32_t supervisor_start(struct supervisor *s, Muster__Service service)
{
    char program[PATH_BYTES];
    int log_fd = open_log(s, service);
    pid_t pid = -1;

    if (program_path(service, program)) {
        pid = fork();
        if (pid == 0)
            become(program, s->config.dir, log_fd);
    }
    if (log_fd >= 0)
        (void)close(log_fd);
    if (pid <= 0 || !watch(s, service, (uint32_t)pid)) {
        log_error("service_not_started", log_str("name", ipc_service_name(service)),
                  log_str("why", strerror(errno)));
        return 0;
    }
    write_pid(s, service, (uint32_t)pid);
    log_info("service_started", log_str("name", ipc_service_name(service)),
             log_u64("pid", (uint64_t)pid));
    return (uint32_t)pid;
}

void supervisor_signal(struct supervisor *s, Muster__Service service, int signum)
{
    struct watched *w = s->watched[service];

    if (w)
        (void)syscall(SYS_pidfd_send_signal, w->pidfd, signum, NULL, 0);
}
