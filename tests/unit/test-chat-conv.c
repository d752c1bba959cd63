/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Conversations in memory: what readers get and when, the line, what ends it (docs/formats/chat.md,
 * parts 3 to 5). The provider is played, so each piece of an answer comes when the test says. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "chat-world.h"
#include "http/http.h"

#define HEAD "---\nsupafs-chat: 1\nconversation: " STEM "-1\nabout: b/k\n---\n"

static char all[16384];

/* The main way. */
static void
test_ask(void **state)
{
    struct reader rd = {.rc = 0};
    struct sf_conv_facts f;
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    sf_conv_facts(c, SF_CHAT_VIEW_ALL, &f);
    assert_true(f.loaded);
    assert_false(f.exists);
    struct sf_conv_turn *t = ask(c, "What?\n\n");
    rd.r.until = sf_conv_now(c);
    struct asked *a = asked(1);
    assert_string_equal(a->text, "system: File: b/k\nsome text\nuser: What?\n");
    assert_string_equal(a->provider, "alpha");
    say(a, "An");
    say(a, "swer");
    finish(a);
    assert_int_equal(read_all(&rd, c, all, sizeof all), 0);
    assert_string_equal(says_plainly(c), HEAD
                        "\n## user T\n\nWhat?\n\n## assistant T alpha m-1\n"
                        "> supafs: file b/k tokens=8 how=text\n\nAnswer\n\n> supafs: end stop\n"
                        "> supafs: usage prompt=10 cached=0 answer=5 reasoning=0\n"
                        "> supafs: took 7 ms\n");
    assert_string_equal(says(c), all);
    sf_conv_turn_put(t);
    sf_conv_put(c);
    /* It is there after the end of the mount. */
    world_close();
    world_open();
    c = conv_named(STEM);
    assert_string_equal(says(c), all);
    sf_conv_put(c);
}

/* ---- readers (part 4) ------------------------------------------------------------------------ */

/* rule R1, rule R3: bytes come when there are some, and stay; what is asked later is not waited
 * for. */
static void
test_waits(void **state)
{
    struct reader one = {.rc = 0}, two = {.rc = 0}, late = {.rc = 0};
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    begin_read(&one, c); /* opened before anything was asked: it ends at once */
    end_read(&one);
    assert_int_equal(one.rc, 0);
    assert_int_equal(one.len, 0);
    struct sf_conv_turn *t = ask(c, "q");
    one.r.until = two.r.until = sf_conv_now(c);
    struct asked *a = asked(1);
    begin_read(&one, c);
    end_read(&one);
    assert_non_null(strstr(one.data, "## user "));
    begin_read(&one, c);
    two.r.off = one.r.off;
    begin_read(&two, c);
    usleep(2000);
    assert_false(is_done(&one));
    assert_false(sf_conv_readable(c, &one.r));
    struct sf_conv_turn *second = ask(c, "later");
    say(a, "first ");
    end_read(&one);
    end_read(&two);
    assert_string_equal(one.data, two.data);
    assert_non_null(strstr(one.data, "first "));
    assert_true(sf_conv_readable(c, &two.r) == false);
    begin_read(&one, c);
    say(a, "second");
    end_read(&one);
    assert_string_equal(one.data, "second");
    begin_read(&one, c);
    finish(a);
    end_read(&one);
    assert_non_null(strstr(one.data, "> supafs: end stop"));
    /* The next turn runs, and is shown, but is not waited for. */
    asked(2);
    late.r.until = sf_conv_now(c);
    assert_int_equal(read_all(&one, c, all, sizeof all), 0);
    late.r.off = strlen(says(c));
    begin_read(&late, c);
    usleep(2000);
    assert_false(is_done(&late));
    finish(asked(2));
    end_read(&late);
    assert_true(late.len > 0);
    sf_conv_turn_put(t);
    sf_conv_turn_put(second);
    sf_conv_put(c);
}

/* rule R4, rule R5 */
static void
test_nonblock_and_unread(void **state)
{
    struct reader rd = {.rc = 0}, gone = {.rc = 0};
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    struct sf_conv_turn *t = ask(c, "q");
    struct asked *a = asked(1);
    rd.r.until = gone.r.until = sf_conv_now(c);
    rd.r.off = gone.r.off = strlen(says(c));
    rd.r.nonblock = true;
    begin_read(&rd, c);
    end_read(&rd);
    assert_int_equal(rd.rc, -EAGAIN);
    begin_read(&gone, c);
    assert_true(sf_conv_unread(c, &gone.r));
    assert_false(sf_conv_unread(c, &gone.r));
    finish(a);
    await(sf_conv_turn_over(t));
    assert_false(is_done(&gone));
    begin_read(&rd, c);
    end_read(&rd);
    assert_int_equal(rd.rc, 0);
    assert_false(sf_conv_unread(c, &rd.r));
    sf_conv_turn_put(t);
    sf_conv_put(c);
}

/* rule R6, rule R7, rule R9: the answer alone, again from its beginning, and why it failed. */
static void
test_answer(void **state)
{
    struct reader rd = {.rc = 0};
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    struct sf_conv_turn *t = ask(c, "q"), *failed;
    rd.r.turn = t;
    begin_read(&rd, c);
    struct asked *a = asked(1);
    think(a, "hm");
    usleep(1000);
    assert_false(is_done(&rd));
    say(a, "## user\x1b\r");
    end_read(&rd);
    assert_string_equal(rd.data, "## user\xef\xbf\xbd");
    begin_read(&rd, c);
    say(a, "\nend");
    end_read(&rd);
    assert_string_equal(rd.data, "\nend");
    finish(a);
    assert_int_equal(read_all(&rd, c, all, sizeof all), 0);
    assert_string_equal(all, "\n");
    rd.r.off = 0;
    assert_int_equal(read_all(&rd, c, all, sizeof all), 0);
    assert_string_equal(all, "## user\xef\xbf\xbd\nend\n");
    failed = ask(c, "r");
    a = asked(2);
    say(a, "half");
    finish_as(a, SF_PE_INCOMPLETE, SF_PC_NETWORK);
    rd.r.off = 0;
    rd.r.turn = failed;
    begin_read(&rd, c);
    end_read(&rd);
    assert_int_equal(rd.rc, 0);
    assert_true(!strncmp(rd.data, "half", 4));
    assert_int_equal(read_all(&rd, c, all, sizeof all), -EIO);
    sf_conv_turn_put(t);
    sf_conv_turn_put(failed);
    sf_conv_put(c);
}

/* rule T11: reasoning has a view of its own, in which bytes do not move either. */
static void
test_reasoning(void **state)
{
    struct reader rd = {.r.view = SF_CHAT_VIEW_REASONING}, plain = {.rc = 0};
    static char other[16384];
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    struct sf_conv_turn *t = ask(c, "q");
    struct asked *a = asked(1);
    rd.r.until = plain.r.until = sf_conv_now(c);
    rd.r.off = plain.r.off = strlen(says(c));
    begin_read(&plain, c);
    think(a, "so ");
    begin_read(&rd, c);
    end_read(&rd);
    assert_non_null(strstr(rd.data, "## reasoning "));
    assert_false(is_done(&plain));
    think(a, "it is");
    say(a, "yes");
    think(a, "too late");
    end_read(&plain);
    finish(a);
    await(sf_conv_turn_over(t));
    KEEP(other, shows(c, SF_CHAT_VIEW_REASONING));
    assert_non_null(strstr(other, "alpha m-1\n\nso it is\n\n## assistant "));
    assert_null(strstr(other, "too late"));
    assert_null(strstr(says(c), "so it is"));
    assert_string_equal(shows(c, SF_CHAT_VIEW_LAST), "yes");
    KEEP(all, says(c));
    sf_conv_turn_put(t);
    sf_conv_put(c);
    world_close();
    world_open();
    c = conv_named(STEM);
    assert_string_equal(shows(c, SF_CHAT_VIEW_REASONING), other);
    assert_string_equal(says(c), all);
    sf_conv_put(c);
}

static _Atomic unsigned changes;

static void
changed(void *arg)
{
    (void)arg;
    changes++;
}

/* rule R11, rule S9 */
static void
test_watch(void **state)
{
    struct sf_conv_watch w = {.changed = changed};
    struct reader rd = {.rc = 0};
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    world.contents.hangs = true;
    sf_conv_watch(c, &w);
    struct sf_conv_turn *t = ask(c, "q"), *next = ask(c, "r");
    await(world.contents.n == 1);
    assert_int_equal(sf_conv_state_text(c, &text), 0);
    assert_string_equal(text.data, "reading");
    world.contents.hangs = false;
    struct asked *a = asked(1);
    rd.r.until = sf_conv_now(c);
    rd.r.off = strlen(says(c));
    await((sf_buf_clear(&text), sf_conv_state_text(c, &text) == 0 && !strcmp(text.data, "asking")));
    unsigned before = changes;
    assert_false(sf_conv_readable(c, &rd.r));
    say(a, "x");
    assert_true(changes > before);
    assert_true(sf_conv_readable(c, &rd.r));
    sf_buf_clear(&text);
    assert_int_equal(sf_conv_state_text(c, &text), 0);
    assert_string_equal(text.data, "answering");
    assert_int_equal(sf_conv_last(c, 10, &text), -ENODATA);
    finish(a);
    finish(asked(2));
    await(sf_conv_turn_over(next));
    sf_conv_unwatch(c, &w);
    sf_buf_clear(&text);
    assert_int_equal(sf_conv_usage(c, &text), 0);
    assert_string_equal(text.data, "prompt=10 cached=0 answer=5 reasoning=0");
    sf_conv_turn_put(t);
    sf_conv_turn_put(next);
    sf_conv_put(c);
}

/* ---- the line (part 3) ----------------------------------------------------------------------- */

/* rule W12: one after the other, in their order; no more than 16. */
static void
test_line(void **state)
{
    struct sf_conv_turn *t[SF_CONV_LINE];
    const struct sf_conv_prompt p = {.text = "x", .len = 1}, blank = {.text = " \n", .len = 2};
    char text[24];
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    assert_int_equal(sf_conv_submit(c, &blank, NULL), -EINVAL);
    for (int i = 0; i < SF_CONV_LINE; i++) {
        snprintf(text, sizeof text, "q%d", i);
        t[i] = ask(c, text);
    }
    assert_int_equal(sf_conv_submit(c, &p, NULL), -EBUSY);
    assert_int_equal(sf_conv_writer(c), -EBUSY);
    for (unsigned i = 0; i < SF_CONV_LINE; i++) {
        struct asked *a = asked(i + 1);
        snprintf(text, sizeof text, "user: q%u\n", i);
        assert_string_equal(a->text + strlen(a->text) - strlen(text), text);
        usleep(500);
        assert_int_equal(asked_count(), i + 1);
        snprintf(text, sizeof text, "a%u", i);
        say(a, text);
        finish(a);
    }
    await(sf_conv_turn_over(t[SF_CONV_LINE - 1]));
    assert_int_equal(sf_conv_writer(c), 0);
    sf_conv_writer_end(c);
    for (int i = 0; i < SF_CONV_LINE; i++)
        sf_conv_turn_put(t[i]);
    sf_conv_put(c);
}

/* Each place where a turn can be when it is cancelled (C8, R8): what had come is kept. */
static void
test_cancel(void **state)
{
    struct reader rd = {.rc = 0};
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    world.contents.hangs = true;
    struct sf_conv_turn *reads = ask(c, "reads"), *waits = ask(c, "waits");
    await(world.contents.n == 1);
    rd.r.turn = waits;
    begin_read(&rd, c);
    sf_conv_turn_cancel(waits);
    end_read(&rd);
    assert_int_equal(rd.rc, -ECANCELED);
    sf_conv_turn_cancel(reads);
    await(sf_conv_turn_over(reads));
    assert_int_equal(asked_count(), 0);
    world.contents.hangs = false;
    struct sf_conv_turn *asks = ask(c, "asks");
    asked(1);
    sf_conv_turn_cancel(asks);
    await(sf_conv_turn_over(asks));
    struct sf_conv_turn *answers = ask(c, "answers"), *next = ask(c, "next");
    say(asked(2), "some");
    sf_conv_cancel(c);
    await(sf_conv_turn_over(answers) && sf_conv_turn_over(next));
    sf_conv_turn_cancel(answers);
    usleep(2000);
    assert_int_equal(asked_count(), 2);
    assert_true(asked(1)->cancelled && asked(2)->cancelled);
    KEEP(all, says_plainly(c));
    assert_null(strstr(all, "waits"));
    assert_null(strstr(all, "next"));
    assert_null(strstr(all, "## error"));
    assert_non_null(
        strstr(all, "\nreads\n\n## assistant T alpha -\n\n\n\n> supafs: end cancelled\n"));
    assert_non_null(strstr(all, "\n\nsome\n\n> supafs: end cancelled\n"));
    /* Those of which no word came are not sent with the next one. */
    struct sf_conv_turn *last = ask(c, "last");
    assert_string_equal(asked(3)->text, "system: File: b/k\nsome text\nuser: answers\n"
                                        "assistant: some\nuser: last\n");
    finish(asked(3));
    await(sf_conv_turn_over(last));
    KEEP(all, says(c));
    sf_conv_turn_put(reads);
    sf_conv_turn_put(waits);
    sf_conv_turn_put(asks);
    sf_conv_turn_put(answers);
    sf_conv_turn_put(next);
    sf_conv_turn_put(last);
    sf_conv_put(c);
    world_close();
    world_open();
    c = conv_named(STEM);
    assert_string_equal(says(c), all);
    sf_conv_put(c);
}

static _Atomic int put_away_rc;

static void
away(void *arg, int rc)
{
    (void)arg;
    put_away_rc = rc;
}

static void
put_away(struct sf_conv *c, bool empty)
{
    put_away_rc = 1;
    sf_conv_put_away(c, empty, away, NULL);
    await(put_away_rc <= 0);
}

/* rule C3, rule C4, rule W4, rule K2 */
static void
test_put_away(void **state)
{
    struct reader rd = {.rc = 0};
    struct sf_conv_facts f;
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM), *old;
    struct sf_conv_turn *t = ask(c, "q");
    struct asked *a = asked(1);
    rd.r.until = sf_conv_now(c);
    rd.r.off = strlen(says(c));
    begin_read(&rd, c);
    put_away(c, true);
    assert_int_equal(put_away_rc, 0);
    end_read(&rd);
    assert_int_equal(rd.rc, 0);
    assert_int_equal(rd.len, 0);
    await(a->cancelled && sf_conv_turn_over(t));
    sf_conv_turn_put(t);
    sf_conv_facts(c, SF_CHAT_VIEW_ALL, &f);
    assert_true(f.exists);
    assert_int_equal(f.size, 0);
    t = ask(c, "new");
    finish(asked(2));
    await(sf_conv_turn_over(t));
    assert_string_equal(asked(2)->text, "system: File: b/k\nsome text\nuser: new\n");
    sf_conv_facts(c, SF_CHAT_VIEW_ALL, &f);
    assert_string_equal(f.id, STEM "-2");
    sf_conv_turn_put(t);
    /* The old one is there by its id. */
    old = conv_by_id(STEM "-1");
    assert_non_null(strstr(says(old), "\n\nq\n"));
    put_away(old, true);
    assert_int_equal(put_away_rc, -EPERM);
    sf_conv_put(old);
    put_away(c, false);
    sf_conv_facts(c, SF_CHAT_VIEW_ALL, &f);
    assert_false(f.exists);
    sf_conv_put(c);
    world_close();
    world_open();
    c = conv_named(STEM);
    sf_conv_facts(c, SF_CHAT_VIEW_ALL, &f);
    assert_false(f.exists);
    put_away(c, true); /* there was none */
    sf_conv_facts(c, SF_CHAT_VIEW_ALL, &f);
    assert_true(f.exists);
    assert_int_equal(sf_conv_writer(c), 0);
    sf_conv_writer_end(c);
    sf_conv_put(c);
}

/* rule R11, rule C4: who polls the answer to a prompt is woken at its end, though the name has
 * another conversation by then. */
static void
test_watch_put_away(void **state)
{
    struct sf_conv_watch w = {.changed = changed};
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    struct sf_conv_turn *t = ask(c, "q"), *next = ask(c, "r");
    (void)asked(1);
    sf_conv_watch(c, &w);
    unsigned before = changes;
    put_away(c, true);
    await(sf_conv_turn_over(t) && sf_conv_turn_over(next));
    /* The name leads elsewhere; `next` is dropped; `t` ends, and leaves the line. */
    await(changes >= before + 4);
    sf_conv_unwatch(c, &w);
    sf_conv_turn_put(t);
    sf_conv_turn_put(next);
    sf_conv_put(c);
}

/* rule W10 */
static void
test_follows(void **state)
{
    size_t rest = 0, len;
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    assert_int_equal(sf_conv_follows(c, "---\n", 4, &rest), -EINVAL);
    struct sf_conv_turn *t = ask(c, "q");
    think(asked(1), "r");
    say(asked(1), "a");
    finish(asked(1));
    await(sf_conv_turn_over(t));
    KEEP(all, says(c));
    len = strlen(all);
    snprintf(all + len, sizeof all - len, "\nmore");
    assert_int_equal(sf_conv_follows(c, all, len + 5, &rest), 0);
    assert_int_equal(rest, len);
    assert_int_equal(sf_conv_follows(c, all, len - 1, &rest), -EINVAL);
    all[len / 2]++;
    assert_int_equal(sf_conv_follows(c, all, len + 5, &rest), -EINVAL);
    sf_conv_turn_put(t);
    sf_conv_put(c);
}

/* ---- the end --------------------------------------------------------------------------------- */

static _Atomic uint64_t draft_row;

static void
drafted(void *arg, int rc, uint64_t row)
{
    (void)arg;
    assert_int_equal(rc, 0);
    draft_row = row;
}

/* rule C9, rule K9, rule W7: turns that run are cancelled, what was not begun is a draft. */
static void
test_stop(void **state)
{
    const struct sf_conv_prompt d = {.text = "unfinished", .len = 10};
    struct reader rd = {.rc = 0}, answer = {.rc = 0};
    struct sf_conv *c, *other;
    (void)state;
    world_open();
    c = conv_named(STEM);
    other = conv_named("bbbbbbbbbbbbbbbbbbbbbbbb");
    struct sf_conv_turn *t = ask(c, "runs"), *waits = ask(c, "waits");
    say(asked(1), "some");
    rd.r.until = sf_conv_now(c);
    rd.r.off = strlen(says(c));
    answer.r.turn = waits;
    begin_read(&rd, c);
    begin_read(&answer, c);
    sf_conv_draft(other, &d, drafted, NULL);
    await(draft_row);
    sf_convs_stop(world.cs, INT64_MAX);
    assert_true(asked(1)->cancelled);
    end_read(&rd);
    assert_int_equal(rd.rc, -ENOTCONN);
    end_read(&answer);
    assert_int_equal(answer.rc, -ENOTCONN);
    assert_int_equal(sf_conv_submit(c, &d, NULL), -ENOTCONN);
    assert_int_equal(sf_conv_writer(c), -ENOTCONN);
    assert_int_equal(asked_count(), 1);
    sf_conv_turn_put(t);
    sf_conv_turn_put(waits);
    sf_conv_put(c);
    sf_conv_put(other);
    world_close();
    world_open();
    c = conv_named(STEM);
    assert_non_null(strstr(says(c), "\n\nsome\n\n> supafs: end cancelled\n"));
    assert_non_null(strstr(says_plainly(c), "\n## draft T\n> supafs: not-sent "));
    assert_non_null(strstr(says(c), "\n\nwaits\n"));
    other = conv_named("bbbbbbbbbbbbbbbbbbbbbbbb");
    assert_non_null(strstr(says(other), "\n\nunfinished\n"));
    sf_conv_put(c);
    sf_conv_put(other);
}

/* A draft that came to nothing, one that became a prompt. */
static void
test_drafts(void **state)
{
    struct sf_conv_prompt d = {.text = "draft", .len = 5};
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    draft_row = 0;
    sf_conv_draft(c, &d, drafted, NULL);
    await(draft_row);
    sf_conv_undraft(c, draft_row);
    draft_row = 0;
    sf_conv_draft(c, &d, drafted, NULL);
    await(draft_row);
    d.draft = draft_row;
    assert_int_equal(sf_conv_submit(c, &d, NULL), 0);
    finish(asked(1));
    await(strstr(says(c), "end stop"));
    sf_conv_put(c);
    world_close();
    world_open();
    c = conv_named(STEM);
    assert_null(strstr(says(c), "## draft"));
    sf_conv_put(c);
}

/* A mount that is killed in the midst of an answer. In a process of its own. */
static void
answer_and_die(void)
{
    static char text[70000];
    memset(text, 'x', sizeof text - 1);
    world_open();
    struct sf_conv *c = conv_named(STEM);
    struct sf_conv_turn *t = ask(c, "killed");
    (void)ask(c, "waits");
    struct asked *a = asked(1);
    think(a, "hm");
    say(a, text);
    await(is_kept(t, sizeof text - 1));
    say(a, "y");
    _exit(0);
}

/* rule K3, rule K9: what arrived is there, up to the last second or 64 KiB. */
static void
test_killed(void **state)
{
    int status;
    (void)state;
    /* The child has threads of its own. */
    sf_http_free(world.http);
    pid_t child = fork();
    if (child == 0) {
        if (sf_http_new(NULL, &world.http, NULL))
            _exit(1);
        answer_and_die();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(sf_http_new(NULL, &world.http, NULL), 0);
    world_open();
    struct sf_conv *c = conv_named(STEM);
    const char *text = shows(c, SF_CHAT_VIEW_REASONING);
    assert_non_null(strstr(text, "\n\nhm\n\n## assistant "));
    assert_non_null(strstr(text, "xxxx\n\n> supafs: end crashed\n\n## draft "));
    assert_non_null(strstr(text, "\n\nwaits\n"));
    sf_conv_put(c);
}

/* ---- many at once ---------------------------------------------------------------------------- */

enum { TALKS = 6, TURNS = 5 };

static void *
talk(void *arg)
{
    char stem[SF_CHAT_STEM_MAX + 1], text[64];
    static char answers[TALKS][16384];
    struct reader *rd = calloc(1, sizeof *rd);
    int me = *(int *)arg;
    memset(stem, 'a' + me, SF_CHAT_STEM_MAX);
    stem[SF_CHAT_STEM_MAX] = '\0';
    struct sf_conv *c = conv_named(stem);
    for (int i = 0; i < TURNS; i++) {
        snprintf(text, sizeof text, "question %d of %d", i, me);
        struct sf_conv_turn *t = ask(c, text);
        rd->r = (struct sf_conv_read){.turn = t};
        if (i == 3)
            sf_conv_turn_cancel(t);
        int rc = read_all(rd, c, answers[me], sizeof answers[me]);
        if (i == 3)
            assert_true(rc == -ECANCELED || rc == 0);
        else
            assert_string_equal(answers[me], "one two three\n");
        sf_conv_turn_put(t);
    }
    sf_conv_put(c);
    free(rd);
    return NULL;
}

static _Atomic bool over;

/* Answers whatever is asked. */
static void *
provider(void *arg)
{
    (void)arg;
    for (unsigned done = 0; !over;) {
        if (asked_count() == done) {
            usleep(200);
            continue;
        }
        struct asked *a = asked(++done);
        say(a, "one ");
        say(a, "two ");
        say(a, "three");
        finish(a);
    }
    return NULL;
}

static void
test_many(void **state)
{
    pthread_t threads[TALKS], answers;
    int me[TALKS];
    (void)state;
    over = false;
    world_open();
    assert_int_equal(pthread_create(&answers, NULL, provider, NULL), 0);
    for (int i = 0; i < TALKS; i++) {
        me[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, talk, &me[i]), 0);
    }
    for (int i = 0; i < TALKS; i++)
        pthread_join(threads[i], NULL);
    over = true;
    pthread_join(answers, NULL);
    struct sf_convs_status s;
    sf_convs_status(world.cs, &s);
    assert_int_equal(s.readers, 0);
    assert_int_equal(s.waiting, 0);
}

/* `continue`: the name leads to the other conversation, if who asks may read what that is about
 * (rule P3). */
static void
test_continues(void **state)
{
    const struct sf_conv_key key = {.stem = "bcdefghijklmnopqrstuvwxy", .bucket = "b", .key = "o"};
    struct sf_conv_prompt p = {.text = "and?", .len = 4, .uid = 1000};
    struct sf_chat_front own;
    struct sf_conv_turn *t;
    struct sf_conv *other;
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    t = ask(c, "q");
    say(asked(1), "a");
    finish(asked(1));
    await(sf_conv_turn_over(t));
    sf_conv_turn_put(t);
    other = conv_of(&key);
    sf_chat_front_init(&own);
    own.continues = strdup(STEM "-1");
    p.own = &own;
    world.mode = 0700;
    assert_int_equal(sf_conv_submit(other, &p, &t), 0);
    await(sf_conv_turn_over(t));
    assert_non_null(strstr(says(other), "a file that you may not read"));
    assert_null(strstr(says(other), "\n\na\n"));
    assert_int_equal(asked_count(), 1);
    sf_conv_turn_put(t);
    world.mode = 0755;
    assert_int_equal(sf_conv_submit(other, &p, &t), 0);
    assert_non_null(strstr(asked(2)->text, "user: q\nassistant: a\nuser: and?\n"));
    finish(asked(2));
    await(sf_conv_turn_over(t));
    assert_string_equal(says(other), says(c));
    sf_conv_turn_put(t);
    sf_chat_front_fini(&own);
    sf_conv_put(other);
    sf_conv_put(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ask),
        TEST(waits),
        TEST(nonblock_and_unread),
        TEST(answer),
        TEST(reasoning),
        TEST(watch),
        TEST(line),
        TEST(cancel),
        TEST(put_away),
        TEST(follows),
        TEST(stop),
        TEST(drafts),
        TEST(killed),
        TEST(many),
        TEST(continues),
        TEST(watch_put_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
