/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_REST_VALUE_H
#define DS_REST_VALUE_H

#include <jansson.h>
#include <stdint.h>

#include "buf.h"
#include "tables.h"

struct ds_rest;

/*
 * A value as SQLite has it: numbers and booleans are numbers, a time is microseconds since 1970,
 * jsonb its text in PostgreSQL's own form, text[] a jsonb array of strings and nulls.
 */
struct ds_value {
    enum { DS_VALUE_NULL, DS_VALUE_NUMBER, DS_VALUE_TEXT } kind;
    int64_t number;
    char *text;
};

#define DS_NULL ((struct ds_value){0})
void ds_value_fini(struct ds_value *value);
struct ds_value ds_value_number(int64_t number);
/* A copy; null for NULL. */
struct ds_value ds_value_text(const char *text);
struct ds_value ds_value_copy(const struct ds_value *value);

static inline struct ds_value
ds_value_take(struct ds_value *value)
{
    struct ds_value taken = *value;
    *value = DS_NULL;
    return taken;
}

const char *ds_type_name(enum ds_type type);

/* What PostgreSQL makes of a literal, and of a member of a body. False: answered. */
bool ds_value_read(struct ds_rest *rest, enum ds_type type, const char *text, struct ds_value *ret);
bool ds_value_from_json(struct ds_rest *rest, enum ds_type type, const json_t *json,
                        struct ds_value *ret);

/* As a member of a reply, and as PostgreSQL prints it, unquoted, in a message. */
void ds_value_write(struct ds_buf *out, enum ds_type type, const struct ds_value *value);
void ds_value_print(struct ds_buf *out, enum ds_type type, const struct ds_value *value);

/* JSON in the form of jsonb: members by length and bytes, blanks behind ':' and ','. */
void ds_jsonb_write(struct ds_buf *out, const json_t *json);

/* A time as a message has it: 2026-11-22T00:57:52.66836+00:00 */
void ds_time_write(struct ds_buf *out, int64_t us, bool json);

#endif
