/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * fuse/op-chat.c: who is asked first for a name, tree or chats; what nobody got is given back; an
 * open outlives the calls on it; each poll handle is destroyed once. libfuse, tree and chats are
 * replaced by what is below.
 */
#include "fuse/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "chat/file.h"
#include "http/http.h"

#define CHAT_NODE (SF_CHAT_DIR | 5)
#define DIR_NODE  7

/* ---- in place of libfuse ----------------------------------------------------------------------
 */

struct fuse_req {
    struct sf_fuse *f;
    fuse_interrupt_func_t func;
    void *data;
    struct fuse_ctx ctx;
    int replies, err;
    struct fuse_entry_param entry;
    struct fuse_file_info fi;
    unsigned events;
    size_t len;
};

static int gets_it; /* result of the replies that hand something over */

static int
replied(fuse_req_t req, int err)
{
    req->replies++;
    req->err = err;
    return 0;
}

int
fuse_reply_err(fuse_req_t req, int err)
{
    return replied(req, err);
}

void
fuse_reply_none(fuse_req_t req)
{
    replied(req, 0);
}

int
fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *e)
{
    req->entry = *e;
    replied(req, 0);
    return gets_it;
}

int
fuse_reply_create(fuse_req_t req, const struct fuse_entry_param *e, const struct fuse_file_info *fi)
{
    req->entry = *e;
    req->fi = *fi;
    replied(req, 0);
    return gets_it;
}

int
fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
    req->fi = *fi;
    replied(req, 0);
    return gets_it;
}

int
fuse_reply_attr(fuse_req_t req, const struct stat *attr, double timeout)
{
    (void)attr;
    assert_true(timeout == 0);
    return replied(req, 0);
}

int
fuse_reply_buf(fuse_req_t req, const char *buf, size_t size)
{
    (void)buf;
    req->len = size;
    return replied(req, 0);
}

int
fuse_reply_xattr(fuse_req_t req, size_t count)
{
    req->len = count;
    return replied(req, 0);
}

int
fuse_reply_write(fuse_req_t req, size_t count)
{
    req->len = count;
    return replied(req, 0);
}

int
fuse_reply_poll(fuse_req_t req, unsigned revents)
{
    req->events = revents;
    return replied(req, 0);
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

int
fuse_req_getgroups(fuse_req_t req, int size, gid_t list[])
{
    (void)req;
    for (int i = 0; i < 3 && i < size; i++)
        list[i] = (gid_t)(100 + i);
    return 3;
}

void
fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
    req->func = func;
    req->data = data;
}

struct fuse_pollhandle {
    int notified, destroyed;
};

int
fuse_lowlevel_notify_poll(struct fuse_pollhandle *ph)
{
    assert_int_equal(ph->destroyed, 0);
    ph->notified++;
    return 0;
}

void
fuse_pollhandle_destroy(struct fuse_pollhandle *ph)
{
    ph->destroyed++;
}

/* ---- in place of the event thread -------------------------------------------------------------
 */

uint64_t
sf_http_timer(struct sf_http *http, int64_t at_ms, sf_http_call_fn fn, void *arg)
{
    (void)http;
    (void)at_ms;
    (void)fn;
    (void)arg;
    return 0;
}

bool
sf_http_timer_cancel(struct sf_http *http, uint64_t id)
{
    (void)http;
    (void)id;
    return true;
}

/* ---- in place of the tree ---------------------------------------------------------------------
 */

static struct {
    int asked, rc;
    uint64_t node;
    uint64_t forgotten;
    int flags;
    char name[64];
} tree;

static void
tree_says(const char *name, sf_tree_fn cb, void *arg)
{
    const struct sf_tree_result res = {.entry = {.node = tree.node, .ttl_ms = 1000}};
    tree.asked++;
    snprintf(tree.name, sizeof tree.name, "%s", name);
    cb(arg, tree.rc, tree.rc ? NULL : &res);
}

void
sf_tree_lookup(struct sf_tree *t, uint64_t parent, const char *name, sf_tree_fn cb, void *arg)
{
    (void)t;
    assert_int_equal(parent, DIR_NODE);
    tree_says(name, cb, arg);
}

void
sf_tree_create(struct sf_tree *t, const struct sf_cred *cred, uint64_t parent, const char *name,
               mode_t mode, int flags, sf_tree_fn cb, void *arg)
{
    (void)t;
    assert_int_equal(parent, DIR_NODE);
    assert_int_equal(cred->uid, 4);
    assert_int_equal(mode, 0644);
    tree.flags = flags;
    tree_says(name, cb, arg);
}

void
sf_tree_unlink(struct sf_tree *t, uint64_t parent, const char *name, sf_tree_fn cb, void *arg)
{
    (void)t;
    (void)parent;
    tree_says(name, cb, arg);
}

void
sf_tree_rename(struct sf_tree *t, uint64_t parent, const char *name, uint64_t new_parent,
               const char *new_name, unsigned flags, sf_tree_fn cb, void *arg)
{
    (void)t;
    (void)parent;
    (void)new_parent;
    (void)flags;
    (void)name;
    tree_says(new_name, cb, arg);
}

uint64_t
sf_tree_getxattr(struct sf_tree *t, uint64_t node, const char *name, sf_tree_fn cb, void *arg)
{
    (void)t;
    (void)node;
    tree_says(name, cb, arg);
    return 0;
}

void
sf_tree_setxattr(struct sf_tree *t, uint64_t node, const char *name, const void *value, size_t len,
                 int flags, sf_tree_fn cb, void *arg)
{
    (void)t;
    (void)node;
    (void)len;
    (void)flags;
    tree.flags = value != NULL;
    tree_says(name, cb, arg);
}

void
sf_tree_forget(struct sf_tree *t, uint64_t node, uint64_t count)
{
    (void)t;
    assert_false(sf_virtual_owns(node));
    tree.forgotten += count;
}

void
sf_tree_cancel(struct sf_tree *t, uint64_t id)
{
    (void)t;
    (void)id;
    fail();
}

/* What is linked along and not called here. */
#define NEVER(name)                                                                                \
    void never_##name(void) __asm__(#name);                                                        \
    void never_##name(void)                                                                        \
    {                                                                                              \
        abort();                                                                                   \
    }
NEVER(sf_chat_access)
NEVER(sf_chat_dirent)
NEVER(sf_chat_flush)
NEVER(sf_chat_getattr)
NEVER(sf_chat_opendir)
NEVER(sf_chat_releasedir)
NEVER(sf_chat_setattr)
NEVER(sf_tree_copy_range)
NEVER(sf_tree_dirent)
NEVER(sf_tree_fallocate)
NEVER(sf_tree_flush)
NEVER(sf_tree_fsync)
NEVER(sf_tree_fsyncdir)
NEVER(sf_tree_getattr)
NEVER(sf_tree_listxattr)
NEVER(sf_tree_mkdir)
NEVER(sf_tree_mknod)
NEVER(sf_tree_open)
NEVER(sf_tree_opendir)
NEVER(sf_tree_read)
NEVER(sf_tree_readdir)
NEVER(sf_tree_readlink)
NEVER(sf_tree_release)
NEVER(sf_tree_releasedir)
NEVER(sf_tree_rmdir)
NEVER(sf_tree_seek)
NEVER(sf_tree_setattr)
NEVER(sf_tree_symlink)
NEVER(sf_tree_write)
NEVER(sf_tree_write_pages)

bool
sf_tree_xattr_is_patient(const char *name)
{
    (void)name;
    return false;
}

/* ---- in place of the chats --------------------------------------------------------------------
 */

struct sf_chat_file {
    int released, abandoned;
    sf_chat_wake_fn wake;
    void *wake_arg;
};

static struct {
    int asked, rc, covered, xattr_rc;
    char moved[64];
    bool remove;
    uint64_t node, forgotten, cancelled;
    struct sf_chat_file file;
    sf_tree_fn fn; /* of what waits */
    void *arg;
    void (*meanwhile)(void); /* within a read */
    struct sf_chat_who who;
    gid_t groups[3];
} chat;

bool
sf_chat_maybe(const struct sf_chat *c, uint64_t parent, const char *name)
{
    (void)c;
    (void)parent;
    return sf_str_ends(name, ".chat");
}

static void
chat_says(sf_tree_fn fn, void *arg)
{
    const struct sf_tree_result res = {.entry = {.node = chat.node}, .other = &chat.file};
    chat.asked++;
    fn(arg, chat.rc, chat.rc ? NULL : &res);
}

void
sf_chat_lookup(struct sf_chat *c, uint64_t parent, const char *name, sf_tree_fn fn, void *arg)
{
    (void)c;
    assert_int_equal(parent, DIR_NODE);
    assert_string_equal(name, "a.chat");
    chat_says(fn, arg);
}

void
sf_chat_forget(struct sf_chat *c, uint64_t node, uint64_t count)
{
    (void)c;
    assert_int_equal(node, CHAT_NODE);
    chat.forgotten += count;
}

void
sf_chat_unlink(struct sf_chat *c, const struct sf_chat_who *who, uint64_t parent, const char *name,
               sf_tree_fn fn, void *arg)
{
    (void)c;
    (void)parent;
    (void)name;
    assert_int_equal(who->uid, 4);
    chat_says(fn, arg);
}

void
sf_chat_moved(struct sf_chat *c, uint64_t parent, const char *name)
{
    (void)c;
    (void)parent;
    snprintf(chat.moved, sizeof chat.moved, "%s", name);
}

void
sf_chat_covered(struct sf_chat *c, uint64_t parent, const char *name)
{
    (void)c;
    (void)parent;
    assert_string_equal(name, "b.chat");
    chat.covered++;
}

void
sf_chat_create(struct sf_chat *c, const struct sf_chat_who *who, uint64_t parent, const char *name,
               int flags, sf_tree_fn fn, void *arg)
{
    (void)c;
    (void)parent;
    (void)name;
    (void)flags;
    chat.who = *who;
    memcpy(chat.groups, who->groups, sizeof chat.groups);
    chat_says(fn, arg);
}

uint64_t
sf_chat_open(struct sf_chat *c, const struct sf_chat_who *who, uint64_t node, int flags,
             sf_tree_fn fn, void *arg)
{
    (void)c;
    (void)who;
    (void)flags;
    assert_int_equal(node, CHAT_NODE);
    chat.fn = fn;
    chat.arg = arg;
    return 31;
}

void
sf_chat_abandon(struct sf_chat_file *f)
{
    assert_int_equal(f->released, f->abandoned); /* each of them before its release */
    f->abandoned++;
}

void
sf_chat_release(struct sf_chat_file *f)
{
    f->released++;
}

uint64_t
sf_chat_read(struct sf_chat_file *f, uint64_t off, size_t len, bool nonblock, sf_tree_fn fn,
             void *arg)
{
    (void)off;
    (void)len;
    chat.asked++;
    if (nonblock) {
        fn(arg, -EAGAIN, NULL);
        return 0;
    }
    if (chat.meanwhile)
        chat.meanwhile();
    assert_int_equal(f->released, 0);
    chat.fn = fn;
    chat.arg = arg;
    return 32;
}

ssize_t
sf_chat_write(struct sf_chat_file *f, const void *data, size_t len)
{
    (void)data;
    assert_int_equal(f->released, 0);
    return len == 1 ? -EINVAL : (ssize_t)len;
}

void
sf_chat_cancel(struct sf_chat *c, uint64_t id)
{
    (void)c;
    chat.cancelled = id;
}

short
sf_chat_poll(struct sf_chat_file *f, sf_chat_wake_fn wake, void *arg)
{
    f->wake = wake;
    f->wake_arg = arg;
    return POLLOUT;
}

bool
sf_chat_xattr_is(const struct sf_chat *c, const char *name)
{
    (void)c;
    return sf_str_starts(name, "user.supafs.chat");
}

void
sf_chat_getxattr(struct sf_chat *c, const struct sf_chat_who *who, uint64_t node, const char *name,
                 sf_tree_fn fn, void *arg)
{
    (void)c;
    (void)who;
    (void)node;
    (void)name;
    chat_says(fn, arg);
}

int
sf_chat_setxattr(struct sf_chat *c, const struct sf_chat_who *who, uint64_t node, const char *name,
                 const void *value, size_t len, bool *remove)
{
    (void)c;
    (void)who;
    (void)node;
    (void)name;
    (void)value;
    (void)len;
    *remove = chat.remove;
    return chat.xattr_rc;
}

/* ---- fixture ----------------------------------------------------------------------------------
 */

static struct sf_fuse fuse;
static struct fuse_req req;

static fuse_req_t
next(void)
{
    memset(&req, 0, sizeof req);
    req.f = &fuse;
    req.ctx = (struct fuse_ctx){.uid = 4, .gid = 5};
    return &req;
}

static int
set_up(void **state)
{
    const struct park_opts opts = {.max = 4, .max_apart = 4, .read_ms = 1000, .change_ms = 1000};
    (void)state;
    memset(&fuse, 0, sizeof fuse);
    memset(&tree, 0, sizeof tree);
    memset(&chat, 0, sizeof chat);
    chat.node = CHAT_NODE;
    gets_it = 0;
    sf_mutex_init(&fuse.texts_lock, 0);
    fuse.chat = (struct sf_chat *)&chat;
    assert_int_equal(park_new(&opts, &fuse.park), 0);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    park_free(fuse.park); /* waits for what has not come to an end */
    chat_free_all(&fuse);
    sf_mutex_fini(&fuse.texts_lock);
    return 0;
}

static const struct sf_tree_result opened = {.other = &chat.file};

/* An open of it. */
static struct fuse_file_info
open_it(void)
{
    const struct fuse_file_info how = {.flags = O_RDWR};
    struct fuse_file_info fi = how;
    do_open(next(), CHAT_NODE, &fi);
    assert_int_equal(req.replies, 0);
    chat.fn(chat.arg, 0, &opened);
    assert_int_equal(req.replies, 1);
    assert_int_equal(req.err, 0);
    assert_true(req.fi.direct_io);
    return req.fi;
}

/* ---- names ------------------------------------------------------------------------------------
 */

static void
an_object_wins(void **state)
{
    (void)state;
    tree.node = 70;
    do_lookup(next(), DIR_NODE, "a.chat");
    assert_int_equal(req.entry.ino, 70);
    assert_true(req.entry.entry_timeout == 1);
    assert_int_equal(chat.asked, 0);
    do_unlink(next(), DIR_NODE, "a.chat");
    assert_int_equal(req.err, 0);
    assert_int_equal(chat.asked, 0);
}

static void
where_there_is_none_the_chat_is_asked(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* an error, or a name that is known not to be there */
        tree.rc = i ? -ENOENT : 0;
        do_lookup(next(), DIR_NODE, "a.chat");
        assert_int_equal(req.entry.ino, CHAT_NODE);
        assert_true(req.entry.entry_timeout == 0 && req.entry.attr_timeout == 0);
    }
    chat.node = 0;
    do_lookup(next(), DIR_NODE, "a.chat");
    assert_int_equal(req.err, ENOENT);
    assert_int_equal(chat.asked, 3);
    tree.rc = -EIO; /* not known */
    do_lookup(next(), DIR_NODE, "a.chat");
    assert_int_equal(req.err, EIO);
    assert_int_equal(chat.asked, 3);
    tree.rc = -ENOENT;
    do_lookup(next(), DIR_NODE, "a.txt");
    assert_int_equal(chat.asked, 3);
    do_unlink(next(), DIR_NODE, "a.chat");
    assert_int_equal(req.err, 0);
    assert_int_equal(chat.asked, 4);
}

static void
without_chats_nobody_is_asked(void **state)
{
    (void)state;
    fuse.chat = NULL;
    tree.rc = -ENOENT;
    do_lookup(next(), DIR_NODE, "a.chat");
    assert_int_equal(req.err, ENOENT);
    do_unlink(next(), DIR_NODE, "a.chat");
    do_rename(next(), DIR_NODE, "a.chat", DIR_NODE, "b.chat", 0);
    assert_int_equal(chat.asked + chat.covered, 0);
    struct fuse_file_info fi = {.flags = O_RDONLY};
    do_poll(next(), 70, &fi, NULL);
    assert_int_equal(req.err, ENOSYS);
}

static void
what_nobody_got_is_forgotten(void **state)
{
    (void)state;
    tree.rc = -ENOENT;
    gets_it = -ENOENT;
    do_lookup(next(), DIR_NODE, "a.chat");
    assert_int_equal(chat.forgotten, 1);
    gets_it = 0;
    do_forget(next(), CHAT_NODE, 3);
    assert_int_equal(chat.forgotten, 4);
    do_forget(next(), SF_CHAT_DIR, 3);
    assert_int_equal(chat.forgotten, 4);
    assert_int_equal(tree.forgotten, 0);
}

static void
creating(void **state)
{
    struct fuse_file_info fi = {.flags = O_WRONLY | O_CREAT | O_TRUNC};
    (void)state;
    do_create(next(), DIR_NODE, "a.chat", 0644, &fi);
    assert_int_equal(req.entry.ino, CHAT_NODE);
    assert_true(req.fi.direct_io);
    assert_int_equal(tree.asked, 0);
    assert_int_equal(chat.who.uid, 4);
    assert_int_equal(chat.who.n_groups, 3);
    assert_int_equal(chat.groups[2], 102);
    do_release(next(), CHAT_NODE, &(struct fuse_file_info){.fh = req.fi.fh});
    assert_int_equal(chat.file.released, 1);
    assert_int_equal(chat.file.abandoned, 0);

    chat.file.released = 0;
    gets_it = -ENOENT;
    do_create(next(), DIR_NODE, "a.chat", 0644, &fi);
    assert_int_equal(chat.file.released, 1);
    assert_int_equal(chat.file.abandoned, 1);
    assert_int_equal(chat.forgotten, 1);
    gets_it = 0;

    chat.rc = -ENOENT; /* no chat name after all */
    tree.node = 70;
    do_create(next(), DIR_NODE, "a.chat", 0644, &fi);
    assert_int_equal(req.entry.ino, 70);
    assert_string_equal(tree.name, "a.chat");
    assert_int_equal(tree.flags, fi.flags);
    chat.rc = -EACCES;
    do_create(next(), DIR_NODE, "a.chat", 0644, &fi);
    assert_int_equal(req.err, EACCES);

    chat.asked = 0;
    fi.flags |= O_EXCL;
    do_create(next(), DIR_NODE, "a.chat", 0644, &fi);
    assert_int_equal(req.entry.ino, 70);
    assert_int_equal(chat.asked, 0);
}

static void
renaming(void **state)
{
    (void)state;
    do_rename(next(), DIR_NODE, "a", DIR_NODE, "b.chat", 0);
    assert_int_equal(req.err, 0);
    assert_int_equal(chat.covered, 1);
    assert_string_equal(chat.moved, "a");
    tree.rc = -EACCES;
    do_rename(next(), DIR_NODE, "c", DIR_NODE, "b.chat", 0);
    assert_int_equal(req.err, EACCES);
    assert_int_equal(chat.covered, 1);
    assert_string_equal(chat.moved, "a");
    tree.rc = -ENOENT;
    do_rename(next(), DIR_NODE, "a", DIR_NODE, "b.chat", 0);
    assert_int_equal(req.err, ENOENT);
    assert_int_equal(chat.asked, 0);
    do_rename(next(), DIR_NODE, "a.chat", DIR_NODE, "b", 0);
    assert_int_equal(req.err, EXDEV);
    assert_int_equal(chat.forgotten, 1);
    chat.node = 0;
    do_rename(next(), DIR_NODE, "a.chat", DIR_NODE, "b", 0);
    assert_int_equal(req.err, ENOENT);
    assert_int_equal(chat.forgotten, 1);
}

/* ---- opens ------------------------------------------------------------------------------------
 */

static void
an_open_that_is_interrupted(void **state)
{
    struct fuse_file_info fi = {.flags = O_RDONLY};
    (void)state;
    do_open(next(), CHAT_NODE, &fi);
    req.func(&req, req.data);
    assert_int_equal(req.err, EINTR);
    assert_int_equal(chat.cancelled, 31);
    chat.fn(chat.arg, -ECANCELED, NULL);
    assert_int_equal(req.replies, 1);

    do_open(next(), CHAT_NODE, &fi); /* it was opened all the same */
    req.func(&req, req.data);
    chat.fn(chat.arg, 0, &opened);
    assert_int_equal(req.replies, 1);
    assert_int_equal(chat.file.released, 1);
    assert_int_equal(chat.file.abandoned, 1);
}

static struct fuse_file_info its;

static void
its_release(void)
{
    struct fuse_req r = {.f = &fuse};
    do_release(&r, CHAT_NODE, &its);
}

static void
a_release_overtakes_the_call(void **state)
{
    (void)state;
    its = open_it();
    chat.meanwhile = its_release;
    do_read(next(), CHAT_NODE, 10, 0, &its);
    assert_int_equal(chat.file.released, 1);
    req.func(&req, req.data);
    assert_int_equal(chat.cancelled, 32);
    chat.fn(chat.arg, -ECANCELED, NULL);
    assert_int_equal(req.err, EINTR);
}

static void
reading_and_writing(void **state)
{
    (void)state;
    struct fuse_file_info fi = open_it();
    do_write(next(), CHAT_NODE, "abc", 3, 100, &fi);
    assert_int_equal(req.len, 3);
    do_write(next(), CHAT_NODE, "a", 1, 0, &fi);
    assert_int_equal(req.err, EINVAL);
    do_read(next(), CHAT_NODE, 10, 0, &fi);
    assert_int_equal(req.replies, 0);
    chat.fn(chat.arg, 0, &(struct sf_tree_result){.data = "xy", .len = 2});
    assert_int_equal(req.len, 2);
    fi.flags |= O_NONBLOCK;
    do_read(next(), CHAT_NODE, 10, 0, &fi);
    assert_int_equal(req.err, EAGAIN);
    do_fallocate(next(), CHAT_NODE, 0, 0, 10, &fi);
    assert_int_equal(req.err, EOPNOTSUPP);
    assert_int_equal(chat.file.released, 0); /* nor at the end, which is the chats' */
}

/* Not even when all reads that may wait do. */
static void
reads_take_no_place_of_opens(void **state)
{
    struct fuse_req r[5];
    struct waits {
        sf_tree_fn fn;
        void *arg;
    } waits[4];
    (void)state;
    struct fuse_file_info fi = open_it();
    for (int i = 0; i < 5; i++) {
        r[i] = (struct fuse_req){.f = &fuse};
        do_read(&r[i], CHAT_NODE, 10, 0, &fi);
        if (i < 4)
            waits[i] = (struct waits){chat.fn, chat.arg};
    }
    assert_int_equal(r[3].replies, 0);
    assert_int_equal(r[4].err, EAGAIN);
    open_it();
    for (int i = 0; i < 4; i++)
        waits[i].fn(waits[i].arg, -ECANCELED, NULL);
}

static void
polling(void **state)
{
    struct fuse_pollhandle a = {0}, b = {0}, c = {0}, d = {0};
    (void)state;
    struct fuse_file_info fi = open_it();
    do_poll(next(), CHAT_NODE, &fi, NULL);
    assert_int_equal(req.events, POLLOUT);
    assert_null(chat.file.wake);
    do_poll(next(), CHAT_NODE, &fi, &a);
    chat.file.wake(chat.file.wake_arg, true);
    assert_int_equal(a.notified, 1);
    assert_int_equal(a.destroyed, 1);
    do_poll(next(), CHAT_NODE, &fi, &b);
    chat.file.wake(chat.file.wake_arg, false);
    assert_int_equal(b.notified, 0);
    assert_int_equal(b.destroyed, 1);
    do_poll(next(), 70, &fi, &c);
    assert_int_equal(req.events, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
    assert_int_equal(c.destroyed, 1);
    do_poll(next(), CHAT_NODE, &fi, &d);
    chat_poll_end(&fuse);
    chat.file.wake(chat.file.wake_arg, true);
    assert_int_equal(d.notified, 0);
    assert_int_equal(d.destroyed, 1);
}

/* ---- attributes -------------------------------------------------------------------------------
 */

static void
extended_attributes(void **state)
{
    (void)state;
    do_getxattr(next(), 70, "user.supafs.chat.id", 100);
    assert_int_equal(req.err, 0);
    assert_int_equal(tree.asked, 0);
    chat.rc = -EOPNOTSUPP; /* the tree keeps it */
    do_getxattr(next(), 70, "user.supafs.chat.model", 100);
    assert_int_equal(tree.asked, 1);
    do_getxattr(next(), CHAT_NODE, "user.supafs.chat.model", 100);
    assert_int_equal(req.err, ENODATA);
    assert_int_equal(tree.asked, 1);
    do_getxattr(next(), CHAT_NODE, "security.capability", 100);
    assert_int_equal(req.err, ENODATA);
    assert_int_equal(chat.asked, 3);

    chat.xattr_rc = -EINVAL;
    do_setxattr(next(), 70, "user.supafs.chat.model", "x", 1, 0);
    assert_int_equal(req.err, EINVAL);
    chat.xattr_rc = 1;
    do_setxattr(next(), 70, "user.supafs.chat.model", "x", 1, 0);
    assert_int_equal(tree.asked, 2);
    assert_int_equal(tree.flags, 1);
    chat.remove = true;
    do_setxattr(next(), 70, "user.supafs.chat.model", "", 0, 0);
    assert_int_equal(tree.asked, 3);
    assert_int_equal(tree.flags, 0);
    fuse.opts.read_only = true;
    do_setxattr(next(), 70, "user.supafs.chat.cancel", "x", 1, 0);
    assert_int_equal(req.err, EROFS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_object_wins),
        TEST(where_there_is_none_the_chat_is_asked),
        TEST(without_chats_nobody_is_asked),
        TEST(what_nobody_got_is_forgotten),
        TEST(creating),
        TEST(renaming),
        TEST(an_open_that_is_interrupted),
        TEST(a_release_overtakes_the_call),
        TEST(reading_and_writing),
        TEST(reads_take_no_place_of_opens),
        TEST(polling),
        TEST(extended_attributes),
    };
    return cmocka_run_group_tests_name("fuse/op-chat", tests, NULL, NULL);
}
