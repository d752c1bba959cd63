/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_REQLOG_H
#define DS_REQLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

/* What was asked: counts by kind, and the last requests in a ring. Thread-safe. */
struct ds_log;

/* What is known when a request arrives; strings are copied. NULL = not given. */
struct ds_log_arrival {
    const char *kind; /* static */
    const char *method;
    const char *path; /* decoded, below the API's prefix */
    const char *query;
    const char *range;
    const char *request_id;
    bool upsert;
    bool duplicate; /* sent by this server itself */
};

struct ds_log_outcome {
    int status;       /* 0 = no reply (reset, or the client went away) */
    const char *role; /* static */
    const char *body; /* of JSON routes; copied up to a limit */
    size_t body_len;
    uint64_t request_bytes;
    uint64_t reply_bytes;
    bool fault;
};

struct ds_log *ds_log_new(void);
void ds_log_free(struct ds_log *log);

/* Returns the request's number. */
uint64_t ds_log_arrived(struct ds_log *log, const struct ds_log_arrival *arrival);

/* Before the reply's first byte, so that a client that has its reply finds it logged. */
void ds_log_answered(struct ds_log *log, uint64_t seq, const struct ds_log_outcome *outcome);

void ds_log_clear(struct ds_log *log);

/* JSON with counts and the entries after number `since`. */
void ds_log_write(struct ds_log *log, uint64_t since, bool counts_only, struct ds_buf *out);

#endif
