/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A turn from its question to its end: failures before and within an answer, other providers,
 * settings, budgets, the cache (docs/formats/chat.md, parts 6 to 9). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "chat-world.h"

static char all[16384];

/* ---- failures -------------------------------------------------------------------------------- */

/* What readers of the turn get, once it is over. */
static int
result_of(struct sf_conv *c, struct sf_conv_turn *t)
{
    struct reader rd = {.r.turn = t};
    int rc = read_all(&rd, c, all, sizeof all);
    sf_conv_turn_put(t);
    return rc;
}

/* rule E1, rule R7, rule T10: each class of a failure before the first byte. */
static void
test_failures(void **state)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    unsigned n = 0;
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    for (int cls = SF_PC_AUTH; cls < SF_PC_COUNT_OF; cls++) {
        const struct sf_provider_class_info *info =
            sf_provider_class_info((enum sf_provider_class)cls);
        char note[100];
        struct sf_conv_turn *t = ask(c, "q");
        struct asked *a = asked(++n);
        assert_string_equal(a->text, "system: File: b/k\nsome text\nuser: q\n");
        finish_as(a, SF_PE_FAILED, (enum sf_provider_class)cls);
        assert_int_equal(result_of(c, t), info->err);
        snprintf(note, sizeof note, "\n\n%s: alpha says no\n\n> supafs: class %s\n", info->name,
                 info->name);
        if (!strstr(says(c), note))
            fail_msg("%s in %s", note, says(c));
        sf_buf_clear(&text);
        assert_int_equal(sf_conv_error(c, &text), 0);
        assert_non_null(strstr(text.data, ": alpha says no"));
    }
    assert_null(strstr(says(c), "## assistant"));
    struct sf_conv_turn *t = ask(c, "q");
    finish(asked(++n));
    assert_int_equal(result_of(c, t), 0);
    assert_int_equal(sf_conv_error(c, &text), -ENODATA); /* rule E2 */
    sf_conv_put(c);
}

/* rule E3, rule T8: how an answer ends, and what of it is kept. */
static void
test_ends(void **state)
{
    static const struct {
        enum sf_provider_how how;
        enum sf_provider_class cls;
        const char *says, *note;
        int rc;
    } cases[] = {
        {SF_PE_STOP, SF_PC_OK, "a", "\n\na\n\n> supafs: end stop\n", 0},
        {SF_PE_LENGTH, SF_PC_OK, "a", "\n\na\n\n> supafs: end length\n", 0},
        {SF_PE_FILTERED, SF_PC_FILTERED, "a", "\n\na\n\n> supafs: end filtered\n", -EPERM},
        {SF_PE_EMPTY, SF_PC_NO_ANSWER, NULL, "> supafs: end empty\n", -EIO},
        {SF_PE_INCOMPLETE, SF_PC_NETWORK, "a", "\n\na\n\n> supafs: end incomplete\n", -EIO},
        {SF_PE_INCOMPLETE, SF_PC_TIMEOUT, "a", "\n\na\n\n> supafs: end incomplete\n", -ETIMEDOUT},
        {SF_PE_INCOMPLETE, SF_PC_OVERLOADED, "\xe4\xbd", "\xef\xbf\xbd\n\n> supafs: end inc", 0},
    };
    (void)state;
    world_open();
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char stem[] = STEM;
        stem[0] = (char)('b' + i);
        struct sf_conv *c = conv_named(stem);
        struct sf_conv_turn *t = ask(c, "q");
        struct asked *a = asked(i + 1);
        if (cases[i].says)
            say(a, cases[i].says);
        finish_as(a, cases[i].how, cases[i].cls);
        int rc = result_of(c, t);
        assert_int_equal(rc, cases[i].cls ? sf_provider_class_info(cases[i].cls)->err : 0);
        if (!strstr(says(c), cases[i].note))
            fail_msg("%u: %s", i, says(c));
        assert_int_equal(strstr(says(c), "## error ") != NULL, cases[i].cls != SF_PC_OK);
        sf_conv_put(c);
    }
}

/* What is amiss before anybody is asked. */
static void
test_not_asked(void **state)
{
    struct sf_chat_front own;
    (void)state;
    world.contents.fails[0] = -ENOTSUP;
    world.contents.cls = SF_PC_TYPE;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    assert_int_equal(result_of(c, ask(c, "q")), -ENOTSUP);
    assert_non_null(strstr(says(c), ": the content cannot be had\n"));
    world.refuses = -EINVAL;
    assert_int_equal(result_of(c, ask(c, "q")), -EINVAL);
    assert_non_null(strstr(says(c), ": it cannot be asked so\n"));
    sf_chat_front_init(&own);
    assert_int_equal(sf_chat_front_set(&own, SF_CHAT_SET_PROVIDER, "nobody", NULL), 0);
    assert_int_equal(result_of(c, ask_with(c, "q", &own)), -ENOENT);
    assert_non_null(strstr(says(c), "\n\nthere is no provider nobody\n"));
    sf_chat_front_fini(&own);
    snprintf(world.confs[0].trouble, sizeof world.confs[0].trouble, "no key");
    assert_int_equal(result_of(c, ask(c, "q")), sf_provider_class_info(SF_PC_AUTH)->err);
    assert_int_equal(asked_count(), 0);
    sf_conv_put(c);
}

/* rule E4 */
static void
test_fallback(void **state)
{
    static char beta[] = "beta", *fallback[] = {beta, NULL};
    (void)state;
    world.confs[0].fallback = fallback;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    struct sf_conv_turn *t = ask(c, "q");
    finish_as(asked(1), SF_PE_FAILED, SF_PC_OVERLOADED);
    assert_string_equal(asked(2)->provider, "beta");
    say(asked(2), "from beta");
    finish(asked(2));
    assert_int_equal(result_of(c, t), 0);
    assert_non_null(strstr(says_plainly(c),
                           "\n## assistant T beta m-1\n"
                           "> supafs: fallback alpha: overloaded: alpha says no\n"));
    /* Not where the question is what was refused, nor after a byte. */
    t = ask(c, "r");
    finish_as(asked(3), SF_PE_FAILED, SF_PC_INVALID);
    assert_int_equal(result_of(c, t), -EINVAL);
    t = ask(c, "s");
    say(asked(4), "x");
    finish_as(asked(4), SF_PE_INCOMPLETE, SF_PC_OVERLOADED);
    assert_true(result_of(c, t) < 0);
    /* Both fail: the last one's error. */
    t = ask(c, "t");
    finish_as(asked(5), SF_PE_FAILED, SF_PC_OVERLOADED);
    finish_as(asked(6), SF_PE_FAILED, SF_PC_SERVER);
    assert_int_equal(result_of(c, t), -EIO);
    assert_non_null(strstr(says(c), ": beta says no\n"));
    assert_int_equal(asked_count(), 6);
    /* Cancelled while the first one is asked: nobody else is. */
    t = ask(c, "u");
    asked(7);
    sf_conv_turn_cancel(t);
    assert_int_equal(result_of(c, t), -ECANCELED);
    assert_int_equal(asked_count(), 7);
    KEEP(all, says(c));
    sf_conv_put(c);
    world_close();
    world_open();
    c = conv_named(STEM);
    assert_string_equal(says(c), all);
    sf_conv_put(c);
}

/* ---- settings (part 6) ----------------------------------------------------------------------- */

static void
test_settings(void **state)
{
    struct sf_chat_front own, all_of;
    struct sf_conv_turn *t;
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    sf_chat_front_init(&own);
    sf_chat_front_init(&all_of);
    assert_int_equal(sf_chat_front_set(&own, SF_CHAT_SET_MODEL, "m-2", NULL), 0);
    assert_int_equal(sf_chat_front_set(&all_of, SF_CHAT_SET_MODEL, "m-3", NULL), 0);
    assert_int_equal(sf_chat_front_set(&all_of, SF_CHAT_SET_SYSTEM, "Be brief.", NULL), 0);
    const char *text = "---\nmodel: m-2\n---\nq\n";
    const struct sf_conv_prompt p = {
        .text = text, .len = strlen(text), .body = 19, .own = &own, .settings = &all_of};
    assert_int_equal(sf_conv_submit(c, &p, &t), 0);
    struct asked *a = asked(1);
    assert_string_equal(a->model, "m-2");
    assert_string_equal(a->text, "system: File: b/k\nsome text\nsystem: Be brief.\nuser: q\n");
    finish(a);
    assert_int_equal(result_of(c, t), 0);
    assert_non_null(strstr(says_plainly(c), "\n## user T\n> supafs: set model m-2\n\nq\n\n"
                                            "## assistant T alpha m-2\n"));
    /* rule S8 */
    assert_int_equal(sf_chat_front_set(&own, SF_CHAT_SET_DRY_RUN, "yes", NULL), 0);
    assert_int_equal(result_of(c, ask_with(c, "dry", &own)), 0);
    assert_non_null(strstr(all, "Nothing was sent. To alpha, m-2, would go:"));
    assert_non_null(strstr(says_plainly(c), "\n## dry-run T alpha m-2\n"));
    assert_int_equal(asked_count(), 1);
    sf_chat_front_fini(&own);
    sf_chat_front_fini(&all_of);
    t = ask(c, "next");
    assert_null(strstr(asked(2)->text, "dry"));
    finish(asked(2));
    assert_int_equal(result_of(c, t), 0);
    sf_conv_put(c);
}

/* `continue`: the name leads to another conversation from now on. */
static void
test_continue(void **state)
{
    struct sf_chat_front own;
    struct sf_conv_facts f;
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM), *d = conv_named("bbbbbbbbbbbbbbbbbbbbbbbb");
    struct sf_conv_turn *t = ask(c, "first");
    say(asked(1), "one");
    finish(asked(1));
    assert_int_equal(result_of(c, t), 0);
    sf_chat_front_init(&own);
    assert_int_equal(sf_chat_front_set(&own, SF_CHAT_SET_CONTINUE, "no-such-one", NULL), 0);
    assert_int_equal(result_of(d, ask_with(d, "q", &own)), -ENOENT);
    assert_int_equal(sf_chat_front_set(&own, SF_CHAT_SET_CONTINUE, STEM "-1", NULL), 0);
    t = ask_with(d, "second", &own);
    assert_string_equal(asked(2)->text, "system: File: b/k\nsome text\nuser: first\n"
                                        "assistant: one\nuser: second\n");
    finish(asked(2));
    assert_int_equal(result_of(d, t), 0);
    sf_chat_front_fini(&own);
    sf_conv_facts(d, SF_CHAT_VIEW_ALL, &f);
    assert_string_equal(f.id, STEM "-1");
    KEEP(all, says(c));
    assert_string_equal(says(d), all);
    sf_conv_put(c);
    sf_conv_put(d);
    world_close();
    world_open();
    d = conv_named("bbbbbbbbbbbbbbbbbbbbbbbb");
    assert_string_equal(says(d), all);
    sf_conv_put(d);
}

/* ---- what it costs --------------------------------------------------------------------------- */

/* rule T9, rule M11 */
static void
test_spend(void **state)
{
    struct sf_provider_price price = {.model = "*", .asked = 2, .answered = 4};
    struct sf_convs_status s;
    struct sf_err err = SF_ERR_INIT;
    (void)state;
    world.confs[0].prices = &price;
    world.confs[0].n_prices = 1;
    world.opts.tokens_day = 3000;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    struct sf_conv_turn *t = ask(c, "q");
    asked(1);
    sf_convs_status(world.cs, &s);
    assert_true(s.tokens_day > 2000); /* booked */
    finish(asked(1));
    assert_int_equal(result_of(c, t), 0);
    assert_non_null(strstr(says(c), "\n> supafs: price 0.000040 USD\n"));
    sf_convs_status(world.cs, &s);
    assert_int_equal(s.tokens_day, 15);
    assert_int_equal(s.price_day, 40);
    assert_int_equal(s.turns, 1);
    sf_conv_put(c);
    /* The day goes on in the next mount. */
    world_close();
    world.opts.tokens_day = 1000;
    world_open();
    sf_convs_status(world.cs, &s);
    assert_int_equal(s.tokens_day, 15);
    assert_int_equal(s.tokens_mount, 0);
    assert_int_equal(sf_convs_may_ask(world.cs, NULL, NULL), 0);
    c = conv_named(STEM);
    assert_int_equal(result_of(c, ask(c, "r")), -EDQUOT);
    assert_non_null(strstr(says(c), "\n\nchat_tokens_day: 985 tokens are left until 00:00 UTC"));
    assert_int_equal(asked_count(), 1);
    sf_conv_put(c);
    world_close();
    world.opts.tokens_day = 15;
    world_open();
    assert_int_equal(sf_convs_may_ask(world.cs, "alpha", &err), -EDQUOT);
    world_close();
    world.opts.tokens_day = 0;
    world_open();
    /* rule W13: no balance */
    c = conv_named(STEM);
    t = ask(c, "s");
    finish_as(asked(2), SF_PE_FAILED, SF_PC_QUOTA);
    assert_int_equal(result_of(c, t), sf_provider_class_info(SF_PC_QUOTA)->err);
    assert_int_equal(sf_convs_may_ask(world.cs, "alpha", NULL), -EDQUOT);
    assert_int_equal(sf_convs_may_ask(world.cs, "beta", NULL), 0);
    assert_int_equal(sf_convs_may_ask(world.cs, "gamma", NULL), -EACCES);
    sf_conv_put(c);
}

/* rule M10 */
static void
test_cache(void **state)
{
    (void)state;
    world.opts.cache = true;
    world_open();
    struct sf_conv *c = conv_named(STEM), *d = conv_named("bbbbbbbbbbbbbbbbbbbbbbbb");
    struct sf_conv_turn *t = ask(c, "q");
    say(asked(1), "answer");
    finish(asked(1));
    assert_int_equal(result_of(c, t), 0);
    assert_int_equal(result_of(d, ask(d, "q")), 0);
    assert_string_equal(all, "answer\n");
    assert_int_equal(asked_count(), 1);
    assert_non_null(
        strstr(says_plainly(d), "\n> supafs: cached T\n\nanswer\n\n> supafs: end stop"));
    world.contents.text = "other text";
    t = ask(d, "q");
    say(asked(2), "different");
    finish_as(asked(2), SF_PE_INCOMPLETE, SF_PC_NETWORK); /* such ones are not kept */
    assert_true(result_of(d, t) < 0);
    sf_conv_put(c);
    sf_conv_put(d);
}

/* rule M2, rule M8 */
static void
test_changed(void **state)
{
    (void)state;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    struct sf_conv_turn *t = ask(c, "q");
    say(asked(1), "a");
    finish(asked(1));
    assert_int_equal(result_of(c, t), 0);
    world.contents.text = "a much longer text than before";
    t = ask(c, "r");
    assert_string_equal(asked(2)->text, "system: File: b/k\na much longer text than before\n"
                                        "user: q\nassistant: a\nuser: r\n");
    finish(asked(2));
    assert_int_equal(result_of(c, t), 0);
    sf_conv_put(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(failures), TEST(ends),  TEST(not_asked), TEST(fallback), TEST(settings),
        TEST(continue), TEST(spend), TEST(cache),     TEST(changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
