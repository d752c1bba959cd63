/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The verb `chat` of the control file, over a chat file that the test plays. */
#include "control/chat.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lock.h"
#include "chat/chat.h"
#include "chat/file.h"
#include "tree/files.h"
#include "virtual/virtual.h"

#define WAIT_MS 10000

/* ---- the chat file --------------------------------------------------------------------------- */

static struct {
    struct sf_mutex lock;
    struct sf_cond changed;
    struct sf_buf prompt;
    const char *answer; /* NULL = none came yet */
    int open_rc, write_rc, end_rc;
    int flags, releases, cancels, opens;
    bool cancel_attr;
    sf_tree_fn read_fn; /* a read that waits */
    void *read_arg;
} file;

static struct sf_chat *const chat = (struct sf_chat *)&file;

static void
file_reset(void)
{
    sf_buf_fini(&file.prompt);
    file.prompt = (struct sf_buf)SF_BUF_INIT;
    file.answer = NULL;
    file.open_rc = file.write_rc = file.end_rc = 0;
    file.flags = file.releases = file.cancels = file.opens = 0;
    file.cancel_attr = false;
    file.read_fn = NULL;
}

int __wrap_sf_files_find(struct sf_tree *t, const char *path, struct sf_tree_entry *ret,
                         struct sf_err *err);
int
__wrap_sf_files_find(struct sf_tree *t, const char *path, struct sf_tree_entry *ret,
                     struct sf_err *err)
{
    (void)t;
    *ret = (struct sf_tree_entry){.node = 7};
    ret->attr.mode = strcmp(path, "link") ? S_IFREG | 0644 : S_IFLNK | 0777;
    return strcmp(path, "none") ? 0 : sf_err_set(err, -ENOENT, "none: there is nothing");
}

void __wrap_sf_files_forget(struct sf_tree *t, const struct sf_tree_entry *e);
void
__wrap_sf_files_forget(struct sf_tree *t, const struct sf_tree_entry *e)
{
    (void)t;
    assert_int_equal(e->node, 7);
}

uint64_t __wrap_sf_chat_open_about(struct sf_chat *c, const struct sf_chat_who *who, uint64_t node,
                                   int flags, sf_tree_fn fn, void *arg);
uint64_t
__wrap_sf_chat_open_about(struct sf_chat *c, const struct sf_chat_who *who, uint64_t node,
                          int flags, sf_tree_fn fn, void *arg)
{
    const struct sf_tree_result res = {.other = c};
    assert_int_equal(who->uid, getuid());
    assert_int_equal(node, 7);
    sf_mutex_lock(&file.lock);
    file.flags = flags;
    file.opens += !file.open_rc;
    sf_mutex_unlock(&file.lock);
    fn(arg, file.open_rc, file.open_rc ? NULL : &res);
    return 0;
}

ssize_t __wrap_sf_chat_write(struct sf_chat_file *f, const void *data, size_t len);
ssize_t
__wrap_sf_chat_write(struct sf_chat_file *f, const void *data, size_t len)
{
    (void)f;
    SF_GUARD(&file.lock);
    assert_int_equal(sf_buf_append(&file.prompt, data, len), 0);
    return file.write_rc ? file.write_rc : (ssize_t)len;
}

/* The answer in pieces of three bytes, then the end, or waiting for either. */
uint64_t __wrap_sf_chat_read(struct sf_chat_file *f, uint64_t off, size_t len, bool nonblock,
                             sf_tree_fn fn, void *arg);
uint64_t
__wrap_sf_chat_read(struct sf_chat_file *f, uint64_t off, size_t len, bool nonblock, sf_tree_fn fn,
                    void *arg)
{
    (void)f;
    assert_true(len >= 3);
    sf_mutex_lock(&file.lock);
    size_t left = file.answer ? strlen(file.answer) - off : 0;
    struct sf_tree_result res = {.len = left < 3 ? left : 3};
    res.data = left ? file.answer + off : NULL;
    bool waits = !file.answer && !nonblock;
    int rc = left ? 0 : !file.answer ? -EAGAIN : file.end_rc;
    if (waits) {
        file.read_fn = fn;
        file.read_arg = arg;
        sf_cond_broadcast(&file.changed);
    }
    sf_mutex_unlock(&file.lock);
    if (!waits)
        fn(arg, rc, rc ? NULL : &res);
    return waits ? 5 : 0;
}

void __wrap_sf_chat_cancel(struct sf_chat *c, uint64_t id);
void
__wrap_sf_chat_cancel(struct sf_chat *c, uint64_t id)
{
    (void)c;
    assert_int_equal(id, 5);
    sf_mutex_lock(&file.lock);
    file.cancels++;
    sf_mutex_unlock(&file.lock);
    file.read_fn(file.read_arg, -ECANCELED, NULL);
}

void __wrap_sf_chat_release(struct sf_chat_file *f);
void
__wrap_sf_chat_release(struct sf_chat_file *f)
{
    (void)f;
    SF_GUARD(&file.lock);
    file.releases++;
    sf_cond_broadcast(&file.changed);
}

void __wrap_sf_chat_getxattr(struct sf_chat *c, const struct sf_chat_who *who, uint64_t node,
                             const char *name, sf_tree_fn fn, void *arg);
void
__wrap_sf_chat_getxattr(struct sf_chat *c, const struct sf_chat_who *who, uint64_t node,
                        const char *name, sf_tree_fn fn, void *arg)
{
    (void)c;
    (void)who;
    (void)node;
    const struct sf_tree_result res = {.data = "It broke.", .len = 9};
    assert_string_equal(name, "user.supafs.error");
    fn(arg, 0, &res);
}

int __wrap_sf_chat_setxattr(struct sf_chat *c, const struct sf_chat_who *who, uint64_t node,
                            const char *name, const void *value, size_t len, bool *remove);
int
__wrap_sf_chat_setxattr(struct sf_chat *c, const struct sf_chat_who *who, uint64_t node,
                        const char *name, const void *value, size_t len, bool *remove)
{
    (void)c;
    (void)who;
    (void)node;
    (void)value;
    (void)remove;
    file.cancel_attr = len && strcmp(name, "user.supafs.chat.cancel") == 0;
    return 0;
}

/* ---- a mount --------------------------------------------------------------------------------- */

struct mount {
    struct sf_virtual *virt;
    struct sf_control *control;
    struct sf_control_chat *cc;
    uint64_t node;
};

static struct mount
mount_begin(struct sf_chat *c)
{
    struct mount m;
    struct sf_tree_entry e;
    file_reset();
    assert_int_equal(sf_virtual_new(1, 2, &m.virt), 0);
    assert_int_equal(sf_control_new(m.virt, &m.control), 0);
    assert_int_equal(sf_control_chat_new(m.control, NULL, c, &m.cc), 0);
    assert_int_equal(sf_virtual_lookup(m.virt, SF_TREE_ROOT, ".supafs", &e), 0);
    assert_int_equal(sf_virtual_lookup(m.virt, e.node, "control", &e), 0);
    m.node = e.node;
    return m;
}

static void
mount_end(struct mount *m)
{
    sf_control_free(m->control);
    sf_control_chat_free(m->cc);
    sf_virtual_free(m->virt);
    assert_int_equal(file.opens, file.releases);
    file_reset();
}

struct got {
    struct sf_mutex lock;
    struct sf_cond came;
    bool over, end;
    struct sf_buf text;
};

static void
got_some(void *arg, int err, const struct sf_tree_result *res)
{
    struct got *g = arg;
    SF_GUARD(&g->lock);
    assert_int_equal(err, 0);
    if (res->len)
        assert_int_equal(sf_buf_append(&g->text, res->data, res->len), 0);
    g->end = !res->len;
    g->over = true;
    sf_cond_signal(&g->came);
}

static struct sf_talk *
ask(const struct mount *m, const char *line)
{
    struct sf_talk *t = sf_virtual_talk(m->virt, m->node);
    assert_non_null(t);
    assert_int_equal(sf_talk_write(t, line, strlen(line)), strlen(line));
    return t;
}

/* What is said to a request. */
static void
says(const struct mount *m, const char *line, const char *answer)
{
    struct got g = {.text = SF_BUF_INIT};
    struct sf_talk *t = ask(m, line);
    int64_t end = sf_clock_ms() + WAIT_MS;
    sf_mutex_init(&g.lock, 0);
    sf_cond_init(&g.came);
    while (!g.end) {
        sf_talk_read(t, 4096, got_some, &g);
        sf_mutex_lock(&g.lock);
        while (!g.over)
            assert_int_equal(sf_cond_timedwait_ms(&g.came, &g.lock, end), 0);
        g.over = false;
        sf_mutex_unlock(&g.lock);
    }
    assert_string_equal(sf_buf_str(&g.text), answer);
    sf_talk_close(t);
    sf_talk_unref(t);
    sf_buf_fini(&g.text);
    sf_cond_fini(&g.came);
    sf_mutex_fini(&g.lock);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void
a_question_is_answered(void **state)
{
    (void)state;
    struct mount m = mount_begin(chat);
    file.answer = "A b.\nc";
    says(&m, "chat ask f What\\040now?\n", "asked\ntext A\\040b\ntext .\\012c\ndone\n");
    assert_string_equal(sf_buf_str(&file.prompt), "What now?");
    assert_int_equal(file.flags, O_RDWR);
    mount_end(&m);
}

static void
a_failure_has_its_sentence(void **state)
{
    (void)state;
    struct mount m = mount_begin(chat);
    file.answer = "Hm";
    file.end_rc = -EIO;
    says(&m, "chat ask f q\n", "asked\ntext Hm\nfailed 5 It broke.\n");
    file.write_rc = -EINVAL;
    says(&m, "chat ask f q\n", "failed 22 It broke.\n");
    file.open_rc = -EBUSY;
    says(&m, "chat ask f q\n", "failed 16 Device or resource busy\n");
    says(&m, "chat new f\n", "failed 16 Device or resource busy\n");
    mount_end(&m);
}

static void
all_else(void **state)
{
    (void)state;
    struct mount m = mount_begin(chat);
    says(&m, "chat peek f\n", "done\n"); /* it would wait */
    assert_int_equal(file.flags, O_RDONLY | O_NONBLOCK);
    file.answer = "All";
    says(&m, "chat read f\n", "text All\ndone\n");
    assert_int_equal(file.flags, O_RDONLY);
    says(&m, "chat new f\n", "done\n");
    assert_int_equal(file.flags, O_RDWR | O_TRUNC);
    says(&m, "chat cancel f\n", "done\n");
    assert_true(file.cancel_attr);
    assert_int_equal(file.prompt.len, 0);
    mount_end(&m);
}

static void
what_is_no_request(void **state)
{
    (void)state;
    static const char *const lines[] = {"chat\n", "chat ask f\n", "chat read\n", "chat read f q\n",
                                        "chat eat f\n"};
    struct mount m = mount_begin(chat);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        says(&m, lines[i], "failed 22 chat ask PATH PROMPT, or chat WORD PATH is meant\n");
    says(&m, "chat ask none q\n", "failed 2 none: there is nothing\n");
    says(&m, "chat ask link q\n", "failed 22 it is neither a file nor a directory\n");
    assert_int_equal(file.opens, 0);
    mount_end(&m);
    m = mount_begin(NULL);
    says(&m, "chat ask f q\n",
         "failed 95 this mount has no chats: no provider is configured, or chat=off\n");
    mount_end(&m);
}

/* Who hangs up while nothing has come has the read cancelled, and then the open released, which
 * cancels the answer. */
static void
hanging_up_cancels(void **state)
{
    (void)state;
    struct mount m = mount_begin(chat);
    struct sf_talk *t = ask(&m, "chat ask f q\n");
    int64_t end = sf_clock_ms() + WAIT_MS;
    sf_mutex_lock(&file.lock);
    while (!file.read_fn)
        assert_int_equal(sf_cond_timedwait_ms(&file.changed, &file.lock, end), 0);
    assert_int_equal(file.releases, 0);
    sf_mutex_unlock(&file.lock);
    sf_talk_close(t);
    sf_talk_unref(t);
    sf_mutex_lock(&file.lock);
    while (!file.releases)
        assert_int_equal(sf_cond_timedwait_ms(&file.changed, &file.lock, end), 0);
    assert_int_equal(file.cancels, 1);
    sf_mutex_unlock(&file.lock);
    mount_end(&m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_is_answered),
        cmocka_unit_test(a_failure_has_its_sentence),
        cmocka_unit_test(all_else),
        cmocka_unit_test(what_is_no_request),
        cmocka_unit_test(hanging_up_cancels),
    };
    sf_mutex_init(&file.lock, 0);
    sf_cond_init(&file.changed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
