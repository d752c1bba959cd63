/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "provider/chat-body.h"

/*
 * GLM, of Zhipu: https://open.bigmodel.cn/api/paas/v4, or https://api.z.ai/api/paas/v4. A file gets
 * an id, which cannot be fetched (the list is asked) nor given to a chat.
 */

static const char *const agent_cn[] = {"pdf", "docx", "doc",  "xls", "xlsx", "txt",
                                       "png", "jpg",  "jpeg", "csv", NULL};
static const char *const agent_global[] = {"pdf", "doc", "docx", "xlsx", "ppt", "pptx",
                                           "txt", "jpg", "jpeg", "png",  NULL};
static const char *const extract[] = {"pdf",  "docx", "doc", "xls",  "xlsx", "ppt",
                                      "pptx", "png",  "jpg", "jpeg", "csv",  NULL};
static const char *const batch[] = {"jsonl", NULL};
static const char *const voice[] = {"mp3", "wav", NULL};

#define MB                                                                                         \
    (1024u * 1024u) /* which of the two they mean is not said: the server refuses the rest         \
                     */

static const struct sf_provider_limits limits_cn[] = {
    {.purpose = "agent",
     .max_bytes = 20 * MB,
     .max_image_bytes = 5 * MB,
     .max_files = 1000,
     .extensions = agent_cn},
    {.purpose = "code-interpreter",
     .max_bytes = 20 * MB,
     .max_image_bytes = 5 * MB,
     .max_files = 100,
     .extensions = agent_cn},
    {.purpose = "file-extract",
     .max_bytes = 50 * MB,
     .max_image_bytes = 5 * MB,
     .max_files = 100,
     .extensions = extract},
    {.purpose = "batch", .max_bytes = 100 * MB, .max_files = 1000, .extensions = batch},
    {.purpose = "retrieval", .max_bytes = 5 * MB},
    {.purpose = "voice-clone-input", .extensions = voice},
};

static const struct sf_provider_limits limits_global[] = {
    {.purpose = "agent", .max_bytes = 100 * MB, .extensions = agent_global},
    {.purpose = "batch", .max_bytes = 100 * MB, .extensions = batch},
};

static const struct sf_provider_limits *
limits_of(const char *base, const char *purpose)
{
    if (sf_provider_base_is(base, "api.z.ai"))
        return sf_provider_limits_find(limits_global, sizeof limits_global / sizeof *limits_global,
                                       purpose);
    return sf_provider_limits_find(limits_cn, sizeof limits_cn / sizeof *limits_cn, purpose);
}

/* Else messages of bigmodel.cn are Chinese. */
static const char *const headers[] = {"Accept-Language", "en-US,en", NULL};

/* ---- chats ------------------------------------------------------------------------------------
 */

/* Of "glm-4.6v-flash" 406, and what stands behind the number. 0 = no such name. */
static unsigned
version(const char *model, const char **rest)
{
    char *end;
    if (!sf_str_starts(model, "glm-"))
        return 0;
    unsigned long major = strtoul(model + 4, &end, 10), minor = 0;
    if (end > model + 4 && *end == '.')
        minor = strtoul(end + 1, &end, 10);
    *rest = end;
    return major < 100 && minor < 100 ? (unsigned)(major * 100 + minor) : 0;
}

/* They think unless told otherwise, which takes time and money: so they are told. */
static void
chat_options(struct provider_body *b)
{
    const struct sf_provider_chat *chat = b->chat;
    const char *rest;
    unsigned v = version(b->model, &rest);
    bool effort = chat->effort && v >= 502;
    if (chat->max_tokens)
        provider_body_set(b, "max_tokens", json_integer((json_int_t)chat->max_tokens));
    if (chat->temperature && *chat->temperature == 0) /* their way to ask for no dice */
        provider_body_set(b, "do_sample", json_false());
    else
        provider_body_temperature(b, 1);
    if (v >= 405)
        provider_body_thinking(
            b, chat->thinking == SF_PT_YES || (effort && chat->thinking != SF_PT_NOT), NULL);
    else if (chat->thinking == SF_PT_YES)
        b->unsent |= SF_PU_THINKING;
    if (effort)
        provider_body_set(b, "reasoning_effort", json_string(chat->effort));
    else if (chat->effort)
        b->unsent |= SF_PU_EFFORT;
}

/* Models with a v behind their number fetch what they are to look at, documents too. */
static unsigned
takes(const char *base, const char *model, int kind)
{
    const char *rest = "";
    (void)base;
    if (!version(model, &rest) || *rest != 'v')
        return 0;
    return kind == SF_PP_FILE ? SF_PP_BY_LINK : SF_PP_BY_LINK | SF_PP_BY_BYTES;
}

/* Of most it is known that they take no less. */
static uint64_t
context_of(const char *base, const char *model)
{
    const char *rest = "";
    (void)base;
    unsigned v = version(model, &rest);
    return v >= 502 ? 1000000 : v >= 405 ? (*rest == 'v' ? 65536 : 131072) : 0;
}

const struct sf_provider_type sf_provider_glm = {
    .name = "glm",
    .title = "GLM (Zhipu)",
    .default_base = "https://open.bigmodel.cn/api/paas/v4",
    .purpose = "agent",
    .upload_ms = 180 * 1000,
    .lifetime_ms = 24 * 3600 * 1000,
    .needs_key = true,
    .has_files = true,
    .list_pages = true,
    .headers = headers,
    .limits = limits_of,
    .one_id = true,
    .chat_options = chat_options,
    .takes = takes,
    .context = context_of,
};
