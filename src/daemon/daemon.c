/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/daemon.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "config/config.h"
#include "config/keys.h"
#include "daemon/internal.h"
#include "daemon/place.h"
#include "daemon/systemd.h"
#include "fuse/session.h"
#include "observe/log.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARENAS 2

/* ---- the process ------------------------------------------------------------------------------
 */

/* Nobody but root may look into the memory that holds the key; no core file either. */
static void
harden(void)
{
    const struct rlimit none = {0, 0};
    struct rlimit files;
    setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* the leak checker looks at the process from outside */
    prctl(PR_SET_DUMPABLE, 0);
#endif
    umask(077);
    /* Some thirty threads would have as many heaps as glibc allows, each with holes of its own. */
    mallopt(M_ARENA_MAX, ARENAS);
    /* Every file that is written has a local file. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int
open_log(const struct sf_config *cfg, bool foreground, struct sf_outcome *o)
{
    const char *target = sf_config_str(cfg, SF_OPT_LOG_TARGET);
    const char *file = sf_config_str(cfg, SF_OPT_LOG_FILE);
    struct sf_err err = SF_ERR_INIT;
    struct sf_log_options opt = {.file = file, .levels = sf_config_str(cfg, SF_OPT_LOG_LEVEL)};
    if (!strcmp(target, "stderr"))
        opt.sinks = SF_LOG_STDERR;
    else if (!strcmp(target, "syslog"))
        opt.sinks = SF_LOG_SYSLOG;
    else if (file || !strcmp(target, "file"))
        opt.sinks = SF_LOG_FILE;
    else
        opt.sinks = foreground ? SF_LOG_STDERR : SF_LOG_SYSLOG;
    if (opt.sinks == SF_LOG_FILE && !file)
        return sf_outcome_fail(o, SF_EXIT_USAGE, "log_target=file needs a log_file=PATH");
    if (sf_log_open(&opt, &err) < 0)
        return sf_outcome_fail(o, SF_EXIT_USAGE, "%s", err.msg);
    return 0;
}

static int
start(struct daemon *d, const struct sf_mount_args *a, struct sf_outcome *o)
{
    struct sf_err err = SF_ERR_INIT;
    if (open_log(a->cfg, a->foreground, o) < 0 || sf_place_prepare(a->mountpoint, d->point, o) < 0)
        return -1;
    if (sf_fuse_available(&err) < 0)
        return sf_outcome_fail(o, SF_EXIT_NO_FUSE, "%s", err.msg);
    harden();
    if (start_all(d, a->key, o) < 0)
        return -1;
    sf_outcome_say(o, "%s is mounted on %s", sf_config_str(a->cfg, SF_OPT_URL), d->point);
    return 0;
}

/* Returns what to exit with. @tell: called once, when it serves or has failed. */
static enum sf_exit
run(const struct sf_mount_args *a, void (*tell)(void *arg, const struct sf_outcome *o), void *arg,
    struct sf_outcome *o)
{
    struct daemon d = {.cfg = a->cfg, .since_ns = sf_wall_ns()};
    sf_trouble_init(&d.trouble);
    d.dirs.cache_fd = d.dirs.state_fd = -1;
    o->exit = SF_EXIT_OK;
    o->text[0] = '\0';
    int rc = start(&d, a, o);
    if (rc < 0) {
        tell(arg, o);
        if (d.fuse)
            sf_fuse_stop(d.fuse);
        stop_free(&d);
        sf_log_close();
        return o->exit;
    }
    tell(arg, o);
    sf_systemd_notify("READY=1\nSTATUS=serving");
    serve(&d);
    unsigned failed = stop_all(&d);
    stop_free(&d);
    sf_log_close();
    return failed ? SF_EXIT_FAILED : SF_EXIT_OK;
}

/* ---- in the background ------------------------------------------------------------------------
 */

struct parent {
    int fd;           /* where it listens */
    bool keep_stderr; /* the log goes there */
};

static void
leave_terminal(bool keep_stderr)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd < (keep_stderr ? 2 : 3); fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
    setsid();
    (void)!chdir("/");
}

/* The child's side: leave the terminal, and tell the waiting parent. */
static void
tell_parent(void *arg, const struct sf_outcome *o)
{
    struct parent *p = arg;
    if (o->exit == SF_EXIT_OK)
        leave_terminal(p->keep_stderr);
    (void)!sf_write_full(p->fd, o, sizeof *o);
    close(p->fd);
}

static enum sf_exit
wait_child(int fd, pid_t pid, struct sf_outcome *said)
{
    struct sf_outcome o;
    int status = 0;
    ssize_t n = sf_read_full(fd, &o, sizeof o);
    if (n == (ssize_t)sizeof o) {
        *said = o;
        if (o.exit != SF_EXIT_OK)
            waitpid(pid, &status, 0); /* locks and mount are gone when we return */
        return o.exit;
    }
    waitpid(pid, &status, 0);
    sf_outcome_fail(said, SF_EXIT_FAILED,
                    "the mount's process ended before it served (status %d, signal %d); "
                    "`supafs mount -f` shows more",
                    WIFEXITED(status) ? WEXITSTATUS(status) : 0,
                    WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return said->exit;
}

static enum sf_exit
in_background(const struct sf_mount_args *a, struct sf_outcome *said)
{
    int fd[2];
    if (pipe2(fd, O_CLOEXEC) < 0) {
        sf_outcome_fail(said, SF_EXIT_FAILED, "cannot make a pipe: %s", strerror(errno));
        return said->exit;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        sf_outcome_fail(said, SF_EXIT_FAILED, "cannot fork: %s", strerror(errno));
        close(fd[0]);
        close(fd[1]);
        return said->exit;
    }
    if (pid == 0) {
        close(fd[0]);
        struct parent p = {fd[1], !strcmp(sf_config_str(a->cfg, SF_OPT_LOG_TARGET), "stderr")};
        exit(run(a, tell_parent, &p, said));
    }
    close(fd[1]);
    sf_config_wipe_keys(a->cfg); /* the child has its own */
    enum sf_exit code = wait_child(fd[0], pid, said);
    close(fd[0]);
    return code;
}

/* ---- in the foreground ------------------------------------------------------------------------
 */

static void
tell_here(void *arg, const struct sf_outcome *o)
{
    void (**ready)(const struct sf_outcome *) = arg;
    if (o->exit == SF_EXIT_OK)
        (*ready)(o);
}

enum sf_exit
sf_daemon_mount(const struct sf_mount_args *args, void (*ready)(const struct sf_outcome *said),
                struct sf_outcome *said)
{
    return args->foreground ? run(args, tell_here, &ready, said) : in_background(args, said);
}
