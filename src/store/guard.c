/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/lock.h"

static _Thread_local sigjmp_buf back;
static _Thread_local const char *marker;
static _Thread_local volatile sig_atomic_t held;

static const int signals[] = {SIGBUS, SIGSEGV, SIGABRT};
static struct sigaction before[sizeof signals / sizeof *signals];
static struct sf_mutex install_lock = SF_MUTEX_INIT(0);

static void
on_signal(int sig, siginfo_t *info, void *context)
{
    bool fault = info->si_code > 0; /* not sent by somebody */
    (void)context;
    if (held && fault && (sig == SIGBUS || (sig == SIGSEGV && !marker)))
        siglongjmp(back, 1);
    if (held && marker) {
        int fd = open(marker, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
    }
    /* The instruction is run again, or abort() goes on: the end, as it was before us. */
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (signals[i] == sig)
            sigaction(sig, &before[i], NULL);
    if (!fault)
        raise(sig);
}

void
sf_guard_install(void)
{
    struct sigaction now,
        own = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigemptyset(&own.sa_mask);
    SF_GUARD(&install_lock);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        sigaction(signals[i], NULL, &now);
        if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_signal)
            continue;
        before[i] = now;
        sigaction(signals[i], &own, NULL);
    }
}

int
sf_guarded(const char *path, int (*fn)(void *arg), void *arg)
{
    marker = path;
    if (sigsetjmp(back, 0)) {
        held = 0;
        return -EFAULT;
    }
    held = 1;
    int rc = fn(arg);
    held = 0;
    return rc;
}

void
sf_guard_leave(void)
{
    if (held && !marker)
        siglongjmp(back, 1);
}
