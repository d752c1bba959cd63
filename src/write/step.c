/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/step.h"

#ifdef SF_FAULT_POINTS

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"

static const char *const labels[] = {
#define SF_STEP(id, label, help) label,
#include "write/steps.def"
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static enum sf_step kill_at = SF_STEP_MAX;
static _Atomic uint64_t passes_left = 1;
static int log_fd = -1;

/* A label that does not exist would let a test pass that tests nothing. */
static void
read_environment(void)
{
    const char *log = getenv("SUPAFS_STEP_LOG"), *at = getenv("SUPAFS_KILL_AT");
    if (log && *log)
        log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (!at || !*at)
        return;
    size_t len = strcspn(at, ":");
    uint64_t n = 1;
    for (unsigned i = 0; i < SF_STEP_MAX; i++)
        if (strlen(labels[i]) == len && strncmp(labels[i], at, len) == 0)
            kill_at = (enum sf_step)i;
    if (kill_at == SF_STEP_MAX || (at[len] && sf_parse_u64(at + len + 1, &n)) || n == 0) {
        fprintf(stderr, "SUPAFS_KILL_AT=%s is no step\n", at);
        abort();
    }
    atomic_store(&passes_left, n);
}

void
sf_step(enum sf_step step)
{
    pthread_once(&once, read_environment);
    if (log_fd >= 0) {
        char line[64];
        int n = snprintf(line, sizeof line, "%s\n", labels[step]);
        (void)sf_write_full(log_fd, line, (size_t)n);
    }
    if (step == kill_at && atomic_fetch_sub(&passes_left, 1) == 1) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
}

#endif
