/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Rules M1, M3, M4, M7 to M9, S8 and K11 of docs/formats/chat.md: what is sent, and in which order.
 */
#include "chat/prompt.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char base[] = "https://x.example/v1", model[] = "m";
static struct sf_provider_conf conf;
static struct sf_chat_front front;
static struct sf_chat_content content;
static struct sf_chat_turns turns;

static int
begin(void **state)
{
    (void)state;
    conf = (struct sf_provider_conf){.name = "box",
                                     .type = sf_provider_type_find("openai"),
                                     .base_url = base,
                                     .model = model,
                                     .context = 32768};
    sf_chat_front_init(&front);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    sf_chat_front_fini(&front);
    sf_chat_content_fini(&content);
    for (size_t i = 0; i < turns.len; i++)
        sf_chat_turn_fini(&turns.data[i]);
    sf_chat_turns_fini(&turns);
    return 0;
}

static void
turn(enum sf_chat_kind kind, const char *text)
{
    struct sf_chat_turn t = {.kind = kind, .at_ms = 1795327803120};
    assert_int_equal(sf_buf_puts(&t.text, text), 0);
    assert_int_equal(sf_chat_turns_push(&turns, t), 0);
}

static void
file(const char *key, const char *text, const char *sha256)
{
    struct sf_chat_piece p = {.key = strdup(key)};
    size_t used;
    snprintf(p.sha256, sizeof p.sha256, "%s", sha256);
    assert_int_equal(sf_chat_piece_text(&p, text, strlen(text), 1000000, &used), 0);
    assert_int_equal(used, strlen(text));
    assert_int_equal(sf_chat_content_add(&content, &p, NULL), 0);
}

static void
picture(const char *key, const char *url)
{
    struct sf_chat_piece p = {.key = strdup(key), .how = SF_CHAT_SHOWN_LINK, .kind = SF_PP_IMAGE};
    snprintf(p.sha256, sizeof p.sha256, "%s", SHA_A);
    assert_int_equal(sf_buf_puts(&p.text, url), 0);
    assert_int_equal(sf_chat_content_add(&content, &p, NULL), 0);
}

static struct sf_chat_prompt_args
args(const char *text)
{
    return (struct sf_chat_prompt_args){.conf = &conf,
                                        .front = &front,
                                        .content = &content,
                                        .turns = turns.data,
                                        .n = turns.len,
                                        .text = text,
                                        .len = strlen(text)};
}

static struct sf_chat_prompt
make(const char *text)
{
    const struct sf_chat_prompt_args a = args(text);
    struct sf_chat_prompt p;
    struct sf_provider_fault fault = {0};
    assert_int_equal(sf_chat_prompt_make(&a, &p, &fault), 0);
    return p;
}

/* Each message on a line: the role's first letter, then its parts with '|' between them. */
static void
says(const struct sf_chat_prompt *p, const char *want)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    for (size_t i = 0; i < p->chat.n; i++) {
        const struct sf_provider_message *m = &p->chat.messages[i];
        assert_int_equal(sf_buf_putc(&b, "sua"[m->role]), 0);
        for (size_t k = 0; k < m->n; k++)
            assert_int_equal(
                sf_buf_printf(&b, "%c%.*s", k ? '|' : ' ', (int)m->parts[k].len, m->parts[k].text),
                0);
        if (m->reasoning)
            assert_int_equal(sf_buf_printf(&b, " (%s)", m->reasoning), 0);
        assert_int_equal(sf_buf_putc(&b, '\n'), 0);
    }
    assert_string_equal(b.data, want);
}

/* M1 */
static void
in_this_order(void **state)
{
    (void)state;
    file("b/one.txt", "1\n", SHA_A);
    file("b/two\n.txt", "2", SHA_B);
    assert_int_equal(sf_chat_front_set(&front, SF_CHAT_SET_SYSTEM, "Be terse.", NULL), 0);
    turn(SF_CHAT_USER, "First?");
    turn(SF_CHAT_ASSISTANT, "Yes.");
    struct sf_chat_prompt p = make("Second?");
    says(&p, "s File: b/one.txt\n1\n\ns File: b/two\\012.txt\n2\ns Be terse.\nu First?\na Yes.\n"
             "u Second?\n");
    assert_int_equal(p.dropped, 0);
    assert_int_equal(strlen(p.digest), 64);
    sf_chat_prompt_fini(&p);
}

static void
body(const char *text, struct sf_buf *out)
{
    struct sf_chat_prompt p = make(text);
    struct sf_provider_fault fault;
    assert_int_equal(sf_provider_chat_body(&conf, &p.chat, out, NULL, &fault), 0);
    sf_chat_prompt_fini(&p);
}

/* M1: as long as the file is the same, what is sent begins with all that was sent before. */
static void
a_turn_begins_as_the_last_one_did(void **state)
{
    sf_autobuf struct sf_buf last = SF_BUF_INIT;
    char question[80], answer[80];
    size_t common = 0;
    (void)state;
    file("b/f.txt", "Some text\nof a file.\n", SHA_A);
    for (int i = 0; i < 20; i++) {
        sf_autobuf struct sf_buf now = SF_BUF_INIT;
        snprintf(question, sizeof question, "Question %d?", i);
        snprintf(answer, sizeof answer, "Answer %d.\n\n## With a title", i);
        body(question, &now);
        const char *end_of = strstr(now.data, question);
        assert_non_null(end_of);
        if (i) /* up to the end of the list of messages */
            assert_memory_equal(now.data, last.data, common);
        common = (size_t)(end_of - now.data) + strlen(question) + 2;
        turn(SF_CHAT_USER, question);
        turn(SF_CHAT_ASSISTANT, answer);
        sf_buf_clear(&last);
        assert_int_equal(sf_buf_append(&last, now.data, now.len), 0);
    }
}

/* M9, T10, T11, S8 */
static void
what_came_to_nothing_is_left_out(void **state)
{
    (void)state;
    turn(SF_CHAT_ASSISTANT, "Of another program.");
    turn(SF_CHAT_USER, "Answered?");
    turn(SF_CHAT_REASONING, "Hm.");
    turn(SF_CHAT_ASSISTANT, "Half an ans");
    turn(SF_CHAT_ERROR, "The stream broke.");
    turn(SF_CHAT_USER, "Refused?");
    turn(SF_CHAT_ERROR, "Too many requests.");
    turn(SF_CHAT_USER, "Empty?");
    turn(SF_CHAT_REASONING, "Only this.");
    turn(SF_CHAT_ASSISTANT, " \n");
    turn(SF_CHAT_USER, "Dry?");
    turn(SF_CHAT_DRY_RUN, "Nothing was sent.");
    turn(SF_CHAT_DRAFT, "Never sent.");
    turn(SF_CHAT_USER, "Nobody answered yet.");
    turn(SF_CHAT_SYSTEM, "A rule.");
    struct sf_chat_prompt p = make("Now?");
    says(&p, "a Of another program.\nu Answered?\na Half an ans (Hm.)\nu Nobody answered yet.\n"
             "s A rule.\nu Now?\n");
    sf_chat_prompt_fini(&p);
}

/* M3, K11 */
static void
pictures_stand_in_the_first_question(void **state)
{
    (void)state;
    picture("b/p.png", "https://signed/1");
    struct sf_chat_prompt p = make("What is it?");
    char digest[65], other[65];
    says(&p, "u https://signed/1|What is it?\n");
    assert_int_equal(p.chat.messages[0].parts[0].kind, SF_PP_IMAGE);
    assert_string_equal(p.chat.messages[0].parts[0].name, "p.png");
    memcpy(digest, p.digest, sizeof digest);
    sf_autobuf struct sf_buf shown = SF_BUF_INIT;
    const struct sf_chat_prompt_args a = args("What is it?");
    assert_int_equal(sf_chat_prompt_show(&p, &a, &shown), 0);
    assert_null(strstr(shown.data, "signed"));
    assert_non_null(strstr(shown.data, "- user: p.png (link)\n"));
    sf_chat_prompt_fini(&p);
    /* Another link to the same bytes is the same question. */
    content.pieces.data[0].text.data[15] = '2';
    p = make("What is it?");
    assert_string_equal(p.digest, digest);
    sf_chat_prompt_fini(&p);
    content.pieces.data[0].sha256[0] = 'b';
    p = make("What is it?");
    memcpy(other, p.digest, sizeof other);
    assert_string_not_equal(other, digest);
    sf_chat_prompt_fini(&p);
    turn(SF_CHAT_USER, "What is it?");
    turn(SF_CHAT_ASSISTANT, "A cat.");
    p = make("Sure?");
    says(&p, "u https://signed/2|What is it?\na A cat.\nu Sure?\n");
    sf_chat_prompt_fini(&p);
}

/* M8 */
static void
the_oldest_turns_are_dropped(void **state)
{
    sf_autobuf struct sf_buf large = SF_BUF_INIT;
    char text[40];
    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(sf_buf_puts(&large, "word "), 0);
    for (int i = 0; i < 40; i++) {
        snprintf(text, sizeof text, "Question %d?", i);
        turn(SF_CHAT_USER, text);
        turn(SF_CHAT_ASSISTANT, large.data);
    }
    struct sf_chat_prompt p = make("Now?");
    const struct sf_chat_prompt_args room = args("Now?");
    assert_true(p.dropped > 10 && p.dropped < 40);
    assert_true(p.tokens <= 32768 - 4096 - 8192);
    assert_true(p.tokens > sf_chat_prompt_files_room(&room) / 2);
    snprintf(text, sizeof text, "Question %zu?", p.dropped);
    assert_int_equal(p.chat.messages[0].parts[0].len, strlen(text));
    assert_memory_equal(p.chat.messages[0].parts[0].text, text, strlen(text));
    size_t dropped = p.dropped;
    sf_chat_prompt_fini(&p);
    /* The next turn begins where this one did. */
    turn(SF_CHAT_USER, "Now?");
    turn(SF_CHAT_ASSISTANT, large.data);
    struct sf_chat_prompt_args a = args("And now?");
    struct sf_provider_fault fault = {0};
    a.dropped = dropped;
    assert_int_equal(sf_chat_prompt_make(&a, &p, &fault), 0);
    assert_int_equal(p.dropped, dropped);
    sf_chat_prompt_fini(&p);
}

static void
too_long_is_an_error(void **state)
{
    sf_autobuf struct sf_buf large = SF_BUF_INIT;
    struct sf_chat_prompt p;
    struct sf_provider_fault fault = {0};
    (void)state;
    for (int i = 0; i < 40000; i++)
        assert_int_equal(sf_buf_puts(&large, "word "), 0);
    file("b/large", large.data, SHA_A);
    const struct sf_chat_prompt_args a = args("Why?");
    assert_int_equal(sf_chat_prompt_make(&a, &p, &fault), -EFBIG);
    assert_int_equal(fault.err, -EFBIG);
    assert_int_equal(fault.cls, SF_PC_CONTEXT);
    assert_non_null(strstr(fault.text, "tokens"));
}

static void
settings_are_sent(void **state)
{
    (void)state;
    struct sf_chat_prompt p = make("Why?");
    assert_null(p.chat.temperature);
    assert_int_equal(p.chat.max_tokens, 0);
    assert_int_equal(p.chat.thinking, SF_PT_AS_IT_LIKES);
    sf_chat_prompt_fini(&p);
    front.temperature = 250;
    front.max_tokens = 77;
    front.thinking = SF_CHAT_THINKING_HIGH;
    p = make("Why?");
    assert_true(*p.chat.temperature > 0.249 && *p.chat.temperature < 0.251);
    assert_int_equal(p.chat.max_tokens, 77);
    assert_int_equal(p.chat.thinking, SF_PT_YES);
    assert_string_equal(p.chat.effort, "high");
    sf_chat_prompt_fini(&p);
    front.thinking = SF_CHAT_THINKING_OFF;
    p = make("Why?");
    assert_int_equal(p.chat.thinking, SF_PT_NOT);
    assert_null(p.chat.effort);
    sf_chat_prompt_fini(&p);
}

/* S8 */
static void
a_dry_run_tells_it_all(void **state)
{
    struct sf_provider_price price = {.model = "*", .asked = 1000000};
    (void)state;
    conf.prices = &price;
    conf.n_prices = 1;
    file("b/f.txt", "Some text.\n", SHA_A);
    turn(SF_CHAT_USER, "First?");
    turn(SF_CHAT_ASSISTANT, "Yes.");
    struct sf_chat_prompt p = make("Second?");
    const struct sf_chat_prompt_args a = args("Second?");
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    assert_int_equal(sf_chat_prompt_show(&p, &a, &out), 0);
    assert_non_null(strstr(out.data, "box, m,"));
    assert_non_null(strstr(out.data, "- system: b/f.txt (text), about "));
    assert_non_null(strstr(out.data, "- user: question, about "));
    assert_non_null(strstr(out.data, "- assistant: answer, about "));
    assert_non_null(strstr(out.data, "- user: the question, about "));
    char sum[80];
    snprintf(sum, sizeof sum, "In all about %u tokens, %u.000000 USD without the answer.",
             (unsigned)p.tokens, (unsigned)p.tokens);
    assert_non_null(strstr(out.data, sum));
    sf_chat_prompt_fini(&p);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void
what_text_is(void **state)
{
    (void)state;
    assert_true(sf_chat_is_text("", 0, false));
    assert_true(sf_chat_is_text("ä€", 5, false));
    assert_false(sf_chat_is_text("ä€", 4, false));
    assert_true(sf_chat_is_text("ä€", 4, true));
    assert_true(sf_chat_is_text("ä€", 3, true));
    assert_false(sf_chat_is_text("a\0b", 3, true));
    assert_false(sf_chat_is_text("\xff\xfe"
                                 "abcdef",
                                 8, true));
    assert_false(sf_chat_is_text("\xff", 1, false));
    assert_int_equal(sf_chat_mime("text/plain; charset=utf-8"), SF_CHAT_MIME_TEXT);
    assert_int_equal(sf_chat_mime("Application/JSON"), SF_CHAT_MIME_TEXT);
    assert_int_equal(sf_chat_mime("image/svg+xml"), SF_CHAT_MIME_TEXT);
    assert_int_equal(sf_chat_mime("application/ld+json"), SF_CHAT_MIME_TEXT);
    assert_int_equal(sf_chat_mime("image/png"), SF_CHAT_MIME_OTHER);
    assert_int_equal(sf_chat_mime("application/vnd.oasis.opendocument.text"), SF_CHAT_MIME_OTHER);
    assert_int_equal(sf_chat_mime("application/pdf"), SF_CHAT_MIME_OTHER);
    assert_int_equal(sf_chat_mime("application/pdfx"), SF_CHAT_MIME_UNKNOWN);
    assert_int_equal(sf_chat_mime("application/octet-stream"), SF_CHAT_MIME_UNKNOWN);
    assert_int_equal(sf_chat_mime(""), SF_CHAT_MIME_UNKNOWN);
    assert_int_equal(sf_chat_mime("text/"), SF_CHAT_MIME_UNKNOWN);
}

/* M4 */
static void
texts_are_cut(void **state)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct sf_chat_piece p = {.key = strdup("b/f")};
    size_t used;
    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(sf_buf_puts(&text, "A line of words.\n"), 0);
    assert_int_equal(sf_chat_piece_text(&p, text.data, text.len, 500, &used), 0);
    assert_true(p.tokens <= 500 && p.tokens > 400);
    assert_int_equal(text.data[used - 1], '\n');
    assert_int_equal(p.text.len, strlen("File: b/f\n") + used);
    sf_chat_piece_fini(&p);
    /* What a provider extracted may be any bytes. */
    p.key = strdup("b/g");
    assert_int_equal(sf_chat_piece_text(&p, "a\0b\xff", 4, 500, &used), 0);
    assert_string_equal(p.text.data, "File: b/g\na\xef\xbf\xbd"
                                     "b\xef\xbf\xbd");
    sf_chat_piece_fini(&p);
}

static const char *
note(size_t i)
{
    static char text[300];
    assert_true(i < content.notes.len);
    snprintf(text, sizeof text, "%s %s", content.notes.data[i].key, content.notes.data[i].value);
    return text;
}

static void
again(const char *key, const char *sha256, const char *etag, const struct sf_chat_notes *before)
{
    struct sf_chat_piece p = {.key = strdup(key), .tokens = 3};
    snprintf(p.sha256, sizeof p.sha256, "%s", sha256);
    snprintf(p.etag, sizeof p.etag, "%s", etag);
    assert_int_equal(sf_chat_content_add(&content, &p, before), 0);
}

/* M2, M7 */
static void
notes_tell_what_was_seen(void **state)
{
    struct sf_chat_notes before = {0};
    (void)state;
    again("b/a b", SHA_A, "", NULL);
    again("b/c", "", "e1", NULL);
    again("b/d", "", "", NULL);
    assert_string_equal(note(0), "file b/a b tokens=3 how=text sha256=" SHA_A);
    assert_string_equal(note(1), "file b/c tokens=3 how=text etag=e1");
    assert_string_equal(note(2), "file b/d tokens=3 how=text");
    before = content.notes;
    content.notes = (struct sf_chat_notes){0};
    again("b/a b", SHA_A, "", &before);
    again("b/c", "", "e2", &before);
    again("b/d", SHA_A, "", &before);
    again("b/a", SHA_B, "", &before);
    again("b/a b", SHA_B, "", &before);
    assert_int_equal(content.notes.len, 7);
    assert_string_equal(note(2), "changed b/c");
    assert_string_equal(note(6), "changed b/a b");
    sf_chat_notes_free(&before);
    for (unsigned i = 0; i < 1500; i++)
        assert_int_equal(sf_chat_content_note(&content, "left-out", "b/%u: why", i), 0);
    assert_int_equal(content.notes.len, SF_CHAT_NOTES_MAX + 1);
    assert_string_equal(note(SF_CHAT_NOTES_MAX), "more 507");
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        T(in_this_order),
        T(a_turn_begins_as_the_last_one_did),
        T(what_came_to_nothing_is_left_out),
        T(pictures_stand_in_the_first_question),
        T(the_oldest_turns_are_dropped),
        T(too_long_is_an_error),
        T(settings_are_sent),
        T(a_dry_run_tells_it_all),
        T(what_text_is),
        T(texts_are_cut),
        T(notes_tell_what_was_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
