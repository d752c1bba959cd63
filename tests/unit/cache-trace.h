/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_CACHE_TRACE_H
#define SF_TESTS_CACHE_TRACE_H

#include "base/vec.h"

#include <stdint.h>

/* A trace of tests/traces (README.md there). */
struct trace_file {
    uint64_t size;
    unsigned dir;
};

struct trace_read {
    int64_t ms;
    unsigned file;
};

SF_VEC_DEFINE(trace_files, struct trace_file);
SF_VEC_DEFINE(trace_reads, struct trace_read);

struct trace {
    struct trace_files files;
    struct trace_reads reads;
    unsigned dirs;
};

/* Read $top_srcdir/tests/traces/NAME.trace; ends the test when it is not one. */
void trace_load(struct trace *t, const char *name);
void trace_fini(struct trace *t);

#endif
