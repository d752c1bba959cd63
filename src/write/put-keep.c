/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/conflict.h"
#include "write/digest.h"
#include "write/mark.h"
#include "write/put-run.h"
#include "write/step.h"

#define NAMES_MAX 16                 /* tried for one conflict */
#define HASH_MAX  (16 * 1024 * 1024) /* bytes that are read to know whose they are */
#define PIECE     (1024 * 1024)

/* Is what lies under the conflict's name the version that is to be kept? */
static int
is_kept(struct sf_put_run *r, const char *key)
{
    sf_autoobject struct sf_object at = {0};
    int rc = sf_storage_info_wait(r->w->st, r->p->bucket, key, r->deadline_ms, &at, NULL);
    if (rc)
        return rc == -ENOENT ? 0 : rc;
    bool comparable = sf_etag_is_md5(at.etag) && sf_etag_is_md5(r->old.etag);
    return at.size == r->old.size && (!comparable || sf_etag_same(at.etag, r->old.etag));
}

/* The copy is another object than the one it comes from: it has an inode number of its own. */
static int
own_cache_control(const struct sf_put_run *r, char **ret)
{
    struct sf_mark mark;
    *ret = NULL;
    if (!sf_mark_parse(r->old.cache_control, &mark) || !(mark.valid & SF_MARK_INO) ||
        strlen(r->old.metadata ? r->old.metadata : "") > SF_METADATA_HEADER_MAX)
        return 0;
    mark.valid &= ~(unsigned)SF_MARK_INO;
    mark.ino = 0;
    return sf_cache_control_with(r->old.cache_control, &mark, ret);
}

/* Copy it to one name. 0 kept; 1 the name is taken; 2 it is another version now; or the error. */
static int
keep_as(struct sf_put_run *r, const char *key, struct sf_err *err)
{
    sf_autoobject struct sf_object copy = {0};
    sf_autofree char *cache_control = NULL;
    if (own_cache_control(r, &cache_control))
        return sf_err_set(err, -ENOMEM, "out of memory");
    const struct sf_copy_args args = {.bucket = r->p->bucket,
                                      .key = r->p->key,
                                      .to_bucket = r->p->bucket,
                                      .to_key = key,
                                      .set_metadata = cache_control != NULL,
                                      .mime = r->old.mime,
                                      .cache_control = cache_control,
                                      .metadata = r->old.metadata};
    bool open = false;
    for (unsigned repeats = 1;; repeats++) {
        *err = SF_ERR_INIT;
        int rc = sf_storage_copy_wait(r->w->st, &args, sf_writer_try_until(r->w, r->deadline_ms),
                                      &copy, err);
        if (rc == -ENOENT)
            return 2;
        if (rc == -EEXIST || err->outcome_open) {
            int kept = open || err->outcome_open ? is_kept(r, key) : 0;
            if (kept < 0)
                return rc;
            if (kept)
                return 0;
            if (rc == -EEXIST)
                return 1;
            open = true;
            if (sf_writer_pause(r->w, repeats, r->deadline_ms))
                continue;
            err->retryable = true;
            return rc;
        }
        if (rc)
            return rc;
        bool comparable = sf_etag_is_md5(copy.etag) && sf_etag_is_md5(r->old.etag);
        bool other =
            copy.size != r->old.size || (comparable && !sf_etag_same(copy.etag, r->old.etag));
        return other ? 2 : 0; /* then two are kept: one too many is better than one too few */
    }
}

/* The hash of what is there, by reading it. False: it cannot be read now. */
static bool
hash_old(const struct sf_put_run *r, struct sf_digests *ret)
{
    struct sf_digest d = {0};
    sf_autofree char *buf = malloc(PIECE);
    bool ok = buf != NULL;
    for (uint64_t off = 0; ok && off < r->old.size;) {
        size_t got = 0;
        const struct sf_get_args args = {.bucket = r->p->bucket,
                                         .key = r->p->key,
                                         .off = off,
                                         .len = PIECE,
                                         .buf = buf,
                                         .etag = r->old.etag,
                                         .total = r->old.size};
        ok = sf_storage_get_wait(r->w->st, &args, r->deadline_ms, &got, NULL) == 0 && got > 0;
        if (ok)
            sf_digest_write(&d, buf, got, off);
        off += got;
    }
    ok = ok && sf_digest_result(&d, r->old.size, ret);
    sf_digest_fini(&d);
    return ok;
}

/* Where nothing else tells (no operation id, an ETag that is no MD5): are they bytes that were sent
 * from here, by this upload or the one before? They are read, up to a bound. */
static bool
is_ours_by_its_bytes(struct sf_put_run *r)
{
    const struct sf_put *p = r->p;
    const struct sf_version *left = p->former_left;
    struct sf_digests d = {.md5_etag = ""};
    bool former = left && left->etag[0] && left->size == r->old.size;
    bool own = !p->source && p->size == r->old.size;
    if (!r->w->plain || sf_etag_is_md5(r->old.etag) || r->old.size > HASH_MAX || (!own && !former))
        return false;
    if (!r->old.size)
        return true;
    if (!hash_old(r, &d) || !d.md5_etag[0])
        return false;
    if (own && !p->md5_etag[0]) {
        struct sf_digests mine;
        own = sf_digest_file(p->fd, p->size, &mine) == 0 &&
              memcmp(mine.sha256, d.sha256, sizeof d.sha256) == 0;
    } else if (own) {
        own = sf_etag_same(p->md5_etag, d.md5_etag);
    }
    return own || (former && sf_etag_same(left->etag, d.md5_etag));
}

int
sf_put_keep(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_put *p = r->p;
    char key[SF_CONFLICT_KEY_MAX + 1];
    if (is_ours_by_its_bytes(r)) {
        sf_info("write", "event=same-bytes object=%s/%s bytes=%llu", p->bucket, p->key,
                (unsigned long long)r->old.size);
        return 0;
    }
    if (p->rec && p->rec->conflict_key && is_kept(r, p->rec->conflict_key) == 1) {
        snprintf(p->conflict_key, sizeof p->conflict_key, "%s", p->rec->conflict_key);
        return 0; /* before the process ended */
    }
    for (unsigned turn = 0; turn < NAMES_MAX; turn++) {
        int rc = sf_conflict_key(p->key, sf_wall_ns(), turn, key);
        if (rc)
            return sf_err_set(err, rc, "no name is left to keep the other version of %s/%s",
                              p->bucket, p->key);
        sf_put_note(r, SF_RECORD_CONTENT_KEEPING, key);
        sf_step(SF_STEP_CONTENT_KEEPING);
        rc = keep_as(r, key, err);
        if (rc < 0)
            return rc;
        if (rc == 2 && (rc = sf_put_look(r, err)))
            return rc;
        if (!r->have_old)
            return 0; /* removed meanwhile: nothing is lost with it */
        if (rc == 0) {
            *err = SF_ERR_INIT;
            snprintf(p->conflict_key, sizeof p->conflict_key, "%s", key);
            sf_count(SF_C_CONFLICTS, 1);
            sf_warn("write", "event=conflict object=%s/%s kept_as=%s", p->bucket, p->key, key);
            sf_step(SF_STEP_CONTENT_CONFLICT_KEPT);
            return 0;
        }
    }
    return sf_err_set(err, -EAGAIN, "%s/%s is written by others all the time", p->bucket, p->key);
}
