/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <string.h>

#include "supabase/storage.h"

static void
take_fitting(char *out, size_t size, const char *text)
{
    size_t n = text ? strlen(text) : 0;
    if (n && n < size)
        memcpy(out, text, n + 1);
    else
        out[0] = '\0';
}

static void
fill_version(struct sf_version *out, const char *id, const char *version, const char *etag)
{
    memset(out, 0, sizeof *out);
    take_fitting(out->id, sizeof out->id, id);
    take_fitting(out->version, sizeof out->version, version);
    take_fitting(out->etag, sizeof out->etag, etag);
}

void
sf_version_of_object(const struct sf_object *o, struct sf_version *out)
{
    fill_version(out, o->id, o->version, o->etag);
    out->size = o->size;
    out->updated_ns = o->updated_ns;
}

void
sf_version_of_info(const struct sf_object_info *info, struct sf_version *out)
{
    fill_version(out, info->id, info->version, info->etag);
    out->size = info->size;
    out->updated_ns = info->updated_ns;
}

bool
sf_version_known(const struct sf_version *v)
{
    return v->id[0] || v->version[0] || v->etag[0];
}

/* Proxies that compress make an ETag weak; it still names the same version. */
static const char *
strong(const char *etag)
{
    return strncmp(etag, "W/", 2) == 0 ? etag + 2 : etag;
}

bool
sf_etag_same(const char *a, const char *b)
{
    return strcmp(strong(a), strong(b)) == 0;
}

bool
sf_etag_is_md5(const char *etag)
{
    if (!etag || etag[0] != '"')
        return false;
    for (int i = 1; i <= 32; i++)
        if (!isxdigit((unsigned char)etag[i]))
            return false;
    return etag[33] == '"' && etag[34] == '\0';
}

/* Counts in *known what both know; false when they differ in it. */
static bool
agree(const char *a, const char *b, unsigned *known)
{
    if (!*a || !*b)
        return true;
    (*known)++;
    return strcmp(a, b) == 0;
}

bool
sf_version_same(const struct sf_version *a, const struct sf_version *b)
{
    unsigned known = 0;
    return a->size == b->size && agree(a->version, b->version, &known) &&
           agree(a->id, b->id, &known) && agree(strong(a->etag), strong(b->etag), &known) &&
           known > 0;
}
