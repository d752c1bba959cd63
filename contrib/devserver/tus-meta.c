/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tus-meta.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "buf.h"
#include "text.h"

struct pair {
    const char *key, *value; /* value NULL = none */
    size_t key_len, value_len;
};

static bool
is_base64(const char *text, size_t len)
{
    if (len % 4 != 0)
        return false;
    while (len > 0 && text[len - 1] == '=' && len % 4 != 2)
        len--;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '+' && text[i] != '/')
            return false;
    return true;
}

/* Takes the pair at *at and goes behind its comma; *at is NULL after the last. False for what is no
 * pair. */
static bool
next_pair(const char **at, struct pair *ret)
{
    const char *text = *at;
    size_t len = strcspn(text, ",");
    const char *space = memchr(text, ' ', len);
    *ret = (struct pair){.key = text, .key_len = space ? (size_t)(space - text) : len};
    if (space) {
        ret->value = space + 1;
        ret->value_len = len - ret->key_len - 1;
    }
    *at = text[len] ? text + len + 1 : NULL;
    for (size_t i = 0; i < ret->key_len; i++)
        if ((unsigned char)ret->key[i] > 127)
            return false;
    return ret->key_len > 0 && is_base64(ret->value ? ret->value : "", ret->value_len);
}

static bool
is_key(const struct pair *pair, const char *key, size_t len)
{
    return pair->key_len == len && memcmp(pair->key, key, len) == 0;
}

bool
ds_tus_meta_valid(const char *header)
{
    for (const char *at = header; at;) {
        struct pair pair, earlier;
        const char *start = at;
        if (!next_pair(&at, &pair))
            return false;
        for (const char *before = header; before && before < start;)
            if (next_pair(&before, &earlier) && is_key(&earlier, pair.key, pair.key_len))
                return false;
    }
    return true;
}

char *
ds_tus_meta_get(const char *header, const char *key, size_t *len)
{
    for (const char *at = header; at;) {
        struct pair pair;
        if (!next_pair(&at, &pair) || !is_key(&pair, key, strlen(key)))
            continue;
        if (pair.value_len == 0)
            return NULL;
        return ds_base64_decode(pair.value, pair.value_len, len);
    }
    return NULL;
}

char *
ds_tus_meta_with(const char *header, const char *key, const char *value)
{
    ds_autobuf out = DS_BUF_INIT;
    sf_autofree char *encoded = ds_base64_encode(value, strlen(value), false);
    bool placed = false;
    if (!encoded)
        return NULL;
    for (const char *at = header; at;) {
        struct pair pair;
        bool fine = next_pair(&at, &pair);
        if (out.len > 0)
            ds_buf_adds(&out, ",");
        ds_buf_add(&out, pair.key, pair.key_len);
        if (fine && is_key(&pair, key, strlen(key))) {
            ds_buf_addf(&out, " %s", encoded);
            placed = true;
        } else if (pair.value_len > 0) {
            ds_buf_adds(&out, " ");
            ds_buf_add(&out, pair.value, pair.value_len);
        }
    }
    if (!placed)
        ds_buf_addf(&out, "%s%s %s", out.len > 0 ? "," : "", key, encoded);
    return ds_buf_take(&out, NULL);
}
