/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mounts.h"
#include "base/thread.h"
#include "fuse/internal.h"
#include "observe/log.h"

#define WORKERS 4
/* Reads through the page cache count as background requests, and the kernel holds back what is over
 * this: with a few dozen, that many reads of a dead server would hold up every other. */
#define MAX_BACKGROUND 4096
#define MAX_WRITE      (1u << 20)
#define GREETING_MS    10000
#define MAX_APART      1024 /* reads of chat files that wait */
/* The tree ends what it does by its own deadlines; this is how much later nobody waits any more. */
#define GRACE_MS 1000

/* ---- what libfuse says ------------------------------------------------------------------------
 */

static char last_words[200]; /* of libfuse while mounting; one thread */

__attribute__((format(printf, 2, 0))) static void
fuse_said(enum fuse_log_level level, const char *fmt, va_list ap)
{
    char text[sizeof last_words];
    vsnprintf(text, sizeof text, fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    if (level <= FUSE_LOG_ERR) {
        snprintf(last_words, sizeof last_words, "%s", text);
        sf_warn("fuse", "event=libfuse text=%s", text);
    } else {
        sf_debug("fuse", "event=libfuse text=%s", text);
    }
}

/* ---- the session ------------------------------------------------------------------------------
 */

static void
do_init(void *userdata, struct fuse_conn_info *conn)
{
    struct sf_fuse *f = userdata;
    const unsigned want = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA |
                          FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
                          FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO;
    /* Not asked for: WRITEBACK_CACHE (does not see growth elsewhere, breaks appends), FLOCK_LOCKS
     * and POSIX_LOCKS (locks are the kernel's), HANDLE_KILLPRIV (the kernel clears set-uid bits by
     * a SETATTR), CACHE_SYMLINKS (a link's target may change under the same node). */
    conn->want = conn->capable & want;
    conn->max_write = MAX_WRITE;
    conn->max_background = MAX_BACKGROUND;
    conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
    const uint64_t one = 1;
    (void)!write(f->greeted_fd, &one, sizeof one);
}

static const struct fuse_lowlevel_ops operations = {
    .init = do_init,
    .lookup = do_lookup,
    .forget = do_forget,
    .forget_multi = do_forget_multi,
    .getattr = do_getattr,
    .setattr = do_setattr,
    .readlink = do_readlink,
    .mknod = do_mknod,
    .mkdir = do_mkdir,
    .unlink = do_unlink,
    .rmdir = do_rmdir,
    .symlink = do_symlink,
    .rename = do_rename,
    .link = do_link,
    .open = do_open,
    .read = do_read,
    .write = do_write,
    .flush = do_flush,
    .release = do_release,
    .fsync = do_fsync,
    .opendir = do_opendir,
    .readdir = do_readdir,
    .readdirplus = do_readdirplus,
    .releasedir = do_releasedir,
    .fsyncdir = do_fsyncdir,
    .statfs = do_statfs,
    .setxattr = do_setxattr,
    .getxattr = do_getxattr,
    .listxattr = do_listxattr,
    .removexattr = do_removexattr,
    .access = do_access,
    .create = do_create,
    .fallocate = do_fallocate,
    .ioctl = do_ioctl,
    .poll = do_poll,
    .copy_file_range = do_copy_file_range,
    .lseek = do_lseek,
};

/* "-o" "name=value", with what libfuse takes for a separator escaped. */
static int
add_option(struct fuse_args *args, const char *name, const char *value)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    int rc = sf_buf_printf(&b, "-o%s=", name);
    for (; !rc && *value; value++) {
        if (*value == ',' || *value == '\\')
            rc = sf_buf_putc(&b, '\\');
        if (!rc)
            rc = sf_buf_putc(&b, *value);
    }
    return rc || fuse_opt_add_arg(args, b.data) ? -ENOMEM : 0;
}

static int
add_options(struct fuse_args *args, const struct sf_fuse_opts *o)
{
    int rc = fuse_opt_add_arg(args, "supafs") || fuse_opt_add_arg(args, "-osubtype=supafs");
    if (!rc)
        rc = add_option(args, "fsname", o->fsname);
    if (!rc && o->allow_other)
        rc = fuse_opt_add_arg(args, "-oallow_other");
    if (!rc && o->default_permissions)
        rc = fuse_opt_add_arg(args, "-odefault_permissions");
    if (!rc && o->read_only)
        rc = fuse_opt_add_arg(args, "-oro");
    if (!rc && o->kernel_options && *o->kernel_options)
        rc = fuse_opt_add_arg(args, "-o") || fuse_opt_add_arg(args, o->kernel_options);
    return rc ? -ENOMEM : 0;
}

static int
copy_opts(struct sf_fuse *f, const struct sf_fuse_opts *o)
{
    f->opts = *o;
    f->opts.mountpoint = strdup(o->mountpoint);
    f->opts.fsname = strdup(o->fsname);
    f->opts.kernel_options = strdup(o->kernel_options ? o->kernel_options : "");
    return f->opts.mountpoint && f->opts.fsname && f->opts.kernel_options ? 0 : -ENOMEM;
}

int
sf_fuse_new(const struct sf_fuse_opts *opts, struct sf_tree *tree, struct sf_virtual *virt,
            struct sf_http *http, struct sf_fuse **ret, struct sf_err *err)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct sf_fuse *f = calloc(1, sizeof *f);
    if (!f)
        return sf_err_set(err, -ENOMEM, "out of memory");
    const struct park_opts park = {.max = opts->max_parked,
                                   .max_apart = MAX_APART,
                                   .read_ms = opts->read_timeout_ms + GRACE_MS,
                                   .change_ms = opts->write_timeout_ms + GRACE_MS,
                                   .http = http,
                                   .tree = tree};
    sf_mutex_init(&f->texts_lock, 0);
    f->tree = tree;
    f->virt = virt;
    f->chat = opts->chat;
    f->http = http;
    f->ended_fd = eventfd(0, EFD_CLOEXEC);
    f->greeted_fd = eventfd(0, EFD_CLOEXEC);
    int rc = f->ended_fd < 0 || f->greeted_fd < 0 ? -errno : copy_opts(f, opts);
    if (!rc)
        rc = park_new(&park, &f->park);
    if (!rc)
        rc = add_options(&args, opts);
    if (rc) {
        (void)!sf_err_set(err, rc, "cannot prepare the FUSE session: %s", strerror(-rc));
    } else {
        fuse_set_log_func(fuse_said);
        last_words[0] = '\0';
        f->se = fuse_session_new(&args, &operations, sizeof operations, f);
        if (!f->se)
            rc = sf_err_set(err, -EINVAL, "libfuse refuses the mount options: %s", last_words);
    }
    fuse_opt_free_args(&args);
    if (rc) {
        sf_fuse_free(f);
        return rc;
    }
    *ret = f;
    return 0;
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

static void
wake_up(int sig)
{
    (void)sig; /* its arrival ends the sleep of the loop's thread */
}

static void *
loop(void *arg)
{
    struct sf_fuse *f = arg;
    const uint64_t one = 1;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    struct fuse_loop_config *cfg = fuse_loop_cfg_create();
    if (cfg) {
        fuse_loop_cfg_set_clone_fd(cfg, 0);
        fuse_loop_cfg_set_max_threads(cfg, WORKERS);
        fuse_loop_cfg_set_idle_threads(cfg, WORKERS);
        int rc = fuse_session_loop_mt(f->se, cfg);
        fuse_loop_cfg_destroy(cfg);
        sf_debug("fuse", "event=loop-ended rc=%d", rc);
    }
    atomic_store(&f->gone, true);
    (void)!write(f->ended_fd, &one, sizeof one);
    return NULL;
}

static void
tell_entry(void *arg, uint64_t parent, const char *name)
{
    struct sf_fuse *f = arg;
    notify_entry(f->notify, parent, name);
}

static void
tell_node(void *arg, uint64_t node, bool data)
{
    struct sf_fuse *f = arg;
    notify_inode(f->notify, node, data);
}

static int
wait_greeting(struct sf_fuse *f, struct sf_err *err)
{
    struct pollfd p[2] = {{.fd = f->greeted_fd, .events = POLLIN},
                          {.fd = f->ended_fd, .events = POLLIN}};
    int n;
    do
        n = poll(p, 2, GREETING_MS);
    while (n < 0 && errno == EINTR);
    if (p[0].revents)
        return 0;
    return sf_err_set(err, -EIO, "the kernel's FUSE does not answer: %s",
                      *last_words ? last_words : "no greeting came");
}

int
sf_fuse_mount(struct sf_fuse *f, struct sf_err *err)
{
    const struct sigaction sa = {.sa_handler = wake_up};
    const struct sf_tree_notify told = {tell_entry, tell_node, f};
    last_words[0] = '\0';
    sigaction(SIGUSR1, &sa, NULL);
    if (fuse_session_mount(f->se, f->opts.mountpoint) != 0)
        return sf_err_set(err, -ENODEV, "FUSE refused the mount on %s: %s", f->opts.mountpoint,
                          *last_words                             ? last_words
                          : f->opts.allow_other && geteuid() != 0 ? "allow_other needs the line "
                                                                    "user_allow_other in "
                                                                    "/etc/fuse.conf"
                                                                  : "see the line before");
    f->mounted = true;
    int rc = notify_new(f->se, &f->notify);
    if (!rc) {
        sf_tree_set_notify(f->tree, &told);
        rc = sf_thread_start("fuse-loop", loop, f, &f->loop);
        f->looping = !rc;
    }
    if (rc)
        return sf_err_set(err, rc, "cannot start a thread: %s", strerror(-rc));
    rc = wait_greeting(f, err);
    if (rc == 0)
        readahead_raise(f);
    return rc;
}

int
sf_fuse_ended_fd(const struct sf_fuse *f)
{
    return f->ended_fd;
}

/* End the connection and take the mount away, but nothing that lies there in its place by now: the
 * mount may have been taken away long before, and live on in another mount namespace. */
static void
unmount(struct sf_fuse *f)
{
    struct sf_mount_copy m;
    int ends[2];
    bool there = sf_mount_find(f->opts.mountpoint, &m) == 1 && m.major == f->dev_major &&
                 m.minor == f->dev_minor;
    /* libfuse leaves the mount point alone when its descriptor says that the connection is over: as
     * a pipe without reader does. */
    if (!there && f->dev_minor && pipe2(ends, O_CLOEXEC) == 0) {
        close(ends[0]);
        dup3(ends[1], fuse_session_fd(f->se), O_CLOEXEC);
        close(ends[1]);
    }
    fuse_session_unmount(f->se);
}

void
sf_fuse_stop(struct sf_fuse *f)
{
    const struct sf_tree_notify nobody = {0};
    /* First answer everything, while the workers still run: then no notice is blocked in the kernel
     * by a request that nobody would answer. */
    park_close(f->park, ENOTCONN);
    if (f->notify) {
        sf_tree_set_notify(f->tree, &nobody);
        notify_end(f->notify);
    }
    chat_poll_end(f);
    if (f->looping) {
        fuse_session_exit(f->se);
        while (!atomic_load(&f->gone)) {
            pthread_kill(f->loop, SIGUSR1);
            usleep(2000);
        }
        pthread_join(f->loop, NULL);
        f->looping = false;
    }
    if (f->mounted)
        unmount(f);
    f->mounted = false;
}

void
sf_fuse_free(struct sf_fuse *f)
{
    if (!f)
        return;
    park_free(f->park); /* completions may use the notices until then */
    notify_free(f->notify);
    virtual_free_all(f);
    chat_free_all(f);
    sf_mutex_fini(&f->texts_lock);
    if (f->se)
        fuse_session_destroy(f->se);
    if (f->ended_fd >= 0)
        close(f->ended_fd);
    if (f->greeted_fd >= 0)
        close(f->greeted_fd);
    free((char *)f->opts.mountpoint);
    free((char *)f->opts.fsname);
    free((char *)f->opts.kernel_options);
    free(f);
}

void
sf_fuse_stats(struct sf_fuse *f, struct sf_fuse_stats *out)
{
    *out = (struct sf_fuse_stats){.waiting = park_waiting(f->park),
                                  .readahead = f->readahead,
                                  .readahead_denied = f->readahead_denied};
    if (f->notify)
        notify_stats(f->notify, &out->notices, &out->notices_lost);
}

/* ---- is there FUSE? ---------------------------------------------------------------------------
 */

static bool
in_path(const char *program)
{
    const char *path = getenv("PATH");
    sf_autofree char *copy = strdup(path ? path : "/usr/bin:/bin");
    char *save = NULL;
    for (char *dir = copy ? strtok_r(copy, ":", &save) : NULL; dir;
         dir = strtok_r(NULL, ":", &save)) {
        sf_autofree char *file = NULL;
        if (asprintf(&file, "%s/%s", dir, program) >= 0 && access(file, X_OK) == 0)
            return true;
    }
    return access("/usr/bin/fusermount3", X_OK) == 0;
}

int
sf_fuse_available(struct sf_err *err)
{
    sf_autofd int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
        return sf_err_set(err, -ENODEV,
                          "this system has no /dev/fuse; load it with `modprobe fuse`, or give "
                          "the container --device /dev/fuse --cap-add SYS_ADMIN");
    if (fd < 0 && geteuid() == 0)
        return sf_err_set(err, -ENODEV,
                          "cannot open /dev/fuse: %m; the container needs --device /dev/fuse "
                          "--cap-add SYS_ADMIN");
    int why = errno; /* of the open(2), before others set it */
    if (geteuid() != 0 && !in_path("fusermount3"))
        return sf_err_set(err, -ENODEV,
                          "there is no fusermount3; install the package fuse3, or "
                          "mount as root");
    if (fd < 0)
        return sf_err_set(err, -ENODEV,
                          "cannot open /dev/fuse: %s; ask the administrator for "
                          "access to it, or mount as root",
                          strerror(why));
    return 0;
}
