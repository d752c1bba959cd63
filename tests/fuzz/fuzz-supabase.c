/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>

#include "fuzz.h"
#include "supabase/attrs.h"
#include "supabase/dir-facts.h"
#include "supabase/errmap.h"
#include "supabase/json.h"
#include "supabase/list.h"
#include "supabase/object.h"
#include "supabase/removed.h"
#include "supabase/scan.h"
#include "supabase/tus.h"
#include "write/meta.h"

/* First byte: which reader. The rest: the reply of a service. */

/* A page keeps its promises whatever was sent, and following it comes to an end. */
static void
list(const char *body, size_t len, bool delimiter, const char *prefix, const char *after)
{
    char why[160];
    struct sf_list_reply *r = NULL;
    struct sf_list_args a = {
        .prefix = prefix, .after = after, .limit = 1000, .delimiter = delimiter};
    int rc = sf_list_parse(body, len, &a, &r, why);
    REQUIRE(rc == 0 || (rc == -EPROTO && !r && why[0]));
    if (rc < 0)
        return;
    const struct sf_list_page *page = sf_list_reply_page(r);
    const char *last = after;
    for (size_t i = 0; i < page->n; i++) {
        const struct sf_list_row *row = &page->rows[i];
        REQUIRE(strlen(row->key) == row->key_len && row->key_len <= SF_KEY_BYTES + 1);
        REQUIRE(strncmp(row->key, prefix, strlen(prefix)) == 0);
        REQUIRE(!last || strcmp(row->key, last) > 0);
        REQUIRE(row->etag && row->mime && row->cache_control && row->size <= INT64_MAX);
        REQUIRE(row->folder || (row->id[0] && strlen(row->id) < 40));
        char *slash = strchr(row->key + strlen(prefix), '/');
        REQUIRE(!delimiter || (slash ? row->folder && !slash[1] : !row->folder));
        last = row->key;
    }
    REQUIRE(!page->more || page->n > 0);
    REQUIRE(page->n == 0 || page->last == last);
    if (page->n) {
        char *cursor = sf_list_cursor(prefix, page->last, delimiter);
        REQUIRE(cursor && (cursor[0] || strchr(page->last, '\n')));
        free(cursor);
    }
    sf_list_reply_free(r);
}

/* The reader in place and jansson agree on what JSON is, but for the bound of nesting, numbers that
 * jansson cannot hold, and NUL bytes between values, which jansson does not mind. */
static void
same_as_jansson(const char *body, size_t len)
{
    struct sf_scan s;
    json_error_t error;
    if (memchr(body, '\0', len))
        return;
    char *copy = malloc(len + 1);
    REQUIRE(copy);
    memcpy(copy, body, len);
    copy[len] = '\0';
    sf_scan_init(&s, copy, len);
    bool ours = sf_scan_skip(&s) == 0 && sf_scan_finish(&s) == 0;
    json_t *root = json_loadb(body, len, JSON_DECODE_ANY, &error);
    enum json_error_code code = root ? json_error_unknown : json_error_code(&error);
    if (ours != (root != NULL))
        REQUIRE(ours ? code == json_error_numeric_overflow
                     : strcmp(s.why, "nested too deeply") == 0);
    json_decref(root);
    free(copy);
}

static void
info(const char *body, size_t len)
{
    char why[160], *metadata = NULL;
    struct sf_object_info i;
    json_t *root = NULL;
    if (sf_object_parse_info(body, len, &i, &root, &metadata, why) == 0)
        REQUIRE(i.id && i.version && i.etag && i.mime && i.cache_control && metadata[0] == '{');
    free(metadata);
    json_decref(root);
}

static void
range(const char *body, size_t len)
{
    uint64_t first = 1, last = 0, total = 0;
    char *text = strndup(body, len);
    REQUIRE(text);
    if (sf_content_range_parse(text, &first, &last, &total) == 0)
        REQUIRE(first <= last && last < total);
    free(text);
}

static void
fault(const char *body, size_t len)
{
    struct sf_fault f;
    sf_fault_parse(400, body, len, &f);
    REQUIRE(sf_errmap_find(&f)->err < 0);
    for (const char *p = f.message; *p; p++)
        REQUIRE(*p >= ' ' && *p < 0x7f);
}

/* Only what was asked for is removed, and texts end in their places. */
static void
removed(const char *body, size_t len)
{
    static const char *const keys[] = {"a", "a/b", "a b&c", ""};
    char why[160];
    struct sf_removed gone[4];
    int rc = sf_removed_parse(body, len, keys, 4, gone, why);
    REQUIRE(rc == 0 || (rc == -EPROTO && why[0]));
    for (size_t i = 0; rc == 0 && i < 4; i++) {
        const struct sf_version *v = &gone[i].version;
        REQUIRE(gone[i].removed || (!sf_version_known(v) && !v->size && !v->updated_ns));
        REQUIRE(memchr(v->id, '\0', sizeof v->id) && memchr(v->etag, '\0', sizeof v->etag));
        REQUIRE(memchr(v->version, '\0', sizeof v->version));
        REQUIRE(!sf_version_known(v) || sf_version_same(v, v));
    }
}

static void
attrs(const char *body, size_t len)
{
    char why[160];
    struct sf_attrs_result res;
    int rc = sf_attrs_parse(body, len, "v1", &res, why);
    REQUIRE(rc == 0 || (rc == -EPROTO && why[0]));
    if (rc == 0)
        REQUIRE(memchr(res.version, '\0', sizeof res.version) &&
                (!res.updated || (strcmp(res.version, "v1") == 0 && res.updated_ns)));
}

/* Rows keep their promises whatever was sent: of the directory, in order, with texts and lists that
 * end; and the user metadata is an object as it came. */
static void
dir_facts(const char *body, size_t len, const char *prefix, const char *after)
{
    const struct sf_dir_facts_args a = {.prefix = prefix, .after = after, .limit = 3};
    struct sf_dir_facts_reply *r = NULL;
    char why[160];
    int rc = sf_dir_facts_parse(body, len, &a, &r, why);
    REQUIRE(rc == 0 || (rc == -EPROTO && !r && why[0]));
    if (rc < 0)
        return;
    const struct sf_dir_facts *facts = sf_dir_facts_reply(r);
    REQUIRE(facts->n <= 3 && facts->more == (facts->n == 3));
    for (size_t i = 0; i < facts->n; i++) {
        const struct sf_dir_fact *row = &facts->rows[i];
        size_t tags = 0;
        REQUIRE(strlen(row->key) == row->key_len && strncmp(row->key, prefix, strlen(prefix)) == 0);
        REQUIRE(!strchr(row->key + strlen(prefix), '/') && (!after || strcmp(row->key, after) > 0));
        REQUIRE(row->id[0] && strlen(row->id) < 40 && strlen(row->version) < 80);
        REQUIRE(row->etag && row->mime && row->cache_control);
        REQUIRE(!row->sha256[0] || strlen(row->sha256) == 64);
        while (row->tags[tags])
            REQUIRE(row->tags[tags++][0]);
        REQUIRE(tags == row->n_tags);
        struct sf_meta meta;
        REQUIRE(row->metadata[0] == '{' && row->metadata[strlen(row->metadata) - 1] == '}');
        REQUIRE(sf_meta_parse(row->metadata, &meta) >= 0);
        sf_meta_fini(&meta);
        after = row->key;
    }
    sf_dir_facts_reply_free(r);
}

/* A Location, whatever it is, gives a name that stands for itself, or none. */
static void
location(const char *body, size_t len)
{
    char *text = strndup(body, len), *name = NULL, *again = NULL, version[40];
    REQUIRE(text);
    int rc = sf_tus_name_of(text, &name);
    REQUIRE(rc == 0 || (rc == -EPROTO && !name));
    if (rc == 0) {
        REQUIRE(name[0] && strlen(name) <= SF_TUS_NAME_MAX && !strpbrk(name, "/.%?#: \r\n"));
        REQUIRE(sf_tus_name_of(name, &again) == 0 && strcmp(name, again) == 0);
        if (sf_tus_version(name, version))
            REQUIRE(strlen(version) == 36 && !strchr(version, '/'));
    }
    free(again);
    free(name);
    free(text);
}

/* Offset and length, with a line feed between them. */
static void
where(const char *body, size_t len)
{
    char why[160], *text = strndup(body, len);
    uint64_t offset = 2, size = 1;
    REQUIRE(text);
    char *second = strchr(text, '\n');
    if (second)
        *second++ = '\0';
    int rc = sf_tus_where_parse(text, second, &offset, &size, why);
    REQUIRE(rc == 0 ? offset <= size : rc == -EPROTO && offset == 2 && size == 1 && why[0]);
    if (sf_cache_control_is_plain(text) && strlen(text) > 8)
        REQUIRE(strncmp(text, "max-age=", 8) == 0);
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *body = (const char *)data + 1;
    size--;
    switch (data[0] % 16) {
    case 0:
        list(body, size, true, "", NULL);
        break;
    case 1:
        list(body, size, true, "a/", "a/b");
        break;
    case 2:
        list(body, size, false, "a", NULL);
        break;
    case 3:
        list(body, size, true, "//", NULL);
        break;
    case 4:
        same_as_jansson(body, size);
        break;
    case 5:
        info(body, size);
        break;
    case 6:
        range(body, size);
        break;
    case 8:
        removed(body, size);
        break;
    case 9:
        attrs(body, size);
        break;
    case 10:
        location(body, size);
        break;
    case 11:
        where(body, size);
        break;
    case 12:
        dir_facts(body, size, "a/", NULL);
        break;
    case 13:
        dir_facts(body, size, "", "a");
        break;
    default:
        fault(body, size);
    }
    return 0;
}
