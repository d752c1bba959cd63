/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "doc-table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
read_file(struct sf_buf *b, const char *path)
{
    char part[4096];
    size_t n;
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("cannot open %s", path);
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        assert_int_equal(sf_buf_append(b, part, n), 0);
    fclose(f);
}

void
doc_holds(const struct sf_buf *table, const char *doc, const char *what, const char *test)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT, path = SF_BUF_INIT;
    const char *top = getenv("top_srcdir");
    if (getenv("SUPAFS_PRINT_TABLE")) {
        fputs(table->data, stdout);
        return;
    }
    if (!top)
        fail_msg("top_srcdir is not set: run this by make check");
    sf_buf_printf(&path, "%s/%s", top, doc);
    read_file(&text, path.data);
    if (!strstr(text.data, table->data))
        fail_msg("%s does not hold %s: replace what is there by the output of "
                 "SUPAFS_PRINT_TABLE=1 tests/unit/%s",
                 doc, what, test);
}
