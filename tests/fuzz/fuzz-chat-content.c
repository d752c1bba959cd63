/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <errno.h>
#include <limits.h>

#include "base/str.h"
#include "chat/budget.h"
#include "chat/ignore.h"
#include "chat/prompt.h"
#include "provider/tokens.h"

/* What goes into a question. First byte: which reader. The rest: a path on the first line and a
 * .chatignore behind it, an answer that is kept, a text that is cut, or a transcript whose messages
 * are made. */

static bool
ignored(const char *path, const char *text, size_t len, const char *more)
{
    struct sf_chat_ignores all = {0};
    char *whole = malloc(len + strlen(more) + 1);
    REQUIRE(whole);
    memcpy(whole, text, len);
    memcpy(whole + len, more, strlen(more) + 1);
    char *exact = fuzz_text(whole, len + strlen(more));
    REQUIRE(sf_chat_ignores_add(&all, "", exact, len + strlen(more)) == 0);
    bool is = sf_chat_ignored(&all, path, false);
    /* What holds only for directories cannot take a file, and the other way round. */
    (void)sf_chat_ignored(&all, path, true);
    sf_chat_ignores_free(&all);
    free(whole);
    free(exact);
    return is;
}

static void
ignore(char *text, size_t len)
{
    char *lf = memchr(text, '\n', len);
    if (!lf || lf == text || len > 4096)
        return;
    *lf = '\0';
    const char *slash = strrchr(text, '/'), *name = slash ? slash + 1 : text;
    const char *rules = lf + 1;
    size_t n = len - (size_t)(rules - text);
    bool alone = ignored(text, rules, n, "");
    if (!*name || strlen(name) > NAME_MAX)
        return;
    /* The last line counts. */
    REQUIRE(ignored(text, rules, n, "\n*\n"));
    REQUIRE(!ignored(text, rules, n, "\n!*\n"));
    REQUIRE(ignored(text, rules, n, "\n# a word\n\n") == alone);
}

static void
answer(char *text, size_t len)
{
    struct sf_chat_answer a = {0}, b = {0};
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    int rc = sf_chat_answer_unpack(text, len, &a);
    REQUIRE(rc == 0 || rc == -EPROTO);
    if (rc)
        return;
    REQUIRE(sf_chat_answer_pack(&a, &value) == 0);
    REQUIRE(sf_chat_answer_unpack(value.data, value.len, &b) == 0);
    REQUIRE(a.at_ms == b.at_ms && !a.model == !b.model && a.usage.known == b.usage.known);
    REQUIRE(!a.model || strcmp(a.model, b.model) == 0);
    REQUIRE(a.text.len == b.text.len);
    REQUIRE(!memcmp(sf_buf_str(&a.text), sf_buf_str(&b.text), a.text.len));
    sf_chat_answer_fini(&a);
    sf_chat_answer_fini(&b);
}

static void
cut(char *text, size_t len)
{
    uint64_t tokens, room = len ? (unsigned char)text[0] : 0;
    size_t n = sf_chat_cut(text, len, room, &tokens);
    REQUIRE(n <= len && tokens <= room && tokens == sf_tokens_estimate(text, n));
    REQUIRE(n == len || sf_tokens_estimate(text, len) > room);
    if (sf_utf8_valid(text, len))
        REQUIRE(sf_utf8_valid(text, n));
}

static void
messages(char *text, size_t len)
{
    static char base[] = "https://x.example/v1", model[] = "m";
    struct sf_provider_conf conf = {.name = "box", .base_url = base, .model = model};
    struct sf_chat_transcript t;
    struct sf_chat_front front;
    struct sf_chat_prompt p;
    struct sf_provider_fault fault;
    sf_autobuf struct sf_buf body = SF_BUF_INIT;
    if (sf_chat_parse(text, len, &t, NULL))
        return;
    conf.type = sf_provider_type_find("openai");
    sf_chat_front_init(&front);
    const struct sf_chat_prompt_args a = {.conf = &conf,
                                          .front = &front,
                                          .turns = t.turns.data,
                                          .n = t.turns.len,
                                          .text = "Why?",
                                          .len = 4};
    REQUIRE(sf_chat_prompt_make(&a, &p, &fault) == 0);
    REQUIRE(p.chat.n >= 1 && p.chat.n <= t.turns.len + 1);
    const struct sf_provider_message *last = &p.chat.messages[p.chat.n - 1];
    REQUIRE(last->role == SF_PR_USER && last->n == 1 && last->parts->len == 4);
    for (size_t i = 0; i < p.chat.n; i++)
        REQUIRE(p.chat.messages[i].n == 1 && p.chat.messages[i].parts->len > 0);
    int rc = sf_provider_chat_body(&conf, &p.chat, &body, NULL, &fault);
    REQUIRE(rc == 0 || fault.cls == SF_PC_INVALID);
    REQUIRE(sf_chat_prompt_show(&p, &a, &body) == 0);
    sf_chat_prompt_fini(&p);
    sf_chat_front_fini(&front);
    sf_chat_transcript_fini(&t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_way ways[] = {
        {'i', ignore}, {'a', answer}, {'c', cut}, {'m', messages}};
    return fuzz_choose(ways, sizeof ways / sizeof *ways, data, size);
}
