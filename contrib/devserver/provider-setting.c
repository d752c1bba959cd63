/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>

#include "provider-internal.h"

const struct ds_provider_site ds_provider_sites[DS_PROVIDER_SITES] = {
    [DS_PROVIDER_KIMI] = {"kimi", "/kimi/v1", "sk-kimi-", "MOONSHOT", "KIMI", "kimi-k2.6"},
    [DS_PROVIDER_KIMI_CN] = {"kimi-cn", "/kimi-cn/v1", "sk-kimicn-", NULL, NULL, NULL},
    [DS_PROVIDER_GLM] = {"glm", "/glm/api/paas/v4", NULL, "ZHIPUAI", "GLM", "glm-5.1"},
    [DS_PROVIDER_ZAI] = {"zai", "/zai/api/paas/v4", NULL, NULL, NULL, NULL},
    [DS_PROVIDER_OPENAI] = {"openai", "/openai/v1", "sk-openai-", "OPENAI", NULL, NULL},
};

#define IMAGES   "\"png\",\"jpg\",\"jpeg\""
#define OFFICE   "\"pdf\",\"docx\",\"doc\",\"xls\",\"xlsx\""
#define KIMI_MAX "\"bytes\":104857600,\"files\":1000"

/* What the vendors' documents list, part by part. */
#define KIMI_LIMITS                                                                                \
    "{\"file-extract\":{" KIMI_MAX ",\"types\":[" OFFICE ",\"txt\",\"csv\",\"ppt\",\"pptx\","      \
    "\"md\",\"jpeg\",\"jpg\",\"png\",\"bmp\",\"gif\",\"svg\",\"svgz\",\"webp\",\"ico\",\"xbm\","   \
    "\"dib\",\"pjp\",\"tif\",\"pjpeg\",\"avif\",\"dot\",\"apng\",\"epub\",\"tiff\",\"jfif\","      \
    "\"html\",\"json\",\"mobi\",\"log\",\"go\",\"h\",\"c\",\"cpp\",\"cxx\",\"cc\",\"cs\","         \
    "\"java\",\"js\",\"css\",\"jsp\",\"php\",\"py\",\"py3\",\"asp\",\"yaml\",\"yml\",\"ini\","     \
    "\"conf\",\"ts\",\"tsx\"]},\"image\":{" KIMI_MAX "},\"video\":{" KIMI_MAX "},"                 \
    "\"batch\":{" KIMI_MAX "}}"
#define GLM_LIMITS                                                                                 \
    "{\"agent\":{\"bytes\":20971520,\"image_bytes\":5242880,\"files\":1000,\"types\":[" OFFICE     \
    "," IMAGES ",\"txt\",\"csv\"]},"                                                               \
    "\"code-interpreter\":{\"bytes\":20971520,\"image_bytes\":5242880,\"files\":100,"              \
    "\"types\":[" OFFICE "," IMAGES ",\"txt\",\"csv\"]},"                                          \
    "\"file-extract\":{\"bytes\":52428800,\"image_bytes\":5242880,\"files\":100,"                  \
    "\"types\":[" OFFICE "," IMAGES ",\"ppt\",\"pptx\",\"csv\"]},"                                 \
    "\"batch\":{\"bytes\":104857600,\"files\":1000,\"types\":[\"jsonl\"]},"                        \
    "\"retrieval\":{\"bytes\":5242880},\"fine-tune\":{\"bytes\":104857600}}"
#define ZAI_LIMITS                                                                                 \
    "{\"agent\":{\"bytes\":104857600,\"types\":[\"pdf\",\"doc\",\"xlsx\",\"ppt\",\"txt\","         \
    "\"jpg\",\"png\"]}}"
#define OPENAI_MAX "{\"bytes\":536870912}"
#define OPENAI_LIMITS                                                                              \
    "{\"assistants\":" OPENAI_MAX ",\"batch\":" OPENAI_MAX ",\"fine-tune\":" OPENAI_MAX            \
    ",\"vision\":" OPENAI_MAX ",\"user_data\":" OPENAI_MAX ",\"evals\":" OPENAI_MAX "}"

#define KIMI_MODELS                                                                                \
    "[\"kimi-k3\",\"kimi-k2.6\",\"kimi-k2.5\",\"kimi-k2.7-code\",\"moonshot-v1-8k\","              \
    "\"moonshot-v1-32k\",\"moonshot-v1-128k\",\"moonshot-v1-auto\"]"
#define GLM_MODELS                                                                                 \
    "[\"glm-4.5\",\"glm-4.5-air\",\"glm-4.5-flash\",\"glm-4.6\",\"glm-4.7\",\"glm-4.7-flash\","    \
    "\"glm-5\",\"glm-5-turbo\",\"glm-5.1\",\"glm-5.2\",\"glm-4.5v\",\"glm-4.6v\","                 \
    "\"glm-4.6v-flash\",\"glm-5v-turbo\"]"

/*
 * Every setting with its value, as JSON, at Kimi, GLM and the OpenAI-compatible site; NULL = as at
 * Kimi. The other two sites are as their vendor's first, but for what Z.ai documents otherwise.
 */
static const struct {
    const char *name, *kimi, *glm, *openai;
    const char *words; /* that a text may be, NULL = any */
} defaults[] = {
    {"flavour", "\"kimi\"", "\"glm\"", "\"openai\"",
     "kimi|glm|openai|ollama|llama.cpp|vllm|lmstudio"},
    /* requests at all */
    {"rpm", "0", NULL, NULL, NULL},
    {"rpm_window_s", "60", NULL, NULL, NULL},
    {"concurrency", "0", NULL, NULL, NULL},
    {"limited", "\"all\"", NULL, NULL, "all|chat"},
    {"retry_after", "false", NULL, "true", NULL},
    {"rate_headers", "false", NULL, "true", NULL},
    {"int_codes", "false", NULL, NULL, NULL},
    {"flat_errors", "false", NULL, NULL, NULL},
    {"language", "\"auto\"", NULL, NULL, "auto|en|zh"},
    {"not_found", "\"own\"", NULL, NULL, "own|invalid|gateway"},
    /* files */
    {"limits", KIMI_LIMITS, GLM_LIMITS, OPENAI_LIMITS, NULL},
    {"max_bytes", "0", NULL, NULL, NULL},
    {"max_files", "0", NULL, NULL, NULL},
    {"total_bytes", "10737418240", "0", "0", NULL},
    {"total_message",
     "\"The total size of files you have uploaded exceeded the max total size 10GB, please delete "
     "previous uploaded files\"",
     "\"The total size of files exceeds the limit\"", NULL, NULL},
    {"too_large_status", "400", "435", "413", NULL},
    {"empty", "\"refuse\"", NULL, NULL, "refuse|accept"},
    {"unknown_suffix", "\"refuse\"", NULL, NULL, "refuse|accept|fail"},
    {"id_style", "\"short\"", "\"numeric\"", "\"file\"", "short|numeric|file"},
    {"status_shown", "true", "false", "true", NULL},
    {"status_ready", "\"ok\"", NULL, "\"processed\"", NULL},
    {"status_pending", "\"processing\"", NULL, "\"uploaded\"", NULL},
    {"status_failed", "\"error\"", NULL, NULL, NULL},
    {"pending_polls", "0", NULL, NULL, NULL},
    {"pending_ms", "0", NULL, NULL, NULL},
    {"lifetime_s", "0", NULL, NULL, NULL},
    {"get_by_id", "true", "false", "true", NULL},
    {"paging", "false", "true", "true", NULL},
    {"page", "10000", "20", NULL, NULL},
    {"content_of", "[\"file-extract\"]", "[\"batch\",\"file-extract\"]",
     "[\"batch\",\"fine-tune\",\"evals\"]", NULL},
    {"content_form", "\"json\"", NULL, NULL, "json|short|text"},
    {"extract_bytes", "16777216", NULL, NULL, NULL},
    {"parser", "false", "true", "false", NULL},
    {"parser_polls", "1", NULL, NULL, NULL},
    {"parser_pending", "\"processing\"", NULL, NULL, NULL},
    {"parser_bool", "false", NULL, NULL, NULL},
    /* chats */
    {"models", KIMI_MODELS, GLM_MODELS, "[]", NULL},
    {"models_route", "true", "false", "true", NULL},
    {"max_body", "2097152", "0", "0", NULL},
    {"context_tokens", "262144", "131072", "131072", NULL},
    {"truncates", "false", NULL, NULL, NULL},
    {"thinks", "true", "true", "false", NULL},
    {"echo_reasoning", "false", NULL, NULL, NULL},
    {"reasoning_field", "\"auto\"", NULL, NULL, "auto|reasoning_content|reasoning|both|none"},
    {"usage_place", "\"auto\"", NULL, NULL, "auto|choice|trailing|last|none"},
    {"stream_options", "true", "false", "true", NULL},
    {"file_id_in_chat", "false", NULL, NULL, NULL},
    {"ms_images", "true", "false", "false", NULL},
    {"file_url", "false", "true", "false", NULL},
    {"ttft_ms", "0", NULL, NULL, NULL},
    {"tps", "0", NULL, NULL, NULL},
    {"words", "0", NULL, NULL, NULL},
};

enum { DEFAULTS = sizeof defaults / sizeof defaults[0] };

json_t *
ds_provider_defaults(size_t site)
{
    json_t *all = json_object();
    for (size_t i = 0; i < DEFAULTS; i++) {
        const char *text = defaults[i].kimi;
        if ((site == DS_PROVIDER_GLM || site == DS_PROVIDER_ZAI) && defaults[i].glm)
            text = defaults[i].glm;
        else if (site == DS_PROVIDER_OPENAI && defaults[i].openai)
            text = defaults[i].openai;
        if (site == DS_PROVIDER_ZAI && strcmp(defaults[i].name, "limits") == 0)
            text = ZAI_LIMITS;
        if (site == DS_PROVIDER_ZAI && strcmp(defaults[i].name, "parser") == 0)
            text = "false";
        json_object_set_new(all, defaults[i].name, json_loads(text, JSON_DECODE_ANY, NULL));
    }
    return all;
}

static bool
is_word(const char *words, const char *text)
{
    size_t len = strlen(text);
    for (const char *at = words; *at; at += *at == '|') {
        size_t n = strcspn(at, "|");
        if (n == len && memcmp(at, text, n) == 0)
            return true;
        at += n;
    }
    return false;
}

int
ds_provider_check_setting(const char *name, const json_t *value, struct sf_err *err)
{
    size_t i = 0;
    while (i < DEFAULTS && strcmp(defaults[i].name, name) != 0)
        i++;
    if (i == DEFAULTS)
        return sf_err_set(err, -EINVAL, "a provider has no setting \"%s\"", name);
    json_t *usual = json_loads(defaults[i].kimi, JSON_DECODE_ANY, NULL);
    bool same = json_typeof(usual) == json_typeof(value) ||
                (json_is_boolean(usual) && json_is_boolean(value));
    json_decref(usual);
    if (!same)
        return sf_err_set(err, -EINVAL, "\"%s\" is %s by default: give another of the kind", name,
                          defaults[i].kimi);
    if (defaults[i].words && !is_word(defaults[i].words, json_string_value(value)))
        return sf_err_set(err, -EINVAL, "\"%s\" is one of %s", name, defaults[i].words);
    if (json_is_integer(value) && json_integer_value(value) < 0)
        return sf_err_set(err, -EINVAL, "\"%s\" must be a number from 0 up", name);
    return 0;
}

const json_t *
ds_set_value(const struct ds_provider_call *call, const char *name)
{
    return json_object_get(call->settings, name);
}

int64_t
ds_set_number(const struct ds_provider_call *call, const char *name)
{
    return json_integer_value(ds_set_value(call, name));
}

bool
ds_set_bool(const struct ds_provider_call *call, const char *name)
{
    return json_is_true(ds_set_value(call, name));
}

const char *
ds_set_text(const struct ds_provider_call *call, const char *name)
{
    const char *text = json_string_value(ds_set_value(call, name));
    return text ? text : "";
}

bool
ds_set_is(const struct ds_provider_call *call, const char *name, const char *text)
{
    return strcmp(ds_set_text(call, name), text) == 0;
}

bool
ds_set_has(const struct ds_provider_call *call, const char *name, const char *text)
{
    size_t i;
    const json_t *entry;
    json_array_foreach((json_t *)(uintptr_t)ds_set_value(call, name), i, entry)
    {
        const char *one = json_string_value(entry);
        if (one && strcmp(one, text) == 0)
            return true;
    }
    return false;
}

int64_t
ds_set_limit(const struct ds_provider_call *call, const char *purpose, const char *name)
{
    const json_t *limits = json_object_get(ds_set_value(call, "limits"), purpose);
    return json_integer_value(json_object_get(limits, name));
}
