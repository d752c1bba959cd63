/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/words.h"

#include <stdlib.h>
#include <string.h>

#include "base/htab.h"
#include "base/vec.h"

#define BYTES_MAX (4u << 20)

struct word {
    UT_hash_handle hh;
    uint16_t number;
    char text[];
};

SF_VEC_DEFINE(word_list, struct word *);

struct words {
    struct word *by_text;
    struct word_list all; /* number - 1 -> word */
    size_t bytes;
    const struct word *last; /* neighbours in a listing mostly have the same */
};

struct words *
words_new(void)
{
    return calloc(1, sizeof(struct words));
}

void
words_free(struct words *w)
{
    if (!w)
        return;
    HASH_CLEAR(hh, w->by_text);
    for (size_t i = 0; i < w->all.len; i++)
        free(w->all.data[i]);
    word_list_fini(&w->all);
    free(w);
}

/* NULL: there is no room. */
static struct word *
add(struct words *w, const char *text, size_t len)
{
    if (w->all.len >= UINT16_MAX || w->bytes + sizeof(struct word) + len > BYTES_MAX)
        return NULL;
    struct word *o = calloc(1, sizeof *o + len + 1);
    if (!o || word_list_push(&w->all, o) < 0) {
        free(o);
        return NULL;
    }
    memcpy(o->text, text, len + 1);
    HASH_ADD_KEYPTR(hh, w->by_text, o->text, len, o);
    if (!SF_HTAB_ADDED(o)) {
        w->all.len--;
        free(o);
        return NULL;
    }
    o->number = (uint16_t)w->all.len;
    w->bytes += sizeof *o + len;
    return o;
}

uint16_t
word_of(struct words *w, const char *text)
{
    struct word *o = NULL;
    if (!text)
        return 0;
    if (w->last && !strcmp(w->last->text, text))
        return w->last->number;
    size_t len = strlen(text);
    if (len > WORD_MAX)
        return 0;
    HASH_FIND(hh, w->by_text, text, len, o);
    if (!o)
        o = add(w, text, len);
    if (o)
        w->last = o;
    return o ? o->number : 0;
}

const char *
word_text(const struct words *w, uint16_t number)
{
    return number ? w->all.data[number - 1]->text : NULL;
}
