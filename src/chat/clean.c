/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/clean.h"

#include <string.h>

#include "base/str.h"

#define REPLACED "\xEF\xBF\xBD"

/* Bytes of the character that may be shown at @s; 0 = none, or not all of it is there. */
static size_t
shown(const unsigned char *s, size_t n)
{
    if (s[0] >= ' ' && s[0] < 0x7f)
        return 1;
    if (s[0] < 0x80)
        return s[0] == '\t' || s[0] == '\n';
    size_t len = sf_utf8_char(s, n);
    return len == 2 && s[0] == 0xC2 && s[1] < 0xA0 ? 0 : len;
}

/* Could these bytes, which are all there is, become a character, or a line's end? */
static bool
unfinished(const unsigned char *s, size_t n)
{
    unsigned char tail[4];
    if (s[0] == '\r')
        return n == 1;
    if (s[0] < 0xC2 || s[0] > 0xF4 || n > 3)
        return false;
    /* The first and the last that a second byte may be differ; one of them will do. */
    for (unsigned second = 0x80; second < 0xC0; second += 0x3F) {
        memcpy(tail, s, n);
        memset(tail + n, n == 1 ? (int)second : 0x80, sizeof tail - n);
        if (n == 1)
            memset(tail + 2, 0x80, 2);
        if (sf_utf8_char(tail, sizeof tail) > n)
            return true;
    }
    return false;
}

/* One character of @n bytes, with or without more to come. Returns how many bytes it took; 0 = it
 * has to wait. */
static size_t
take(struct sf_buf *out, const unsigned char *s, size_t n, bool last, int *rc)
{
    size_t len = shown(s, n);
    if (len) {
        *rc = sf_buf_append(out, s, len);
        return len;
    }
    if (!last && unfinished(s, n))
        return 0;
    bool line = n > 1 && s[0] == '\r' && s[1] == '\n';
    len = sf_utf8_char(s, n);
    *rc = line ? sf_buf_putc(out, '\n') : sf_buf_puts(out, REPLACED);
    return line ? 2 : len ? len : 1;
}

static int
clean(struct sf_chat_clean *c, struct sf_buf *out, const char *text, size_t len, bool last)
{
    const size_t before = out->len;
    const struct sf_chat_clean was = *c;
    int rc = 0;
    while ((c->n || len) && !rc) {
        /* As many bytes as one character can have, those that were held back first. */
        unsigned char s[4];
        size_t held = c->n, fresh = len < sizeof s - held ? len : sizeof s - held;
        memcpy(s, c->held, held);
        if (fresh)
            memcpy(s + held, text, fresh);
        size_t n = take(out, s, held + fresh, last && fresh == len, &rc);
        if (!n) {
            memcpy(c->held, s, held + fresh);
            c->n = (unsigned)(held + fresh);
            return 0;
        }
        if (n < held) {
            memmove(c->held, c->held + n, held - n);
            c->n -= (unsigned)n;
        } else {
            c->n = 0;
            text += n - held;
            len -= n - held;
        }
    }
    if (rc) {
        sf_buf_truncate(out, before);
        *c = was;
    }
    return rc;
}

int
sf_chat_clean_put(struct sf_chat_clean *c, struct sf_buf *out, const char *text, size_t len)
{
    return clean(c, out, text, len, false);
}

int
sf_chat_clean_end(struct sf_chat_clean *c, struct sf_buf *out)
{
    return clean(c, out, "", 0, true);
}
