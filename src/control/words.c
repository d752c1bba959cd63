/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/words.h"

#include "base/str.h"

#include <errno.h>
#include <string.h>

int
sf_words_append(struct sf_buf *line, const char *word)
{
    size_t before = line->len;
    int rc = before ? sf_buf_putc(line, ' ') : 0;
    if (!rc && !*word)
        rc = sf_buf_puts(line, "\\000");
    if (!rc)
        rc = sf_str_escape(line, word, " \\");
    if (rc)
        sf_buf_truncate(line, before);
    return rc;
}

/* The byte of an escape behind its backslash, or -EINVAL. */
static int
escaped(const char *p)
{
    int value = 0;
    for (int i = 0; i < 3; i++) {
        if (p[i] < '0' || p[i] > '7')
            return -EINVAL;
        value = value * 8 + (p[i] - '0');
    }
    return value > 255 ? -EINVAL : value;
}

/* Decode up to the next blank. Returns where it ends, NULL for a bad escape. */
static char *
take_word(char *p)
{
    char *to = p, *begin = p;
    while (*p && *p != ' ') {
        int c = (unsigned char)*p++;
        if (c == '\\') {
            c = escaped(p);
            p += 3;
        }
        if (c < 0 || (c == 0 && (to != begin || (*p && *p != ' '))))
            return NULL; /* a NUL can only stand for the empty word */
        if (c)
            *to++ = (char)c;
    }
    if (*p)
        *p++ = '\0';
    *to = '\0';
    return p;
}

int
sf_words_split(char *line, char *words[SF_WORDS_MAX])
{
    int n = 0;
    for (char *p = line; *p;) {
        if (*p == ' ') {
            p++;
            continue;
        }
        if (n == SF_WORDS_MAX)
            return -E2BIG;
        words[n++] = p;
        if (!(p = take_word(p)))
            return -EINVAL;
    }
    return n;
}
