/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

void
ds_buf_fini(struct ds_buf *buf)
{
    free(buf->data);
    *buf = DS_BUF_INIT;
}

void
ds_buf_fini_at_exit(struct ds_buf *buf)
{
    ds_buf_fini(buf);
}

static bool
reserve(struct ds_buf *buf, size_t more)
{
    size_t need;
    if (buf->failed || __builtin_add_overflow(buf->len, more, &need) ||
        __builtin_add_overflow(need, (size_t)1, &need)) {
        buf->failed = true;
        return false;
    }
    if (need <= buf->size)
        return true;
    size_t size = buf->size < 256 ? 256 : buf->size;
    while (size < need)
        size += size / 2;
    char *grown = realloc(buf->data, size);
    if (!grown) {
        buf->failed = true;
        return false;
    }
    buf->data = grown;
    buf->size = size;
    return true;
}

void
ds_buf_add(struct ds_buf *buf, const void *bytes, size_t len)
{
    if (!reserve(buf, len))
        return;
    if (len > 0)
        memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void
ds_buf_adds(struct ds_buf *buf, const char *text)
{
    ds_buf_add(buf, text, strlen(text));
}

void
ds_buf_addf(struct ds_buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n >= 0 && reserve(buf, (size_t)n)) {
        vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, again);
        buf->len += (size_t)n;
    } else {
        buf->failed = true;
    }
    va_end(again);
}

static void
add_escaped(struct ds_buf *buf, unsigned char c)
{
    switch (c) {
    case '"':
        ds_buf_add(buf, "\\\"", 2);
        break;
    case '\\':
        ds_buf_add(buf, "\\\\", 2);
        break;
    case '\n':
        ds_buf_add(buf, "\\n", 2);
        break;
    case '\t':
        ds_buf_add(buf, "\\t", 2);
        break;
    case '\r':
        ds_buf_add(buf, "\\r", 2);
        break;
    default:
        ds_buf_addf(buf, "\\u%04x", c);
    }
}

void
ds_buf_add_json_n(struct ds_buf *buf, const char *text, size_t len)
{
    ds_buf_add(buf, "\"", 1);
    size_t plain = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        ds_buf_add(buf, text + plain, i - plain);
        add_escaped(buf, c);
        plain = i + 1;
    }
    ds_buf_add(buf, text + plain, len - plain);
    ds_buf_add(buf, "\"", 1);
}

void
ds_buf_add_json(struct ds_buf *buf, const char *text)
{
    if (text)
        ds_buf_add_json_n(buf, text, strlen(text));
    else
        ds_buf_adds(buf, "null");
}

void
ds_buf_add_json_time(struct ds_buf *buf, int64_t ms)
{
    char text[DS_ISO_SIZE];
    ds_time_iso(ms, text);
    ds_buf_add(buf, "\"", 1);
    ds_buf_adds(buf, text);
    ds_buf_add(buf, "\"", 1);
}

char *
ds_buf_take(struct ds_buf *buf, size_t *len)
{
    if (!buf->failed && !buf->data)
        ds_buf_add(buf, "", 0);
    if (buf->failed) {
        ds_buf_fini(buf);
        return NULL;
    }
    char *data = buf->data;
    if (len)
        *len = buf->len;
    *buf = DS_BUF_INIT;
    return data;
}
