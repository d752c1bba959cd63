/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "reqlog.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define RING     4096u
#define KINDS    64u
#define TEXT_MAX 4096u
#define BODY_MAX 4096u

/* One request; the texts lie behind each other in one allocation. */
struct entry {
    uint64_t seq; /* 0 = empty */
    const char *kind, *method;
    const char *path, *query, *range, *request_id; /* within texts; NULL = none */
    char *texts;
    char *body;
    size_t body_len;
    const char *role;
    int64_t start_ns, duration_ns;
    int64_t wall_ms;
    uint64_t request_bytes, reply_bytes;
    int status;
    bool upsert, duplicate, fault, answered;
};

struct count {
    const char *kind;
    uint64_t n;
};

struct ds_log {
    pthread_mutex_t lock; /* protects all below */
    uint64_t last_seq;
    uint64_t first_seq; /* requests before it were cleared */
    uint64_t request_bytes, reply_bytes;
    struct count counts[KINDS];
    struct entry ring[RING];
};

struct ds_log *
ds_log_new(void)
{
    struct ds_log *log = calloc(1, sizeof *log);
    if (!log)
        return NULL;
    pthread_mutex_init(&log->lock, NULL);
    log->first_seq = 1;
    return log;
}

static void
entry_fini(struct entry *entry)
{
    free(entry->texts);
    free(entry->body);
    *entry = (struct entry){0};
}

void
ds_log_free(struct ds_log *log)
{
    if (!log)
        return;
    for (size_t i = 0; i < RING; i++)
        entry_fini(&log->ring[i]);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

static void
count_locked(struct ds_log *log, const char *kind)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (!log->counts[i].kind)
            log->counts[i].kind = kind;
        if (strcmp(log->counts[i].kind, kind) == 0) {
            log->counts[i].n++;
            return;
        }
    }
}

/* Appends a text that may be NULL, cut to a sane length. */
static const char *
keep(char **at, const char *text, size_t len)
{
    if (!text)
        return NULL;
    char *copy = *at;
    memcpy(copy, text, len);
    copy[len] = '\0';
    *at += len + 1;
    return copy;
}

static size_t
cut(const char *text)
{
    return text ? strnlen(text, TEXT_MAX) : 0;
}

uint64_t
ds_log_arrived(struct ds_log *log, const struct ds_log_arrival *arrival)
{
    size_t path = cut(arrival->path), query = cut(arrival->query), range = cut(arrival->range);
    size_t id = cut(arrival->request_id), method = strlen(arrival->method);
    struct entry fresh = {
        .kind = arrival->kind,
        .start_ns = ds_tick_ns(),
        .wall_ms = ds_now_ms(),
        .role = "none",
        .upsert = arrival->upsert,
        .duplicate = arrival->duplicate,
        .texts = malloc(path + query + range + id + method + 5),
    };
    char *at = fresh.texts;
    if (at) {
        fresh.method = keep(&at, arrival->method, method);
        fresh.path = keep(&at, arrival->path, path);
        fresh.query = keep(&at, arrival->query, query);
        fresh.range = keep(&at, arrival->range, range);
        fresh.request_id = keep(&at, arrival->request_id, id);
    }
    pthread_mutex_lock(&log->lock);
    fresh.seq = ++log->last_seq;
    count_locked(log, arrival->kind);
    struct entry *slot = &log->ring[fresh.seq % RING];
    struct entry old = *slot;
    *slot = fresh;
    pthread_mutex_unlock(&log->lock);
    entry_fini(&old);
    return fresh.seq;
}

void
ds_log_answered(struct ds_log *log, uint64_t seq, const struct ds_log_outcome *outcome)
{
    char *body = NULL;
    size_t body_len = outcome->body_len < BODY_MAX ? outcome->body_len : BODY_MAX;
    if (outcome->body && body_len > 0 && (body = malloc(body_len)))
        memcpy(body, outcome->body, body_len);
    pthread_mutex_lock(&log->lock);
    if (seq >= log->first_seq) {
        log->request_bytes += outcome->request_bytes;
        log->reply_bytes += outcome->reply_bytes;
    }
    struct entry *entry = &log->ring[seq % RING];
    if (entry->seq == seq) {
        free(entry->body);
        entry->body = body;
        entry->body_len = body ? body_len : 0;
        body = NULL;
        entry->role = outcome->role;
        entry->duration_ns = ds_tick_ns() - entry->start_ns;
        entry->request_bytes = outcome->request_bytes;
        entry->reply_bytes = outcome->reply_bytes;
        entry->status = outcome->status;
        entry->fault = outcome->fault;
        entry->answered = true;
    }
    pthread_mutex_unlock(&log->lock);
    free(body);
}

void
ds_log_clear(struct ds_log *log)
{
    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; i < RING; i++)
        entry_fini(&log->ring[i]);
    memset(log->counts, 0, sizeof log->counts);
    log->first_seq = log->last_seq + 1;
    log->request_bytes = log->reply_bytes = 0;
    pthread_mutex_unlock(&log->lock);
}

static void
write_text(struct ds_buf *out, const char *name, const char *text)
{
    ds_buf_addf(out, ",\"%s\":", name);
    if (text && !ds_utf8_valid(text, strlen(text)))
        text = "(not UTF-8)";
    ds_buf_add_json(out, text);
}

static void
write_entry(struct ds_buf *out, const struct entry *entry)
{
    ds_buf_addf(out, "{\"seq\":%llu,\"time\":", (unsigned long long)entry->seq);
    ds_buf_add_json_time(out, entry->wall_ms);
    write_text(out, "kind", entry->kind);
    write_text(out, "method", entry->method);
    write_text(out, "path", entry->path);
    write_text(out, "query", entry->query);
    if (entry->answered)
        ds_buf_addf(out, ",\"status\":%d", entry->status);
    else
        ds_buf_adds(out, ",\"status\":null");
    write_text(out, "role", entry->role);
    ds_buf_addf(out, ",\"request_bytes\":%llu,\"reply_bytes\":%llu,\"ms\":%.3f",
                (unsigned long long)entry->request_bytes, (unsigned long long)entry->reply_bytes,
                (double)entry->duration_ns / 1e6);
    write_text(out, "range", entry->range);
    ds_buf_addf(out, ",\"upsert\":%s,\"duplicate\":%s,\"fault\":%s",
                entry->upsert ? "true" : "false", entry->duplicate ? "true" : "false",
                entry->fault ? "true" : "false");
    write_text(out, "request_id", entry->request_id);
    ds_buf_adds(out, ",\"body\":");
    if (entry->body && ds_utf8_valid(entry->body, entry->body_len))
        ds_buf_add_json_n(out, entry->body, entry->body_len);
    else
        ds_buf_adds(out, "null");
    ds_buf_adds(out, "}");
}

void
ds_log_write(struct ds_log *log, uint64_t since, bool counts_only, struct ds_buf *out)
{
    pthread_mutex_lock(&log->lock);
    uint64_t total = log->last_seq + 1 - log->first_seq;
    ds_buf_addf(out, "{\"total\":%llu,\"last\":%llu,\"request_bytes\":%llu,\"reply_bytes\":%llu",
                (unsigned long long)total, (unsigned long long)log->last_seq,
                (unsigned long long)log->request_bytes, (unsigned long long)log->reply_bytes);
    ds_buf_adds(out, ",\"counts\":{");
    for (size_t i = 0; i < KINDS && log->counts[i].kind; i++) {
        ds_buf_adds(out, i > 0 ? "," : "");
        ds_buf_add_json(out, log->counts[i].kind);
        ds_buf_addf(out, ":%llu", (unsigned long long)log->counts[i].n);
    }
    ds_buf_adds(out, "}");
    if (!counts_only) {
        uint64_t first = since + 1 > log->first_seq ? since + 1 : log->first_seq;
        if (log->last_seq >= RING && first < log->last_seq - RING + 1)
            first = log->last_seq - RING + 1;
        ds_buf_addf(out, ",\"first\":%llu,\"entries\":[", (unsigned long long)first);
        for (uint64_t seq = first; seq <= log->last_seq; seq++) {
            const struct entry *entry = &log->ring[seq % RING];
            if (entry->seq != seq)
                continue;
            ds_buf_adds(out, seq > first ? "," : "");
            write_entry(out, entry);
        }
        ds_buf_adds(out, "]");
    }
    ds_buf_adds(out, "}");
    pthread_mutex_unlock(&log->lock);
}
