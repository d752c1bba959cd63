/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"
#include "base/hash.h"
#include "observe/counter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* An empty list of a bucket is believed for so long after token and bucket were seen to be good. */
#define VERIFY_MS 10000

static void
inval_entry(struct sf_tree *t, const struct node *dir, const char *name)
{
    if (t->notify.inval_entry && (dir->nlookup || dir == t->root))
        t->notify.inval_entry(t->notify.arg, dir->nid, name);
}

static void
inval_node(struct sf_tree *t, const struct node *n, bool data)
{
    if (t->notify.inval_node && n->nlookup)
        t->notify.inval_node(t->notify.arg, n->nid, data);
}

void
apply_gone_locked(struct sf_tree *t, struct node *n, int64_t checked_ns)
{
    struct node *dir = n->parent;
    if (!dir)
        return;
    char *name = n->type != N_ABSENT ? strdup(node_name(n)) : NULL;
    node_ref_locked(dir);
    if (n->type != N_ABSENT)
        inval_entry(t, dir, node_name(n));
    node_ref_locked(n);
    node_detach_locked(t, n);
    if (n->dir)
        dir_clear_locked(t, n);
    node_unref_locked(t, n);
    if (name && checked_ns)
        node_absent_locked(t, dir, name, checked_ns, false);
    free(name);
    node_unref_locked(t, dir);
}

void
apply_refused_locked(struct sf_tree *t, struct node *absent)
{
    struct node *dir = absent->parent;
    inval_entry(t, dir, node_name(absent));
    saved_changed_locked(t, absent);
    node_detach_locked(t, absent);
    dir_unlist_locked(t, dir);
}

/* ---- versions
 * ------------------------------------------------------------------------------------ */

/* Is the row the version that the node stands for? */
static bool
same_version(const struct node *n, const struct sf_list_row *row)
{
    if (n->size != row->size)
        return false;
    char id[NODE_ID_SIZE];
    if (node_has_id(n) && strcmp(node_id(n, id), row->id))
        return false;
    if (n->etag_open) /* ours; what a service with MD5 ETags would say */
        return !node_has_etag(n) || !sf_etag_is_md5(row->etag) || node_etag_is(n, row->etag);
    return node_etag_is(n, row->etag);
}

static void
set_version(struct node *n, const struct sf_list_row *row)
{
    node_set_id(n, row->id);
    node_set_etag(n, row->etag);
    n->etag_open = false;
    n->size = row->size;
    node_set_format(n, kind_of_mime(row->mime));
}

/* Somebody else wrote it: what was set here of its times is no longer so. */
static void
other_version(struct node *n)
{
    if (live(n)->link)
        free(sf_steal(live_rw(n)->link));
    n->delivered = false;
    n->keep_pages = false;
    n->version++;
    attr_forget_times(n);
}

static void
set_attrs(const struct sf_tree *t, struct node *n, const struct sf_list_row *row)
{
    attr_row_locked(t, n, row, row->mtime_ns, row->updated_ns);
}

void
apply_moved_locked(struct sf_tree *t, struct node *n, const struct sf_version *now, bool copied)
{
    if (n->guessed) /* and it was guessed again */
        n->mime = 0;
    xattr_told_forget_locked(n);
    if (!now->id[0]) { /* the service did not say: some give another ETag to a moved object */
        n->etag_open = true;
        if (copied)
            node_set_id(n, NULL);
        return;
    }
    char was[NODE_ETAG_SIZE];
    bool md5 = sf_etag_is_md5(node_etag(n, was)) && sf_etag_is_md5(now->etag);
    bool other = now->size != n->size || (md5 && !node_etag_is(n, now->etag));
    node_set_id(n, now->id);
    node_set_etag(n, now->etag);
    n->etag_open = false;
    if (other && !node_is_local(n)) {
        n->size = now->size;
        other_version(n);
        inval_node(t, n, true);
    }
}

static struct node *
new_object(struct sf_tree *t, struct node *dir, const char *name, const char *comp,
           const struct sf_list_row *row, int64_t start_ns)
{
    struct node *n = node_new_locked(t, dir, name, comp, N_FILE);
    if (!n)
        return NULL;
    struct sf_mark m;
    n->ino = sf_hash64(row->id, strlen(row->id)) | 1; /* for the node's life */
    if (!t->opts.plain && sf_mark_parse(row->cache_control, &m) && m.valid & SF_MARK_INO)
        ino_claim_locked(t, n, m.ino);
    set_version(n, row);
    set_attrs(t, n, row);
    n->checked_ns = start_ns;
    return n;
}

void
apply_attrs_told_locked(struct sf_tree *t, const struct node *n, const struct sf_attr *before)
{
    struct sf_attr a;
    attr_fill_locked(t, n, &a);
    if (a.mode != before->mode || a.uid != before->uid || a.gid != before->gid ||
        a.atime_ns != before->atime_ns || a.mtime_ns != before->mtime_ns ||
        a.ctime_ns != before->ctime_ns)
        inval_node(t, n, false);
}

/* The version that is known, perhaps with other attributes. */
static void
confirm_object(struct sf_tree *t, struct node *n, const struct sf_list_row *row, int64_t start_ns)
{
    struct sf_attr before;
    attr_fill_locked(t, n, &before);
    if (n->etag_open) { /* times of our own write do not change afterwards */
        bool sure = sf_etag_is_md5(row->etag) || attr_mark_fits_locked(t, n, row->cache_control);
        attr_row_locked(t, n, row, 0, 0);
        if (sure)
            origin_same_locked(t, n, row->id, row->etag);
        /* Else it may be another's of the same size: the kernel's pages are not used. */
        n->keep_pages = n->keep_pages && sure;
    } else {
        set_attrs(t, n, row);
    }
    set_version(n, row);
    if (start_ns > n->checked_ns)
        n->checked_ns = start_ns;
    apply_attrs_told_locked(t, n, &before);
}

/* A known file and a row of its name. */
static struct node *
update_object(struct sf_tree *t, struct node *dir, struct node *n, const struct sf_list_row *row,
              int64_t start_ns)
{
    if (node_is_local(n))
        return n; /* being written here: what others did meanwhile is seen at the upload */
    bool same_kind = node_format(n) == kind_of_mime(row->mime);
    if (same_kind && same_version(n, row)) {
        confirm_object(t, n, row, start_ns);
        return n;
    }
    sf_count(SF_C_REMOTE_CHANGES, 1);
    /* A handle that got nothing yet may have the new bytes, but only of the old size: the kernel
     * cuts and fills what is read to the size that it knows. */
    if ((live(n)->open && (n->delivered || live(n)->content || n->size != row->size)) ||
        !same_kind) {
        /* Old handles keep their version: the new one is another node. */
        inval_entry(t, dir, node_name(n));
        node_ref_locked(n); /* its attributes are still wanted */
        node_detach_locked(t, n);
        struct node *fresh = new_object(t, dir, node_name(n), node_comp(n), row, start_ns);
        if (fresh && n->set) {
            attr_give_locked(t, n, fresh);
            other_version(fresh);
            set_attrs(t, fresh, row);
        }
        node_unref_locked(t, n);
        return fresh;
    }
    struct live *l = n->nlookup && n->size != row->size ? live_of(n) : NULL;
    if (l)
        l->resized_ms = sf_clock_ms();
    set_version(n, row);
    other_version(n);
    set_attrs(t, n, row);
    n->checked_ns = start_ns;
    inval_node(t, n, true);
    return n;
}

/* ---- rows
 * ---------------------------------------------------------------------------------------- */

/* The child that stands for an object: its name, or the clash name beside a directory. */
static struct node *
find_object(struct sf_tree *t, struct node *dir, const char *comp, size_t len,
            char name[SF_NAME_BUF_SIZE])
{
    unsigned flags = node_name_flags(t, dir);
    if (sf_name_from_key(comp, len, flags, name) < 0) {
        sf_count(SF_C_UNSHOWN_KEYS, 1);
        name[0] = '\0';
        return NULL;
    }
    struct node *n = node_find_locked(dir, name);
    if (n && node_is_dir(n)) {
        sf_name_from_key(comp, len, flags | SF_NAME_CLASH, name);
        n = node_find_locked(dir, name);
    }
    return n;
}

void
apply_unclash_locked(struct sf_tree *t, struct node *n)
{
    char name[SF_NAME_BUF_SIZE];
    struct node *dir = n->parent;
    if (n->type != N_FILE || node_name(n)[0] != '%' || !node_has_comp(n))
        return;
    if (sf_name_from_key(node_comp(n), strlen(node_comp(n)), node_name_flags(t, dir), name) < 0 ||
        !strcmp(name, node_name(n)))
        return;
    struct node *old = node_find_locked(dir, name);
    if (old && old->type != N_ABSENT)
        return;
    char *comp = strdup(node_comp(n));
    if (!comp)
        return;
    inval_entry(t, dir, node_name(n));
    inval_entry(t, dir, name);
    if (old)
        node_detach_locked(t, old);
    node_attach_locked(t, n, dir, name, comp);
    free(comp);
}

struct node *
apply_object_locked(struct sf_tree *t, struct node *dir, const char *comp, size_t len,
                    const struct sf_list_row *row, uint64_t start_seq, int64_t start_ns,
                    uint32_t listing_id)
{
    char name[SF_NAME_BUF_SIZE];
    (void)listing_id;
    if (sf_name_is_placeholder(comp, len) && row->size == 0) {
        dir_marker_locked(t, dir, row, start_seq);
        return NULL;
    }
    struct node *n = find_object(t, dir, comp, len, name);
    if (!name[0])
        return NULL;
    if (n && (n->changed_seq > start_seq || (n->type == N_ABSENT && n->leaving)))
        return n->type == N_ABSENT ? NULL : n;
    if (n && n->type == N_ABSENT) {
        inval_entry(t, dir, name);
        node_detach_locked(t, n);
        n = NULL;
    }
    if (n && n->type == N_FILE)
        return update_object(t, dir, n, row, start_ns);
    char *copy = strndup(comp, len);
    n = copy ? new_object(t, dir, name, copy, row, start_ns) : NULL;
    free(copy);
    return n;
}

/* An object is in the way of a directory's plain name. In the same run it is a real clash: it gets
 * the other name; else it is an old object that is gone. */
static void
give_way(struct sf_tree *t, struct node *dir, struct node *n, const char *comp, size_t len,
         uint32_t listing_id)
{
    char name[SF_NAME_BUF_SIZE];
    inval_entry(t, dir, node_name(n));
    if (n->listing_id != listing_id || !listing_id) {
        node_detach_locked(t, n);
        return;
    }
    char *copy = strndup(comp, len);
    if (copy && sf_name_from_key(comp, len, node_name_flags(t, dir) | SF_NAME_CLASH, name) == 0)
        node_attach_locked(t, n, dir, name, copy);
    else
        node_detach_locked(t, n);
    free(copy);
}

struct node *
apply_folder_locked(struct sf_tree *t, struct node *dir, const char *comp, size_t len,
                    uint64_t start_seq, int64_t start_ns, uint32_t listing_id)
{
    char name[SF_NAME_BUF_SIZE];
    if (sf_name_from_key(comp, len, node_name_flags(t, dir), name) < 0) {
        sf_count(SF_C_UNSHOWN_KEYS, 1);
        return NULL;
    }
    struct node *n = node_find_locked(dir, name);
    if (n && n->changed_seq > start_seq)
        return n->type == N_ABSENT ? NULL : n;
    if (n && n->type == N_FILE && node_is_local(n))
        return n;
    if (n && node_is_dir(n)) {
        if (start_ns > n->checked_ns)
            n->checked_ns = start_ns;
        return n;
    }
    if (n && n->type == N_FILE)
        give_way(t, dir, n, comp, len, listing_id);
    else if (n) {
        inval_entry(t, dir, name);
        node_detach_locked(t, n);
    }
    char *copy = strndup(comp, len);
    n = copy ? node_new_locked(t, dir, name, copy, N_DIR) : NULL;
    free(copy);
    if (n) {
        ino_of_dir_locked(n);
        n->checked_ns = start_ns;
    }
    return n;
}

/* ---- buckets
 * -------------------------------------------------------------------------------------- */

int
bucket_set(struct bucket *b, const struct sf_bucket_row *row, int64_t asked_ns)
{
    size_t n = 0;
    while (row->mimes && row->mimes[n])
        n++;
    char **mimes = row->mimes ? calloc(n + 1, sizeof *mimes) : NULL;
    if (row->mimes && !mimes)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (!(mimes[i] = strdup(row->mimes[i]))) {
            while (i--)
                free(mimes[i]);
            free(mimes);
            return -ENOMEM;
        }
    for (char **m = b->mimes; m && *m; m++)
        free(*m);
    free(b->mimes);
    b->mimes = mimes;
    b->size_limit = row->size_limit;
    b->is_public = row->is_public;
    b->public_ns = asked_ns;
    b->seen = true;
    return 0;
}

struct node *
apply_bucket_locked(struct sf_tree *t, struct node *root, const struct sf_bucket_row *row,
                    uint64_t start_seq, int64_t start_ns)
{
    char name[SF_NAME_BUF_SIZE];
    if (sf_bucket_to_name(row->id, name) < 0) {
        sf_count(SF_C_UNSHOWN_KEYS, 1);
        return NULL;
    }
    struct node *n = node_find_locked(root, name);
    if (n && n->changed_seq > start_seq)
        return n->type == N_ABSENT ? NULL : n;
    if (n && n->type == N_ABSENT) {
        inval_entry(t, root, name);
        node_detach_locked(t, n);
        n = NULL;
    }
    if (!n && !(n = node_new_locked(t, root, name, row->id, N_BUCKET)))
        return NULL;
    if (bucket_ensure(n, row->id) < 0)
        return NULL;
    bucket_set(n->dir->bucket, row, start_ns);
    if (!n->own_ino) /* made here: it keeps the number that it was given */
        n->ino = sf_hash64(row->id, strlen(row->id)) | 1;
    attr_row_locked(t, n, NULL, row->updated_ns, row->updated_ns);
    if (start_ns > n->checked_ns)
        n->checked_ns = start_ns;
    return n;
}

bool
bucket_verified(const struct bucket *b)
{
    return b && b->verified_ms && sf_clock_ms() - b->verified_ms < VERIFY_MS;
}

int
bucket_verdict_locked(struct bucket *b, const struct sf_err *err)
{
    int code = err ? err->code : 0;
    if (b && !code)
        b->verified_ms = sf_clock_ms();
    return code == -ENOENT && b && !b->seen ? 0 : code;
}

int
bucket_ensure(struct node *n, const char *id)
{
    if (n->dir->bucket)
        return 0;
    struct bucket *b = calloc(1, sizeof *b);
    if (!b || !(b->id = strdup(id)) || !(b->prefix = calloc(1, 1))) {
        bucket_free(b);
        return -ENOMEM;
    }
    n->dir->bucket = b;
    return 0;
}
