/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/names.h"

#include "base/str.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <openssl/sha.h>

/* The format, its tables and the proof that it is a bijection: docs/formats/names.md. */

enum {
    ALLOWED = 1 << 0, /* may stand in a key */
    CLEAR = 1 << 1,   /* stands for itself in the TEXT state, too */
};

static const uint8_t char_class[256] = {
    ['a' ... 'z'] = ALLOWED | CLEAR,
    ['A' ... 'Z'] = ALLOWED,
    ['0' ... '9'] = ALLOWED,
    [' '] = ALLOWED | CLEAR,
    ['-'] = ALLOWED | CLEAR,
    ['_'] = ALLOWED | CLEAR,
    ['!'] = ALLOWED,
    ['.'] = ALLOWED,
    ['*'] = ALLOWED,
    ['\''] = ALLOWED,
    ['('] = ALLOWED,
    [')'] = ALLOWED,
    ['&'] = ALLOWED,
    ['$'] = ALLOWED,
    ['='] = ALLOWED,
    ['@'] = ALLOWED,
    [';'] = ALLOWED,
    [':'] = ALLOWED,
    ['+'] = ALLOWED,
    [','] = ALLOWED,
    ['?'] = ALLOWED,
};

#define FIRST_BASE 0xC2 /* table 1 begins with this byte; '\0' = no letter (0xEE) */

static const char first_letters[] = "ABCDEFG()'H,IJKLM@$NOPQRST&:+*UVWXYZ01234567\00089";
static const char next_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char hex_upper[] = "0123456789ABCDEF";
static const char hex_lower[] = "0123456789abcdef";

#define PLACEHOLDER_LEN (sizeof SF_PLACEHOLDER - 1)
#define SPECIAL_LEN     5 /* "%key=" and its kin */
#define DIGEST_BYTES    16
#define HASHED_HEAD     (SF_NAME_MAX - SPECIAL_LEN - 2 * DIGEST_BYTES - 1)

/* A string under construction that may not grow over SF_NAME_MAX. */
struct text {
    size_t len;
    bool full;
    char s[SF_NAME_BUF_SIZE];
};

static void
text_put(struct text *t, char c)
{
    if (t->len >= SF_NAME_MAX) {
        t->full = true;
        return;
    }
    t->s[t->len++] = c;
}

static bool
has_ending(const char *s, size_t n)
{
    return n >= PLACEHOLDER_LEN &&
           memcmp(s + n - PLACEHOLDER_LEN, SF_PLACEHOLDER, PLACEHOLDER_LEN) == 0;
}

static bool
is_special(const char *s, size_t n)
{
    return n >= SPECIAL_LEN && s[0] == '%' &&
           (memcmp(s + 1, "key", 3) == 0 || memcmp(s + 1, "obj", 3) == 0) &&
           (s[4] == '=' || s[4] == '#');
}

static bool
is_dots(const char *s, size_t n)
{
    return (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.');
}

static bool
is_control_dir(const char *s, size_t n, unsigned flags)
{
    return (flags & (SF_NAME_AT_ROOT | SF_NAME_BUCKET)) && n == sizeof SF_CONTROL_DIR - 1 &&
           memcmp(s, SF_CONTROL_DIR, n) == 0;
}

/* What every name and component is tried for first: made of allowed characters only? */
static bool
all_allowed(const char *s, size_t n)
{
    unsigned all = ALLOWED;
    for (size_t i = 0; i < n; i++)
        all &= char_class[(uint8_t)s[i]];
    return all != 0;
}

/* May stand as it is, unless it looks like an escape. */
static bool
is_tame(const char *s, size_t n, unsigned flags)
{
    if (n == 0 || n > SF_NAME_MAX || !all_allowed(s, n))
        return false;
    if ((flags & SF_NAME_BUCKET) && (s[0] == ' ' || s[n - 1] == ' '))
        return false;
    return !is_dots(s, n) && !has_ending(s, n) && !is_control_dir(s, n, flags);
}

static bool
has_escape(const char *s, size_t n)
{
    const char *end = s + n;
    for (const char *p = s; (p = memchr(p, '=', (size_t)(end - p))) && p + 1 < end; p++)
        if (p[1] == '!' || p[1] == '@')
            return true;
    return false;
}

/* Length of a character by its first byte; 0 when that has no letter in table 1. */
static size_t
length_by_first(uint8_t first)
{
    if (first < FIRST_BASE || first >= FIRST_BASE + sizeof first_letters - 1 ||
        !first_letters[first - FIRST_BASE])
        return 0;
    return first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* Length of the well-formed UTF-8 character (RFC 3629) that TEXT can express, or 0. */
static size_t
char_at(const char *s, size_t n)
{
    const uint8_t *u = (const uint8_t *)s;
    size_t len = length_by_first(u[0]);
    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((u[i] & 0xC0) != 0x80)
            return 0;
    if ((u[0] == 0xE0 && u[1] < 0xA0) || (u[0] == 0xED && u[1] > 0x9F) ||
        (u[0] == 0xF0 && u[1] < 0x90))
        return 0;
    return len;
}

static bool
must_escape(const char *s, size_t n, size_t i, unsigned flags)
{
    if (!(char_class[(uint8_t)s[i]] & ALLOWED))
        return true;
    switch (s[i]) {
    case '=':
        return i + 1 < n && (s[i + 1] == '!' || s[i + 1] == '@');
    case '.':
        return n >= PLACEHOLDER_LEN && i == n - PLACEHOLDER_LEN && has_ending(s, n);
    case ' ':
        return (flags & SF_NAME_BUCKET) && (i == 0 || i == n - 1);
    default:
        return false;
    }
}

/* E of the document. */
static void
escape(const char *s, size_t n, unsigned flags, struct text *out)
{
    bool in_text = false;
    out->len = 0;
    out->full = false;
    for (size_t i = 0; i < n && !out->full;) {
        uint8_t c = (uint8_t)s[i];
        size_t len = char_at(s + i, n - i);
        if (len) {
            if (!in_text) {
                text_put(out, '=');
                text_put(out, '!');
            }
            in_text = true;
            text_put(out, first_letters[c - FIRST_BASE]);
            for (size_t k = 1; k < len; k++)
                text_put(out, next_letters[s[i + k] & 0x3F]);
            i += len;
            continue;
        }
        if (must_escape(s, n, i, flags)) {
            in_text = false;
            text_put(out, '=');
            text_put(out, '@');
            text_put(out, hex_upper[c >> 4]);
            text_put(out, hex_upper[c & 15]);
        } else {
            if (in_text && !(char_class[c] & CLEAR)) {
                in_text = false;
                if (c != '.' && c != '=')
                    text_put(out, '!');
            }
            text_put(out, (char)c);
        }
        i++;
    }
}

/* Where c stands in a table of n letters, or -1. '\0' is in none. */
static int
letter_index(const char *letters, size_t n, char c)
{
    const char *p = c ? memchr(letters, c, n) : NULL;
    return p ? (int)(p - letters) : -1;
}

/* One character of TEXT at s; returns its length, or 0 when there is none. */
static size_t
text_char(const char *s, size_t n, struct text *out)
{
    int first = letter_index(first_letters, sizeof first_letters - 1, s[0]);
    if (first < 0)
        return 0;
    size_t len = length_by_first((uint8_t)(FIRST_BASE + first));
    if (len > n)
        return 0;
    text_put(out, (char)(FIRST_BASE + first));
    for (size_t k = 1; k < len; k++) {
        int next = letter_index(next_letters, sizeof next_letters - 1, s[k]);
        if (next < 0)
            return 0;
        text_put(out, (char)(0x80 | next));
    }
    return len;
}

/* One item of PLAIN at s, "=!" excepted; returns its length, or 0 when it is none. */
static size_t
plain_item(const char *s, size_t n, struct text *out)
{
    if (n < 2 || s[0] != '=' || s[1] != '@') {
        text_put(out, s[0]);
        return 1;
    }
    int high = n < 4 ? -1 : letter_index(hex_upper, 16, s[2]);
    int low = n < 4 ? -1 : letter_index(hex_upper, 16, s[3]);
    if (high < 0 || low < 0)
        return 0;
    text_put(out, (char)(high << 4 | low));
    return 4;
}

/* D of the document, for n <= SF_NAME_MAX: false when it is undefined. */
static bool
unescape(const char *s, size_t n, struct text *out)
{
    bool in_text = false;
    out->len = 0;
    out->full = false;
    for (size_t i = 0; i < n;) {
        size_t used = 1;
        if (in_text && s[i] == '!') {
            in_text = false;
        } else if (in_text && (char_class[(uint8_t)s[i]] & CLEAR)) {
            text_put(out, s[i]);
        } else if (in_text && s[i] != '.' && s[i] != '=') {
            used = text_char(s + i, n - i, out);
        } else if (s[i] == '=' && i + 1 < n && s[i + 1] == '!') {
            in_text = true;
            used = 2;
        } else {
            in_text = false;
            used = plain_item(s + i, n - i, out);
        }
        if (!used)
            return false;
        i += used;
    }
    return !out->full && out->len > 0 && !is_dots(out->s, out->len) &&
           !is_special(out->s, out->len) && !memchr(out->s, '/', out->len) &&
           !memchr(out->s, '\0', out->len);
}

/* Is s exactly what another name, put into *name, escapes to? */
static bool
decode_exact(const char *s, size_t n, unsigned flags, struct text *name)
{
    struct text again;
    if (!has_escape(s, n) || !unescape(s, n, name))
        return false;
    escape(name->s, name->len, flags, &again);
    return !again.full && again.len == n && memcmp(again.s, s, n) == 0;
}

/*
 * Is the tame string s in S, so that it stands for the name that is put into *name? A tame name is
 * in turn stored escaped only if it is in S itself; it is shorter each time, so this ends.
 */
static bool
decode_tame(const char *s, size_t n, unsigned flags, struct text *name)
{
    if (!decode_exact(s, n, flags, name))
        return false;
    struct text a = *name, b;
    for (struct text *cur = &a, *next = &b; is_tame(cur->s, cur->len, flags);) {
        if (!decode_exact(cur->s, cur->len, flags, next))
            return false;
        struct text *spare = cur;
        cur = next;
        next = spare;
    }
    return true;
}

/* 0 for a name that may be looked up; n is its length. */
static int
check_posix(const char *name, size_t n)
{
    if (n == 0 || is_dots(name, n) || memchr(name, '/', n))
        return -EINVAL;
    return n > SF_NAME_MAX ? -ENAMETOOLONG : 0;
}

/* key() of the document, for a valid name that is not special. */
static int
ordinary_key(const char *name, size_t n, unsigned flags, char *out, size_t *len)
{
    struct text t;
    if (is_tame(name, n, flags) && !(has_escape(name, n) && decode_tame(name, n, flags, &t))) {
        memcpy(out, name, n + 1);
        *len = n;
        return 0;
    }
    escape(name, n, flags, &t);
    if (t.full)
        return -ENAMETOOLONG;
    memcpy(out, t.s, t.len);
    out[t.len] = '\0';
    *len = t.len;
    return 0;
}

int
sf_name_to_key(const char *name, unsigned flags, char out[static SF_NAME_BUF_SIZE])
{
    char key[SF_NAME_BUF_SIZE];
    size_t n = strnlen(name, SF_NAME_BUF_SIZE), len;
    int rc = check_posix(name, n);
    if (rc)
        return rc;
    if (is_special(name, n) || is_control_dir(name, n, flags))
        return -EINVAL;
    rc = ordinary_key(name, n, flags, key, &len);
    if (rc)
        return rc;
    if ((flags & SF_NAME_BUCKET) && len > SF_BUCKET_MAX)
        return -ENAMETOOLONG;
    memcpy(out, key, len + 1);
    return 0;
}

/* "%key=COMPONENT" and its kin. */
static void
special_name(const char *comp, size_t len, bool object, char *out)
{
    bool hashed = len > SF_NAME_MAX - SPECIAL_LEN;
    memcpy(out, object ? "%obj" : "%key", 4);
    out[4] = hashed ? '#' : '=';
    out += SPECIAL_LEN;
    if (hashed) {
        uint8_t digest[SHA256_DIGEST_LENGTH];
        SHA256((const uint8_t *)comp, len, digest);
        sf_hex_encode(digest, DIGEST_BYTES, out);
        out += 2 * DIGEST_BYTES;
        *out++ = '=';
        len = HASHED_HEAD;
    }
    memcpy(out, comp, len);
    out[len] = '\0';
}

int
sf_name_from_key(const char *comp, size_t len, unsigned flags, char out[static SF_NAME_BUF_SIZE])
{
    struct text name;
    if (!(flags & SF_NAME_CLASH) && is_tame(comp, len, flags)) {
        if (has_escape(comp, len) && decode_tame(comp, len, flags, &name)) {
            comp = name.s;
            len = name.len;
        }
        memmove(out, comp, len);
        out[len] = '\0';
        return 0;
    }
    if (memchr(comp, '\0', len) || memchr(comp, '/', len) || (len == 0 && flags & SF_NAME_BUCKET))
        return -EILSEQ;
    special_name(comp, len, flags & SF_NAME_CLASH, out);
    return 0;
}

/* The part of a hashed name behind its '#': 32 digits, '=', and the beginning of the component. */
static bool
parse_hashed(const char *s, size_t n)
{
    if (n != 2 * DIGEST_BYTES + 1 + HASHED_HEAD || s[2 * DIGEST_BYTES] != '=')
        return false;
    for (size_t i = 0; i < 2 * DIGEST_BYTES; i++)
        if (letter_index(hex_lower, 16, s[i]) < 0)
            return false;
    return true;
}

static int
lookup_special(const char *name, size_t n, unsigned flags, struct sf_name_ref *ret)
{
    bool object = name[1] == 'o', hashed = name[4] == '#';
    const char *comp = name + SPECIAL_LEN;
    size_t len = n - SPECIAL_LEN;

    if (object && (flags & SF_NAME_BUCKET))
        return -ENOENT;
    if (hashed) {
        if (!parse_hashed(comp, len))
            return -ENOENT;
        comp += 2 * DIGEST_BYTES + 1;
        len = HASHED_HEAD;
    } else if (!object && (is_tame(comp, len, flags) || (len == 0 && flags & SF_NAME_BUCKET))) {
        return -ENOENT;
    }
    ret->kind = hashed ? (object ? SF_NAME_HASHED_OBJECT : SF_NAME_HASHED_KEY)
                       : (object ? SF_NAME_OBJECT : SF_NAME_KEY);
    ret->len = len;
    memcpy(ret->comp, comp, len + 1);
    return 0;
}

int
sf_name_lookup(const char *name, unsigned flags, struct sf_name_ref *ret)
{
    size_t n = strnlen(name, SF_NAME_BUF_SIZE), len;
    char key[SF_NAME_BUF_SIZE];
    int rc = check_posix(name, n);
    if (rc)
        return rc;
    if (is_special(name, n))
        return lookup_special(name, n, flags, ret);
    if (is_control_dir(name, n, flags))
        return -ENOENT;
    rc = ordinary_key(name, n, flags, key, &len);
    if (rc)
        return rc;
    ret->kind = SF_NAME_PLAIN;
    ret->len = len;
    memcpy(ret->comp, key, len + 1);
    return 0;
}

int
sf_bucket_to_name(const char *id, char out[static SF_NAME_BUF_SIZE])
{
    return sf_name_from_key(id, strlen(id), SF_NAME_BUCKET, out);
}

int
sf_bucket_from_name(const char *name, char out[static SF_NAME_BUF_SIZE])
{
    return sf_name_to_key(name, SF_NAME_BUCKET, out);
}

bool
sf_name_is_special(const char *name)
{
    return is_special(name, strnlen(name, SPECIAL_LEN));
}

bool
sf_name_is_placeholder(const char *comp, size_t len)
{
    return len == PLACEHOLDER_LEN && has_ending(comp, len);
}

bool
sf_name_is_placeholder_key(const char *key)
{
    size_t n = strlen(key);
    return has_ending(key, n) && (n == PLACEHOLDER_LEN || key[n - PLACEHOLDER_LEN - 1] == '/');
}

int
sf_key_join(char *out, size_t size, const char *prefix, const char *comp, unsigned flags)
{
    size_t head = strlen(prefix), tail = strlen(comp);
    size_t n = head + tail + (flags & SF_KEY_DIRECTORY ? 1 : 0);
    if (n >= size || n > INT32_MAX)
        return -ENAMETOOLONG;
    if ((flags & SF_KEY_NEW) && (tail > SF_NAME_MAX || n > SF_KEY_MAX))
        return -ENAMETOOLONG;
    memmove(out, prefix, head);
    memcpy(out + head, comp, tail);
    if (flags & SF_KEY_DIRECTORY)
        out[n - 1] = '/';
    out[n] = '\0';
    return (int)n;
}

const char *
sf_key_child(const char *key, size_t prefix_len, size_t *len, bool *directory)
{
    const char *comp = key + prefix_len;
    const char *end = strchrnul(comp, '/');
    *len = (size_t)(end - comp);
    *directory = *end == '/';
    return comp;
}
