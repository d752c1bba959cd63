/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/find.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/str.h"
#include "control/find-source.h"
#include "control/words.h"
#include "tree/files.h"
#include "tree/names.h"

#define SETTLE_MS 3000 /* for what was noted just now to come to the database */
#define STOP      1    /* enough were found */

struct sf_finder {
    struct sf_finder_opts o;
};

/* What is known here of an object, beyond what a listing tells. */
struct facts {
    struct sf_tables_row row;
    json_t *tags;
};

/* An object that may have others below it: whether it has, the next keys will tell. */
struct held {
    bool known, clash;
    char *key;
    struct sf_found row; /* its key is not to be used */
    struct facts facts;
    json_t *answer; /* where its texts lie */
    char *text;
};
SF_VEC_DEFINE(held_vec, struct held);

struct search {
    const struct sf_finder *finder;
    struct find_from from;
    struct sf_find_want want;
    struct sf_talk *talk;
    uint64_t limit, found; /* 0 = no limit */
    bool facts;

    /* Of one bucket. */
    struct find_source source;
    char shown[SF_NAME_BUF_SIZE]; /* its name, where the mount has several; else "" */
    unsigned flags;               /* of names right below the prefix */
    bool clash;                   /* the one object has a directory beside it */
    struct held_vec held; /* each key begins with the one before it, the last is the longest */
};

/* ---- what is known here ---------------------------------------------------------------------- */

static void
facts_fini(struct facts *f)
{
    sf_tables_row_fini(&f->row);
    json_decref(f->tags);
}

static json_t *
json_list(char *const *tags)
{
    json_t *list = tags && *tags ? json_array() : NULL;
    for (; list && *tags; tags++)
        (void)json_array_append_new(list, json_string(*tags));
    return list;
}

/* The hash is of these very bytes, the tags are the object's, or they do not count. */
static void
complete(const struct search *s, struct sf_found *row, struct facts *f)
{
    struct sf_tables_row *k = &f->row;
    if (sf_tables_fact(s->from.tables, s->source.bucket, row->key, k) != 0)
        return;
    if (*k->id && *row->id && strcmp(k->id, row->id) != 0)
        return;
    if (*k->etag && *row->etag && sf_etag_same(k->etag, row->etag) && k->size == row->size)
        row->sha256 = k->sha256;
    row->tags = f->tags = json_list(k->tags);
}

/* ---- what was found -------------------------------------------------------------------------- */

/* The path of a key below where the search began. 0; -EILSEQ it cannot be shown; -ENOMEM. */
static int
path_of(const struct search *s, const char *key, bool clash, struct sf_buf *out)
{
    unsigned flags = s->flags;
    const char *rest = key + strlen(s->source.prefix);
    int rc = s->source.exact ? 0 : sf_buf_puts(out, s->shown);
    for (bool more = !s->source.exact; more && !rc; flags = 0) {
        char name[SF_NAME_BUF_SIZE];
        size_t len = strcspn(rest, "/");
        more = rest[len] == '/';
        rc = sf_name_from_key(rest, len, flags | (clash && !more ? SF_NAME_CLASH : 0), name);
        if (!rc && out->len)
            rc = sf_buf_putc(out, '/');
        if (!rc)
            rc = sf_buf_puts(out, name);
        rest += len + more;
    }
    return rc;
}

static const char *
last_of(const char *key)
{
    const char *slash = strrchr(key, '/');
    return slash ? slash + 1 : key;
}

static bool
matches_name(const struct search *s, const char *key, bool clash)
{
    bool first = last_of(key) == key + strlen(s->source.prefix);
    return !s->want.name ||
           sf_find_matches_name(s->want.name, last_of(key),
                                (first ? s->flags : 0) | (clash ? SF_NAME_CLASH : 0));
}

/* Words, NULL at the end. */
static int
say(struct sf_talk *t, ...)
{
    sf_autobuf struct sf_buf line = SF_BUF_INIT;
    const char *word;
    va_list ap;
    int rc = 0;
    va_start(ap, t);
    while (!rc && (word = va_arg(ap, const char *)))
        rc = sf_words_append(&line, word);
    va_end(ap);
    return rc ? rc : sf_talk_print(t, "%s\n", line.data);
}

static int
tell(struct search *s, const char *key, const struct sf_found *row, bool clash)
{
    sf_autobuf struct sf_buf path = SF_BUF_INIT;
    char size[24], updated[24];
    int rc = path_of(s, key, clash, &path);
    if (rc)
        return rc == -EILSEQ ? 0 : rc; /* nobody can open it */
    snprintf(size, sizeof size, "%" PRIu64, row->size);
    snprintf(updated, sizeof updated, "%" PRId64, row->updated_ns);
    sf_autofree char *tags =
        s->facts && row->tags ? json_dumps(row->tags, JSON_COMPACT) : strdup("");
    if (!tags)
        return -ENOMEM;
    rc = say(s->talk, "found", sf_buf_str(&path), s->source.bucket, key, size, updated,
             s->facts ? row->mime : "", s->facts ? row->sha256 : "", tags, NULL);
    if (!rc && ++s->found == s->limit)
        rc = STOP;
    return rc;
}

/* ---- objects that wait for the next keys ------------------------------------------------------
 */

static void
held_fini(struct held *h)
{
    facts_fini(&h->facts);
    json_decref(h->answer);
    free(h->key);
    free(h->text);
}

/* The last one: nothing more is to be learned of it. */
static int
let_go(struct search *s, bool clash)
{
    struct held *h = &s->held.data[--s->held.len];
    clash = h->known ? h->clash : clash;
    int rc = matches_name(s, h->key, clash) ? tell(s, h->key, &h->row, clash) : 0;
    held_fini(h);
    return rc;
}

/* Keys come in order: whatever is below "a" comes at "a/", behind "a b" and before "a0". */
static int
settle(struct search *s, const char *key)
{
    int rc = 0;
    while (s->held.len && !rc) {
        const char *last = s->held.data[s->held.len - 1].key;
        size_t n = strlen(last);
        int c = strncmp(key, last, n);
        if (c == 0)
            c = (unsigned char)key[n] - '/';
        if (c < 0)
            break;
        rc = let_go(s, c == 0);
    }
    return rc;
}

/* The texts of a row outlive their page only as copies. */
static int
hold(struct search *s, const struct sf_found *row, struct facts *facts, const struct find_page *p)
{
    struct held h = {.known = p->prefixes, .clash = row->is_prefix, .row = *row};
    if (s->source.exact)
        h.clash = s->clash;
    h.key = strdup(row->key);
    int n = asprintf(&h.text, "%s%c%s", row->mime, '\0', row->sha256);
    if (n < 0)
        h.text = NULL;
    if (!h.key || !h.text || held_vec_push(&s->held, h)) {
        free(h.key);
        free(h.text);
        return -ENOMEM;
    }
    struct held *kept = &s->held.data[s->held.len - 1];
    kept->row.mime = kept->text;
    kept->row.sha256 = kept->text + strlen(kept->text) + 1;
    kept->answer = json_incref(p->answer);
    kept->facts = *facts;
    *facts = (struct facts){.tags = NULL};
    return 0;
}

static int
take_row(struct search *s, const struct find_page *p, struct sf_found *row)
{
    struct facts facts = {.tags = NULL};
    const char *comp = last_of(row->key);
    int rc = settle(s, row->key);
    if (rc || !sf_find_matches(&s->want, row) ||
        (row->size == 0 && sf_name_is_placeholder(comp, strlen(comp))) ||
        (s->want.name && *s->want.name != '%' && !matches_name(s, row->key, false)))
        return rc;
    if (!p->complete && (s->facts || s->want.tag || s->want.sha256))
        complete(s, row, &facts);
    if (sf_find_matches_facts(&s->want, row))
        rc = hold(s, row, &facts, p);
    facts_fini(&facts);
    return rc;
}

/* ---- the search ------------------------------------------------------------------------------ */

static int
each_page(struct search *s, struct sf_err *err)
{
    int rc = 0;
    while (!rc && !s->source.end) {
        struct find_page p;
        uint64_t left = s->limit ? s->limit - s->found : 0;
        rc = find_source_next(&s->source, left, &p, err);
        if (rc)
            break;
        for (size_t i = 0; i < p.n && !rc; i++)
            rc = take_row(s, &p, &p.rows[i]);
        find_page_fini(&p);
    }
    while (!rc && s->held.len)
        rc = let_go(s, false);
    return rc;
}

static int
in_bucket(struct search *s, const char *bucket, const char *prefix, bool exact, struct sf_err *err)
{
    s->source = (struct find_source){
        .from = &s->from, .want = &s->want, .bucket = bucket, .prefix = prefix, .exact = exact};
    int rc = each_page(s, err);
    while (s->held.len)
        held_fini(&s->held.data[--s->held.len]);
    find_source_fini(&s->source);
    return rc;
}

static int
in_project(struct search *s, struct sf_err *err)
{
    struct text_vec ids = {NULL, 0, 0};
    int rc = find_buckets(&s->from, &ids, err);
    for (size_t i = 0; i < ids.len && !rc; i++)
        if (sf_bucket_to_name(ids.data[i], s->shown) == 0)
            rc = in_bucket(s, ids.data[i], "", false, err);
    text_vec_free(&ids);
    return rc;
}

static int
in_node(struct search *s, const struct sf_tree_entry *e, const char *path, struct sf_err *err)
{
    sf_autofree char *bucket = NULL, *key = NULL;
    bool root = e->node == SF_TREE_ROOT;
    if (root && s->finder->o.whole_project)
        return in_project(s, err);
    int rc = sf_tree_key(s->finder->o.tree, e->node, &bucket, &key);
    if (rc)
        return sf_err_set(err, rc, "%s: %s", path, strerror(-rc));
    s->flags = root ? SF_NAME_AT_ROOT : 0;
    s->clash = sf_str_starts(last_of(path), "%obj");
    return in_bucket(s, bucket, key, !S_ISDIR(e->attr.mode), err);
}

/* ---- the verb -------------------------------------------------------------------------------- */

static int
take_hash(char *text, const char **ret)
{
    unsigned char digest[32];
    for (char *c = text; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    *ret = text;
    return strlen(text) == 64 ? sf_hex_decode(text, 64, digest) : -EINVAL;
}

/* Where a bound is given twice, both hold. */
static int
take_number(const char *value, bool lower, uint64_t *to)
{
    uint64_t n;
    int rc = sf_parse_u64(value, &n);
    if (!rc && (lower ? n > *to : n < *to))
        *to = n;
    return rc;
}

static int
take_time(const char *value, bool lower, int64_t *to)
{
    int64_t ns;
    int rc = sf_parse_i64(value, &ns);
    if (!rc && (lower ? ns > *to : ns < *to))
        *to = ns;
    return rc;
}

static int
take_word(struct search *s, char *word)
{
    struct sf_find_want *w = &s->want;
    const struct {
        const char *name, **text;
        uint64_t *number;
        int64_t *time;
        bool lower; /* bound */
    } members[] = {{.name = "name", .text = &w->name},
                   {.name = "type", .text = &w->type},
                   {.name = "tag", .text = &w->tag},
                   {.name = "provider", .text = &w->provider},
                   {.name = "provider-id", .text = &w->provider_id},
                   {.name = "min", .number = &w->min_size, .lower = true},
                   {.name = "max", .number = &w->max_size},
                   {.name = "limit", .number = &s->limit, .lower = true},
                   {.name = "newer", .time = &w->newer_ns, .lower = true},
                   {.name = "older", .time = &w->older_ns}};
    size_t n = strcspn(word, "=");
    char *value = word + n + (word[n] == '=');
    if (strcmp(word, "facts=1") == 0) {
        s->facts = true;
        return 0;
    }
    if (strncmp(word, "sha256=", n + 1) == 0)
        return take_hash(value, &w->sha256);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (strncmp(word, members[i].name, n) != 0 || members[i].name[n] || word[n] != '=')
            continue;
        if (members[i].text) {
            *members[i].text = value;
            return 0;
        }
        return members[i].number ? take_number(value, members[i].lower, members[i].number)
                                 : take_time(value, members[i].lower, members[i].time);
    }
    return -EINVAL;
}

static int
take_words(struct search *s, int argc, char **argv, struct sf_err *err)
{
    if (argc < 2)
        return sf_err_set(err, -EINVAL, "find PATH [NAME=VALUE...] is meant");
    for (int i = 2; i < argc; i++) {
        int rc = take_word(s, argv[i]);
        if (rc)
            return sf_err_set(err, rc, "not understood: %s", argv[i]);
    }
    const char *const texts[] = {s->want.tag, s->want.provider, s->want.provider_id};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i] && !sf_utf8_valid(texts[i], strlen(texts[i])))
            return sf_err_set(err, -EILSEQ, "tags and providers' ids are UTF-8");
    if ((s->want.tag || s->want.sha256) && !s->from.tables)
        return sf_err_set(err, -EOPNOTSUPP,
                          "with tables=off this mount knows neither hashes nor tags");
    return 0;
}

/* One that did not answer just now would hold up what others can tell. */
static void
choose_tables(struct search *s)
{
    struct sf_tables_stats stats;
    sf_tables_stats(s->from.tables, &stats);
    s->from.ask_tables = stats.state != SF_TABLES_OFF && (stats.state != SF_TABLES_UNREACHABLE ||
                                                          s->want.provider || s->want.provider_id);
    if (!s->from.ask_tables)
        snprintf(s->from.trouble, sizeof s->from.trouble, "%s", stats.last_error);
}

/* Only what this mount knows of hashes and tags was looked at. */
static int
say_doubt(struct search *s)
{
    char text[400];
    if (s->from.ask_tables || (!s->want.tag && !s->want.sha256))
        return 0;
    snprintf(
        text, sizeof text,
        "hashes and tags are those that this mount knows; the project's tables do not answer%s%s",
        s->from.trouble[0] ? ": " : "", s->from.trouble);
    return say(s->talk, "note", text, NULL);
}

static int
find(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    const struct sf_finder *f = arg;
    struct search s = {.finder = f,
                       .from = {.st = f->o.storage,
                                .tables = f->o.tables,
                                .talk = t,
                                .timeout_ms = f->o.timeout_ms},
                       .want = SF_FIND_ANY,
                       .talk = t};
    struct sf_tree_entry e;
    int rc = take_words(&s, argc, argv, err);
    if (!rc)
        rc = sf_files_find(f->o.tree, argv[1], &e, err);
    if (rc)
        return rc;
    if (s.facts || s.want.tag || s.want.sha256)
        sf_tables_settle(f->o.tables, sf_clock_ms() + SETTLE_MS);
    choose_tables(&s);
    rc = in_node(&s, &e, argv[1], err);
    sf_files_forget(f->o.tree, &e);
    held_vec_fini(&s.held);
    if (rc >= 0)
        rc = say_doubt(&s);
    return rc;
}

int
sf_finder_new(struct sf_control *c, const struct sf_finder_opts *opts, struct sf_finder **ret)
{
    struct sf_finder *f = malloc(sizeof *f);
    if (!f)
        return -ENOMEM;
    f->o = *opts;
    int rc = sf_control_add_patient(c, "find", find, f);
    if (rc) {
        free(f);
        return rc;
    }
    *ret = f;
    return 0;
}

void
sf_finder_free(struct sf_finder *f)
{
    free(f);
}
