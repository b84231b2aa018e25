// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/pg/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/mem.h"

enum { SMALL_FILE_MAX = 64 * 1024, LOG_TAIL_MAX = 4096, TREE_FDS_MAX = 16 };

struct path {
    char text[2 * CONF_PATH_MAX];
};

static struct path in_dir(const struct conf *conf, const char *name)
{
    struct path p;

    snprintf(p.text, sizeof(p.text), "%s/%s", conf->dir, name);
    return p;
}

static bool exists(const struct conf *conf, const char *name)
{
    struct path p = in_dir(conf, name);

    return access(p.text, F_OK) == 0;
}

static int complain(struct err *e, const char *what, const char *path)
{
    return err_set(e, "cannot %s %s: %s", what, path, strerror(errno));
}

/* So that a rename or a new file in it survives a power cut. */
static int sync_folder_of(const char *path, struct err *e)
{
    char folder[2 * CONF_PATH_MAX];
    const char *slash = strrchr(path, '/');
    int fd, r;

    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return complain(e, "open", folder);
    r = fsync(fd);
    close(fd);
    return r == 0 ? 0 : complain(e, "sync", folder);
}

static int rename_durably(const char *from, const char *to, struct err *e)
{
    if (rename(from, to) != 0)
        return complain(e, "rename", from);
    return sync_folder_of(to, e);
}

static bool has_content(const char *path, struct str text)
{
    char *content = NULL;
    bool same = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    if (text.len < SMALL_FILE_MAX) {
        content = mem_new(text.len + 1); /* one more, to notice a longer file */
        same = read(fd, content, text.len + 1) == (ssize_t)text.len &&
               memcmp(content, text.p, text.len) == 0;
        mem_free(content);
    }
    close(fd);
    return same;
}

static int write_new(const char *path, struct str text, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good;

    if (fd < 0)
        return complain(e, "create", path);
    good = write(fd, text.p, text.len) == (ssize_t)text.len && fsync(fd) == 0;
    if (!good)
        complain(e, "write", path);
    close(fd);
    return good ? 0 : -1;
}

int files_write(const char *path, struct str text, bool *ret_changed, struct err *ret_err)
{
    char new_path[2 * CONF_PATH_MAX + 8];
    bool same = has_content(path, text);

    snprintf(new_path, sizeof(new_path), "%s.new", path);
    if (!same &&
        (write_new(new_path, text, ret_err) != 0 || rename_durably(new_path, path, ret_err) != 0))
        return -1;
    if (ret_changed)
        *ret_changed = !same;
    return 0;
}

static int make_folder(const struct conf *conf, const char *name, mode_t mode, struct err *e)
{
    struct path p = in_dir(conf, name);

    if (mkdir(p.text, mode) != 0 && errno != EEXIST)
        return complain(e, "create", p.text);
    if (chmod(p.text, mode) != 0)
        return complain(e, "set the mode of", p.text);
    return 0;
}

int files_prepare(const struct conf *conf, struct err *ret_err)
{
    static const struct {
        const char *name;
        mode_t mode;
    } folders[] = {{"run", 0700}, {"log", 0755}, {"state", 0700}, {"postgres", 0700}};

    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
        if (make_folder(conf, folders[i].name, folders[i].mode, ret_err) != 0)
            return -1;
    return 0;
}

/* ---- processes ---- */

/* Every process of PostgreSQL has its data directory as working directory. */
static bool works_in(uint32_t pid, const char *folder)
{
    char link[64], target[2 * CONF_PATH_MAX];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/%u/cwd", pid);
    n = readlink(link, target, sizeof(target) - 1);
    if (n < 0)
        return false;
    target[n] = '\0';
    return strcmp(target, folder) == 0;
}

static uint32_t read_pid_file(const struct conf *conf)
{
    struct path p = in_dir(conf, "data/postmaster.pid");
    char text[16] = {0};
    struct str line, rest;
    uint32_t pid = 0;
    int fd = open(p.text, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    if (read(fd, text, sizeof(text) - 1) > 0) {
        str_cut(str_of(text), '\n', &line, &rest);
        if (!str_u32(line, &pid))
            pid = 0;
    }
    close(fd);
    return pid;
}

static unsigned count_processes_in(const char *folder)
{
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    unsigned count = 0;
    uint32_t pid;

    if (!proc)
        return 0;
    while ((entry = readdir(proc)))
        if (str_u32(str_of(entry->d_name), &pid) && works_in(pid, folder))
            count++;
    closedir(proc);
    return count;
}

void files_look(const struct conf *conf, struct files_look *ret_look)
{
    struct path data = in_dir(conf, "data");
    char *real = realpath(data.text, NULL);
    uint32_t pid = read_pid_file(conf);

    *ret_look = (struct files_look){
        .exists = exists(conf, "data/PG_VERSION"),
        .standby = exists(conf, "data/standby.signal"),
        .unusable = exists(conf, "state/database.unusable"),
    };
    if (real && pid && works_in(pid, real))
        ret_look->pid = pid;
    else if (real)
        ret_look->leftovers = count_processes_in(real);
    free(real);
}

/* ---- marks and moves ---- */

int files_mark(const struct conf *conf, struct err *ret_err)
{
    return files_write(in_dir(conf, "state/database.unusable").text,
                       STR("The database of this node is being rebuilt from its peer.\n"), NULL,
                       ret_err);
}

static int unmark(const struct conf *conf, struct err *e)
{
    struct path mark = in_dir(conf, "state/database.unusable");

    if (unlink(mark.text) != 0 && errno != ENOENT)
        return complain(e, "remove", mark.text);
    return sync_folder_of(mark.text, e);
}

int files_follow(const struct conf *conf, struct err *ret_err)
{
    if (files_write(in_dir(conf, "data/standby.signal").text, STR(""), NULL, ret_err) != 0)
        return -1;
    return unmark(conf, ret_err);
}

static int on_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static int remove_tree(const char *path, struct err *e)
{
    if (nftw(path, on_entry, TREE_FDS_MAX, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return complain(e, "remove", path);
    return 0;
}

/* A former primary may hold rows that exist nowhere else: it is kept. A standby cannot. */
static int move_aside(const struct conf *conf, struct err *e)
{
    struct path data = in_dir(conf, "data"), old = in_dir(conf, "data.old-");
    struct path standby = in_dir(conf, "data.replaced");
    size_t len = strlen(old.text);
    struct tm tm;
    time_t now = time(NULL);

    if (!exists(conf, "data"))
        return 0;
    if (exists(conf, "data/standby.signal"))
        return remove_tree(standby.text, e) == 0 ? rename_durably(data.text, standby.text, e) : -1;
    gmtime_r(&now, &tm);
    strftime(old.text + len, sizeof(old.text) - len, "%Y%m%dT%H%M%SZ", &tm);
    return rename_durably(data.text, old.text, e);
}

int files_install(const struct conf *conf, bool standby, struct err *ret_err)
{
    struct path data = in_dir(conf, "data"), new_data = in_dir(conf, "data.new");

    /* Between the two renames there is no cluster: that must not look like a new node. */
    if (standby &&
        (files_write(in_dir(conf, "data.new/standby.signal").text, STR(""), NULL, ret_err) != 0 ||
         files_mark(conf, ret_err) != 0))
        return -1;
    if (move_aside(conf, ret_err) != 0 || rename_durably(new_data.text, data.text, ret_err) != 0 ||
        unmark(conf, ret_err) != 0)
        return -1;
    return remove_tree(in_dir(conf, "data.replaced").text, ret_err);
}

int files_clear_new(const struct conf *conf, struct err *ret_err)
{
    return remove_tree(in_dir(conf, "data.new").text, ret_err);
}

void files_last_fatal(const struct conf *conf, char *ret_line, size_t size)
{
    struct path log = in_dir(conf, "log/postgresql.log");
    char tail[LOG_TAIL_MAX + 1];
    int fd = open(log.text, O_RDONLY | O_CLOEXEC);
    struct str line, rest;
    ssize_t n;

    ret_line[0] = '\0';
    if (fd < 0)
        return;
    (void)lseek(fd, -(off_t)LOG_TAIL_MAX, SEEK_END); /* a shorter file is read whole */
    n = read(fd, tail, LOG_TAIL_MAX);
    close(fd);
    for (rest = str_of_bytes(tail, n > 0 ? (size_t)n : 0); rest.len;) {
        (void)str_cut(rest, '\n', &line, &rest); /* without a newline it is the last one */
        if (memmem(line.p, line.len, "FATAL:", 6) || memmem(line.p, line.len, "PANIC:", 6))
            snprintf(ret_line, size, "%.*s", STR_ARG(str_utf8_prefix(line, size - 1)));
    }
}
