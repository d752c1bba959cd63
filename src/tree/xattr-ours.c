/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/str.h"
#include "tables/tables.h"
#include "tree/xattr-provider.h"
#include "tree/xattr-type.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* user.supafs.*: what the mount tells of a file. One table says all of each name. */

/* ---- identity --------------------------------------------------------------------------------
 */

/* What the bucket has under this name is what the node shows. */
static bool
is_stored_locked(const struct node *n)
{
    return n->type == N_FILE && !node_is_local(n);
}

static int
get_id(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    char id[NODE_ID_SIZE];
    tree_lock(t);
    const struct bucket *b = n->type == N_BUCKET ? n->dir->bucket : NULL;
    const char *text = b ? b->id : n->type == N_FILE ? node_id(n, id) : "";
    int rc = *text ? sf_buf_puts(&op->out, text) : -ENODATA;
    tree_unlock(t);
    return rc == -ENODATA ? xattr_need(op) : rc;
}

static int
get_etag(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    char etag[NODE_ETAG_SIZE];
    int rc = -ENODATA;
    tree_lock(t);
    bool stored = is_stored_locked(n);
    if (stored && !n->etag_open && node_has_etag(n))
        rc = sf_buf_puts(&op->out, node_etag(n, etag));
    tree_unlock(t);
    return rc == -ENODATA && stored ? xattr_need(op) : rc;
}

static int
get_version(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    int rc = -ENODATA;
    tree_lock(t);
    bool stored = is_stored_locked(n);
    const struct told *told = xattr_told_locked(op);
    if (told && told->version[0])
        rc = sf_buf_puts(&op->out, told->version);
    tree_unlock(t);
    return stored && !told ? xattr_need(op) : rc;
}

static int
get_bucket(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    sf_autofree char *bucket = NULL, *key = NULL;
    if (op->node->type == N_PROJECT)
        return -ENODATA;
    tree_lock(t);
    int rc = node_key_locked(op->node, &bucket, &key);
    tree_unlock(t);
    return rc == -ESTALE ? -ENODATA : rc ? rc : sf_buf_puts(&op->out, bucket);
}

static int
get_key(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    sf_autofree char *bucket = NULL, *key = NULL;
    if (op->node->type == N_PROJECT)
        return -ENODATA;
    tree_lock(t);
    int rc = node_key_locked(op->node, &bucket, &key);
    tree_unlock(t);
    return rc == -ESTALE ? -ENODATA : rc ? rc : *key ? sf_buf_puts(&op->out, key) : -ENODATA;
}

/* Of the staged bytes, if it is known of all of them. 1 = there are such bytes, but no hash. */
static int
staged_hash(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    char hex[65];
    tree_lock(t);
    struct sf_content *c = live(n)->content ? sf_content_ref(live(n)->content) : NULL;
    bool local = n->type == N_FILE && node_is_local(n);
    tree_unlock(t);
    bool known = c && sf_content_sha256(c, hex);
    if (c)
        sf_content_unref(c);
    return known ? sf_buf_puts(&op->out, hex) : local ? 1 : -ENOENT;
}

bool
xattr_noted_hash_locked(const struct xattr_op *op, char hex[65])
{
    const struct sf_tables_row *row = op->noted;
    struct sf_version have, noted = {.size = 0};
    if (!row || !row->sha256[0])
        return false;
    const struct told *told = xattr_told_locked(op);
    /* An ETag of an upload of ours was noted as the node has it. */
    node_version_of(op->node, true, &have);
    if (told)
        snprintf(have.version, sizeof have.version, "%s", told->version);
    snprintf(noted.id, sizeof noted.id, "%s", row->id);
    snprintf(noted.version, sizeof noted.version, "%s", row->version);
    snprintf(noted.etag, sizeof noted.etag, "%s", row->etag);
    noted.size = row->size;
    /* Ids outlive a change of bytes, and sizes often do: the ETag or the version decides. */
    bool decided = (noted.etag[0] && have.etag[0]) || (noted.version[0] && have.version[0]);
    if (!decided || !sf_version_same(&noted, &have))
        return false;
    snprintf(hex, 65, "%s", row->sha256);
    return true;
}

static int
get_sha256(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    char hex[65] = "";
    int rc = n->type == N_FILE ? staged_hash(op) : 1;
    if (rc != -ENOENT)
        return rc == 1 ? -ENODATA : rc;
    tree_lock(t);
    const struct told *told = xattr_told_locked(op);
    if (!xattr_noted_hash_locked(op, hex) && told)
        snprintf(hex, sizeof hex, "%s", told->sha256);
    tree_unlock(t);
    if (hex[0])
        return sf_buf_puts(&op->out, hex);
    return told ? -ENODATA : xattr_need(op);
}

/* ---- state -----------------------------------------------------------------------------------
 */

/* Are there attributes that the object does not have, also from an earlier mount? */
static bool
attrs_wait_locked(const struct sf_tree *t, const struct node *n, char *why, size_t size)
{
    char *bucket = NULL, *key = NULL;
    *why = '\0';
    if (n->extra && n->extra->writing)
        return true;
    if (attr_object_key_locked(n, &bucket, &key) < 0)
        return false;
    bool wait = sf_write_attrs_wait(t->writer, bucket, key, why, size);
    free(bucket);
    free(key);
    return wait;
}

/* Which state are the bytes and attributes in? */
static int
get_sync(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    char text[400] = "clean", why[300];
    tree_lock(t);
    struct sf_content *c = live(n)->content ? sf_content_ref(live(n)->content) : NULL;
    tree_unlock(t);
    if (c) {
        sf_content_sync_state(c, text, sizeof text);
        sf_content_unref(c);
    }
    tree_lock(t);
    if (!strcmp(text, "clean") && live(n)->failure)
        snprintf(text, sizeof text, "failed: %s", live(n)->failure->msg);
    else if (!strcmp(text, "clean") && attrs_wait_locked(t, n, why, sizeof why))
        snprintf(text, sizeof text, "pending%s%s", *why ? ": " : "", why);
    tree_unlock(t);
    return sf_buf_puts(&op->out, text);
}

/* How much of a file is on this machine, in the cache or staged? */
static int
get_cached(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    tree_lock(t);
    bool file = n->type == N_FILE;
    uint64_t size = n->size;
    struct sf_content *c = live(n)->content ? sf_content_ref(live(n)->content) : NULL;
    tree_unlock(t);
    bool staged = c && !sf_content_lacks(c);
    if (c)
        sf_content_unref(c);
    if (!file)
        return -ENODATA;
    struct sf_cached *cached = staged || !size ? NULL : cached_of_node(t, n);
    uint64_t here = staged || !size ? size : cached ? sf_cached_here(cached) : 0;
    sf_cached_unref(cached);
    if (here >= size)
        return sf_buf_puts(&op->out, "100 %");
    return sf_buf_printf(&op->out, "%u %%", (unsigned)((double)here / (double)size * 100));
}

static int
get_error(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    char text[sizeof live(n)->failure->msg] = "";
    tree_lock(t);
    if (live(n)->failure)
        snprintf(text, sizeof text, "%s", live(n)->failure->msg);
    tree_unlock(t);
    return text[0] ? sf_buf_puts(&op->out, text) : -ENODATA;
}

/* ---- the table -------------------------------------------------------------------------------
 */

static const struct xattr_ours table[] = {
    {"id", XATTR_IDENTITY, get_id, NULL, NULL, 0},
    {"version", XATTR_IDENTITY, get_version, NULL, NULL, 0},
    {"etag", XATTR_IDENTITY, get_etag, NULL, NULL, 0},
    {"sha256", XATTR_IDENTITY, get_sha256, NULL, NULL, XATTR_NOTED},
    {"bucket", XATTR_IDENTITY, get_bucket, NULL, NULL, 0},
    {"key", XATTR_IDENTITY, get_key, NULL, NULL, 0},
    {"sync", XATTR_STATE, get_sync, NULL, NULL, 0},
    {"cached", XATTR_STATE, get_cached, NULL, NULL, 0},
    {"error", XATTR_STATE, get_error, NULL, NULL, 0},
    {"access_count", XATTR_STATE, xattr_access_count, NULL, NULL, 0},
    {"last_accessed", XATTR_STATE, xattr_last_accessed, NULL, NULL, 0},
    {"public_url", XATTR_LINK, xattr_public_url, NULL, NULL, 0},
    {"signed_url", XATTR_LINK, xattr_signed_url, NULL, NULL, 0},
    {"signed_url.", XATTR_LINK, xattr_signed_url, NULL, NULL, 0},
    {"content_type", XATTR_SETTABLE, xattr_get_type, xattr_set_type, xattr_type_is_listed, 0},
    {"cache_control", XATTR_SETTABLE, xattr_get_cache_control, xattr_set_cache_control,
     xattr_cache_control_is_listed, 0},
    {".file_id", XATTR_IDENTITY, xattr_provider_file_id, xattr_provider_set_id,
     xattr_provider_is_listed, XATTR_NOTED | XATTR_PATIENT},
    {".status", XATTR_STATE, xattr_provider_status, NULL, NULL, XATTR_NOTED},
    {".expires", XATTR_STATE, xattr_provider_expires, NULL, NULL, XATTR_NOTED},
    {".error", XATTR_STATE, xattr_provider_error, NULL, NULL, XATTR_NOTED},
    {"tags", XATTR_SETTABLE, xattr_get_tags, xattr_set_tags, xattr_tags_are_listed, 0},
};

#define ROWS (sizeof table / sizeof *table)

static bool
row_is(const struct xattr_ours *o, const char *what)
{
    size_t len = strlen(o->name);
    if (o->name[0] == '.')
        return xattr_provider_is(what, o->name);
    return o->name[len - 1] == '.' ? sf_str_starts(what, o->name) : !strcmp(what, o->name);
}

bool
xattr_is_ours(const char *name)
{
    static const char *const kept[] = {"provider",    "model",      "system",
                                       "temperature", "max_tokens", "thinking"};
    const char *what = name + strlen(XATTR_OURS);
    if (!sf_str_starts(name, XATTR_OURS))
        return false;
    for (size_t i = 0; sf_str_starts(what, "chat.") && i < sizeof kept / sizeof *kept; i++)
        if (!strcmp(what + strlen("chat."), kept[i]))
            return false;
    return true;
}

const struct xattr_ours *
xattr_ours_find(const char *name)
{
    const char *what = name + strlen(XATTR_OURS);
    for (size_t i = 0; i < ROWS; i++)
        if (row_is(&table[i], what))
            return &table[i];
    return NULL;
}

int
xattr_ours_go(struct xattr_op *op)
{
    const struct xattr_ours *o = op->ours;
    if (op->what == XATTR_GET)
        return o->get ? o->get(op) : -ENODATA;
    return o->set ? o->set(op) : 0;
}

int
xattr_ours_list(struct xattr_op *op)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < ROWS; i++)
        if (table[i].listed && table[i].listed(op) && table[i].name[0] == '.') {
            rc = sf_buf_append(&op->out, op->listed.data, op->listed.len);
        } else if (table[i].listed && table[i].listed(op)) {
            rc = sf_buf_puts(&op->out, XATTR_OURS);
            if (!rc)
                rc = sf_buf_append(&op->out, table[i].name, strlen(table[i].name) + 1);
        }
    return rc;
}
