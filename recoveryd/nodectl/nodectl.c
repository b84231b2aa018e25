// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/nodectl/nodectl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/util.h"
#include "common/version.h"
#include "recoveryd/nodectl/output.h"

#define DEFAULT_DIR "/var/lib/muster"

static command_run cmd_version;

// clang-format off
static const struct command commands[] = {
    {"ha", "status", cmd_ha_status, 0, 0, "",
     "State and reason of each node, and who serves whose users."},
    {"ha", "failover", cmd_ha_failover, 0, 0, "",
     "Moves this node's users to its peer and stops its services."},
    {"ha", "fallback", cmd_ha_fallback, 0, 0, "",
     "Moves users back to their home nodes."},
    {"ha", "recover", cmd_ha_recover, 0, 0, "",
     "Leaves Running in Failed Mode once the cause has gone."},
    {"service", "list", cmd_service_list, 0, 0, "",
     "The services of this node."},
    {"service", "start", cmd_service_start, 1, 1, "NAME",
     "Starts a service."},
    {"service", "stop", cmd_service_stop, 1, 1, "NAME",
     "Stops a service; it stays stopped until it is started."},
    {"service", "restart", cmd_service_restart, 1, 1, "NAME",
     "Stops a service and starts it."},
    {"dbreplication", "runtimestate", cmd_dbreplication_runtimestate, 0, 0, "",
     "Role of each node's database, and whether the copy keeps up."},
    {"user", "add", cmd_user_add, 1, 1,
     "USERID [--display-name NAME] [--mail MAIL] [--directory-uri URI] [--home NODE]"
     " [--password-file FILE]",
     "Adds a user. The password is asked for, or is the first line of standard input or FILE."},
    {"user", "passwd", cmd_user_passwd, 1, 1, "USERID [--password-file FILE]",
     "Sets a new password."},
    {"user", "delete", cmd_user_delete, 1, 1, "USERID",
     "Deletes a user with everything that is kept for them."},
    {"user", "list", cmd_user_list, 0, 0, "[--home NODE]",
     "All users, or those whose home is NODE."},
    {"user", "import", cmd_user_import, 1, 1, "FILE.csv",
     "Adds or changes users: userid,password,display_name,mail,directory_uri. A first line with\n"
     "these names is skipped. All lines are good and done, or none is."},
    {"param", "list", cmd_param_list, 0, 1, "[SERVICE]",
     "All parameters, with the value in force on this node."},
    {"param", "get", cmd_param_get, 1, 2, "SERVICE NAME",
     "The value in force on this node."},
    {"param", "set", cmd_param_set, 2, 3, "SERVICE NAME VALUE [--node NODE]",
     "Sets a value, for all nodes or one. The value `default` takes the setting away."},
    {"alarm", "list", cmd_alarm_list, 0, 0, "",
     "Alarms that are raised, with cause and action."},
    {"version", NULL, cmd_version, 0, 0, "",
     "The version of this program."},
};
// clang-format on

static int cmd_version(struct nodectl *n)
{
    json_t *root;

    if (!n->json) {
        printf("%s\n", MUSTER_VERSION);
        return DONE;
    }
    root = json_object();
    output_set_text(root, "version", MUSTER_VERSION);
    output_json(root);
    return DONE;
}

/* ---- words ---- */

static void take_out(struct nodectl *n, int at, int count)
{
    memmove(n->words + at, n->words + at + count,
            (size_t)(n->count - at - count + 1) * sizeof(char *));
    n->count -= count;
}

const char *nodectl_option(struct nodectl *n, const char *name)
{
    const char *value;

    for (int i = 0; i + 1 < n->count; i++) {
        if (strcmp(n->words[i], name) != 0)
            continue;
        value = n->words[i + 1];
        take_out(n, i, 2);
        return value;
    }
    return NULL;
}

bool nodectl_flag(struct nodectl *n, const char *name)
{
    for (int i = 0; i < n->count; i++) {
        if (strcmp(n->words[i], name) != 0)
            continue;
        take_out(n, i, 1);
        return true;
    }
    return false;
}

int nodectl_refuse(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("nodectl: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return REFUSED;
}

bool nodectl_conf(struct nodectl *n)
{
    struct err e;

    if (conf_load(n->dir, &n->conf, &e) == 0)
        return true;
    nodectl_refuse("%s", e.text);
    return false;
}

/* ---- help ---- */

static void print_usage(FILE *to, const struct command *c)
{
    fprintf(to, "usage: nodectl [--dir DIR] [--json] %s%s%s%s%s\n", c->group, c->verb ? " " : "",
            c->verb ? c->verb : "", *c->arguments ? " " : "", c->arguments);
}

static void print_help(FILE *to, const char *group)
{
    fputs("usage: nodectl [--dir DIR] [--json] COMMAND\n\n", to);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const struct command *c = &commands[i];

        if (!group || strcmp(group, c->group) == 0)
            fprintf(to, "  %s%s%s%s%s\n", c->group, c->verb ? " " : "", c->verb ? c->verb : "",
                    *c->arguments ? " " : "", c->arguments);
    }
    fputs("\n--dir DIR  the node's directory; else $MUSTER_DIR, else " DEFAULT_DIR "\n"
          "--json     for programs; the members are in nodectl(8)\n"
          "COMMAND --help says what it does.\n",
          to);
}

static bool is_group(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].group, word) == 0)
            return true;
    return false;
}

static int wrong_usage(const struct nodectl *n)
{
    if (n->count == 0)
        print_help(stderr, NULL);
    else if (!is_group(n->words[0]))
        (void)nodectl_refuse("there is no command %s; nodectl --help lists them", n->words[0]);
    else if (n->count == 1)
        print_help(stderr, n->words[0]);
    else
        (void)nodectl_refuse("there is no command %s %s; nodectl %s --help lists them", n->words[0],
                             n->words[1], n->words[0]);
    return USAGE;
}

/* ---- which command ---- */

static const struct command *find_command(struct nodectl *n)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const struct command *c = &commands[i];
        int words = c->verb ? 2 : 1;

        if (n->count < words || strcmp(n->words[0], c->group) != 0 ||
            (c->verb && strcmp(n->words[1], c->verb) != 0))
            continue;
        take_out(n, 0, words);
        return c;
    }
    return NULL;
}

/* Options that each command knows are taken out by itself; what is left over must be words. */
static bool has_right_words(const struct nodectl *n)
{
    int words = 0;

    for (int i = 0; i < n->count; i++) {
        if (strncmp(n->words[i], "--", 2) == 0)
            i++; /* with its value */
        else
            words++;
    }
    return words >= n->command->words_min && words <= n->command->words_max;
}

static bool has_known_options(const struct nodectl *n)
{
    for (int i = 0; i < n->count; i++) {
        size_t len = strlen(n->words[i]);
        const char *at = strstr(n->command->arguments, n->words[i]);

        if (strncmp(n->words[i], "--", 2) != 0)
            continue;
        if (!at || at[len] != ' ' || i + 1 == n->count) /* all of them take a value */
            return false;
        i++;
    }
    return true;
}

static int run_command(struct nodectl *n)
{
    n->command = find_command(n);
    if (!n->command)
        return wrong_usage(n);
    if (nodectl_flag(n, "--help")) {
        print_usage(stdout, n->command);
        printf("\n%s\n", n->command->help);
        return DONE;
    }
    if (!has_right_words(n) || !has_known_options(n)) {
        print_usage(stderr, n->command);
        return USAGE;
    }
    return n->command->run(n);
}

static void skip(struct nodectl *n, int count)
{
    n->words += count;
    n->count -= count;
}

/* Options before the command: 0, or the exit status of wrong usage. */
static int read_options(struct nodectl *n)
{
    while (n->count && strncmp(n->words[0], "--", 2) == 0) {
        if (strcmp(n->words[0], "--json") == 0) {
            n->json = true;
        } else if (strcmp(n->words[0], "--dir") == 0 && n->count > 1) {
            n->dir = n->words[1];
            skip(n, 1);
        } else {
            break;
        }
        skip(n, 1);
    }
    if (n->count && strcmp(n->words[0], "utils") == 0) /* as operators type it */
        skip(n, 1);
    return 0;
}

int nodectl_main(int argc, char **argv)
{
    struct nodectl *n = &(struct nodectl){.words = argv + 1, .count = argc - 1};

    log_init("nodectl", "-", LOG_WARNING);
    n->dir = getenv("MUSTER_DIR") ? getenv("MUSTER_DIR") : DEFAULT_DIR;
    read_options(n);
    if (n->count && strcmp(n->words[0], "--version") == 0)
        return cmd_version(n);
    if (n->count && (strcmp(n->words[0], "--help") == 0 || strcmp(n->words[0], "help") == 0)) {
        print_help(stdout, NULL);
        return DONE;
    }
    if (n->count == 2 && strcmp(n->words[1], "--help") == 0 && is_group(n->words[0]) &&
        strcmp(n->words[0], "version") != 0) {
        print_help(stdout, n->words[0]);
        return DONE;
    }
    n->json |= nodectl_flag(n, "--json");
    return run_command(n);
}
