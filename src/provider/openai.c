/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/internal.h"

#include <ctype.h>

#include "base/str.h"
#include "provider/chat-body.h"

/*
 * OpenAI, and everything that speaks like it: Ollama, llama.cpp, vLLM, gateways. Most of them have
 * no files API, which only the attempt shows; local ones need no key.
 */

#define MB                                                                                         \
    (1024u * 1024u) /* which of the two they mean is not said: the server refuses the rest         \
                     */

static const struct sf_provider_limits limits[] = {
    {.purpose = "user_data", .max_bytes = 512 * MB, .empty_ok = true},
    {.purpose = "assistants", .max_bytes = 512 * MB, .empty_ok = true},
    {.purpose = "vision", .max_bytes = 512 * MB, .empty_ok = true},
    {.purpose = "batch", .max_bytes = 512 * MB, .empty_ok = true},
    {.purpose = "fine-tune", .max_bytes = 512 * MB, .empty_ok = true},
    {.purpose = "evals", .max_bytes = 512 * MB, .empty_ok = true},
};

static const struct sf_provider_limits *
limits_of(const char *base, const char *purpose)
{
    /* Nothing is known of other servers. */
    return sf_provider_base_is(base, "api.openai.com")
               ? sf_provider_limits_find(limits, sizeof limits / sizeof *limits, purpose)
               : NULL;
}

/* ---- chats ------------------------------------------------------------------------------------
 */

static bool
is_openai(const struct provider_body *b)
{
    return sf_provider_base_is(b->base, "api.openai.com");
}

/* OpenAI's own that think: o3-mini, gpt-5, ... */
static bool
reasons(const char *model)
{
    if (model[0] == 'o')
        return isdigit((unsigned char)model[1]);
    return sf_str_starts(model, "gpt-") && model[4] >= '5' && model[4] <= '9';
}

static void
chat_options(struct provider_body *b)
{
    const struct sf_provider_chat *chat = b->chat;
    bool own = is_openai(b);
    if (chat->max_tokens)
        provider_body_set(b, own ? "max_completion_tokens" : "max_tokens",
                          json_integer((json_int_t)chat->max_tokens));
    if (!chat->whole)
        provider_body_set(b, "stream_options", json_pack("{s:b}", "include_usage", 1));
    if (!own || !reasons(b->model))
        provider_body_temperature(b, 2);
    else if (chat->temperature)
        b->unsent |= SF_PU_TEMPERATURE;
    if (chat->effort && own && !reasons(b->model))
        b->unsent |= SF_PU_EFFORT;
    else if (chat->effort && chat->thinking != SF_PT_NOT)
        provider_body_set(b, "reasoning_effort", json_string(chat->effort));
    else if (chat->thinking == SF_PT_NOT && !own) /* Ollama and those who follow it */
        provider_body_set(b, "reasoning_effort", json_string("none"));
    else if (chat->thinking != SF_PT_AS_IT_LIKES)
        b->unsent |= SF_PU_THINKING;
}

static json_t *
chat_file(struct provider_body *b, const struct sf_provider_part *part)
{
    char name[256];
    (void)b;
    sf_provider_filename(part->name ? part->name : "file", name);
    if (provider_part_way(part) == SF_PP_BY_ID)
        return json_pack("{s:s, s:{s:s%}}", "type", "file", "file", "file_id", part->text,
                         part->len);
    return json_pack("{s:s, s:{s:s, s:s%}}", "type", "file", "file", "filename", name, "file_data",
                     part->text, part->len);
}

/* Of other servers nothing is known. */
static unsigned
takes(const char *base, const char *model, int kind)
{
    if (!sf_provider_base_is(base, "api.openai.com") || sf_str_starts(model, "gpt-3"))
        return 0;
    return kind == SF_PP_FILE    ? SF_PP_BY_BYTES | SF_PP_BY_ID
           : kind == SF_PP_IMAGE ? SF_PP_BY_LINK | SF_PP_BY_BYTES
                                 : 0;
}

static uint64_t
context_of(const char *base, const char *model)
{
    if (!sf_provider_base_is(base, "api.openai.com"))
        return 0;
    if (sf_str_starts(model, "gpt-4.1"))
        return 1000000;
    if (reasons(model))
        return model[0] == 'o' ? 200000 : 272000;
    return sf_str_starts(model, "gpt-4o") ? 128000 : 0;
}

const struct sf_provider_type sf_provider_openai = {
    .name = "openai",
    .title = "OpenAI-compatible",
    .default_base = "https://api.openai.com/v1",
    .purpose = "user_data",
    .upload_ms = 300 * 1000,
    .get_by_id = true,
    .list_pages = true,
    .limits = limits_of,
    .chat_options = chat_options,
    .chat_file = chat_file,
    .takes = takes,
    .context = context_of,
};
