/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/budget.h"

#include <string.h>

#include "base/str.h"
#include "provider/tokens.h"

#define ANSWER_MOST 16384 /* tokens that are kept free for an answer of which nothing was said */
#define PROMPT_STEP 2048

/* So that the room for files is the same for most questions. */
static uint64_t
rounded(uint64_t tokens, uint64_t least)
{
    uint64_t up = least;
    while (up < tokens && up < UINT64_MAX / 2)
        up *= 2;
    return up;
}

static uint64_t
less(uint64_t from, uint64_t what)
{
    return from > what ? from - what : 0;
}

struct sf_chat_budget
sf_chat_budget_of(const struct sf_chat_needs *needs)
{
    uint64_t context = needs->context ? needs->context : SF_CHAT_CONTEXT;
    uint64_t answer = context / 4 < ANSWER_MOST ? context / 4 : ANSWER_MOST;
    struct sf_chat_budget b;
    b.all = less(context - context / 8, needs->answer ? needs->answer : answer);
    uint64_t rest = less(b.all, rounded(needs->prompt, PROMPT_STEP));
    if (needs->system)
        rest = less(rest, rounded(needs->system, PROMPT_STEP));
    b.files = rest - rest / 4;
    return b;
}

size_t
sf_chat_budget_drop(const uint64_t *tokens, size_t n, uint64_t room, size_t before)
{
    uint64_t sum = 0;
    size_t from = before < n ? before : n;
    for (size_t i = from; i < n; i++)
        sum += tokens[i];
    if (sum <= room)
        return from;
    for (room -= room / 4; from < n && sum > room; from++)
        sum -= tokens[from];
    return from;
}

/* Where a piece of at most @most bytes ends: behind its last line, else behind a character. */
static size_t
piece_of(const char *text, size_t len, size_t most)
{
    if (len <= most)
        return len;
    const char *lf = memrchr(text, '\n', most);
    if (lf)
        return (size_t)(lf + 1 - text);
    while (most > 1 && ((unsigned char)text[most] & 0xc0) == 0x80)
        most--;
    return most;
}

size_t
sf_chat_cut(const char *text, size_t len, uint64_t room, uint64_t *tokens)
{
    uint64_t all = sf_tokens_estimate(text, len), sum = 0;
    size_t at = 0;
    if (all <= room) {
        *tokens = all;
        return len;
    }
    for (size_t step = 65536; step >= 4;) {
        size_t n = piece_of(text + at, len - at, step);
        uint64_t more = n ? sf_tokens_estimate(text + at, n) : 0;
        if (!n || sum + more > room) {
            step /= 2;
            continue;
        }
        sum += more;
        at += n;
    }
    const char *lf = at ? memrchr(text, '\n', at) : NULL;
    if (lf && (size_t)(lf + 1 - text) > at / 2)
        at = (size_t)(lf + 1 - text);
    *tokens = sf_tokens_estimate(text, at);
    if (at && *tokens > room) /* pieces can be less than what they make up */
        return sf_chat_cut(text, at - at / 64 - 1, room, tokens);
    return at;
}
