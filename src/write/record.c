/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/record.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "supabase/json.h"
#include "write/write.h"

#define RECORD_VERSION 1
#define EXTENTS_MAX    16384

/* ---- the tables ----------------------------------------------------------------------------- */

static const char *const kind_names[] = {
#define SF_RECORD_KIND(id, name, help) name,
#include "write/states.def"
};

static const struct {
    enum sf_record_kind kind;
    const char *name;
} states[] = {
#define SF_RECORD_STATE(kind, id, name, help) {SF_RECORD_##kind, name},
#include "write/states.def"
};

enum type {
    STRING,
    PROSE,
    TEXT,
    NUMBER,
    TIME,
    COUNT,
    ERRNO,
    FLAG,
    OBJECT,
    VERSION_OF,
    EXTENTS,
    BYTES
};

/* The members that stand in JSON as they are. */
static const struct field {
    const char *name;
    enum type type;
    size_t at, size;
} fields[] = {
#define FIELD(name, type, member)                                                                  \
    {                                                                                              \
        name, type, offsetof(struct sf_record, member), sizeof(((struct sf_record *)0)->member)    \
    }
    FIELD("bucket", STRING, bucket),
    FIELD("key", STRING, key),
    FIELD("op", TEXT, op),
    FIELD("made", TIME, made_ns),
    FIELD("attempts", COUNT, attempts),
    FIELD("err", ERRNO, err),
    FIELD("reason", PROSE, reason),
    FIELD("file", STRING, file),
    FIELD("size", NUMBER, size),
    FIELD("synced", FLAG, synced),
    FIELD("boot", TEXT, boot),
    FIELD("exists", FLAG, exists),
    FIELD("exclusive", FLAG, exclusive),
    FIELD("guessed", FLAG, guessed),
    FIELD("base", VERSION_OF, base),
    FIELD("from_bucket", STRING, from_bucket),
    FIELD("from_key", STRING, from_key),
    FIELD("extents", EXTENTS, extents),
    FIELD("whole", FLAG, whole),
    FIELD("mime", STRING, mime),
    FIELD("mark", STRING, mark),
    FIELD("xattrs", OBJECT, xattrs),
    FIELD("set_cache_control", STRING, set_cache_control),
    FIELD("cache_control", PROSE, cache_control),
    FIELD("metadata", PROSE, metadata),
    FIELD("tus", STRING, tus),
    FIELD("tus_size", NUMBER, tus_size),
    FIELD("sha256", TEXT, sha256),
    FIELD("conflict_key", STRING, conflict_key),
    FIELD("to_bucket", STRING, to_bucket),
    FIELD("to_key", STRING, to_key),
    FIELD("replace", FLAG, replace),
    FIELD("source", VERSION_OF, source),
    FIELD("target", VERSION_OF, target),
    FIELD("after", STRING, after),
    FIELD("former", TEXT, former),
    FIELD("data", BYTES, data),
#undef FIELD
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

const char *
sf_record_kind_name(enum sf_record_kind kind)
{
    return kind_names[kind];
}

const char *
sf_record_state_name(enum sf_record_state state)
{
    return states[state].name;
}

enum sf_record_kind
sf_record_state_kind(enum sf_record_state state)
{
    return states[state].kind;
}

static char **
string_of(const struct sf_record *r, const struct field *f)
{
    return (char **)((char *)r + f->at);
}

/* ---- a record's own memory ------------------------------------------------------------------ */

static bool
owns(const struct field *f)
{
    return f->type == STRING || f->type == PROSE || f->type == OBJECT || f->type == EXTENTS ||
           f->type == BYTES;
}

void
sf_record_fini(struct sf_record *r)
{
    for (size_t i = 0; i < N_FIELDS; i++)
        if (owns(&fields[i]))
            free(*string_of(r, &fields[i]));
    *r = (struct sf_record){0};
}

int
sf_record_copy(const struct sf_record *r, struct sf_record *ret)
{
    sf_autorecord struct sf_record copy = *r;
    bool ok = true;
    for (size_t i = 0; i < N_FIELDS; i++) {
        const struct field *f = &fields[i];
        const char *from = owns(f) ? *string_of(r, f) : NULL;
        if (!owns(f))
            continue;
        char *to = NULL;
        if (from && (f->type == EXTENTS || f->type == BYTES)) {
            size_t n = f->type == BYTES ? (size_t)r->size : r->n_extents * sizeof *r->extents;
            to = malloc(n ? n : 1);
            if (to)
                memcpy(to, from, n);
        } else if (from) {
            to = strdup(from);
        }
        ok = ok && (to || !from);
        *string_of(&copy, f) = to;
    }
    if (!ok)
        return -ENOMEM;
    *ret = copy;
    copy = (struct sf_record){0};
    return 0;
}

int
sf_record_set(char **field, const char *value)
{
    char *copy = value ? strdup(value) : NULL;
    if (value && !copy)
        return -ENOMEM;
    free(*field);
    *field = copy;
    return 0;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* As sf_record_follow() of one name, and what is known of the version there. */
static int
follow(char **bucket, char **key, struct sf_version *v, const struct sf_record *dir)
{
    char *to;
    if (!*bucket || !*key || strcmp(*bucket, dir->bucket) != 0 ||
        strncmp(*key, dir->key, strlen(dir->key)) != 0)
        return 0;
    if (asprintf(&to, "%s%s", dir->to_key, *key + strlen(dir->key)) < 0)
        return -ENOMEM;
    free(*key);
    *key = to;
    v->version[0] = '\0'; /* some backends give a moved object another */
    if (!sf_etag_is_md5(v->etag))
        v->etag[0] = '\0';
    return sf_record_set(bucket, dir->to_bucket) ? -ENOMEM : 1;
}

int
sf_record_follow(struct sf_record *r, const struct sf_record *dir)
{
    int from = follow(&r->from_bucket, &r->from_key, &r->source, dir);
    int rc = from < 0 ? from : follow(&r->bucket, &r->key, &r->base, dir);
    return rc < 0 ? rc : rc || from;
}

/* ---- the boot ------------------------------------------------------------------------------- */

void
sf_boot_id(char out[37])
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    out[0] = '\0';
#ifdef SF_FAULT_POINTS
    const char *other = getenv("SUPAFS_BOOT_ID"); /* for tests: as if the machine had been off */
    if (other && *other) {
        snprintf(out, 37, "%s", other);
        return;
    }
#endif
    if (sf_read_file("/proc/sys/kernel/random/boot_id", 64, &text, NULL))
        return;
    snprintf(out, 37, "%.36s", sf_buf_str(&text));
    out[strcspn(out, "\n")] = '\0';
}

/* ---- rules ---------------------------------------------------------------------------------- */

static bool
is_name(const char *s)
{
    return s && s[0] && !strchr(s, '/') && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static bool
is_prefix(const char *s)
{
    return s && sf_str_ends(s, "/");
}

static const char *
extents_wrong(const struct sf_record *r)
{
    if (r->whole && r->n_extents)
        return "whole, and has extents";
    if (r->n_extents > EXTENTS_MAX)
        return "too many extents";
    for (size_t i = 0; i < r->n_extents; i++)
        if (r->extents[i].off >= r->extents[i].end || r->extents[i].end > r->size ||
            (i && r->extents[i].off <= r->extents[i - 1].end))
            return "extents out of order";
    return NULL;
}

/* NULL, or the rule that is broken. */
static const char *
wrong(const struct sf_record *r)
{
    bool content = r->kind == SF_RECORD_CONTENT, dir = r->kind == SF_RECORD_RENAME_DIR;
    if (!is_name(r->bucket) || !r->key || !r->key[0])
        return "no bucket or key";
    if ((r->op[0] && !sf_op_is(r->op)) || !sf_former_is(r->former))
        return "no operation id";
    if (r->sha256[0] && (strlen(r->sha256) != 64 || strspn(r->sha256, "0123456789abcdef") != 64))
        return "no SHA-256";
    if (content ? !is_name(r->file) : r->file != NULL)
        return "no file, or one that is not wanted";
    if (r->data && (!content || !r->whole))
        return "bytes of what is not whole";
    if (r->kind == SF_RECORD_ATTRS && r->mime && r->mime[0] && !sf_mime_is_settable(r->mime))
        return "no content type";
    if (r->set_cache_control && r->set_cache_control[0] &&
        !sf_cache_control_is_settable(r->set_cache_control))
        return "no Cache-Control";
    if (r->tus && !is_name(r->tus))
        return "no upload";
    if ((r->from_key && !r->from_key[0]) || (r->from_bucket && !is_name(r->from_bucket)))
        return "no source";
    if (r->kind == SF_RECORD_RENAME || dir) {
        if (!is_name(r->to_bucket) || !r->to_key || !r->to_key[0])
            return "no target";
        if (dir && (!is_prefix(r->key) || !is_prefix(r->to_key)))
            return "no prefix";
    }
    return extents_wrong(r);
}

static void
say(char *why, const char *text, const char *name)
{
    if (why)
        snprintf(why, 160, "%s%s%s", text, name ? ": " : "", name ? name : "");
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Members that hold nothing are left out. A failure to add shows as NULL below. */
static void
put_number(json_t *to, const char *name, int64_t value, bool *ok)
{
    if (value && json_object_set_new(to, name, json_integer(value)) < 0)
        *ok = false;
}

static void
put_text(json_t *to, const char *name, const char *value, bool *ok)
{
    if (value && json_object_set_new(to, name, json_string(value)) < 0)
        *ok = false;
}

static void
put_size(json_t *to, const char *name, uint64_t value, bool *ok)
{
    if (value > INT64_MAX)
        *ok = false;
    put_number(to, name, (int64_t)value, ok);
}

/* What a service sent, and JSON cannot hold, counts as not known. */
static const char *
known(const char *s)
{
    return s[0] && sf_utf8_valid(s, strlen(s)) ? s : NULL;
}

static void
put_version(json_t *to, const char *name, const struct sf_version *v, bool *ok)
{
    json_t *o = json_object();
    if (!o) {
        *ok = false;
        return;
    }
    put_text(o, "id", known(v->id), ok);
    put_text(o, "version", known(v->version), ok);
    put_text(o, "etag", known(v->etag), ok);
    put_size(o, "size", v->size, ok);
    put_number(o, "updated", v->updated_ns, ok);
    if (json_object_size(o) == 0)
        json_decref(o);
    else if (json_object_set_new(to, name, o) < 0)
        *ok = false;
}

static void
put_extents(json_t *to, const char *name, const struct sf_record *r, bool *ok)
{
    json_t *list = r->n_extents ? json_array() : NULL;
    for (size_t i = 0; list && i < r->n_extents; i++)
        if (json_array_append_new(list, json_pack("[I, I]", (json_int_t)r->extents[i].off,
                                                  (json_int_t)r->extents[i].end)) < 0)
            *ok = false;
    if (r->n_extents && json_object_set_new(to, name, list) < 0)
        *ok = false;
}

static void
put_bytes(json_t *to, const char *name, const struct sf_record *r, bool *ok)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    if (!r->data)
        return;
    if (r->size > SF_RECORD_BYTES || sf_base64_encode(&text, r->data, (size_t)r->size) < 0)
        *ok = false;
    else
        put_text(to, name, sf_buf_str(&text), ok);
}

/* An object whose members are strings, or null. */
static bool
is_flat(json_t *o)
{
    const char *name;
    json_t *member;
    if (!json_is_object(o))
        return false;
    json_object_foreach(o, name, member)
    {
        if (!json_is_string(member) && !json_is_null(member))
            return false;
    }
    return true;
}

static void
put_object(json_t *to, const char *name, const char *text, bool *ok)
{
    json_t *o = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (text && !is_flat(o))
        *ok = false;
    if (o && json_object_set_new(to, name, o) < 0)
        *ok = false;
}

static void
put_field(json_t *to, const struct sf_record *r, const struct field *f, bool *ok)
{
    const char *p = (const char *)r + f->at;
    char prose[240];
    switch (f->type) {
    case STRING:
        put_text(to, f->name, *string_of(r, f), ok);
        break;
    case PROSE: /* may name files of any bytes */
        if (!*string_of(r, f))
            break;
        sf_text_clean(*string_of(r, f), strlen(*string_of(r, f)), prose, sizeof prose);
        put_text(to, f->name, prose, ok);
        break;
    case TEXT:
        put_text(to, f->name, *p ? p : NULL, ok);
        break;
    case NUMBER:
        put_size(to, f->name, *(const uint64_t *)(const void *)p, ok);
        break;
    case TIME:
        put_number(to, f->name, *(const int64_t *)(const void *)p, ok);
        break;
    case COUNT:
        put_number(to, f->name, *(const unsigned *)(const void *)p, ok);
        break;
    case ERRNO:
        put_number(to, f->name, abs(*(const int *)(const void *)p), ok);
        break;
    case FLAG:
        if (*(const bool *)p && json_object_set_new(to, f->name, json_true()) < 0)
            *ok = false;
        break;
    case OBJECT:
        put_object(to, f->name, *string_of(r, f), ok);
        break;
    case VERSION_OF:
        put_version(to, f->name, (const struct sf_version *)(const void *)p, ok);
        break;
    case EXTENTS:
        put_extents(to, f->name, r, ok);
        break;
    case BYTES:
        put_bytes(to, f->name, r, ok);
        break;
    }
}

int
sf_record_format(const struct sf_record *r, char **ret, size_t *len, char *why)
{
    const char *rule = wrong(r);
    if (!rule && states[r->state].kind != r->kind)
        rule = "a state of another kind";
    if (rule) {
        say(why, rule, r->key);
        return -EINVAL;
    }
    bool ok = true;
    json_t *o = json_object();
    if (!o)
        return -ENOMEM;
    put_number(o, "v", RECORD_VERSION, &ok);
    put_text(o, "kind", kind_names[r->kind], &ok);
    put_text(o, "state", states[r->state].name, &ok);
    for (size_t i = 0; i < N_FIELDS; i++)
        put_field(o, r, &fields[i], &ok);
    sf_autofree char *text = ok ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    size_t n = text ? strlen(text) : 0;
    /* What was written can be read: text that is not UTF-8, or numbers too large, show here. */
    if (!text || n > SF_RECORD_BYTES) {
        say(why, text ? "too long" : "not UTF-8, a number too large, or out of memory", r->key);
        return -EINVAL;
    }
    *ret = sf_steal(text);
    *len = n;
    return 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

static int
get_string(const json_t *v, char **ret)
{
    if (!json_is_string(v))
        return -EPROTO;
    *ret = strdup(json_string_value(v));
    return *ret ? 0 : -ENOMEM;
}

static int
get_text(const json_t *v, char *out, size_t size)
{
    if (!json_is_string(v) || json_string_length(v) >= size)
        return -EPROTO;
    memcpy(out, json_string_value(v), json_string_length(v) + 1);
    return 0;
}

/* A whole number within bounds. */
static int
get_number(const json_t *v, int64_t min, int64_t max, int64_t *ret)
{
    if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
        return -EPROTO;
    *ret = json_integer_value(v);
    return 0;
}

static int
get_version(json_t *v, struct sf_version *out)
{
    const char *name;
    json_t *member;
    int64_t n = 0;
    int rc = json_is_object(v) ? 0 : -EPROTO;
    if (rc)
        return rc;
    json_object_foreach(v, name, member)
    {
        if (strcmp(name, "id") == 0) {
            rc = get_text(member, out->id, sizeof out->id);
        } else if (strcmp(name, "version") == 0) {
            rc = get_text(member, out->version, sizeof out->version);
        } else if (strcmp(name, "etag") == 0) {
            rc = get_text(member, out->etag, sizeof out->etag);
        } else if (strcmp(name, "size") == 0) {
            rc = get_number(member, 0, INT64_MAX, &n);
            out->size = (uint64_t)n;
        } else if (strcmp(name, "updated") == 0) {
            rc = get_number(member, INT64_MIN, INT64_MAX, &out->updated_ns);
        } else {
            rc = -EPROTO;
        }
        if (rc)
            return rc;
    }
    return 0;
}

static int
get_extents(const json_t *v, struct sf_record *r)
{
    size_t n = json_array_size(v);
    if (!json_is_array(v) || n == 0 || n > EXTENTS_MAX)
        return -EPROTO;
    r->extents = calloc(n, sizeof *r->extents);
    if (!r->extents)
        return -ENOMEM;
    r->n_extents = n;
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(v, i);
        int64_t off, end;
        if (!json_is_array(pair) || json_array_size(pair) != 2 ||
            get_number(json_array_get(pair, 0), 0, INT64_MAX, &off) ||
            get_number(json_array_get(pair, 1), 0, INT64_MAX, &end))
            return -EPROTO;
        r->extents[i] = (struct sf_extent){(uint64_t)off, (uint64_t)end};
    }
    return 0;
}

/* `size` stands before it in the table. */
static int
get_bytes(const json_t *v, struct sf_record *r)
{
    sf_autobuf struct sf_buf raw = SF_BUF_INIT;
    if (!json_is_string(v))
        return -EPROTO;
    int rc = sf_base64_decode(&raw, json_string_value(v), json_string_length(v));
    if (rc)
        return rc == -ENOMEM ? rc : -EPROTO;
    if (raw.len != r->size)
        return -EPROTO;
    r->data = sf_buf_steal(&raw, NULL);
    return r->data ? 0 : -ENOMEM;
}

static int
get_object(json_t *v, char **ret)
{
    if (!is_flat(v))
        return -EPROTO;
    *ret = json_dumps(v, JSON_COMPACT);
    return *ret ? 0 : -ENOMEM;
}

static int
get_field(json_t *v, struct sf_record *r, const struct field *f)
{
    void *p = (char *)r + f->at;
    int64_t n = 0;
    int rc;
    switch (f->type) {
    case STRING:
    case PROSE:
        return get_string(v, p);
    case TEXT:
        return get_text(v, p, f->size);
    case NUMBER:
        rc = get_number(v, 0, INT64_MAX, &n);
        *(uint64_t *)p = (uint64_t)n;
        return rc;
    case TIME:
        return get_number(v, INT64_MIN, INT64_MAX, p);
    case COUNT:
        rc = get_number(v, 0, UINT32_MAX, &n);
        *(unsigned *)p = (unsigned)n;
        return rc;
    case ERRNO:
        rc = get_number(v, 0, 4095, &n);
        *(int *)p = (int)n;
        return rc;
    case FLAG:
        *(bool *)p = json_is_true(v);
        return json_is_boolean(v) ? 0 : -EPROTO;
    case OBJECT:
        return get_object(v, p);
    case VERSION_OF:
        return get_version(v, p);
    case EXTENTS:
        return get_extents(v, r);
    case BYTES:
        return get_bytes(v, r);
    }
    return -EPROTO;
}

/* Version, kind and state. */
static int
get_head(const json_t *o, struct sf_record *r, char *why)
{
    const char *kind = json_string_value(json_object_get(o, "kind"));
    const char *state = json_string_value(json_object_get(o, "state"));
    if (json_integer_value(json_object_get(o, "v")) != RECORD_VERSION) {
        say(why, "written in a form that this version does not know", NULL);
        return -EPROTO;
    }
    for (unsigned k = 0; kind && state && k < SF_RECORD_KINDS; k++)
        for (unsigned s = 0; s < SF_RECORD_STATES; s++)
            if (states[s].kind == k && strcmp(kind_names[k], kind) == 0 &&
                strcmp(states[s].name, state) == 0) {
                r->kind = (enum sf_record_kind)k;
                r->state = (enum sf_record_state)s;
                return 0;
            }
    say(why, "a kind or state that this version does not know", NULL);
    return -EPROTO;
}

static int
get_members(json_t *o, struct sf_record *r, char *why)
{
    json_t *member;
    size_t seen = 3; /* the head */
    for (size_t i = 0; i < N_FIELDS; i++) {
        member = json_object_get(o, fields[i].name);
        if (!member)
            continue;
        seen++;
        int rc = get_field(member, r, &fields[i]);
        if (rc == -EPROTO)
            say(why, "a wrong value", fields[i].name);
        if (rc)
            return rc;
    }
    /* What a member unknown here means for the change is not known either. */
    if (seen == json_object_size(o))
        return 0;
    say(why, "a member that this version does not know", NULL);
    return -EPROTO;
}

int
sf_record_parse(const char *text, size_t len, struct sf_record *ret, char *why)
{
    sf_autorecord struct sf_record r = {0};
    if (len > SF_RECORD_BYTES) {
        say(why, "too long", NULL);
        return -EPROTO;
    }
    json_t *o = sf_json_parse(text, len, why);
    if (!o)
        return -EPROTO;
    int rc = get_head(o, &r, why);
    if (!rc)
        rc = get_members(o, &r, why);
    json_decref(o);
    if (rc)
        return rc;
    const char *rule = wrong(&r);
    if (rule) {
        say(why, rule, NULL);
        return -EPROTO;
    }
    *ret = r;
    r = (struct sf_record){0};
    return 0;
}
