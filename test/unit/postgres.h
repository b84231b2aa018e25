// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A PostgreSQL of a test's own: in a temporary directory, on a socket in it, gone afterwards. It
 * runs as `nobody` when the test is root, because PostgreSQL refuses root.
 */
#include <assert.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct postgres {
    char dir[64];
    char bin[128];
    char conninfo[256];
};

/* Runs a program of PostgreSQL, as nobody if need be; its exit status. */
static inline int postgres_run(const struct postgres *p, const char *const *argv)
{
    char path[256];
    const char *args[24] = {path}; /* with its folder: so it finds the programs beside it */
    int status;
    pid_t pid;

    (void)snprintf(path, sizeof(path), "%s/%s", p->bin, argv[0]);
    for (size_t i = 1; argv[i]; i++) {
        assert(i < sizeof(args) / sizeof(args[0]) - 1);
        args[i] = argv[i];
    }
    pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        const struct passwd *nobody = getpwnam("nobody");

        if (getuid() == 0 && (setgid(nobody->pw_gid) || setuid(nobody->pw_uid)))
            _exit(126);
        if (chdir(p->dir) || !freopen("output", "a", stdout) || dup2(1, 2) < 0)
            _exit(126);
        execv(path, (char *const *)args);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

static inline void postgres_start(const struct postgres *p)
{
    char data[80], options[160];

    (void)snprintf(data, sizeof(data), "%s/data", p->dir);
    (void)snprintf(options, sizeof(options),
                   "-c listen_addresses= -c unix_socket_directories=%s -F", p->dir);
    if (postgres_run(p, (const char *const[]){"pg_ctl", "-D", data, "-w", "-o", options, "-l",
                                              "log", "start", NULL}))
        abort();
}

static inline void postgres_stop(const struct postgres *p)
{
    char data[80];

    (void)snprintf(data, sizeof(data), "%s/data", p->dir);
    (void)postgres_run(
        p, (const char *const[]){"pg_ctl", "-D", data, "-w", "-m", "immediate", "stop", NULL});
}

/* One or more statements; psql's exit status. */
static inline int postgres_sql(const struct postgres *p, const char *sql)
{
    return postgres_run(p, (const char *const[]){"psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
                                                 p->conninfo, "-c", sql, NULL});
}

/* The same with what is in a file, which only we may be able to read. */
static inline int postgres_sql_file(const struct postgres *p, const char *path)
{
    char sql[65536];
    FILE *file = fopen(path, "r");
    size_t len = file ? fread(sql, 1, sizeof(sql) - 1, file) : 0;

    if (file)
        fclose(file);
    sql[len] = '\0';
    return len > 0 ? postgres_sql(p, sql) : -1;
}

static inline void postgres_init(struct postgres *p)
{
    const struct passwd *nobody = getpwnam("nobody");
    char data[80];
    glob_t found;

    if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) || found.gl_pathc == 0)
        abort();
    (void)snprintf(p->bin, sizeof(p->bin), "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/muster-postgres-XXXXXX");
    if (!mkdtemp(p->dir) || (getuid() == 0 && chown(p->dir, nobody->pw_uid, nobody->pw_gid)))
        abort();
    (void)snprintf(p->conninfo, sizeof(p->conninfo), "host=%s user=muster dbname=postgres", p->dir);
    (void)snprintf(data, sizeof(data), "%s/data", p->dir);
    if (postgres_run(p, (const char *const[]){"initdb", "-D", data, "-U", "muster", "-A", "trust",
                                              "--no-sync", "-E", "UTF8", "--locale=C", NULL}))
        abort();
    postgres_start(p);
}

static inline void postgres_done(struct postgres *p)
{
    pid_t pid;

    postgres_stop(p);
    pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", p->dir, NULL);
        _exit(127);
    }
    (void)waitpid(pid, NULL, 0);
}
