/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/content.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "chat/ignore.h"
#include "chat/load.h"
#include "provider/want.h"
#include "tree/files.h"

#define AHEAD     4          /* files of a directory that are read at once */
#define MISSES    16         /* texts that were read and did not fit: then no more are read */
#define KIMI_MOST (3u << 19) /* a request is said to be refused over 2 MiB, with all its turns */

/* ---- a directory ----------------------------------------------------------------------------- */

struct dir {
    struct chat_loader *w;
    struct sf_chat_content *out;
    struct sf_provider_fault *fault;
    struct sf_chat_ignores ignores;
    struct chat_load *queue[AHEAD]; /* the oldest first */
    char *keys[AHEAD];
    unsigned queued;
    unsigned misses;
};

static int
note_left(struct dir *d, const char *path, const char *why)
{
    return sf_chat_content_note(d->out, "left-out", "%s%s: %s", d->w->a->key, path, why);
}

static bool
fits(const struct dir *d, const struct sf_chat_piece *p)
{
    return d->out->tokens + p->tokens <= d->w->a->files_room &&
           d->out->bytes + p->text.len <= d->w->bytes_most;
}

static int
take_loaded(struct dir *d, struct chat_loaded *got)
{
    struct sf_chat_piece *p = &got->piece;
    int rc;
    if (!fits(d, p)) {
        d->misses++;
        rc = sf_chat_content_note(d->out, "left-out", "%s: no room for its %" PRIu64 " tokens",
                                  p->key, p->tokens);
        sf_chat_piece_fini(p);
        return rc;
    }
    rc = got->cut ? sf_chat_content_note(d->out, "cut", "%s: from byte %zu on", p->key, got->cut)
                  : 0;
    if (!rc)
        return sf_chat_content_add(d->out, p, d->w->a->before);
    sf_chat_piece_fini(p);
    return rc;
}

/* Wait for the oldest file. What is wrong with one of them does not end it all. */
static int
take_one(struct dir *d)
{
    struct chat_loaded got;
    struct sf_provider_fault fault = {0};
    sf_autofree char *key = d->keys[0];
    int rc = chat_load_end(d->queue[0], &got, &fault);
    d->queued--;
    memmove(d->queue, d->queue + 1, d->queued * sizeof *d->queue);
    memmove(d->keys, d->keys + 1, d->queued * sizeof *d->keys);
    if (!rc)
        return take_loaded(d, &got);
    switch (rc) {
    case -ENOTSUP:
        return sf_chat_content_note(d->out, "left-out", "%s: neither text nor extractable", key);
    case -ESTALE:
        return sf_chat_content_note(d->out, "left-out", "%s: it keeps changing", key);
    case -EBUSY:
        return sf_chat_content_note(d->out, "left-out", "%s: it is being changed", key);
    default:
        if (fault.cls == SF_PC_EXTRACT || fault.cls == SF_PC_TOO_LARGE)
            return sf_chat_content_note(d->out, "left-out", "%s: %s", key, fault.text);
        *d->fault = fault;
        return rc;
    }
}

static int
read_ignore(struct dir *d, const struct sf_files_one *f)
{
    struct sf_tree_entry e;
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    int rc = sf_files_lookup(d->w->a->tree, f->node, SF_CHAT_IGNORE_NAME, &e);
    if (rc)
        return rc == -ENOENT ? 0 : rc;
    rc = chat_load_bytes(d->w, e.node, SF_CHAT_IGNORE_MAX, &text);
    sf_files_forget(d->w->a->tree, &e);
    if (rc == -EISDIR || rc == -EINVAL)
        return 0;
    return rc ? rc : sf_chat_ignores_add(&d->ignores, f->path, text.data, text.len);
}

/* The rules for names are those of all of them; NULL = it is not left out. */
static const char *
left_out(const struct dir *d, const char *path, bool is_dir)
{
    const char *slash = strrchr(path, '/');
    if ((slash ? slash[1] : path[0]) == '.')
        return "its name begins with a dot";
    return sf_chat_ignored(&d->ignores, path, is_dir) ? SF_CHAT_IGNORE_NAME : NULL;
}

static unsigned
depth_of(const char *path)
{
    unsigned n = *path != '\0';
    for (; *path; path++)
        n += *path == '/';
    return n;
}

static int
enter(void *arg, const struct sf_files_one *f)
{
    struct dir *d = arg;
    int rc = chat_loader_over(d->w);
    const char *why = !rc && *f->path ? left_out(d, f->path, true) : NULL;
    if (!rc && !why && depth_of(f->path) >= SF_CHAT_DEPTH_MAX)
        why = "it lies too deep";
    if (!rc && why)
        rc = sf_chat_content_note(d->out, "left-out", "%s%s/: %s", d->w->a->key, f->path, why);
    return rc ? rc : why ? 1 : read_ignore(d, f);
}

static int
each(void *arg, const struct sf_files_one *f)
{
    struct dir *d = arg;
    const struct sf_chat_content_args *a = d->w->a;
    int rc = chat_loader_over(d->w);
    const char *why = left_out(d, f->path, false);
    while (!rc && !why && d->queued && d->out->pieces.len + d->queued >= SF_CHAT_FILES_MAX)
        rc = take_one(d);
    if (rc)
        return rc;
    if (!why && f->attr.size == 0)
        why = "it is empty";
    if (!why && d->out->pieces.len >= SF_CHAT_FILES_MAX)
        why = "there are too many";
    if (!why && d->misses >= MISSES)
        why = "no room";
    if (why)
        return note_left(d, f->path, why);
    if (d->queued == AHEAD && (rc = take_one(d)))
        return rc;
    sf_autofree char *key = NULL;
    if (asprintf(&key, "%s%s", a->key, f->path) < 0) {
        key = NULL;
        return -ENOMEM;
    }
    struct chat_load *l = chat_load_begin(d->w, f->node, key);
    if (!l)
        return -ENOMEM;
    d->queue[d->queued] = l;
    d->keys[d->queued++] = sf_steal(key);
    return 0;
}

static int
get_dir(struct chat_loader *w, struct sf_chat_content *out, struct sf_provider_fault *fault)
{
    const struct sf_chat_content_args *a = w->a;
    struct dir d = {.w = w, .out = out, .fault = fault};
    struct sf_files_walk walk = {.enter = enter, .file = each, .arg = &d, .most = SF_CHAT_SEEN_MAX};
    struct sf_err err = {0};
    int rc = sf_files_below(a->tree, a->parent, &walk, &err);
    while (!rc && d.queued)
        rc = take_one(&d);
    if (!rc && walk.more)
        rc = sf_chat_content_note(out, "left-out", "%s: what is behind %u names", a->key,
                                  SF_CHAT_SEEN_MAX);
    w->stop = true;
    for (struct sf_provider_fault none; d.queued;) {
        struct chat_loaded got;
        d.queued--;
        free(d.keys[d.queued]);
        if (!chat_load_end(d.queue[d.queued], &got, &none))
            sf_chat_piece_fini(&got.piece);
    }
    sf_chat_ignores_free(&d.ignores);
    if (rc && !fault->err)
        rc = chat_fault(fault, rc, "%s: %s", *a->key ? a->key : "the directory", strerror(-rc));
    if (!rc && !out->pieces.len)
        rc = chat_fault(fault, -ENOTSUP, "%s has no file that can be shown to %s",
                        *a->key ? a->key : "the directory", w->conf->name);
    return rc;
}

/* ---- a file ---------------------------------------------------------------------------------- */

/* The look-up finds the version that open() would find. */
static int
load_file(struct chat_loader *w, struct chat_loaded *got, struct sf_provider_fault *fault)
{
    const struct sf_chat_content_args *a = w->a;
    struct sf_tree_entry e;
    int rc = sf_files_lookup(a->tree, a->parent, a->file, &e);
    if (rc)
        return chat_fault(fault, rc == -ENOENT ? -ESTALE : rc, "%.200s: %s", a->key, strerror(-rc));
    struct chat_load *l = chat_load_begin(w, e.node, a->key);
    rc = l ? chat_load_end(l, got, fault) : chat_fault(fault, -ENOMEM, "out of memory");
    sf_files_forget(a->tree, &e);
    return rc;
}

static int
get_file(struct chat_loader *w, struct sf_chat_content *out, struct sf_provider_fault *fault)
{
    struct chat_loaded got;
    int rc = load_file(w, &got, fault);
    if (rc)
        return rc;
    if (got.cut)
        rc = sf_chat_content_note(out, "cut", "%s: from byte %zu on", got.piece.key, got.cut);
    if (rc)
        sf_chat_piece_fini(&got.piece);
    else
        rc = sf_chat_content_add(out, &got.piece, w->a->before);
    return rc ? chat_fault(fault, rc, "out of memory") : 0;
}

/* ---- both ------------------------------------------------------------------------------------ */

int
sf_chat_content_get(const struct sf_chat_content_args *a, struct sf_chat_content *out,
                    struct sf_provider_fault *fault)
{
    const struct sf_provider_confs *confs = sf_providers_confs(a->providers);
    struct chat_loader w = {.a = a,
                            .provider = sf_providers_one(a->providers, a->provider),
                            .conf = sf_provider_conf_find(confs, a->provider),
                            .shows = *a->file,
                            .busy_until = sf_clock_ms() + a->busy_ms};
    *fault = (struct sf_provider_fault){0};
    if (!w.conf)
        return chat_fault(fault, -ENOENT, "there is no provider %.40s", a->provider);
    w.bytes_most = strcmp(w.conf->type->name, "kimi") == 0 ? KIMI_MOST : SF_CHAT_CONTENT_MAX;
    w.text_most = a->file_tokens < w.bytes_most / 16 ? (size_t)a->file_tokens * 16 : w.bytes_most;
    sf_mutex_init(&w.lock, 0);
    sf_cond_init(&w.told);
    int rc = *a->file ? get_file(&w, out, fault) : get_dir(&w, out, fault);
    sf_cond_fini(&w.told);
    sf_mutex_fini(&w.lock);
    if (rc)
        sf_chat_content_fini(out);
    return rc;
}
