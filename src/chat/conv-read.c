/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who reads, and who waits for more (docs/formats/chat.md, part 4). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chat/internal.h"
#include "observe/counter.h"

struct served {
    int rc; /* -EINPROGRESS: it has to wait */
    char *data;
    size_t len;
};

/* R3: is there a turn that was submitted before it was opened? */
static bool
awaits_locked(const struct sf_conv *c, uint64_t until)
{
    for (const struct sf_conv_turn *t = c->talk ? c->talk->line : NULL; t; t = t->next)
        if (t->number <= until && t->stage < TURN_TELLS)
            return true;
    return false;
}

/* An answer ends as lines of a text do (R6). */
static int
copy_answer(const struct sf_conv_turn *t, const struct sf_conv_read *r, struct served *s)
{
    const struct sf_buf *said = &t->said[SF_PV_ANSWER];
    const bool lf = t->stage >= TURN_TELLS && said->len && said->data[said->len - 1] != '\n';
    const size_t size = said->len + lf;
    s->len = r->off >= size ? 0 : size - r->off < r->len ? (size_t)(size - r->off) : r->len;
    s->data = s->len ? malloc(s->len) : NULL;
    if (!s->len || !s->data)
        return s->len ? -ENOMEM : 0;
    const bool last = lf && r->off + s->len == size;
    if (s->len > last)
        memcpy(s->data, said->data + r->off, s->len - last);
    if (last)
        s->data[s->len - 1] = '\n';
    return 0;
}

/* @c: not needed for an answer. */
static void
look_locked(const struct sf_convs *cs, const struct sf_conv *c, const struct sf_conv_read *r,
            struct served *s)
{
    const struct sf_conv_turn *turn = r->turn;
    bool waits;
    *s = (struct served){.rc = 0};
    if (turn) {
        s->rc = copy_answer(turn, r, s);
        waits = turn->stage < TURN_TELLS;
    } else {
        s->rc = c->talk ? talk_copy_locked(c->talk, r->view, r->off, r->len, &s->data, &s->len) : 0;
        waits = r->view != SF_CHAT_VIEW_LAST && awaits_locked(c, r->until);
    }
    if (s->rc || s->len || r->len == 0)
        return;
    if (!waits)
        s->rc = turn ? turn->err : 0;
    else if (cs->stopping)
        s->rc = -ENOTCONN;
    else
        s->rc = r->nonblock ? -EAGAIN : -EINPROGRESS;
}

static void
answer(struct sf_conv_read *r, struct served *s)
{
    r->fn(r->arg, s->rc, s->data, s->len);
    free(s->data);
}

void
sf_conv_read(struct sf_conv *c, struct sf_conv_read *r)
{
    struct served s;
    r->at = NULL;
    sf_mutex_lock(&c->cs->lock);
    look_locked(c->cs, c, r, &s);
    if (s.rc == -EINPROGRESS && c->cs->readers >= CONV_READS)
        s.rc = -EAGAIN;
    if (s.rc == -EINPROGRESS) {
        struct sf_conv_read **list = r->turn ? &r->turn->reads : &c->reads;
        r->next = *list;
        *list = r;
        r->at = list;
        c->cs->readers++;
        sf_gauge_add(SF_G_CHAT_READERS, 1);
    }
    sf_mutex_unlock(&c->cs->lock);
    if (s.rc != -EINPROGRESS)
        answer(r, &s);
}

static void
unlist_locked(struct sf_convs *cs, struct sf_conv_read *r)
{
    struct sf_conv_read **at = r->at;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    r->at = NULL;
    cs->readers--;
    sf_gauge_add(SF_G_CHAT_READERS, -1);
}

bool
sf_conv_unread(struct sf_conv *c, struct sf_conv_read *r)
{
    SF_GUARD(&c->cs->lock);
    if (!r->at)
        return false;
    unlist_locked(c->cs, r);
    return true;
}

bool
sf_conv_readable(struct sf_conv *c, const struct sf_conv_read *r)
{
    struct sf_conv_read one = *r;
    struct served s;
    one.len = 1;
    one.nonblock = false;
    SF_GUARD(&c->cs->lock);
    look_locked(c->cs, c, &one, &s);
    free(s.data);
    return s.rc != -EINPROGRESS;
}

/* One of them that has not to wait any more, out of the list. */
static struct sf_conv_read *
take_locked(struct sf_convs *cs, const struct sf_conv *c, struct sf_conv_read *list,
            struct served *s)
{
    for (struct sf_conv_read *r = list; r; r = r->next) {
        look_locked(cs, c, r, s);
        if (s->rc == -EINPROGRESS)
            continue;
        unlist_locked(cs, r);
        return r;
    }
    return NULL;
}

void
conv_serve(struct sf_conv *c)
{
    struct sf_conv_read *r;
    do {
        struct served s;
        sf_mutex_lock(&c->cs->lock);
        r = take_locked(c->cs, c, c->reads, &s);
        sf_mutex_unlock(&c->cs->lock);
        if (r)
            answer(r, &s);
    } while (r);
}

void
talk_serve(struct talk *t)
{
    struct sf_conv_read *r;
    do {
        struct served s;
        r = NULL;
        sf_mutex_lock(&t->cs->lock);
        for (struct sf_conv *c = t->convs; c && !r; c = c->next)
            r = take_locked(t->cs, c, c->reads, &s);
        sf_mutex_unlock(&t->cs->lock);
        if (r)
            answer(r, &s);
    } while (r);
}

void
turn_serve(struct sf_conv_turn *t)
{
    struct sf_conv_read *r;
    do {
        struct served s;
        sf_mutex_lock(&t->cs->lock);
        r = take_locked(t->cs, NULL, t->reads, &s);
        sf_mutex_unlock(&t->cs->lock);
        if (r)
            answer(r, &s);
    } while (r);
}
