/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/thread.h"
#include "cache/cache.h"
#include "config/config.h"
#include "control/cache.h"
#include "control/chat.h"
#include "control/find.h"
#include "control/provider.h"
#include "control/queue.h"
#include "daemon/chats.h"
#include "daemon/drain.h"
#include "daemon/systemd.h"
#include "fuse/session.h"
#include "http/http.h"
#include "observe/log.h"
#include "provider/want.h"
#include "store/env.h"
#include "supabase/storage.h"
#include "tables/tables.h"
#include "tree/tree.h"
#include "virtual/virtual.h"
#include "write/write.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define FREE_S   15
#define SAVE_S   2 /* for listings, at least */
#define TABLES_S 2 /* for what the project's tables lack, at most: the next mount sends it, too */
#define CHATS_S  5 /* the same for conversations */

/* For `supafs umount`, which can ask the daemon no more: how the last stop went. */
struct last_stop {
    unsigned failed, pending; /* files that are not uploaded; those of them that the journal has */
    unsigned left;            /* changes that it has */
    unsigned local;           /* attributes that cannot be written */
    uint64_t bytes;           /* of the changes */
    int64_t since_ns;         /* the oldest */
};

static void
leave_word(const struct daemon *d, const struct last_stop *w)
{
    char path[PATH_MAX + 32], text[PATH_MAX + 256];
    snprintf(path, sizeof path, "%s/last-stop", d->dirs.state);
    int n = snprintf(text, sizeof text,
                     "pid: %ld\nnot_uploaded: %u\npending: %u\nquarantine: %s/quarantine\n"
                     "left: %u\nleft_local: %u\nleft_bytes: %" PRIu64 "\nleft_since: %" PRId64 "\n",
                     (long)getpid(), w->failed, w->pending, d->dirs.state, w->left, w->local,
                     w->bytes, w->since_ns / 1000000000);
    struct sf_err err = SF_ERR_INIT;
    if (sf_write_file_atomic(path, text, (size_t)n, 0600, &err) < 0)
        sf_warn("daemon", "event=last-stop-not-written err=%s", err.msg);
}

unsigned
stop_all(struct daemon *d)
{
    int64_t deadline = sf_clock_ms() + sf_config_ms(d->cfg, SF_OPT_STOP_TIMEOUT);
    struct sf_drain_watch watch;
    struct sf_flush_now end;
    sf_systemd_notify("STOPPING=1\nSTATUS=finishing uploads");
    sf_dirs_stopping(&d->dirs, d->point);
    sf_drain_watch_start(&watch, d->writer, d->dirs.state, deadline);
    sf_fuse_stop(d->fuse);
    chats_stop(d, sf_clock_ms() + CHATS_S * 1000);
    sf_providers_stop(d->providers);
    struct sf_writer_stats before, after;
    sf_writer_stats(d->writer, &before);
    unsigned failed = sf_tree_drain(d->tree, deadline);
    unsigned left = sf_writer_drain(d->writer, deadline);
    sf_writer_left(d->writer, true, &end);
    sf_writer_stats(d->writer, &after);
    sf_drain_watch_end(&watch);
    int64_t least = sf_clock_ms() + SAVE_S * 1000;
    sf_tree_save(d->tree, deadline > least ? deadline : least);
    sf_tables_drain(d->tables, sf_clock_ms() + TABLES_S * 1000);
    unsigned aside = (unsigned)(after.quarantined - before.quarantined);
    unsigned pending = failed > aside ? failed - aside : 0;
    double age = after.pending_since_ns ? (double)(sf_wall_ns() - after.pending_since_ns) / 1e9 : 0;
    const struct last_stop word = {.failed = failed,
                                   .pending = pending,
                                   .left = end.left > pending ? end.left : pending,
                                   .local = end.local,
                                   .bytes = end.bytes,
                                   .since_ns = after.pending_since_ns};
    sf_info("daemon", "event=unmounted mountpoint=%s not_uploaded=%u changes_given_up=%u", d->point,
            failed, left);
    if (word.left)
        sf_warn("daemon",
                "event=changes-pending count=%u files=%u bytes=%" PRIu64
                " oldest_s=%.0f state_dir=%s text=%s",
                word.left, pending, end.bytes, age, d->dirs.state,
                "the journal has them, and the next mount sends them");
    if (failed > pending)
        sf_error("daemon", "event=files-not-uploaded count=%u quarantine=%s/quarantine text=%s",
                 failed - pending, d->dirs.state,
                 "each has a .json note beside it with its key and the reason");
    leave_word(d, &word);
    return failed;
}

/* What stop_free() is busy with, for the one who has to end it by force. */
static const char *_Atomic stage;

/* All uploads have ended or been given up by now; what is left is to give memory back. Should that
 * ever hang, the locks on the directories must not stay held. */
static void *
watch_end(void *arg)
{
    (void)arg;
    sleep(FREE_S);
    sf_error("daemon", "event=stop-hangs stage=%s text=%s", atomic_load(&stage),
             "please report this; nothing that was written is lost by it");
    _exit(SF_EXIT_FAILED);
}

void
stop_free(struct daemon *d)
{
    atomic_store(&stage, "http");
    (void)!sf_thread_start("stop-watch", watch_end, NULL, NULL);
    /* Requests end first, so that nothing below is waiting when it goes. */
    chats_stop(d, 0);
    sf_providers_stop(d->providers);
    if (d->http)
        sf_http_close(d->http);
    if (d->cache)
        sf_cache_stop(d->cache);
    atomic_store(&stage, "fuse");
    sf_fuse_free(d->fuse);
    sf_control_free(d->control);
    sf_control_cache_free(d->control_cache);
    sf_control_queue_free(d->control_queue);
    sf_control_provider_free(d->control_provider);
    sf_control_chat_free(d->control_chat);
    sf_finder_free(d->finder);
    chats_free(d);
    sf_virtual_free(d->virt);
    atomic_store(&stage, "tree");
    sf_tree_free(d->tree);
    sf_env_close(d->listings);
    atomic_store(&stage, "providers");
    sf_providers_free(d->providers);
    sf_provider_confs_fini(&d->confs);
    atomic_store(&stage, "writer");
    sf_writer_free(d->writer);
    atomic_store(&stage, "tables");
    sf_tables_free(d->tables);
    atomic_store(&stage, "cache");
    sf_cache_free(d->cache);
    atomic_store(&stage, "http-thread");
    sf_http_free(d->http);
    if (d->storage)
        sf_storage_free(d->storage);
    if (d->auth)
        sf_auth_free(d->auth);
    sf_dirs_release(&d->dirs);
}
