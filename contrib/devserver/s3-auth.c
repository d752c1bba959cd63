/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "reply.h"
#include "s3-sign.h"

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define NO_MATCH   "The request signature we calculated does not match the signature you provided"

static void
denied(struct ds_request *req, const char *message)
{
    ds_s3_reply_error(req, "403", message, "AccessDenied");
}

static void
no_match(struct ds_request *req, bool session)
{
    ds_s3_reply_error(req, "403",
                      session ? NO_MATCH ", Check your credentials. The session token should be a "
                                         "valid JWT token"
                              : NO_MATCH ". Check your key and signing method.",
                      "SignatureDoesNotMatch");
}

static const char *
header(void *arg, const char *name)
{
    return ds_request_header(arg, name);
}

/* Of "20261121T041222Z", in seconds; -1 when it is none. */
static long long
parse_time(const char *text)
{
    struct tm tm = {0};
    const char *end = text ? strptime(text, "%Y%m%dT%H%M%SZ", &tm) : NULL;
    return end && !*end ? (long long)timegm(&tm) : -1;
}

/* A presigned URL ends some time after it was made. The date of a header may be any. */
static bool
check_end(struct ds_request *req, const char *time)
{
    const char *expires = ds_request_query(req, "X-Amz-Expires");
    long long from = parse_time(time), life = expires ? strtoll(expires, NULL, 10) : 0;
    if (from >= 0 && life > 0 && ds_now_ms() / 1000 <= from + life)
        return true;
    ds_s3_reply_error(req, "400", "The provided token has expired.", "ExpiredToken");
    return false;
}

static bool
region_fits(const struct ds_s3_claim *claim)
{
    return strcmp(claim->service, "s3") == 0 &&
           (!*claim->region || strcmp(claim->region, "auto") == 0 ||
            strcmp(claim->region, DS_PROJECT_REGION) == 0);
}

/* The secret that belongs to the claim's key id; NULL when a reply is set. */
static const char *
find_secret(struct ds_request *req, const struct ds_s3_claim *claim, const char *token)
{
    const struct ds_project *project = req->server->project;
    const char *key_id = token ? DS_PROJECT_REF : project->s3_key_id;
    if (strcmp(claim->key_id, key_id) == 0)
        return token ? project->anon_key : project->s3_secret;
    denied(req, "Invalid Access Key");
    return NULL;
}

/* A session is whom its token names, under the policies; an access key may do all. */
static bool
identify(struct ds_request *req, const char *token)
{
    const char *problem = NULL;
    req->who = (struct ds_identity){.role = DS_ROLE_SERVICE};
    int rc = token ? ds_auth_verify(req->server->auth, token, &req->who, &problem) : 0;
    if (rc == 0 && req->plan.expired) {
        rc = -EACCES;
        problem = "\"exp\" claim timestamp check failed";
    }
    req->authenticated = rc == 0;
    if (rc == -EACCES)
        denied(req, problem);
    else if (rc < 0)
        ds_fail_errno(req, rc, "check the token");
    else if (req->who.role == DS_ROLE_UNKNOWN)
        ds_fail(req, DS_FAIL_BAD_ROLE);
    return req->reply.status == 0;
}

static bool
check_signature(struct ds_request *req, const struct ds_s3_claim *claim, const char *time,
                const char *payload, const char *token)
{
    struct ds_s3_request what = {
        .method = req->method,
        .path = req->target,
        .query = req->query,
        .payload = payload,
        .time = time,
        .header = header,
        .arg = req,
    };
    char want[DS_S3_SIGNATURE_SIZE];
    const char *secret = find_secret(req, claim, token);
    if (!secret)
        return false;
    if (!ds_s3_sign(&what, claim, secret, want)) {
        ds_fail_errno(req, -ENOMEM, "check the signature");
        return false;
    }
    if (region_fits(claim) && strlen(claim->signature) == strlen(want) &&
        CRYPTO_memcmp(claim->signature, want, strlen(want)) == 0)
        return true;
    no_match(req, token != NULL);
    return false;
}

bool
ds_s3_require_auth(struct ds_request *req)
{
    const char *authorization = ds_request_header(req, "authorization");
    const char *payload = ds_request_header(req, "x-amz-content-sha256");
    const char *time, *token;
    ds_autoclaim claim = {0};
    int rc;
    req->who = (struct ds_identity){.role = DS_ROLE_ANON};
    if (authorization) {
        time = ds_request_header(req, "x-amz-date");
        token = ds_request_header(req, "x-amz-security-token");
        payload = payload ? payload : EMPTY_HASH;
        rc = ds_s3_claim_header(authorization, &claim);
    } else {
        time = ds_request_query(req, "X-Amz-Date");
        token = ds_request_query(req, "X-Amz-Security-Token");
        payload = payload ? payload : "UNSIGNED-PAYLOAD";
        rc = ds_s3_claim_query(ds_request_query(req, "X-Amz-Credential"),
                               ds_request_query(req, "X-Amz-SignedHeaders"),
                               ds_request_query(req, "X-Amz-Signature"), &claim);
    }
    if (rc == -EINVAL || (rc == 0 && !time)) {
        denied(req, "Missing signature");
        return false;
    }
    if (rc < 0) {
        ds_fail_errno(req, rc, "read the signature");
        return false;
    }
    return check_signature(req, &claim, time, payload, token) &&
           (authorization || check_end(req, time)) && identify(req, token);
}

void
ds_s3_enter(struct ds_request *req)
{
    ds_s3_require_auth(req);
}
