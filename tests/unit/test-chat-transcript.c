/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * docs/formats/chat.md, part 7: its vectors, read from the document, and its promises over random
 * turns. SF_TEST_SEED repeats a run.
 */
#include "chat/transcript.h"

#include "../fuzz/chat-properties.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/vectors.h"

#define ROUNDS 20000
#define AT_MS  INT64_C(1795327803120) /* 2026-11-22T06:10:03.120Z */

static uint64_t seed;

static uint64_t
rnd(void)
{
    uint64_t z = (seed += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static size_t
below(size_t n)
{
    return (size_t)(rnd() % n);
}

static void
promised(const char *broken)
{
    if (broken)
        fail_msg("%s", broken);
}

/* ---- the document ---------------------------------------------------------------------------- */

/* T4 */
static void
line_is_shown(const struct field *text, const struct field *shown)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT, expected = SF_BUF_INIT;
    struct sf_chat_turn turn = {.at_ms = AT_MS, .text = SF_BUF_INIT};
    assert_int_equal(sf_buf_append(&turn.text, text->s, text->len), 0);
    assert_int_equal(sf_chat_print_turn(&out, &turn), 0);
    sf_buf_puts(&expected, "\n## user 2026-11-22T06:10:03.120Z\n\n");
    sf_buf_append(&expected, shown->s, shown->len);
    sf_buf_putc(&expected, '\n');
    assert_string_equal(out.data, expected.data);
    sf_chat_turn_fini(&turn);
}

/* T5: of values. */
static void
check_vector(const char *line)
{
    struct field text, shown;
    bool value = !strncmp(line, "value ", 6);
    assert_true(value || !strncmp(line, "line ", 5));
    line = parse_field(strchr(line, ' ') + 1, &text);
    assert_int_equal(strncmp(line, "-> ", 3), 0);
    parse_field(line + 3, &shown);
    if (value) {
        sf_autobuf struct sf_buf out = SF_BUF_INIT;
        assert_int_equal(sf_chat_escape(&out, text.s, false), 0);
        assert_string_equal(out.data, shown.s);
        assert_int_equal(sf_chat_escape(&out, text.s, true), 0); /* none has a space */
        assert_string_equal(out.data + shown.len, shown.s);
    } else {
        line_is_shown(&text, &shown);
    }
}

static void
vectors_of_the_document(void **state)
{
    (void)state;
    assert_int_equal(vectors_of("chat.md", "text-vectors", check_vector), 25);
}

/* ---- one by one ------------------------------------------------------------------------------ */

static const char example[] =
    "---\nsupafs-chat: 1\nconversation: k2-1\nabout: user-files/q3.pdf\n---\n"
    "\n## user 2026-11-22T06:10:03.120Z\n"
    "> supafs: set temperature 0.200\n"
    "\nWhat changed?\n\n    ## user is no mark here\n"
    "\n## assistant 2026-11-22T06:10:03.300Z kimi kimi-k2.6\n"
    "> supafs: file q3.pdf tokens=8012\n"
    "\n## Sales\n\\## user guides rose\n"
    "\n> supafs: end stop\n> supafs: usage prompt=8123\n"
    "\n## error 2026-11-22T06:11:00.000Z - model\n\n\n"
    "\n> supafs: class rate limit\n";

static void
the_example_is_read(void **state)
{
    (void)state;
    struct sf_chat_transcript t;
    assert_int_equal(sf_chat_parse(example, sizeof example - 1, &t, NULL), 0);
    assert_int_equal(t.turns.len, 3);
    assert_false(t.cut);
    assert_string_equal(sf_chat_note_find(&t.head, "about"), "user-files/q3.pdf");
    assert_null(sf_chat_note_find(&t.head, "none"));
    const struct sf_chat_turn *turn = t.turns.data;
    assert_int_equal(turn[0].kind, SF_CHAT_USER);
    assert_int_equal(turn[0].at_ms, AT_MS);
    assert_null(turn[0].provider);
    assert_string_equal(turn[0].text.data, "What changed?\n\n    ## user is no mark here");
    assert_string_equal(turn[1].provider, "kimi");
    assert_string_equal(turn[1].model, "kimi-k2.6");
    assert_string_equal(turn[1].text.data, "## Sales\n## user guides rose");
    assert_string_equal(sf_chat_note_find(&turn[1].below, "usage"), "prompt=8123");
    assert_null(turn[2].provider);
    assert_string_equal(turn[2].model, "model");
    assert_int_equal(turn[2].text.len, 0);
    sf_chat_transcript_fini(&t);
    promised(chat_parses(example, sizeof example - 1));
}

/* T6: what was copied while the last answer came. */
static void
a_cut_text_is_said_to_be(void **state)
{
    (void)state;
    static const char begin[] = SF_CHAT_FIRST_LINES "---\n\n## user 2026-11-22T06:10:03.120Z\n\n";
    static const struct {
        const char *tail, *text;
        bool cut;
    } cases[] = {{"", "", true},
                 {"ab", "ab", true},
                 {"ab\nc", "ab\nc", true},
                 {"ab\n", "ab", false},
                 {"ab\n\n", "ab\n", false},
                 {"\n", "", false},
                 {"## use", "## use", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sf_autobuf struct sf_buf text = SF_BUF_INIT;
        struct sf_chat_transcript t;
        sf_buf_printf(&text, "%s%s", begin, cases[i].tail);
        assert_int_equal(sf_chat_parse(text.data, text.len, &t, NULL), 0);
        assert_int_equal(t.cut, cases[i].cut);
        assert_int_equal(t.turns.data[0].text.len, strlen(cases[i].text));
        assert_string_equal(sf_buf_str(&t.turns.data[0].text), cases[i].text);
        sf_chat_transcript_fini(&t);
        promised(chat_parses(text.data, text.len));
    }
}

/* Each is what printing never gives, and the line of it is told. */
static void
what_was_never_printed_is_refused(void **state)
{
    (void)state;
#define HEAD SF_CHAT_FIRST_LINES "---\n"
#define TURN "\n## user 2026-11-22T06:10:03.120Z\n"
    static const struct {
        unsigned line;
        const char *text;
    } cases[] = {
        {1, "hello"},
        {1, "---\nsupafs-chat: 2\n---\n"},
        {3, SF_CHAT_FIRST_LINES "about:\n---\n" TURN "\nx\n"},
        {3, SF_CHAT_FIRST_LINES "About: x\n---\n" TURN "\nx\n"},
        {3, SF_CHAT_FIRST_LINES "about: a\\\n---\n" TURN "\nx\n"},
        {3, SF_CHAT_FIRST_LINES "about: \\101\n---\n" TURN "\nx\n"},
        {3, SF_CHAT_FIRST_LINES "about: \\999\n---\n" TURN "\nx\n"},
        {3, SF_CHAT_FIRST_LINES "about: \x1b\n---\n" TURN "\nx\n"},
        {3, SF_CHAT_FIRST_LINES "about: \xC2\x9B\n---\n" TURN "\nx\n"},
        {3, SF_CHAT_FIRST_LINES "about: \\302\x9B\n---\n" TURN "\nx\n"},
        {3, SF_CHAT_FIRST_LINES "about: \\303\\251\n---\n" TURN "\nx\n"},
        {3, SF_CHAT_FIRST_LINES "about: \xFF\n---\n" TURN "\nx\n"},
        {3, SF_CHAT_FIRST_LINES "about: a"},
        {4, HEAD},
        {5, HEAD "\n"},
        {5, HEAD "\nhello\n"},
        {5, HEAD "\n## user\n\nx\n"},
        {5, HEAD "\n## user 2026-11-22T06:10:03Z\n\nx\n"},
        {5, HEAD "\n## user 2026-11-22T06:10:03.120+\n\nx\n"},
        {5, HEAD "\n## user 2026-02-30T06:10:03.120Z\n\nx\n"},
        {5, HEAD "\n## user 2026-11-22T06:10:03.120Z kimi\n\nx\n"},
        {5, HEAD "\n## user 2026-11-22T06:10:03.120Z - -\n\nx\n"},
        {5, HEAD "\n## user 2026-11-22T06:10:03.120Z a b c\n\nx\n"},
        {5, HEAD "\n## user 2026-11-22T06:10:03.120Z  b\n\nx\n"},
        {6, HEAD TURN "x\n"},
        {6, HEAD TURN "> supafs:x\n\nx\n"},
        {6, HEAD TURN "> supafs: A\n\nx\n"},
        {6, HEAD TURN "> supafs: key \n\nx\n"},
        {8, HEAD TURN "\nx\n> supafs: end stop\n"},
        {8, HEAD TURN "\nx\n## user 2026-11-22T06:10:03.120Z\n\ny\n"},
        {9, HEAD TURN "\nx\n\n## user manual\n"},
        {10, HEAD TURN "\nx\n\n> supafs: end stop\nmore\n"},
        {11, HEAD TURN "\nx\n\n> supafs: end stop\n\n"},
        {9, HEAD TURN "\nx\n\n> supafs: end stop"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sf_chat_transcript t;
        struct sf_err err = SF_ERR_INIT;
        char begin[40];
        print_message("%zu\n", i);
        assert_int_equal(sf_chat_parse(cases[i].text, strlen(cases[i].text), &t, &err), -EINVAL);
        snprintf(begin, sizeof begin, "line %u of the transcript: ", cases[i].line);
        if (strncmp(err.msg, begin, strlen(begin)) != 0)
            fail_msg("%s instead of %s", err.msg, begin);
    }
    struct sf_chat_transcript t;
    assert_int_equal(sf_chat_parse("", 0, &t, NULL), 0);
    assert_int_equal(t.turns.len, 0);
}

/* A line that may become a mark is held back, and nothing else is. */
static void
a_line_is_shown_as_soon_as_it_can_be(void **state)
{
    (void)state;
    static const char *const steps[][2] = {
        {"a", "a"},           {"b\n", "b\n"}, {"#", ""},  {"#", ""},      {" us", ""},
        {"e ", "## use "},    {"\n\\", "\n"}, {"\\", ""}, {"x", "\\\\x"}, {"\n> supafs", "\n"},
        {":", "\\> supafs:"}, {" z", " z"},
    };
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    struct sf_chat_turn turn = {.at_ms = AT_MS};
    struct sf_chat_body body;
    assert_int_equal(sf_chat_print_begin(&out, &turn, &body), 0);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        size_t before = out.len;
        assert_int_equal(sf_chat_print_text(&out, &body, steps[i][0], strlen(steps[i][0])), 0);
        assert_string_equal(out.data + before, steps[i][1]);
    }
}

static void
times_that_cannot_be_written(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    static const int64_t times[] = {INT64_MAX, INT64_MIN, INT64_MAX / 1000000 + 1};
    struct sf_chat_turn turn = {.kind = SF_CHAT_ERROR};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        turn.at_ms = times[i];
        assert_int_equal(sf_chat_print_turn(&out, &turn), -EINVAL);
        assert_int_equal(out.len, 0);
    }
    turn.at_ms = -1; /* before the epoch is a time, too */
    assert_int_equal(sf_chat_print_turn(&out, &turn), 0);
    assert_string_equal(out.data, "\n## error 1969-12-31T23:59:59.999Z\n\n\n");
}

static void
keys(void **state)
{
    (void)state;
    struct sf_chat_notes n = {0};
    assert_int_equal(sf_chat_note_add(&n, "", "x"), -EINVAL);
    assert_int_equal(sf_chat_note_add(&n, "A", "x"), -EINVAL);
    assert_int_equal(sf_chat_note_add(&n, "a b", "x"), -EINVAL);
    assert_int_equal(sf_chat_note_add(&n, "a23456789012345678901234567890123456789-", "x"), 0);
    assert_int_equal(sf_chat_note_add(&n, "a23456789012345678901234567890123456789-_", "x"),
                     -EINVAL);
    assert_int_equal(n.len, 1);
    sf_chat_notes_free(&n);
}

/* ---- whatever comes -------------------------------------------------------------------------- */

/* Texts made of what is dangerous: marks, parts of them, backslashes, line feeds, any byte. */
static void
random_text(struct sf_buf *out, size_t parts, bool word)
{
    static const char *const pieces[] = {"## user ",
                                         "## assistant ",
                                         "## error",
                                         "## dry-run ",
                                         "## draft 2026-11-22T06:10:03.120Z",
                                         "> supafs:",
                                         "> supafs: end stop",
                                         "\\",
                                         "\\\\",
                                         "\n",
                                         "\n\n",
                                         "#",
                                         "##",
                                         "## ",
                                         ">",
                                         " ",
                                         "---\n",
                                         "supafs-chat: 1\n",
                                         "\r\n",
                                         "\t",
                                         "é",
                                         "\xC2\x9B",
                                         "\xE2\x82",
                                         "a",
                                         "text",
                                         "-",
                                         "\\055",
                                         "\\012"};
    for (size_t n = below(parts); n > 0; n--) {
        if (below(8) == 0)
            sf_buf_putc(out, (char)(word ? 1 + below(255) : below(256)));
        else
            sf_buf_puts(out, pieces[below(sizeof pieces / sizeof *pieces)]);
    }
}

static char *
random_word(void)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    if (below(3) == 0)
        return NULL;
    random_text(&text, 4, true);
    return text.len ? sf_buf_steal(&text, NULL) : NULL;
}

static void
random_notes(struct sf_chat_notes *out)
{
    static const char *const known[] = {"end", "usage", "file", "left-out", "a_b-1"};
    for (size_t n = below(4); n > 0; n--) {
        sf_autobuf struct sf_buf value = SF_BUF_INIT;
        random_text(&value, 5, true);
        assert_int_equal(sf_chat_note_add(out, known[below(5)], value.data), 0);
    }
}

static void
random_transcript(struct sf_chat_transcript *t)
{
    *t = (struct sf_chat_transcript){0};
    random_notes(&t->head);
    for (size_t n = 1 + below(4); n > 0; n--) {
        struct sf_chat_turn turn = {.kind = (enum sf_chat_kind)below(SF_CHAT_KINDS),
                                    .text = SF_BUF_INIT};
        turn.at_ms = (int64_t)(rnd() % UINT64_C(9000000000000)) - INT64_C(900000000000);
        turn.provider = random_word();
        turn.model = random_word();
        random_notes(&turn.above);
        random_notes(&turn.below);
        random_text(&turn.text, 20, false);
        assert_int_equal(sf_chat_turns_push(&t->turns, turn), 0);
    }
}

static void
any_turns_come_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct sf_chat_transcript t;
        random_transcript(&t);
        promised(chat_comes_back(&t));
        promised(chat_streams(&t.turns.data[0], 1 + below(9)));
        sf_chat_transcript_fini(&t);
    }
}

/* A printed one with a byte changed, taken out or put in, and each beginning of one. */
static void
damaged_ones_are_refused_or_are_others(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROUNDS / 10; i++) {
        sf_autobuf struct sf_buf text = SF_BUF_INIT;
        struct sf_chat_transcript t;
        random_transcript(&t);
        assert_int_equal(chat_print(&t, &text), 0);
        sf_chat_transcript_fini(&t);
        size_t at = below(text.len);
        switch (below(3)) {
        case 0:
            text.data[at] = "\n\\#> -a\0"[below(8)];
            break;
        case 1:
            memmove(text.data + at, text.data + at + 1, text.len - at);
            text.len--;
            break;
        default:
            sf_buf_truncate(&text, at);
            break;
        }
        promised(chat_parses(text.data, text.len));
    }
}

static void
any_text_is_made_clean(void **state)
{
    (void)state;
    promised(chat_cleans("a\r\nb\rc\x1b[2J\x7f\xC2\x9B\xC3\xA9\xE2\x82", 17, 1));
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    struct sf_chat_clean c = {.n = 0};
    sf_chat_clean_put(&c, &out, "a\r\nb\rc\x1b[m\xC2\x9B\xC3\xA9\xE2\x82", 15);
    assert_string_equal(out.data, "a\nb\uFFFDc\uFFFD[m\uFFFDé");
    sf_chat_clean_end(&c, &out);
    assert_string_equal(out.data, "a\nb\uFFFDc\uFFFD[m\uFFFDé\uFFFD\uFFFD");
    for (unsigned i = 0; i < ROUNDS; i++) {
        sf_autobuf struct sf_buf text = SF_BUF_INIT;
        random_text(&text, 12, false);
        for (size_t k = below(6); k > 0 && text.len; k--)
            text.data[below(text.len)] =
                "\r\x1b\xE2\x82\xAC\xF0\x9F\xC2\x80\xED\xA0\xF4"[below(12)];
        promised(chat_cleans(text.data, text.len, 1 + below(5)));
    }
}

/* A line of backslashes that never ends costs nothing but itself. */
static void
long_texts(void **state)
{
    (void)state;
    struct sf_chat_turn turn = {.at_ms = AT_MS, .text = SF_BUF_INIT};
    for (unsigned i = 0; i < 200000; i++)
        sf_buf_puts(&turn.text, i % 1000 ? "\\" : i % 3000 ? "\n" : "## user \n");
    promised(chat_streams(&turn, 4096));
    sf_chat_turn_fini(&turn);
}

int
main(void)
{
    const char *s = getenv("SF_TEST_SEED");
    seed = s ? strtoull(s, NULL, 0) : (uint64_t)sf_wall_ns();
    print_message("SF_TEST_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_document),
        cmocka_unit_test(the_example_is_read),
        cmocka_unit_test(a_cut_text_is_said_to_be),
        cmocka_unit_test(what_was_never_printed_is_refused),
        cmocka_unit_test(a_line_is_shown_as_soon_as_it_can_be),
        cmocka_unit_test(times_that_cannot_be_written),
        cmocka_unit_test(keys),
        cmocka_unit_test(any_turns_come_back),
        cmocka_unit_test(damaged_ones_are_refused_or_are_others),
        cmocka_unit_test(any_text_is_made_clean),
        cmocka_unit_test(long_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
