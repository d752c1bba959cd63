/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_SCAN_H
#define SF_SUPABASE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A JSON reader for long listings: it works in place, keeps no tree, and the caller picks what it
 * wants in the order in which it comes. (A page of 1000 rows takes jansson 20 times as long, which
 * is longer than the service needs to make it.) As strict as the grammar; UTF-8 is checked; NUL in
 * strings and nesting deeper than SF_SCAN_DEPTH_MAX are refused.
 *
 * Functions return 0, or -EPROTO after having set why; then no more calls.
 */
#define SF_SCAN_DEPTH_MAX 32

struct sf_scan {
    char *p;   /* next byte */
    char *end; /* a NUL stands there */
    unsigned depth;
    const char *why; /* static text */
};

/** sf_scan_init - read @len bytes at @text, which are changed; text[len] must be a NUL. */
void sf_scan_init(struct sf_scan *s, char *text, size_t len);

/* Nothing but white space may follow. */
int sf_scan_finish(struct sf_scan *s);

/* Handlers must consume exactly the one value. Other results than 0 end the reading. */
typedef int (*sf_scan_member_fn)(struct sf_scan *s, const char *name, void *arg);
typedef int (*sf_scan_item_fn)(struct sf_scan *s, void *arg);
int sf_scan_object(struct sf_scan *s, sf_scan_member_fn member, void *arg);
int sf_scan_array(struct sf_scan *s, sf_scan_item_fn item, void *arg);

/* Whether the next value is null; then it is consumed. */
bool sf_scan_null(struct sf_scan *s);
/* The text lies in the buffer and ends with a NUL. @len may be NULL. */
int sf_scan_text(struct sf_scan *s, const char **ret, size_t *len);
/* Digits only, as sizes are. */
int sf_scan_u64(struct sf_scan *s, uint64_t *ret);
int sf_scan_bool(struct sf_scan *s, bool *ret);
/* Any value. */
int sf_scan_skip(struct sf_scan *s);

#endif
