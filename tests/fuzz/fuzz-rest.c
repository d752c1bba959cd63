/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdbool.h>

#include "base/glob.h"
#include "base/str.h"
#include "control/find-match.h"
#include "fuzz.h"
#include "supabase/json.h"
#include "supabase/rest-internal.h"
#include "tree/names.h"

/* Values that get into a request to the database, and its answers; globs for it. */

static void
is_text(struct sf_buf *b, const char *text)
{
    REQUIRE(b->len == strlen(text) && memcmp(b->data, text, b->len) == 0);
    sf_buf_fini(b);
}

/* What the database's API gets behind "c=": after percent-decoding. */
static void
sent(const struct sf_rest_query *q, const char *before, struct sf_buf *out)
{
    size_t n = strlen(before);
    REQUIRE(q->rc == 0 && q->text.len <= SF_REST_QUERY_MAX);
    REQUIRE(strncmp(q->text.data, before, n) == 0);
    REQUIRE(!strpbrk(q->text.data + n, "&=?#+ \"\\(){},*<>"));
    fuzz_printable(q->text.data);
    REQUIRE(sf_url_decode(out, q->text.data + n, q->text.len - n) == 0);
}

/* Reads the quoted list as PostgREST and PostgreSQL do. */
static char *
unquote(char *list, const char *value)
{
    REQUIRE(*list++ == '"');
    for (; *list != '"'; list++, value++) {
        if (*list == '\\')
            list++;
        REQUIRE(*value && *list == *value);
    }
    REQUIRE(!*value);
    return list + 1;
}

/* A query of which something cannot be sent says so, and keeps nothing of it. */
static bool
refused(struct sf_rest_query *q, const char *value, size_t copies)
{
    size_t n = strlen(value);
    if (!sf_utf8_valid(value, n))
        REQUIRE(q->rc == -EINVAL || (q->rc == -E2BIG && n * copies * 2 > SF_REST_QUERY_MAX - 40));
    else if (n * copies * 6 + 40 < SF_REST_QUERY_MAX)
        REQUIRE(q->rc == 0);
    else
        REQUIRE(q->rc == 0 || q->rc == -E2BIG);
    REQUIRE(q->rc == 0 || (q->why && q->text.len == 0));
    return q->rc != 0;
}

static void
plain(char *value, size_t len)
{
    struct sf_rest_query q;
    struct sf_buf got = SF_BUF_INIT;
    (void)len;
    sf_rest_query_init(&q, "t");
    sf_rest_where(&q, "c", SF_REST_EQ, value);
    if (!refused(&q, value, 1)) {
        sent(&q, "c=eq.", &got);
        is_text(&got, value);
    }
    sf_rest_query_fini(&q);
}

static void
list(char *value, unsigned op, const char *before, const char *edges)
{
    const char *const values[] = {value, "", value};
    struct sf_rest_query q;
    struct sf_buf got = SF_BUF_INIT;
    sf_rest_query_init(&q, "t");
    sf_rest_where_list(&q, "c", op, values, 3);
    if (!refused(&q, value, 2)) {
        sent(&q, before, &got);
        char *p = got.data;
        REQUIRE(*p++ == edges[0]);
        p = unquote(p, value);
        REQUIRE(*p++ == ',');
        p = unquote(p, "");
        REQUIRE(*p++ == ',');
        p = unquote(p, value);
        REQUIRE(p[0] == edges[1] && !p[1]);
        sf_buf_fini(&got);
    }
    sf_rest_query_fini(&q);
}

static void
in(char *value, size_t len)
{
    (void)len;
    list(value, SF_REST_IN, "c=in.", "()");
}

static void
contains(char *value, size_t len)
{
    (void)len;
    list(value, SF_REST_CONTAINS | SF_REST_NOT, "c=not.cs.", "{}");
}

/* An escaped text has no wildcard, for LIKE or as an expression, and stands for itself. */
static void
like(char *value, size_t len)
{
    struct sf_rest_query q;
    struct sf_buf got = SF_BUF_INIT, pattern = SF_BUF_INIT;
    bool regex = strchr(value, '*');
    (void)len;
    REQUIRE(sf_rest_like_escape(&pattern, value) == 0);
    sf_rest_query_init(&q, "t");
    sf_rest_where(&q, "c", SF_REST_ILIKE, sf_buf_str(&pattern));
    if (!refused(&q, value, 2)) {
        sent(&q, regex ? "c=imatch." : "c=ilike.", &got);
        const char *p = got.data + (regex ? 1 : 0), *v = value;
        REQUIRE(!regex || got.data[0] == '^');
        for (; *p && (!regex || strcmp(p, "$") != 0); p++, v++) {
            REQUIRE(!strchr(regex ? ".[](){}^$?+|" : "%_*", *p));
            if (*p == '\\')
                p++;
            REQUIRE(*p == *v && *p);
        }
        REQUIRE(!*v);
        sf_buf_fini(&got);
    }
    sf_rest_query_fini(&q);
    sf_buf_fini(&pattern);
}

/* Any pattern is one that the database can read, or refused. */
static void
pattern(char *value, size_t len)
{
    struct sf_rest_query q;
    struct sf_buf got = SF_BUF_INIT;
    (void)len;
    sf_rest_query_init(&q, "t");
    sf_rest_where(&q, "c", SF_REST_LIKE, value);
    if (q.rc == 0) {
        sent(&q, strchr(value, '*') ? "c=match." : "c=like.", &got);
        size_t n = 0;
        for (const char *p = got.data; *p; p++)
            n = *p == '\\' ? n + 1 : 0;
        REQUIRE(n % 2 == 0);
        sf_buf_fini(&got);
    }
    sf_rest_query_fini(&q);
}

/* Names and lists of names have nothing that means something in an address. */
static void
names(char *value, size_t len)
{
    struct sf_rest_query q;
    len = strlen(value);
    sf_rest_query_init(&q, value);
    REQUIRE(q.rc ? !q.table[0] : strcmp(q.table, value) == 0);
    sf_rest_query_fini(&q);
    sf_rest_query_init(&q, "t");
    sf_rest_where(&q, value, SF_REST_EQ, "x");
    if (q.rc == 0)
        REQUIRE(q.text.len == len + 5 && sf_rest_is_name(value));
    sf_rest_query_fini(&q);
    sf_rest_query_init(&q, "t");
    sf_rest_order(&q, value);
    if (q.rc == 0)
        REQUIRE(strspn(value, "abcdefghijklmnopqrstuvwxyz_0123456789,.") == len);
    sf_rest_query_fini(&q);
    sf_rest_query_init(&q, "t");
    sf_rest_columns(&q, value);
    if (q.rc == 0)
        REQUIRE(strspn(value, "abcdefghijklmnopqrstuvwxyz_0123456789,") == len);
    sf_rest_query_fini(&q);
}

static void
rows(char *body, size_t len)
{
    char why[160] = "";
    json_t *answer = sf_rest_rows_parse(body, len, 3, why);
    if (answer) {
        REQUIRE(json_is_array(answer) && json_array_size(answer) <= 3);
        for (size_t i = 0; i < json_array_size(answer); i++)
            REQUIRE(json_is_object(json_array_get(answer, i)));
    } else {
        REQUIRE(why[0]);
        fuzz_printable(why);
    }
    json_decref(answer);
}

/* Rows of supafs_find(): what was asked for, in order, and facts that are some. */
static void
found(char *body, size_t len)
{
    const struct sf_find_args args = {.bucket = "b", .prefix = "d/", .after = "d/B", .limit = 3};
    struct sf_found *found = NULL;
    size_t n = 0;
    char why[160] = "";
    json_t *answer = sf_json_parse(body, len, NULL);
    int rc = answer ? sf_find_parse(answer, &args, &found, &n, why) : -EPROTO;
    REQUIRE(rc == 0 || rc == -EPROTO || rc == -ENOSYS);
    if (answer && rc)
        REQUIRE(!found && why[0]);
    fuzz_printable(why);
    const char *last = args.after;
    for (size_t i = 0; i < n; last = found[i++].key) {
        const struct sf_found *f = &found[i];
        REQUIRE(n <= 3 && strncmp(f->key, "d/", 2) == 0 && strcmp(f->key, last) > 0);
        REQUIRE(f->id && f->mime && f->etag && (strlen(f->sha256) == 64 || !*f->sha256));
        for (size_t k = 0; k < json_array_size(f->tags); k++)
            REQUIRE(json_string_value(json_array_get(f->tags, k)));
    }
    free(found);
    json_decref(answer);
}

/* "GLOB\nCOMPONENT": what the database gets fits all that is meant. */
static void
glob(char *text, size_t len)
{
    char *comp = memchr(text, '\n', len);
    struct sf_buf wide = SF_BUF_INIT;
    if (!comp)
        return;
    *comp++ = '\0';
    if (strchr(comp, '/') || strlen(comp) > 4096)
        return;
    for (unsigned flags = 0; flags <= (SF_NAME_AT_ROOT | SF_NAME_CLASH); flags++) {
        if ((flags & SF_NAME_BUCKET) || !sf_find_matches_name(text, comp, flags))
            continue;
        sf_buf_clear(&wide);
        REQUIRE(sf_find_name_superset(text, &wide) == 0);
        fuzz_printable(sf_buf_str(&wide));
        REQUIRE(!wide.len || sf_glob_match(sf_buf_str(&wide), comp, false));
    }
    sf_buf_clear(&wide);
    REQUIRE(sf_find_type_superset(text, &wide) == 0);
    fuzz_printable(sf_buf_str(&wide));
    if (sf_glob_match(text, comp, true))
        REQUIRE(!wide.len || sf_glob_match(sf_buf_str(&wide), comp, false));
    sf_buf_fini(&wide);
}

static void
total(char *text, size_t len)
{
    uint64_t n = 4711;
    (void)len;
    int rc = sf_rest_total_parse(text, &n);
    REQUIRE(rc == 0 ? strchr(text, '/') != NULL : rc == -EPROTO && n == 4711);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_way ways[] = {
        {'e', plain}, {'i', in},    {'c', contains}, {'l', like}, {'p', pattern},
        {'n', names}, {'t', total}, {'f', found},    {'g', glob}, {'r', rows},
    };
    return fuzz_choose(ways, sizeof ways / sizeof ways[0], data, size);
}
