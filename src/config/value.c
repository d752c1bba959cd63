/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/value.h"

#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STRING = 4096, MAX_KEY = 16384 };

static const struct {
    const char *name;
    uint64_t ms;
} time_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

static const struct {
    const char *name;
    uint64_t bytes;
} size_units[] = {
    {"T", 1ull << 40},
    {"G", 1ull << 30},
    {"M", 1ull << 20},
    {"K", 1ull << 10},
};

static int
parse_bool(const char *s, uint64_t *ret)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(s, words[i])) {
            *ret = i & 1;
            return 0;
        }
    return -EINVAL;
}

static int
parse_duration(const char *s, uint64_t *ret)
{
    char digits[24];
    size_t n = strspn(s, "0123456789");
    if (n == 0 || n >= sizeof digits)
        return -EINVAL;
    memcpy(digits, s, n);
    digits[n] = '\0';

    uint64_t value, unit = s[n] ? 0 : 1000;
    for (size_t i = 0; i < sizeof time_units / sizeof *time_units; i++)
        if (!strcmp(s + n, time_units[i].name))
            unit = time_units[i].ms;
    if (unit == 0 || sf_parse_u64(digits, &value) || __builtin_mul_overflow(value, unit, ret))
        return -EINVAL;
    return 0;
}

static int
parse_octal(const char *s, uint64_t *ret)
{
    size_t n = strspn(s, "01234567");
    if (n == 0 || n > 6 || s[n])
        return -EINVAL;
    *ret = strtoul(s, NULL, 8);
    return 0;
}

/* Position of a word in "a|b|c", or -1. */
static int
enum_position(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (int pos = 0; n > 0 && *list; pos++) {
        size_t len = strcspn(list, "|");
        if (len == n && !memcmp(list, word, n))
            return pos;
        list += len + (list[len] == '|');
    }
    return -1;
}

/* Text without control characters; a key is one printable word. */
static int
check_text(const struct sf_opt_info *info, const char *s)
{
    bool key = info->flags & SF_OPT_F_SECRET;
    size_t n = strlen(s);
    if (n > (key ? MAX_KEY : MAX_STRING))
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < ' ' || c == 0x7f || (key && (c == ' ' || c > '~')))
            return -EINVAL;
    }
    return 0;
}

int
sf_value_parse(enum sf_opt opt, const char *text, struct sf_value *ret)
{
    return sf_value_parse_as(sf_opt_info(opt), text, ret);
}

int
sf_value_parse_as(const struct sf_opt_info *info, const char *text, struct sf_value *ret)
{
    struct sf_value v = {0};
    int rc = 0;

    switch (info->type) {
    case SF_OPT_TYPE_BOOL:
        rc = parse_bool(text, &v.num);
        break;
    case SF_OPT_TYPE_INT:
        rc = sf_parse_u64(text, &v.num);
        break;
    case SF_OPT_TYPE_SIZE:
        rc = sf_parse_size(text, &v.num);
        break;
    case SF_OPT_TYPE_DURATION:
        rc = parse_duration(text, &v.num);
        break;
    case SF_OPT_TYPE_OCTAL:
        rc = parse_octal(text, &v.num);
        break;
    case SF_OPT_TYPE_STRING:
    case SF_OPT_TYPE_PATH:
        rc = check_text(info, text);
        break;
    case SF_OPT_TYPE_ENUM: {
        int pos = enum_position(info->values, text);
        rc = pos < 0 ? -EINVAL : 0;
        v.num = (uint64_t)(pos < 0 ? 0 : pos);
        break;
    }
    }
    if (rc)
        return -EINVAL;
    bool ranged = info->max > 0;
    if (ranged && (v.num < (uint64_t)info->min || v.num > (uint64_t)info->max))
        return -EINVAL;
    if (info->type >= SF_OPT_TYPE_STRING && !(v.str = strdup(text)))
        return -ENOMEM;
    *ret = v;
    return 0;
}

void
sf_value_fini(struct sf_value *v)
{
    if (v->str)
        explicit_bzero(v->str, strlen(v->str));
    free(v->str);
    v->str = NULL;
}

static const char *
format_size(uint64_t bytes, char *out, size_t size)
{
    for (size_t i = 0; bytes && i < sizeof size_units / sizeof *size_units; i++)
        if (bytes % size_units[i].bytes == 0) {
            snprintf(out, size, "%" PRIu64 "%s", bytes / size_units[i].bytes, size_units[i].name);
            return out;
        }
    snprintf(out, size, "%" PRIu64, bytes);
    return out;
}

static const char *
format_duration(uint64_t ms, char *out, size_t size)
{
    size_t i = 0;
    while (ms && ms % time_units[i].ms)
        i++;
    if (ms == 0)
        i = 4; /* seconds */
    snprintf(out, size, "%" PRIu64 "%s", ms / time_units[i].ms, time_units[i].name);
    return out;
}

const char *
sf_value_allowed(enum sf_opt opt, char *out, size_t size)
{
    return sf_value_allowed_as(sf_opt_info(opt), out, size);
}

const char *
sf_value_allowed_as(const struct sf_opt_info *info, char *out, size_t size)
{
    char low[32], high[32];

    switch (info->type) {
    case SF_OPT_TYPE_BOOL:
        snprintf(out, size, "yes or no");
        break;
    case SF_OPT_TYPE_INT:
        snprintf(out, size, "a whole number from %" PRId64 " to %" PRId64, info->min, info->max);
        break;
    case SF_OPT_TYPE_SIZE:
        snprintf(out, size, "a size from %s to %s, written like 4096, 64K, 10M or 1G",
                 format_size((uint64_t)info->min, low, sizeof low),
                 format_size((uint64_t)info->max, high, sizeof high));
        break;
    case SF_OPT_TYPE_DURATION:
        snprintf(out, size, "a time from %s to %s, written like 500ms, 30s, 5min or 2h",
                 format_duration((uint64_t)info->min, low, sizeof low),
                 format_duration((uint64_t)info->max, high, sizeof high));
        break;
    case SF_OPT_TYPE_OCTAL:
        snprintf(out, size, "an octal number from %03" PRIo64 " to %03" PRIo64, info->min,
                 info->max);
        break;
    case SF_OPT_TYPE_STRING:
        if (info->flags & SF_OPT_F_SECRET)
            snprintf(out, size, "one word of printable characters");
        else
            snprintf(out, size, "a text of at most %d bytes without control characters",
                     MAX_STRING);
        break;
    case SF_OPT_TYPE_PATH:
        snprintf(out, size, "a path");
        break;
    case SF_OPT_TYPE_ENUM: {
        size_t n = (size_t)snprintf(out, size, "one of ");
        for (const char *p = info->values; *p && n < size; p++)
            n += (size_t)snprintf(out + n, size - n, *p == '|' ? "%s" : "%.1s",
                                  *p == '|' ? ", " : p);
        break;
    }
    }
    return out;
}

const char *
sf_value_format(enum sf_opt opt, const struct sf_value *v, char *out, size_t size)
{
    switch (sf_opt_info(opt)->type) {
    case SF_OPT_TYPE_BOOL:
        snprintf(out, size, "%s", v->num ? "yes" : "no");
        break;
    case SF_OPT_TYPE_INT:
        snprintf(out, size, "%" PRIu64, v->num);
        break;
    case SF_OPT_TYPE_SIZE:
        format_size(v->num, out, size);
        break;
    case SF_OPT_TYPE_DURATION:
        format_duration(v->num, out, size);
        break;
    case SF_OPT_TYPE_OCTAL:
        snprintf(out, size, "%03" PRIo64, v->num);
        break;
    case SF_OPT_TYPE_STRING:
    case SF_OPT_TYPE_PATH:
    case SF_OPT_TYPE_ENUM:
        snprintf(out, size, "%s", v->str ? v->str : "");
        break;
    }
    return out;
}

/* "sk-..." as providers give it, and no name: 20 letters and digits in a row, and a digit. */
static bool
is_provider_key(const char *text)
{
    size_t run = 0, digits = 0;
    if (!sf_str_starts(text, "sk-"))
        return false;
    for (const char *p = text + 3; *p && (run < 20 || !digits); p++) {
        bool in_run = isalnum((unsigned char)*p);
        run = in_run ? run + 1 : 0;
        digits = in_run ? digits + (isdigit((unsigned char)*p) != 0) : 0;
    }
    return run >= 20 && digits > 0;
}

bool
sf_value_is_key(const char *text)
{
    /* Every JWT begins with {" in base64. */
    return sf_str_starts(text, "eyJ") || sf_str_starts(text, "sb_secret_") ||
           sf_str_starts(text, "sb_publishable_") || is_provider_key(text);
}

const char *
sf_value_quote(const char *text, char out[48])
{
    size_t n = strnlen(text, 41);
    const char *value = strchr(text, '=');
    if (sf_value_is_key(text) || strstr(text, "=eyJ") || strstr(text, "=sb_") ||
        (value && sf_value_is_key(value + 1))) {
        snprintf(out, 48, "...");
        return out;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
    out[n] = '\0';
    if (n > 40)
        snprintf(out + 40, 8, "...");
    return out;
}
