/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/glob.h"

#include <stdint.h>
#include <string.h>

#include "base/str.h"

#define NO_UTF8 0x110000u /* and the byte: above all characters */

/* The character at *s, which is not the end; steps over it. */
static uint32_t
take(const char **s, bool fold)
{
    const unsigned char *u = (const unsigned char *)*s;
    size_t n = sf_utf8_char(u, strnlen(*s, 4));
    *s += n ? n : 1;
    if (n == 0)
        return NO_UTF8 + u[0];
    if (n == 1)
        return fold && u[0] >= 'A' && u[0] <= 'Z' ? u[0] + ('a' - 'A') : u[0];
    uint32_t c = u[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (u[i] & 0x3fu);
    return c;
}

/* The same of a glob, where a backslash may stand before it. */
static uint32_t
take_literal(const char **p, bool fold)
{
    if (**p == '\\' && (*p)[1])
        ++*p;
    return take(p, fold);
}

/* A list behind its '['. Returns what is behind its ']', NULL = it has none. */
static const char *
in_list(const char *p, uint32_t c, bool fold, bool *hit)
{
    bool other = *p == '!' || *p == '^', in = false;
    p += other;
    for (bool first = true; *p && (first || *p != ']'); first = false) {
        uint32_t from = take_literal(&p, fold), to = from;
        if (*p == '-' && p[1] && p[1] != ']') {
            p++;
            to = take_literal(&p, fold);
        }
        in = in || (c >= from && c <= to);
    }
    *hit = in != other;
    return *p ? p + 1 : NULL;
}

/* Does the glob's next item, which is no '*', fit the text's next character? Steps over both. */
static bool
one(const char **p, const char **s, bool fold)
{
    if (!**p)
        return false;
    uint32_t c = take(s, fold);
    bool hit = true;
    if (**p == '?') {
        ++*p;
        return true;
    }
    if (**p == '[') {
        const char *end = in_list(*p + 1, c, fold, &hit);
        if (end) {
            *p = end;
            return hit;
        }
    }
    return take_literal(p, fold) == c;
}

bool
sf_glob_match(const char *p, const char *s, bool fold)
{
    const char *star = NULL, *from = NULL; /* behind the last '*', and where it ends in the text */
    for (;;) {
        const char *next_p = p, *next_s = s;
        if (*p == '*') {
            star = ++p;
            from = s;
        } else if (!*s) {
            return !*p;
        } else if (one(&next_p, &next_s, fold)) {
            p = next_p;
            s = next_s;
        } else if (star) {
            (void)take(&from, fold);
            p = star;
            s = from;
        } else {
            return false;
        }
    }
}

size_t
sf_glob_item(const char *glob, enum sf_glob_kind *kind, char *c)
{
    const char *p = glob;
    bool hit;
    *kind = *p == '*' ? SF_GLOB_ANY : SF_GLOB_ONE;
    if (*p == '*' || *p == '?')
        return 1;
    const char *end = *p == '[' ? in_list(p + 1, 0, false, &hit) : NULL;
    if (end)
        return (size_t)(end - glob);
    *kind = SF_GLOB_LITERAL;
    *c = *p == '\\' && p[1] ? p[1] : *p;
    (void)take_literal(&p, false);
    return (size_t)(p - glob);
}
