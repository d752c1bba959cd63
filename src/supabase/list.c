/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/list.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "supabase/call.h"
#include "supabase/json.h"
#include "supabase/scan.h"

/* 1000 rows of up to 1 KiB of key, attributes and JSON around them, with room to spare. */
#define PAGE_BYTES (16 * 1024 * 1024)

/* ---- cursors -------------------------------------------------------------------------------- */

/* Length of the folder of @key as a listing of @prefix shows it, with its slash; 0 = an object. */
static size_t
folder_len(const char *key, size_t prefix_len)
{
    const char *slash = strchr(key + prefix_len, '/');
    return slash ? (size_t)(slash - key) + 1 : 0;
}

char *
sf_list_cursor(const char *prefix, const char *after, bool delimiter)
{
    size_t plen = strlen(prefix), folder = 0;
    const char *tail = delimiter ? "\x01" : "";
    sf_autofree char *text = NULL;
    if (strcmp(after, prefix) < 0)
        return strdup("");
    if (delimiter && strncmp(after, prefix, plen) == 0) {
        folder = folder_len(after, plen);
        if (folder)
            tail = "\xf4\x8f\xbf\xbf";
    }
    if (strchr(after, '\n'))
        return strdup(""); /* not a key of this service; refused by the check of the order */
    int n = asprintf(&text, "l:%.*s%s", (int)(folder ? folder : strlen(after)), after, tail);
    if (n < 0) {
        text = NULL;
        return NULL;
    }
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    return sf_base64_encode(&out, text, (size_t)n) == 0 ? sf_buf_steal(&out, NULL) : NULL;
}

/* ---- rows as they come ---------------------------------------------------------------------- */

/* Text of a folder whose name is another than the one sent. */
struct made {
    struct made *next;
    char text[];
};

struct rows {
    struct sf_list_row *v;
    size_t n, cap;
};

struct sf_list_reply {
    char *text; /* the body, cut into strings */
    struct rows rows;
    struct made *made;
    struct sf_list_page page;
};

/* What parsing one page needs to hand around. */
struct parser {
    struct sf_list_reply *reply;
    const struct sf_list_args *args;
    const char *prefix;
    size_t prefix_len;
    struct rows folders, objects; /* as sent */
    bool has_folders, has_objects, has_more, more;
    bool doubt; /* rows may be missing although the service says that there are no more */
    char *why;

    struct sf_list_row *row; /* the one being read */
    const char *modified;    /* its metadata.lastModified */
    bool has_size;
    unsigned seen, seen_meta; /* members of it, to refuse doubles */
};

static int
refuse(struct parser *p, const char *what, const char *key)
{
    char shown[80];
    sf_text_clean(key ? key : "", key ? strlen(key) : 0, shown, sizeof shown);
    snprintf(p->why, 160, "%s%s%s%s", what, shown[0] ? " (row " : "", shown, shown[0] ? ")" : "");
    return -EPROTO;
}

/* The number of @name in @names, or -1. */
static int
member_of(const char *name, const char *const names[])
{
    for (int i = 0; names[i]; i++) {
        if (name[0] == names[i][0] && strcmp(name, names[i]) == 0)
            return i;
    }
    return -1;
}

static int
note_member(struct parser *p, unsigned *seen, int member)
{
    if (*seen & 1U << member)
        return refuse(p, "a member is there twice", p->row->key);
    *seen |= 1U << member;
    return 0;
}

/* A text or null, which is "". */
static int
take_text(struct sf_scan *s, const char **ret)
{
    *ret = "";
    return sf_scan_null(s) ? 0 : sf_scan_text(s, ret, NULL);
}

static int
take_time(struct parser *p, struct sf_scan *s, int64_t *ret_ns)
{
    const char *text;
    int rc = take_text(s, &text);
    if (rc == 0 && *text && sf_time_parse(text, ret_ns) < 0)
        rc = refuse(p, "not a time", p->row->key);
    return rc;
}

static int
on_metadata(struct sf_scan *s, const char *name, void *arg)
{
    enum { ETAG, SIZE, LENGTH, MIME, CACHE, MODIFIED };
    static const char *const names[] = {
        "eTag", "size", "contentLength", "mimetype", "cacheControl", "lastModified", NULL};
    struct parser *p = arg;
    struct sf_list_row *row = p->row;
    uint64_t size;
    int m = member_of(name, names), rc = m < 0 ? 0 : note_member(p, &p->seen_meta, m);
    if (rc < 0)
        return rc;
    switch (m) {
    case ETAG:
        return take_text(s, &row->etag);
    case MIME:
        return take_text(s, &row->mime);
    case CACHE:
        return take_text(s, &row->cache_control);
    case MODIFIED:
        return take_time(p, s, &row->mtime_ns);
    case SIZE:
    case LENGTH:
        if (sf_scan_null(s))
            return 0;
        rc = sf_scan_u64(s, &size);
        if (rc == 0 && (m == SIZE || !p->has_size))
            row->size = size;
        p->has_size = p->has_size || m == SIZE;
        return rc;
    default:
        return sf_scan_skip(s);
    }
}

static int
on_row_member(struct sf_scan *s, const char *name, void *arg)
{
    enum { NAME, ID, UPDATED, METADATA };
    static const char *const names[] = {"name", "id", "updated_at", "metadata", NULL};
    struct parser *p = arg;
    struct sf_list_row *row = p->row;
    int m = member_of(name, names), rc = m < 0 ? 0 : note_member(p, &p->seen, m);
    if (rc < 0)
        return rc;
    switch (m) {
    case NAME:
        return sf_scan_text(s, &row->key, &row->key_len);
    case ID:
        return take_text(s, &row->id);
    case UPDATED:
        return take_time(p, s, &row->updated_ns);
    case METADATA:
        /* Rows written by SQL may have none. */
        return sf_scan_null(s) ? 0 : sf_scan_object(s, on_metadata, p);
    default:
        return sf_scan_skip(s);
    }
}

static int
grow(struct rows *rows, size_t limit)
{
    if (rows->n < rows->cap)
        return 0;
    size_t cap = rows->cap ? rows->cap * 2 : 32;
    if (cap > limit)
        cap = limit;
    struct sf_list_row *v = reallocarray(rows->v, cap, sizeof *v);
    if (!v)
        return -ENOMEM;
    rows->v = v;
    rows->cap = cap;
    return 0;
}

static int
take_row(struct parser *p, struct sf_scan *s, struct rows *rows, bool folder)
{
    if (p->folders.n + p->objects.n >= p->args->limit)
        return refuse(p, "more rows than asked for", NULL);
    int rc = grow(rows, p->args->limit);
    if (rc < 0)
        return rc;
    struct sf_list_row *row = &rows->v[rows->n];
    *row = (struct sf_list_row){.id = "", .etag = "", .mime = "", .cache_control = ""};
    p->row = row;
    p->has_size = false;
    p->seen = p->seen_meta = 0;
    rc = sf_scan_object(s, on_row_member, p);
    if (rc < 0)
        return rc;
    row->folder = folder;
    if (!row->key)
        return refuse(p, "a row without a name", NULL);
    if (!folder && (!row->id[0] || strlen(row->id) >= 40))
        return refuse(p, "an object without a usable id", row->key);
    if (!row->mtime_ns)
        row->mtime_ns = row->updated_ns;
    rows->n++;
    return 0;
}

static int
on_folder(struct sf_scan *s, void *arg)
{
    struct parser *p = arg;
    return take_row(p, s, &p->folders, true);
}

static int
on_object(struct sf_scan *s, void *arg)
{
    struct parser *p = arg;
    return take_row(p, s, &p->objects, false);
}

static int
on_page_member(struct sf_scan *s, const char *name, void *arg)
{
    struct parser *p = arg;
    if (strcmp(name, "folders") == 0 && !p->has_folders) {
        p->has_folders = true;
        return sf_scan_array(s, on_folder, p);
    }
    if (strcmp(name, "objects") == 0 && !p->has_objects) {
        p->has_objects = true;
        return sf_scan_array(s, on_object, p);
    }
    if (strcmp(name, "hasNext") == 0 && !p->has_more) {
        p->has_more = true;
        return sf_scan_bool(s, &p->more);
    }
    return sf_scan_skip(s);
}

/* ---- one order of all ----------------------------------------------------------------------- */

static const char *
make_key(struct parser *p, const char *text, size_t len, const char *tail)
{
    size_t n = strlen(tail);
    struct made *m = malloc(sizeof *m + len + n + 1);
    if (!m)
        return NULL;
    memcpy(m->text, text, len);
    memcpy(m->text + len, tail, n + 1);
    m->next = p->reply->made;
    p->reply->made = m;
    return m->text;
}

/* "a/" or "/" where the prefix is "a//": the service cut the slashes off folder "a///". */
static bool
is_cut(const struct parser *p, const struct sf_list_row *row)
{
    size_t len = row->key_len;
    if (!row->folder || len == 0 || len > p->prefix_len || memcmp(row->key, p->prefix, len) != 0)
        return false;
    return row->key[len - 1] == '/' && strspn(p->prefix + len, "/") == p->prefix_len - len;
}

/* Check the name of a row and fold it at the delimiter. */
static int
fold(struct parser *p, struct sf_list_row *row)
{
    if (p->args->delimiter && is_cut(p, row)) {
        row->key = make_key(p, p->prefix, p->prefix_len, "/");
        row->key_len = p->prefix_len + 1;
        return row->key ? 0 : -ENOMEM;
    }
    if (row->key_len == 0 || row->key_len > SF_KEY_BYTES)
        return refuse(p, "a key that is empty or too long", NULL);
    if (row->key_len < p->prefix_len || memcmp(row->key, p->prefix, p->prefix_len) != 0)
        return refuse(p, "a key outside the prefix", row->key);
    if (!p->args->delimiter)
        return row->folder ? refuse(p, "a folder in a flat listing", row->key) : 0;
    size_t len = folder_len(row->key, p->prefix_len);
    if (row->folder && len == 0)
        return refuse(p, "a folder that does not end in a slash", row->key);
    if (len == 0)
        return 0;
    /* Newer services list what lies below an empty name, fold it late, and count it as rows. */
    if (len == p->prefix_len + 1 && p->prefix_len && p->prefix[p->prefix_len - 1] == '/')
        p->doubt = true;
    const char *key = len < row->key_len ? make_key(p, row->key, len, "") : row->key;
    *row = (struct sf_list_row){.key = key, .key_len = len, .folder = true};
    row->id = row->etag = row->mime = row->cache_control = "";
    return key ? 0 : -ENOMEM;
}

static int
compare(const struct sf_list_row *a, const struct sf_list_row *b)
{
    size_t n = a->key_len < b->key_len ? a->key_len : b->key_len;
    int c = memcmp(a->key, b->key, n);
    return c ? c : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

/* Append a row; the order of all must increase, but several rows may fold into one folder. */
static int
append(struct parser *p, const struct sf_list_row *row)
{
    struct rows *rows = &p->reply->rows;
    if (rows->n > 0) {
        int c = compare(&rows->v[rows->n - 1], row);
        if (c == 0 && row->folder && rows->v[rows->n - 1].folder)
            return 0;
        if (c >= 0)
            return refuse(p, "keys are not in increasing order", row->key);
    } else if (p->args->after && strcmp(row->key, p->args->after) <= 0) {
        return refuse(p, "a row that was to be skipped", row->key);
    }
    rows->v[rows->n++] = *row;
    return 0;
}

/* Both lists come sorted; one merge gives one order. */
static int
merge(struct parser *p)
{
    struct rows *f = &p->folders, *o = &p->objects;
    size_t i = 0, j = 0;
    int rc = 0;
    for (size_t k = 0; k < f->n && rc == 0; k++)
        rc = fold(p, &f->v[k]);
    for (size_t k = 0; k < o->n && rc == 0; k++)
        rc = fold(p, &o->v[k]);
    while (rc == 0 && (i < f->n || j < o->n)) {
        bool take_f = i < f->n && (j >= o->n || compare(&f->v[i], &o->v[j]) <= 0);
        rc = append(p, take_f ? &f->v[i++] : &o->v[j++]);
    }
    return rc;
}

static int
finish_page(struct parser *p)
{
    struct sf_list_reply *r = p->reply;
    size_t sent = p->folders.n + p->objects.n;
    if (!p->has_folders || !p->has_objects || !p->has_more)
        return refuse(p, "folders, objects or hasNext is missing", NULL);
    r->rows.v = calloc(sent ? sent : 1, sizeof *r->rows.v);
    if (!r->rows.v)
        return -ENOMEM;
    int rc = merge(p);
    if (rc < 0)
        return rc;
    if (p->more && r->rows.n == 0)
        return refuse(p, "more rows are said to follow an empty page", NULL);
    /*
     * The service reads 1000 objects at a time and then seeks behind KEY + "/", so of a full page
     * without folders it may have lost the rows that begin with its last key.
     */
    if (p->args->delimiter && (p->doubt || p->objects.n >= SF_LIST_LIMIT))
        p->more = true;
    r->page.rows = r->rows.v;
    r->page.n = r->rows.n;
    r->page.more = p->more;
    r->page.last = r->rows.n ? r->rows.v[r->rows.n - 1].key : "";
    return 0;
}

void
sf_list_reply_free(struct sf_list_reply *reply)
{
    if (!reply)
        return;
    while (reply->made) {
        struct made *m = reply->made;
        reply->made = m->next;
        free(m);
    }
    free(reply->rows.v);
    free(reply->text);
    free(reply);
}

const struct sf_list_page *
sf_list_reply_page(const struct sf_list_reply *reply)
{
    return &reply->page;
}

static int
read_page(struct parser *p, size_t len)
{
    struct sf_scan s;
    sf_scan_init(&s, p->reply->text, len);
    int rc = sf_scan_object(&s, on_page_member, p);
    if (rc == 0)
        rc = sf_scan_finish(&s);
    if (rc == -EPROTO && !p->why[0])
        refuse(p, s.why, p->row ? p->row->key : NULL);
    return rc < 0 ? rc : finish_page(p);
}

int
sf_list_parse(const char *body, size_t len, const struct sf_list_args *args,
              struct sf_list_reply **ret, char *why)
{
    struct sf_list_reply *r = calloc(1, sizeof *r);
    struct parser p = {
        .reply = r,
        .args = args,
        .prefix = args->prefix ? args->prefix : "",
        .why = why,
    };
    why[0] = '\0';
    if (r)
        r->text = malloc(len + 1);
    if (!r || !r->text) {
        free(r);
        return -ENOMEM;
    }
    memcpy(r->text, body, len);
    r->text[len] = '\0';
    p.prefix_len = strlen(p.prefix);
    int rc = read_page(&p, len);
    free(p.folders.v);
    free(p.objects.v);
    if (rc < 0)
        sf_list_reply_free(r);
    else
        *ret = r;
    return rc;
}

/* ---- the call ------------------------------------------------------------------------------- */

struct list_call {
    struct sf_call call;
    struct sf_list_args args; /* its texts are owned */
    sf_list_fn cb;
    void *arg;
};

static void
list_fini(struct sf_call *call)
{
    struct list_call *c = (struct list_call *)call;
    free((char *)c->args.prefix);
    free((char *)c->args.after);
}

static void
list_done(struct sf_call *call, const struct sf_http_reply *reply, const struct sf_err *err)
{
    struct list_call *c = (struct list_call *)call;
    if (err) {
        c->cb(c->arg, err, NULL);
        return;
    }
    char why[160];
    struct sf_list_reply *page;
    int rc = sf_list_parse(reply->body ? reply->body : "", reply->body_len, &c->args, &page, why);
    if (rc < 0) {
        struct sf_err bad;
        sf_call_protocol(call, reply, &bad, rc, "unusable page: %s", why);
        c->cb(c->arg, &bad, NULL);
        return;
    }
    c->cb(c->arg, NULL, sf_list_reply_page(page));
    sf_list_reply_free(page);
}

static char *
list_body(const struct sf_list_args *a)
{
    json_t *o = json_object();
    char *text = NULL;
    sf_autofree char *cursor =
        a->after && *a->after ? sf_list_cursor(a->prefix, a->after, a->delimiter) : strdup("");
    if (cursor && o && json_object_set_new(o, "prefix", json_string(a->prefix)) == 0 &&
        json_object_set_new(o, "limit", json_integer(a->limit)) == 0 &&
        json_object_set_new(o, "with_delimiter", json_boolean(a->delimiter)) == 0 &&
        (!*cursor || json_object_set_new(o, "cursor", json_string(cursor)) == 0))
        text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

uint64_t
sf_storage_list(struct sf_storage *st, const struct sf_list_args *args, int64_t deadline_ms,
                sf_list_fn cb, void *arg)
{
    struct list_call *c = sf_call_new(st, SF_C_CALLS_LIST, sizeof *c, list_done);
    if (!c) {
        struct sf_err err = SF_ERR_INIT;
        err.code = sf_err_set(&err, -ENOMEM, "out of memory");
        cb(arg, &err, NULL);
        return 0;
    }
    c->call.fini = list_fini;
    c->call.idempotent = true;
    c->cb = cb;
    c->arg = arg;
    c->args.delimiter = args->delimiter;
    c->args.limit = args->limit && args->limit < SF_LIST_LIMIT ? args->limit : SF_LIST_LIMIT;
    c->args.prefix = strdup(args->prefix ? args->prefix : "");
    c->args.after = args->after ? strdup(args->after) : NULL;
    sf_call_open(&c->call, "POST", "list-v2", "object/list-v2", args->bucket, NULL, NULL,
                 deadline_ms);
    if (!c->args.prefix || (args->after && !c->args.after))
        sf_call_fail(&c->call, -ENOMEM, "out of memory");
    if (!c->call.err.code) {
        sf_call_json(&c->call, list_body(&c->args));
        sf_http_req_limit(c->call.req, PAGE_BYTES);
        sf_http_req_priority(c->call.req, args->priority);
    }
    return sf_call_submit(&c->call);
}

/* ---- waiting form --------------------------------------------------------------------------- */

struct list_wait {
    struct sf_waiter *w;
    size_t n;
    char *first;
};

static void
list_waited(void *arg, const struct sf_err *err, const struct sf_list_page *page)
{
    struct list_wait *l = arg;
    struct sf_err oom = SF_ERR_INIT;
    if (page) {
        l->n = page->n;
        l->first = page->n ? strdup(page->rows[0].key) : NULL;
        if (page->n && !l->first) {
            oom.code = sf_err_set(&oom, -ENOMEM, "out of memory");
            err = &oom;
        }
    }
    sf_wait_end(l->w, err);
}

int
sf_storage_list_wait(struct sf_storage *st, const struct sf_list_args *args, int64_t deadline_ms,
                     size_t *n, char **first, struct sf_err *err)
{
    struct list_wait l = {0};
    int rc = sf_wait_begin(st, &l.w, err);
    if (rc < 0)
        return rc;
    (void)sf_storage_list(st, args, deadline_ms, list_waited, &l);
    rc = sf_wait_for(l.w, err);
    if (rc == 0) {
        *n = l.n;
        if (first)
            *first = sf_steal(l.first);
    }
    free(l.first);
    return rc;
}
