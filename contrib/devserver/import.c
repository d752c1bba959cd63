/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "reply.h"

/* The '=' between key and file: both may hold more of them, so the file has to exist. */
static const char *
find_split(const char *spec)
{
    const char *split = NULL;
    for (const char *at = spec; (at = strchr(at, '=')); at++)
        if (access(at + 1, R_OK) == 0)
            split = at;
    return split;
}

static const char *
guess_mime(const char *key)
{
    static const struct {
        const char *tail, *mime;
    } types[] = {{".txt", "text/plain"}, {".json", "application/json"}, {".html", "text/html"},
                 {".png", "image/png"},  {".jpg", "image/jpeg"},        {".pdf", "application/pdf"},
                 {".csv", "text/csv"},   {".md", "text/markdown"}};
    const char *dot = strrchr(key, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof types[0]; i++)
        if (strcasecmp(dot, types[i].tail) == 0)
            return types[i].mime;
    return "application/octet-stream";
}

static int
put_row(struct ds_server *server, struct ds_incoming *in, char *bucket, char *key)
{
    char md5[33];
    int rc = ds_incoming_commit(in, md5);
    if (rc < 0)
        return rc;
    sf_autofree char *etag = NULL;
    struct ds_object row = {
        .bucket = bucket,
        .name = key,
        .mime = (char *)(uintptr_t)guess_mime(key),
        .cache = (char *)(uintptr_t) "no-cache",
        .user_meta = (char *)(uintptr_t) "{}",
        .size = in->size,
        .modified_ms = ds_now_ms(),
        .updated_ms = ds_now_ms(),
    };
    memcpy(row.version, in->version, sizeof row.version);
    char old_version[DS_UUID_SIZE] = "";
    rc = -ENOMEM;
    if (ds_make_etag(server, md5, in->size, &etag)) {
        row.etag = etag;
        rc = ds_db_object_put(server->db, &row, NULL, old_version);
    }
    ds_store_remove(server->store, rc < 0 ? row.version : old_version);
    return rc;
}

int
ds_import(struct ds_server *server, const char *spec, struct sf_err *err)
{
    const char *split = find_split(spec), *slash = strchr(spec, '/');
    if (!split || !slash || slash > split || slash == spec)
        return sf_err_set(err, -EINVAL, "--import %s: must be BUCKET/KEY=FILE with a readable file",
                          spec);
    sf_autofree char *bucket = strndup(spec, (size_t)(slash - spec));
    sf_autofree char *key = strndup(slash + 1, (size_t)(split - slash - 1));
    if (!bucket || !key)
        return sf_err_set(err, -ENOMEM, "no memory");
    if (!ds_key_valid(key, strlen(key)) || ds_key_has_dots(key) || ds_key_too_long_for_file(key))
        return sf_err_set(err, -EINVAL, "--import %s: the service does not take this key", spec);
    ds_autobucket there = {0};
    int rc = ds_db_bucket_get(server->db, bucket, &there);
    if (rc < 0)
        return sf_err_set(err, rc, "--import %s: no bucket \"%s\"", spec, bucket);
    struct ds_incoming in;
    rc = ds_incoming_init(&in, server->store, true);
    if (rc < 0)
        return sf_err_set(err, rc, "--import %s: %s", spec, strerror(-rc));
    rc = ds_incoming_import(&in, split + 1, err);
    if (rc == 0) {
        rc = put_row(server, &in, bucket, key);
        if (rc < 0)
            rc = sf_err_set(err, rc, "--import %s: %s", spec, strerror(-rc));
    }
    ds_incoming_fini(&in);
    return rc;
}
