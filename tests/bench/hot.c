/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * hot OPERATION COUNT
 *
 * Does what answers from memory so many times, from the handlers of fuse/ down, over a project in
 * memory and with libfuse's replies taken by nobody; for tests/bench/callgrind, which counts the
 * instructions inside measured(). Prints how many operations these were: COUNT, or for "entry" the
 * entries of listings. "read" is from memory, "read-small" a small file's from the index of the
 * local disk, "read-disk" from a block file there.
 */
#include "fuse/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "http/http.h"
#include "provider/want.h"
#include "unit/fake-project.h"

#define FILES  1000
#define SIZE   4096
#define LARGE  (32u << 20)
#define MEMORY (4u << 20)

/* ---- in place of libfuse ----------------------------------------------------------------------
 */

struct fuse_req {
    struct sf_fuse *f;
    struct fuse_ctx ctx;
};

/* What the last reply said. */
static struct {
    int err;
    fuse_ino_t ino;
    uint64_t fh;
    size_t len;
    uint64_t entries; /* of a listing, were it one */
} said;

int
fuse_reply_err(fuse_req_t req, int err)
{
    (void)req;
    said.err = err;
    return 0;
}

int
fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *e)
{
    (void)req;
    said.ino = e->ino;
    return 0;
}

int
fuse_reply_attr(fuse_req_t req, const struct stat *st, double timeout)
{
    (void)req;
    (void)timeout;
    said.len = (size_t)st->st_size;
    return 0;
}

int
fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
    (void)req;
    said.fh = fi->fh;
    return 0;
}

int
fuse_reply_buf(fuse_req_t req, const char *buf, size_t len)
{
    const size_t head = offsetof(struct fuse_direntplus, dirent.name);
    struct fuse_direntplus d;
    (void)req;
    said.len = len;
    said.entries = 0;
    for (size_t at = 0; buf && at + head <= len; said.entries++) {
        memcpy(&d, buf + at, head);
        at += (head + d.dirent.namelen + 7) / 8 * 8;
    }
    return 0;
}

int
fuse_reply_iov(fuse_req_t req, const struct iovec *iov, int n)
{
    (void)req;
    said.len = 0;
    for (int i = 0; i < n; i++)
        said.len += iov[i].iov_len;
    return 0;
}

void *
fuse_req_userdata(fuse_req_t req)
{
    return req->f;
}

const struct fuse_ctx *
fuse_req_ctx(fuse_req_t req)
{
    return &req->ctx;
}

void
fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
    (void)req;
    (void)func;
    (void)data;
}

/* ---- in place of the event thread -------------------------------------------------------------
 */

static sf_http_call_fn timer_fn;

uint64_t
sf_http_timer(struct sf_http *http, int64_t at_ms, sf_http_call_fn fn, void *arg)
{
    (void)http;
    (void)at_ms;
    (void)arg;
    timer_fn = fn;
    return 1;
}

bool
sf_http_timer_cancel(struct sf_http *http, uint64_t id)
{
    (void)http;
    (void)id;
    return true;
}

/* ---- in place of the providers, of which there are none ----------------------------------------
 */

const struct sf_provider_confs *
sf_providers_confs(const struct sf_providers *ps)
{
    static const struct sf_provider_confs none;
    (void)ps;
    return &none;
}

uint64_t
sf_want(struct sf_providers *ps, const char *provider, const struct sf_want_file *file,
        const struct sf_want_how *how, sf_wanted_fn fn, void *arg)
{
    (void)ps, (void)provider, (void)file, (void)how, (void)fn, (void)arg;
    abort();
}

void
sf_want_cancel(struct sf_providers *ps, uint64_t id)
{
    (void)ps, (void)id;
}

int
sf_want_known(struct sf_providers *ps, const char *provider, const struct sf_want_file *file,
              const char *purpose, struct sf_want_state *out)
{
    (void)ps, (void)provider, (void)file, (void)purpose, (void)out;
    return -ENOENT;
}

int
sf_want_forget(struct sf_providers *ps, const char *provider, const struct sf_want_file *file)
{
    (void)ps, (void)provider, (void)file;
    return -ENOENT;
}

/* ---- in place of the chats, of which there are none --------------------------------------------
 */

#define NEVER(name)                                                                                \
    void never_##name(void) __asm__(#name);                                                        \
    void never_##name(void)                                                                        \
    {                                                                                              \
        abort();                                                                                   \
    }
NEVER(sf_chat_abandon)
NEVER(sf_chat_access)
NEVER(sf_chat_cancel)
NEVER(sf_chat_covered)
NEVER(sf_chat_create)
NEVER(sf_chat_dirent)
NEVER(sf_chat_flush)
NEVER(sf_chat_forget)
NEVER(sf_chat_getattr)
NEVER(sf_chat_getxattr)
NEVER(sf_chat_lookup)
NEVER(sf_chat_moved)
NEVER(sf_chat_maybe)
NEVER(sf_chat_open)
NEVER(sf_chat_opendir)
NEVER(sf_chat_poll)
NEVER(sf_chat_read)
NEVER(sf_chat_release)
NEVER(sf_chat_releasedir)
NEVER(sf_chat_setattr)
NEVER(sf_chat_setxattr)
NEVER(sf_chat_unlink)
NEVER(sf_chat_write)
NEVER(sf_chat_xattr_is)

/* ---- operations -------------------------------------------------------------------------------
 */

static struct sf_fuse fuse;
static struct sf_cache *blocks;
static struct fuse_req request = {.f = &fuse, .ctx = {.uid = 1, .gid = 1, .pid = 1}};
static fuse_ino_t dir, nodes[FILES];
static char names[FILES][16];
static struct fuse_file_info file, large, listing;
static char cache_dir[] = "/tmp/supafs-hot.XXXXXX";

/* The answer of what may have to ask the project first. */
static void
settled(const char *what)
{
    fake_run();
    if (said.err) {
        fprintf(stderr, "hot: %s: %s\n", what, strerror(said.err));
        exit(1);
    }
}

static uint64_t
do_nothing(uint64_t i)
{
    (void)i;
    return 1;
}

static uint64_t
get_attributes(uint64_t i)
{
    do_getattr(&request, nodes[i % FILES], NULL);
    return 1;
}

static uint64_t
look_up(uint64_t i)
{
    do_lookup(&request, dir, names[i % FILES]);
    return 1;
}

static uint64_t
look_up_missing(uint64_t i)
{
    static const char *const missing[] = {"Makefile", ".git", "a.out", "HEAD"};
    do_lookup(&request, dir, missing[i % 4]);
    return 1;
}

static uint64_t
read_block(uint64_t i)
{
    (void)i;
    do_read(&request, nodes[0], SIZE, 0, &file);
    return 1;
}

/* Here and there in what is many times as large as the memory: from the local disk. */
static uint64_t
read_disk(uint64_t i)
{
    do_read(&request, nodes[0], SIZE, (off_t)(i * 2654435761u % (LARGE / SIZE) * SIZE), &large);
    return 1;
}

static uint64_t
open_close(uint64_t i)
{
    struct fuse_file_info fi = {.flags = O_RDONLY};
    do_open(&request, nodes[i % FILES], &fi);
    fi.fh = said.fh;
    do_flush(&request, nodes[i % FILES], &fi);
    do_release(&request, nodes[i % FILES], &fi);
    return 1;
}

/* What fits in one reply, over and over. */
static uint64_t
list(uint64_t i)
{
    (void)i;
    do_readdirplus(&request, dir, 4096, 0, &listing);
    return said.entries;
}

static const struct operation {
    const char *name;
    uint64_t (*run)(uint64_t i); /* returns how many it did */
    bool reads, disk;
} operations[] = {
    {"nothing", do_nothing, false, false},      {"read", read_block, true, false},
    {"read-small", read_block, true, true},     {"read-disk", read_disk, true, true},
    {"getattr", get_attributes, false, false},  {"lookup", look_up, false, false},
    {"missing", look_up_missing, false, false}, {"entry", list, false, false},
    {"open", open_close, false, false},
};

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void
remove_dir(void)
{
    nftw(cache_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Until its answer has come, from whatever thread. */
static void
wait_read(uint64_t off, struct fuse_file_info *fi)
{
    said.len = 0;
    do_read(&request, nodes[0], 131072, (off_t)off, fi);
    for (int i = 0; i < 10000 && !said.len && !said.err; i++) {
        fake_run();
        usleep(200);
    }
    settled("read");
}

static void
open_files(bool disk)
{
    struct sf_cache_stats st;
    file.flags = large.flags = O_RDONLY;
    do_open(&request, nodes[0], &file);
    settled("open");
    file.fh = said.fh;
    wait_read(0, &file);
    if (!disk)
        return;
    do_lookup(&request, dir, "large");
    settled("lookup of the large file");
    do_open(&request, said.ino, &large);
    settled("open of the large file");
    large.fh = said.fh;
    for (unsigned off = 0; off < LARGE; off += 131072)
        wait_read(off, &large);
    do
        sf_cache_get_stats(blocks, &st);
    while ((st.unwritten || st.writing) && usleep(1000) == 0);
    for (unsigned off = 0; off < LARGE; off += 131072)
        wait_read(off, &large); /* checks what has come to the disk */
    wait_read(0, &file);
}

static void
prepare(const struct operation *op)
{
    static char text[LARGE + 1];
    if (!mkdtemp(cache_dir))
        exit(1);
    const struct sf_cache_opts c = {.dir = op->disk ? cache_dir : NULL,
                                    .max_bytes = 1 << 30,
                                    .memory = MEMORY,
                                    .fetch = sf_tree_fetch,
                                    .cancel = sf_tree_fetch_cancel,
                                    .drop = sf_tree_drop};
    if (sf_cache_new(&c, &blocks, NULL) < 0)
        exit(1);
    const struct sf_tree_opts o = {.cache = blocks,
                                   .uid = 1,
                                   .gid = 2,
                                   .umask = 022,
                                   .attr_ttl_ms = 3600000,
                                   .read_timeout_ms = 1000,
                                   .write_timeout_ms = 1000,
                                   .max_nodes = 100000};
    const struct park_opts p = {.max = 1024, .read_ms = 1000, .change_ms = 1000};
    fake_bucket("b");
    memset(text, 'x', LARGE);
    fake_put("b", "d/large", text);
    text[SIZE] = '\0';
    for (int i = 0; i < FILES; i++) {
        char key[32];
        snprintf(names[i], sizeof names[i], "file-%d", i);
        snprintf(key, sizeof key, "d/file-%d", i);
        fake_put("b", key, text);
    }
    if (sf_tree_new(&o, NULL, NULL, NULL, &fuse.tree, NULL) || park_new(&p, &fuse.park))
        exit(1);
    do_lookup(&request, SF_TREE_ROOT, "b");
    settled("lookup of the bucket");
    do_lookup(&request, said.ino, "d");
    settled("lookup of the directory");
    dir = said.ino;
    do_opendir(&request, dir, &listing);
    settled("opendir");
    listing.fh = said.fh;
    do_readdirplus(&request, dir, 4096, 0, &listing);
    settled("readdirplus");
    for (int i = 0; i < FILES; i++) {
        do_lookup(&request, dir, names[i]);
        settled("lookup of a file");
        nodes[i] = said.ino;
    }
    open_files(op->disk);
}

/* What callgrind counts. */
static uint64_t __attribute__((noinline)) measured(const struct operation *op, uint64_t count)
{
    uint64_t done = 0;
    for (uint64_t i = 0; done < count; i++)
        done += op->run(i);
    return done;
}

int
main(int argc, char **argv)
{
    const struct operation *op = operations, *end = op + sizeof operations / sizeof *op;
    uint64_t count;
    while (op < end && argc == 3 && strcmp(op->name, argv[1]) != 0)
        op++;
    if (argc != 3 || op == end || sf_parse_u64(argv[2], &count) < 0 || !count) {
        fputs("usage: hot OPERATION COUNT\n", stderr);
        return 2;
    }
    prepare(op);
    said.len = 0;
    uint64_t done = measured(op, count);
    settled(op->name);
    if (op->reads && said.len != SIZE) {
        fprintf(stderr, "hot: %zu bytes read\n", said.len);
        return 1;
    }
    printf("%" PRIu64 "\n", done);
    do_releasedir(&request, dir, &listing);
    do_release(&request, nodes[0], &file);
    if (op->disk)
        do_release(&request, nodes[0], &large);
    fake_run();
    park_free(fuse.park);
    sf_tree_free(fuse.tree);
    sf_cache_free(blocks);
    remove_dir();
    fake_reset();
    return 0;
}
