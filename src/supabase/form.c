/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/str.h"
#include "supabase/change.h"

/* An upload as multipart/form-data: fields first, the file last, as the service wants them. */

static int
field(struct sf_buf *b, const char *boundary, const char *name, const char *value)
{
    if (!value)
        return 0;
    return sf_buf_printf(b, "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n",
                         boundary, name, value);
}

/* A content type becomes a line of the body: it must not end that line. */
static bool
is_line(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

/* What stands before the file's bytes, and behind them. */
static int
frame(const struct sf_put_args *a, const char *boundary, struct sf_buf *head, struct sf_buf *tail)
{
    const char *mime = a->mime ? a->mime : "application/octet-stream";
    int rc = field(head, boundary, "cacheControl", sf_cache_control_seconds(a->cache_control));
    if (rc == 0)
        rc = field(head, boundary, "metadata", a->metadata);
    /* The file's own type loses its parameters (charset) on the way; this one does not. */
    if (rc == 0)
        rc = field(head, boundary, "contentType", mime);
    if (rc == 0)
        rc = sf_buf_printf(head,
                           "--%s\r\nContent-Disposition: form-data; name=\"file\"; "
                           "filename=\"file\"\r\nContent-Type: %s\r\n\r\n",
                           boundary, mime);
    return rc < 0 ? rc : sf_buf_printf(tail, "\r\n--%s--\r\n", boundary);
}

static void
add_form(struct sf_change *c, const struct sf_put_args *a)
{
    unsigned char random[16];
    char boundary[8 + 2 * sizeof random + 1] = "supafs--", type[80];
    struct sf_buf head = SF_BUF_INIT, tail = SF_BUF_INIT;
    /* Nobody can have put a random line into the file. */
    int rc = sf_random_bytes(random, sizeof random);
    sf_hex_encode(random, sizeof random, boundary + 8);
    if (rc == 0)
        rc = frame(a, boundary, &head, &tail);
    if (rc < 0)
        sf_call_fail(&c->call, rc, "cannot make the form");
    snprintf(type, sizeof type, "multipart/form-data; boundary=%s", boundary);
    sf_call_header(&c->call, "Content-Type", type);
    sf_change_body(c, a->fd, 0, a->size, a->progress);
    if (c->call.err.code) {
        sf_buf_fini(&head);
        sf_buf_fini(&tail);
    } else {
        sf_http_req_body_frame(c->call.req, head.data, head.len, tail.data, tail.len);
    }
}

int
sf_storage_put_form_wait(struct sf_storage *st, const struct sf_put_args *args, int64_t deadline_ms,
                         char id[40], struct sf_err *err)
{
    int rc;
    char told[40] = "";
    size_t n = args->metadata ? strlen(args->metadata) : 0;
    struct sf_change *c =
        sf_change_begin_put(st, SF_C_CALLS_FORM, args, deadline_ms, told, &rc, err);
    if (!c)
        return rc;
    if (n > SF_METADATA_FORM_MAX)
        sf_call_fail(&c->call, -ENOTSUP,
                     "%zu bytes of user metadata are more than the %d that a form can carry", n,
                     SF_METADATA_FORM_MAX);
    if (args->mime && !is_line(args->mime))
        sf_call_fail(&c->call, -EINVAL, "not a content type");
    add_form(c, args);
    rc = sf_change_finish(c, err);
    if (rc == 0)
        memcpy(id, told, sizeof told);
    return rc;
}
