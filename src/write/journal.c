/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/journal.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "observe/log.h"
#include "write/journal-internal.h"

#define SEQ_AHEAD 1024 /* numbers that one write of the bound reserves */

/* ---- figures -------------------------------------------------------------------------------- */

static void
forget(struct sf_journal *j, uint64_t seq)
{
    struct sf_journal_entry *e;
    SF_GUARD(&j->lock);
    HASH_FIND(hh, j->entries, &seq, sizeof seq, e);
    if (!e)
        return;
    if (!e->done)
        j->records[e->kind]--;
    j->data -= e->data;
    HASH_DEL(j->entries, e);
    free(e);
}

/* What the record was for is done, or (its drop has failed) is done once more by a start. */
static void
set_done(struct sf_journal *j, uint64_t seq, bool done)
{
    struct sf_journal_entry *e;
    SF_GUARD(&j->lock);
    HASH_FIND(hh, j->entries, &seq, sizeof seq, e);
    if (!e || e->done == done)
        return;
    e->done = done;
    if (done)
        j->records[e->kind]--;
    else
        j->records[e->kind]++;
}

void
sf_journal_remember(struct sf_journal *j, const struct sf_journal_entry *what)
{
    forget(j, what->seq);
    struct sf_journal_entry *e = malloc(sizeof *e);
    if (!e)
        return; /* a figure is too small; the record is there */
    *e = *what;
    SF_GUARD(&j->lock);
    HASH_ADD(hh, j->entries, seq, sizeof e->seq, e);
    if (!SF_HTAB_ADDED(e)) {
        free(e);
        return;
    }
    j->records[e->kind]++;
    j->data += e->data;
}

uint64_t
sf_journal_data_bytes(struct sf_journal *j)
{
    SF_GUARD(&j->lock);
    return j->data;
}

void
sf_journal_stats(struct sf_journal *j, struct sf_journal_stats *out)
{
    struct sf_env_stats env, brief;
    sf_env_get_stats(j->env, &env);
    sf_env_get_stats(j->brief, &brief);
    *out = (struct sf_journal_stats){.changes = env.writes + brief.writes, .commits = env.commits};
    SF_GUARD(&j->lock);
    memcpy(out->records, j->records, sizeof out->records);
    out->damaged = j->damaged;
    for (struct sf_journal_entry *e = j->entries; e; e = e->hh.next)
        if (!e->done && (!out->oldest_ns || e->made_ns < out->oldest_ns))
            out->oldest_ns = e->made_ns;
}

void
sf_journal_numbers(struct sf_journal *j,
                   void (*fn)(void *arg, uint64_t seq, enum sf_record_kind kind), void *arg)
{
    SF_GUARD(&j->lock);
    for (const struct sf_journal_entry *e = j->entries; e; e = e->hh.next)
        fn(arg, e->seq, e->kind);
}

bool
sf_journal_has(struct sf_journal *j, uint64_t seq)
{
    struct sf_journal_entry *e;
    SF_GUARD(&j->lock);
    HASH_FIND(hh, j->entries, &seq, sizeof seq, e);
    return e != NULL;
}

/* ---- changes -------------------------------------------------------------------------------- */

enum place { NOWHERE, SYNCED, BRIEF };

/* Where the record lies. NOWHERE: there is none, or there was no memory to note it. */
static enum place
place_of(struct sf_journal *j, uint64_t seq)
{
    struct sf_journal_entry *e;
    SF_GUARD(&j->lock);
    HASH_FIND(hh, j->entries, &seq, sizeof seq, e);
    return !e ? NOWHERE : e->brief ? BRIEF : SYNCED;
}

struct change {
    struct sf_env_write w;
    struct sf_journal *j;
    struct sf_env *env; /* of the journal's two */
    uint64_t seq;
    bool fresh;   /* a new record there */
    bool follows; /* what waits for the other one comes first */
    char *text;   /* NULL = a drop */
    size_t len;
    enum sf_record_kind kind;
    int64_t made_ns;
    uint64_t data;
    uint64_t drops[SF_JOURNAL_DROPS]; /* others that go with it */
    unsigned n_drops;
    uint64_t after[SF_JOURNAL_DROPS + 1]; /* those that `brief` drops then, before anybody hears */
    unsigned n_after;
    sf_journal_fn done; /* NULL = nobody waits */
    void *arg;
};

/* Numbers are not used again after a start: the table of meta has one that no record reached. */
static int
reserve_numbers(struct sf_txn *txn, uint64_t seq)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    uint64_t bound = 0;
    int rc = sf_txn_get(txn, SF_JOURNAL_META, SF_JOURNAL_NEXT, strlen(SF_JOURNAL_NEXT), &b);
    if (rc && rc != -ENOENT)
        return rc;
    if (b.len == sizeof bound)
        memcpy(&bound, b.data, sizeof bound);
    if (be64toh(bound) > seq)
        return 0;
    bound = htobe64(seq + SEQ_AHEAD);
    return sf_txn_put(txn, SF_JOURNAL_META, SF_JOURNAL_NEXT, strlen(SF_JOURNAL_NEXT), &bound,
                      sizeof bound);
}

static int
drop_run(struct sf_txn *txn, uint64_t seq)
{
    uint64_t key = htobe64(seq);
    int rc = seq ? sf_txn_del(txn, SF_JOURNAL_RECORDS, &key, sizeof key) : 0;
    return rc == -ENOENT ? 0 : rc;
}

static int
change_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct change *c = (struct change *)w;
    uint64_t key = htobe64(c->seq);
    int rc = 0;
    for (unsigned i = 0; i < c->n_drops && !rc; i++)
        rc = drop_run(txn, c->drops[i]);
    if (rc || !c->text)
        return rc ? rc : drop_run(txn, c->seq);
    rc = c->fresh ? reserve_numbers(txn, c->seq) : 0;
    return rc ? rc : sf_txn_put(txn, SF_JOURNAL_RECORDS, &key, sizeof key, c->text, c->len);
}

/* The second part of a change: a record of both environments counts as the synced one says. */
static int
after_run(struct sf_env_write *w, struct sf_txn *txn)
{
    const struct change *c = (struct change *)w;
    int rc = 0;
    for (unsigned i = 0; i < c->n_after && !rc; i++)
        rc = drop_run(txn, c->after[i]);
    return rc;
}

static void
change_free(struct change *c)
{
    free(c->text);
    free(c);
}

/* What a change means for the figures and the log. */
static void
change_settled(struct change *c, int rc)
{
    if (rc)
        sf_error("write", "event=journal-failed record=%" PRIu64 " change=%s err=%s", c->seq,
                 c->text ? "put" : "drop", sf_errno_name(rc));
    if (rc && !c->text)
        set_done(c->j, c->seq, false);
    if (rc)
        return;
    for (unsigned i = 0; i < c->n_drops; i++)
        forget(c->j, c->drops[i]);
    for (unsigned i = 0; i < c->n_after; i++)
        forget(c->j, c->after[i]);
    const struct sf_journal_entry now = {.seq = c->seq,
                                         .kind = c->kind,
                                         .made_ns = c->made_ns,
                                         .data = c->data,
                                         .brief = c->env == c->j->brief};
    if (c->text)
        sf_journal_remember(c->j, &now);
    else
        forget(c->j, c->seq);
}

static void
change_end(struct change *c, int rc)
{
    change_settled(c, rc);
    if (c->done)
        c->done(c->arg, rc);
    change_free(c);
}

/* What is left there has been replaced, or will be dropped again: that is no failure. */
static void
after_done(struct sf_env_write *w, int rc)
{
    struct change *c = (struct change *)w;
    (void)rc;
    atomic_fetch_sub(&c->j->brief_pending, 1);
    change_end(c, 0);
}

static _Atomic unsigned *
pending_of(struct sf_journal *j, const struct sf_env *env)
{
    return env == j->brief ? &j->brief_pending : &j->pending;
}

static void
change_done(struct sf_env_write *w, int rc)
{
    struct change *c = (struct change *)w;
    _Atomic unsigned *pending = pending_of(c->j, c->env);
    if (rc || !c->n_after) {
        atomic_fetch_sub(pending, 1);
        change_end(c, rc);
        return;
    }
    c->w.run = after_run;
    c->w.done = after_done;
    c->w.frees = true;
    atomic_fetch_add(&c->j->brief_pending, 1);
    sf_env_submit(c->j->brief, &c->w);
    atomic_fetch_sub(pending, 1);
}

static int
nothing_run(struct sf_env_write *w, struct sf_txn *txn)
{
    (void)w, (void)txn;
    return 0;
}

static void
change_go(struct change *c)
{
    c->w.run = change_run;
    c->w.done = change_done;
    atomic_fetch_add(pending_of(c->j, c->env), 1);
    sf_env_submit(c->env, &c->w);
}

/* All that came before is on the other one's disk. */
static void
followed(struct sf_env_write *w, int rc)
{
    struct change *c = (struct change *)w;
    struct sf_journal *j = c->j;
    _Atomic unsigned *pending = pending_of(j, c->env == j->env ? j->brief : j->env);
    (void)rc;
    change_go(c);
    atomic_fetch_sub(pending, 1);
}

/*
 * A change of a key may find the record of the one before still there, whose drop nobody waits for:
 * a start does that one first, and it is done already. But it must not find the record of a later
 * change without it, nor what that one left. Within one environment the order sees to this.
 */
static void
change_start(struct change *c)
{
    struct sf_journal *j = c->j;
    struct sf_env *other = c->env == j->env ? j->brief : j->env;
    _Atomic unsigned *pending = pending_of(j, other);
    if (!c->follows || !atomic_load(pending)) {
        change_go(c);
        return;
    }
    c->w.run = nothing_run;
    c->w.done = followed;
    atomic_fetch_add(pending, 1);
    sf_env_submit(other, &c->w);
}

static int
change_wait(struct change *c)
{
    struct sf_journal *j = c->j;
    struct sf_env *other = c->env == j->env ? j->brief : j->env;
    struct sf_env_write nothing = {.run = nothing_run, .frees = true};
    if (c->follows && atomic_load(pending_of(j, other)))
        (void)sf_env_write_wait(other, &nothing);
    atomic_fetch_add(pending_of(j, c->env), 1);
    int rc = sf_env_write_wait(c->env, &c->w);
    atomic_fetch_sub(pending_of(j, c->env), 1);
    c->w.run = after_run;
    if (!rc && c->n_after)
        (void)sf_env_write_wait(j->brief, &c->w);
    change_settled(c, rc);
    change_free(c);
    return rc;
}

/* A put, with seq and time chosen. 0, -EINVAL or -ENOMEM. */
static int
change_of(struct sf_journal *j, const struct sf_record *r, struct change **ret)
{
    char why[160] = "";
    struct sf_record named = *r;
    struct change *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    if (!named.made_ns)
        named.made_ns = sf_wall_ns();
    int rc = sf_record_format(&named, &c->text, &c->len, why);
    if (rc) {
        sf_error("write", "event=journal-record-refused kind=%s object=%s/%s reason=%s",
                 sf_record_kind_name(r->kind), r->bucket ? r->bucket : "", r->key ? r->key : "",
                 why);
        free(c);
        return rc;
    }
    c->w.run = change_run;
    c->follows = true;
    c->w.frees = r->seq != 0; /* a change under way goes on also when new ones find no room */
    c->j = j;
    /* After another boot a content that was not synced is not sent, with a record or without. */
    enum place was = r->seq ? place_of(j, r->seq) : BRIEF;
    bool brief = was == BRIEF && r->kind == SF_RECORD_CONTENT && !r->synced;
    c->env = brief ? j->brief : j->env;
    if (r->seq && was == BRIEF && !brief)
        c->after[c->n_after++] = r->seq;
    c->fresh = r->seq == 0 || c->n_after;
    c->seq = r->seq ? r->seq : atomic_fetch_add(&j->next, 1);
    c->kind = r->kind;
    c->made_ns = named.made_ns;
    c->data = r->data ? r->size : 0;
    *ret = c;
    return 0;
}

int
sf_journal_put(struct sf_journal *j, struct sf_record *r)
{
    struct change *c;
    int rc = change_of(j, r, &c);
    if (rc)
        return rc;
    uint64_t seq = c->seq;
    int64_t made_ns = c->made_ns;
    rc = change_wait(c);
    if (!rc) {
        r->seq = seq;
        r->made_ns = made_ns;
    }
    return rc;
}

void
sf_journal_put_async(struct sf_journal *j, const struct sf_record *r, uint64_t *seq,
                     sf_journal_fn done, void *arg)
{
    struct change *c;
    int rc = change_of(j, r, &c);
    if (rc) {
        done(arg, rc);
        return;
    }
    *seq = c->seq;
    c->done = done;
    c->arg = arg;
    change_start(c);
}

static struct change *
drop_of(struct sf_journal *j, uint64_t seq)
{
    struct change *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->w = (struct sf_env_write){.run = change_run, .frees = true};
    enum place was = place_of(j, seq);
    c->j = j;
    c->env = was == BRIEF ? j->brief : j->env;
    c->seq = seq;
    if (was == NOWHERE) { /* or not yet: then it goes behind its put */
        c->follows = true;
        c->after[c->n_after++] = seq;
    }
    return c;
}

void
sf_journal_replace_async(struct sf_journal *j, const struct sf_record *r, const uint64_t *drops,
                         unsigned n, uint64_t *seq, sf_journal_fn done, void *arg)
{
    struct change *c = NULL;
    struct sf_record fresh = r ? *r : (struct sf_record){0};
    fresh.seq = 0;
    int rc = r ? change_of(j, &fresh, &c) : (c = drop_of(j, 0)) ? 0 : -ENOMEM;
    if (rc) {
        done(arg, rc);
        return;
    }
    c->env = j->env;
    c->n_after = 0;
    for (unsigned i = 0; i < n; i++) {
        enum place was = drops[i] ? place_of(j, drops[i]) : NOWHERE;
        if (drops[i] && was != BRIEF)
            c->drops[c->n_drops++] = drops[i];
        if (was == BRIEF)
            c->after[c->n_after++] = drops[i];
    }
    if (c->n_drops)
        c->w.frees = true; /* what it replaces has made room already */
    if (r)
        *seq = c->seq;
    c->done = done;
    c->arg = arg;
    change_start(c);
}

void
sf_journal_drop(struct sf_journal *j, uint64_t seq)
{
    struct change *c = drop_of(j, seq);
    if (!c) {
        sf_error("write", "event=journal-failed record=%" PRIu64 " change=drop err=ENOMEM", seq);
        return;
    }
    set_done(j, seq, true);
    c->w.lazy = true;
    change_start(c);
}

int
sf_journal_drop_wait(struct sf_journal *j, uint64_t seq)
{
    struct change *c = drop_of(j, seq);
    return c ? change_wait(c) : -ENOMEM;
}

void
sf_journal_drop_brief(struct sf_journal *j, uint64_t seq)
{
    struct change *c = drop_of(j, 0);
    if (!c)
        return;
    c->after[0] = seq;
    (void)change_wait(c);
}

/* ---- the end of a directory's rename --------------------------------------------------------- */

struct moved {
    struct sf_env_write w;
    const struct sf_record *dir; /* its record, borrowed */
};

static int
moved_row(struct sf_txn *txn, const struct sf_record *dir, const struct sf_buf *seq,
          const struct sf_buf *text)
{
    sf_autorecord struct sf_record r = {0};
    sf_autofree char *now = NULL;
    char why[160] = "";
    size_t len;
    /* Cheap for most: some have the bytes of a file in them. */
    if (!memmem(text->data, text->len, dir->key, strlen(dir->key)) ||
        sf_record_parse(text->data, text->len, &r, why) || r.kind != SF_RECORD_CONTENT)
        return 0;
    int rc = sf_record_follow(&r, dir);
    if (rc <= 0)
        return rc;
    rc = sf_record_format(&r, &now, &len, why);
    return rc ? rc : sf_txn_put(txn, SF_JOURNAL_RECORDS, seq->data, seq->len, now, len);
}

static int
moved_run(struct sf_env_write *w, struct sf_txn *txn)
{
    const struct sf_record *dir = ((struct moved *)w)->dir;
    uint64_t from = 0;
    for (;;) {
        sf_autobuf struct sf_buf seq = SF_BUF_INIT, text = SF_BUF_INIT;
        int rc = sf_txn_next(txn, SF_JOURNAL_RECORDS, &from, sizeof from, &seq, &text);
        if (rc == -ENOENT)
            break;
        if (!rc)
            rc = moved_row(txn, dir, &seq, &text);
        if (rc)
            return rc;
        memcpy(&from, seq.data, sizeof from);
        from = htobe64(be64toh(from) + 1);
    }
    return drop_run(txn, dir->seq); /* where it is */
}

int
sf_journal_drop_renamed(struct sf_journal *j, const struct sf_record *dir)
{
    struct moved m = {.w = {.run = moved_run, .frees = true}, .dir = dir};
    int rc = sf_env_write_wait(j->brief, &m.w);
    if (!rc || rc == -EUCLEAN) /* it begins empty */
        rc = sf_env_write_wait(j->env, &m.w);
    if (rc)
        sf_error("write", "event=journal-failed record=%" PRIu64 " change=renamed err=%s", dir->seq,
                 sf_errno_name(rc));
    else
        forget(j, dir->seq);
    return rc;
}

int
sf_journal_settle(struct sf_journal *j)
{
    return sf_journal_drop_wait(j, 0); /* no record has this number; changes keep their order */
}

void
sf_journal_settle_async(struct sf_journal *j, sf_journal_fn done, void *arg)
{
    struct change *c = drop_of(j, 0);
    if (!c) {
        done(arg, -ENOMEM);
        return;
    }
    c->done = done;
    c->arg = arg;
    change_start(c);
}
