/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "write/journal.h"
#include "write/keep-internal.h"

/* Another name for what is kept and was not sent, or none: the journal is all that has to know. */

struct move {
    struct sf_keeping *k; /* NULL = the record is dropped */
    struct sf_record rec;
    sf_write_fn cb;
    void *arg;
};

/* Is there a state of which nothing was sent, and nobody at work on it? */
static bool
is_untouched_locked(const struct sf_content *c)
{
    return c->keep && c->keep->untried && !c->uploading && !c->keeping &&
           !atomic_load(&c->abandoned);
}

static void
move_free(struct move *m)
{
    sf_record_fini(&m->rec);
    free(m);
}

/* On the journal's thread. */
static void
move_done(void *arg, int rc)
{
    struct move *m = arg;
    struct sf_keeping *k = m->k;
    struct sf_err err = SF_ERR_INIT;
    if (rc)
        (void)!sf_err_set(&err, rc, "the journal cannot be written: %s", strerror(-rc));
    bool gone = false;
    if (k && !rc) {
        struct sf_content *c = k->c;
        sf_mutex_lock(&c->lock);
        gone = !c->keep;
        m->rec.seq = k->seq;
        if (!gone) {
            struct sf_record old = c->keep->rec;
            c->keep->rec = m->rec;
            m->rec = old;
            atomic_store(&c->kept.next_seq, k->seq);
        }
        sf_mutex_unlock(&c->lock);
        if (gone) /* given up meanwhile */
            sf_journal_drop(c->w->journal, k->seq);
    }
    m->cb(m->arg, rc ? &err : NULL);
    move_free(m);
    if (k)
        sf_keeping_end(k, 0, NULL, NULL);
}

static int
moved_record(struct sf_record *rec, const char *bucket, const char *key, bool exists)
{
    int rc = sf_record_set(&rec->bucket, bucket);
    if (!rc)
        rc = sf_record_set(&rec->key, key);
    rec->exists = exists;
    rec->exclusive = false; /* that was said of the old name */
    rec->base = rec->target = (struct sf_version){.id = ""};
    rec->former[0] = '\0';
    return rc;
}

bool
sf_content_move_kept(struct sf_content *c, const char *bucket, const char *key, bool exists,
                     struct sf_content *over, sf_write_fn cb, void *arg)
{
    struct move *m = calloc(1, sizeof *m);
    struct sf_stage *file = NULL;
    uint64_t drops[3] = {0};
    if (!m)
        return false;
    *m = (struct move){.cb = cb, .arg = arg};
    sf_mutex_lock(&c->lock);
    bool ok = is_untouched_locked(c) && sf_record_copy(&c->keep->rec, &m->rec) == 0 &&
              moved_record(&m->rec, bucket, key, exists) == 0 && (m->k = sf_keeping_new_locked(c));
    if (ok) {
        m->k->putting = true; /* no upload begins meanwhile */
        drops[0] = c->keep->rec.seq;
        file = c->keep->inlined ? sf_stage_ref(c->keep->snap.stage) : NULL;
    }
    sf_mutex_unlock(&c->lock);
    if (file && sf_keep_read_inline(&m->rec, file->fd))
        ok = false;
    sf_stage_unref(file);
    if (!ok) {
        struct sf_keeping *k = m->k;
        move_free(m);
        if (k)
            sf_keeping_end(k, 0, NULL, NULL);
        return false;
    }
    if (over) {
        drops[1] = atomic_load(&over->kept.seq);
        drops[2] = atomic_load(&over->kept.next_seq);
    }
    struct sf_record rec = m->rec; /* whose strings are borrowed, but for the bytes */
    m->rec.data = NULL;
    sf_journal_replace_async(c->w->journal, &rec, drops, 3, &m->k->seq, move_done, m);
    free(rec.data);
    return true;
}

bool
sf_content_withdraw(struct sf_content *c, sf_write_fn cb, void *arg)
{
    struct move *m = calloc(1, sizeof *m);
    if (!m)
        return false;
    *m = (struct move){.cb = cb, .arg = arg};
    sf_mutex_lock(&c->lock);
    bool ok = is_untouched_locked(c);
    struct sf_keep *keep = ok ? sf_keep_swap_locked(c, NULL) : NULL;
    if (ok)
        atomic_store(&c->abandoned, true);
    sf_mutex_unlock(&c->lock);
    if (!ok) {
        free(m);
        return false;
    }
    uint64_t drop = keep->rec.seq, none = 0;
    (void)sf_content_abandon(c);
    sf_keep_discard(c, keep, false);
    sf_journal_replace_async(c->w->journal, NULL, &drop, 1, &none, move_done, m);
    return true;
}
