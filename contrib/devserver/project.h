/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_PROJECT_H
#define DS_PROJECT_H

#include "base/err.h"
#include "db.h"
#include "provider-site.h"

/* The project in DIR: its lock, its keys, its ports. */
struct ds_project {
    char *dir;
    int dir_fd;
    int lock_fd;
    int api_socket; /* listening; given to the HTTP server */
    int admin_socket;
    char *url; /* of the project, without /storage/v1 */
    char *admin_url;
    char *jwt_secret;
    char *anon_key;
    char *service_key;
    char *publishable_key;
    char *secret_key;
    char *s3_key_id; /* of the S3 protocol */
    char *s3_secret;
    char *provider_keys[DS_PROVIDER_SITES];
    bool unclean; /* the last run did not end in order */
};

/* The project's reference: the access key id of S3 sessions. */
#define DS_PROJECT_REF "supafs-devserver"

/* The region of the project, and of its signatures. */
#define DS_PROJECT_REGION "us-east-1"

/* Creates DIR when it is missing and locks it: -EBUSY when another server has it. */
int ds_project_open(const char *dir, struct ds_project **ret, struct sf_err *err);

/* Loads the keys, or makes them the first time. */
int ds_project_load_keys(struct ds_project *project, struct ds_db *db, struct sf_err *err);

/* Opens both listening sockets, at the ports of the last run when @port is 0. */
int ds_project_listen(struct ds_project *project, struct ds_db *db, const char *host, int port,
                      struct sf_err *err);

/* Writes DIR/project.env, readable by the owner only. */
int ds_project_write_env(const struct ds_project *project, struct sf_err *err);

/* Ends the run in order and frees all. */
void ds_project_close(struct ds_project *project);

#endif
