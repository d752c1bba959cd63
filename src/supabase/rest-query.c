/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "supabase/rest-internal.h"

/*
 * PostgREST takes all behind "eq." as the value, but has a grammar of its own within lists,
 * replaces
 * '*' in patterns, and gives arrays to the database in its notation. So a value is quoted for what
 * reads it last, and then percent-encoded as a whole.
 */

static void
fail(struct sf_rest_query *q, int rc, const char *why)
{
    if (q->rc)
        return;
    q->rc = rc;
    q->why = why;
}

bool
sf_rest_is_name(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= SF_REST_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789") == n;
}

/* A filter of such a column would be something else. */
static bool
is_reserved(const char *column)
{
    static const char *const words[] = {"select",  "order",       "limit", "offset",
                                        "columns", "on_conflict", "and",   "or"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(column, words[i]) == 0)
            return true;
    }
    return false;
}

bool
sf_rest_is_name_list(const char *text, const char *const *endings)
{
    char name[SF_REST_NAME_MAX + 1];
    for (;;) {
        size_t n = strcspn(text, ",."), len = strcspn(text, ",");
        if (n > SF_REST_NAME_MAX)
            return false;
        snprintf(name, sizeof name, "%.*s", (int)n, text);
        if (!sf_rest_is_name(name))
            return false;
        const char *const *e = endings;
        while (n < len && e && *e && (strlen(*e) != len - n || strncmp(*e, text + n, len - n) != 0))
            e++;
        if (n < len && (!e || !*e))
            return false;
        if (!text[len])
            return true;
        text += len + 1;
    }
}

void
sf_rest_query_init(struct sf_rest_query *q, const char *table)
{
    *q = (struct sf_rest_query){.limit = SF_REST_ROWS_MAX};
    sf_buf_init(&q->text);
    if (sf_rest_is_name(table))
        snprintf(q->table, sizeof q->table, "%s", table);
    else
        fail(q, -EINVAL, "not the name of a table");
}

void
sf_rest_query_fini(struct sf_rest_query *q)
{
    sf_buf_fini(&q->text);
}

/* "&name=op." and the value, encoded. */
static void
add(struct sf_rest_query *q, const char *name, const char *op, const char *value, size_t len)
{
    if (q->rc)
        return;
    if (len > SF_REST_QUERY_MAX || !sf_utf8_valid(value, len)) {
        bool valid = len > SF_REST_QUERY_MAX;
        fail(q, valid ? -E2BIG : -EINVAL, valid ? "a value is too long" : "text that is not UTF-8");
        return;
    }
    size_t before = q->text.len;
    if (sf_buf_printf(&q->text, "%s%s=%s", before ? "&" : "", name, op) < 0 ||
        sf_url_encode(&q->text, value, len) < 0) {
        sf_buf_truncate(&q->text, before);
        fail(q, -ENOMEM, "out of memory");
    } else if (q->text.len > SF_REST_QUERY_MAX) {
        sf_buf_truncate(&q->text, before);
        fail(q, -E2BIG, "the conditions are too long for an address");
    }
}

static void
add_filter(struct sf_rest_query *q, const char *column, unsigned op, const char *word,
           const char *value, size_t len)
{
    char before[24];
    snprintf(before, sizeof before, "%s%s.", op & SF_REST_NOT ? "not." : "", word);
    if (!sf_rest_is_name(column) || is_reserved(column))
        fail(q, -EINVAL, "not the name of a column");
    add(q, column, before, value, len);
}

/* ---- patterns ------------------------------------------------------------------------------- */

int
sf_rest_like_escape(struct sf_buf *out, const char *text)
{
    size_t before = out->len;
    for (const char *p = text; *p; p++) {
        if ((strchr("%_\\", *p) && sf_buf_putc(out, '\\') < 0) || sf_buf_putc(out, *p) < 0) {
            sf_buf_truncate(out, before);
            return -ENOMEM;
        }
    }
    return 0;
}

/* The pattern as a regular expression. Letters are not escaped (they would become classes), nor
 * are control characters and what is not ASCII, which mean themselves. */
static int
regex_of(struct sf_buf *out, const char *pattern)
{
    int rc = sf_buf_putc(out, '^');
    for (const char *p = pattern; *p && rc == 0; p++) {
        if (*p == '%') {
            rc = sf_buf_puts(out, ".*");
        } else if (*p == '_') {
            rc = sf_buf_putc(out, '.');
        } else {
            if (*p == '\\')
                p++;
            if (ispunct((unsigned char)*p))
                rc = sf_buf_putc(out, '\\');
            if (rc == 0)
                rc = sf_buf_putc(out, *p);
        }
    }
    return rc == 0 ? sf_buf_putc(out, '$') : rc;
}

/* A pattern that ends within an escape is none. */
static bool
is_pattern(const char *pattern)
{
    size_t n = 0;
    for (const char *p = pattern; *p; p++)
        n = *p == '\\' ? n + 1 : 0;
    return n % 2 == 0;
}

static void
add_pattern(struct sf_rest_query *q, const char *column, unsigned op, const char *pattern)
{
    bool fold = (op & ~SF_REST_NOT) == SF_REST_ILIKE;
    if (!is_pattern(pattern)) {
        fail(q, -EINVAL, "a pattern that ends in an escape");
        return;
    }
    /* PostgREST makes a '%' of it, however it is written. */
    if (!strchr(pattern, '*')) {
        add_filter(q, column, op, fold ? "ilike" : "like", pattern, strlen(pattern));
        return;
    }
    sf_autobuf struct sf_buf regex = SF_BUF_INIT;
    if (regex_of(&regex, pattern) < 0)
        fail(q, -ENOMEM, "out of memory");
    add_filter(q, column, op, fold ? "imatch" : "match", regex.data, regex.len);
}

/* ---- filters -------------------------------------------------------------------------------- */

static bool
is_constant(const char *value)
{
    return strcmp(value, "null") == 0 || strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
}

void
sf_rest_where(struct sf_rest_query *q, const char *column, unsigned op, const char *value)
{
    static const char *const words[] = {"eq", "neq", "gt", "gte", "lt", "lte", "", "", "is"};
    unsigned plain = op & ~SF_REST_NOT;
    if (plain == SF_REST_LIKE || plain == SF_REST_ILIKE) {
        add_pattern(q, column, op, value);
        return;
    }
    if (plain > SF_REST_IS || (plain == SF_REST_IS && !is_constant(value))) {
        fail(q, -EINVAL, "not a comparison with one value");
        return;
    }
    add_filter(q, column, op, words[plain], value, strlen(value));
}

/* Both lists know quotes, and the backslash within. */
static int
put_quoted(struct sf_buf *out, const char *value)
{
    int rc = sf_buf_putc(out, '"');
    for (const char *p = value; *p && rc == 0; p++) {
        if (*p == '"' || *p == '\\')
            rc = sf_buf_putc(out, '\\');
        if (rc == 0)
            rc = sf_buf_putc(out, *p);
    }
    return rc == 0 ? sf_buf_putc(out, '"') : rc;
}

void
sf_rest_where_list(struct sf_rest_query *q, const char *column, unsigned op,
                   const char *const *values, size_t n)
{
    bool in = (op & ~SF_REST_NOT) == SF_REST_IN;
    sf_autobuf struct sf_buf list = SF_BUF_INIT;
    if (!in && (op & ~SF_REST_NOT) != SF_REST_CONTAINS)
        fail(q, -EINVAL, "not a comparison with a list");
    int rc = sf_buf_putc(&list, in ? '(' : '{');
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (i > 0)
            rc = sf_buf_putc(&list, ',');
        if (rc == 0)
            rc = put_quoted(&list, values[i]);
    }
    if (rc < 0 || sf_buf_putc(&list, in ? ')' : '}') < 0)
        fail(q, -ENOMEM, "out of memory");
    add_filter(q, column, op, in ? "in" : "cs", list.data, list.len);
}

/* ---- columns, order, range ------------------------------------------------------------------ */

/* Of checked characters: nothing is encoded. */
static void
add_list(struct sf_rest_query *q, const char *name, const char *list, const char *const *endings)
{
    if (!sf_rest_is_name_list(list, endings))
        fail(q, -EINVAL, "not a list of columns");
    else
        add(q, name, "", list, strlen(list));
}

void
sf_rest_columns(struct sf_rest_query *q, const char *columns)
{
    add_list(q, "select", columns, NULL);
}

void
sf_rest_order(struct sf_rest_query *q, const char *order)
{
    static const char *const endings[] = {".asc", ".desc", NULL};
    add_list(q, "order", order, endings);
}

void
sf_rest_range(struct sf_rest_query *q, uint64_t offset, unsigned limit)
{
    if (limit > SF_REST_ROWS_MAX || offset > INT64_MAX)
        fail(q, -EINVAL, "too many rows at once");
    q->offset = offset;
    q->limit = limit;
}

int
sf_rest_query_path(const struct sf_rest_query *q, struct sf_buf *out)
{
    return sf_buf_printf(out, "%s%slimit=%u&offset=%llu", sf_buf_str(&q->text),
                         q->text.len ? "&" : "", q->limit, (unsigned long long)q->offset);
}
