/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"
#include "tables/tables.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* ---- handles ------------------------------------------------------------------------------------
 */

static bool
for_writing(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY;
}

/* Its owner may have mapped the file so that changes of pages are changes of the file. */
static bool
may_map(int flags)
{
    return (flags & O_ACCMODE) == O_RDWR;
}

struct sf_file *
file_new_locked(struct sf_tree *t, struct node *n, int flags)
{
    struct sf_file *f = live_of(n) ? calloc(1, sizeof *f) : NULL;
    if (!f)
        return NULL;
    f->node = n;
    f->flags = flags;
    f->refs = 1;
    node_ref_locked(n);
    live_rw(n)->open++;
    if (for_writing(flags))
        live_rw(n)->writers++;
    live_rw(n)->mappers += may_map(flags);
    f->next = t->files;
    if (f->next)
        f->next->prev = f;
    t->files = f;
    t->open_files++;
    return f;
}

void
file_got_locked(struct sf_file *f)
{
    if (!f->got && !f->released)
        live_rw(f->node)->readers++;
    f->got = f->got || !f->released;
}

void
file_wrote_locked(struct sf_file *f)
{
    f->wrote = true;
    f->flushed = false;
    f->writes++;
}

bool
file_is_done_locked(const struct sf_file *f)
{
    return f->flushed && !live(f->node)->mapped;
}

void
file_ref_locked(struct sf_file *f)
{
    f->refs++;
}

void
file_unref_locked(struct sf_tree *t, struct sf_file *f)
{
    if (--f->refs)
        return;
    origin_unref_locked(t, f->origin);
    node_unref_locked(t, f->node);
    free(f);
}

struct sf_content *
content_take_locked(struct node *n)
{
    return live(n)->content ? sf_steal(live_rw(n)->content) : NULL;
}

int
content_put_locked(struct node *n, struct sf_content **c)
{
    if (!live_of(n))
        return -ENOMEM;
    live_rw(n)->content = sf_steal(*c);
    return 0;
}

void
content_failure_clear_locked(struct node *n)
{
    if (live(n)->failure)
        free(sf_steal(live_rw(n)->failure));
}

void
sf_tree_release(struct sf_tree *t, struct sf_file *f)
{
    struct sf_content *drop = NULL;
    tree_lock(t);
    struct node *n = f->node;
    *(f->prev ? &f->prev->next : &t->files) = f->next;
    if (f->next)
        f->next->prev = f->prev;
    t->open_files--;
    f->released = true;
    origin_unref_locked(t, sf_steal(f->origin)); /* what is fetched ahead for it ends */
    live_rw(n)->open--;
    if (for_writing(f->flags))
        live_rw(n)->writers--;
    live_rw(n)->mappers -= may_map(f->flags);
    live_rw(n)->readers -= f->got;
    bool dirty = live(n)->content && n->parent && sf_content_dirty(live(n)->content);
    /* Who reads only leaves it to the writers, but for a file that it made (as flock(1) does); a
     * writer's last handle sends what is left. RELEASE comes some time after close(): when a FLUSH
     * has sent or kept all of it, what is new is of others, who write still or have just opened it
     * to do so; what waits goes on without us. */
    bool theirs = file_is_done_locked(f) && (live(n)->writers || live(n)->patient);
    bool wrote = f->wrote || (may_map(f->flags) && live(n)->mapped) || !live(n)->writers;
    bool commit = dirty && !theirs && (f->created || (for_writing(f->flags) && wrote));
    if (commit) {
        node_ref_locked(n);
        t->background++;
    } else if (!live(n)->open && !live(n)->busy && !live(n)->commits && !dirty) {
        drop = content_take_locked(n);
        live_trim_locked(n);
    }
    file_unref_locked(t, f);
    tree_unlock(t);
    if (drop)
        sf_content_unref(drop);
    if (commit)
        commit_behind(t, n); /* keeps the reference and the place in `background` */
}

/* ---- open ---------------------------------------------------------------------------------------
 */

struct open_op {
    struct waiter w;
    struct sf_tree *tree;
    struct node *node; /* counted */
    struct resolve r;
    int flags;
    sf_tree_fn cb;
    void *arg;
};

/* Were bytes of this version given to others who only read, and is it as it is in the bucket? */
static bool
others_read_locked(const struct node *n, int flags)
{
    return live(n)->open > 1 && live(n)->writers == for_writing(flags) && live(n)->readers &&
           n->parent && !live(n)->busy && !live(n)->commits && !n->local_only &&
           !(live(n)->content && sf_content_dirty(live(n)->content));
}

/* O_TRUNC makes another version: readers in the middle of this one keep it. The name gets another
 * node, for which the kernel asks when it is told -ESTALE. Returns false when nobody is in the way.
 */
static bool
split_for_truncation(struct sf_tree *t, struct node *n, int flags)
{
    tree_lock(t);
    bool split = others_read_locked(n, flags);
    tree_unlock(t);
    if (!split)
        return false;
    content_keep_version(t, n);
    tree_lock(t);
    split = others_read_locked(n, flags);
    if (split) {
        if (t->notify.inval_entry && (n->parent->nlookup || n->parent == t->root))
            t->notify.inval_entry(t->notify.arg, n->parent->nid, node_name(n));
        node_split_locked(t, n);
    }
    tree_unlock(t);
    return split;
}

/* O_TRUNC: the staged content becomes empty. No lock held. */
static int
truncate_open(struct sf_tree *t, struct node *n)
{
    struct sf_content *fresh = NULL, *mine = NULL;
    tree_lock(t);
    mine = live(n)->content ? sf_content_ref(live(n)->content) : NULL;
    bool empty = !mine && n->size == 0 && !n->local_only;
    bool again = empty && attr_lasts(t, n) && !attr_travels(n);
    if (empty)
        attr_stamp_locked(n, true);
    if (again)
        node_changed_locked(t, n);
    tree_unlock(t);
    if (again) /* its times alone; an upload that comes soon takes them along */
        attr_again(t, n);
    if (empty)
        return 0; /* its bytes are as they shall be */
    if (!mine) {
        int rc = content_make(t, n, &fresh);
        if (rc < 0)
            return rc;
        tree_lock(t);
        if (!live(n)->content)
            (void)!content_put_locked(n, &fresh); /* it is open: there is room */
        mine = sf_content_ref(live(n)->content);
        tree_unlock(t);
    }
    int rc = sf_content_truncate(mine, 0);
    if (rc == 0) {
        sf_content_mark_dirty(mine);
        tree_lock(t);
        content_failure_clear_locked(n);
        attr_stamp_locked(n, true);
        tree_unlock(t);
    }
    sf_content_unref(mine);
    if (fresh)
        sf_content_unref(fresh);
    return rc;
}

/* The kernel cuts what is read to the size that it knows. It hears of another one by a notice, on
 * whose arrival it drops the answers about attributes that are on their way: for a moment its size
 * cannot be trusted, and reads go past its pages unless the notice is known to have arrived. */
#define DOUBT_MS 1000

static bool
size_in_doubt_locked(const struct node *n)
{
    int64_t at = live(n)->resized_ms;
    return at && sf_clock_ms() - at < DOUBT_MS;
}

/* The project's tables count it. */
static void
note_access_locked(const struct sf_tree *t, const struct node *n)
{
    const uint8_t *id = t->opts.tables ? node_uuid(n) : NULL;
    if (id)
        sf_tables_accessed(t->opts.tables, id, sf_wall_ns());
}

static int
open_try_locked(struct open_op *op, struct sf_tree_result *res)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    if (node_is_dir(n))
        return -EISDIR;
    if (n->symlink)
        return -ELOOP;
    if (n->special) /* the kernel opens those itself */
        return -ENXIO;
    if (t->opts.read_only && (for_writing(op->flags) || op->flags & O_TRUNC))
        return -EROFS;
    int rc = revalidate_locked(t, &op->r, n, &op->w);
    if (rc < 0)
        return rc;
    res->open.file = file_new_locked(t, n, op->flags);
    if (!res->open.file)
        return -ENOMEM;
    res->open.keep_cache = n->keep_pages;
    res->open.direct = size_in_doubt_locked(n) && !for_writing(op->flags);
    res->open.file->version = n->version;
    res->open.file->pages = n->keep_pages;
    if (n->keep_pages && (op->flags & O_ACCMODE) != O_WRONLY)
        file_got_locked(res->open.file);
    n->keep_pages = true;
    if ((op->flags & O_ACCMODE) == O_RDONLY) {
        ahead_opened_locked(t, n);
        note_access_locked(t, n);
    }
    return 0;
}

/* After the handle is there: truncation, then the answer. Frees nothing. */
static void
open_answer(struct sf_tree *t, struct open_op *op, int rc, struct sf_tree_result *res)
{
    if (rc == 0 && op->flags & O_TRUNC) {
        rc = split_for_truncation(t, op->node, op->flags) ? -ESTALE : truncate_open(t, op->node);
        if (rc < 0)
            sf_tree_release(t, res->open.file);
        else
            res->open.file->created = true;
    }
    op->cb(op->arg, rc, rc < 0 ? NULL : res);
}

static void
open_resume(struct waiter *w, int err)
{
    struct open_op *op = (struct open_op *)w;
    struct sf_tree *t = op->tree;
    struct sf_tree_result res = {0};
    tree_lock(t);
    op->r.err = err;
    op->r.rounds++;
    int rc = open_try_locked(op, &res);
    tree_unlock(t);
    if (rc == -EINPROGRESS)
        return;
    struct node *n = op->node;
    open_answer(t, op, rc, &res);
    free(op);
    tree_lock(t);
    node_unref_locked(t, n);
    tree_unlock(t);
}

void
sf_tree_open(struct sf_tree *t, uint64_t nid, int flags, sf_tree_fn cb, void *arg)
{
    struct sf_tree_result res = {0};
    struct open_op *op = calloc(1, sizeof *op);
    if (!op) {
        cb(arg, -ENOMEM, NULL);
        return;
    }
    *op = (struct open_op){.w = {.resume = open_resume}, .tree = t, .flags = flags};
    op->cb = cb;
    op->arg = arg;
    op->r.since_ns = sf_clock_ns();
    tree_lock(t);
    struct node *n = op->node = node_get_locked(t, nid);
    int rc = -ESTALE;
    if (n) {
        node_ref_locked(n);
        rc = open_try_locked(op, &res);
    }
    tree_unlock(t);
    if (rc == -EINPROGRESS)
        return;
    open_answer(t, op, rc, &res);
    free(op);
    if (!n)
        return;
    tree_lock(t);
    node_unref_locked(t, n);
    tree_unlock(t);
}
