/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/op.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "supabase/storage.h"

static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";

int
sf_op_new(char out[SF_OP_LEN + 1])
{
    unsigned char raw[SF_OP_LEN];
    int rc = sf_random_bytes(raw, sizeof raw);
    if (rc)
        return rc;
    for (size_t i = 0; i < SF_OP_LEN; i++)
        out[i] = base32[raw[i] % 32];
    out[SF_OP_LEN] = '\0';
    return 0;
}

bool
sf_op_is(const char *s)
{
    return strspn(s, base32) == SF_OP_LEN && !s[SF_OP_LEN];
}

bool
sf_former_is(const char *s)
{
    for (; *s; s += SF_OP_LEN + 1) {
        size_t len = strspn(s, base32);
        if (len != SF_OP_LEN || (s[len] && (s[len] != ' ' || !s[len + 1])))
            return false;
        if (!s[len])
            break;
    }
    return true;
}

void
sf_former_add(char former[SF_FORMER_SIZE], const char *op)
{
    char before[SF_FORMER_SIZE - (SF_OP_LEN + 1)];
    if (!sf_op_is(op) || strstr(former, op))
        return;
    snprintf(before, sizeof before, "%.*s", (int)sizeof before - 1, former);
    snprintf(former, SF_FORMER_SIZE, "%.*s%s%s", SF_OP_LEN, op, before[0] ? " " : "", before);
}

bool
sf_former_made(const char *former, const struct sf_version *left, const char *op,
               const struct sf_version *now)
{
    if (op[0])
        return sf_op_is(op) && strstr(former, op);
    return left && left->etag[0] && left->size == now->size && sf_etag_same(left->etag, now->etag);
}
