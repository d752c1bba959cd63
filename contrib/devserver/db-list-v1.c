/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "db.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "db-internal.h"

/*
 * The service's first listing. By name it walks the names in lower case, so that `Dir/` and `dir/`
 * are one folder, and shows the spelling that it meets first; downwards it loses the first name of
 * a folder that follows a file. By a time, folders come first, by their exact names, and the order
 * of objects with one time is left open. All names below the prefix are gathered first: pages are
 * numbered, so there is nothing to go on from.
 */

struct name {
    char *exact;
    char *lower;
    const char *below; /* the prefix; within exact */
    int64_t ms;
    size_t folder; /* length of the folder's name below the prefix + 1, 0 for a file */
};

struct listing {
    struct ds_db *db;
    const struct ds_list_v1_query *query;
    void (*row)(void *arg, const struct ds_list_row *row);
    void *arg;
    size_t prefix_len;
    struct name *names;
    size_t count, room;
    size_t seen; /* rows so far, those before the page too */
};

static void
names_fini(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++) {
        free(listing->names[i].exact);
        free(listing->names[i].lower);
    }
    free(listing->names);
}

static int
add_name(struct listing *listing, sqlite3_stmt *stmt)
{
    if (listing->count == listing->room) {
        size_t room = listing->room ? 2 * listing->room : 256;
        struct name *grown = realloc(listing->names, room * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        listing->names = grown;
        listing->room = room;
    }
    struct name *name = &listing->names[listing->count];
    bool failed = false;
    enum ds_sort sort = listing->query->sort;
    *name = (struct name){
        .exact = ds_db_dup(ds_db_text(stmt, 0), &failed),
        .lower = ds_db_dup(ds_db_text(stmt, 1), &failed),
        .ms = sort == DS_SORT_NAME ? 0
                                   : sqlite3_column_int64(stmt, sort == DS_SORT_CREATED   ? 2
                                                                : sort == DS_SORT_UPDATED ? 3
                                                                                          : 4),
    };
    listing->count++;
    if (failed)
        return -ENOMEM;
    name->below = name->exact + listing->prefix_len;
    const char *slash = strchr(name->below, '/');
    name->folder = slash ? (size_t)(slash - name->below) + 1 : 0;
    return 0;
}

static int
gather(struct listing *listing)
{
    sf_autofree char *start = NULL;
    if (asprintf(&start, "%s%s", listing->query->prefix, listing->query->search) < 0) {
        start = NULL;
        return -ENOMEM;
    }
    for (char *s = start; *s; s++)
        *s = (char)tolower((unsigned char)*s);
    sqlite3_stmt *stmt = ds_db_stmt_locked(listing->db, DS_STMT_LIST_ALL);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, listing->query->bucket);
    ds_db_bind_text(stmt, 2, start);
    int rc = 0;
    while (rc == 0 && sqlite3_step(stmt) == SQLITE_ROW)
        rc = add_name(listing, stmt);
    sqlite3_reset(stmt);
    return rc;
}

/* ---- rows ---- */

/* Counts a row; tells whether it is on the page. */
static bool
on_page(struct listing *listing)
{
    size_t at = listing->seen++;
    return at >= listing->query->offset && at - listing->query->offset < listing->query->max_rows;
}

static bool
page_is_full(const struct listing *listing)
{
    return listing->seen >= listing->query->offset &&
           listing->seen - listing->query->offset >= listing->query->max_rows;
}

static int
emit_folder(struct listing *listing, const struct name *name)
{
    if (!on_page(listing))
        return 0;
    sf_autofree char *folder = strndup(name->below, name->folder - 1);
    if (!folder)
        return -ENOMEM;
    listing->row(listing->arg, &(struct ds_list_row){.folder = folder, .folder_ms = -1});
    return 0;
}

static int
emit_object(struct listing *listing, const struct name *name)
{
    if (!on_page(listing))
        return 0;
    ds_autoobject object = {0};
    int rc = ds_db_object_get(listing->db, listing->query->bucket, name->exact, &object);
    if (rc == 0)
        listing->row(listing->arg, &(struct ds_list_row){.object = &object});
    return rc;
}

/* ---- by name ---- */

static int
compare_lower(const void *left, const void *right)
{
    const struct name *a = left, *b = right;
    int order = strcmp(a->lower, b->lower);
    return order != 0 ? order : strcmp(a->exact, b->exact);
}

/* Whether both lie in the folder of `a`, whatever the spelling. */
static bool
same_folder(const struct listing *listing, const struct name *a, const struct name *b)
{
    return a->folder == b->folder &&
           strncmp(a->lower + listing->prefix_len, b->lower + listing->prefix_len, a->folder) == 0;
}

static int
list_by_name(struct listing *listing)
{
    bool down = listing->query->descending;
    const struct name *after_file = NULL;
    const struct name *folder = NULL;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < listing->count && !page_is_full(listing); i++) {
        const struct name *name = &listing->names[down ? listing->count - 1 - i : i];
        if (name->folder == 0) {
            rc = emit_object(listing, name);
            after_file = name;
            folder = NULL;
        } else if (folder && same_folder(listing, folder, name)) {
            continue;
        } else if (down && after_file) {
            after_file = NULL; /* this one name is skipped */
        } else {
            rc = emit_folder(listing, name);
            folder = name;
            after_file = NULL;
        }
    }
    return rc;
}

/* ---- by a time ---- */

/* The names of two folders, without what is in them. */
static int
compare_folders(const struct name *a, const struct name *b)
{
    size_t len = a->folder < b->folder ? a->folder : b->folder;
    int order = memcmp(a->below, b->below, len - 1);
    return order != 0 ? order : (a->folder > b->folder) - (a->folder < b->folder);
}

/* Folders before files; folders by name, files by time. */
static int
compare_timed(const void *left, const void *right)
{
    const struct name *a = left, *b = right;
    if ((a->folder == 0) != (b->folder == 0))
        return a->folder == 0 ? 1 : -1;
    if (a->folder == 0)
        return a->ms != b->ms ? (a->ms < b->ms ? -1 : 1) : 0;
    return compare_folders(a, b);
}

/* The folders, which were found by ignoring case in the prefix: one row for each exact name. */
static int
emit_folders(struct listing *listing, size_t count)
{
    const struct name *last = NULL;
    bool down = listing->query->descending;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct name *name = &listing->names[down ? count - 1 - i : i];
        if (!last || compare_folders(last, name) != 0)
            rc = emit_folder(listing, name);
        last = name;
    }
    return rc;
}

static int
list_timed(struct listing *listing)
{
    size_t folders = 0;
    while (folders < listing->count && listing->names[folders].folder > 0)
        folders++;
    int rc = emit_folders(listing, folders);
    for (size_t i = folders; rc == 0 && i < listing->count && !page_is_full(listing); i++) {
        size_t at = listing->query->descending ? listing->count - 1 - (i - folders) : i;
        rc = emit_object(listing, &listing->names[at]);
    }
    return rc;
}

int
ds_db_object_list_v1(struct ds_db *db, const struct ds_list_v1_query *query,
                     void (*row)(void *arg, const struct ds_list_row *row), void *arg)
{
    struct listing listing = {
        .db = db, .query = query, .row = row, .arg = arg, .prefix_len = strlen(query->prefix)};
    DS_DB_GUARD(db);
    db->sight = &query->sight;
    int rc = gather(&listing);
    db->sight = NULL;
    bool by_name = query->sort == DS_SORT_NAME;
    if (rc == 0 && listing.count > 0) {
        qsort(listing.names, listing.count, sizeof *listing.names,
              by_name ? compare_lower : compare_timed);
        rc = by_name ? list_by_name(&listing) : list_timed(&listing);
    }
    names_fini(&listing);
    return rc;
}
