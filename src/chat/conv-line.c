/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Prompts: drafts, the line, and what ends them (docs/formats/chat.md, parts 3 and 5). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "chat/internal.h"
#include "observe/counter.h"
#include "observe/log.h"

/* ---- opens for writing ----------------------------------------------------------------------- */

static unsigned
line_locked(const struct sf_conv *c)
{
    unsigned n = 0;
    for (const struct sf_conv_turn *t = c->talk ? c->talk->line : NULL; t; t = t->next)
        n += t->stage < TURN_TELLS;
    return n;
}

int
sf_conv_writer(struct sf_conv *c)
{
    SF_GUARD(&c->cs->lock);
    if (c->cs->stopping)
        return -ENOTCONN;
    if (c->writers + line_locked(c) >= SF_CONV_LINE)
        return -EBUSY;
    c->writers++;
    conv_changed_locked(c);
    return 0;
}

void
sf_conv_writer_end(struct sf_conv *c)
{
    SF_GUARD(&c->cs->lock);
    c->writers--;
    conv_changed_locked(c);
}

/* ---- drafts ---------------------------------------------------------------------------------- */

struct names {
    char id[SF_CHAT_ID_MAX + 1], stem[SF_CHAT_STEM_MAX + 1];
};

/* @n: has the texts that would not stay. */
static void
draft_locked(const struct sf_conv *c, struct names *n, struct sf_chat_draft *d)
{
    snprintf(n->id, sizeof n->id, "%s", c->talk->id);
    snprintf(n->stem, sizeof n->stem, "%s", *c->of == '=' ? c->of + 1 : "");
    d->id = n->id;
    d->stem = *n->stem ? n->stem : NULL;
    d->generation = c->name.generation;
    d->bucket = c->bucket; /* of a conversation that is held these do not change */
    d->key = c->key;
    d->provider = c->provider;
    d->at_ms = sf_wall_ns() / 1000000;
}

void
sf_conv_draft(struct sf_conv *c, const struct sf_conv_prompt *p,
              void (*fn)(void *arg, int rc, uint64_t row), void *arg)
{
    struct sf_chat_draft d = {.row = p->draft, .uid = p->uid, .text = p->text, .len = p->len};
    struct names n;
    bool loaded;
    {
        SF_GUARD(&c->cs->lock);
        loaded = c->talk != NULL;
        if (loaded)
            draft_locked(c, &n, &d);
    }
    if (loaded)
        sf_chat_store_draft(c->cs->store, &d, fn, arg);
    else
        fn(arg, -EINVAL, 0);
}

struct undraft {
    struct sf_convs *cs;
    uint64_t row;
};

static void
undraft_run(void *arg)
{
    struct undraft *u = arg;
    (void)sf_chat_store_forget(u->cs->store, u->row);
    free(u);
}

static void
undraft(struct sf_convs *cs, uint64_t row)
{
    struct undraft *u = row ? malloc(sizeof *u) : NULL;
    if (!u)
        return;
    *u = (struct undraft){cs, row};
    if (sf_convs_work(cs, undraft_run, u))
        free(u);
}

void
sf_conv_undraft(struct sf_conv *c, uint64_t row)
{
    undraft(c->cs, row);
}

/* ---- the line -------------------------------------------------------------------------------- */

static void
count_locked(struct sf_convs *cs, int running, int waiting)
{
    cs->running += (unsigned)running;
    cs->waiting += (unsigned)waiting;
    sf_gauge_add(SF_G_CHAT_RUNNING, running);
    sf_gauge_add(SF_G_CHAT_WAITING, waiting);
}

static bool
may_begin_locked(const struct talk *t)
{
    return t->line && !t->runs && !t->taking && !t->line->keeping && !t->cs->stopping &&
           t->cs->running < CONV_RUNNING;
}

static void
begin_locked(struct talk *t)
{
    struct sf_conv_turn *turn = t->line;
    t->runs = turn;
    count_locked(t->cs, 1, -1);
    turn->stage = TURN_KNOWS;
    turn_ref_locked(turn);
    conv_crew_do(t->cs->beginners, &turn->job, turn_run, turn);
    talk_changed_locked(t);
}

void
talk_pump(struct talk *t)
{
    SF_GUARD(&t->cs->lock);
    if (may_begin_locked(t))
        begin_locked(t);
}

/* One has ended: others may have waited for room. */
static void
pump_all_locked(struct sf_convs *cs)
{
    struct talk *t, *next;
    HASH_ITER (hh, cs->talks, t, next) {
        if (may_begin_locked(t))
            begin_locked(t);
    }
}

static void
unlist_locked(struct sf_conv_turn *turn)
{
    struct talk *t = turn->talk;
    struct sf_conv_turn **at = &t->line;
    while (*at != turn)
        at = &(*at)->next;
    *at = turn->next;
    turn->next = NULL;
    if (t->runs == turn) {
        t->runs = NULL;
        count_locked(t->cs, -1, 0);
    } else {
        count_locked(t->cs, 0, -1);
    }
}

static void
enlist_locked(struct talk *t, struct sf_conv_turn *turn)
{
    struct sf_conv_turn **at = &t->line;
    while (*at)
        at = &(*at)->next;
    *at = turn;
    turn->talk = t;
    t->refs++;
    count_locked(t->cs, 0, 1);
    talk_changed_locked(t);
}

void
turn_move_locked(struct sf_conv_turn *turn, struct talk *to)
{
    struct talk *was = turn->talk;
    unlist_locked(turn);
    turn->stage = TURN_WAITS;
    enlist_locked(to, turn);
    talk_changed_locked(was);
    talk_put_locked(was);
    pump_all_locked(to->cs);
}

void
turn_leave_locked(struct sf_conv_turn *turn)
{
    struct sf_convs *cs = turn->cs;
    unlist_locked(turn);
    turn->stage = TURN_OVER;
    turn_changed_locked(turn);
    pump_all_locked(cs);
    conv_unref_locked(turn->conv);
    turn->conv = NULL;
    turn_unref_locked(turn);
    sf_cond_broadcast(&cs->idle);
}

void
turn_drop(struct sf_conv_turn *turn, int err)
{
    struct talk *t = turn->talk;
    {
        SF_GUARD(&turn->cs->lock);
        if (turn->stage != TURN_WAITS)
            return;
        turn->err = err;
        turn_ref_locked(turn);
        turn_leave_locked(turn);
    }
    turn_serve(turn);
    talk_serve(t);
    sf_conv_turn_put(turn);
}

/* The prompt is in the state directory, or could not be: it is answered all the same. */
static void
kept(void *arg, int rc, uint64_t row)
{
    struct sf_conv_turn *turn = arg;
    struct sf_convs *cs = turn->cs;
    bool over;
    {
        SF_GUARD(&cs->lock);
        turn->keeping = false;
        if (!rc)
            turn->row = row;
        over = turn->stage == TURN_OVER && turn->err == -ECANCELED;
    }
    if (rc)
        sf_warn("chat", "event=prompt-not-kept id=%s rc=%d", turn->talk->id, rc);
    if (over)
        undraft(cs, turn->row);
    else
        talk_pump(turn->talk);
    SF_GUARD(&cs->lock);
    turn_unref_locked(turn);
    cs->keeping--;
    sf_cond_broadcast(&cs->idle);
}

static bool
is_blank(const struct sf_conv_prompt *p)
{
    for (size_t i = p->body; i < p->len; i++)
        if (!strchr(" \t\r\n\v\f", p->text[i]))
            return false;
    return true;
}

static int
may_join_locked(const struct sf_conv *c)
{
    if (c->cs->stopping)
        return -ENOTCONN;
    if (!c->talk)
        return -EINVAL;
    if (line_locked(c) >= SF_CONV_LINE)
        return -EBUSY;
    return c->talk->size[1] >= CONV_TEXT_MAX ? -EFBIG : 0;
}

static void
join_locked(struct sf_conv *c, struct sf_conv_turn *turn)
{
    turn->conv = c;
    c->refs++;
    turn->number = ++c->cs->number;
    turn->keeping = true;
    c->cs->keeping++;
    free(c->error);
    c->error = NULL;
    turn_ref_locked(turn); /* for kept() */
    enlist_locked(c->talk, turn);
}

int
sf_conv_submit(struct sf_conv *c, const struct sf_conv_prompt *p, struct sf_conv_turn **ret)
{
    struct sf_chat_draft d = {.row = p->draft, .uid = p->uid, .waiting = true};
    struct names n;
    struct sf_conv_turn *turn;
    if (is_blank(p))
        return -EINVAL;
    int rc = turn_new(c->cs, p, &turn);
    if (rc)
        return rc;
    sf_mutex_lock(&c->cs->lock);
    rc = may_join_locked(c);
    if (!rc) {
        join_locked(c, turn);
        draft_locked(c, &n, &d);
        if (ret)
            turn_ref_locked(turn);
    } else {
        turn_unref_locked(turn);
    }
    sf_mutex_unlock(&c->cs->lock);
    if (rc)
        return rc;
    if (ret)
        *ret = turn;
    d.text = turn->prompt; /* which kept() has a reference for */
    d.len = turn->len;
    sf_chat_store_draft(c->cs->store, &d, kept, turn);
    return 0;
}

uint64_t
sf_conv_now(struct sf_conv *c)
{
    SF_GUARD(&c->cs->lock);
    return c->cs->number;
}

/* ---- ending ---------------------------------------------------------------------------------- */

void
sf_conv_turn_cancel(struct sf_conv_turn *t)
{
    turn_cancel(t);
}

void
turn_cancel(struct sf_conv_turn *t)
{
    bool waits;
    uint64_t row, request;
    {
        SF_GUARD(&t->cs->lock);
        waits = t->stage == TURN_WAITS;
        row = t->row;
        request = t->asked ? t->request : 0;
        t->cancelled |= t->stage < TURN_ENDS;
    }
    if (waits) {
        turn_drop(t, -ECANCELED);
        undraft(t->cs, row);
    } else if (request) {
        turn_unask(t, request);
    }
}

/* One after the other, from the last: those that wait are not begun meanwhile. */
static void
cancel_all(struct talk *t, uint64_t until)
{
    for (;;) {
        struct sf_conv_turn *last = NULL;
        {
            SF_GUARD(&t->cs->lock);
            for (struct sf_conv_turn *turn = t->line; turn; turn = turn->next)
                if (turn->number <= until && !turn->cancelled)
                    last = turn;
            if (last)
                turn_ref_locked(last);
        }
        if (!last)
            return;
        turn_cancel(last);
        sf_conv_turn_put(last);
    }
}

static void
talk_put(struct talk *t)
{
    SF_GUARD(&t->cs->lock);
    talk_put_locked(t);
}

void
sf_conv_cancel(struct sf_conv *c)
{
    struct talk *t;
    uint64_t now;
    {
        SF_GUARD(&c->cs->lock);
        t = c->talk;
        now = c->cs->number;
        if (t)
            t->refs++;
    }
    if (!t)
        return;
    cancel_all(t, now);
    talk_put(t);
}

struct away {
    struct conv_job job;
    struct sf_convs *cs;
    struct sf_conv *c;
    struct sf_chat_name name;
    char id[SF_CHAT_ID_MAX + 1]; /* that is put away; "" = none */
    void (*fn)(void *arg, int rc);
    void *arg;
};

static void
away_tell(void *arg)
{
    struct away *a = arg;
    int rc = *a->id ? sf_chat_remote_close(a->cs->remote, a->id, sf_clock_ms() + CONV_TABLES_MS)
                    : -ENOENT;
    if (rc && rc != -ENOENT && rc != -ENOSYS && rc != -EAGAIN)
        sf_warn("chat", "event=chat-not-closed id=%s rc=%d", a->id, rc);
    sf_conv_put(a->c);
    free(a);
}

static void
away_run(void *arg)
{
    struct away *a = arg;
    int rc = sf_chat_store_set_name(a->cs->store, a->c->of + 1, &a->name, *a->id ? a->id : NULL);
    a->fn(a->arg, rc);
    conv_crew_do(a->cs->askers, &a->job, away_tell, a);
}

static bool
is_own(const struct sf_conv *c)
{
    const char *stem = c->of + 1;
    return !strncmp(c->talk->id, stem, SF_CHAT_STEM_MAX) && c->talk->id[SF_CHAT_STEM_MAX] == '-';
}

/* The next one of the name, and what it puts away. 0 or -ENOMEM. */
static int
next_one_locked(struct sf_conv *c, bool empty, struct away *a)
{
    struct talk *was = c->talk;
    a->name = c->name;
    a->name.empty = empty;
    a->name.gone = !empty;
    if (was->parts.len || was->line) {
        a->name.generation++;
        snprintf(a->name.id, sizeof a->name.id, "%s-%" PRIu64, c->of + 1, a->name.generation);
    }
    struct talk *t = talk_get_locked(c->cs, a->name.id);
    if (!t)
        return -ENOMEM;
    if (t != was && is_own(c)) {
        memcpy(a->id, was->id, sizeof a->id);
        was->is.away = true;
    }
    c->name = a->name;
    c->refs++;
    conv_lead_locked(c, t);
    talk_put_locked(t);
    return 0;
}

void
sf_conv_put_away(struct sf_conv *c, bool empty, void (*fn)(void *arg, int rc), void *arg)
{
    struct away *a = calloc(1, sizeof *a);
    struct talk *was = NULL;
    uint64_t now = 0;
    int rc = a ? 0 : -ENOMEM;
    sf_mutex_lock(&c->cs->lock);
    if (c->cs->stopping)
        rc = -ENOTCONN;
    else if (*c->of == '#')
        rc = -EPERM;
    else if (!c->talk)
        rc = -EINVAL;
    if (!rc) {
        was = c->talk;
        was->refs++;
        now = c->cs->number;
        rc = next_one_locked(c, empty, a);
    }
    sf_mutex_unlock(&c->cs->lock);
    if (rc) {
        if (was)
            talk_put(was);
        free(a);
        fn(arg, rc);
        return;
    }
    cancel_all(was, now);
    talk_put(was);
    conv_serve(c);
    a->cs = c->cs;
    a->c = c;
    a->fn = fn;
    a->arg = arg;
    conv_crew_do(c->cs->workers, &a->job, away_run, a);
}

/* ---- a prompt that begins with what was said ------------------------------------------------- */

int
sf_conv_follows(struct sf_conv *c, const char *text, size_t len, size_t *rest)
{
    SF_GUARD(&c->cs->lock);
    const struct talk *t = c->talk;
    size_t at = 0;
    if (!t || !t->size[0] || t->size[0] > len)
        return -EINVAL;
    for (size_t i = 0; i < t->parts.len; i++) {
        const struct conv_part *p = &t->parts.data[i];
        if (p->reasoning)
            continue;
        if (memcmp(text + at, p->text.data, p->text.len) != 0)
            return -EINVAL;
        at += p->text.len;
    }
    *rest = at;
    return 0;
}

/* ---- watching -------------------------------------------------------------------------------- */

void
sf_conv_watch(struct sf_conv *c, struct sf_conv_watch *w)
{
    SF_GUARD(&c->cs->lock);
    w->prev = NULL;
    w->next = c->watches;
    if (c->watches)
        c->watches->prev = w;
    c->watches = w;
}

void
sf_conv_unwatch(struct sf_conv *c, struct sf_conv_watch *w)
{
    SF_GUARD(&c->cs->lock);
    if (w->prev)
        w->prev->next = w->next;
    else
        c->watches = w->next;
    if (w->next)
        w->next->prev = w->prev;
}
