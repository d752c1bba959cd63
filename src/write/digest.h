/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_DIGEST_H
#define SF_WRITE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Internal to src/write: SHA-256 and MD5 of a content. */

struct sf_digests {
    char sha256[65];   /* lower-case hex */
    char md5_etag[36]; /* as an ETag, with quotes; "" where libcrypto has no MD5 */
};

/* The digests while bytes come in order from the beginning; any other order breaks them. Zeroed =
 * nothing yet. Not thread-safe. */
struct sf_digest {
    struct evp_md_ctx_st *sha256, *md5;
    uint64_t pos; /* bytes taken in */
    bool broken;  /* they are not what the file holds */
};

void sf_digest_fini(struct sf_digest *d);
/* Bytes were written at @off. */
void sf_digest_write(struct sf_digest *d, const void *buf, size_t len, uint64_t off);
/* Of a file of @size bytes: true and *ret, or false when a pass is needed. May go on afterwards. */
bool sf_digest_result(const struct sf_digest *d, uint64_t size, struct sf_digests *ret);

/* One pass over the first @size bytes of a file. 0; -EIO fewer bytes; -ENOMEM; -errno. */
int sf_digest_file(int fd, uint64_t size, struct sf_digests *ret);

#endif
