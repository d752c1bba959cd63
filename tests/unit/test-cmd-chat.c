/* SPDX-License-Identifier: GPL-3.0-or-later */
/* src/cmd/chat.h: what `supafs chat` asks, and what it finds in a transcript. */
#include "cmd/chat.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- prompts --------------------------------------------------------------------------------- */

/* A descriptor that gives these bytes. */
static int
input(const char *text, size_t len)
{
    char name[] = "/tmp/test-cmd-chat.XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(write(fd, text, len), (ssize_t)len);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

struct asked {
    struct chat_line line;
    struct sf_buf out, question;
    struct sf_err err;
    int rc;
};

/* @in: NULL = a terminal. */
static struct asked
ask(const char *question, const char *in, const char *model)
{
    struct asked a = {.out = SF_BUF_INIT, .question = SF_BUF_INIT, .err = SF_ERR_INIT};
    int fd = in ? input(in, strlen(in)) : -1;
    a.line.question = question;
    sf_chat_front_init(&a.line.front);
    if (model)
        assert_int_equal(sf_chat_front_set(&a.line.front, SF_CHAT_SET_MODEL, model, NULL), 0);
    a.rc = chat_prompt(&a.line, fd, &a.out, &a.question, &a.err);
    if (fd >= 0)
        close(fd);
    return a;
}

static void
asked_fini(struct asked *a)
{
    sf_chat_front_fini(&a->line.front);
    sf_buf_fini(&a->out);
    sf_buf_fini(&a->question);
}

static void
writes(const char *question, const char *in, const char *model, const char *out, const char *text)
{
    struct asked a = ask(question, in, model);
    assert_int_equal(a.rc, 0);
    assert_string_equal(sf_buf_str(&a.out), out);
    assert_string_equal(sf_buf_str(&a.question), text);
    asked_fini(&a);
}

static void
refuses(const char *question, const char *in, int rc, const char *text)
{
    struct asked a = ask(question, in, NULL);
    assert_int_equal(a.rc, rc);
    assert_non_null(strstr(a.err.msg, text));
    asked_fini(&a);
}

static void
questions_and_input(void **state)
{
    (void)state;
    writes("Why?", NULL, NULL, "Why?", "Why?");
    writes(NULL, "Why?\n", NULL, "Why?", "Why?");
    writes("Why?", "a\nb\n", NULL, "Why?\n\na\nb", "Why?\n\na\nb");
    writes("Why?", "", NULL, "Why?", "Why?");
    writes("Why?\n\n", NULL, NULL, "Why?", "Why?");
}

static void
options_are_front_matter(void **state)
{
    (void)state;
    writes("Why?", NULL, "m", "---\nmodel: \"m\"\n---\nWhy?", "Why?");
    /* The question's own goes with them, and they before it. */
    writes("---\ntemperature: 0.5\nmodel: other\n---\nWhy?", NULL, "m",
           "---\nmodel: \"m\"\ntemperature: \"0.500\"\n---\nWhy?", "Why?");
    /* What only looks like front matter stays a question. */
    writes("---\n---\n---\nmodel: x", NULL, NULL, "---\n---\n---\nmodel: x", "---\nmodel: x");
    writes("--- no", NULL, NULL, "--- no", "--- no");
}

static void
no_questions(void **state)
{
    (void)state;
    refuses(NULL, "", -ENODATA, "what is the question");
    refuses(" \n\t", NULL, -ENODATA, "what is the question");
    refuses("---\nmodel: m\n---\n", NULL, -ENODATA, "what is the question");
    refuses("a\xff", NULL, -EINVAL, "UTF-8");
    refuses("---\nmodle: m\n---\nWhy?", NULL, -EINVAL, "line 2");
    refuses("---\nmodel: m\n", NULL, -EINVAL, "");

    int fd = input("a\0b", 3);
    struct asked a = {.line = {.path = NULL}, .out = SF_BUF_INIT, .question = SF_BUF_INIT};
    sf_chat_front_init(&a.line.front);
    assert_int_equal(chat_prompt(&a.line, fd, &a.out, &a.question, &a.err), -EINVAL);
    close(fd);
    asked_fini(&a);
}

static void
questions_are_bounded(void **state)
{
    (void)state;
    size_t max = 256 * 1024;
    char *text = malloc(max * 2);
    assert_non_null(text);
    memset(text, 'x', max * 2 - 1);
    text[max * 2 - 1] = '\0';
    refuses(NULL, text, -EFBIG, "256 KiB");
    text[max + 1] = '\0';
    refuses(NULL, text, -EFBIG, "256 KiB");
    text[max] = '\0';
    writes(NULL, text, NULL, text, text);
    free(text);
}

/* ---- transcripts ----------------------------------------------------------------------------- */

#define HEAD  "---\nsupafs-chat: 1\nconversation: abc-1\nabout: b/q3.pdf\n---\n"
#define FIRST "\n## user 2026-11-22T06:10:03.120Z\n\nWhat changed?\n"
#define FIRST_ANSWER                                                                               \
    "\n## assistant 2026-11-22T06:10:03.300Z kimi kimi-k2.6\n> supafs: file q3.pdf tokens=12\n\n"  \
    "Sales rose.\n\\## user x\n\n> supafs: end stop\n"                                             \
    "> supafs: usage prompt=8123 cached=7936 answer=12\n> supafs: price 0.0012 USD\n"              \
    "> supafs: took 2210 ms\n"
#define SECOND "\n## user 2026-11-22T06:11:03.120Z\n\nAnd why?\n"
#define SECOND_ANSWER                                                                              \
    "\n## assistant 2026-11-22T06:11:03.300Z glm glm-4.6\n\nIt is\n\n> supafs: end incomplete\n"   \
    "\n## error 2026-11-22T06:11:04.300Z glm glm-4.6\n\nThe stream broke.\n\n"                     \
    "> supafs: class no reply\n> supafs: errno EIO\n"
#define ALL HEAD FIRST FIRST_ANSWER SECOND SECOND_ANSWER

static struct sf_buf
buf_of(const char *text)
{
    struct sf_buf b = SF_BUF_INIT;
    assert_int_equal(sf_buf_puts(&b, text), 0);
    return b;
}

static void
finds(struct chat_said *s, const char *text, bool whole, const char *question)
{
    struct sf_buf asked = buf_of(question ? question : "");
    *s = (struct chat_said){.id = NULL};
    assert_int_equal(chat_said_find(s, text, strlen(text), whole, question ? &asked : NULL), 0);
    sf_buf_fini(&asked);
}

static void
a_turn_is_found(void **state)
{
    (void)state;
    struct chat_said s;
    finds(&s, ALL, true, "What changed?");
    assert_string_equal(s.id, "abc-1");
    assert_string_equal(s.answer->text.data, "Sales rose.\n## user x");
    assert_null(s.why);
    assert_null(chat_lack(&s));
    chat_said_fini(&s);

    finds(&s, ALL, true, "And why?");
    assert_string_equal(s.answer->provider, "glm");
    assert_string_equal(s.why->text.data, "The stream broke.");
    assert_string_equal(chat_said_note(&s, "class"), "no reply");
    assert_non_null(strstr(chat_lack(&s), "incomplete"));
    chat_said_fini(&s);

    /* What is in no transcript word for word is the last one. */
    finds(&s, ALL, true, "And w");
    assert_string_equal(s.question->text.data, "And why?");
    chat_said_fini(&s);
}

static void
a_turn_is_found_in_a_part(void **state)
{
    (void)state;
    struct chat_said s;
    finds(&s, "rest of an answer\n## no turn\n" SECOND SECOND_ANSWER, false, "And why?");
    assert_null(s.id);
    assert_non_null(s.why);
    chat_said_fini(&s);
    finds(&s, SECOND "\n## assistant 2026-11-22T06:11:03.300Z glm glm-4.6\n\nIt", false,
          "And why?");
    assert_null(chat_said_note(&s, "end"));
    chat_said_fini(&s);

    struct chat_said none = {.id = NULL};
    struct sf_buf asked = buf_of("And why?");
    assert_int_equal(chat_said_find(&none, "x", 1, false, &asked), -ENOENT);
    assert_int_equal(chat_said_find(&none, "", 0, false, &asked), -ENOENT);
    assert_int_equal(chat_said_find(&none, "", 0, true, &asked), -ENOENT);
    assert_int_equal(chat_said_find(&none, "x", 1, true, &asked), -EINVAL);
    sf_buf_fini(&asked);
    chat_said_fini(&none);
}

static void
the_last_answer(void **state)
{
    (void)state;
    struct chat_said s;
    finds(&s, HEAD FIRST FIRST_ANSWER SECOND, true, NULL);
    assert_string_equal(s.answer->text.data, "Sales rose.\n## user x");
    chat_said_fini(&s);
    struct chat_said none = {.id = NULL};
    assert_int_equal(chat_said_find(&none, HEAD FIRST, strlen(HEAD FIRST), true, NULL), -ENOENT);
    chat_said_fini(&none);
}

static void
reasoning_belongs_to_its_answer(void **state)
{
    (void)state;
    const char *thoughts = HEAD FIRST
        "\n## reasoning 2026-11-22T06:10:03.300Z kimi kimi-k2.6\n\nHm.\n" FIRST_ANSWER SECOND
        "\n## reasoning 2026-11-22T06:11:03.300Z glm glm-4.6\n\nAh.\n" SECOND_ANSWER;
    struct chat_said s;
    finds(&s, ALL, true, "What changed?");
    chat_said_think(&s, thoughts, strlen(thoughts));
    assert_string_equal(sf_buf_str(&s.reasoning), "Hm.");
    chat_said_fini(&s);
    finds(&s, ALL, true, "And why?");
    chat_said_think(&s, "junk", 4);
    assert_false(s.thought);
    chat_said_fini(&s);
}

/* ---- JSON and codes -------------------------------------------------------------------------- */

static void
prints(const struct chat_said *s, const struct sf_buf *answer, int rc, const char *text,
       const char *json)
{
    json_t *o = chat_json("p", s, answer, rc, text);
    char *printed = json_dumps(o, JSON_COMPACT);
    assert_string_equal(printed, json);
    free(printed);
    json_decref(o);
}

static void
json(void **state)
{
    (void)state;
    struct chat_said s;
    struct sf_buf came = buf_of("It is\n");
    finds(&s, ALL, true, "What changed?");
    prints(&s, NULL, 0, NULL,
           "{\"path\":\"p\",\"id\":\"abc-1\",\"provider\":\"kimi\",\"model\":\"kimi-k2.6\","
           "\"answer\":\"Sales "
           "rose.\\n## user x\",\"reasoning\":null,\"usage\":{\"prompt\":8123,\"cached\":7936,"
           "\"answer\":12},\"price\":\"0.0012\",\"currency\":\"USD\",\"end\":\"stop\","
           "\"took_ms\":2210,\"error\":null}");
    chat_said_fini(&s);
    finds(&s, ALL, true, "And why?");
    prints(&s, &came, -EIO, "The stream broke.",
           "{\"path\":\"p\",\"id\":\"abc-1\",\"provider\":\"glm\",\"model\":\"glm-4.6\",\"answer\":"
           "\"It is\\n\","
           "\"reasoning\":null,\"usage\":null,\"price\":null,\"currency\":null,\"end\":"
           "\"incomplete\",\"took_ms\":null,\"error\":{\"class\":\"no reply\",\"errno\":\"EIO\","
           "\"text\":\"The stream broke.\"}}");
    chat_said_fini(&s);
    s = (struct chat_said){.id = NULL};
    prints(&s, NULL, -EACCES, NULL,
           "{\"path\":\"p\",\"id\":null,\"provider\":null,\"model\":null,\"answer\":null,"
           "\"reasoning\":null,"
           "\"usage\":null,\"price\":null,\"currency\":null,\"end\":null,\"took_ms\":null,"
           "\"error\":{\"class\":null,\"errno\":\"EACCES\",\"text\":null}}");
    sf_buf_fini(&came);
}

static void
exit_codes(void **state)
{
    (void)state;
    assert_int_equal(chat_code(0, NULL), 0);
    assert_int_equal(chat_code(-EIO, NULL), 1);
    assert_int_equal(chat_code(-EIO, "server error"), 1);
    assert_int_equal(chat_code(-EIO, "overloaded"), 75);
    assert_int_equal(chat_code(-EAGAIN, "rate limit"), 75);
    assert_int_equal(chat_code(-EBUSY, NULL), 75);
    assert_int_equal(chat_code(-EACCES, NULL), 77);
    assert_int_equal(chat_code(-EDQUOT, "no balance"), 77);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_and_input),
        cmocka_unit_test(options_are_front_matter),
        cmocka_unit_test(no_questions),
        cmocka_unit_test(questions_are_bounded),
        cmocka_unit_test(a_turn_is_found),
        cmocka_unit_test(a_turn_is_found_in_a_part),
        cmocka_unit_test(the_last_answer),
        cmocka_unit_test(reasoning_belongs_to_its_answer),
        cmocka_unit_test(json),
        cmocka_unit_test(exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
