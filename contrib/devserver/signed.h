/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_SIGNED_H
#define DS_SIGNED_H

#include "http.h"

/*
 * Tokens for one object: who has one needs no other. The service signs them with the project's
 * secret; "url" in them is BUCKET/KEY.
 */
struct ds_signed {
    bool upload; /* for an upload, else for reading */
    bool upsert;
    char owner[64];    /* of what is uploaded; "" = none */
    long long expires; /* seconds since 1970 */
};

/* A token for the object; @expires is set. NULL when out of memory; the caller owns it. */
char *ds_signed_token(const struct ds_request *req, const char *bucket, const char *key,
                      const struct ds_signed *what);

/**
 * ds_signed_read - check a token against the request's bucket and key, and against its purpose.
 *
 * Returns 0; -EACCES it is no valid token, -EKEYREJECTED it is for another purpose or object, both
 * with the service's message in *problem.
 */
int ds_signed_read(const struct ds_request *req, const char *token, bool upload,
                   struct ds_signed *ret, const char **problem);

/* The same for the parameter "token" of the request; answers itself: false = a reply is set. */
bool ds_require_signed(struct ds_request *req, struct ds_signed *ret);

#endif
