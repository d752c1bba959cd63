/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_TABLES_H
#define DS_TABLES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct ds_db;

/*
 * The project's own tables, contrib/sql, described once: from this follow the SQLite tables, the
 * types of filters and bodies, defaults, constraints, who sees which row, and the JSON of replies.
 */
enum ds_type { DS_TEXT, DS_UUID, DS_BIGINT, DS_INTEGER, DS_TIME, DS_JSONB, DS_TEXTS, DS_BOOLEAN };

enum ds_default {
    DS_DEFAULT_NULL,
    DS_DEFAULT_UUID,   /* gen_random_uuid() */
    DS_DEFAULT_NOW,    /* now() */
    DS_DEFAULT_CALLER, /* auth.uid() */
    DS_DEFAULT_TEXT,   /* the column's literal */
};

struct ds_column {
    const char *name;
    enum ds_type type;
    enum ds_default origin;
    const char *literal; /* as a filter would have it */
    bool not_null;
    unsigned room;     /* of a varchar; 0 = no limit */
    const char *check; /* an extended regular expression that the value's text must fit */
    const char *check_name;
};

#define DS_COLUMNS_MAX 24
#define DS_KEY_MAX     5

struct ds_unique {
    const char *name;
    const char *columns[DS_KEY_MAX]; /* NULL ends them */
    bool nulls_equal;                /* nulls not distinct */
    bool partial;                    /* only of rows without a null but in the last column, and no
                                        target for on_conflict */
};

#define DS_UNIQUES_MAX 4

struct ds_table {
    const char *name;
    const char *base; /* of a view: the table of which it shows these columns; else NULL */
    struct ds_column columns[DS_COLUMNS_MAX];
    struct ds_unique uniques[DS_UNIQUES_MAX]; /* the primary key first; no name ends them */
    /* The rows of a user: by a column of their own, or by the row of another table. */
    const char *owner;
    const char *parent_column, *parent;
    const char *reference; /* name of the foreign key on parent_column, which cascades */
    const char *stamp;     /* column that a trigger sets with each update; NULL = none */
};

/* The table or view of that name, NULL when there is none. */
const struct ds_table *ds_table_find(const char *name);

/* The table itself, or the one that the view shows. */
const struct ds_table *ds_table_base(const struct ds_table *table);

size_t ds_table_width(const struct ds_table *table);

/* Index of a column, -1 when there is none. */
int ds_table_column(const struct ds_table *table, const char *name);

/* Makes what is missing in the database. */
int ds_tables_create(struct ds_db *db, struct sf_err *err);

#endif
