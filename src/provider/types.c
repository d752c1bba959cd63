/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/provider.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "base/redact.h"
#include "base/str.h"
#include "provider/internal.h"
#include "supabase/json.h"

static const struct sf_provider_type *const types[] = {
    &sf_provider_kimi,
    &sf_provider_glm,
    &sf_provider_openai,
};

const struct sf_provider_type *
sf_provider_type_at(size_t i)
{
    return i < sizeof types / sizeof *types ? types[i] : NULL;
}

const struct sf_provider_type *
sf_provider_type_find(const char *name)
{
    const struct sf_provider_type *t;
    for (size_t i = 0; (t = sf_provider_type_at(i)); i++)
        if (!strcmp(t->name, name))
            return t;
    return NULL;
}

const struct sf_provider_limits *
sf_provider_limits_find(const struct sf_provider_limits *table, size_t n, const char *purpose)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(table[i].purpose, purpose))
            return &table[i];
    return NULL;
}

bool
sf_provider_base_is(const char *base, const char *host)
{
    const char *at = strstr(base, "://");
    size_t n = strlen(host);
    at = at ? at + 3 : base;
    return !strncasecmp(at, host, n) && strchr("/:", at[n]); /* the NUL, too */
}

/* ---- requests ------------------------------------------------------------------------------- */

static const struct {
    const char *method, *path, *tail; /* an id stands between them where there is a tail */
} routes[] = {
    [SF_PROUTE_UPLOAD] = {"POST", "/files", NULL},
    [SF_PROUTE_LIST] = {"GET", "/files", NULL},
    [SF_PROUTE_FILE] = {"GET", "/files/", ""},
    [SF_PROUTE_CONTENT] = {"GET", "/files/", "/content"},
    [SF_PROUTE_DELETE] = {"DELETE", "/files/", ""},
    [SF_PROUTE_MODELS] = {"GET", "/models", NULL},
    [SF_PROUTE_CHAT] = {"POST", "/chat/completions", NULL},
};

const char *
sf_provider_method(enum sf_provider_route route)
{
    return routes[route].method;
}

/* "?limit=100&purpose=agent&after=ID", of a type that has such filters. */
static int
put_query(struct sf_buf *out, const char *purpose, const char *after)
{
    int rc = sf_buf_puts(out, "?limit=100");
    if (!rc && purpose)
        rc = sf_buf_puts(out, "&purpose=");
    if (!rc && purpose)
        rc = sf_url_encode(out, purpose, strlen(purpose));
    if (!rc && after && *after)
        rc = sf_buf_puts(out, "&after=");
    if (!rc && after && *after)
        rc = sf_url_encode(out, after, strlen(after));
    return rc;
}

int
sf_provider_url(const struct sf_provider_type *type, enum sf_provider_route route, const char *base,
                const char *id, const char *purpose, const char *after, struct sf_buf *out)
{
    size_t before = out->len;
    bool wants_id = routes[route].tail != NULL;
    if (wants_id && (!id || !sf_provider_id_ok(id)))
        return -EINVAL;
    int rc = sf_buf_printf(out, "%s%s", base, routes[route].path);
    if (!rc && wants_id) {
        rc = sf_url_encode(out, id, strlen(id));
        if (!rc)
            rc = sf_buf_puts(out, routes[route].tail);
    }
    if (!rc && route == SF_PROUTE_LIST && type->list_pages)
        rc = put_query(out, purpose, after);
    if (rc)
        sf_buf_truncate(out, before);
    return rc;
}

/* The last so many bytes of a name are its extension, when it has one that is one. */
static size_t
extension_len(const char *name, size_t n)
{
    size_t len = 0;
    while (len < n && len < 16 && name[n - 1 - len] != '.')
        len++;
    return len < n && len > 0 && len < 16 ? len + 1 : 0;
}

#define NAME_MAX_BYTES 200 /* some servers refuse more */

void
sf_provider_filename(const char *name, char out[256])
{
    char clean[1024];
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)name; *p && n + 4 < sizeof clean;) {
        size_t len = sf_utf8_char(p, strnlen((const char *)p, 4));
        bool bad = len == 0 || *p < ' ' || *p == 0x7f || strchr("\"\\/%", *p);
        if (len == 0)
            len = 1;
        if (bad)
            clean[n++] = '_';
        else
            for (size_t i = 0; i < len; i++)
                clean[n++] = (char)p[i];
        p += len;
    }
    clean[n] = '\0';
    if (n == 0)
        snprintf(clean, sizeof clean, "file");
    n = strlen(clean);
    size_t ext = extension_len(clean, n);
    if (n > NAME_MAX_BYTES) {
        char tail[17];
        snprintf(tail, sizeof tail, "%s", clean + n - ext);
        clean[NAME_MAX_BYTES - ext] = '\0';
        n = sf_utf8_trim(clean);
        memcpy(clean + n, tail, ext + 1);
    }
    snprintf(out, 256, "%s", clean);
}

void
sf_provider_marked_name(const char *name, const char *sha256, char out[256])
{
    enum { DIGITS = 12 };
    char clean[256], ext[17];
    sf_provider_filename(name, clean);
    size_t n = strlen(clean), len = extension_len(clean, n);
    snprintf(ext, sizeof ext, "%s", clean + n - len);
    clean[n - len] = '\0';
    if (n > NAME_MAX_BYTES - DIGITS - 1) {
        clean[NAME_MAX_BYTES - DIGITS - 1 - len] = '\0';
        (void)sf_utf8_trim(clean);
    }
    snprintf(out, 256, "%.*s-%.*s%s", NAME_MAX_BYTES, clean, DIGITS, sha256, ext);
}

/* A content type becomes a line of the body: it must not end that line. */
static bool
is_line(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

int
sf_provider_form(const char *purpose, const char *filename, const char *mime, char type_line[80],
                 struct sf_buf *head, struct sf_buf *tail)
{
    unsigned char random[16];
    char boundary[8 + 2 * sizeof random + 1] = "supafs--", name[256];
    /* Nobody can have put a random line into the file. */
    int rc = sf_random_bytes(random, sizeof random);
    if (!mime || !*mime || !is_line(mime) || strlen(mime) > 200)
        mime = "application/octet-stream";
    if (rc == 0 && !is_line(purpose))
        rc = -EINVAL;
    sf_hex_encode(random, sizeof random, boundary + 8);
    sf_provider_filename(filename, name);
    if (rc == 0)
        rc = sf_buf_printf(head,
                           "--%s\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n%s\r\n"
                           "--%s\r\nContent-Disposition: form-data; name=\"file\"; "
                           "filename=\"%s\"\r\nContent-Type: %s\r\n\r\n",
                           boundary, purpose, boundary, name, mime);
    if (rc == 0)
        rc = sf_buf_printf(tail, "\r\n--%s--\r\n", boundary);
    snprintf(type_line, 80, "multipart/form-data; boundary=%s", boundary);
    return rc;
}

/* ---- replies -------------------------------------------------------------------------------- */

bool
sf_provider_id_ok(const char *id)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-";
    size_t n = strspn(id, allowed);
    return n > 0 && n <= SF_PROVIDER_ID_MAX && id[n] == '\0' && strcmp(id, ".") != 0 &&
           strcmp(id, "..") != 0;
}

/* A text for people: printable, cut on a character; what else it holds becomes '?'. */
static void
take_text(const json_t *obj, const char *name, char *out, size_t size)
{
    const json_t *v = json_object_get(obj, name);
    out[0] = '\0';
    if (!json_is_string(v))
        return;
    const char *s = json_string_value(v);
    size_t n = 0;
    while (*s) {
        size_t len = sf_utf8_char(s, strnlen(s, 4));
        if (len == 0 || n + len >= size)
            break;
        bool control = (unsigned char)*s < ' ' || *s == 0x7f ||
                       (len == 2 && (unsigned char)s[0] == 0xc2 && (unsigned char)s[1] < 0xa0);
        if (control)
            out[n++] = '?';
        else
            for (size_t i = 0; i < len; i++)
                out[n++] = s[i];
        s += len;
    }
    out[n] = '\0';
}

/* Times are numbers of seconds; some servers write them with a fraction. */
static int64_t
take_seconds(const json_t *obj, const char *name)
{
    const json_t *v = json_object_get(obj, name);
    double at = json_number_value(v); /* 0 unless it is a number */
    return at > 0 && at < 1e11 ? (int64_t)at : 0;
}

/* The words differ between old and new documentation; a word that nobody knows means "not yet". */
static enum sf_provider_file_state
state_of(const json_t *obj)
{
    static const char *const ready[] = {"ok",       "ready",   "processed",
                                        "uploaded", "success", "succeeded"};
    static const char *const failed[] = {"error", "failed", "deleted", "expired"};
    const char *s = json_string_value(json_object_get(obj, "status"));
    if (!s || !*s) /* not every server has it: then an upload that was answered is done */
        return SF_PF_READY;
    for (size_t i = 0; i < sizeof ready / sizeof *ready; i++)
        if (!strcasecmp(s, ready[i]))
            return SF_PF_READY;
    for (size_t i = 0; i < sizeof failed / sizeof *failed; i++)
        if (!strcasecmp(s, failed[i]))
            return SF_PF_FAILED;
    return SF_PF_PENDING;
}

/* Whether @obj describes a file; *out is filled only then. */
static bool
read_file(const json_t *obj, struct sf_provider_file *out)
{
    const json_t *v = json_object_get(obj, "id");
    struct sf_provider_file f = {0};
    bool found = false;
    if (json_is_integer(v) && json_integer_value(v) >= 0)
        snprintf(f.id, sizeof f.id, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_string(v) && json_string_length(v) < sizeof f.id)
        memcpy(f.id, json_string_value(v), json_string_length(v) + 1);
    if (!sf_provider_id_ok(f.id) || sf_json_size(obj, "bytes", &f.bytes, &found) < 0)
        return false;
    take_text(obj, "filename", f.filename, sizeof f.filename);
    take_text(obj, "purpose", f.purpose, sizeof f.purpose);
    take_text(obj, "status_details", f.details, sizeof f.details);
    sf_redact_ids(f.details);
    f.created_s = take_seconds(obj, "created_at");
    f.expires_s = take_seconds(obj, "expires_at");
    f.state = state_of(obj);
    *out = f;
    return true;
}

int
sf_provider_parse_file(const struct sf_provider_type *type, const char *body, size_t len,
                       struct sf_provider_file *out)
{
    (void)type; /* all of them answer alike so far */
    json_t *root = len <= SF_PROVIDER_REPLY_MAX ? sf_json_parse(body, len, NULL) : NULL;
    /* A gateway wraps it. */
    const json_t *obj = json_object_get(root, "data");
    int rc = read_file(json_is_object(obj) ? obj : root, out) ? 0 : -EPROTO;
    json_decref(root);
    return rc;
}

int
sf_provider_parse_list(const struct sf_provider_type *type, const char *body, size_t len,
                       const char *seen, sf_provider_file_fn fn, void *arg,
                       char after[SF_PROVIDER_ID_MAX + 1], bool *more)
{
    json_t *root = len <= SF_PROVIDER_LIST_MAX ? sf_json_parse(body, len, NULL) : NULL;
    const json_t *data = json_object_get(root, "data"), *item;
    char last[SF_PROVIDER_ID_MAX + 1] = "";
    struct sf_provider_file file;
    size_t i;
    int rc = json_is_array(data) ? 0 : -EPROTO;
    /* clang-format off */
    json_array_foreach (data, i, item) {
        /* clang-format on */
        if (rc)
            break;
        if (!read_file(item, &file))
            continue;
        memcpy(last, file.id, sizeof last);
        rc = fn(arg, &file);
    }
    if (!rc) {
        bool told = json_is_true(json_object_get(root, "has_more"));
        *more = type->list_pages && told && last[0] && (!seen || strcmp(last, seen) != 0);
        memcpy(after, last, sizeof last);
    }
    json_decref(root);
    return rc;
}

int
sf_provider_parse_deleted(const char *body, size_t len, const char *id)
{
    json_t *root = len <= SF_PROVIDER_REPLY_MAX ? sf_json_parse(body, len, NULL) : NULL;
    const json_t *v = json_object_get(root, "id");
    char text[SF_PROVIDER_ID_MAX + 1] = "";
    bool gone = json_is_true(json_object_get(root, "deleted"));
    if (json_is_integer(v))
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_string(v))
        snprintf(text, sizeof text, "%s", json_string_value(v));
    json_decref(root);
    return gone && (!text[0] || !strcmp(text, id)) ? 0 : -EPROTO;
}
