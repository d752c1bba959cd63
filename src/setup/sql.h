/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SETUP_SQL_H
#define SF_SETUP_SQL_H

#include <stddef.h>

/*
 * The files contrib/sql/NNN-*.sql, which make the project's own tables and functions. Each is whole
 * in itself: a transaction that notes its version, and may be run again.
 */
struct sf_sql_file {
    unsigned version; /* from 1, without a gap */
    const char *name; /* "attributes" */
    const char *text;
};

/* In their order, version N at N - 1; the last row has version 0. */
extern const struct sf_sql_file sf_sql_files[];

/* The version that a project has with all of them. */
unsigned sf_sql_newest(void);

#endif
