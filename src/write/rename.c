/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "observe/log.h"
#include "write/change.h"

#define COPIES_MAX 3 /* a source that others write meanwhile */

/* What is under one of the two names? 0, -ENOENT, or why that is not known. */
static int
look(struct sf_writer *w, const char *bucket, const char *key, int64_t deadline_ms,
     struct sf_object *out)
{
    return sf_storage_info_wait(w->st, bucket, key, deadline_ms, out, NULL);
}

static int
look_source(struct sf_change *ch, int64_t deadline_ms, struct sf_object *out)
{
    return look(ch->w, ch->bucket, ch->key, deadline_ms, out);
}

static int
look_target(struct sf_change *ch, int64_t deadline_ms, struct sf_object *out)
{
    return look(ch->w, ch->to_bucket, ch->to_key, deadline_ms, out);
}

/* ---- move ----------------------------------------------------------------------------------- */

enum verdict { MOVED, NOT_MOVED, TARGET_TAKEN, BOTH_GONE, UNKNOWN };

/* A move's reply was lost: what do the two names say? */
static enum verdict
settle_move(struct sf_change *ch, int64_t deadline_ms)
{
    sf_autoobject struct sf_object source = {0}, target = {0};
    int s = look_source(ch, deadline_ms, &source);
    int t = s && s != -ENOENT ? s : look_target(ch, deadline_ms, &target);
    if ((s && s != -ENOENT) || (t && t != -ENOENT))
        return UNKNOWN;
    if (s == -ENOENT)
        return t == 0 ? MOVED : BOTH_GONE;
    return t == 0 ? TARGET_TAKEN : NOT_MOVED;
}

static int
move_run(struct sf_change *ch, int64_t deadline_ms, struct sf_err *err)
{
    bool open = false;
    for (unsigned repeats = 1;; repeats++) {
        *err = SF_ERR_INIT;
        int rc = sf_storage_move_wait(ch->w->st, ch->bucket, ch->key, ch->to_bucket, ch->to_key,
                                      sf_writer_try_until(ch->w, deadline_ms), err);
        if (!rc)
            return 0;
        if (!err->outcome_open && !(open && (rc == -ENOENT || rc == -EEXIST)))
            return rc;
        open = true;
        switch (settle_move(ch, deadline_ms)) {
        case MOVED:
            return sf_change_settled(err, "moved", ch->to_bucket, ch->to_key);
        case TARGET_TAKEN:
            *err = SF_ERR_INIT;
            return sf_err_set(err, -EEXIST, "%s/%s exists", ch->to_bucket, ch->to_key);
        case BOTH_GONE:
            *err = SF_ERR_INIT;
            return sf_err_set(err, -ENOENT, "%s/%s is gone", ch->bucket, ch->key);
        case NOT_MOVED:
            if (sf_writer_pause(ch->w, repeats, deadline_ms))
                continue;
            err->outcome_open = false;
            return rc;
        case UNKNOWN:
            err->outcome_open = true;
            return rc;
        }
    }
}

/* ---- replace -------------------------------------------------------------------------------- */

/* Have both objects the same bytes, as far as the service tells? Only MD5 ETags can be compared. */
static bool
same_bytes(const struct sf_object *a, const struct sf_object *b)
{
    if (a->size != b->size)
        return false;
    return !sf_etag_is_md5(a->etag) || !sf_etag_is_md5(b->etag) ||
           strcasecmp(a->etag, b->etag) == 0;
}

/* Copy over the target; @copy: the target as it is then. A lost reply is settled by both names. */
static int
copy_over(struct sf_change *ch, int64_t deadline_ms, struct sf_object *copy, struct sf_err *err)
{
    struct sf_copy_args args = {.bucket = ch->bucket,
                                .key = ch->key,
                                .to_bucket = ch->to_bucket,
                                .to_key = ch->to_key,
                                .upsert = true};
    for (unsigned repeats = 1;; repeats++) {
        *err = SF_ERR_INIT;
        int rc = sf_storage_copy_wait(ch->w->st, &args, sf_writer_try_until(ch->w, deadline_ms),
                                      copy, err);
        if (!rc || !err->outcome_open)
            return rc;
        sf_autoobject struct sf_object source = {0}, target = {0};
        int s = look_source(ch, deadline_ms, &source);
        int t = look_target(ch, deadline_ms, &target);
        /* Without MD5 ETags an old target of the same size could pass for the copy: copy again. */
        if (!s && !t && sf_etag_is_md5(source.etag) && same_bytes(&source, &target)) {
            *copy = target;
            target = (struct sf_object){0};
            return sf_change_settled(err, "copied", ch->to_bucket, ch->to_key);
        }
        if ((s && s != -ENOENT) || (t && t != -ENOENT))
            return rc;
        if (s == -ENOENT) {
            *err = SF_ERR_INIT;
            return sf_err_set(err, -ENOENT, "%s/%s is gone", ch->bucket, ch->key);
        }
        if (!sf_writer_pause(ch->w, repeats, deadline_ms))
            return rc;
    }
}

/* The target has the bytes; now the source may go. */
static int
remove_source(struct sf_change *ch, int64_t deadline_ms, struct sf_err *err)
{
    int rc = sf_change_delete(ch->w, ch->bucket, ch->key, deadline_ms, err);
    if (rc == -ENOENT)
        return 0;
    if (rc)
        sf_err_prefix(err, "%s/%s was copied to its new name but could not be removed", ch->bucket,
                      ch->key);
    return rc;
}

static int
replace_run(struct sf_change *ch, int64_t deadline_ms, struct sf_err *err)
{
    for (int i = 0; i < COPIES_MAX; i++) {
        sf_autoobject struct sf_object copy = {0}, source = {0};
        *err = SF_ERR_INIT;
        int rc = copy_over(ch, deadline_ms, &copy, err);
        if (rc)
            return rc;
        rc = sf_storage_info_wait(ch->w->st, ch->bucket, ch->key, deadline_ms, &source, err);
        if (rc == -ENOENT)
            return 0; /* somebody else removed it: only the new name is left, as asked */
        if (rc)
            return rc;
        bool later = copy.updated_ns && source.updated_ns > copy.updated_ns;
        if (!later && same_bytes(&copy, &source))
            return remove_source(ch, deadline_ms, err);
        if (!later)
            return sf_err_set(err, -EIO, "the copy of %s/%s differs from it; it is kept",
                              ch->bucket, ch->key);
        sf_info("write", "event=rename-again object=%s/%s reason=\"written meanwhile\"", ch->bucket,
                ch->key);
    }
    return sf_err_set(err, -EBUSY, "%s/%s is written all the time; both names exist now",
                      ch->bucket, ch->key);
}

int
sf_rename_run(struct sf_change *ch, int64_t deadline_ms, struct sf_err *err)
{
    if (strcmp(ch->bucket, ch->to_bucket) == 0 && strcmp(ch->key, ch->to_key) == 0)
        return 0;
    return ch->replace ? replace_run(ch, deadline_ms, err) : move_run(ch, deadline_ms, err);
}
