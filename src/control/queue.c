/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/queue.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "control/words.h"
#include "tree/files.h"
#include "write/write.h"

#define SAY_MS 200 /* between lines that tell how far it is */

struct sf_control_queue {
    struct sf_writer *writer;
    struct sf_tree *tree;
    char *state_dir;
};

/* ---- lines ---------------------------------------------------------------------------------- */

/* Words, NULL at the end; "" for what is not told. */
static int
say(struct sf_talk *t, ...)
{
    sf_autobuf struct sf_buf line = SF_BUF_INIT;
    const char *word;
    va_list ap;
    int rc = 0;
    va_start(ap, t);
    while (!rc && (word = va_arg(ap, const char *)))
        rc = sf_words_append(&line, word);
    va_end(ap);
    return rc ? rc : sf_talk_print(t, "%s\n", line.data);
}

static const char *
or_empty(const char *s)
{
    return s ? s : "";
}

/* One change, in words. */
static int
say_change(struct sf_talk *t, const struct sf_pending_row *r)
{
    char seq[24], size[24], made[24], attempts[16], err[16], percent[16], next[24];
    snprintf(seq, sizeof seq, "%" PRIu64, r->seq);
    snprintf(size, sizeof size, "%" PRIu64, r->size);
    snprintf(made, sizeof made, "%" PRId64, r->made_ns);
    snprintf(attempts, sizeof attempts, "%u", r->attempts);
    snprintf(err, sizeof err, "%d", r->err);
    snprintf(percent, sizeof percent, "%u", r->percent);
    snprintf(next, sizeof next, "%" PRId64, r->next_ms);
    return say(t, "change", seq, r->kind, r->state, size, made, attempts, err,
               r->running ? "1" : "0", percent, next, or_empty(r->bucket), or_empty(r->key),
               or_empty(r->to_bucket), or_empty(r->to_key), or_empty(r->file), or_empty(r->reason),
               NULL);
}

/* ---- queue ---------------------------------------------------------------------------------- */

struct walk {
    struct sf_talk *talk;
    uint64_t only; /* 0 = all */
    bool found;
};

static int
each_change(void *arg, const struct sf_pending_row *r)
{
    struct walk *w = arg;
    if (w->only && r->seq != w->only)
        return 0;
    w->found = true;
    return say_change(w->talk, r);
}

static int
each_aside(void *arg, const struct sf_quarantine_row *r)
{
    const struct walk *w = arg;
    char size[24];
    snprintf(size, sizeof size, "%" PRIu64, r->size);
    return say(w->talk, "aside", r->path, or_empty(r->bucket), or_empty(r->key), size,
               or_empty(r->time), or_empty(r->err), or_empty(r->reason), NULL);
}

static int
list(const struct sf_control_queue *q, struct sf_talk *t, uint64_t only, struct sf_err *err)
{
    struct walk w = {.talk = t, .only = only};
    int rc = say(t, "state", q->state_dir, NULL);
    if (!rc)
        rc = sf_writer_each_pending(q->writer, each_change, &w);
    if (!rc && !only)
        rc = sf_state_each_quarantined(q->state_dir, each_aside, &w);
    if (!rc && only && !w.found)
        rc = sf_err_set(err, -ENOENT,
                        "there is no change %" PRIu64
                        " any more; `supafs queue ls` shows those that there are",
                        only);
    return rc;
}

static int
retry(const struct sf_control_queue *q, struct sf_talk *t, uint64_t seq, struct sf_err *err)
{
    int n = sf_writer_pending_retry(q->writer, seq, err);
    return n < 0 ? n : sf_talk_print(t, "woken %d\n", n);
}

static int
drop(const struct sf_control_queue *q, struct sf_talk *t, uint64_t seq, struct sf_err *err)
{
    char path[PATH_MAX];
    int rc = sf_writer_pending_drop(q->writer, seq, path, err);
    if (rc)
        return rc;
    return path[0] ? say(t, "kept", path, NULL) : say(t, "empty", NULL);
}

static int
queue(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    const struct sf_control_queue *q = arg;
    const char *what = argc > 1 ? argv[1] : "";
    uint64_t seq = 0;
    bool one = argc == 3 && sf_parse_u64(argv[2], &seq) == 0 && seq;
    if (strcmp(what, "ls") == 0 && argc == 2)
        return list(q, t, 0, err);
    if (strcmp(what, "show") == 0 && one)
        return list(q, t, seq, err);
    if (strcmp(what, "retry") == 0 && (argc == 2 || one))
        return retry(q, t, seq, err);
    if (strcmp(what, "drop") == 0 && one)
        return drop(q, t, seq, err);
    return sf_err_set(err, -EINVAL, "ls, show SEQ, retry [SEQ] or drop SEQ is meant");
}

/* ---- flush ---------------------------------------------------------------------------------- */

struct flush {
    struct sf_talk *talk;
    int64_t said_ms;
};

static int
say_now(struct flush *f, const struct sf_flush_now *now)
{
    char left[16], bytes[24], refused[16], local[16];
    snprintf(left, sizeof left, "%u", now->left);
    snprintf(bytes, sizeof bytes, "%" PRIu64, now->bytes);
    snprintf(refused, sizeof refused, "%u", now->refused);
    snprintf(local, sizeof local, "%u", now->local);
    f->said_ms = sf_clock_ms();
    return say(f->talk, left, bytes, refused, local, now->reason, NULL);
}

static int
flush_more(void *arg, const struct sf_flush_now *now)
{
    struct flush *f = arg;
    if (sf_talk_cancelled(f->talk))
        return -ECANCELED;
    return sf_clock_ms() - f->said_ms >= SAY_MS ? say_now(f, now) : 0;
}

/* The keys that a path stands for; *bucket NULL = all. */
static int
keys_of(const struct sf_control_queue *q, const char *path, char **bucket, char **key,
        struct sf_err *err)
{
    struct sf_tree_entry e;
    if (strcmp(path, ".") == 0)
        return 0;
    int rc = sf_files_find(q->tree, path, &e, err);
    if (rc)
        return rc;
    rc = sf_tree_key(q->tree, e.node, bucket, key);
    sf_files_forget(q->tree, &e);
    return rc ? sf_err_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
}

static int
flush(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    struct flush f = {.talk = t};
    struct sf_flush_now end;
    char *done = NULL, *bucket = NULL, *key = NULL;
    long long ms = argc == 3 ? strtoll(argv[1], &done, 10) : 0;
    if (!done || *done || ms < -1)
        return sf_err_set(err, -EINVAL, "flush TIMEOUT PATH is meant");
    int rc = keys_of(arg, argv[2], &bucket, &key, err);
    if (rc)
        return rc;
    const struct sf_flush_args args = {.bucket = bucket,
                                       .key = key,
                                       .deadline_ms = ms < 0 ? INT64_MAX : sf_clock_ms() + ms,
                                       .progress = flush_more,
                                       .arg = &f};
    rc = sf_writer_flush(((struct sf_control_queue *)arg)->writer, &args, &end);
    free(bucket);
    free(key);
    int said = say_now(&f, &end);
    if (rc == -ECANCELED)
        return sf_err_set(err, rc, "the mount is being taken down");
    return rc ? rc : said;
}

/* ---- start and end -------------------------------------------------------------------------- */

int
sf_control_queue_new(struct sf_control *c, struct sf_writer *w, struct sf_tree *t,
                     const char *state_dir, struct sf_control_queue **ret)
{
    struct sf_control_queue *q = calloc(1, sizeof *q);
    if (q)
        *q = (struct sf_control_queue){w, t, strdup(state_dir)};
    int rc = q && q->state_dir ? 0 : -ENOMEM;
    if (!rc)
        rc = sf_control_add(c, "queue", queue, q);
    if (!rc)
        rc = sf_control_add_patient(c, "flush", flush, q);
    if (rc) {
        sf_control_queue_free(q);
        return rc;
    }
    *ret = q;
    return 0;
}

void
sf_control_queue_free(struct sf_control_queue *q)
{
    if (!q)
        return;
    free(q->state_dir);
    free(q);
}
