/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/internal.h"

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
};
