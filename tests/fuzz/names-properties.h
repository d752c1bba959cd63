/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_NAMES_PROPERTIES_H
#define SF_TESTS_NAMES_PROPERTIES_H

#include "tree/names.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/*
 * What docs/formats/names.md promises, said once for the property tests and the fuzz target. Each
 * function returns NULL, or which promise is broken. The code under test is not asked about its
 * own tables: what is allowed is spelled out here again.
 */
static const char names_allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                    "_!.*'() &$=@;:+,?-";

#define NAMES_MUST(cond)                                                                           \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return __FILE__ ": " #cond;                                                            \
    } while (0)

static inline bool
names_ends_in_placeholder(const char *s, size_t n)
{
    size_t m = strlen(SF_PLACEHOLDER);
    return n >= m && strcmp(s + n - m, SF_PLACEHOLDER) == 0;
}

/* May a component of a key that supafs creates look so? */
static inline bool
names_storable(const char *s, unsigned flags)
{
    size_t n = strlen(s);
    if (n == 0 || n > 255 || strspn(s, names_allowed) != n || !strcmp(s, ".") || !strcmp(s, ".."))
        return false;
    if (flags & SF_NAME_BUCKET && (s[0] == ' ' || s[n - 1] == ' '))
        return false;
    if (flags & (SF_NAME_BUCKET | SF_NAME_AT_ROOT) && !strcmp(s, ".supafs"))
        return false;
    return !names_ends_in_placeholder(s, n);
}

static inline bool
names_special(const char *s)
{
    return !strncmp(s, "%key=", 5) || !strncmp(s, "%obj=", 5) || !strncmp(s, "%key#", 5) ||
           !strncmp(s, "%obj#", 5);
}

/* Is s a POSIX name that a process can hand to a file system? */
static inline bool
names_posix(const char *s)
{
    return *s && strlen(s) <= 255 && !strchr(s, '/') && strcmp(s, ".") && strcmp(s, "..");
}

/* Any POSIX name: stored under a storable key that comes back as the same name. */
static inline const char *
names_check_name(const char *name, unsigned flags)
{
    char key[SF_NAME_BUF_SIZE] = "before", back[SF_NAME_BUF_SIZE];
    struct sf_name_ref ref = {.len = 12345};
    int rc = sf_name_to_key(name, flags, key);
    int found = sf_name_lookup(name, flags, &ref);

    if (rc) {
        NAMES_MUST(strcmp(key, "before") == 0);
        bool taken = flags & (SF_NAME_BUCKET | SF_NAME_AT_ROOT) && !strcmp(name, ".supafs");
        if (!names_posix(name) && strlen(name) <= 255)
            NAMES_MUST(rc == -EINVAL && found == -EINVAL);
        else if (names_special(name) || taken)
            NAMES_MUST(strlen(name) > 255 || rc == -EINVAL);
        else
            NAMES_MUST(rc == -ENAMETOOLONG || (strchr(name, '/') && rc == -EINVAL));
        NAMES_MUST(rc != -ENAMETOOLONG || strlen(name) > (flags & SF_NAME_BUCKET ? 25 : 63));
        NAMES_MUST(found == 0 || ref.len == 12345);
        return NULL;
    }
    NAMES_MUST(names_posix(name) && !names_special(name));
    NAMES_MUST(names_storable(key, flags));
    NAMES_MUST(!(flags & SF_NAME_BUCKET) || strlen(key) <= 100);
    NAMES_MUST(strlen(key) >= strlen(name) && strlen(key) <= 4 * strlen(name));
    if (names_storable(name, flags) && !strstr(name, "=!") && !strstr(name, "=@"))
        NAMES_MUST(strcmp(key, name) == 0);
    if (strcmp(key, name) == 0)
        NAMES_MUST(names_storable(name, flags));
    NAMES_MUST(sf_name_from_key(key, strlen(key), flags, back) == 0 && strcmp(back, name) == 0);
    NAMES_MUST(found == 0 && ref.kind == SF_NAME_PLAIN && strcmp(ref.comp, key) == 0);
    NAMES_MUST(ref.len == strlen(key));
    return NULL;
}

/* Any component, hostile or not (a NUL behind it): shown under a valid name that leads back to it.
 */
static inline const char *
names_check_key(const char *comp, size_t len, unsigned flags)
{
    char name[SF_NAME_BUF_SIZE] = "before", key[SF_NAME_BUF_SIZE] = "before";
    struct sf_name_ref ref;
    unsigned place = flags & (SF_NAME_AT_ROOT | SF_NAME_BUCKET);
    bool clash = flags & SF_NAME_CLASH;
    int rc = sf_name_from_key(comp, len, flags, name);

    if (rc) {
        NAMES_MUST(rc == -EILSEQ && strcmp(name, "before") == 0);
        NAMES_MUST(memchr(comp, '/', len) || memchr(comp, 0, len) ||
                   (len == 0 && flags & SF_NAME_BUCKET));
        return NULL;
    }
    NAMES_MUST(!memchr(comp, '/', len) && !memchr(comp, 0, len));
    NAMES_MUST(names_posix(name));
    if (clash && flags & SF_NAME_BUCKET)
        return NULL; /* buckets do not clash with anything */
    NAMES_MUST(sf_name_lookup(name, place, &ref) == 0);
    NAMES_MUST(ref.len == strlen(ref.comp) && ref.len <= len);
    NAMES_MUST(memcmp(ref.comp, comp, ref.len) == 0);
    if (len > 250 && (clash || ref.kind != SF_NAME_PLAIN)) {
        NAMES_MUST(ref.kind == (clash ? SF_NAME_HASHED_OBJECT : SF_NAME_HASHED_KEY));
        NAMES_MUST(ref.len == 217 && strlen(name) == 255);
    } else {
        NAMES_MUST(ref.len == len);
        NAMES_MUST((ref.kind == SF_NAME_OBJECT) == clash);
    }
    int created = sf_name_to_key(name, place, key);
    if (ref.kind != SF_NAME_PLAIN) {
        NAMES_MUST(created == -EINVAL && names_special(name) && sf_name_is_special(name));
        NAMES_MUST(clash || !names_storable(comp, flags));
        return NULL;
    }
    NAMES_MUST(names_storable(ref.comp, flags) && !sf_name_is_special(name));
    if (flags & SF_NAME_BUCKET && len > 100)
        NAMES_MUST(created == -ENAMETOOLONG);
    else
        NAMES_MUST(created == 0 && strcmp(key, ref.comp) == 0);
    return NULL;
}

/* Any name whatever that a process looks up: what it denotes is shown under this name. */
static inline const char *
names_check_lookup(const char *name, unsigned flags)
{
    char back[SF_NAME_BUF_SIZE];
    struct sf_name_ref ref = {.len = 12345};
    unsigned place = flags & (SF_NAME_AT_ROOT | SF_NAME_BUCKET);
    int rc = sf_name_lookup(name, place, &ref);
    if (rc) {
        NAMES_MUST(ref.len == 12345);
        NAMES_MUST(rc == -ENOENT || rc == -EINVAL || rc == -ENAMETOOLONG);
        return NULL;
    }
    if (ref.kind == SF_NAME_HASHED_KEY || ref.kind == SF_NAME_HASHED_OBJECT)
        return NULL;
    unsigned clash = ref.kind == SF_NAME_OBJECT ? SF_NAME_CLASH : 0;
    NAMES_MUST(sf_name_from_key(ref.comp, ref.len, place | clash, back) == 0);
    NAMES_MUST(strcmp(back, name) == 0);
    return NULL;
}

#endif
