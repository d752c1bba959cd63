/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/prompt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/str.h"
#include "chat/budget.h"
#include "provider/tokens.h"

/* ---- older turns ----------------------------------------------------------------------------- */

/* A question and what came of it: turns[from..to). Without a question: what stands before the first
 * one. */
struct exchange {
    size_t from, to;
    uint64_t tokens;
};

static bool
is_blank(const struct sf_buf *text)
{
    return strspn(sf_buf_str(text), " \t\r\n") == text->len;
}

static bool
is_sent(const struct sf_chat_turn *t)
{
    return (t->kind == SF_CHAT_USER || t->kind == SF_CHAT_ASSISTANT || t->kind == SF_CHAT_SYSTEM) &&
           !is_blank(&t->text);
}

/* A question of which it is known that nothing came is not asked again behind one's back. */
static bool
came_to_nothing(const struct sf_chat_turn *turns, size_t from, size_t to)
{
    bool failed = false;
    for (size_t i = from; i < to; i++) {
        if (turns[i].kind == SF_CHAT_ASSISTANT && !is_blank(&turns[i].text))
            return false;
        failed |= turns[i].kind == SF_CHAT_ASSISTANT || turns[i].kind == SF_CHAT_ERROR ||
                  turns[i].kind == SF_CHAT_DRY_RUN;
    }
    return failed;
}

static uint64_t
tokens_of(const struct sf_buf *text)
{
    return sf_tokens_estimate(sf_buf_str(text), text->len);
}

/* The exchanges that count, for free(); NULL without memory. */
static struct exchange *
exchanges_of(const struct sf_chat_turn *turns, size_t n, size_t *count)
{
    struct exchange *all = calloc(n + 1, sizeof *all);
    *count = 0;
    for (size_t from = 0, to; all && from < n; from = to) {
        struct exchange e = {.from = from};
        for (to = from + 1; to < n && turns[to].kind != SF_CHAT_USER;)
            to++;
        e.to = to;
        for (size_t i = from; i < to; i++)
            if (is_sent(&turns[i]))
                e.tokens += tokens_of(&turns[i].text);
        if (e.tokens && !came_to_nothing(turns, from, to))
            all[(*count)++] = e;
    }
    return all;
}

/* Those that are sent; 0 or -ENOMEM. */
static int
drop(const struct exchange *all, size_t count, uint64_t room, size_t before, size_t *from)
{
    uint64_t *tokens = calloc(count + 1, sizeof *tokens);
    if (!tokens)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        tokens[i] = all[i].tokens;
    *from = sf_chat_budget_drop(tokens, count, room, before);
    free(tokens);
    return 0;
}

/* ---- messages -------------------------------------------------------------------------------- */

static struct sf_provider_part
text_part(const char *text, size_t len)
{
    return (struct sf_provider_part){.kind = SF_PP_TEXT, .text = text, .len = len};
}

/* One message, of parts that were added since the last one. */
static void
add_message(struct sf_chat_prompt *p, enum sf_provider_role role, size_t *parts, size_t n,
            const char *reasoning, const char *shown)
{
    p->messages[p->chat.n] = (struct sf_provider_message){
        .role = role, .parts = p->parts + *parts, .n = n, .reasoning = reasoning};
    p->shown[p->chat.n++] = shown;
    *parts += n;
}

static void
add_text(struct sf_chat_prompt *p, enum sf_provider_role role, const char *text, size_t len,
         size_t *parts, const char *reasoning, const char *shown)
{
    p->parts[*parts] = text_part(text, len);
    p->tokens += sf_tokens_estimate(text, len);
    add_message(p, role, parts, 1, reasoning, shown);
}

/* A question. No provider takes pictures and documents in a system message, so they stand in the
 * first question that is sent. */
static void
add_question(struct sf_chat_prompt *p, const struct sf_chat_content *c, bool *linked,
             const char *text, size_t len, size_t *parts, const char *shown)
{
    size_t n = 0;
    for (size_t i = 0; c && !*linked && i < c->pieces.len; i++) {
        const struct sf_chat_piece *piece = &c->pieces.data[i];
        if (piece->kind == SF_PP_TEXT)
            continue;
        const char *slash = strrchr(piece->key, '/');
        p->parts[*parts + n++] = (struct sf_provider_part){.kind = piece->kind,
                                                           .text = piece->text.data,
                                                           .len = piece->text.len,
                                                           .name = slash ? slash + 1 : piece->key};
    }
    *linked = true;
    p->parts[*parts + n++] = text_part(text, len);
    p->tokens += sf_tokens_estimate(text, len);
    add_message(p, SF_PR_USER, parts, n, NULL, shown);
}

static void
add_history(struct sf_chat_prompt *p, const struct sf_chat_prompt_args *a,
            const struct exchange *all, size_t from, size_t count, bool *linked, size_t *parts)
{
    for (size_t e = from; e < count; e++) {
        const char *reasoning = NULL;
        for (size_t i = all[e].from; i < all[e].to; i++) {
            const struct sf_chat_turn *t = &a->turns[i];
            if (t->kind == SF_CHAT_REASONING)
                reasoning = sf_buf_str(&t->text);
            if (!is_sent(t))
                continue;
            if (t->kind == SF_CHAT_USER)
                add_question(p, a->content, linked, t->text.data, t->text.len, parts, "question");
            else if (t->kind == SF_CHAT_SYSTEM)
                add_text(p, SF_PR_SYSTEM, t->text.data, t->text.len, parts, NULL, "system");
            else
                add_text(p, SF_PR_ASSISTANT, t->text.data, t->text.len, parts, reasoning, "answer");
            if (t->kind == SF_CHAT_ASSISTANT)
                reasoning = NULL;
        }
    }
}

/* ---- the digest ------------------------------------------------------------------------------ */

static bool
hash(EVP_MD_CTX *ctx, const void *data, size_t len)
{
    const uint64_t n = len; /* so that no two lists of texts are one */
    return EVP_DigestUpdate(ctx, &n, sizeof n) == 1 && EVP_DigestUpdate(ctx, data, len) == 1;
}

/* A link is another one each time: what it leads to counts. */
static bool
hash_part(EVP_MD_CTX *ctx, const struct sf_provider_part *part, const struct sf_chat_content *c)
{
    for (size_t i = 0; part->kind != SF_PP_TEXT && i < c->pieces.len; i++) {
        const struct sf_chat_piece *piece = &c->pieces.data[i];
        if (piece->text.data == part->text && piece->how == SF_CHAT_SHOWN_LINK)
            return hash(ctx, piece->key, strlen(piece->key)) &&
                   hash(ctx, piece->sha256, strlen(piece->sha256)) &&
                   hash(ctx, piece->etag, strlen(piece->etag));
    }
    return hash(ctx, part->text, part->len);
}

static int
digest(struct sf_chat_prompt *p, const struct sf_chat_content *c)
{
    unsigned char out[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; ok && i < p->chat.n; i++) {
        const struct sf_provider_message *m = &p->messages[i];
        const char *reasoning = m->reasoning ? m->reasoning : "";
        const unsigned char head[] = {(unsigned char)m->role, m->n & 0xff, m->n >> 8 & 0xff};
        ok = hash(ctx, head, sizeof head) && hash(ctx, reasoning, strlen(reasoning));
        for (size_t k = 0; ok && k < m->n; k++) {
            const unsigned char kind = (unsigned char)m->parts[k].kind;
            ok = hash(ctx, &kind, 1) && hash_part(ctx, &m->parts[k], c);
        }
    }
    ok = ok && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    if (ok)
        sf_hex_encode(out, 32, p->digest);
    return ok ? 0 : -EIO;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static struct sf_chat_needs
needs_of(const struct sf_chat_prompt_args *a)
{
    const char *system = a->front->system ? a->front->system : "";
    return (struct sf_chat_needs){.context = sf_provider_context(a->conf, a->model),
                                  .answer =
                                      a->front->max_tokens > 0 ? (uint64_t)a->front->max_tokens : 0,
                                  .prompt = sf_tokens_estimate(a->text, a->len),
                                  .system = sf_tokens_estimate(system, strlen(system))};
}

uint64_t
sf_chat_prompt_files_room(const struct sf_chat_prompt_args *a)
{
    const struct sf_chat_needs needs = needs_of(a);
    return sf_chat_budget_of(&needs).files;
}

static void
set_options(struct sf_chat_prompt *p, const struct sf_chat_prompt_args *a)
{
    static const char *const efforts[] = {[SF_CHAT_THINKING_LOW] = "low",
                                          [SF_CHAT_THINKING_MEDIUM] = "medium",
                                          [SF_CHAT_THINKING_HIGH] = "high"};
    const struct sf_chat_front *f = a->front;
    p->chat.model = a->model;
    if (f->temperature >= 0) {
        p->temperature = f->temperature / 1000.0;
        p->chat.temperature = &p->temperature;
    }
    if (f->max_tokens > 0)
        p->chat.max_tokens = (uint64_t)f->max_tokens;
    if (f->thinking >= 0)
        p->chat.thinking = f->thinking == SF_CHAT_THINKING_OFF ? SF_PT_NOT : SF_PT_YES;
    if (f->thinking > SF_CHAT_THINKING_ON)
        p->chat.effort = efforts[f->thinking];
}

static int
alloc(struct sf_chat_prompt *p, const struct sf_chat_prompt_args *a)
{
    size_t pieces = a->content ? a->content->pieces.len : 0;
    size_t most = pieces + a->n + 2; /* messages: the system text, the question */
    p->messages = calloc(most, sizeof *p->messages);
    p->shown = calloc(most, sizeof *p->shown);
    p->parts = calloc(most + pieces, sizeof *p->parts);
    p->chat.messages = p->messages;
    return p->messages && p->shown && p->parts ? 0 : -ENOMEM;
}

static int
fill(struct sf_chat_prompt *p, const struct sf_chat_prompt_args *a, uint64_t room)
{
    const struct sf_chat_content *c = a->content;
    const char *system = a->front->system;
    size_t parts = 0, count, from = 0;
    bool linked = false;
    for (size_t i = 0; c && i < c->pieces.len; i++) {
        const struct sf_chat_piece *piece = &c->pieces.data[i];
        if (piece->kind == SF_PP_TEXT)
            add_text(p, SF_PR_SYSTEM, piece->text.data, piece->text.len, &parts, NULL, piece->key);
    }
    if (system && *system)
        add_text(p, SF_PR_SYSTEM, system, strlen(system), &parts, NULL, "system");
    uint64_t fixed = p->tokens + sf_tokens_estimate(a->text, a->len);
    if (fixed > room)
        return -EFBIG;
    struct exchange *all = exchanges_of(a->turns, a->n, &count);
    int rc = all ? drop(all, count, room - fixed, a->dropped, &from) : -ENOMEM;
    if (!rc) {
        p->dropped = from;
        add_history(p, a, all, from, count, &linked, &parts);
        add_question(p, c, &linked, a->text, a->len, &parts, "the question");
    }
    free(all);
    return rc;
}

int
sf_chat_prompt_make(const struct sf_chat_prompt_args *a, struct sf_chat_prompt *p,
                    struct sf_provider_fault *fault)
{
    const struct sf_chat_needs needs = needs_of(a);
    const uint64_t room = sf_chat_budget_of(&needs).all;
    *p = (struct sf_chat_prompt){0};
    set_options(p, a);
    int rc = alloc(p, a);
    if (!rc)
        rc = fill(p, a, room);
    if (!rc)
        rc = digest(p, a->content);
    if (!rc)
        return 0;
    if (rc == -EFBIG)
        rc = sf_provider_fault_set(
            fault, SF_PC_CONTEXT,
            "this is about %" PRIu64 " tokens, and %.60s can be sent %" PRIu64,
            p->tokens + needs.prompt, a->model ? a->model : "the model", room);
    else
        (void)sf_provider_fault_set(fault, SF_PC_INVALID, "%s", strerror(-rc));
    fault->err = rc == -EIO || rc == -ENOMEM ? rc : -EFBIG;
    sf_chat_prompt_fini(p);
    return fault->err;
}

void
sf_chat_prompt_fini(struct sf_chat_prompt *p)
{
    free(p->messages);
    free(p->parts);
    free(p->shown);
    *p = (struct sf_chat_prompt){0};
}

/* ---- a dry run ------------------------------------------------------------------------------- */

double
sf_chat_prompt_price(const struct sf_chat_prompt *p, const struct sf_provider_conf *conf)
{
    const char *model = p->chat.model ? p->chat.model
                        : conf->model ? conf->model
                                      : conf->type->model;
    const struct sf_provider_price *price = model ? sf_provider_price(conf, model) : NULL;
    const struct sf_provider_usage usage = {.known = true, .prompt = p->tokens};
    return price ? sf_provider_cost(price, &usage) : -1;
}

static const char *
how_of(const struct sf_chat_content *c, const struct sf_provider_part *part)
{
    for (size_t i = 0; c && i < c->pieces.len; i++)
        if (c->pieces.data[i].text.data == part->text)
            return sf_chat_shown_name(c->pieces.data[i].how);
    return NULL;
}

static int
show_part(const struct sf_chat_prompt *p, size_t i, const struct sf_provider_part *part,
          const struct sf_chat_content *c, struct sf_buf *out)
{
    static const char *const roles[] = {
        [SF_PR_SYSTEM] = "system", [SF_PR_USER] = "user", [SF_PR_ASSISTANT] = "assistant"};
    bool text = part->kind == SF_PP_TEXT;
    const char *how = how_of(c, part);
    int rc = sf_buf_printf(out, "- %s: ", roles[p->messages[i].role]);
    if (!rc)
        rc = sf_str_escape(out, text ? p->shown[i] : part->name, "\\");
    if (!rc && how)
        rc = sf_buf_printf(out, " (%s)", how);
    if (!rc && text)
        rc = sf_buf_printf(out, ", about %" PRIu64 " tokens",
                           sf_tokens_estimate(part->text, part->len));
    return rc ? rc : sf_buf_putc(out, '\n');
}

int
sf_chat_prompt_show(const struct sf_chat_prompt *p, const struct sf_chat_prompt_args *a,
                    struct sf_buf *out)
{
    const struct sf_provider_conf *conf = a->conf;
    const char *model = a->model ? a->model : conf->model ? conf->model : conf->type->model;
    const char *currency = conf->currency ? conf->currency : "USD";
    double price = sf_chat_prompt_price(p, conf);
    int rc = sf_buf_printf(out, "Nothing was sent. To %s, %s, would go:\n\n", conf->name,
                           model ? model : "no model");
    for (size_t i = 0; !rc && i < p->chat.n; i++)
        for (size_t k = 0; !rc && k < p->messages[i].n; k++)
            rc = show_part(p, i, &p->messages[i].parts[k], a->content, out);
    if (!rc && p->dropped)
        rc = sf_buf_printf(out, "\nNot sent are the %zu oldest questions.\n", p->dropped);
    if (!rc)
        rc = sf_buf_printf(out, "\nIn all about %" PRIu64 " tokens", p->tokens);
    if (!rc && price >= 0)
        rc = sf_buf_printf(out, ", %.6f %s without the answer", price, currency);
    return rc ? rc : sf_buf_puts(out, ".");
}
