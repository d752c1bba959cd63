/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "upload-form.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "form.h"
#include "reply.h"

/* What the service says when the form's end, or a field too many, comes together with the file. */
#define CLOSED "Request stream closed before upload could begin"

#define AT_ONCE    (64u << 10) /* as much of a file counts as coming together with its form */
#define FIELDS_MAX 10
#define FIELD_SIZE (1u << 20) /* more of a field is cut off */

enum field { CACHE, METADATA, USER_METADATA, TYPE, FIELD_COUNT };

static const char *const field_names[FIELD_COUNT] = {
    [CACHE] = "cacheControl",
    [METADATA] = "metadata",
    [USER_METADATA] = "userMetadata",
    [TYPE] = "contentType",
};

struct ds_upload_form {
    struct ds_request *req;
    struct ds_form *parser;
    ds_file_begins_fn begins;
    uint64_t limit;

    size_t field_count;
    char *fields[FIELD_COUNT]; /* NULL = not given, or given twice */
    bool given[FIELD_COUNT];
    enum field field; /* that is being read; FIELD_COUNT = none that counts */
    struct ds_buf value;

    bool in_file, had_file, cut;
    char *mime, *cache;
};

void
ds_upload_form_free(struct ds_upload_form *form)
{
    if (!form)
        return;
    ds_form_free(form->parser);
    for (size_t i = 0; i < FIELD_COUNT; i++)
        free(form->fields[i]);
    ds_buf_fini(&form->value);
    free(form->mime);
    free(form->cache);
    free(form);
}

static void
refuse(struct ds_request *req, const char *why)
{
    ds_reply_error(req, 400, "400", "InvalidRequest", why, "InvalidRequest");
}

static bool
read_metadata(struct ds_upload_form *form)
{
    const char *text =
        form->fields[METADATA] ? form->fields[METADATA] : form->fields[USER_METADATA];
    bool fine = true;
    form->req->user_meta = text ? ds_read_metadata(text, strlen(text), &fine) : NULL;
    if (!fine)
        ds_fail(form->req, DS_FAIL_METADATA);
    return fine;
}

static int
begin_file(struct ds_upload_form *form, const struct ds_form_part *part)
{
    const char *seconds = form->fields[CACHE], *type = form->fields[TYPE];
    bool aged = seconds && *seconds;
    form->had_file = true;
    form->mime = strdup(type && *type ? type : part->type);
    if (asprintf(&form->cache, "%s%s", aged ? "max-age=" : "no-cache", aged ? seconds : "") < 0)
        form->cache = NULL;
    if (!form->mime || !form->cache)
        return -ENOMEM;
    form->in_file = read_metadata(form) && form->begins(form->req, form->mime);
    return 0;
}

static int
begin_field(struct ds_upload_form *form, const struct ds_form_part *part)
{
    bool is_text = strcmp(part->type, "application/json") != 0; /* else it is no text there */
    if (++form->field_count > FIELDS_MAX) {
        refuse(form->req, CLOSED);
        return 0;
    }
    for (enum field i = 0; i < FIELD_COUNT; i++)
        if (is_text && part->name && strcmp(part->name, field_names[i]) == 0)
            form->field = i;
    return 0;
}

static int
on_begin(void *arg, const struct ds_form_part *part)
{
    struct ds_upload_form *form = arg;
    form->field = FIELD_COUNT;
    form->value.len = 0;
    if (form->req->reply.status != 0 || form->had_file)
        return 0;
    return part->is_file ? begin_file(form, part) : begin_field(form, part);
}

static int
on_data(void *arg, const char *bytes, size_t len)
{
    struct ds_upload_form *form = arg;
    if (form->in_file) {
        uint64_t room = form->limit - form->req->incoming.size;
        form->cut = form->cut || len > room;
        return form->cut ? 0 : ds_incoming_add(&form->req->incoming, bytes, len);
    }
    if (form->field != FIELD_COUNT) {
        size_t room = FIELD_SIZE - form->value.len;
        ds_buf_add(&form->value, bytes, len < room ? len : room);
    }
    return form->value.failed ? -ENOMEM : 0;
}

static int
on_end(void *arg)
{
    struct ds_upload_form *form = arg;
    form->in_file = false;
    if (form->field == FIELD_COUNT)
        return 0;
    free(form->fields[form->field]);
    form->fields[form->field] = NULL;
    if (!form->given[form->field]) {
        ds_buf_add(&form->value, "", 1);
        form->fields[form->field] = form->value.failed ? NULL : strdup(form->value.data);
    }
    form->given[form->field] = true;
    return form->value.failed ? -ENOMEM : 0;
}

static const struct ds_form_events events = {.begin = on_begin, .data = on_data, .end = on_end};

void
ds_upload_form_begin(struct ds_request *req, uint64_t limit, ds_file_begins_fn begins)
{
    struct ds_upload_form *form = calloc(1, sizeof *form);
    int rc = -ENOMEM;
    if (form) {
        *form = (struct ds_upload_form){
            .req = req, .limit = limit, .begins = begins, .field = FIELD_COUNT};
        rc = ds_form_new(ds_request_header(req, "content-type"), &events, form, &form->parser);
        req->form = form;
    }
    if (rc == -EINVAL)
        refuse(req, "Multipart: Boundary not found");
    else if (rc < 0)
        ds_fail_errno(req, rc, "take a form");
}

int
ds_upload_form_take(struct ds_request *req, const void *bytes, size_t len)
{
    int rc = ds_form_add(req->form->parser, bytes, len);
    if (rc == -EBADMSG)
        refuse(req, "Malformed part header");
    return rc == -EBADMSG ? 0 : rc;
}

bool
ds_upload_form_end(struct ds_request *req)
{
    const struct ds_upload_form *form = req->form;
    bool complete = ds_form_is_complete(form->parser);
    if (form->cut)
        ds_fail(req, DS_FAIL_TOO_LARGE);
    else if (!complete && form->had_file && req->incoming.size > AT_ONCE)
        ds_reply_error(req, 500, "500", "Error",
                       "Part terminated early due to unexpected end of multipart data",
                       "InternalError");
    else if (!complete && form->had_file)
        refuse(req, CLOSED);
    else if (!complete && req->received > 0)
        refuse(req, "Unexpected end of multipart data");
    else if (!form->had_file)
        refuse(req, "No content provided");
    return req->reply.status == 0;
}

const char *
ds_upload_form_mime(const struct ds_upload_form *form)
{
    return form->mime;
}

const char *
ds_upload_form_cache(const struct ds_upload_form *form)
{
    return form->cache;
}
