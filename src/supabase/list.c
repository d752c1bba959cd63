/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/list.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "supabase/call.h"
#include "supabase/json.h"

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

/* ---- a page --------------------------------------------------------------------------------- */

/* Text of a folder whose name the service had cut. */
struct made {
    struct made *next;
    char text[];
};

struct sf_list_reply {
    json_t *root;
    struct sf_list_row *rows;
    struct made *made;
    struct sf_list_page page;
};

/* What parsing one page needs to hand around. */
struct parser {
    struct sf_list_reply *reply;
    const struct sf_list_args *args;
    const char *prefix;
    size_t prefix_len;
    bool delimiter;
    bool doubt; /* rows may be missing although the service says that there are no more */
    char *why;
};

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
    free(reply->rows);
    json_decref(reply->root);
    free(reply);
}

const struct sf_list_page *
sf_list_reply_page(const struct sf_list_reply *reply)
{
    return &reply->page;
}

static int
refuse(struct parser *p, const char *what, const char *key)
{
    char shown[80];
    sf_text_clean(key, strlen(key), shown, sizeof shown);
    snprintf(p->why, 160, "%s (row %.80s)", what, shown);
    return -EPROTO;
}

static const char *
make_key(struct parser *p, const char *text, size_t len)
{
    struct made *m = malloc(sizeof *m + len + 1);
    if (!m)
        return NULL;
    memcpy(m->text, text, len);
    m->text[len] = '\0';
    m->next = p->reply->made;
    p->reply->made = m;
    return m->text;
}

/* "a/" or "/" where the prefix is "a//": the service cut the slashes off folder "a///". */
static bool
is_cut(const struct parser *p, const char *key, size_t len)
{
    if (len > p->prefix_len || len == 0 || key[len - 1] != '/' || !p->prefix_len ||
        memcmp(key, p->prefix, len) != 0)
        return false;
    for (size_t i = len; i < p->prefix_len; i++) {
        if (p->prefix[i] != '/')
            return false;
    }
    return p->prefix[p->prefix_len - 1] == '/';
}

/* Set row->key for @name; folds at the delimiter. */
static int
set_key(struct parser *p, struct sf_list_row *row, const char *name, size_t len)
{
    if (row->folder && is_cut(p, name, len)) {
        char *whole;
        if (asprintf(&whole, "%s/", p->prefix) < 0)
            return -ENOMEM;
        row->key = make_key(p, whole, p->prefix_len + 1);
        row->key_len = p->prefix_len + 1;
        free(whole);
        return row->key ? 0 : -ENOMEM;
    }
    if (len == 0 || len > SF_KEY_BYTES)
        return refuse(p, "a key that is empty or too long", "");
    if (len < p->prefix_len || memcmp(name, p->prefix, p->prefix_len) != 0)
        return refuse(p, "a key outside the prefix", name);
    row->key = name;
    row->key_len = len;
    if (!p->delimiter)
        return 0;
    size_t fold = folder_len(name, p->prefix_len);
    if (row->folder && fold != len)
        return refuse(p, "a folder that does not end in one slash", name);
    if (!fold)
        return 0;
    row->folder = true;
    row->key_len = fold;
    if (fold < len)
        row->key = make_key(p, name, fold);
    if (fold == p->prefix_len + 1)
        p->doubt = true; /* the service itself counts what it folds below an empty name */
    return row->key ? 0 : -ENOMEM;
}

static int
set_metadata(struct parser *p, struct sf_list_row *row, const json_t *meta)
{
    bool found;
    row->etag = row->mime = row->cache_control = "";
    row->mtime_ns = row->updated_ns;
    /* Rows written by SQL may have none. */
    if (!meta || json_is_null(meta))
        return 0;
    if (!json_is_object(meta))
        return refuse(p, "metadata is not an object", row->key);
    row->etag = sf_json_text(meta, "eTag");
    row->mime = sf_json_text(meta, "mimetype");
    row->cache_control = sf_json_text(meta, "cacheControl");
    if (!row->etag || !row->mime || !row->cache_control)
        return refuse(p, "eTag, mimetype or cacheControl is not a text", row->key);
    if (sf_json_size(meta, "size", &row->size, &found) < 0 ||
        (!found && sf_json_size(meta, "contentLength", &row->size, &found) < 0))
        return refuse(p, "the size is not a number of bytes", row->key);
    int64_t modified;
    if (sf_json_time(meta, "lastModified", &modified) < 0)
        return refuse(p, "lastModified is not a time", row->key);
    if (modified)
        row->mtime_ns = modified;
    return 0;
}

static int
set_row(struct parser *p, struct sf_list_row *row, const json_t *o, bool folder)
{
    const json_t *name = json_object_get(o, "name");
    memset(row, 0, sizeof *row);
    row->folder = folder;
    if (!json_is_string(name))
        return refuse(p, "a row without a name", "");
    int rc = set_key(p, row, json_string_value(name), json_string_length(name));
    if (rc < 0 || row->folder)
        return rc;
    row->id = json_string_value(json_object_get(o, "id"));
    if (!row->id || !row->id[0] || strlen(row->id) >= 40)
        return refuse(p, "an object without a usable id", row->key);
    if (sf_json_time(o, "updated_at", &row->updated_ns) < 0 ||
        sf_json_time(o, "created_at", &row->created_ns) < 0)
        return refuse(p, "updated_at or created_at is not a time", row->key);
    return set_metadata(p, row, json_object_get(o, "metadata"));
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
    struct sf_list_reply *r = p->reply;
    if (r->page.n > 0) {
        int c = compare(&r->rows[r->page.n - 1], row);
        if (c == 0 && row->folder && r->rows[r->page.n - 1].folder)
            return 0;
        if (c >= 0)
            return refuse(p, "keys are not in increasing order", row->key);
    } else if (p->args->after && strcmp(row->key, p->args->after) <= 0) {
        return refuse(p, "a row that was to be skipped", row->key);
    }
    r->rows[r->page.n++] = *row;
    return 0;
}

/* Both lists come sorted; one merge gives one order. */
static int
merge(struct parser *p, const json_t *folders, const json_t *objects)
{
    size_t nf = json_array_size(folders), no = json_array_size(objects), f = 0, o = 0;
    struct sf_list_row folder, object;
    bool have_f = false, have_o = false;
    while (f < nf || o < no) {
        int rc = 0;
        if (f < nf && !have_f) {
            rc = set_row(p, &folder, json_array_get(folders, f), true);
            have_f = true;
        }
        if (rc == 0 && o < no && !have_o) {
            rc = set_row(p, &object, json_array_get(objects, o), false);
            have_o = true;
        }
        if (rc < 0)
            return rc;
        bool take_f = have_f && (!have_o || compare(&folder, &object) <= 0);
        rc = append(p, take_f ? &folder : &object);
        if (rc < 0)
            return rc;
        if (take_f) {
            have_f = false;
            f++;
        } else {
            have_o = false;
            o++;
        }
    }
    return 0;
}

static int
read_page(struct parser *p)
{
    struct sf_list_reply *r = p->reply;
    const json_t *folders = json_object_get(r->root, "folders");
    const json_t *objects = json_object_get(r->root, "objects");
    const json_t *more = json_object_get(r->root, "hasNext");
    if (!json_is_array(folders) || !json_is_array(objects) || !json_is_boolean(more))
        return refuse(p, "folders, objects or hasNext is missing", "");
    size_t nf = json_array_size(folders), no = json_array_size(objects);
    if (nf + no > p->args->limit)
        return refuse(p, "more rows than asked for", "");
    r->rows = calloc(nf + no ? nf + no : 1, sizeof *r->rows);
    if (!r->rows)
        return -ENOMEM;
    int rc = merge(p, folders, objects);
    if (rc < 0)
        return rc;
    r->page.rows = r->rows;
    r->page.more = json_is_true(more);
    if (r->page.more && r->page.n == 0)
        return refuse(p, "more rows are said to follow an empty page", "");
    /*
     * The service reads 1000 objects at a time and then seeks behind KEY + "/", so of a full page
     * without folders it may have lost the rows that begin with its last key.
     */
    if (p->delimiter && (p->doubt || no >= SF_LIST_LIMIT))
        r->page.more = r->page.n > 0;
    r->page.last = r->page.n ? r->rows[r->page.n - 1].key : "";
    return 0;
}

int
sf_list_parse(const char *body, size_t len, const struct sf_list_args *args,
              struct sf_list_reply **ret, char *why)
{
    struct sf_list_reply *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    struct parser p = {
        .reply = r,
        .args = args,
        .prefix = args->prefix ? args->prefix : "",
        .delimiter = args->delimiter,
        .why = why,
    };
    p.prefix_len = strlen(p.prefix);
    why[0] = '\0';
    r->root = sf_json_parse(body, len, why);
    int rc = r->root ? read_page(&p) : -EPROTO;
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
    struct list_call *c = sf_call_new(st, sizeof *c, list_done);
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
