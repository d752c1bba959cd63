/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rest.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/*
 * PostgREST's query: select, filters, order, limit, offset. A filter becomes SQL at once; values
 * are bound, and a column's name is the description's, not the request's.
 */

#define DEPTH_MAX 16

void
ds_query_fini(struct ds_query *query)
{
    for (size_t i = 0; i < query->item_count; i++)
        free(query->items[i].alias);
    free(query->items);
    ds_sql_fini(&query->where);
    ds_buf_fini(&query->order);
    free(query->columns);
    free(query->on_conflict);
    *query = (struct ds_query){0};
}

struct reader {
    struct ds_rest *rest;
    const struct ds_table *table;
    struct ds_query *query;
    const char *what; /* that is read: "filter" or "logic tree" */
    const char *text; /* all of it */
};

static bool
no_column(struct reader *r, const char *name)
{
    return ds_rest_fail(r->rest, "42703", NULL, NULL, "column %s.%s does not exist", r->table->name,
                        name);
}

/* A column by its name; -1: answered. */
static int
find_column(struct reader *r, const char *name, size_t len)
{
    sf_autofree char *copy = strndup(name, len);
    int column = copy ? ds_table_column(r->table, copy) : -1;
    if (column >= 0)
        return column;
    if (copy && strstr(copy, "->"))
        ds_rest_absent(r->rest, "a path into JSON");
    else
        no_column(r, copy ? copy : "");
    return -1;
}

/* ---- one filter ---- */

enum op { OP_EQ, OP_NEQ, OP_GT, OP_GTE, OP_LT, OP_LTE, OP_LIKE, OP_ILIKE, OP_IN, OP_IS, OP_CS };

static const struct {
    const char *name, *sql; /* in SQLite, or PostgreSQL's operator for the message */
} ops[] = {
    [OP_EQ] = {"eq", "="},      [OP_NEQ] = {"neq", "<>"},      [OP_GT] = {"gt", ">"},
    [OP_GTE] = {"gte", ">="},   [OP_LT] = {"lt", "<"},         [OP_LTE] = {"lte", "<="},
    [OP_LIKE] = {"like", "~~"}, [OP_ILIKE] = {"ilike", "~~*"}, [OP_IN] = {"in", ""},
    [OP_IS] = {"is", ""},       [OP_CS] = {"cs", "@>"},
};
#define OPS (sizeof ops / sizeof ops[0])

static bool
unexpected(struct reader *r, const char *at, const char *wanted)
{
    size_t column = (size_t)(at - r->text) + 1;
    if (!*at)
        return ds_rest_unparsed(r->rest, r->what, r->text, column,
                                "unexpected end of input expecting %s", wanted);
    return ds_rest_unparsed(r->rest, r->what, r->text, column, "unexpected \"%c\" expecting %s",
                            *at, wanted);
}

/* "eq." and the like: returns what is behind it, NULL: answered. */
static const char *
read_op(struct reader *r, const char *at, enum op *ret)
{
    static const char *const others[] = {"match", "imatch", "isdistinct", "fts", "plfts",
                                         "phfts", "wfts",   "cd",         "ov",  "sl",
                                         "sr",    "nxr",    "nxl",        "adj"};
    size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyz");
    for (size_t i = 0; i < OPS; i++) {
        if (strlen(ops[i].name) == n && strncmp(ops[i].name, at, n) == 0 && at[n] == '.') {
            *ret = (enum op)i;
            return at + n + 1;
        }
        if (strlen(ops[i].name) == n && strncmp(ops[i].name, at, n) == 0 && at[n] == '(') {
            ds_rest_absent(r->rest, "any and all in a filter");
            return NULL;
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strlen(others[i]) == n && strncmp(others[i], at, n) == 0 && strchr(".(", at[n])) {
            ds_rest_absent(r->rest, others[i]);
            return NULL;
        }
    }
    unexpected(r, at, "\"not\" or operator (eq, gt, ...)");
    return NULL;
}

/* A value that may stand in quotes; `stop` ends one that does not. Returns what is behind it. */
static const char *
read_word(const char *at, const char *stop, struct ds_buf *out)
{
    ds_buf_add(out, "", 0);
    if (*at != '"') {
        size_t n = strcspn(at, stop);
        ds_buf_add(out, at, n);
        return at + n;
    }
    for (at++; *at && *at != '"'; at++) {
        if (*at == '\\' && at[1])
            at++;
        ds_buf_add(out, at, 1);
    }
    return at + (*at == '"');
}

/* The list of "in": returns what is behind it, NULL: answered. */
static const char *
read_list(struct reader *r, const char *at, enum ds_type type, struct ds_sql *sql)
{
    if (*at != '(') {
        unexpected(r, at, "\"(\"");
        return NULL;
    }
    at++;
    ds_buf_adds(&sql->text, " IN (");
    for (bool first = true; first || *at == ','; first = false) {
        ds_autobuf word = DS_BUF_INIT;
        if (first && *at == ')')
            break;
        at = read_word(first ? at : at + 1, ",)", &word);
        struct ds_value value;
        if (!ds_value_read(r->rest, type, word.data ? word.data : "", &value))
            return NULL;
        ds_buf_adds(&sql->text, first ? "" : ", ");
        ds_sql_value(sql, value);
    }
    if (*at != ')') {
        unexpected(r, at, "\",\" or \")\"");
        return NULL;
    }
    ds_buf_adds(&sql->text, ")");
    return at + 1;
}

static bool
no_operator(struct reader *r, enum op op, const char *name, const char *type)
{
    (void)name;
    return ds_rest_fail(r->rest, "42883", NULL,
                        "No operator matches the given name and argument types. You might need to "
                        "add explicit type casts.",
                        "operator does not exist: %s %s unknown", type, ops[op].sql);
}

static bool
write_is(struct reader *r, const struct ds_column *column, const char *at, const char *word)
{
    static const char *const words[] = {"null", "true", "false", "unknown"};
    static const char *const sql[] = {" IS NULL", " IS TRUE", " IS FALSE", " IS NULL"};
    size_t i = 0;
    while (i < 4 && strcasecmp(words[i], word) != 0)
        i++;
    if (i == 4)
        return unexpected(r, at, "null or trilean value (unknown, true, false)");
    if (i > 0 && column->type != DS_BOOLEAN)
        return ds_rest_fail(r->rest, "42804", NULL, NULL,
                            "argument of IS %s must be type boolean, not type %s",
                            i == 1   ? "TRUE"
                            : i == 2 ? "FALSE"
                                     : "UNKNOWN",
                            ds_type_name(column->type));
    ds_buf_addf(&r->query->where.text, "\"%s\"%s", column->name, sql[i]);
    return true;
}

static bool
write_filter(struct reader *r, const struct ds_column *column, enum op op, const char *at,
             const char *word)
{
    struct ds_sql *where = &r->query->where;
    struct ds_value value = DS_NULL;
    if (op == OP_IS)
        return write_is(r, column, at, word);
    if (op == OP_LIKE || op == OP_ILIKE) {
        if (column->type != DS_TEXT)
            return no_operator(r, op, column->name, ds_type_name(column->type));
        value = ds_value_text(word);
        for (char *star = value.text; star && (star = strchr(star, '*'));)
            *star = '%';
        ds_buf_addf(&where->text, "pg_%s(\"%s\", ", ops[op].name, column->name);
        ds_sql_value(where, value);
        ds_buf_adds(&where->text, ")");
        return true;
    }
    if (op == OP_CS && column->type != DS_TEXTS && column->type != DS_JSONB)
        return no_operator(r, op, column->name, ds_type_name(column->type));
    if (!ds_value_read(r->rest, column->type, word, &value))
        return false;
    if (op == OP_CS) {
        ds_buf_addf(&where->text, "pg_contains(\"%s\", ", column->name);
        ds_sql_value(where, value);
        ds_buf_addf(&where->text, ", %d)", column->type == DS_TEXTS);
        return true;
    }
    ds_buf_addf(&where->text, "\"%s\" %s ", column->name, ops[op].sql);
    ds_sql_value(where, value);
    return true;
}

/* What stands behind a column: [not.]OP.VALUE up to the end, or up to `stop` in a tree. Returns
 * what is behind it, NULL: answered. */
static const char *
read_filter(struct reader *r, int which, const char *at, bool in_tree)
{
    const struct ds_column *column = &r->table->columns[which];
    struct ds_sql *where = &r->query->where;
    bool negate = strncmp(at, "not.", 4) == 0;
    enum op op;
    at = read_op(r, at + (negate ? 4 : 0), &op);
    if (!at)
        return NULL;
    ds_buf_adds(&where->text, negate ? "NOT (" : "(");
    if (op == OP_IN) {
        ds_buf_addf(&where->text, "\"%s\"", column->name);
        at = read_list(r, at, column->type, where);
    } else {
        ds_autobuf word = DS_BUF_INIT;
        const char *end = at + strlen(at);
        if (in_tree && *at == '{') {
            size_t n = strcspn(at, "}");
            end = at + n + (at[n] == '}');
            ds_buf_add(&word, at, (size_t)(end - at));
        } else if (in_tree) {
            end = read_word(at, ",)", &word);
        } else {
            ds_buf_adds(&word, at);
        }
        if (!write_filter(r, column, op, at, word.data ? word.data : ""))
            return NULL;
        at = end;
    }
    ds_buf_adds(&where->text, ")");
    return at;
}

/* (FILTER,and(...),...) with its parentheses; returns what is behind it, NULL: answered. */
static const char *
read_tree(struct reader *r, const char *at, const char *word, int depth)
{
    struct ds_sql *where = &r->query->where;
    if (depth == DEPTH_MAX) {
        ds_rest_absent(r->rest, "a logic tree of this depth");
        return NULL;
    }
    if (*at != '(') {
        unexpected(r, at, "\"(\"");
        return NULL;
    }
    ds_buf_adds(&where->text, "(");
    for (bool first = true; first || *at == ','; first = false) {
        at++;
        ds_buf_adds(&where->text, first ? "" : word);
        bool negate = strncmp(at, "not.and(", 8) == 0 || strncmp(at, "not.or(", 7) == 0;
        const char *name = at + (negate ? 4 : 0);
        if (strncmp(name, "and(", 4) == 0 || strncmp(name, "or(", 3) == 0) {
            bool all = *name == 'a';
            ds_buf_adds(&where->text, negate ? "NOT " : "");
            at = read_tree(r, name + (all ? 3 : 2), all ? " AND " : " OR ", depth + 1);
        } else {
            size_t n = strcspn(at, ".,)(");
            if (n == 0 || at[n] != '.') {
                unexpected(r, at + n, "letter, digit, \"-\", \"->>\", \"->\" or delimiter (.)");
                return NULL;
            }
            int column = find_column(r, at, n);
            at = column < 0 ? NULL : read_filter(r, column, at + n + 1, true);
        }
        if (!at)
            return NULL;
    }
    if (*at != ')') {
        unexpected(r, at, "\",\" or \")\"");
        return NULL;
    }
    ds_buf_adds(&where->text, ")");
    return at + 1;
}

static bool
read_where(struct reader *r, const char *name, const char *text)
{
    struct ds_sql *where = &r->query->where;
    bool negate = strncmp(name, "not.", 4) == 0;
    const char *word = name + (negate ? 4 : 0);
    bool all = strcmp(word, "and") == 0;
    if (where->text.len > 0)
        ds_buf_adds(&where->text, " AND ");
    r->text = text;
    if (all || strcmp(word, "or") == 0) {
        r->what = "logic tree";
        ds_buf_adds(&where->text, negate ? "NOT " : "");
        return read_tree(r, text, all ? " AND " : " OR ", 0) != NULL;
    }
    r->what = "filter";
    int column = find_column(r, name, strlen(name));
    return column >= 0 && read_filter(r, column, text, false) != NULL;
}

/* ---- select and order ---- */

static bool
add_item(struct reader *r, int column, const char *alias, size_t alias_len, bool as_text)
{
    struct ds_query *query = r->query;
    struct ds_item *grown = realloc(query->items, (query->item_count + 1) * sizeof *grown);
    char *copy = alias ? strndup(alias, alias_len) : NULL;
    if (grown)
        query->items = grown;
    if (!grown || (alias && !copy)) {
        free(copy);
        return ds_rest_fail(r->rest, "53200", NULL, NULL, "out of memory");
    }
    grown[query->item_count++] = (struct ds_item){column, copy, as_text};
    return true;
}

static bool
add_all(struct reader *r)
{
    for (size_t i = 0; i < ds_table_width(r->table); i++)
        if (!add_item(r, (int)i, NULL, 0, false))
            return false;
    return true;
}

/* OTHER(...) asks for rows of another table with these. */
static bool
embedded(struct reader *r, const char *name, size_t len)
{
    sf_autofree char *other = strndup(name, strcspn(name, "!(") < len ? strcspn(name, "!(") : len);
    if (other && ds_table_find(other))
        return ds_rest_absent(r->rest, "embedding");
    sf_autofree char *details = NULL, *message = NULL;
    if (asprintf(&details,
                 "Searched for a foreign key relationship between '%s' and '%s' in the schema "
                 "'public', but no matches were found.",
                 r->table->name, other ? other : "") < 0)
        details = NULL;
    if (asprintf(&message,
                 "Could not find a relationship between '%s' and '%s' in the schema cache",
                 r->table->name, other ? other : "") < 0)
        message = NULL;
    ds_rest_error(r->rest->req, 400, "PGRST200", details, NULL, message);
    return false;
}

/* [ALIAS:]NAME[::text] */
static bool
read_item(struct reader *r, const char *item, size_t len)
{
    const char *name = item, *end = item + len;
    const char *colon = memchr(item, ':', len);
    const char *alias = NULL;
    if (memchr(item, '(', len))
        return embedded(r, colon ? colon + 1 : item, (size_t)(end - (colon ? colon + 1 : item)));
    if (colon && colon + 1 < end && colon[1] != ':') {
        alias = item;
        name = colon + 1;
        colon = memchr(name, ':', (size_t)(end - name));
    }
    if (len == 1 && *item == '*')
        return add_all(r);
    size_t name_len = (size_t)((colon ? colon : end) - name);
    if (colon && ((size_t)(end - colon) != 6 || strncmp(colon, "::text", 6) != 0))
        return ds_rest_absent(r->rest, "a cast to another type than text");
    int column = find_column(r, name, name_len);
    return column >= 0 &&
           add_item(r, column, alias, alias ? (size_t)(name - 1 - alias) : 0, colon != NULL);
}

static bool
read_select(struct reader *r, const char *text)
{
    const char *at = text;
    int depth = 0;
    if (!*text)
        return add_all(r);
    for (const char *start = at;; at++) {
        depth += *at == '(';
        depth -= *at == ')';
        if (*at && (*at != ',' || depth > 0))
            continue;
        if (at == start) {
            r->what = "select parameter";
            r->text = text;
            return unexpected(r, at,
                              "\"...\", field name (* or [a..z0..9_$]), \"*\" or \"count()\"");
        }
        if (!read_item(r, start, (size_t)(at - start)))
            return false;
        if (!*at)
            return true;
        start = at + 1;
    }
}

static bool
is_word(const char **at, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*at, word, n) != 0 || ((*at)[n] && (*at)[n] != ',' && (*at)[n] != '.'))
        return false;
    *at += n;
    return true;
}

static bool
read_order(struct reader *r, const char *text)
{
    static const char wanted[] = "\"asc\", \"desc\", \"nullsfirst\" or \"nullslast\"";
    struct ds_buf *order = &r->query->order;
    const char *at = text;
    r->what = "order";
    r->text = text;
    while (*at) {
        size_t n = strcspn(at, ".,");
        int column = find_column(r, at, n);
        if (column < 0)
            return false;
        at += n;
        bool down = false, nulls_first = false, first = true;
        while (*at == '.') {
            at++;
            if (first && is_word(&at, "desc"))
                down = nulls_first = true;
            else if (is_word(&at, "nullsfirst"))
                nulls_first = true;
            else if (is_word(&at, "nullslast"))
                nulls_first = false;
            else if (!first || !is_word(&at, "asc"))
                return unexpected(r, at, wanted);
            first = false;
        }
        ds_buf_addf(order, "%s\"%s\" %s NULLS %s", order->len > 0 ? ", " : "",
                    r->table->columns[column].name, down ? "DESC" : "ASC",
                    nulls_first ? "FIRST" : "LAST");
        at += *at == ',';
    }
    return true;
}

/* ---- limits ---- */

/* A number, or what it was before. */
static int64_t
read_integer(const char *text, int64_t before)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    return *text && !*end && errno == 0 ? number : before;
}

static bool
bad_range(struct reader *r, const char *details)
{
    ds_rest_error(r->rest->req, 416, "PGRST103", details, NULL, "Requested range not satisfiable");
    return false;
}

/* The header Range: FROM-[TO] narrows what the query says. */
static bool
read_range(struct reader *r)
{
    struct ds_query *query = r->query;
    const char *text = ds_request_header(r->rest->req, "range");
    if (query->limit < -1)
        return bad_range(r, "Limit should be greater than or equal to zero.");
    if (query->offset < 0)
        query->offset = 0;
    long long from = 0, to = -1;
    int used = 0;
    bool reads =
        strcmp(r->rest->req->method, "GET") == 0 || strcmp(r->rest->req->method, "HEAD") == 0;
    if (!reads || !text || sscanf(text, "%lld-%n%lld", &from, &used, &to) < 1 || used == 0)
        return true;
    if (to >= 0 && to < from)
        return bad_range(r, "The lower boundary must be lower than or equal to the upper boundary "
                            "in the Range header.");
    int64_t end = query->limit < 0 ? INT64_MAX : query->offset + query->limit;
    if (to >= 0 && to + 1 < end)
        end = to + 1;
    if (from > query->offset)
        query->offset = from;
    query->limit = end == INT64_MAX ? -1 : end > query->offset ? end - query->offset : 0;
    return true;
}

/* ---- all of it ---- */

/* The second time for what needs the columns: select is read even when it is not there. */
static bool
read_pair(struct reader *r, const char *name, const char *value, bool *selected)
{
    struct ds_query *query = r->query;
    if (strcmp(name, "select") == 0) {
        *selected = true;
        return read_select(r, value);
    }
    if (strcmp(name, "order") == 0)
        return read_order(r, value);
    if (strcmp(name, "limit") == 0)
        query->limit = read_integer(value, -1);
    else if (strcmp(name, "offset") == 0)
        query->offset = read_integer(value, 0);
    else if (strcmp(name, "columns") == 0)
        query->columns = query->columns ? query->columns : strdup(value);
    else if (strcmp(name, "on_conflict") == 0)
        query->on_conflict = query->on_conflict ? query->on_conflict : strdup(value);
    else
        return read_where(r, name, value);
    if (strcmp(name, "limit") == 0 && query->limit == -1 && value[0] == '-')
        query->limit = -2;
    return true;
}

/* A part of the query without its escapes; '+' is a blank. NULL: answered. */
static char *
decode(struct reader *r, const char *text, size_t len)
{
    sf_autofree char *plain = strndup(text, len);
    char *out = NULL;
    size_t n;
    for (char *plus = plain; plus && (plus = strchr(plus, '+'));)
        *plus = ' ';
    if (!plain || ds_percent_decode(plain, strlen(plain), &out, &n) < 0) {
        ds_rest_error(r->rest->req, 400, "PGRST100", NULL, NULL, "the query is no text");
        return NULL;
    }
    return out;
}

bool
ds_query_read(struct ds_rest *rest, const struct ds_table *table, struct ds_query *ret)
{
    *ret = (struct ds_query){.limit = -1};
    struct reader r = {.rest = rest, .table = table, .query = ret};
    bool selected = false;
    for (const char *at = rest->req->query; *at;) {
        size_t len = strcspn(at, "&"), name_len = strcspn(at, "=&");
        bool whole = name_len > 0 && name_len < len;
        sf_autofree char *name = whole ? decode(&r, at, name_len) : NULL;
        sf_autofree char *value = name ? decode(&r, at + name_len + 1, len - name_len - 1) : NULL;
        if (whole && (!value || !read_pair(&r, name, value, &selected)))
            return false;
        at += len + (at[len] == '&');
    }
    if (!selected && !add_all(&r))
        return false;
    if (ret->where.text.failed || ret->order.failed)
        return ds_rest_fail(rest, "53200", NULL, NULL, "out of memory");
    return read_range(&r);
}
