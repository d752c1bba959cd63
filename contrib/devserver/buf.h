/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_BUF_H
#define DS_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A growing byte string, for JSON replies that are written in one pass. Running out of memory sets
 * `failed` and turns all further calls into no-ops; the caller looks once, at the end.
 */
struct ds_buf {
    char *data; /* NUL-terminated when not NULL */
    size_t len;
    size_t size;
    bool failed;
};

#define DS_BUF_INIT ((struct ds_buf){0})

void ds_buf_fini(struct ds_buf *buf);
void ds_buf_fini_at_exit(struct ds_buf *buf);
#define ds_autobuf __attribute__((cleanup(ds_buf_fini_at_exit))) struct ds_buf

void ds_buf_add(struct ds_buf *buf, const void *bytes, size_t len);
void ds_buf_adds(struct ds_buf *buf, const char *text);
__attribute__((format(printf, 2, 3))) void ds_buf_addf(struct ds_buf *buf, const char *fmt, ...);

/* A JSON string with its quotes; NULL becomes null. */
void ds_buf_add_json(struct ds_buf *buf, const char *text);
void ds_buf_add_json_n(struct ds_buf *buf, const char *text, size_t len);

/* "2026-11-21T04:05:19.770Z" with its quotes. */
void ds_buf_add_json_time(struct ds_buf *buf, int64_t ms);

/* The text, owned by the caller; NULL when memory ran out. *len may be NULL. */
char *ds_buf_take(struct ds_buf *buf, size_t *len);

#endif
