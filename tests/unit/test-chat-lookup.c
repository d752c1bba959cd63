/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which names are chat files, whose they are, and who may open them (docs/formats/chat.md, parts 1,
 * 2 and 5). */
#include "chat-fixture.h"

#include <sys/stat.h>

#include "base/clock.h"

/* N1, N5: a name exists with its conversation, or while it is open for writing. */
static void
names_exist_with_conversations(void **state)
{
    (void)state;
    assert_int_equal(find(SF_TREE_ROOT, "a.chat"), 0);
    struct sf_chat_file *f = begin_chat("a.chat");
    uint64_t n = find(SF_TREE_ROOT, "a.chat");
    assert_true(sf_chat_owns(n));
    assert_int_equal(find(SF_TREE_ROOT, "a.alpha.chat"), 0);
    sf_chat_release(f); /* W3 */
    assert_int_equal(find(SF_TREE_ROOT, "a.chat"), 0);
    sf_chat_forget(chat, n, 1);
    ask_chat("a.alpha.chat", "q\n");
    assert_int_not_equal(find(SF_TREE_ROOT, "a.alpha.chat"), 0);
    assert_int_equal(find(SF_TREE_ROOT, "a.chat"), 0); /* N8 */
    assert_string_equal(asked(1)->provider, "alpha");
    finish(asked(1));
}

/* The same node for the same name, as long as it is looked up; an id is never used twice. */
static void
a_name_keeps_its_node(void **state)
{
    (void)state;
    struct sf_chat_stats st;
    struct sf_chat_file *f = begin_chat("a.chat");
    uint64_t n = find(SF_TREE_ROOT, "a.chat");
    assert_int_equal(find(SF_TREE_ROOT, "a.chat"), n);
    uint64_t ino = attr_of(n).ino;
    sf_chat_forget(chat, n, 2);
    assert_int_equal(find(SF_TREE_ROOT, "a.chat"), n); /* it is open */
    sf_chat_forget(chat, n, 1);
    sf_chat_release(f);
    sf_chat_stats(chat, &st);
    assert_int_equal(st.nodes, 0);
    assert_int_equal(st.open_files, 0);
    f = begin_chat("a.chat");
    uint64_t again = find(SF_TREE_ROOT, "a.chat");
    assert_int_not_equal(again, n);
    assert_int_equal(attr_of(again).ino, ino);
    sf_chat_release(f);
    sf_chat_forget(chat, again, 1);
    sf_chat_forget(chat, n, 1);
}

/* N1, N2, N3, N6 */
static void
what_is_no_chat_name(void **state)
{
    (void)state;
    struct sf_chat_file *f = NULL;
    fake_put("b", "a.alpha", "text");
    uint64_t d = node(SF_TREE_ROOT, "d");
    assert_false(sf_chat_maybe(chat, SF_TREE_ROOT, "a"));
    assert_false(sf_chat_maybe(NULL, SF_TREE_ROOT, "a.chat"));
    assert_false(sf_chat_maybe(chat, UINT64_C(1) << 63, "a.chat"));
    assert_true(sf_chat_maybe(chat, SF_TREE_ROOT, "a.chat"));
    assert_true(sf_chat_maybe(chat, SF_CHAT_DIR, "x"));
    assert_int_equal(create_as(&owner, SF_TREE_ROOT, "none.chat", O_WRONLY, &f), -ENOENT);
    assert_int_equal(create_as(&owner, SF_TREE_ROOT, "d.chat", O_WRONLY, &f), -ENOENT);
    assert_int_equal(create_as(&owner, d, "a.chat", O_WRONLY, &f), -ENOENT);
    assert_int_equal(create_as(&owner, SF_TREE_ROOT, ".supafs.chat", O_WRONLY, &f), -ENOENT);
    ask_chat("a.alpha.chat", "q\n"); /* about a.alpha, which is there */
    (void)asked(1);
    uint64_t n = find(SF_TREE_ROOT, "a.alpha.chat"), a = node(SF_TREE_ROOT, "a.alpha");
    char value[300];
    assert_int_equal(xattr(&owner, a, "user.supafs.chat.state", value), 0);
    finish(asked(1));
    sf_chat_forget(chat, n, 1);
    sf_tree_forget(tree, a, 1);
    /* The directory's. */
    assert_int_equal(create_as(&owner, d, ".chat", O_WRONLY, &f), 0);
    assert_int_equal(put(f, "what is here?"), 13);
    sf_chat_release(f);
    assert_int_not_equal(find(d, ".chat"), 0);
    finish(asked(2));
    sf_tree_forget(tree, d, 1);
}

/* P1, P5, R10 */
static void
a_file_of_the_owner(void **state)
{
    (void)state;
    struct sf_chat_file *f = begin_chat("a.chat");
    uint64_t n = find(SF_TREE_ROOT, "a.chat");
    struct sf_attr a = attr_of(n), set = a;
    assert_int_equal(a.mode, S_IFREG | 0600);
    assert_int_equal(a.uid, OWNER);
    assert_int_equal(a.gid, 2); /* FILE's */
    assert_int_equal(a.size, 0);
    struct got g = {0};
    sf_chat_setattr(chat, &owner, n, NULL, &set, SF_SET_MODE | SF_SET_UID | SF_SET_MTIME, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    set.mode = S_IFREG | 0644;
    g = (struct got){0};
    sf_chat_setattr(chat, &owner, n, NULL, &set, SF_SET_MODE, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, -EPERM);
    g = (struct got){0};
    set.size = 7; /* C5 */
    sf_chat_setattr(chat, &owner, n, NULL, &set, SF_SET_SIZE, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, -EINVAL);
    sf_chat_release(f);
    sf_chat_forget(chat, n, 1);
}

/* P2, P3 */
static void
who_may(void **state)
{
    (void)state;
    struct sf_chat_file *f = NULL;
    const struct sf_chat_who root = {.uid = 0};
    assert_int_equal(create_as(&other, SF_TREE_ROOT, "a.chat", O_WRONLY, &f), -EACCES);
    f = begin_chat("a.chat");
    uint64_t n = find(SF_TREE_ROOT, "a.chat");
    struct sf_chat_file *g = NULL;
    assert_int_equal(open_as(&other, n, O_RDONLY, &g), -EACCES);
    assert_int_equal(sf_chat_access(chat, &other, n, R_OK), -EACCES);
    assert_int_equal(sf_chat_access(chat, &owner, n, R_OK | W_OK), 0);
    assert_int_equal(sf_chat_access(chat, &owner, n, X_OK), -EACCES);
    assert_int_equal(open_as(&root, n, O_RDONLY, &g), 0);
    sf_chat_release(g);
    /* FILE is somebody else's. */
    uint64_t a = node(SF_TREE_ROOT, "a");
    struct got s = {0};
    const struct sf_attr secret = {.mode = 0600, .uid = 55};
    sf_tree_setattr(tree, a, NULL, &secret, SF_SET_MODE | SF_SET_UID, keep, &s);
    run_until_called(&s);
    assert_int_equal(s.err, 0);
    assert_int_equal(open_as(&owner, n, O_RDONLY, &g), -EACCES);
    s = (struct got){0};
    const struct sf_attr group = {.mode = 0640, .gid = 77};
    sf_tree_setattr(tree, a, NULL, &group, SF_SET_MODE | SF_SET_GID, keep, &s);
    run_until_called(&s);
    assert_int_equal(open_as(&owner, n, O_RDONLY, &g), -EACCES);
    const gid_t groups[] = {5, 77};
    const struct sf_chat_who member = {.uid = OWNER, .gid = OWNER, .groups = groups, .n_groups = 2};
    assert_int_equal(open_as(&member, n, O_RDONLY, &g), 0);
    sf_chat_release(g);
    sf_chat_release(f);
    sf_chat_forget(chat, n, 1);
    sf_tree_forget(tree, a, 1);
}

/* P4 */
static void
a_read_only_mount(void **state)
{
    (void)state;
    struct sf_chat_file *f = NULL;
    ask_chat("a.chat", "q");
    finish(asked(1));
    sf_chat_free(chat);
    chat_begin(true);
    uint64_t n = find(SF_TREE_ROOT, "a.chat");
    assert_int_equal(open_as(&owner, n, O_WRONLY, &f), -EROFS);
    assert_int_equal(create_as(&owner, SF_TREE_ROOT, "a.beta.chat", O_WRONLY, &f), -EROFS);
    assert_int_equal(sf_chat_access(chat, &owner, n, W_OK), -EROFS);
    struct got g = {0};
    sf_chat_unlink(chat, &owner, SF_TREE_ROOT, "a.chat", keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, -EROFS);
    assert_int_equal(open_as(&owner, n, O_RDONLY, &f), 0);
    sf_chat_release(f);
    sf_chat_forget(chat, n, 1);
    /* But for who has no name for it. */
    uint64_t a = node(SF_TREE_ROOT, "a");
    g = (struct got){0};
    (void)sf_chat_open_about(chat, &owner, a, O_RDWR, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    f = g.res.other;
    assert_int_equal(put(f, "again"), 5);
    sf_chat_release(f);
    finish(asked(2));
    sf_tree_forget(tree, a, 1);
}

/* C3, N5 */
static void
unlink_puts_away(void **state)
{
    (void)state;
    struct got g = {0};
    sf_chat_unlink(chat, &owner, SF_TREE_ROOT, "a.chat", keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, -ENOENT);
    ask_chat("a.chat", "q");
    struct asked *q = asked(1);
    g = (struct got){0};
    sf_chat_unlink(chat, &other, SF_TREE_ROOT, "a.chat", keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, -EACCES);
    g = (struct got){0};
    sf_chat_unlink(chat, &owner, SF_TREE_ROOT, "a.chat", keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    await(q->cancelled);
    assert_int_equal(find(SF_TREE_ROOT, "a.chat"), 0);
    /* C2 */
    ask_chat("a.chat", "q");
    (void)asked(2);
    fake_put("b", "a.chat", "an object");
    sf_chat_covered(chat, SF_TREE_ROOT, "a.chat");
    await(asked(2)->cancelled);
}

/* C1: an object was there until just now, as when an editor puts the old text aside. */
static void
moved_away(void **state)
{
    (void)state;
    struct got g = {0};
    ask_chat("a.chat", "q");
    (void)asked(1);
    assert_int_not_equal(find(SF_TREE_ROOT, "a.chat"), 0);
    sf_chat_moved(chat, SF_TREE_ROOT, "a.chat");
    sf_chat_moved(chat, SF_TREE_ROOT, "a.txt"); /* is nothing to us */
    assert_int_equal(find(SF_TREE_ROOT, "a.chat"), 0);
    sf_chat_create(chat, &owner, SF_TREE_ROOT, "a.chat", O_WRONLY | O_CREAT, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, -ENOENT);
    for (int i = 0; i < 40; i++) { /* only the last ones are remembered */
        char name[32];
        snprintf(name, sizeof name, "other-%d.chat", i);
        sf_chat_moved(chat, SF_TREE_ROOT, name);
    }
    assert_int_not_equal(find(SF_TREE_ROOT, "a.chat"), 0);
    sf_chat_moved(NULL, SF_TREE_ROOT, "a.chat");
}

/* N12 */
static void
all_conversations(void **state)
{
    (void)state;
    char id[300], name[320];
    struct sf_dirent e;
    struct sf_chat_file *f = NULL;
    ask_chat("a.chat", "q");
    think(asked(1), "hm");
    say(asked(1), "the answer");
    finish(asked(1));
    await(strstr(text_of("a.chat"), "end stop"));
    uint64_t n = find(SF_TREE_ROOT, "a.chat");
    assert_int_equal(xattr(&owner, n, "user.supafs.chat.id", id), 0);
    sf_chat_forget(chat, n, 1);
    struct got g = {0};
    sf_chat_opendir(chat, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    struct sf_chat_dir *dir = g.res.other;
    snprintf(name, sizeof name, "%s.md", id);
    assert_int_equal(sf_chat_dirent(dir, 2, &e), 1);
    assert_string_equal(e.name, name);
    assert_int_equal(sf_chat_dirent(dir, 3, &e), 0);
    sf_chat_releasedir(dir);
    n = find(SF_CHAT_DIR, name);
    assert_true(sf_chat_owns(n));
    assert_int_equal(attr_of(n).mode, S_IFREG | 0600);
    assert_int_equal(open_as(&owner, n, O_WRONLY, &f), 0);
    assert_int_equal(put(f, "more?"), 5);
    sf_chat_release(f);
    assert_non_null(strstr(asked(2)->text, "more?"));
    finish(asked(2));
    sf_chat_forget(chat, n, 1);
    snprintf(name, sizeof name, "%s.reasoning.md", id);
    n = find(SF_CHAT_DIR, name);
    assert_int_equal(attr_of(n).mode, S_IFREG | 0400);
    assert_int_equal(open_as(&owner, n, O_WRONLY, &f), -EACCES);
    assert_int_equal(open_as(&owner, n, O_RDONLY, &f), 0);
    g = read_at(f, 0, false);
    assert_int_equal(g.err, 0);
    sf_chat_release(f);
    sf_chat_forget(chat, n, 1);
    assert_int_equal(find(SF_CHAT_DIR, "nobody-1.md"), 0);
    assert_int_equal(find(SF_CHAT_DIR, "x"), 0);
}

/* S9, E2, and the name by which it is opened. */
static void
attributes_tell(void **state)
{
    (void)state;
    char value[300];
    uint64_t a = node(SF_TREE_ROOT, "a");
    assert_true(sf_chat_xattr_is(chat, "user.supafs.chat"));
    assert_true(sf_chat_xattr_is(chat, "user.supafs.chat.id"));
    assert_false(sf_chat_xattr_is(chat, "user.supafs.id"));
    assert_int_equal(xattr(&owner, a, "user.supafs.chat", value), -ENODATA);
    assert_int_equal(xattr(&owner, a, "user.supafs.chat.state", value), -ENODATA);
    assert_int_equal(xattr(&owner, a, "user.supafs.chat.model", value), -EOPNOTSUPP);
    assert_int_equal(xattr(&other, a, "user.supafs.chat.name", value), 0);
    assert_string_equal(value, "a.chat");
    ask_chat("a.chat", "q");
    say(asked(1), "forty");
    assert_int_equal(xattr(&owner, a, "user.supafs.chat.state", value), 0);
    assert_string_equal(value, "answering");
    finish(asked(1));
    await(!xattr(&owner, a, "user.supafs.chat.usage", value));
    assert_int_equal(xattr(&owner, a, "user.supafs.chat", value), 0);
    assert_string_equal(value, "forty");
    assert_int_equal(xattr(&other, a, "user.supafs.chat", value), -EACCES);
    assert_int_equal(xattr(&owner, a, "user.supafs.error", value), -ENODATA);
    ask_chat("a.beta.chat", "q");
    finish_as(asked(2), SF_PE_FAILED, SF_PC_AUTH);
    await(!xattr(&owner, a, "user.supafs.error", value));
    assert_non_null(strstr(value, "beta says no"));
    assert_int_equal(xattr(&other, a, "user.supafs.error", value), -EOPNOTSUPP);
    sf_tree_forget(tree, a, 1);
}

/* C8 */
static void
an_attribute_cancels(void **state)
{
    (void)state;
    bool remove;
    uint64_t a = node(SF_TREE_ROOT, "a");
    ask_chat("a.beta.chat", "q");
    (void)asked(1);
    assert_int_equal(sf_chat_setxattr(chat, &other, a, "user.supafs.chat.cancel", "1", 1, &remove),
                     -EACCES);
    assert_int_equal(sf_chat_setxattr(chat, &owner, a, "user.supafs.chat.cancel", "1", 1, &remove),
                     0);
    await(asked(1)->cancelled);
    sf_tree_forget(tree, a, 1);
}

/* S4 to S7 */
static void
settings_of_files(void **state)
{
    (void)state;
    char value[300];
    bool remove;
    uint64_t a = node(SF_TREE_ROOT, "a");
    assert_int_equal(
        sf_chat_setxattr(chat, &owner, a, "user.supafs.chat.temperature", "9", 1, &remove),
        -EINVAL);
    assert_int_equal(xattr(&owner, a, "user.supafs.error", value), 0);
    assert_non_null(strstr(value, "temperature"));
    assert_int_equal(
        sf_chat_setxattr(chat, &owner, a, "user.supafs.chat.provider", "gamma", 5, &remove),
        -EINVAL);
    assert_int_equal(sf_chat_setxattr(chat, &owner, a, "user.supafs.chat.model", "m-2", 3, &remove),
                     1);
    assert_false(remove);
    struct got g = {0};
    sf_tree_setxattr(tree, a, "user.supafs.chat.model", "m-2", 3, 0, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    g = (struct got){0};
    sf_tree_setxattr(tree, SF_TREE_ROOT, "user.supafs.chat.model", "m-3", 3, 0, keep, &g);
    run_until_called(&g);
    g = (struct got){0};
    sf_tree_setxattr(tree, a, "user.supafs.chat.provider", "beta", 4, 0, keep, &g);
    run_until_called(&g);
    assert_int_equal(xattr(&owner, a, "user.supafs.chat.settings", value), 0);
    assert_string_equal(value, "provider: beta (file)\nmodel: m-2 (file)\n");
    ask_chat("a.chat", "q");
    assert_string_equal(asked(1)->provider, "beta");
    assert_string_equal(asked(1)->model, "m-2");
    finish(asked(1));
    ask_chat("a.alpha.chat", "---\nmodel: m-9\n---\nq"); /* S6 */
    assert_string_equal(asked(2)->provider, "alpha");
    assert_string_equal(asked(2)->model, "m-9");
    finish(asked(2));
    assert_int_equal(sf_chat_setxattr(chat, &owner, a, "user.supafs.chat.model", "", 0, &remove),
                     1);
    assert_true(remove);
    sf_tree_forget(tree, a, 1);
}

/* N3's last sentence, N11 */
static void
where_there_are_none(void **state)
{
    (void)state;
    char value[300], longest[256];
    struct got g = {0};
    struct sf_chat_file *f = NULL;
    memset(longest, 'x', 251);
    snprintf(longest + 251, 2, "y");
    fake_put("b", longest, "text"); /* 252 bytes */
    uint64_t n = node(SF_TREE_ROOT, longest);
    assert_int_equal(xattr(&owner, n, "user.supafs.chat.name", value), -ENODATA);
    (void)sf_chat_open_about(chat, &owner, n, O_RDWR, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    f = g.res.other;
    assert_int_equal(put(f, "q"), 1);
    sf_chat_release(f);
    finish(asked(1));
    sf_tree_forget(tree, n, 1);
    sf_chat_free(chat);
    world_close();
    assert_int_equal(end(state), 0);
    world_open();
    fake_bucket("b");
    fake_put("b", "a", "text");
    start_with(NULL, 60000, false); /* the whole project */
    chat_begin(false);
    assert_int_equal(create_as(&owner, SF_TREE_ROOT, ".chat", O_WRONLY, &f), -ENOENT);
    assert_int_equal(find(SF_TREE_ROOT, ".chat"), 0);
    n = node(SF_TREE_ROOT, "b");
    assert_int_equal(create_as(&owner, n, ".chat", O_WRONLY, &f), 0);
    sf_chat_release(f);
    assert_int_equal(create_as(&owner, n, "a.chat", O_WRONLY, &f), 0);
    sf_chat_release(f);
    sf_tree_forget(tree, n, 1);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, chat_setup, chat_teardown)
    const struct CMUnitTest tests[] = {
        T(names_exist_with_conversations),
        T(a_name_keeps_its_node),
        T(what_is_no_chat_name),
        T(a_file_of_the_owner),
        T(who_may),
        T(a_read_only_mount),
        T(unlink_puts_away),
        T(moved_away),
        T(all_conversations),
        T(attributes_tell),
        T(an_attribute_cancels),
        T(settings_of_files),
        T(where_there_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
