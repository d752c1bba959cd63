/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_SAVED_FORMAT_H
#define SF_TREE_SAVED_FORMAT_H

#include "base/buf.h"
#include "tree/words.h"
#include "write/mark.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What is kept of a directory between mounts: docs/formats/listings.md. Pure functions of bytes;
 * the readers take anything.
 */
#define SAVED_ROWS       1000  /* rows of one page at most */
#define SAVED_LARGE      1000  /* more rows than one answer of the service has */
#define SAVED_PAGE_BYTES 49152 /* a page ends when it has so many */
#define SAVED_COMP_MAX   1024  /* bytes of a component */
#define SAVED_ETAG_MAX   135   /* bytes */
#define SAVED_MIMES_MAX  16384 /* bytes of a bucket's types */
#define SAVED_PAGES_MAX  (1u << 20)
#define SAVED_KEY_LEN    21
#define SAVED_NO_TIME    INT64_MIN

/* Attributes: the service's times where the mark has none of its own. */
struct saved_attrs {
    int64_t mtime_ns, ctime_ns; /* SAVED_NO_TIME = not known */
    bool marked;                /* @mark was on the object */
    struct sf_mark mark;        /* its mtime and ctime, if valid, are those above */
};

enum saved_row_kind { SAVED_OBJECT, SAVED_FOLDER, SAVED_BUCKET };

struct saved_row {
    enum saved_row_kind kind;
    char comp[SAVED_COMP_MAX + 1]; /* key component, or a bucket's id */
    int64_t checked_ns;            /* 0 = the head's */
    /* objects */
    char id[37];                   /* "" = not known */
    char etag[SAVED_ETAG_MAX + 1]; /* "" = not known */
    bool etag_open;                /* only a guess */
    bool symlink;
    uint8_t special;         /* of a fifo, socket or device: DT_* of readdir(3); else 0 */
    uint64_t size;           /* bytes; of a bucket its limit */
    char mime[WORD_MAX + 1]; /* "" = not known */
    bool cache_control_known;
    char cache_control[WORD_MAX + 1]; /* what others than us say in it */
    struct saved_attrs attrs;
    const char *mimes; /* buckets: each with its NUL; in the page's bytes */
    size_t mimes_len;  /* 0 = all types */
};

struct saved_head {
    bool listing;     /* there are pages */
    bool complete;    /* and they have all names */
    bool attrs_known; /* of the directory itself */
    bool placeholder; /* a marker object keeps it */
    uint64_t seq;     /* its place among all, by age */
    uint64_t rows, bytes;
    char boot[37];      /* of the clock of the times below */
    int64_t checked_ns; /* when the question was asked; CLOCK_BOOTTIME; 0 = of unknown age */
    int64_t attrs_ns;   /* the same of the attributes */
    int64_t taken_ns;   /* when it was put together */
    uint32_t uid, gid;  /* the mount's defaults, which stand for attributes that are not there */
    struct saved_attrs attrs;
    uint32_t pages;
    const uint64_t *sums; /* of each page; in memory of the caller */
};

/* Which table of names: directories as seen with and without marks, the buckets, one bucket. */
enum saved_kind { SAVED_DIR = 'd', SAVED_PLAIN = 'p', SAVED_BUCKETS = 'b', SAVED_ONE_BUCKET = 'o' };

/* A directory's number; also its place in the table of changes. */
struct saved_id {
    uint8_t hash[16];
};
void saved_id_of(enum saved_kind kind, const char *bucket, const char *prefix,
                 struct saved_id *out);
/* Page 0 is the head, pages of rows are numbered from 1 on. */
void saved_key(const struct saved_id *id, uint32_t page, uint8_t out[SAVED_KEY_LEN]);

/* A page: begin, add rows until it is full, seal. 0 or -ENOMEM; -ENAMETOOLONG: a row that does not
 * fit the format, which was left out. */
int saved_page_begin(struct sf_buf *out);
int saved_page_add(struct sf_buf *out, const struct saved_row *row);
bool saved_page_full(const struct sf_buf *page, unsigned rows);
/* @sum: what the head says of it. */
int saved_page_seal(struct sf_buf *page, uint64_t *sum);

struct saved_reader {
    const uint8_t *p, *end;
};
/* 0, or -EUCLEAN: no page, or another one than @sum is of. */
int saved_page_open(const void *data, size_t len, uint64_t sum, struct saved_reader *r);
/* 1 and a row, 0 at the end, -EUCLEAN. */
int saved_page_next(struct saved_reader *r, struct saved_row *row);

/* 0 or -ENOMEM. */
int saved_head_format(const struct saved_head *h, const char *bucket, const char *prefix,
                      struct sf_buf *out);
/* Returns 0; -ENOENT it is of another directory (NULL = any); -EUCLEAN; -ENOMEM. @sums: for free().
 */
int saved_head_parse(const void *data, size_t len, const char *bucket, const char *prefix,
                     struct saved_head *h, uint64_t **sums);

#endif
