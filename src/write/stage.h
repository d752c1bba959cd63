/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_STAGE_H
#define SF_WRITE_STAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "write/extents.h"

struct sf_writer;

/*
 * Internal to src/write: one file below staging/. It says itself what it is, for the start after a
 * kill: the extended attribute user.supafs.target is "bucket/key", user.supafs.clean is there when
 * nothing would be lost with it, user.supafs.partial when bytes of an object were not fetched,
 * which read as zeros. Where there are no such attributes, a file NAME.target holds the target.
 * Counted references; the file is removed with the last one unless it was moved or kept.
 *
 * Only sf_stage_ref(), _unref(), `held` and reading `fd` are thread-safe; the rest is done by who
 * holds the content's io lock, or by the only owner.
 */
struct sf_stage {
    _Atomic unsigned refs;
    int fd; /* O_RDWR */
    struct sf_writer *w;
    char *path;
    bool sidecar;          /* NAME.target exists */
    bool clean;            /* marked so */
    bool kept;             /* the file stays when this goes */
    _Atomic unsigned held; /* so it does: so many records of the journal name it */
    bool moved;            /* to quarantine/; path is there */
    unsigned lent;         /* to who reads it for the cache: it is not changed meanwhile */
    /* Which bytes are there; the content's lock protects them, changes are made under its io lock,
     * too. */
    bool whole; /* all */
    struct sf_extents present;
};

#define SF_STAGE_TARGET  "user.supafs.target"
#define SF_STAGE_CLEAN   "user.supafs.clean"
#define SF_STAGE_PARTIAL "user.supafs.partial"
#define SF_STAGE_SIDECAR ".target"

/* A new empty file. 0 or -errno. */
int sf_stage_new(struct sf_writer *w, const char *bucket, const char *key, struct sf_stage **ret,
                 struct sf_err *err);
/* A file that is there already. */
int sf_stage_adopt(struct sf_writer *w, const char *path, struct sf_stage **ret);
struct sf_stage *sf_stage_ref(struct sf_stage *s);
void sf_stage_unref(struct sf_stage *s); /* may be NULL */

/* Say whose bytes these are. 0, or -errno when neither attribute nor file could be written. */
int sf_stage_target(struct sf_stage *s, const char *bucket, const char *key);
/* What sf_stage_target() said, malloc'd "bucket/key"; NULL when nothing did. */
char *sf_stage_target_read(const struct sf_stage *s);

/* Nothing is lost with this file. Best effort: without the mark it is kept needlessly. */
void sf_stage_mark_clean(struct sf_stage *s);
/* It is needed again. 0 or -errno. */
int sf_stage_mark_dirty(struct sf_stage *s);
bool sf_stage_is_marked_clean(const struct sf_stage *s);

/* Bytes are missing, or no longer. Best effort. */
void sf_stage_mark_partial(struct sf_stage *s, bool partial);
bool sf_stage_is_marked_partial(const struct sf_stage *s);

/* Copy the first @size bytes of @from over: shares blocks where the disk can, keeps holes. */
int sf_stage_copy(struct sf_stage *to, const struct sf_stage *from, uint64_t size);

/* Copy @len bytes to another place. */
int sf_stage_copy_range(struct sf_stage *to, uint64_t to_off, const struct sf_stage *from,
                        uint64_t off, uint64_t len);

/* The file has been moved to @path and stays there; its attributes have gone with it.
 * @path: malloc'd, taken. */
void sf_stage_moved(struct sf_stage *s, char *path);
/* The file stays where it is when the last reference goes. */
void sf_stage_keep(struct sf_stage *s);

#endif
