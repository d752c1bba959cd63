/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/put.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/step.h"
#include "write/writer.h"

#define HEAD_BYTES 4096 /* looked at for a guess of the type */
#define HASH_CHUNK (256 * 1024)

bool
sf_mime_allowed(const char *mime, const char *const *mimes)
{
    if (!mimes)
        return true;
    for (; *mimes; mimes++) {
        size_t n = strlen(*mimes);
        if (strcmp(*mimes, mime) == 0 || strcmp(*mimes, "*/*") == 0)
            return true;
        if (n > 2 && strcmp(*mimes + n - 2, "/*") == 0 && strncmp(*mimes, mime, n - 1) == 0)
            return true;
    }
    return false;
}

static void
md_free(EVP_MD_CTX **ctx)
{
    EVP_MD_CTX_free(*ctx);
}

int
sf_md5_etag(int fd, uint64_t size, char out[36])
{
    sf_defer(md_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    sf_autofree unsigned char *buf = malloc(HASH_CHUNK);
    if (!ctx || !buf)
        return -ENOMEM;
    if (!EVP_DigestInit_ex(ctx, EVP_md5(), NULL))
        return -ENOTSUP;
    for (uint64_t off = 0; off < size;) {
        size_t want = size - off < HASH_CHUNK ? (size_t)(size - off) : HASH_CHUNK;
        ssize_t n = sf_pread_full(fd, buf, want, (off_t)off);
        if (n < 0)
            return (int)n;
        if ((size_t)n < want || !EVP_DigestUpdate(ctx, buf, want))
            return -EIO;
        off += want;
    }
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned len;
    if (!EVP_DigestFinal_ex(ctx, md, &len) || len != 16)
        return -EIO;
    out[0] = '"';
    sf_hex_encode(md, len, out + 1);
    out[33] = '"';
    out[34] = '\0';
    return 0;
}

/* ---- what is sent beside the bytes ---------------------------------------------------------- */

static const char *
guess(const struct sf_put *p)
{
    unsigned char head[HEAD_BYTES];
    const char *slash = strrchr(p->key, '/');
    ssize_t n = sf_pread_full(p->fd, head, sizeof head, 0);
    return sf_mime_guess(slash ? slash + 1 : p->key, head, n > 0 ? (size_t)n : 0);
}

/* Fill the arguments from what the replaced object says of itself; @old is empty for a new one. */
static int
describe(const struct sf_put *p, const struct sf_object *old, struct sf_put_args *a,
         struct sf_err *err)
{
    *a = (struct sf_put_args){
        .bucket = p->bucket, .key = p->key, .fd = p->fd, .size = p->size, .upsert = p->replace};
    a->mime = p->mime ? p->mime : old->mime && old->mime[0] ? old->mime : guess(p);
    if (old->cache_control && old->cache_control[0])
        a->cache_control = old->cache_control;
    if (old->metadata && old->metadata[0] && strcmp(old->metadata, "{}") != 0)
        a->metadata = old->metadata;
    if (!sf_str_ends(p->key, SF_PLACEHOLDER) && !sf_mime_allowed(a->mime, p->mimes))
        return sf_err_set(err, -EPERM, "bucket %s does not take content of type %s", p->bucket,
                          a->mime);
    if (a->metadata && strlen(a->metadata) > SF_METADATA_HEADER_MAX)
        return sf_err_set(err, -ENOTSUP,
                          "%s/%s has %zu bytes of metadata, which would be lost: at most %d can be "
                          "sent with an upload",
                          p->bucket, p->key, strlen(a->metadata), SF_METADATA_HEADER_MAX);
    return 0;
}

/* ---- settling ------------------------------------------------------------------------------- */

enum verdict { STORED, REPEAT, TAKEN, UNKNOWN };

/* What became of an upload whose reply did not come? @old: the object before it, if replaced. */
static enum verdict
settle(struct sf_writer *w, struct sf_put *p, const struct sf_object *old, int64_t deadline_ms)
{
    sf_autoobject struct sf_object now = {0};
    struct sf_err err = SF_ERR_INIT;
    int rc = sf_storage_info_wait(w->st, p->bucket, p->key, deadline_ms, &now, &err);
    if (rc == -ENOENT)
        return REPEAT;
    if (rc)
        return UNKNOWN;
    bool md5 = sf_etag_is_md5(now.etag) && p->md5_etag[0];
    bool same = now.size == p->size && (!md5 || strcasecmp(now.etag, p->md5_etag) == 0);
    /* Without an MD5 the version tells whether the object of before is still there. */
    if (same && p->replace && !md5 && old->version && now.version &&
        strcmp(old->version, now.version) == 0)
        same = false;
    if (same) {
        snprintf(p->id, sizeof p->id, "%s", now.id ? now.id : "");
        return STORED;
    }
    return p->replace ? REPEAT : TAKEN;
}

/* ---- sending -------------------------------------------------------------------------------- */

struct attempt {
    struct sf_put *p;
    int64_t deadline_ms;
    bool open;        /* an earlier request of ours may have taken effect */
    unsigned repeats; /* after lost replies */
    unsigned turns;   /* creation found an object, replacement found none */
};

/* Returns 0 done; 1 again; or the error. */
static int
after_failure(struct sf_writer *w, struct attempt *a, const struct sf_object *old, int rc,
              struct sf_err *err)
{
    struct sf_put *p = a->p;
    if (rc == -EFBIG)
        sf_writer_learn(w, p->bucket, p->key, p->size, a->deadline_ms);
    if (rc == -EEXIST && !a->open && !err->outcome_open)
        return rc;
    if (rc != -EEXIST && !err->outcome_open)
        return rc;
    a->open = true;
    switch (settle(w, p, old, a->deadline_ms)) {
    case STORED:
        sf_info("write", "event=lost-reply-settled object=%s/%s outcome=stored", p->bucket, p->key);
        return 0;
    case TAKEN:
        *err = SF_ERR_INIT;
        return sf_err_set(err, -EEXIST, "%s/%s was created by somebody else", p->bucket, p->key);
    case REPEAT:
        if (sf_writer_pause(w, ++a->repeats, a->deadline_ms))
            return 1;
        err->outcome_open = false;
        return rc;
    case UNKNOWN:
        break;
    }
    err->outcome_open = true;
    return rc;
}

/* One request with what it needs before and after. Returns 0 done; 1 again; or the error. */
static int
attempt(struct sf_writer *w, struct attempt *a, struct sf_err *err)
{
    struct sf_put *p = a->p;
    sf_autoobject struct sf_object old = {0};
    struct sf_put_args args;
    int rc;
    *err = SF_ERR_INIT;
    if (p->replace) {
        rc = sf_storage_info_wait(w->st, p->bucket, p->key, a->deadline_ms, &old, err);
        if (rc == -ENOENT) {
            *err = SF_ERR_INIT;
            p->replace = false;
            a->turns++;
        } else if (rc) {
            return rc;
        }
    }
    rc = describe(p, &old, &args, err);
    if (rc)
        return rc;
    rc = sf_storage_put_wait(w->st, &args, sf_writer_try_until(w, a->deadline_ms), p->id, err);
    if (!rc) {
        sf_step(SF_STEP_CONTENT_SENT);
        return 0;
    }
    if (rc == -EEXIST && a->turns && a->turns < 3 && !a->open && !err->outcome_open) {
        p->replace = true; /* it had gone, and came back */
        return 1;
    }
    return after_failure(w, a, &old, rc, err);
}

int
sf_put_run(struct sf_writer *w, struct sf_put *put, struct sf_err *err)
{
    struct attempt a = {.p = put, .deadline_ms = sf_writer_deadline(w, put->size)};
    struct sf_err e = SF_ERR_INIT;
    int rc = sf_md5_etag(put->fd, put->size, put->md5_etag);
    if (rc == -ENOTSUP) /* a system that forbids it: versions and sizes have to do */
        rc = 0;
    if (rc)
        rc = sf_err_set(&e, rc, "cannot read the staged bytes of %s/%s: %s", put->bucket, put->key,
                        strerror(-rc));
    else
        while ((rc = attempt(w, &a, &e)) == 1)
            ;
    if (rc) {
        atomic_fetch_add(&w->failures, 1);
        sf_count(SF_C_UPLOAD_FAILURES, 1);
        sf_warn("write", "event=upload-failed object=%s/%s bytes=%" PRIu64 " err=%s reason=%s",
                put->bucket, put->key, put->size, sf_errno_name(rc), e.msg);
        if (err)
            *err = e;
        return rc;
    }
    atomic_fetch_add(&w->uploads, 1);
    atomic_fetch_add(&w->upload_bytes, put->size);
    sf_count(SF_C_UPLOADS, 1);
    return 0;
}
