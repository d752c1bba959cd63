/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/meta.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "supabase/json.h"
#include "supabase/scan.h"

#define MEMBER     "supafs"
#define ENVELOPE_V 1

static void
json_free(json_t **j)
{
    json_decref(*j);
}
#define autojson sf_defer(json_free)

void
sf_meta_fini(struct sf_meta *m)
{
    free(m->xattrs);
    *m = (struct sf_meta){0};
}

/* ---- attributes ------------------------------------------------------------------------------ */

static json_t *
load(const char *text)
{
    return text ? sf_json_parse(text, strlen(text), NULL) : json_object();
}

/* 0 and a new object; -EINVAL @text is not one; -ENOMEM. */
static int
load_attrs(const char *text, json_t **ret)
{
    json_t *o = load(text);
    if (!o)
        return text ? -EINVAL : -ENOMEM;
    if (!json_is_object(o)) {
        json_decref(o);
        return -EINVAL;
    }
    *ret = o;
    return 0;
}

/* Compact text; *ret is NULL for an empty object. */
static int
dump_attrs(const json_t *o, char **ret)
{
    char *text = NULL;
    if (json_object_size(o) > 0 && !(text = json_dumps(o, JSON_COMPACT)))
        return -ENOMEM;
    *ret = text;
    return 0;
}

static bool
is_value(const json_t *v)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    return json_is_string(v) &&
           sf_base64_decode(&b, json_string_value(v), json_string_length(v)) == 0;
}

int
sf_xattrs_get(const char *json, const char *name, struct sf_buf *out)
{
    autojson json_t *o = NULL;
    int rc = load_attrs(json, &o);
    if (rc)
        return rc;
    const json_t *v = json_object_get(o, name);
    if (!v)
        return -ENODATA;
    if (json_is_null(v))
        return -EALREADY;
    if (!json_is_string(v))
        return -EINVAL;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    rc = sf_base64_decode(&b, json_string_value(v), json_string_length(v));
    return rc || !out ? rc : sf_buf_append(out, b.data, b.len);
}

int
sf_xattrs_list(const char *json, struct sf_buf *out)
{
    autojson json_t *o = NULL;
    const char *name;
    json_t *v;
    int rc = load_attrs(json, &o);
    if (rc)
        return rc;
    json_object_foreach(o, name, v) if (!rc && !json_is_null(v)) rc =
        sf_buf_append(out, name, strlen(name) + 1);
    return rc;
}

int
sf_xattrs_set(const char *json, const char *name, const void *value, size_t len, char **ret)
{
    autojson json_t *o = NULL;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    if (!*name || !sf_utf8_valid(name, strlen(name)))
        return -EINVAL;
    int rc = load_attrs(json, &o);
    if (!rc && value)
        rc = sf_base64_encode(&b, value, len);
    if (rc)
        return rc;
    json_t *v = value ? json_stringn(sf_buf_str(&b), b.len) : json_null();
    return json_object_set_new(o, name, v) ? -ENOMEM : dump_attrs(o, ret);
}

int
sf_xattrs_merge(const char *base, const char *changes, bool keep_nulls, char **ret)
{
    autojson json_t *o = NULL, *ch = NULL;
    const char *name;
    json_t *v;
    int rc = load_attrs(base, &o);
    if (!rc)
        rc = load_attrs(changes, &ch);
    if (rc)
        return rc;
    json_object_foreach(ch, name, v)
    {
        if (json_is_null(v) && !keep_nulls)
            json_object_del(o, name);
        else if (json_object_set(o, name, v))
            return -ENOMEM;
    }
    return dump_attrs(o, ret);
}

/* ---- the envelope ---------------------------------------------------------------------------- */

static bool
all_of(const char *s, size_t len, const char *chars)
{
    return strlen(s) == len && strspn(s, chars) == len;
}

/* Copy a member if it is a text of @len of these characters. */
static void
take_text(const json_t *env, const char *name, size_t len, const char *chars, char *out)
{
    const char *s = json_string_value(json_object_get(env, name));
    if (s && all_of(s, len, chars))
        memcpy(out, s, len + 1);
}

static int
take_xattrs(json_t *env, char **ret)
{
    json_t *x = json_object_get(env, "x"), *v;
    const char *name;
    void *next;
    if (!json_is_object(x))
        return 0;
    json_object_foreach_safe(x, next, name, v)
    {
        if (!*name || !is_value(v))
            json_object_del(x, name);
    }
    return dump_attrs(x, ret);
}

/* What the value of our member says; anything that is no envelope of ours is empty. */
static int
read_envelope(const char *text, size_t len, struct sf_meta *out, bool *found)
{
    struct sf_meta m = {0};
    autojson json_t *env = sf_json_parse(text, len, NULL);
    const json_t *v = json_object_get(env, "v");
    *found = json_is_integer(v) && json_integer_value(v) == ENVELOPE_V;
    if (!*found)
        return 0;
    take_text(env, "op", 26, "abcdefghijklmnopqrstuvwxyz234567", m.op);
    take_text(env, "sha256", 64, "0123456789abcdef", m.sha256);
    int rc = take_xattrs(env, &m.xattrs);
    if (!rc)
        *out = m;
    return rc;
}

/* ---- metadata, read in place so that others' members stay as they were spelled ----------------
 */

struct walk {
    const char *text; /* as it was */
    const char *copy; /* what the reader may change: the same offsets */
    size_t at;        /* behind the last member, or the brace */
    struct sf_buf others;
    struct sf_meta meta;
    bool found;
    int rc; /* of what the reader's own errors do not tell */
};

static int
walk_member(struct sf_scan *s, const char *name, void *arg)
{
    struct walk *w = arg;
    bool ours = !strcmp(name, MEMBER);
    size_t from = w->at + strcspn(w->text + w->at, "\"");
    size_t value = (size_t)(s->p - w->copy);
    int rc = sf_scan_skip(s);
    if (rc)
        return rc;
    w->at = (size_t)(s->p - w->copy);
    if (ours) {
        sf_meta_fini(&w->meta);
        w->rc = read_envelope(w->text + value, w->at - value, &w->meta, &w->found);
    } else {
        w->rc = w->others.len ? sf_buf_putc(&w->others, ',') : 0;
        if (!w->rc)
            w->rc = sf_buf_append(&w->others, w->text + from, w->at - from);
    }
    return w->rc ? -EPROTO : 0;
}

/* Take metadata apart; 0, -EINVAL or -ENOMEM. walk_fini() in any case. */
static int
walk(struct walk *w, const char *json)
{
    struct sf_scan s;
    if (!json || !*json)
        json = "{}";
    size_t len = strlen(json);
    sf_autofree char *copy = strdup(json);
    if (!copy)
        return -ENOMEM;
    w->text = json;
    w->copy = copy;
    sf_scan_init(&s, copy, len);
    int rc = sf_scan_object(&s, walk_member, w);
    if (!rc)
        rc = sf_scan_finish(&s);
    return w->rc ? w->rc : rc ? -EINVAL : 0;
}

static void
walk_fini(struct walk *w)
{
    sf_buf_fini(&w->others);
    sf_meta_fini(&w->meta);
}
#define autowalk sf_defer(walk_fini)

int
sf_meta_parse(const char *json, struct sf_meta *out)
{
    autowalk struct walk w = {.others = SF_BUF_INIT};
    int rc = walk(&w, json);
    *out = (struct sf_meta){0};
    if (rc == -ENOMEM)
        return rc;
    if (rc || !w.found)
        return 0;
    *out = w.meta;
    w.meta.xattrs = NULL;
    return 1;
}

static int
put_envelope(struct sf_buf *b, const struct sf_meta *m, const char *xattrs)
{
    int rc = sf_buf_printf(b, "\"" MEMBER "\":{\"v\":%d", ENVELOPE_V);
    if (!rc && m && m->op[0])
        rc = sf_buf_printf(b, ",\"op\":\"%s\"", m->op);
    if (!rc && m && m->sha256[0])
        rc = sf_buf_printf(b, ",\"sha256\":\"%s\"", m->sha256);
    if (!rc && xattrs)
        rc = sf_buf_printf(b, ",\"x\":%s", xattrs);
    return rc ? rc : sf_buf_putc(b, '}');
}

int
sf_meta_build(const char *current, const struct sf_meta *m, char **ret)
{
    autowalk struct walk w = {.others = SF_BUF_INIT};
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    sf_autofree char *xattrs = NULL;
    int rc = walk(&w, current);
    if (!rc)
        rc = sf_xattrs_merge(m && m->afresh ? NULL : w.meta.xattrs, m ? m->xattrs : NULL, false,
                             &xattrs);
    if (!rc && m && m->xattrs && xattrs && strlen(xattrs) > SF_XATTRS_MAX)
        rc = -ENOSPC;
    if (!rc)
        rc = sf_buf_printf(&b, "{%s", sf_buf_str(&w.others));
    if (!rc && (m || xattrs) && w.others.len)
        rc = sf_buf_putc(&b, ',');
    if (!rc && (m || xattrs))
        rc = put_envelope(&b, m, xattrs);
    if (!rc)
        rc = sf_buf_putc(&b, '}');
    if (rc)
        return rc;
    char *out = sf_buf_steal(&b, NULL);
    if (!out)
        return -ENOMEM;
    *ret = out;
    return 0;
}
