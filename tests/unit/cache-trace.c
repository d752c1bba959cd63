/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache-trace.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    struct trace *t;
    const char *name;
    unsigned line;
    int64_t now, pace;
};

__attribute__((noreturn)) static void
broken(const struct reader *r)
{
    fprintf(stderr, "tests/traces/%s.trace:%u: not understood\n", r->name, r->line);
    exit(1);
}

static uint64_t
number(const struct reader *r, const char *s, char **end)
{
    if (*s < '0' || *s > '9')
        broken(r);
    return strtoull(s, end, 10);
}

static void
read_token(struct reader *r, const char *s)
{
    char *end;
    if (*s == '+') {
        r->now += (int64_t)number(r, s + 1, &end);
        return;
    }
    uint64_t first = number(r, s, &end), last = *end == '-' ? number(r, end + 1, &end) : first;
    if (*end || last >= r->t->files.len)
        broken(r);
    for (; first <= last; first++) {
        struct trace_read read = {r->now, (unsigned)first};
        if (trace_reads_push(&r->t->reads, read))
            abort();
        r->now += r->pace;
    }
}

static void
read_line(struct reader *r, char *line)
{
    char *end, *save, *token = strtok_r(line, " \n", &save);
    uint64_t size, n = 1;
    if (!token || !token[0] || token[1])
        broken(r);
    char *value = strtok_r(NULL, " \n", &save);
    switch (token[0]) {
    case 'd':
        r->t->dirs++;
        return;
    case 'f':
        size = number(r, value ? value : "", &end);
        value = strtok_r(NULL, " \n", &save);
        if (value)
            n = number(r, value, &end);
        for (; n; n--)
            if (trace_files_push(&r->t->files, (struct trace_file){size, r->t->dirs - 1}))
                abort();
        return;
    case 'p':
        r->pace = (int64_t)number(r, value ? value : "", &end);
        return;
    case 'r':
        for (; value; value = strtok_r(NULL, " \n", &save))
            read_token(r, value);
        return;
    default:
        broken(r);
    }
}

void
trace_load(struct trace *t, const char *name)
{
    char path[4096], line[1024];
    const char *top = getenv("top_srcdir");
    snprintf(path, sizeof path, "%s/tests/traces/%s.trace", top ? top : ".", name);
    FILE *f = fopen(path, "re");
    if (!f) {
        perror(path);
        exit(1);
    }
    *t = (struct trace){0};
    struct reader r = {.t = t, .name = name};
    while (fgets(line, sizeof line, f)) {
        r.line++;
        read_line(&r, line);
    }
    fclose(f);
    if (t->reads.len == 0)
        broken(&r);
}

void
trace_fini(struct trace *t)
{
    trace_files_fini(&t->files);
    trace_reads_fini(&t->reads);
}
