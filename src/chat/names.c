/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/names.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "config/provider.h"
#include "tree/names.h"

#define WORD   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
#define DIGEST 32 /* bytes of a SHA-256 */

bool
sf_chat_suffix_ok(const char *suffix)
{
    size_t n = strlen(suffix);
    return n >= 2 && n <= SF_CHAT_SUFFIX_MAX && suffix[0] == '.' &&
           strspn(suffix + 1, WORD) == n - 1 && strcmp(suffix, SF_CONTROL_DIR) != 0;
}

/* Can a file be called so? "." and ".." are directories, which have chat names of their own. */
static bool
is_file(const char *name, size_t len)
{
    return len > 0 && !memchr(name, '/', len) &&
           !(len <= 2 && name[0] == '.' && name[len - 1] == '.');
}

/* The provider that these bytes name. */
static const char *
provider_of(const char *s, size_t len, const char *const *providers)
{
    char name[40];
    if (len == 0 || len >= sizeof name || memchr(s, '\0', len))
        return NULL;
    memcpy(name, s, len);
    name[len] = '\0';
    for (; *providers; providers++)
        if (sf_provider_name_same(name, *providers))
            return *providers;
    return NULL;
}

unsigned
sf_chat_name_read(const char *name, const char *suffix, const char *const *providers,
                  struct sf_chat_reading out[static SF_CHAT_READINGS])
{
    size_t len = strlen(name), end = strlen(suffix);
    unsigned n = 0;
    if (!*providers || len > SF_NAME_MAX || len < end || strcmp(name + len - end, suffix) != 0)
        return 0;
    len -= end;
    if (len == 0 || is_file(name, len))
        out[n++] = (struct sf_chat_reading){len, NULL};
    const char *dot = len ? memrchr(name, '.', len) : NULL;
    if (!dot)
        return n;
    size_t file = (size_t)(dot - name);
    const char *provider = provider_of(dot + 1, len - file - 1, providers);
    if (provider && (file == 0 || is_file(name, file)))
        out[n++] = (struct sf_chat_reading){file, provider};
    return n;
}

int
sf_chat_name_make(const char *file, const char *provider, const char *suffix, char out[static 256])
{
    char made[SF_NAME_MAX + 1];
    size_t len = strlen(file);
    if (len && !is_file(file, len))
        return -EINVAL;
    int n = snprintf(made, sizeof made, "%s%s%s%s", file, provider ? "." : "",
                     provider ? provider : "", suffix);
    if (n < 0 || (size_t)n >= sizeof made)
        return -ENAMETOOLONG;
    memcpy(out, made, (size_t)n + 1);
    return 0;
}

/* ---- ids of conversations -------------------------------------------------------------------- */

/* Parts with a NUL behind each: none of them can have one, so no two lists give the same bytes. */
static bool
digest_of(const char *const *parts, size_t n, unsigned char out[DIGEST])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    for (size_t i = 0; i < n && ok; i++)
        ok = EVP_DigestUpdate(ctx, parts[i], strlen(parts[i]) + 1);
    ok = ok && EVP_DigestFinal_ex(ctx, out, NULL);
    EVP_MD_CTX_free(ctx);
    return ok;
}

int
sf_chat_stem(const char *identity, const char *bucket, const char *key, const char *provider,
             char out[static SF_CHAT_STEM_MAX + 1])
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    const char *const parts[] = {identity, bucket, key, provider ? provider : ""};
    unsigned char digest[DIGEST];
    unsigned bits = 0, have = 0;
    const unsigned char *from = digest;
    if (!digest_of(parts, sizeof parts / sizeof *parts, digest))
        return -EIO;
    for (unsigned i = 0; i < SF_CHAT_STEM_MAX; i++) {
        if (have < 5) {
            bits = bits << 8 | *from++;
            have += 8;
        }
        have -= 5;
        out[i] = digits[bits >> have & 31];
    }
    out[SF_CHAT_STEM_MAX] = '\0';
    return 0;
}

static bool
id_ok(const char *id, size_t len)
{
    return len > 0 && len <= SF_CHAT_ID_MAX && id[0] != '-' && strspn(id, WORD) >= len;
}

bool
sf_chat_id_ok(const char *id)
{
    return id_ok(id, strlen(id));
}

int
sf_chat_view_read(const char *name, char id[static SF_CHAT_ID_MAX + 1], enum sf_chat_view *view)
{
    static const struct {
        const char *end;
        enum sf_chat_view view;
    } ends[] = {{".reasoning.md", SF_CHAT_VIEW_REASONING},
                {".last.md", SF_CHAT_VIEW_LAST},
                {".md", SF_CHAT_VIEW_ALL}};
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t end = strlen(ends[i].end);
        if (len <= end || strcmp(name + len - end, ends[i].end) != 0 || !id_ok(name, len - end))
            continue;
        memcpy(id, name, len - end);
        id[len - end] = '\0';
        *view = ends[i].view;
        return 0;
    }
    return -ENOENT;
}
