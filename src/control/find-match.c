/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/find-match.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/glob.h"
#include "base/str.h"
#include "tree/names.h"

#define NS_PER_MS 1000000

int
sf_find_parse_size(const char *text, uint64_t *min, uint64_t *max)
{
    uint64_t n;
    char sign = *text == '+' || *text == '-' ? *text++ : '\0';
    int rc = sf_parse_size(text, &n);
    if (rc)
        return rc;
    if ((sign == '+' && n == UINT64_MAX) || (sign == '-' && n == 0))
        return -ERANGE; /* nothing is */
    *min = sign == '+' ? n + 1 : sign == '-' ? 0 : n;
    *max = sign == '+' ? UINT64_MAX : sign == '-' ? n - 1 : n;
    return 0;
}

/* With its parameters or without. */
static bool
matches_type(const char *glob, const char *mime)
{
    char bare[256];
    size_t n = strcspn(mime, ";");
    while (n && mime[n - 1] == ' ')
        n--;
    if (sf_glob_match(glob, mime, true))
        return true;
    snprintf(bare, sizeof bare, "%.*s", (int)(n < sizeof bare ? n : 0), mime);
    return mime[n] && sf_glob_match(glob, bare, true);
}

bool
sf_find_matches(const struct sf_find_want *want, const struct sf_found *row)
{
    int64_t part = row->updated_ns % NS_PER_MS;
    int64_t updated = row->updated_ns - (part < 0 ? part + NS_PER_MS : part);
    return row->size >= want->min_size && row->size <= want->max_size && updated > want->newer_ns &&
           updated < want->older_ns && (!want->type || matches_type(want->type, row->mime));
}

bool
sf_find_matches_facts(const struct sf_find_want *want, const struct sf_found *row)
{
    bool tagged = !want->tag;
    for (size_t i = 0; !tagged && i < json_array_size(row->tags); i++)
        tagged = strcmp(json_string_value(json_array_get(row->tags, i)), want->tag) == 0;
    return tagged && (!want->sha256 || strcasecmp(row->sha256, want->sha256) == 0);
}

bool
sf_find_matches_name(const char *glob, const char *comp, unsigned flags)
{
    char name[SF_NAME_BUF_SIZE];
    unsigned as = *glob == '%' ? flags : flags & ~(unsigned)SF_NAME_CLASH;
    if (sf_name_from_key(comp, strlen(comp), as, name) < 0)
        return false;
    return sf_glob_match(glob, *glob != '%' && sf_name_is_special(name) ? comp : name, false);
}

/* ---- for the database ------------------------------------------------------------------------ */

static int
put_any(struct sf_buf *out, size_t start)
{
    return out->len > start && out->data[out->len - 1] == '*' ? 0 : sf_buf_putc(out, '*');
}

/* What is all alone is nothing. */
static int
finish(struct sf_buf *out, size_t start, int rc)
{
    if (rc || strcmp(sf_buf_str(out) + start, "*") == 0)
        sf_buf_truncate(out, start);
    return rc;
}

/* The '.' of a name that ends in the placeholder's is escaped. */
static bool
may_end_in_placeholder(const char *behind)
{
    enum sf_glob_kind kind;
    char c = '\0';
    if (!*behind)
        return false;
    (void)sf_glob_item(behind, &kind, &c);
    return kind != SF_GLOB_LITERAL || c == SF_PLACEHOLDER[1];
}

/*
 * docs/formats/names.md: what TEXT leaves as it is stands in a component wherever it stands in a
 * name. Any other allowed character does, too, but behind TEXT there may be a '!' before it, and
 * none is before those that follow it. '=' may be escaped. For the database '*' and '?' have a
 * meaning.
 */
int
sf_find_name_superset(const char *glob, struct sf_buf *out)
{
    static const char clear[] = "abcdefghijklmnopqrstuvwxyz -_";
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!.'()&$@;:+,";
    size_t start = out->len;
    bool plain = true; /* no TEXT here */
    int rc = 0;
    if (*glob == '%') /* what is shown may not be of the component */
        return 0;
    for (size_t n; *glob && !rc; glob += n) {
        enum sf_glob_kind kind;
        char c = '\0';
        n = sf_glob_item(glob, &kind, &c);
        bool literal = kind == SF_GLOB_LITERAL && c;
        if (literal && strchr(clear, c)) {
            rc = sf_buf_putc(out, c);
        } else if (literal && strchr(allowed, c) &&
                   !(c == '.' && may_end_in_placeholder(glob + n))) {
            rc = plain ? 0 : put_any(out, start);
            plain = true;
            if (!rc)
                rc = sf_buf_putc(out, c);
        } else {
            rc = put_any(out, start);
            plain = false;
        }
    }
    return finish(out, start, rc);
}

/* Types count in either case, and with any parameters. */
int
sf_find_type_superset(const char *glob, struct sf_buf *out)
{
    size_t start = out->len;
    int rc = 0;
    for (size_t n; *glob && !rc; glob += n) {
        enum sf_glob_kind kind;
        char c = '\0';
        n = sf_glob_item(glob, &kind, &c);
        if (kind == SF_GLOB_LITERAL && isascii((unsigned char)c) && isalpha((unsigned char)c))
            rc = sf_buf_printf(out, "[%c%c]", tolower((unsigned char)c), toupper((unsigned char)c));
        else if (kind == SF_GLOB_LITERAL && c && strchr("0123456789/.+-", c))
            rc = sf_buf_putc(out, c);
        else
            rc = put_any(out, start);
    }
    if (!rc)
        rc = put_any(out, start);
    return finish(out, start, rc);
}
