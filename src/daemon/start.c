/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/internal.h"

#include "base/clock.h"
#include "cache/cache.h"
#include "cache/tables.h"
#include "chat/chat.h"
#include "config/config.h"
#include "config/keys.h"
#include "control/cache.h"
#include "control/chat.h"
#include "control/find.h"
#include "control/provider.h"
#include "control/queue.h"
#include "daemon/chats.h"
#include "daemon/place.h"
#include "daemon/providers.h"
#include "fuse/session.h"
#include "http/http.h"
#include "observe/log.h"
#include "store/env.h"
#include "supabase/storage.h"
#include "tables/tables.h"
#include "tree/tree.h"
#include "virtual/virtual.h"
#include "write/write.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A start waits no longer than this for what it can do without. */
#define LIMIT_MS 3000
/* Bytes of listings that are kept between mounts: of some three million objects. */
#define LISTINGS_MAX (UINT64_C(256) << 20)

static int
failed(struct sf_outcome *o, enum sf_exit exit, const struct sf_err *err)
{
    return sf_outcome_fail(o, exit, "%s", err->msg);
}

static int
start_auth(struct daemon *d, struct sf_key_choice *key, struct sf_outcome *o)
{
    struct sf_err err = SF_ERR_INIT;
    const struct sf_auth_source src = {.kind = key->from_file ? SF_AUTH_FILE : SF_AUTH_VALUE,
                                       .value = key->value,
                                       .variable = key->variable,
                                       .label = key->label,
                                       .apikey = key->apikey};
    int rc = sf_auth_new(&src, &d->auth, &err);
    if (rc == -EINVAL)
        return failed(o, SF_EXIT_KEY_WRONG, &err);
    if (rc == -EACCES)
        return failed(o, SF_EXIT_KEY_EXPOSED, &err);
    if (rc < 0)
        return failed(o, sf_exit_of_config(&err), &err);
    sf_outcome_say(o, "%s", key->sentence);
    return 0;
}

static int
start_cache(struct daemon *d, struct sf_outcome *o)
{
    const struct sf_config *c = d->cfg;
    struct sf_err err = SF_ERR_INIT;
    uint64_t disk = sf_config_u64(c, SF_OPT_CACHE_SIZE);
    const struct sf_cache_opts opts = {
        .dir = disk ? d->dirs.cache : NULL,
        .max_bytes = disk,
        .min_free = sf_config_u64(c, SF_OPT_CACHE_MIN_FREE),
        .max_age_ms = sf_config_ms(c, SF_OPT_CACHE_AGE),
        .memory =
            sf_config_is_set(c, SF_OPT_CACHE_MEMORY) ? sf_config_u64(c, SF_OPT_CACHE_MEMORY) : 0,
        .miss_max = sf_config_u64(c, SF_OPT_MISS_MAX),
        .max_fetches = (unsigned)sf_config_u64(c, SF_OPT_CONNECTIONS),
        .fetch = sf_tree_fetch,
        .cancel = sf_tree_fetch_cancel,
        .drop = sf_tree_drop,
        .arg = d->storage};
    int rc = sf_cache_new(&opts, &d->cache, &err);
    return rc < 0 ? failed(o, SF_EXIT_FAILED, &err) : 0;
}

/* Nothing of a mount depends on them. */
static void
start_tables(struct daemon *d)
{
    struct sf_err err = SF_ERR_INIT;
    const struct sf_tables_opts opts = {.state_dir = d->dirs.state,
                                        .max_bytes = sf_config_u64(d->cfg, SF_OPT_TABLES_QUEUE)};
    if (!strcmp(sf_config_str(d->cfg, SF_OPT_TABLES), "off"))
        return;
    if (sf_tables_new(&opts, d->storage, &d->tables, &err) < 0) {
        snprintf(d->tables_trouble, sizeof d->tables_trouble, "%s", err.msg);
        sf_warn("daemon", "event=tables-not-opened err=%s", err.msg);
    }
}

static int
start_service(struct daemon *d, struct sf_outcome *o)
{
    const struct sf_config *c = d->cfg;
    struct sf_err err = SF_ERR_INIT;
    const struct sf_http_opts http = {
        .max_connections = (unsigned)sf_config_u64(c, SF_OPT_CONNECTIONS),
        .max_queue = (unsigned)sf_config_u64(c, SF_OPT_MAX_PARKED),
        .connect_ms = (unsigned)sf_config_ms(c, SF_OPT_CONNECT_TIMEOUT),
        .ca_file = sf_config_str(c, SF_OPT_CA_FILE),
        .insecure = sf_config_bool(c, SF_OPT_INSECURE)};
    int rc = sf_http_new(&http, &d->http, &err);
    if (rc < 0)
        return failed(o, rc == -ENOENT || rc == -EACCES ? SF_EXIT_USAGE : SF_EXIT_FAILED, &err);
    rc = sf_storage_new(d->http, d->auth, sf_config_str(c, SF_OPT_URL), &d->storage, &err);
    if (rc < 0)
        return failed(o, rc == -ENOMEM ? SF_EXIT_FAILED : SF_EXIT_USAGE, &err);

    sf_storage_on_trouble(d->storage, sf_trouble_add, &d->trouble);
    if (start_cache(d, o) < 0)
        return -1;
    start_tables(d);
    providers_open(d);

    const struct sf_writer_opts writer = {.state_dir = d->dirs.state,
                                          .workers =
                                              (unsigned)sf_config_u64(c, SF_OPT_UPLOAD_WORKERS),
                                          .timeout_ms = sf_config_ms(c, SF_OPT_WRITE_TIMEOUT),
                                          .cache = d->cache,
                                          .tables = d->tables,
                                          .keep_open_max = sf_config_u64(c, SF_OPT_KEEP_OPEN_MAX),
                                          .standard_limit = sf_config_u64(c, SF_OPT_STANDARD_LIMIT),
                                          .attr_copy_max = sf_config_u64(c, SF_OPT_ATTR_COPY_MAX),
                                          .behind_files = sf_config_u64(c, SF_OPT_WRITEBACK_FILES),
                                          .behind_bytes = sf_config_u64(c, SF_OPT_WRITEBACK_BYTES),
                                          .behind_age_ms = sf_config_ms(c, SF_OPT_WRITEBACK_AGE),
                                          .plain = !strcmp(sf_config_str(c, SF_OPT_ATTRS), "none")};
    rc = sf_writer_new(&writer, d->storage, &d->writer, &err);
    if (rc < 0)
        return failed(o, rc == -EINVAL ? SF_EXIT_USAGE : SF_EXIT_FAILED, &err);
    return 0;
}

/* What is known of the project is kept for the next mount, beside the bytes of objects. Without it
 * that mount begins with nothing. */
static void
open_listings(struct daemon *d)
{
    static const char *const tables[] = {"listings"};
    char dir[PATH_MAX + 16];
    struct sf_err err = SF_ERR_INIT;
    snprintf(dir, sizeof dir, "%s/listings", d->dirs.cache);
    const struct sf_env_opts opts = {.dir = dir,
                                     .name = "listings",
                                     .tables = tables,
                                     .n_tables = 1,
                                     .max_bytes = 2 * LISTINGS_MAX,
                                     .throw_away = true};
    if (sf_env_open(&opts, &d->listings, &err) < 0)
        sf_warn("daemon", "event=listings-not-kept err=%s", err.msg);
}

static int
start_tree(struct daemon *d, struct sf_outcome *o)
{
    const struct sf_config *c = d->cfg;
    struct sf_err err = SF_ERR_INIT;
    open_listings(d);
    const struct sf_tree_opts tree = {.bucket = sf_config_str(c, SF_OPT_BUCKET),
                                      .prefix = sf_config_str(c, SF_OPT_PREFIX),
                                      .read_only = sf_config_bool(c, SF_OPT_RO),
                                      .behind = !strcmp(sf_config_str(c, SF_OPT_SYNC), "writeback"),
                                      .predict = sf_config_bool(c, SF_OPT_PREDICT),
                                      .followed_env = sf_cache_env(d->cache),
                                      .followed_table = SF_TABLE_FOLLOWED,
                                      .exclusive_open =
                                          !strcmp(sf_config_str(c, SF_OPT_EXCLUSIVE), "open"),
                                      .uid = (uid_t)sf_config_u64(c, SF_OPT_UID),
                                      .gid = (gid_t)sf_config_u64(c, SF_OPT_GID),
                                      .umask = (mode_t)sf_config_u64(c, SF_OPT_UMASK),
                                      .attr_ttl_ms = sf_config_ms(c, SF_OPT_ATTR_TTL),
                                      .read_timeout_ms = sf_config_ms(c, SF_OPT_READ_TIMEOUT),
                                      .write_timeout_ms = sf_config_ms(c, SF_OPT_WRITE_TIMEOUT),
                                      .plain = !strcmp(sf_config_str(c, SF_OPT_ATTRS), "none"),
                                      .max_nodes = sf_config_u64(c, SF_OPT_MAX_NODES),
                                      .cache = d->cache,
                                      .tables = d->tables,
                                      .providers = d->providers,
                                      .saved_env = d->listings,
                                      .saved_bytes = LISTINGS_MAX,
                                      .saved_dir = d->dirs.cache};
    int rc = sf_tree_new(&tree, d->http, d->storage, d->writer, &d->tree, &err);
    return rc < 0 ? failed(o, SF_EXIT_FAILED, &err) : 0;
}

/* The first question to the project, and what its answer means for a start: 0, 1 it does not answer
 * but is known, -1 with @o. */
static int
probe(struct daemon *d, struct sf_outcome *o)
{
    const char *url = sf_config_str(d->cfg, SF_OPT_URL);
    const char *bucket = sf_config_str(d->cfg, SF_OPT_BUCKET);
    const char *label = sf_auth_label(d->auth);
    bool service = !strcmp(sf_auth_role(d->auth), "service_role");
    struct sf_err err = SF_ERR_INIT;
    int64_t deadline = sf_clock_ms() + sf_config_ms(d->cfg, SF_OPT_CONNECT_TIMEOUT);
    int rc = sf_tree_start(d->tree, deadline, &err);
    if (rc == 0)
        return 0;
    if (rc == 1) {
        sf_warn("daemon", "event=offline-start err=%s", err.msg);
        sf_outcome_say(o,
                       "warning: cannot reach the project %s (%s); mounted with what is known of "
                       "it from before, until it answers",
                       url, err.msg);
        return 1;
    }
    sf_warn("daemon", "event=first-request-failed err=%s", err.msg);
    if (rc == -EKEYEXPIRED)
        return sf_outcome_fail(o, SF_EXIT_KEY_EXPIRED,
                               "the key (%s) has expired; put a new one in its place, from the "
                               "project's settings",
                               label);
    if (rc == -EKEYREJECTED || rc == -EACCES || rc == -EPERM)
        return sf_outcome_fail(o, SF_EXIT_KEY_WRONG,
                               "%s does not accept the key (%s); take one from this project's "
                               "settings",
                               url, label);
    if (rc == -ENOENT && bucket && service)
        return sf_outcome_fail(o, SF_EXIT_NO_BUCKET,
                               "%s has no bucket %s; `supafs mount` without -o bucket= shows those "
                               "it has",
                               url, bucket);
    if (rc == -ENOENT && bucket) {
        sf_outcome_say(o,
                       "warning: the bucket %s does not exist, or this key (role %s) may not see "
                       "it; mounted all the same",
                       bucket, sf_auth_role(d->auth));
        return 0;
    }
    if (rc == -ENOMEM)
        return failed(o, SF_EXIT_FAILED, &err);
    return sf_outcome_fail(o, SF_EXIT_UNREACHABLE,
                           "cannot reach the project %s (%s); check the URL and the network", url,
                           err.msg);
}

/* What the project says of the largest object, so that what is larger fails before it is sent. */
static void
ask_limit(struct daemon *d)
{
    struct sf_err err = SF_ERR_INIT;
    int64_t patience = sf_config_ms(d->cfg, SF_OPT_CONNECT_TIMEOUT);
    uint64_t limit = 0;
    if (sf_config_bool(d->cfg, SF_OPT_RO))
        return;
    if (patience > LIMIT_MS)
        patience = LIMIT_MS;
    /* A failure is in the log, and a 413 will tell the limit, too. */
    if (sf_storage_global_limit_wait(d->storage, sf_clock_ms() + patience, &limit, &err) == 0)
        sf_writer_set_global_limit(d->writer, limit);
}

static int
start_fuse(struct daemon *d, struct sf_outcome *o)
{
    const struct sf_config *c = d->cfg;
    struct sf_err err = SF_ERR_INIT;
    const struct sf_fuse_opts opts = {.mountpoint = d->point,
                                      .fsname = sf_config_str(c, SF_OPT_URL),
                                      .kernel_options = sf_config_kernel_options(c),
                                      .read_only = sf_config_bool(c, SF_OPT_RO),
                                      .allow_other = sf_config_bool(c, SF_OPT_ALLOW_OTHER),
                                      .default_permissions =
                                          sf_config_bool(c, SF_OPT_DEFAULT_PERMISSIONS),
                                      .owner = geteuid(),
                                      .chat = d->chat,
                                      .max_parked = (unsigned)sf_config_u64(c, SF_OPT_MAX_PARKED),
                                      .readahead = sf_config_u64(c, SF_OPT_KERNEL_READAHEAD),
                                      .read_timeout_ms = sf_config_ms(c, SF_OPT_READ_TIMEOUT),
                                      .write_timeout_ms = sf_config_ms(c, SF_OPT_WRITE_TIMEOUT)};
    const struct sf_finder_opts finder = {.tree = d->tree,
                                          .storage = d->storage,
                                          .tables = d->tables,
                                          .whole_project = !sf_config_str(c, SF_OPT_BUCKET),
                                          .timeout_ms = sf_config_ms(c, SF_OPT_READ_TIMEOUT)};
    const struct sf_control_provider_opts provider = {.tree = d->tree,
                                                      .storage = d->storage,
                                                      .writer = d->writer,
                                                      .providers = d->providers,
                                                      .timeout_ms =
                                                          sf_config_ms(c, SF_OPT_READ_TIMEOUT)};
    if (sf_virtual_new(geteuid(), getegid(), &d->virt) < 0 || status_register(d) < 0 ||
        sf_control_new(d->virt, &d->control) < 0 ||
        sf_control_cache_new(d->control, d->tree, d->cache, &d->control_cache) < 0 ||
        sf_control_queue_new(d->control, d->writer, d->tree, d->dirs.state, &d->control_queue) <
            0 ||
        sf_finder_new(d->control, &finder, &d->finder) < 0 ||
        sf_control_provider_new(d->control, &provider, &d->control_provider) < 0 ||
        sf_control_chat_new(d->control, d->tree, d->chat, &d->control_chat) < 0 ||
        (d->chat && sf_virtual_add_dir(d->virt, "chats", SF_CHAT_DIR) < 0))
        return sf_outcome_fail(o, SF_EXIT_FAILED, "out of memory");
    int rc = sf_fuse_new(&opts, d->tree, d->virt, d->http, &d->fuse, &err);
    if (rc < 0)
        return failed(o, rc == -EINVAL ? SF_EXIT_USAGE : SF_EXIT_FAILED, &err);
    rc = sf_fuse_mount(d->fuse, &err);
    if (rc < 0)
        return failed(o, SF_EXIT_NO_FUSE, &err);
    return 0;
}

int
start_all(struct daemon *d, struct sf_key_choice *key, struct sf_outcome *o)
{
    char subject[128];
    if (start_auth(d, key, o) < 0 || providers_read(d, o) < 0 || chats_check(d, o) < 0)
        return -1;
    sf_config_wipe_keys(d->cfg);
    sf_auth_subject(d->auth, subject, sizeof subject);
    sf_key_choice_fini(key);
    if (sf_dirs_hold(&d->dirs, d->cfg, sf_auth_role(d->auth), subject, d->point, o) < 0)
        return -1;
    if (start_service(d, o) < 0 || start_tree(d, o) < 0)
        return -1;
    int there = probe(d, o);
    if (there < 0)
        return -1;
    if (there == 0)
        ask_limit(d);
    chats_open(d);
    hold_signals();
    if (start_fuse(d, o) < 0)
        return -1;
    sf_info("daemon", "event=mounted mountpoint=%s project=%s role=%s pid=%ld", d->point,
            sf_config_str(d->cfg, SF_OPT_URL), sf_auth_role(d->auth), (long)getpid());
    return 0;
}
