/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "write/digest.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/mark.h"
#include "write/put-run.h"
#include "write/rpc.h"

#define COPY_FROM (64 * 1024) /* bytes; fewer are sent as quickly as they are copied */
#define ONE_GO_MS 5000        /* what takes longer in one request goes in pieces */

/* All bytes, and their hashes. */
static int
have_bytes(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_put *p = r->p;
    if (r->digested)
        return 0;
    int rc = p->fill ? p->fill(p->fill_arg, r->deadline_ms, err) : 0;
    if (rc)
        return rc;
    struct sf_digests d;
    if (!p->sha256[0] && !(rc = sf_digest_file(p->fd, p->size, &d))) {
        memcpy(p->md5_etag, d.md5_etag, sizeof p->md5_etag);
        memcpy(p->sha256, d.sha256, sizeof p->sha256);
    }
    if (rc)
        return sf_err_set(err, rc, "cannot read the staged bytes of %s/%s: %s", p->bucket, p->key,
                          strerror(-rc));
    r->digested = true;
    return 0;
}

bool
sf_put_is_identical(struct sf_put_run *r)
{
    struct sf_put *p = r->p;
    if (!r->have_old || r->old.size != p->size || !sf_etag_is_md5(r->old.etag))
        return false;
    if (p->source || have_bytes(r, NULL))
        return false;
    return p->md5_etag[0] && sf_etag_same(r->old.etag, p->md5_etag);
}

/* Somebody who may be believed says that the object has these bytes: its own envelope together with
 * its ETag, or this mount, which sent them. */
static bool
has_our_bytes(struct sf_put_run *r)
{
    struct sf_known_object o;
    if (!sf_put_is_identical(r))
        return false;
    if (r->old_meta.sha256[0])
        return strcmp(r->old_meta.sha256, r->p->sha256) == 0;
    if (!sf_known_at(r->w->known, r->p->bucket, r->p->key, &o))
        return false;
    bool same = strcmp(o.sha256, r->p->sha256) == 0 && !strcmp(o.id, r->old.id ? r->old.id : "");
    sf_known_object_fini(&o);
    return same;
}

/* ---- what is said of it --------------------------------------------------------------------- */

static const char *
guess(const struct sf_put *p)
{
    unsigned char head[SF_MIME_HEAD];
    const char *slash = strrchr(p->key, '/');
    ssize_t n = p->source ? 0 : sf_pread_full(p->fd, head, sizeof head, 0);
    return sf_mime_guess(slash ? slash + 1 : p->key, n > 0 ? head : NULL, n > 0 ? (size_t)n : 0);
}

static int
plan_mime(struct sf_put_run *r, const struct sf_mark *old_mark, struct sf_err *err)
{
    const struct sf_put *p = r->p;
    bool keep = !p->mime && r->old.mime && r->old.mime[0] && !old_mark->guessed &&
                strncmp(r->old.mime, "inode/", 6); /* that was no file: this is one */
    bool told = p->mime && p->mime[0];
    r->guessed = !told && !keep;
    r->mime = strdup(told ? p->mime : keep ? r->old.mime : guess(p));
    if (!r->mime)
        return sf_err_set(err, -ENOMEM, "out of memory");
    if (!sf_str_ends(p->key, SF_PLACEHOLDER) && !sf_mime_allowed(r->mime, p->mimes))
        return sf_err_set(err, -EPERM, "bucket %s does not take content of type %s", p->bucket,
                          r->mime);
    return 0;
}

static int
plan_metadata(struct sf_put_run *r, const struct sf_mark *old_mark, struct sf_err *err)
{
    const struct sf_put *p = r->p;
    struct sf_mark own = {.valid = 0};
    struct sf_meta meta = {.op = "", .xattrs = (char *)p->xattrs};
    if (p->renamed && p->mark && sf_mark_parse(p->mark, &own))
        meta.afresh = sf_mark_is_another(&own, old_mark);
    snprintf(meta.op, sizeof meta.op, "%s", r->op);
    snprintf(meta.sha256, sizeof meta.sha256, "%s", p->sha256);
    int rc = sf_meta_build(r->old.metadata, r->op[0] ? &meta : NULL, &r->metadata);
    if (rc)
        return sf_err_set(err, rc,
                          rc == -ENOSPC ? "%s/%s: more than %d bytes of attributes"
                                        : "%s/%s: metadata that cannot be kept (%d)",
                          p->bucket, p->key, rc == -ENOSPC ? SF_XATTRS_MAX : rc);
    /* Without a new mark the old one stays, but for the times, which speak of the old bytes. */
    struct sf_mark mark = *old_mark;
    struct sf_meta sent = {.op = ""};
    bool ours = mark.valid || mark.guessed || mark.xattrs;
    mark.valid &= ~(unsigned)(SF_MARK_MTIME | SF_MARK_CTIME | SF_MARK_ATIME);
    mark.mtime_ns = mark.ctime_ns = mark.atime_ns = 0;
    ours = (p->mark && sf_mark_parse(p->mark, &mark)) || ours;
    mark.guessed = r->guessed;
    mark.xattrs = sf_meta_parse(r->metadata, &sent) > 0 && sent.xattrs;
    sf_meta_fini(&sent);
    rc = sf_cache_control_with(p->cache_control ? p->cache_control : r->old.cache_control,
                               ours && !r->w->plain ? &mark : NULL, &r->cache_control);
    if (!rc && !r->cache_control[0]) { /* what the service makes of none */
        free(r->cache_control);
        r->cache_control = strdup("no-cache");
    }
    return rc || !r->cache_control ? sf_err_set(err, -ENOMEM, "out of memory") : 0;
}

/* ---- the route ------------------------------------------------------------------------------ */

/* An object that has the bytes, as this mount knows. */
static bool
plan_copy(struct sf_put_run *r)
{
    struct sf_put *p = r->p;
    struct sf_known_object o = {.bucket = NULL};
    if (r->no_copy || strlen(r->metadata) > SF_METADATA_HEADER_MAX)
        return false;
    if (p->source) {
        r->copy_bucket = strdup(p->from_bucket);
        r->copy_key = strdup(p->from_key);
        r->copy_of = *p->source;
    } else if (has_our_bytes(r)) { /* onto itself, for what is said of it */
        r->copy_bucket = strdup(p->bucket);
        r->copy_key = strdup(p->key);
        sf_version_of_object(&r->old, &r->copy_of);
    } else if (p->size >= COPY_FROM && sf_known_content(r->w->known, p->sha256, p->size, &o)) {
        r->copy_bucket = o.bucket;
        r->copy_key = o.key;
        r->copy_of = (struct sf_version){.size = o.size};
        memcpy(r->copy_of.id, o.id, sizeof o.id);
        memcpy(r->copy_of.version, o.version, sizeof o.version);
        snprintf(r->copy_of.etag, sizeof r->copy_of.etag, "%s", o.etag[0] ? o.etag : p->md5_etag);
    }
    return r->copy_bucket && r->copy_key;
}

static enum sf_put_route
plan_body(struct sf_put_run *r)
{
    const struct sf_writer *w = r->w;
    uint64_t one = atomic_load(&w->standard_limit), learned = atomic_load(&w->learned_standard);
    uint64_t rate = atomic_load(&w->bytes_per_s);
    if (learned && (!one || learned < one))
        one = learned;
    if (r->p->size &&
        (r->force_tus || (one && r->p->size > one) ||
         (r->p->size > 2 * SF_TUS_CHUNK && rate && r->p->size / rate > ONE_GO_MS / 1000)))
        return SF_PUT_TUS;
    return strlen(r->metadata) <= SF_METADATA_HEADER_MAX ? SF_PUT_BODY : SF_PUT_FORM;
}

/* What others stored counts more than our own attributes: without these a form will do. */
static bool
plan_without_mark(struct sf_put_run *r)
{
    char *plain = NULL;
    if (sf_cache_control_with(r->cache_control, NULL, &plain))
        return false;
    if (!sf_cache_control_is_plain(plain)) {
        free(plain);
        return false;
    }
    free(r->cache_control);
    r->cache_control = plain;
    r->finish = false;
    sf_warn("write", "event=attributes-not-kept object=%s/%s text=%s", r->p->bucket, r->p->key,
            "its metadata is too large for a request that has a place for them");
    sf_count(SF_C_ATTRS_NOT_KEPT, 1);
    return true;
}

/* What the route leaves out comes afterwards, if there is a way. */
static int
plan_finish(struct sf_put_run *r, struct sf_err *err)
{
    const struct sf_put *p = r->p;
    size_t meta = strlen(r->metadata);
    bool carries = r->route == SF_PUT_COPY || r->route == SF_PUT_BODY;
    r->finish = !carries && !sf_cache_control_is_plain(r->cache_control);
    if (r->route == SF_PUT_TUS && meta > SF_PUT_TUS_METADATA)
        r->finish = true;
    bool alone = r->route == SF_PUT_FORM && !r->finish && meta <= SF_METADATA_FORM_MAX;
    if (meta <= SF_METADATA_HEADER_MAX || alone)
        return 0;
    if (meta <= SF_METADATA_FORM_MAX && sf_rpc_is_there(r->w, p->bucket, p->key, r->deadline_ms))
        return 0;
    if (r->route == SF_PUT_FORM && meta <= SF_METADATA_FORM_MAX && plan_without_mark(r))
        return 0;
    return sf_err_set(err, -ENOTSUP,
                      "%s/%s has %zu bytes of metadata, which would be lost: no request that is "
                      "open here carries them with %" PRIu64 " bytes of content",
                      p->bucket, p->key, meta, p->size);
}

static void
plan_forget(struct sf_put_run *r)
{
    free(sf_steal(r->mime));
    free(sf_steal(r->cache_control));
    free(sf_steal(r->metadata));
    free(sf_steal(r->copy_bucket));
    free(sf_steal(r->copy_key));
}

void
sf_put_plan_fini(struct sf_put_run *r)
{
    plan_forget(r);
    free(sf_steal(r->tus));
}

int
sf_put_plan(struct sf_put_run *r, struct sf_err *err)
{
    struct sf_mark old_mark = {.valid = 0};
    plan_forget(r);
    (void)sf_mark_parse(r->old.cache_control, &old_mark);
    int rc = r->p->source && !r->no_copy ? 0 : have_bytes(r, err);
    if (!rc)
        rc = plan_mime(r, &old_mark, err);
    if (!rc)
        rc = plan_metadata(r, &old_mark, err);
    if (rc)
        return rc;
    bool copy = !r->tus && plan_copy(r);
    rc = copy ? 0 : have_bytes(r, err);
    if (rc)
        return rc;
    r->route = copy ? SF_PUT_COPY : plan_body(r);
    bool itself = r->route == SF_PUT_COPY && !strcmp(r->copy_key, r->p->key) &&
                  !strcmp(r->copy_bucket, r->p->bucket);
    if (itself && r->w->plain && !r->p->mime && !r->p->cache_control)
        r->route = SF_PUT_NOTHING;
    else if (itself && r->p->size < COPY_FROM)
        r->route = plan_body(r);
    if (r->route != SF_PUT_COPY && r->route != SF_PUT_NOTHING && r->p->source) {
        rc = have_bytes(r, err); /* the source is no way after all */
        if (rc)
            return rc;
    }
    return plan_finish(r, err);
}
