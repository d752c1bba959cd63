/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "config/config.h"
#include "daemon/systemd.h"
#include "fuse/session.h"
#include "http/http.h"
#include "observe/log.h"
#include "supabase/storage.h"
#include "tree/tree.h"
#include "virtual/virtual.h"
#include "write/write.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* For `supafs umount`, which can ask the daemon no more: how the last stop went. */
static void
leave_word(const struct daemon *d, unsigned failed)
{
    char path[PATH_MAX + 32], text[PATH_MAX + 128];
    snprintf(path, sizeof path, "%s/last-stop", d->dirs.state);
    int n = snprintf(text, sizeof text, "pid: %ld\nnot_uploaded: %u\nquarantine: %s/quarantine\n",
                     (long)getpid(), failed, d->dirs.state);
    struct sf_err err = SF_ERR_INIT;
    if (sf_write_file_atomic(path, text, (size_t)n, 0600, &err) < 0)
        sf_warn("daemon", "event=last-stop-not-written err=%s", err.msg);
}

unsigned
stop_all(struct daemon *d)
{
    int64_t deadline = sf_clock_ms() + sf_config_ms(d->cfg, SF_OPT_STOP_TIMEOUT);
    sf_systemd_notify("STOPPING=1\nSTATUS=finishing uploads");
    sf_dirs_stopping(&d->dirs, d->point);
    sf_fuse_stop(d->fuse);
    unsigned failed = sf_tree_drain(d->tree, deadline);
    unsigned left = sf_writer_drain(d->writer, deadline);
    sf_info("daemon", "event=unmounted mountpoint=%s not_uploaded=%u changes_given_up=%u", d->point,
            failed, left);
    if (failed)
        sf_error("daemon", "event=files-not-uploaded count=%u quarantine=%s/quarantine text=%s",
                 failed, d->dirs.state,
                 "each has a .json note beside it with its key and the reason");
    leave_word(d, failed);
    return failed;
}

void
stop_free(struct daemon *d)
{
    /* Requests end first, so that nothing below is waiting when it goes. */
    if (d->http)
        sf_http_close(d->http);
    sf_fuse_free(d->fuse);
    sf_virtual_free(d->virt);
    sf_tree_free(d->tree);
    sf_writer_free(d->writer);
    sf_http_free(d->http);
    if (d->storage)
        sf_storage_free(d->storage);
    if (d->auth)
        sf_auth_free(d->auth);
    sf_dirs_release(&d->dirs);
}
