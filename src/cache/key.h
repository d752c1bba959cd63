/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_KEY_H
#define SF_CACHE_KEY_H

#include <stdint.h>

/* One name of a content: these bytes, as long as the service tells the truth. All of it is known;
 * the ETag as sent, with its quotes. */
struct sf_cache_key {
    const char *bucket, *id, *etag; /* not "" */
    uint64_t size;                  /* bytes */
};

#endif
