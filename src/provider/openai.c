/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/internal.h"

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

const struct sf_provider_type sf_provider_openai = {
    .name = "openai",
    .title = "OpenAI-compatible",
    .default_base = "https://api.openai.com/v1",
    .purpose = "user_data",
    .upload_ms = 300 * 1000,
    .get_by_id = true,
    .list_pages = true,
    .limits = limits_of,
};
