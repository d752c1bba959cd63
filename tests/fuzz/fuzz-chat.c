/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat-properties.h"
#include "fuzz.h"

/* First byte: which reader. The rest: a transcript, the text of a turn, a prompt, a name, or an
 * answer. What holds whatever comes is in chat-properties.h. */

static void
holds(const char *broken)
{
    if (!broken)
        return;
    fprintf(stderr, "%s\n", broken);
    abort();
}

static void
transcript(char *text, size_t len)
{
    holds(chat_parses(text, len));
}

/* Behind a head and a header, so that a search need not find these. */
static void
behind_a_header(char *text, size_t len)
{
    static const char begin[] = SF_CHAT_FIRST_LINES "---\n\n## user 2026-11-22T06:10:03.120Z\n\n";
    char *whole = malloc(sizeof begin + len);
    REQUIRE(whole);
    memcpy(whole, begin, sizeof begin - 1);
    memcpy(whole + sizeof begin - 1, text, len);
    char *exact = fuzz_text(whole, sizeof begin - 1 + len);
    holds(chat_parses(exact, sizeof begin - 1 + len));
    free(whole);
    free(exact);
}

/* Any bytes as the text of two turns, and as a note's value. */
static void
text(char *text, size_t len)
{
    struct sf_chat_transcript t = {0};
    for (unsigned i = 0; i < 2; i++) {
        struct sf_chat_turn turn = {.kind = i ? SF_CHAT_ASSISTANT : SF_CHAT_USER,
                                    .at_ms = 1795327803120 + i,
                                    .text = SF_BUF_INIT};
        REQUIRE(sf_buf_append(&turn.text, text, len) == 0);
        if (*text)
            REQUIRE((turn.model = strdup(text)));
        REQUIRE(sf_chat_note_add(&turn.above, "set", text) == 0);
        if (i)
            REQUIRE(sf_chat_note_add(&turn.below, "end", text) == 0);
        REQUIRE(sf_chat_turns_push(&t.turns, turn) == 0);
    }
    REQUIRE(sf_chat_note_add(&t.head, "about", text) == 0);
    holds(chat_comes_back(&t));
    holds(chat_streams(&t.turns.data[0], 1));
    holds(chat_streams(&t.turns.data[1], len % 7 + 2));
    sf_chat_transcript_fini(&t);
}

static void
front(char *text, size_t len)
{
    holds(chat_front_parses(text, len));
}

static void
name(char *text, size_t len)
{
    static const char *const providers[] = {"kimi", "glm", "my-box", NULL};
    (void)len;
    holds(chat_name_reads(text, ".chat", providers));
    holds(chat_view_reads(text));
    if (sf_chat_suffix_ok(text))
        REQUIRE(text[0] == '.' && strlen(text) <= SF_CHAT_SUFFIX_MAX && !strchr(text, '/'));
}

static void
answer(char *text, size_t len)
{
    holds(chat_cleans(text, len, 1));
    holds(chat_cleans(text, len, len % 5 + 2));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_way ways[] = {{'t', transcript}, {'x', text},
                                           {'f', front},      {'n', name},
                                           {'c', answer},     {'b', behind_a_header}};
    return fuzz_choose(ways, sizeof ways / sizeof *ways, data, size);
}
