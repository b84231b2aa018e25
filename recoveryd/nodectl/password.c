// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/nodectl/password.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <stringprep.h>
#include <termios.h>
#include <unistd.h>

/* Printable ASCII stays as it is. */
static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    return true;
}

int password_prepare(struct str password, char ret_prepared[PASSWORD_BYTES_MAX + 1],
                     struct err *ret_err)
{
    char text[PASSWORD_BYTES_MAX + 1];

    if (password.len == 0 || password.len > PASSWORD_BYTES_MAX)
        return err_set(ret_err, "a password has 1 to %d bytes", PASSWORD_BYTES_MAX);
    if (!str_utf8(password))
        return err_set(ret_err, "the password is not UTF-8");
    memcpy(text, password.p, password.len);
    text[password.len] = '\0';
    if (!is_plain(password) && stringprep(text, sizeof(text), STRINGPREP_NO_UNASSIGNED,
                                          stringprep_saslprep) != STRINGPREP_OK)
        return err_set(ret_err, "the password has characters that SASLprep (RFC 4013) forbids");
    if (!*text)
        return err_set(ret_err, "nothing is left of the password after SASLprep (RFC 4013)");
    memcpy(ret_prepared, text, sizeof(text));
    return 0;
}

/* A byte at a time, so that nothing after the line is taken from a pipe. */
static int read_line(int fd, char ret_line[PASSWORD_BYTES_MAX + 1], struct err *e)
{
    size_t len = 0;
    ssize_t n;
    char c;

    while ((n = read(fd, &c, 1)) == 1 && c != '\n') {
        if (len == PASSWORD_BYTES_MAX)
            return err_set(e, "a password has 1 to %d bytes", PASSWORD_BYTES_MAX);
        ret_line[len++] = c;
    }
    if (n < 0)
        return err_set(e, "cannot read the password: %s", strerror(errno));
    if (len && ret_line[len - 1] == '\r')
        len--;
    ret_line[len] = '\0';
    return 0;
}

static void say(int fd, const char *text)
{
    (void)!write(fd, text, strlen(text));
}

static int ask(int tty, const char *question, char ret_line[PASSWORD_BYTES_MAX + 1], struct err *e)
{
    struct termios before, silent;
    int r;

    if (tcgetattr(tty, &before) != 0)
        return err_set(e, "cannot ask for a password here");
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    say(tty, question);
    tcsetattr(tty, TCSAFLUSH, &silent);
    r = read_line(tty, ret_line, e);
    tcsetattr(tty, TCSAFLUSH, &before);
    say(tty, "\n");
    return r;
}

static int ask_twice(int tty, char ret_password[PASSWORD_BYTES_MAX + 1], struct err *e)
{
    char again[PASSWORD_BYTES_MAX + 1];

    if (ask(tty, "Password: ", ret_password, e) != 0 || ask(tty, "Again: ", again, e) != 0)
        return -1;
    return strcmp(ret_password, again) == 0 ? 0 : err_set(e, "the two are not the same");
}

int password_read(const char *file, char ret_password[PASSWORD_BYTES_MAX + 1], struct err *ret_err)
{
    int fd, r;

    if (!file && isatty(STDIN_FILENO))
        return ask_twice(STDIN_FILENO, ret_password, ret_err);
    if (!file)
        return read_line(STDIN_FILENO, ret_password, ret_err);
    fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(ret_err, "cannot read %s: %s", file, strerror(errno));
    r = read_line(fd, ret_password, ret_err);
    close(fd);
    return r;
}
