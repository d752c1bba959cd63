/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_SPEND_H
#define SF_CHAT_SPEND_H

#include <stdint.h>

#include "base/err.h"

/*
 * What turns may use (docs/formats/chat.md, M11): tokens and price of a day (UTC), tokens of the
 * mount. What a turn will use is estimated and booked before it is sent, and set right when it has
 * ended. Inside of src/chat; thread-safe.
 */
struct sf_chat_store;
struct spend;

struct spend_opts {
    uint64_t tokens_day, tokens_mount; /* 0 = no limit */
    int64_t price_day;                 /* millionths; 0 = no limit */
    int64_t (*now_ns)(void);           /* for tests; NULL = sf_wall_ns */
};

/* @store: says what the day has used so far; borrowed. 0, -ENOMEM, -EIO. */
int spend_new(const struct spend_opts *opts, struct sf_chat_store *store, struct spend **ret);
void spend_free(struct spend *s); /* NULL is allowed */

struct spend_amount {
    int64_t tokens, price; /* millionths */
};

/* Whether anything is left: 0; -EDQUOT with a sentence. */
int spend_left(struct spend *s, struct sf_err *err);
/* Book it; 0, or -EDQUOT with a sentence that says what is left, and until when. */
int spend_book(struct spend *s, const struct spend_amount *estimate, struct sf_err *err);
/* What was booked is over, and this is what it was. @day: NULL, or on which. */
void spend_settle(struct spend *s, const struct spend_amount *booked,
                  const struct spend_amount *used, int64_t *day);

struct spend_figures {
    struct spend_amount day; /* with what is booked */
    int64_t tokens_mount;
};
void spend_figures(struct spend *s, struct spend_figures *out);

#endif
