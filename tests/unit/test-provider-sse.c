/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Event streams: every line end, cut anywhere; and how many tokens a text is. */
#include "provider/sse.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "provider/tokens.h"

struct seen {
    struct sf_buf text; /* "name|data;" for each event */
    int stop_at, events;
};

static int
on_event(void *arg, const char *name, const char *data, size_t len)
{
    struct seen *s = arg;
    assert_int_equal(data[len], 0);
    assert_int_equal(sf_buf_puts(&s->text, name), 0);
    assert_int_equal(sf_buf_putc(&s->text, '|'), 0);
    assert_int_equal(sf_buf_append(&s->text, data, len), 0);
    assert_int_equal(sf_buf_putc(&s->text, ';'), 0);
    return ++s->events == s->stop_at ? 7 : 0;
}

/* In pieces of @piece bytes. */
static int
run(const char *stream, size_t n, size_t piece, size_t max, struct seen *s)
{
    struct sf_sse sse;
    int rc = 0;
    sf_sse_init(&sse, max, on_event, s);
    for (size_t at = 0; at < n && !rc; at += piece) {
        size_t len = n - at < piece ? n - at : piece;
        char *own = malloc(len); /* so that a sanitizer sees what is read behind it */
        memcpy(own, stream + at, len);
        rc = sf_sse_feed(&sse, own, len);
        free(own);
    }
    if (!rc)
        rc = sf_sse_end(&sse);
    sf_sse_fini(&sse);
    return rc;
}

static void
check(const char *stream, const char *wanted)
{
    for (size_t piece = 1; piece <= strlen(stream) + 1; piece++) {
        struct seen s = {.text = SF_BUF_INIT};
        assert_int_equal(run(stream, strlen(stream), piece, 1000, &s), 0);
        assert_string_equal(s.text.data, wanted);
        sf_buf_fini(&s.text);
    }
}

static void
events_are_what_the_standard_says(void **state)
{
    (void)state;
    check("", "");
    check("data: a\n\n", "|a;");
    check("data:a\n\ndata:  b\n\n", "|a;| b;");
    check("data: a\r\n\r\ndata: b\r\rdata: c\n\r\n", "|a;|b;|c;");
    check("data: a\rdata: b\r\ndata: c\n\n", "|a\nb\nc;");
    check("data\n\ndata\ndata\n\ndata:\n\n", "|;|\n;|;");
    check(": ping\n\n:\n\ndata: a\n: more\ndata: b\n\n", "|a\nb;");
    check("event: x\ndata: a\n\ndata: b\n\n", "x|a;|b;");
    check("event: x\n\ndata: a\n\n", "|a;"); /* without data it is none, and forgotten */
    check("id: 1\nretry: 5\nfoo: bar\ndata: a\nDATA: b\ndata : c\n\n", "|a;");
    check("\xef\xbb\xbf"
          "data: a\n\n",
          "|a;");
    check("\xef\xbb\xbf\xef\xbb\xbf"
          "data: a\n\ndata: b\n\n",
          "|b;"); /* one only */
    check("\xef\xbb"
          "data: a\n\ndata: b\n\n",
          "|b;");
    check("\n\n\ndata: \xf0\x9f\x99\x82 \xff\n\n", "|\xf0\x9f\x99\x82 \xff;");
    check("event: error\ndata: {}\n\n", "error|{};");
}

static void
what_servers_do_otherwise_is_taken(void **state)
{
    (void)state;
    check("data: a", "|a;");
    check("data: a\n", "|a;");
    check("data: a\r", "|a;");
    check("error: {\"a\":1}\n\ndata: b\n\n", "error|{\"a\":1};|b;");
    check("\xef", "");
}

static void
nul_bytes_are_bytes(void **state)
{
    (void)state;
    static const char stream[] = "data: a\0b\n\n";
    struct seen s = {.text = SF_BUF_INIT};
    assert_int_equal(run(stream, sizeof stream - 1, 3, 100, &s), 0);
    assert_memory_equal(s.text.data, "|a\0b;", 5);
    sf_buf_fini(&s.text);
}

static void
lines_and_events_are_bounded(void **state)
{
    (void)state;
    char line[200];
    struct seen s = {.text = SF_BUF_INIT};
    memset(line, 'x', sizeof line);
    for (size_t piece = 1; piece < 120; piece += 7)
        assert_int_equal(run(line, sizeof line, piece, 100, &s), -EFBIG);
    line[99] = '\n'; /* fits */
    assert_int_equal(run(line, 100, 100, 99, &s), 0);
    assert_int_equal(run(line, 100, 100, 98, &s), -EFBIG);
    const char *many = "data: 12345678\ndata: 12345678\ndata: 12345678\n\n";
    assert_int_equal(run(many, strlen(many), 5, 26, &s), 0);
    assert_int_equal(run(many, strlen(many), 5, 25, &s), -EFBIG);
    sf_buf_fini(&s.text);
}

static void
who_listens_may_end_it(void **state)
{
    (void)state;
    const char *two = "data: a\n\ndata: b\n\ndata: c\n\n";
    for (size_t piece = 1; piece < 30; piece++) {
        struct seen s = {.text = SF_BUF_INIT, .stop_at = 2};
        assert_int_equal(run(two, strlen(two), piece, 100, &s), 7);
        assert_string_equal(s.text.data, "|a;|b;");
        sf_buf_fini(&s.text);
    }
}

/* The numbers are o200k's, counted once with a tokenizer of OpenAI's. */
static void
estimates_are_near(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned tokens;
    } known[] = {
        {"The committee decided in yesterday's session to postpone the publication of the annual "
         "report by two weeks. Figures on membership fees were not yet available.",
         28},
        {"Der Ausschuss hat beschlossen, die Veröffentlichung des Jahresberichts um zwei Wochen zu "
         "verschieben. Wesentliche Zahlen lagen noch nicht vor.",
         27},
        {"委员会在昨天的会议上决定,将年度报告的发布推迟两周。管理层被要求在月底之前提交修订版本。",
         30},
        {"static int\nread_body(struct request *req, char *p, size_t want)\n{\n    uint64_t pos = "
         "req->body_pos;\n    if (pos < req->head_len)\n        return copy_part(p, want, "
         "req->body, pos);\n    return -ENODATA;\n}\n",
         62},
        {"{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1795234237,"
         "\"model\":\"kimi-k2.6\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Paris\"}}]}",
         45},
        {"name,year,value\nalpha,2024,13.5\nbeta,2025,27.25\ngamma,2026,1024.125\n", 33},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint64_t n = sf_tokens_estimate(known[i].text, strlen(known[i].text));
        assert_in_range(n, known[i].tokens * 3 / 4 - 1, known[i].tokens * 4 / 3 + 1);
    }
    assert_int_equal(sf_tokens_estimate("", 0), 0);
    assert_int_equal(sf_tokens_estimate("a", 1), 1);
    assert_true(sf_tokens_estimate("\xff\xfe\xfd", 3) >= 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_what_the_standard_says),
        cmocka_unit_test(what_servers_do_otherwise_is_taken),
        cmocka_unit_test(nul_bytes_are_bytes),
        cmocka_unit_test(lines_and_events_are_bounded),
        cmocka_unit_test(who_listens_may_end_it),
        cmocka_unit_test(estimates_are_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
