/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/options.h"

#include <assert.h>
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static const struct sf_opt_info table[] = {
#define SF_OPTION(id, nm, ty, df, sh, mn, mx, va, fl, al, he)                                      \
    [SF_OPT_##id] = {.name = (nm),                                                                 \
                     .def = (df),                                                                  \
                     .shown = (sh),                                                                \
                     .min = (mn),                                                                  \
                     .max = (mx),                                                                  \
                     .values = (va),                                                               \
                     .aliases = (al),                                                              \
                     .help = (he),                                                                 \
                     .type = SF_OPT_TYPE_##ty,                                                     \
                     .flags = (fl)},
#include "config/options.def"
#undef SF_OPTION
};

const struct sf_opt_info *
sf_opt_info(enum sf_opt opt)
{
    assert((unsigned)opt < SF_OPT_COUNT);
    return &table[opt];
}

/* Names are compared without case only for the environment, where they are written in capitals. */
static bool
name_equal(const char *a, const char *b, bool env)
{
    for (; *a && *b; a++, b++) {
        char c = *a == '-' && !env ? '_' : *a;
        char d = env ? (char)toupper((unsigned char)*b) : *b;
        if (c != d)
            return false;
    }
    return *a == *b;
}

int
sf_opt_find(const char *name)
{
    for (int i = 0; i < SF_OPT_COUNT; i++)
        if (name_equal(name, table[i].name, false))
            return i;
    return -1;
}

/* Position of a word in a list separated by spaces, or -1. */
static int
word_position(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (int pos = 0; list && *list; pos++) {
        size_t len = strcspn(list, " ");
        if (len == n && !memcmp(list, word, n))
            return pos;
        list += len + strspn(list + len, " ");
    }
    return -1;
}

int
sf_opt_find_env(const char *variable, int *rank)
{
    static const char own[] = "SUPAFS_";
    bool is_own = !strncmp(variable, own, sizeof own - 1);
    for (int i = 0; i < SF_OPT_COUNT; i++) {
        int pos = word_position(table[i].aliases, variable) + 1;
        if (is_own && name_equal(variable + sizeof own - 1, table[i].name, true))
            pos = 0;
        else if (pos == 0)
            continue;
        if (rank)
            *rank = pos;
        return i;
    }
    return -1;
}

/* Levenshtein distance, at most MAX_NAME characters of each. */
static unsigned
distance(const char *a, const char *b)
{
    enum { MAX_NAME = 40 };
    unsigned row[MAX_NAME + 1];
    size_t n = strnlen(a, MAX_NAME), m = strnlen(b, MAX_NAME);

    for (size_t j = 0; j <= m; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[m];
}

const char *
sf_opt_nearest(const char *name)
{
    const char *best = NULL;
    unsigned best_distance = strlen(name) < 5 ? 2 : 4; /* must be below this */
    for (int i = 0; i < SF_OPT_COUNT; i++) {
        unsigned d = distance(name, table[i].name);
        if (d < best_distance && d < strlen(table[i].name)) {
            best_distance = d;
            best = table[i].name;
        }
    }
    return best;
}
