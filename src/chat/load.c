/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "base/redact.h"
#include "base/clock.h"
#include "base/str.h"
#include "provider/files.h"
#include "provider/want.h"
#include "supabase/storage.h"
#include "tree/files.h"

#define TRIES   3
#define STEP_MS 100 /* between two looks whether it is over */
#define LINK_S  3600

enum way {
    WAY_TEXT,    /* its bytes are read, and may turn out to be none */
    WAY_KEPT,    /* a text that was extracted earlier is there */
    WAY_EXTRACT, /* the file is sent to the provider, and its text asked for */
    WAY_UNREAD,  /* it would be */
    WAY_BYTES,
    WAY_LINK,
    WAY_NONE,
};

enum asked {
    ASKED_NOBODY,
    ASKED_TREE,
    ASKED_WANT,
    ASKED_PROVIDER,
    ASKED_STORAGE,
};

struct chat_load {
    struct chat_loader *w;
    uint64_t node;
    char *key;
    struct sf_tree_source *source;
    int failed; /* it could not be begun */
    unsigned tries;
    enum way way;
    size_t most; /* bytes to be read */
    char sha256[65];
    uint64_t asked_id;
    enum asked asked;
    /* Of the callback while it is asked, and of the thread that waits behind that. */
    struct sf_buf bytes; /* read; a text; a link */
    struct sf_provider_fault fault;
    char id[SF_PROVIDER_ID_MAX + 1];
    size_t came; /* bytes by the last read */
    int rc;
    bool busy; /* protected by the loader's lock */
};

int
chat_fault(struct sf_provider_fault *fault, int err, const char *fmt, ...)
{
    /* No words of a provider's: the sentence stands alone. */
    *fault = (struct sf_provider_fault){
        .cls = err == -ENOTSUP ? SF_PC_TYPE : SF_PC_OK, .err = err, .retry_after_ms = -1};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(fault->text, sizeof fault->text, fmt, ap);
    va_end(ap);
    sf_redact(fault->text);
    return err;
}

int
chat_loader_over(const struct chat_loader *w)
{
    if (w->stop || (w->a->cancelled && w->a->cancelled(w->a->arg)))
        return -ECANCELED;
    return sf_clock_ms() >= w->a->deadline_ms ? -ETIMEDOUT : 0;
}

/* ---- asking and waiting ---------------------------------------------------------------------- */

static void
ask_begins(struct chat_load *l, enum asked whom)
{
    l->asked = whom;
    l->asked_id = 0;
    l->rc = 0;
    l->busy = true;
}

static void
answer(struct chat_load *l, int rc)
{
    SF_GUARD(&l->w->lock);
    l->rc = rc;
    l->busy = false;
    sf_cond_broadcast(&l->w->told);
}

static void
stop_asking(const struct chat_load *l)
{
    if (!l->asked_id)
        return;
    if (l->asked == ASKED_TREE)
        sf_tree_cancel(l->w->a->tree, l->asked_id);
    else if (l->asked == ASKED_WANT)
        sf_want_cancel(l->w->a->providers, l->asked_id);
    else if (l->asked == ASKED_PROVIDER)
        sf_provider_cancel(l->w->provider, l->asked_id);
    else if (l->asked == ASKED_STORAGE)
        sf_storage_cancel(l->w->a->storage, l->asked_id);
}

/* The answer to what was asked. When it is over, the callback is waited for all the same: it writes
 * to the load. */
static int
wait_for(struct chat_load *l)
{
    struct chat_loader *w = l->w;
    int over = 0;
    if (l->asked == ASKED_NOBODY)
        return 0;
    for (;;) {
        sf_mutex_lock(&w->lock);
        if (l->busy)
            (void)sf_cond_timedwait_ms(&w->told, &w->lock, sf_clock_ms() + STEP_MS);
        bool busy = l->busy;
        sf_mutex_unlock(&w->lock);
        if (!busy)
            break;
        if (!over && (over = chat_loader_over(w)))
            stop_asking(l);
    }
    l->asked = ASKED_NOBODY;
    return over && l->rc ? over : l->rc;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void
read_done(void *arg, int err, const struct sf_err *why, const struct iovec *iov, int n, size_t len)
{
    struct chat_load *l = arg;
    (void)why;
    for (int i = 0; !err && i < n; i++)
        err = sf_buf_append(&l->bytes, iov[i].iov_base, iov[i].iov_len);
    l->came = err ? 0 : len;
    answer(l, err);
}

static void
read_next(struct chat_load *l)
{
    size_t left = l->most - l->bytes.len;
    ask_begins(l, ASKED_TREE);
    l->asked_id = sf_tree_source_read(
        l->source, l->bytes.len, left < SF_CACHE_READ_MAX ? left : SF_CACHE_READ_MAX, read_done, l);
}

/* All that is to be read, or with @text only until it turns out to be none. */
static int
read_rest(struct chat_load *l, bool text)
{
    int rc;
    while (!(rc = wait_for(l)) && l->bytes.len < l->most) {
        if (!l->came)
            return -ESTALE; /* it is shorter than it was */
        if (text && !sf_chat_is_text(l->bytes.data, l->bytes.len, true))
            return 0;
        read_next(l);
    }
    return rc;
}

static void
hash_whole(struct chat_load *l)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    if (l->bytes.len == sf_tree_source_facts(l->source)->size &&
        EVP_Digest(sf_buf_str(&l->bytes), l->bytes.len, hash, NULL, EVP_sha256(), NULL) == 1)
        sf_hex_encode(hash, 32, l->sha256);
}

/* ---- what is no text ------------------------------------------------------------------------- */

static enum sf_provider_part_kind
kind_of(const char *mime)
{
    return !strncasecmp(mime, "image/", 6)   ? SF_PP_IMAGE
           : !strncasecmp(mime, "video/", 6) ? SF_PP_VIDEO
                                             : SF_PP_FILE;
}

static enum way
way_of(const struct chat_load *l)
{
    const struct chat_loader *w = l->w;
    const struct sf_tree_source_facts *f = sf_tree_source_facts(l->source);
    const struct sf_provider_facts facts = {.size = f->size, .name = f->name, .mime = f->mime};
    if (w->provider && w->conf->type->text_of && !sf_provider_check(w->conf, &facts, NULL))
        return WAY_EXTRACT;
    unsigned takes = w->shows ? sf_provider_takes(w->conf, w->a->model, kind_of(f->mime)) : 0;
    if (takes & SF_PP_BY_BYTES && f->size <= SF_CHAT_SMALL_MAX)
        return WAY_BYTES;
    /* Bytes that are only staged have no link yet. */
    if (takes & SF_PP_BY_LINK && w->a->storage && (f->version.etag[0] || f->version.id[0]))
        return WAY_LINK;
    return WAY_NONE;
}

static void
wanted(void *arg, const struct sf_wanted *got)
{
    struct chat_load *l = arg;
    l->fault = got->fault;
    snprintf(l->id, sizeof l->id, "%s", got->id);
    snprintf(l->sha256, sizeof l->sha256, "%s", got->sha256);
    answer(l, got->rc);
}

/* One that is known. */
static void
look_for_hash(struct chat_load *l)
{
    if (!l->sha256[0] &&
        sf_files_xattr(l->w->a->tree, l->node, "user.supafs.sha256", l->sha256, sizeof l->sha256))
        l->sha256[0] = '\0';
}

/* A hash that is known saves both: to upload the file, and to ask for its text. */
static bool
is_kept(struct chat_load *l)
{
    const struct sf_chat_kept *kept = l->w->a->kept;
    if (!kept)
        return false;
    look_for_hash(l);
    return strlen(l->sha256) == 64 &&
           sf_chat_text_get(kept, l->w->conf->name, l->sha256, &l->bytes) == 0;
}

static int
want_begins(struct chat_load *l)
{
    struct sf_want_file file;
    const struct sf_want_how how = {.deadline_ms = l->w->a->deadline_ms};
    int rc = sf_tree_source_file(l->source, &file);
    if (rc)
        return rc;
    if (l->sha256[0])
        file.sha256 = l->sha256;
    ask_begins(l, ASKED_WANT);
    l->asked_id = sf_want(l->w->a->providers, l->w->conf->name, &file, &how, wanted, l);
    return 0;
}

static void
signed_done(void *arg, const struct sf_err *err, const char *url)
{
    struct chat_load *l = arg;
    int rc = err ? err->code : sf_buf_puts(&l->bytes, url);
    answer(l, rc);
}

static int
other_begins(struct chat_load *l)
{
    const struct sf_tree_source_facts *f = sf_tree_source_facts(l->source);
    sf_buf_clear(&l->bytes);
    l->way = way_of(l);
    if (l->way == WAY_EXTRACT && is_kept(l)) {
        l->way = WAY_KEPT;
    } else if (l->way == WAY_EXTRACT && l->w->a->dry) {
        l->way = WAY_UNREAD;
    } else if (l->way == WAY_EXTRACT) {
        return want_begins(l);
    } else if (l->way == WAY_BYTES) {
        l->most = f->size;
        read_next(l);
    } else if (l->way == WAY_LINK) {
        ask_begins(l, ASKED_STORAGE);
        l->asked_id = sf_storage_sign(l->w->a->storage, f->bucket, f->key, LINK_S,
                                      l->w->a->deadline_ms, signed_done, l);
    }
    return 0;
}

static void
text_done(void *arg, const struct sf_provider_fault *fault, const char *text, size_t len)
{
    struct chat_load *l = arg;
    int rc = fault->err;
    l->fault = *fault;
    if (!rc && sf_buf_append(&l->bytes, text, len))
        rc = chat_fault(&l->fault, -ENOMEM, "out of memory");
    answer(l, rc);
}

/* Behind the id: the text. */
static int
extract(struct chat_load *l)
{
    struct chat_loader *w = l->w;
    int rc = wait_for(l);
    if (rc == -EBUSY && sf_tree_source_is_stale(l->source))
        return -ESTALE;
    if (rc || is_kept(l))
        return rc;
    ask_begins(l, ASKED_PROVIDER);
    l->asked_id = sf_provider_file_text(w->provider, l->id, SF_CHAT_CONTENT_MAX, w->a->deadline_ms,
                                        text_done, l);
    if (!l->asked_id) {
        l->asked = ASKED_NOBODY;
        return -ENOMEM;
    }
    rc = wait_for(l);
    if (rc && l->fault.cls == SF_PC_NOT_FOUND) { /* it was deleted there */
        sf_want_gone(w->a->providers, w->conf->name, l->id);
        return -ESTALE;
    }
    if (!rc && w->a->kept && strlen(l->sha256) == 64) /* else it is asked for again */
        (void)sf_chat_text_put(w->a->kept, w->conf->name, l->sha256, sf_buf_str(&l->bytes),
                               l->bytes.len);
    return rc;
}

static int
data_url(struct chat_load *l, struct sf_buf *out)
{
    int rc = sf_buf_printf(out, "data:%s;base64,", sf_tree_source_facts(l->source)->mime);
    return rc ? rc : sf_base64_encode(out, l->bytes.data, l->bytes.len);
}

/* ---- one try --------------------------------------------------------------------------------- */

/* A file that is being written is waited for. */
static int
open_source(struct chat_load *l)
{
    struct sf_tree_source *s = NULL;
    int rc = 0;
    if (l->tries && l->source) {
        sf_tree_source_doubt(l->source);
        rc = sf_files_look(l->w->a->tree, l->node);
    }
    if (rc)
        return rc == -ENOENT ? -ESTALE : rc;
    while ((rc = sf_tree_source_new(l->w->a->tree, l->node, &s)) == -EBUSY &&
           sf_clock_ms() < l->w->busy_until && !(rc = chat_loader_over(l->w))) {
        /* Nothing tells of it: it is closed by a program, or its upload ends. */
        SF_GUARD(&l->w->lock);
        (void)sf_cond_timedwait_ms(&l->w->told, &l->w->lock, sf_clock_ms() + STEP_MS);
    }
    if (rc)
        return rc;
    sf_tree_source_unref(l->source);
    l->source = s;
    return 0;
}

static int
begin(struct chat_load *l)
{
    int rc = open_source(l);
    if (rc)
        return rc;
    const struct sf_tree_source_facts *f = sf_tree_source_facts(l->source);
    sf_buf_clear(&l->bytes);
    snprintf(l->sha256, sizeof l->sha256, "%s", f->sha256);
    l->way = WAY_TEXT;
    l->most = f->size < l->w->text_most ? f->size : l->w->text_most;
    if (!l->most)
        return 0;
    if (sf_chat_mime(f->mime) == SF_CHAT_MIME_OTHER)
        return other_begins(l);
    read_next(l);
    return 0;
}

static int
make_text(struct chat_load *l, enum sf_chat_shown how, size_t of, struct chat_loaded *out)
{
    size_t used;
    out->piece.how = how;
    int rc = sf_chat_piece_text(&out->piece, sf_buf_str(&l->bytes), l->bytes.len,
                                l->w->a->file_tokens, &used);
    out->cut = used < of ? used : 0;
    return rc;
}

static int
make_other(struct chat_load *l, struct chat_loaded *out)
{
    const struct sf_tree_source_facts *f = sf_tree_source_facts(l->source);
    int rc = 0;
    out->piece.kind = kind_of(f->mime);
    out->piece.how = l->way == WAY_BYTES ? SF_CHAT_SHOWN_BYTES : SF_CHAT_SHOWN_LINK;
    if (l->way == WAY_BYTES) {
        rc = read_rest(l, false);
        if (!rc) {
            hash_whole(l);
            rc = data_url(l, &out->piece.text);
        }
    } else if (!(rc = wait_for(l))) {
        out->piece.text = l->bytes;
        l->bytes = (struct sf_buf)SF_BUF_INIT;
    }
    return rc;
}

static int
try(struct chat_load *l, struct chat_loaded *out)
{
    const struct sf_tree_source_facts *f = sf_tree_source_facts(l->source);
    int rc = 0;
    if (l->way == WAY_TEXT) {
        if (l->most)
            rc = read_rest(l, true);
        if (rc)
            return rc;
        if (sf_chat_is_text(sf_buf_str(&l->bytes), l->bytes.len, l->bytes.len < f->size)) {
            hash_whole(l);
            return make_text(l, SF_CHAT_SHOWN_TEXT, f->size, out);
        }
        rc = other_begins(l);
        if (rc)
            return rc;
    }
    if (l->way == WAY_NONE)
        return chat_fault(&l->fault, -ENOTSUP, "%.120s cannot be shown to %s: it is %.80s", l->key,
                          l->w->conf->name, f->mime);
    if (l->way == WAY_UNREAD) {
        rc = sf_buf_printf(&l->bytes, "%" PRIu64 " bytes, whose text is to be extracted first.\n",
                           f->size);
        return rc ? rc : make_text(l, SF_CHAT_SHOWN_UNREAD, l->bytes.len, out);
    }
    if (l->way == WAY_EXTRACT)
        rc = extract(l);
    if (!rc && (l->way == WAY_EXTRACT || l->way == WAY_KEPT))
        return make_text(l, SF_CHAT_SHOWN_EXTRACTED, l->bytes.len, out);
    return rc ? rc : make_other(l, out);
}

/* ---- all of it ------------------------------------------------------------------------------- */

struct chat_load *
chat_load_begin(struct chat_loader *w, uint64_t node, const char *key)
{
    struct chat_load *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->w = w;
    l->node = node;
    l->bytes = (struct sf_buf)SF_BUF_INIT;
    l->key = strdup(key);
    if (!l->key) {
        free(l);
        return NULL;
    }
    l->failed = begin(l);
    return l;
}

static int
words_for(const struct chat_load *l, int rc, struct sf_provider_fault *fault)
{
    switch (rc) {
    case -EBUSY:
        return chat_fault(fault, rc, "%.200s is being changed", l->key);
    case -ESTALE:
    case -ENOENT:
        return chat_fault(fault, -ESTALE, "%.200s changed or went while it was read", l->key);
    default:
        return chat_fault(fault, rc, "%.200s cannot be read: %s", l->key, strerror(-rc));
    }
}

static void
load_free(struct chat_load *l)
{
    sf_tree_source_unref(l->source);
    if (l->way == WAY_LINK && l->bytes.cap)
        explicit_bzero(l->bytes.data, l->bytes.cap);
    sf_buf_fini(&l->bytes);
    free(l->key);
    free(l);
}

/* Which bytes it was, also where they were not all read. The ETag of what was written here may have
 * been learned since. */
static void
tell_bytes(struct chat_load *l, struct sf_chat_piece *piece)
{
    look_for_hash(l);
    memcpy(piece->sha256, l->sha256, sizeof l->sha256);
    snprintf(piece->etag, sizeof piece->etag, "%s", sf_tree_source_facts(l->source)->version.etag);
    if (!piece->sha256[0] && !piece->etag[0])
        (void)sf_files_xattr(l->w->a->tree, l->node, "user.supafs.etag", piece->etag,
                             sizeof piece->etag);
}

int
chat_load_end(struct chat_load *l, struct chat_loaded *out, struct sf_provider_fault *fault)
{
    int rc = l->failed;
    *out = (struct chat_loaded){0};
    for (;; rc = begin(l)) {
        if (!rc) {
            out->piece.key = strdup(l->key);
            rc = out->piece.key ? try(l, out) : -ENOMEM;
        }
        if (rc)
            sf_chat_piece_fini(&out->piece);
        if (rc != -ESTALE || ++l->tries == TRIES || chat_loader_over(l->w))
            break;
        l->fault = (struct sf_provider_fault){0};
    }
    (void)wait_for(l); /* for what was asked before it turned out that there is no memory */
    if (!rc) {
        tell_bytes(l, &out->piece);
    } else if (l->fault.err == rc && rc != -ESTALE) {
        *fault = l->fault;
    } else {
        rc = words_for(l, rc, fault);
    }
    load_free(l);
    return rc;
}

int
chat_load_bytes(struct chat_loader *w, uint64_t node, size_t most, struct sf_buf *out)
{
    struct chat_load l = {.w = w, .node = node, .bytes = SF_BUF_INIT};
    int rc = open_source(&l);
    if (!rc) {
        const uint64_t size = sf_tree_source_facts(l.source)->size;
        l.most = size < most ? size : most;
        if (l.most)
            read_next(&l);
        rc = l.most ? read_rest(&l, false) : 0;
    }
    if (!rc) {
        *out = l.bytes;
        l.bytes = (struct sf_buf)SF_BUF_INIT;
    }
    sf_tree_source_unref(l.source);
    sf_buf_fini(&l.bytes);
    return rc;
}
