/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/internal.h"

#include "base/cleanup.h"
#include "daemon/providers.h"
#include "fuse/session.h"
#include "http/http.h"
#include "observe/log.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void
served_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void
hold_signals(void)
{
    sigset_t set;
    served_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* On the event thread, which is where the keys' files are read otherwise too. */
static void
reload_keys(void *arg)
{
    struct daemon *d = arg;
    struct sf_err err = SF_ERR_INIT;
    int rc = sf_auth_reload(d->auth, true, &err);
    if (rc < 0)
        sf_warn("daemon", "event=key-not-reloaded key=%s err=%s", sf_auth_label(d->auth), err.msg);
    else
        sf_info("daemon", "event=key-reloaded key=%s changed=%d", sf_auth_label(d->auth), rc);
    providers_reload(d);
}

static void
reload(struct daemon *d)
{
    struct sf_err err = SF_ERR_INIT;
    if (sf_log_reopen(&err) < 0)
        sf_warn("daemon", "event=log-not-reopened err=%s", err.msg);
    if (sf_http_post(d->http, reload_keys, d) < 0)
        sf_warn("daemon", "event=key-not-reloaded err=%s", "out of memory");
}

/* Returns true when it says stop. */
static bool
one_signal(struct daemon *d, int fd)
{
    struct signalfd_siginfo si;
    if (read(fd, &si, sizeof si) != (ssize_t)sizeof si)
        return false;
    if (si.ssi_signo == SIGHUP) {
        reload(d);
        return false;
    }
    sf_info("daemon", "event=signal number=%u from_pid=%u", si.ssi_signo, si.ssi_pid);
    return true;
}

void
serve(struct daemon *d)
{
    sigset_t set;
    served_signals(&set);
    sf_autofd int fd = signalfd(-1, &set, SFD_CLOEXEC);
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN},
                          {.fd = sf_fuse_ended_fd(d->fuse), .events = POLLIN}};
    for (;;) {
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return;
        if (p[1].revents)
            return;
        if (p[0].revents && one_signal(d, fd))
            return;
    }
}
