/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "daemon/exit.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct warmup_line {
    const char *path;
    bool deep, quiet;
    bool tty;
    uint64_t files, bytes, failed;
};

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct warmup_line *l = state->input;
    switch (key) {
    case 'r':
        l->deep = true;
        return 0;
    case 'q':
        l->quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        if (l->path)
            argp_error(state, "one file or directory at a time");
        l->path = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which file or directory of a mount?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"recursive", 'r', NULL, 0, "The directories below, too", 0},
    {"quiet", 'q', NULL, 0, "Say only what goes wrong", 0},
    {0}};

static const struct argp argp = {
    options, parse, "PATH", "Read a file, or the files of a directory, into the cache.",
    NULL,    NULL,  NULL};

static void
print_totals(FILE *to, const struct warmup_line *l, const char *end)
{
    fprintf(to, "%" PRIu64 " files, %.1f MiB%s", l->files, (double)l->bytes / (1024 * 1024), end);
    fflush(to);
}

static void
take_line(void *arg, const char *text)
{
    struct warmup_line *l = arg;
    uint64_t n[3];
    if (answer_counts(text, n) == 0) {
        l->files = n[0];
        l->bytes = n[1];
        l->failed = n[2];
        if (l->tty)
            print_totals(stderr, l, "\033[K\r");
    } else if (strncmp(text, "trouble ", 8) == 0) {
        complain("%s", text + 8);
    }
}

static int
ask(struct warmup_line *l, const struct control_place *place)
{
    const char *words[] = {"warmup", l->deep ? "-r" : place->path, l->deep ? place->path : NULL,
                           NULL};
    sf_autobuf struct sf_buf said = SF_BUF_INIT;
    int rc = control_ask(place->point, words, take_line, l, &said);
    if (rc < 0)
        complain("%s", said.len ? said.data : strerror(-rc));
    return rc;
}

int
warmup_run(const struct control_place *place, bool deep, bool tty)
{
    struct warmup_line l = {.deep = deep, .tty = tty};
    return ask(&l, place);
}

int
cmd_warmup(int argc, char **argv)
{
    struct warmup_line l = {0};
    struct control_place place;
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (bad) {
        complain("%s", strerror(bad));
        return SF_EXIT_USAGE;
    }
    if (control_find(l.path, &place) < 0)
        return SF_EXIT_USAGE;
    l.tty = !l.quiet && isatty(STDERR_FILENO);
    int rc = ask(&l, &place);
    if (!l.quiet)
        print_totals(stdout, &l, "\n");
    return rc < 0 ? SF_EXIT_FAILED : SF_EXIT_OK;
}
