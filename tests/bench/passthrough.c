/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * passthrough SOURCE MOUNTPOINT [TTL-SECONDS [SUBTYPE]]
 *
 * Another directory's files, for reading, as directly as FUSE can show them: what a mount could
 * reach for what it has cached. Low-level API, several threads, names and attributes kept by the
 * kernel for as long as those of the mount it is compared with. Runs in the foreground, ends when
 * unmounted. With SUBTYPE its type is fuse.SUBTYPE: tests play a mount of somebody
 * else that says it is supafs.
 */
#define FUSE_USE_VERSION 314

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS  4
#define BUCKETS  65536u
#define MAX_READ (1u << 20)

/* One file or directory that the kernel knows; its address is the node id. */
struct node {
    struct node *next;
    ino_t ino;
    dev_t dev;
    int fd; /* O_PATH */
    uint64_t lookups;
};

static struct node root;
static double ttl = 60;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects all below */
static struct node *nodes[BUCKETS];

static struct node *
node_of(fuse_ino_t ino)
{
    return ino == FUSE_ROOT_ID ? &root : (struct node *)(uintptr_t)ino;
}

static int
enter(int dirfd, const char *name, struct fuse_entry_param *e)
{
    *e = (struct fuse_entry_param){.attr_timeout = ttl, .entry_timeout = ttl};
    int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstatat(fd, "", &e->attr, AT_EMPTY_PATH) < 0) {
        int err = errno;
        if (fd >= 0)
            close(fd);
        return err;
    }
    pthread_mutex_lock(&lock);
    struct node **at = &nodes[e->attr.st_ino % BUCKETS], *n = *at;
    while (n && (n->ino != e->attr.st_ino || n->dev != e->attr.st_dev))
        n = n->next;
    if (n) {
        close(fd);
    } else if ((n = calloc(1, sizeof *n))) {
        *n = (struct node){.next = *at, .ino = e->attr.st_ino, .dev = e->attr.st_dev, .fd = fd};
        *at = n;
    }
    if (n)
        n->lookups++;
    pthread_mutex_unlock(&lock);
    e->ino = (uintptr_t)n;
    return n ? 0 : ENOMEM;
}

static void
leave(fuse_ino_t ino, uint64_t count)
{
    struct node *n = node_of(ino);
    if (n == &root)
        return;
    pthread_mutex_lock(&lock);
    n->lookups -= count;
    bool last = !n->lookups;
    struct node **at = &nodes[n->ino % BUCKETS];
    while (last && *at != n)
        at = &(*at)->next;
    if (last)
        *at = n->next;
    pthread_mutex_unlock(&lock);
    if (last) {
        close(n->fd);
        free(n);
    }
}

static void
do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param e;
    int err = enter(node_of(parent)->fd, name, &e);
    if (err)
        fuse_reply_err(req, err);
    else
        fuse_reply_entry(req, &e);
}

static void
do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    leave(ino, count);
    fuse_reply_none(req);
}

static void
do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st;
    (void)fi;
    if (fstatat(node_of(ino)->fd, "", &st, AT_EMPTY_PATH) < 0)
        fuse_reply_err(req, errno);
    else
        fuse_reply_attr(req, &st, ttl);
}

static void
do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", node_of(ino)->fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fuse_reply_err(req, errno);
        return;
    }
    fi->fh = (uint64_t)fd;
    fi->keep_cache = 1;
    fuse_reply_open(req, fi);
}

static void
do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    static _Thread_local char buf[MAX_READ];
    (void)ino;
    ssize_t n = pread((int)fi->fh, buf, size < MAX_READ ? size : MAX_READ, off);
    if (n < 0)
        fuse_reply_err(req, errno);
    else
        fuse_reply_buf(req, buf, (size_t)n);
}

static void
do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    (void)fi;
    fuse_reply_err(req, 0);
}

static void
do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    close((int)fi->fh);
    fuse_reply_err(req, 0);
}

static void
do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    int fd = openat(node_of(ino)->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        fuse_reply_err(req, errno);
        return;
    }
    fi->fh = (uintptr_t)dir;
    fuse_reply_open(req, fi);
}

static void
read_dir(fuse_req_t req, size_t size, off_t off, const struct fuse_file_info *fi, bool plus)
{
    DIR *dir = (DIR *)(uintptr_t)fi->fh;
    char *buf = malloc(size);
    size_t used = 0, n = 0;
    seekdir(dir, off);
    for (const struct dirent *d; buf && (d = readdir(dir)); used += n) {
        struct fuse_entry_param e = {.attr.st_ino = d->d_ino,
                                     .attr.st_mode = (mode_t)d->d_type << 12};
        bool known = plus && strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
        if (known && enter(dirfd(dir), d->d_name, &e) != 0) {
            n = 0;
            continue;
        }
        n = plus ? fuse_add_direntry_plus(req, buf + used, size - used, d->d_name, &e, d->d_off)
                 : fuse_add_direntry(req, buf + used, size - used, d->d_name, &e.attr, d->d_off);
        if (n > size - used) {
            if (known)
                leave(e.ino, 1);
            break;
        }
    }
    fuse_reply_buf(req, buf, used);
    free(buf);
}

static void
do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)ino;
    read_dir(req, size, off, fi, false);
}

static void
do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)ino;
    read_dir(req, size, off, fi, true);
}

static void
do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    closedir((DIR *)(uintptr_t)fi->fh);
    fuse_reply_err(req, 0);
}

static void
do_readlink(fuse_req_t req, fuse_ino_t ino)
{
    char target[4096];
    ssize_t n = readlinkat(node_of(ino)->fd, "", target, sizeof target - 1);
    if (n < 0) {
        fuse_reply_err(req, errno);
        return;
    }
    target[n] = '\0';
    fuse_reply_readlink(req, target);
}

static const struct fuse_lowlevel_ops operations = {
    .lookup = do_lookup,
    .forget = do_forget,
    .getattr = do_getattr,
    .readlink = do_readlink,
    .open = do_open,
    .read = do_read,
    .flush = do_flush,
    .release = do_release,
    .opendir = do_opendir,
    .readdir = do_readdir,
    .readdirplus = do_readdirplus,
    .releasedir = do_releasedir,
};

int
main(int argc, char **argv)
{
    char subtype[64], *arg[] = {argv[0], subtype, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(argc == 5 ? 2 : 1, arg);
    if (argc < 3 || argc > 5) {
        fputs("usage: passthrough SOURCE MOUNTPOINT [TTL-SECONDS [SUBTYPE]]\n", stderr);
        return 2;
    }
    snprintf(subtype, sizeof subtype, "-osubtype=%s", argc == 5 ? argv[4] : "");
    if (argc > 3)
        ttl = strtod(argv[3], NULL);
    root.fd = open(argv[1], O_PATH | O_CLOEXEC);
    struct fuse_session *se = fuse_session_new(&args, &operations, sizeof operations, NULL);
    struct fuse_loop_config *cfg = fuse_loop_cfg_create();
    if (root.fd < 0 || !se || !cfg || fuse_session_mount(se, argv[2]) != 0) {
        perror("passthrough");
        return 1;
    }
    fuse_loop_cfg_set_clone_fd(cfg, 0);
    fuse_loop_cfg_set_max_threads(cfg, WORKERS);
    fuse_loop_cfg_set_idle_threads(cfg, WORKERS);
    fuse_set_signal_handlers(se);
    int rc = fuse_session_loop_mt(se, cfg);
    fuse_remove_signal_handlers(se);
    fuse_loop_cfg_destroy(cfg);
    fuse_session_unmount(se);
    fuse_session_destroy(se);
    fuse_opt_free_args(&args);
    return rc != 0;
}
