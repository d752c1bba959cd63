/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "upload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"

bool
ds_mime_allowed(const char *allowed, const char *mime)
{
    const char *slash = strchr(mime, '/');
    if (!slash)
        return false;
    const char *sub = slash + 1;
    size_t sub_len = strcspn(sub, "/");
    ds_autojson *list = json_loads(allowed, 0, NULL);
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i, entry)
    {
        const char *text = json_string_value(entry);
        const char *cut = text ? strchr(text, '/') : NULL;
        if (!cut || cut - text != slash - mime || strncmp(text, mime, (size_t)(cut - text)) != 0)
            continue;
        size_t n = strcspn(cut + 1, "/");
        if ((n == 1 && cut[1] == '*') || (n == sub_len && strncmp(cut + 1, sub, n) == 0))
            return true;
    }
    return false;
}

bool
ds_check_upload(struct ds_request *req, bool upsert)
{
    int rc = ds_may_write(req, req->bucket, req->key, upsert);
    if (rc == -EACCES)
        ds_fail(req, DS_FAIL_RLS);
    else if (!ds_require_storable(req, req->bucket, req->key))
        return false;
    else if (rc == -EEXIST)
        ds_fail(req, DS_FAIL_KEY_EXISTS);
    else if (rc < 0)
        ds_fail_errno(req, rc, "look up the key");
    return rc == 0;
}

bool
ds_upload_switch(struct ds_request *req, const struct ds_object *row, const char *md5,
                 struct ds_object *ret)
{
    struct ds_server *server = req->server;
    sf_autofree char *etag = NULL;
    char old_version[DS_UUID_SIZE] = "";
    int rc = -ENOMEM;
    if (ds_make_etag(server, md5, row->size, &etag)) {
        struct ds_object whole = *row;
        whole.etag = etag;
        whole.modified_ms = whole.updated_ms = ds_now_ms();
        rc = ds_db_object_put(server->db, &whole, ret, old_version);
    }
    if (rc < 0) {
        ds_store_remove(server->store, row->version);
        if (rc == -ENXIO)
            ds_fail(req, DS_FAIL_NO_RELATED);
        else
            ds_fail_errno(req, rc, "write the row");
        return false;
    }
    if (strcmp(old_version, row->version) != 0)
        ds_store_remove(server->store, old_version);
    return true;
}
