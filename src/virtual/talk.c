/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "virtual/talk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lock.h"

#define UNREAD_MAX 65536

struct reader {
    struct reader *next;
    size_t size;
    sf_tree_fn cb;
    void *arg;
};

struct sf_talk {
    sf_talk_start_fn start; /* constant */
    void *arg;

    struct sf_mutex lock; /* leaf; protects the fields below */
    struct sf_cond room;
    unsigned refs; /* the open's, and the answer's until its end */
    bool asked, ended, closed;
    struct sf_buf line, out;
    size_t taken; /* bytes of out that were read */
    struct reader *readers, **readers_tail;
};

struct sf_talk *
sf_talk_new(sf_talk_start_fn start, void *arg)
{
    struct sf_talk *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->start = start;
    t->arg = arg;
    t->refs = 1;
    t->readers_tail = &t->readers;
    sf_mutex_init(&t->lock, 0);
    sf_cond_init(&t->room);
    sf_buf_init(&t->line);
    sf_buf_init(&t->out);
    return t;
}

void
sf_talk_unref(struct sf_talk *t)
{
    if (!t)
        return;
    sf_mutex_lock(&t->lock);
    unsigned left = --t->refs;
    sf_mutex_unlock(&t->lock);
    if (left)
        return;
    sf_buf_fini(&t->line);
    sf_buf_fini(&t->out);
    sf_cond_fini(&t->room);
    sf_mutex_fini(&t->lock);
    free(t);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Who can be answered now, with an owned copy of its bytes. */
static struct reader *
reader_take_locked(struct sf_talk *t, char **data, size_t *len)
{
    struct reader *r = t->readers;
    size_t unread = t->out.len - t->taken;
    if (!r || (!unread && t->asked && !t->ended && !t->closed))
        return NULL;
    *len = unread < r->size ? unread : r->size;
    *data = *len ? malloc(*len) : NULL;
    if (*len && !*data)
        *len = 0;
    else if (*len)
        memcpy(*data, t->out.data + t->taken, *len);
    t->taken += *len;
    if (t->taken == t->out.len) {
        sf_buf_clear(&t->out);
        t->taken = 0;
    }
    t->readers = r->next;
    if (!t->readers)
        t->readers_tail = &t->readers;
    sf_cond_signal(&t->room);
    return r;
}

/* The caller holds a reference. */
static void
deliver(struct sf_talk *t)
{
    for (;;) {
        char *data = NULL;
        size_t len = 0;
        sf_mutex_lock(&t->lock);
        struct reader *r = reader_take_locked(t, &data, &len);
        sf_mutex_unlock(&t->lock);
        if (!r)
            return;
        const struct sf_tree_result res = {.data = data, .len = len};
        r->cb(r->arg, 0, &res);
        free(data);
        free(r);
    }
}

void
sf_talk_read(struct sf_talk *t, size_t size, sf_tree_fn cb, void *arg)
{
    struct reader *r = malloc(sizeof *r);
    if (!r) {
        const struct sf_tree_result none = {0};
        cb(arg, 0, &none);
        return;
    }
    *r = (struct reader){NULL, size, cb, arg};
    sf_mutex_lock(&t->lock);
    *t->readers_tail = r;
    t->readers_tail = &r->next;
    t->refs++;
    sf_mutex_unlock(&t->lock);
    deliver(t);
    sf_talk_unref(t);
}

void
sf_talk_unread(struct sf_talk *t, const void *data, size_t len)
{
    struct sf_buf all;
    sf_buf_init(&all);
    sf_mutex_lock(&t->lock);
    t->refs++;
    if (sf_buf_append(&all, data, len) == 0 &&
        sf_buf_append(&all, t->out.data + t->taken, t->out.len - t->taken) == 0) {
        struct sf_buf old = t->out;
        t->out = all;
        all = old;
        t->taken = 0;
    }
    sf_mutex_unlock(&t->lock);
    sf_buf_fini(&all);
    deliver(t);
    sf_talk_unref(t);
}

/* ---- asking --------------------------------------------------------------------------------- */

/* 1: the line is whole. */
static int
take_line_locked(struct sf_talk *t, const char *buf, size_t len)
{
    const char *end = memchr(buf, '\n', len);
    size_t n = end ? (size_t)(end - buf) : len;
    if (t->asked)
        return -EBUSY;
    if (memchr(buf, '\0', n))
        return -EINVAL;
    int rc = sf_buf_append_max(&t->line, buf, n, SF_TALK_LINE_MAX);
    if (rc || !end)
        return rc;
    t->asked = true;
    t->refs++; /* until sf_talk_end() */
    return 1;
}

int
sf_talk_write(struct sf_talk *t, const char *buf, size_t len)
{
    sf_mutex_lock(&t->lock);
    int rc = take_line_locked(t, buf, len);
    sf_mutex_unlock(&t->lock);
    if (rc == 1)
        t->start(t->arg, t, t->line.data); /* nobody changes the line any more */
    return rc < 0 ? rc : (int)len;
}

void
sf_talk_close(struct sf_talk *t)
{
    sf_mutex_lock(&t->lock);
    t->closed = true;
    sf_cond_broadcast(&t->room);
    sf_mutex_unlock(&t->lock);
    deliver(t);
}

/* ---- answering ------------------------------------------------------------------------------ */

int
sf_talk_print(struct sf_talk *t, const char *fmt, ...)
{
    va_list ap;
    sf_mutex_lock(&t->lock);
    while (t->out.len - t->taken >= UNREAD_MAX && !t->closed)
        sf_cond_wait(&t->room, &t->lock);
    va_start(ap, fmt);
    int rc = t->closed ? -ECANCELED : sf_buf_vprintf(&t->out, fmt, ap);
    va_end(ap);
    sf_mutex_unlock(&t->lock);
    deliver(t);
    return rc;
}

bool
sf_talk_cancelled(struct sf_talk *t)
{
    SF_GUARD(&t->lock);
    return t->closed;
}

void
sf_talk_end(struct sf_talk *t, int rc, const char *text)
{
    sf_mutex_lock(&t->lock);
    /* Without memory for the line the reader finds an end without it, which says enough. */
    (void)(rc < 0 ? sf_buf_printf(&t->out, "failed %d %s\n", -rc, text)
                  : sf_buf_puts(&t->out, "done\n"));
    t->ended = true;
    sf_mutex_unlock(&t->lock);
    deliver(t);
    sf_talk_unref(t);
}
