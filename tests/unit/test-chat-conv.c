/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Conversations in memory: what readers get and when, the line, what ends it (docs/formats/chat.md,
 * parts 3 to 5). The provider is played, so each piece of an answer comes when the test says. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "chat-world.h"

#define HEAD      "---\nsupafs-chat: 1\nconversation: " STEM "-1\nabout: b/k\n---\n"
#define FILE_NOTE "> supafs: file b/k tokens=7 how=text\n"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ask, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
