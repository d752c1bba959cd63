/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define DEPTH_MAX 64

/* jansson's own limit is 2048 levels of recursion, too many for a small stack. */
static bool
too_deep(const char *body, size_t len)
{
    size_t depth = 0;
    bool text = false;
    for (size_t i = 0; i < len; i++) {
        char c = body[i];
        if (text) {
            if (c == '\\')
                i++;
            else if (c == '"')
                text = false;
        } else if (c == '"') {
            text = true;
        } else if (c == '[' || c == '{') {
            if (++depth > DEPTH_MAX)
                return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

json_t *
sf_json_parse(const char *body, size_t len, char *why)
{
    json_error_t error;
    if (too_deep(body, len)) {
        if (why)
            snprintf(why, 160, "nested too deeply");
        return NULL;
    }
    json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, &error);
    if (!root && why) {
        char text[120];
        sf_text_clean(error.text, strnlen(error.text, sizeof error.text), text, sizeof text);
        snprintf(why, 160, "%s at byte %d", text, error.position);
    }
    return root;
}

void
sf_text_clean(const char *text, size_t len, char *out, size_t size)
{
    size_t n = len < size ? len : size - 1;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        out[i] = c >= 0x20 && c < 0x7f ? (char)c : '?';
    }
    out[n] = '\0';
    if (n < len && n > 3)
        memcpy(out + n - 3, "...", 3);
}

int
sf_json_time(const json_t *obj, const char *name, int64_t *ret_ns)
{
    const json_t *v = json_object_get(obj, name);
    if (!v || json_is_null(v)) {
        *ret_ns = 0;
        return 0;
    }
    return json_is_string(v) && sf_time_parse(json_string_value(v), ret_ns) == 0 ? 0 : -EINVAL;
}

const char *
sf_json_text(const json_t *obj, const char *name)
{
    const json_t *v = json_object_get(obj, name);
    return !v || json_is_null(v) ? "" : json_string_value(v);
}

int
sf_json_size(const json_t *obj, const char *name, uint64_t *ret, bool *found)
{
    const json_t *v = json_object_get(obj, name);
    *found = v && !json_is_null(v);
    if (!*found)
        return 0;
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return -EINVAL;
    *ret = (uint64_t)json_integer_value(v);
    return 0;
}
