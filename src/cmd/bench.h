/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CMD_BENCH_H
#define SF_CMD_BENCH_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * `supafs bench`: rows of work on a directory of any mount, through system calls alone, so that
 * every file system is measured by the same program. One thread.
 *
 * The files that rows read (a "set") have contents that follow from seed and offset; what is read
 * is held against it.
 */
struct bench_sizes {
    uint64_t large;        /* bytes of the large file that is read */
    uint64_t random_reads; /* of it, cold */
    uint64_t cached_reads;
    uint64_t small_files; /* read one after another, cold */
    uint64_t list_files;  /* listed; read when cached */
    uint64_t write_files;
    uint64_t one_by_one; /* files written each by itself, new and over */
    uint64_t write_large;
};

/* What the measured mount tells of itself; nothing where it is none of supafs. */
struct bench_mount {
    char point[PATH_MAX];
    char type[64];
    bool ours;
};

struct bench {
    struct bench_sizes sizes;
    struct bench_mount mount;
    char dir[PATH_MAX];  /* where the set is, and written files go */
    const char *cold;    /* command that makes caches cold; NULL = none */
    bool prepared;       /* the set was there before: it is only read */
    char self[PATH_MAX]; /* this program */
    volatile int *stop;  /* set by a signal: end soon, -EINTR */
};

/* What one row measured. */
struct bench_result {
    const char *cold;   /* "yes", "no" (it could not be made so), or "" where it does not matter */
    int64_t started_ns; /* CLOCK_BOOTTIME */
    int64_t took_ns;
    uint64_t operations;
    uint64_t bytes;
    int64_t requests, fetched, sent; /* of the mount until it was quiet again; -1 = not known */
};

struct bench_row {
    const char *name, *what;
    bool cold; /* wants nothing cached */
    bool warm; /* wants everything cached but the kernel's pages */
    bool writes;
    /* Fills started_ns, took_ns, operations, bytes. 0 or -errno. */
    int (*run)(struct bench *b, struct bench_result *r);
};
extern const struct bench_row bench_rows[];
extern const unsigned bench_n_rows;

/* ---- the set (cmd-bench-set.c): small/fN, list/fN, large
 * ------------------------------------------ Functions that make or remove say what failed
 * (complain()) and return 0 or -errno. */
#define BENCH_SMALL 4096u
int bench_set_make(const struct bench *b);
int bench_set_remove(const struct bench *b);
void bench_path(const struct bench *b, char out[PATH_MAX], const char *folder, uint64_t n);
int bench_folder(const struct bench *b, char out[PATH_MAX], const char *folder);
int bench_fill(const struct bench *b, const char *path, uint64_t seed, uint64_t size);
uint64_t bench_seed(const char *folder, uint64_t n);
/* Whether @n bytes (a multiple of 8) at @off of the file of this seed are these. Looks at the first
 * and last word. */
bool bench_right(uint64_t seed, uint64_t off, const void *data, uint64_t n);
/* The next of a series of numbers that is the same in every run. */
uint64_t bench_random(uint64_t *state);

/* ---- around a row (cmd-bench-mount.c)
 * ------------------------------------------------------------- */
struct bench_figures {
    int64_t requests, fetched, sent;
};
/* Without touching the directory itself: what is known of it would be no longer cold. */
void bench_mount_find(struct bench *b);
/* Waits until nothing is on the way (2 s at most), then counters; -1 where they are not known. */
void bench_figures(const struct bench *b, struct bench_figures *out);
/* Until what was written is in the project, where the mount can tell. 0 or -errno. */
int bench_wait_stored(const struct bench *b);
/* true = nothing of the set is cached now. */
bool bench_make_cold(const struct bench *b);
/* Take the kernel's pages of the set's files out of its cache. */
void bench_drop_pages(const struct bench *b, const char *folder, uint64_t files);

/* ---- telling (cmd-bench-report.c)
 * ----------------------------------------------------------------- */
/* @results: one per row of bench_rows; operations == 0: was not run. */
void bench_print_table(const struct bench *b, const struct bench_result *results, FILE *to);
void bench_print_json(const struct bench *b, const struct bench_result *results, FILE *to);

#endif
