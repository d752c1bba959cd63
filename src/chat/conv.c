/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/conv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/str.h"
#include "chat/internal.h"

/* ---- conversations by id --------------------------------------------------------------------- */

struct talk *
talk_get_locked(struct sf_convs *cs, const char *id)
{
    struct talk *t;
    HASH_FIND_STR(cs->talks, id, t);
    if (!t) {
        t = calloc(1, sizeof *t);
        if (!t)
            return NULL;
        t->cs = cs;
        snprintf(t->id, sizeof t->id, "%s", id);
        HASH_ADD_STR(cs->talks, id, t);
        if (!SF_HTAB_ADDED(t)) {
            free(t);
            return NULL;
        }
    }
    t->refs++;
    return t;
}

void
talk_put_locked(struct talk *t)
{
    if (--t->refs)
        return;
    HASH_DEL(t->cs->talks, t);
    talk_clear_locked(t);
    free(t);
}

void
conv_lead_locked(struct sf_conv *c, struct talk *t)
{
    struct talk *was = c->talk;
    if (was == t)
        return;
    if (was) {
        if (c->prev)
            c->prev->next = c->next;
        else
            was->convs = c->next;
        if (c->next)
            c->next->prev = c->prev;
    }
    c->prev = NULL;
    c->next = t ? t->convs : NULL;
    if (c->next)
        c->next->prev = c;
    if (t) {
        t->convs = c;
        t->refs++;
    }
    c->talk = t;
    if (was)
        talk_put_locked(was);
    conv_changed_locked(c);
}

void
conv_changed_locked(struct sf_conv *c)
{
    for (struct sf_conv_watch *w = c->watches; w; w = w->next)
        w->changed(w->arg);
}

void
talk_changed_locked(struct talk *t)
{
    for (struct sf_conv *c = t->convs; c; c = c->next)
        conv_changed_locked(c);
}

void
turn_changed_locked(struct sf_conv_turn *t)
{
    talk_changed_locked(t->talk);
    if (t->conv->talk != t->talk)
        conv_changed_locked(t->conv);
}

/* ---- conversations by name ------------------------------------------------------------------- */

static void
conv_free_locked(struct sf_conv *c)
{
    HASH_DEL(c->cs->convs, c);
    conv_lead_locked(c, NULL);
    free(c->bucket);
    free(c->key);
    free(c->provider);
    free(c->error);
    free(c);
}

static bool
may_stay(const struct sf_conv *c, int64_t old)
{
    return c->idle_ms > old && c->cs->unused <= CONV_IDLE && !c->cs->stopping &&
           (!c->talk || c->talk->size[1] <= CONV_IDLE_TEXT);
}

/* Those that nobody has stay for a while: what is read once is read again soon. */
static void
sweep_locked(struct sf_convs *cs)
{
    const int64_t old = sf_clock_ms() - CONV_IDLE_MS;
    struct sf_conv *c, *next;
    if (!cs->unused)
        return;
    HASH_ITER (hh, cs->convs, c, next) {
        if (c->refs || may_stay(c, old))
            continue;
        cs->unused--;
        conv_free_locked(c);
    }
}

void
conv_unref_locked(struct sf_conv *c)
{
    if (--c->refs)
        return;
    c->idle_ms = sf_clock_ms();
    c->cs->unused++;
    sweep_locked(c->cs);
}

static int
copy(char **to, const char *text)
{
    *to = text ? strdup(text) : NULL;
    return text && !*to ? -ENOMEM : 0;
}

static struct sf_conv *
conv_new(struct sf_convs *cs, const struct sf_conv_key *key, const char *of)
{
    struct sf_conv *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->cs = cs;
    snprintf(c->of, sizeof c->of, "%s", of);
    if (!copy(&c->bucket, key->bucket) && !copy(&c->key, key->key) &&
        !copy(&c->provider, key->provider))
        HASH_ADD_STR(cs->convs, of, c);
    if (SF_HTAB_ADDED(c))
        return c;
    free(c->bucket);
    free(c->key);
    free(c->provider);
    free(c);
    return NULL;
}

int
sf_conv_get(struct sf_convs *cs, const struct sf_conv_key *key, struct sf_conv **ret)
{
    char of[sizeof(*ret)->of];
    struct sf_conv *c;
    if (key->stem ? strlen(key->stem) != SF_CHAT_STEM_MAX : !key->id || !sf_chat_id_ok(key->id))
        return -EINVAL;
    snprintf(of, sizeof of, "%c%s", key->stem ? '=' : '#', key->stem ? key->stem : key->id);
    SF_GUARD(&cs->lock);
    if (cs->stopping)
        return -ENOTCONN;
    HASH_FIND_STR(cs->convs, of, c);
    if (!c)
        c = conv_new(cs, key, of);
    else if (!c->refs)
        cs->unused--;
    if (!c)
        return -ENOMEM;
    c->refs++;
    sweep_locked(cs);
    *ret = c;
    return 0;
}

void
sf_conv_put(struct sf_conv *c)
{
    if (!c)
        return;
    struct sf_convs *cs = c->cs;
    SF_GUARD(&cs->lock);
    conv_unref_locked(c);
}

/* ---- what is known of one -------------------------------------------------------------------- */

static enum sf_conv_state
state_locked(const struct talk *t)
{
    static const enum sf_conv_state states[] = {
        [TURN_WAITS] = SF_CONV_WAITING,    [TURN_KNOWS] = SF_CONV_WAITING,
        [TURN_LEASES] = SF_CONV_WAITING,   [TURN_SAYS] = SF_CONV_READING,
        [TURN_ROUTES] = SF_CONV_READING,   [TURN_READS] = SF_CONV_READING,
        [TURN_PROMPTS] = SF_CONV_READING,  [TURN_ASKS] = SF_CONV_ASKING,
        [TURN_ANSWERS] = SF_CONV_ANSWERING};
    const struct sf_conv_turn *first = t->line;
    if (first && first->stage >= TURN_TELLS)
        first = first->next;
    if (!first)
        return SF_CONV_IDLE;
    return first->stage < TURN_ENDS ? states[first->stage] : SF_CONV_ANSWERING;
}

static unsigned
line_locked(const struct talk *t)
{
    unsigned n = 0;
    for (const struct sf_conv_turn *turn = t->line; turn; turn = turn->next)
        n += turn->stage < TURN_TELLS;
    return n;
}

static void
put_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
}

void
sf_conv_facts(struct sf_conv *c, enum sf_chat_view view, struct sf_conv_facts *out)
{
    SF_GUARD(&c->cs->lock);
    const struct talk *t = c->talk;
    *out = (struct sf_conv_facts){.writers = c->writers};
    out->loaded = t && t->known;
    out->exists = c->writers || (c->named && c->name.empty);
    if (!t)
        return;
    out->exists |= t->parts.len > 0 || t->line;
    put_text(out->id, sizeof out->id, t->parts.len ? t->id : "");
    put_text(out->bucket, sizeof out->bucket, c->bucket ? c->bucket : t->is.bucket);
    put_text(out->key, sizeof out->key, c->key ? c->key : t->is.key);
    put_text(out->provider, sizeof out->provider, c->provider ? c->provider : t->is.provider);
    out->size = talk_size_locked(t, view);
    out->mtime_ns = t->mtime_ns;
    out->state = state_locked(t);
    out->line = line_locked(t);
}

int
sf_conv_last(struct sf_conv *c, size_t max, struct sf_buf *out)
{
    SF_GUARD(&c->cs->lock);
    const struct talk *t = c->talk;
    if (!t || !t->last.len)
        return -ENODATA;
    size_t n = t->last.len < max ? t->last.len : max;
    while (n < t->last.len && n > 0 && (t->last.data[n] & 0xc0) == 0x80)
        n--;
    return sf_buf_append(out, t->last.data, n);
}

int
sf_conv_state_text(struct sf_conv *c, struct sf_buf *out)
{
    static const char *const words[] = {[SF_CONV_IDLE] = "idle",
                                        [SF_CONV_READING] = "reading",
                                        [SF_CONV_ASKING] = "asking",
                                        [SF_CONV_ANSWERING] = "answering"};
    SF_GUARD(&c->cs->lock);
    if (!c->talk)
        return -ENODATA;
    enum sf_conv_state state = state_locked(c->talk);
    return state == SF_CONV_WAITING ? sf_buf_printf(out, "waiting %u", line_locked(c->talk))
                                    : sf_buf_puts(out, words[state]);
}

static int
give(const char *text, struct sf_buf *out)
{
    return text ? sf_buf_puts(out, text) : -ENODATA;
}

int
sf_conv_usage(struct sf_conv *c, struct sf_buf *out)
{
    SF_GUARD(&c->cs->lock);
    return give(c->talk ? c->talk->usage : NULL, out);
}

int
sf_conv_error(struct sf_conv *c, struct sf_buf *out)
{
    SF_GUARD(&c->cs->lock);
    return give(c->error ? c->error : c->talk ? c->talk->error : NULL, out);
}

void
sf_conv_error_set(struct sf_conv *c, const char *text)
{
    SF_GUARD(&c->cs->lock);
    free(c->error);
    c->error = strdup(text);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int
kept_get(void *arg, enum sf_chat_kept_table table, const char *key, struct sf_buf *out)
{
    return sf_chat_store_cached(
        arg, table == SF_CHAT_KEPT_ANSWERS ? SF_CHAT_CACHE_ANSWERS : SF_CHAT_CACHE_TEXTS, key, out);
}

static int
kept_put(void *arg, enum sf_chat_kept_table table, const char *key, const char *value, size_t len)
{
    return sf_chat_store_cache(
        arg, table == SF_CHAT_KEPT_ANSWERS ? SF_CHAT_CACHE_ANSWERS : SF_CHAT_CACHE_TEXTS, key,
        value, len);
}

static int
open_remote(struct sf_convs *cs, const struct sf_convs_opts *o)
{
    char own[37];
    if (!o->peer && (!o->tables || !o->storage))
        return 0;
    int rc = o->holder ? 0 : sf_uuid4(own);
    return rc ? rc
              : sf_chat_remote_new(o->storage, o->peer, o->holder ? o->holder : own, &cs->remote);
}

static int
open_all(struct sf_convs *cs, const struct sf_convs_opts *o, struct sf_err *err)
{
    const struct sf_chat_store_opts store = {.state_dir = o->state_dir,
                                             .max_bytes = o->store_bytes};
    const struct spend_opts spend = {
        .tokens_day = o->tokens_day, .tokens_mount = o->tokens_mount, .price_day = o->price_day};
    int rc = sf_chat_store_open(&store, &cs->store, err);
    if (rc)
        return rc;
    cs->kept = (struct sf_chat_kept){.get = kept_get, .put = kept_put, .arg = cs->store};
    rc = open_remote(cs, o);
    if (!rc)
        rc = spend_new(&spend, cs->store, &cs->spend);
    if (!rc)
        rc = conv_crew_new(o->http, CONV_BEGINNERS, &cs->beginners);
    if (!rc)
        rc = conv_crew_new(o->http, CONV_WORKERS, &cs->workers);
    if (!rc)
        rc = conv_crew_new(o->http, CONV_ASKERS, &cs->askers);
    return rc ? sf_err_set(err, rc, "chats cannot be begun: %s", strerror(-rc)) : 0;
}

static void
take_down(struct sf_convs *cs)
{
    /* Each may give the next one something to do, and none one that is gone. */
    sf_mutex_lock(&cs->lock);
    while (cs->keeping)
        sf_cond_wait(&cs->idle, &cs->lock);
    sf_mutex_unlock(&cs->lock);
    conv_crew_free(cs->beginners);
    conv_crew_free(cs->workers);
    conv_crew_free(cs->askers);
    sf_mutex_lock(&cs->lock);
    while (cs->timers) /* those that run just now */
        sf_cond_wait(&cs->idle, &cs->lock);
    cs->stopping = true;
    sweep_locked(cs);
    sf_mutex_unlock(&cs->lock);
    spend_free(cs->spend);
    sf_chat_remote_free(cs->remote);
    sf_chat_store_close(cs->store);
    free((char *)cs->opts.bucket);
    free((char *)cs->opts.prefix);
    sf_cond_fini(&cs->idle);
    sf_mutex_fini(&cs->lock);
    free(cs);
}

int
sf_convs_new(const struct sf_convs_opts *opts, struct sf_convs **ret, struct sf_err *err)
{
    struct sf_convs *cs = calloc(1, sizeof *cs);
    if (!cs)
        return sf_err_set(err, -ENOMEM, "no memory for chats");
    sf_mutex_init(&cs->lock, 10);
    sf_cond_init(&cs->idle);
    cs->opts = *opts;
    cs->opts.state_dir = cs->opts.holder = NULL; /* not needed any more */
    cs->opts.bucket = cs->opts.prefix = NULL;
    int rc = copy((char **)&cs->opts.bucket, opts->bucket);
    if (!rc)
        rc = copy((char **)&cs->opts.prefix, opts->prefix);
    rc = rc ? sf_err_set(err, rc, "no memory for chats") : open_all(cs, opts, err);
    if (rc) {
        take_down(cs);
        return rc;
    }
    convs_tell_behind(cs, 0);
    *ret = cs;
    return 0;
}

/* One of the turns that have begun, with a reference. */
static struct sf_conv_turn *
one_that_runs_locked(struct sf_convs *cs, bool *any)
{
    struct talk *t, *next;
    *any = false;
    HASH_ITER (hh, cs->talks, t, next) {
        *any |= t->runs != NULL;
        if (t->runs && !t->runs->cancelled && t->runs->stage < TURN_ENDS) {
            turn_ref_locked(t->runs);
            return t->runs;
        }
    }
    return NULL;
}

/* Cancel them one by one, wait until all have ended. */
static void
end_turns(struct sf_convs *cs, int64_t deadline_ms)
{
    bool any = true;
    while (any) {
        struct sf_conv_turn *turn;
        int rc = 0;
        sf_mutex_lock(&cs->lock);
        turn = one_that_runs_locked(cs, &any);
        if (!turn && any)
            rc = sf_cond_timedwait_ms(&cs->idle, &cs->lock, deadline_ms);
        sf_mutex_unlock(&cs->lock);
        if (rc)
            return;
        if (turn) {
            turn_cancel(turn);
            sf_conv_turn_put(turn);
        }
    }
}

/* Answer who waits for bytes; turns that wait in lines are drafts by the rows that they have. */
static void
end_waits(struct sf_convs *cs)
{
    for (;;) {
        struct sf_conv *c, *next, *found = NULL;
        struct sf_conv_turn *waits = NULL;
        sf_mutex_lock(&cs->lock);
        HASH_ITER (hh, cs->convs, c, next) {
            if (c->reads)
                found = c;
            if (c->talk && c->talk->line && c->talk->line != c->talk->runs)
                waits = c->talk->line;
        }
        if (found)
            found->refs++;
        if (waits)
            turn_ref_locked(waits);
        sf_mutex_unlock(&cs->lock);
        if (found) {
            conv_serve(found);
            sf_conv_put(found);
        }
        if (waits) {
            turn_drop(waits, -ENOTCONN);
            sf_conv_turn_put(waits);
        }
        if (!found && !waits)
            return;
    }
}

void
sf_convs_stop(struct sf_convs *cs, int64_t deadline_ms)
{
    if (!cs)
        return;
    sf_mutex_lock(&cs->lock);
    cs->stopping = true;
    sf_mutex_unlock(&cs->lock);
    end_waits(cs);
    conv_crew_hurry(cs->beginners);
    conv_crew_hurry(cs->workers);
    conv_crew_hurry(cs->askers);
    end_turns(cs, deadline_ms);
    end_waits(cs);
}

void
sf_convs_free(struct sf_convs *cs)
{
    if (!cs)
        return;
    sf_convs_stop(cs, INT64_MAX);
    take_down(cs);
}

struct sf_chat_store *
sf_convs_store(struct sf_convs *cs)
{
    return cs->store;
}

struct work {
    struct conv_job job;
    void (*fn)(void *arg);
    void *arg;
};

static void
work_run(void *arg)
{
    struct work *w = arg;
    w->fn(w->arg);
    free(w);
}

int
sf_convs_work(struct sf_convs *cs, void (*fn)(void *arg), void *arg)
{
    struct work *w = malloc(sizeof *w);
    if (!w)
        return -ENOMEM;
    w->fn = fn;
    w->arg = arg;
    conv_crew_do(cs->workers, &w->job, work_run, w);
    return 0;
}

void
sf_convs_status(struct sf_convs *cs, struct sf_convs_status *out)
{
    *out = (struct sf_convs_status){.tables = sf_chat_remote_state(cs->remote)};
    struct spend_figures spent;
    spend_figures(cs->spend, &spent);
    out->tokens_day = (uint64_t)spent.day.tokens;
    out->tokens_mount = (uint64_t)spent.tokens_mount;
    out->price_day = spent.day.price;
    SF_GUARD(&cs->lock);
    out->loaded = HASH_COUNT(cs->talks);
    out->running = cs->running;
    out->waiting = cs->waiting;
    out->readers = cs->readers;
    struct talk *t, *next;
    HASH_ITER (hh, cs->talks, t, next) {
        out->bytes += t->size[1];
    }
    out->turns = cs->turns;
    out->failed = cs->failed;
    out->cancelled = cs->cancelled;
    snprintf(out->last_error, sizeof out->last_error, "%s", cs->last_error);
}
