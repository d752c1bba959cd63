/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/internal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "cache/cache.h"
#include "cache/disk.h"
#include "config/config.h"
#include "daemon/chats.h"
#include "daemon/providers.h"
#include "fuse/session.h"
#include "http/http.h"
#include "observe/counter.h"
#include "tables/tables.h"
#include "tree/tree.h"
#include "virtual/virtual.h"
#include "write/write.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Everything that the two files tell, taken at one moment. */
struct figures {
    struct sf_http_stats http;
    struct sf_tree_stats tree;
    struct sf_writer_stats writer;
    struct sf_cache_stats cache;
    struct sf_disk_stats disk;
    struct sf_fuse_stats fuse;
    struct sf_tables_stats tables;
    unsigned quarantined; /* files there, of this mount and of former ones */
};

static unsigned
count_notes(const char *state_dir)
{
    char path[PATH_MAX + 16];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/quarantine", state_dir);
    sf_autodir DIR *dir = opendir(path);
    for (const struct dirent *e; dir && (e = readdir(dir));)
        n += sf_str_ends(e->d_name, ".json");
    return n;
}

static void
figures_take(struct daemon *d, struct figures *f)
{
    *f = (struct figures){0};
    sf_http_stats(d->http, &f->http);
    sf_tree_stats(d->tree, &f->tree);
    sf_writer_stats(d->writer, &f->writer);
    sf_cache_get_stats(d->cache, &f->cache);
    if (sf_cache_disk(d->cache))
        sf_disk_get_stats(sf_cache_disk(d->cache), &f->disk);
    if (d->fuse)
        sf_fuse_stats(d->fuse, &f->fuse);
    sf_tables_stats(d->tables, &f->tables);
    f->quarantined = count_notes(d->dirs.state);
}

/* ---- status: "name: value" lines --------------------------------------------------------------
 */

static const char *
or_dash(const char *s)
{
    return s && *s ? s : "-";
}

static void
print_identity(struct daemon *d, struct sf_buf *out)
{
    char time[32];
    sf_time_format_ms(d->since_ns, time);
    sf_buf_printf(out, "version: %s\npid: %ld\nmountpoint: %s\nsince: %s\n", PACKAGE_VERSION,
                  (long)getpid(), d->point, time);
    sf_buf_printf(out, "project: %s\nbucket: %s\nprefix: %s\nread_only: %s\n",
                  sf_config_str(d->cfg, SF_OPT_URL), or_dash(sf_config_str(d->cfg, SF_OPT_BUCKET)),
                  or_dash(sf_config_str(d->cfg, SF_OPT_PREFIX)),
                  sf_config_bool(d->cfg, SF_OPT_RO) ? "yes" : "no");
    int64_t expires = sf_auth_expires(d->auth);
    if (expires)
        sf_time_format_ms(expires * INT64_C(1000000000), time);
    sf_buf_printf(out, "role: %s\nkey: %s\nkey_expires: %s\n", sf_auth_role(d->auth),
                  sf_auth_label(d->auth), expires ? time : "never");
}

static void
print_rename(void *arg, const struct sf_rename_progress *p)
{
    struct sf_buf *out = arg;
    sf_buf_printf(out, "renaming: %s/%s -> %s/%s %" PRIu64, p->bucket, p->prefix, p->to_bucket,
                  p->to_prefix, p->done);
    if (p->total)
        sf_buf_printf(out, " of %" PRIu64, p->total);
    sf_buf_append(out, "\n", 1);
}

static void
print_disk(const struct sf_cache_stats *c, const struct sf_disk_stats *d, struct sf_buf *out)
{
    static const char *const bypass[] = {"in use", "full or failing: nothing is kept",
                                         "failing: not read", "failing: not used"};
    if (c->trouble[0]) {
        sf_buf_printf(out, "cache_disk: none: %s\n", c->trouble);
        return;
    }
    sf_buf_printf(out, "cache_disk: %" PRIu64 " of %" PRIu64 ", pinned %" PRIu64 "\n", d->bytes,
                  d->max_bytes, d->pinned);
    sf_buf_printf(out, "cache_disk_state: %s%s\n", bypass[d->bypass & 3],
                  d->recovering ? ", being put in order after an unclean end" : "");
    if (d->trouble[0])
        sf_buf_printf(out, "cache_disk_trouble: %s\n", d->trouble);
}

static void
print_cache(const struct sf_cache_stats *c, struct sf_buf *out)
{
    sf_buf_printf(out, "cache_memory: %" PRIu64 " of %" PRIu64 "\n", c->memory, c->memory_max);
    sf_buf_printf(out, "reading: %u requests, %u reads wait\n", c->fetches, c->waiting);
    if (c->bytes_per_s)
        sf_buf_printf(out, "link: %.1f MB/s, round trip %.1f ms\n", (double)c->bytes_per_s / 1e6,
                      (double)c->round_trip_ns / 1e6);
}

/* Seconds that the oldest pending change waits. */
static double
oldest(const struct sf_writer_stats *w)
{
    return w->pending_since_ns ? (double)(sf_wall_ns() - w->pending_since_ns) / 1e9 : 0;
}

static bool
is_writeback(const struct daemon *d)
{
    return strcmp(sf_config_str(d->cfg, SF_OPT_SYNC), "writeback") == 0;
}

static double
behind_oldest(const struct sf_writer_stats *w)
{
    return w->behind_since_ns ? (double)(sf_wall_ns() - w->behind_since_ns) / 1e9 : 0;
}

/* What close() has acknowledged, and its bounds. */
static void
print_behind(const struct daemon *d, const struct sf_writer_stats *w, struct sf_buf *out)
{
    int64_t age_ms = sf_config_ms(d->cfg, SF_OPT_WRITEBACK_AGE);
    sf_buf_printf(out, "sync: %s\n", sf_config_str(d->cfg, SF_OPT_SYNC));
    if (!is_writeback(d))
        return;
    sf_buf_printf(out,
                  "writeback: %" PRIu64 " of %" PRIu64 " files, %" PRIu64 " of %" PRIu64
                  " bytes, the oldest %.0f s",
                  w->behind_files, sf_config_u64(d->cfg, SF_OPT_WRITEBACK_FILES), w->behind_bytes,
                  sf_config_u64(d->cfg, SF_OPT_WRITEBACK_BYTES), behind_oldest(w));
    if (age_ms)
        sf_buf_printf(out, " of %.0f s", (double)age_ms / 1000);
    if (w->behind_waiting)
        sf_buf_printf(out, "; closes that wait for room: %u", w->behind_waiting);
    if (w->behind_stuck)
        sf_buf_printf(out, "; stuck, and not counted: %" PRIu64 " (supafs queue ls tells why)",
                      w->behind_stuck);
    sf_buf_append(out, "\n", 1);
}

static void
print_tables(const struct daemon *d, const struct sf_tables_stats *t, struct sf_buf *out)
{
    static const char *const meaning[] = {
        [SF_TABLES_MISSING] = ": the project has none (supafs init)",
        [SF_TABLES_WAITING] = ": nothing was sent yet",
    };
    const char *more = t->state <= SF_TABLES_MISSING ? meaning[t->state] : NULL;
    sf_buf_printf(out, "tables: %s%s", sf_tables_state_name(t->state), more ? more : "");
    if (d->tables_trouble[0])
        sf_buf_printf(out, ": %s", d->tables_trouble);
    if (t->state == SF_TABLES_ON && t->version)
        sf_buf_printf(out, ", version %u", t->version);
    if (t->state >= SF_TABLES_DENIED)
        sf_buf_printf(out, ": %s", t->last_error);
    sf_buf_puts(out, "\n");
    if (t->state == SF_TABLES_OFF)
        return;
    sf_buf_printf(out, "tables_queue: %" PRIu64, t->queued);
    if (t->oldest_ns)
        sf_buf_printf(out, ", the oldest %.0f s", (double)(sf_wall_ns() - t->oldest_ns) / 1e9);
    if (t->dropped)
        sf_buf_printf(out, "; given up: %" PRIu64, t->dropped);
    sf_buf_puts(out, "\n");
}

static void
print_state(struct daemon *d, const struct figures *f, struct sf_buf *out)
{
    bool offline = f->tree.offline || (!f->http.reachable && f->http.last_error[0]);
    sf_buf_printf(out, "service: %s\noffline: %s\n", offline ? "does not answer" : "reachable",
                  offline ? "yes" : "no");
    if (f->http.last_reply_ms)
        sf_buf_printf(out, "last_reply: %.1f s ago\n",
                      (double)(sf_clock_ms() - f->http.last_reply_ms) / 1000);
    char last[300];
    if (sf_trouble_last(&d->trouble, last, sizeof last))
        sf_buf_printf(out, "last_failed_request: %s\n", last);
    sf_buf_printf(out, "requests_waiting: %" PRIu64 "\n", f->fuse.waiting);
    sf_buf_printf(out, "open_files: %" PRIu64 "\nnot_uploaded: %" PRIu64 "\n", f->tree.open_files,
                  f->tree.dirty_files);
    sf_buf_printf(out, "changes_running: %u\nchanges_queued: %u\n", f->writer.running,
                  f->writer.queued);
    sf_write_renames(d->writer, print_rename, out);
    sf_buf_printf(out, "staged_bytes: %" PRIu64 "\n", f->writer.staged_bytes);
    sf_buf_printf(out, "pending: %u\n", f->writer.pending);
    if (f->writer.pending)
        sf_buf_printf(out,
                      "pending_kinds: %s\npending_oldest: %.0f s\npending_files: %u\n"
                      "pending_bytes: %" PRIu64 "\n",
                      f->writer.pending_kinds, oldest(&f->writer), f->writer.pending_files,
                      f->writer.pending_bytes);
    print_behind(d, &f->writer, out);
    if (f->writer.last_failure[0])
        sf_buf_printf(out, "last_failed_upload: %s\n", f->writer.last_failure);
    sf_buf_printf(out, "quarantine: %u\nquarantine_dir: %s/quarantine\n", f->quarantined,
                  d->dirs.state);
    sf_buf_printf(out, "state_dir: %s\ncache_dir: %s\n", d->dirs.state, d->dirs.cache);
    print_tables(d, &f->tables, out);
    providers_print(d, out);
    chats_print(d, out);
    print_cache(&f->cache, out);
    print_disk(&f->cache, &f->disk, out);
    sf_buf_printf(out, "known_names: %" PRIu64 "\n", f->tree.nodes);
    sf_buf_printf(out, "kernel_readahead: %" PRIu64 " KiB%s\n", f->fuse.readahead / 1024,
                  f->fuse.readahead_denied ? " (only root may raise it)" : "");
}

static int
status_text(void *arg, struct sf_buf *out)
{
    struct daemon *d = arg;
    struct figures f;
    char value[512];
    figures_take(d, &f);
    print_identity(d, out);
    print_state(d, &f, out);
    for (unsigned i = 0; i < SF_OPT_COUNT; i++)
        if (sf_config_is_set(d->cfg, i))
            sf_buf_printf(out, "option %s: %s (%s)\n", sf_opt_info(i)->name,
                          sf_config_text(d->cfg, i, value, sizeof value),
                          sf_config_origin(d->cfg, i));
    return 0;
}

/* ---- stats: one JSON object -------------------------------------------------------------------
 */

static int
add_metric(const struct sf_metric *m, void *arg)
{
    json_t *root = arg;
    if (m->kind != SF_METRIC_HISTOGRAM)
        return json_object_set_new(root, m->name, json_integer(m->value));
    return json_object_set_new(root, m->name,
                               json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "count",
                                         (json_int_t)m->value, "sum", (json_int_t)m->sum, "max",
                                         (json_int_t)m->max, "p50", (json_int_t)m->p50, "p90",
                                         (json_int_t)m->p90, "p99", (json_int_t)m->p99));
}

static json_t *
identity_json(struct daemon *d)
{
    return json_pack(
        "{s:s, s:I, s:s, s:s, s:s?, s:s?, s:b, s:s, s:I, s:f}", "version", PACKAGE_VERSION, "pid",
        (json_int_t)getpid(), "mountpoint", d->point, "project", sf_config_str(d->cfg, SF_OPT_URL),
        "bucket", sf_config_str(d->cfg, SF_OPT_BUCKET), "prefix",
        sf_config_str(d->cfg, SF_OPT_PREFIX), "read_only", (int)sf_config_bool(d->cfg, SF_OPT_RO),
        "role", sf_auth_role(d->auth), "key_expires", (json_int_t)sf_auth_expires(d->auth),
        "uptime_s", (double)(sf_wall_ns() - d->since_ns) / 1e9);
}

static void
set(json_t *root, const char *name, uint64_t value)
{
    json_object_set_new(root, name, json_integer((json_int_t)value));
}

static void
add_behind(const struct daemon *d, const struct sf_writer_stats *w, json_t *root)
{
    set(root, "writeback_files", w->behind_files);
    set(root, "writeback_files_max", sf_config_u64(d->cfg, SF_OPT_WRITEBACK_FILES));
    set(root, "writeback_bytes", w->behind_bytes);
    set(root, "writeback_bytes_max", sf_config_u64(d->cfg, SF_OPT_WRITEBACK_BYTES));
    set(root, "writeback_age_max_ms", (uint64_t)sf_config_ms(d->cfg, SF_OPT_WRITEBACK_AGE));
    json_object_set_new(root, "writeback_oldest_s", json_real(behind_oldest(w)));
    set(root, "writeback_waiting", w->behind_waiting);
    set(root, "writeback_stuck", w->behind_stuck);
}

static void
add_tables(const struct sf_tables_stats *t, json_t *root)
{
    json_object_set_new(root, "tables", json_string(sf_tables_state_name(t->state)));
    set(root, "tables_version", t->version);
    set(root, "tables_queued", t->queued);
    set(root, "tables_sent", t->sent);
    set(root, "tables_repeated", t->repeated);
    set(root, "tables_bytes", t->bytes);
    set(root, "tables_max_bytes", t->max_bytes);
    json_object_set_new(root, "tables_last_error", json_string(t->last_error));
}

static void
add_figures(struct daemon *d, json_t *root)
{
    struct figures f;
    figures_take(d, &f);
    json_object_set_new(root, "service_reachable", json_boolean(!f.tree.offline));
    char last[300];
    set(root, "failed_requests", sf_trouble_last(&d->trouble, last, sizeof last));
    json_object_set_new(root, "last_failed_request", json_string(last));
    set(root, "requests_waiting", f.fuse.waiting);
    set(root, "kernel_readahead_bytes", f.fuse.readahead);
    set(root, "kernel_notices", f.fuse.notices);
    set(root, "kernel_notices_lost", f.fuse.notices_lost);
    set(root, "known_names", f.tree.nodes);
    set(root, "looked_up_names", f.tree.looked_up);
    set(root, "known_directories", f.tree.directories);
    set(root, "open_files", f.tree.open_files);
    set(root, "open_directories", f.tree.open_dirs);
    set(root, "not_uploaded_files", f.tree.dirty_files);
    set(root, "changes_running", f.writer.running);
    set(root, "changes_queued", f.writer.queued);
    set(root, "staged_files", f.writer.staged_files);
    set(root, "staged_bytes", f.writer.staged_bytes);
    set(root, "learned_limit_bytes", f.writer.learned_limit);
    set(root, "pending_changes", f.writer.pending);
    set(root, "pending_files", f.writer.pending_files);
    set(root, "pending_bytes", f.writer.pending_bytes);
    json_object_set_new(root, "pending_oldest_s", json_real(oldest(&f.writer)));
    if (is_writeback(d))
        add_behind(d, &f.writer, root);
    set(root, "journal_damaged_records", f.writer.journal_damaged);
    set(root, "quarantine_files", f.quarantined);
    add_tables(&f.tables, root);
    providers_json(d, root);
    chats_json(d, root);
    set(root, "cache_memory_bytes", f.cache.memory);
    set(root, "cache_memory_max_bytes", f.cache.memory_max);
    set(root, "cache_memory_peak_bytes", f.cache.memory_peak);
    set(root, "cache_ahead_now_bytes", f.cache.ahead);
    set(root, "cache_unwritten_bytes", f.cache.unwritten);
    set(root, "cache_contents", f.cache.contents);
    set(root, "cache_disk_bytes", f.disk.bytes);
    set(root, "cache_disk_max_bytes", f.disk.max_bytes);
    set(root, "cache_disk_pinned_bytes", f.disk.pinned);
    set(root, "cache_disk_chunks", f.disk.chunks);
    set(root, "cache_disk_dropped_bytes", f.disk.dropped);
    set(root, "cache_disk_errors", f.disk.errors);
    set(root, "cache_disk_bypass", f.disk.bypass);
    set(root, "cache_disk_recovering", f.disk.recovering);
    set(root, "cache_fetches_now", f.cache.fetches);
    set(root, "cache_reads_waiting", f.cache.waiting);
    set(root, "cache_reads_waiting_memory", f.cache.waiting_memory);
    set(root, "link_round_trip_us", (uint64_t)f.cache.round_trip_ns / 1000);
    set(root, "link_bytes_per_s", f.cache.bytes_per_s);
    set(root, "http_active_now", f.http.active);
    set(root, "http_queued_now", f.http.queued);
    set(root, "http_waiting_retry", f.http.waiting_retry);
    set(root, "http_peak_active", f.http.peak_active);
}

static int
stats_text(void *arg, struct sf_buf *out)
{
    struct daemon *d = arg;
    json_t *root = identity_json(d);
    if (!root)
        return -ENOMEM;
    add_figures(d, root);
    sf_metric_each(add_metric, root);
    char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    if (!text)
        return -ENOMEM;
    int rc = sf_buf_puts(out, text);
    free(text);
    return rc ? rc : sf_buf_putc(out, '\n');
}

int
status_register(struct daemon *d)
{
    int rc = sf_virtual_add(d->virt, "status", status_text, d);
    return rc ? rc : sf_virtual_add(d->virt, "stats", stats_text, d);
}
