/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/cleanup.h"
#include "db-internal.h"
#include "json.h"
#include "reply.h"
#include "rest-objects.h"

/* What contrib/sql/006-provider-files.sql does, on the dev server's own tables. */

#define LEASE_MAX_S 86400
#define ERROR_MAX   400

/* The members of p; those of a claim or settlement that name the content come first. */
enum { SHA256, PROVIDER, ACCOUNT, PURPOSE, HOLDER, FILE_ID, BYTES, ID, LEASE, EXPIRES, ERROR, N };
static const struct {
    const char *name;
    enum ds_type type;
} members[N] = {
    [SHA256] = {"sha256", DS_TEXT},    [PROVIDER] = {"provider", DS_TEXT},
    [ACCOUNT] = {"account", DS_TEXT},  [PURPOSE] = {"purpose", DS_TEXT},
    [HOLDER] = {"holder", DS_TEXT},    [FILE_ID] = {"file_id", DS_UUID},
    [BYTES] = {"bytes", DS_BIGINT},    [ID] = {"provider_file_id", DS_TEXT},
    [LEASE] = {"lease_s", DS_INTEGER}, [EXPIRES] = {"expires_at", DS_TIME},
    [ERROR] = {"error", DS_TEXT},
};

struct asked {
    struct ds_value v[N];
};

static void
asked_fini(struct asked *a)
{
    for (size_t i = 0; i < N; i++)
        ds_value_fini(&a->v[i]);
}
#define autoasked __attribute__((cleanup(asked_fini))) struct asked

#define BIT(i) (1u << (i))

/* @takes: the members that the function knows; @needed: how many of `names` must be there. */
static bool
read_asked(struct ds_rest *rest, const json_t *body, unsigned takes, const char *names,
           unsigned needed, struct asked *out)
{
    const json_t *p = json_object_get(body, "p");
    if (!json_is_object(p))
        return ds_rest_fail(rest, "22023", NULL, NULL, "p must be an object");
    for (size_t i = 0; i < N; i++) {
        const json_t *m = takes & BIT(i) ? json_object_get(p, members[i].name) : NULL;
        const char *text = json_string_value(m);
        if (!ds_rest_fits(m, members[i].type) || (text && !*text))
            return ds_rest_fail(rest, "22023", NULL, NULL, "p: a member of the wrong type");
    }
    for (size_t i = 0; i < N; i++) {
        const json_t *m = json_object_get(p, members[i].name);
        if (needed & BIT(i) && (!m || json_is_null(m)))
            return ds_rest_fail(rest, "22023", NULL, NULL, "p: %s are needed", names);
    }
    for (size_t i = 0; i < N; i++)
        if (takes & BIT(i) && !ds_rest_take(rest, p, members[i].name, members[i].type, &out->v[i]))
            return ds_rest_refuse(rest, "p");
    return true;
}

/* ---- rows ---- */

/* The caller's rows that the condition behind `sql` finds; at most `room`. -1 answered. */
static int
find_rows(struct ds_rest *rest, struct ds_sql *sql, const struct ds_table *table, int64_t *rowids,
          int room)
{
    int n = 0;
    ds_buf_adds(&sql->text, " AND ");
    ds_sql_policy(sql, rest, table);
    ds_autostmt *stmt = ds_sql_prepare(rest, sql);
    if (!stmt)
        return -1;
    while (n < room && sqlite3_step(stmt) == SQLITE_ROW)
        rowids[n++] = sqlite3_column_int64(stmt, 0);
    return n;
}

static void
where(struct ds_sql *sql, const struct ds_table *table, const char *column,
      const struct ds_value *value)
{
    bool first = !sql->text.len;
    if (first)
        ds_buf_addf(&sql->text, "SELECT rowid FROM \"%s\" WHERE ", table->name);
    ds_buf_addf(&sql->text, "%s\"%s\" = ", first ? "" : " AND ", column);
    ds_sql_value(sql, ds_value_copy(value));
}

/* The caller's row of a content: its rowid, 0 when there is none, -1 answered. */
static int64_t
find_content(struct ds_rest *rest, const struct ds_table *table, const struct asked *a)
{
    ds_autosql sql = {0};
    int64_t rowid = 0;
    for (size_t i = SHA256; i <= PURPOSE; i++)
        where(&sql, table, members[i].name, &a->v[i]);
    ds_buf_adds(&sql.text, " AND owner_id IS ");
    ds_sql_value(&sql, ds_value_text(rest->sub));
    return find_rows(rest, &sql, table, &rowid, 1) < 0 ? -1 : rowid;
}

static const struct ds_value *
of(const struct ds_table *table, const struct ds_row *row, const char *column)
{
    return &row->values[ds_table_column(table, column)];
}

/* ---- what is noted of objects ---- */

/* In file_metadata; `id` NULL = it goes, where it is `old`. */
static bool
note_row(struct ds_rest *rest, int64_t rowid, const char *provider, const char *id, const char *old)
{
    const struct ds_table *table = ds_table_find("file_metadata");
    ds_autorow row = {0};
    if (!ds_row_load(rest, table, rowid, &row))
        return false;
    const char *text = of(table, &row, "provider_file_ids")->text;
    ds_autojson *ids = text ? json_loads(text, 0, NULL) : json_object();
    const char *now = json_string_value(json_object_get(ids, provider));
    if (id ? now && !strcmp(now, id) : !now || strcmp(now, old) != 0)
        return true;
    if (id)
        json_object_set_new(ids, provider, json_string(id));
    else
        json_object_del(ids, provider);
    ds_autobuf out = DS_BUF_INIT;
    ds_jsonb_write(&out, ids);
    ds_row_put(table, &row, "provider_file_ids", ds_value_text(out.data));
    return ds_row_update(rest, table, &row, rowid);
}

/* In file_id_mappings: a new row, or the caller's own one of the object gets this id. */
static bool
note_mapping(struct ds_rest *rest, const char *file, const char *provider, const char *id)
{
    const struct ds_table *table = ds_table_find("file_id_mappings");
    ds_autorow row = {0};
    if (!ds_row_defaults(rest, table, &row))
        return false;
    ds_row_put(table, &row, "supabase_file_id", ds_value_text(file));
    ds_row_put(table, &row, "provider", ds_value_text(provider));
    ds_row_put(table, &row, "provider_file_id", ds_value_text(id));
    int64_t of_file = ds_row_conflict(rest, table, &table->uniques[1], &row);
    int64_t of_id = ds_row_conflict(rest, table, &table->uniques[2], &row);
    if (of_file < 0 || of_id < 0)
        return false;
    if (of_id > 0)
        return true;
    if (of_file == 0)
        return ds_row_insert(rest, table, &row, &of_file);
    int visible = ds_row_visible(rest, table, of_file);
    if (visible <= 0)
        return visible == 0;
    if (!ds_row_load(rest, table, of_file, &row))
        return false;
    ds_row_put(table, &row, "provider_file_id", ds_value_text(id));
    return ds_row_update(rest, table, &row, of_file);
}

static bool
note(struct ds_rest *rest, const struct asked *a, const char *id)
{
    const struct ds_table *table = ds_table_find("file_metadata");
    if (!a->v[FILE_ID].text)
        return true;
    if (!note_mapping(rest, a->v[FILE_ID].text, a->v[PROVIDER].text, id))
        return false;
    ds_autosql sql = {0};
    int64_t rowid = 0;
    where(&sql, table, "file_id", &a->v[FILE_ID]);
    int n = find_rows(rest, &sql, table, &rowid, 1);
    return n == 0 || (n > 0 && note_row(rest, rowid, a->v[PROVIDER].text, id, NULL));
}

/* ---- supafs_provider_claim ---- */

static bool
fits_claim(struct ds_rest *rest, const struct asked *a)
{
    const char *hex = a->v[SHA256].text;
    int64_t lease = a->v[LEASE].number;
    if (strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64 && lease >= 1 &&
        lease <= LEASE_MAX_S && a->v[BYTES].number >= 0)
        return true;
    return ds_rest_fail(rest, "22023", NULL, NULL, "p: sha256, lease_s or bytes out of range");
}

/* The row becomes the caller's claim. */
static void
put_claim(struct ds_rest *rest, const struct ds_table *table, const struct asked *a,
          struct ds_row *row)
{
    if (a->v[BYTES].kind != DS_VALUE_NULL)
        ds_row_put(table, row, "bytes", ds_value_copy(&a->v[BYTES]));
    ds_row_put(table, row, "state", ds_value_text("pending"));
    ds_row_put(table, row, "provider_file_id", DS_NULL);
    ds_row_put(table, row, "expires_at", DS_NULL);
    ds_row_put(table, row, "error", DS_NULL);
    ds_row_put(table, row, "lease_by", ds_value_copy(&a->v[HOLDER]));
    ds_row_put(table, row, "lease_until",
               ds_value_number(rest->now_us + a->v[LEASE].number * 1000000));
}

static bool
claim_new(struct ds_rest *rest, const struct ds_table *table, const struct asked *a)
{
    ds_autorow row = {0};
    int64_t rowid = 0;
    if (!ds_row_defaults(rest, table, &row))
        return false;
    for (size_t i = SHA256; i <= PURPOSE; i++)
        ds_row_put(table, &row, members[i].name, ds_value_copy(&a->v[i]));
    put_claim(rest, table, a, &row);
    return ds_row_insert(rest, table, &row, &rowid);
}

/* A row of the content is there. False: answered by an error. */
static bool
claim_row(struct ds_rest *rest, const struct ds_table *table, const struct asked *a, int64_t rowid,
          struct ds_buf *out)
{
    ds_autorow row = {0};
    if (!ds_row_load(rest, table, rowid, &row))
        return false;
    const struct ds_value *id = of(table, &row, "provider_file_id");
    const struct ds_value *expires = of(table, &row, "expires_at");
    const struct ds_value *until = of(table, &row, "lease_until");
    const char *by = of(table, &row, "lease_by")->text;
    if (!strcmp(of(table, &row, "state")->text, "ready") && id->text &&
        (expires->kind == DS_VALUE_NULL || expires->number > rest->now_us)) {
        ds_buf_adds(out, "{\"bytes\": ");
        ds_value_write(out, DS_BIGINT, of(table, &row, "bytes"));
        ds_buf_adds(out, ", \"state\": \"ready\", \"expires_at\": ");
        ds_value_write(out, DS_TIME, expires);
        ds_buf_adds(out, ", \"provider_file_id\": ");
        ds_buf_add_json(out, id->text);
        ds_buf_adds(out, "}");
        return note(rest, a, id->text);
    }
    if (until->kind != DS_VALUE_NULL && until->number > rest->now_us && by &&
        strcmp(by, a->v[HOLDER].text) != 0) {
        ds_buf_adds(out, "{\"state\": \"busy\", \"until\": ");
        ds_value_write(out, DS_TIME, until);
        ds_buf_adds(out, "}");
        return true;
    }
    ds_buf_adds(out, "{\"state\": \"claimed\"}");
    put_claim(rest, table, a, &row);
    return ds_row_update(rest, table, &row, rowid);
}

void
ds_rest_provider_claim(struct ds_rest *rest, const json_t *body)
{
    const struct ds_table *table = ds_table_find("provider_files");
    unsigned needed =
        BIT(SHA256) | BIT(PROVIDER) | BIT(ACCOUNT) | BIT(PURPOSE) | BIT(HOLDER) | BIT(LEASE);
    autoasked a = {0};
    ds_autobuf out = DS_BUF_INIT;
    if (!read_asked(rest, body, needed | BIT(FILE_ID) | BIT(BYTES),
                    "sha256, provider, account, purpose, holder, lease_s", needed, &a) ||
        !fits_claim(rest, &a))
        return;
    int64_t rowid = find_content(rest, table, &a);
    if (rowid == 0) {
        ds_buf_adds(&out, "{\"state\": \"claimed\"}");
        if (!claim_new(rest, table, &a))
            return;
    } else if (rowid < 0 || !claim_row(rest, table, &a, rowid, &out)) {
        return;
    }
    ds_rest_reply_value(rest, &out);
}

/* ---- supafs_provider_settle ---- */

static bool
settle_row(struct ds_rest *rest, const struct ds_table *table, struct asked *a, struct ds_row *row,
           int64_t rowid)
{
    bool failed = a->v[ERROR].text != NULL;
    ds_row_put(table, row, "state", ds_value_text(failed ? "failed" : "ready"));
    ds_row_put(table, row, "provider_file_id", ds_value_copy(&a->v[ID]));
    ds_rest_cut(a->v[ERROR].text, ERROR_MAX);
    ds_row_put(table, row, "error", ds_value_copy(&a->v[ERROR]));
    if (a->v[BYTES].kind != DS_VALUE_NULL)
        ds_row_put(table, row, "bytes", ds_value_copy(&a->v[BYTES]));
    ds_row_put(table, row, "expires_at", ds_value_copy(&a->v[EXPIRES]));
    ds_row_put(table, row, "lease_by", DS_NULL);
    ds_row_put(table, row, "lease_until", DS_NULL);
    return ds_row_update(rest, table, row, rowid) && (failed || note(rest, a, a->v[ID].text));
}

void
ds_rest_provider_settle(struct ds_rest *rest, const json_t *body)
{
    const struct ds_table *table = ds_table_find("provider_files");
    unsigned needed = BIT(SHA256) | BIT(PROVIDER) | BIT(ACCOUNT) | BIT(PURPOSE) | BIT(HOLDER);
    autoasked a = {0};
    ds_autorow row = {0};
    ds_autobuf out = DS_BUF_INIT;
    if (!read_asked(rest, body,
                    needed | BIT(ID) | BIT(BYTES) | BIT(EXPIRES) | BIT(FILE_ID) | BIT(ERROR),
                    "sha256, provider, account, purpose, holder", needed, &a))
        return;
    if (!a.v[ID].text == !a.v[ERROR].text || a.v[BYTES].number < 0) {
        ds_rest_fail(rest, "22023", NULL, NULL, "p: either provider_file_id or error is needed");
        return;
    }
    int64_t rowid = find_content(rest, table, &a);
    if (rowid < 0 || (rowid > 0 && !ds_row_load(rest, table, rowid, &row)))
        return;
    const char *by = rowid ? of(table, &row, "lease_by")->text : NULL;
    if (by && !strcmp(by, a.v[HOLDER].text)) {
        if (!settle_row(rest, table, &a, &row, rowid))
            return;
        ds_buf_adds(&out, "{\"settled\": true}");
    } else {
        ds_buf_adds(&out, "{\"settled\": false, \"provider_file_id\": ");
        ds_buf_add_json(&out, rowid ? of(table, &row, "provider_file_id")->text : NULL);
        ds_buf_adds(&out, "}");
    }
    ds_rest_reply_value(rest, &out);
}

/* ---- supafs_provider_drop ---- */

#define DROP_MAX 1000

/* Removes the caller's rows of a table that have this id, and calls note_row() for the objects that
 * `column` of each names. -1 answered, else how many. */
static int
drop_rows(struct ds_rest *rest, const struct ds_table *table, const struct asked *a,
          const char *column, const char *object_column)
{
    const struct ds_table *files = ds_table_find("file_metadata");
    int64_t rowids[DROP_MAX], objects[DROP_MAX];
    ds_autosql sql = {0};
    where(&sql, table, "provider", &a->v[PROVIDER]);
    where(&sql, table, "provider_file_id", &a->v[ID]);
    int n = find_rows(rest, &sql, table, rowids, DROP_MAX);
    for (int i = 0; i < n; i++) {
        ds_autorow row = {0};
        ds_autosql named = {0};
        if (!ds_row_load(rest, table, rowids[i], &row))
            return -1;
        where(&named, files, object_column, of(table, &row, column));
        int found = find_rows(rest, &named, files, objects, DROP_MAX);
        for (int k = 0; k < found; k++)
            if (!note_row(rest, objects[k], a->v[PROVIDER].text, NULL, a->v[ID].text))
                return -1;
        if (found < 0 || !ds_row_delete(rest, table, rowids[i]))
            return -1;
    }
    return n;
}

void
ds_rest_provider_drop(struct ds_rest *rest, const json_t *body)
{
    autoasked a = {0};
    ds_autobuf out = DS_BUF_INIT;
    unsigned needed = BIT(PROVIDER) | BIT(ID);
    if (!read_asked(rest, body, needed, "provider, provider_file_id", needed, &a))
        return;
    int n = drop_rows(rest, ds_table_find("provider_files"), &a, "sha256", "file_hash");
    if (n < 0 ||
        drop_rows(rest, ds_table_find("file_id_mappings"), &a, "supabase_file_id", "file_id") < 0)
        return;
    ds_buf_addf(&out, "{\"dropped\": %d}", n);
    ds_rest_reply_value(rest, &out);
}
