/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_LIST_H
#define SF_SUPABASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "supabase/storage.h"

/*
 * Internal to src/supabase and its tests: pages of list-v2.
 *
 * The service's own cursors lose rows (after object "x" it skips folder "x/" and everything that
 * sorts between them) and can loop (folder "/" gives an empty one), so every cursor is made here.
 * The service seeks to CURSOR + "/", or, when something lies below CURSOR + "/", to behind all of
 * that; keys hold no control characters. Hence:
 *   after object K:   K + U+0001 (nothing lies below it, and it sorts before every longer key);
 *   after folder K/:  K/ + U+10FFFF (sorts after everything below K/).
 * Both also hold for a service that simply starts after the cursor.
 */

#define SF_LIST_LIMIT 1000
#define SF_KEY_BYTES  4096 /* no key of a row may be longer */

/**
 * sf_list_cursor - the cursor for "only rows after this key".
 * @prefix: may be ""; @after: not NULL.
 *
 * Returns a malloc'd base64 text; "" when @after lies before all keys of @prefix, so that no cursor
 * is needed; NULL when memory is gone.
 */
char *sf_list_cursor(const char *prefix, const char *after, bool delimiter);

/* A parsed page; rows and strings live as long as this. */
struct sf_list_reply;

/**
 * sf_list_parse - read and check one page.
 * @args:  as asked; limit not 0.
 * @why:   160 bytes for the reason of a failure.
 *
 * Rows of the service are folded again at the delimiter (it loses slashes of folders with empty
 * names) and merged into one order. Returns 0; -EPROTO the page is malformed, out of order, beyond
 * what was asked, or would make no progress; -ENOMEM.
 */
int sf_list_parse(const char *body, size_t len, const struct sf_list_args *args,
                  struct sf_list_reply **ret, char *why);
const struct sf_list_page *sf_list_reply_page(const struct sf_list_reply *reply);
void sf_list_reply_free(struct sf_list_reply *reply);

#endif
