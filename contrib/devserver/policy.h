/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_POLICY_H
#define DS_POLICY_H

#include <jansson.h>
#include <stdbool.h>

#include "auth.h"
#include "base/err.h"
#include "db.h"

/*
 * Row level security as a project's policies make it: rules that allow a role something on the
 * objects of a bucket, or of a prefix in it. What no rule allows is denied; the service role needs
 * none. contrib/devserver/README.md describes the rules. Thread-safe.
 */
struct ds_policies;

/* Commands of the database that a policy allows. */
enum ds_right {
    DS_SELECT = 1,
    DS_INSERT = 2,
    DS_UPDATE = 4,
    DS_DELETE = 8,
    DS_SEE_BUCKET = 16, /* SELECT on the bucket's own row */
};

struct ds_policies *ds_policies_new(void);
void ds_policies_free(struct ds_policies *policies);

/* Replace all rules, or add to them: an array or one object. On a bad rule nothing changes. */
int ds_policies_set(struct ds_policies *policies, const json_t *json, bool keep,
                    struct sf_err *err);

/* The rules as a new array. */
json_t *ds_policies_to_json(struct ds_policies *policies);

/* Whether each of these rights is allowed by a rule. @key NULL: of the bucket's row. */
bool ds_policies_allow(struct ds_policies *policies, enum ds_role role, const char *bucket,
                       const char *key, unsigned rights);

struct ds_request;

/**
 * ds_may - what the caller of a request may do with one object, by his role and the policies.
 * @rights: several of enum ds_right: all of them.
 *
 * Where a right is missing, the answer is the caller's: without SELECT an object is not there, and
 * so on. Call ds_require_auth() first.
 */
bool ds_may(const struct ds_request *req, const char *bucket, const char *key, unsigned rights);

/* What a listing of the request's bucket shows; borrows the request. */
struct ds_sight ds_sight(const struct ds_request *req);

/**
 * ds_may_write - what the service's trial insert of a row finds out, before any byte comes.
 *
 * Returns 0; -EACCES the policies deny it (INSERT; with @upsert also SELECT, and UPDATE when the
 * object is there); -EEXIST it is there and @upsert is not set; another negative errno when the
 * database fails.
 */
int ds_may_write(const struct ds_request *req, const char *bucket, const char *key, bool upsert);

#endif
