/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/dir-facts.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "supabase/call.h"
#include "supabase/json.h"
#include "supabase/list.h"
#include "supabase/rest-internal.h"
#include "supabase/scan.h"

#define TAGS_MAX 4096 /* of one object; nobody checks what others write there */

struct sf_dir_facts_reply {
    char *text;  /* the answer, cut into strings */
    char *plain; /* the same as it came, for the user metadata */
    struct sf_dir_fact *rows;
    const char **tags; /* of all rows, each list with its NULL */
    size_t cap, n_tags, cap_tags;
    struct sf_dir_facts facts;
};

/* What parsing one answer needs to hand around. */
struct parser {
    struct sf_dir_facts_reply *reply;
    const struct sf_dir_facts_args *args;
    size_t prefix_len;
    char *why;

    size_t rows;             /* that came */
    struct sf_dir_fact *row; /* the one being read */
    unsigned seen;           /* members of it, to refuse doubles */
    bool odd;                /* its user metadata is nothing that can be used */
};

static int
refuse(struct parser *p, const char *what)
{
    char shown[80];
    const char *key = p->row && p->row->key ? p->row->key : "";
    sf_text_clean(key, strlen(key), shown, sizeof shown);
    snprintf(p->why, 160, "%s%s%s%s", what, shown[0] ? " (row " : "", shown, shown[0] ? ")" : "");
    return -EPROTO;
}

/* ---- members -------------------------------------------------------------------------------- */

/* A text or null, which is "". */
static int
take_text(struct sf_scan *s, const char **ret)
{
    *ret = "";
    return sf_scan_null(s) ? 0 : sf_scan_text(s, ret, NULL);
}

static int
take_number(struct sf_scan *s, uint64_t *ret)
{
    return sf_scan_null(s) ? 0 : sf_scan_u64(s, ret);
}

static int
take_time(struct parser *p, struct sf_scan *s, int64_t *ret_ns)
{
    const char *text;
    int rc = take_text(s, &text);
    if (rc == 0 && *text && sf_time_parse(text, ret_ns) < 0)
        rc = refuse(p, "not a time");
    return rc;
}

static bool
is_digest(const char *text)
{
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

/* Whoever may write the table may write anything there. */
static int
take_digest(struct sf_scan *s, const char **ret)
{
    int rc = take_text(s, ret);
    if (rc == 0 && !is_digest(*ret))
        *ret = "";
    return rc;
}

static int
tag_add(struct parser *p, const char *tag)
{
    struct sf_dir_facts_reply *r = p->reply;
    if (r->n_tags == r->cap_tags) {
        size_t cap = r->cap_tags ? r->cap_tags * 2 : 64;
        const char **v = reallocarray(r->tags, cap, sizeof *v);
        if (!v)
            return -ENOMEM;
        r->tags = v;
        r->cap_tags = cap;
    }
    r->tags[r->n_tags++] = tag;
    return 0;
}

static int
on_tag(struct sf_scan *s, void *arg)
{
    struct parser *p = arg;
    const char *tag;
    int rc = take_text(s, &tag);
    if (rc || !*tag)
        return rc;
    if (++p->row->n_tags > TAGS_MAX)
        return refuse(p, "too many tags");
    return tag_add(p, tag);
}

/* The length of a list or an object if it is nested deeper than @max, else 0. */
static size_t
too_deep(const char *text, unsigned max)
{
    const char *at = text;
    bool deep = false, quoted = false;
    unsigned depth = 0;
    do {
        if (*at == '"')
            quoted = !quoted;
        else if (quoted)
            at += *at == '\\' && at[1];
        else if (*at == '{' || *at == '[')
            deep = ++depth > max || deep;
        else if (*at == '}' || *at == ']')
            depth--;
    } while (*at++ && depth);
    return deep && !depth ? (size_t)(at - text) : 0;
}

/* As it is spelled: a number in what others keep there may be one that no parser can hold. It must
 * end where it ends, so the byte behind is cut: that is not read there. Anybody may store something
 * that nobody can use; that is not to spoil the rows of others. */
static int
take_metadata(struct parser *p, struct sf_scan *s)
{
    if (sf_scan_null(s))
        return 0;
    while (*s->p && strchr(" \t\r\n", *s->p))
        s->p++;
    size_t from = (size_t)(s->p - p->reply->text);
    size_t deep = *s->p == '{' || *s->p == '[' ? too_deep(s->p, SF_SCAN_DEPTH_MAX - s->depth) : 0;
    p->odd = deep || *s->p != '{';
    if (deep) {
        s->p += deep;
        return 0;
    }
    int rc = sf_scan_skip(s);
    if (rc == 0 && !p->odd) {
        p->reply->plain[s->p - p->reply->text] = '\0';
        p->row->metadata = p->reply->plain + from;
    }
    return rc;
}

static int
on_member(struct sf_scan *s, const char *name, void *arg)
{
    enum { KEY, ID, OF_VERSION, ETAG, SIZE, MIME, CACHE, UPDATED, USER, SHA, TAGS, COUNT, LAST };
    static const char *const names[] = {"key",           "id",     "version",       "etag",
                                        "size",          "mime",   "cache_control", "updated_at",
                                        "user_metadata", "sha256", "tags",          "access_count",
                                        "last_accessed"};
    struct parser *p = arg;
    struct sf_dir_fact *row = p->row;
    unsigned m = 0;
    while (m <= LAST && strcmp(name, names[m]) != 0)
        m++;
    if (m <= LAST && p->seen & 1U << m)
        return refuse(p, "a member is there twice");
    p->seen |= 1U << m;
    switch (m) {
    case KEY:
        return sf_scan_text(s, &row->key, &row->key_len);
    case ID:
        return take_text(s, &row->id);
    case OF_VERSION:
        return take_text(s, &row->version);
    case ETAG:
        return take_text(s, &row->etag);
    case SIZE:
        return take_number(s, &row->size);
    case MIME:
        return take_text(s, &row->mime);
    case CACHE:
        return take_text(s, &row->cache_control);
    case UPDATED:
        return take_time(p, s, &row->updated_ns);
    case USER:
        return take_metadata(p, s);
    case SHA:
        return take_digest(s, &row->sha256);
    case TAGS:
        return sf_scan_null(s) ? 0 : sf_scan_array(s, on_tag, p);
    case COUNT:
        return take_number(s, &row->accesses);
    case LAST:
        return take_time(p, s, &row->last_access_ns);
    default:
        return sf_scan_skip(s);
    }
}

/* ---- rows ----------------------------------------------------------------------------------- */

static int
row_begin(struct parser *p)
{
    struct sf_dir_facts_reply *r = p->reply;
    if (p->rows++ >= p->args->limit)
        return refuse(p, "more rows than asked for");
    if (r->facts.n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 32;
        struct sf_dir_fact *v = reallocarray(r->rows, cap, sizeof *v);
        if (!v)
            return -ENOMEM;
        r->rows = v;
        r->cap = cap;
    }
    p->row = &r->rows[r->facts.n];
    *p->row = (struct sf_dir_fact){.id = "",
                                   .version = "",
                                   .etag = "",
                                   .mime = "",
                                   .cache_control = "",
                                   .sha256 = "",
                                   .metadata = "{}"};
    p->seen = 0;
    p->odd = false;
    return 0;
}

static int
row_check(struct parser *p)
{
    const struct sf_dir_fact *row = p->row, *before = p->reply->facts.n ? row - 1 : NULL;
    const char *prefix = p->args->prefix, *after = before ? before->key : p->args->after;
    if (!row->key || !row->key_len || row->key_len > SF_KEY_BYTES)
        return refuse(p, "a key that is missing, empty or too long");
    if (strncmp(row->key, prefix, p->prefix_len) != 0 || strchr(row->key + p->prefix_len, '/'))
        return refuse(p, "a key that is not of the directory");
    if (after && strcmp(row->key, after) <= 0)
        return refuse(p, "keys are not in increasing order");
    if (!row->id[0] || strlen(row->id) >= 40 || strlen(row->version) >= 80)
        return refuse(p, "an object without a usable id or version");
    return 0;
}

static int
on_row(struct sf_scan *s, void *arg)
{
    struct parser *p = arg;
    struct sf_dir_facts_reply *r = p->reply;
    size_t n_tags = r->n_tags;
    int rc = row_begin(p);
    if (rc == 0)
        rc = sf_scan_object(s, on_member, p);
    if (rc == 0)
        rc = row_check(p);
    if (rc == 0)
        rc = tag_add(p, NULL);
    if (rc == 0 && p->odd)
        r->n_tags = n_tags;
    else if (rc == 0)
        r->facts.n++;
    p->row = NULL;
    return rc;
}

/* Lists have moved while they grew; they stand one behind the other. */
static void
finish(const struct parser *p)
{
    struct sf_dir_facts_reply *r = p->reply;
    const char **tags = r->tags;
    for (size_t i = 0; i < r->facts.n; i++) {
        r->rows[i].tags = tags;
        tags += r->rows[i].n_tags + 1;
    }
    r->facts.rows = r->rows;
    r->facts.more = p->rows == p->args->limit;
}

static char *
text_of(const char *body, size_t len)
{
    char *text = malloc(len + 1);
    if (text) {
        memcpy(text, body, len);
        text[len] = '\0';
    }
    return text;
}

int
sf_dir_facts_parse(const char *body, size_t len, const struct sf_dir_facts_args *args,
                   struct sf_dir_facts_reply **ret, char *why)
{
    struct sf_dir_facts_reply *r = calloc(1, sizeof *r);
    struct parser p = {.reply = r, .args = args, .prefix_len = strlen(args->prefix), .why = why};
    struct sf_scan s;
    int rc = -ENOMEM;
    snprintf(why, 160, "out of memory");
    if (r && (r->text = text_of(body, len)) && (r->plain = text_of(body, len))) {
        why[0] = '\0';
        sf_scan_init(&s, r->text, len);
        rc = sf_scan_array(&s, on_row, &p);
        if (rc == 0)
            rc = sf_scan_finish(&s);
        if (rc < 0 && !why[0])
            snprintf(why, 160, "%s", s.why ? s.why : "out of memory");
    }
    if (rc < 0) {
        sf_dir_facts_reply_free(r);
        return rc;
    }
    finish(&p);
    *ret = r;
    return 0;
}

const struct sf_dir_facts *
sf_dir_facts_reply(const struct sf_dir_facts_reply *reply)
{
    return &reply->facts;
}

void
sf_dir_facts_reply_free(struct sf_dir_facts_reply *reply)
{
    if (!reply)
        return;
    free(reply->text);
    free(reply->plain);
    free(reply->rows);
    free(reply->tags);
    free(reply);
}

/* ---- the request ---------------------------------------------------------------------------- */

struct facts_call {
    struct sf_call call;
    struct sf_dir_facts_args args; /* texts are of the call */
    char *prefix, *after;
    sf_dir_facts_fn cb;
    void *arg;
};

static void
facts_fini(struct sf_call *call)
{
    struct facts_call *c = (struct facts_call *)call;
    free(c->prefix);
    free(c->after);
}

static void
facts_done(struct sf_call *call, const struct sf_http_reply *reply, const struct sf_err *err)
{
    struct facts_call *c = (struct facts_call *)call;
    struct sf_dir_facts_reply *r = NULL;
    struct sf_err bad;
    char why[160];
    if (err) {
        bad = *err;
        sf_rest_refused(reply, &bad);
        c->cb(c->arg, &bad, NULL);
        return;
    }
    int rc = sf_dir_facts_parse(reply->body ? reply->body : "", reply->body_len, &c->args, &r, why);
    if (rc < 0) {
        sf_call_protocol(call, reply, &bad, rc, "unusable answer: %s", why);
        c->cb(c->arg, &bad, NULL);
        return;
    }
    c->cb(c->arg, NULL, &r->facts);
    sf_dir_facts_reply_free(r);
}

static char *
arguments(const struct sf_dir_facts_args *a)
{
    json_t *o = json_pack("{s:s, s:s, s:s?, s:i}", "p_bucket", a->bucket, "p_prefix", a->prefix,
                          "p_after", a->after, "p_limit", (int)a->limit);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

uint64_t
sf_storage_dir_facts(struct sf_storage *st, const struct sf_dir_facts_args *args,
                     const struct sf_rest_how *how, sf_dir_facts_fn cb, void *arg)
{
    struct facts_call *c = sf_call_new(st, SF_C_CALLS_TABLES, sizeof *c, facts_done);
    if (!c) {
        struct sf_err err = SF_ERR_INIT;
        err.code = sf_err_set(&err, -ENOMEM, "out of memory");
        cb(arg, &err, NULL);
        return 0;
    }
    c->cb = cb;
    c->arg = arg;
    c->call.fini = facts_fini;
    c->call.idempotent = true;
    c->call.caller_tells = true;
    c->prefix = strdup(args->prefix);
    c->after = args->after ? strdup(args->after) : NULL;
    c->args =
        (struct sf_dir_facts_args){.prefix = c->prefix, .after = c->after, .limit = args->limit};
    sf_call_describe(&c->call, "POST", "rpc/supafs_list_dir", args->bucket, args->prefix);
    if (!c->prefix || (args->after && !c->after))
        sf_call_fail(&c->call, -ENOMEM, "out of memory");
    else
        sf_call_open_rest(&c->call, "POST", "rpc/supafs_list_dir", NULL, how->deadline_ms);
    sf_call_header(&c->call, "Accept", "application/json");
    if (!c->call.err.code) {
        sf_http_req_limit(c->call.req, SF_REST_ANSWER_MAX);
        sf_http_req_priority(c->call.req, how->priority);
    }
    sf_call_json(&c->call, arguments(args));
    return sf_call_submit(&c->call);
}
