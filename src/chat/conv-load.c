/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the state directory and the tables know of a conversation (docs/formats/chat.md, part 10).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "chat/internal.h"
#include "chat/store-internal.h"
#include "http/http.h"
#include "observe/log.h"

#define UNANSWERED_MAX 100 /* questions whose answers are looked for */

/* ---- the state directory --------------------------------------------------------------------- */

static int
load_turn(void *arg, const struct sf_chat_record *r)
{
    struct talk *t = arg;
    int rc = talk_add_locked(t, r);
    if (!rc && r->turn.at_ms * 1000000 > t->mtime_ns)
        t->mtime_ns = r->turn.at_ms * 1000000;
    return rc;
}

/* Into one that nobody else knows of. */
static int
read_all(struct sf_convs *cs, struct talk *t)
{
    int rc = sf_chat_store_conversation(cs->store, t->id, &t->is);
    if (rc)
        return rc == -ENOENT ? 0 : rc;
    return sf_chat_store_turns(cs->store, t->id, 0, load_turn, t);
}

int
talk_load(struct talk *t)
{
    struct talk all = {.cs = t->cs};
    {
        SF_GUARD(&t->cs->lock);
        if (t->known)
            return 0;
    }
    memcpy(all.id, t->id, sizeof all.id);
    int rc = read_all(t->cs, &all);
    SF_GUARD(&t->cs->lock);
    if (!rc && !t->known) {
        t->is = all.is;
        t->messages = all.messages;
        t->parts = all.parts;
        memcpy(t->size, all.size, sizeof t->size);
        t->mtime_ns = all.mtime_ns;
        t->last = all.last;
        t->usage = all.usage;
        t->error = all.error;
        t->known = true;
        talk_changed_locked(t);
    } else {
        talk_clear_locked(&all);
    }
    return rc;
}

/* The name as the state directory has it; one that it does not know leads to the first of its
 * conversations. */
static int
load_name(struct sf_conv *c)
{
    const bool by_id = *c->of == '#';
    struct sf_chat_name name = {.generation = 1};
    {
        SF_GUARD(&c->cs->lock);
        if (c->named)
            return 0;
    }
    int rc = by_id ? -ENOENT : sf_chat_store_name(c->cs->store, c->of + 1, &name);
    if (rc && rc != -ENOENT)
        return rc;
    if (rc)
        snprintf(name.id, sizeof name.id, "%s%s", c->of + 1, by_id ? "" : "-1");
    SF_GUARD(&c->cs->lock);
    if (c->named)
        return 0;
    struct talk *t = talk_get_locked(c->cs, name.id);
    if (!t)
        return -ENOMEM;
    c->name = name;
    c->named = true;
    conv_lead_locked(c, t);
    talk_put_locked(t);
    return 0;
}

static struct talk *
talk_of(struct sf_conv *c)
{
    SF_GUARD(&c->cs->lock);
    if (c->talk)
        c->talk->refs++;
    return c->talk;
}

static void
talk_put(struct talk *t)
{
    SF_GUARD(&t->cs->lock);
    talk_put_locked(t);
}

static int
load_local(struct sf_conv *c)
{
    int rc = load_name(c);
    struct talk *t = rc ? NULL : talk_of(c);
    if (!t)
        return rc;
    rc = talk_load(t);
    talk_put(t);
    return rc;
}

int
conv_rename(struct sf_conv *c, const struct sf_chat_name *name, const char *away)
{
    int rc = sf_chat_store_set_name(c->cs->store, c->of + 1, name, away);
    if (rc)
        return rc;
    {
        SF_GUARD(&c->cs->lock);
        struct talk *t = talk_get_locked(c->cs, name->id);
        if (!t)
            return -ENOMEM;
        c->name = *name;
        conv_lead_locked(c, t);
        talk_put_locked(t);
    }
    conv_serve(c);
    return 0;
}

/* ---- the tables ------------------------------------------------------------------------------ */

int
talk_facts_locked(const struct talk *t, struct sf_chat_conversation *out)
{
    *out = (struct sf_chat_conversation){.last = 0};
    return chats_conversation_copy(&t->is, out);
}

static void
answered_locked(struct talk *t, const char *message)
{
    struct sf_chat_ids *ids = &t->is.unanswered;
    for (size_t i = 0; i < ids->len; i++) {
        if (strcmp(ids->data[i], message) != 0)
            continue;
        free(ids->data[i]);
        sf_chat_ids_remove(ids, i);
        return;
    }
}

static void
unanswered_locked(struct talk *t, const char *message)
{
    struct sf_chat_ids *ids = &t->is.unanswered;
    char *copy = strdup(message);
    if (ids->len >= UNANSWERED_MAX) {
        free(ids->data[0]);
        sf_chat_ids_remove(ids, 0);
    }
    if (!copy || sf_chat_ids_push(ids, copy))
        free(copy);
}

/* Is the row here that a turn came in? Reasoning stands before its answer, an error behind it.
 * @before: what was said of the one before it. */
static bool
is_here_locked(const struct talk *t, const struct sf_chat_records *all, size_t i, bool before)
{
    const struct sf_chat_record *r = &all->data[i];
    if (!*r->message && r->turn.kind == SF_CHAT_ERROR)
        return before;
    if (!*r->message && r->turn.kind == SF_CHAT_REASONING && i + 1 < all->len)
        r++;
    return *r->message && talk_has_message_locked(t, r->message);
}

void
talk_sift_locked(struct talk *t, struct sf_chat_read *read)
{
    struct sf_chat_records *all = &read->turns;
    bool here = false;
    size_t n = 0;
    for (size_t i = 0; i < all->len; i++) {
        struct sf_chat_record *r = &all->data[i];
        here = is_here_locked(t, all, i, here);
        if (*r->to)
            answered_locked(t, r->to);
        if (here) {
            sf_chat_record_fini(r);
            continue;
        }
        if (r->turn.kind == SF_CHAT_USER && *r->message)
            unanswered_locked(t, r->message);
        all->data[n++] = *r;
    }
    all->len = n;
    if (read->cursor) {
        free(t->is.cursor);
        t->is.cursor = sf_steal(read->cursor);
    }
}

static void
about_locked(struct talk *t, const struct sf_conv *c)
{
    if (!t->is.bucket && c->bucket)
        t->is.bucket = strdup(c->bucket);
    if (!t->is.key && c->key)
        t->is.key = strdup(c->key);
    if (!t->is.provider && c->provider)
        t->is.provider = strdup(c->provider);
}

/* A page of what others said; 1 = there is more. The talk is ours meanwhile (`taking`). */
static int
take_page(struct sf_conv *c, struct talk *t)
{
    struct sf_convs *cs = c->cs;
    struct sf_chat_read read = {.more = false};
    struct sf_chat_conversation now = {.last = 0};
    int rc = sf_chat_remote_turns(cs->remote, t->id, t->is.cursor, &t->is.unanswered,
                                  sf_clock_ms() + CONV_TABLES_MS, &read);
    if (rc)
        return rc;
    sf_mutex_lock(&cs->lock);
    /* One that does not go on has no more, whatever it says. */
    const bool more =
        read.more && read.cursor && (!t->is.cursor || strcmp(read.cursor, t->is.cursor) != 0);
    talk_sift_locked(t, &read);
    about_locked(t, c);
    rc = talk_facts_locked(t, &now);
    sf_mutex_unlock(&cs->lock);
    if (!rc && read.turns.len) {
        struct sf_chat_change ch = {
            .id = t->id, .now = &now, .turns = read.turns.data, .n_turns = read.turns.len};
        rc = sf_chat_store_change(cs->store, &ch);
        SF_GUARD(&cs->lock);
        for (size_t i = 0; i < read.turns.len && !rc; i++)
            rc = talk_add_locked(t, &read.turns.data[i]);
        talk_changed_locked(t);
        if (rc) { /* so they are read again */
            free(t->is.cursor);
            t->is.cursor = NULL;
        }
    }
    sf_chat_conversation_fini(&now);
    sf_chat_read_fini(&read);
    return rc ? rc : more;
}

/* A prompt need not wait for the rest: its turn reads that. */
static bool
goes_on(const struct talk *t)
{
    SF_GUARD(&t->cs->lock);
    return !t->cs->stopping && !t->line && t->size[1] < CONV_TEXT_MAX;
}

static void
refresh_talk(struct sf_conv *c, struct talk *t)
{
    struct sf_convs *cs = c->cs;
    int rc;
    {
        SF_GUARD(&cs->lock);
        if (t->runs || t->taking || !t->known)
            return;
        t->taking = true;
    }
    do
        rc = take_page(c, t);
    while (rc > 0 && goes_on(t));
    {
        SF_GUARD(&cs->lock);
        t->taking = false;
        t->asked_ms = sf_clock_ms();
    }
    if (rc < 0 && rc != -ENOSYS && rc != -EAGAIN)
        sf_debug("chat", "event=chat-not-read id=%s rc=%d", t->id, rc);
    talk_serve(t);
    talk_pump(t);
}

/* Another mount may have put it away, and begun the next one. 0, -ENOENT, -errno. */
static int
refresh_name(struct sf_conv *c)
{
    const bool by_id = *c->of == '#';
    struct sf_chat_found f;
    struct sf_chat_name name;
    char away[SF_CHAT_ID_MAX + 1];
    int rc = sf_chat_remote_find(c->cs->remote, by_id ? NULL : c->of + 1, by_id ? c->of + 1 : NULL,
                                 sf_clock_ms() + CONV_TABLES_MS, &f);
    const bool found = rc == 0;
    bool moved = false;
    sf_mutex_lock(&c->cs->lock);
    c->found_ms = sf_clock_ms();
    c->missing = rc == -ENOENT;
    name = c->name;
    if (!rc && !by_id && f.generation)
        moved = f.closed ? f.generation >= name.generation : f.generation > name.generation;
    if (!rc && by_id && c->talk && !c->talk->is.bucket) {
        c->talk->is.bucket = sf_steal(f.bucket);
        c->talk->is.key = sf_steal(f.key);
        c->talk->is.provider = sf_steal(f.provider);
    }
    sf_mutex_unlock(&c->cs->lock);
    if (moved) {
        memcpy(away, name.id, sizeof away);
        name = (struct sf_chat_name){.generation = f.generation + f.closed, .gone = f.closed};
        if (f.closed)
            snprintf(name.id, sizeof name.id, "%s-%" PRIu64, c->of + 1, name.generation);
        else
            memcpy(name.id, f.id, sizeof name.id);
        int moves = conv_rename(c, &name, strcmp(away, name.id) ? away : NULL);
        if (!moves)
            moves = load_local(c);
        if (moves)
            rc = moves;
    }
    if (found)
        sf_chat_found_fini(&f);
    return rc;
}

static void
refresh(struct sf_conv *c)
{
    {
        SF_GUARD(&c->cs->lock);
        if (c->cs->stopping)
            return;
    }
    if (refresh_name(c))
        return;
    struct talk *t = talk_of(c);
    if (!t)
        return;
    refresh_talk(c, t);
    talk_put(t);
}

/* ---- who waits ------------------------------------------------------------------------------- */

struct conv_wait {
    struct conv_wait *next;
    struct sf_convs *cs;
    struct sf_conv *c; /* until it is told */
    bool tables;       /* it waits for them, too */
    bool told;
    unsigned refs; /* the list's, the timer's */
    uint64_t timer;
    void (*fn)(void *arg, int rc);
    void *arg;
};

static bool
due_locked(const struct sf_conv *c)
{
    const int64_t old = sf_clock_ms() - c->cs->opts.fresh_ms;
    const struct talk *t = c->talk;
    if (!c->cs->remote || (t && t->runs))
        return false;
    if (!c->found_ms || c->found_ms <= old)
        return true;
    return !c->missing && t && (!t->asked_ms || t->asked_ms <= old);
}

static void
wait_unref_locked(struct conv_wait *w)
{
    if (!--w->refs)
        free(w);
}

static bool
is_known_locked(const struct sf_conv *c)
{
    return c->named && c->talk->known;
}

/* It has waited long enough for the tables: on the event thread. Without what the state directory
 * has nothing can be done, so that it goes on waiting for. */
static void
wait_over(void *arg)
{
    struct conv_wait *w = arg;
    struct sf_convs *cs = w->cs;
    bool first;
    {
        SF_GUARD(&cs->lock);
        first = !w->told && is_known_locked(w->c);
        w->told |= first;
        w->tables = false;
    }
    if (first)
        w->fn(w->arg, 0);
    SF_GUARD(&cs->lock);
    wait_unref_locked(w);
    cs->timers--;
    sf_cond_broadcast(&cs->idle);
}

/* Tell those that wait no longer. */
static void
tell(struct sf_conv *c, int rc, bool all)
{
    struct sf_convs *cs = c->cs;
    for (;;) {
        struct conv_wait *w = NULL;
        bool first = false;
        sf_mutex_lock(&cs->lock);
        for (struct conv_wait **at = &c->waits; *at && !w; at = &(*at)->next) {
            if (!all && (*at)->tables)
                continue;
            w = *at;
            *at = w->next;
            first = !w->told;
            w->told = true;
            break;
        }
        if (w && w->timer && sf_http_timer_cancel(cs->opts.http, w->timer)) {
            w->refs--;
            cs->timers--;
        }
        sf_mutex_unlock(&cs->lock);
        if (!w)
            return;
        if (first)
            w->fn(w->arg, rc);
        SF_GUARD(&cs->lock);
        wait_unref_locked(w);
    }
}

static void load_run(void *arg);

/* More may wait by now; else it is given back. */
static void
load_next(struct sf_conv *c, struct conv_crew *crew, void (*fn)(void *arg))
{
    SF_GUARD(&c->cs->lock);
    if (c->waits) {
        conv_crew_do(crew, &c->load, fn, c);
        return;
    }
    c->loading = false;
    conv_unref_locked(c);
}

static void
refresh_run(void *arg)
{
    struct sf_conv *c = arg;
    refresh(c);
    tell(c, 0, true);
    load_next(c, c->cs->workers, load_run);
}

static void
load_run(void *arg)
{
    struct sf_conv *c = arg;
    int rc = load_local(c);
    tell(c, rc, rc != 0);
    load_next(c, c->cs->askers, refresh_run);
}

/* 0 it will be told; -errno. */
static int
wait_locked(struct sf_conv *c, int64_t tables_ms, void (*fn)(void *arg, int rc), void *arg)
{
    struct sf_convs *cs = c->cs;
    struct conv_wait *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    *w = (struct conv_wait){.next = c->waits,
                            .cs = cs,
                            .c = c,
                            .tables = tables_ms > 0,
                            .refs = 1,
                            .fn = fn,
                            .arg = arg};
    if (w->tables)
        w->timer = sf_http_timer(cs->opts.http, sf_clock_ms() + tables_ms, wait_over, w);
    if (w->timer) {
        w->refs++;
        cs->timers++;
    }
    c->waits = w;
    if (!c->loading) {
        c->loading = true;
        c->refs++;
        conv_crew_do(cs->workers, &c->load, load_run, c);
    }
    return 0;
}

void
sf_conv_load(struct sf_conv *c, int64_t tables_ms, void (*fn)(void *arg, int rc), void *arg)
{
    int rc = 0;
    bool now;
    sf_mutex_lock(&c->cs->lock);
    if (tables_ms > 0 && !due_locked(c))
        tables_ms = 0;
    now = is_known_locked(c) && tables_ms <= 0;
    if (c->cs->stopping)
        rc = -ENOTCONN;
    else if (!now)
        rc = wait_locked(c, tables_ms, fn, arg);
    sf_mutex_unlock(&c->cs->lock);
    if (rc || now)
        fn(arg, rc);
}
