/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "reply.h"
#include "s3-xml.h"

#define KEYS_MAX 1000

struct listing {
    struct ds_request *req;
    const char *prefix, *delimiter; /* delimiter NULL = none */
    bool encode;                    /* encoding-type=url */
    size_t limit;
    char *after; /* where the page begins; owned */

    size_t count;
    struct ds_buf contents, folders;
    char *last; /* the last row within the limit; a folder without its slash */
    bool last_is_folder;
    bool failed;
};

static void
add_name(struct listing *listing, struct ds_buf *out, const char *name, const char *text)
{
    sf_autofree char *encoded = listing->encode ? ds_percent_encode(text) : NULL;
    listing->failed |= listing->encode && !encoded;
    ds_xml_add(out, name, encoded ? encoded : text);
}

static void
add_object(struct listing *listing, const struct ds_object *object)
{
    const struct ds_fault_plan *plan = &listing->req->plan;
    struct ds_buf *out = &listing->contents;
    int64_t size = (int64_t)object->size;
    if (plan->lies & DS_LIE_LIST)
        size = size + plan->size_delta < 0 ? 0 : size + plan->size_delta;
    ds_buf_adds(out, "<Contents>");
    add_name(listing, out, "Key", object->name);
    ds_xml_add_time(out, "LastModified", object->updated_ms);
    ds_xml_add(out, "ETag", plan->etag[0] ? plan->etag : object->etag);
    ds_xml_add_number(out, "Size", size);
    ds_xml_add(out, "StorageClass", "STANDARD");
    ds_buf_adds(out, "</Contents>");
}

static void
take_row(void *arg, const struct ds_list_row *row)
{
    struct listing *listing = arg;
    if (listing->count++ >= listing->limit)
        return; /* it only tells that there is more */
    if (row->object) {
        add_object(listing, row->object);
    } else {
        ds_autobuf name = DS_BUF_INIT;
        ds_buf_addf(&name, "%s/", row->folder);
        listing->failed |= name.failed;
        ds_buf_adds(&listing->folders, "<CommonPrefixes>");
        add_name(listing, &listing->folders, "Prefix", name.failed ? "" : name.data);
        ds_buf_adds(&listing->folders, "</CommonPrefixes>");
    }
    if (listing->count < listing->limit)
        return;
    listing->last_is_folder = !row->object;
    listing->last = strdup(row->object ? row->object->name : row->folder);
    listing->failed |= !listing->last;
}

/* The token of a page is the cursor of the other listing: base64 of "l:NAME". */
static bool
read_token(struct ds_request *req, const char *token, char **after)
{
    size_t len;
    sf_autofree char *text = ds_base64_decode(token, strlen(token), &len);
    if (text && len >= 2 && strncmp(text, "l:", 2) == 0 && !memchr(text, '\0', len) &&
        !strchr(text, '\n')) {
        *after = strdup(text + 2);
        return *after != NULL;
    }
    ds_fail(req, DS_FAIL_CURSOR);
    return false;
}

/* A name to go on behind. The listing wants folders without their slash. */
static bool
read_name(const char *name, bool delimiter, char **after)
{
    *after = strdup(name ? name : "");
    for (size_t n = *after && delimiter ? strlen(*after) : 0; n > 1 && (*after)[n - 1] == '/'; n--)
        (*after)[n - 1] = '\0';
    return *after != NULL;
}

static bool
read_request(struct listing *listing, bool v2)
{
    struct ds_request *req = listing->req;
    const char *prefix = ds_request_query(req, "prefix");
    const char *delimiter = ds_request_query(req, "delimiter");
    const char *max = ds_request_query(req, "max-keys");
    const char *encoding = ds_request_query(req, "encoding-type");
    const char *token = v2 ? ds_request_query(req, "continuation-token") : NULL;
    listing->prefix = prefix ? prefix : "";
    listing->delimiter = delimiter && *delimiter ? delimiter : NULL;
    listing->encode = encoding && strcmp(encoding, "url") == 0;
    listing->limit = KEYS_MAX;
    if (listing->delimiter && strcmp(listing->delimiter, "/") != 0) {
        ds_s3_reply_error(req, "501", "The only delimiter of supafs-devserver is a slash",
                          "NotImplemented");
        return false;
    }
    if (max && *max) {
        int n = ds_s3_number(max, 2000000000);
        if (n < 0) {
            ds_reply_schema(req, "querystring/max-keys must be integer");
            return false;
        }
        listing->limit = n < KEYS_MAX ? (size_t)n : KEYS_MAX;
    }
    bool fine = token && *token ? read_token(req, token, &listing->after)
                                : read_name(ds_request_query(req, v2 ? "start-after" : "marker"),
                                            listing->delimiter != NULL, &listing->after);
    if (!fine && req->reply.status == 0)
        ds_fail_errno(req, -ENOMEM, "list");
    return fine;
}

static void
add_next_token(struct listing *listing, struct ds_buf *out)
{
    ds_autobuf line = DS_BUF_INIT;
    ds_buf_addf(&line, "l:%s", listing->last);
    sf_autofree char *text = line.failed ? NULL : ds_base64_encode(line.data, line.len, false);
    listing->failed |= !text;
    ds_xml_add(out, "NextContinuationToken", text ? text : "");
}

static void
add_next_marker(struct listing *listing, struct ds_buf *out)
{
    ds_autobuf name = DS_BUF_INIT;
    ds_buf_addf(&name, "%s%s", listing->last, listing->last_is_folder ? "/" : "");
    listing->failed |= name.failed;
    add_name(listing, out, "NextMarker", name.failed ? "" : name.data);
}

static void
reply_listing(struct listing *listing, bool v2)
{
    struct ds_request *req = listing->req;
    const char *from = ds_request_query(req, v2 ? "start-after" : "marker");
    bool more = listing->count > listing->limit && listing->last;
    ds_autobuf out = DS_BUF_INIT;
    ds_s3_begin_xml(&out, "ListBucketResult");
    ds_xml_add(&out, "Name", req->bucket);
    add_name(listing, &out, "Prefix", listing->prefix);
    if (!v2)
        add_name(listing, &out, "Marker", from ? from : "");
    else if (from && *from)
        add_name(listing, &out, "StartAfter", from);
    ds_buf_add(&out, listing->contents.data, listing->contents.len);
    ds_buf_add(&out, listing->folders.data, listing->folders.len);
    ds_xml_add(&out, "IsTruncated", more ? "true" : "false");
    ds_xml_add_number(&out, "MaxKeys", (long long)listing->limit);
    if (listing->delimiter)
        ds_xml_add(&out, "Delimiter", listing->delimiter);
    if (listing->encode)
        ds_xml_add(&out, "EncodingType", "url");
    if (v2)
        ds_xml_add_number(&out, "KeyCount", (long long)(more ? listing->limit : listing->count));
    if (more && v2)
        add_next_token(listing, &out);
    else if (more)
        add_next_marker(listing, &out);
    if (listing->failed || listing->contents.failed || listing->folders.failed)
        ds_fail_errno(req, -ENOMEM, "list");
    else
        ds_s3_reply_xml(req, &out, "ListBucketResult");
}

static void
list(struct ds_request *req, bool v2)
{
    ds_autobucket bucket = {0};
    struct listing listing = {.req = req};
    if (!ds_require_bucket(req, &bucket))
        return;
    if (read_request(&listing, v2)) {
        struct ds_list_query query = {
            .bucket = req->bucket,
            .prefix = listing.prefix,
            .delimiter = listing.delimiter != NULL,
            .after = listing.after,
            .after_ms = -1,
            .max_rows = listing.limit + 1,
            .sight = ds_sight(req),
        };
        int rc =
            listing.limit == 0 ? 0 : ds_db_object_list(req->server->db, &query, take_row, &listing);
        if (rc < 0)
            ds_fail_errno(req, rc, "list");
        else
            reply_listing(&listing, v2);
    }
    free(listing.after);
    free(listing.last);
    ds_buf_fini(&listing.contents);
    ds_buf_fini(&listing.folders);
}

static void
list_v2(struct ds_request *req)
{
    list(req, true);
}

static void
list_v1(struct ds_request *req)
{
    list(req, false);
}

const struct ds_route ds_route_s3_list = {
    .kind = "s3-list", .s3 = true, .begin = ds_s3_enter, .finish = list_v2};
const struct ds_route ds_route_s3_list_v1 = {
    .kind = "s3-list-v1", .s3 = true, .begin = ds_s3_enter, .finish = list_v1};
