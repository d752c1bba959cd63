/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/attrs.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/attrs-internal.h"
#include "write/bytes.h"
#include "write/failure.h"
#include "write/meta.h"
#include "write/rpc.h"
#include "write/step.h"
#include "write/told.h"

#define TURNS_MAX   5 /* somebody else keeps writing it */
#define LOCAL       1 /* cannot be written: stays local */
#define AGAIN       2 /* look at the object again */
#define MARKER_MIME "application/octet-stream"

/* One entry on its way. */
struct work {
    struct sf_attrs_entry *e;
    struct sf_writer *w;
    int64_t deadline_ms;
    struct sf_object old;           /* as the last info shows it */
    struct sf_version is, copied;   /* now; that a copy was made of, perhaps */
    struct sf_meta meta;            /* of it */
    char *cache_control, *metadata; /* as they shall be */
    char *mime;                     /* likewise; NULL = as it is */
    bool served;                    /* another content type or Cache-Control for who gets it */
    bool bare;                      /* nothing of ours is to be written: of attrs=none */
    bool nothing;                   /* it has all of it */
    bool open;                      /* a copy under e->op may have been done */
    bool with_op;                   /* e->op stands in the object's metadata now */
    unsigned repeats;
};

static void
work_forget(struct work *k)
{
    sf_object_fini(&k->old);
    sf_meta_fini(&k->meta);
    free(sf_steal(k->cache_control));
    free(sf_steal(k->metadata));
    free(sf_steal(k->mime));
}

/* ---- what to write --------------------------------------------------------------------------- */

/* Did this mount itself put there what is there? */
static bool
is_ours(const struct work *k)
{
    struct sf_known_object o;
    const struct sf_attrs_entry *e = k->e;
    if (!sf_known_at(k->w->known, e->bucket, e->key, &o))
        return false;
    bool same = (o.op[0] && !strcmp(o.op, k->meta.op)) ||
                (o.version[0] && !strcmp(o.version, k->is.version));
    sf_known_object_fini(&o);
    return same;
}

/* Has somebody else written it since it was seen? */
static bool
is_of_another(const struct work *k, bool ours)
{
    const struct sf_attrs_entry *e = k->e;
    return !ours && sf_version_known(&e->seen) && !sf_version_same(&e->seen, &k->is);
}

/* @is: what it says now; NULL = nothing. */
static struct sf_mark
mark_for(const struct work *k, const struct sf_mark *is, bool ours, bool another)
{
    const struct sf_attrs_entry *e = k->e;
    struct sf_mark none = {.valid = 0};
    if (k->bare || (ours && is && !sf_attrs_is_newer(&e->mark, is)))
        return is ? *is : none; /* or an upload that began later has brought its own */
    return another ? sf_attrs_for_another(&e->mark, is ? is : &none) : e->mark;
}

/* The content type that it shall have; NULL = as it is. */
static const char *
type_for(const struct sf_attrs_entry *e)
{
    const char *slash = strrchr(e->key, '/');
    return e->mime && !e->mime[0] ? sf_mime_guess(slash ? slash + 1 : e->key, NULL, 0) : e->mime;
}

/* k->cache_control, and whether others see more of it change than our mark. */
static int
prepare_cache_control(struct work *k, const char *others, const struct sf_mark *mark)
{
    sf_autofree char *before = NULL, *after = NULL;
    int rc = sf_cache_control_with(others, mark, &k->cache_control);
    if (!rc && !k->cache_control[0]) /* what the service makes of none */
        rc = sf_record_set(&k->cache_control, "no-cache");
    if (!rc)
        rc = sf_cache_control_with(k->old.cache_control, NULL, &before);
    if (!rc)
        rc = sf_cache_control_with(k->cache_control, NULL, &after);
    k->served = !rc && others != k->old.cache_control && strcmp(before, after) != 0;
    return rc;
}

/* What the envelope shall be; *same: its attributes are so already. */
static int
prepare_metadata(struct work *k, bool *xattrs, bool *same)
{
    const struct sf_attrs_entry *e = k->e;
    sf_autofree char *now = NULL;
    struct sf_meta m = {.xattrs = e->xattrs};
    const char *had = k->meta.xattrs ? k->meta.xattrs : "";
    memcpy(m.op, e->op, sizeof m.op);
    memcpy(m.sha256, k->meta.sha256, sizeof m.sha256);
    int rc = sf_xattrs_merge(k->meta.xattrs, e->xattrs, false, &now);
    *xattrs = now != NULL;
    *same = !rc && !strcmp(now ? now : "", had);
    if (!rc && k->bare)
        return sf_record_set(&k->metadata, k->old.metadata ? k->old.metadata : "{}");
    return rc ? rc : sf_meta_build(k->old.metadata, &m, &k->metadata);
}

/* The texts to be sent; k->nothing when there is nothing to send. */
static int
prepare(struct work *k, struct sf_err *err)
{
    const struct sf_attrs_entry *e = k->e;
    struct sf_mark is = {.valid = 0};
    bool marked = sf_mark_parse(k->old.cache_control, &is) == 1, same_xattrs = false;
    bool ours = is_ours(k), another = is_of_another(k, ours);
    if (another)
        sf_count(SF_C_ATTR_CONFLICTS, 1);
    k->bare = !e->mark.valid && !e->xattrs;
    struct sf_mark mark = mark_for(k, marked ? &is : NULL, ours, another);
    /* These speak of the bytes that were seen. */
    const char *mime = another ? NULL : type_for(e), *others = another ? NULL : e->cache_control;
    mark.guessed = mime ? !e->mime[0] : is.guessed;
    int rc = prepare_metadata(k, &mark.xattrs, &same_xattrs);
    if (!rc)
        rc = prepare_cache_control(k, others ? others : k->old.cache_control,
                                   marked || !k->bare ? &mark : NULL);
    if (!rc && mime && strcmp(mime, k->old.mime ? k->old.mime : ""))
        rc = sf_record_set(&k->mime, mime);
    if (rc)
        return sf_err_set(err, rc, "%s/%s: its attributes cannot be put in its metadata: %s",
                          e->bucket, e->key, strerror(-rc));
    k->served = k->served || k->mime;
    k->nothing = same_xattrs && !k->mime && k->old.cache_control &&
                 !strcmp(k->cache_control, k->old.cache_control);
    return 0;
}

/* Whether an error is for later; else the attributes stay local. */
static int
later_or_local(const struct sf_err *err)
{
    return sf_failure_is_held(err) ? err->code : LOCAL;
}

/* ---- the three ways -------------------------------------------------------------------------- */

/* By the function of the database: it compares, moves no byte, and may be repeated. */
static int
by_rpc(struct work *k, struct sf_version *now, struct sf_err *err)
{
    const struct sf_attrs_entry *e = k->e;
    const struct sf_attrs_args args = {.bucket = e->bucket,
                                       .key = e->key,
                                       .version = k->old.version,
                                       .cache_control = k->cache_control,
                                       .mime = k->mime,
                                       .metadata = e->xattrs ? k->metadata : NULL};
    struct sf_attrs_result res = {0};
    int rc = sf_rpc_set_attrs(k->w, &args, k->deadline_ms, &res, err);
    if (!rc) {
        sf_step(SF_STEP_ATTRS_SENT);
        if (!res.updated)
            return AGAIN;
        *now = k->is;
        now->updated_ns = res.updated_ns;
        k->with_op = args.metadata != NULL;
        return 0;
    }
    if (rc == -ENOSYS || sf_failure_is_held(err))
        return rc;
    sf_debug("write", "event=set-attrs-refused object=%s/%s err=%s reason=%s", e->bucket, e->key,
             sf_errno_name(rc), err->msg); /* the other way may be open */
    return -ENOSYS;
}

/* By a copy onto itself. It can be lost in a copy that somebody else writes meanwhile; so it is
 * small, and the object has just been looked at. */
static int
by_copy(struct work *k, struct sf_version *now, struct sf_err *err)
{
    struct sf_attrs_entry *e = k->e;
    const struct sf_copy_args args = {.bucket = e->bucket,
                                      .key = e->key,
                                      .to_bucket = e->bucket,
                                      .to_key = e->key,
                                      .upsert = true,
                                      .set_metadata = true,
                                      .mime = k->mime,
                                      .cache_control = k->cache_control,
                                      .metadata = k->metadata};
    sf_autoobject struct sf_object got = {0};
    if (k->old.size > k->w->attr_copy_max) {
        (void)!sf_err_set(err, -EFBIG,
                          "%s/%s has %" PRIu64 " bytes: without the function supafs_set_attrs its "
                          "attributes go with the next upload",
                          e->bucket, e->key, k->old.size);
        return LOCAL;
    }
    int rc = sf_attrs_record(e, SF_RECORD_ATTRS_WRITING);
    if (rc)
        return sf_err_set(err, rc, "%s/%s: the journal does not take it: %s", e->bucket, e->key,
                          strerror(-rc));
    sf_step(SF_STEP_ATTRS_CHOSEN);
    rc =
        sf_storage_copy_wait(k->w->st, &args, sf_writer_try_until(k->w, k->deadline_ms), &got, err);
    bool same_bytes = !rc && got.size == k->old.size;
    if (!rc)
        sf_version_of_object(&got, now);
    sf_sources_renewed(k->w, e->bucket, e->key, &k->is, same_bytes ? now : NULL);
    if (!rc) {
        sf_step(SF_STEP_ATTRS_SENT);
        k->with_op = !k->bare;
        if (!same_bytes) /* his, and our times */
            sf_count(SF_C_ATTR_CONFLICTS, 1);
        return 0;
    }
    if (rc == -ENOENT)
        return AGAIN;
    if (!err->outcome_open)
        return later_or_local(err);
    k->open = true;
    k->copied = k->is;
    return sf_writer_pause(k->w, ++k->repeats, k->deadline_ms) ? AGAIN : rc;
}

/* The marker of a directory that has none yet. */
static int
by_creation(struct work *k, struct sf_version *now, struct sf_err *err)
{
    struct sf_attrs_entry *e = k->e;
    sf_autofd int fd = memfd_create("supafs-marker", MFD_CLOEXEC);
    struct sf_put_args args = {.bucket = e->bucket,
                               .key = e->key,
                               .fd = fd,
                               .mime = MARKER_MIME,
                               .cache_control = k->cache_control,
                               .metadata = k->metadata};
    struct sf_version made = {0};
    if (fd < 0)
        return sf_err_set(err, -errno, "no memory for a file: %m");
    int rc = sf_storage_put_wait(k->w->st, &args, sf_writer_try_until(k->w, k->deadline_ms),
                                 made.id, err);
    if (!rc) {
        sf_step(SF_STEP_ATTRS_SENT);
        *now = made;
        return 0;
    }
    if (rc == -EEXIST)
        return AGAIN;
    if (!err->outcome_open)
        return later_or_local(err);
    return sf_writer_pause(k->w, ++k->repeats, k->deadline_ms) ? AGAIN : rc;
}

/* ---- one entry ------------------------------------------------------------------------------- */

/* Is the function of the database the way? What a GET says of an object lies with its bytes, which
 * only a copy changes; with attrs=none nothing puts the row right again after a move. */
static bool
is_for_rpc(const struct work *k)
{
    bool copied =
        k->old.size <= k->w->attr_copy_max && strlen(k->metadata) <= SF_METADATA_HEADER_MAX;
    return k->old.version && k->old.version[0] && !k->w->plain && !(k->served && copied);
}

static bool
is_marker(const char *key)
{
    const char *slash = strrchr(key, '/');
    return !strcmp(slash ? slash + 1 : key, SF_PLACEHOLDER);
}

/* Look at the object; 0, or the end. */
static int
look(struct work *k, struct sf_err *err)
{
    struct sf_attrs_entry *e = k->e;
    work_forget(k);
    int rc = sf_storage_info_wait(k->w->st, e->bucket, e->key, k->deadline_ms, &k->old, err);
    if (rc && rc != -ENOENT)
        return later_or_local(err);
    if (rc && !is_marker(e->key))
        return rc;
    sf_version_of_object(&k->old, &k->is);
    if (sf_meta_parse(k->old.metadata, &k->meta) < 0)
        return sf_err_set(err, -ENOMEM, "out of memory");
    sf_bytes_seen(k->w, e->bucket, e->key, k->meta.op, &k->old);
    return 0;
}

/* One turn: 0 done, LOCAL, AGAIN or the error. */
static int
turn(struct work *k, struct sf_version *now, struct sf_err *err)
{
    struct sf_attrs_entry *e = k->e;
    *err = SF_ERR_INIT;
    int rc = look(k, err);
    if (rc)
        return rc;
    bool there = k->old.id != NULL;
    *err = SF_ERR_INIT;
    if (k->open && e->op[0] && !strcmp(k->meta.op, e->op)) {
        sf_info("write", "event=lost-reply-settled object=%s/%s outcome=attributes-set", e->bucket,
                e->key);
        *now = k->is;
        k->with_op = true;
        sf_sources_renewed(k->w, e->bucket, e->key, &k->copied, now);
        return 0;
    }
    struct sf_mark is = {.valid = 0};
    if (sf_mark_parse(k->old.cache_control, &is) == 1 && sf_attrs_is_replaced(e, &k->is, &is))
        return sf_err_set(err, -ENOENT, "%s/%s is another file now", e->bucket, e->key);
    if (!e->op[0] && (rc = sf_op_new(e->op)))
        return sf_err_set(err, rc, "no random bytes: %s", strerror(-rc));
    rc = prepare(k, err);
    if (rc)
        return rc == -ENOMEM ? rc : LOCAL;
    if (!there)
        return by_creation(k, now, err);
    if (k->nothing) {
        *now = k->is;
        return 0;
    }
    rc = is_for_rpc(k) ? by_rpc(k, now, err) : -ENOSYS;
    if (rc != -ENOSYS)
        return rc;
    *err = SF_ERR_INIT;
    return by_copy(k, now, err);
}

int
sf_attrs_write(struct sf_attrs_entry *e, int64_t deadline_ms, struct sf_version *now,
               struct sf_err *err)
{
    struct work k = {.e = e, .w = e->w, .deadline_ms = deadline_ms, .open = e->op[0] != '\0'};
    int64_t began_ms = sf_clock_ms();
    int rc = AGAIN;
    for (unsigned turns = 0; rc == AGAIN && turns < TURNS_MAX; turns++)
        rc = turn(&k, now, err);
    if (rc == AGAIN)
        rc = sf_err_set(err, -EBUSY, "%s/%s is written by somebody else again and again", e->bucket,
                        e->key);
    if (!rc) {
        *err = SF_ERR_INIT;
        sf_count(SF_C_ATTR_CHANGES, 1);
        sf_known_touch(k.w->known, e->bucket, e->key, k.with_op ? e->op : k.meta.op, now->version,
                       now->etag);
        sf_told_attrs(k.w, e->bucket, e->key, now,
                      k.mime    ? k.mime
                      : e->mime ? k.old.mime
                                : NULL,
                      began_ms);
    }
    work_forget(&k);
    return rc;
}
