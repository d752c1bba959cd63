/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_S3_CHUNK_H
#define DS_S3_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The bytes within an aws-chunked body: "SIZE;chunk-signature=...\r\n", so many bytes, "\r\n", and
 * so on until size 0; then perhaps lines of a trailer. The signatures are not looked at, as the
 * service does not look at the hash of a body.
 */
struct ds_s3_chunk {
    enum { DS_CHUNK_SIZE, DS_CHUNK_REST, DS_CHUNK_DATA, DS_CHUNK_END, DS_CHUNK_TRAILER } state;
    uint64_t left;   /* of the chunk; its size while that is read */
    unsigned digits; /* of the size */
    size_t line;     /* bytes of the line that is skipped */
    bool last;       /* the chunk of size 0 has come */
};

/**
 * ds_s3_chunk_next - the next piece of data.
 * @data: moved behind what was taken; @len: what is left of it.
 * @piece: within data; @return its length, 0 when all of data was taken without one, or -EBADMSG.
 */
long ds_s3_chunk_next(struct ds_s3_chunk *chunk, const char **data, size_t *len,
                      const char **piece);

/* Whether the body is whole. */
static inline bool
ds_s3_chunk_done(const struct ds_s3_chunk *chunk)
{
    return chunk->last;
}

#endif
