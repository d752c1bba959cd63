/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/control.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/lock.h"
#include "control/words.h"
#include "virtual/virtual.h"

/* ---- words ---------------------------------------------------------------------------------- */

static void
words_say_any_name(void **state)
{
    static const char *const names[] = {"plain",     "",   "a b",   "tab\there",
                                        "new\nline", "\\", "\\040", "\xc3\xa9\xff",
                                        "  ",        "=",  "\x01"};
    enum { N = sizeof names / sizeof *names };
    sf_autobuf struct sf_buf line = SF_BUF_INIT;
    char *words[SF_WORDS_MAX];
    (void)state;
    for (size_t i = 0; i < N; i++)
        assert_int_equal(sf_words_append(&line, names[i]), 0);
    assert_null(strchr(line.data, '\n'));
    assert_int_equal(sf_words_split(line.data, words), N);
    for (size_t i = 0; i < N; i++)
        assert_string_equal(words[i], names[i]);
}

static void
words_refuse_what_they_do_not_write(void **state)
{
    static const char *const bad[] = {"\\",    "\\0",   "\\04",   "\\048",
                                      "\\400", "\\777", "a\\000", "\\000a"};
    char text[400], *words[SF_WORDS_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "%s", bad[i]);
        assert_int_equal(sf_words_split(text, words), -EINVAL);
    }
    memset(text, 'x', sizeof text);
    for (int i = 1; i < 2 * (SF_WORDS_MAX + 1); i += 2)
        text[i] = ' ';
    text[2 * (SF_WORDS_MAX + 1)] = '\0';
    assert_int_equal(sf_words_split(text, words), -E2BIG);
    snprintf(text, sizeof text, "  one   two ");
    assert_int_equal(sf_words_split(text, words), 2);
    assert_string_equal(words[1], "two");
}

/* ---- talks ---------------------------------------------------------------------------------- */

struct got {
    struct sf_mutex lock;
    struct sf_cond cond;
    bool came, ended;
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
    g->ended = !res->len;
    g->came = true;
    sf_cond_signal(&g->cond);
}

static void
got_init(struct got *g)
{
    *g = (struct got){0};
    sf_mutex_init(&g->lock, 0);
    sf_cond_init(&g->cond);
    sf_buf_init(&g->text);
}

static void
got_fini(struct got *g)
{
    sf_buf_fini(&g->text);
    sf_cond_fini(&g->cond);
    sf_mutex_fini(&g->lock);
}

static bool
came_within(struct got *g, int64_t ms)
{
    int64_t end = sf_clock_ms() + ms;
    SF_GUARD(&g->lock);
    while (!g->came)
        if (sf_cond_timedwait_ms(&g->cond, &g->lock, end) == -ETIMEDOUT)
            return g->came;
    g->came = false;
    return true;
}

static void
read_all(struct sf_talk *t, struct got *g)
{
    do {
        sf_talk_read(t, 100, got_some, g);
        assert_true(came_within(g, 10000));
    } while (!g->ended);
}

struct world {
    struct sf_virtual *v;
    struct sf_control *c;
    uint64_t node;
    _Atomic int turns, cancelled;
};

static int
echo(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    (void)arg;
    (void)err;
    for (int i = 0; i < argc; i++)
        assert_int_equal(sf_talk_print(t, "<%s>\n", argv[i]), 0);
    return 0;
}

static int
refuse(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    (void)arg;
    (void)t;
    (void)argc;
    return sf_err_set(err, -ENOENT, "no %s here", argv[1]);
}

static int
never_end(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    struct world *w = arg;
    int rc = 0;
    (void)argc;
    (void)argv;
    (void)err;
    while (!rc) {
        rc = sf_talk_print(t, "%0500d\n", atomic_load(&w->turns));
        atomic_fetch_add(&w->turns, !rc);
    }
    assert_int_equal(rc, -ECANCELED);
    assert_true(sf_talk_cancelled(t));
    atomic_fetch_add(&w->cancelled, 1);
    return rc;
}

static int
setup(void **state)
{
    static struct world w;
    struct sf_tree_entry dir, e;
    w = (struct world){0};
    assert_int_equal(sf_virtual_new(0, 0, &w.v), 0);
    assert_int_equal(sf_control_new(w.v, &w.c), 0);
    assert_int_equal(sf_control_add(w.c, "echo", echo, NULL), 0);
    assert_int_equal(sf_control_add(w.c, "refuse", refuse, NULL), 0);
    assert_int_equal(sf_control_add(w.c, "never-end", never_end, &w), 0);
    assert_int_equal(sf_virtual_lookup(w.v, SF_TREE_ROOT, ".supafs", &dir), 0);
    assert_int_equal(sf_virtual_lookup(w.v, dir.node, "control", &e), 0);
    assert_int_equal(e.attr.mode & 07777, 0600);
    assert_true(sf_virtual_talks(w.v, e.node));
    w.node = e.node;
    *state = &w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;
    sf_control_free(w->c);
    sf_virtual_free(w->v);
    return 0;
}

static void
answer_is(struct world *w, const char *request, const char *answer)
{
    struct sf_talk *t = sf_virtual_talk(w->v, w->node);
    struct got g;
    got_init(&g);
    assert_int_equal(sf_talk_write(t, request, strlen(request)), strlen(request));
    read_all(t, &g);
    assert_string_equal(sf_buf_str(&g.text), answer);
    sf_talk_close(t);
    sf_talk_unref(t);
    got_fini(&g);
}

static void
a_line_is_answered(void **state)
{
    struct world *w = *state;
    answer_is(w, "echo a\\040b c\n", "<echo>\n<a b>\n<c>\ndone\n");
    answer_is(w, "refuse cheese\n", "failed 2 no cheese here\n");
    answer_is(w, "\n", "failed 22 the request is not a line of words\n");
    answer_is(w, "bad\\9\n", "failed 22 the request is not a line of words\n");
    answer_is(w, "unheard-of\n",
              "failed 38 this mount knows no such request; is it of another version?\n");
    answer_is(w, "", ""); /* nothing asked: the end at once */
}

static void
a_line_may_come_in_pieces_but_only_one(void **state)
{
    struct world *w = *state;
    struct sf_talk *t = sf_virtual_talk(w->v, w->node);
    static char much[SF_TALK_LINE_MAX];
    struct got g;
    got_init(&g);
    assert_int_equal(sf_talk_write(t, "ec", 2), 2);
    assert_int_equal(sf_talk_write(t, "a\0b", 3), -EINVAL);
    memset(much, 'x', sizeof much);
    assert_int_equal(sf_talk_write(t, much, sizeof much), -EFBIG);
    assert_int_equal(sf_talk_write(t, "ho\nmore", 7), 7);
    assert_int_equal(sf_talk_write(t, "echo\n", 5), -EBUSY);
    read_all(t, &g);
    assert_string_equal(sf_buf_str(&g.text), "<echo>\ndone\n");
    sf_talk_close(t);
    sf_talk_unref(t);
    got_fini(&g);
}

/* Who answers is held up while nobody reads, and ends when the file is closed. */
static void
an_answer_is_bounded_and_cancelled(void **state)
{
    struct world *w = *state;
    struct sf_talk *t = sf_virtual_talk(w->v, w->node);
    int before, now = 0;
    sf_talk_write(t, "never-end\n", 10);
    do {
        before = now;
        usleep(50000);
        now = atomic_load(&w->turns);
    } while (now != before || !now);
    assert_in_range(now, 100, 140); /* 64 KiB of 501 bytes each */
    sf_talk_close(t);
    sf_talk_unref(t);
    for (int i = 0; i < 1000 && !atomic_load(&w->cancelled); i++)
        usleep(10000);
    assert_int_equal(atomic_load(&w->cancelled), 1);
}

/* What an interrupted reader got goes to the next one. */
static void
what_nobody_got_is_read_again(void **state)
{
    struct world *w = *state;
    struct sf_talk *t = sf_virtual_talk(w->v, w->node);
    struct got g, next;
    got_init(&g);
    got_init(&next);
    sf_talk_write(t, "echo abc\n", 9);
    sf_talk_read(t, 3, got_some, &g);
    assert_true(came_within(&g, 10000));
    sf_talk_unread(t, g.text.data, g.text.len);
    read_all(t, &next);
    assert_string_equal(sf_buf_str(&next.text), "<echo>\n<abc>\ndone\n");
    sf_talk_close(t);
    sf_talk_unref(t);
    got_fini(&next);
    got_fini(&g);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_say_any_name),
        cmocka_unit_test(words_refuse_what_they_do_not_write),
        cmocka_unit_test_setup_teardown(a_line_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_may_come_in_pieces_but_only_one, setup, teardown),
        cmocka_unit_test_setup_teardown(an_answer_is_bounded_and_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(what_nobody_got_is_read_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
