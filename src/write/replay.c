/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "observe/log.h"
#include "write/attrs.h"
#include "write/commit.h"
#include "write/delete.h"
#include "write/journal.h"
#include "write/keep.h"
#include "write/quarantine.h"
#include "write/rename.h"
#include "write/step.h"

/* What the journal has at the start. */

/* A content that is on its way from the journal to the bucket. The writer's lock protects the
 * list. */
struct sf_replayed {
    struct sf_replayed *prev, *next;
    struct sf_replayed *send_next;
    struct sf_content *c; /* counted */
    struct sf_writer *w;
    char *file, *bucket, *key; /* as the record had them, with the next two */
    char *mark, *xattrs, *mime, *cache_control;
    bool exists;
    struct sf_version base;
};

static void
free_texts(struct sf_replayed *rep)
{
    free(rep->file);
    free(rep->bucket);
    free(rep->key);
    free(rep->mark);
    free(rep->xattrs);
    free(rep->mime);
    free(rep->cache_control);
}

static void
replayed_free(struct sf_replayed *rep)
{
    if (rep->c)
        sf_content_unref(rep->c);
    free_texts(rep);
    free(rep);
}

static void
free_all(struct sf_replayed **list)
{
    struct sf_replayed *rep, *next;
    DL_FOREACH_SAFE(*list, rep, next)
    {
        DL_DELETE(*list, rep);
        replayed_free(rep);
    }
}

static bool
is_at(const struct sf_replayed *rep, const char *bucket, const char *key)
{
    return strcmp(rep->bucket, bucket) == 0 && strcmp(rep->key, key) == 0;
}

/* ---- contents that shall not be sent -------------------------------------------------------- */

static int
stage_of(struct sf_writer *w, const char *file, struct sf_stage **ret)
{
    sf_autofree char *path = NULL;
    if (asprintf(&path, "%s/%s", w->staging, file) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    return sf_stage_adopt(w, path, ret);
}

/* The record has the bytes: they go into the file, whatever that is. It need not be synced. */
static int
restore(struct sf_writer *w, struct sf_record *r)
{
    sf_autofree char *path = NULL, *data = sf_steal(r->data);
    if (strchr(r->file, '/') || asprintf(&path, "%s/%s", w->staging, r->file) < 0) {
        path = NULL;
        return -EINVAL;
    }
    sf_autofd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -errno : sf_write_full(fd, data, (size_t)r->size);
}

/* Into quarantine with the file; then the record has said all it had to. */
static void
give_up(struct sf_writer *w, struct sf_record *r, const struct sf_err *why)
{
    sf_autofree char *target = NULL;
    struct sf_stage *s;
    struct stat st;
    if (asprintf(&target, "%s/%s", r->bucket, r->key) < 0)
        target = NULL;
    int rc = r->data ? restore(w, r) : 0;
    if (!rc)
        rc = stage_of(w, r->file, &s);
    if (!rc) {
        if (fstat(s->fd, &st) == 0 && st.st_size > 0)
            rc = sf_quarantine_take(w, s, target, why, NULL);
        sf_stage_unref(s);
    }
    if (!rc || rc == -ENOENT)
        sf_journal_drop(w->journal, r->seq);
    sf_step(SF_STEP_CONTENT_QUARANTINED);
}

/* Why these bytes are not sent; NULL = they are. */
static const char *
not_to_be_sent(const struct sf_record *r, struct sf_err *why)
{
    char boot[37];
    sf_boot_id(boot);
    if (r->state == SF_RECORD_CONTENT_REFUSED)
        (void)!sf_err_set(why, r->err < 0 ? r->err : -r->err, "%s", r->reason ? r->reason : "");
    else if (!r->synced && strcmp(r->boot, boot) != 0)
        (void)!sf_err_set(why, -EOWNERDEAD,
                          "the machine went down before all bytes were on its disk");
    if (why->code == 0 && (r->state == SF_RECORD_CONTENT_REFUSED))
        why->code = -EIO;
    return why->code ? why->msg : NULL;
}

/* ---- contents that shall -------------------------------------------------------------------- */

/* A start that ends early shall not find less than this one. */
static int
make_durable(struct sf_writer *w, const struct sf_stage *s, struct sf_record *r)
{
    if (r->synced)
        return 0;
    if (fdatasync(s->fd) < 0)
        return -errno;
    int rc = sf_fsync_parent(s->path);
    if (rc)
        return rc;
    r->synced = true;
    return sf_journal_put(w->journal, r);
}

/* The object that missing bytes come from may have been replaced by this state, or by one before.
 */
static void
replaced_by_former(struct sf_base *b, const struct sf_record *r)
{
    char ops[SF_FORMER_SIZE];
    if (!sf_base_is(b, r->bucket, r->key))
        return;
    memcpy(ops, r->former, sizeof ops);
    sf_former_add(ops, r->op);
    sf_base_replaced_by(b, ops, &r->target);
}

/* A dirty content of a file that is there. The record becomes its own. */
static int
adopt(struct sf_writer *w, struct sf_record *r, struct sf_content **ret)
{
    const struct sf_source src = {
        .bucket = r->from_bucket, .key = r->from_key, .version = r->source, .seen = true};
    struct sf_content *c;
    bool inlined = r->data != NULL;
    int rc = r->data ? restore(w, r) : 0;
    if (!rc)
        rc = sf_content_adopt(w, r->bucket, r->key, r->file, r->size, r->whole, r->extents,
                              r->n_extents, r->whole ? NULL : &src, &c, NULL);
    if (rc)
        return rc;
    if (c->base)
        replaced_by_former(c->base, r);
    c->renamed = true; /* it may have been, before it was to be sent: nobody noted that */
    rc = inlined ? 0 : make_durable(w, c->stage, r);
    struct sf_keep *keep = rc ? NULL : calloc(1, sizeof *keep);
    sf_mutex_lock(&c->io);
    struct sf_snapshot snap;
    sf_content_snap_locked_io(c, &snap);
    sf_mutex_unlock(&c->io);
    atomic_fetch_add(&snap.stage->held, 1);
    if (keep) {
        *keep = (struct sf_keep){.snap = snap, .rec = *r, .inlined = inlined};
        sf_mutex_lock(&c->lock);
        (void)sf_keep_swap_locked(c, keep);
        sf_mutex_unlock(&c->lock);
        sf_room_charge(w, &c->charge, r->size, r->made_ns);
    } else {
        sf_stage_unref(snap.stage);
        c->kept.gen = atomic_load(&c->gen);
        c->kept.held = true;
        atomic_store(&c->kept.seq, r->seq);
        c->kept.rec = *r;
    }
    *r = (struct sf_record){0};
    *ret = c;
    return 0;
}

static void
replayed(void *arg, const struct sf_err *err, const struct sf_commit *done)
{
    struct sf_replayed *rep = arg;
    struct sf_writer *w = rep->w;
    (void)done;
    sf_mutex_lock(&w->lock);
    DL_DELETE(w->replayed, rep);
    sf_mutex_unlock(&w->lock);
    if (err && err->code != -ECANCELED)
        (void)sf_content_quarantine(rep->c, err, NULL);
    replayed_free(rep);
}

static struct sf_replayed *
replayed_new(struct sf_writer *w, const struct sf_record *r)
{
    struct sf_replayed *rep = calloc(1, sizeof *rep);
    if (!rep)
        return NULL;
    rep->w = w;
    rep->exists = r->exists;
    rep->base = r->base;
    if (sf_record_set(&rep->file, r->file) || sf_record_set(&rep->bucket, r->bucket) ||
        sf_record_set(&rep->key, r->key) || sf_record_set(&rep->mark, r->mark) ||
        sf_record_set(&rep->xattrs, r->xattrs) ||
        sf_record_set(&rep->mime, r->guessed ? NULL : r->mime) ||
        sf_record_set(&rep->cache_control, r->set_cache_control)) {
        replayed_free(rep);
        return NULL;
    }
    return rep;
}

static const struct sf_record *
record_of(const struct sf_replayed *rep)
{
    return rep->c->keep ? &rep->c->keep->rec : &rep->c->kept.rec;
}

/* What was kept while an earlier state was sent has all that one had, and knows what it left
 * (`former`). That one may have been sent, and the later one, too: sending it again would take the
 * later one for somebody else's. */
static void
supersede(struct sf_writer *w, struct sf_replayed *later)
{
    struct sf_replayed *rep, *next, *over = NULL;
    sf_mutex_lock(&w->lock);
    DL_FOREACH_SAFE(w->replayed, rep, next)
    {
        if (rep == later || strcmp(rep->file, later->file) == 0 ||
            !is_at(rep, later->bucket, later->key))
            continue;
        DL_DELETE(w->replayed, rep);
        DL_APPEND(over, rep);
    }
    DL_APPEND(w->replayed, later);
    sf_mutex_unlock(&w->lock);
    DL_FOREACH(over, rep)
    (void)sf_content_abandon(rep->c);
    free_all(&over);
}

/* ---- what a rename has replaced ------------------------------------------------------------- */

/* The bytes that wait for the name which this rename takes came before it. They may be replaced
 * already; sent now they would pass for a change that was made after it. */
static void
hold_renamed_over(struct sf_writer *w, const struct sf_record *r)
{
    struct sf_replayed *rep, *next;
    SF_GUARD(&w->lock);
    DL_FOREACH_SAFE(w->replayed, rep, next)
    {
        if (!is_at(rep, r->to_bucket, r->to_key))
            continue;
        DL_DELETE(w->replayed, rep);
        DL_APPEND(w->renamed_over, rep);
    }
}

static void send(struct sf_replayed *rep);

void
sf_replay_renamed(struct sf_writer *w, const char *bucket, const char *key, uint64_t seq,
                  bool replaced)
{
    struct sf_replayed *rep, *next, *over = NULL;
    sf_mutex_lock(&w->lock);
    bool now = w->replay_sent;
    DL_FOREACH_SAFE(w->renamed_over, rep, next)
    {
        if (!is_at(rep, bucket, key) || record_of(rep)->seq > seq)
            continue;
        DL_DELETE(w->renamed_over, rep);
        if (replaced || now)
            DL_APPEND(over, rep);
        else
            DL_APPEND(w->replayed, rep);
    }
    sf_mutex_unlock(&w->lock);
    DL_FOREACH_SAFE(over, rep, next)
    {
        DL_DELETE(over, rep);
        if (replaced) {
            sf_info("write", "event=replay-replaced object=%s/%s", rep->bucket, rep->key);
            (void)sf_content_abandon(rep->c);
            replayed_free(rep);
            continue;
        }
        sf_mutex_lock(&w->lock);
        DL_APPEND(w->replayed, rep);
        sf_mutex_unlock(&w->lock);
        send(rep);
    }
}

void
sf_replay_end(struct sf_writer *w)
{
    free_all(&w->renamed_over);
}

/* ---- records -------------------------------------------------------------------------------- */

/* Renames of directories that are brought to their end. */
struct start {
    struct sf_writer *w;
    struct sf_record *dirs;
    size_t n_dirs;
};

static void
start_fini(struct start *s)
{
    for (size_t i = 0; i < s->n_dirs; i++)
        sf_record_fini(&s->dirs[i]);
    free(s->dirs);
}

static int
note_directory(void *arg, struct sf_record *r)
{
    struct start *s = arg;
    if (r->kind != SF_RECORD_RENAME_DIR)
        return 0;
    struct sf_record *more = realloc(s->dirs, (s->n_dirs + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    s->dirs = more;
    s->dirs[s->n_dirs++] = *r;
    *r = (struct sf_record){0};
    return 0;
}

/* What was kept below such a directory goes where the directory goes. */
static int
follow_directories(const struct start *s, struct sf_record *r)
{
    bool moved = false;
    for (size_t i = 0; i < s->n_dirs; i++) {
        int rc = sf_record_follow(r, &s->dirs[i]);
        if (rc < 0)
            return rc;
        moved |= rc == 1;
    }
    return moved ? sf_journal_put(s->w->journal, r) : 0;
}

static int
replay_content(const struct start *s, struct sf_record *r)
{
    struct sf_writer *w = s->w;
    struct sf_err why = SF_ERR_INIT;
    int rc = follow_directories(s, r);
    if (rc)
        return rc;
    if (not_to_be_sent(r, &why)) {
        give_up(w, r, &why);
        return 0;
    }
    struct sf_replayed *rep = replayed_new(w, r);
    rc = rep ? adopt(w, r, &rep->c) : -ENOMEM;
    if (rc == -ENOENT || rc == -EINVAL) {
        sf_warn("write", "event=record-without-bytes object=%s/%s bytes=%" PRIu64 " err=%s",
                r->bucket, r->key, r->size, sf_errno_name(rc));
        sf_journal_drop(w->journal, r->seq);
        rc = 0;
    }
    if (rc || !rep->c) {
        if (rep)
            replayed_free(rep);
        return rc;
    }
    const struct sf_record *rec = record_of(rep);
    sf_info("write", "event=replay object=%s/%s state=%s bytes=%" PRIu64, rec->bucket, rec->key,
            sf_record_state_name(rec->state), rec->size);
    supersede(w, rep);
    return 0;
}

/* ---- the start ------------------------------------------------------------------------------ */

static int
replay_record(void *arg, struct sf_record *r)
{
    struct start *s = arg;
    struct sf_writer *w = s->w;
    switch (r->kind) {
    case SF_RECORD_CONTENT:
        return replay_content(s, r);
    case SF_RECORD_ATTRS:
        return sf_replay_attrs(w, r);
    case SF_RECORD_RENAME:
        hold_renamed_over(w, r);
        return sf_replay_rename(w, r);
    case SF_RECORD_RENAME_DIR:
        return sf_replay_rename_dir(w, r);
    case SF_RECORD_DELETE:
        return sf_replay_delete(w, r);
    default:
        return 0;
    }
}

static void
send(struct sf_replayed *rep)
{
    const struct sf_record *rec = record_of(rep);
    struct sf_version base = rec->base;
    const struct sf_commit_args args = {.exists = rec->exists,
                                        .exclusive = rec->exclusive,
                                        .base = sf_version_known(&base) ? &base : NULL,
                                        .mark = rec->mark,
                                        .xattrs = rec->xattrs,
                                        .mime = rec->guessed ? NULL : rec->mime,
                                        .cache_control = rec->set_cache_control,
                                        .patient = true};
    sf_content_commit(rep->c, &args, replayed, rep);
}

/* Those that come to the list from now on are sent by who puts them there. */
static void
send_all(struct sf_writer *w)
{
    struct sf_replayed *rep, *first = NULL, **end = &first;
    sf_mutex_lock(&w->lock);
    w->replay_sent = true;
    DL_FOREACH(w->replayed, rep)
    {
        rep->send_next = NULL;
        *end = rep;
        end = &rep->send_next;
    }
    sf_mutex_unlock(&w->lock);
    for (struct sf_replayed *next; first; first = next) {
        next = first->send_next;
        send(first);
    }
}

int
sf_replay_start(struct sf_writer *w, struct sf_err *err)
{
    sf_defer(start_fini) struct start s = {.w = w};
    int rc = sf_journal_each(w->journal, note_directory, &s);
    if (!rc)
        rc = sf_journal_each(w->journal, replay_record, &s);
    if (rc)
        rc = sf_err_set(err, rc, "cannot go on with what the journal has: %s", strerror(-rc));
    else
        rc = sf_quarantine_leftovers(w, err);
    if (rc) {
        free_all(&w->replayed);
        return rc;
    }
    send_all(w);
    sf_attrs_replayed(w);
    return 0;
}

bool
sf_replay_has_file(struct sf_writer *w, const char *file)
{
    const struct sf_replayed *rep;
    SF_GUARD(&w->lock);
    DL_FOREACH(w->replayed, rep)
    {
        if (strcmp(rep->file, file) == 0)
            return true;
    }
    DL_FOREACH(w->renamed_over, rep)
    {
        if (strcmp(rep->file, file) == 0)
            return true;
    }
    return false;
}

/* The @at-th, copied; false: there are no more. */
static bool
pending_at(struct sf_writer *w, size_t at, struct sf_replayed *ret)
{
    const struct sf_replayed *rep;
    SF_GUARD(&w->lock);
    DL_FOREACH(w->replayed, rep)
    {
        if (at--)
            continue;
        *ret = (struct sf_replayed){.exists = rep->exists, .base = rep->base};
        if (sf_record_set(&ret->bucket, rep->bucket) || sf_record_set(&ret->key, rep->key) ||
            sf_record_set(&ret->mark, rep->mark) || sf_record_set(&ret->xattrs, rep->xattrs) ||
            sf_record_set(&ret->mime, rep->mime) ||
            sf_record_set(&ret->cache_control, rep->cache_control)) {
            free_texts(ret);
            return false;
        }
        ret->c = sf_content_ref(rep->c);
        return true;
    }
    return false;
}

void
sf_writer_pending(struct sf_writer *w, sf_pending_fn fn, void *arg)
{
    struct sf_replayed p;
    for (size_t at = 0; pending_at(w, at, &p); at++) {
        const struct sf_pending pending = {.content = p.c,
                                           .bucket = p.bucket,
                                           .key = p.key,
                                           .mark = p.mark,
                                           .xattrs = p.xattrs,
                                           .mime = p.mime,
                                           .cache_control = p.cache_control,
                                           .exists = p.exists,
                                           .base = &p.base};
        fn(arg, &pending);
        sf_content_unref(p.c);
        free_texts(&p);
    }
}
