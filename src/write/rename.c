/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/rename.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/attrs.h"
#include "write/bytes.h"
#include "write/change.h"
#include "write/failure.h"
#include "write/kept.h"
#include "write/mark.h"
#include "write/meta.h"
#include "write/pending.h"
#include "write/put.h"
#include "write/rpc.h"
#include "write/step.h"
#include "write/told.h"

#define COPIES_MAX 3    /* a source that others write meanwhile */
#define LOOK_MS    5000 /* for the look at what is done already */

/*
 * A file's rename. Without something to replace it is a move, which the service does in one step;
 * else a copy over the target, and then the source goes. Nothing here is conditional at the
 * service, so each way begins with a look at the source and ends with one at what came of it: what
 * somebody else wrote in between is kept where that is possible, and counted and logged where not.
 */

/* ---- looks ---------------------------------------------------------------------------------- */

static int
look_source(const struct sf_move *m, struct sf_object *out, struct sf_err *err)
{
    return sf_storage_info_wait(m->w->st, m->bucket, m->key, m->deadline_ms, out, err);
}

static int
look_target(const struct sf_move *m, struct sf_object *out, struct sf_err *err)
{
    return sf_storage_info_wait(m->w->st, m->to_bucket, m->to_key, m->deadline_ms, out, err);
}

/* Do both have the same bytes, as far as the service tells? Only MD5 ETags can be compared. */
static bool
same_bytes(const struct sf_version *a, const struct sf_version *b)
{
    if (a->size != b->size)
        return false;
    return !sf_etag_is_md5(a->etag) || !sf_etag_is_md5(b->etag) ||
           strcasecmp(a->etag, b->etag) == 0;
}

static bool
same_id(const struct sf_version *a, const struct sf_object *b)
{
    return a->id[0] && b->id && strcmp(a->id, b->id) == 0;
}

static void
foreign_write(const struct sf_move *m, const char *what)
{
    sf_count(SF_C_RENAME_RACES, 1);
    sf_warn("write", "event=rename-race object=%s/%s to=%s/%s what=\"%s\"", m->bucket, m->key,
            m->to_bucket, m->to_key, what);
}

/* ---- move ----------------------------------------------------------------------------------- */

enum verdict { MOVED, NOT_MOVED, TARGET_TAKEN, BOTH_GONE, UNKNOWN };

/* A move's reply was lost: what do the two names say? A move keeps the object's id. */
static enum verdict
settle_move(const struct sf_move *m)
{
    sf_autoobject struct sf_object source = {0}, target = {0};
    int t = look_target(m, &target, NULL);
    if (t && t != -ENOENT)
        return UNKNOWN;
    if (t == 0 && same_id(&m->source, &target))
        return MOVED;
    int s = look_source(m, &source, NULL);
    if (s && s != -ENOENT)
        return UNKNOWN;
    if (s == -ENOENT) /* an old service tells no ids */
        return t == 0 && !m->source.id[0] ? MOVED : BOTH_GONE;
    return t == 0 ? TARGET_TAKEN : NOT_MOVED;
}

int
sf_move_send(const struct sf_move *m, struct sf_err *err)
{
    bool open = false;
    for (unsigned repeats = 1;; repeats++) {
        *err = SF_ERR_INIT;
        int rc = sf_storage_move_wait(m->w->st, m->bucket, m->key, m->to_bucket, m->to_key,
                                      sf_writer_try_until(m->w, m->deadline_ms), err);
        if (!rc)
            return 0;
        if (!err->outcome_open && !(open && (rc == -ENOENT || rc == -EEXIST)))
            return rc;
        open = true;
        switch (settle_move(m)) {
        case MOVED:
            return sf_change_settled(err, "moved", m->to_bucket, m->to_key);
        case TARGET_TAKEN:
            *err = SF_ERR_INIT;
            return sf_err_set(err, -EEXIST, "%s/%s exists", m->to_bucket, m->to_key);
        case BOTH_GONE:
            *err = SF_ERR_INIT;
            return sf_err_set(err, -ENOENT, "%s/%s is gone", m->bucket, m->key);
        case NOT_MOVED:
            if (sf_writer_pause(m->w, repeats, m->deadline_ms))
                continue;
            err->outcome_open = false;
            return rc;
        case UNKNOWN:
            err->outcome_open = true;
            return rc;
        }
    }
}

void
sf_move_told(const struct sf_move *m, int rc, const struct sf_version *now)
{
    if (rc)
        sf_sources_moved(m->w, m->bucket, m->key, m->bucket, m->key, NULL, NULL);
    else
        sf_sources_moved(m->w, m->bucket, m->key, m->to_bucket, m->to_key, &m->source, now);
    if (!rc)
        sf_told_move(m, now);
}

static void
set_later_kept(void *arg, const struct sf_err *err)
{
    (void)arg;
    if (err)
        sf_warn("write", "event=attributes-lost reason=\"%s\"", err->msg);
}

/* Like a change that was asked for under the old name: sf_attrs_moved(), which follows, waits until
 * the journal has it, and gives it the new one. */
static void
set_later(const struct sf_move *m, const char *cc, const char *mime, const struct sf_version *seen)
{
    struct sf_mark mark;
    sf_autofree char *others = NULL;
    if (m->w->plain || !sf_mark_parse(cc, &mark))
        return;
    (void)sf_cache_control_with(cc, NULL, &others); /* without memory the mark alone */
    bool typed = !mark.guessed && mime && sf_mime_is_settable(mime);
    bool other = others && sf_cache_control_is_settable(others);
    const struct sf_attr_change ch = {.bucket = m->bucket,
                                      .key = m->key,
                                      .seen = seen,
                                      .mark = &mark,
                                      .mime = typed ? mime : NULL,
                                      .cache_control = other ? others : NULL,
                                      .former = true};
    sf_write_attrs(m->w, &ch, set_later_kept, NULL, NULL);
}

/* A move takes Cache-Control and content type from the stored bytes: what supafs_set_attrs() has
 * put into the row alone is lost by it, and is put there again. */
static void
keep_row(const struct sf_move *m, const char *cc, const char *mime, const struct sf_object *target)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_attrs_result res = {0};
    struct sf_version now;
    if (m->w->plain || !cc || !cc[0] || !target->version ||
        (!strcmp(cc, target->cache_control ? target->cache_control : "") &&
         (!mime || !strcmp(mime, target->mime ? target->mime : ""))))
        return;
    const struct sf_attrs_args args = {.bucket = m->to_bucket,
                                       .key = m->to_key,
                                       .version = target->version,
                                       .cache_control = cc,
                                       .mime = mime};
    int rc = sf_rpc_set_attrs(m->w, &args, m->deadline_ms, &res, &err);
    if (!rc && res.updated)
        return;
    sf_version_of_object(target, &now);
    if (rc && rc != -ENOSYS && sf_failure_is_held(&err))
        set_later(m, cc, mime, &now);
    else
        sf_warn("write", "event=attributes-lost object=%s/%s reason=\"%s\"", m->to_bucket,
                m->to_key, err.code ? err.msg : "written by others meanwhile");
}

/* What has the target now? The rename has succeeded; nothing that fails here changes that. */
static void
moved(struct sf_move *m, const struct sf_object *source, struct sf_version *now)
{
    sf_autoobject struct sf_object target = {0};
    struct sf_version seen = m->source;
    int64_t until = sf_clock_ms() + LOOK_MS;
    seen.version[0] = '\0'; /* a move gives it another */
    if (until < m->deadline_ms)
        m->deadline_ms = until;
    int rc = look_target(m, &target, NULL);
    if (rc == -ENOENT)
        foreign_write(m, "the new name was removed at once");
    else if (rc)
        set_later(m, source->cache_control, source->mime, &seen);
    if (rc)
        return;
    sf_version_of_object(&target, now);
    if (!same_id(&m->source, &target) && m->source.id[0])
        foreign_write(m, "the new name has another object already");
    else if (!same_bytes(&m->source, now))
        foreign_write(m, "written while it was moved; the new version is kept");
    else
        keep_row(m, source->cache_control, source->mime, &target);
}

/* The same, some time after the move: what was set there since stays, and so does another object.
 */
static void
keep_row_again(const struct sf_move *m, const char *cc, const char *mime,
               const struct sf_object *target)
{
    struct sf_mark was = {.valid = 0}, is = {.valid = 0};
    struct sf_version now;
    (void)sf_mark_parse(cc, &was);
    (void)sf_mark_parse(target->cache_control, &is);
    sf_version_of_object(target, &now);
    if (same_id(&m->source, target) && same_bytes(&m->source, &now) &&
        !sf_attrs_is_newer(&is, &was))
        keep_row(m, cc, mime, target);
}

void
sf_move_keep_row(const struct sf_move *m, const char *cache_control, const char *mime)
{
    sf_autoobject struct sf_object target = {0};
    struct sf_mark mark;
    struct sf_version seen = m->source;
    seen.version[0] = '\0'; /* a move gives it another */
    if (m->w->plain || !sf_mark_parse(cache_control, &mark) ||
        sf_rpc_is_missing(m->w, m->to_bucket, m->to_key, m->deadline_ms))
        return; /* without the function all marks lie with the bytes */
    int rc = look_target(m, &target, NULL);
    if (rc && rc != -ENOENT)
        set_later(m, cache_control, mime, &seen);
    else if (!rc && same_id(&m->source, &target))
        keep_row(m, cache_control, mime, &target);
}

/* What the source's row says goes into the record of a move: whoever comes to settle it without
 * having seen the source has it from there. 0 or -ENOMEM. */
static int
note_row(struct sf_rename *rn, const struct sf_object *source)
{
    struct sf_mark mark;
    bool marked =
        !rn->w->plain && source->cache_control && sf_mark_parse(source->cache_control, &mark);
    int rc = sf_record_set(&rn->rec.cache_control, marked ? source->cache_control : NULL);
    return rc ? rc : sf_record_set(&rn->rec.mime, marked ? source->mime : NULL);
}

/* It was moved, and nobody may have looked at its row since. 0, or it cannot be told: then the
 * record has to stay, too. */
static int
settle_row(const struct sf_rename *rn, const struct sf_move *m, struct sf_err *err)
{
    sf_autoobject struct sf_object target = {0};
    if (rn->rec.state != SF_RECORD_RENAME_MOVING || !rn->rec.cache_control)
        return 0;
    int rc = look_target(m, &target, err);
    if (!rc)
        keep_row_again(m, rn->rec.cache_control, rn->rec.mime, &target);
    if (rc != -ENOENT)
        return rc;
    *err = SF_ERR_INIT;
    return 0;
}

/* ---- copy ----------------------------------------------------------------------------------- */

/* What a copy says of itself. */
struct copy {
    struct sf_copy_args args;
    char *metadata;
    char op[SF_OP_LEN + 1]; /* that the copy carries; "" = none */
};

/* The type that an object shall have under its new name: another one than @source has only if ours
 * was a guess and the new name says more. */
static const char *
new_type(const struct sf_move *m, const struct sf_object *source)
{
    struct sf_mark mark;
    const char *slash = strrchr(m->to_key, '/');
    if (!source->cache_control || !sf_mark_parse(source->cache_control, &mark) || !mark.guessed)
        return NULL;
    const char *mime = sf_mime_guess(slash ? slash + 1 : m->to_key, NULL, 0);
    bool says_nothing = strcmp(mime, sf_mime_guess("", NULL, 0)) == 0;
    return says_nothing || strcmp(mime, source->mime ? source->mime : "") == 0 ? NULL : mime;
}

/* The copy keeps what the source says of itself, and carries an id by which it is known again, as
 * far as a header can take both. */
static void
describe_copy(const struct sf_move *m, const struct sf_object *source, struct copy *c)
{
    struct sf_meta meta = {0};
    *c = (struct copy){.args = {.bucket = m->bucket,
                                .key = m->key,
                                .to_bucket = m->to_bucket,
                                .to_key = m->to_key,
                                .upsert = m->replace}};
    if (m->w->plain || sf_meta_parse(source->metadata, &meta) < 0)
        return;
    free(sf_steal(meta.xattrs)); /* those of the source are kept by what builds the text */
    if (sf_op_new(meta.op) == 0 && sf_meta_build(source->metadata, &meta, &c->metadata) == 0 &&
        strlen(c->metadata) <= SF_METADATA_HEADER_MAX) {
        memcpy(c->op, meta.op, sizeof c->op);
        c->args.set_metadata = true;
        c->args.mime = new_type(m, source);
        c->args.metadata = c->metadata;
    }
    sf_meta_fini(&meta);
}

static bool
has_op(const struct sf_object *o, const char *op)
{
    struct sf_meta meta = {0};
    if (!op[0] || sf_meta_parse(o->metadata, &meta) <= 0)
        return false;
    bool yes = strcmp(meta.op, op) == 0;
    sf_meta_fini(&meta);
    return yes;
}

/* A copy's reply was lost. 0 *copy is there; 1 it is not; or what is known instead. */
static int
settle_copy(const struct sf_move *m, const struct copy *c, int rc, struct sf_version *copy,
            struct sf_err *err)
{
    sf_autoobject struct sf_object source = {0}, target = {0};
    struct sf_version now;
    int s = look_source(m, &source, NULL), t = look_target(m, &target, NULL);
    sf_version_of_object(&source, &now);
    sf_version_of_object(&target, copy);
    if (!t && has_op(&target, c->op))
        return sf_change_settled(err, "copied", m->to_bucket, m->to_key);
    /* Without MD5 ETags an old target of the same size could pass for the copy: copy again. */
    if (!c->op[0] && !s && !t && sf_etag_is_md5(now.etag) && same_bytes(&now, copy))
        return sf_change_settled(err, "copied", m->to_bucket, m->to_key);
    if ((s && s != -ENOENT) || (t && t != -ENOENT))
        return rc;
    *err = SF_ERR_INIT;
    if (s == -ENOENT)
        return sf_err_set(err, -ENOENT, "%s/%s is gone", m->bucket, m->key);
    if (!t && !m->replace)
        return sf_err_set(err, -EEXIST, "%s/%s exists", m->to_bucket, m->to_key);
    return 1;
}

/* Copy to the target; *copy: the target as it is then. */
static int
copy_send(const struct sf_move *m, const struct copy *c, struct sf_version *copy,
          struct sf_err *err)
{
    bool open = false;
    for (unsigned repeats = 1;; repeats++) {
        sf_autoobject struct sf_object target = {0};
        *err = SF_ERR_INIT;
        int rc = sf_storage_copy_wait(m->w->st, &c->args, sf_writer_try_until(m->w, m->deadline_ms),
                                      &target, err);
        sf_version_of_object(&target, copy);
        if (!rc || (!err->outcome_open && !(open && rc == -EEXIST)))
            return rc;
        open = true;
        rc = settle_copy(m, c, rc, copy, err);
        if (rc <= 0)
            return rc;
        if (!sf_writer_pause(m->w, repeats, m->deadline_ms))
            return sf_err_set(err, -EIO, "%s/%s could not be copied", m->bucket, m->key);
    }
}

/* The target has the bytes; now the source may go. */
static int
remove_source(const struct sf_move *m, struct sf_err *err)
{
    int rc = sf_change_delete(m->w, m->bucket, m->key, &m->source, m->deadline_ms, err);
    sf_step(SF_STEP_RENAME_REMOVED);
    if (rc == -ENOENT)
        return 0;
    if (rc)
        sf_err_prefix(err, "%s/%s was copied to its new name but could not be removed", m->bucket,
                      m->key);
    return rc;
}

static int
replace_run(struct sf_rename *rn, struct sf_move *m, struct sf_object *source,
            struct sf_version *now, struct sf_err *err)
{
    for (int i = 0; i < COPIES_MAX; i++) {
        struct copy c;
        struct sf_version after;
        describe_copy(m, source, &c);
        memcpy(rn->rec.op, c.op, sizeof c.op);
        rn->rec.source = m->source;
        int rc = sf_rename_note(rn, SF_RECORD_RENAME_COPYING, err);
        if (!rc)
            rc = copy_send(m, &c, now, err);
        free(c.metadata);
        if (rc)
            return rc;
        sf_step(SF_STEP_RENAME_COPIED);
        m->replace = true; /* from now on the target is ours */
        sf_object_fini(source);
        rc = look_source(m, source, err);
        if (rc == -ENOENT) {
            *err = SF_ERR_INIT;
            return 0; /* somebody else removed it: only the new name is left, as asked */
        }
        if (rc)
            return rc;
        sf_version_of_object(source, &after);
        bool still = sf_version_same(&m->source, &after);
        m->source = after;
        if (still && same_bytes(now, &after)) {
            rc = sf_rename_note(rn, SF_RECORD_RENAME_REMOVING, err);
            return rc ? rc : remove_source(m, err);
        }
        if (still)
            return sf_err_set(err, -EIO, "the copy of %s/%s differs from it; it is kept", m->bucket,
                              m->key);
        foreign_write(m, "written while it was copied; copied again");
    }
    return sf_err_set(err, -EBUSY, "%s/%s is written all the time; both names exist now", m->bucket,
                      m->key);
}

/* ---- the job -------------------------------------------------------------------------------- */

int
sf_rename_allowed(const struct sf_rename_args *a, const char *key, uint64_t size, const char *mime,
                  struct sf_err *err)
{
    if (strcmp(a->bucket, a->to_bucket) == 0)
        return 0;
    if (a->max_size && size > a->max_size)
        return sf_err_set(err, -EFBIG,
                          "%s/%s has %" PRIu64 " bytes, and bucket %s takes at most %" PRIu64,
                          a->bucket, key, size, a->to_bucket, a->max_size);
    if (!sf_mime_allowed(mime, a->mimes))
        return sf_err_set(err, -EPERM, "bucket %s does not take content of type %s", a->to_bucket,
                          mime);
    return 0;
}

static void
move_init(struct sf_move *m, struct sf_rename *rn)
{
    const struct sf_rename_args *a = &rn->args;
    *m = (struct sf_move){.w = rn->w,
                          .bucket = a->bucket,
                          .key = a->key,
                          .to_bucket = a->to_bucket,
                          .to_key = a->to_key,
                          .replace = a->replace,
                          .deadline_ms = sf_writer_deadline(rn->w, 0),
                          .began_ms = sf_clock_ms()};
}

static int
move_run(struct sf_rename *rn, struct sf_move *m, const struct sf_object *source,
         struct sf_version *now, struct sf_err *err)
{
    rn->rec.source = m->source;
    int rc = note_row(rn, source);
    rc = rc ? sf_err_set(err, rc, "out of memory")
            : sf_rename_note(rn, SF_RECORD_RENAME_MOVING, err);
    if (!rc)
        rc = sf_move_send(m, err);
    if (rc)
        return rc;
    sf_step(SF_STEP_RENAME_MOVED);
    moved(m, source, now);
    return 0;
}

/* It may be what was sent from here, of which the cache does not know the ETag yet. */
static void
seen(const struct sf_move *m, const struct sf_object *source)
{
    struct sf_meta meta = {0};
    if (sf_meta_parse(source->metadata, &meta) > 0)
        sf_bytes_seen(m->w, m->bucket, m->key, meta.op, source);
    sf_meta_fini(&meta);
}

static int
rename_object(struct sf_rename *rn, struct sf_version *now, struct sf_err *err)
{
    const struct sf_rename_args *a = &rn->args;
    struct sf_move m;
    sf_autoobject struct sf_object source = {0};
    move_init(&m, rn);
    int rc = look_source(&m, &source, err);
    if (rc)
        return rc;
    sf_version_of_object(&source, &m.source);
    seen(&m, &source);
    if (strcmp(a->bucket, a->to_bucket) == 0 && strcmp(a->key, a->to_key) == 0) {
        *now = m.source;
        return 0;
    }
    const char *mime = rn->w->plain ? NULL : new_type(&m, &source);
    rc = sf_rename_allowed(a, a->key, source.size,
                           mime          ? mime
                           : source.mime ? source.mime
                                         : "",
                           err);
    if (!rc && a->replace) /* who has the old target open keeps it */
        rc = sf_sources_rescue(rn->w, a->to_bucket, a->to_key,
                               sf_writer_deadline(rn->w, rn->w->keep_open_max), err);
    if (rc)
        return rc;
    sf_sources_hold(rn->w, a->bucket, a->key);
    m.deadline_ms = sf_writer_deadline(rn->w, 0); /* what was fetched took its time */
    /* A move keeps the content type. */
    rc = a->replace || mime ? replace_run(rn, &m, &source, now, err)
                            : move_run(rn, &m, &source, now, err);
    bool known = now->id[0] && same_bytes(&m.source, now);
    sf_move_told(&m, rc, known ? now : NULL);
    rn->arrived = !rc;
    /* Before the record goes: a start that finds bytes which waited for the name alone sends them.
     */
    if (!rc && a->replace)
        sf_pending_abandon(rn->w, a->to_bucket, a->to_key);
    sf_rename_settle(rn, rc, err);
    return rc;
}

/* Does the target have what the record says that it gets? @now: its version. */
static bool
target_has_it(const struct sf_rename *rn, const struct sf_move *m, const struct sf_object *target,
              const struct sf_version *now)
{
    switch (rn->rec.state) {
    case SF_RECORD_RENAME_MOVING:
        return same_id(&m->source, target);
    case SF_RECORD_RENAME_REMOVING:
        return same_bytes(&m->source, now);
    default:
        return has_op(target, rn->rec.op);
    }
}

/* Nobody knew what became of it, and its caller has been told so. What was not done stays so: he
 * may have gone another way. Nor is the source of a copy removed: what he does to the target now
 * would take the only bytes that there are. */
static int
rename_settle(struct sf_rename *rn, struct sf_version *now, struct sf_err *err)
{
    struct sf_move m;
    sf_autoobject struct sf_object source = {0}, target = {0};
    move_init(&m, rn);
    m.source = rn->rec.source;
    int s = look_source(&m, &source, err), t = look_target(&m, &target, NULL);
    sf_version_of_object(&target, now);
    if (s && s != -ENOENT)
        return s;
    if (t && t != -ENOENT)
        return sf_err_set(err, t, "%s/%s cannot be looked at", m.to_bucket, m.to_key);
    *err = SF_ERR_INIT;
    bool there = !t && target_has_it(rn, &m, &target, now);
    rn->arrived = there && s;
    if (rn->arrived && rn->rec.state == SF_RECORD_RENAME_MOVING && rn->rec.cache_control)
        keep_row_again(&m, rn->rec.cache_control, rn->rec.mime, &target);
    sf_sources_hold(rn->w, m.bucket, m.key);
    if (there && !s)
        sf_info("write", "event=rename-half-done object=%s/%s to=%s/%s text=%s", m.bucket, m.key,
                m.to_bucket, m.to_key, "both names exist");
    sf_move_told(&m, rn->arrived ? 0 : -EIO, now);
    sf_rename_settle(rn, 0, NULL);
    return 0;
}

void
sf_write_rename(struct sf_writer *w, const struct sf_rename_args *args, sf_rename_fn cb, void *arg)
{
    sf_rename_queue(w, args, rename_object, rename_settle, cb, arg);
}

/* ---- after a start -------------------------------------------------------------------------- */

/* Nobody was told that it succeeded, and it may have: what was begun is brought to its end.
 * *replaced: the target has it for certain. */
static int
roll_forward(struct sf_rename *rn, struct sf_move *m, bool *replaced, struct sf_version *now,
             struct sf_err *err)
{
    sf_autoobject struct sf_object source = {0}, target = {0};
    struct sf_version seen;
    int s = look_source(m, &source, err), t = look_target(m, &target, NULL), rc = 0;
    sf_version_of_object(&source, &seen);
    sf_version_of_object(&target, now);
    if (s && s != -ENOENT)
        return s;
    if (t && t != -ENOENT)
        return sf_err_set(err, t, "%s/%s cannot be looked at", m->to_bucket, m->to_key);
    *replaced = !t && target_has_it(rn, m, &target, now);
    if (s == -ENOENT) {
        *err = SF_ERR_INIT; /* it was moved, or its copy is all there is, or others removed it */
        rn->arrived = true;
    } else if (rn->rec.state == SF_RECORD_RENAME_MOVING) {
        bool send = !*replaced && same_id(&m->source, &source);
        rc = send ? sf_move_send(m, err) : 0;
        rn->arrived = !rc;
        *replaced |= send && !rc;
    } else if (!sf_version_same(&m->source, &seen)) {
        foreign_write(m, "written while the file system was away; both names exist now");
    } else if (rn->rec.state == SF_RECORD_RENAME_COPYING && !*replaced) {
        m->source = seen;
        rc = replace_run(rn, m, &source, now, err);
        *replaced = rn->arrived = !rc;
    } else {
        rc = remove_source(m, err);
        rn->arrived = !rc;
    }
    return rc;
}

static int
rename_replay(struct sf_rename *rn, struct sf_version *now, struct sf_err *err)
{
    const struct sf_rename_args *a = &rn->args;
    struct sf_move m;
    bool replaced = false;
    uint64_t seq = rn->rec.seq;
    move_init(&m, rn);
    m.source = rn->rec.source;
    int rc = roll_forward(rn, &m, &replaced, now, err);
    if (rn->arrived && (rc = settle_row(rn, &m, err)))
        rn->arrived = !sf_failure_is_held(err); /* else it is tried again */
    /* Before its record goes: a start that finds theirs alone would send them. */
    if (!rc || !sf_failure_is_held(err))
        sf_replay_renamed(rn->w, a->to_bucket, a->to_key, seq, replaced);
    sf_rename_settle(rn, rc, err);
    return rc;
}

int
sf_replay_rename(struct sf_writer *w, struct sf_record *r)
{
    return sf_rename_again(w, r, rename_replay);
}
