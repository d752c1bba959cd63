/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The answer comes: pieces go to who reads, and each second to the state directory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "chat/internal.h"
#include "observe/log.h"

/* ---- pieces that are kept -------------------------------------------------------------------- */

struct piece {
    struct sf_buf text;
    enum sf_provider_voice voice;
    uint32_t number;
};

/* What came and is not stored; false = nothing. */
static bool
take_piece(struct sf_conv_turn *t, struct piece *p)
{
    SF_GUARD(&t->cs->lock);
    if (t->stage != TURN_ANSWERS)
        return false;
    /* Reasoning first. */
    for (int v = SF_PV_REASONING; v >= SF_PV_ANSWER; v--) {
        size_t n = t->said[v].len - t->kept[v];
        if (!n || sf_buf_append(&p->text, t->said[v].data + t->kept[v], n))
            continue;
        t->kept[v] += n;
        p->voice = (enum sf_provider_voice)v;
        p->number = ++t->pieces;
        t->writing = true;
        return true;
    }
    return false;
}

static void
save(void *arg)
{
    struct sf_conv_turn *t = arg;
    for (;;) {
        struct piece p = {.text = SF_BUF_INIT};
        if (!take_piece(t, &p))
            break;
        int rc = sf_chat_store_piece(t->cs->store, t->talk->id, t->stored, p.number,
                                     p.voice == SF_PV_REASONING, p.text.data, p.text.len);
        sf_buf_fini(&p.text);
        if (rc) /* all of it is stored at the end, then */
            sf_warn("chat", "event=piece-not-kept id=%s rc=%d", t->talk->id, rc);
        SF_GUARD(&t->cs->lock);
        t->writing = false;
        sf_cond_broadcast(&t->cs->idle);
    }
    {
        SF_GUARD(&t->cs->lock);
        t->saving = false;
    }
    sf_conv_turn_put(t);
}

static void
save_later_locked(struct sf_conv_turn *t)
{
    size_t new = t->said[0].len + t->said[1].len - t->kept[0] - t->kept[1];
    if (t->saving || !new)
        return;
    t->saving = true;
    turn_ref_locked(t);
    conv_crew_later(t->cs->workers, &t->save, new >= CONV_PIECE ? 0 : CONV_PIECE_MS, save, t);
}

/* ---- pieces that come ------------------------------------------------------------------------ */

static int
begin_part_locked(struct sf_conv_turn *t, enum sf_provider_voice voice)
{
    struct sf_chat_turn head = t->answer.turn;
    int rc = 0;
    if (voice == SF_PV_REASONING) {
        head.kind = SF_CHAT_REASONING;
        head.above = (struct sf_chat_notes){.len = 0};
    } else if (t->shown == SHOWN_REASONING) {
        rc = talk_end_locked(t->talk, &t->printed, NULL);
    }
    if (!rc)
        rc = talk_begin_locked(t->talk, &head, &t->printed);
    if (!rc)
        t->shown = voice == SF_PV_REASONING ? SHOWN_REASONING : SHOWN_ANSWER;
    return rc;
}

int
turn_hears_locked(struct sf_conv_turn *t, enum sf_provider_voice voice, const char *text, size_t n)
{
    struct sf_buf *said = &t->said[voice];
    const size_t was = said->len;
    /* Reasoning that goes on within the answer would have to be shown before it. */
    if (voice == SF_PV_REASONING && t->shown == SHOWN_ANSWER)
        return 0;
    int rc = text ? sf_chat_clean_put(&t->clean[voice], said, text, n)
                  : sf_chat_clean_end(&t->clean[voice], said);
    if (rc || said->len == was)
        return rc;
    if (t->shown != (voice == SF_PV_REASONING ? SHOWN_REASONING : SHOWN_ANSWER))
        rc = begin_part_locked(t, voice);
    return rc ? rc : talk_text_locked(t->talk, &t->printed, said->data + was, said->len - was);
}

static bool
delta(void *arg, enum sf_provider_voice voice, const char *text, size_t n)
{
    struct sf_conv_turn *t = arg;
    {
        SF_GUARD(&t->cs->lock);
        if (t->stage == TURN_ASKS)
            t->stage = TURN_ANSWERS;
        if (turn_hears_locked(t, voice, text, n))
            sf_warn("chat", "event=piece-lost id=%s", t->talk->id);
        save_later_locked(t);
        turn_changed_locked(t);
    }
    turn_serve(t);
    talk_serve(t->talk);
    return false;
}

static void
answered(void *arg, const struct sf_provider_chat_end *end)
{
    struct sf_conv_turn *t = arg;
    struct conv_crew *crew = t->cs->workers;
    SF_GUARD(&t->cs->lock);
    t->asked = false;
    t->how = end->how;
    t->usage = end->usage;
    t->took_ms = end->total_ms;
    t->sent |= end->attempts > 0;
    if (end->fault->cls != SF_PC_OK || end->fault->err)
        t->fault = *end->fault;
    else
        memcpy(t->fault.request_id, end->fault->request_id, sizeof t->fault.request_id);
    t->stage = end->how == SF_PE_FAILED ? turn_failed_locked(t) : TURN_ENDS;
    if (t->stage != TURN_ENDS)
        crew = t->cs->beginners;
    /* With the reference that it was asked with. */
    conv_crew_do(crew, &t->job, turn_run, t);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int
store_begin(struct sf_conv_turn *t)
{
    struct sf_chat_change ch = {.id = t->talk->id, .begins = &t->answer, .ends = t->stored};
    int rc = sf_chat_store_change(t->cs->store, &ch);
    if (!rc)
        t->stored = t->answer.number;
    return rc;
}

int
turn_asks(struct sf_conv_turn *t)
{
    const struct sf_provider_chat_fns fns = {.delta = delta, .end = answered, .arg = t};
    struct sf_provider *p = sf_providers_one(t->cs->opts.providers, t->confs[t->conf]->name);
    if (!p)
        return turn_fault(t, -EACCES, "%s cannot be asked", t->confs[t->conf]->name);
    int rc = store_begin(t);
    if (rc)
        return turn_fault(t, rc, "the answer could not be kept: %s", strerror(-rc));
    t->ask.chat.deadline_ms = t->deadline_ms;
    {
        SF_GUARD(&t->cs->lock);
        turn_ref_locked(t);
        t->asked = true;
        t->request = 0;
    }
    uint64_t id = sf_provider_chat(p, &t->ask.chat, &fns, &t->fault);
    bool cancel;
    {
        SF_GUARD(&t->cs->lock);
        if (!id) {
            t->asked = false;
            turn_unref_locked(t);
            return t->fault.err;
        }
        t->request = id;
        cancel = t->cancelled && t->asked;
    }
    if (cancel)
        sf_provider_cancel(p, id);
    return TURN_LATER;
}

void
turn_unask(struct sf_conv_turn *t, uint64_t request)
{
    /* The one that is asked, as long as it is. */
    struct sf_provider *p = sf_providers_one(t->cs->opts.providers, t->confs[t->conf]->name);
    if (p)
        sf_provider_cancel(p, request);
}
