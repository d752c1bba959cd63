/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"

#define CHUNK (256 * 1024)

static EVP_MD_CTX *
begin(const EVP_MD *md)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx && EVP_DigestInit_ex(ctx, md, NULL))
        return ctx;
    EVP_MD_CTX_free(ctx); /* a system that forbids MD5, or no memory */
    return NULL;
}

void
sf_digest_fini(struct sf_digest *d)
{
    EVP_MD_CTX_free(d->sha256);
    EVP_MD_CTX_free(d->md5);
    *d = (struct sf_digest){0};
}

void
sf_digest_write(struct sf_digest *d, const void *buf, size_t len, uint64_t off)
{
    if (!len || d->broken)
        return;
    if (off != d->pos) {
        d->broken = true;
        return;
    }
    if (!d->pos) {
        d->sha256 = begin(EVP_sha256());
        d->md5 = begin(EVP_md5());
    }
    d->pos += len;
    if (!d->sha256 || !EVP_DigestUpdate(d->sha256, buf, len) ||
        (d->md5 && !EVP_DigestUpdate(d->md5, buf, len)))
        d->broken = true;
}

/* Ends @ctx. The digest's length or 0. */
static unsigned
finish(EVP_MD_CTX *ctx, unsigned char md[EVP_MAX_MD_SIZE])
{
    unsigned len = 0;
    return EVP_DigestFinal_ex(ctx, md, &len) ? len : 0;
}

/* Ends both; @md5 may be NULL. */
static bool
result(EVP_MD_CTX *sha256, EVP_MD_CTX *md5, struct sf_digests *ret)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    if (!sha256 || finish(sha256, md) != 32)
        return false;
    sf_hex_encode(md, 32, ret->sha256);
    ret->md5_etag[0] = '\0';
    if (!md5)
        return true;
    if (finish(md5, md) != 16)
        return false;
    ret->md5_etag[0] = '"';
    sf_hex_encode(md, 16, ret->md5_etag + 1);
    ret->md5_etag[33] = '"';
    ret->md5_etag[34] = '\0';
    return true;
}

static EVP_MD_CTX *
copy(const EVP_MD_CTX *ctx)
{
    EVP_MD_CTX *c = ctx ? EVP_MD_CTX_new() : NULL;
    if (!c || EVP_MD_CTX_copy_ex(c, ctx))
        return c;
    EVP_MD_CTX_free(c);
    return NULL;
}

bool
sf_digest_result(const struct sf_digest *d, uint64_t size, struct sf_digests *ret)
{
    if (d->broken || !size || d->pos != size)
        return false;
    struct sf_digest c = {copy(d->sha256), copy(d->md5), 0, false};
    bool ok = !c.md5 == !d->md5 && result(c.sha256, c.md5, ret);
    sf_digest_fini(&c);
    return ok;
}

int
sf_digest_file(int fd, uint64_t size, struct sf_digests *ret)
{
    sf_defer(sf_digest_fini) struct sf_digest d = {0};
    sf_autofree unsigned char *buf = malloc(CHUNK);
    d.sha256 = begin(EVP_sha256());
    d.md5 = begin(EVP_md5());
    if (!buf || !d.sha256)
        return -ENOMEM;
    for (uint64_t off = 0; off < size;) {
        size_t want = size - off < CHUNK ? (size_t)(size - off) : CHUNK;
        ssize_t n = sf_pread_full(fd, buf, want, (off_t)off);
        if (n < 0)
            return (int)n;
        if ((size_t)n < want || !EVP_DigestUpdate(d.sha256, buf, want) ||
            (d.md5 && !EVP_DigestUpdate(d.md5, buf, want)))
            return -EIO;
        off += want;
    }
    return result(d.sha256, d.md5, ret) ? 0 : -EIO;
}
