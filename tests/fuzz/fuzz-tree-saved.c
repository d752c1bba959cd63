/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "base/hash.h"
#include "fuzz.h"
#include "tree/saved-format.h"

/* A value of the table of saved listings, perhaps damaged. What is accepted comes back the same
 * when it is written and read again. */

static void
head(const uint8_t *data, size_t size)
{
    struct saved_head h;
    uint64_t *sums = NULL;
    int rc = saved_head_parse(data, size, NULL, NULL, &h, &sums);
    REQUIRE(rc == 0 || (rc == -EUCLEAN && !sums));
    if (rc)
        return;
    REQUIRE(h.listing || !h.complete);
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    struct saved_head again, other;
    uint64_t *sums2 = NULL;
    REQUIRE(saved_head_format(&h, "bucket", "a/b/", &out) == 0);
    REQUIRE(saved_head_parse(out.data, out.len, "bucket", "a/b/", &again, &sums2) == 0);
    REQUIRE(saved_head_parse(out.data, out.len, "bucket", "a/", &other, &sums2) == -ENOENT);
    REQUIRE(again.pages == h.pages && !memcmp(sums, sums2, h.pages * sizeof *sums));
    REQUIRE(!memcmp(&again.attrs, &h.attrs, sizeof h.attrs) && again.taken_ns == h.taken_ns);
    free(sums);
    free(sums2);
}

static void
page(const uint8_t *data, size_t size, uint64_t sum)
{
    struct saved_reader r;
    struct saved_row row;
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    size_t rows = 0;
    int rc = saved_page_open(data, size, sum, &r);
    REQUIRE(rc == 0 || rc == -EUCLEAN);
    if (rc)
        return;
    REQUIRE(saved_page_begin(&out) == 0);
    while ((rc = saved_page_next(&r, &row)) == 1) {
        REQUIRE(strlen(row.comp) <= SAVED_COMP_MAX && !strchr(row.comp, '/'));
        REQUIRE(strlen(row.id) < sizeof row.id && strlen(row.etag) <= SAVED_ETAG_MAX);
        REQUIRE(saved_page_add(&out, &row) == 0);
        rows++;
    }
    REQUIRE(rc == 0 || rc == -EUCLEAN);
    REQUIRE(saved_page_seal(&out, &sum) == 0);
    REQUIRE(saved_page_open(out.data, out.len, sum, &r) == 0);
    while (saved_page_next(&r, &row) == 1)
        rows--;
    REQUIRE(rows == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t sum;
    head(data, size);
    page(data, size, 0);
    /* The sum keeps damage out; what is behind it has to take anything all the same. */
    uint8_t *copy = malloc(size + 8);
    REQUIRE(copy);
    if (size)
        memcpy(copy, data, size);
    sum = sf_hash64(copy, size);
    for (int i = 0; i < 8; i++)
        copy[size + (size_t)i] = (uint8_t)(sum >> (8 * i));
    head(copy, size + 8);
    page(copy, size + 8, sum);
    free(copy);
    return 0;
}
