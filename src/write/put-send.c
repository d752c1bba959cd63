/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/bytes.h"
#include "write/put-run.h"
#include "write/rpc.h"
#include "write/step.h"

#define RATE_BYTES (1024 * 1024) /* fewer tell nothing of the link */
#define STARTS_MAX 3             /* resumable uploads that the service forgot */

static void
take_object(struct sf_put *p, const struct sf_object *o)
{
    snprintf(p->id, sizeof p->id, "%s", o->id ? o->id : "");
    snprintf(p->version, sizeof p->version, "%s", o->version ? o->version : "");
    snprintf(p->etag, sizeof p->etag, "%s", o->etag ? o->etag : "");
}

/* ---- a copy that the service makes ---------------------------------------------------------- */

/* Are the bytes there that are to be copied? 0; 1 no; or the error. */
static int
check_source(struct sf_put_run *r, struct sf_object *from, struct sf_err *err)
{
    struct sf_version now;
    int rc = sf_storage_info_wait(r->w->st, r->copy_bucket, r->copy_key, r->deadline_ms, from, err);
    if (rc == -ENOENT)
        return 1;
    if (rc)
        return rc;
    sf_version_of_object(from, &now);
    return sf_version_same(&r->copy_of, &now) ? 0 : 1;
}

/* Returns 0; 1 the bytes have to be sent after all; or the error. */
static int
send_copy(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_put *p = r->p;
    sf_autoobject struct sf_object from = {0}, copy = {0};
    bool itself = !strcmp(r->copy_key, p->key) && !strcmp(r->copy_bucket, p->bucket);
    int rc = itself ? 0 : check_source(r, &from, err);
    const struct sf_copy_args args = {.bucket = r->copy_bucket,
                                      .key = r->copy_key,
                                      .to_bucket = p->bucket,
                                      .to_key = p->key,
                                      .upsert = p->exists || itself,
                                      .set_metadata = true,
                                      .mime = r->mime,
                                      .cache_control = r->cache_control,
                                      .metadata = r->metadata};
    r->no_copy = true; /* one attempt is enough */
    if (!rc) {
        rc = sf_storage_copy_wait(r->w->st, &args, sf_writer_try_until(r->w, r->deadline_ms), &copy,
                                  err);
        if (rc == -EEXIST || (rc && err->outcome_open)) {
            r->no_copy = false; /* after the look it may be made again */
            return rc;
        }
    }
    bool comparable = sf_etag_is_md5(copy.etag) && sf_etag_is_md5(r->copy_of.etag);
    bool right =
        !rc && copy.size == p->size && (!comparable || sf_etag_same(copy.etag, r->copy_of.etag));
    *err = SF_ERR_INIT;
    if (!right) { /* without a source, without the right to read it, or it has changed meanwhile */
        if (!rc) {
            p->exists = true; /* what was copied is there now */
            r->any_base = true;
        }
        return 1;
    }
    take_object(p, &copy);
    struct sf_version was = r->copy_of, now;
    sf_version_of_object(&copy, &now);
    if (from.id) /* its ETag may not have been known before */
        sf_version_of_object(&from, &was);
    sf_bytes_same(r->w, r->copy_bucket, &was, p->bucket, &now);
    sf_count(SF_C_UPLOADS_COPIED, 1);
    atomic_fetch_add(&r->w->uploads, 1);
    return 0;
}

/* ---- one request ---------------------------------------------------------------------------- */

static void
learn_rate(struct sf_writer *w, uint64_t bytes, int64_t ms)
{
    if (bytes < RATE_BYTES || ms <= 0)
        return;
    uint64_t now = bytes * 1000 / (uint64_t)ms, old = atomic_load(&w->bytes_per_s);
    atomic_store(&w->bytes_per_s, old ? (old * 3 + now) / 4 : now);
}

static void
count_sent(struct sf_writer *w, uint64_t bytes)
{
    atomic_fetch_add(&w->uploads, 1);
    atomic_fetch_add(&w->upload_bytes, bytes);
    sf_count(SF_C_UPLOADS, 1);
}

static int
send_body(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_put *p = r->p;
    const struct sf_put_args args = {.bucket = p->bucket,
                                     .key = p->key,
                                     .fd = p->fd,
                                     .size = p->size,
                                     .mime = r->mime,
                                     .cache_control = r->cache_control,
                                     .metadata = strcmp(r->metadata, "{}") ? r->metadata : NULL,
                                     .upsert = p->exists,
                                     .progress = p->progress};
    int64_t begun = sf_clock_ms(), until = sf_writer_try_until(r->w, r->deadline_ms);
    int rc = r->route == SF_PUT_FORM ? sf_storage_put_form_wait(r->w->st, &args, until, p->id, err)
                                     : sf_storage_put_wait(r->w->st, &args, until, p->id, err);
    if (!rc) {
        learn_rate(r->w, p->size, sf_clock_ms() - begun);
        count_sent(r->w, p->size);
        p->version[0] = p->etag[0] = '\0';
    }
    if (rc != -EFBIG || r->force_tus)
        return rc;
    if (!sf_writer_learn(r->w, p->bucket, p->key, p->size, false, r->deadline_ms))
        return rc; /* the bucket's own limit: pieces do not help */
    r->force_tus = true;
    *err = SF_ERR_INIT;
    return 1;
}

/* ---- in pieces ------------------------------------------------------------------------------ */

/* Returns 0; 1 once more; or the error. */
static int
tus_begin(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_put *p = r->p;
    const struct sf_tus_args args = {
        .bucket = p->bucket,
        .key = p->key,
        .size = p->size,
        .mime = r->mime,
        .cache_control = r->cache_control,
        .metadata = strlen(r->metadata) <= SF_PUT_TUS_METADATA ? r->metadata : NULL,
        .upsert = p->exists};
    int rc = sf_tus_create_wait(r->w->st, &args, r->deadline_ms, &r->tus, err);
    if (rc == -EFBIG)
        (void)sf_writer_learn(r->w, p->bucket, p->key, p->size, true, r->deadline_ms);
    if (rc == -EOPNOTSUPP) {
        *err = SF_ERR_INIT;
        return sf_err_set(err, -EFBIG,
                          "%s/%s: %" PRIu64 " bytes are too many for one request, and the service "
                          "takes no resumable uploads",
                          p->bucket, p->key, p->size);
    }
    if (rc && (err->outcome_open || err->retryable)) {
        err->outcome_open = false; /* an upload without bytes changes nothing */
        err->retryable = true;
        return sf_writer_pause(r->w, ++r->repeats, r->deadline_ms) ? 1 : rc;
    }
    if (rc)
        return rc;
    sf_put_note(r, SF_RECORD_CONTENT_RESUMABLE, NULL);
    sf_step(SF_STEP_CONTENT_RESUMABLE);
    return 0;
}

/* Where to go on. Returns 0; 1 begin again; or the error. */
static int
tus_ask(struct sf_put_run *r, uint64_t *off, struct sf_err *err)
{
    uint64_t size = 0;
    *err = SF_ERR_INIT; /* of the piece that failed */
    int rc = sf_tus_offset_wait(r->w->st, r->tus, r->p->exists, r->deadline_ms, off, &size, err);
    if (!rc && size == r->p->size)
        return 0;
    if (rc && rc != -ENOENT)
        return rc;
    *err = SF_ERR_INIT;
    free(sf_steal(r->tus));
    return 1;
}

/* Is the object of this upload there? Its version is in the upload's name. */
static bool
tus_arrived(struct sf_put_run *r)
{
    char version[40];
    if (!sf_tus_version(r->tus, version) || sf_put_look(r, NULL) || !r->have_old)
        return false;
    return strcmp(r->old.version, version) == 0 || (r->op[0] && strcmp(r->op, r->old_meta.op) == 0);
}

/* One piece, and what to do if it failed. Returns 0; 1 ask where to go on; or the error. */
static int
tus_piece(struct sf_put_run *r, uint64_t *off, struct sf_err *err)
{
    struct sf_put *p = r->p;
    uint64_t left = p->size - *off, now_at = *off;
    const struct sf_tus_piece piece = {.name = r->tus,
                                       .upsert = p->exists,
                                       .fd = p->fd,
                                       .off = *off,
                                       .len = left < SF_TUS_CHUNK ? left : SF_TUS_CHUNK,
                                       .progress = p->progress};
    int64_t begun = sf_clock_ms();
    p->reached = true; /* whatever becomes of it, the last one makes the object */
    r->deadline_ms = sf_writer_deadline(r->w, piece.len);
    *err = SF_ERR_INIT;
    int rc =
        sf_tus_send_wait(r->w->st, &piece, sf_writer_try_until(r->w, r->deadline_ms), &now_at, err);
    if (!rc) {
        learn_rate(r->w, piece.len, sf_clock_ms() - begun);
        r->repeats = 0;
        *off = now_at;
        return 0;
    }
    if (rc == -ENOENT) {
        free(sf_steal(r->tus));
        return 1;
    }
    if (rc == -EEXIST && tus_arrived(r)) { /* the last piece's reply was lost */
        *off = p->size;
        return 0;
    }
    if (rc != -ESPIPE && !err->outcome_open && !err->retryable)
        return rc;
    if (sf_writer_pause(r->w, ++r->repeats, r->deadline_ms))
        return 1;
    err->retryable = true;
    err->outcome_open = false; /* a start after this asks the upload, which is in the journal */
    return rc;
}

static int
send_tus(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_put *p = r->p;
    bool ask = r->tus != NULL, complete = false;
    uint64_t off = 0;
    for (unsigned starts = 0; !complete;) {
        int rc = 0;
        if (!r->tus) {
            *err = SF_ERR_INIT; /* that the last one is gone says nothing about the bytes */
            if (starts >= STARTS_MAX)
                return sf_err_set(err, -EIO, "%s/%s: the service forgets resumable uploads",
                                  p->bucket, p->key);
            off = 0;
            rc = tus_begin(r, err);
            starts += rc == 0;
        } else if (ask) {
            rc = tus_ask(r, &off, err);
            complete = !rc && off == p->size && tus_arrived(r);
        }
        if (!rc && !complete) {
            rc = tus_piece(r, &off, err); /* an empty one where only the end is missing */
            complete = !rc && off == p->size;
            if (!rc)
                sf_step(SF_STEP_CONTENT_CHUNK);
        }
        if (rc < 0)
            return rc;
        ask = rc == 1;
    }
    count_sent(r->w, p->size);
    p->etag[0] = '\0';
    if (!sf_tus_version(r->tus, p->version))
        p->version[0] = '\0';
    sf_step(SF_STEP_CONTENT_COMPLETE);
    return 0;
}

int
sf_put_send(struct sf_put_run *r, struct sf_err *err)
{
    switch (r->route) {
    case SF_PUT_NOTHING:
        take_object(r->p, &r->old);
        return 0;
    case SF_PUT_COPY:
        return send_copy(r, err);
    case SF_PUT_TUS:
        return send_tus(r, err);
    case SF_PUT_BODY:
    case SF_PUT_FORM:
        break;
    }
    return send_body(r, err);
}

/* ---- what the route could not carry --------------------------------------------------------- */

/* Is the object that is there the one that was just sent? */
static bool
is_sent(struct sf_put_run *r)
{
    char version[40];
    if (!r->have_old)
        return false;
    if (r->op[0] && strcmp(r->old_meta.op, r->op) == 0)
        return true;
    return r->tus && sf_tus_version(r->tus, version) && strcmp(version, r->old.version) == 0;
}

static bool
is_finished(const struct sf_put_run *r)
{
    return strcmp(r->old.cache_control ? r->old.cache_control : "", r->cache_control) == 0 &&
           strcmp(r->old_meta.op, r->op) == 0;
}

/* By a copy onto itself. What it overwrites is our own upload, unless somebody wrote since the
 * look: then the reply's size or ETag shows it, and it is gone. */
static int
finish_by_copy(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_put *p = r->p;
    sf_autoobject struct sf_object copy = {0};
    const struct sf_copy_args args = {.bucket = p->bucket,
                                      .key = p->key,
                                      .to_bucket = p->bucket,
                                      .to_key = p->key,
                                      .upsert = true,
                                      .set_metadata = true,
                                      .mime = r->mime,
                                      .cache_control = r->cache_control,
                                      .metadata = r->metadata};
    int rc = sf_storage_copy_wait(r->w->st, &args, sf_writer_try_until(r->w, r->deadline_ms), &copy,
                                  err);
    if (!rc)
        take_object(p, &copy);
    return rc;
}

static int
finish_once(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_put *p = r->p;
    struct sf_attrs_result res = {.updated = false};
    const struct sf_attrs_args args = {.bucket = p->bucket,
                                       .key = p->key,
                                       .version = r->old.version,
                                       .cache_control = r->cache_control,
                                       .mime = r->mime,
                                       .metadata = r->metadata};
    int rc = r->old.version && r->old.version[0]
                 ? sf_rpc_set_attrs(r->w, &args, r->deadline_ms, &res, err)
                 : -ENOSYS;
    if (rc != -ENOSYS) {
        if (!rc && res.updated)
            snprintf(p->version, sizeof p->version, "%s", res.version);
        return rc;
    }
    *err = SF_ERR_INIT;
    return finish_by_copy(r, err);
}

int
sf_put_finish(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_put *p = r->p;
    int rc = 0;
    sf_put_note(r, SF_RECORD_CONTENT_MARKING, NULL);
    sf_step(SF_STEP_CONTENT_MARKING);
    r->deadline_ms = sf_writer_deadline(r->w, p->size);
    for (unsigned repeats = 1;; repeats++) {
        *err = SF_ERR_INIT;
        rc = sf_put_look(r, err);
        if (!rc && !is_sent(r))
            break; /* somebody has replaced it since: it is theirs */
        if (!rc)
            take_object(p, &r->old);
        if (!rc && is_finished(r))
            break;
        if (!rc)
            rc = finish_once(r, err);
        if (!rc || (!err->outcome_open && !err->retryable))
            break;
        if (!sf_writer_pause(r->w, repeats, r->deadline_ms))
            break;
    }
    if (rc && !sf_failure_is_held(err)) { /* the bytes are there, and that is what counts */
        sf_warn("write", "event=attributes-not-kept object=%s/%s err=%s reason=%s", p->bucket,
                p->key, sf_errno_name(rc), err->msg);
        sf_count(SF_C_ATTRS_NOT_KEPT, 1);
        rc = 0;
    }
    if (!rc) {
        *err = SF_ERR_INIT;
        sf_step(SF_STEP_CONTENT_MARKED);
    }
    return rc;
}
