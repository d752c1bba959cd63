/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/caller.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIT(sig) (UINT64_C(1) << ((sig)-1))

/* What programs get in passing. Who waits for one of them to give up a file gets the deadline. */
static const uint64_t passing = BIT(SIGALRM) | BIT(SIGVTALRM) | BIT(SIGPROF) | BIT(SIGCHLD) |
                                BIT(SIGURG) | BIT(SIGWINCH) | BIT(SIGIO) | BIT(SIGCONT);

/* Of the line "NAME:\t0000000000004002". */
static bool
mask_of(const char *status, const char *name, uint64_t *out)
{
    size_t n = strlen(name);
    for (const char *line = status; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, name, n) && line[n] == ':')
            return sscanf(line + n, ":\t%" SCNx64, out) == 1;
    }
    return false;
}

bool
caller_stops_by(const char *status)
{
    uint64_t own, shared, blocked, caught;
    if (!mask_of(status, "SigPnd", &own) || !mask_of(status, "ShdPnd", &shared) ||
        !mask_of(status, "SigBlk", &blocked) || !mask_of(status, "SigCgt", &caught))
        return true;
    uint64_t waiting = (own | shared) & ~blocked;
    return (waiting & ~(passing & caught)) != 0;
}

bool
caller_stops(pid_t tid)
{
    char path[48], text[4096];
    if (tid <= 0)
        return true;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)tid);
    sf_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return true;
    text[n] = '\0';
    return caller_stops_by(text);
}
