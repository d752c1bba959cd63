/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_SIGN_H
#define SF_SUPABASE_SIGN_H

#include <stddef.h>

/* Internal to src/supabase and its tests: the reply of a request for a link. */

#define SF_SIGN_TOKEN_MAX 4096 /* bytes */

/**
 * sf_sign_parse - {"signedURL":"/object/sign/BUCKET/KEY?token=TOKEN"}: of this very object, and
 * with a token that can be nothing else.
 * @token: for free(), and it is a secret.
 * @why:   160 bytes; without any of the token.
 * Returns 0, -EPROTO or -ENOMEM; *token is untouched on failure.
 */
int sf_sign_parse(const char *body, size_t len, const char *bucket, const char *key, char **token,
                  char *why);

#endif
