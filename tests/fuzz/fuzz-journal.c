/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "fuzz.h"
#include "write/record.h"
#include "write/write.h"

/* A record of the journal, perhaps damaged. What is accepted keeps the rules of the format and
 * comes back the same when it is written and read again. */

static volatile unsigned sum; /* of bytes that are looked at */

static void
keeps_the_rules(const struct sf_record *r)
{
    REQUIRE(r->kind < SF_RECORD_KINDS && r->state < SF_RECORD_STATES);
    REQUIRE(sf_record_state_kind(r->state) == r->kind);
    REQUIRE(r->bucket && r->bucket[0] && !strchr(r->bucket, '/') && r->key && r->key[0]);
    REQUIRE(strlen(r->op) == 0 || strlen(r->op) == SF_OP_LEN);
    REQUIRE(r->err >= 0 && r->size <= INT64_MAX && r->tus_size <= INT64_MAX);
    REQUIRE((r->kind == SF_RECORD_CONTENT) == (r->file != NULL));
    REQUIRE(!r->file || (!strchr(r->file, '/') && strcmp(r->file, "..") != 0));
    /* These become headers of requests. */
    REQUIRE(r->kind != SF_RECORD_ATTRS || !r->mime || !r->mime[0] || sf_mime_is_settable(r->mime));
    REQUIRE(!r->set_cache_control || !r->set_cache_control[0] ||
            sf_cache_control_is_settable(r->set_cache_control));
    REQUIRE((r->n_extents > 0) == (r->extents != NULL) && !(r->whole && r->n_extents));
    for (size_t i = 0; i < r->n_extents; i++) {
        REQUIRE(r->extents[i].off < r->extents[i].end && r->extents[i].end <= r->size);
        REQUIRE(i == 0 || r->extents[i - 1].end < r->extents[i].off);
    }
    /* On the heap, `size` bytes: a sanitizer sees when there are fewer. */
    REQUIRE(!r->data || (r->kind == SF_RECORD_CONTENT && r->whole && r->size <= SF_RECORD_BYTES));
    for (uint64_t i = 0; r->data && i < r->size; i++)
        sum += (unsigned char)r->data[i];
    REQUIRE((strlen(r->former) + 1) % (SF_OP_LEN + 1) <= 1 && strlen(r->former) < SF_FORMER_SIZE);
    if (r->kind == SF_RECORD_RENAME || r->kind == SF_RECORD_RENAME_DIR)
        REQUIRE(r->to_bucket && r->to_bucket[0] && r->to_key && r->to_key[0]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sf_record r = {0}, again = {0}, copy = {0};
    char why[160] = "", *text = NULL, *second = NULL;
    size_t len = 0, len2 = 0;
    int rc = sf_record_parse((const char *)data, size, &r, why);
    REQUIRE(rc == 0 || (rc == -EPROTO && why[0] && !r.bucket));
    if (rc)
        return 0;
    keeps_the_rules(&r);
    REQUIRE(sf_record_copy(&r, &copy) == 0);
    sf_record_fini(&r);
    REQUIRE(sf_record_format(&copy, &text, &len, why) == 0 && len <= SF_RECORD_BYTES);
    REQUIRE(sf_record_parse(text, len, &again, why) == 0);
    REQUIRE(sf_record_format(&again, &second, &len2, why) == 0);
    REQUIRE(len == len2 && memcmp(text, second, len) == 0);
    sf_record_fini(&copy);
    sf_record_fini(&again);
    free(text);
    free(second);
    return 0;
}
