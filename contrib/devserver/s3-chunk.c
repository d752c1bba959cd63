/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3-chunk.h"

#include <errno.h>

#define DIGITS_MAX     12
#define CHUNK_LINE_MAX 1024

static int
digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte outside of the data. */
static int
take_byte(struct ds_s3_chunk *chunk, char c)
{
    switch (chunk->state) {
    case DS_CHUNK_SIZE:
        if (digit(c) >= 0 && chunk->digits < DIGITS_MAX) {
            chunk->left = chunk->left * 16 + (unsigned)digit(c);
            chunk->digits++;
            return 0;
        }
        if (chunk->digits == 0 || (c != ';' && c != '\r'))
            return -EBADMSG;
        chunk->state = DS_CHUNK_REST;
        chunk->line = 0;
        return 0;
    case DS_CHUNK_REST:
        if (c != '\n')
            return ++chunk->line > CHUNK_LINE_MAX ? -EBADMSG : 0;
        chunk->last = chunk->left == 0;
        chunk->state = chunk->last ? DS_CHUNK_TRAILER : DS_CHUNK_DATA;
        return 0;
    case DS_CHUNK_END:
        if (c == '\r')
            return 0;
        if (c != '\n')
            return -EBADMSG;
        chunk->state = DS_CHUNK_SIZE;
        chunk->left = chunk->digits = 0;
        return 0;
    case DS_CHUNK_TRAILER:
    case DS_CHUNK_DATA:
        break;
    }
    return 0;
}

long
ds_s3_chunk_next(struct ds_s3_chunk *chunk, const char **data, size_t *len, const char **piece)
{
    while (*len > 0) {
        if (chunk->state == DS_CHUNK_DATA) {
            size_t n = chunk->left < *len ? (size_t)chunk->left : *len;
            *piece = *data;
            *data += n;
            *len -= n;
            chunk->left -= n;
            if (chunk->left == 0)
                chunk->state = DS_CHUNK_END;
            return (long)n;
        }
        int rc = take_byte(chunk, **data);
        if (rc < 0)
            return rc;
        (*data)++;
        (*len)--;
    }
    return 0;
}
