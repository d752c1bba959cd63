/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A turn's course. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/internal.h"
#include "chat/load.h"

/* ---- stages ---------------------------------------------------------------------------------- */

/*
 * WAITS -> KNOWS -> LEASES -> SAYS -> ROUTES -> READS -> PROMPTS -> ASKS .. ANSWERS -> ENDS ->
 * TELLS ^        |         |                          ^                   |                  ^
 *   +--------+---------+ another conversation     +---- fallback -----+--- failure ------+
 *
 * Each is done by a job, and one follows the other in the same job as long as nothing has to be
 * waited for. From ASKS on nothing runs: pieces of the answer come on the event thread, and its
 * end brings the next job.
 */
static int (*const stages[])(struct sf_conv_turn *t) = {
    [TURN_KNOWS] = turn_knows,   [TURN_LEASES] = turn_leases, [TURN_SAYS] = turn_says,
    [TURN_ROUTES] = turn_routes, [TURN_READS] = turn_reads,   [TURN_PROMPTS] = turn_prompts,
    [TURN_ASKS] = turn_asks,     [TURN_ENDS] = turn_ends,     [TURN_TELLS] = turn_tells,
};

enum turn_stage
turn_failed_locked(struct sf_conv_turn *t)
{
    const struct sf_provider_class_info *info = sf_provider_class_info(t->fault.cls);
    if (t->cancelled)
        t->how = SF_PE_CANCELLED;
    if (t->cancelled || t->shown || !info->provider || t->conf + 1 >= t->n_confs)
        return TURN_ENDS;
    char why[sizeof t->fault.text + 40];
    snprintf(why, sizeof why, "%s: %s", t->confs[t->conf]->name, t->fault.text);
    if (sf_chat_note_add(&t->fallbacks, "fallback", why))
        return TURN_ENDS;
    t->conf++;
    t->fault = (struct sf_provider_fault){.err = 0};
    return TURN_READS;
}

/* What is to be done; cancelled ones have nothing left but their end. */
static enum turn_stage
stage_of(struct sf_conv_turn *t)
{
    SF_GUARD(&t->cs->lock);
    if ((t->cancelled || t->cs->stopping) && t->stage < TURN_ENDS) {
        t->cancelled = true;
        t->how = SF_PE_CANCELLED;
        t->stage = TURN_ENDS;
    }
    return t->stage;
}

static void
go_on(struct sf_conv_turn *t, enum turn_stage from, int rc)
{
    SF_GUARD(&t->cs->lock);
    if (t->stage == from)
        t->stage = rc < 0 ? turn_failed_locked(t) : rc == TURN_SKIPS ? TURN_ENDS : from + 1;
    talk_changed_locked(t->talk);
}

void
turn_run(void *arg)
{
    struct sf_conv_turn *t = arg;
    int rc = 0;
    for (enum turn_stage s; rc != TURN_LATER && (s = stage_of(t)) != TURN_OVER;) {
        rc = stages[s](t);
        if (rc != TURN_LATER)
            go_on(t, s, rc);
    }
    sf_conv_turn_put(t);
}

/* ---- the life of it -------------------------------------------------------------------------- */

int
turn_fault(struct sf_conv_turn *t, int err, const char *fmt, ...)
{
    char text[sizeof t->fault.text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return chat_fault(&t->fault, err, "%s", text);
}

bool
turn_is_cancelled(void *arg)
{
    struct sf_conv_turn *t = arg;
    SF_GUARD(&t->cs->lock);
    return t->cancelled;
}

static void
turn_free(struct sf_conv_turn *t)
{
    free(t->prompt);
    sf_chat_front_fini(&t->set);
    sf_chat_front_fini(&t->own);
    sf_chat_record_fini(&t->question);
    sf_chat_record_fini(&t->answer);
    sf_chat_read_fini(&t->others);
    for (size_t i = 0; i < t->history.len; i++)
        sf_chat_turn_fini(&t->history.data[i]);
    sf_chat_turns_fini(&t->history);
    sf_chat_notes_free(&t->fallbacks);
    sf_chat_prompt_fini(&t->ask);
    sf_chat_content_fini(&t->content);
    for (size_t i = 0; i < t->n_ended; i++) {
        t->ended[i].turn.text = (struct sf_buf){0}; /* `said`, `failed` */
        sf_chat_record_fini(&t->ended[i]);
    }
    sf_buf_fini(&t->failed);
    sf_buf_fini(&t->said[0]);
    sf_buf_fini(&t->said[1]);
    free(t);
}

void
turn_ref_locked(struct sf_conv_turn *t)
{
    t->refs++;
}

void
turn_unref_locked(struct sf_conv_turn *t)
{
    if (--t->refs)
        return;
    if (t->talk)
        talk_put_locked(t->talk);
    turn_free(t);
}

void
sf_conv_turn_put(struct sf_conv_turn *t)
{
    if (!t)
        return;
    struct sf_convs *cs = t->cs;
    SF_GUARD(&cs->lock);
    turn_unref_locked(t);
}

bool
sf_conv_turn_over(struct sf_conv_turn *t)
{
    SF_GUARD(&t->cs->lock);
    return t->stage >= TURN_TELLS;
}

int
turn_new(struct sf_convs *cs, const struct sf_conv_prompt *p, struct sf_conv_turn **ret)
{
    struct sf_conv_turn *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->cs = cs;
    t->refs = 1;
    t->how = SF_PE_FAILED;
    t->uid = p->uid;
    t->row = p->draft;
    t->len = p->len;
    t->body = p->body;
    sf_chat_front_init(&t->set);
    sf_chat_front_init(&t->own);
    t->prompt = malloc(p->len + 1);
    int rc = t->prompt ? 0 : -ENOMEM;
    if (!rc && p->own)
        rc = sf_chat_front_under(&t->own, p->own);
    if (!rc && p->own)
        rc = sf_chat_front_under(&t->set, p->own);
    if (!rc && p->settings)
        rc = sf_chat_front_under(&t->set, p->settings);
    if (rc) {
        turn_free(t);
        return rc;
    }
    memcpy(t->prompt, p->text, p->len);
    t->prompt[p->len] = '\0';
    *ret = t;
    return 0;
}
