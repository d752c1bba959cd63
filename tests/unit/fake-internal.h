/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_FAKE_INTERNAL_H
#define SF_TESTS_FAKE_INTERNAL_H

#include <stdint.h>

#include "fake-project.h"

/* What the two halves of the fake project share: its objects, and one lock over all of it, which
 * its owner may take again. It is never held while something of the tree is called. */

struct object {
    char bucket[64], key[300], id[37], etag[64], mime[64], cache[300];
    char *meta; /* NULL = {} */
    char *text;
    size_t size;
    int64_t time_ns;
};

void fake_lock(void);
void fake_unlock(void);

static inline void
fake_unlock_at_exit(int *unused)
{
    (void)unused;
    fake_unlock();
}

#define FAKE_GUARD()                                                                               \
    __attribute__((cleanup(fake_unlock_at_exit), unused)) int fake_guard = (fake_lock(), 0)

struct object *fake_find(const char *bucket, const char *key);
/* The first object at or behind a key; objects follow each other in order. NULL = none. */
struct object *fake_first(const char *bucket, const char *key);
struct object *fake_end(void);
void fake_put_bytes(const char *bucket, const char *key, const char *data, size_t size,
                    const char *mime);
/* The error that everything shall have now; 0 = none. */
int fake_failing(void);
/* fake-attrs.c: with the lock held. */
void fake_set_mark(const char *bucket, const char *key, const char *mark);
void fake_set_xattrs(const char *bucket, const char *key, const char *changes);
/* NULL = as it is; "" = as if nobody had set it. */
void fake_set_said(const char *bucket, const char *key, const char *mime, const char *others);
/* Nothing of the writer is left. */
void fake_writer_reset(void);

#endif
