/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/internal.h"

#include <string.h>

#include "base/str.h"
#include "provider/chat-body.h"

/*
 * Kimi, of Moonshot: https://api.moonshot.ai/v1, or .cn with keys of its own. Text of an uploaded
 * document is fetched and put into the chat; the id of a document never goes there.
 */

#define MB                                                                                         \
    (1024u * 1024u) /* which of the two they mean is not said: the server refuses the rest         \
                     */

/* As documented; what the page ends in "etc." for is not sent, the text can be asked about inline.
 */
static const char *const documents[] = {
    "pdf",   "txt",  "csv", "doc",  "docx", "xls",  "xlsx", "ppt",  "pptx", "md",  "jpeg", "jpg",
    "png",   "bmp",  "gif", "svg",  "svgz", "webp", "ico",  "xbm",  "dib",  "pjp", "tif",  "tiff",
    "pjpeg", "avif", "dot", "apng", "epub", "jfif", "html", "json", "mobi", "log", "go",   "h",
    "c",     "cpp",  "cxx", "cc",   "cs",   "java", "js",   "css",  "jsp",  "php", "py",   "py3",
    "asp",   "yaml", "yml", "ini",  "conf", "ts",   "tsx",  NULL};

static const struct sf_provider_limits limits[] = {
    {.purpose = "file-extract", .max_bytes = 100 * MB, .max_files = 1000, .extensions = documents},
    {.purpose = "image", .max_bytes = 100 * MB, .max_files = 1000},
    {.purpose = "video", .max_bytes = 100 * MB, .max_files = 1000},
    {.purpose = "batch", .max_bytes = 100 * MB, .max_files = 1000},
};

static const struct sf_provider_limits *
limits_of(const char *base, const char *purpose)
{
    (void)base; /* the same in both regions */
    return sf_provider_limits_find(limits, sizeof limits / sizeof *limits, purpose);
}

/* ---- chats ------------------------------------------------------------------------------------
 */

/* The older ones take what OpenAI takes. Newer ones think, mostly whether one wants it or not, and
 * refuse other values than their own of what steers the choice of words. */
static void
chat_options(struct provider_body *b)
{
    const struct sf_provider_chat *chat = b->chat;
    bool older = sf_str_starts(b->model, "moonshot-");
    bool may_choose = sf_str_starts(b->model, "kimi-k2.5") || sf_str_starts(b->model, "kimi-k2.6");
    if (chat->max_tokens)
        provider_body_set(b, "max_completion_tokens", json_integer((json_int_t)chat->max_tokens));
    if (!chat->whole)
        provider_body_set(b, "stream_options", json_pack("{s:b}", "include_usage", 1));
    if (older)
        provider_body_temperature(b, 1);
    else if (chat->temperature)
        b->unsent |= SF_PU_TEMPERATURE;
    /* It would multiply what an answer takes and costs: who wants it says so. */
    bool thinks = chat->thinking == SF_PT_YES || (chat->effort && chat->thinking != SF_PT_NOT);
    if (may_choose)
        provider_body_thinking(b, thinks, chat->effort);
    else if (chat->thinking == (older ? SF_PT_YES : SF_PT_NOT) && !may_choose)
        b->unsent |= SF_PU_THINKING;
    if (chat->effort && older)
        b->unsent |= SF_PU_EFFORT;
    else if (chat->effort && !may_choose)
        provider_body_set(b, "reasoning_effort", json_string(chat->effort));
}

/* Pictures by their bytes or by the id of an upload; a document only as its text. */
static unsigned
takes(const char *base, const char *model, int kind)
{
    (void)base;
    bool sees = sf_str_starts(model, "kimi-") || strstr(model, "-vision");
    return sees && kind != SF_PP_FILE ? SF_PP_BY_BYTES | SF_PP_BY_ID : 0;
}

static uint64_t
context_of(const char *base, const char *model)
{
    (void)base;
    if (sf_str_starts(model, "kimi-k2"))
        return 262144;
    if (sf_str_starts(model, "kimi-k3"))
        return 1048576;
    return strstr(model, "-8k")     ? 8192
           : strstr(model, "-32k")  ? 32768
           : strstr(model, "-128k") ? 131072
                                    : 0;
}

const struct sf_provider_type sf_provider_kimi = {
    .name = "kimi",
    .title = "Kimi (Moonshot)",
    .default_base = "https://api.moonshot.ai/v1",
    .purpose = "file-extract",
    .upload_ms = 300 * 1000,
    .needs_key = true,
    .has_files = true,
    .get_by_id = true,
    .text_of = true,
    .limits = limits_of,
    .echoes_reasoning = true,
    .one_id = true,
    .chat_options = chat_options,
    .takes = takes,
    .context = context_of,
};
