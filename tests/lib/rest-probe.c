/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The client of the project's database against the one that SUPABASE_URL and
 * SUPABASE_SERVICE_ROLE_KEY name.
 *
 *   rest-probe corpus COUNT    hostile values, and COUNT made of pieces of such, into the table
 *                              odd (id integer, t text, a text[]); then each filter with each of
 *                              them has to find the rows that it means and no others
 *   rest-probe errors          prints what failures are taken for, a line each
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/str.h"
#include "http/http.h"
#include "supabase/auth.h"
#include "supabase/rest.h"

#define VALUES_MAX 600

static const char *const hostile[] = {
    "plain",
    "",
    " ",
    " led",
    "trailed ",
    "null",
    "NULL",
    "true",
    "0",
    "42",
    "-1e5",
    "it's",
    "\"",
    "\"quoted\"",
    "a\"b\\\"c",
    "\\",
    "\\\\",
    "a\\",
    "\\\"",
    ",",
    "a,b",
    "a,b,",
    "(a,b)",
    ")",
    "(",
    "{}",
    "{a,b}",
    "{\"a\",\"b\"}",
    "[1,2)",
    ".",
    "..",
    "eq.a",
    "not.eq.a",
    "is.null",
    "in.(a,b)",
    "a.b.c",
    "and=(a.eq.1)",
    "or=(id.gt.0)",
    "x&select=*",
    "x&limit=0&id=eq.1",
    "a=b",
    "a?b#c",
    "a+b",
    "a b",
    "%",
    "%%",
    "100%",
    "%25",
    "%2C",
    "%00",
    "%zz",
    "_",
    "a_b",
    "axb",
    "*",
    "a*b",
    "a**b",
    "a%b",
    "*.*",
    "*a.b[c](d)^$|+?{1}",
    "***=x*",
    "(?i)*",
    "*\\d",
    "*\\",
    "*\n",
    "^$*",
    "'; drop table odd; --",
    "' or '1'='1",
    "1; select pg_sleep(9)",
    "\\'; delete from odd; --",
    "$$; drop table odd; $$",
    "E'\\047'",
    "U&'\\0027'",
    "/* */ --",
    "odd(*)",
    "t::int",
    "a->>b",
    ":id",
    "${x}",
    "\x01",
    "\x01\x02\x1f\x7f",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "\r\nX-Evil: 1",
    "\x1b[2J",
    "\xc2\x80",
    "\xc3\xa9",
    "e\xcc\x81",
    "\xf0\x9f\x98\x80",
    "\xf0\x9f\x98\x80,\xf0\x9f\x98\x81",
    "\xe2\x80\xae",
    "\xef\xbb\xbfx",
    "\xef\xbf\xbf",
    "\xf4\x8f\xbf\xbf",
    "<script>",
    "../../etc/passwd",
};

static char *values[VALUES_MAX];
static size_t n_values;
static struct sf_storage *st;
static int checks;

__attribute__((noreturn, format(printf, 1, 2))) static void
die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("rest-probe: ", stderr);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

static struct sf_rest_how
within(int ms)
{
    return (struct sf_rest_how){.deadline_ms = sf_clock_ms() + ms};
}

/* ---- values --------------------------------------------------------------------------------- */

static void
add_value(const char *text)
{
    for (size_t i = 0; i < n_values; i++) {
        if (strcmp(values[i], text) == 0)
            return;
    }
    if (n_values == VALUES_MAX || !(values[n_values++] = strdup(text)))
        die("too many values");
}

static void
make_values(uint64_t count)
{
    const size_t n = sizeof hostile / sizeof hostile[0];
    uint64_t seed = 1;
    for (size_t i = 0; i < n; i++)
        add_value(hostile[i]);
    while (count--) {
        sf_autobuf struct sf_buf b = SF_BUF_INIT;
        for (int i = 0; i < 3; i++) {
            seed = seed * 6364136223846793005 + 1442695040888963407;
            sf_buf_puts(&b, hostile[(seed >> 33) % n]);
        }
        add_value(sf_buf_str(&b));
    }
}

static void
store_values(void)
{
    struct sf_err err = SF_ERR_INIT;
    json_t *rows = json_array(), *stored = NULL, *again = NULL;
    for (size_t i = 0; i < n_values; i++)
        json_array_append_new(rows, json_pack("{s:i, s:s, s:[s, s]}", "id", (int)i, "t", values[i],
                                              "a", values[i], "beside"));
    struct sf_rest_rows args = {.table = "odd", .rows = json_incref(rows), .on_conflict = "id"};
    struct sf_rest_how how = within(9000);
    if (sf_rest_insert_wait(st, &args, &how, &stored, &err))
        die("insert: %s", err.msg);
    if (!json_equal(stored, rows))
        die("what was stored is something else");
    args.rows = rows;
    args.ignore = true;
    if (sf_rest_insert_wait(st, &args, &how, &again, &err) || json_array_size(again))
        die("rows that are there already: %s", err.msg);
    json_decref(stored);
    json_decref(again);
}

/* ---- filters -------------------------------------------------------------------------------- */

/* Whether the row with value @j is meant by @op with value @i. */
static bool
meant(unsigned op, size_t i, size_t j)
{
    int c = strcmp(values[j], values[i]);
    bool yes;
    switch (op & ~SF_REST_NOT) {
    case SF_REST_NEQ:
        yes = c != 0;
        break;
    case SF_REST_GT:
        yes = c > 0;
        break;
    case SF_REST_GTE:
        yes = c >= 0;
        break;
    case SF_REST_LT:
        yes = c < 0;
        break;
    case SF_REST_LTE:
        yes = c <= 0;
        break;
    case SF_REST_ILIKE:
        yes = strcasecmp(values[j], values[i]) == 0;
        break;
    default:
        yes = c == 0;
    }
    return (op & SF_REST_NOT) ? !yes : yes;
}

static json_t *
rows_of(struct sf_rest_query *q, uint64_t *total, const char *what, const char *value)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_rest_how how = within(9000);
    json_t *rows = NULL;
    if (sf_rest_select_wait(st, q, &how, &rows, total, &err))
        die("%s with '%s': %s", what, value, err.msg);
    sf_rest_query_fini(q);
    checks++;
    return rows;
}

/* Both come in the order of ids. */
static void
compare(json_t *rows, unsigned op, size_t i, size_t like)
{
    size_t at = 0;
    for (size_t j = 0; j < n_values; j++) {
        bool yes = like ? strncmp(values[j], values[i], like) == 0 : meant(op, i, j);
        if (!yes)
            continue;
        const json_t *row = json_array_get(rows, at++);
        if (json_integer_value(json_object_get(row, "id")) != (json_int_t)j || !row)
            die("operation %#x with '%s': '%s' is not found", op, values[i], values[j]);
    }
    if (at != json_array_size(rows))
        die("operation %#x with '%s': %zu rows too many", op, values[i],
            json_array_size(rows) - at);
    json_decref(rows);
}

static void
one_value(unsigned op, size_t i)
{
    struct sf_rest_query q;
    sf_rest_query_init(&q, "odd");
    sf_rest_where(&q, "t", op, values[i]);
    sf_rest_columns(&q, "id");
    sf_rest_order(&q, "id");
    compare(rows_of(&q, NULL, "one value", values[i]), op, i, 0);
}

static void
one_list(unsigned op, size_t i)
{
    struct sf_rest_query q;
    const char *const list[] = {values[i], "beside"};
    bool in = (op & ~SF_REST_NOT) == SF_REST_IN;
    sf_rest_query_init(&q, "odd");
    sf_rest_where_list(&q, in ? "t" : "a", op, list, 2);
    sf_rest_columns(&q, "id");
    sf_rest_order(&q, "id.asc");
    compare(rows_of(&q, NULL, "a list", values[i]), op, i, 0);
}

/* The whole value, or its first bytes and anything behind. */
static void
one_pattern(unsigned op, size_t i, size_t first)
{
    struct sf_rest_query q;
    sf_autobuf struct sf_buf pattern = SF_BUF_INIT;
    sf_autofree char *begin = strndup(values[i], first ? first : strlen(values[i]));
    if (!begin || sf_rest_like_escape(&pattern, begin) || (first && sf_buf_putc(&pattern, '%')))
        die("no memory");
    sf_rest_query_init(&q, "odd");
    sf_rest_where(&q, "t", op, sf_buf_str(&pattern));
    sf_rest_columns(&q, "id");
    sf_rest_order(&q, "id");
    compare(rows_of(&q, NULL, "a pattern", values[i]), op, i, first);
}

static void
all_filters(size_t i)
{
    static const unsigned ops[] = {SF_REST_EQ,  SF_REST_NEQ, SF_REST_GT,
                                   SF_REST_GTE, SF_REST_LT,  SF_REST_LTE};
    /* Orders have no rules of their own for what a value looks like: a third will do. */
    for (size_t o = 0; o < (i % 3 ? 2 : sizeof ops / sizeof ops[0]); o++)
        one_value(ops[o], i);
    one_value(SF_REST_EQ | SF_REST_NOT, i);
    one_list(SF_REST_IN, i);
    one_list(SF_REST_IN | SF_REST_NOT, i);
    one_list(SF_REST_CONTAINS, i);
    one_list(SF_REST_CONTAINS | SF_REST_NOT, i);
    one_pattern(SF_REST_LIKE, i, 0);
    one_pattern(SF_REST_ILIKE, i, 0);
    one_pattern(SF_REST_LIKE | SF_REST_NOT, i, 0);
    size_t first = values[i][0] ? sf_utf8_char(values[i], strlen(values[i])) : 0;
    if (first)
        one_pattern(SF_REST_LIKE, i, first);
}

/* Pages follow each other without a gap, in the order of the bytes, and the last one is short. */
static void
pages(void)
{
    const unsigned limit = 7;
    uint64_t total = 0, seen = 0;
    sf_autofree char *last = NULL;
    for (size_t n = limit; n == limit || seen == total; seen += n) {
        struct sf_rest_query q;
        sf_rest_query_init(&q, "odd");
        sf_rest_order(&q, "t.desc,id");
        sf_rest_range(&q, seen, limit);
        json_t *rows = rows_of(&q, &total, "page", "");
        n = json_array_size(rows);
        if (total != n_values || n > limit)
            die("%zu rows of %llu", n, (unsigned long long)total);
        for (size_t i = 0; i < n; i++) {
            const char *t = json_string_value(json_object_get(json_array_get(rows, i), "t"));
            if (!t || (last && strcmp(t, last) >= 0))
                die("not in order");
            free(last);
            last = strdup(t);
        }
        json_decref(rows);
        if (seen == total)
            break;
    }
    if (seen != total)
        die("%llu of %llu rows", (unsigned long long)seen, (unsigned long long)total);
}

static void
others(void)
{
    struct sf_rest_query q;
    uint64_t total = 1;
    sf_rest_query_init(&q, "odd");
    sf_rest_where(&q, "t", SF_REST_IS, "null");
    json_decref(rows_of(&q, &total, "is null", ""));
    if (total != 0)
        die("%llu values are null", (unsigned long long)total);
    sf_rest_query_init(&q, "odd");
    sf_rest_where(&q, "t", SF_REST_IS | SF_REST_NOT, "null");
    sf_rest_where_list(&q, "a", SF_REST_CONTAINS, NULL, 0);
    json_decref(rows_of(&q, &total, "two filters", ""));
    if (total != n_values)
        die("all but %llu are null", (unsigned long long)total);
    sf_rest_query_init(&q, "odd");
    sf_rest_where_list(&q, "t", SF_REST_IN, NULL, 0);
    json_decref(rows_of(&q, &total, "nothing", ""));
    sf_rest_query_init(&q, "odd");
    sf_rest_range(&q, 100000, 5);
    json_decref(rows_of(&q, &total, "behind all", ""));
    if (total != n_values)
        die("not counted behind the last row");
}

static void
echo(void)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_rest_how how = within(9000);
    json_t *list = json_array(), *answer = NULL;
    for (size_t i = 0; i < n_values; i++)
        json_array_append_new(list, json_string(values[i]));
    json_t *args = json_pack("{s:O}", "p", list);
    if (sf_rest_rpc_wait(st, "echo", args, &how, &answer, &err) || !json_equal(answer, list))
        die("echo: %s", err.code ? err.msg : "something else came back");
    json_decref(list);
    json_decref(answer);
}

static void
corpus(const char *count)
{
    uint64_t n;
    if (sf_parse_u64(count, &n))
        die("not a count: %s", count);
    make_values(n);
    store_values();
    for (size_t i = 0; i < n_values; i++)
        all_filters(i);
    pages();
    others();
    echo();
    printf("OK %zu values, %d questions\n", n_values, checks);
}

/* ---- errors --------------------------------------------------------------------------------- */

static void
tell(const char *what, int rc, const struct sf_err *err)
{
    printf("%s: %s %s\n", what, rc ? sf_errno_name(rc) : "OK", err->api_code);
}

static void
try_call(const char *what, const char *function)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_rest_how how = within(9000);
    int rc = sf_rest_rpc_wait(st, function, json_object(), &how, NULL, &err);
    tell(what, rc, &err);
}

static void
try_select(const char *what, const char *table, const char *column, const char *value)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_rest_how how = within(9000);
    struct sf_rest_query q;
    json_t *rows = NULL;
    sf_rest_query_init(&q, table);
    sf_rest_where(&q, column, SF_REST_EQ, value);
    int rc = sf_rest_select_wait(st, &q, &how, &rows, NULL, &err);
    tell(what, rc, &err);
    sf_rest_query_fini(&q);
    json_decref(rows);
}

static void
try_insert(const char *what, const char *table, json_t *row)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_rest_how how = within(9000);
    struct sf_rest_rows args = {.table = table, .rows = json_pack("[o]", row)};
    tell(what, sf_rest_insert_wait(st, &args, &how, NULL, &err), &err);
}

static void
errors(void)
{
    sf_autofree char *most = malloc(2400);
    if (!most)
        die("no memory");
    memset(most, ',', 2399);
    most[2399] = '\0';
    try_call("no function", "not_there");
    try_call("exception", "fails");
    try_call("too long", "sleeps");
    try_call("scalar", "gives_text");
    try_select("no table", "not_there", "id", "1");
    try_select("no column", "odd", "not_there", "1");
    try_select("not a number", "odd", "id", "'; drop table odd; --");
    try_select("denied", "secret", "id", "1");
    try_select("bad UTF-8", "odd", "t", "\xff");
    try_select("long", "odd", "t", most);
    try_insert("row", "child", json_pack("{s:i, s:i, s:i}", "id", 1, "odd_id", 1, "n", 1));
    try_insert("twice", "child", json_pack("{s:i, s:i, s:i}", "id", 1, "odd_id", 1, "n", 1));
    try_insert("orphan", "child", json_pack("{s:i, s:i, s:i}", "id", 2, "odd_id", -1, "n", 1));
    try_insert("check", "child", json_pack("{s:i, s:i, s:i}", "id", 3, "odd_id", 1, "n", -1));
    try_insert("missing", "child", json_pack("{s:i, s:i}", "id", 4, "n", 1));
    try_insert("type", "child", json_pack("{s:s, s:i, s:i}", "id", "x", "odd_id", 1, "n", 1));
    try_insert("unknown", "child", json_pack("{s:i, s:i}", "id", 5, "m", 1));
}

int
main(int argc, char **argv)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_http *http;
    struct sf_auth *auth;
    const char *url = getenv("SUPABASE_URL");
    const struct sf_auth_source src = {.kind = SF_AUTH_VALUE,
                                       .value = getenv("SUPABASE_SERVICE_ROLE_KEY"),
                                       .label = "the environment"};
    if (argc < 2 || !url || !src.value)
        die("see its head");
    /* What may succeed later is not tried again within the deadline: the first answer counts. */
    const struct sf_http_opts opts = {.backoff_min_ms = 60000, .backoff_max_ms = 60000};
    if (sf_http_new(&opts, &http, &err) || sf_auth_new(&src, &auth, &err) ||
        sf_storage_new(http, auth, url, &st, &err))
        die("start: %s", err.msg);
    if (strcmp(argv[1], "corpus") == 0 && argc == 3)
        corpus(argv[2]);
    else if (strcmp(argv[1], "errors") == 0)
        errors();
    else
        die("see its head");
    sf_http_free(http);
    sf_storage_free(st);
    sf_auth_free(auth);
    for (size_t i = 0; i < n_values; i++)
        free(values[i]);
    return 0;
}
