/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_CHAT_FIXTURE_H
#define SF_TESTS_CHAT_FIXTURE_H

#include "tree-fixture.h"

#include "base/clock.h"
#include "chat-world.h"
#include "chat/chat.h"
#include "chat/file.h"

/* Chat files over the tree of the fake project and the conversations of the world. */

#define OWNER 1 /* as the tree says of objects without attributes */

static struct sf_chat *chat;
static const struct sf_chat_who owner = {.uid = OWNER, .gid = OWNER};
static const struct sf_chat_who other = {.uid = 2000, .gid = 2000};

__attribute__((unused)) static void
chat_begin(bool read_only)
{
    const struct sf_chat_opts o = {.http = world.http,
                                   .tree = tree,
                                   .convs = world.cs,
                                   .identity = "project role subject",
                                   .suffix = ".chat",
                                   .owner = OWNER,
                                   .read_only = read_only};
    assert_int_equal(sf_chat_new(&o, &chat), 0);
}

__attribute__((unused)) static int
chat_setup(void **state)
{
    threads_answer = true;
    if (world_setup(state))
        return -1;
    world_open();
    fake_bucket("b");
    fake_put("b", "a", "text");
    fake_put("b", "d/x", "text");
    start_with("b", 60000, false);
    chat_begin(false);
    return 0;
}

__attribute__((unused)) static void
chat_end(void)
{
    sf_chat_stop(chat);
    sf_convs_stop(world.cs, sf_clock_ms() + 5000);
    sf_chat_free(chat);
    chat = NULL;
    sf_convs_free(world.cs);
    world.cs = NULL;
}

__attribute__((unused)) static int
chat_teardown(void **state)
{
    chat_end();
    return end(state) || world_teardown(state) ? -1 : 0;
}

/* ---- calls that wait ------------------------------------------------------------------------- */

__attribute__((unused)) static struct got
look(uint64_t parent, const char *name)
{
    struct got g = {0};
    sf_chat_lookup(chat, parent, name, keep, &g);
    run_until_called(&g);
    return g;
}

/* The node, with a look-up; 0 = there is none. */
__attribute__((unused)) static uint64_t
find(uint64_t parent, const char *name)
{
    struct got g = look(parent, name);
    assert_int_equal(g.err, 0);
    assert_int_equal(g.res.entry.ttl_ms, 0);
    return g.res.entry.node;
}

__attribute__((unused)) static struct sf_attr
attr_of(uint64_t n)
{
    struct got g = {0};
    sf_chat_getattr(chat, n, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    return g.res.attr;
}

__attribute__((unused)) static int
create_as(const struct sf_chat_who *who, uint64_t parent, const char *name, int flags,
          struct sf_chat_file **ret)
{
    struct got g = {0};
    sf_chat_create(chat, who, parent, name, flags, keep, &g);
    run_until_called(&g);
    if (!g.err) {
        assert_int_equal(sf_chat_owns(g.res.entry.node), 1);
        sf_chat_forget(chat, g.res.entry.node, 1);
        *ret = g.res.other;
    }
    return g.err;
}

__attribute__((unused)) static int
open_as(const struct sf_chat_who *who, uint64_t n, int flags, struct sf_chat_file **ret)
{
    struct got g = {0};
    (void)sf_chat_open(chat, who, n, flags, keep, &g);
    run_until_called(&g);
    if (!g.err)
        *ret = g.res.other;
    return g.err;
}

__attribute__((unused)) static struct sf_chat_file *
begin_chat(const char *name)
{
    struct sf_chat_file *f = NULL;
    assert_int_equal(create_as(&owner, SF_TREE_ROOT, name, O_WRONLY | O_CREAT, &f), 0);
    return f;
}

__attribute__((unused)) static struct sf_chat_file *
open_chat(const char *name, int flags)
{
    struct sf_chat_file *f = NULL;
    uint64_t n = find(SF_TREE_ROOT, name);
    assert_int_not_equal(n, 0);
    assert_int_equal(open_as(&owner, n, flags, &f), 0);
    sf_chat_forget(chat, n, 1);
    return f;
}

__attribute__((unused)) static ssize_t
put(struct sf_chat_file *f, const char *text)
{
    return sf_chat_write(f, text, strlen(text));
}

__attribute__((unused)) static int
flush_chat(struct sf_chat_file *f)
{
    struct got g = {0};
    sf_chat_flush(f, keep, &g);
    run_until_called(&g);
    return g.err;
}

/* As a shell does. */
__attribute__((unused)) static void
ask_chat(const char *name, const char *text)
{
    uint64_t n = find(SF_TREE_ROOT, name);
    struct sf_chat_file *f = n ? open_chat(name, O_WRONLY) : begin_chat(name);
    if (n)
        sf_chat_forget(chat, n, 1);
    assert_int_equal(put(f, text), strlen(text));
    assert_int_equal(flush_chat(f), 0);
    sf_chat_release(f);
}

__attribute__((unused)) static struct got
read_at(struct sf_chat_file *f, uint64_t off, bool nonblock)
{
    struct got g = {0};
    (void)sf_chat_read(f, off, sizeof g.data - 1, nonblock, keep, &g);
    run_until_called(&g);
    return g;
}

/* All that is there, up to the end or what would wait. */
__attribute__((unused)) static const char *
text_of(const char *name)
{
    static char text[64 * 1024];
    struct sf_chat_file *f = open_chat(name, O_RDONLY | O_NONBLOCK);
    size_t len = 0;
    for (;;) {
        struct got g = read_at(f, len, true);
        if (g.err || !g.res.len)
            break;
        memcpy(text + len, g.data, g.res.len);
        len += g.res.len;
    }
    text[len] = '\0';
    sf_chat_release(f);
    return text;
}

/* The value of an attribute, or its error. */
__attribute__((unused)) static int
xattr(const struct sf_chat_who *who, uint64_t n, const char *name, char out[300])
{
    struct got g = {0};
    sf_chat_getxattr(chat, who, n, name, keep, &g);
    run_until_called(&g);
    memcpy(out, g.data, sizeof g.data);
    return g.err;
}

#endif
