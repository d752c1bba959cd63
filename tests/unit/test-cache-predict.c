/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache-trace.h"
#include "cache/predict.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

/* A project of files, a cache that keeps all, and the predictor over them. */
struct file {
    char name[24];
    uint64_t size;
    unsigned dir;
    bool here, ahead, opened;
};

struct world {
    struct sf_predict *p;
    struct file *files;
    size_t n, *first; /* of each directory, and one behind the last */
    unsigned dirs;
    size_t opening;                              /* file */
    size_t opens, hits, first_opens, first_hits; /* first: of files not opened before */
    uint64_t bytes;                              /* fetched */
    uint64_t version;
    unsigned refuse; /* fetches to be refused: budget */
    unsigned asked;  /* calls of fetch() */
    int64_t now_ms;
    struct sf_follow saved;
    bool saved_whole;
    unsigned saves;
};

static uint64_t
id_of(size_t file)
{
    return (file + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 7;
}

static unsigned
dir_of(const struct world *w)
{
    return w->files[w->opening].dir;
}

static size_t
op_count(void *arg, uint64_t *version)
{
    struct world *w = arg;
    *version = w->version;
    return w->first[dir_of(w) + 1] - w->first[dir_of(w)];
}

static size_t
op_position(void *arg)
{
    struct world *w = arg;
    return w->opening - w->first[dir_of(w)];
}

static bool
op_at(void *arg, size_t i, struct sf_predict_file *ret)
{
    struct world *w = arg;
    size_t f = w->first[dir_of(w)] + i;
    *ret = (struct sf_predict_file){id_of(f), w->files[f].name, w->files[f].size};
    return true;
}

static int
op_fetch(void *arg, uint64_t id, size_t i, uint64_t bytes)
{
    struct world *w = arg;
    size_t f = w->first[dir_of(w)] + i;
    assert_true(f < w->first[dir_of(w) + 1] && id_of(f) == id);
    struct file *x = &w->files[f];
    w->asked++;
    if (x->here)
        return 0;
    if (w->refuse) {
        w->refuse--;
        return -EAGAIN;
    }
    assert_true(bytes > 0 && bytes <= x->size && bytes <= SF_PREDICT_HEAD);
    x->here = x->ahead = true;
    w->bytes += bytes;
    return 1;
}

static const struct sf_predict_ops ops = {op_count, op_position, op_at, op_fetch};

static void
op_save(void *arg, uint64_t dir, const struct sf_follow *learned, bool whole)
{
    struct world *w = arg;
    (void)dir;
    w->saved_whole = whole;
    w->saved = *learned;
    w->saves++;
}

static void
open_file(struct world *w, size_t f)
{
    struct file *x = &w->files[f];
    w->opening = f;
    w->opens++;
    w->first_opens += !x->opened;
    w->first_hits += !x->opened && x->here;
    x->opened = true;
    struct sf_predict_open o = {
        .dir = x->dir, .id = id_of(f), .size = x->size, .now_ms = w->now_ms};
    bool here = x->here;
    w->hits += here;
    if (!here)
        w->bytes += x->size;
    x->here = true;
    if (w->p)
        sf_predict_opened(w->p, &o, &ops, w);
    if (w->p && !here)
        sf_predict_missed(w->p, &o, &ops, w);
    if (x->ahead) { /* the rest of a large one */
        w->bytes += x->size > SF_PREDICT_HEAD ? x->size - SF_PREDICT_HEAD : 0;
        x->ahead = false;
    }
}

static void
world_init(struct world *w, unsigned dirs, size_t n, bool predict)
{
    *w = (struct world){.dirs = dirs, .n = n};
    w->files = calloc(n, sizeof *w->files);
    w->first = calloc(dirs + 1, sizeof *w->first);
    assert_true(w->files && w->first);
    const struct sf_predict_opts opts = {.max_ahead = 8 * MIB, .save = op_save, .arg = w};
    if (predict)
        assert_int_equal(sf_predict_new(&opts, &w->p), 0);
}

/* One directory of equal files, named 1.dat, 2.dat, ... in the order of a listing: 1, 10, 100. */
static int
by_name(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static void
world_one_dir(struct world *w, size_t n, uint64_t size)
{
    world_init(w, 1, n, true);
    w->first[1] = n;
    for (size_t i = 0; i < n; i++) {
        snprintf(w->files[i].name, sizeof w->files[i].name, "%u.dat", (unsigned)i + 1);
        w->files[i].size = size;
    }
    qsort(w->files, n, sizeof *w->files, by_name);
}

static void
world_fini(struct world *w)
{
    sf_predict_free(w->p);
    free(w->files);
    free(w->first);
}

/* The file of this number in its name. */
static size_t
numbered(const struct world *w, size_t number)
{
    char name[24];
    size_t f = 0;
    snprintf(name, sizeof name, "%u.dat", (unsigned)number);
    while (strcmp(w->files[f].name, name) != 0)
        assert_true(++f < w->n);
    return f;
}

/* ---- traces --------------------------------------------------------------------------------- */

struct outcome {
    double hits, first_hits; /* per cent of opens, and of opens of files not read before */
    double mib;
    struct sf_predict_stats stats;
};

static struct outcome
replay(const struct trace *t, bool predict)
{
    struct world w;
    struct outcome out = {0};
    world_init(&w, t->dirs, t->files.len, predict);
    for (size_t i = t->files.len; i-- > 0;) {
        const struct trace_file *f = &t->files.data[i];
        w.files[i].size = f->size;
        w.files[i].dir = f->dir;
        snprintf(w.files[i].name, sizeof w.files[i].name, "%06u", (unsigned)i);
        w.first[f->dir] = i;
    }
    w.first[t->dirs] = t->files.len;
    for (size_t i = 0; i < t->reads.len; i++) {
        w.now_ms = t->reads.data[i].ms;
        open_file(&w, t->reads.data[i].file);
    }
    out.hits = 100.0 * (double)w.hits / (double)w.opens;
    out.first_hits = 100.0 * (double)w.first_hits / (double)w.first_opens;
    out.mib = (double)w.bytes / MIB;
    if (predict)
        sf_predict_get_stats(w.p, &out.stats);
    world_fini(&w);
    return out;
}

/* @gain: in points, of files not read before (others are cached in any case). */
static void
play(const char *name, double gain, double more_bytes)
{
    struct trace t;
    trace_load(&t, name);
    struct outcome off = replay(&t, false), on = replay(&t, true);
    printf("%-9s without: %5.1f %% of opens hit, first ones %5.1f %%, %6.1f MiB\n", name, off.hits,
           off.first_hits, off.mib);
    printf(
        "%-9s with:    %5.1f %% of opens hit, first ones %5.1f %%, %6.1f MiB;  ahead %llu files, "
        "used %llu\n",
        "", on.hits, on.first_hits, on.mib, (unsigned long long)on.stats.files,
        (unsigned long long)on.stats.used);
    fflush(stdout);
    assert_true(on.first_hits >= off.first_hits + gain);
    assert_true(on.mib <= off.mib * (1 + more_bytes));
    trace_fini(&t);
}

static void
patterns_hit_more(void **state)
{
    (void)state;
    play("build", 50, 1);
    play("grep", 80, 0);
    play("pictures", 45, 0);
}

static void
without_a_pattern_few_bytes_are_lost(void **state)
{
    (void)state;
    play("random", 0, 0.05);
}

/* ---- one directory -------------------------------------------------------------------------- */

static void
walk_in_number_order(void **state)
{
    (void)state;
    struct world w;
    struct sf_predict_stats stats;
    world_one_dir(&w, 200, 4 * KIB);
    for (size_t i = 1; i <= 200; i++, w.now_ms += 5)
        open_file(&w, numbered(&w, i));
    assert_int_equal(w.hits, 197);
    assert_int_equal(w.bytes, 200 * 4 * KIB);
    sf_predict_get_stats(w.p, &stats);
    assert_int_equal(stats.used, 197);
    assert_int_equal(stats.unused + stats.at_stake, 0);
    assert_int_equal(stats.walks, 1);
    world_fini(&w);
}

/* What comes next is fetched next: seen where only a few may be. */
static void
the_order_is_found(void **state)
{
    (void)state;
    static const struct {
        size_t opened[3], next;
    } cases[] = {{{7, 8, 9}, 10}, {{92, 91, 90}, 89}, {{1, 10, 100}, 101}, {{15, 149, 148}, 147}};
    for (size_t k = 0; k < 4; k++) {
        struct world w;
        world_one_dir(&w, 200, 100 * KIB);
        for (size_t i = 0; i < 3; i++)
            open_file(&w, numbered(&w, cases[k].opened[i]));
        assert_true(w.files[numbered(&w, cases[k].next)].ahead);
        assert_true(w.bytes <= 3 * 100 * KIB + MIB / 2);
        world_fini(&w);
    }
}

static void
walk_without_order(void **state)
{
    (void)state;
    struct world w;
    world_one_dir(&w, 200, 12 * KIB); /* more than is fetched on suspicion */
    for (size_t i = 0; i < 200; i++, w.now_ms += 20)
        open_file(&w, (i * 77 + 13) % 200);
    assert_true(w.hits >= 150);
    assert_int_equal(w.bytes, 200 * 12 * KIB);
    world_fini(&w);
}

static void
a_pause_is_no_walk(void **state)
{
    (void)state;
    struct world w;
    world_one_dir(&w, 200, 4 * KIB);
    for (size_t i = 0; i < 100; i++, w.now_ms += 3000)
        open_file(&w, i);
    assert_int_equal(w.asked, 0);
    for (size_t i = 0; i < 50; i++, w.now_ms += 10)
        open_file(&w, 7); /* nor is the same file again and again */
    assert_int_equal(w.asked, 0);
    world_fini(&w);
}

static void
what_is_cached_costs_nothing(void **state)
{
    (void)state;
    struct world w;
    world_one_dir(&w, 200, 4 * KIB);
    for (size_t i = 0; i < 200; i++)
        w.files[i].here = true;
    for (size_t i = 0; i < 200; i++)
        open_file(&w, i);
    assert_int_equal(w.asked, 0);
    world_fini(&w);
}

static void
large_files_are_not_walked(void **state)
{
    (void)state;
    struct world w;
    world_one_dir(&w, 200, SF_PREDICT_SMALL + 1);
    for (size_t i = 0; i < 100; i++, w.now_ms += 10)
        open_file(&w, i);
    assert_int_equal(w.hits, 0);
    world_fini(&w);
}

static void
random_opens_then_a_walk(void **state)
{
    (void)state;
    struct world w;
    uint64_t x = 88172645463325252u;
    world_one_dir(&w, 5000, 4 * KIB);
    for (size_t i = 0; i < 400; i++, w.now_ms += 20) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        open_file(&w, x % 2500);
    }
    assert_true(w.bytes <= w.first_opens * 4 * KIB * 105 / 100);
    size_t before = w.hits;
    for (size_t i = 2500; i < 2900; i++, w.now_ms += 20)
        open_file(&w, i);
    assert_true(w.hits - before >= 380);
    world_fini(&w);
}

static void
what_cannot_be_fetched_now_comes_later(void **state)
{
    (void)state;
    struct world w;
    world_one_dir(&w, 200, 4 * KIB);
    w.refuse = 2;
    for (size_t i = 1; i <= 200; i++, w.now_ms += 5)
        open_file(&w, numbered(&w, i));
    assert_int_equal(w.hits, 195);
    world_fini(&w);
}

static void
another_directory_is_trusted_at_once(void **state)
{
    (void)state;
    struct world w;
    world_one_dir(&w, 600, 10 * KIB);
    w.dirs = 2;
    w.first = realloc(w.first, 3 * sizeof *w.first);
    assert_non_null(w.first);
    w.first[1] = 560;
    w.first[2] = 600;
    for (size_t i = 0; i < 600; i++) {
        w.files[i].dir = i >= 560;
        if (i == 560)
            assert_true(w.hits >= 550);
        open_file(&w, i);
    }
    assert_true(w.hits >= 550 + 39);
    world_fini(&w);
}

static void
lost_files_cost_credit(void **state)
{
    (void)state;
    struct world w;
    struct sf_predict_stats stats;
    world_one_dir(&w, 200, 4 * KIB);
    for (size_t i = 1; i <= 3; i++)
        open_file(&w, numbered(&w, i));
    for (size_t i = 0; i < 200; i++)
        sf_predict_lost(w.p, 0, id_of(i));
    sf_predict_get_stats(w.p, &stats);
    assert_true(stats.files > 0 && stats.unused == stats.files && stats.at_stake == 0);
    world_fini(&w);
}

static void
what_was_here_costs_nothing(void **state)
{
    (void)state;
    struct world w;
    struct sf_predict_stats stats;
    world_one_dir(&w, 200, 4 * KIB);
    for (size_t i = 1; i <= 3; i++)
        open_file(&w, numbered(&w, i));
    for (size_t i = 0; i < 200; i++)
        sf_predict_was_here(w.p, 0, id_of(i));
    sf_predict_get_stats(w.p, &stats);
    assert_int_equal(stats.files + stats.bytes + stats.unused + stats.at_stake, 0);
    sf_predict_was_here(w.p, 0, 1); /* of nothing that was asked for */
    world_fini(&w);
}

static void
a_changed_directory_is_looked_at_again(void **state)
{
    (void)state;
    struct world w;
    world_one_dir(&w, 20, 100 * KIB);
    for (size_t i = 0; i < 3; i++)
        open_file(&w, i);
    for (size_t i = 10; i < 20; i++)
        w.files[i].here = false; /* other bytes now */
    w.version++;
    for (size_t i = 3; i < 20; i++)
        open_file(&w, i);
    assert_true(w.hits >= 15);
    world_fini(&w);
}

/* ---- followers ------------------------------------------------------------------------------ */

static const size_t habit[] = {31, 5, 77, 12, 60, 3, 90, 44, 21, 70};
enum { HABIT = sizeof habit / sizeof *habit };

static void
open_habit(struct world *w)
{
    w->now_ms += 60000;
    for (size_t i = 0; i < HABIT; i++, w->now_ms += 300)
        open_file(w, habit[i]);
}

static void
forget_bytes(struct world *w)
{
    for (size_t i = 0; i < w->n; i++)
        w->files[i].here = w->files[i].ahead = false;
    w->hits = 0;
}

static void
what_followed_comes_along(void **state)
{
    (void)state;
    struct world w;
    world_one_dir(&w, 100, 200 * KIB);
    open_habit(&w);
    assert_int_equal(w.hits, 0);
    forget_bytes(&w);
    open_habit(&w);
    assert_int_equal(w.hits, HABIT - 1);

    /* in another process, from what was stored */
    uint8_t bytes[SF_FOLLOW_BYTES_MAX];
    struct sf_follow learned;
    sf_predict_free(w.p);
    assert_int_equal(w.saves, 1);
    assert_false(w.saved_whole);
    size_t n = sf_follow_pack(&w.saved, bytes);
    assert_int_equal(sf_follow_unpack(&learned, bytes, n), 0);
    const struct sf_predict_opts opts = {.max_ahead = 8 * MIB};
    assert_int_equal(sf_predict_new(&opts, &w.p), 0);
    forget_bytes(&w);
    assert_false(sf_predict_wants_learned(w.p, 0)); /* nothing was opened yet */
    open_file(&w, 99);
    assert_true(sf_predict_wants_learned(w.p, 0));
    assert_false(sf_predict_wants_learned(w.p, 0));
    sf_predict_restore(w.p, 0, &learned);
    open_habit(&w);
    assert_int_equal(w.hits, HABIT - 1);
    world_fini(&w);
}

static void
of_large_followers_only_the_beginning_comes(void **state)
{
    (void)state;
    struct world w;
    world_one_dir(&w, 100, 5 * MIB);
    open_habit(&w);
    forget_bytes(&w);
    w.bytes = 0;
    w.now_ms += 60000;
    open_file(&w, habit[0]);
    assert_true(w.bytes <= 5 * MIB + 4 * SF_PREDICT_HEAD);
    world_fini(&w);
}

static void
tables_are_bounded(void **state)
{
    (void)state;
    struct sf_follow f = {0};
    uint8_t bytes[SF_FOLLOW_BYTES_MAX];
    for (uint32_t i = 0; i < 100000; i++)
        sf_follow_learn(&f, i * 7919, i);
    size_t n = sf_follow_pack(&f, bytes);
    assert_int_equal(n, SF_FOLLOW_BYTES_MAX);
    struct sf_follow g;
    assert_int_equal(sf_follow_unpack(&g, bytes, n), 0);
    /* what was learned later is added */
    memset(&f, 0, sizeof f);
    memset(&g, 0, sizeof g);
    uint32_t after;
    sf_follow_learn(&f, 1, 2);
    sf_follow_learn(&g, 1, 3);
    sf_follow_learn(&g, 1, 3);
    sf_follow_merge(&f, &g);
    assert_true(sf_follow_next(&f, 1, 2, 0, &after) == 0 && after == 3);
    assert_true(sf_follow_next(&f, 1, 1, 3, &after) == 0 && after == 2);

    /* what was seen twice outlives a newcomer */
    memset(&f, 0, sizeof f);
    uint32_t next;
    for (int i = 0; i < 2; i++)
        for (uint32_t k = 1; k <= 4; k++)
            sf_follow_learn(&f, 1, k);
    sf_follow_learn(&f, 1, 9);
    assert_int_equal(sf_follow_next(&f, 1, 2, 0, &next), 0);
    assert_true(next >= 1 && next <= 4);

    struct world w;
    world_init(&w, 1000, 2000, true);
    for (size_t i = 0; i < 2000; i++) {
        w.files[i].size = 200 * KIB;
        w.files[i].dir = (unsigned)(i / 2);
        w.first[i / 2] = i / 2 * 2;
    }
    w.first[1000] = 2000;
    for (size_t i = 0; i < 2000; i++, w.now_ms += 5)
        open_file(&w, i);
    assert_true(w.saves >= 1000 - 64);
    world_fini(&w);
}

static void
broken_bytes_are_refused(void **state)
{
    (void)state;
    struct sf_follow f = {0}, g;
    uint8_t bytes[SF_FOLLOW_BYTES_MAX];
    assert_int_equal(sf_follow_pack(&f, bytes), 0);
    sf_follow_learn(&f, 1, 2);
    sf_follow_learn(&f, 2, 3);
    size_t n = sf_follow_pack(&f, bytes);
    assert_int_equal(n, 4 + 2 * 9);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(sf_follow_unpack(&g, bytes, cut), -EINVAL);
    static const struct {
        size_t at;
        uint8_t value;
    } faults[] = {{0, 2}, {1, 1}, {2, 1}, {2, 0}, {3, 1}, {12, 0}, {12, 4}};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        uint8_t was = bytes[faults[i].at];
        bytes[faults[i].at] = faults[i].value;
        assert_int_equal(sf_follow_unpack(&g, bytes, n), -EINVAL);
        bytes[faults[i].at] = was;
    }
    memcpy(bytes + 13, bytes + 4, 9); /* the same pair twice */
    assert_int_equal(sf_follow_unpack(&g, bytes, n), -EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_hit_more),
        cmocka_unit_test(without_a_pattern_few_bytes_are_lost),
        cmocka_unit_test(walk_in_number_order),
        cmocka_unit_test(the_order_is_found),
        cmocka_unit_test(walk_without_order),
        cmocka_unit_test(a_pause_is_no_walk),
        cmocka_unit_test(what_is_cached_costs_nothing),
        cmocka_unit_test(large_files_are_not_walked),
        cmocka_unit_test(random_opens_then_a_walk),
        cmocka_unit_test(what_cannot_be_fetched_now_comes_later),
        cmocka_unit_test(another_directory_is_trusted_at_once),
        cmocka_unit_test(lost_files_cost_credit),
        cmocka_unit_test(what_was_here_costs_nothing),
        cmocka_unit_test(a_changed_directory_is_looked_at_again),
        cmocka_unit_test(what_followed_comes_along),
        cmocka_unit_test(of_large_followers_only_the_beginning_comes),
        cmocka_unit_test(tables_are_bounded),
        cmocka_unit_test(broken_bytes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
