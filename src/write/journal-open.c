/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/journal-internal.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "observe/log.h"
#include "write/journal-walk.h"
#include "write/quarantine.h"

#define BYTES_MAX (256 << 20)

static const char *const tables[] = {"records", "meta"};

/* ---- reading -------------------------------------------------------------------------------- */

/* Parses every record, but those that cannot be read: they are counted and kept at the start. */
int
sf_journal_each(struct sf_journal *j, int (*fn)(void *arg, struct sf_record *r), void *arg)
{
    sf_defer(sf_journal_walk_fini) struct sf_journal_walk walk;
    const struct sf_raw_record *raw = NULL;
    int rc;
    sf_journal_walk_begin(&walk, j->env, j->brief, SF_JOURNAL_RECORDS);
    while (!(rc = sf_journal_walk_next(&walk, &raw)) && raw) {
        sf_autorecord struct sf_record r = {0};
        char why[160] = "";
        rc = sf_record_parse(raw->text, raw->len, &r, why);
        if (rc == -EPROTO)
            continue;
        r.seq = raw->seq;
        rc = rc ? rc : fn(arg, &r);
        if (rc)
            break;
    }
    return rc;
}

/* ---- opening -------------------------------------------------------------------------------- */

/* A record that nobody can follow is kept where a person finds it. Its staged file, which no other
 * record names, goes the same way later. */
static void
load_bad(struct sf_journal *j, const struct sf_raw_record *raw, const char *text)
{
    struct sf_err why = SF_ERR_INIT;
    char name[64], path[PATH_MAX];
    j->damaged++;
    (void)!sf_err_set(&why, -EUCLEAN, "record %" PRIu64 " of the journal: %s", raw->seq, text);
    snprintf(name, sizeof name, "journal/record-%" PRIu64, raw->seq);
    int rc = sf_quarantine_bytes(j->quarantine, name, raw->text, raw->len, &why, path);
    if (rc)
        sf_error("write", "event=journal-damaged record=%" PRIu64 " err=%s reason=%s", raw->seq,
                 sf_errno_name(rc), why.msg);
    else
        sf_warn("write", "event=journal-damaged record=%" PRIu64 " file=%s reason=%s", raw->seq,
                path, why.msg);
    if (!rc)
        (void)sf_journal_drop_wait(j, raw->seq);
}

static int
load_records(struct sf_journal *j)
{
    sf_defer(sf_journal_walk_fini) struct sf_journal_walk walk;
    const struct sf_raw_record *raw = NULL;
    int rc;
    sf_journal_walk_begin(&walk, j->env, j->brief, SF_JOURNAL_RECORDS);
    while (!(rc = sf_journal_walk_next(&walk, &raw)) && raw) {
        sf_autorecord struct sf_record r = {0};
        char why[160] = "";
        rc = sf_record_parse(raw->text, raw->len, &r, why);
        if (rc && rc != -EPROTO)
            break;
        const struct sf_journal_entry now = {.seq = raw->seq,
                                             .kind = r.kind,
                                             .made_ns = r.made_ns,
                                             .data = r.data ? r.size : 0,
                                             .brief = raw->brief};
        if (rc)
            load_bad(j, raw, why);
        else
            sf_journal_remember(j, &now);
        if (raw->twice)
            sf_journal_drop_brief(j, raw->seq);
    }
    return rc;
}

static int
load_number(struct sf_journal *j, struct sf_env *env)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    uint64_t next = 0;
    int rc = sf_env_get(env, SF_JOURNAL_META, SF_JOURNAL_NEXT, strlen(SF_JOURNAL_NEXT), &b);
    if (rc && rc != -ENOENT)
        return rc;
    if (b.len == sizeof next)
        memcpy(&next, b.data, sizeof next);
    next = be64toh(next);
    if (next > atomic_load(&j->next))
        atomic_store(&j->next, next);
    return 0;
}

static int
load(struct sf_journal *j)
{
    atomic_store(&j->next, 1);
    int rc = load_number(j, j->env);
    int re = rc ? rc : load_number(j, j->brief);
    return re && re != -EUCLEAN ? re : load_records(j);
}

static int
open_env(struct sf_journal *j, struct sf_err *err)
{
    struct sf_env_opts o = {.dir = j->dir,
                            .name = "journal",
                            .tables = tables,
                            .n_tables = SF_JOURNAL_TABLES,
                            .max_bytes = BYTES_MAX};
    struct sf_err why = SF_ERR_INIT;
    char path[PATH_MAX];
    int rc = sf_env_open(&o, &j->env, &why);
    if (rc == -EUCLEAN && sf_quarantine_dir(j->quarantine, j->dir, &why, path) == 0) {
        sf_error("write", "event=journal-damaged kept_in=%s reason=%s", path, why.msg);
        j->damaged++;
        why = SF_ERR_INIT;
        rc = sf_env_open(&o, &j->env, &why);
    }
    o.dir = j->brief_dir;
    o.name = "journal-brief";
    o.throw_away = true;
    if (!rc)
        rc = sf_env_open(&o, &j->brief, &why);
    if (rc && err && !err->code)
        *err = why;
    return rc;
}

int
sf_journal_open(const char *state_dir, struct sf_journal **ret, struct sf_err *err)
{
    struct sf_journal *j = calloc(1, sizeof *j);
    if (!j)
        return sf_err_set(err, -ENOMEM, "out of memory");
    sf_mutex_init(&j->lock, 0);
    if (asprintf(&j->dir, "%s/journal", state_dir) < 0)
        j->dir = NULL;
    if (asprintf(&j->brief_dir, "%s/" SF_JOURNAL_BRIEF, state_dir) < 0)
        j->brief_dir = NULL;
    if (asprintf(&j->quarantine, "%s/quarantine", state_dir) < 0)
        j->quarantine = NULL;
    int rc =
        j->dir && j->brief_dir && j->quarantine ? 0 : sf_err_set(err, -ENOMEM, "out of memory");
    if (!rc)
        rc = sf_mkdir_p(j->quarantine, err);
    if (!rc)
        rc = open_env(j, err);
    if (!rc && (rc = load(j)))
        rc = sf_err_set(err, rc, "cannot read the journal in %s: %s", j->dir, strerror(-rc));
    if (rc) {
        sf_journal_close(j);
        return rc;
    }
    *ret = j;
    return 0;
}

void
sf_journal_close(struct sf_journal *j)
{
    struct sf_journal_entry *e, *next;
    if (!j)
        return;
    if (j->brief)
        (void)sf_journal_settle(j); /* what is told of there may change the other one */
    sf_env_close(j->env);
    sf_env_close(j->brief);
    HASH_ITER (hh, j->entries, e, next) {
        HASH_DEL(j->entries, e);
        free(e);
    }
    sf_mutex_fini(&j->lock);
    free(j->dir);
    free(j->brief_dir);
    free(j->quarantine);
    free(j);
}
