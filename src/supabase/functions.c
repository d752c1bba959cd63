/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/functions.h"

#include <errno.h>

#include "base/clock.h"
#include "observe/log.h"
#include "supabase/rest.h"

#define REST_MS 10000 /* after a failure that may pass */

static const char *const names[] = {
    [SF_FUNCTIONS_WAITING] = "waiting",         [SF_FUNCTIONS_ON] = "on",
    [SF_FUNCTIONS_MISSING] = "missing",         [SF_FUNCTIONS_DENIED] = "denied",
    [SF_FUNCTIONS_UNREACHABLE] = "unreachable",
};

static int
call_project(void *arg, const char *function, json_t *args, int64_t deadline_ms, json_t **answer,
             struct sf_err *err)
{
    const struct sf_rest_how how = {.deadline_ms = deadline_ms, .repeatable = true};
    return sf_rest_rpc_wait(arg, function, args, &how, answer, err);
}

void
sf_functions_init(struct sf_functions *f, struct sf_storage *st,
                  const struct sf_functions_peer *peer, const struct sf_functions_how *how)
{
    *f = (struct sf_functions){
        .how = how,
        .peer = peer ? *peer : (struct sf_functions_peer){.call = call_project, .arg = st}};
    sf_mutex_init(&f->lock, 0);
}

void
sf_functions_fini(struct sf_functions *f)
{
    sf_mutex_fini(&f->lock);
}

const char *
sf_functions_state(struct sf_functions *f)
{
    SF_GUARD(&f->lock);
    return names[f->state];
}

/* 0, or what it is answered while they rest. */
static int
rests(struct sf_functions *f)
{
    SF_GUARD(&f->lock);
    if (sf_clock_ms() >= f->rest_until_ms)
        return 0;
    return f->state == SF_FUNCTIONS_MISSING ? -ENOSYS : -EAGAIN;
}

static enum sf_functions_state
state_of(const struct sf_functions *f, int rc)
{
    if (!rc || f->how->is_answer(rc))
        return SF_FUNCTIONS_ON;
    switch (rc) {
    case -ENOSYS:
        return SF_FUNCTIONS_MISSING;
    case -EACCES:
    case -EPERM:
    case -EKEYREJECTED:
    case -EKEYEXPIRED:
        return SF_FUNCTIONS_DENIED;
    default:
        return SF_FUNCTIONS_UNREACHABLE;
    }
}

static void
note_state(struct sf_functions *f, int rc, const struct sf_err *err)
{
    enum sf_functions_state is = state_of(f, rc);
    int64_t rest_ms = is == SF_FUNCTIONS_UNREACHABLE ? REST_MS : f->how->rest_ms;
    bool other;
    {
        SF_GUARD(&f->lock);
        other = f->state != is;
        f->state = is;
        f->rest_until_ms = is == SF_FUNCTIONS_ON ? 0 : sf_clock_ms() + rest_ms;
    }
    if (other && is != SF_FUNCTIONS_ON)
        sf_warn(f->how->module, "event=%s state=%s reason=%s", f->how->event, names[is], err->msg);
}

int
sf_functions_ask(struct sf_functions *f, const char *function, json_t *args, int64_t deadline_ms,
                 json_t **answer)
{
    struct sf_err err = SF_ERR_INIT;
    int rc = rests(f);
    if (rc) {
        json_decref(args);
        return rc;
    }
    rc = f->peer.call(f->peer.arg, function, args, deadline_ms, answer, &err);
    if (rc != -ECANCELED && rc != -ENOMEM)
        note_state(f, rc, &err);
    return rc;
}

int
sf_functions_odd(struct sf_functions *f, const char *function)
{
    struct sf_err err = SF_ERR_INIT;
    int rc = sf_err_set(&err, -EPROTO, "%s() of the database answers something else", function);
    note_state(f, rc, &err);
    return rc;
}
