/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/chat.h"

#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PROMPT_MAX (256 * 1024) /* as docs/formats/chat.md has it (W5) */

static int
read_in(int fd, struct sf_buf *out, struct sf_err *err)
{
    char buf[16384];
    ssize_t n;
    while ((n = read(fd, buf, sizeof buf)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sf_err_set(err, -errno, "cannot read the standard input: %m");
        int rc = sf_buf_append_max(out, buf, (size_t)n, PROMPT_MAX + SF_CHAT_FRONT_MAX);
        if (rc == -EFBIG)
            return sf_err_set(err, rc,
                              "the standard input is longer than a prompt may be: "
                              "256 KiB");
        if (rc)
            return rc;
    }
    return 0;
}

/* The question, an empty line, and what stands on the standard input. */
static int
compose(const char *question, int in, struct sf_buf *text, struct sf_err *err)
{
    int rc = question ? sf_buf_puts(text, question) : 0;
    if (rc || in < 0)
        return rc;
    size_t before = text->len;
    rc = before ? sf_buf_puts(text, "\n\n") : 0;
    size_t begin = text->len;
    if (!rc)
        rc = read_in(in, text, err);
    if (!rc && text->len == begin)
        sf_buf_truncate(text, before);
    return rc;
}

static int
check(const struct sf_buf *asked, struct sf_err *err)
{
    if (asked->len > PROMPT_MAX)
        return sf_err_set(err, -EFBIG, "the prompt is longer than 256 KiB");
    if (asked->len && memchr(asked->data, '\0', asked->len))
        return sf_err_set(err, -EINVAL, "the prompt has a NUL byte: it is no text");
    if (!sf_utf8_valid(sf_buf_str(asked), asked->len))
        return sf_err_set(err, -EINVAL, "the prompt is not UTF-8");
    if (strspn(sf_buf_str(asked), " \t\r\n\v\f") == asked->len)
        return sf_err_set(err, -ENODATA, "what is the question?");
    return 0;
}

static bool
is_set(const struct sf_chat_front *f)
{
    return f->provider || f->model || f->system || f->continues || f->temperature >= 0 ||
           f->max_tokens >= 0 || f->thinking >= 0 || f->dry_run >= 0;
}

int
chat_prompt(struct chat_line *l, int in, struct sf_buf *out, struct sf_buf *asked,
            struct sf_err *err)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct sf_chat_front own;
    size_t body = 0;
    int rc = compose(l->question, in, &text, err);
    if (rc)
        return rc;
    while (text.len && text.data[text.len - 1] == '\n')
        sf_buf_truncate(&text, text.len - 1);
    sf_chat_front_init(&own);
    rc = sf_chat_front_parse(sf_buf_str(&text), text.len, true, &own, &body, err);
    if (!rc)
        rc = sf_chat_front_under(&l->front, &own);
    sf_chat_front_fini(&own);
    if (!rc)
        rc = sf_buf_append(asked, sf_buf_str(&text) + body, text.len - body);
    if (!rc)
        rc = check(asked, err);
    /* Behind front matter stands anything; without, the question may look like some. */
    if (!rc && (body || is_set(&l->front)))
        rc = sf_chat_front_print(&l->front, out);
    return rc ? rc : sf_buf_append(out, asked->data, asked->len);
}
