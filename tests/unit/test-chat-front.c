/* SPDX-License-Identifier: GPL-3.0-or-later */
/* docs/formats/chat.md, part 6: settings of a question, good and bad. */
#include "chat/front.h"

#include "../fuzz/chat-properties.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void
promised(const char *broken)
{
    if (broken)
        fail_msg("%s", broken);
}

/* Parse a whole prompt; where the question begins is checked. */
static void
parsed(const char *text, const char *question, struct sf_chat_front *f)
{
    size_t body = 0;
    struct sf_err err = SF_ERR_INIT;
    sf_chat_front_init(f);
    if (sf_chat_front_parse(text, strlen(text), true, f, &body, &err))
        fail_msg("%s: %s", text, err.msg);
    assert_string_equal(text + body, question);
    promised(chat_front_parses(text, strlen(text)));
}

static void
all_settings(void **state)
{
    (void)state;
    struct sf_chat_front f;
    parsed("---\n"
           "provider: kimi\n"
           "model: org/kimi-k2.6:latest\n"
           "# a comment\n"
           "\n"
           "system: |\n"
           "  You are terse.\n"
           "\n"
           "    And kind.\n"
           "\n"
           "temperature: 0.25\n"
           "max_tokens: 4096\n"
           "thinking: high\n"
           "continue: k2v6-1\n"
           "dry_run: yes\n"
           "---\n"
           "What changed?\n",
           "What changed?\n", &f);
    assert_string_equal(f.provider, "kimi");
    assert_string_equal(f.model, "org/kimi-k2.6:latest");
    assert_string_equal(f.system, "You are terse.\n\n  And kind.");
    assert_int_equal(f.temperature, 250);
    assert_int_equal(f.max_tokens, 4096);
    assert_int_equal(f.thinking, SF_CHAT_THINKING_HIGH);
    assert_string_equal(f.continues, "k2v6-1");
    assert_int_equal(f.dry_run, 1);
    sf_chat_front_fini(&f);
}

static void
forms_of_values(void **state)
{
    (void)state;
    struct sf_chat_front f;
    parsed("---\r\nmodel:\t \"a\\\"b\\\\\"  \r\nsystem: 'it''s \"so\"'\r\n---\r\nq", "q", &f);
    assert_string_equal(f.model, "a\"b\\");
    assert_string_equal(f.system, "it's \"so\"");
    sf_chat_front_fini(&f);
    parsed("---\nsystem: \"a\\nb\\tc\"\ntemperature: 2\n---", "", &f);
    assert_string_equal(f.system, "a\nb\tc");
    assert_int_equal(f.temperature, 2000);
    sf_chat_front_fini(&f);
    parsed("---\nsystem: a: \"b\" # c\ntemperature: 0.5\nthinking: no\n---\n\n\nq", "\n\nq", &f);
    assert_string_equal(f.system, "a: \"b\" # c");
    assert_int_equal(f.temperature, 500);
    assert_int_equal(f.thinking, SF_CHAT_THINKING_OFF);
    sf_chat_front_fini(&f);
    parsed("---\nsystem: |\n\n\t---\n\tx\n\n---\nq", "q", &f);
    assert_string_equal(f.system, "---\nx");
    sf_chat_front_fini(&f);
}

/* S1 */
static void
what_is_no_front_matter(void **state)
{
    (void)state;
    static const char *const prompts[] = {"",
                                          "q",
                                          "---",
                                          "--- \nmodel: x\n---\n",
                                          "----\nmodel: x\n",
                                          "\n---\nmodel: x\n---\n",
                                          "---\n",
                                          "---\nWhat: is\n",
                                          "---\n- a\n---\n",
                                          "---\n\nmodel: x\n---\n",
                                          "---\nmodel x\n",
                                          "---\n# model: x\n---\n",
                                          "-- -\n",
                                          "---\n model: x\n---\n"};
    struct sf_chat_front f;
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        parsed(prompts[i], prompts[i], &f);
        assert_null(f.model);
        sf_chat_front_fini(&f);
    }
    /* An empty one lets a question begin as it likes. */
    parsed("---\n---\n---\nmodel: x\n---\n", "---\nmodel: x\n---\n", &f);
    assert_null(f.model);
    sf_chat_front_fini(&f);
}

static void
bad_ones_say_why(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"---\nmodle: x\n---\n", "line 2: there is no setting modle"},
        {"---\nmodel: x\nmodel: y\n---\n", "line 3: model stands there twice"},
        {"---\nmodel:\n---\n", "line 2: model has no value"},
        {"---\nmodel: \"\"\n---\n", "line 2: model has no value"},
        {"---\nsystem: |\n---\n", "line 2: system has no value"},
        {"---\nmodel: a b\n---\n", "line 2: model is one word of up to 200 bytes"},
        {"---\nmodel: \"x\n---\n", "line 2: the quotes are not closed, or hold what they cannot"},
        {"---\nmodel: \"x\" y\n---\n",
         "line 2: the quotes are not closed, or hold what they cannot"},
        {"---\nmodel: \"\\x\"\n---\n",
         "line 2: the quotes are not closed, or hold what they cannot"},
        {"---\nmodel: 'it's'\n---\n",
         "line 2: the quotes are not closed, or hold what they cannot"},
        {"---\nmodel: \"\n---\n", "line 2: the quotes are not closed, or hold what they cannot"},
        {"---\nprovider: Kimi!\n---\n", "line 2: provider is a name of a-z, 0-9, _ and -, or auto"},
        {"---\nmodel: x\ntemperature: 2.1\n---\n",
         "line 3: temperature is a number from 0 to 2, as 0.25"},
        {"---\ntemperature: -1\n---\n", "line 2: temperature is a number from 0 to 2, as 0.25"},
        {"---\ntemperature: 1.\n---\n", "line 2: temperature is a number from 0 to 2, as 0.25"},
        {"---\ntemperature: 0.0001\n---\n", "line 2: temperature is a number from 0 to 2, as 0.25"},
        {"---\ntemperature: 1e0\n---\n", "line 2: temperature is a number from 0 to 2, as 0.25"},
        {"---\ntemperature: nan\n---\n", "line 2: temperature is a number from 0 to 2, as 0.25"},
        {"---\nmax_tokens: 0\n---\n", "line 2: max_tokens is a number from 1 to 10000000"},
        {"---\nmax_tokens: 10000001\n---\n", "line 2: max_tokens is a number from 1 to 10000000"},
        {"---\nmax_tokens: 99999999999999999999\n---\n",
         "line 2: max_tokens is a number from 1 to 10000000"},
        {"---\nthinking: maybe\n---\n", "line 2: thinking is off, on, low, medium or high"},
        {"---\ndry_run: 1\n---\n", "line 2: dry_run is yes or no"},
        {"---\ncontinue: ../x\n---\n", "line 2: continue is the id of a conversation"},
        {"---\nmodel: \xff\n---\n", "line 2: model is not UTF-8"},
        {"---\nmodel: x\nhello\n---\n", "line 3 of the front matter is not NAME: VALUE"},
        {"---\nmodel: x\n", "the front matter has no line --- at its end"},
        {"---\nmodel: x", "the front matter has no line --- at its end"},
        {"---\nmodel: x\n---y", "the front matter has no line --- at its end"},
        {"---\nsystem: |\n  a\n b\n---\n",
         "line 4: less indented than the first line of the block"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sf_chat_front f;
        struct sf_err err = SF_ERR_INIT;
        size_t body = 7;
        sf_chat_front_init(&f);
        assert_int_equal(sf_chat_front_set(&f, SF_CHAT_SET_MODEL, "was", NULL), 0);
        assert_int_equal(
            sf_chat_front_parse(cases[i].text, strlen(cases[i].text), true, &f, &body, &err),
            -EINVAL);
        assert_string_equal(err.msg, cases[i].why);
        assert_int_equal(body, 7);
        assert_string_equal(f.model, "was");
        assert_int_equal(f.max_tokens, -1);
        sf_chat_front_fini(&f);
        promised(chat_front_parses(cases[i].text, strlen(cases[i].text)));
    }
    static const char nul[] = "---\nmodel: a\0b\n---\n";
    struct sf_chat_front f;
    size_t body;
    sf_chat_front_init(&f);
    assert_int_equal(sf_chat_front_parse(nul, sizeof nul - 1, true, &f, &body, NULL), -EINVAL);
}

/* W9: while a prompt is being written. */
static void
in_pieces(void **state)
{
    (void)state;
    static const char text[] = "---\nmodel: x\n---\nq";
    struct sf_chat_front f;
    size_t body = 0;
    sf_chat_front_init(&f);
    for (size_t n = 0; n < sizeof text - 2; n++)
        assert_int_equal(sf_chat_front_parse(text, n, false, &f, &body, NULL), -EAGAIN);
    assert_int_equal(sf_chat_front_parse(text, sizeof text - 2, false, &f, &body, NULL), 0);
    assert_int_equal(body, sizeof text - 2);
    sf_chat_front_fini(&f);
    assert_int_equal(sf_chat_front_parse("-x", 2, false, &f, &body, NULL), 0);
    assert_int_equal(body, 0);
}

/* S3 */
static void
too_long(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct sf_chat_front f;
    struct sf_err err = SF_ERR_INIT;
    size_t body = 0;
    sf_chat_front_init(&f);
    sf_buf_puts(&text, "---\nmodel: x\n");
    while (text.len < SF_CHAT_FRONT_MAX - 4)
        sf_buf_putc(&text, '\n');
    sf_buf_puts(&text, "---\nq");
    assert_int_equal(sf_chat_front_parse(text.data, text.len, false, &f, &body, NULL), 0);
    assert_int_equal(body, SF_CHAT_FRONT_MAX);
    sf_buf_truncate(&text, SF_CHAT_FRONT_MAX - 4);
    sf_buf_puts(&text, "\n---\nq");
    assert_int_equal(sf_chat_front_parse(text.data, text.len, false, &f, &body, &err), -EINVAL);
    assert_string_equal(err.msg, "the front matter has no line --- at its end");
    sf_chat_front_fini(&f);
    char *system = calloc(1, SF_CHAT_SYSTEM_MAX + 2);
    memset(system, 'x', SF_CHAT_SYSTEM_MAX + 1);
    assert_int_equal(sf_chat_front_set(&f, SF_CHAT_SET_SYSTEM, system, NULL), -EINVAL);
    system[SF_CHAT_SYSTEM_MAX] = '\0';
    assert_int_equal(sf_chat_front_set(&f, SF_CHAT_SET_SYSTEM, system, NULL), 0);
    promised(chat_front_comes_back(&f));
    sf_chat_front_fini(&f);
    free(system);
}

/* S6, S7 */
static void
one_under_the_other(void **state)
{
    (void)state;
    struct sf_chat_front a, b;
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    sf_chat_front_init(&a);
    sf_chat_front_init(&b);
    for (unsigned i = 0; i < SF_CHAT_SETS; i++) {
        assert_int_equal(sf_chat_set_find(sf_chat_set_name(i)), i);
        assert_int_equal(sf_chat_front_get(&a, i, &value), -ENODATA);
    }
    assert_int_equal(sf_chat_set_find("colour"), -1);
    sf_chat_front_set(&a, SF_CHAT_SET_MODEL, "mine", NULL);
    sf_chat_front_set(&a, SF_CHAT_SET_THINKING, "off", NULL);
    sf_chat_front_set(&b, SF_CHAT_SET_MODEL, "theirs", NULL);
    sf_chat_front_set(&b, SF_CHAT_SET_SYSTEM, "theirs", NULL);
    sf_chat_front_set(&b, SF_CHAT_SET_THINKING, "high", NULL);
    sf_chat_front_set(&b, SF_CHAT_SET_TEMPERATURE, "0.7", NULL);
    assert_int_equal(sf_chat_front_under(&a, &b), 0);
    assert_string_equal(a.model, "mine");
    assert_string_equal(a.system, "theirs");
    assert_int_equal(a.thinking, SF_CHAT_THINKING_OFF);
    assert_int_equal(sf_chat_front_get(&a, SF_CHAT_SET_TEMPERATURE, &value), 0);
    assert_string_equal(value.data, "0.700");
    sf_chat_front_fini(&a);
    sf_chat_front_fini(&b);
}

static void
whatever_is_written(void **state)
{
    (void)state;
    static const char *const pieces[] = {"---",
                                         "---\n",
                                         "model:",
                                         " x",
                                         "\n",
                                         "system:",
                                         " |\n",
                                         "  a\n",
                                         "\t",
                                         "\"",
                                         "'",
                                         "\\",
                                         "\\n",
                                         "|",
                                         "provider: auto\n",
                                         "temperature: 0.5\n",
                                         "max_tokens: 7\n",
                                         "\r\n",
                                         "#",
                                         "dry_run: no\n",
                                         "thinking: on\n",
                                         "\xC3\xA9",
                                         "\xff",
                                         "continue: a\n"};
    const char *s = getenv("SF_TEST_SEED");
    unsigned seed = s ? (unsigned)strtoul(s, NULL, 0) : (unsigned)sf_wall_ns();
    print_message("SF_TEST_SEED=%u\n", seed);
    for (unsigned i = 0; i < 50000; i++) {
        sf_autobuf struct sf_buf text = SF_BUF_INIT;
        if (i % 4)
            sf_buf_puts(&text, "---\n");
        for (unsigned n = (unsigned)rand_r(&seed) % 12; n > 0; n--)
            sf_buf_puts(&text, pieces[(unsigned)rand_r(&seed) % (sizeof pieces / sizeof *pieces)]);
        if (i % 3)
            sf_buf_puts(&text, "\n---\n");
        promised(chat_front_parses(text.data, text.len));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_settings),        cmocka_unit_test(forms_of_values),
        cmocka_unit_test(bad_ones_say_why),    cmocka_unit_test(what_is_no_front_matter),
        cmocka_unit_test(in_pieces),           cmocka_unit_test(too_long),
        cmocka_unit_test(one_under_the_other), cmocka_unit_test(whatever_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
