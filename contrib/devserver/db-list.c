/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "db-internal.h"

/*
 * Listing as the service does it. With a delimiter it walks the names by "seek": look at the next
 * name, and either skip a whole folder or read a batch of files. Its seeks are not exact, and a
 * client has to live with what follows from that, so it is kept:
 *  - after a file `f` at the end of a page (or of a batch of 1000) it goes on at `f/`, so names
 * such as `f-1` and `f.txt` are left out; and if a folder `f/` exists as well, it goes on behind
 * it.
 *  - downwards, the first name of a folder that follows a file is skipped; a folder with no other
 *    name in it is lost.
 */

/* Greater than any byte that a key can hold. */
#define ABOVE_ALL "\x7f"
#define BATCH_MAX 1000
#define NAME_ROOM 8192

typedef void list_row_fn(void *arg, const struct ds_list_row *row);

struct walk {
    struct ds_db *db;
    const struct ds_list_query *query;
    list_row_fn *row;
    void *arg;
    size_t prefix_len;
    char *upper; /* exclusive bound of the prefix */
    char *seek;  /* where to look next: first name >= it upwards, < it downwards */
    size_t count;
    size_t batch;
};

static bool
set_seek(struct walk *walk, const char *name, size_t len, const char *tail)
{
    size_t n = strlen(tail);
    char *seek = malloc(len + n + 1);
    if (!seek)
        return false;
    memcpy(seek, name, len);
    memcpy(seek + len, tail, n + 1);
    free(walk->seek);
    walk->seek = seek;
    return true;
}

/* The smallest string greater than all that start with prefix. */
static char *
upper_bound(const char *prefix)
{
    char *upper = strdup(*prefix ? prefix : ABOVE_ALL);
    if (upper && *prefix) {
        unsigned char *last = (unsigned char *)upper + strlen(upper) - 1;
        (*last)++;
    }
    return upper;
}

/* Length of the folder that `name` lies in below the prefix, its slash included; 0 for a file. */
static size_t
folder_len(const struct walk *walk, const char *name)
{
    if (strlen(name) < walk->prefix_len)
        return 0;
    const char *slash = strchr(name + walk->prefix_len, '/');
    return slash ? (size_t)(slash - name) + 1 : 0;
}

static sqlite3_stmt *
range_stmt(struct walk *walk, size_t limit)
{
    bool down = walk->query->descending;
    sqlite3_stmt *stmt = ds_db_stmt_locked(walk->db, down ? DS_STMT_LIST_DOWN : DS_STMT_LIST_UP);
    if (!stmt)
        return NULL;
    const char *low = down ? walk->query->prefix : walk->seek;
    const char *high = down ? walk->seek : walk->upper;
    sqlite3_bind_text(stmt, 1, walk->query->bucket, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, low, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(stmt, 3, high, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(stmt, 4, (sqlite3_int64)limit);
    return stmt;
}

/* One name of the range; *found tells whether there is one. */
static int
peek(struct walk *walk, char name[NAME_ROOM], bool *found)
{
    sqlite3_stmt *stmt = range_stmt(walk, 1);
    if (!stmt)
        return -EIO;
    *found = sqlite3_step(stmt) == SQLITE_ROW;
    if (*found) {
        struct ds_object object;
        ds_db_object_row(stmt, &object);
        size_t len = strlen(object.name);
        if (len >= NAME_ROOM) {
            sqlite3_reset(stmt);
            return -EIO;
        }
        memcpy(name, object.name, len + 1);
    }
    sqlite3_reset(stmt);
    return 0;
}

static int
seek_start(struct walk *walk)
{
    const struct ds_list_query *q = walk->query;
    const char *after = q->after;
    size_t len = strlen(after);
    if (len == 0)
        return set_seek(walk, q->descending ? walk->upper : q->prefix,
                        strlen(q->descending ? walk->upper : q->prefix), "")
                   ? 0
                   : -ENOMEM;

    /* Does the cursor name a folder? Then all below it has been listed. */
    if (!set_seek(walk, after, len, "/"))
        return -ENOMEM;
    sqlite3_stmt *stmt = ds_db_stmt_locked(walk->db, DS_STMT_LIST_UP);
    if (!stmt)
        return -EIO;
    sf_autofree char *end = upper_bound(walk->seek);
    if (!end)
        return -ENOMEM;
    sqlite3_bind_text(stmt, 1, q->bucket, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, walk->seek, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(stmt, 3, end, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(stmt, 4, 1);
    bool folder = sqlite3_step(stmt) == SQLITE_ROW;
    sqlite3_reset(stmt);

    const char *tail = q->descending ? (folder ? "/" : "") : (folder ? "0" : "/");
    return set_seek(walk, after, len, tail) ? 0 : -ENOMEM;
}

static int
emit_folder(struct walk *walk, const char *name, size_t len)
{
    sf_autofree char *folder = strndup(name, len);
    if (!folder)
        return -ENOMEM;
    size_t bare = len;
    while (bare > 0 && folder[bare - 1] == '/')
        bare--;
    folder[bare] = '\0';
    walk->row(walk->arg, &(struct ds_list_row){.folder = folder, .folder_ms = -1});
    walk->count++;
    bool ok = walk->query->descending ? set_seek(walk, name, len, "")
                                      : set_seek(walk, name, len - 1, "0");
    return ok ? 0 : -ENOMEM;
}

static int
emit_files(struct walk *walk)
{
    sqlite3_stmt *stmt = range_stmt(walk, walk->batch);
    if (!stmt)
        return -EIO;
    bool ok = true;
    while (ok && walk->count < walk->query->max_rows && sqlite3_step(stmt) == SQLITE_ROW) {
        struct ds_object object;
        ds_db_object_row(stmt, &object);
        size_t len = strlen(object.name);
        if (folder_len(walk, object.name) > 0) {
            ok = set_seek(walk, object.name, len, "");
            break;
        }
        walk->row(walk->arg, &(struct ds_list_row){.object = &object});
        walk->count++;
        ok = set_seek(walk, object.name, len, walk->query->descending ? "" : "/");
    }
    sqlite3_reset(stmt);
    return ok ? 0 : -ENOMEM;
}

static int
walk_names(struct walk *walk)
{
    int rc = seek_start(walk);
    while (rc == 0 && walk->count < walk->query->max_rows) {
        char name[NAME_ROOM];
        bool found = false;
        rc = peek(walk, name, &found);
        if (rc < 0 || !found)
            break;
        size_t len = folder_len(walk, name);
        rc = len > 0 ? emit_folder(walk, name, len) : emit_files(walk);
    }
    return rc;
}

/* Without a delimiter it is a plain range, and exact. */
static int
list_flat(struct walk *walk)
{
    const struct ds_list_query *q = walk->query;
    bool down = q->descending;
    bool timed = q->sort != DS_SORT_NAME;
    enum ds_stmt which = down ? DS_STMT_LIST_DOWN : DS_STMT_LIST_UP;
    if (q->sort == DS_SORT_CREATED)
        which = down ? DS_STMT_LIST_CREATED_DOWN : DS_STMT_LIST_CREATED_UP;
    else if (q->sort == DS_SORT_UPDATED)
        which = down ? DS_STMT_LIST_UPDATED_DOWN : DS_STMT_LIST_UPDATED_UP;
    sqlite3_stmt *stmt = ds_db_stmt_locked(walk->db, which);
    if (!stmt)
        return -EIO;

    sf_autofree char *next = NULL; /* the smallest name after the cursor's */
    const char *low = q->prefix, *high = walk->upper;
    bool by_name = *q->after && !(timed && q->after_ms >= 0);
    if (by_name && !down) {
        size_t len = strlen(q->after);
        next = calloc(1, len + 2);
        if (!next)
            return -ENOMEM;
        memcpy(next, q->after, len);
        next[len] = '\x01'; /* below every byte that a key can hold */
        if (strcmp(next, low) > 0)
            low = next;
    } else if (by_name && strcmp(q->after, high) < 0) {
        high = q->after;
    }
    sqlite3_bind_text(stmt, 1, q->bucket, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, low, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, high, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 4, (sqlite3_int64)q->max_rows);
    if (timed) {
        bool cursor = *q->after && q->after_ms >= 0;
        sqlite3_bind_int64(stmt, 5, cursor ? q->after_ms : down ? INT64_MAX : INT64_MIN);
        sqlite3_bind_text(stmt, 6, cursor ? q->after : "", -1, SQLITE_STATIC);
    }
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        struct ds_object object;
        ds_db_object_row(stmt, &object);
        walk->row(walk->arg, &(struct ds_list_row){.object = &object});
    }
    sqlite3_reset(stmt);
    return 0;
}

/* ---- by time, with folders: everything is gathered, then sorted ---- */

struct entry {
    struct ds_object object; /* owns its strings; empty for a folder */
    char *name;
    int64_t ms;
    bool folder;
};

struct gather {
    struct entry *entries;
    size_t count, room;
};

static struct entry *
gather_slot(struct gather *gather)
{
    if (gather->count == gather->room) {
        size_t room = gather->room ? 2 * gather->room : 256;
        struct entry *grown = realloc(gather->entries, room * sizeof *grown);
        if (!grown)
            return NULL;
        gather->entries = grown;
        gather->room = room;
    }
    struct entry *entry = &gather->entries[gather->count++];
    *entry = (struct entry){0};
    return entry;
}

static void
gather_fini(struct gather *gather)
{
    for (size_t i = 0; i < gather->count; i++) {
        ds_object_fini(&gather->entries[i].object);
        free(gather->entries[i].name);
    }
    free(gather->entries);
}

/* Names come in order, so a folder's are together. A folder counts as old as its first object. */
static int
gather_add(struct walk *walk, struct gather *gather, const struct ds_object *object)
{
    size_t len = folder_len(walk, object->name);
    struct entry *last = gather->count > 0 ? &gather->entries[gather->count - 1] : NULL;
    if (len > 0 && last && last->folder && strlen(last->name) == len &&
        strncmp(last->name, object->name, len) == 0) {
        if (object->created_ms < last->ms)
            last->ms = object->created_ms;
        return 0;
    }
    struct entry *entry = gather_slot(gather);
    if (!entry)
        return -ENOMEM;
    entry->folder = len > 0;
    entry->name = strndup(object->name, len > 0 ? len : strlen(object->name));
    entry->ms =
        len > 0 || walk->query->sort == DS_SORT_CREATED ? object->created_ms : object->updated_ms;
    if (!entry->name)
        return -ENOMEM;
    return len > 0 ? 0 : ds_object_copy(object, &entry->object);
}

static int
compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    if (a->ms != b->ms)
        return a->ms < b->ms ? -1 : 1;
    return strcmp(a->name, b->name);
}

static bool
entry_is_after(const struct ds_list_query *q, const struct entry *entry)
{
    if (!*q->after)
        return true;
    int64_t ms = q->after_ms < 0 ? 0 : q->after_ms;
    int order = entry->ms != ms ? (entry->ms < ms ? -1 : 1) : strcmp(entry->name, q->after);
    return q->descending ? order < 0 : order > 0;
}

static void
emit_entries(struct walk *walk, const struct gather *gather)
{
    for (size_t i = 0; i < gather->count && walk->count < walk->query->max_rows; i++) {
        size_t at = walk->query->descending ? gather->count - 1 - i : i;
        const struct entry *entry = &gather->entries[at];
        if (!entry_is_after(walk->query, entry))
            continue;
        struct ds_list_row row = {.object = entry->folder ? NULL : &entry->object,
                                  .folder = entry->name,
                                  .folder_ms = entry->ms};
        walk->row(walk->arg, &row);
        walk->count++;
    }
}

static int
list_by_time(struct walk *walk)
{
    sqlite3_stmt *stmt = ds_db_stmt_locked(walk->db, DS_STMT_LIST_UP);
    if (!stmt)
        return -EIO;
    sqlite3_bind_text(stmt, 1, walk->query->bucket, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, walk->query->prefix, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, walk->upper, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 4, -1);
    struct gather gather = {0};
    int rc = 0;
    while (rc == 0 && sqlite3_step(stmt) == SQLITE_ROW) {
        struct ds_object object;
        ds_db_object_row(stmt, &object);
        rc = gather_add(walk, &gather, &object);
    }
    sqlite3_reset(stmt);
    for (size_t i = 0; i < gather.count; i++) {
        char *name = gather.entries[i].name;
        for (size_t n = name && gather.entries[i].folder ? strlen(name) : 0;
             n > 0 && name[n - 1] == '/'; n--)
            name[n - 1] = '\0';
    }
    if (rc == 0) {
        if (gather.count > 0)
            qsort(gather.entries, gather.count, sizeof *gather.entries, compare_entries);
        emit_entries(walk, &gather);
    }
    gather_fini(&gather);
    return rc;
}

int
ds_db_object_list(struct ds_db *db, const struct ds_list_query *query, list_row_fn *row, void *arg)
{
    struct walk walk = {.db = db,
                        .query = query,
                        .row = row,
                        .arg = arg,
                        .prefix_len = strlen(query->prefix),
                        .upper = upper_bound(query->prefix)};
    if (!walk.upper)
        return -ENOMEM;
    walk.batch = query->max_rows * 2 < 100 ? 100 : query->max_rows * 2;
    if (walk.batch > BATCH_MAX)
        walk.batch = BATCH_MAX;
    DS_DB_GUARD(db);
    db->sight = &query->sight;
    int rc;
    if (!query->delimiter)
        rc = list_flat(&walk);
    else if (query->sort == DS_SORT_NAME)
        rc = walk_names(&walk);
    else
        rc = list_by_time(&walk);
    db->sight = NULL;
    free(walk.upper);
    free(walk.seek);
    return rc;
}
