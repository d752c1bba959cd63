/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * lossyfs MOUNTPOINT [SEED [lenient]]
 *
 * A file system in memory whose loss of power is an order: what was not synced is dropped, or kept
 * by chance (lossy-disk.h). For the state directory of a daemon under test. Runs in the foreground
 * and ends when unmounted. `lenient`: fsync of a file also makes its name safe.
 *
 * Orders are extended attributes of the root:
 *   setfattr -n user.lossyfs.lose -v "SEED [PERCENT]" MOUNTPOINT
 *       the loss. Whoever has files open is dead. PERCENT of what is not safe is kept, else as the
 *       dice say.
 *   getfattr -n user.lossyfs.report MOUNTPOINT
 *       what all losses did
 */
#define FUSE_USE_VERSION 314

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lossy-disk.h"

#define ORDER_LOSE   "user.lossyfs.lose"
#define ORDER_REPORT "user.lossyfs.report"
#define COPY_MAX     (1u << 20)

static struct lossy_disk *disk; /* used by the one thread of the session */

static struct lossy_node *
node_of(fuse_ino_t ino)
{
    return ino == FUSE_ROOT_ID ? lossy_root(disk) : (struct lossy_node *)(uintptr_t)ino;
}

static void
reply(fuse_req_t req, int rc)
{
    fuse_reply_err(req, -rc);
}

static struct stat
attributes(const struct lossy_node *n)
{
    return (struct stat){.st_ino = n->ino,
                         .st_mode = n->mode,
                         .st_nlink = n->names,
                         .st_uid = n->uid,
                         .st_gid = n->gid,
                         .st_size = (off_t)n->size,
                         .st_blksize = LOSSY_PAGE,
                         .st_blocks = (blkcnt_t)(lossy_bytes(n) / 512),
                         .st_atim = n->atime,
                         .st_mtim = n->mtime,
                         .st_ctim = n->ctime};
}

/* The kernel keeps no name and no attribute: after a loss they are others. */
static struct fuse_entry_param
entered(struct lossy_node *n)
{
    lossy_ref(n);
    return (struct fuse_entry_param){.ino = (uintptr_t)n, .attr = attributes(n)};
}

static void
op_init(void *arg, struct fuse_conn_info *conn)
{
    (void)arg;
    conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS);
}

static void
op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct lossy_node *n = lossy_find(node_of(parent), name);
    if (!n) {
        reply(req, -ENOENT);
        return;
    }
    struct fuse_entry_param e = entered(n);
    fuse_reply_entry(req, &e);
}

static void
op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    if (ino != FUSE_ROOT_ID)
        lossy_unref(node_of(ino), count);
    fuse_reply_none(req);
}

static void
op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)fi;
    struct stat st = attributes(node_of(ino));
    fuse_reply_attr(req, &st, 0);
}

static void
op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
    (void)fi;
    struct lossy_node *n = node_of(ino);
    if (to_set & FUSE_SET_ATTR_MODE)
        n->mode = (n->mode & S_IFMT) | (attr->st_mode & ~(mode_t)S_IFMT);
    if (to_set & FUSE_SET_ATTR_UID)
        n->uid = attr->st_uid;
    if (to_set & FUSE_SET_ATTR_GID)
        n->gid = attr->st_gid;
    if (to_set & FUSE_SET_ATTR_SIZE)
        lossy_resize(disk, n, (uint64_t)attr->st_size);
    if (to_set & FUSE_SET_ATTR_ATIME)
        n->atime = attr->st_atim;
    if (to_set & FUSE_SET_ATTR_MTIME)
        n->mtime = attr->st_mtim;
    struct stat st = attributes(n);
    fuse_reply_attr(req, &st, 0);
}

static int
make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_entry_param *e)
{
    struct lossy_node *n;
    int rc = lossy_make(disk, node_of(parent), name, mode, &n);
    if (rc)
        return rc;
    n->uid = fuse_req_ctx(req)->uid;
    n->gid = fuse_req_ctx(req)->gid;
    *e = entered(n);
    return 0;
}

static void
op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct fuse_entry_param e;
    int rc = make(req, parent, name, S_IFDIR | mode, &e);
    if (rc)
        reply(req, rc);
    else
        fuse_reply_entry(req, &e);
}

static void
op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
          struct fuse_file_info *fi)
{
    struct fuse_entry_param e;
    int rc = make(req, parent, name, S_IFREG | (mode & ~(mode_t)S_IFMT), &e);
    if (rc) {
        reply(req, rc);
        return;
    }
    fi->fh = (unsigned)fi->flags;
    fuse_reply_create(req, &e, fi);
}

static void
op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    fi->fh = (unsigned)fi->flags;
    fi->keep_cache = 1; /* nobody but the kernel changes a file, and a loss gives new ones */
    fuse_reply_open(req, fi);
}

static void
op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    reply(req, lossy_remove(disk, node_of(parent), name, false));
}

static void
op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    reply(req, lossy_remove(disk, node_of(parent), name, true));
}

static void
op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
          const char *to_name, unsigned flags)
{
    reply(req, lossy_rename(disk, node_of(parent), name, node_of(to_parent), to_name, flags));
}

static void
op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    char *buf = malloc(size);
    if (!buf) {
        reply(req, -ENOMEM);
        return;
    }
    fuse_reply_buf(req, buf, lossy_read(node_of(ino), buf, size, (uint64_t)off));
    free(buf);
}

static void
op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
         struct fuse_file_info *fi)
{
    struct lossy_node *n = node_of(ino);
    lossy_write(disk, n, buf, size, (uint64_t)off);
    if (!fi->writepage && (fi->fh & O_DSYNC)) /* which O_SYNC has, too */
        lossy_sync_range(n, (uint64_t)off, size);
    fuse_reply_write(req, size);
}

static void
op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_off, struct fuse_file_info *from_fi,
                   fuse_ino_t to, off_t to_off, struct fuse_file_info *to_fi, size_t len, int flags)
{
    (void)from_fi, (void)to_fi, (void)flags;
    size_t n = len < COPY_MAX ? len : COPY_MAX;
    char *buf = malloc(n);
    if (!buf) {
        reply(req, -ENOMEM);
        return;
    }
    n = lossy_read(node_of(from), buf, n, (uint64_t)from_off);
    lossy_write(disk, node_of(to), buf, n, (uint64_t)to_off);
    fuse_reply_write(req, n);
    free(buf);
}

static void
op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
             struct fuse_file_info *fi)
{
    (void)fi;
    struct lossy_node *n = node_of(ino);
    uint64_t end = (uint64_t)off + (uint64_t)len;
    if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
        reply(req, -EOPNOTSUPP);
        return;
    }
    if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
        lossy_zero(disk, n, (uint64_t)off, (uint64_t)len);
    if (!(mode & FALLOC_FL_KEEP_SIZE) && end > n->size)
        lossy_resize(disk, n, end);
    reply(req, 0);
}

static void
op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
    (void)fi;
    int64_t at = lossy_seek(node_of(ino), (uint64_t)off, whence);
    if (at < 0)
        reply(req, (int)at);
    else
        fuse_reply_lseek(req, at);
}

static void
op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
    (void)fi;
    lossy_sync(disk, node_of(ino), data_only);
    reply(req, 0);
}

/* ---- directories ------------------------------------------------------------------------------
 */

struct listing {
    char *buf;
    size_t len, room;
};

static int
list(fuse_req_t req, struct listing *l, const char *name, const struct lossy_node *n)
{
    struct stat st = {.st_ino = n->ino, .st_mode = n->mode};
    size_t need = fuse_add_direntry(req, NULL, 0, name, NULL, 0);
    if (l->len + need > l->room) {
        char *more = realloc(l->buf, 2 * (l->room + need));
        if (!more)
            return -ENOMEM;
        l->buf = more;
        l->room = 2 * (l->room + need);
    }
    fuse_add_direntry(req, l->buf + l->len, need, name, &st, (off_t)(l->len + need));
    l->len += need;
    return 0;
}

/* A handle lists what was there when it was opened. */
static void
op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    const struct lossy_node *dir = node_of(ino);
    struct listing *l = calloc(1, sizeof *l);
    int rc = l ? list(req, l, ".", dir) : -ENOMEM;
    if (!rc)
        rc = list(req, l, "..", dir);
    for (const struct lossy_entry *e = dir->now; e && !rc; e = e->next)
        rc = list(req, l, e->name, e->node);
    if (rc) {
        if (l)
            free(l->buf);
        free(l);
        reply(req, rc);
        return;
    }
    fi->fh = (uintptr_t)l;
    fuse_reply_open(req, fi);
}

static void
op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)ino;
    const struct listing *l = (const struct listing *)(uintptr_t)fi->fh;
    size_t at = (size_t)off < l->len ? (size_t)off : l->len, end = at;
    while (end < l->len) { /* whole entries only; each has its length in its name */
        uint32_t name_len;
        memcpy(&name_len, l->buf + end + 2 * sizeof(uint64_t), sizeof name_len);
        size_t next = end + ((3 * sizeof(uint64_t) + name_len + 7) & ~(size_t)7);
        if (next - at > size)
            break;
        end = next;
    }
    fuse_reply_buf(req, l->buf + at, end - at);
}

static void
op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    struct listing *l = (struct listing *)(uintptr_t)fi->fh;
    free(l->buf);
    free(l);
    reply(req, 0);
}

static void
op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    (void)ino;
    struct statvfs st = {.f_bsize = LOSSY_PAGE,
                         .f_frsize = LOSSY_PAGE,
                         .f_blocks = 1u << 20,
                         .f_bfree = 1u << 20,
                         .f_bavail = 1u << 20,
                         .f_files = 1u << 20,
                         .f_ffree = 1u << 20,
                         .f_namemax = NAME_MAX};
    fuse_reply_statfs(req, &st);
}

/* ---- extended attributes, and orders ----------------------------------------------------------
 */

/* "SEED" or "SEED PERCENT" */
static int
lose(const char *value, size_t len)
{
    char text[32], *end;
    if (!len || len >= sizeof text)
        return -EINVAL;
    memcpy(text, value, len);
    text[len] = '\0';
    errno = 0;
    uint64_t seed = strtoull(text, &end, 10);
    long percent = -1;
    if (*end == ' ')
        percent = strtol(end + 1, &end, 10);
    if (*end || errno || percent > 100)
        return -EINVAL;
    lossy_lose(disk, seed, (int)percent);
    return 0;
}

static int
report(char *text, size_t room)
{
    const struct lossy_report *r = lossy_report(disk);
    return snprintf(text, room,
                    "losses %u names %u kept %u dropped pages %u kept %u torn %u dropped "
                    "attributes %u kept %u dropped",
                    r->losses, r->names_kept, r->names_dropped, r->pages_kept, r->pages_torn,
                    r->pages_dropped, r->xattrs_kept, r->xattrs_dropped);
}

static void
op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
            int flags)
{
    if (strcmp(name, ORDER_LOSE) == 0)
        reply(req, ino == FUSE_ROOT_ID ? lose(value, size) : -EINVAL);
    else if (strncmp(name, "user.", 5) != 0)
        reply(req, -EOPNOTSUPP);
    else
        reply(req, lossy_set_xattr(node_of(ino), name, value, size, flags));
}

static void
op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    reply(req, lossy_set_xattr(node_of(ino), name, NULL, 0, 0));
}

static void
reply_value(fuse_req_t req, const void *value, size_t len, size_t room)
{
    if (!room)
        fuse_reply_xattr(req, len);
    else if (len > room)
        reply(req, -ERANGE);
    else
        fuse_reply_buf(req, value, len);
}

static void
op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    if (ino == FUSE_ROOT_ID && strcmp(name, ORDER_REPORT) == 0) {
        char text[256];
        int len = report(text, sizeof text);
        reply_value(req, text, (size_t)len, size);
        return;
    }
    const struct lossy_xattr *x = lossy_xattr(node_of(ino), name);
    if (x)
        reply_value(req, x->now, x->now_len, size);
    else
        reply(req, -ENODATA);
}

static void
op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    char names[4096];
    size_t len = 0;
    for (const struct lossy_xattr *x = node_of(ino)->xattrs; x; x = x->next) {
        size_t some = strlen(x->name) + 1;
        if (!x->now)
            continue;
        if (len + some > sizeof names) {
            reply(req, -E2BIG);
            return;
        }
        memcpy(names + len, x->name, some);
        len += some;
    }
    reply_value(req, names, len, size);
}

static const struct fuse_lowlevel_ops ops = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .mkdir = op_mkdir,
    .unlink = op_unlink,
    .rmdir = op_rmdir,
    .rename = op_rename,
    .open = op_open,
    .create = op_create,
    .read = op_read,
    .write = op_write,
    .copy_file_range = op_copy_file_range,
    .fallocate = op_fallocate,
    .lseek = op_lseek,
    .fsync = op_fsync,
    .fsyncdir = op_fsync,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .releasedir = op_releasedir,
    .statfs = op_statfs,
    .setxattr = op_setxattr,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .removexattr = op_removexattr,
};

int
main(int argc, char **argv)
{
    if (argc < 2 || argc > 4 || (argc == 4 && strcmp(argv[3], "lenient") != 0)) {
        fputs("usage: lossyfs MOUNTPOINT [SEED [lenient]]\n", stderr);
        return 2;
    }
    char *session_argv[] = {argv[0], (char[]){"-o"}, (char[]){"fsname=lossyfs,subtype=lossyfs"},
                            NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, session_argv);
    disk = lossy_new(argc > 2 ? strtoull(argv[2], NULL, 10) : 1, argc == 4);
    struct fuse_session *se = fuse_session_new(&args, &ops, sizeof ops, NULL);
    int rc = 1;
    if (se && fuse_set_signal_handlers(se) == 0) {
        if (fuse_session_mount(se, argv[1]) == 0) {
            rc = fuse_session_loop(se) ? 1 : 0;
            fuse_session_unmount(se);
        }
        fuse_remove_signal_handlers(se);
    }
    if (se)
        fuse_session_destroy(se);
    fuse_opt_free_args(&args);
    lossy_free(disk);
    return rc;
}
