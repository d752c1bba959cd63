/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/journal.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/str.h"
#include "store/env.h"

/* The journal: what was put is there after any end of the process, in order, and nothing else; what
 * cannot be read is kept aside. */

static char dir[64];
static struct sf_journal *journal;

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}

static void
reopen(void)
{
    struct sf_err err = SF_ERR_INIT;
    sf_journal_close(journal);
    journal = NULL;
    int rc = sf_journal_open(dir, &journal, &err);
    if (rc)
        fail_msg("%s", err.msg);
}

static int
setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/supafs-journal-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    reopen();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    sf_journal_close(journal);
    journal = NULL;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Borrowed strings: not for sf_record_fini(). */
static struct sf_record
a_delete(const char *key)
{
    return (struct sf_record){.kind = SF_RECORD_DELETE,
                              .state = SF_RECORD_DELETE_WANTED,
                              .bucket = (char *)"b",
                              .key = (char *)key};
}

/* A content record with every member that there is, of its own memory. */
static struct sf_record
everything(void)
{
    struct sf_record r = {.kind = SF_RECORD_CONTENT,
                          .state = SF_RECORD_CONTENT_KEEPING,
                          .made_ns = 1763731234123456789,
                          .attempts = 3,
                          .err = EIO,
                          .size = 1 << 20,
                          .synced = true,
                          .exists = true,
                          .exclusive = true,
                          .guessed = true,
                          .n_extents = 2,
                          .tus_size = 99,
                          .replace = true};
    struct sf_version v = {"id", "version", "\"etag\"", 5, 7};
    r.base = r.source = r.target = v;
    r.target.updated_ns = -1;
    r.extents = calloc(2, sizeof *r.extents);
    assert_non_null(r.extents);
    r.extents[0] = (struct sf_extent){0, 10};
    r.extents[1] = (struct sf_extent){11, 1 << 20};
    assert_int_equal(sf_op_new(r.op), 0);
    sf_boot_id(r.boot);
    memset(r.sha256, 'a', 64);
    char **strings[] = {&r.bucket,    &r.key,    &r.reason, &r.file, &r.from_bucket,
                        &r.from_key,  &r.mime,   &r.mark,   &r.tus,  &r.conflict_key,
                        &r.to_bucket, &r.to_key, &r.after};
    const char *cc = "public, max-age=60, x=\"a\"";
    for (unsigned i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        char text[32];
        snprintf(text, sizeof text, "t\xc3\xa4xt \"%u\"\n", i);
        assert_int_equal(sf_record_set(strings[i], text), 0);
    }
    assert_int_equal(sf_record_set(&r.reason, "text of any bytes: \xff"), 0);
    assert_int_equal(sf_record_set(&r.xattrs, "{\"user.a\":\"YQ==\",\"user.b\":null}"), 0);
    assert_int_equal(sf_record_set(&r.set_cache_control, cc), 0);
    return r;
}

/* ---- records as text ------------------------------------------------------------------------ */

static void
what_is_written_is_read(void **state)
{
    (void)state;
    sf_autorecord struct sf_record r = everything(), back = {0}, copy = {0};
    sf_autofree char *text = NULL, *again = NULL, *third = NULL;
    size_t len, len2;
    char why[160] = "";
    assert_int_equal(sf_record_format(&r, &text, &len, why), 0);
    assert_int_equal(strlen(text), len);
    assert_int_equal(sf_record_parse(text, len, &back, why), 0);
    assert_int_equal(sf_record_format(&back, &again, &len2, why), 0);
    assert_string_equal(again, text);
    assert_int_equal(back.kind, r.kind);
    assert_int_equal(back.state, r.state);
    assert_string_equal(back.key, r.key);
    assert_string_equal(back.op, r.op);
    assert_string_equal(back.reason, "text of any bytes: ?");
    assert_string_equal(back.xattrs, r.xattrs);
    assert_int_equal(back.made_ns, r.made_ns);
    assert_int_equal(back.err, EIO);
    assert_int_equal(back.n_extents, 2);
    assert_memory_equal(back.extents, r.extents, 2 * sizeof *r.extents);
    assert_memory_equal(&back.base, &r.base, sizeof r.base);
    assert_int_equal(back.target.updated_ns, -1);
    assert_true(back.synced && back.exists && back.exclusive && back.guessed && back.replace);
    assert_false(back.whole);

    assert_int_equal(sf_record_copy(&back, &copy), 0);
    assert_ptr_not_equal(copy.key, back.key);
    sf_record_fini(&back);
    assert_null(back.key);
    assert_int_equal(sf_record_format(&copy, &third, &len2, why), 0);
    assert_string_equal(third, text);
}

static void
what_breaks_a_rule_is_not_written(void **state)
{
    (void)state;
    struct {
        const char *what;
        struct sf_record r;
    } cases[] = {
        {"no key", a_delete("")},
        {"a state of another kind", a_delete("k")},
        {"a bucket that is a path", a_delete("k")},
        {"not UTF-8", a_delete("k\xff")},
        {"half an op", a_delete("k")},
        {"a file of a delete", a_delete("k")},
        {"a content without a file", a_delete("k")},
        {"a file that is a path", a_delete("k")},
        {"a rename without a target", a_delete("k")},
        {"a rename-dir of no prefix", a_delete("k")},
        {"attributes that are no object", a_delete("k")},
        {"attributes that are no texts", a_delete("k")},
        {"extents out of order", a_delete("k")},
        {"an extent beyond the size", a_delete("k")},
        {"whole and extents", a_delete("k")},
        {"a size beyond 63 bits", a_delete("k")},
    };
    struct sf_extent order[] = {{5, 9}, {9, 10}}, far = {5, 11};
    struct sf_record content = {.kind = SF_RECORD_CONTENT,
                                .state = SF_RECORD_CONTENT_HELD,
                                .bucket = (char *)"b",
                                .key = (char *)"k",
                                .file = (char *)"f",
                                .size = 10};
    cases[1].r.state = SF_RECORD_RENAME_MOVING;
    cases[2].r.bucket = (char *)"a/b";
    snprintf(cases[4].r.op, sizeof cases[4].r.op, "abc");
    cases[5].r.file = (char *)"f";
    cases[6].r = cases[7].r = cases[12].r = cases[13].r = cases[14].r = cases[15].r = content;
    cases[6].r.file = NULL;
    cases[7].r.file = (char *)"../f";
    cases[8].r.kind = SF_RECORD_RENAME;
    cases[8].r.state = SF_RECORD_RENAME_MOVING;
    cases[9].r.kind = SF_RECORD_RENAME_DIR;
    cases[9].r.state = SF_RECORD_RENAME_DIR_MOVING;
    cases[9].r.to_bucket = (char *)"b";
    cases[9].r.to_key = (char *)"to/";
    cases[10].r.xattrs = (char *)"[]";
    cases[11].r.xattrs = (char *)"{\"a\":1}";
    cases[12].r.extents = order;
    cases[12].r.n_extents = 2;
    cases[13].r.extents = cases[14].r.extents = &far;
    cases[13].r.n_extents = cases[14].r.n_extents = 1;
    cases[14].r.size = 20;
    cases[14].r.whole = true;
    cases[15].r.size = UINT64_MAX;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why[160] = "";
        char *text = NULL;
        size_t len;
        int rc = sf_record_format(&cases[i].r, &text, &len, why);
        if (rc != -EINVAL || !why[0] || text)
            fail_msg("%s: rc %d, %s", cases[i].what, rc, why);
        assert_int_equal(sf_journal_put(journal, &cases[i].r), -EINVAL);
    }
    struct sf_journal_stats st;
    sf_journal_stats(journal, &st);
    assert_int_equal(st.changes, 0);
}

static void
what_is_damaged_is_not_read(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{\"v\":1}",
        "{\"v\":2,\"kind\":\"delete\",\"state\":\"wanted\",\"bucket\":\"b\",\"key\":\"k\"}",
        "{\"v\":1,\"kind\":\"undelete\",\"state\":\"wanted\",\"bucket\":\"b\",\"key\":\"k\"}",
        "{\"v\":1,\"kind\":\"delete\",\"state\":\"moving\",\"bucket\":\"b\",\"key\":\"k\"}",
        "{\"v\":1,\"kind\":\"delete\",\"state\":\"wanted\",\"bucket\":\"b\"}",
        "{\"v\":1,\"kind\":\"delete\",\"state\":\"wanted\",\"bucket\":\"b\",\"key\":7}",
        "{\"v\":1,\"kind\":\"delete\",\"state\":\"wanted\",\"bucket\":\"b\",\"key\":\"k\",\"x\":1}",
        "{\"v\":1,\"kind\":\"delete\",\"state\":\"wanted\",\"bucket\":\"b\",\"key\":\"k\","
        "\"attempts\":-1}",
        "{\"v\":1,\"kind\":\"delete\",\"state\":\"wanted\",\"bucket\":\"b\",\"key\":\"k\","
        "\"base\":{\"rev\":\"1\"}}",
        "{\"v\":1,\"kind\":\"content\",\"state\":\"held\",\"bucket\":\"b\",\"key\":\"k\","
        "\"file\":\"..\"}",
        "{\"v\":1,\"kind\":\"content\",\"state\":\"held\",\"bucket\":\"b\",\"key\":\"k\","
        "\"file\":\"f\",\"size\":9,\"extents\":[[0,3],[2,5]]}",
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sf_record r = {.attempts = 77};
        char why[160] = "";
        assert_int_equal(sf_record_parse(bad[i], strlen(bad[i]), &r, why), -EPROTO);
        assert_true(why[0]);
        assert_int_equal(r.attempts, 77);
    }
    struct sf_record r = {0};
    const char *good = "{\"v\":1,\"kind\":\"delete\",\"state\":\"wanted\",\"bucket\":\"b\","
                       "\"key\":\"k\"}";
    assert_int_equal(sf_record_parse(good, strlen(good), &r, NULL), 0);
    assert_int_equal(r.kind, SF_RECORD_DELETE);
    sf_record_fini(&r);
}

/* ---- the journal ---------------------------------------------------------------------------- */

static int
append_key(void *arg, struct sf_record *r)
{
    struct sf_buf *out = arg;
    assert_true(r->seq > 0 && r->made_ns > 0);
    assert_int_equal(sf_buf_printf(out, "%s ", r->key), 0);
    return 0;
}

static void
assert_keys(const char *keys)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    assert_int_equal(sf_journal_each(journal, append_key, &b), 0);
    assert_string_equal(sf_buf_str(&b), keys);
}

static void
records_come_back_in_order(void **state)
{
    (void)state;
    struct sf_record a = a_delete("a"), b = a_delete("b"), c = a_delete("c");
    struct sf_journal_stats st;
    assert_keys("");
    assert_int_equal(sf_journal_put(journal, &a), 0);
    assert_int_equal(sf_journal_put(journal, &b), 0);
    assert_int_equal(sf_journal_put(journal, &c), 0);
    assert_true(0 < a.seq && a.seq < b.seq && b.seq < c.seq);
    a.key = (char *)"a2";
    assert_int_equal(sf_journal_put(journal, &a), 0);
    sf_journal_drop(journal, b.seq);
    reopen();
    assert_keys("a2 c ");
    sf_journal_stats(journal, &st);
    assert_int_equal(st.records[SF_RECORD_DELETE], 2);
    assert_int_equal(st.records[SF_RECORD_CONTENT], 0);
    assert_int_equal(st.oldest_ns, a.made_ns);
    assert_int_equal(st.damaged, 0);
    assert_int_equal(sf_journal_drop_wait(journal, c.seq), 0);
    assert_int_equal(sf_journal_drop_wait(journal, a.seq), 0);
    assert_int_equal(sf_journal_drop_wait(journal, a.seq), 0);
    assert_keys("");
    sf_journal_stats(journal, &st);
    assert_int_equal(st.records[SF_RECORD_DELETE], 0);
    assert_int_equal(st.oldest_ns, 0);

    /* numbers are not used again */
    struct sf_record d = a_delete("d"), e = a_delete("e");
    uint64_t last = c.seq;
    for (int i = 0; i < 3; i++) {
        reopen();
        d.seq = 0;
        assert_int_equal(sf_journal_put(journal, &d), 0);
        assert_true(d.seq > last);
        last = d.seq;
        assert_int_equal(sf_journal_drop_wait(journal, d.seq), 0);
    }
    assert_int_equal(sf_journal_put(journal, &e), 0);
    assert_true(e.seq > last);
}

static struct sf_record
a_content(const char *bucket, const char *key, const char *from)
{
    return (struct sf_record){.kind = SF_RECORD_CONTENT,
                              .state = SF_RECORD_CONTENT_SENDING,
                              .bucket = (char *)bucket,
                              .key = (char *)key,
                              .file = (char *)"f",
                              .from_bucket = (char *)(from ? "b" : NULL),
                              .from_key = (char *)from,
                              .whole = !from,
                              .synced = true};
}

static int
append_names(void *arg, struct sf_record *r)
{
    return sf_buf_printf(arg, "%s/%s<%s ", r->bucket, r->key, r->from_key ? r->from_key : "");
}

static void
contents_below_a_renamed_directory_get_its_name(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    struct sf_record rename = {.kind = SF_RECORD_RENAME_DIR,
                               .state = SF_RECORD_RENAME_DIR_MOVING,
                               .bucket = (char *)"b",
                               .key = (char *)"old/",
                               .to_bucket = (char *)"c",
                               .to_key = (char *)"new/d/"};
    struct sf_record all[] = {
        a_content("b", "old/x", NULL),     a_content("b", "old/y/z", "old/y/z"),
        a_content("b", "older/x", NULL),   a_content("x", "old/x", NULL),
        a_content("b", "beside", "old/y"), a_delete("old/w"),
    };
    assert_int_equal(sf_journal_put(journal, &all[0]), 0);
    assert_int_equal(sf_journal_put(journal, &rename), 0);
    for (unsigned i = 1; i < sizeof all / sizeof all[0]; i++)
        assert_int_equal(sf_journal_put(journal, &all[i]), 0);
    assert_int_equal(sf_journal_drop_renamed(journal, &rename), 0);
    assert_false(sf_journal_has(journal, rename.seq));
    reopen();
    assert_int_equal(sf_journal_each(journal, append_names, &b), 0);
    assert_string_equal(sf_buf_str(&b), "c/new/d/x< c/new/d/y/z<new/d/y/z b/older/x< x/old/x< "
                                        "b/beside<new/d/y b/old/w< ");
}

static int
take_first(void *arg, struct sf_record *r)
{
    *(struct sf_record *)arg = *r;
    *r = (struct sf_record){0};
    return 5;
}

static int
drop_it(void *arg, struct sf_record *r)
{
    (*(unsigned *)arg)++;
    return sf_journal_drop_wait(journal, r->seq);
}

static void
no_matter(void *arg, int rc)
{
    (void)arg, (void)rc;
}

static void
a_walk_may_take_and_change(void **state)
{
    (void)state;
    unsigned n = 0;
    for (unsigned i = 0; i < 150; i++) { /* more than one transaction reads */
        struct sf_record r = a_delete("k");
        uint64_t seq = 0;
        if (i % 2)
            assert_int_equal(sf_journal_put(journal, &r), 0);
        else
            for (unsigned k = 0; k < 2; k++)
                sf_journal_put_async(journal, &r, &seq, no_matter, NULL);
    }
    sf_autorecord struct sf_record taken = {0};
    assert_int_equal(sf_journal_each(journal, take_first, &taken), 5);
    assert_string_equal(taken.key, "k");
    assert_int_equal(sf_journal_each(journal, drop_it, &n), 0);
    assert_int_equal(n, 225);
    assert_keys("");
}

struct acked {
    struct sf_mutex lock; /* leaf; protects the next */
    struct sf_cond cond;
    unsigned n;
    int rc;
};

static void
count_ack(void *arg, int rc)
{
    struct acked *a = arg;
    SF_GUARD(&a->lock);
    a->n++;
    a->rc = rc;
    sf_cond_signal(&a->cond);
}

static void
nobody_has_to_wait(void **state)
{
    (void)state;
    struct acked a = {.n = 0};
    struct sf_journal_stats before, after;
    uint64_t last = 0, seq = 0;
    sf_mutex_init(&a.lock, 0);
    sf_cond_init(&a.cond);
    sf_journal_stats(journal, &before);
    for (unsigned i = 0; i < 300; i++) {
        struct sf_record r = a_delete("k");
        sf_journal_put_async(journal, &r, &seq, count_ack, &a);
        assert_true(seq > last);
        last = seq;
    }
    sf_mutex_lock(&a.lock);
    while (a.n < 300)
        sf_cond_wait(&a.cond, &a.lock);
    sf_mutex_unlock(&a.lock);
    sf_journal_stats(journal, &after);
    assert_int_equal(after.changes - before.changes, 300);
    assert_in_range(after.commits - before.commits, 1, 299); /* some share one */
    assert_int_equal(after.records[SF_RECORD_DELETE], 300);

    struct sf_record bad = a_delete("");
    sf_journal_put_async(journal, &bad, &seq, count_ack, &a);
    assert_int_equal(a.n, 301);
    assert_int_equal(a.rc, -EINVAL);
    assert_int_equal(seq, last);
    sf_cond_fini(&a.cond);
    sf_mutex_fini(&a.lock);
}

static void
what_was_put_survives_a_kill(void **state)
{
    (void)state;
    int fd[2];
    char said;
    sf_journal_close(journal);
    journal = NULL;
    assert_int_equal(pipe(fd), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct sf_record a = a_delete("a"), b = a_delete("b");
        struct sf_record c = a_content("b", "c", NULL), d = a_content("b", "d", NULL);
        c.synced = d.synced = false;
        if (sf_journal_open(dir, &journal, NULL) || sf_journal_put(journal, &a) ||
            sf_journal_put(journal, &c) || sf_journal_put(journal, &d) ||
            sf_journal_put(journal, &b) || sf_journal_drop_wait(journal, a.seq) ||
            sf_journal_drop_wait(journal, d.seq))
            _exit(1);
        (void)!write(fd[1], "x", 1);
        pause();
    }
    assert_int_equal(read(fd[0], &said, 1), 1);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(fd[0]);
    close(fd[1]);
    reopen();
    assert_keys("c b ");
}

/* ---- contents that are not synced ----------------------------------------------------------- */

static struct sf_record
unsynced(const char *key)
{
    struct sf_record r = a_content("b", key, NULL);
    r.synced = false;
    return r;
}

static void
what_counts_in_this_boot_needs_no_sync(void **state)
{
    (void)state;
    struct sf_record a = unsynced("a"), b = a_delete("b"), c = unsynced("c"), d = unsynced("d");
    struct sf_journal_stats before, after;
    assert_int_equal(sf_journal_put(journal, &b), 0);
    sf_journal_stats(journal, &before);
    assert_int_equal(sf_journal_put(journal, &a), 0);
    assert_int_equal(sf_journal_put(journal, &c), 0);
    a.state = SF_RECORD_CONTENT_KEEPING;
    assert_int_equal(sf_journal_put(journal, &a), 0);
    assert_int_equal(sf_journal_put(journal, &d), 0);
    assert_int_equal(sf_journal_drop_wait(journal, d.seq), 0);
    sf_journal_stats(journal, &after);
    assert_int_equal(after.commits, before.commits);
    assert_int_equal(after.changes, before.changes + 5);
    assert_int_equal(after.records[SF_RECORD_CONTENT], 2);
    assert_true(b.seq < a.seq && a.seq < c.seq && c.seq < d.seq);
    assert_keys("b a c ");
    reopen();
    assert_keys("b a c ");
    struct sf_record e = unsynced("e");
    assert_int_equal(sf_journal_put(journal, &e), 0);
    assert_true(e.seq > d.seq);
}

static void
what_is_done_is_not_counted(void **state)
{
    (void)state;
    for (int brief = 0; brief < 2; brief++) {
        struct sf_record r = brief ? unsynced("r") : a_content("b", "r", NULL);
        struct sf_journal_stats st;
        assert_int_equal(sf_journal_put(journal, &r), 0);
        sf_journal_stats(journal, &st);
        assert_int_equal(st.records[SF_RECORD_CONTENT], 1);
        sf_journal_drop(journal, r.seq);
        sf_journal_stats(journal, &st); /* whenever that is on disk */
        assert_int_equal(st.records[SF_RECORD_CONTENT], 0);
        assert_int_equal(st.oldest_ns, 0);
        assert_int_equal(sf_journal_settle(journal), 0);
        assert_false(sf_journal_has(journal, r.seq));
        sf_journal_stats(journal, &st);
        assert_int_equal(st.records[SF_RECORD_CONTENT], 0);
    }
}

static void
another_boot(void)
{
    char path[128];
    sf_journal_close(journal);
    journal = NULL;
    snprintf(path, sizeof path, "%s/sending/boot", dir);
    assert_int_equal(sf_write_file_atomic(path, "another", 7, 0600, NULL), 0);
    reopen();
}

static void
what_is_synced_later_lasts(void **state)
{
    (void)state;
    struct sf_record a = unsynced("a"), b = unsynced("b"), c = unsynced("c");
    struct sf_journal_stats st;
    assert_int_equal(sf_journal_put(journal, &a), 0);
    assert_int_equal(sf_journal_put(journal, &b), 0);
    assert_int_equal(sf_journal_put(journal, &c), 0);
    uint64_t seq = b.seq;
    b.synced = true;
    b.state = SF_RECORD_CONTENT_HELD;
    assert_int_equal(sf_journal_put(journal, &b), 0);
    assert_int_equal(b.seq, seq);
    assert_keys("a b c ");
    sf_journal_stats(journal, &st);
    assert_int_equal(st.records[SF_RECORD_CONTENT], 3);
    another_boot();
    assert_keys("b ");
    struct sf_record d = a_delete("d");
    assert_int_equal(sf_journal_put(journal, &d), 0);
    assert_true(d.seq > seq);
    b.synced = false; /* it lies where it lies */
    assert_int_equal(sf_journal_put(journal, &b), 0);
    another_boot();
    assert_keys("b d ");
    assert_int_equal(sf_journal_drop_wait(journal, seq), 0);
    assert_keys("d ");
}

/* Drops wait for the next put, whichever environment that goes to: who is killed then must not find
 * the later record together with the one that was dropped before. */
static void
what_was_dropped_before_goes_before(void **state)
{
    (void)state;
    for (int brief = 0; brief < 2; brief++) {
        struct sf_record first = brief ? unsynced("first") : a_delete("first");
        struct sf_record then = brief ? a_delete("then") : unsynced("then");
        struct acked a = {.n = 0};
        uint64_t seq = 0;
        sf_mutex_init(&a.lock, 0);
        sf_cond_init(&a.cond);
        assert_int_equal(sf_journal_put(journal, &first), 0);
        sf_journal_drop(journal, first.seq);
        if (brief) {
            sf_journal_put_async(journal, &then, &seq, count_ack, &a);
            sf_mutex_lock(&a.lock);
            while (a.n < 1)
                sf_cond_wait(&a.cond, &a.lock);
            sf_mutex_unlock(&a.lock);
            then.seq = seq;
        } else {
            assert_int_equal(sf_journal_put(journal, &then), 0);
        }
        assert_false(sf_journal_has(journal, first.seq));
        assert_keys("then ");
        assert_int_equal(sf_journal_drop_wait(journal, then.seq), 0);
        sf_cond_fini(&a.cond);
        sf_mutex_fini(&a.lock);
    }
}

static void
what_replaces_one_is_there_before_it_goes(void **state)
{
    (void)state;
    struct acked a = {.n = 0};
    struct sf_record old = unsynced("old"), kept = unsynced("kept");
    struct sf_record fresh = a_content("b", "fresh", NULL);
    uint64_t seq = 0;
    sf_mutex_init(&a.lock, 0);
    sf_cond_init(&a.cond);
    assert_int_equal(sf_journal_put(journal, &old), 0);
    assert_int_equal(sf_journal_put(journal, &kept), 0);
    sf_journal_replace_async(journal, &fresh, &old.seq, 1, &seq, count_ack, &a);
    sf_mutex_lock(&a.lock);
    while (a.n < 1)
        sf_cond_wait(&a.cond, &a.lock);
    sf_mutex_unlock(&a.lock);
    assert_int_equal(a.rc, 0);
    assert_keys("kept fresh ");
    sf_journal_replace_async(journal, NULL, &kept.seq, 1, &seq, count_ack, &a);
    reopen(); /* nobody waits for the second part */
    assert_int_equal(a.n, 2);
    assert_keys("fresh ");
    sf_cond_fini(&a.cond);
    sf_mutex_fini(&a.lock);
}

/* ---- damage --------------------------------------------------------------------------------- */

struct raw_put {
    struct sf_env_write w;
    const void *key;
    size_t len;
    const char *value;
};

static int
raw_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct raw_put *p = (struct raw_put *)w;
    return sf_txn_put(txn, 0, p->key, p->len, p->value, strlen(p->value));
}

/* Behind the journal's back. */
static void
plant(const void *key, size_t len, const char *value)
{
    static const char *const tables[] = {"records", "meta"};
    char path[128];
    struct sf_env *env;
    struct sf_env_opts o = {
        .dir = path, .name = "x", .tables = tables, .n_tables = 2, .max_bytes = 1 << 20};
    struct raw_put p = {.w = {.run = raw_run}, .key = key, .len = len, .value = value};
    sf_journal_close(journal);
    journal = NULL;
    snprintf(path, sizeof path, "%s/journal", dir);
    assert_int_equal(sf_env_open(&o, &env, NULL), 0);
    assert_int_equal(sf_env_write_wait(env, &p.w), 0);
    sf_env_close(env);
}

/* A kill between the two parts of a change. */
static void
one_number_in_both_is_the_synced_one(void **state)
{
    (void)state;
    struct sf_record a = unsynced("a"), b = unsynced("b");
    assert_int_equal(sf_journal_put(journal, &a), 0);
    assert_int_equal(sf_journal_put(journal, &b), 0);
    uint64_t key = htobe64(a.seq);
    plant(&key, sizeof key,
          "{\"v\":1,\"kind\":\"content\",\"state\":\"held\",\"bucket\":\"b\",\"key\":\"a2\","
          "\"file\":\"f\",\"made\":7,\"synced\":true,\"whole\":true}");
    reopen();
    assert_keys("a2 b ");
    assert_int_equal(sf_journal_drop_wait(journal, a.seq), 0);
    reopen();
    assert_keys("b ");
}

/* The files in quarantine/ whose name has @part; the last one's path in @out. */
static unsigned
quarantined(const char *part, char out[400])
{
    char path[128];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/quarantine", dir);
    sf_autodir DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strstr(e->d_name, part) && !sf_str_ends(e->d_name, ".json")) {
            snprintf(out, 400, "%s/%s", path, e->d_name);
            n++;
        }
    return n;
}

static void
a_damaged_record_is_kept_aside(void **state)
{
    (void)state;
    struct sf_record a = a_delete("a"), b = a_delete("b");
    struct sf_journal_stats st;
    char path[400], note[420];
    assert_int_equal(sf_journal_put(journal, &a), 0);
    assert_int_equal(sf_journal_put(journal, &b), 0);
    const char key[8] = {0, 0, 0, 0, 0, 0, 1, 2};
    plant(key, 8, "{\"v\":2}");
    plant("odd", 3, "a key that is no number");
    reopen();
    assert_keys("a b ");
    sf_journal_stats(journal, &st);
    assert_int_equal(st.damaged, 1);
    assert_int_equal(st.records[SF_RECORD_DELETE], 2);
    assert_int_equal(quarantined("-record-258-", path), 1);
    sf_autobuf struct sf_buf bytes = SF_BUF_INIT, text = SF_BUF_INIT;
    assert_int_equal(sf_read_file(path, 4096, &bytes, NULL), 0);
    assert_string_equal(sf_buf_str(&bytes), "{\"v\":2}");
    snprintf(note, sizeof note, "%s.json", path);
    assert_int_equal(sf_read_file(note, 4096, &text, NULL), 0);
    assert_non_null(strstr(sf_buf_str(&text), "record 258 of the journal"));
    reopen(); /* once is enough */
    sf_journal_stats(journal, &st);
    assert_int_equal(st.damaged, 0);
    assert_int_equal(quarantined("-record-", path), 1);
}

static void
a_journal_that_is_no_database_is_kept_aside(void **state)
{
    (void)state;
    char path[400];
    struct sf_record a = a_delete("a");
    assert_int_equal(sf_journal_put(journal, &a), 0);
    sf_journal_close(journal);
    journal = NULL;
    snprintf(path, sizeof path, "%s/journal/data.mdb", dir);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    char junk[8192];
    memset(junk, 'x', sizeof junk);
    assert_int_equal(sf_write_full(fd, junk, sizeof junk), 0);
    close(fd);
    reopen();
    assert_keys("");
    assert_int_equal(quarantined("-journal-", path), 1);
    assert_int_equal(sf_journal_put(journal, &a), 0);
}

/* ---- the description ------------------------------------------------------------------------ */

static void
every_member_is_described(void **state)
{
    (void)state;
    char path[1024];
    const char *top = getenv("top_srcdir");
    snprintf(path, sizeof path, "%s/docs/formats/journal.md", top ? top : ".");
    sf_autobuf struct sf_buf doc = SF_BUF_INIT;
    assert_int_equal(sf_read_file(path, 1 << 20, &doc, NULL), 0);
    sf_autorecord struct sf_record r = everything();
    sf_autofree char *text = NULL;
    size_t len;
    assert_int_equal(sf_record_format(&r, &text, &len, NULL), 0);
    unsigned members = 0;
    for (char *p = text; (p = strchr(p, '"')); p++) { /* "name": */
        char *end = strchr(p + 1, '"');
        if (!end || end[1] != ':' || (p[-1] != '{' && p[-1] != ','))
            continue;
        char name[32];
        snprintf(name, sizeof name, "`%.*s`", (int)(end - p - 1), p + 1);
        if (strncmp(name, "`user.", 6) != 0 && !strstr(sf_buf_str(&doc), name))
            fail_msg("%s does not say what %s is", path, name);
        members++;
        p = end;
    }
    assert_true(members > 30);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_is_written_is_read),
        T(what_breaks_a_rule_is_not_written),
        T(what_is_damaged_is_not_read),
        T(records_come_back_in_order),
        T(contents_below_a_renamed_directory_get_its_name),
        T(a_walk_may_take_and_change),
        T(nobody_has_to_wait),
        T(what_was_put_survives_a_kill),
        T(what_counts_in_this_boot_needs_no_sync),
        T(what_is_done_is_not_counted),
        T(what_is_synced_later_lasts),
        T(what_was_dropped_before_goes_before),
        T(what_replaces_one_is_there_before_it_goes),
        T(one_number_in_both_is_the_synced_one),
        T(a_damaged_record_is_kept_aside),
        T(a_journal_that_is_no_database_is_kept_aside),
        T(every_member_is_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
