/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/tokens.h"

#include <stdbool.h>

#include "base/str.h"

/*
 * Tokenizers cut a text into words, with the space before them, groups of digits, runs of marks
 * and of white space, and these into what their vocabulary has. Here the first step is followed,
 * and the second one taken for its usual outcome. Costs are in hundredths of a token.
 */

enum kind {
    NOTHING,
    LETTERS,
    DIGITS,
    MARKS,
    SPACES,
    BREAKS,
    HAN,   /* and kana, hangul: a character is a word or half of one */
    OTHER, /* letters of other alphabets */
    SIGNS, /* emoji and the like, and bytes that are no character */
};

struct run {
    enum kind kind;
    uint64_t len;           /* characters */
    uint64_t parts, shouts; /* of LETTERS: capitals behind a small one, and behind another one */
    bool upper;
};

static enum kind
kind_of_ascii(unsigned char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return LETTERS;
    if (c >= '0' && c <= '9')
        return DIGITS;
    if (c == '\n' || c == '\r')
        return BREAKS;
    return c == ' ' || c == '\t' ? SPACES : MARKS;
}

static enum kind
kind_of(const unsigned char *s, size_t n)
{
    switch (n) {
    case 1:
        return kind_of_ascii(*s);
    case 2:
        return s[0] <= 0xc2 ? MARKS : s[0] <= 0xc9 ? LETTERS : OTHER; /* Latin; Greek and on */
    case 3:
        if (s[0] == 0xe2)
            return MARKS;
        return s[0] >= 0xe3 && s[0] <= 0xed ? HAN : s[0] <= 0xe1 ? OTHER : MARKS;
    default:
        return SIGNS;
    }
}

static uint64_t
cost_of(const struct run *r, enum kind next)
{
    uint64_t n = r->len;
    switch (r->kind) {
    case LETTERS:
        return 95 * r->parts + 40 * r->shouts + (n > 6 * r->parts ? 16 * (n - 6 * r->parts) : 0);
    case DIGITS:
        return 100 * ((n + 2) / 3);
    case MARKS:
        return 80 + 20 * (n > 16 ? 15 : n - 1) + (n > 16 ? 4 * (n - 16) : 0);
    case SPACES: /* the last one goes with what follows */
        return n > 1 || next == BREAKS ? 100 : next == DIGITS || next == HAN ? 60 : 0;
    case BREAKS:
        return 90;
    case HAN:
        return 75 * n;
    case OTHER:
        return 45 + 22 * n;
    case SIGNS:
        return 200 * n;
    case NOTHING:
        break;
    }
    return 0;
}

uint64_t
sf_tokens_estimate(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text, *end = s + n;
    struct run run = {NOTHING, 0, 0, 0, false};
    uint64_t cost = 0;
    while (s < end) {
        size_t len = sf_utf8_char(s, (size_t)(end - s));
        enum kind kind = len ? kind_of(s, len) : SIGNS;
        bool upper = *s >= 'A' && *s <= 'Z';
        if (kind != run.kind) {
            cost += cost_of(&run, kind);
            run = (struct run){kind, 0, 1, 0, upper};
        } else if (upper) {
            run.parts += !run.upper;
            run.shouts += run.upper;
        }
        run.upper = upper;
        run.len++;
        s += len ? len : 1;
    }
    cost += cost_of(&run, NOTHING);
    return (cost + 99) / 100;
}
