/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "config/value.h"
#include "daemon/exit.h"

#include <argp.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct verb {
    const char *name, *usage_name;
    int (*run)(int argc, char **argv);
    const char *help;
} verbs[] = {
    {"mount", "supafs mount", cmd_mount, "[URL|PROJECT] MOUNTPOINT   make a project a directory"},
    {"init", "supafs init", cmd_init, "[URL|PROJECT]             make buckets and tables"},
    {"umount", "supafs umount", cmd_umount, "MOUNTPOINT                finish uploads and unmount"},
    {"status", "supafs status", cmd_status, "[MOUNTPOINT]              tell how a mount is doing"},
    {"flush", "supafs flush", cmd_flush, "[PATH...]                 wait until it is stored"},
    {"queue", "supafs queue", cmd_queue, "ls|show|retry|drop ...    what is not stored yet"},
    {"find", "supafs find", cmd_find, "[PATH]                    find files by what is known"},
    {"cache", "supafs cache", cmd_cache, "ls|stat|pin|... PATH      look after what is cached"},
    {"warmup", "supafs warmup", cmd_warmup, "[-r] PATH                 read into the cache"},
    {"url", "supafs url", cmd_url, "[-e TIME|-p] PATH...      a link to hand out"},
    {"provider", "supafs provider", cmd_provider,
     "ls|upload|files|...        look after AI providers"},
    {"chat", "supafs chat", cmd_chat, "PATH [PROMPT]             ask about files"},
    {"bench", "supafs bench", cmd_bench, "[DIRECTORY]               measure a mount"},
    {"doctor", "supafs doctor", cmd_doctor, "[PROJECT] [MOUNTPOINT]    find out what is wrong"},
};

#define N_VERBS (sizeof verbs / sizeof *verbs)

static void
usage(FILE *to)
{
    fputs("Usage: supafs VERB [ARGUMENT...]\n\n", to);
    for (size_t i = 0; i < N_VERBS; i++)
        fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].help);
    fputs("\n`supafs VERB --help` tells more, `man supafs` everything.\n"
          "supafs --version, supafs --exit-codes: what they say.\n",
          to);
}

/* argp's messages repeat an argument that they do not know; a key must not be in them. */
static bool
has_key(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = argv[i][0] == '-' ? strchr(argv[i], '=') : NULL;
        if (sf_value_is_key(value ? value + 1 : argv[i]))
            return true;
    }
    return false;
}

/* What argp's --usage and --help show, and what --version prints. */
static int
run_verb(const struct verb *v, int argc, char **argv)
{
    argp_program_version = "supafs " PACKAGE_VERSION;
    argp_err_exit_status = SF_EXIT_USAGE;
    if (has_key(argc, argv)) {
        complain("an argument is a key; keys are not taken from the command line, where every user "
                 "can see them");
        return SF_EXIT_USAGE;
    }
    argv[0] = (char *)v->usage_name;
    int code = v->run(argc, argv);
    if (fflush(stdout) || ferror(stdout)) {
        complain("cannot write: %s", strerror(errno));
        code = code ? code : SF_EXIT_FAILED;
    }
    return code;
}

#define MAX_HELPER_ARGS 32

/* As mount(8) calls a helper: mount.supafs SOURCE DIRECTORY [-sfnv] [-N NS] [-o OPTIONS] [-t TYPE].
 * Its letters mean other things than ours. */
static int
run_helper(int argc, char **argv)
{
    static char dash_o[] = "-o";
    char *args[MAX_HELPER_ARGS + 1] = {argv[0]};
    int n = 1;
    for (int i = 1; i < argc && n + 2 <= MAX_HELPER_ARGS; i++) {
        const char *a = argv[i];
        bool has_value = !strcmp(a, "-o") || !strcmp(a, "-N") || !strcmp(a, "-t");
        if (a[0] != '-' || !strcmp(a, "--help")) {
            args[n++] = argv[i];
        } else if (!strcmp(a, "-o") && i + 1 < argc) {
            args[n++] = dash_o;
            args[n++] = argv[i + 1];
        } else if (!has_value && strchr(a, 'f')) {
            return SF_EXIT_OK; /* --fake: everything but the mount */
        }
        i += has_value;
    }
    return run_verb(&verbs[0], n, args);
}

int
main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    const char *self = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    if (!strcmp(self, "mount.supafs"))
        return run_helper(argc, argv);
    for (size_t i = 0; i < N_VERBS; i++)
        if (!strcmp(word, verbs[i].name))
            return run_verb(&verbs[i], argc - 1, argv + 1);
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
        puts("supafs " PACKAGE_VERSION);
        return SF_EXIT_OK;
    }
    if (!strcmp(word, "--exit-codes")) {
        sf_exit_print();
        return SF_EXIT_OK;
    }
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
        usage(stdout);
        return SF_EXIT_OK;
    }
    if (*word)
        complain("there is no verb like this one; is `mount`, `umount` or `status` meant?");
    usage(stderr);
    return SF_EXIT_USAGE;
}
