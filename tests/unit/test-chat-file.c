/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One open of a chat file: what is asked when, and who reads what (docs/formats/chat.md, parts 3, 4
 * and 5). */
#include "chat-fixture.h"

#include <poll.h>
#include <pthread.h>

#include "chat/typed.h"

/* W1, W2: all writes of an open are one prompt, at its release. */
static void
writes_are_one_prompt(void **state)
{
    (void)state;
    struct sf_chat_file *f = begin_chat("a.chat");
    assert_int_equal(put(f, "What "), 5);
    assert_int_equal(flush_chat(f), 0);
    assert_int_equal(put(f, "changed?\n"), 9);
    assert_int_equal(flush_chat(f), 0);
    assert_int_equal(flush_chat(f), 0);
    assert_int_equal(asked_count(), 0);
    sf_chat_release(f);
    assert_non_null(strstr(asked(1)->text, "user: What changed?\n"));
    say(asked(1), "Little.");
    finish(asked(1));
    await(strstr(text_of("a.chat"), "end stop"));
    assert_non_null(strstr(text_of("a.chat"), "\n\nWhat changed?\n"));
    assert_int_equal(asked_count(), 1);
}

static int
no_transcript(void *arg, const char *text, size_t len, size_t *rest, struct sf_err *err)
{
    (void)arg, (void)text, (void)err;
    *rest = len < 60 ? len : 60;
    return 0;
}

/* What comes of a prompt that is written in pieces: 1, 0 or -EINVAL, and the question. */
static int
typed(const char *text, size_t len, size_t first, size_t second, char question[256])
{
    struct chat_typed t;
    struct sf_chat_front own;
    size_t body = 0;
    chat_typed_init(&t);
    sf_chat_front_init(&own);
    int rc = chat_typed_write(&t, text, first, 100, NULL);
    if (!rc)
        rc = chat_typed_write(&t, text + first, second - first, 100, NULL);
    if (!rc)
        rc = chat_typed_write(&t, text + second, len - second, 100, NULL);
    if (!rc)
        rc = chat_typed_end(&t, no_transcript, NULL, &body, &own, NULL);
    snprintf(question, 256, "%s", rc == 1 ? t.text.data + body : "");
    sf_chat_front_fini(&own);
    chat_typed_fini(&t);
    return rc;
}

/* W1: nor does it count how it was cut. */
static void
cuts_do_not_count(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } rows[] = {
        {"What changed?\n\nAnd why?\n\n", 1},
        {" \n\t\n", 0},
        {"caf\xc3\xa9 \xf0\x9f\x98\x80 \xe2\x82\xac\n", 1},
        {"caf\xc3", -EINVAL},
        {"x\xed\xa0\x80y", -EINVAL},
        {"---\nmodel: m\n---\n\nq\n", 1},
        {"---\r\nsystem: |\r\n  a\r\n---\r\nq", 1},
        {"---\n---\n---\nmodel: m\n---\n", 1},
        {"---\nmodel: m\n---\n", 0},
        {"---\nmodel: m\nq\n", -EINVAL},
        {"---\nnone: m\n---\nq\n", -EINVAL},
        {"---\nand so on\n", 1},
        {"---\nsupafs-chat: 1\nconversation: x\n---\n\n## user 2026\n\nfirst\n\nsecond\n", 1},
    };
    char whole[256], cut[256];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i].text);
        assert_int_equal(typed(rows[i].text, len, len, len, whole), rows[i].rc);
        for (size_t a = 0; a <= len; a++)
            for (size_t b = a; b <= len; b++) {
                assert_int_equal(typed(rows[i].text, len, a, b, cut), rows[i].rc);
                assert_string_equal(cut, whole);
            }
    }
}

/* W3, W6, R13 */
static void
nothing_asks_nothing(void **state)
{
    (void)state;
    struct sf_chat_file *f = begin_chat("a.chat");
    assert_int_equal(put(f, " \n"), 2);
    assert_int_equal(flush_chat(f), 0);
    sf_chat_release(f);
    assert_int_equal(find(SF_TREE_ROOT, "a.chat"), 0);
    ask_chat("a.chat", "q");
    finish(asked(1));
    await(strstr(text_of("a.chat"), "end "));
    f = open_chat("a.chat", O_RDONLY);
    sf_chat_release(f);
    f = open_chat("a.chat", O_WRONLY | O_APPEND);
    assert_int_equal(flush_chat(f), 0);
    sf_chat_release(f);
    assert_int_equal(asked_count(), 1);
}

/* W4, C4 */
static void
truncation_puts_away(void **state)
{
    (void)state;
    struct sf_chat_file *f;
    ask_chat("a.chat", "q");
    (void)asked(1);
    f = open_chat("a.chat", O_WRONLY | O_TRUNC);
    assert_true(*text_of("a.chat"));
    sf_chat_abandon(f); /* who opened it was told that this failed */
    sf_chat_release(f);
    assert_true(*text_of("a.chat"));
    assert_false(asked(1)->cancelled);
    f = open_chat("a.chat", O_WRONLY | O_TRUNC);
    sf_chat_release(f);
    await(asked(1)->cancelled);
    assert_string_equal(text_of("a.chat"), "");
    ask_chat("a.chat", "q2");
    say(asked(2), "x");
    finish(asked(2));
    await(strstr(text_of("a.chat"), "end stop"));
    /* What asks does not. */
    f = open_chat("a.chat", O_WRONLY | O_TRUNC);
    assert_int_equal(put(f, "q3"), 2);
    sf_chat_release(f);
    finish(asked(3));
    assert_non_null(strstr(text_of("a.chat"), "q2"));
    /* At once by path. */
    uint64_t n = find(SF_TREE_ROOT, "a.chat");
    struct got g = {0};
    const struct sf_attr zero = {.size = 0};
    sf_chat_setattr(chat, &other, n, NULL, &zero, SF_SET_SIZE, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, -EACCES);
    g = (struct got){0};
    sf_chat_setattr(chat, &owner, n, NULL, &zero, SF_SET_SIZE, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    assert_int_equal(g.res.attr.size, 0);
    assert_int_equal(find(SF_TREE_ROOT, "a.chat"), n);
    sf_chat_forget(chat, n, 2);
    /* Of an open: to 0, and to what it has written. */
    f = open_chat("a.chat", O_WRONLY);
    assert_int_equal(put(f, "dropped"), 7);
    n = find(SF_TREE_ROOT, "a.chat");
    for (int i = 0; i < 3; i++) {
        const struct sf_attr size = {.size = i == 0 ? 7 : i == 1 ? 3 : 0};
        g = (struct got){0};
        sf_chat_setattr(chat, &owner, n, f, &size, SF_SET_SIZE, keep, &g);
        run_until_called(&g);
        assert_int_equal(g.err, i == 1 ? -EINVAL : 0);
    }
    assert_int_equal(put(f, "kept"), 4);
    sf_chat_release(f);
    sf_chat_forget(chat, n, 1);
    assert_non_null(strstr(asked(4)->text, "user: kept"));
    finish(asked(4));
}

/* The thread that kept a draft may hold the open for a moment longer than its release. */
static bool
is_gone(const char *name)
{
    uint64_t n = find(SF_TREE_ROOT, name);
    if (n)
        sf_chat_forget(chat, n, 1);
    return n == 0;
}

/* W5 */
static void
a_prompt_is_text(void **state)
{
    (void)state;
    char value[300];
    static char big[SF_CHAT_PROMPT_MAX + 1];
    uint64_t a = node(SF_TREE_ROOT, "a");
    struct sf_chat_file *f = begin_chat("a.chat");
    assert_int_equal(put(f, "caf\xc3"), 4);
    assert_int_equal(flush_chat(f), -EINVAL); /* within a character */
    assert_int_equal(put(f, "\xa9?"), 2);
    assert_int_equal(flush_chat(f), 0);
    assert_int_equal(put(f, "\xff"), -EINVAL);
    assert_int_equal(put(f, "good"), -EINVAL);
    assert_int_equal(flush_chat(f), -EINVAL);
    sf_chat_release(f);
    assert_int_equal(xattr(&owner, a, "user.supafs.error", value), 0);
    assert_non_null(strstr(value, "UTF-8"));
    f = begin_chat("a.chat");
    assert_int_equal(sf_chat_write(f, "a\0b", 3), -EINVAL);
    sf_chat_release(f);
    memset(big, 'x', sizeof big);
    f = begin_chat("a.chat");
    assert_int_equal(sf_chat_write(f, big, SF_CHAT_PROMPT_MAX), SF_CHAT_PROMPT_MAX);
    assert_int_equal(put(f, "\n\n\n"), 3);
    assert_int_equal(flush_chat(f), 0);
    assert_int_equal(put(f, "x"), -EINVAL);
    sf_chat_release(f);
    f = begin_chat("a.chat");
    assert_int_equal(sf_chat_write(f, big, sizeof big), -EINVAL);
    sf_chat_release(f);
    assert_int_equal(asked_count(), 0);
    await(is_gone("a.chat"));
    sf_tree_forget(tree, a, 1);
}

/* A prompt without the bytes of a write that failed is none. */
static void
a_write_without_memory(void **state)
{
    (void)state;
    const uint64_t most = SIZE_MAX - (1 << 20);
    struct chat_typed t;
    struct sf_chat_front own;
    size_t body = 0;
    chat_typed_init(&t);
    sf_chat_front_init(&own);
    assert_int_equal(chat_typed_write(&t, "---\nsupafs-chat: 1\nx", 20, most, NULL), 0);
    t.feeds = most; /* more than there ever is */
    assert_int_equal(chat_typed_write(&t, "x", 1, most, NULL), -ENOMEM);
    t.feeds = 0;
    assert_int_equal(chat_typed_write(&t, "more", 4, most, NULL), -EINVAL);
    assert_int_equal(chat_typed_end(&t, no_transcript, NULL, &body, &own, NULL), -EINVAL);
    sf_chat_front_fini(&own);
    chat_typed_fini(&t);
}

/* W9, S4, S6 */
static void
front_matter_is_checked(void **state)
{
    (void)state;
    char value[300];
    uint64_t a = node(SF_TREE_ROOT, "a");
    struct sf_chat_file *f = begin_chat("a.chat");
    assert_int_equal(put(f, "---\nmodel: m-7\n"), 15);
    assert_int_equal(flush_chat(f), -EINVAL); /* it has no end yet */
    assert_int_equal(put(f, "---\n"), 4);
    assert_int_equal(flush_chat(f), 0); /* W6 */
    assert_int_equal(put(f, "q\n"), 2);
    assert_int_equal(flush_chat(f), 0);
    sf_chat_release(f);
    assert_string_equal(asked(1)->model, "m-7");
    assert_non_null(strstr(asked(1)->text, "user: q\n"));
    finish(asked(1));
    f = begin_chat("a.alpha.chat");
    assert_int_equal(put(f, "---\ntemperature: 9\n---\nq"), -EINVAL);
    sf_chat_release(f);
    f = begin_chat("a.alpha.chat");
    assert_int_equal(put(f, "---\nprovider: beta\n---\nq"), -EINVAL);
    sf_chat_release(f);
    assert_int_equal(xattr(&owner, a, "user.supafs.error", value), 0);
    assert_non_null(strstr(value, "alpha"));
    f = open_chat("a.chat", O_WRONLY);
    assert_int_equal(put(f, "---\nprovider: gamma\n---\nq"), -EINVAL);
    sf_chat_release(f);
    assert_int_equal(asked_count(), 1);
    sf_tree_forget(tree, a, 1);
}

/* W10, W11 */
static void
transcripts_as_prompts(void **state)
{
    (void)state;
    char text[8192], value[300];
    uint64_t a = node(SF_TREE_ROOT, "a");
    struct sf_chat_file *f;
    ask_chat("a.chat", "first");
    say(asked(1), "one");
    finish(asked(1));
    await(strstr(text_of("a.chat"), "end stop"));
    snprintf(text, sizeof text, "%s", text_of("a.chat"));
    size_t len = strlen(text);
    f = open_chat("a.chat", O_WRONLY); /* an editor that shows it and adds a question */
    assert_int_equal(put(f, text), len);
    assert_int_equal(flush_chat(f), 0);
    assert_int_equal(put(f, "\nsecond\n"), 8);
    assert_int_equal(flush_chat(f), 0);
    sf_chat_release(f);
    assert_non_null(strstr(asked(2)->text, "user: second\n"));
    finish(asked(2));
    await(strstr(strstr(text_of("a.chat"), "second"), "end "));
    f = open_chat("a.chat", O_WRONLY); /* it is not the present one any more */
    assert_int_equal(put(f, text), len);
    assert_int_equal(put(f, "third"), 5);
    assert_int_equal(flush_chat(f), -EINVAL);
    sf_chat_release(f);
    assert_int_equal(xattr(&owner, a, "user.supafs.error", value), 0);
    assert_non_null(strstr(value, "something else"));
    f = begin_chat("a.beta.chat"); /* another one's */
    assert_int_equal(put(f, text), len);
    assert_int_equal(flush_chat(f), -EINVAL);
    sf_chat_release(f);
    assert_int_equal(xattr(&owner, a, "user.supafs.error", value), 0);
    snprintf(text, sizeof text, "%s", text_of("a.chat")); /* nothing is asked */
    f = open_chat("a.chat", O_WRONLY | O_TRUNC);
    assert_int_equal(put(f, text), strlen(text));
    assert_int_equal(flush_chat(f), 0);
    sf_chat_release(f);
    assert_string_equal(text_of("a.chat"), text);
    assert_int_equal(asked_count(), 2);
    sf_tree_forget(tree, a, 1);
}

/* W12 */
static void
sixteen_at_most(void **state)
{
    (void)state;
    struct sf_chat_file *f[SF_CONV_LINE], *g = NULL;
    f[0] = begin_chat("a.chat");
    for (int i = 1; i < SF_CONV_LINE; i++)
        f[i] = open_chat("a.chat", O_WRONLY);
    uint64_t n = find(SF_TREE_ROOT, "a.chat");
    assert_int_equal(open_as(&owner, n, O_WRONLY, &g), -EBUSY);
    assert_int_equal(open_as(&owner, n, O_RDONLY, &g), 0);
    sf_chat_release(g);
    for (int i = 0; i < SF_CONV_LINE; i++)
        sf_chat_release(f[i]);
    sf_chat_forget(chat, n, 1);
}

/* R2: open() waits for who is about to ask. */
static void
open_waits_for_release(void **state)
{
    (void)state;
    struct sf_chat_file *f = begin_chat("a.chat"), *r = NULL;
    struct got g = {0}, read = {0};
    uint64_t n = find(SF_TREE_ROOT, "a.chat");
    assert_int_equal(put(f, "q"), 1);
    assert_int_equal(open_as(&owner, n, O_RDONLY, &r), 0); /* not flushed yet */
    sf_chat_release(r);
    assert_int_equal(flush_chat(f), 0);
    assert_int_equal(open_as(&owner, n, O_RDONLY | O_NONBLOCK, &r), 0);
    sf_chat_release(r);
    (void)sf_chat_open(chat, &owner, n, O_RDONLY, keep, &g);
    usleep(20000);
    assert_false(g.called);
    sf_chat_release(f);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    r = g.res.other;
    uint64_t id = sf_chat_read(r, 0, 100, false, keep, &read); /* R3 */
    assert_int_not_equal(id, 0);
    usleep(20000);
    say(asked(1), "yes");
    run_until_called(&read);
    assert_int_equal(read.err, 0);
    assert_true(read.res.len > 0);
    finish(asked(1));
    sf_chat_release(r);
    /* What was submitted by a read is in the line already. */
    assert_int_equal(open_as(&owner, n, O_RDWR, &f), 0);
    assert_int_equal(put(f, "q"), 1);
    assert_int_equal(flush_chat(f), 0);
    g = (struct got){0};
    (void)sf_chat_open(chat, &owner, n, O_RDONLY, keep, &g);
    usleep(10000);
    assert_false(g.called);
    read = read_at(f, 0, true);
    assert_int_equal(read.err, -EAGAIN);
    assert_true(g.called);
    assert_int_equal(g.err, 0);
    finish(asked(2));
    sf_chat_release(f);
    sf_chat_release(g.res.other);
    /* It is interrupted, or does not wait for ever. */
    f = open_chat("a.chat", O_WRONLY);
    assert_int_equal(put(f, "q"), 1);
    assert_int_equal(flush_chat(f), 0);
    g = (struct got){0};
    id = sf_chat_open(chat, &owner, n, O_RDONLY, keep, &g);
    usleep(10000);
    assert_false(g.called);
    sf_chat_cancel(chat, id);
    assert_true(g.called);
    assert_int_equal(g.err, -ECANCELED);
    sf_chat_cancel(chat, id);
    assert_int_equal(put(f, "more"), 4); /* not flushed since */
    assert_int_equal(open_as(&owner, n, O_RDONLY, &r), 0);
    sf_chat_release(r);
    sf_chat_release(f);
    finish(asked(3));
    sf_chat_forget(chat, n, 1);
}

/* R4, R5, R11 */
static void
reads_that_wait(void **state)
{
    (void)state;
    struct got g = {0};
    ask_chat("a.chat", "q");
    struct sf_chat_file *f = open_chat("a.chat", O_RDONLY);
    say(asked(1), "begin");
    uint64_t off = 0;
    for (;;) {
        g = read_at(f, off, true);
        if (g.err)
            break;
        off += g.res.len;
    }
    assert_int_equal(g.err, -EAGAIN);
    assert_int_equal(sf_chat_poll(f, NULL, NULL), POLLOUT | POLLWRNORM);
    g = (struct got){0};
    uint64_t id = sf_chat_read(f, off, 100, false, keep, &g);
    assert_false(g.called);
    sf_chat_cancel(chat, id);
    assert_true(g.called);
    assert_int_equal(g.err, -ECANCELED);
    assert_false(asked(1)->cancelled);
    finish(asked(1));
    await(sf_chat_poll(f, NULL, NULL) & POLLIN);
    sf_chat_release(f);
}

struct woken {
    _Atomic unsigned changed, back;
};

static void
wake(void *arg, bool changed)
{
    struct woken *w = arg;
    if (changed)
        w->changed++;
    else
        w->back++;
}

/* R11 */
static void
poll_wakes_once(void **state)
{
    (void)state;
    struct woken first = {0}, second = {0}, third = {0};
    struct sf_chat_file *f = NULL;
    assert_int_equal(create_as(&owner, SF_TREE_ROOT, "a.chat", O_RDWR, &f), 0);
    assert_int_equal(put(f, "q"), 1);
    assert_true(sf_chat_poll(f, wake, &first) & POLLIN); /* a read asks */
    assert_int_equal(asked_count(), 0);                  /* W2 */
    struct got g = read_at(f, 0, true);
    assert_int_equal(g.err, -EAGAIN);
    (void)asked(1);
    assert_false(sf_chat_poll(f, wake, &second) & POLLIN);
    assert_int_equal(first.changed + first.back, 1);
    assert_int_equal(second.changed, 0);
    say(asked(1), "a line\n");
    await(second.changed == 1);
    assert_true(sf_chat_poll(f, wake, &third) & POLLIN);
    finish(asked(1));
    sf_chat_release(f);
    assert_int_equal(second.back, 0);
    assert_int_equal(third.changed + third.back, 1);
}

/* R6 to R9 */
static void
who_has_written_reads_its_answer(void **state)
{
    (void)state;
    struct sf_chat_file *f = NULL;
    ask_chat("a.chat", "before");
    finish(asked(1));
    uint64_t n = find(SF_TREE_ROOT, "a.chat");
    assert_int_equal(open_as(&owner, n, O_RDWR, &f), 0);
    assert_int_equal(put(f, "two?"), 4);
    struct got g = {0};
    (void)sf_chat_read(f, 4, 100, false, keep, &g); /* where the write ended */
    say(asked(2), "the second ");
    run_until_called(&g);
    assert_string_equal(g.data, "the second ");
    say(asked(2), "answer\n");
    g = read_at(f, 15, false);
    assert_string_equal(g.data, "answer\n");
    finish(asked(2));
    g = read_at(f, 22, false);
    assert_int_equal(g.err, 0);
    assert_int_equal(g.res.len, 0);
    g = read_at(f, 0, false); /* R9 */
    assert_string_equal(g.data, "the second answer\n");
    g = read_at(f, 4, false);
    assert_string_equal(g.data, "second answer\n");
    assert_int_equal(put(f, "three?"), 6);
    g = (struct got){0};
    (void)sf_chat_read(f, 30, 100, false, keep, &g);
    say(asked(3), "part");
    run_until_called(&g);
    assert_string_equal(g.data, "part");
    finish_as(asked(3), SF_PE_FAILED, SF_PC_NETWORK); /* R7 */
    g = read_at(f, 34, false);
    if (!g.err) /* its last line feed */
        g = read_at(f, 35, false);
    assert_true(g.err < 0);
    assert_int_equal(put(f, "four?"), 5); /* R8 */
    g = (struct got){0};
    (void)sf_chat_read(f, 40, 100, false, keep, &g);
    say(asked(4), "much ");
    run_until_called(&g);
    sf_chat_release(f);
    await(asked(4)->cancelled);
    sf_chat_forget(chat, n, 1);
}

/* W7: a prompt that is not good says so, and keeps nothing. */
static void
a_bad_prompt_is_dropped(void **state)
{
    (void)state;
    struct sf_chat_file *f = NULL;
    assert_int_equal(create_as(&owner, SF_TREE_ROOT, "a.chat", O_RDWR, &f), 0);
    assert_int_equal(put(f, "q"), 1);
    assert_int_equal(flush_chat(f), 0);
    assert_int_equal(put(f, "\xc3"), 1);
    struct got g = read_at(f, 0, false);
    assert_int_equal(g.err, -EINVAL);
    assert_int_equal(flush_chat(f), -EINVAL);
    sf_chat_release(f);
    assert_int_equal(asked_count(), 0);
    chat_end(); /* nor is there a draft */
    world_open();
    chat_begin(false);
    assert_int_equal(find(SF_TREE_ROOT, "a.chat"), 0);
}

/* C9: what open writers have written is a draft after the end. */
static void
open_writers_leave_drafts(void **state)
{
    (void)state;
    struct sf_chat_file *f = begin_chat("a.chat");
    assert_int_equal(put(f, "kept?"), 5);
    chat_end();
    world_open();
    chat_begin(false);
    assert_non_null(strstr(text_of("a.chat"), "## draft "));
    assert_non_null(strstr(text_of("a.chat"), "kept?"));
    assert_int_equal(asked_count(), 0);
}

/* Reads that wait are bounded, and leave room for who asks. */
static void
a_thousand_readers(void **state)
{
    (void)state;
    enum { MANY = 1024 };
    static struct got g[MANY + 1];
    struct sf_chat_stats st;
    ask_chat("a.chat", "q");
    (void)asked(1);
    struct sf_chat_file *f = open_chat("a.chat", O_RDONLY), *w;
    memset(g, 0, sizeof g);
    for (int i = 0; i <= MANY; i++)
        (void)sf_chat_read(f, 1 << 20, 10, false, keep, &g[i]);
    sf_chat_stats(chat, &st);
    assert_int_equal(st.waiting, MANY);
    assert_true(g[MANY].called);
    assert_int_equal(g[MANY].err, -EAGAIN);
    w = open_chat("a.chat", O_WRONLY);
    assert_int_equal(put(w, "q2"), 2);
    sf_chat_release(w);
    finish(asked(1));
    for (int i = 0; i < MANY; i++)
        await(g[i].called);
    sf_chat_release(f);
    finish(asked(2));
}

/* Releases, reads and their ends from many threads at once. */
struct storm {
    _Atomic bool stop;
    uint64_t node;
};

static void *
read_storm(void *arg)
{
    struct storm *s = arg;
    while (!s->stop) {
        struct got g = {0};
        (void)sf_chat_open(chat, &owner, s->node, O_RDONLY, keep, &g);
        while (!g.called)
            usleep(100);
        if (g.err)
            continue;
        struct sf_chat_file *f = g.res.other;
        struct got r = {0};
        uint64_t id = sf_chat_read(f, 1 << 20, 10, false, keep, &r);
        usleep(300);
        sf_chat_cancel(chat, id);
        while (!r.called)
            usleep(100);
        sf_chat_release(f);
    }
    return NULL;
}

static void
many_threads(void **state)
{
    (void)state;
    struct storm s = {0};
    pthread_t threads[3];
    ask_chat("a.chat", "q");
    (void)asked(1);
    s.node = find(SF_TREE_ROOT, "a.chat");
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_storm, &s), 0);
    for (int i = 0; i < 30; i++) {
        char text[32];
        snprintf(text, sizeof text, "piece %d\n", i);
        say(asked(1), text);
        uint64_t n = find(SF_TREE_ROOT, "a.chat");
        struct sf_chat_file *f = open_chat("a.chat", O_WRONLY);
        assert_int_equal(put(f, " "), 1);
        assert_int_equal(flush_chat(f), 0);
        sf_chat_release(f);
        sf_chat_forget(chat, n, 1);
    }
    s.stop = true;
    finish(asked(1));
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    sf_chat_forget(chat, s.node, 1);
    await(strstr(text_of("a.chat"), "end stop"));
    struct sf_chat_stats st;
    sf_chat_stats(chat, &st);
    assert_int_equal(st.open_files, 0);
    assert_int_equal(st.waiting, 0);
    assert_int_equal(st.nodes, 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, chat_setup, chat_teardown)
    const struct CMUnitTest tests[] = {
        T(writes_are_one_prompt),   cmocka_unit_test(cuts_do_not_count),
        T(nothing_asks_nothing),    T(truncation_puts_away),
        T(a_prompt_is_text),        T(front_matter_is_checked),
        T(transcripts_as_prompts),  T(sixteen_at_most),
        T(open_waits_for_release),  T(reads_that_wait),
        T(poll_wakes_once),         T(who_has_written_reads_its_answer),
        T(a_bad_prompt_is_dropped), T(open_writers_leave_drafts),
        T(a_thousand_readers),      T(many_threads),
        T(a_write_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
