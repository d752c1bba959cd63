/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_VEC_H
#define SF_BASE_VEC_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/*
 * SF_VEC_DEFINE(name, type) makes `struct name {type *data; size_t len, cap;}`, valid when zeroed,
 * and these functions. A function that fails leaves the vector as it was.
 *
 *   int  name_reserve(struct name *v, size_t extra)   room for extra more: 0 or -ENOMEM
 *   int  name_push(struct name *v, type item)         0 or -ENOMEM
 *   int  name_insert(struct name *v, size_t at, type) 0 or -ENOMEM; at <= len
 *   void name_remove(struct name *v, size_t at)       keeps the order; at < len
 *   void name_swap_remove(struct name *v, size_t at)  the last one takes the place; at < len
 *   void name_clear(struct name *v)                   forget the items, keep the memory
 *   void name_fini(struct name *v)                    free the memory (items are not freed)
 */
#define SF_VEC_DEFINE(name, type)                                                                  \
    struct name {                                                                                  \
        type *data;                                                                                \
        size_t len;                                                                                \
        size_t cap;                                                                                \
    };                                                                                             \
                                                                                                   \
    __attribute__((unused)) static inline int name##_reserve(struct name *v, size_t extra)         \
    {                                                                                              \
        size_t cap = v->cap ? v->cap : 8, need, bytes;                                             \
        if (__builtin_add_overflow(v->len, extra, &need))                                          \
            return -ENOMEM;                                                                        \
        if (need <= v->cap)                                                                        \
            return 0;                                                                              \
        while (cap < need)                                                                         \
            if (__builtin_add_overflow(cap, cap / 2, &cap))                                        \
                return -ENOMEM;                                                                    \
        if (__builtin_mul_overflow(cap, sizeof *v->data, &bytes))                                  \
            return -ENOMEM;                                                                        \
        void *p = realloc(v->data, bytes);                                                         \
        if (!p)                                                                                    \
            return -ENOMEM;                                                                        \
        v->data = p;                                                                               \
        v->cap = cap;                                                                              \
        return 0;                                                                                  \
    }                                                                                              \
                                                                                                   \
    __attribute__((unused)) static inline int name##_insert(struct name *v, size_t at, type item)  \
    {                                                                                              \
        int rc = name##_reserve(v, 1);                                                             \
        if (rc)                                                                                    \
            return rc;                                                                             \
        memmove(v->data + at + 1, v->data + at, (v->len - at) * sizeof *v->data);                  \
        v->data[at] = item;                                                                        \
        v->len++;                                                                                  \
        return 0;                                                                                  \
    }                                                                                              \
                                                                                                   \
    __attribute__((unused)) static inline int name##_push(struct name *v, type item)               \
    {                                                                                              \
        int rc = name##_reserve(v, 1);                                                             \
        if (rc)                                                                                    \
            return rc;                                                                             \
        v->data[v->len++] = item;                                                                  \
        return 0;                                                                                  \
    }                                                                                              \
                                                                                                   \
    __attribute__((unused)) static inline void name##_remove(struct name *v, size_t at)            \
    {                                                                                              \
        v->len--;                                                                                  \
        memmove(v->data + at, v->data + at + 1, (v->len - at) * sizeof *v->data);                  \
    }                                                                                              \
                                                                                                   \
    __attribute__((unused)) static inline void name##_swap_remove(struct name *v, size_t at)       \
    {                                                                                              \
        v->data[at] = v->data[--v->len];                                                           \
    }                                                                                              \
                                                                                                   \
    __attribute__((unused)) static inline void name##_clear(struct name *v)                        \
    {                                                                                              \
        v->len = 0;                                                                                \
    }                                                                                              \
                                                                                                   \
    __attribute__((unused)) static inline void name##_fini(struct name *v)                         \
    {                                                                                              \
        free(v->data);                                                                             \
        v->data = NULL;                                                                            \
        v->len = v->cap = 0;                                                                       \
    }                                                                                              \
    struct name

/* Walk over the items: `SF_VEC_FOREACH (&vec, p) use(*p);` @p is a pointer to the item. */
#define SF_VEC_FOREACH(v, p)                                                                       \
    for (__typeof__((v)->data) p = (v)->data; p && p < (v)->data + (v)->len; p++)

#endif
