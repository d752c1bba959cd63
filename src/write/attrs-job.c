/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/attrs-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "observe/log.h"
#include "write/journal.h"
#include "write/meta.h"
#include "write/pending.h"
#include "write/step.h"

#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 60000

/* ---- the job --------------------------------------------------------------------------------- */

/* The entry is no longer busy: it waits again, or is local, or joins the one that came after. */
void
sf_attrs_come_back(struct sf_attrs_entry *e, enum sf_attrs_state state, const struct sf_err *why)
{
    struct sf_attrs *a = e->w->attrs;
    struct sf_record r;
    struct sf_attrs_put *p = NULL;
    sf_mutex_lock(&a->lock);
    struct sf_attrs_entry *newer = sf_attrs_find_locked(a, e->bucket, e->key);
    if (newer && sf_mark_is_another(&newer->mark, &e->mark)) {
        sf_mutex_unlock(&a->lock);
        sf_attrs_end(e);
        return;
    }
    sf_attrs_list_remove_locked(&a->busy, e);
    struct sf_attrs_told *flushes = sf_steal(e->flushes);
    e->state = state;
    e->running = e->hurry = false;
    int rc = newer ? sf_attrs_merge_locked(newer, e) : sf_attrs_add_locked(a, e);
    if (!rc)
        p = sf_attrs_put_new_locked(newer ? newer : e, &r);
    int64_t due = sf_attrs_next_due_locked(a);
    sf_mutex_unlock(&a->lock);
    if (p)
        sf_attrs_put_start(p, &r);
    sf_attrs_arm(a, due);
    sf_attrs_tell(a, flushes, why, NULL);
    if (!rc && !newer)
        return;
    struct sf_err err = SF_ERR_INIT;
    if (rc) /* its record remains, for the next start */
        (void)!sf_err_set(&err, rc, "out of memory");
    sf_attrs_tell(a, sf_steal(e->kept), &err, NULL);
    sf_attrs_tell(a, sf_steal(e->settled), &err, NULL);
    sf_attrs_entry_free(e);
}

void
sf_attrs_end(struct sf_attrs_entry *e)
{
    struct sf_attrs *a = e->w->attrs;
    struct sf_err err = SF_ERR_INIT;
    (void)!sf_err_set(&err, -ENOENT, "%s/%s is gone", e->bucket, e->key);
    sf_mutex_lock(&a->lock);
    while (e->putting)
        sf_cond_wait(&a->put, &a->lock);
    struct sf_attrs_told *kept = sf_steal(e->kept);
    sf_mutex_unlock(&a->lock);
    sf_attrs_tell(a, kept, NULL, NULL);
    sf_attrs_settle(e, &err, NULL);
}

/* It is over: the object has the attributes, or is gone. */
void
sf_attrs_settle(struct sf_attrs_entry *e, const struct sf_err *err, const struct sf_version *now)
{
    struct sf_attrs *a = e->w->attrs;
    sf_journal_drop(e->w->journal, e->seq);
    sf_attrs_drop_older(e);
    sf_step(SF_STEP_ATTRS_DONE);
    sf_mutex_lock(&a->lock);
    sf_attrs_list_remove_locked(&a->busy, e);
    struct sf_attrs_entry *newer = sf_attrs_find_locked(a, e->bucket, e->key);
    if (newer && now && sf_version_same(&newer->seen, &e->seen))
        newer->seen = *now; /* it means the object that this one has just changed */
    sf_mutex_unlock(&a->lock);
    sf_attrs_tell(a, sf_steal(e->settled), err, now);
    sf_attrs_tell(a, sf_steal(e->flushes), NULL, NULL);
    sf_attrs_entry_free(e);
}

static int64_t
retry_at(unsigned attempts)
{
    int64_t ms = RETRY_MIN_MS;
    for (unsigned i = 1; i < attempts && ms < RETRY_MAX_MS; i++)
        ms *= 2;
    return sf_clock_ms() + (ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS);
}

static void
note_failure(struct sf_attrs_entry *e, const struct sf_err *err)
{
    free(e->reason);
    e->reason = strdup(err->msg);
    e->err = err->code;
    e->attempts++;
}

/* Not now. */
static void
hold(struct sf_attrs_entry *e, const struct sf_err *err)
{
    note_failure(e, err);
    e->due_ms = retry_at(e->attempts);
    if (e->attempts == 1 && err->code != -ECANCELED)
        sf_warn("write", "event=attributes-pending object=%s/%s err=%s reason=%s", e->bucket,
                e->key, sf_errno_name(err->code), err->msg);
    sf_attrs_come_back(e, SF_ATTRS_WAITING, err);
}

/* Not without an upload. */
static void
keep_local(struct sf_attrs_entry *e, const struct sf_err *err)
{
    struct sf_attrs *a = e->w->attrs;
    struct sf_attrs_told *settled = sf_steal(e->settled);
    note_failure(e, err);
    e->op[0] = '\0';
    sf_info("write", "event=attributes-local object=%s/%s err=%s reason=%s", e->bucket, e->key,
            sf_errno_name(err->code), err->msg);
    int rc = sf_attrs_record(e, SF_RECORD_ATTRS_LOCAL);
    if (rc)
        sf_warn("write", "event=journal-failed object=%s/%s err=%s", e->bucket, e->key,
                sf_errno_name(rc));
    sf_step(SF_STEP_ATTRS_LOCAL);
    sf_attrs_come_back(e, SF_ATTRS_LOCAL, NULL);
    sf_attrs_tell(a, settled, err, NULL);
}

/* Its bytes are acknowledged, and the bucket does not have them: what it has goes with them, also
 * after a start. Who asked hears that nothing is there, and may keep it with the bytes as well. */
static void
await_bytes(struct sf_attrs_entry *e, const struct sf_err *err)
{
    struct sf_attrs *a = e->w->attrs;
    struct sf_attrs_told *settled = sf_steal(e->settled);
    struct sf_err why = SF_ERR_INIT;
    (void)!sf_err_set(&why, -EBUSY, "the bytes of %s/%s are to be sent first", e->bucket, e->key);
    hold(e, &why);
    sf_attrs_tell(a, settled, err, NULL);
}

/* What joined last may not be on disk yet; nothing joins a busy entry. */
void
sf_attrs_complete_record(struct sf_attrs_entry *e)
{
    struct sf_attrs *a = e->w->attrs;
    struct sf_err err = SF_ERR_INIT;
    sf_mutex_lock(&a->lock);
    while (e->putting)
        sf_cond_wait(&a->put, &a->lock);
    bool stale = e->stale;
    e->stale = false;
    struct sf_attrs_told *kept = sf_steal(e->kept);
    sf_mutex_unlock(&a->lock);
    int rc = stale ? sf_attrs_record(e, e->before == SF_ATTRS_LOCAL ? SF_RECORD_ATTRS_LOCAL
                                                                    : SF_RECORD_ATTRS_WANTED)
                   : 0;
    if (!rc)
        sf_attrs_drop_older(e);
    if (rc)
        (void)!sf_err_set(&err, rc, "the journal does not take a change of %s/%s: %s", e->bucket,
                          e->key, strerror(-rc));
    sf_attrs_tell(a, kept, rc ? &err : NULL, NULL);
}

void
sf_attrs_job(struct sf_job *job, const struct sf_err *refused)
{
    struct sf_attrs_entry *e = (struct sf_attrs_entry *)job;
    struct sf_attrs *a = e->w->attrs;
    struct sf_err err = SF_ERR_INIT;
    struct sf_version now = {0};
    sf_mutex_lock(&a->lock);
    bool gone = e->gone, again = e->moved && !gone && !refused;
    e->running = !again; /* from here on it keeps its name */
    e->moved = false;
    a->queueing += again;
    e->job.next = NULL;
    sf_mutex_unlock(&a->lock);
    if (again) {
        sf_attrs_queue_all(a, job); /* in the lane of its new name */
        return;
    }
    if (gone) {
        sf_attrs_end(e);
        return;
    }
    if (refused) {
        hold(e, refused);
        return;
    }
    sf_attrs_complete_record(e);
    int rc = sf_attrs_write(e, sf_writer_deadline(e->w, e->seen.size), &now, &err);
    if (rc == 0)
        sf_attrs_settle(e, NULL, &now);
    else if (rc == -ENOENT && sf_pending_has(e->w, e->bucket, e->key))
        await_bytes(e, &err);
    else if (rc == -ENOENT)
        sf_attrs_settle(e, &err, NULL);
    else if (rc > 0)
        keep_local(e, &err);
    else
        hold(e, &err);
}
