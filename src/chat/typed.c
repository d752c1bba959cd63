/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/typed.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "chat/transcript.h"

void
chat_typed_init(struct chat_typed *t)
{
    *t = (struct chat_typed){.text = SF_BUF_INIT};
    sf_chat_front_init(&t->own);
}

void
chat_typed_fini(struct chat_typed *t)
{
    sf_buf_fini(&t->text);
    sf_chat_front_fini(&t->own);
}

void
chat_typed_clear(struct chat_typed *t)
{
    chat_typed_fini(t);
    chat_typed_init(t);
}

bool
chat_typed_is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!memchr(" \t\n\r\f\v", text[i], 6))
            return false;
    return true;
}

/* What was kept of it is not needed any more. */
static int
fail(struct chat_typed *t, int rc)
{
    sf_buf_fini(&t->text);
    t->valid = 0;
    t->bad = true;
    return rc;
}

/* Can these few bytes become a character? */
static bool
begins_character(const unsigned char *s, size_t n)
{
    size_t whole = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n >= whole)
        return false;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return false;
    return true;
}

/* Whole characters only, but for the last one, of which more may come; no NUL. */
static bool
characters_ok(struct chat_typed *t)
{
    const char *s = sf_buf_str(&t->text);
    size_t len = t->text.len;
    if (memchr(s + t->valid, '\0', len - t->valid))
        return false;
    for (size_t n; t->valid < len && (n = sf_utf8_char(s + t->valid, len - t->valid));)
        t->valid += n;
    return t->valid == len || begins_character((const unsigned char *)s + t->valid, len - t->valid);
}

/* The beginning of the text may be the end of the front matter only with the line feed behind. */
static int
read_front(struct chat_typed *t, struct sf_err *err)
{
    struct sf_buf *b = &t->text;
    if (t->front_known)
        return 0;
    bool feed = t->feeds > 0;
    if (feed && sf_buf_putc(b, '\n'))
        return -ENOMEM;
    int rc = sf_chat_front_parse(sf_buf_str(b), b->len, false, &t->own, &t->body, err);
    if (feed)
        sf_buf_truncate(b, b->len - 1);
    t->front_known = !rc;
    return rc == -EAGAIN ? 0 : rc;
}

/* @body: bytes of it without the line feeds at its end. */
static int
append(struct chat_typed *t, const char *data, size_t len, size_t body)
{
    struct sf_buf *b = &t->text;
    if (!body) {
        t->feeds += len;
        return 0;
    }
    int rc = sf_buf_reserve(b, t->feeds + body);
    if (rc)
        return rc;
    for (size_t i = 0; i < t->feeds; i++)
        (void)sf_buf_putc(b, '\n'); /* there is room */
    t->feeds = len - body;
    return sf_buf_append(b, data, body);
}

int
chat_typed_write(struct chat_typed *t, const char *data, size_t len, uint64_t shown,
                 struct sf_err *err)
{
    size_t most = SF_CHAT_PROMPT_MAX, body = len, begun = t->text.len;
    while (body && data[body - 1] == '\n')
        body--;
    if (t->bad) /* an earlier one told why */
        return -EINVAL;
    if (begun ? sf_chat_is_transcript(t->text.data, begun) : sf_chat_is_transcript(data, len))
        most += shown;
    if (body && (t->feeds > most || body > most || begun + t->feeds + body > most))
        return sf_err_set(err, fail(t, -EINVAL), "the prompt is longer than %zu bytes",
                          SF_CHAT_PROMPT_MAX);
    t->written += len;
    int rc = append(t, data, len, body);
    if (!rc && !characters_ok(t))
        rc = sf_err_set(err, -EINVAL, "the prompt is not UTF-8, or has a NUL");
    else if (!rc)
        rc = read_front(t, err);
    if (rc == -ENOMEM)
        (void)!sf_err_set(err, rc, "no memory for the prompt");
    return rc ? fail(t, rc) : 0; /* what goes on without this would be another prompt */
}

/* The front matter of what begins at @from; a transcript there is no question. */
static int
end_front(const char *text, size_t len, size_t from, size_t *body, struct sf_chat_front *own,
          struct sf_err *err)
{
    while (from < len && text[from] == '\n')
        from++;
    if (sf_chat_is_transcript(text + from, len - from))
        return sf_err_set(err, -EINVAL, "the prompt is a transcript");
    size_t rest = 0;
    int rc = sf_chat_front_parse(text + from, len - from, true, own, &rest, err);
    if (!rc)
        *body = from + rest;
    return rc;
}

int
chat_typed_end(struct chat_typed *t,
               int (*follows)(void *arg, const char *text, size_t len, size_t *rest,
                              struct sf_err *err),
               void *arg, size_t *body, struct sf_chat_front *own, struct sf_err *err)
{
    struct sf_buf *b = &t->text;
    size_t from = 0, at = 0;
    if (t->bad) /* the write told why */
        return -EINVAL;
    if (chat_typed_is_blank(sf_buf_str(b), b->len))
        return 0;
    if (t->valid != b->len)
        return sf_err_set(err, -EINVAL, "the prompt ends within a character");
    if (t->feeds && sf_buf_putc(b, '\n'))
        return -ENOMEM;
    int rc = 0;
    if (sf_chat_is_transcript(b->data, b->len))
        rc = follows ? follows(arg, b->data, b->len, &from, err) : -EINVAL;
    if (!rc && b->len - from > SF_CHAT_PROMPT_MAX + 1)
        rc = sf_err_set(err, -EINVAL, "the prompt is longer than %zu bytes", SF_CHAT_PROMPT_MAX);
    if (!rc)
        rc = end_front(b->data, b->len, from, &at, own, err);
    if (!rc && !chat_typed_is_blank(b->data + at, b->len - at)) {
        *body = at;
        rc = 1;
    }
    if (t->feeds)
        sf_buf_truncate(b, b->len - 1);
    return rc;
}
