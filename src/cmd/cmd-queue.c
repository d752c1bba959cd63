/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/queue.h"
#include "config/config.h"
#include "control/words.h"
#include "daemon/exit.h"

#include <argp.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct queue_line {
    const char *verb, *point, *state_dir;
    uint64_t seq; /* 0 = none */
    bool all, json;
};

static bool
is_verb(const struct queue_line *l, const char *name)
{
    return l->verb && strcmp(l->verb, name) == 0;
}

static error_t
take_argument(struct queue_line *l, const char *arg, struct argp_state *state)
{
    if (!l->verb)
        l->verb = arg;
    else if (!is_verb(l, "ls") && !l->seq && isdigit((unsigned char)*arg)) {
        if (sf_parse_u64(arg, &l->seq) || !l->seq)
            argp_error(state, "a change has a number, as `supafs queue ls` shows it");
    } else if (!l->point)
        l->point = arg;
    else
        argp_error(state, "one mount point at a time");
    return 0;
}

static void
check(const struct queue_line *l, struct argp_state *state)
{
    bool reads = is_verb(l, "ls") || is_verb(l, "show");
    if (!reads && !is_verb(l, "retry") && !is_verb(l, "drop"))
        argp_error(state, "ls, show, retry or drop is meant");
    if ((is_verb(l, "show") || is_verb(l, "drop")) && !l->seq)
        argp_error(state, "which change? `supafs queue ls` shows their numbers");
    if (l->all && (!is_verb(l, "retry") || l->seq))
        argp_error(state, "--all is for retry, in place of a number");
    if (l->state_dir && !reads)
        argp_error(state, "only a mount can do that; mount the project, then ask again");
    if (l->state_dir && l->point)
        argp_error(state, "either a mount point or a state directory");
}

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct queue_line *l = state->input;
    switch (key) {
    case 'j':
        l->json = true;
        return 0;
    case 'a':
        l->all = true;
        return 0;
    case 's':
        l->state_dir = arg;
        return 0;
    case ARGP_KEY_ARG:
        return take_argument(l, arg, state);
    case ARGP_KEY_END:
        check(l, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"json", 'j', NULL, 0, "Print JSON", 0},
    {"all", 'a', NULL, 0, "retry: all that rests, as without a number", 0},
    {"state-dir", 's', "DIR", 0,
     "ls, show: read this state directory, which no mount holds; it is not changed", 0},
    {0}};

static const struct argp argp = {
    options,
    parse,
    "ls [MOUNTPOINT]\nshow SEQ [MOUNTPOINT]\nretry [SEQ] [MOUNTPOINT]\ndrop SEQ [MOUNTPOINT]",
    "Look after changes that were acknowledged and are not in the project yet."
    "\vls      the oldest first: number, age, size, kind, state, attempts, object, reason; then "
    "what is in quarantine. Without a mount point: of all mounts, and what former ones have left\n"
    "show    all about one\n"
    "retry   try now what rests after a failure\n"
    "drop    do not send the bytes of one: they are moved to quarantine, never removed",
    NULL,
    NULL,
    NULL};

/* ---- what a mount says ---------------------------------------------------------------------- */

static const char *
or_null(const char *s)
{
    return *s ? s : NULL;
}

/* In words that a mount says nothing is too strange. */
static int64_t
number(const char *word, int64_t max)
{
    long long n = strtoll(word, NULL, 10);
    return n < -1 ? -1 : n > max ? max : n;
}

static void
take_change(struct queue_print *p, char *const *w)
{
    const struct sf_pending_row r = {.seq = strtoull(w[1], NULL, 10),
                                     .kind = w[2],
                                     .state = w[3],
                                     .size = strtoull(w[4], NULL, 10),
                                     .made_ns = number(w[5], INT64_MAX),
                                     .attempts = (unsigned)strtoul(w[6], NULL, 10),
                                     .err = (int)strtol(w[7], NULL, 10),
                                     .running = w[8][0] == '1',
                                     .percent = (unsigned)strtoul(w[9], NULL, 10),
                                     .next_ms = number(w[10], INT64_MAX / 2),
                                     .bucket = or_null(w[11]),
                                     .key = or_null(w[12]),
                                     .to_bucket = or_null(w[13]),
                                     .to_key = or_null(w[14]),
                                     .file = or_null(w[15]),
                                     .reason = or_null(w[16])};
    queue_change(p, &r);
}

static void
take_line(void *arg, const char *text)
{
    struct queue_print *p = arg;
    sf_autofree char *copy = strdup(text);
    char *w[SF_WORDS_MAX];
    int n = copy ? sf_words_split(copy, w) : 0;
    if (n == 17 && strcmp(w[0], "change") == 0) {
        take_change(p, w);
    } else if (n == 8 && strcmp(w[0], "aside") == 0) {
        const struct sf_quarantine_row r = {.path = w[1],
                                            .bucket = or_null(w[2]),
                                            .key = or_null(w[3]),
                                            .size = strtoull(w[4], NULL, 10),
                                            .time = or_null(w[5]),
                                            .err = or_null(w[6]),
                                            .reason = or_null(w[7])};
        queue_aside(p, &r);
    } else if (n == 2 && strcmp(w[0], "state") == 0) {
        snprintf(p->state_dir, sizeof p->state_dir, "%s", w[1]);
    }
}

static int
ask(const char *point, const struct queue_line *l, void (*line)(void *arg, const char *text),
    void *arg, bool quiet)
{
    sf_autobuf struct sf_buf said = SF_BUF_INIT;
    char seq[24];
    snprintf(seq, sizeof seq, "%" PRIu64, l->seq);
    const char *words[] = {"queue", l->verb, l->seq ? seq : NULL, NULL};
    int rc = control_answers(point);
    if (!rc)
        rc = control_ask(point, words, line, arg, &said);
    if (rc < 0 && !(quiet && rc == -EACCES))
        complain("%s: %s", point, said.len ? said.data : control_trouble(rc));
    return rc;
}

/* ---- what former mounts have left ----------------------------------------------------------- */

struct only {
    struct queue_print *print;
    uint64_t seq;
};

static int
each_left(void *arg, const struct sf_pending_row *r)
{
    const struct only *o = arg;
    return o->seq && r->seq != o->seq ? 0 : queue_change(o->print, r);
}

/* One identity's directory; -EBUSY: a mount has it. */
static int
read_left(struct queue_print *p, const char *dir, uint64_t seq, bool named, struct sf_err *err)
{
    struct only o = {p, seq};
    queue_place(p, dir, true);
    snprintf(p->state_dir, sizeof p->state_dir, "%s", dir);
    int rc = sf_state_each_pending(dir, each_left, &o, err);
    if (!rc && !seq)
        rc = sf_state_each_quarantined(dir, queue_aside, p);
    queue_place_end(p, named && !rc && !seq);
    return rc;
}

static int
is_shown(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

/* All identities below a directory that state_dir names, or the one that it is. @named: by the
 * user, who is told also of those in use and of none at all. */
static int
left_below(struct queue_print *p, const char *base, uint64_t seq, bool named)
{
    struct dirent **names = NULL;
    char dir[PATH_MAX];
    int failed = 0, found = 0;
    snprintf(dir, sizeof dir, "%s/journal", base);
    bool itself = access(dir, F_OK) == 0;
    int n = itself ? 1 : scandir(base, &names, is_shown, alphasort);
    if (n < 0 && (named || errno != ENOENT)) {
        complain("cannot read %s: %s", base, strerror(errno));
        return SF_EXIT_FAILED;
    }
    for (int i = 0; i < n; i++) {
        struct sf_err err = SF_ERR_INIT;
        int len = snprintf(dir, sizeof dir, "%s%s%s", base, itself ? "" : "/",
                           itself ? "" : names[i]->d_name);
        int rc = (size_t)len < sizeof dir ? read_left(p, dir, seq, named, &err) : -ENAMETOOLONG;
        found += rc == 0;
        if (rc < 0 && rc != -ENOENT && rc != -ENOTDIR && (named || rc != -EBUSY)) {
            complain("%s", err.msg[0] ? err.msg : strerror(-rc));
            failed = 1;
        }
        if (names)
            free(names[i]);
    }
    free(names);
    if (named && !found && !failed) {
        complain("%s has no journal of supafs", base);
        failed = 1;
    }
    return failed ? SF_EXIT_FAILED : SF_EXIT_OK;
}

static int
left_by_default(struct queue_print *p, uint64_t seq)
{
    const struct sf_config_sources src = {.argument = NULL};
    struct sf_config *cfg = NULL;
    struct sf_err err = SF_ERR_INIT;
    int code = SF_EXIT_OK;
    if (sf_config_new(&cfg) < 0)
        return SF_EXIT_FAILED;
    if (sf_config_load(cfg, &src, &err) < 0) {
        complain("%s", err.msg);
        code = SF_EXIT_USAGE;
    } else if (sf_config_str(cfg, SF_OPT_STATE_DIR)) {
        code = left_below(p, sf_config_str(cfg, SF_OPT_STATE_DIR), seq, false);
    }
    sf_config_free(cfg);
    return code;
}

/* ---- ls and show ---------------------------------------------------------------------------- */

static int
list(const struct queue_line *l)
{
    struct queue_print p = {.json = l->json, .tty = isatty(STDOUT_FILENO)};
    struct point_vec points = {0};
    int code = l->state_dir ? SF_EXIT_OK : control_points(l->point, &points);
    if (code && l->point)
        complain("`supafs queue ls` without it, or with --state-dir=DIR, shows what a former mount "
                 "has left");
    p.titles = points.len > 1;
    for (size_t i = 0; i < points.len; i++) {
        queue_place(&p, points.data[i], false);
        int rc = ask(points.data[i], l, take_line, &p, !l->point);
        queue_place_end(&p, rc == 0);
        if (rc < 0 && !(rc == -EACCES && !l->point))
            code = SF_EXIT_FAILED;
    }
    if (l->state_dir)
        code = left_below(&p, l->state_dir, 0, true);
    else if (!l->point && !code)
        code = left_by_default(&p, 0);
    else if (!l->point)
        (void)left_by_default(&p, 0);
    queue_end(&p, !l->point);
    control_points_fini(&points);
    return code;
}

/* The mount that a number is of. SF_EXIT_OK and *ret for free(), NULL = there is none. */
static int
one_mount(const struct queue_line *l, char **ret)
{
    struct point_vec points = {0};
    int code = control_points(l->point, &points);
    *ret = NULL;
    if (!code && points.len > 1) {
        complain("there are %zu mounts; name the one that is meant", points.len);
        code = SF_EXIT_USAGE;
    } else if (!code && points.len == 1) {
        *ret = sf_steal(points.data[0]);
    }
    control_points_fini(&points);
    return code;
}

static int
show(const struct queue_line *l)
{
    struct queue_print p = {.json = l->json, .show = true, .tty = isatty(STDOUT_FILENO)};
    sf_autofree char *point = NULL;
    int code = l->state_dir ? SF_EXIT_OK : one_mount(l, &point);
    if (code)
        return code;
    if (point) {
        queue_place(&p, point, false);
        code = ask(point, l, take_line, &p, false) < 0 ? SF_EXIT_FAILED : SF_EXIT_OK;
        queue_place_end(&p, false);
    } else if (l->state_dir) {
        code = left_below(&p, l->state_dir, l->seq, true);
    } else {
        code = left_by_default(&p, l->seq);
    }
    if (!code && !json_array_size(p.places)) {
        complain("there is no change %" PRIu64 "; `supafs queue ls` shows those that there are",
                 l->seq);
        code = SF_EXIT_FAILED;
    }
    queue_end(&p, false);
    return code;
}

/* ---- retry and drop ------------------------------------------------------------------------- */

static void
take_done(void *arg, const char *text)
{
    const struct queue_line *l = arg;
    sf_autofree char *copy = strdup(text);
    char *w[SF_WORDS_MAX];
    int n = copy ? sf_words_split(copy, w) : 0;
    if (n == 2 && strcmp(w[0], "woken") == 0)
        say(stdout, "%s change%s tried again now", w[1], strcmp(w[1], "1") == 0 ? " is" : "s are");
    else if (n == 2 && strcmp(w[0], "kept") == 0)
        say(stdout, "%s", w[1]);
    else if (n == 1 && strcmp(w[0], "empty") == 0)
        complain("change %" PRIu64 " was an empty file: it is dropped, and nothing is kept of it",
                 l->seq);
}

static int
act(struct queue_line *l)
{
    sf_autofree char *point = NULL;
    int code = one_mount(l, &point);
    if (code)
        return code;
    if (!point) {
        complain("nothing of supafs is mounted; only a mount can do that");
        return SF_EXIT_USAGE;
    }
    int rc = ask(point, l, take_done, l, false);
    return rc < 0 ? SF_EXIT_FAILED : SF_EXIT_OK;
}

int
cmd_queue(int argc, char **argv)
{
    struct queue_line l = {0};
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (bad) {
        complain("%s", strerror(bad));
        return SF_EXIT_USAGE;
    }
    return is_verb(&l, "ls") ? list(&l) : is_verb(&l, "show") ? show(&l) : act(&l);
}
