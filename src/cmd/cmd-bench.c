/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/bench.h"
#include "cmd/cmd.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "daemon/exit.h"

#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_ROWS    32
#define MAX_WARMING 5

enum { KEY_ROWS = 256, KEY_COLD, KEY_PREPARE, KEY_USE, KEY_SIZE /* and on: sizes[] */ };

static const struct {
    const char *name, *help;
    uint64_t initial, min;
    size_t at;
} sizes[] = {
    {"large-size", "Size of the large file that is read [256M]", 256u << 20, 1u << 20,
     offsetof(struct bench_sizes, large)},
    {"random-reads", "Reads of it, cold [200]", 200, 1, offsetof(struct bench_sizes, random_reads)},
    {"cached-reads", "Reads of it, cached [20000]", 20000, 1,
     offsetof(struct bench_sizes, cached_reads)},
    {"small-files", "Files read one after another [200]", 200, 1,
     offsetof(struct bench_sizes, small_files)},
    {"list-files", "Files in the directory that is listed, and read when cached [1000]", 1000, 1,
     offsetof(struct bench_sizes, list_files)},
    {"write-files", "Files written until all are stored [100]", 100, 1,
     offsetof(struct bench_sizes, write_files)},
    {"one-by-one", "Files written each by itself [20]", 20, 1,
     offsetof(struct bench_sizes, one_by_one)},
    {"write-size", "Size of the large file that is written [40M]", 40u << 20, 1u << 16,
     offsetof(struct bench_sizes, write_large)},
};
#define N_SIZES (sizeof sizes / sizeof *sizes)

struct bench_line {
    struct bench b;
    const char *dir, *rows;
    bool json, prepare, wanted[MAX_ROWS];
};

static volatile int stopped;

static void
stop_soon(int sig)
{
    (void)sig;
    stopped = 1;
}

static uint64_t *
size_of(struct bench *b, size_t i)
{
    return (uint64_t *)((char *)&b->sizes + sizes[i].at);
}

static void
set_size(struct bench_line *l, size_t i, const char *text, struct argp_state *state)
{
    uint64_t v;
    if (sf_parse_size(text, &v) < 0 || v < sizes[i].min || v > UINT64_C(1) << 40)
        argp_error(state, "'%s' is nothing that --%s can be", text, sizes[i].name);
    if (sizes[i].min >= 1u << 16)
        v &= ~(uint64_t)(BENCH_SMALL - 1); /* whole blocks */
    *size_of(&l->b, i) = v;
}

static void
choose_rows(struct bench_line *l, const char *list, struct argp_state *state)
{
    sf_autofree char *copy = strdup(list);
    char *save = NULL;
    for (char *word = copy ? strtok_r(copy, ",", &save) : NULL; word;
         word = strtok_r(NULL, ",", &save)) {
        unsigned i = 0;
        while (i < bench_n_rows && strcmp(bench_rows[i].name, word) != 0)
            i++;
        if (i == bench_n_rows)
            argp_error(state, "there is no row '%s'; see --help", word);
        l->wanted[i] = true;
    }
}

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct bench_line *l = state->input;
    if (key >= KEY_SIZE && key < KEY_SIZE + (int)N_SIZES) {
        set_size(l, (size_t)(key - KEY_SIZE), arg, state);
        return 0;
    }
    switch (key) {
    case 'j':
        l->json = true;
        return 0;
    case KEY_ROWS:
        l->rows = arg;
        choose_rows(l, arg, state);
        return 0;
    case KEY_COLD:
        l->b.cold = arg;
        return 0;
    case KEY_PREPARE:
        l->prepare = true;
        return 0;
    case KEY_USE:
        l->b.prepared = true;
        return 0;
    case ARGP_KEY_ARG:
        if (l->dir)
            argp_error(state, "one directory at a time");
        l->dir = arg;
        return 0;
    case ARGP_KEY_END:
        if (l->prepare && l->b.prepared)
            argp_error(state, "--prepare or --use");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The rows, behind the options. argp frees it. */
static char *
help_filter(int key, const char *text, void *input)
{
    size_t n;
    char *out = NULL;
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC)
        return (char *)text;
    FILE *f = open_memstream(&out, &n);
    if (!f)
        return NULL;
    fputs("Rows:\n", f);
    for (unsigned i = 0; i < bench_n_rows; i++)
        fprintf(f, "  %-14s %s%s\n", bench_rows[i].name, bench_rows[i].what,
                bench_rows[i].cold ? " (cold)" : "");
    fputs("\nSizes and counts take K, M and G. The directory for the files that are read and "
          "written is made in DIRECTORY, and removed at the end.\n",
          f);
    return fclose(f) == 0 ? out : NULL;
}

static error_t
read_line(struct bench_line *l, int argc, char **argv)
{
    static const struct argp_option fixed[] = {
        {"json", 'j', NULL, 0, "Print one JSON object", 0},
        {"rows", KEY_ROWS, "ROW,...", 0, "Only these", 0},
        {"cold", KEY_COLD, "COMMAND", 0,
         "Run before each cold row: it makes that nothing is cached, by unmounting and mounting "
         "with an empty cache, say",
         0},
        {"prepare", KEY_PREPARE, NULL, 0,
         "Only make the files to be read, in DIRECTORY itself, and leave them there", 0},
        {"use", KEY_USE, NULL, 0,
         "Read the files that --prepare has made in DIRECTORY (the sizes given must be the same)",
         0},
    };
    const size_t n = sizeof fixed / sizeof *fixed;
    struct argp_option options[sizeof fixed / sizeof *fixed + N_SIZES + 1] = {0};
    memcpy(options, fixed, sizeof fixed);
    for (size_t i = 0; i < N_SIZES; i++) {
        options[n + i] =
            (struct argp_option){sizes[i].name, KEY_SIZE + (int)i, "N", 0, sizes[i].help, 1};
        *size_of(&l->b, i) = sizes[i].initial;
    }
    const struct argp argp = {
        options,       parse,
        "[DIRECTORY]", "Measure a directory of any mount: reads, listings and writes.\v",
        NULL,          help_filter,
        NULL};
    return argp_parse(&argp, argc, argv, 0, NULL, l);
}

/* ---- running ----------------------------------------------------------------------------------
 */

/* What lies below a mount is not looked at here: it would be known afterwards. */
static int
find_dir(struct bench_line *l)
{
    struct bench *b = &l->b;
    const char *dir = l->dir ? l->dir : ".";
    char here[PATH_MAX];
    int n;
    if (!getcwd(here, sizeof here))
        return -errno;
    if (!strcmp(dir, "."))
        n = snprintf(b->dir, sizeof b->dir, "%s", here);
    else
        n = snprintf(b->dir, sizeof b->dir, "%s%s%s", *dir == '/' ? "" : here,
                     *dir == '/' ? "" : "/", dir);
    for (size_t len = strlen(b->dir); len > 1 && b->dir[len - 1] == '/'; len--)
        b->dir[len - 1] = '\0';
    bench_mount_find(b);
    if (n < (int)sizeof b->dir && !l->prepare && !b->prepared) {
        size_t len = strlen(b->dir);
        n = snprintf(b->dir + len, sizeof b->dir - len, "/supafs-bench-%ld", (long)getpid());
        if (n < (int)(sizeof b->dir - len))
            return mkdir(b->dir, 0700) < 0 ? -errno : 0;
    }
    return n < (int)sizeof b->dir - 64 ? 0 : -ENAMETOOLONG;
}

static const struct bench_row *
row_of(const char *name)
{
    const struct bench_row *row = bench_rows;
    while (strcmp(row->name, name) != 0)
        row++;
    return row;
}

/* Reads everything that the row will read; what the kernel then keeps of it is dropped. A mount
 * that tells is read until it has kept all: a slow disk may have missed some. */
static int
warm_up(struct bench *b, const struct bench_row *row)
{
    struct bench_figures before, after = {-1, -1, -1};
    struct bench_result unused;
    bool files = row == row_of("small-cached");
    const struct bench_row *all = files ? row : row_of("through");
    int rc = 0;
    for (int i = 0; !rc && i < MAX_WARMING && (!i || after.requests != before.requests); i++) {
        bench_figures(b, &before);
        rc = all->run(b, &unused);
        bench_drop_pages(b, files ? "list" : "", files ? b->sizes.list_files : 1);
        bench_figures(b, &after);
    }
    return rc;
}

static int
run_row(struct bench *b, const struct bench_row *row, struct bench_result *r)
{
    struct bench_figures before, after;
    int rc = 0;
    fprintf(stderr, "supafs bench: %s: %s\n", row->name, row->what);
    r->cold = row->cold ? bench_make_cold(b) ? "yes" : "no" : "";
    if (row->warm)
        rc = warm_up(b, row);
    bench_figures(b, &before);
    if (!rc)
        rc = row->run(b, r);
    bench_figures(b, &after);
    if (before.requests >= 0 && after.requests >= before.requests) {
        r->requests = after.requests - before.requests;
        r->fetched = after.fetched - before.fetched;
        r->sent = after.sent - before.sent;
    } else {
        r->requests = r->fetched = r->sent = -1;
    }
    if (rc) {
        r->operations = 0;
        if (rc != -EINTR)
            complain("row %s: %s", row->name,
                     rc == -EIO ? "the bytes or files are not those that were written"
                                : strerror(-rc));
    }
    return rc;
}

static int
measure(struct bench_line *l)
{
    struct bench *b = &l->b;
    struct bench_result results[MAX_ROWS] = {0};
    bool reads = false;
    int rc = 0;
    for (unsigned i = 0; i < bench_n_rows; i++) {
        l->wanted[i] |= !l->rows;
        reads |= l->wanted[i] && !bench_rows[i].writes;
    }
    if (!b->prepared && reads)
        rc = bench_set_make(b);
    for (unsigned i = 0; i < bench_n_rows && rc != -EINTR && (!rc || i); i++)
        if (l->wanted[i] && !stopped) {
            int one = run_row(b, &bench_rows[i], &results[i]);
            rc = rc ? rc : one;
        }
    if (!stopped && l->json)
        bench_print_json(b, results, stdout);
    else if (!stopped)
        bench_print_table(b, results, stdout);
    return stopped ? -EINTR : rc;
}

int
cmd_bench(int argc, char **argv)
{
    struct bench_line l = {.b = {.stop = &stopped}};
    /* Once: the second one ends us at once. No SA_RESTART: what waits returns. */
    const struct sigaction sa = {.sa_handler = stop_soon, .sa_flags = (int)SA_RESETHAND};
    error_t bad = read_line(&l, argc, argv);
    if (bad) {
        complain("%s", strerror(bad));
        return SF_EXIT_USAGE;
    }
    ssize_t n = readlink("/proc/self/exe", l.b.self, sizeof l.b.self - 1);
    if (n < 0)
        snprintf(l.b.self, sizeof l.b.self, "supafs");
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    int rc = find_dir(&l);
    if (rc) {
        complain("%s: %s", l.b.dir, strerror(-rc));
        return SF_EXIT_FAILED;
    }
    if (l.prepare)
        return bench_set_make(&l.b) ? SF_EXIT_FAILED : SF_EXIT_OK;
    rc = measure(&l);
    if (!l.b.prepared) {
        stopped = 0;
        if (bench_set_remove(&l.b))
            rc = -EIO;
    }
    return rc ? SF_EXIT_FAILED : SF_EXIT_OK;
}
