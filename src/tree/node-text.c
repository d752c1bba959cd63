/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The texts of a node, packed: a million names are known at a time. Ids are UUIDs and ETags mostly
 * MD5 sums: 16 bytes instead of 37 and 35 and the memory allocator's share. Others are kept as the
 * texts they are, so that each is given back as it came.
 */

/* ---- names -------------------------------------------------------------------------------------
 * "name\0" and, where it differs, "comp\0" lie behind the node, or (`far`) in memory of their own,
 * of which the pointer lies there. */

static const char *
texts(const struct node *n)
{
    char *far;
    if (!n->far)
        return n->text;
    memcpy(&far, n->text, sizeof far);
    return far;
}

const char *
node_name(const struct node *n)
{
    return texts(n);
}

const char *
node_comp(const struct node *n)
{
    const char *name = texts(n);
    return n->has_comp ? name + strlen(name) + 1 : name;
}

bool
node_has_comp(const struct node *n)
{
    return n->has_comp;
}

size_t
node_room(const char *name, const char *comp)
{
    size_t room = strlen(name) + 1 + (comp ? strlen(comp) + 1 : 0);
    return room > sizeof(char *) ? room : sizeof(char *);
}

int
node_set_name(struct node *n, const char *name, const char *comp)
{
    size_t nn = strlen(name) + 1, nc = comp ? strlen(comp) + 1 : 0;
    char *old = n->far ? (char *)texts(n) : NULL, *far = NULL;
    if (nn + nc > n->room && !(far = malloc(nn + nc)))
        return -ENOMEM;
    char *to = far ? far : n->text;
    memcpy(to, name, nn);
    if (comp)
        memcpy(to + nn, comp, nc);
    if (far)
        memcpy(n->text, &far, sizeof far);
    free(old);
    n->far = far != NULL;
    n->has_comp = comp != NULL;
    return 0;
}

/* ---- ids ------------------------------------------------------------------------------------- */

static const char hex[] = "0123456789abcdef";

/* Values of lower-case hexadecimal digits, with 16 added; 0 = no such digit. */
static const uint8_t nibbles[256] = {['0'] = 16, 17, 18,         19, 20, 21, 22, 23,
                                     24,         25, ['a'] = 26, 27, 28, 29, 30, 31};

/* @n bytes of lower-case hexadecimal digits. */
static bool
from_hex(const char *s, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t hi = nibbles[(unsigned char)s[2 * i]];
        uint8_t lo = hi ? nibbles[(unsigned char)s[2 * i + 1]] : 0; /* it may end before */
        if (!lo)
            return false;
        out[i] = (uint8_t)(hi << 4 | (lo & 15));
    }
    return true;
}

static char *
to_hex(const uint8_t *b, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        *out++ = hex[b[i] >> 4];
        *out++ = hex[b[i] & 15];
    }
    return out;
}

/* Bytes between the dashes of a UUID. */
static const uint8_t uuid_groups[] = {4, 2, 2, 2, 6};

static bool
from_uuid(const char *s, uint8_t out[16])
{
    static const uint8_t nil[16];
    uint8_t *to = out;
    for (size_t g = 0; g < sizeof uuid_groups; g++) {
        if (g && *s++ != '-')
            return false;
        if (!from_hex(s, to, uuid_groups[g]))
            return false;
        s += (ptrdiff_t)2 * uuid_groups[g];
        to += uuid_groups[g];
    }
    return !*s && memcmp(out, nil, sizeof nil) != 0; /* all zeros stand for none */
}

bool
node_has_id(const struct node *n)
{
    static const uint8_t nil[16];
    return n->id_text || memcmp(n->id.bytes, nil, sizeof nil) != 0;
}

const uint8_t *
node_uuid(const struct node *n)
{
    return n->id_text || !node_has_id(n) ? NULL : n->id.bytes;
}

const char *
node_id(const struct node *n, char buf[NODE_ID_SIZE])
{
    if (n->id_text)
        return n->id.text;
    const uint8_t *b = n->id.bytes;
    char *p = buf;
    for (size_t g = 0; node_has_id(n) && g < sizeof uuid_groups; g++) {
        if (g)
            *p++ = '-';
        p = to_hex(b, uuid_groups[g], p);
        b += uuid_groups[g];
    }
    *p = '\0';
    return buf;
}

int
node_set_id(struct node *n, const char *id)
{
    uint8_t bytes[16] = {0};
    char *text = NULL;
    if (id && *id && !from_uuid(id, bytes) && !(text = strndup(id, NODE_ID_SIZE - 1)))
        return -ENOMEM;
    if (n->id_text)
        free(n->id.text);
    if (text)
        n->id.text = text;
    else
        memcpy(n->id.bytes, bytes, sizeof bytes);
    n->id_text = text != NULL;
    return 0;
}

/* ---- ETags -------------------------------------------------------------------------------------
 */

enum etag_form {
    E_NONE,
    E_MD5,  /* 32 digits in quotes, and "-PARTS" behind them unless there are 0 */
    E_FEW,  /* up to 25 characters of `few` in quotes, 5 bits each, 1 and up: the form of file
               backends that make it of time and size */
    E_TEXT, /* any other */
};

static const char few[] = "0123456789abcdef.-";
#define FEW_MAX 25

static bool
from_md5(const char *s, uint8_t out[16], uint16_t *parts)
{
    char *end = NULL, again[NODE_ETAG_SIZE];
    if (strlen(s) < 34 || s[0] != '"' || !from_hex(s + 1, out, 16))
        return false;
    *parts = 0;
    if (!strcmp(s + 33, "\""))
        return true;
    unsigned long count = s[33] == '-' ? strtoul(s + 34, &end, 10) : 0;
    if (!count || count > UINT16_MAX)
        return false;
    *parts = (uint16_t)count;
    snprintf(again, sizeof again, "-%u\"", *parts);
    return !strcmp(s + 33, again);
}

static bool
from_few(const char *s, uint8_t out[16])
{
    size_t len = strlen(s);
    unsigned __int128 all = 0;
    if (len < 3 || len > FEW_MAX + 2 || s[0] != '"' || s[len - 1] != '"')
        return false;
    for (size_t i = len - 1; --i > 0;) {
        const char *c = strchr(few, s[i]);
        if (!c)
            return false;
        all = all << 5 | (unsigned)(c - few + 1);
    }
    memcpy(out, &all, sizeof all);
    return true;
}

static void
to_few(const uint8_t bytes[16], char *p)
{
    unsigned __int128 all;
    memcpy(&all, bytes, sizeof all);
    *p++ = '"';
    for (; all; all >>= 5)
        *p++ = few[(all & 31) - 1];
    *p++ = '"';
    *p = '\0';
}

bool
node_has_etag(const struct node *n)
{
    return n->etag_form != E_NONE;
}

const char *
node_etag(const struct node *n, char buf[NODE_ETAG_SIZE])
{
    char *p = buf;
    switch ((enum etag_form)n->etag_form) {
    case E_TEXT:
        return n->etag.text;
    case E_FEW:
        to_few(n->etag.bytes, buf);
        break;
    case E_MD5:
        *p++ = '"';
        p = to_hex(n->etag.bytes, 16, p);
        snprintf(p, NODE_ETAG_SIZE - 33, n->etag_parts ? "-%u\"" : "\"", n->etag_parts);
        break;
    case E_NONE:
        buf[0] = '\0';
        break;
    }
    return buf;
}

int
node_set_etag(struct node *n, const char *etag)
{
    uint8_t bytes[16] = {0};
    uint16_t parts = 0;
    char *text = NULL;
    enum etag_form form = E_NONE;
    if (etag && *etag) {
        form = from_md5(etag, bytes, &parts) ? E_MD5 : from_few(etag, bytes) ? E_FEW : E_TEXT;
        if (form == E_TEXT && !(text = strdup(etag)))
            return -ENOMEM;
    }
    if (n->etag_form == E_TEXT)
        free(n->etag.text);
    if (text)
        n->etag.text = text;
    else
        memcpy(n->etag.bytes, bytes, sizeof bytes);
    n->etag_form = form & 3;
    n->etag_parts = parts;
    return 0;
}

bool
node_etag_is(const struct node *n, const char *etag)
{
    char buf[NODE_ETAG_SIZE];
    return !strcmp(node_etag(n, buf), etag);
}

void
node_version_of(const struct node *n, bool etag, struct sf_version *out)
{
    char buf[NODE_ETAG_SIZE];
    *out = (struct sf_version){.size = n->size};
    snprintf(out->id, sizeof out->id, "%s", node_id(n, buf));
    const char *text = etag ? node_etag(n, buf) : "";
    if (strlen(text) < sizeof out->etag)
        memcpy(out->etag, text, strlen(text) + 1);
}

void
node_copy_version(const struct node *n, struct node *to)
{
    char id[NODE_ID_SIZE], etag[NODE_ETAG_SIZE];
    (void)!node_set_id(to, node_id(n, id));
    (void)!node_set_etag(to, node_etag(n, etag));
}

void
node_text_free(struct node *n)
{
    if (n->far)
        free((char *)texts(n));
    if (n->id_text)
        free(n->id.text);
    if (n->etag_form == E_TEXT)
        free(n->etag.text);
}

void
node_set_link(struct node *n, const char *target)
{
    if (live_of(n))
        (void)!node_set_str(&live_rw(n)->link, target);
}
