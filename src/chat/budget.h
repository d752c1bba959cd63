/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_BUDGET_H
#define SF_CHAT_BUDGET_H

#include <stddef.h>
#include <stdint.h>

/*
 * What fits into a question (docs/formats/chat.md, M4, M5, M8), in tokens as provider/tokens.h
 * estimates them. Pure. The same room comes out from turn to turn, so that what is sent begins with
 * the same bytes, and the provider knows it from before.
 */

#define SF_CHAT_CONTEXT 32768 /* of a model of which nothing is known */

struct sf_chat_needs {
    uint64_t context;        /* that the model takes, with its answer; 0 = not known */
    uint64_t answer;         /* at most so many are wanted; 0 = not said */
    uint64_t prompt, system; /* the question, and the user's system text */
};

struct sf_chat_budget {
    uint64_t all;   /* that may be sent */
    uint64_t files; /* of these, for the files of a directory */
};

/** sf_chat_budget_of - an eighth of the context stays free, as estimates err. */
struct sf_chat_budget sf_chat_budget_of(const struct sf_chat_needs *needs);

/**
 * sf_chat_budget_drop - how many of the oldest entries of a history are not sent.
 * @tokens: of each entry, the oldest first.
 * @room:   for those that are sent.
 * @before: so many were dropped the last time: no fewer are now.
 *
 * If that is not enough, more are dropped than must be, down to three quarters of the room: so it
 * does not happen in each turn.
 */
size_t sf_chat_budget_drop(const uint64_t *tokens, size_t n, uint64_t room, size_t before);

/**
 * sf_chat_cut - how much of a text fits: all of it, or up to the end of a line, or, where a line is
 * longer than half of what fits, of a character.
 * @tokens: of that.
 */
size_t sf_chat_cut(const char *text, size_t len, uint64_t room, uint64_t *tokens);

#endif
