/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"
#include "fuzz.h"
#include "provider/chat-read.h"
#include "provider/tokens.h"

/* First byte: which reader. The rest: a stream, or another answer to a question. */

/* In pieces whose lengths depend on what was fed before; 0 = as one. */
static size_t
next_piece(size_t at, size_t left, unsigned how)
{
    static const size_t lens[] = {1, 2, 3, 1, 7, 1, 1, 20};
    size_t n = how == 0 ? left : how == 1 ? 1 : lens[(at * how + at / 5) % 8];
    return n < left ? n : left;
}

/* ---- events --------------------------------------------------------------------------------- */

struct events {
    struct sf_buf all;
    size_t n;
};

static int
on_event(void *arg, const char *name, const char *data, size_t len)
{
    struct events *e = arg;
    REQUIRE(strlen(name) < 32 && data[len] == '\0' && len <= 300);
    REQUIRE(!sf_buf_printf(&e->all, "%s|%zu|", name, len) && !sf_buf_append(&e->all, data, len));
    return ++e->n == 100 ? 5 : 0;
}

static int
events_of(const char *text, size_t len, unsigned how, struct events *e)
{
    struct sf_sse s;
    int rc = 0;
    sf_sse_init(&s, 300, on_event, e);
    for (size_t at = 0, n; at < len && !rc; at += n) {
        n = next_piece(at, len - at, how);
        sf_autofree char *own = fuzz_text(text + at, n);
        rc = sf_sse_feed(&s, own, n);
        REQUIRE(s.line.len <= 303 && s.data.len <= 300);
    }
    rc = rc ? rc : sf_sse_end(&s);
    sf_sse_fini(&s);
    return rc;
}

/* However it is cut, it is the same stream. */
static void
stream(char *text, size_t len)
{
    struct events whole = {SF_BUF_INIT, 0};
    int rc = events_of(text, len, 0, &whole);
    REQUIRE(rc == 0 || rc == -EFBIG || rc == 5);
    for (unsigned how = 1; how < 4; how++) {
        struct events cut = {SF_BUF_INIT, 0};
        REQUIRE(events_of(text, len, how, &cut) == rc);
        REQUIRE(cut.all.len == whole.all.len);
        REQUIRE(!memcmp(cut.all.data, whole.all.data, cut.all.len));
        sf_buf_fini(&cut.all);
    }
    sf_buf_fini(&whole.all);
}

/* ---- answers -------------------------------------------------------------------------------- */

struct answer {
    struct sf_buf text[2];
    struct sf_provider_fault fault;
    struct sf_provider_usage usage;
    char finish[48], model[80];
};

static void
on_text(void *arg, enum sf_provider_voice voice, const char *text, size_t n)
{
    struct answer *a = arg;
    REQUIRE(n > 0 && sf_utf8_valid(text, n) && !memchr(text, '\0', n));
    REQUIRE(!sf_buf_append(&a->text[voice], text, n));
}

static void
answer_of(const struct sf_provider_type *type, const char *text, size_t len, unsigned how,
          const struct sf_provider_fault *net, struct answer *a)
{
    struct chat_read r;
    *a = (struct answer){.text = {SF_BUF_INIT, SF_BUF_INIT}};
    provider_chat_read_init(&r, type, on_text, a);
    for (size_t at = 0, n; at < len; at += n) {
        n = next_piece(at, len - at, how);
        sf_autofree char *own = fuzz_text(text + at, n);
        if (provider_chat_read_feed(&r, own, n))
            break;
    }
    provider_chat_read_end(&r, net, &a->fault);
    a->usage = r.usage;
    memcpy(a->finish, r.finish, sizeof a->finish);
    memcpy(a->model, r.model, sizeof a->model);
    provider_chat_read_fini(&r);
    fuzz_printable(a->fault.text);
    fuzz_printable(a->fault.code);
    fuzz_printable(a->finish);
    fuzz_printable(a->model);
    REQUIRE((unsigned)a->fault.cls < SF_PC_COUNT_OF);
    REQUIRE((a->fault.cls == SF_PC_OK) == (a->fault.err == 0));
    /* A whole answer says something. */
    REQUIRE(a->fault.cls != SF_PC_OK || a->text[SF_PV_ANSWER].len > 0);
    REQUIRE(a->text[0].len + a->text[1].len <= SF_PROVIDER_ANSWER_MAX);
}

static void
answer_free(struct answer *a)
{
    sf_buf_fini(&a->text[0]);
    sf_buf_fini(&a->text[1]);
}

static bool
same_text(const struct sf_buf *a, const struct sf_buf *b)
{
    return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

static void
answers_of(const struct sf_provider_type *type, const char *text, size_t len)
{
    struct answer whole, cut, lost;
    struct sf_provider_fault net;
    answer_of(type, text, len, 0, NULL, &whole);
    for (unsigned how = 1; how < 4; how++) {
        answer_of(type, text, len, how, NULL, &cut);
        REQUIRE(same_text(&whole.text[0], &cut.text[0]));
        REQUIRE(same_text(&whole.text[1], &cut.text[1]));
        REQUIRE(whole.fault.cls == cut.fault.cls && !strcmp(whole.fault.text, cut.fault.text));
        REQUIRE(!strcmp(whole.finish, cut.finish) && whole.usage.prompt == cut.usage.prompt);
        answer_free(&cut);
    }
    /* What the connection lost does not make it better. */
    (void)sf_provider_fault_set(&net, SF_PC_NETWORK, "reset");
    answer_of(type, text, len, 1, &net, &lost);
    REQUIRE(lost.fault.cls != SF_PC_OK || whole.fault.cls == SF_PC_OK);
    answer_free(&lost);
    answer_free(&whole);
}

static void
answers(char *text, size_t len)
{
    for (size_t i = 0; sf_provider_type_at(i); i++)
        answers_of(sf_provider_type_at(i), text, len);
}

/* ---- tokens --------------------------------------------------------------------------------- */

static void
tokens(char *text, size_t len)
{
    uint64_t n = sf_tokens_estimate(text, len);
    REQUIRE(n <= 2 * len + 1 && (n > 0 || len < 2));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_way ways[] = {{'s', stream}, {'t', tokens}, {'c', answers}};
    return fuzz_choose(ways, sizeof ways / sizeof *ways, data, size);
}
