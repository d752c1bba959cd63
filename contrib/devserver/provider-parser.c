/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "provider-internal.h"

/* GLM's document parsing, which is paid by the page: a task per file, and its text. */

static json_t *
result(struct ds_request *req, const struct ds_pfile *task)
{
    const struct ds_provider_call *call = req->provider;
    bool ready = task->state == DS_PFILE_READY, failed = task->state == DS_PFILE_FAILED;
    sf_autofree char *text = ready ? ds_pfile_extract(req, task) : NULL;
    const char *status = ready    ? "succeeded"
                         : failed ? "failed"
                                  : ds_set_text(call, "parser_pending");
    bool as_bool = ds_set_bool(call, "parser_bool");
    return json_pack("{s:o, s:s, s:s, s:s, s:s}", "status",
                     as_bool ? json_boolean(ready) : json_string(status), "message",
                     failed ? "no text in it" : "", "content", text ? text : "", "task_id",
                     task->id, "parsing_result_url", "");
}

void
ds_parser_create(struct ds_request *req)
{
    struct ds_pfile task;
    if (!ds_pfile_take_task(req, &task))
        return;
    ds_providers_note_upload(req->server->providers, req->provider->index, &task);
    ds_provider_reply(
        req, 200,
        json_pack("{s:b, s:s, s:s}", "success", 1, "message", "task created", "task_id", task.id));
}

void
ds_parser_sync(struct ds_request *req)
{
    struct ds_pfile task;
    if (!ds_pfile_take_task(req, &task))
        return;
    ds_providers_note_upload(req->server->providers, req->provider->index, &task);
    task.state = DS_PFILE_READY;
    ds_provider_reply(req, 200, result(req, &task));
}

void
ds_parser_result(struct ds_request *req)
{
    struct ds_pfile task;
    const char *id = req->provider->id ? req->provider->id : "";
    int rc = ds_pfile_find(req, id, true, &task);
    if (rc < 0 || strcmp(task.purpose, DS_PFILE_TASK) != 0)
        ds_perror(req, rc == 0 || rc == -ENOENT ? DS_PE_NOT_FOUND : DS_PE_SERVER, id);
    else
        ds_provider_reply(req, 200, result(req, &task));
}
