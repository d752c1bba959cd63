/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_ATTRS_FIXTURE_H
#define SF_TESTS_ATTRS_FIXTURE_H

#include "write-fixture.h"

#include "write/attrs.h"
#include "write/journal.h"
#include "write/mark.h"

/* Included once by tests of changes of attributes whose object's bytes stay. */

#define SECOND INT64_C(1000000000)

/* kept and settled of one change. */
struct pair {
    struct got *kept, *settled;
    struct sf_version now;
};
static struct pair pairs[64];
static unsigned n_pairs;

__attribute__((unused)) static void
on_kept(void *arg, const struct sf_err *err)
{
    on_write(((struct pair *)arg)->kept, err);
}

__attribute__((unused)) static void
on_settled(void *arg, const struct sf_err *err, const struct sf_version *now)
{
    struct pair *p = arg;
    assert_true(p->kept->calls == 1); /* in this order */
    if (now)
        p->now = *now;
    on_write(p->settled, err);
}

__attribute__((unused)) static struct sf_mark
mark_of(mode_t mode, int64_t mtime_ns, int64_t ctime_ns)
{
    return (struct sf_mark){.valid = SF_MARK_MODE | SF_MARK_MTIME | SF_MARK_CTIME | SF_MARK_INO,
                            .mode = 0100000 | mode,
                            .mtime_ns = mtime_ns,
                            .ctime_ns = ctime_ns,
                            .ino = 0xabc};
}

__attribute__((unused)) static struct pair *
change_with(struct sf_attr_change ch)
{
    struct pair *p = &pairs[n_pairs++];
    *p = (struct pair){.kept = got_new(), .settled = got_new()};
    ch.bucket = "b";
    sf_write_attrs(writer, &ch, on_kept, on_settled, p);
    return p;
}

__attribute__((unused)) static struct pair *
change(const char *key, const struct sf_version *seen, struct sf_mark mark, const char *xattrs)
{
    return change_with(
        (struct sf_attr_change){.key = key, .seen = seen, .mark = &mark, .xattrs = xattrs});
}

__attribute__((unused)) static struct got *
flush(const char *key)
{
    struct got *g = got_new();
    sf_write_attrs_flush(writer, key ? "b" : NULL, key, on_write, g);
    return g;
}

/* The version as a listing shows it: no version, but id, ETag and size. */
__attribute__((unused)) static struct sf_version
listed(const char *key)
{
    const struct fake_object *o = fake_find("b", key);
    struct sf_version v = {.size = o->len};
    snprintf(v.id, sizeof v.id, "%s", o->id);
    snprintf(v.etag, sizeof v.etag, "%s", o->etag);
    return v;
}

__attribute__((unused)) static struct sf_mark
stored(const char *key)
{
    struct sf_mark m = {0};
    const struct fake_object *o = fake_find("b", key);
    assert_non_null(o);
    assert_int_equal(sf_mark_parse(o->cache_control, &m), 1);
    return m;
}

__attribute__((unused)) static unsigned
records(void)
{
    struct sf_attrs_stats s;
    sf_attrs_get_stats(((struct sf_writer *)writer)->attrs, &s);
    return s.pending + s.local;
}

__attribute__((unused)) static unsigned
locals(void)
{
    struct sf_attrs_stats s;
    sf_attrs_get_stats(((struct sf_writer *)writer)->attrs, &s);
    return s.local;
}

__attribute__((unused)) static int
start(void **state)
{
    n_pairs = 0;
    return setup(state);
}

__attribute__((unused)) static void
restart(void)
{
    sf_writer_free(writer);
    writer = NULL;
    writer_start(4, 0);
}

/* Records of attributes that a start would find now. */
__attribute__((unused)) static unsigned
on_disk(void)
{
    struct sf_journal_stats s;
    sf_journal_stats(((struct sf_writer *)writer)->journal, &s);
    return s.records[SF_RECORD_ATTRS];
}

/* Records as a daemon leaves them that is killed. */
__attribute__((unused)) static struct sf_journal *
leave_begin(void)
{
    struct sf_journal *j;
    sf_writer_free(writer);
    writer = NULL;
    assert_int_equal(sf_journal_open(state_dir, &j, NULL), 0);
    return j;
}

__attribute__((unused)) static void
leave(struct sf_journal *j, const struct sf_record *r)
{
    struct sf_record copy = *r;
    assert_int_equal(sf_journal_put(j, &copy), 0);
}

__attribute__((unused)) static void
leave_end(struct sf_journal *j)
{
    sf_journal_close(j);
    writer_start(4, 0);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
}

#endif
