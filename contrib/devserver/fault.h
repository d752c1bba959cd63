/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_FAULT_H
#define DS_FAULT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Rules that make the server misbehave on purpose; contrib/devserver/README.md describes them. */
struct ds_faults;

enum ds_lie {
    DS_LIE_RANGE = 1,  /* the total in Content-Range */
    DS_LIE_LENGTH = 2, /* Content-Length of an object's bytes */
    DS_LIE_LIST = 4,   /* sizes in listings and info */
};

/* What is to go wrong with one request: all rules that fired, put together. */
struct ds_fault_plan {
    bool any;
    bool reset_before;
    bool reset_after;
    bool expired;
    int64_t delay_ms;
    int status;       /* 0 = no error answer */
    int status_after; /* 0 = no; after the work is done */
    json_t *body;
    json_t *headers;
    bool duplicate;
    int64_t duplicate_ms;
    int64_t reset_at;    /* -1 = no; bytes of the request's body that are still taken */
    int64_t truncate_at; /* -1 = no */
    int64_t cut_at;      /* -1 = no; the announced length is cut, too */
    int64_t slow_bytes;  /* 0 = no; so many bytes of the body at a time, */
    int64_t slow_ms;     /* each after so long */
    bool range_ignored;
    int64_t range_shift; /* bytes from so far behind what was asked for */
    bool omit;
    bool anon;
    json_t *garbage; /* text; NULL = no */
    int64_t hang_at; /* -1 = no; bytes of the body that still go out */
    bool hang_headers;
    uint64_t hang_rule;
    unsigned lies; /* enum ds_lie */
    int64_t size_delta;
    char etag[128]; /* "" = true one */
};

#define DS_FAULT_PLAN_NONE                                                                         \
    ((struct ds_fault_plan){.reset_at = -1, .truncate_at = -1, .cut_at = -1, .hang_at = -1})

void ds_fault_plan_fini(struct ds_fault_plan *plan);

struct ds_faults *ds_faults_new(void);
void ds_faults_free(struct ds_faults *faults);

/* Count this request against the rules and say which of them fire. @path is decoded. */
void ds_faults_pick(struct ds_faults *faults, const char *method, const char *path,
                    struct ds_fault_plan *plan);

/* Whether a rule is still there: a hanging reply asks. */
bool ds_faults_alive(struct ds_faults *faults, uint64_t rule);

/* Replace all rules, or add to them: an array or one object. On a bad rule nothing changes. */
int ds_faults_set(struct ds_faults *faults, const json_t *json, bool keep, struct sf_err *err);

/* The rules with their counts, as a new array. */
json_t *ds_faults_to_json(struct ds_faults *faults);

#endif
