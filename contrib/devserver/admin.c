/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "admin.h"

#include <errno.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "buf.h"
#include "provider.h"

#define BODY_MAX (1u << 20)

struct ds_admin {
    struct ds_server *server;
    struct MHD_Daemon *daemon;
};

struct call {
    struct ds_buf body;
    bool too_big;
};

static enum MHD_Result
reply(struct MHD_Connection *conn, unsigned status, struct ds_buf *out)
{
    ds_buf_adds(out, "\n");
    size_t len = 0;
    char *body = ds_buf_take(out, &len);
    if (!body)
        return MHD_NO;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(body);
        return MHD_NO;
    }
    MHD_add_response_header(response, "content-type", "application/json");
    enum MHD_Result rc = MHD_queue_response(conn, status, response);
    MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result
reply_error(struct MHD_Connection *conn, unsigned status, const char *message)
{
    struct ds_buf out = DS_BUF_INIT;
    ds_buf_adds(&out, "{\"error\":");
    ds_buf_add_json(&out, message);
    ds_buf_adds(&out, "}");
    return reply(conn, status, &out);
}

/* Answers with a JSON value, which it takes. */
static enum MHD_Result
reply_value(struct MHD_Connection *conn, json_t *value)
{
    struct ds_buf out = DS_BUF_INIT;
    sf_autofree char *text = json_dumps(value, JSON_INDENT(2));
    json_decref(value);
    ds_buf_adds(&out, text ? text : "null");
    return reply(conn, 200, &out);
}

static enum MHD_Result
handle_faults(struct ds_server *server, struct MHD_Connection *conn, const char *method,
              const json_t *body)
{
    struct sf_err err = SF_ERR_INIT;
    int rc = 0;
    if (strcmp(method, "DELETE") == 0) {
        json_t *none = json_array();
        rc = ds_faults_set(server->faults, none, false, &err);
        json_decref(none);
    } else if (body) {
        rc = ds_faults_set(server->faults, body, strcmp(method, "POST") == 0, &err);
    }
    if (rc < 0)
        return reply_error(conn, 400, err.msg);
    ds_pace_wake(server->pace);
    return reply_value(conn, ds_faults_to_json(server->faults));
}

static enum MHD_Result
handle_policies(struct ds_server *server, struct MHD_Connection *conn, const char *method,
                const json_t *body)
{
    struct sf_err err = SF_ERR_INIT;
    int rc = 0;
    if (strcmp(method, "DELETE") == 0) {
        json_t *none = json_array();
        rc = ds_policies_set(server->policies, none, false, &err);
        json_decref(none);
    } else if (body) {
        rc = ds_policies_set(server->policies, body, strcmp(method, "POST") == 0, &err);
    }
    if (rc < 0)
        return reply_error(conn, 400, err.msg);
    return reply_value(conn, ds_policies_to_json(server->policies));
}

static enum MHD_Result
handle_settings(struct ds_server *server, struct MHD_Connection *conn, const json_t *body)
{
    struct sf_err err = SF_ERR_INIT;
    if (body && ds_pace_from_json(server->pace, body, &err) < 0)
        return reply_error(conn, 400, err.msg);
    return reply_value(conn, ds_pace_to_json(server->pace));
}

static enum MHD_Result
handle_log(struct ds_server *server, struct MHD_Connection *conn, const char *method)
{
    if (strcmp(method, "DELETE") == 0)
        ds_log_clear(server->log);
    const char *since = MHD_lookup_connection_value(conn, MHD_GET_ARGUMENT_KIND, "since");
    const char *counts = MHD_lookup_connection_value(conn, MHD_GET_ARGUMENT_KIND, "counts");
    struct ds_buf out = DS_BUF_INIT;
    ds_log_write(server->log, since ? strtoull(since, NULL, 10) : 0,
                 counts && strcmp(counts, "1") == 0, &out);
    return reply(conn, 200, &out);
}

static enum MHD_Result
handle_providers(struct ds_server *server, struct MHD_Connection *conn, const char *method,
                 const json_t *body)
{
    struct sf_err err = SF_ERR_INIT;
    int rc = 0;
    if (strcmp(method, "DELETE") == 0) {
        const char *all = MHD_lookup_connection_value(conn, MHD_GET_ARGUMENT_KIND, "settings");
        ds_providers_reset(server->providers, all && strcmp(all, "1") == 0);
    } else if (strcmp(method, "POST") == 0) {
        rc = ds_providers_add_rules(server->providers, body, &err);
    } else if (strcmp(method, "PUT") == 0) {
        rc = ds_providers_set(server->providers, body, &err);
    }
    if (rc < 0)
        return reply_error(conn, 400, err.msg);
    ds_pace_wake(server->pace);
    return reply_value(conn, ds_providers_to_json(server));
}

/* DELETE /providers/files[?provider=NAME] */
static enum MHD_Result
handle_provider_files(struct ds_server *server, struct MHD_Connection *conn)
{
    const char *site = MHD_lookup_connection_value(conn, MHD_GET_ARGUMENT_KIND, "provider");
    if (ds_providers_remove_files(server, site) < 0)
        return reply_error(conn, 500, "the files cannot be removed");
    return reply_value(conn, ds_providers_to_json(server));
}

static bool
method_is(const char *method, const char *const *allowed)
{
    for (; *allowed; allowed++)
        if (strcmp(*allowed, method) == 0)
            return true;
    return false;
}

static enum MHD_Result
handle(struct ds_server *server, struct MHD_Connection *conn, const char *url, const char *method,
       const struct call *call)
{
    static const char *const rules[] = {"GET", "PUT", "POST", "DELETE", NULL};
    static const char *const settings[] = {"GET", "PUT", NULL};
    static const char *const log[] = {"GET", "DELETE", NULL};
    static const char *const files[] = {"DELETE", NULL};
    if (call->too_big || call->body.failed)
        return reply_error(conn, 413, "the body is too big");
    bool writes = strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0;
    json_error_t problem;
    json_t *body = NULL;
    if (writes) {
        body = json_loadb(call->body.data ? call->body.data : "", call->body.len,
                          JSON_REJECT_DUPLICATES, &problem);
        if (!body)
            return reply_error(conn, 400, problem.text);
    }
    enum MHD_Result rc;
    if (strcmp(url, "/faults") == 0 && method_is(method, rules))
        rc = handle_faults(server, conn, method, body);
    else if (strcmp(url, "/policies") == 0 && method_is(method, rules))
        rc = handle_policies(server, conn, method, body);
    else if (strcmp(url, "/settings") == 0 && method_is(method, settings))
        rc = handle_settings(server, conn, body);
    else if (strcmp(url, "/providers") == 0 && method_is(method, rules))
        rc = handle_providers(server, conn, method, body);
    else if (strcmp(url, "/providers/files") == 0 && method_is(method, files))
        rc = handle_provider_files(server, conn);
    else if (strcmp(url, "/log") == 0 && method_is(method, log))
        rc = handle_log(server, conn, method);
    else
        rc =
            reply_error(conn, 404,
                        "there is GET/PUT/POST/DELETE /faults and /policies, GET/PUT /settings and "
                        "GET/DELETE /log");
    json_decref(body);
    return rc;
}

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
           const char *version, const char *data, size_t *size, void **con_cls)
{
    (void)version;
    struct ds_admin *admin = cls;
    struct call *call = *con_cls;
    if (!call) {
        *con_cls = calloc(1, sizeof *call);
        return *con_cls ? MHD_YES : MHD_NO;
    }
    if (*size > 0) {
        if (call->body.len + *size > BODY_MAX)
            call->too_big = true;
        else
            ds_buf_add(&call->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    return handle(admin->server, conn, url, method, call);
}

static void
on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
             enum MHD_RequestTerminationCode code)
{
    (void)cls;
    (void)conn;
    (void)code;
    struct call *call = *con_cls;
    if (call)
        ds_buf_fini(&call->body);
    free(call);
    *con_cls = NULL;
}

int
ds_admin_start(struct ds_server *server, int socket, struct ds_admin **ret, struct sf_err *err)
{
    struct ds_admin *admin = calloc(1, sizeof *admin);
    if (!admin)
        return sf_err_set(err, -ENOMEM, "admin port: no memory");
    admin->server = server;
    admin->daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL, on_request,
                         admin, MHD_OPTION_LISTEN_SOCKET, socket, MHD_OPTION_NOTIFY_COMPLETED,
                         on_completed, NULL, MHD_OPTION_CONNECTION_TIMEOUT, 60u, MHD_OPTION_END);
    if (!admin->daemon) {
        free(admin);
        return sf_err_set(err, -EIO, "the admin port does not start");
    }
    *ret = admin;
    return 0;
}

void
ds_admin_stop(struct ds_admin *admin)
{
    if (!admin)
        return;
    MHD_stop_daemon(admin->daemon);
    free(admin);
}
