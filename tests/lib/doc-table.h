/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_DOC_TABLE_H
#define SF_TESTS_DOC_TABLE_H

#include "base/buf.h"

/**
 * doc_holds - fail unless a document has this table, byte for byte.
 * @table: as it follows from the code. With SUPAFS_PRINT_TABLE set it is only printed.
 * @doc:   below the top of the sources: "docs/errors.md".
 * @what:  "the table of errmap.c", for the message.
 * @test:  "test-supabase-errmap": what prints it.
 */
void doc_holds(const struct sf_buf *table, const char *doc, const char *what, const char *test);

#endif
