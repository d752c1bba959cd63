/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "signed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"
#include "route.h"

char *
ds_signed_token(const struct ds_request *req, const char *bucket, const char *key,
                const struct ds_signed *what)
{
    ds_autobuf url = DS_BUF_INIT, claims = DS_BUF_INIT;
    ds_buf_addf(&url, "%s/%s", bucket, key);
    ds_buf_adds(&claims, "{");
    if (what->upload && what->owner[0]) {
        ds_buf_adds(&claims, "\"owner\":");
        ds_buf_add_json(&claims, what->owner);
        ds_buf_adds(&claims, ",");
    }
    ds_buf_adds(&claims, "\"url\":");
    ds_buf_add_json(&claims, url.failed ? "" : url.data);
    if (what->upload)
        ds_buf_addf(&claims, ",\"upsert\":%s", what->upsert ? "true" : "false");
    ds_buf_addf(&claims, ",\"iat\":%lld,\"exp\":%lld}", (long long)ds_now_ms() / 1000,
                what->expires);
    if (url.failed || claims.failed)
        return NULL;
    return ds_auth_sign_claims(req->server->project->jwt_secret, claims.data);
}

static bool
is_for(const struct ds_request *req, const char *url)
{
    size_t bucket = strlen(req->bucket);
    return url && strncmp(url, req->bucket, bucket) == 0 && url[bucket] == '/' &&
           strcmp(url + bucket + 1, req->key) == 0;
}

int
ds_signed_read(const struct ds_request *req, const char *token, bool upload, struct ds_signed *ret,
               const char **problem)
{
    ds_autojson *claims = NULL;
    int rc = ds_auth_claims(req->server->auth, token, &claims, problem);
    if (rc < 0)
        return rc;
    const json_t *upsert = json_object_get(claims, "upsert");
    *problem = NULL;
    if ((upsert != NULL) != upload)
        *problem = upload ? "Token is not scoped for upload" : "Token is not scoped for download";
    else if (!is_for(req, json_string_value(json_object_get(claims, "url"))))
        *problem = "Invalid signature";
    if (*problem)
        return -EKEYREJECTED;
    const char *owner = json_string_value(json_object_get(claims, "owner"));
    *ret = (struct ds_signed){
        .upload = upsert != NULL,
        .upsert = json_is_true(upsert),
        .expires = (long long)json_number_value(json_object_get(claims, "exp")),
    };
    snprintf(ret->owner, sizeof ret->owner, "%s", owner ? owner : "");
    return 0;
}

bool
ds_require_signed(struct ds_request *req, struct ds_signed *ret)
{
    const char *token = ds_request_query(req, "token");
    const char *problem = NULL;
    if (!token) {
        ds_reply_schema(req, "querystring must have required property 'token'");
        return false;
    }
    int rc = ds_signed_read(req, token, req->route == &ds_route_upload_signed, ret, &problem);
    if (rc == -EACCES)
        ds_reply_error(req, 400, "400", "InvalidJWT", problem, "InvalidJWT");
    else if (rc < 0)
        ds_reply_error(req, 400, "400", "InvalidSignature", problem, "InvalidSignature");
    return rc == 0;
}
