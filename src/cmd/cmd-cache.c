/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "base/cleanup.h"
#include "control/words.h"
#include "daemon/exit.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (1024.0 * 1024.0)

struct cache_line {
    const char *verb, *path;
    bool deep, json, quiet;
    bool tty, totals_only;
    uint64_t files, size, here, pinned;
    uint64_t units, bytes, bad; /* of verify */
    json_t *list;
};

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct cache_line *l = state->input;
    switch (key) {
    case 'r':
        l->deep = true;
        return 0;
    case 'j':
        l->json = true;
        return 0;
    case 'q':
        l->quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        if (!l->verb)
            l->verb = arg;
        else if (!l->path)
            l->path = arg;
        else
            argp_error(state, "one file or directory at a time");
        return 0;
    case ARGP_KEY_END:
        if (!l->path)
            argp_error(state, "what to do, and a file or directory of a mount are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"recursive", 'r', NULL, 0, "The directories below, too", 0},
    {"json", 'j', NULL, 0, "Print JSON", 0},
    {"quiet", 'q', NULL, 0, "Say only what goes wrong", 0},
    {0}};

static const struct argp argp = {
    options,
    parse,
    "ls|stat|pin|unpin|evict|verify PATH",
    "Look after what is cached of a mount's files."
    "\vls      how much of each file is cached, and what is pinned\n"
    "stat    the same as a sum, and the cache's budgets\n"
    "pin     keep the present bytes of files, whatever else needs room, and fetch what is missing\n"
    "unpin   keep them no longer\n"
    "evict   give up what is cached, but for pinned files\n"
    "verify  check all that the mount has on disk, drop what is bad",
    NULL,
    NULL,
    NULL};

/* ---- answers -------------------------------------------------------------------------------- */

/* A name that is no UTF-8 is no JSON text: it is escaped, as in requests. */
static void
add_json(struct cache_line *l, uint64_t size, uint64_t here, bool pinned, const char *path)
{
    sf_autobuf struct sf_buf escaped = SF_BUF_INIT;
    json_t *o = json_pack("{s:I, s:I, s:b}", "size", (json_int_t)size, "cached", (json_int_t)here,
                          "pinned", (int)pinned);
    if (json_object_set_new(o, "path", json_string(path)) < 0 &&
        sf_words_append(&escaped, path) == 0)
        json_object_set_new(o, "path_escaped", json_string(escaped.data));
    json_array_append_new(l->list, o);
}

static void
print_file(struct cache_line *l, uint64_t size, uint64_t here, bool pinned, const char *path)
{
    if (l->json)
        add_json(l, size, here, pinned, path);
    else
        say(stdout, "%12" PRIu64 " %12" PRIu64 " %3.0f %% %-6s %s", here, size,
            size ? (double)here / (double)size * 100 : 100.0, pinned ? "pinned" : "", path);
}

static void
take_file(void *arg, const char *text)
{
    struct cache_line *l = arg;
    sf_autofree char *copy = strdup(text);
    struct answer_file f;
    if (!copy || answer_file(copy, &f) < 0)
        return;
    l->files++;
    l->size += f.size;
    l->here += f.here;
    l->pinned += f.pinned;
    if (!l->totals_only)
        print_file(l, f.size, f.here, f.pinned, f.path);
}

static void
take_verified(void *arg, const char *text)
{
    struct cache_line *l = arg;
    uint64_t n[3];
    if (answer_counts(text, n) < 0)
        return;
    l->units = n[0];
    l->bytes = n[1];
    l->bad = n[2];
    if (l->tty)
        fprintf(stderr, "%.1f MiB checked, %" PRIu64 " units bad\033[K\r", (double)l->bytes / MIB,
                l->bad);
}

static int
ask(struct cache_line *l, const struct control_place *place)
{
    const char *words[5] = {"cache", l->verb};
    sf_autobuf struct sf_buf said = SF_BUF_INIT;
    bool verify = strcmp(l->verb, "verify") == 0;
    int n = 2;
    if (strcmp(l->verb, "stat") == 0)
        words[1] = "ls";
    if (l->deep && !verify)
        words[n++] = "-r";
    if (!verify)
        words[n] = place->path;
    int rc = control_ask(place->point, words, verify ? take_verified : take_file, l, &said);
    if (rc < 0)
        complain("%s", said.len ? said.data : strerror(-rc));
    return rc;
}

/* Lines of the mount's status that are about the cache. */
static void
print_budgets(const struct control_place *place)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    char *save = NULL;
    if (control_read(place->point, "status", &text) < 0)
        return;
    for (char *line = strtok_r(text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (strncmp(line, "cache", 5) == 0 || strncmp(line, "link:", 5) == 0)
            say(stdout, "%s", line);
}

static void
print_sum(struct cache_line *l, const struct control_place *place)
{
    if (l->json && l->totals_only) {
        json_t *o = json_pack("{s:I, s:I, s:I, s:I}", "files", (json_int_t)l->files, "size",
                              (json_int_t)l->size, "cached", (json_int_t)l->here, "pinned",
                              (json_int_t)l->pinned);
        say_json(o);
        json_decref(o);
    } else if (l->json) {
        say_json(l->list);
    } else if (l->totals_only) {
        printf("%" PRIu64 " files, %.1f MiB, of which %.1f MiB are cached; %" PRIu64 " pinned\n",
               l->files, (double)l->size / MIB, (double)l->here / MIB, l->pinned);
    }
    if (strcmp(l->verb, "stat") == 0 && !l->json)
        print_budgets(place);
}

/* ---- the verb ------------------------------------------------------------------------------- */

static int
run(struct cache_line *l, const struct control_place *place)
{
    bool pin = strcmp(l->verb, "pin") == 0, verify = strcmp(l->verb, "verify") == 0;
    l->tty = !l->quiet && isatty(STDERR_FILENO);
    l->totals_only = strcmp(l->verb, "ls") != 0;
    l->list = l->json ? json_array() : NULL;
    /* What is pinned first is kept as it comes. */
    int rc = ask(l, place);
    if (!rc && pin)
        rc = warmup_run(place, l->deep, l->tty);
    if (!rc && pin) { /* how it is now */
        l->files = l->size = l->here = l->pinned = 0;
        l->verb = "stat";
        rc = ask(l, place);
        l->verb = "pin";
    }
    if (verify && !l->quiet)
        printf("%" PRIu64 " units, %.1f MiB checked; %" PRIu64 " were bad and dropped\n", l->units,
               (double)l->bytes / MIB, l->bad);
    else if (!verify && !l->quiet)
        print_sum(l, place);
    json_decref(l->list);
    return rc < 0 || l->bad ? SF_EXIT_FAILED : SF_EXIT_OK;
}

int
cmd_cache(int argc, char **argv)
{
    static const char *const verbs[] = {"ls", "stat", "pin", "unpin", "evict", "verify"};
    struct cache_line l = {0};
    struct control_place place;
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (bad) {
        complain("%s", strerror(bad));
        return SF_EXIT_USAGE;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(l.verb, verbs[i]) == 0)
            return control_find(l.path, &place) < 0 ? SF_EXIT_USAGE : run(&l, &place);
    complain("cache %s: ls, stat, pin, unpin, evict or verify is meant", l.verb);
    return SF_EXIT_USAGE;
}
