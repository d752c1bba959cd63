/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "chat/store-internal.h"

#define NUMBER_MAX (UINT64_C(1) << 53) /* no conversation has so many turns */
#define FREED_MAX  256                 /* rows that one step of making room removes */

static int
gone(int rc)
{
    return rc == -ENOENT ? 0 : rc;
}

/* ---- room ------------------------------------------------------------------------------------ */

/* Rows from @from on, as long as they are of conversation @id (NULL = all). */
static int
del_rows(struct sf_txn *txn, enum table table, struct key from, const char *id, unsigned *freed)
{
    for (;;) {
        sf_autobuf struct sf_buf found = SF_BUF_INIT;
        uint64_t number;
        int rc = sf_txn_next(txn, table, from.b, from.len, &found, NULL);
        if (!rc && id && !chats_number_is_of(&found, id, &number))
            rc = -ENOENT;
        if (rc)
            return gone(rc);
        rc = sf_txn_del(txn, table, found.data, found.len);
        if (rc)
            return rc;
        if (++*freed >= FREED_MAX && !id)
            return 0;
    }
}

/* Whether the tables are to be told anything of it. */
static int
is_untold(struct sf_txn *txn, const char *id, bool *ret)
{
    struct key at = chats_time_key(0);
    for (;;) {
        sf_autobuf struct sf_buf key = SF_BUF_INIT, value = SF_BUF_INIT;
        struct sf_chat_told told;
        int rc = sf_txn_next(txn, T_OUTBOX, at.b, at.len, &key, &value);
        *ret = !rc && chats_told_read(key.data, key.len, value.data, value.len, &told) &&
               !strcmp(told.id, id);
        if (rc || *ret)
            return gone(rc);
        if (!chats_behind(&key, &at))
            return 0;
    }
}

/* The oldest that was put away and is in the tables: its id, "" = there is none. */
static int
oldest_away(struct sf_txn *txn, char id[static SF_CHAT_ID_MAX + 1])
{
    struct key at = chats_text_key("!");
    int64_t oldest = INT64_MAX;
    id[0] = '\0';
    for (;;) {
        sf_autobuf struct sf_buf key = SF_BUF_INIT, value = SF_BUF_INIT;
        struct sf_chat_conversation c = {.last = 0};
        bool untold = true;
        int rc = sf_txn_next(txn, T_CONVERSATIONS, at.b, at.len, &key, &value);
        if (rc)
            return gone(rc);
        if (!chats_behind(&key, &at))
            return 0;
        if (strlen(sf_buf_str(&key)) != key.len || !sf_chat_id_ok(sf_buf_str(&key)) ||
            chats_conversation_read(value.data, value.len, &c))
            continue;
        if (c.away && c.cursor && c.created_ms < oldest)
            rc = is_untold(txn, sf_buf_str(&key), &untold);
        if (!rc && !untold) {
            oldest = c.created_ms;
            memcpy(id, sf_buf_str(&key), key.len + 1);
        }
        sf_chat_conversation_fini(&c);
        if (rc)
            return rc;
    }
}

int
chats_room_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct chats_room *r =
        (struct chats_room *)(void *)((char *)w - offsetof(struct chats_room, w));
    struct key first = {.b = {0}, .len = 1};
    char id[SF_CHAT_ID_MAX + 1];
    r->freed = 0;
    int rc = del_rows(txn, T_ANSWERS, first, NULL, &r->freed);
    if (!rc && r->freed < FREED_MAX)
        rc = del_rows(txn, T_TEXTS, first, NULL, &r->freed);
    if (rc || r->freed)
        return rc;
    rc = oldest_away(txn, id);
    if (rc || !id[0])
        return rc;
    r->freed = 1;
    rc = del_rows(txn, T_TURNS, chats_number_key(id, 0, NULL), id, &r->freed);
    return rc ? rc : sf_txn_del(txn, T_CONVERSATIONS, id, strlen(id));
}

int
chats_write_wait(struct sf_chat_store *st, struct sf_env_write *w)
{
    for (;;) {
        struct chats_room room = {.w = {.run = chats_room_run, .frees = true}};
        int rc = sf_env_write_wait(st->env, w);
        if (rc != -ENOSPC || sf_env_write_wait(st->env, &room.w) || !room.freed)
            return rc;
    }
}

/* ---- a conversation changes ------------------------------------------------------------------ */

struct change {
    struct sf_env_write w;
    const struct sf_chat_change *c;
    uint64_t first; /* number of the first of its turns */
    uint64_t told;
};

/* What it is; a new one where there is none, or none that can be read. */
static int
take_conversation(struct sf_txn *txn, const struct sf_chat_change *ch,
                  struct sf_chat_conversation *c)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    int rc = sf_txn_get(txn, T_CONVERSATIONS, ch->id, strlen(ch->id), &value);
    if (!rc)
        rc = chats_conversation_read(value.data, value.len, c);
    if (rc == -ENOENT || rc == -EINVAL) {
        c->created_ms = sf_wall_ns() / 1000000;
        rc = 0;
    }
    if (!rc && ch->now) {
        struct sf_chat_conversation now = {.last = 0};
        rc = chats_conversation_copy(ch->now, &now);
        if (!rc) {
            now.last = c->last;
            if (!now.created_ms)
                now.created_ms = c->created_ms;
            sf_chat_conversation_fini(c);
            *c = now;
        }
    }
    return rc;
}

/* Numbers are never used again, also where the conversation's row was lost. */
static int
skip_used(struct sf_txn *txn, const char *id, uint64_t *last)
{
    static const enum table tables[] = {T_TURNS, T_RUNNING};
    for (size_t i = 0; i < 2; i++) {
        for (;;) {
            sf_autobuf struct sf_buf found = SF_BUF_INIT;
            struct key k = chats_number_key(id, *last + 1, NULL);
            uint64_t number;
            int rc = sf_txn_next(txn, tables[i], k.b, k.len, &found, NULL);
            if (rc && rc != -ENOENT)
                return rc;
            if (rc || !chats_number_is_of(&found, id, &number))
                break;
            if (number > NUMBER_MAX)
                return -EIO;
            *last = number;
        }
    }
    return 0;
}

static int
put_kept(struct sf_txn *txn, enum table table, const struct key *k,
         const struct sf_chat_record *kept, uint64_t question)
{
    sf_autobuf struct sf_buf row = SF_BUF_INIT;
    int rc = chats_turn_write(&row, kept, question);
    return rc ? rc : sf_txn_put(txn, table, k->b, k->len, row.data, row.len);
}

static int
put_turns(struct sf_txn *txn, const struct sf_chat_change *ch, uint64_t *last)
{
    for (size_t i = 0; i < ch->n_turns; i++) {
        struct key k = chats_number_key(ch->id, ++*last, NULL);
        int rc = put_kept(txn, T_TURNS, &k, &ch->turns[i], 0);
        if (rc)
            return rc;
    }
    return 0;
}

int
chats_put_by_time(struct sf_txn *txn, enum table table, const struct sf_buf *value, uint64_t *row)
{
    uint64_t at = (uint64_t)sf_wall_ns();
    for (;; at++) {
        sf_autobuf struct sf_buf there = SF_BUF_INIT;
        struct key k = chats_time_key(at);
        int rc = sf_txn_get(txn, table, k.b, k.len, &there);
        if (rc == -ENOENT) {
            *row = at;
            return sf_txn_put(txn, table, k.b, k.len, value->data, value->len);
        }
        if (rc)
            return rc;
    }
}

/* The pieces of one that came go. @question: of its beginning. */
static int
end_running(struct sf_txn *txn, const struct sf_chat_change *ch, uint64_t *question)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    struct sf_chat_record begun = {.number = 0};
    uint32_t zero = 0;
    struct key k = chats_number_key(ch->id, ch->ends, &zero);
    int rc = sf_txn_get(txn, T_RUNNING, k.b, k.len, &value);
    if (!rc && !chats_turn_read(value.data, value.len, &begun, question))
        sf_chat_record_fini(&begun);
    if (rc && rc != -ENOENT)
        return rc;
    for (;;) {
        sf_autobuf struct sf_buf found = SF_BUF_INIT;
        uint64_t number;
        rc = sf_txn_next(txn, T_RUNNING, k.b, k.len, &found, NULL);
        if (!rc && (!chats_number_is_of(&found, ch->id, &number) || number != ch->ends))
            rc = -ENOENT;
        if (!rc)
            rc = sf_txn_del(txn, T_RUNNING, found.data, found.len);
        if (rc)
            return gone(rc);
    }
}

static int
put_told(struct sf_txn *txn, const struct sf_chat_change *ch, uint64_t question, uint64_t answer,
         uint64_t *row)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    struct sf_chat_told told = {.question = question, .answer = answer};
    *row = 0;
    if (!question && !answer)
        return 0;
    memcpy(told.id, ch->id, strlen(ch->id) + 1);
    int rc = chats_told_write(&value, &told);
    return rc ? rc : chats_put_by_time(txn, T_OUTBOX, &value, row);
}

static int
add_spent(struct sf_txn *txn, const struct sf_chat_change *ch)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT, row = SF_BUF_INIT;
    struct sf_chat_spent spent = {0};
    struct key k = chats_spent_key(ch->day, ch->spender);
    int rc = sf_txn_get(txn, T_SPENT, k.b, k.len, &value);
    if (rc && rc != -ENOENT)
        return rc;
    if (!rc && !chats_spent_read(value.data, value.len, &spent))
        spent = (struct sf_chat_spent){0};
    spent.tokens += ch->spent.tokens;
    spent.price += ch->spent.price;
    spent.turns += ch->spent.turns;
    rc = chats_spent_write(&row, &spent);
    return rc ? rc : sf_txn_put(txn, T_SPENT, k.b, k.len, row.data, row.len);
}

static int
put_rest(struct sf_txn *txn, struct change *m, struct sf_chat_conversation *c)
{
    const struct sf_chat_change *ch = m->c;
    uint64_t question = ch->question ? m->first + ch->question - 1 : 0, before = 0;
    uint64_t answer = ch->answer ? m->first + ch->answer - 1 : 0;
    int rc = 0;
    if (ch->ends)
        rc = end_running(txn, ch, &before);
    if (!rc && ch->begins) {
        uint32_t zero = 0;
        struct key k = chats_number_key(ch->id, ++c->last, &zero);
        rc = put_kept(txn, T_RUNNING, &k, ch->begins, question);
    } else if (!rc) {
        rc = put_told(txn, ch, question ? question : before, answer, &m->told);
    }
    if (!rc && ch->line) {
        struct key k = chats_time_key(ch->line);
        rc = gone(sf_txn_del(txn, T_LINE, k.b, k.len));
    }
    if (!rc && ch->spender)
        rc = add_spent(txn, ch);
    return rc;
}

static int
change_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct change *m = (struct change *)(void *)((char *)w - offsetof(struct change, w));
    sf_autobuf struct sf_buf row = SF_BUF_INIT;
    struct sf_chat_conversation c = {.last = 0};
    int rc = take_conversation(txn, m->c, &c);
    if (!rc)
        rc = skip_used(txn, m->c->id, &c.last);
    m->first = c.last + 1;
    if (!rc)
        rc = put_turns(txn, m->c, &c.last);
    if (!rc)
        rc = put_rest(txn, m, &c);
    if (!rc)
        rc = chats_conversation_write(&row, &c);
    if (!rc)
        rc = sf_txn_put(txn, T_CONVERSATIONS, m->c->id, strlen(m->c->id), row.data, row.len);
    sf_chat_conversation_fini(&c);
    return rc;
}

int
sf_chat_store_change(struct sf_chat_store *st, struct sf_chat_change *ch)
{
    /* One without turns lets rows go, or says which may: it must be possible without room, too. */
    struct change m = {.w = {.run = change_run, .frees = !ch->n_turns && !ch->begins}, .c = ch};
    if (!ch->id || !sf_chat_id_ok(ch->id) || ch->question > ch->n_turns || ch->answer > ch->n_turns)
        return -EINVAL;
    int rc = chats_write_wait(st, &m.w);
    for (size_t i = 0; i < ch->n_turns && !rc; i++)
        ch->turns[i].number = m.first + i;
    if (!rc)
        ch->told = m.told;
    if (!rc && ch->begins)
        ch->begins->number = m.first + ch->n_turns;
    return rc;
}

/* ---- what a crash left ----------------------------------------------------------------------- */

/* The first turn that was coming. */
struct left {
    char id[SF_CHAT_ID_MAX + 1];
    uint64_t number;
    struct sf_chat_record answer;
    struct sf_buf reasoning;
    bool found, begun; /* begun: its beginning can be read */
    int rc;
};

static int
left_piece(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
    struct left *l = arg;
    char id[SF_CHAT_ID_MAX + 1];
    uint64_t number;
    uint32_t piece;
    if (!chats_number_read(key, key_len, id, &number, &piece))
        return 0;
    if (!l->found) {
        memcpy(l->id, id, sizeof id);
        l->number = number;
        l->found = true;
    }
    if (number != l->number || strcmp(id, l->id) != 0)
        return 1;
    if (piece == 0) {
        int rc = chats_turn_read(value, len, &l->answer, NULL);
        l->begun = rc == 0;
        l->rc = rc == -ENOMEM ? rc : 0;
    } else if (l->begun && len > 0) {
        l->rc = sf_buf_append(*(const char *)value == 'r' ? &l->reasoning : &l->answer.turn.text,
                              (const char *)value + 1, len - 1);
    }
    return l->rc ? 1 : 0;
}

/* What came becomes turns. */
static int
crashed_turns(struct left *l, struct sf_chat_record turns[2], size_t *n)
{
    const struct sf_chat_turn *a = &l->answer.turn;
    *n = 0;
    if (l->reasoning.len > 0) {
        struct sf_chat_turn *r = &turns[0].turn;
        r->kind = SF_CHAT_REASONING;
        r->at_ms = a->at_ms;
        r->provider = a->provider ? strdup(a->provider) : NULL;
        r->model = a->model ? strdup(a->model) : NULL;
        if (!r->provider != !a->provider || !r->model != !a->model)
            return -ENOMEM;
        r->text = l->reasoning;
        l->reasoning = (struct sf_buf){0};
        *n = 1;
    }
    int rc = sf_chat_note_add(&l->answer.turn.below, "end", "crashed");
    turns[*n] = l->answer;
    l->answer = (struct sf_chat_record){0};
    ++*n;
    return rc;
}

static int
recover_one(struct sf_chat_store *st, struct left *l)
{
    struct sf_chat_record turns[2] = {{.number = 0}, {.number = 0}};
    struct sf_chat_change ch = {.id = l->id, .turns = turns, .ends = l->number};
    int rc = l->begun ? crashed_turns(l, turns, &ch.n_turns) : 0;
    ch.answer = ch.n_turns;
    if (!rc)
        rc = sf_chat_store_change(st, &ch);
    sf_chat_record_fini(&turns[0]);
    sf_chat_record_fini(&turns[1]);
    return rc;
}

int
chats_recover_running(struct sf_chat_store *st)
{
    for (;;) {
        struct left l = {.number = 0};
        int rc = sf_env_walk(st->env, T_RUNNING, NULL, 0, left_piece, &l);
        rc = rc < 0 ? rc : l.rc;
        bool found = l.found;
        if (!rc && found)
            rc = recover_one(st, &l);
        sf_chat_record_fini(&l.answer);
        sf_buf_fini(&l.reasoning);
        if (rc || !found)
            return rc;
    }
}

struct first_row {
    struct sf_env_write w;
    struct sf_buf key, value;
};

static int
take_first(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
    struct first_row *f = arg;
    int rc = sf_buf_append(&f->key, key, key_len);
    if (!rc)
        rc = sf_buf_append(&f->value, value, len);
    return rc ? rc : 1;
}

static int
drop_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct first_row *f = (struct first_row *)(void *)((char *)w - offsetof(struct first_row, w));
    return gone(sf_txn_del(txn, T_LINE, f->key.data, f->key.len));
}

static int
draft_turn(struct sf_chat_store *st, struct first_row *f)
{
    struct sf_chat_draft d;
    json_t *head = NULL;
    if (f->key.len != 8 || !chats_draft_read(f->value.data, f->value.len, &d, &head)) {
        f->w = (struct sf_env_write){.run = drop_run, .frees = true};
        return sf_env_write_wait(st->env, &f->w);
    }
    d.row = chats_big_endian(f->key.data, 8);
    struct sf_chat_record turn = {.turn = {.kind = SF_CHAT_DRAFT, .at_ms = d.at_ms}};
    struct sf_chat_conversation about = {.bucket = (char *)(uintptr_t)d.bucket,
                                         .key = (char *)(uintptr_t)d.key,
                                         .provider = (char *)(uintptr_t)d.provider};
    struct sf_chat_conversation known = {.last = 0};
    struct sf_chat_change ch = {.id = d.id, .turns = &turn, .n_turns = 1, .line = d.row};
    int rc = sf_chat_store_conversation(st, d.id, &known);
    if (rc == -ENOENT) {
        ch.now = &about;
        rc = 0;
    }
    sf_chat_conversation_fini(&known);
    if (!rc)
        rc = sf_chat_note_add(&turn.turn.above, "not-sent",
                              d.waiting ? "it waited when supafs ended"
                                        : "it was being written when supafs ended");
    if (!rc)
        rc = sf_buf_append(&turn.turn.text, d.text, d.len);
    if (!rc)
        rc = sf_chat_store_change(st, &ch);
    sf_chat_record_fini(&turn);
    json_decref(head);
    return rc;
}

int
chats_recover_line(struct sf_chat_store *st)
{
    for (;;) {
        struct first_row f = {.key = SF_BUF_INIT};
        int rc = sf_env_walk(st->env, T_LINE, NULL, 0, take_first, &f);
        bool found = rc > 0;
        if (found)
            rc = draft_turn(st, &f);
        sf_buf_fini(&f.key);
        sf_buf_fini(&f.value);
        if (rc || !found)
            return rc;
    }
}
