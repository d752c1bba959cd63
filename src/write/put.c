/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/put.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/attrs.h"
#include "write/kept.h"
#include "write/put-run.h"
#include "write/record.h"
#include "write/step.h"
#include "write/told.h"

#define TURNS_MAX 8 /* looks that others made worthless before the request came */

/* ---- looking -------------------------------------------------------------------------------- */

static void
forget_old(struct sf_put_run *r)
{
    sf_object_fini(&r->old);
    sf_meta_fini(&r->old_meta);
    r->old_meta = (struct sf_meta){.op = ""};
    r->have_old = false;
}

int
sf_put_look(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_put *p = r->p;
    forget_old(r);
    r->deadline_ms = sf_writer_cut(r->w, r->deadline_ms);
    int rc = sf_storage_info_wait(r->w->st, p->bucket, p->key, r->deadline_ms, &r->old, err);
    if (rc == -ENOENT) {
        if (err)
            *err = SF_ERR_INIT;
        return 0;
    }
    if (rc)
        return rc;
    r->have_old = true;
    rc = sf_meta_parse(r->old.metadata, &r->old_meta);
    return rc < 0 ? sf_err_set(err, rc, "out of memory") : 0;
}

/* Without an operation id: the same object with as many bytes as were sent there last. */
static bool
is_known_plain(const struct sf_put_run *r, const struct sf_known_object *o)
{
    bool md5 = sf_etag_is_md5(r->old.etag) && o->md5_etag[0];
    return o->id[0] && r->old.id && strcmp(o->id, r->old.id) == 0 && o->size == r->old.size &&
           (!md5 || sf_etag_same(o->md5_etag, r->old.etag));
}

/* Did this mount put there what is there now? */
static bool
is_known_here(struct sf_put_run *r)
{
    struct sf_known_object o;
    struct sf_version now;
    sf_version_of_object(&r->old, &now);
    if (r->op[0] && strcmp(r->op, r->old_meta.op) == 0)
        return true; /* these very bytes, by a request that was given up */
    if (sf_former_made(r->p->former, r->p->former_left, r->old_meta.op, &now))
        return true;
    bool plain = r->w->plain && !r->old_meta.op[0];
    if ((!plain && !r->old_meta.op[0]) || !sf_known_at(r->w->known, r->p->bucket, r->p->key, &o))
        return false;
    bool same = plain ? is_known_plain(r, &o) : strcmp(o.op, r->old_meta.op) == 0;
    sf_known_object_fini(&o);
    return same;
}

/* Is what was looked at the version that is to be replaced? The same ETag and size are the same
 * bytes, whatever id they have. An ETag that is an MD5 cannot be compared with one that is not: the
 * id and the size have to do. */
static bool
is_base(const struct sf_put_run *r)
{
    struct sf_version now, base = r->base;
    sf_version_of_object(&r->old, &now);
    if (base.version[0] && strcmp(base.version, now.version) == 0)
        return true;
    if (base.size != now.size)
        return false;
    if (base.etag[0] && sf_etag_is_md5(base.etag) == sf_etag_is_md5(now.etag))
        return sf_etag_same(base.etag, now.etag);
    return !base.id[0] || !now.id[0] || strcmp(base.id, now.id) == 0;
}

/* What was looked at is dealt with: the next look compares with it. */
static void
accept_old(struct sf_put_run *r)
{
    if (!r->have_old)
        return;
    sf_version_of_object(&r->old, &r->base);
    r->any_base = r->unexpected = false;
}

/* Somebody else's version is kept before it is replaced. */
static int
judge_old(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_put *p = r->p;
    if (!r->have_old) {
        p->exists = r->unexpected = false;
        return 0;
    }
    bool expected = !r->unexpected && (r->any_base || is_base(r));
    if (!expected && !is_known_here(r) && !sf_put_is_identical(r)) {
        if (p->exclusive)
            return sf_err_set(err, -EEXIST, "%s/%s was created by somebody else", p->bucket,
                              p->key);
        int rc = sf_put_keep(r, err);
        if (rc)
            return rc;
    }
    accept_old(r);
    return 0;
}

/* ---- settling ------------------------------------------------------------------------------- */

enum verdict { STORED, REPEAT, UNKNOWN };

/* Does the object say that it came from this request? */
static bool
is_ours(struct sf_put_run *r)
{
    const struct sf_put *p = r->p;
    char version[40];
    if (r->op[0] && r->old_meta.op[0])
        return strcmp(r->op, r->old_meta.op) == 0;
    if (r->tus && sf_tus_version(r->tus, version))
        return strcmp(version, r->old.version) == 0;
    if (r->op[0] && r->route != SF_PUT_TUS)
        return false;
    /* Without an operation id: size and hash, and where that is no MD5, another version. */
    bool md5 = sf_etag_is_md5(r->old.etag) && p->md5_etag[0];
    if (r->old.size != p->size || (md5 && !sf_etag_same(r->old.etag, p->md5_etag)))
        return false;
    return md5 || !r->base.version[0] || strcmp(r->base.version, r->old.version) != 0;
}

static void
learn_from_old(struct sf_put_run *r)
{
    struct sf_put *p = r->p;
    snprintf(p->id, sizeof p->id, "%s", r->old.id ? r->old.id : "");
    snprintf(p->version, sizeof p->version, "%s", r->old.version ? r->old.version : "");
    snprintf(p->etag, sizeof p->etag, "%s", r->old.etag ? r->old.etag : "");
}

/* What became of a request whose reply did not come? */
static enum verdict
settle(struct sf_put_run *r)
{
    struct sf_err err = SF_ERR_INIT;
    if (sf_put_look(r, &err))
        return UNKNOWN;
    if (!r->have_old || !is_ours(r))
        return REPEAT;
    learn_from_old(r);
    return STORED;
}

/* ---- the journal ---------------------------------------------------------------------------- */

void
sf_put_note(struct sf_put_run *r, enum sf_record_state state, const char *conflict_key)
{
    struct sf_put *p = r->p;
    struct sf_record *rec = p->rec;
    bool later = state == SF_RECORD_CONTENT_RESUMABLE || state == SF_RECORD_CONTENT_MARKING;
    if (!rec)
        return;
    /* A start asks for what is held under an id, too. */
    bool same = rec->state == state || (state == SF_RECORD_CONTENT_SENDING &&
                                        rec->state == SF_RECORD_CONTENT_HELD && r->op[0]);
    if (rec->seq && same && strcmp(rec->op, r->op) == 0 && !conflict_key)
        return;
    rec->state = state;
    memcpy(rec->op, r->op, sizeof rec->op);
    memcpy(rec->sha256, p->sha256, sizeof rec->sha256);
    rec->exists = p->exists;
    rec->tus_size = r->tus ? p->size : 0;
    int rc = sf_record_set(&rec->tus, r->tus);
    if (!rc && conflict_key)
        rc = sf_record_set(&rec->conflict_key, conflict_key);
    if (!rc)
        rc = sf_record_set(&rec->cache_control, later ? r->cache_control : NULL);
    if (!rc)
        rc = sf_record_set(&rec->metadata, later ? r->metadata : NULL);
    if (!rc)
        rc = sf_kept_put(r->w, rec, p->inlined, p->fd);
    if (!rc)
        atomic_store(p->seq, rec->seq);
    if (rc)
        sf_warn("write", "event=journal-failed object=%s/%s err=%s text=%s", p->bucket, p->key,
                sf_errno_name(rc), "the upload goes on");
}

/* ---- the course ----------------------------------------------------------------------------- */

/* Returns 0 done; 1 again; or the error. */
static int
after_failure(struct sf_put_run *r, int rc, struct sf_err *err)
{
    struct sf_put *p = r->p;
    if (rc == -EEXIST && !r->open && !err->outcome_open) {
        if (p->exclusive && !p->exists)
            return rc;
        if (++r->turns > TURNS_MAX)
            return rc;
        if (!p->exists) /* somebody was quicker: look at it; else it is compared once more */
            p->exists = r->unexpected = true;
        return 1;
    }
    if (rc != -EEXIST && !err->outcome_open)
        return rc;
    r->open = true;
    switch (settle(r)) {
    case STORED:
        sf_info("write", "event=lost-reply-settled object=%s/%s outcome=stored", p->bucket, p->key);
        return 0;
    case REPEAT:
        if (r->have_old && !p->exists)
            p->exists = r->unexpected = true;
        if (sf_writer_pause(r->w, ++r->repeats, r->deadline_ms))
            return 1;
        err->outcome_open = false;
        err->retryable = true;
        return rc;
    case UNKNOWN:
        break;
    }
    err->outcome_open = true;
    return rc;
}

/* What a request tells about the service, for uploads that have not begun. One that has failed
 * before may be the only one that does. */
static void
note_service(struct sf_put_run *r, int rc, const struct sf_err *err)
{
    bool failed = rc < 0 && sf_failure_is_held(err);
    if (!failed || !r->p->rec || !r->p->rec->attempts)
        atomic_store(&r->w->troubled, failed);
}

/* One attempt. Returns 0 done; 1 again; or the error. */
static int
attempt(struct sf_put_run *r, struct sf_err *err)
{
    int rc;
    *err = SF_ERR_INIT;
    if (r->p->exists) {
        rc = sf_put_look(r, err);
        if (!rc)
            rc = judge_old(r, err);
        if (rc)
            return rc;
    }
    rc = sf_put_plan(r, err);
    if (rc)
        return rc;
    if (!r->tus) {
        sf_put_note(r, SF_RECORD_CONTENT_SENDING, NULL);
        sf_step(SF_STEP_CONTENT_CHOSEN);
    }
    rc = sf_put_send(r, err);
    note_service(r, rc, err);
    if (rc >= 0 || err->outcome_open || err->http_status)
        r->p->reached = true;
    if (rc == 1)
        return 1;
    if (rc) {
        rc = after_failure(r, rc, err);
        if (rc)
            return rc;
    }
    sf_step(SF_STEP_CONTENT_SENT);
    return r->finish ? sf_put_finish(r, err) : 0;
}

/* What came of an attempt of this mount or the one before. Returns 0 it is done; 1 go on; or the
 * error. */
static int
resume(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_put *p = r->p;
    const struct sf_record *rec = p->rec;
    memcpy(r->op, rec->op, sizeof r->op);
    r->tus = rec->tus && rec->tus_size == p->size ? strdup(rec->tus) : NULL;
    r->force_tus = r->tus != NULL;
    r->open = true;
    int rc = sf_put_look(r, err);
    note_service(r, rc, err);
    if (rc)
        return rc;
    bool marking = rec->state == SF_RECORD_CONTENT_MARKING;
    if (!r->have_old || !is_ours(r)) {
        if (r->have_old && !p->exists)
            p->exists = r->unexpected = true;
        return marking ? 0 : 1; /* all bytes were there, and somebody has replaced them since */
    }
    learn_from_old(r);
    sf_info("write", "event=settled object=%s/%s outcome=stored", p->bucket, p->key);
    if (!rec->cache_control || !rec->metadata)
        return 0;
    r->mime = strdup(r->old.mime ? r->old.mime : "application/octet-stream");
    r->cache_control = strdup(rec->cache_control);
    r->metadata = strdup(rec->metadata);
    if (!r->mime || !r->cache_control || !r->metadata)
        return sf_err_set(err, -ENOMEM, "out of memory");
    return sf_put_finish(r, err);
}

static void
remember(struct sf_put_run *r)
{
    const struct sf_put *p = r->p;
    struct sf_known_object o = {
        .bucket = (char *)p->bucket, .key = (char *)p->key, .size = p->size};
    snprintf(o.op, sizeof o.op, "%s", r->op);
    snprintf(o.sha256, sizeof o.sha256, "%s", p->sha256);
    snprintf(o.id, sizeof o.id, "%s", p->id);
    snprintf(o.version, sizeof o.version, "%s", p->version);
    snprintf(o.etag, sizeof o.etag, "%s", p->etag);
    snprintf(o.md5_etag, sizeof o.md5_etag, "%s", p->md5_etag);
    sf_known_put(r->w->known, &o);
}

/* What the project's tables hear of it. What only did not work this time is not over; where nothing
 * had to be done, nothing was. */
static void
tell(struct sf_put_run *r, int64_t began_ms, int rc, const struct sf_err *err)
{
    const struct sf_put *p = r->p;
    bool copied = r->route == SF_PUT_COPY && r->copy_key;
    bool idle = !rc && !r->open && r->route == SF_PUT_NOTHING;
    if (idle || (rc && (rc == -ECANCELED || sf_failure_is_held(err))))
        return;
    sf_told_put(r->w, p, r->mime, copied ? r->copy_bucket : NULL, r->copy_key, began_ms, rc);
}

bool
sf_put_was_done(struct sf_writer *w, struct sf_put *put)
{
    int64_t began_ms = sf_clock_ms();
    struct sf_put_run r = {
        .w = w, .p = put, .deadline_ms = sf_writer_deadline(w, 0), .any_base = !put->base};
    struct sf_err err = SF_ERR_INIT;
    bool done = put->resume && resume(&r, &err) == 0;
    if (done) {
        remember(&r);
        tell(&r, began_ms, 0, &err);
    }
    forget_old(&r);
    sf_put_plan_fini(&r);
    return done;
}

int
sf_put_run(struct sf_writer *w, struct sf_put *put, struct sf_err *err)
{
    struct sf_put_run r = {
        .w = w, .p = put, .deadline_ms = sf_writer_deadline(w, put->size), .any_base = !put->base};
    struct sf_err e = SF_ERR_INIT;
    int64_t began_ms = sf_clock_ms();
    if (put->base)
        r.base = *put->base;
    struct sf_attrs_carry carry = {.e = NULL};
    int rc = put->resume ? resume(&r, &e) : 1;
    bool carries = rc == 1; /* what is there already was sent without them */
    if (carries)
        sf_attrs_carry_begin(w, put, &carry);
    if (!put->resume)
        memcpy(r.op, put->op, sizeof r.op);
    else
        put->reached = true;
    int no_op = r.op[0] || w->plain ? 0 : sf_op_new(r.op);
    if (no_op)
        rc = sf_err_set(&e, no_op, "no random bytes: %s", strerror(-no_op));
    while (rc == 1)
        rc = attempt(&r, &e);
    if (rc) {
        atomic_fetch_add(&w->failures, 1);
        sf_count(SF_C_UPLOAD_FAILURES, 1);
        char when[32];
        sf_time_format_ms(sf_wall_ns(), when);
        sf_mutex_lock(&w->lock);
        snprintf(w->last_failure, sizeof w->last_failure, "%s %.80s/%.200s: %s", when, put->bucket,
                 put->key, e.msg);
        sf_mutex_unlock(&w->lock);
        sf_warn("write", "event=upload-failed object=%s/%s bytes=%" PRIu64 " err=%s reason=%s",
                put->bucket, put->key, put->size, sf_errno_name(rc), e.msg);
        if (err)
            *err = e;
    } else {
        remember(&r);
    }
    tell(&r, began_ms, rc, &e);
    if (carries)
        sf_attrs_carry_end(&carry, put, !rc);
    forget_old(&r);
    sf_put_plan_fini(&r);
    return rc;
}

void
sf_put_result(const struct sf_put *put, struct sf_commit *done)
{
    *done = (struct sf_commit){.size = put->size,
                               .uploaded = true,
                               .conflict_key = put->conflict_key[0] ? put->conflict_key : NULL};
    memcpy(done->id, put->id, sizeof done->id);
    memcpy(done->version, put->version, sizeof done->version);
    memcpy(done->etag, put->etag, sizeof done->etag);
    memcpy(done->md5_etag, put->md5_etag, sizeof done->md5_etag);
    memcpy(done->sha256, put->sha256, sizeof done->sha256);
}
