/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_FAKE_STORAGE_INTERNAL_H
#define SF_TESTS_FAKE_STORAGE_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "fake-storage.h"

/* What the files of the fake storage share. */

extern pthread_mutex_t fake_lock;

/* Count the request, wait at the gate; returns with the lock and the fault of this request or -1.
 */
int fake_enter(enum fake_op op, int *code);
/* The answer; gives the lock back. */
int fake_leave(enum fake_op op, int rc, int fault, int code, struct sf_err *err);

/* May so many bytes be stored there? 0, -ENOENT, -EFBIG, -EEXIST. */
int fake_check_locked(const char *bucket, const char *key, uint64_t size, bool upsert);
unsigned fake_version_locked(void); /* a new one */
struct fake_object *fake_store_locked(const char *bucket, const char *key, const void *data,
                                      size_t len, unsigned as, const char *what);

#endif
