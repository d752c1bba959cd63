/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_DAEMON_INTERNAL_H
#define SF_DAEMON_INTERNAL_H

#include "daemon/daemon.h"
#include "daemon/dirs.h"
#include "daemon/trouble.h"
#include "provider/settings.h"
#include "supabase/auth.h"

#include <limits.h>
#include <stdint.h>

/* Everything that one mount consists of. */
struct daemon {
    struct sf_config *cfg;
    char point[PATH_MAX];
    int64_t since_ns;
    struct sf_dirs dirs;
    struct sf_trouble_log trouble;
    struct sf_auth *auth;
    struct sf_http *http;
    struct sf_storage *storage;
    struct sf_cache *cache;
    struct sf_tables *tables; /* NULL = off, or they cannot be opened */
    char tables_trouble[240]; /* then why; "" = none */
    struct sf_provider_confs confs;
    struct sf_providers *providers; /* NULL = there are none, or their ids cannot be kept */
    char providers_trouble[240];    /* then why; "" = none */
    struct sf_writer *writer;
    struct sf_env *listings; /* of the tree, between mounts; NULL = it cannot be opened */
    struct sf_tree *tree;
    struct sf_convs *convs; /* NULL = chat=off, there are no providers, or they cannot be kept */
    struct sf_chat *chat;   /* likewise */
    char chat_trouble[240]; /* then why; "" = none */
    struct sf_virtual *virt;
    struct sf_fuse *fuse;
    struct sf_control *control;
    struct sf_control_cache *control_cache;
    struct sf_control_queue *control_queue;
    struct sf_finder *finder;
    struct sf_control_provider *control_provider;
    struct sf_control_chat *control_chat;
};

/* start.c: 0, or -1 with @o; then stop_free() what is there. */
int start_all(struct daemon *d, struct sf_key_choice *key, struct sf_outcome *o);

/* stop.c: unmount, finish what can be finished within stop_timeout. Returns how many files could
 * not be uploaded (they are in quarantine). */
unsigned stop_all(struct daemon *d);
/* Give everything back, in order; works for a start that went half-way. */
void stop_free(struct daemon *d);

/* status.c: the virtual files. 0 or -errno. */
int status_register(struct daemon *d);

/* serve.c: from now on a signal waits for serve(), and means an orderly stop. Called before
 * anything is mounted; what came before may just end the process. */
void hold_signals(void);
/* Until a signal or the end of the session says stop. */
void serve(struct daemon *d);

#endif
