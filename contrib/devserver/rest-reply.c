/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "db-internal.h"
#include "reply.h"

static void
add_text_or_null(struct ds_buf *out, const char *name, const char *text)
{
    ds_buf_addf(out, "\"%s\":", name);
    ds_buf_add_json(out, text);
}

void
ds_rest_error(struct ds_request *req, int status, const char *code, const char *details,
              const char *hint, const char *message)
{
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "{");
    add_text_or_null(&out, "code", code);
    ds_buf_adds(&out, ",");
    add_text_or_null(&out, "details", details);
    ds_buf_adds(&out, ",");
    add_text_or_null(&out, "hint", hint);
    ds_buf_adds(&out, ",");
    add_text_or_null(&out, "message", message);
    ds_buf_adds(&out, "}");
    ds_reply_text(req, status, DS_REST_TYPE, out.data ? out.data : "");
}

/* PostgREST's statuses; the longest start that fits counts. */
static int
status_of(const char *sqlstate)
{
    static const struct {
        const char *start;
        int status;
    } statuses[] = {
        {"23503", 409}, {"23505", 409}, {"25006", 405}, {"42883", 404}, {"42P01", 404},
        {"42501", 403}, {"53", 503},    {"54", 413},    {"57", 500},    {"PGRST002", 503},
    };
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (strncmp(statuses[i].start, sqlstate, strlen(statuses[i].start)) == 0)
            return statuses[i].status;
    return 400;
}

bool
ds_rest_fail(struct ds_rest *rest, const char *sqlstate, const char *details, const char *hint,
             const char *fmt, ...)
{
    sf_autofree char *message = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&message, fmt, args) < 0)
        message = NULL;
    va_end(args);
    /* Without a token it is one that is missing. */
    bool anon = strcmp(sqlstate, "42501") == 0 && rest->req->who.role == DS_ROLE_ANON;
    ds_rest_error(rest->req, anon ? 401 : status_of(sqlstate), sqlstate, details, hint, message);
    if (anon)
        ds_reply_header(rest->req, "www-authenticate", "Bearer");
    snprintf(rest->message, sizeof rest->message, "%s", message ? message : "");
    snprintf(rest->sqlstate, sizeof rest->sqlstate, "%.5s", sqlstate);
    return false;
}

bool
ds_rest_unparsed(struct ds_rest *rest, const char *what, const char *text, size_t column,
                 const char *fmt, ...)
{
    sf_autofree char *details = NULL, *message = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&details, fmt, args) < 0)
        details = NULL;
    va_end(args);
    if (asprintf(&message, "\"failed to parse %s (%s)\" (line 1, column %zu)", what, text, column) <
        0)
        message = NULL;
    ds_rest_error(rest->req, 400, "PGRST100", details, NULL, message);
    return false;
}

bool
ds_rest_absent(struct ds_rest *rest, const char *what)
{
    sf_autofree char *message = NULL;
    if (asprintf(&message, "%s: not in supafs-devserver", what) < 0)
        message = NULL;
    ds_reply_error(rest->req, 501, "501", "Not Implemented", message ? message : "",
                   "NotImplemented");
    return false;
}

bool
ds_rest_broken(struct ds_rest *rest)
{
    fprintf(stderr, "supafs-devserver: database: %s\n", sqlite3_errmsg(rest->sqlite));
    ds_rest_error(rest->req, 500, "XX000", NULL, NULL, "internal error");
    return false;
}

void
ds_rest_forgive(struct ds_rest *rest)
{
    ds_reply_fini(&rest->req->reply);
    rest->sqlstate[0] = '\0';
}

/* ---- who asks ---- */

static void
token_error(struct ds_request *req, const char *problem)
{
    static const struct {
        const char *problem, *message;
    } texts[] = {
        {"\"exp\" claim timestamp check failed", "JWT expired"},
        {"\"nbf\" claim timestamp check failed", "JWTNotYetValid"},
        {"Invalid Compact JWS", "JWSError (CompactDecodeError Invalid number of parts: Expected 3 "
                                "parts; got 1)"},
    };
    const char *message = "JWSError JWSInvalidSignature";
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(texts[i].problem, problem) == 0)
            message = texts[i].message;
    ds_rest_error(req, 401, "PGRST301", NULL, NULL, message);
    ds_autobuf header = DS_BUF_INIT;
    ds_buf_addf(&header, "Bearer error=\"invalid_token\", error_description=\"%s\"", message);
    ds_reply_header(req, "www-authenticate", header.data ? header.data : "");
}

/* The gateway wants an apikey; PostgREST then looks at the token, and takes none for anon. */
bool
ds_rest_identify(struct ds_request *req)
{
    const char *problem = NULL;
    int rc = 0;
    if (!ds_request_header(req, "apikey"))
        ds_reply_text(req, 401, "application/json",
                      "{\"message\":\"No API key found in request\",\"hint\":\"No `apikey` "
                      "request header or url param was found.\"}");
    else
        rc = ds_identify(req, &problem);
    if (rc == -EACCES)
        token_error(req, problem);
    else if (rc < 0 && rc != -ENOKEY && rc != -EKEYREJECTED)
        ds_fail_errno(req, rc, "check the token");
    else if (req->reply.status == 0 && req->who.role == DS_ROLE_UNKNOWN)
        ds_rest_error(req, 400, "22023", NULL, NULL, "role \"unknown\" does not exist");
    return req->reply.status == 0;
}

void
ds_rest_begin(struct ds_rest *rest, struct ds_request *req)
{
    *rest = (struct ds_rest){
        .req = req,
        .db = req->server->db,
        .sqlite = req->server->db->sqlite,
        .own = req->who.role != DS_ROLE_SERVICE,
        .sub = req->who.sub[0] ? req->who.sub : NULL,
    };
    ds_db_begin(rest->db);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    /* The server's clock may be ahead; only it knows how much. */
    int64_t ms = ds_now_ms();
    rest->now_us = ms * 1000 + now.tv_nsec / 1000 % 1000;
}

void
ds_rest_end(struct ds_rest *rest)
{
    if (rest->req->reply.status >= 400) {
        sqlite3_stmt *stmt = ds_db_stmt_locked(rest->db, DS_STMT_ROLLBACK);
        if (stmt)
            ds_db_run_locked(rest->db, stmt);
        pthread_mutex_unlock(&rest->db->lock);
    } else if (ds_db_commit(rest->db) < 0) {
        ds_fail_errno(rest->req, -EIO, "commit");
    }
}

bool
ds_rest_loading(struct ds_request *req)
{
    if (atomic_load(&req->server->pace->tables) != DS_TABLES_LOADING)
        return false;
    ds_rest_error(req, 503, "PGRST002", NULL, NULL,
                  "Could not query the database for the schema cache. Retrying.");
    return true;
}

bool
ds_rest_may(struct ds_rest *rest, const char *kind, const char *name)
{
    int state = atomic_load(&rest->req->server->pace->tables);
    if (state == DS_TABLES_DENIED || rest->req->who.role == DS_ROLE_ANON ||
        rest->req->who.role == DS_ROLE_NONE)
        return ds_rest_fail(rest, "42501", NULL, NULL, "permission denied for %s %s", kind, name);
    return true;
}
