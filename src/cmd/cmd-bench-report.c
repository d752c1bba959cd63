/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/bench.h"

#include <inttypes.h>
#include <jansson.h>

#define MIB 1048576.0

static void
format_time(char out[16], double seconds)
{
    if (seconds >= 1)
        snprintf(out, 16, "%.2f s", seconds);
    else if (seconds >= 1e-3)
        snprintf(out, 16, "%.1f ms", seconds * 1e3);
    else
        snprintf(out, 16, "%.1f us", seconds * 1e6);
}

static void
format_count(char out[24], int64_t n, double unit)
{
    if (n < 0)
        snprintf(out, 24, "-");
    else if (unit > 1)
        snprintf(out, 24, "%.2f", (double)n / unit);
    else
        snprintf(out, 24, "%" PRId64, n);
}

void
bench_print_table(const struct bench *b, const struct bench_result *results, FILE *to)
{
    fprintf(to, "%s (%s)\n\n%-14s %5s %8s %10s %10s %9s %9s %12s %9s\n", b->dir,
            *b->mount.type ? b->mount.type : "?", "row", "cold", "count", "time", "each", "MiB/s",
            "requests", "MiB fetched", "MiB sent");
    for (unsigned i = 0; i < bench_n_rows; i++) {
        const struct bench_result *r = &results[i];
        char time[16], each[16], requests[24], fetched[24], sent[24];
        double seconds = (double)r->took_ns / 1e9;
        if (!r->operations)
            continue;
        format_time(time, seconds);
        format_time(each, seconds / (double)r->operations);
        format_count(requests, r->requests, 1);
        format_count(fetched, r->fetched, MIB);
        format_count(sent, r->sent, MIB);
        fprintf(to, "%-14s %5s %8" PRIu64 " %10s %10s %9.2f %9s %12s %9s\n", bench_rows[i].name,
                *r->cold ? r->cold : "-", r->operations, time, each,
                (double)r->bytes / MIB / seconds, requests, fetched, sent);
    }
}

static json_t *
known(int64_t n)
{
    return n < 0 ? json_null() : json_integer(n);
}

void
bench_print_json(const struct bench *b, const struct bench_result *results, FILE *to)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < bench_n_rows; i++) {
        const struct bench_result *r = &results[i];
        if (!r->operations)
            continue;
        json_t *row =
            json_pack("{s:s, s:s, s:s?, s:f, s:f, s:I, s:I}", "row", bench_rows[i].name, "what",
                      bench_rows[i].what, "cold", *r->cold ? r->cold : NULL, "started",
                      (double)r->started_ns / 1e9, "seconds", (double)r->took_ns / 1e9,
                      "operations", (json_int_t)r->operations, "bytes", (json_int_t)r->bytes);
        json_object_set_new(row, "requests", known(r->requests));
        json_object_set_new(row, "fetched_bytes", known(r->fetched));
        json_object_set_new(row, "sent_bytes", known(r->sent));
        json_array_append_new(rows, row);
    }
    json_t *root = json_pack("{s:s, s:s, s:s, s:o}", "directory", b->dir, "mountpoint",
                             b->mount.point, "type", b->mount.type, "rows", rows);
    json_dumpf(root, to, JSON_INDENT(2));
    fputc('\n', to);
    json_decref(root);
}
