/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tables/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/thread.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "supabase/json.h"
#include "tables/internal.h"

#define MAX_BYTES   (UINT64_C(256) << 20)
#define INTERVAL_MS 1000
#define RETRY_MIN   1000
#define RETRY_MAX   300000
#define REQUEST_MS  30000
#define LAZY_MS     1000 /* those who write files feel each sync beside them */
#define ROWS_MAX    1000 /* of one table in one request */

#define SETTLE_LOOK_US 20000

const char *
sf_tables_state_name(enum sf_tables_state state)
{
    static const char *const names[] = {"off", "waiting", "on", "missing", "denied", "unreachable"};
    return names[state];
}

/* ---- what an answer means -------------------------------------------------------------------- */

static void
tell_state(enum sf_tables_state state, unsigned version, const struct sf_err *err)
{
    if (state == SF_TABLES_ON)
        sf_info("tables", "event=tables-on version=%u", version);
    else if (state == SF_TABLES_MISSING)
        sf_info("tables", "event=tables-missing text=%s",
                "the project has no tables of supafs; what is noted waits here until it has");
    else
        sf_warn("tables", "event=tables-%s reason=%s", sf_tables_state_name(state), err->msg);
}

/* Once per change in the log. */
static void
set_state(struct sf_tables *t, enum sf_tables_state state, const struct sf_err *err)
{
    sf_mutex_lock(&t->lock);
    bool other = t->s.state != state;
    unsigned version = t->s.version;
    t->s.state = state;
    if (err)
        snprintf(t->s.last_error, sizeof t->s.last_error, "%s", err->msg);
    sf_mutex_unlock(&t->lock);
    if (other)
        tell_state(state, version, err);
}

static enum sf_tables_state
state_of(int rc)
{
    switch (rc) {
    case -ENOSYS:
        return SF_TABLES_MISSING;
    case -EACCES:
    case -EPERM:
    case -EKEYREJECTED:
    case -EKEYEXPIRED:
        return SF_TABLES_DENIED;
    default:
        return SF_TABLES_UNREACHABLE;
    }
}

/* The thread's own. */
struct sender {
    struct sf_tables *t;
    size_t limit;      /* rows of a table in one request; less while it looks for a refused one */
    int64_t next_ms;   /* no request before */
    unsigned failures; /* in a row */
    bool pending;      /* there may be something to send */
};

static void
back_off(struct sender *s)
{
    int64_t pause = s->t->opts.retry_min_ms;
    for (unsigned i = 0; i < s->failures && pause < s->t->opts.retry_max_ms; i++)
        pause *= 2;
    s->failures++;
    s->next_ms =
        sf_clock_ms() + (pause < s->t->opts.retry_max_ms ? pause : s->t->opts.retry_max_ms);
}

static int64_t
deadline(struct sf_tables *t)
{
    int64_t at = sf_clock_ms() + REQUEST_MS;
    SF_GUARD(&t->lock);
    return t->drain_ms && t->drain_ms < at ? t->drain_ms : at;
}

static void
count_request(struct sf_tables *t)
{
    sf_count(SF_C_TABLES_REQUESTS, 1);
    SF_GUARD(&t->lock);
    t->s.requests++;
}

static void
got_more(struct sf_tables *t)
{
    SF_GUARD(&t->lock);
    t->accepted++;
}

static void
accepted(struct sender *s, const struct batch *b, bool recorded)
{
    struct sf_tables *t = s->t;
    struct sf_err err = SF_ERR_INIT;
    unsigned version = 0;
    got_more(t); /* who asks at this moment sees it in both places, or in none: */
    int rc = batch_done(t, b);
    got_more(t); /* so all of them ask again */
    sf_mutex_lock(&t->lock);
    bool known = t->s.version && t->s.state == SF_TABLES_ON;
    t->s.sent += b->rows + b->accesses;
    t->s.repeated += !recorded;
    sf_mutex_unlock(&t->lock);
    sf_count(SF_C_TABLES_ROWS, b->rows + b->accesses);
    s->failures = 0;
    s->limit = s->limit < ROWS_MAX / 2 ? s->limit * 2 : ROWS_MAX;
    if (!known) {
        count_request(t);
        (void)t->peer.about(t->peer.arg, deadline(t), &version, &err);
        SF_GUARD(&t->lock);
        t->s.version = version;
    }
    set_state(t, SF_TABLES_ON, NULL);
    if (rc) /* it is there still, and is sent again: the database knows it */
        back_off(s);
}

/* The database will never take it. Which of its rows is it? */
static void
refused(struct sender *s, const struct batch *b, const struct sf_err *err)
{
    struct sf_tables *t = s->t;
    size_t n = b->rows + b->accesses;
    if (b->rows > 1 || (b->rows && b->accesses)) {
        s->limit = b->rows > 2 ? b->rows / 2 : 1;
        (void)batch_undo(t, b);
        return;
    }
    sf_warn("tables", "event=row-refused reason=%s", err->msg);
    (void)batch_done(t, b);
    atomic_fetch_add(&t->dropped, n);
    sf_count(SF_C_TABLES_DROPPED, n);
}

static void
send_one(struct sender *s)
{
    struct sf_tables *t = s->t;
    struct batch b;
    struct sf_err err = SF_ERR_INIT;
    bool recorded = false;
    int rc = batch_take(t, s->limit, &b);
    s->pending = rc != -ENOENT;
    s->next_ms = sf_clock_ms() + t->opts.interval_ms;
    if (rc == -ENOENT)
        return;
    if (rc) { /* of the local disk: the log has it from others */
        back_off(s);
        return;
    }
    count_request(t);
    rc = t->peer.record(t->peer.arg, b.json.data, b.json.len, deadline(t), &recorded, &err);
    if (!rc) {
        accepted(s, &b, recorded);
    } else if (rc == -EINVAL) {
        refused(s, &b, &err);
    } else {
        back_off(s);
        if (rc != -ECANCELED) /* else it is the end of the mount */
            set_state(t, state_of(rc), &err);
    }
    batch_fini(&b);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void
bound(struct sf_tables *t)
{
    struct sf_env_stats stats;
    sf_env_get_stats(t->env, &stats);
    if (stats.bytes >= t->opts.max_bytes / 8 * 7)
        queue_shrink(t, t->opts.max_bytes / 4 * 3);
}

/* Sends what is due, and says when to look again. */
static int64_t
step(struct sender *s, bool drain)
{
    struct sf_tables *t = s->t;
    access_flush(t);
    bound(t);
    int64_t now = sf_clock_ms();
    if (s->pending && ((drain && !s->failures) || now >= s->next_ms))
        send_one(s);
    if (drain)
        return s->pending && !s->failures ? 0 : INT64_MAX;
    return s->pending ? s->next_ms : INT64_MAX;
}

static void *
run(void *arg)
{
    struct sf_tables *t = arg;
    struct sender s = {.t = t, .limit = ROWS_MAX, .pending = true};
    int64_t due = 0, last = 0;
    sf_mutex_lock(&t->lock);
    while (!t->stopping) {
        int64_t soon = t->noted ? last + t->opts.interval_ms : INT64_MAX;
        bool drain = t->drain_ms && !t->drained;
        int64_t at = drain ? 0 : soon < due ? soon : due;
        if (at > sf_clock_ms()) {
            (void)sf_cond_timedwait_ms(&t->wake, &t->lock, at);
            continue;
        }
        s.pending = s.pending || t->noted || drain;
        t->noted = false;
        sf_mutex_unlock(&t->lock);
        last = sf_clock_ms();
        due = step(&s, drain);
        sf_mutex_lock(&t->lock);
        t->s.next_ms = s.pending ? s.next_ms : 0;
        t->drained = drain && due == INT64_MAX;
        if (t->drained)
            sf_cond_broadcast(&t->idle);
    }
    sf_mutex_unlock(&t->lock);
    return NULL;
}

void
sf_tables_drain(struct sf_tables *t, int64_t deadline_ms)
{
    if (!t)
        return;
    SF_GUARD(&t->lock);
    t->drain_ms = deadline_ms;
    t->drained = false;
    sf_cond_signal(&t->wake);
    while (!t->drained && sf_cond_timedwait_ms(&t->idle, &t->lock, deadline_ms) == 0)
        ;
    t->drained = true;
}

static int
nothing(struct sf_env_write *w, struct sf_txn *txn)
{
    (void)w;
    (void)txn;
    return 0;
}

static bool
is_coming(struct sf_tables *t)
{
    SF_GUARD(&t->lock);
    return (t->s.state == SF_TABLES_ON || t->s.state == SF_TABLES_WAITING) && !t->stopping &&
           atomic_load(&t->queued) > 0;
}

void
sf_tables_settle(struct sf_tables *t, int64_t deadline_ms)
{
    struct sf_env_write after = {.run = nothing};
    if (!t)
        return;
    (void)sf_env_write_wait(t->env, &after); /* what was noted before was given to it before */
    while (is_coming(t) && sf_clock_ms() < deadline_ms)
        usleep(SETTLE_LOOK_US);
}

/* ---- start and end --------------------------------------------------------------------------- */

static const char *const table_names[T_COUNT] = {
    [T_FILES] = "files",    [T_HASHES] = "hashes",   [T_ACCESSES] = "accesses", [T_READS] = "reads",
    [T_OPS] = "operations", [T_CHANGES] = "changes", [T_UNSENT] = "unsent",     [T_BATCH] = "batch",
};

static int
open_env(struct sf_tables *t, const char *dir, struct sf_err *err)
{
    const struct sf_env_opts opts = {.dir = dir,
                                     .name = "tables-disk",
                                     .tables = table_names,
                                     .n_tables = T_COUNT,
                                     .max_bytes = t->opts.max_bytes,
                                     .lazy_ms = LAZY_MS};
    int rc = sf_env_open(&opts, &t->env, err);
    if (!rc && (rc = queue_count(t))) {
        sf_env_close(sf_steal(t->env));
        rc = sf_err_set(err, rc, "%s cannot be read: %s", dir, strerror(-rc));
    }
    return rc;
}

/* It is worth keeping, but nobody's data are in it: another one is begun. */
static int
open_or_begin(struct sf_tables *t, const char *state_dir, struct sf_err *err)
{
    char dir[PATH_MAX];
    struct sf_err why = SF_ERR_INIT;
    if (snprintf(dir, sizeof dir, "%s/tables", state_dir) >= (int)sizeof dir)
        return sf_err_set(err, -ENAMETOOLONG, "the name of the state directory is too long");
    int rc = open_env(t, dir, &why);
    if (rc == -EUCLEAN) {
        sf_warn("tables", "event=tables-damaged reason=%s file=%s/data.mdb.damaged", why.msg, dir);
        why = SF_ERR_INIT;
        rc = sf_env_put_aside(dir, &why);
        if (!rc)
            rc = open_env(t, dir, &why);
    }
    if (rc && err)
        *err = why;
    return rc;
}

static void
take_opts(struct sf_tables *t, const struct sf_tables_opts *o)
{
    t->opts = (struct sf_tables_opts){
        .max_bytes = o->max_bytes ? o->max_bytes : MAX_BYTES,
        .interval_ms = o->interval_ms ? o->interval_ms : INTERVAL_MS,
        .retry_min_ms = o->retry_min_ms ? o->retry_min_ms : RETRY_MIN,
        .retry_max_ms = o->retry_max_ms ? o->retry_max_ms : RETRY_MAX,
    };
    if (o->peer)
        t->peer = *o->peer;
    else
        peer_of_project(t->st, &t->peer);
}

/* Any bytes may be a host's name, and each note has it. */
static void
find_host(struct sf_tables *t)
{
    char raw[sizeof t->host] = "";
    if (gethostname(raw, sizeof raw - 1) < 0 || !*raw)
        snprintf(raw, sizeof raw, "unknown");
    sf_text_clean(raw, strlen(raw), t->host, sizeof t->host);
}

static void
tables_free(struct sf_tables *t)
{
    sf_env_close(t->env);
    objects_free(t);
    sf_cond_fini(&t->idle);
    sf_cond_fini(&t->wake);
    sf_mutex_fini(&t->lock);
    free(t);
}

int
sf_tables_new(const struct sf_tables_opts *opts, struct sf_storage *st, struct sf_tables **ret,
              struct sf_err *err)
{
    struct sf_tables *t = calloc(1, sizeof *t);
    if (!t)
        return sf_err_set(err, -ENOMEM, "out of memory");
    sf_mutex_init(&t->lock, 0);
    sf_cond_init(&t->wake);
    sf_cond_init(&t->idle);
    t->st = st;
    t->s.state = SF_TABLES_WAITING;
    (void)sf_random_bytes(&t->salt, sizeof t->salt);
    take_opts(t, opts);
    find_host(t);
    int rc = open_or_begin(t, opts->state_dir, err);
    if (!rc && (rc = sf_thread_start("tables", run, t, &t->thread)))
        rc = sf_err_set(err, rc, "cannot start a thread: %s", strerror(-rc));
    if (rc) {
        tables_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void
sf_tables_free(struct sf_tables *t)
{
    if (!t)
        return;
    sf_mutex_lock(&t->lock);
    t->stopping = true;
    sf_cond_signal(&t->wake);
    while (t->asking)
        sf_cond_wait(&t->idle, &t->lock);
    sf_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    access_flush(t);
    tables_free(t);
}

void
sf_tables_stats(struct sf_tables *t, struct sf_tables_stats *out)
{
    struct sf_env_stats env;
    *out = (struct sf_tables_stats){.state = SF_TABLES_OFF};
    if (!t)
        return;
    sf_env_get_stats(t->env, &env);
    sf_mutex_lock(&t->lock);
    *out = t->s;
    sf_mutex_unlock(&t->lock);
    uint64_t in_flight = atomic_load(&t->in_flight); /* before those that it turns into */
    int64_t queued = atomic_load(&t->queued);
    out->queued = in_flight + (queued > 0 ? (uint64_t)queued : 0);
    out->oldest_ns = queue_oldest(t);
    out->dropped = atomic_load(&t->dropped);
    out->bytes = env.bytes;
    out->max_bytes = t->opts.max_bytes;
}
