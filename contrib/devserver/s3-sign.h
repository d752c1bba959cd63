/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_S3_SIGN_H
#define DS_S3_SIGN_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

/*
 * Signatures of AWS, version 4, for the service s3: pure text and hashes, nothing of a server. The
 * path counts as it was sent; the parameters are decoded, encoded anew and sorted.
 */

#define DS_S3_SIGNATURE_SIZE 65

/* What a request says about its signature; the strings point into `text`. */
struct ds_s3_claim {
    char *text; /* owned */
    const char *key_id, *date, *region, *service;
    const char *scope; /* "20261121/us-east-1/s3/aws4_request" */
    const char *signed_headers;
    const char *signature;
};

void ds_s3_claim_fini(struct ds_s3_claim *claim);
#define ds_autoclaim __attribute__((cleanup(ds_s3_claim_fini))) struct ds_s3_claim

/**
 * ds_s3_claim_header - read an Authorization header.
 * Returns 0; -EINVAL when it is none of this kind, or a part is missing; -ENOMEM.
 */
int ds_s3_claim_header(const char *authorization, struct ds_s3_claim *ret);

/* The same of the decoded parameters of a presigned URL; NULL ones are missing. */
int ds_s3_claim_query(const char *credential, const char *signed_headers, const char *signature,
                      struct ds_s3_claim *ret);

/* What is signed, besides the claim. */
struct ds_s3_request {
    const char *method;
    const char *path;    /* as sent, escapes kept, all of it */
    const char *query;   /* as sent, "" = none */
    const char *payload; /* hash of the body, or the word that stands for it */
    const char *time;    /* 20261121T041222Z */

    /* The value of a header by its name in lower case; NULL = absent. */
    const char *(*header)(void *arg, const char *name);
    void *arg;
};

/* The canonical request; for tests, too. False when memory ran out. */
bool ds_s3_canonical(const struct ds_s3_request *request, const char *signed_headers,
                     struct ds_buf *out);

/* The signature that the owner of `secret` would send, in hex. False when memory ran out. */
bool ds_s3_sign(const struct ds_s3_request *request, const struct ds_s3_claim *claim,
                const char *secret, char out[DS_S3_SIGNATURE_SIZE]);

#endif
