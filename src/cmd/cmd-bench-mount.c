/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/bench.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/mounts.h"
#include "cmd/cmd.h"
#include "daemon/place.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUIET_MS  2000 /* patience for what was begun ahead of need */
#define STORED_MS 120000
#define LOOK_US   2000

extern char **environ;

void
bench_mount_find(struct bench *b)
{
    struct sf_mount_copy m;
    if (sf_mount_of(b->dir, &m) != 1)
        return;
    snprintf(b->mount.point, sizeof b->mount.point, "%s", m.point);
    snprintf(b->mount.type, sizeof b->mount.type, "%s", m.fstype);
    b->mount.ours = sf_place_is_ours(m.fstype);
}

/* .supafs/stats; NULL where there is none. */
static json_t *
stats(const struct bench *b)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    if (!b->mount.ours || control_read(b->mount.point, "stats", &text) < 0)
        return NULL;
    return json_loadb(text.data, text.len, 0, NULL);
}

static int64_t
number(const json_t *root, const char *name)
{
    const json_t *v = json_object_get(root, name);
    return json_is_integer(v) ? json_integer_value(v) : -1;
}

void
bench_figures(const struct bench *b, struct bench_figures *out)
{
    int64_t end = sf_clock_ms() + QUIET_MS;
    *out = (struct bench_figures){-1, -1, -1};
    for (;;) {
        json_t *root = stats(b);
        if (!root)
            return;
        bool quiet = number(root, "http_active_now") + number(root, "http_queued_now") <= 0;
        *out = (struct bench_figures){.requests = number(root, "http_requests"),
                                      .fetched = number(root, "http_in_bytes"),
                                      .sent = number(root, "http_out_bytes")};
        json_decref(root);
        if (quiet || sf_clock_ms() > end)
            return;
        usleep(LOOK_US);
    }
}

int
bench_wait_stored(const struct bench *b)
{
    int64_t end = sf_clock_ms() + STORED_MS;
    for (;;) {
        json_t *root = stats(b);
        /* Not what is still running: that may be the copy of the bytes into the cache. */
        bool stored =
            !root || number(root, "not_uploaded_files") + number(root, "pending_changes") <= 0;
        json_decref(root);
        if (stored || *b->stop)
            return stored ? 0 : -EINTR;
        if (sf_clock_ms() > end)
            return -ETIMEDOUT;
        usleep(LOOK_US);
    }
}

/* 0 = the program ran and was content. What it prints goes nowhere, as JSON may be printed here;
 * but for what it complains of, unless @quiet. */
static int
run(const char *const *argv, bool quiet)
{
    posix_spawn_file_actions_t files;
    pid_t pid;
    int status = 0;
    if (posix_spawn_file_actions_init(&files) != 0)
        return -1;
    int rc = posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (!rc && quiet)
        rc = posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    if (!rc)
        rc = posix_spawnp(&pid, argv[0], &files, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&files);
    if (rc)
        return -1;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool
bench_make_cold(const struct bench *b)
{
    const char *const user[] = {"/bin/sh", "-c", b->cold, NULL};
    const char *const evict[] = {b->self, "cache", "evict", b->dir, NULL};
    if (b->cold) {
        int rc = run(user, false);
        if (rc)
            complain("`%s` failed (%d): what follows is not cold", b->cold, rc);
        return rc == 0;
    }
    /* The pages last: opening a file to take its pages away reads nothing. */
    bool evicted = b->mount.ours && run(evict, true) == 0;
    bench_drop_pages(b, "", 1);
    bench_drop_pages(b, "small", b->sizes.small_files);
    return evicted;
}

void
bench_drop_pages(const struct bench *b, const char *folder, uint64_t files)
{
    char path[PATH_MAX];
    for (uint64_t i = 0; i < files && !*b->stop; i++) {
        bench_path(b, path, folder, i);
        sf_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
            (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
}
