/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_SERVER_H
#define DS_SERVER_H

#include "auth.h"
#include "db.h"
#include "fault.h"
#include "pace.h"
#include "policy.h"
#include "project.h"
#include "repeat.h"
#include "reqlog.h"
#include "store.h"
#include "tus.h"

struct ds_providers;

/* Everything the request threads share. Set up before the first request, torn down after the last.
 */
struct ds_server {
    struct ds_project *project;
    struct ds_db *db;
    struct ds_store *store;
    struct ds_tus *tus;
    struct ds_auth *auth;
    struct ds_pace *pace;
    struct ds_policies *policies;
    struct ds_faults *faults;
    struct ds_log *log;
    struct ds_repeats *repeats;
    struct ds_providers *providers;
};

#endif
