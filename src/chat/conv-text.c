/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a conversation says: its turns as they are printed, one part each. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "chat/internal.h"

static bool
is_in(const struct conv_part *p, unsigned view)
{
    return view == SF_CHAT_VIEW_REASONING || !p->reasoning;
}

static unsigned
index_of(enum sf_chat_view view)
{
    return view == SF_CHAT_VIEW_REASONING;
}

/* The last part has grown by so much. */
static void
grown(struct talk *t, size_t by)
{
    const struct conv_part *p = &t->parts.data[t->parts.len - 1];
    t->size[0] += p->reasoning ? 0 : by;
    t->size[1] += by;
    t->mtime_ns = sf_wall_ns();
}

/* A new last part; NULL without memory. */
static struct conv_part *
push(struct talk *t, bool reasoning)
{
    const struct conv_part part = {.at = {t->size[0], t->size[1]}, .reasoning = reasoning};
    return conv_parts_push(&t->parts, part) ? NULL : &t->parts.data[t->parts.len - 1];
}

static void
drop_last(struct talk *t)
{
    sf_buf_fini(&t->parts.data[--t->parts.len].text);
}

static int
print_head(struct talk *t, struct sf_buf *out)
{
    struct sf_chat_notes head = {.len = 0};
    sf_autobuf struct sf_buf about = SF_BUF_INIT;
    int rc = sf_chat_note_add(&head, "conversation", t->id);
    if (!rc && t->is.bucket)
        rc = sf_buf_printf(&about, "%s/%s", t->is.bucket, t->is.key ? t->is.key : "");
    if (!rc && about.len)
        rc = sf_chat_note_add(&head, "about", about.data);
    if (!rc)
        rc = sf_chat_print_head(out, &head);
    sf_chat_notes_free(&head);
    return rc;
}

/* The head stands before the first turn. */
static int
need_head(struct talk *t)
{
    if (t->parts.len)
        return 0;
    struct conv_part *p = push(t, false);
    int rc = p ? print_head(t, &p->text) : -ENOMEM;
    if (rc && p)
        drop_last(t);
    else if (!rc)
        grown(t, p->text.len);
    return rc;
}

static int
keep_last(struct talk *t, const struct sf_chat_turn *turn)
{
    sf_buf_clear(&t->last);
    free(t->usage);
    const char *usage = sf_chat_note_find(&turn->below, "usage");
    t->usage = usage ? strdup(usage) : NULL;
    return sf_buf_append(&t->last, sf_buf_str(&turn->text), turn->text.len);
}

/* What the last turns were: the answer, the error until one succeeds. */
static int
remember(struct talk *t, const struct sf_chat_turn *turn)
{
    if (turn->kind == SF_CHAT_ERROR || turn->kind == SF_CHAT_ASSISTANT) {
        free(t->error);
        t->error = turn->kind == SF_CHAT_ERROR ? strdup(sf_buf_str(&turn->text)) : NULL;
    }
    return turn->kind == SF_CHAT_ASSISTANT ? keep_last(t, turn) : 0;
}

bool
talk_has_message_locked(const struct talk *t, const char *message)
{
    struct conv_message *m;
    HASH_FIND_STR(t->messages, message, m);
    return m != NULL;
}

static int
note_message(struct talk *t, const char *id)
{
    if (!*id || talk_has_message_locked(t, id))
        return 0;
    struct conv_message *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    memcpy(m->id, id, strlen(id) + 1);
    HASH_ADD_STR(t->messages, id, m);
    if (SF_HTAB_ADDED(m))
        return 0;
    free(m);
    return -ENOMEM;
}

int
talk_note_locked(struct talk *t, const struct sf_chat_record *r)
{
    int rc = note_message(t, r->message);
    return rc ? rc : remember(t, &r->turn);
}

int
talk_add_locked(struct talk *t, const struct sf_chat_record *r)
{
    int rc = need_head(t);
    struct conv_part *p = rc ? NULL : push(t, r->turn.kind == SF_CHAT_REASONING);
    if (!p)
        return -ENOMEM;
    rc = sf_chat_print_turn(&p->text, &r->turn);
    if (rc) {
        drop_last(t);
        return rc;
    }
    grown(t, p->text.len);
    return talk_note_locked(t, r);
}

int
talk_begin_locked(struct talk *t, const struct sf_chat_turn *head, struct sf_chat_body *body)
{
    int rc = need_head(t);
    struct conv_part *p = rc ? NULL : push(t, head->kind == SF_CHAT_REASONING);
    if (!p)
        return -ENOMEM;
    *body = (struct sf_chat_body){0};
    rc = sf_chat_print_begin(&p->text, head, body);
    if (rc)
        drop_last(t);
    else
        grown(t, p->text.len);
    return rc;
}

int
talk_text_locked(struct talk *t, struct sf_chat_body *body, const char *text, size_t len)
{
    struct sf_buf *out = &t->parts.data[t->parts.len - 1].text;
    const size_t was = out->len;
    int rc = sf_chat_print_text(out, body, text, len);
    grown(t, out->len - was);
    return rc;
}

int
talk_end_locked(struct talk *t, struct sf_chat_body *body, const struct sf_chat_notes *below)
{
    struct sf_buf *out = &t->parts.data[t->parts.len - 1].text;
    const struct sf_chat_notes none = {.len = 0};
    const size_t was = out->len;
    int rc = sf_chat_print_end(out, body, below ? below : &none);
    grown(t, out->len - was);
    return rc;
}

void
talk_clear_locked(struct talk *t)
{
    struct conv_message *m, *next;
    while (t->parts.len)
        drop_last(t);
    conv_parts_fini(&t->parts);
    HASH_ITER (hh, t->messages, m, next) {
        HASH_DEL(t->messages, m);
        free(m);
    }
    sf_buf_fini(&t->last);
    free(t->usage);
    free(t->error);
    t->usage = t->error = NULL;
    t->size[0] = t->size[1] = 0;
    sf_chat_conversation_fini(&t->is);
}

/* ---- giving it out --------------------------------------------------------------------------- */

uint64_t
talk_size_locked(const struct talk *t, enum sf_chat_view view)
{
    return view == SF_CHAT_VIEW_LAST ? t->last.len : t->size[index_of(view)];
}

/* The part that has the byte at @off, which there is. */
static size_t
part_at(const struct talk *t, unsigned view, uint64_t off)
{
    size_t low = 0, high = t->parts.len - 1;
    while (low < high) {
        size_t mid = low + (high - low + 1) / 2;
        if (t->parts.data[mid].at[view] <= off)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

static void
copy_parts(const struct talk *t, unsigned view, uint64_t off, size_t len, char *out)
{
    for (size_t i = part_at(t, view, off), done = 0; done < len; i++) {
        const struct conv_part *p = &t->parts.data[i];
        /* Parts that are not in this view begin where the next one does. */
        if (!is_in(p, view) || p->at[view] + p->text.len <= off + done)
            continue;
        size_t from = (size_t)(off + done - p->at[view]);
        size_t n = p->text.len - from < len - done ? p->text.len - from : len - done;
        memcpy(out + done, p->text.data + from, n);
        done += n;
    }
}

int
talk_copy_locked(const struct talk *t, enum sf_chat_view view, uint64_t off, size_t len, char **ret,
                 size_t *n)
{
    uint64_t size = talk_size_locked(t, view);
    *n = off >= size ? 0 : size - off < len ? (size_t)(size - off) : len;
    *ret = NULL;
    if (!*n)
        return 0;
    *ret = malloc(*n);
    if (!*ret)
        return -ENOMEM;
    if (view == SF_CHAT_VIEW_LAST)
        memcpy(*ret, t->last.data + off, *n);
    else
        copy_parts(t, index_of(view), off, *n, *ret);
    return 0;
}
