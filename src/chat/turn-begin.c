/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A turn begins: what was said before, the lease, the question. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/str.h"
#include "chat/internal.h"
#include "chat/place.h"
#include "observe/log.h"
#include "tree/files.h"

#define TITLE_MAX 80 /* bytes of the first line of a question */
#define LEASE_MS  (CONV_LEASE_S * 1000 / 3)

/* ---- another conversation -------------------------------------------------------------------- */

/* 0; -ENOENT; -errno. Another name's, or one of another program. */
static int
is_there(struct sf_conv_turn *t, struct talk *to)
{
    struct sf_chat_found f;
    int rc = talk_load(to);
    if (rc)
        return rc;
    {
        SF_GUARD(&t->cs->lock);
        if (to->parts.len)
            return 0;
    }
    rc = sf_chat_remote_find(t->cs->remote, NULL, to->id, sf_clock_ms() + CONV_TABLES_MS, &f);
    if (rc)
        return rc == -ENOSYS || rc == -EAGAIN ? -ENOENT : rc;
    SF_GUARD(&t->cs->lock);
    if (!to->is.bucket) {
        to->is.bucket = sf_steal(f.bucket);
        to->is.key = sf_steal(f.key);
        to->is.provider = sf_steal(f.provider);
    }
    sf_chat_found_fini(&f);
    return 0;
}

/* P3: what the other one is about must be the asker's to read. His groups are not known here. 0,
 * -EACCES. */
static int
may_read(struct sf_conv_turn *t, const struct talk *to)
{
    const struct sf_chat_who who = {.uid = t->uid, .gid = (gid_t)-1};
    const struct sf_conv *c = t->conv;
    struct sf_tree_entry dir, entry;
    char file[256];
    const char *key = to->is.key ? to->is.key : "";
    bool may;
    if (!to->is.bucket || t->uid == 0 ||
        (c->bucket && c->key && !strcmp(c->bucket, to->is.bucket) && !strcmp(c->key, key)))
        return 0;
    if (convs_find(t->cs, to->is.bucket, key, &dir, file))
        return -EACCES;
    if (!*file) {
        may = chat_may(&who, &dir.attr, R_OK | X_OK);
    } else {
        may = !sf_files_lookup(t->cs->opts.tree, dir.node, file, &entry);
        if (may) {
            may = chat_may(&who, &entry.attr, R_OK);
            sf_files_forget(t->cs->opts.tree, &entry);
        }
    }
    sf_files_forget(t->cs->opts.tree, &dir);
    return may ? 0 : -EACCES;
}

static struct sf_chat_name
name_of(struct sf_conv *c)
{
    SF_GUARD(&c->cs->lock);
    return c->name;
}

/* The name leads there, and the turn waits in that line. TURN_LATER, -errno. */
static int
move_to(struct sf_conv_turn *t, const struct sf_chat_name *name)
{
    struct sf_convs *cs = t->cs;
    int rc = *t->conv->of == '=' ? conv_rename(t->conv, name, NULL) : 0;
    struct talk *to = NULL, *was = t->talk;
    if (!rc) {
        SF_GUARD(&cs->lock);
        to = talk_get_locked(cs, name->id);
        if (to) {
            was->refs++;
            turn_move_locked(t, to);
        }
    }
    if (!to)
        return turn_fault(t, rc ? rc : -ENOMEM, "the conversation cannot be changed: %s",
                          strerror(rc ? -rc : ENOMEM));
    talk_serve(was);
    SF_GUARD(&cs->lock);
    talk_put_locked(was);
    talk_put_locked(to);
    return TURN_LATER;
}

/* `continue` in its front matter. 0, TURN_LATER, -errno. */
static int
go_to_other(struct sf_conv_turn *t)
{
    struct sf_convs *cs = t->cs;
    struct sf_chat_name name = name_of(t->conv);
    struct talk *to;
    t->moved = true;
    if (!strcmp(t->own.continues, t->talk->id))
        return 0;
    {
        SF_GUARD(&cs->lock);
        to = talk_get_locked(cs, t->own.continues);
    }
    int rc = to ? is_there(t, to) : -ENOMEM;
    if (!rc)
        rc = may_read(t, to);
    if (to) {
        SF_GUARD(&cs->lock);
        talk_put_locked(to);
    }
    if (rc)
        return turn_fault(t, rc, "continue: %s: %s", t->own.continues,
                          rc == -ENOENT   ? "there is no such conversation"
                          : rc == -EACCES ? "it is about a file that you may not read"
                                          : strerror(-rc));
    name.empty = name.gone = false;
    snprintf(name.id, sizeof name.id, "%s", t->own.continues);
    return move_to(t, &name);
}

int
turn_knows(struct sf_conv_turn *t)
{
    int rc = talk_load(t->talk);
    if (rc)
        return turn_fault(t, rc, "the conversation cannot be read: %s", strerror(-rc));
    return t->own.continues && !t->moved ? go_to_other(t) : 0;
}

/* ---- the question ---------------------------------------------------------------------------- */

static int
note_settings(struct sf_conv_turn *t, struct sf_chat_notes *notes)
{
    int rc = 0;
    for (int i = 0; i < SF_CHAT_SETS && !rc; i++) {
        sf_autobuf struct sf_buf value = SF_BUF_INIT;
        rc = sf_buf_printf(&value, "%s ", sf_chat_set_name((enum sf_chat_set)i));
        if (!rc)
            rc = sf_chat_front_get(&t->own, (enum sf_chat_set)i, &value);
        if (rc == -ENODATA) {
            rc = 0;
            continue;
        }
        if (!rc)
            rc = sf_chat_note_add(notes, "set", value.data);
    }
    return rc;
}

int
turn_question(struct sf_conv_turn *t)
{
    struct sf_chat_record *q = &t->question;
    size_t end = t->len;
    if (q->turn.text.len)
        return 0;
    while (end > t->body && t->prompt[end - 1] == '\n')
        end--;
    q->turn.kind = SF_CHAT_USER;
    q->turn.at_ms = sf_wall_ns() / 1000000;
    int rc = sf_uuid4(q->message);
    if (!rc)
        rc = sf_buf_append(&q->turn.text, t->prompt + t->body, end - t->body);
    return rc ? rc : note_settings(t, &q->turn.above);
}

static void
title_of(const struct sf_conv_turn *t, char out[TITLE_MAX + 1])
{
    const char *text = sf_buf_str(&t->question.turn.text);
    text += strspn(text, " \t\r\n");
    snprintf(out, TITLE_MAX + 1, "%.*s", (int)strcspn(text, "\n"), text);
    sf_utf8_trim(out);
}

const char *
turn_stem(const char *id, char stem[static SF_CHAT_STEM_MAX + 1], uint64_t *generation)
{
    *generation = 0;
    if (strlen(id) <= SF_CHAT_STEM_MAX || id[SF_CHAT_STEM_MAX] != '-' ||
        sf_parse_u64(id + SF_CHAT_STEM_MAX + 1, generation))
        return NULL;
    snprintf(stem, SF_CHAT_STEM_MAX + 1, "%s", id);
    return stem;
}

/* ---- the lease ------------------------------------------------------------------------------- */

static bool
wants_tables(const struct sf_conv_turn *t)
{
    return t->cs->remote && t->own.dry_run != 1;
}

/* K5: as long as the turn runs. */
static void
renew(void *arg)
{
    struct sf_conv_turn *t = arg;
    struct sf_convs *cs = t->cs;
    bool on;
    {
        SF_GUARD(&cs->lock);
        on = t->stage < TURN_ENDS && !t->cancelled && !cs->stopping;
    }
    if (on && sf_chat_remote_lease(cs->remote, t->talk->id, CONV_LEASE_S,
                                   sf_clock_ms() + CONV_TABLES_MS) == 0)
        sf_warn("chat", "event=lease-lost id=%s", t->talk->id);
    if (on)
        conv_crew_later(cs->askers, &t->lease, LEASE_MS, renew, t);
    else
        sf_conv_turn_put(t);
}

static void
keep_lease(struct sf_conv_turn *t)
{
    {
        SF_GUARD(&t->cs->lock);
        turn_ref_locked(t);
    }
    conv_crew_later(t->cs->askers, &t->lease, LEASE_MS, renew, t);
}

/* Another mount is at it: TURN_LATER. */
static int
wait_for_it(struct sf_conv_turn *t, unsigned busy_s)
{
    uint16_t random = 0;
    (void)sf_random_bytes(&random, sizeof random);
    int64_t ms = 1000 + random % 1000;
    if (busy_s < 2)
        ms = 250 + random % 750;
    {
        SF_GUARD(&t->cs->lock);
        turn_ref_locked(t);
    }
    conv_crew_later(t->cs->beginners, &t->job, ms, turn_run, t);
    return TURN_LATER;
}

/* Another mount has put it away. */
static int
go_to_next(struct sf_conv_turn *t)
{
    struct sf_chat_name name = name_of(t->conv);
    if (*t->conv->of != '=')
        return turn_fault(t, -ESTALE, "the conversation was put away by another mount");
    name.generation++;
    name.empty = name.gone = false;
    snprintf(name.id, sizeof name.id, "%s-%" PRIu64, t->conv->of + 1, name.generation);
    return move_to(t, &name);
}

static void
about(struct sf_conv_turn *t, struct sf_chat_about *out)
{
    const struct sf_conv *c = t->conv;
    const struct sf_chat_conversation *is = &t->talk->is;
    *out = (struct sf_chat_about){.bucket = c->bucket ? c->bucket : is->bucket,
                                  .key = c->key ? c->key : is->key,
                                  .provider = c->provider ? c->provider : is->provider};
    out->stem = turn_stem(t->talk->id, t->stem, &out->generation);
}

int
turn_leases(struct sf_conv_turn *t)
{
    char title[TITLE_MAX + 1];
    unsigned busy_s = 0;
    int rc = turn_question(t);
    if (rc)
        return turn_fault(t, rc, "the question cannot be made: %s", strerror(-rc));
    if (!wants_tables(t))
        return 0;
    struct sf_chat_begin begin = {.id = t->talk->id,
                                  .question = &t->question,
                                  .lease_s = CONV_LEASE_S,
                                  .cursor = t->talk->is.cursor};
    about(t, &begin.about);
    title_of(t, title);
    begin.title = t->talk->parts.len ? NULL : title;
    rc = sf_chat_remote_begin(t->cs->remote, &begin, sf_clock_ms() + CONV_BEGIN_MS, &t->others,
                              &busy_s);
    switch (rc) {
    case SF_CHAT_BEGUN:
        t->in_tables = true;
        keep_lease(t);
        return 0;
    case SF_CHAT_BUSY:
        return wait_for_it(t, busy_s);
    case SF_CHAT_CLOSED:
        return go_to_next(t);
    case -EFBIG:
        return turn_fault(t, rc, "the conversation is too long: begin a new one");
    case -EEXIST:
        return turn_fault(t, rc, "the conversation %s is somebody else's", t->talk->id);
    default:
        return 0; /* K8 */
    }
}

/* ---- stored, and shown ----------------------------------------------------------------------- */

static void
show_question(struct sf_conv_turn *t)
{
    struct talk *talk = t->talk;
    {
        SF_GUARD(&t->cs->lock);
        int rc = 0;
        for (size_t i = 0; i < t->others.turns.len && !rc; i++)
            rc = talk_add_locked(talk, &t->others.turns.data[i]);
        if (!rc)
            rc = talk_add_locked(talk, &t->question);
        talk->asked_ms = sf_clock_ms();
        talk_changed_locked(talk);
    }
    talk_serve(talk);
}

static int
describe(struct sf_conv_turn *t, struct sf_chat_conversation *now)
{
    struct talk *talk = t->talk;
    struct sf_chat_about a;
    char title[TITLE_MAX + 1];
    SF_GUARD(&t->cs->lock);
    talk_sift_locked(talk, &t->others);
    about(t, &a);
    title_of(t, title);
    struct sf_chat_conversation *is = &talk->is;
    if (!is->bucket && a.bucket)
        is->bucket = strdup(a.bucket);
    if (!is->key && a.key)
        is->key = strdup(a.key);
    if (!is->provider && a.provider)
        is->provider = strdup(a.provider);
    if (!is->title && !talk->parts.len)
        is->title = strdup(title);
    return talk_facts_locked(talk, now);
}

/* The turns of others and the question, as they are stored; texts stay theirs. */
static int
store_question(struct sf_conv_turn *t, struct sf_chat_conversation *now)
{
    struct sf_chat_records all = {.len = 0};
    int rc = sf_chat_records_reserve(&all, t->others.turns.len + 1);
    if (rc)
        return rc;
    for (size_t i = 0; i < t->others.turns.len; i++)
        sf_chat_records_push(&all, t->others.turns.data[i]);
    sf_chat_records_push(&all, t->question);
    struct sf_chat_change ch = {
        .id = t->talk->id, .now = now, .turns = all.data, .n_turns = all.len, .line = t->row};
    if (wants_tables(t) && !t->in_tables)
        ch.question = all.len;
    rc = sf_chat_store_change(t->cs->store, &ch);
    if (!rc)
        t->question.number = all.data[all.len - 1].number;
    sf_chat_records_fini(&all);
    return rc;
}

int
turn_says(struct sf_conv_turn *t)
{
    struct sf_chat_conversation now;
    int rc = describe(t, &now);
    if (!rc) {
        rc = store_question(t, &now);
        sf_chat_conversation_fini(&now);
    }
    if (!t->question_shown)
        show_question(t);
    t->question_shown = true;
    return rc ? turn_fault(t, rc, "the question cannot be kept: %s", strerror(-rc)) : 0;
}
