/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/spend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/lock.h"
#include "chat/store.h"

#define DAY_NS INT64_C(86400000000000)

struct spend {
    struct spend_opts opts;
    struct sf_mutex lock; /* a leaf; protects what follows */
    int64_t day;
    struct spend_amount used, booked; /* of the day; booked: of turns that run */
    int64_t mount;                    /* tokens since it began */
};

static int64_t
today(const struct spend *s)
{
    return (s->opts.now_ns ? s->opts.now_ns() : sf_wall_ns()) / DAY_NS;
}

int
spend_new(const struct spend_opts *opts, struct sf_chat_store *store, struct spend **ret)
{
    struct sf_chat_spent spent = {0};
    struct spend *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->opts = *opts;
    s->day = today(s);
    int rc = sf_chat_store_spent(store, s->day, NULL, &spent);
    if (rc) {
        free(s);
        return rc;
    }
    s->used = (struct spend_amount){spent.tokens, spent.price};
    sf_mutex_init(&s->lock, 0);
    *ret = s;
    return 0;
}

void
spend_free(struct spend *s)
{
    if (!s)
        return;
    sf_mutex_fini(&s->lock);
    free(s);
}

/* A new day has used nothing yet. */
static void
turn_day_locked(struct spend *s)
{
    int64_t day = today(s);
    if (day == s->day)
        return;
    s->day = day;
    s->used = (struct spend_amount){0, 0};
}

/* @more is wanted, and at least something must be left. 0 = no limit. */
static bool
is_over(int64_t limit, int64_t used, int64_t more)
{
    return limit > 0 && (used >= limit || more > limit - used);
}

static int64_t
left(int64_t limit, int64_t used)
{
    return used >= limit ? 0 : limit - used;
}

static int
look_locked(struct spend *s, const struct spend_amount *more, struct sf_err *err)
{
    const struct spend_opts *o = &s->opts;
    const int64_t tokens = s->used.tokens + s->booked.tokens, mount = s->mount + s->booked.tokens;
    const int64_t price = s->used.price + s->booked.price;
    if (is_over((int64_t)o->tokens_day, tokens, more->tokens))
        return sf_err_set(err, -EDQUOT,
                          "chat_tokens_day: %" PRId64 " tokens are left until 00:00 UTC, and this "
                          "takes about %" PRId64,
                          left((int64_t)o->tokens_day, tokens), more->tokens);
    if (is_over((int64_t)o->tokens_mount, mount, more->tokens))
        return sf_err_set(err, -EDQUOT,
                          "chat_tokens_mount: %" PRId64 " tokens are left to this mount, and this "
                          "takes about %" PRId64,
                          left((int64_t)o->tokens_mount, mount), more->tokens);
    if (is_over(o->price_day, price, more->price)) {
        const int64_t rest = left(o->price_day, price);
        return sf_err_set(err, -EDQUOT,
                          "chat_price_day: %" PRId64 ".%06" PRId64 " is left until 00:00 UTC, and "
                          "this costs about %" PRId64 ".%06" PRId64,
                          rest / 1000000, rest % 1000000, more->price / 1000000,
                          more->price % 1000000);
    }
    return 0;
}

int
spend_left(struct spend *s, struct sf_err *err)
{
    const struct spend_amount something = {1, 1};
    SF_GUARD(&s->lock);
    turn_day_locked(s);
    return look_locked(s, &something, err);
}

int
spend_book(struct spend *s, const struct spend_amount *estimate, struct sf_err *err)
{
    SF_GUARD(&s->lock);
    turn_day_locked(s);
    int rc = look_locked(s, estimate, err);
    if (!rc) {
        s->booked.tokens += estimate->tokens;
        s->booked.price += estimate->price;
    }
    return rc;
}

void
spend_settle(struct spend *s, const struct spend_amount *booked, const struct spend_amount *used,
             int64_t *day)
{
    SF_GUARD(&s->lock);
    turn_day_locked(s);
    s->booked.tokens -= booked->tokens;
    s->booked.price -= booked->price;
    s->used.tokens += used->tokens;
    s->used.price += used->price;
    s->mount += used->tokens;
    if (day)
        *day = s->day;
}

void
spend_figures(struct spend *s, struct spend_figures *out)
{
    SF_GUARD(&s->lock);
    turn_day_locked(s);
    out->day.tokens = s->used.tokens + s->booked.tokens;
    out->day.price = s->used.price + s->booked.price;
    out->tokens_mount = s->mount + s->booked.tokens;
}
