/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache-trace.h"
#include "policy-sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/*
 * The policy on the traces of tests/traces beside plain LRU and what knowing the future would bring
 * (Belady: the one that is needed last goes; not always the best with unequal sizes). Rates are
 * percent of reads of entries: an object of up to 64 KiB, or a chunk of 1 MiB.
 */
enum { MIB = 1 << 20, WHOLE = 64 << 10 };

struct asked {
    int64_t ms;
    unsigned entry;
    size_t next; /* time of the same entry; SIZE_MAX = never */
};

SF_VEC_DEFINE(accesses, struct asked);
SF_VEC_DEFINE(sizes, uint64_t);

struct work {
    struct accesses all;
    struct sizes entries;
    uint64_t bytes; /* of all entries that are read */
};

static void
work_load(struct work *w, const char *name)
{
    struct trace t;
    trace_load(&t, name);
    *w = (struct work){0};
    unsigned *first = calloc(t.files.len + 1, sizeof *first);
    assert_non_null(first);
    for (size_t i = 0; i < t.files.len; i++) {
        uint64_t left = t.files.data[i].size;
        first[i] = (unsigned)w->entries.len;
        do {
            uint64_t n = left > MIB ? MIB : left;
            assert_int_equal(sizes_push(&w->entries, n ? n : 1), 0);
            left -= n;
        } while (left);
    }
    first[t.files.len] = (unsigned)w->entries.len;
    SF_VEC_FOREACH (&t.reads, r)
        for (unsigned e = first[r->file]; e < first[r->file + 1]; e++)
            assert_int_equal(accesses_push(&w->all, (struct asked){r->ms, e, SIZE_MAX}), 0);
    size_t *next = malloc(w->entries.len * sizeof *next);
    assert_non_null(next);
    memset(next, 0xff, w->entries.len * sizeof *next);
    for (size_t i = w->all.len; i-- > 0;) {
        struct asked *a = &w->all.data[i];
        if (next[a->entry] == SIZE_MAX)
            w->bytes += w->entries.data[a->entry];
        a->next = next[a->entry];
        next[a->entry] = i;
    }
    free(next);
    free(first);
    trace_fini(&t);
}

static void
work_fini(struct work *w)
{
    accesses_fini(&w->all);
    sizes_fini(&w->entries);
}

static double
percent(const struct work *w, size_t hits)
{
    return 100.0 * (double)hits / (double)w->all.len;
}

/* @restart: the process ends in the middle. */
static double
by_policy(const struct work *w, uint64_t max_bytes, bool restart, unsigned *moves)
{
    struct sim s;
    size_t hits = 0;
    sim_init(&s, max_bytes, (unsigned)w->entries.len);
    for (size_t i = 0; i < w->all.len; i++) {
        const struct asked *a = &w->all.data[i];
        if (restart && i == w->all.len / 2)
            sim_restart(&s);
        s.now_ms = a->ms;
        hits += sim_read(&s, a->entry, w->entries.data[a->entry]);
        assert_true(sim_used(&s) <= max_bytes);
    }
    *moves = s.pushes;
    sim_fini(&s);
    return percent(w, hits);
}

/* LRU, and knowing the future: the one that is needed last goes, with unequal sizes the one with
 * the largest product of distance and size (which is no strict bound, but close to one). A search
 * through all of the cache is quick enough for traces of this size. */
static double
by_rank(const struct work *w, uint64_t max_bytes, bool future)
{
    size_t n = w->entries.len, hits = 0, *last = calloc(n, sizeof *last), cached = 0;
    unsigned *here = calloc(n, sizeof *here);
    bool *is_here = calloc(n, sizeof *is_here);
    uint64_t used = 0;
    assert_true(last && here && is_here);
    for (size_t i = 0; i < w->all.len; i++) {
        const struct asked *a = &w->all.data[i];
        if (is_here[a->entry]) {
            hits++;
        } else {
            is_here[a->entry] = true;
            here[cached++] = a->entry;
            used += w->entries.data[a->entry];
        }
        last[a->entry] = i;
        while (used > max_bytes) {
            size_t goes = 0;
            double most = -1;
            for (size_t k = 0; k < cached; k++) {
                size_t next = w->all.data[last[here[k]]].next;
                double badness = !future ? (double)(i - last[here[k]])
                                 : next == SIZE_MAX
                                     ? 1e30
                                     : (double)(next - i) * (double)w->entries.data[here[k]];
                if (badness > most) {
                    most = badness;
                    goes = k;
                }
            }
            used -= w->entries.data[here[goes]];
            is_here[here[goes]] = false;
            here[goes] = here[--cached];
        }
    }
    free(is_here);
    free(last);
    free(here);
    return percent(w, hits);
}

struct rates {
    double policy, restarted, lru, future;
};

enum { PARTS = 7 };
static const unsigned parts[PARTS] = {5, 10, 20, 40, 60, 80, 95};

/* Play a trace in caches of these percentages of what it reads, and print the table. */
static void
play(const char *name, struct rates out[PARTS])
{
    struct work w;
    work_load(&w, name);
    printf("%s: %zu reads of %zu entries, %.1f MiB\n", name, w.all.len, w.entries.len,
           (double)w.bytes / MIB);
    printf("  cache   policy  restart     LRU  future   moves\n");
    for (size_t i = 0; i < PARTS; i++) {
        uint64_t max = w.bytes * parts[i] / 100;
        unsigned moves, more;
        out[i] = (struct rates){by_policy(&w, max, false, &moves), by_policy(&w, max, true, &more),
                                by_rank(&w, max, false), by_rank(&w, max, true)};
        printf("  %4u %%  %6.1f   %6.1f  %6.1f  %6.1f  %6u\n", parts[i], out[i].policy,
               out[i].restarted, out[i].lru, out[i].future, moves);
    }
    work_fini(&w);
}

/* Nowhere worse than LRU by more than this many points; LRU does not forget at the restart. */
static void
assert_margin(const struct rates r[PARTS], double points, double restarted)
{
    for (size_t i = 0; i < PARTS; i++) {
        assert_true(r[i].policy >= r[i].lru - points);
        assert_true(r[i].restarted >= r[i].lru - restarted);
    }
}

static void
a_scan_over_a_hot_set(void **state)
{
    (void)state;
    struct rates r[PARTS];
    play("scan", r);
    assert_margin(r, 0, 1);
    for (size_t i = 0; i < 3; i++)
        assert_true(r[i].policy >= r[i].lru + 5);
    assert_true(r[2].policy >= r[2].future - 2);
}

static void
a_loop_larger_than_the_cache(void **state)
{
    (void)state;
    struct rates r[PARTS];
    play("loop", r);
    assert_margin(r, 0, 0);
    for (size_t i = 2; i < PARTS; i++) {
        assert_true(r[i].lru < 1);
        assert_true(r[i].policy >= r[i].future * 0.7);
    }
}

static void
a_recorded_build(void **state)
{
    (void)state;
    struct rates r[PARTS];
    play("build", r);
    assert_margin(r, 1, 1);
    for (size_t i = 0; i < 4; i++)
        assert_true(r[i].policy >= r[i].lru + 5);
}

/* Bad for a policy that wants a proof; here is what that costs. */
static void
where_it_is_worse(void **state)
{
    (void)state;
    struct rates r[PARTS];
    play("twice", r);
    assert_margin(r, 2, 8);
    play("shift", r);
    assert_margin(r, 8, 8);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_over_a_hot_set),
        cmocka_unit_test(a_loop_larger_than_the_cache),
        cmocka_unit_test(a_recorded_build),
        cmocka_unit_test(where_it_is_worse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
