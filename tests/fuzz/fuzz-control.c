/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "cmd/answer.h"
#include "control/words.h"
#include "fuzz.h"
#include "virtual/talk.h"

/* First byte: 'w' a line of words, 'a' an answer to a verb, 'v' lines of a status, 'f' what is said
 * of a file, 't' a request as it is written to the control file; else a time. */

/* Any text without a NUL is a word. */
static void
one_word(const char *text)
{
    char *word[SF_WORDS_MAX];
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    REQUIRE(sf_words_append(&out, text) == 0);
    REQUIRE(sf_words_split(out.data, word) == 1 && strcmp(word[0], text) == 0);
}

static void
words(char *line, size_t len)
{
    (void)len;
    one_word(line);
    char *word[SF_WORDS_MAX], *again[SF_WORDS_MAX];
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    int n = sf_words_split(line, word);
    REQUIRE(n == -EINVAL || n == -E2BIG || (n >= 0 && n <= SF_WORDS_MAX));
    for (int i = 0; i < n; i++)
        REQUIRE(sf_words_append(&out, word[i]) == 0);
    if (n <= 0)
        return;
    REQUIRE(!strpbrk(out.data, "\n\t"));
    REQUIRE(sf_words_split(out.data, again) == n);
    for (int i = 0; i < n; i++)
        REQUIRE(strcmp(word[i], again[i]) == 0);
}

struct heard {
    struct sf_buf all;
};

static void
hear(void *arg, const char *text)
{
    struct heard *h = arg;
    REQUIRE(!strchr(text, '\n'));
    REQUIRE(sf_buf_puts(&h->all, text) == 0 && sf_buf_putc(&h->all, '\n') == 0);
}

static int
answer_in(const char *text, size_t len, size_t step, struct heard *h, struct sf_buf *said)
{
    struct answer a = ANSWER_INIT(hear, h);
    int rc = 0;
    for (size_t at = 0; at < len && !rc; at += step)
        rc = answer_take(&a, text + at, len - at < step ? len - at : step);
    if (!rc)
        rc = answer_end(&a, said);
    answer_fini(&a);
    return rc;
}

/* The same lines and result in whatever pieces they come. */
static void
answer(char *text, size_t len)
{
    struct heard whole = {SF_BUF_INIT}, bytes = {SF_BUF_INIT};
    sf_autobuf struct sf_buf said = SF_BUF_INIT, said2 = SF_BUF_INIT;
    int rc = answer_in(text, len, len ? len : 1, &whole, &said);
    REQUIRE(rc <= 0 && rc == answer_in(text, len, 1, &bytes, &said2));
    REQUIRE(strcmp(sf_buf_str(&whole.all), sf_buf_str(&bytes.all)) == 0);
    REQUIRE(strcmp(sf_buf_str(&said), sf_buf_str(&said2)) == 0 && whole.all.len <= len);
    sf_buf_fini(&whole.all);
    sf_buf_fini(&bytes.all);
}

static void
value(char *text, size_t len)
{
    (void)len;
    char out[16] = "untouched", large[4096];
    REQUIRE(control_value(NULL, "pid", out, sizeof out) == -ENOENT);
    int rc = control_value(text, "pid", out, sizeof out);
    REQUIRE(rc == 0 || (rc == -ENOENT && strcmp(out, "untouched") == 0));
    REQUIRE(memchr(out, '\0', sizeof out) && !strchr(out, '\n'));
    if (rc == 0 && control_value(text, "pid", large, sizeof large) == 0)
        REQUIRE(strncmp(large, out, strlen(out)) == 0 && strstr(text, large));
}

static void
file_line(char *line, size_t len)
{
    (void)len;
    uint64_t n[3] = {77, 77, 77};
    struct answer_file f = {.path = NULL};
    int rc = answer_counts(line, n);
    REQUIRE(rc == 0 || (rc == -EINVAL && n[0] == 77 && n[2] == 77));
    rc = answer_file(line, &f);
    REQUIRE(rc == 0 ? f.path != NULL : rc == -EINVAL && !f.path);
}

/* ---- requests ------------------------------------------------------------------------------- */

static char *asked;

static void
start(void *arg, struct sf_talk *t, const char *line)
{
    (void)arg;
    REQUIRE(!asked && !strchr(line, '\n') && strlen(line) <= SF_TALK_LINE_MAX);
    asked = strdup(line);
    sf_talk_end(t, -EINVAL, line); /* may hold anything */
}

static void
on_read(void *arg, int err, const struct sf_tree_result *res)
{
    struct answer *a = arg;
    REQUIRE(err == 0 && answer_take(a, res->data, res->len) == 0);
}

/* Written in two pieces: one request at most, the first line; what is answered can be read. */
static void
talk(char *text, size_t len)
{
    struct heard h = {SF_BUF_INIT};
    struct answer a = ANSWER_INIT(hear, &h);
    sf_autobuf struct sf_buf said = SF_BUF_INIT;
    struct sf_talk *t = sf_talk_new(start, NULL);
    REQUIRE(t);
    int rc = sf_talk_write(t, text, len / 2);
    if (rc >= 0)
        rc = sf_talk_write(t, text + len / 2, len - len / 2);
    REQUIRE(rc >= 0 || rc == -EBUSY || rc == -EFBIG || rc == -EINVAL);
    if (asked) {
        REQUIRE(strncmp(asked, text, strlen(asked)) == 0);
        sf_talk_read(t, 1 << 20, on_read, &a);
        REQUIRE(answer_end(&a, &said) == -EINVAL && h.all.len == 0);
    }
    sf_talk_close(t);
    sf_talk_unref(t);
    answer_fini(&a);
    sf_buf_fini(&h.all);
    free(asked);
    asked = NULL;
}

static void
duration(char *text, size_t len)
{
    (void)len;
    REQUIRE(answer_ms(text) >= -1 && answer_ms(text) <= INT32_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_way ways[] = {{'w', words},     {'a', answer}, {'v', value},
                                           {'f', file_line}, {'t', talk},   {'d', duration}};
    return fuzz_choose(ways, sizeof ways / sizeof *ways, data, size);
}
