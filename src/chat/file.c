/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/chat-internal.h"
#include "chat/transcript.h"
#include "config/provider.h"

/* ---- begin and end --------------------------------------------------------------------------- */

void
chat_opening_fini(struct chat_opening *o)
{
    if (o->writer)
        sf_conv_writer_end(o->conv);
    sf_conv_put(o->conv);
    if (o->node)
        chat_node_put(o->chat, o->node);
    sf_chat_front_fini(&o->settings);
}

static void
watched(void *arg)
{
    chat_file_wake(arg, true);
}

int
chat_file_new(struct chat_opening *o, struct sf_chat_file **ret)
{
    struct sf_chat_file *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    f->o = *o;
    *o = (struct chat_opening){.chat = o->chat};
    sf_chat_front_init(&o->settings);
    f->truncated = f->o.flags & O_TRUNC;
    f->watch = (struct sf_conv_watch){.changed = watched, .arg = f};
    atomic_init(&f->refs, 1);
    sf_mutex_init(&f->lock, 9);
    sf_mutex_init(&f->wake_lock, 0);
    chat_typed_init(&f->typed);
    *ret = f;
    chat_busy(f->o.chat);
    SF_GUARD(&f->o.chat->lock);
    LIST_INSERT_HEAD(&f->o.node->files, f, link);
    f->o.chat->n_files++;
    return 0;
}

void
chat_file_unref(struct sf_chat_file *f)
{
    struct sf_chat *chat = f->o.chat;
    if (atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    chat_opening_fini(&f->o);
    chat_typed_fini(&f->typed);
    sf_mutex_fini(&f->lock);
    sf_mutex_fini(&f->wake_lock);
    free(f);
    chat_idle(chat);
}

uint64_t
chat_files_flushed_locked(const struct chat_node *n)
{
    const struct sf_chat_file *f;
    uint64_t oldest = 0;
    for (f = LIST_FIRST(&n->files); f; f = LIST_NEXT(f, link))
        if (f->flushed && (!oldest || f->flushed < oldest))
            oldest = f->flushed;
    return oldest;
}

void
chat_file_error(struct sf_chat_file *f, const struct sf_err *err)
{
    if (err->msg[0])
        sf_conv_error_set(f->o.conv, err->msg);
}

void
chat_file_flushed(struct sf_chat_file *f, bool flushed)
{
    struct sf_chat *chat = f->o.chat;
    bool was;
    {
        SF_GUARD(&chat->lock);
        was = f->flushed;
        if (!flushed)
            f->flushed = 0;
        else if (!was)
            f->flushed = ++chat->serial;
    }
    if (was && !flushed)
        chat_open_wake(chat, f->o.node);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* S6, and that there is such a provider (S4). */
static int
provider_ok(const struct sf_chat_file *f, const struct sf_chat_front *own, struct sf_err *err)
{
    const char *named = f->o.node->provider, *const *p = f->o.chat->providers;
    if (!own->provider)
        return 0;
    if (named && !sf_provider_name_same(named, own->provider))
        return sf_err_set(err, -EINVAL, "provider: this is the conversation with %s", named);
    for (; *p && !sf_provider_name_same(*p, own->provider); p++)
        ;
    if (!*p && strcmp(own->provider, "auto") != 0)
        return sf_err_set(err, -EINVAL, "provider: there is no %.64s", own->provider);
    return 0;
}

ssize_t
sf_chat_write(struct sf_chat_file *f, const void *data, size_t len)
{
    struct sf_conv_facts facts;
    struct sf_err err = SF_ERR_INIT;
    if (len == 0)
        return 0;
    sf_conv_facts(f->o.conv, SF_CHAT_VIEW_ALL, &facts);
    chat_file_flushed(f, false);
    sf_mutex_lock(&f->lock);
    bool known = f->typed.front_known;
    int rc = chat_typed_write(&f->typed, data, len, facts.size, &err);
    if (!rc && f->typed.front_known && !known && (rc = provider_ok(f, &f->typed.own, &err)))
        f->typed.bad = true;
    f->wrote = true;
    sf_mutex_unlock(&f->lock);
    if (rc)
        chat_file_error(f, &err);
    chat_file_wake(f, true);
    return rc ? rc : (ssize_t)len;
}

int
chat_file_truncate(struct sf_chat_file *f, uint64_t size)
{
    uint64_t row = 0;
    if (size) {
        SF_GUARD(&f->lock);
        return f->typed.written && size == f->typed.written ? 0 : 1;
    }
    chat_file_flushed(f, false);
    {
        SF_GUARD(&f->lock);
        chat_typed_clear(&f->typed);
        f->truncated = true;
        f->wrote = false;
        f->epoch++;
        row = f->draft;
        f->draft = f->drafted = 0;
    }
    if (row)
        sf_conv_undraft(f->o.conv, row);
    return 0;
}

/* The id in the head of a transcript; "" = none. */
static void
id_in_head(const char *text, size_t len, char id[static SF_CHAT_ID_MAX + 1])
{
    static const char field[] = "\nconversation: ";
    const char *end = memmem(text + 4, len - 4, "\n---\n", 5); /* behind the first line */
    const char *at = memmem(text, end ? (size_t)(end - text) + 1 : len, field, sizeof field - 1);
    size_t n = 0;
    if (at)
        for (at += sizeof field - 1; n < SF_CHAT_ID_MAX && at < text + len && at[n] != '\n'; n++)
            id[n] = at[n];
    id[n] = '\0';
    if (!sf_chat_id_ok(id))
        *id = '\0';
}

/* Why a transcript is no prompt here (W10, W11). */
static int
not_followed(struct sf_chat_file *f, const char *text, size_t len, struct sf_err *err)
{
    char id[SF_CHAT_ID_MAX + 1];
    struct sf_conv_facts facts;
    id_in_head(text, len, id);
    sf_conv_facts(f->o.conv, SF_CHAT_VIEW_ALL, &facts);
    if (!*id)
        return sf_err_set(err, -EINVAL, "the prompt is a transcript of no conversation");
    if (!strcmp(id, facts.id))
        return sf_err_set(err, -EINVAL,
                          "the conversation says something else than this transcript");
    return sf_err_set(err, -EINVAL,
                      "the prompt is the transcript of another conversation; `continue: %.100s` in "
                      "front matter goes on with it",
                      id);
}

static int
follows(void *arg, const char *text, size_t len, size_t *rest, struct sf_err *err)
{
    struct sf_chat_file *f = arg;
    int rc = sf_conv_follows(f->o.conv, text, len, rest);
    return rc == -EINVAL ? not_followed(f, text, len, err) : rc;
}

int
chat_file_prompt_locked(struct sf_chat_file *f, size_t *body, struct sf_chat_front *own,
                        struct sf_err *err)
{
    SF_ASSERT_HELD(&f->lock);
    int rc = chat_typed_end(&f->typed, follows, f, body, own, err);
    int bad = rc == 1 ? provider_ok(f, own, err) : 0;
    return bad ? bad : rc;
}

/* Fill @p; @settings gets all that hold. */
static int
prompt_fill(struct sf_chat_file *f, const char *text, size_t len, size_t body,
            const struct sf_chat_front *own, struct sf_chat_front *settings,
            struct sf_conv_prompt *p)
{
    *p = (struct sf_conv_prompt){.text = text,
                                 .len = len,
                                 .body = body,
                                 .settings = settings,
                                 .own = own,
                                 .uid = (uint32_t)f->o.uid};
    int rc = sf_chat_front_under(settings, own);
    return rc ? rc : sf_chat_front_under(settings, &f->o.settings);
}

int
chat_file_submit(struct sf_chat_file *f, const struct chat_typed *t, size_t body,
                 const struct sf_chat_front *own, uint64_t draft, struct sf_conv_turn **ret)
{
    struct sf_chat_front settings;
    struct sf_conv_prompt p;
    sf_chat_front_init(&settings);
    int rc = prompt_fill(f, sf_buf_str(&t->text), t->text.len, body, own, &settings, &p);
    p.draft = draft;
    if (!rc)
        rc = sf_conv_submit(f->o.conv, &p, ret);
    sf_chat_front_fini(&settings);
    return rc;
}

/* ---- drafts ---------------------------------------------------------------------------------- */

struct chat_flush {
    struct chat_flush *next;
    uint64_t want; /* bytes written that are to be kept */
    sf_tree_fn fn;
    void *arg;
};

/* What a draft is made of, outside of the lock. */
struct draft_text {
    struct sf_buf text;
    size_t body;
    struct sf_chat_front own;
};

static void release_go(struct sf_chat_file *f);
static void draft_done(void *arg, int rc, uint64_t row);

/* Copied, so that writes may go on. @end: of chat_file_prompt_locked(), 1. */
static int
draft_take_locked(struct sf_chat_file *f, struct draft_text *d)
{
    sf_buf_init(&d->text);
    int rc = sf_buf_append(&d->text, sf_buf_str(&f->typed.text), f->typed.text.len);
    if (rc)
        return rc;
    f->drafting = true;
    f->drafting_epoch = f->epoch;
    f->kept = f->drafted;
    f->drafted = f->typed.written;
    atomic_fetch_add(&f->refs, 1);
    return 0;
}

static void
draft_begin(struct sf_chat_file *f, struct draft_text *d, uint64_t row)
{
    struct sf_chat_front settings;
    struct sf_conv_prompt p;
    sf_chat_front_init(&settings);
    int rc = prompt_fill(f, sf_buf_str(&d->text), d->text.len, d->body, &d->own, &settings, &p);
    p.draft = row;
    if (rc)
        draft_done(f, rc, 0);
    else
        sf_conv_draft(f->o.conv, &p, draft_done, f);
    sf_chat_front_fini(&settings);
    sf_buf_fini(&d->text);
}

/* Flushes that are over, or with @all all; the others stay. */
static struct chat_flush *
flushes_take_locked(struct sf_chat_file *f, bool all)
{
    struct chat_flush **at = &f->flushes, *out = NULL, *x;
    while ((x = *at)) {
        if (!all && x->want > f->drafted) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        x->next = out;
        out = x;
    }
    return out;
}

static void
flushes_end(struct chat_flush *x, int rc)
{
    const struct sf_tree_result res = {0};
    for (struct chat_flush *next; x; x = next) {
        next = x->next;
        x->fn(x->arg, rc, rc ? NULL : &res);
        free(x);
    }
}

static void
draft_done(void *arg, int rc, uint64_t row)
{
    struct sf_chat_file *f = arg;
    struct draft_text d;
    struct chat_flush *over;
    bool again = false, released;
    uint64_t orphan = 0;
    sf_chat_front_init(&d.own);
    sf_mutex_lock(&f->lock);
    if (!rc && f->epoch == f->drafting_epoch)
        f->draft = row;
    else if (!rc)
        orphan = row;
    bool stale = f->epoch != f->drafting_epoch;
    over = flushes_take_locked(f, rc || stale);
    if (rc && !stale)
        f->drafted = f->kept; /* so the next flush tries again, and does not say that it is there */
    f->drafting = false;
    if (f->flushes) { /* more was written since */
        again =
            chat_file_prompt_locked(f, &d.body, &d.own, NULL) == 1 && draft_take_locked(f, &d) == 0;
    }
    struct chat_flush *rest = again ? NULL : flushes_take_locked(f, true);
    row = f->draft;
    released = f->released && !f->drafting;
    sf_mutex_unlock(&f->lock);
    if (orphan)
        sf_conv_undraft(f->o.conv, orphan);
    flushes_end(over, stale ? 0 : rc);
    flushes_end(rest, -EINVAL);
    if (again)
        draft_begin(f, &d, row);
    else
        chat_file_unhold(f);
    sf_chat_front_fini(&d.own);
    if (released)
        release_go(f);
    chat_file_unref(f);
}

/* A prompt that is not good is not kept. */
static void
flush_bad(struct sf_chat_file *f, uint64_t row, int rc, const struct sf_err *err)
{
    if (row)
        sf_conv_undraft(f->o.conv, row);
    if (rc)
        chat_file_error(f, err);
}

void
sf_chat_flush(struct sf_chat_file *f, sf_tree_fn fn, void *arg)
{
    const struct sf_tree_result res = {0};
    struct chat_flush *x = calloc(1, sizeof *x);
    struct sf_err err = SF_ERR_INIT;
    struct draft_text d;
    uint64_t row = 0;
    bool begin = false;
    sf_chat_front_init(&d.own);
    sf_mutex_lock(&f->lock);
    int rc = f->typed.written ? chat_file_prompt_locked(f, &d.body, &d.own, &err) : 0;
    bool good = rc == 1;
    rc = good && !x ? -ENOMEM : good ? 0 : rc;
    bool done = !good || rc || (f->draft && !f->drafting && f->drafted == f->typed.written);
    if (!done) {
        *x = (struct chat_flush){f->flushes, f->typed.written, fn, arg};
        begin = !f->drafting;
        rc = begin ? draft_take_locked(f, &d) : 0;
        done = rc;
        if (!done)
            f->flushes = x;
    }
    row = f->draft;
    if (!good && !f->drafting)
        f->draft = 0;
    bool bad = !good && !f->drafting;
    sf_mutex_unlock(&f->lock);
    if (good)
        chat_file_flushed(f, true);
    if (bad)
        flush_bad(f, row, rc, &err);
    if (begin && !rc)
        draft_begin(f, &d, row);
    sf_chat_front_fini(&d.own);
    if (done) {
        free(x);
        fn(arg, rc, rc ? NULL : &res);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static void
put_away(void *arg, int rc)
{
    (void)arg;
    (void)rc;
}

/* Nothing is being kept any more: what was typed is submitted, or dropped. */
static void
release_go(struct sf_chat_file *f)
{
    struct sf_chat *chat = f->o.chat;
    struct sf_chat_front own;
    struct sf_err err = SF_ERR_INIT;
    size_t body = 0;
    sf_chat_front_init(&own);
    sf_mutex_lock(&f->lock);
    int rc = f->typed.written && !f->stopped ? chat_file_prompt_locked(f, &body, &own, &err) : 0;
    uint64_t row = f->stopped ? 0 : f->draft;
    bool away = f->truncated && !f->wrote && !f->stopped;
    sf_mutex_unlock(&f->lock);
    if (rc == 1) {
        rc = chat_file_submit(f, &f->typed, body, &own, row, NULL);
        if (rc)
            rc = sf_err_set(&err, rc, "the prompt could not be submitted: %s", strerror(-rc));
        row = rc == -EINVAL ? row : 0;
    }
    if (row)
        sf_conv_undraft(f->o.conv, row);
    if (rc < 0)
        chat_file_error(f, &err);
    if (away)
        sf_conv_put_away(f->o.conv, true, put_away, NULL);
    if (f->answer && !sf_conv_turn_over(f->answer->turn))
        sf_conv_turn_cancel(f->answer->turn); /* R8 */
    if (f->answer)
        chat_answer_unref(f->answer);
    sf_chat_front_fini(&own);
    {
        SF_GUARD(&chat->lock);
        LIST_REMOVE(f, link);
        chat->n_files--;
    }
    chat_open_wake(chat, f->o.node);
    chat_file_unref(f);
}

void
sf_chat_abandon(struct sf_chat_file *f)
{
    f->stopped = true;
}

void
sf_chat_release(struct sf_chat_file *f)
{
    sf_mutex_lock(&f->lock);
    bool twice = f->released; /* by the kernel, and at the end */
    bool wait = f->drafting;  /* it goes on when that is over */
    f->released = true;
    if (!twice)
        atomic_fetch_add(&f->refs, 1);
    sf_mutex_unlock(&f->lock);
    if (twice)
        return;
    if (f->watching)
        sf_conv_unwatch(f->o.conv, &f->watch);
    chat_file_wake(f, false);
    if (!wait)
        release_go(f);
    chat_file_unref(f);
}
