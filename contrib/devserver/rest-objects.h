/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_REST_OBJECTS_H
#define DS_REST_OBJECTS_H

#include "rest.h"

/* supafs_list_dir() and supafs_find() with the body of the call. */
void ds_rest_list_dir(struct ds_rest *rest, const json_t *body);
void ds_rest_find(struct ds_rest *rest, const json_t *body);

/* supafs_provider_claim() and its like: rest-providers.c */
void ds_rest_provider_claim(struct ds_rest *rest, const json_t *body);
void ds_rest_provider_settle(struct ds_rest *rest, const json_t *body);
void ds_rest_provider_drop(struct ds_rest *rest, const json_t *body);

/* supafs_chat_find() and its like: rest-chat.c */
void ds_rest_chat_find(struct ds_rest *rest, const json_t *body);
void ds_rest_chat_turns(struct ds_rest *rest, const json_t *body);
void ds_rest_chat_begin(struct ds_rest *rest, const json_t *body);
void ds_rest_chat_lease(struct ds_rest *rest, const json_t *body);
void ds_rest_chat_end(struct ds_rest *rest, const json_t *body);
void ds_rest_chat_close(struct ds_rest *rest, const json_t *body);

/* ---- for all functions: rest-functions.c ---- */

/* A parameter, or a member of one, as a value of the type; null when it is absent. False: answered.
 */
bool ds_rest_take(struct ds_rest *rest, const json_t *object, const char *name, enum ds_type type,
                  struct ds_value *ret);

/* Say the last error, if it is one of the data that the function has not found itself, again as
 * that function does, behind WHAT. Always false. */
bool ds_rest_refuse(struct ds_rest *rest, const char *what);

/* Whether a member is absent, null, or JSON of the kind that the type is written in. */
bool ds_rest_fits(const json_t *json, enum ds_type type);

/* So many characters of UTF-8 at most; NULL is none. */
void ds_rest_cut(char *text, unsigned room);

/* The answer of a function that returns one value, as JSON. */
void ds_rest_reply_value(struct ds_rest *rest, const struct ds_buf *out);

/* The answer of a function that returns rows. */
void ds_rest_reply_set(struct ds_rest *rest, const struct ds_buf *rows, size_t count);

#endif
