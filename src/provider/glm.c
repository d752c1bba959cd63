/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/internal.h"

#include <string.h>

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
};
