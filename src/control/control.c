/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "control/words.h"
#include "virtual/virtual.h"

#define MAX_VERBS 32
#define THREADS   4
#define PATIENT   32 /* threads of those that take long */
#define QUEUE     64

struct verb {
    const char *name;
    sf_verb_fn fn;
    void *arg;
    bool patient;
};

struct sf_control {
    struct sf_pool *pool, *patient;
    size_t n;
    struct verb verbs[MAX_VERBS];
};

struct request {
    struct sf_control *control;
    struct sf_talk *talk;
    char line[];
};

static int
run(struct request *r, struct sf_err *err)
{
    char *words[SF_WORDS_MAX];
    const struct sf_control *c = r->control;
    int n = sf_words_split(r->line, words);
    if (n <= 0)
        return sf_err_set(err, n ? n : -EINVAL, "the request is not a line of words");
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->verbs[i].name, words[0]) == 0)
            return c->verbs[i].fn(c->verbs[i].arg, r->talk, n, words, err);
    return sf_err_set(err, -ENOSYS, "this mount knows no such request; is it of another version?");
}

static void
request_run(void *arg)
{
    struct request *r = arg;
    struct sf_err err = SF_ERR_INIT;
    int rc = run(r, &err);
    sf_talk_end(r->talk, rc, err.msg[0] ? err.msg : strerror(-rc));
    free(r);
}

/* A verb without arguments is the whole line. */
static struct sf_pool *
pool_for(const struct sf_control *c, const char *line)
{
    size_t len = strcspn(line, " ");
    for (size_t i = 0; i < c->n; i++)
        if (strlen(c->verbs[i].name) == len && memcmp(c->verbs[i].name, line, len) == 0)
            return c->verbs[i].patient ? c->patient : c->pool;
    return c->pool;
}

static void
request_start(void *arg, struct sf_talk *t, const char *line)
{
    struct sf_control *c = arg;
    size_t n = strlen(line) + 1;
    struct request *r = malloc(sizeof *r + n);
    int rc = r ? 0 : -ENOMEM;
    if (r) {
        r->control = c;
        r->talk = t;
        memcpy(r->line, line, n);
        rc = sf_pool_submit(pool_for(c, line), request_run, r);
    }
    if (rc) {
        free(r);
        sf_talk_end(t, rc, rc == -EAGAIN ? "too many requests at once" : strerror(-rc));
    }
}

int
sf_control_new(struct sf_virtual *v, struct sf_control **ret)
{
    struct sf_control *c = calloc(1, sizeof *c);
    int rc = c ? sf_pool_new("control", THREADS, QUEUE, &c->pool) : -ENOMEM;
    if (!rc)
        rc = sf_pool_new("control-wait", PATIENT, QUEUE, &c->patient);
    if (!rc)
        rc = sf_virtual_add_talk(v, "control", request_start, c);
    if (rc) {
        sf_control_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

static int
add(struct sf_control *c, const struct verb *v)
{
    if (c->n == MAX_VERBS)
        return -ENOSPC;
    c->verbs[c->n++] = *v;
    return 0;
}

int
sf_control_add(struct sf_control *c, const char *verb, sf_verb_fn fn, void *arg)
{
    return add(c, &(const struct verb){verb, fn, arg, false});
}

int
sf_control_add_patient(struct sf_control *c, const char *verb, sf_verb_fn fn, void *arg)
{
    return add(c, &(const struct verb){verb, fn, arg, true});
}

void
sf_control_free(struct sf_control *c)
{
    if (!c)
        return;
    sf_pool_free(c->pool);
    sf_pool_free(c->patient);
    free(c);
}
