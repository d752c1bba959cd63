/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A turn ends: what came of it is stored, shown, paid, and told to the tables. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/str.h"
#include "chat/internal.h"
#include "observe/counter.h"
#include "observe/log.h"

#define BEHIND_MS 15000 /* before the tables are told again */

/* ---- what came of it ------------------------------------------------------------------------- */

static const char *
how_of(const struct sf_conv_turn *t)
{
    static const char *const words[] = {[SF_PE_STOP] = "stop",
                                        [SF_PE_LENGTH] = "length",
                                        [SF_PE_FILTERED] = "filtered",
                                        [SF_PE_EMPTY] = "empty",
                                        [SF_PE_INCOMPLETE] = "incomplete",
                                        [SF_PE_CANCELLED] = "cancelled",
                                        [SF_PE_FAILED] = "incomplete"};
    return words[t->how];
}

/* Is there an answer, be it empty? */
static bool
has_answer(const struct sf_conv_turn *t)
{
    return t->how != SF_PE_FAILED || t->said[SF_PV_ANSWER].len || t->said[SF_PV_REASONING].len;
}

static bool
has_failed(const struct sf_conv_turn *t)
{
    return t->fault.err != 0 && t->how != SF_PE_CANCELLED;
}

__attribute__((format(printf, 3, 4))) static int
note(struct sf_chat_notes *notes, const char *key, const char *fmt, ...)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    int rc = sf_buf_vprintf(&text, fmt, ap);
    va_end(ap);
    return rc ? rc : sf_chat_note_add(notes, key, sf_buf_str(&text));
}

/* T9 */
static int
note_usage(const struct sf_conv_turn *t, struct sf_chat_notes *below)
{
    const struct sf_provider_conf *conf = t->confs[t->conf];
    const struct sf_provider_usage *u = &t->usage;
    struct spend_amount amount;
    if (!u->known)
        return 0;
    int rc = note(below, "usage",
                  "prompt=%" PRIu64 " cached=%" PRIu64 " answer=%" PRIu64 " reasoning=%" PRIu64,
                  u->prompt, u->cached, u->answered, u->reasoned);
    turn_amount(t, u, &amount);
    if (!rc && amount.price)
        rc = note(below, "price", "%" PRId64 ".%06" PRId64 " %s", amount.price / 1000000,
                  amount.price % 1000000, conf->currency ? conf->currency : "USD");
    return rc;
}

static int
note_end(const struct sf_conv_turn *t, struct sf_chat_notes *below)
{
    int rc = t->answer.turn.kind == SF_CHAT_DRY_RUN ? 0 : note(below, "end", "%s", how_of(t));
    if (!rc)
        rc = note_usage(t, below);
    return rc || !t->took_ms ? rc : note(below, "took", "%" PRId64 " ms", t->took_ms);
}

static int
names(const struct sf_conv_turn *t, struct sf_chat_turn *turn)
{
    const struct sf_chat_turn *a = &t->answer.turn;
    turn->provider = a->provider ? strdup(a->provider) : NULL;
    turn->model = a->model ? strdup(a->model) : NULL;
    return !turn->provider != !a->provider || !turn->model != !a->model ? -ENOMEM : 0;
}

static struct sf_chat_record *
add_ended(struct sf_conv_turn *t, enum sf_chat_kind kind)
{
    struct sf_chat_record *r = &t->ended[t->n_ended++];
    r->turn.kind = kind;
    r->turn.at_ms = t->answer.turn.at_ms;
    return r;
}

static int
end_reasoning(struct sf_conv_turn *t)
{
    struct sf_chat_record *r = add_ended(t, SF_CHAT_REASONING);
    r->turn.text = t->said[SF_PV_REASONING];
    return names(t, &r->turn);
}

static int
end_answer(struct sf_conv_turn *t)
{
    struct sf_chat_record *r = add_ended(t, t->answer.turn.kind);
    memcpy(r->message, t->answer.message, sizeof r->message);
    memcpy(r->to, t->answer.to, sizeof r->to);
    r->turn.text = t->said[SF_PV_ANSWER];
    r->turn.above = t->answer.turn.above;
    t->answer.turn.above = (struct sf_chat_notes){.len = 0};
    int rc = names(t, &r->turn);
    return rc ? rc : note_end(t, &r->turn.below);
}

/* The sentence of the fault, which is cleaned: words of others may be in it. */
static int
end_error(struct sf_conv_turn *t)
{
    const struct sf_provider_fault *f = &t->fault;
    struct sf_chat_record *r = add_ended(t, SF_CHAT_ERROR);
    struct sf_chat_clean clean = {.n = 0};
    r->turn.at_ms = sf_wall_ns() / 1000000;
    if (!has_answer(t)) {
        memcpy(r->message, t->answer.message, sizeof r->message);
        memcpy(r->to, t->answer.to, sizeof r->to);
    }
    int rc = names(t, &r->turn);
    if (!rc)
        rc = sf_chat_clean_put(&clean, &t->failed, f->text, strlen(f->text));
    if (!rc)
        rc = sf_chat_clean_end(&clean, &t->failed);
    r->turn.text = t->failed;
    /* What supafs itself found has no class of a provider's. */
    if (!rc && f->cls != SF_PC_OK)
        rc = note(&r->turn.below, "class", "%s", sf_provider_class_info(f->cls)->name);
    if (!rc)
        rc = note(&r->turn.below, "errno", "%s", sf_errno_name(f->err));
    return rc || !*f->request_id ? rc : note(&r->turn.below, "request", "%s", f->request_id);
}

/* One that failed before its header was made. */
static int
need_answer(struct sf_conv_turn *t)
{
    struct sf_chat_record *a = &t->answer;
    if (*a->message)
        return 0;
    a->turn.kind = SF_CHAT_ASSISTANT;
    a->turn.at_ms = sf_wall_ns() / 1000000;
    memcpy(a->to, t->question.message, sizeof a->to);
    if (t->n_confs && !(a->turn.provider = strdup(t->confs[t->conf]->name)))
        return -ENOMEM;
    return sf_uuid4(a->message);
}

static int
make_ended(struct sf_conv_turn *t)
{
    int rc = need_answer(t);
    if (!rc && t->said[SF_PV_REASONING].len)
        rc = end_reasoning(t);
    if (!rc && has_answer(t))
        rc = end_answer(t);
    if (!rc && has_failed(t))
        rc = end_error(t);
    return rc;
}

/* ---- stored ---------------------------------------------------------------------------------- */

/* What it has used, and what is known of that. */
static void
settle(struct sf_conv_turn *t, struct sf_chat_change *ch)
{
    struct spend_amount used = {0, 0};
    if (t->usage.known && t->n_confs)
        turn_amount(t, &t->usage, &used);
    else if (t->sent && t->how != SF_PE_FAILED)
        used = t->booked;
    spend_settle(t->cs->spend, &t->booked, &used, &ch->day);
    if (t->sent && t->n_confs) {
        ch->spender = t->confs[t->conf]->name;
        ch->spent = (struct sf_chat_spent){used.tokens, used.price, 1};
    }
}

static size_t
answer_of(const struct sf_conv_turn *t)
{
    for (size_t i = 0; i < t->n_ended; i++)
        if (*t->ended[i].message)
            return i + 1;
    return 0;
}

static int
store_end(struct sf_conv_turn *t)
{
    struct sf_chat_change ch = {
        .id = t->talk->id, .turns = t->ended, .n_turns = t->n_ended, .ends = t->stored};
    if (t->cs->remote && t->own.dry_run != 1)
        ch.answer = answer_of(t);
    settle(t, &ch);
    /* A question that could not be kept goes with its row of the line. */
    ch.line = t->question.number ? 0 : t->row;
    int rc = sf_chat_store_change(t->cs->store, &ch);
    t->told_row = rc ? 0 : ch.told;
    return rc;
}

static void
keep_in_cache(const struct sf_conv_turn *t)
{
    if (!*t->cache_key || t->how != SF_PE_STOP || t->fault.err)
        return;
    struct sf_chat_answer a = {.at_ms = t->answer.turn.at_ms,
                               .model = t->answer.turn.model,
                               .text = t->said[SF_PV_ANSWER],
                               .usage = t->usage};
    (void)sf_chat_answer_put(&t->cs->kept, t->cache_key, &a);
}

/* ---- shown ----------------------------------------------------------------------------------- */

/* What was being shown is ended, the rest added. */
static int
show_locked(struct sf_conv_turn *t)
{
    struct talk *talk = t->talk;
    int rc = 0;
    for (size_t i = 0; i < t->n_ended && !rc; i++) {
        const struct sf_chat_record *r = &t->ended[i];
        if (r->turn.kind == SF_CHAT_REASONING && t->shown) {
            if (t->shown == SHOWN_REASONING)
                rc = talk_end_locked(talk, &t->printed, NULL);
        } else if (r->turn.kind == SF_CHAT_ASSISTANT && t->shown == SHOWN_ANSWER) {
            rc = talk_end_locked(talk, &t->printed, &r->turn.below);
            if (!rc)
                rc = talk_note_locked(talk, r);
        } else {
            rc = talk_add_locked(talk, r);
        }
    }
    return rc;
}

/* W13 */
static void
note_money_locked(struct sf_conv_turn *t)
{
    const struct sf_provider_confs *all = sf_providers_confs(t->cs->opts.providers);
    const size_t i = t->n_confs ? (size_t)(t->confs[t->conf] - all->all) : SF_ROUTE_MAX;
    if (t->sent && i < SF_ROUTE_MAX)
        t->cs->no_money_ms[i] = t->fault.cls == SF_PC_QUOTA ? sf_clock_ms() : 0;
}

static void
count_locked(struct sf_conv_turn *t)
{
    struct sf_convs *cs = t->cs;
    note_money_locked(t);
    cs->turns++;
    cs->cancelled += t->how == SF_PE_CANCELLED;
    cs->failed += has_failed(t);
    sf_count(SF_C_CHAT_TURNS, 1);
    sf_count(SF_C_CHAT_FAILED, has_failed(t));
    sf_count(SF_C_CHAT_CANCELLED, t->how == SF_PE_CANCELLED);
    sf_count(SF_C_CHAT_TOKENS, t->usage.prompt + t->usage.answered);
    if (has_failed(t))
        snprintf(cs->last_error, sizeof cs->last_error, "%.*s", (int)sizeof cs->last_error - 1,
                 t->fault.text);
}

static void
publish(struct sf_conv_turn *t)
{
    {
        SF_GUARD(&t->cs->lock);
        if (show_locked(t))
            sf_warn("chat", "event=turn-not-shown id=%s", t->talk->id);
        count_locked(t);
        t->err = t->how == SF_PE_CANCELLED ? -ECANCELED : has_failed(t) ? t->fault.err : 0;
        t->stage = TURN_TELLS;
        turn_changed_locked(t);
    }
    turn_serve(t);
    talk_serve(t->talk);
}

/* No more pieces come, and none is just being stored. */
static void
settle_text(struct sf_conv_turn *t)
{
    SF_GUARD(&t->cs->lock);
    while (t->writing)
        sf_cond_wait(&t->cs->idle, &t->cs->lock);
    (void)turn_hears_locked(t, SF_PV_REASONING, NULL, 0);
    (void)turn_hears_locked(t, SF_PV_ANSWER, NULL, 0);
}

static bool
stops(struct sf_convs *cs)
{
    SF_GUARD(&cs->lock);
    return cs->stopping;
}

/* Nobody has heard of its question: it stays a draft where the mount ends, else it is gone. */
static void
forget(struct sf_conv_turn *t)
{
    const struct spend_amount nothing = {0, 0};
    spend_settle(t->cs->spend, &t->booked, &nothing, NULL);
    if (!stops(t->cs) && t->row)
        (void)sf_chat_store_forget(t->cs->store, t->row);
    publish(t);
}

static void
end(struct sf_conv_turn *t)
{
    /* One that failed before is shown with its question. */
    if (!t->question.number && !turn_question(t))
        (void)turn_says(t);
    settle_text(t);
    int rc = make_ended(t);
    if (!rc)
        rc = store_end(t);
    if (rc)
        sf_warn("chat", "event=turn-not-kept id=%s rc=%d", t->talk->id, rc);
    keep_in_cache(t);
    publish(t);
}

/* The tables are asked by others than who does this. */
int
turn_ends(struct sf_conv_turn *t)
{
    if (!t->question.number && !t->in_tables && t->how == SF_PE_CANCELLED)
        forget(t);
    else
        end(t);
    {
        SF_GUARD(&t->cs->lock);
        turn_ref_locked(t);
    }
    conv_crew_do(t->cs->askers, &t->job, turn_run, t);
    return TURN_LATER;
}

/* ---- the tables ------------------------------------------------------------------------------ */

/* The one question's answer, which gives the lease back. */
static int
tell_end(struct sf_conv_turn *t)
{
    struct sf_convs *cs = t->cs;
    char *cursor = NULL;
    if (!t->in_tables)
        return -EAGAIN;
    int rc = sf_chat_remote_end(cs->remote, t->talk->id, t->ended, t->n_ended,
                                sf_clock_ms() + CONV_TABLES_MS, &cursor);
    free(cursor); /* the answer is known when it is read again */
    if ((!rc || rc == -ENOENT || rc == -EINVAL) && t->told_row)
        (void)sf_chat_store_tell(cs->store, t->told_row);
    return rc;
}

int
turn_tells(struct sf_conv_turn *t)
{
    struct sf_convs *cs = t->cs;
    struct talk *talk = t->talk;
    if (cs->remote && t->own.dry_run != 1 && t->n_ended && tell_end(t))
        convs_tell_behind(cs, BEHIND_MS);
    {
        SF_GUARD(&cs->lock);
        talk->refs++;
        turn_leave_locked(t);
    }
    talk_serve(talk);
    SF_GUARD(&cs->lock);
    talk_put_locked(talk);
    return 0;
}

/* ---- what the tables have not heard ---------------------------------------------------------- */

struct told {
    uint64_t from, to;
    struct sf_chat_records turns;
};

static int
copy_record(const struct sf_chat_record *from, struct sf_chat_record *to)
{
    int rc = 0;
    *to = (struct sf_chat_record){.number = from->number};
    memcpy(to->message, from->message, sizeof to->message);
    memcpy(to->to, from->to, sizeof to->to);
    to->turn.kind = from->turn.kind;
    to->turn.at_ms = from->turn.at_ms;
    to->turn.provider = from->turn.provider ? strdup(from->turn.provider) : NULL;
    to->turn.model = from->turn.model ? strdup(from->turn.model) : NULL;
    for (size_t i = 0; i < from->turn.above.len && !rc; i++)
        rc = sf_chat_note_add(&to->turn.above, from->turn.above.data[i].key,
                              from->turn.above.data[i].value);
    for (size_t i = 0; i < from->turn.below.len && !rc; i++)
        rc = sf_chat_note_add(&to->turn.below, from->turn.below.data[i].key,
                              from->turn.below.data[i].value);
    return rc ? rc
              : sf_buf_append(&to->turn.text, sf_buf_str(&from->turn.text), from->turn.text.len);
}

static int
take_told(void *arg, const struct sf_chat_record *r)
{
    struct told *told = arg;
    struct sf_chat_record copy;
    if (r->number > told->to)
        return 1;
    int rc = copy_record(r, &copy);
    if (!rc)
        rc = sf_chat_records_push(&told->turns, copy);
    if (rc)
        sf_chat_record_fini(&copy);
    return rc;
}

/* A question, or an answer with what stands beside it. */
static int
read_told(struct sf_convs *cs, const char *id, uint64_t number, bool answer, struct told *told)
{
    *told =
        (struct told){.from = answer && number > 1 ? number - 1 : number, .to = number + answer};
    int rc = sf_chat_store_turns(cs->store, id, told->from, take_told, told);
    if (rc < 0)
        return rc;
    struct sf_chat_records *all = &told->turns;
    for (size_t i = all->len; i-- > 0;) {
        const struct sf_chat_record *r = &all->data[i];
        bool stays = r->number == number ||
                     (r->number < number && r->turn.kind == SF_CHAT_REASONING) ||
                     (r->number > number && r->turn.kind == SF_CHAT_ERROR && !*r->message);
        if (stays)
            continue;
        sf_chat_record_fini(&all->data[i]);
        sf_chat_records_remove(all, i);
    }
    return all->len ? 0 : -ENOENT;
}

static int
tell_question(struct sf_convs *cs, const struct sf_chat_told *row)
{
    struct told told;
    struct sf_chat_conversation is = {.last = 0};
    struct sf_chat_read read = {.more = false};
    unsigned busy_s;
    int rc = read_told(cs, row->id, row->question, false, &told);
    if (!rc)
        rc = sf_chat_store_conversation(cs->store, row->id, &is);
    if (!rc) {
        char stem[SF_CHAT_STEM_MAX + 1];
        struct sf_chat_begin b = {
            .id = row->id,
            .title = is.title,
            .question = &told.turns.data[0],
            .cursor = is.cursor,
            .about = {.bucket = is.bucket, .key = is.key, .provider = is.provider}};
        b.about.stem = turn_stem(row->id, stem, &b.about.generation);
        rc = sf_chat_remote_begin(cs->remote, &b, sf_clock_ms() + CONV_TABLES_MS, &read, &busy_s);
        if (rc == SF_CHAT_BEGUN)
            sf_chat_read_fini(&read); /* it is read when the conversation is */
    }
    sf_chat_conversation_fini(&is);
    sf_chat_records_free(&told.turns);
    return rc == SF_CHAT_BUSY ? -EAGAIN : rc == SF_CHAT_CLOSED ? -EINVAL : rc;
}

static int
tell_answer(struct sf_convs *cs, const struct sf_chat_told *row)
{
    struct told told;
    char *cursor = NULL;
    int rc = read_told(cs, row->id, row->answer, true, &told);
    if (!rc)
        rc = sf_chat_remote_end(cs->remote, row->id, told.turns.data, told.turns.len,
                                sf_clock_ms() + CONV_TABLES_MS, &cursor);
    free(cursor);
    sf_chat_records_free(&told.turns);
    return rc;
}

/* The end of an answer gives the lease back, which a turn that runs must keep. */
static bool
runs(struct sf_convs *cs, const char *id)
{
    struct talk *t;
    SF_GUARD(&cs->lock);
    HASH_FIND_STR(cs->talks, id, t);
    return t && t->runs;
}

static void
tell_all(void *arg)
{
    struct sf_convs *cs = arg;
    struct sf_chat_told row = {.row = 0};
    bool again = false;
    int rc = 0;
    while (!rc && !stops(cs) && !sf_chat_store_untold(cs->store, row.row, &row)) {
        if (runs(cs, row.id)) {
            again = true;
            continue;
        }
        rc = row.question ? tell_question(cs, &row) : 0;
        if (!rc && row.answer)
            rc = tell_answer(cs, &row);
        if (rc == -ENOENT || rc == -EINVAL || rc == -EEXIST || rc == -EFBIG) {
            sf_warn("chat", "event=turn-only-here id=%s rc=%d", row.id, rc);
            rc = 0;
        }
        if (!rc)
            rc = sf_chat_store_tell(cs->store, row.row);
    }
    {
        SF_GUARD(&cs->lock);
        cs->tells = false;
    }
    if (rc || again)
        convs_tell_behind(cs, rc == -ENOSYS ? BEHIND_MS * 20 : BEHIND_MS);
}

void
convs_tell_behind(struct sf_convs *cs, int64_t ms)
{
    SF_GUARD(&cs->lock);
    if (cs->tells || cs->stopping || !cs->remote)
        return;
    cs->tells = true;
    conv_crew_later(cs->askers, &cs->tell, ms, tell_all, cs);
}
