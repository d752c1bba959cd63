/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "observe/log.h"
#include "write/attrs.h"
#include "write/failure.h"
#include "write/journal.h"
#include "write/rename.h"
#include "write/step.h"

/* Renames of an object or a directory, as jobs: their records, and their way through the queue. */

void
sf_rename_show(struct sf_rename *rn)
{
    rn->moving.bucket = rn->args.bucket;
    rn->moving.prefix = rn->args.key;
    rn->moving.to_bucket = rn->args.to_bucket;
    rn->moving.to_prefix = rn->args.to_key;
    sf_moving_add(&rn->w->moving, &rn->moving);
}

/* ---- the journal ---------------------------------------------------------------------------- */

/* Its names are borrowed from the arguments, also after a start. */
static void
set_names(struct sf_rename *rn)
{
    rn->rec.bucket = (char *)rn->args.bucket;
    rn->rec.key = (char *)rn->args.key;
    rn->rec.to_bucket = (char *)rn->args.to_bucket;
    rn->rec.to_key = (char *)rn->args.to_key;
}

int
sf_rename_note(struct sf_rename *rn, enum sf_record_state state, struct sf_err *err)
{
    struct sf_record *r = &rn->rec;
    bool begun = r->seq != 0;
    r->kind = sf_record_state_kind(state);
    r->state = state;
    set_names(rn);
    r->replace = rn->args.replace;
    int rc = sf_journal_put(rn->w->journal, r);
    if (rc)
        return sf_err_set(err, rc, "the journal cannot be written: %s", strerror(-rc));
    if (!begun)
        sf_step(r->kind == SF_RECORD_RENAME ? SF_STEP_RENAME_BEGUN : SF_STEP_RENAME_DIR_BEGUN);
    return 0;
}

void
sf_rename_settle(struct sf_rename *rn, int rc, const struct sf_err *err)
{
    const struct sf_rename_args *a = &rn->args;
    /* Before its record goes: a start that finds neither leaves what was meant for the replaced
     * object to nobody. */
    if (rn->arrived)
        sf_attrs_moved(rn->w, a->bucket, a->key, a->to_bucket, a->to_key);
    if (!rn->rec.seq || (rc && err && sf_failure_is_held(err)))
        return;
    /* That of a directory names no versions: a start that found it would move what was made under
     * the old name after this one was answered. */
    if (rn->rec.kind == SF_RECORD_RENAME)
        sf_journal_drop(rn->w->journal, rn->rec.seq);
    else if (rc)
        (void)sf_journal_drop_wait(rn->w->journal, rn->rec.seq);
    else {
        set_names(rn);
        (void)sf_journal_drop_renamed(rn->w->journal, &rn->rec);
    }
    rn->rec.seq = 0;
    sf_step(rn->rec.kind == SF_RECORD_RENAME ? SF_STEP_RENAME_DONE : SF_STEP_RENAME_DIR_DONE);
}

/* ---- queueing ------------------------------------------------------------------------------- */

void
sf_rename_free(struct sf_rename *rn)
{
    sf_moving_remove(&rn->w->moving, &rn->moving);
    free((char *)rn->args.bucket);
    free((char *)rn->args.key);
    free((char *)rn->args.to_bucket);
    free((char *)rn->args.to_key);
    free(rn->rec.cache_control);
    free(rn->rec.mime);
    free(rn);
}

static void
rename_run(struct sf_job *job, const struct sf_err *refused)
{
    struct sf_rename *rn = (struct sf_rename *)job;
    struct sf_err err = SF_ERR_INIT;
    struct sf_version now = {0};
    if (refused)
        err = *refused;
    else if (rn->fn(rn, &now, &err) == 0)
        err = SF_ERR_INIT;
    rn->cb(rn->arg, err.code ? &err : NULL, err.code ? NULL : &now);
    if (!rn->rec.seq || !sf_rename_rest(rn, &err))
        sf_rename_free(rn);
}

static void
rename_enter(struct sf_rename *rn)
{
    struct sf_job_key keys[2] = {{rn->args.bucket, rn->args.key},
                                 {rn->args.to_bucket, rn->args.to_key}};
    sf_queue_add(rn->w->queue, &rn->job, keys, 2);
}

static bool
args_copy(const struct sf_rename_args *args, struct sf_rename_args *out)
{
    *out = *args;
    out->bucket = strdup(args->bucket);
    out->key = strdup(args->key);
    out->to_bucket = strdup(args->to_bucket);
    out->to_key = strdup(args->to_key);
    return out->bucket && out->key && out->to_bucket && out->to_key;
}

void
sf_rename_queue(struct sf_writer *w, const struct sf_rename_args *args,
                int (*fn)(struct sf_rename *, struct sf_version *, struct sf_err *),
                int (*settle)(struct sf_rename *, struct sf_version *, struct sf_err *),
                sf_rename_fn cb, void *arg)
{
    struct sf_rename *rn = calloc(1, sizeof *rn);
    if (rn)
        rn->w = w;
    if (!rn || !args_copy(args, &rn->args)) {
        struct sf_err err = SF_ERR_INIT;
        (void)!sf_err_set(&err, -ENOMEM, "out of memory");
        cb(arg, &err, NULL);
        if (rn)
            sf_rename_free(rn);
        return;
    }
    rn->job.run = rename_run;
    rn->fn = fn;
    rn->settle = settle;
    rn->cb = cb;
    rn->arg = arg;
    sf_attrs_push(w, rn->args.bucket, rn->args.key); /* while they have these names */
    rename_enter(rn);
}

static void
replayed(void *arg, const struct sf_err *err, const struct sf_version *now)
{
    struct sf_writer *w = arg;
    (void)now;
    if (err && !sf_writer_stopping(w))
        sf_warn("write", "event=replayed-rename-failed err=%s reason=%s", sf_errno_name(err->code),
                err->msg);
}

int
sf_rename_again(struct sf_writer *w, struct sf_record *r,
                int (*fn)(struct sf_rename *, struct sf_version *, struct sf_err *))
{
    struct sf_rename *rn = calloc(1, sizeof *rn);
    if (!rn)
        return -ENOMEM;
    rn->args = (struct sf_rename_args){.bucket = sf_steal(r->bucket),
                                       .key = sf_steal(r->key),
                                       .to_bucket = sf_steal(r->to_bucket),
                                       .to_key = sf_steal(r->to_key),
                                       .replace = r->replace};
    rn->rec = (struct sf_record){.seq = r->seq,
                                 .kind = r->kind,
                                 .state = r->state,
                                 .made_ns = r->made_ns,
                                 .source = r->source,
                                 .target = r->target,
                                 .cache_control = sf_steal(r->cache_control),
                                 .mime = sf_steal(r->mime)};
    memcpy(rn->rec.op, r->op, sizeof rn->rec.op);
    rn->job.run = rename_run;
    rn->w = w;
    rn->fn = rn->settle = fn;
    rn->cb = replayed;
    rn->arg = w;
    if (r->kind == SF_RECORD_RENAME_DIR)
        sf_rename_show(rn);
    rename_enter(rn);
    return 0;
}
