/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whom a turn asks, and what it sends (docs/formats/chat.md, part 9). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/str.h"
#include "chat/internal.h"
#include "observe/log.h"
#include "tree/files.h"
#include "tree/source.h"

#define ANSWER_TOKENS 2048 /* that an answer takes, for all that is known before */

/* ---- who is asked ---------------------------------------------------------------------------- */

static const char *
asked_for(const struct sf_conv_turn *t)
{
    const char *name = t->set.provider ? t->set.provider : t->conv->provider;
    const char *was = t->talk->is.provider;
    /* By its id: the one of the name that it had, as long as there is such a provider. */
    if (!name && *t->conv->of == '#' && was &&
        sf_provider_conf_find(sf_providers_confs(t->cs->opts.providers), was))
        name = was;
    return name && strcmp(name, "auto") != 0 ? name : NULL;
}

static void
add_conf(struct sf_conv_turn *t, const struct sf_provider_conf *conf)
{
    for (unsigned i = 0; i < t->n_confs; i++)
        if (t->confs[i] == conf)
            return;
    if (t->n_confs < TURN_PROVIDERS)
        t->confs[t->n_confs++] = conf;
}

/* The best one for what the file is, by all that is known. NULL = none of them says so. */
static const struct sf_provider_conf *
best_for(struct sf_convs *cs, const struct sf_want_file *file)
{
    const struct sf_provider_confs *all = sf_providers_confs(cs->opts.providers);
    const struct sf_route_policy policy = {
        .need = SF_RN_CHAT, .patience_ms = 5000, .inline_bytes = SF_CHAT_CONTENT_MAX};
    struct sf_route route;
    int n = sf_providers_route(cs->opts.providers, file, &policy, &route);
    return n > 0 ? &all->all[route.choice[0].provider] : NULL;
}

/* Of a directory texts are sent, as of a file of which nothing is known. */
static const struct sf_provider_conf *
best(struct sf_conv_turn *t)
{
    struct sf_convs *cs = t->cs;
    const struct sf_chat_conversation *is = &t->talk->is;
    struct sf_want_file file = {.size = 1, .name = "x.txt", .mime = "text/plain"};
    struct sf_tree_entry dir, entry;
    struct sf_tree_source *source = NULL;
    char name[256];
    if (is->bucket && !convs_find(cs, is->bucket, is->key ? is->key : "", &dir, name)) {
        if (*name && !sf_files_lookup(cs->opts.tree, dir.node, name, &entry)) {
            if (!sf_tree_source_new(cs->opts.tree, entry.node, &source))
                sf_tree_source_describe(source, &file);
            sf_files_forget(cs->opts.tree, &entry);
        }
        sf_files_forget(cs->opts.tree, &dir);
    }
    const struct sf_provider_conf *conf = best_for(cs, &file);
    sf_tree_source_unref(source);
    return conf;
}

/* The first that can be asked at all: what it says of the file is better than nothing. @model: NULL
 * = it must have one that is set. */
static const struct sf_provider_conf *
any(struct sf_convs *cs, const char *model)
{
    const struct sf_provider_confs *all = sf_providers_confs(cs->opts.providers);
    for (size_t i = 0; i < all->n; i++)
        if (!*sf_provider_trouble(&all->all[i]) && (model || all->all[i].model))
            return &all->all[i];
    return NULL;
}

static bool
has_money(struct sf_convs *cs, const struct sf_provider_conf *conf)
{
    const struct sf_provider_confs *all = sf_providers_confs(cs->opts.providers);
    const size_t i = (size_t)(conf - all->all);
    SF_GUARD(&cs->lock);
    return i >= SF_ROUTE_MAX || !cs->no_money_ms[i] ||
           sf_clock_ms() - cs->no_money_ms[i] >= CONV_MONEY_MS;
}

int
sf_convs_may_ask(struct sf_convs *cs, const char *provider, struct sf_err *err)
{
    const struct sf_provider_confs *all = sf_providers_confs(cs->opts.providers);
    const struct sf_provider_conf *conf;
    int rc = spend_left(cs->spend, err);
    if (rc)
        return rc;
    if (!provider || !strcmp(provider, "auto"))
        return any(cs, "any") ? 0 : sf_err_set(err, -EACCES, "no provider can be asked");
    conf = sf_provider_conf_find(all, provider);
    if (!conf)
        return sf_err_set(err, -EACCES, "there is no provider %.33s", provider);
    if (*sf_provider_trouble(conf))
        return sf_err_set(err, -EACCES, "%s: %s", conf->name, sf_provider_trouble(conf));
    return has_money(cs, conf)
               ? 0
               : sf_err_set(err, -EDQUOT, "%s has refused for want of money", conf->name);
}

/* None can be asked: why, and what to do. */
static int
none_to_ask(struct sf_conv_turn *t)
{
    const struct sf_provider_conf *conf = any(t->cs, "any");
    if (!conf)
        return turn_fault(t, -EACCES, "no provider has a usable key; supafs provider ls tells why");
    return turn_fault(t, -EACCES,
                      "no model is set for %s: say one in [provider.%s] or the environment "
                      "before the mount, with supafs chat -m, or as user.supafs.chat.model",
                      conf->name, conf->name);
}

int
turn_routes(struct sf_conv_turn *t)
{
    const struct sf_provider_confs *all = sf_providers_confs(t->cs->opts.providers);
    const char *name = asked_for(t);
    const struct sf_provider_conf *first = name ? sf_provider_conf_find(all, name) : best(t);
    if (!first && !name)
        first = any(t->cs, t->set.model);
    if (!first)
        return name ? turn_fault(t, -ENOENT, "there is no provider %.33s", name) : none_to_ask(t);
    const char *trouble = sf_provider_trouble(first);
    if (*trouble) {
        (void)sf_provider_fault_set(&t->fault, SF_PC_AUTH, "%s: %s", first->name, trouble);
        return t->fault.err;
    }
    t->n_confs = t->conf = 0;
    add_conf(t, first);
    for (char *const *next = first->fallback; next && *next; next++) {
        const struct sf_provider_conf *conf = sf_provider_conf_find(all, *next);
        if (conf && !*sf_provider_trouble(conf))
            add_conf(t, conf);
    }
    return 0;
}

/* ---- what was said before -------------------------------------------------------------------- */

static int
copy_notes(const struct sf_chat_notes *from, struct sf_chat_notes *to)
{
    int rc = 0;
    for (size_t i = 0; i < from->len && !rc; i++)
        rc = sf_chat_note_add(to, from->data[i].key, from->data[i].value);
    return rc;
}

/* What later questions need of a turn. */
static int
copy_turn(const struct sf_chat_turn *from, struct sf_chat_turn *to)
{
    to->kind = from->kind;
    to->at_ms = from->at_ms;
    int rc = copy_notes(&from->above, &to->above);
    return rc ? rc : sf_buf_append(&to->text, sf_buf_str(&from->text), from->text.len);
}

static int
take_turn(void *arg, const struct sf_chat_record *r)
{
    struct sf_conv_turn *t = arg;
    struct sf_chat_turn copy = {.at_ms = 0};
    if (r->number == t->question.number)
        return 0;
    int rc = copy_turn(&r->turn, &copy);
    if (!rc)
        rc = sf_chat_turns_push(&t->history, copy);
    if (rc)
        sf_chat_turn_fini(&copy);
    return rc;
}

static int
read_history(struct sf_conv_turn *t)
{
    if (t->has_history)
        return 0;
    int rc = sf_chat_store_turns(t->cs->store, t->talk->id, 0, take_turn, t);
    t->has_history = rc == 0;
    return rc;
}

/* The last answer that tells what was sent with it. */
static const struct sf_chat_notes *
sent_before(const struct sf_conv_turn *t)
{
    for (size_t i = t->history.len; i-- > 0;) {
        const struct sf_chat_turn *turn = &t->history.data[i];
        if (turn->kind == SF_CHAT_ASSISTANT && sf_chat_note_find(&turn->above, "file"))
            return &turn->above;
    }
    return NULL;
}

static size_t
dropped_before(const struct sf_conv_turn *t)
{
    uint64_t n = 0;
    for (size_t i = t->history.len; i-- > 0;) {
        const struct sf_chat_turn *turn = &t->history.data[i];
        if (turn->kind != SF_CHAT_ASSISTANT)
            continue;
        const char *note = sf_chat_note_find(&turn->above, "dropped");
        return note && !sf_parse_u64(note, &n) && n < t->history.len ? (size_t)n : 0;
    }
    return 0;
}

/* ---- the content ----------------------------------------------------------------------------- */

static const struct sf_provider_conf *
conf_of(const struct sf_conv_turn *t)
{
    return t->confs[t->conf];
}

static void
begin_args(struct sf_conv_turn *t)
{
    const struct sf_buf *text = &t->question.turn.text;
    const struct spend_amount nothing = {0, 0};
    spend_settle(t->cs->spend, &t->booked, &nothing, NULL); /* of the one before it */
    t->booked = nothing;
    sf_chat_prompt_fini(&t->ask);
    sf_chat_content_fini(&t->content);
    t->args = (struct sf_chat_prompt_args){.conf = conf_of(t),
                                           .model = t->set.model,
                                           .front = &t->set,
                                           .turns = t->history.data,
                                           .n = t->history.len,
                                           .dropped = dropped_before(t),
                                           .text = sf_buf_str(text),
                                           .len = text->len};
    /* The model that was set is one of the first provider's. */
    if (t->conf > 0)
        t->args.model = NULL;
}

static int
get_content(struct sf_conv_turn *t, const struct sf_chat_conversation *is)
{
    struct sf_convs *cs = t->cs;
    struct sf_tree_entry dir;
    char file[256];
    sf_autobuf struct sf_buf key = SF_BUF_INIT;
    int rc = convs_find(cs, is->bucket, is->key ? is->key : "", &dir, file);
    if (rc == -ENOENT || rc == -ENOTDIR)
        return turn_fault(t, -ESTALE, "%s/%s is not there", is->bucket, is->key ? is->key : "");
    if (rc)
        return turn_fault(t, rc, "%s/%s cannot be looked up: %s", is->bucket,
                          is->key ? is->key : "", strerror(-rc));
    rc = sf_buf_printf(&key, "%s/%s", is->bucket, is->key ? is->key : "");
    struct sf_chat_content_args a = {.tree = cs->opts.tree,
                                     .providers = cs->opts.providers,
                                     .storage = cs->opts.storage,
                                     .kept = &cs->kept,
                                     .parent = dir.node,
                                     .file = file,
                                     .key = sf_buf_str(&key),
                                     .provider = conf_of(t)->name,
                                     .model = t->args.model,
                                     .files_room = sf_chat_prompt_files_room(&t->args),
                                     .file_tokens = cs->opts.file_tokens,
                                     .before = sent_before(t),
                                     .deadline_ms = t->deadline_ms,
                                     .dry = t->own.dry_run == 1,
                                     .busy_ms = 30000,
                                     .cancelled = turn_is_cancelled,
                                     .arg = t};
    rc = rc ? turn_fault(t, rc, "no memory") : sf_chat_content_get(&a, &t->content, &t->fault);
    sf_files_forget(cs->opts.tree, &dir);
    return rc;
}

int
turn_reads(struct sf_conv_turn *t)
{
    int rc = read_history(t);
    if (rc)
        return turn_fault(t, rc, "the conversation cannot be read: %s", strerror(-rc));
    begin_args(t);
    t->deadline_ms = sf_clock_ms() + conf_of(t)->chat_ms;
    /* One of another program may be about nothing. */
    if (!t->talk->is.bucket)
        return 0;
    rc = get_content(t, &t->talk->is);
    if (!rc)
        t->args.content = &t->content;
    return rc;
}

/* ---- the prompt ------------------------------------------------------------------------------ */

static const char *
model_of(const struct sf_conv_turn *t)
{
    const struct sf_provider_conf *conf = conf_of(t);
    return t->args.model ? t->args.model : conf->model ? conf->model : conf->type->model;
}

/* The answer's header, as far as it is known before it comes. */
static int
head_answer(struct sf_conv_turn *t, enum sf_chat_kind kind)
{
    struct sf_chat_record *a = &t->answer;
    const char *model = model_of(t);
    char dropped[24];
    sf_chat_record_fini(a);
    *a = (struct sf_chat_record){.number = 0};
    a->turn.kind = kind;
    a->turn.at_ms = sf_wall_ns() / 1000000;
    if (a->turn.at_ms <= t->question.turn.at_ms)
        a->turn.at_ms = t->question.turn.at_ms + 1;
    memcpy(a->to, t->question.message, sizeof a->to);
    a->turn.provider = strdup(conf_of(t)->name);
    a->turn.model = model ? strdup(model) : NULL;
    int rc = a->turn.provider && (a->turn.model || !model) ? sf_uuid4(a->message) : -ENOMEM;
    if (!rc)
        rc = copy_notes(&t->fallbacks, &a->turn.above);
    if (!rc)
        rc = copy_notes(&t->content.notes, &a->turn.above);
    snprintf(dropped, sizeof dropped, "%zu", t->ask.dropped);
    if (!rc && t->ask.dropped)
        rc = sf_chat_note_add(&a->turn.above, "dropped", dropped);
    return rc;
}

static int
dry_run(struct sf_conv_turn *t)
{
    int rc = head_answer(t, SF_CHAT_DRY_RUN);
    if (!rc)
        rc = sf_chat_prompt_show(&t->ask, &t->args, &t->said[SF_PV_ANSWER]);
    if (rc)
        return turn_fault(t, rc, "no memory");
    t->how = SF_PE_STOP;
    return TURN_SKIPS;
}

/* M10. TURN_SKIPS it is answered so; 0 it is not. */
static int
from_cache(struct sf_conv_turn *t)
{
    struct sf_chat_answer a = {0};
    char at[32];
    *t->cache_key = '\0';
    if (!t->cs->opts.cache ||
        sf_chat_answer_key(conf_of(t), &t->ask.chat, t->ask.digest, t->cache_key) ||
        sf_chat_answer_get(&t->cs->kept, t->cache_key, &a))
        return 0;
    sf_time_format_ms(a.at_ms * 1000000, at);
    int rc = sf_chat_note_add(&t->answer.turn.above, "cached", at);
    if (!rc)
        rc = sf_buf_append(&t->said[SF_PV_ANSWER], sf_buf_str(&a.text), a.text.len);
    sf_chat_answer_fini(&a);
    if (rc)
        return turn_fault(t, rc, "no memory");
    t->how = SF_PE_STOP;
    *t->cache_key = '\0';
    return TURN_SKIPS;
}

void
turn_amount(const struct sf_conv_turn *t, const struct sf_provider_usage *usage,
            struct spend_amount *out)
{
    const char *model = model_of(t);
    const struct sf_provider_price *price = model ? sf_provider_price(conf_of(t), model) : NULL;
    const double cost = price ? sf_provider_cost(price, usage) : 0;
    out->tokens = (int64_t)(usage->prompt + usage->answered);
    out->price = cost > 0 && cost < 1e9 ? (int64_t)(cost * 1e6 + 0.5) : 0;
}

/* M11 */
static int
book(struct sf_conv_turn *t)
{
    const uint64_t most = t->ask.chat.max_tokens;
    const uint64_t answer = most && most < ANSWER_TOKENS ? most : ANSWER_TOKENS;
    const struct sf_provider_usage usage = {
        .known = true, .prompt = t->ask.tokens, .answered = answer};
    struct spend_amount estimate;
    turn_amount(t, &usage, &estimate);
    struct sf_err err = SF_ERR_INIT;
    int rc = spend_book(t->cs->spend, &estimate, &err);
    if (rc)
        return turn_fault(t, rc, "%s", err.msg);
    t->booked = estimate;
    return 0;
}

int
turn_prompts(struct sf_conv_turn *t)
{
    int rc = sf_chat_prompt_make(&t->args, &t->ask, &t->fault);
    if (rc)
        return rc;
    if (t->own.dry_run == 1)
        return dry_run(t);
    rc = head_answer(t, SF_CHAT_ASSISTANT);
    if (rc)
        return turn_fault(t, rc, "no memory");
    rc = from_cache(t);
    return rc ? rc : book(t);
}
