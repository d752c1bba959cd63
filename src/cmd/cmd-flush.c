/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "base/clock.h"
#include "base/str.h"
#include "config/value.h"
#include "control/words.h"
#include "daemon/exit.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REASON_SHOWN 60

struct flush_line {
    char **paths;
    int n_paths;
    int64_t deadline_ms; /* INT64_MAX = none */
    bool quiet, tty;
    bool heard; /* what the mount said last */
    uint64_t left, bytes, refused, local;
    char reason[240];
};

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct flush_line *l = state->input;
    struct sf_value v;
    char allowed[128];
    switch (key) {
    case 't':
        /* This option of mounts is a time, too. */
        if (sf_value_parse(SF_OPT_STOP_TIMEOUT, arg, &v))
            argp_error(state, "--timeout is %s",
                       sf_value_allowed(SF_OPT_STOP_TIMEOUT, allowed, sizeof allowed));
        l->deadline_ms = sf_clock_ms() + (int64_t)v.num;
        return 0;
    case 'q':
        l->quiet = true;
        return 0;
    case ARGP_KEY_ARGS:
        l->paths = state->argv + state->next;
        l->n_paths = state->argc - state->next;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"timeout", 't', "TIME", 0, "Wait no longer than this (30s, 5min, ...)", 0},
    {"quiet", 'q', NULL, 0, "Say only what goes wrong", 0},
    {0}};

static const struct argp argp = {
    options,
    parse,
    "[MOUNTPOINT|PATH...]",
    "Wait until all that was closed, renamed, removed or changed there is in the project; without "
    "an argument, in every mount."
    "\vCtrl-C ends the waiting, not the uploads. Exit codes: 0 all is there; 19 something was "
    "refused; 20 something stays here; 21 the time is over.",
    NULL,
    NULL,
    NULL};

/* ---- what the mount says -------------------------------------------------------------------- */

static void
take_line(void *arg, const char *text)
{
    struct flush_line *l = arg;
    sf_autofree char *copy = strdup(text);
    char *w[SF_WORDS_MAX], size[16], why[REASON_SHOWN + 1];
    if (!copy || sf_words_split(copy, w) != 5)
        return;
    l->heard = true;
    l->left = strtoull(w[0], NULL, 10);
    l->bytes = strtoull(w[1], NULL, 10);
    l->refused = strtoull(w[2], NULL, 10);
    l->local = strtoull(w[3], NULL, 10);
    snprintf(l->reason, sizeof l->reason, "%s", w[4]);
    (void)sf_utf8_trim(l->reason);
    if (l->tty && l->left)
        fprintf(stderr, "%" PRIu64 " change%s left, %s%s%s\033[K\r", l->left, plural(l->left),
                human_size(l->bytes, size), l->reason[0] ? "; " : "",
                shortened(l->reason, why, sizeof why));
}

static void
say_left(const struct flush_line *l, const char *point, const char *why)
{
    char size[16];
    if (!l->heard) {
        complain(
            "%s: %s before the mount has said what is left; nothing is lost, and `supafs queue "
            "ls` shows it",
            point, why);
        return;
    }
    complain("%s: %s; %" PRIu64 " change%s (%s) %s not in the project yet%s%s", point, why, l->left,
             plural(l->left), human_size(l->bytes, size), l->left == 1 ? "is" : "are",
             l->reason[0] ? ": " : "", l->reason);
    complain("nothing is lost: the mount sends %s all the same, and `supafs queue ls` shows %s",
             l->left == 1 ? "it" : "them", l->left == 1 ? "it" : "them");
}

static int
ended(const struct flush_line *l, const char *point)
{
    if (l->refused)
        complain("%s: %" PRIu64 " change%s refused for good; bytes are kept in quarantine, and "
                 "`supafs queue ls` shows them with the reason",
                 point, l->refused, l->refused == 1 ? " was" : "s were");
    if (l->local)
        complain("%s: the attributes of %" PRIu64
                 " file%s cannot be written and stay here; `supafs queue ls` shows the reason",
                 point, l->local, plural(l->local));
    return l->refused ? SF_EXIT_REFUSED : l->local ? SF_EXIT_PENDING : SF_EXIT_OK;
}

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
    (void)number; /* and a read returns with EINTR */
    interrupted = 1;
}

/* ---- asking --------------------------------------------------------------------------------- */

static int
flush_at(struct flush_line *l, const struct control_place *place, bool all)
{
    sf_autobuf struct sf_buf said = SF_BUF_INIT;
    char ms[24] = "-1";
    int64_t left = l->deadline_ms - sf_clock_ms();
    if (l->deadline_ms != INT64_MAX)
        snprintf(ms, sizeof ms, "%" PRId64, left > 0 ? left : 0);
    const char *words[] = {"flush", ms, place->path, NULL};
    l->left = l->bytes = l->refused = l->local = 0;
    l->heard = false;
    l->reason[0] = '\0';
    int rc = control_answers(place->point);
    bool asked = rc == 0;
    if (asked && interrupted)
        rc = -EINTR;
    else if (asked)
        rc = control_ask(place->point, words, take_line, l, &said);
    if (l->tty)
        fputs("\033[K", stderr);
    switch (asked || rc == -EACCES ? rc : -EIO) {
    case 0:
        return ended(l, place->point);
    case -ETIMEDOUT:
        say_left(l, place->point, "the time is over");
        return SF_EXIT_TIMEOUT;
    case -EINTR:
        say_left(l, place->point, "interrupted");
        return EXIT_INTERRUPTED;
    case -ECANCELED:
    case -EPIPE:
        complain("%s: the mount was taken down meanwhile; `supafs queue ls` shows what is left",
                 place->point);
        return SF_EXIT_PENDING;
    case -EACCES:
        if (all)
            return SF_EXIT_OK; /* others' mounts are their business */
        __attribute__((fallthrough));
    default:
        complain("%s: %s", place->point, said.len ? said.data : control_trouble(rc));
        return SF_EXIT_FAILED; /* also when it does not answer */
    }
}

/* The first Ctrl-C ends the waiting with a word about what is left, the second one at once. */
static void
catch_interrupt(void)
{
    const struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    sigaction(SIGINT, &act, NULL);
}

static int
worse(int code, int other)
{
    return !code || other == SF_EXIT_REFUSED || other == EXIT_INTERRUPTED ? (other ? other : code)
                                                                          : code;
}

static int
flush_all(struct flush_line *l)
{
    struct point_vec points = {0};
    struct control_place place = {.path = "."};
    int code = control_points(NULL, &points);
    for (size_t i = 0; i < points.len && code != EXIT_INTERRUPTED; i++) {
        snprintf(place.point, sizeof place.point, "%s", points.data[i]);
        code = worse(code, flush_at(l, &place, true));
    }
    control_points_fini(&points);
    return code;
}

int
cmd_flush(int argc, char **argv)
{
    struct flush_line l = {.deadline_ms = INT64_MAX};
    struct control_place place;
    int code = SF_EXIT_OK;
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (bad) {
        complain("%s", strerror(bad));
        return SF_EXIT_USAGE;
    }
    l.tty = !l.quiet && isatty(STDERR_FILENO);
    catch_interrupt();
    if (!l.n_paths)
        return flush_all(&l);
    for (int i = 0; i < l.n_paths && code != EXIT_INTERRUPTED; i++)
        code = worse(code, control_find(l.paths[i], &place) < 0 ? SF_EXIT_USAGE
                                                                : flush_at(&l, &place, false));
    return code;
}
