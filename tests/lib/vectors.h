/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_VECTORS_H
#define SF_TESTS_VECTORS_H

/* Reading the test vectors of a document in docs/formats. Include after <cmocka.h>. */

#include "base/cleanup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 2048

struct field {
    char s[TEXT_MAX];
    size_t len;
};

static inline const char *
skip_spaces(const char *p)
{
    return p + strspn(p, " ");
}

/* One "..." with its *N, appended to f; returns what is behind it. */
static inline const char *
parse_quoted(const char *p, struct field *f)
{
    size_t from = f->len;
    for (p++; *p != '"'; p++) {
        assert_true(*p != '\0' && f->len < TEXT_MAX - 1);
        if (p[0] == '\\' && p[1] == 'x') {
            char hex[3] = {p[2], p[3], 0};
            f->s[f->len++] = (char)strtoul(hex, NULL, 16);
            p += 3;
        } else {
            p += *p == '\\';
            f->s[f->len++] = *p;
        }
    }
    p++;
    if (*p == '*') {
        char *end;
        size_t n = strtoul(p + 1, &end, 10), one = f->len - from;
        assert_true(n > 0 && from + n * one < TEXT_MAX);
        for (size_t i = 1; i < n; i++, f->len += one)
            memcpy(f->s + f->len, f->s + from, one);
        p = end;
    }
    f->s[f->len] = '\0';
    return skip_spaces(p);
}

static inline const char *
parse_field(const char *p, struct field *f)
{
    f->len = 0;
    f->s[0] = '\0';
    assert_int_equal(*p, '"');
    while (*p == '"')
        p = parse_quoted(p, f);
    return p;
}

/* Only one "...", where another field may follow. */
static inline const char *
parse_field_once(const char *p, struct field *f)
{
    f->len = 0;
    f->s[0] = '\0';
    assert_int_equal(*p, '"');
    return parse_quoted(p, f);
}

/* Call @check with each line of the blocks called @block of a document; returns how many. */
static inline size_t
vectors_of(const char *document, const char *block, void (*check)(const char *line))
{
    char path[4096], line[TEXT_MAX], begin[64];
    const char *top = getenv("top_srcdir");
    snprintf(path, sizeof path, "%s/docs/formats/%s", top ? top : ".", document);
    snprintf(begin, sizeof begin, "```%s", block);
    sf_autofile FILE *f = fopen(path, "re");
    if (!f)
        fail_msg("%s: %s (set top_srcdir)", path, strerror(errno));
    bool inside = false;
    size_t seen = 0;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, inside ? "```" : begin) == 0) {
            inside = !inside;
        } else if (inside && *line) {
            print_message("%s\n", line);
            check(line);
            seen++;
        }
    }
    assert_false(inside);
    return seen;
}

#endif
