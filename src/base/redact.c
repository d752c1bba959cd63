/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/redact.h"

#include "base/str.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define JWT_MIN 16 /* characters; shorter ones hold no secret */
#define SK_MIN  16
#define ID_MIN  12

static bool
is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

static size_t
word_len(const char *s, bool dots)
{
    size_t n = 0;
    while (is_word(s[n]) || (dots && s[n] == '.'))
        n++;
    return n;
}

/* An id behind org-, proj- or ak-: letters and digits, some of them digits. */
static bool
is_id(const char *s)
{
    size_t n = 0, digits = 0;
    for (; isalnum((unsigned char)s[n]); n++)
        digits += isdigit((unsigned char)s[n]) != 0;
    return n >= ID_MIN && digits > 0 && !is_word(s[n]);
}

/* "org-..." and the like at the beginning of a word. */
static size_t
by_prefix(const char *s, bool strict, size_t *keep)
{
    static const char *const prefixes[] = {"org-", "proj-", "ak-", "proj_", "sk-"};
    static const size_t loose = 3; /* the first of them, which are looked for in every text */
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i]);
        if (strncmp(s, prefixes[i], n) != 0 || !(strict || (i < loose && is_id(s + n))))
            continue;
        *keep = n;
        return word_len(s, false);
    }
    return 0;
}

/* A key of the form of Zhipu's: 32 hex digits, a dot, 16 letters and digits. */
static size_t
pair_len(const char *s)
{
    enum { LEFT = 32, RIGHT = 16 };
    for (size_t i = 0; i < LEFT; i++)
        if (!isxdigit((unsigned char)s[i]))
            return 0;
    if (s[LEFT] != '.')
        return 0;
    for (size_t i = LEFT + 1; i <= LEFT + RIGHT; i++)
        if (!isalnum((unsigned char)s[i]))
            return 0;
    return is_word(s[LEFT + 1 + RIGHT]) ? 0 : LEFT + 1 + RIGHT;
}

/* Secrets that show by their own look. Returns the bytes to hide at @s, 0 = none. *keep bytes of
 * them say what it was and stay. @start: nothing or no word character stands before @s. */
static size_t
by_look(const char *s, bool start, bool strict, size_t *keep)
{
    size_t n;
    *keep = 0;
    if (s[0] == 'e' && s[1] == 'y' && s[2] == 'J') {
        n = word_len(s, true);
        return n >= JWT_MIN ? n : 0;
    }
    if (sf_str_starts(s, "sb_secret_")) {
        *keep = strlen("sb_secret_");
        return word_len(s, false);
    }
    if (start && !strict && sf_str_starts(s, "sk-")) {
        *keep = 3;
        n = word_len(s, true);
        return n >= SK_MIN ? n : 0;
    }
    if (start && !strncasecmp(s, "bearer ", 7)) {
        *keep = 7;
        return 7 + strcspn(s + 7, " \t\r\n\"',;&\\");
    }
    if (start && (n = by_prefix(s, strict, keep)))
        return n;
    return start ? pair_len(s) : 0;
}

/* "=", "%3D", "\":\"" and the like between a name and its value; 0 = none here. */
static size_t
assign_len(const char *s)
{
    if (*s == '=')
        return 1;
    if (!strncasecmp(s, "%3d", 3))
        return 3;
    const char *p = s + strspn(s, "\\\"");
    if (p == s)
        return 0;
    p += strspn(p, " ");
    if (*p != ':')
        return 0;
    p++;
    return (size_t)(p + strspn(p, " ") - s);
}

/* Secrets that show by the name before them. The same results as by_look(). */
static size_t
by_name(const char *s, size_t *keep)
{
    static const char *const names[] = {"token",    "apikey", "api_key",
                                        "password", "secret", "signature"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (strncasecmp(s, names[i], n))
            continue;
        size_t a = assign_len(s + n);
        if (!a)
            continue;
        const char *v = s + n + a;
        size_t quote = strspn(v, "\\\"");
        *keep = n + a + quote;
        return *keep + strcspn(v + quote, quote ? "\\\"" : " \t\r\n\"'&#,;})\\");
    }
    *keep = 0;
    return 0;
}

static void
redact(char *s, bool strict)
{
    const char *in = s;
    char *out = s, before = ' '; /* in[-1] may be overwritten already */
    while (*in) {
        size_t keep;
        size_t n = by_look(in, !is_word(before), strict, &keep);
        if (!n)
            n = by_name(in, &keep);
        if (n <= keep) {
            before = *in;
            *out++ = *in++;
            continue;
        }
        memmove(out, in, keep);
        out += keep;
        for (size_t i = 0; i < 3 && i < n - keep; i++)
            *out++ = '*';
        in += n;
        before = '*';
    }
    *out = '\0';
}

void
sf_redact(char *s)
{
    redact(s, false);
}

void
sf_redact_ids(char *s)
{
    redact(s, true);
}
