/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "chat/chat-internal.h"

/* Reads of an open (docs/formats/chat.md, part 4): of the transcript, or of the answer to what was
 * written. */

struct chat_read {
    struct chat_wait wait; /* first */
    struct sf_conv_read r;
    struct sf_chat_file *f;     /* counted */
    struct chat_answer *answer; /* NULL = the transcript is read */
    bool begun;                 /* the conversation has it; the file's lock protects this */
    uint64_t off;
    sf_tree_fn fn;
    void *arg;
    struct chat_read *next; /* held */
};

void
chat_answer_unref(struct chat_answer *a)
{
    if (atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    sf_conv_turn_put(a->turn);
    free(a);
}

static void
read_free(struct chat_wait *w)
{
    struct chat_read *rd = (struct chat_read *)w;
    if (rd->answer)
        chat_answer_unref(rd->answer);
    chat_file_unref(rd->f);
    free(rd);
}

/* The answer; who took the wait calls it, and gives back what the table had. */
static void
read_answer(struct chat_read *rd, int rc, const char *data, size_t len)
{
    const struct sf_tree_result res = {.data = data, .len = len};
    rd->fn(rd->arg, rc, rc ? NULL : &res);
    chat_wait_unref(&rd->wait);
}

/* It ends without the conversation. */
static void
read_end(struct chat_read *rd, int rc)
{
    if (chat_wait_take(&rd->wait))
        read_answer(rd, rc, NULL, 0);
    chat_wait_unref(&rd->wait);
}

static void
read_done(void *arg, int rc, const char *data, size_t len)
{
    struct chat_read *rd = arg;
    if (chat_wait_take(&rd->wait)) {
        if (!rc) {
            SF_GUARD(&rd->f->lock);
            rd->f->seen = rd->off + len;
        }
        read_answer(rd, rc, data, len);
    }
    chat_wait_unref(&rd->wait);
}

static void
read_cancel(struct chat_wait *w)
{
    struct chat_read *rd = (struct chat_read *)w;
    struct sf_chat_file *f = rd->f;
    if (!chat_wait_take(w))
        return;
    sf_mutex_lock(&f->lock);
    bool begun = rd->begun, held = false;
    for (struct chat_read **at = &f->held; !begun && *at; at = &(*at)->next)
        if (*at == rd) {
            *at = rd->next;
            held = true;
            break;
        }
    sf_mutex_unlock(&f->lock);
    bool ours = held || (begun && sf_conv_unread(f->o.conv, &rd->r));
    read_answer(rd, -ECANCELED, NULL, 0);
    if (ours)
        chat_wait_unref(w);
}

/* Fill what the conversation is asked for: @off in the answer, or in the transcript. */
static void
read_fill_locked(struct sf_chat_file *f, struct sf_conv_read *r, uint64_t off)
{
    struct chat_answer *a = f->answer;
    r->view = f->o.node->view;
    r->off = off;
    r->until = f->o.until;
    if (!a)
        return;
    if (!a->based || off < a->base) { /* R6, R9 */
        a->based = true;
        a->base = off;
    }
    r->off = off - a->base;
    r->turn = a->turn;
}

/* What was written goes into the line: 1, or 0 when there is nothing to be asked; -errno. The lock
 * is given back for it. */
static int
ask_locked(struct sf_chat_file *f)
{
    struct chat_answer *a = NULL;
    struct chat_typed t;
    struct sf_chat_front own;
    struct sf_err err = SF_ERR_INIT;
    size_t body = 0;
    sf_chat_front_init(&own);
    int rc = chat_file_prompt_locked(f, &body, &own, &err);
    if (rc == 1 && !(a = calloc(1, sizeof *a)))
        rc = -ENOMEM;
    if (rc == 1) {
        uint64_t row = f->draft;
        t = f->typed;
        chat_typed_init(&f->typed);
        f->draft = f->drafted = 0;
        f->submitting = true;
        sf_mutex_unlock(&f->lock);
        int failed = chat_file_submit(f, &t, body, &own, row, &a->turn);
        sf_mutex_lock(&f->lock);
        f->submitting = false;
        rc = failed ? failed : 1;
        if (failed && !f->typed.written) { /* once more, later */
            chat_typed_fini(&f->typed);
            f->typed = t;
            f->draft = row;
        } else {
            chat_typed_fini(&t);
        }
    }
    sf_chat_front_fini(&own);
    if (rc < 0) {
        free(a);
        sf_mutex_unlock(&f->lock);
        chat_file_error(f, &err);
        sf_mutex_lock(&f->lock);
    } else if (rc == 1) {
        struct chat_answer *old = f->answer;
        atomic_init(&a->refs, 1);
        f->answer = a;
        sf_mutex_unlock(&f->lock);
        if (old)
            chat_answer_unref(old);
        sf_mutex_lock(&f->lock);
    }
    return rc;
}

/* Who cancels it may come before the conversation has it. */
static void
read_begin(struct sf_chat_file *f, struct chat_read *rd)
{
    struct sf_chat *chat = f->o.chat;
    atomic_fetch_add(&rd->wait.refs, 1);
    sf_conv_read(f->o.conv, &rd->r);
    sf_mutex_lock(&chat->lock);
    bool over = rd->wait.over;
    sf_mutex_unlock(&chat->lock);
    if (over && sf_conv_unread(f->o.conv, &rd->r))
        chat_wait_unref(&rd->wait);
    chat_wait_unref(&rd->wait);
}

/* Begin it, or hold it back. The file's lock is held, and given back. */
static void
read_go_unlock(struct sf_chat_file *f, struct chat_read *rd)
{
    int rc = 0;
    bool typed = f->typed.written > 0, asked = false;
    if (f->submitting || (typed && f->drafting)) {
        rd->next = f->held;
        f->held = rd;
        sf_mutex_unlock(&f->lock);
        return;
    }
    if (typed) {
        rc = ask_locked(f);
        asked = true;
    }
    if (rc >= 0) {
        rd->begun = true;
        read_fill_locked(f, &rd->r, rd->off);
        rd->answer = f->answer;
        if (rd->answer)
            atomic_fetch_add(&rd->answer->refs, 1);
    }
    sf_mutex_unlock(&f->lock);
    if (asked && rc == 1)
        chat_file_flushed(f, false); /* who waits for its question finds it in the line */
    if (rc < 0)
        read_end(rd, rc);
    else
        read_begin(f, rd);
    if (asked)
        chat_file_unhold(f);
}

void
chat_file_unhold(struct sf_chat_file *f)
{
    struct chat_read *rd;
    for (;;) {
        sf_mutex_lock(&f->lock);
        rd = f->held;
        if (!rd || f->submitting || f->drafting)
            break;
        f->held = rd->next;
        read_go_unlock(f, rd);
    }
    sf_mutex_unlock(&f->lock);
}

uint64_t
sf_chat_read(struct sf_chat_file *f, uint64_t off, size_t len, bool nonblock, sf_tree_fn fn,
             void *arg)
{
    struct chat_read *rd = calloc(1, sizeof *rd);
    int rc = rd ? 0 : -ENOMEM;
    if (rd) {
        rd->wait.cancel = read_cancel;
        rd->wait.free = read_free;
        rd->off = off;
        rd->fn = fn;
        rd->arg = arg;
        rd->f = f;
        rd->r = (struct sf_conv_read){.len = len, .nonblock = nonblock, .fn = read_done, .arg = rd};
        rc = chat_wait_begin(f->o.chat, &rd->wait, true);
    }
    if (rc) {
        free(rd);
        fn(arg, rc, NULL);
        return 0;
    }
    uint64_t id = rd->wait.id;
    atomic_fetch_add(&f->refs, 1);
    sf_mutex_lock(&f->lock);
    read_go_unlock(f, rd);
    return id;
}

/* ---- poll ------------------------------------------------------------------------------------ */

/* Another one takes its place. */
static void
wake_set(struct sf_chat_file *f, sf_chat_wake_fn wake, void *arg, bool changed)
{
    sf_chat_wake_fn old;
    void *old_arg;
    {
        SF_GUARD(&f->wake_lock);
        old = f->wake;
        old_arg = f->wake_arg;
        f->wake = wake;
        f->wake_arg = arg;
    }
    if (old)
        old(old_arg, changed);
}

void
chat_file_wake(struct sf_chat_file *f, bool changed)
{
    wake_set(f, NULL, NULL, changed);
}

short
sf_chat_poll(struct sf_chat_file *f, sf_chat_wake_fn wake, void *arg)
{
    struct sf_conv_read r = {.len = 1, .nonblock = true};
    short events = POLLOUT | POLLWRNORM;
    wake_set(f, wake, arg, false);
    if (wake && !atomic_exchange(&f->watching, true))
        sf_conv_watch(f->o.conv, &f->watch);
    sf_mutex_lock(&f->lock);
    /* A read would submit it, so that who polls first gets an answer at all. */
    bool readable =
        f->typed.bad || !chat_typed_is_blank(sf_buf_str(&f->typed.text), f->typed.text.len);
    struct chat_answer *a = f->answer;
    r.view = f->o.node->view;
    r.until = f->o.until;
    r.off = f->seen;
    if (a) {
        r.off = a->based && f->seen > a->base ? f->seen - a->base : 0;
        r.turn = a->turn;
        atomic_fetch_add(&a->refs, 1);
    }
    sf_mutex_unlock(&f->lock);
    if (!readable)
        readable = sf_conv_readable(f->o.conv, &r);
    if (a)
        chat_answer_unref(a);
    if (readable)
        events |= POLLIN | POLLRDNORM;
    return events;
}
