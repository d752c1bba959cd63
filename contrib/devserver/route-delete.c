/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"

/* Rows of one transaction, as the service deletes them. */
#define BATCH 500

static void
delete_one(struct ds_request *req)
{
    if (!ds_check_no_body(req) || !ds_require_auth(req))
        return;
    ds_autoobject old = {0};
    bool may = ds_may(req, req->bucket, req->key, DS_SELECT | DS_DELETE);
    int rc;
    if (may)
        rc = ds_db_object_delete(req->server->db, req->bucket, req->key, &old);
    else
        rc = ds_db_object_get(req->server->db, req->bucket, req->key, &old);
    if (rc == -ENOENT) {
        ds_fail(req, DS_FAIL_NO_KEY);
    } else if (rc < 0) {
        ds_fail_errno(req, rc, "delete the row");
    } else if (!may) {
        ds_fail(req, DS_FAIL_DENIED);
    } else {
        ds_store_remove(req->server->store, old.version);
        ds_autobuf out = DS_BUF_INIT;
        ds_buf_adds(&out, "{\"message\":\"Successfully deleted\"}");
        ds_reply_json(req, 200, &out);
    }
}

static bool
check_prefixes(struct ds_request *req, const json_t *json, const json_t **ret)
{
    const json_t *keys = json_object_get(json, "prefixes");
    if (!keys) {
        ds_reply_schema(req, "body must have required property 'prefixes'");
        return false;
    }
    if (!json_is_array(keys)) {
        ds_reply_schema(req, "body/prefixes must be array");
        return false;
    }
    if (json_array_size(keys) == 0) {
        ds_reply_schema(req, "body/prefixes must NOT have fewer than 1 items");
        return false;
    }
    for (size_t i = 0; i < json_array_size(keys); i++) {
        if (!json_is_string(json_array_get(keys, i))) {
            ds_reply_schema(req, "body/prefixes/%zu must be string", i);
            return false;
        }
    }
    *ret = keys;
    return true;
}

/* One transaction's worth; the bytes go only after it is committed. */
static int
delete_batch(struct ds_request *req, const json_t *keys, size_t first, struct ds_buf *out)
{
    struct ds_server *server = req->server;
    sf_autofree char(*versions)[DS_UUID_SIZE] = calloc(BATCH, sizeof *versions);
    if (!versions)
        return -ENOMEM;
    size_t count = 0;
    int rc = 0;
    ds_db_begin(server->db);
    for (size_t i = first; i < first + BATCH && i < json_array_size(keys); i++) {
        ds_autoobject old = {0};
        const char *key = json_string_value(json_array_get(keys, i));
        if (!ds_may(req, req->bucket, key, DS_SELECT | DS_DELETE) || (req->plan.omit && i % 2 == 0))
            continue;
        rc = ds_db_object_delete(server->db, req->bucket, key, &old);
        if (rc == -ENOENT)
            continue;
        if (rc < 0)
            break;
        ds_buf_adds(out, out->len > 1 ? ",{" : "{");
        ds_write_row(out, &old, &req->plan);
        ds_buf_adds(out, "}");
        memcpy(versions[count++], old.version, DS_UUID_SIZE);
    }
    int committed = ds_db_commit(server->db);
    if (committed < 0)
        return committed;
    for (size_t i = 0; i < count; i++)
        ds_store_remove(server->store, versions[i]);
    return rc == -ENOENT ? 0 : rc;
}

static void
delete_many(struct ds_request *req)
{
    ds_autojson *json = ds_require_json(req);
    const json_t *keys = NULL;
    if (!json || !check_prefixes(req, json, &keys) || !ds_require_auth(req))
        return;
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "[");
    int rc = 0;
    for (size_t i = 0; i < json_array_size(keys) && rc == 0; i += BATCH)
        rc = delete_batch(req, keys, i, &out);
    ds_buf_adds(&out, "]");
    if (rc < 0)
        ds_fail_errno(req, rc, "delete the rows");
    else
        ds_reply_json(req, 200, &out);
}

const struct ds_route ds_route_delete = {
    .kind = "delete", .body = DS_BODY_JSON, .finish = delete_one};
const struct ds_route ds_route_delete_many = {
    .kind = "delete-many", .body = DS_BODY_JSON, .finish = delete_many};
