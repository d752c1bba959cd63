/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tree/xattr-provider.c: what the attributes of a provider ask for, when they ask for nothing, and
 * which bytes those who upload a file are given. The providers are played by the test. */
#include "tree-fixture.h"

#include <ftw.h>
#include <pthread.h>
#include <time.h>

#include "provider/want.h"
#include "tables/tables.h"

#define ID    "11111111-2222-3333-4444-555555555555"
#define MD5   "\"0123456789abcdef0123456789abcdef\""
#define OTHER "\"ffffffffffffffffffffffffffffffff\""
#define SHA   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* ---- in place of provider/want.c --------------------------------------------------------------
 */

struct sf_providers {
    struct sf_provider_confs confs;
};

static struct sf_provider_conf confs[] = {{.name = "kimi"}, {.name = "my-glm"}};
static struct sf_providers providers = {{confs, 2}};

static struct {
    _Atomic unsigned wants; /* counted when all of what follows is set */
    bool under_way;
    unsigned cancels, looks, forgets, releases;
    char provider[40];
    struct sf_want_file file; /* texts are those below */
    char name[40], id[40], etag[64], sha256[65];
    sf_wanted_fn fn;
    void *arg;
    /* What is known of the object with this ETag. */
    const char *known_etag;
    struct sf_want_state known;
    const char *at_once; /* wants end so before they return */
} p;

const struct sf_provider_confs *
sf_providers_confs(const struct sf_providers *ps)
{
    static const struct sf_provider_confs none;
    return ps ? &ps->confs : &none;
}

static void
let_go(void)
{
    p.under_way = false;
    p.releases++;
    p.file.release(p.file.arg);
}

static void
finish(int rc, const char *id)
{
    struct sf_wanted w = {.rc = rc};
    assert_true(p.under_way);
    snprintf(w.id, sizeof w.id, "%s", id);
    let_go();
    p.fn(p.arg, &w);
}

uint64_t
sf_want(struct sf_providers *ps, const char *provider, const struct sf_want_file *file,
        const struct sf_want_how *how, sf_wanted_fn fn, void *arg)
{
    assert_ptr_equal(ps, &providers);
    assert_null(how);
    assert_false(p.under_way);
    p.under_way = true;
    p.file = *file;
    p.fn = fn;
    p.arg = arg;
    snprintf(p.provider, sizeof p.provider, "%s", provider);
    snprintf(p.name, sizeof p.name, "%s", file->name);
    snprintf(p.id, sizeof p.id, "%s", file->id);
    snprintf(p.etag, sizeof p.etag, "%s", file->etag);
    snprintf(p.sha256, sizeof p.sha256, "%s", file->sha256);
    if (!p.at_once)
        return ++p.wants;
    p.wants++;
    finish(0, p.at_once);
    return 0;
}

void
sf_want_cancel(struct sf_providers *ps, uint64_t id)
{
    assert_ptr_equal(ps, &providers);
    p.cancels++;
    if (p.under_way && id == p.wants)
        finish(-ECANCELED, "");
}

int
sf_want_known(struct sf_providers *ps, const char *provider, const struct sf_want_file *file,
              const char *purpose, struct sf_want_state *out)
{
    assert_ptr_equal(ps, &providers);
    assert_null(purpose);
    assert_null(file->read);
    p.looks++;
    bool same = p.known_etag && !strcmp(file->etag, p.known_etag) && !strcmp(provider, "kimi");
    *out = same ? p.known : (struct sf_want_state){.phase = SF_WANT_NONE};
    return 0;
}

int
sf_want_forget(struct sf_providers *ps, const char *provider, const struct sf_want_file *file)
{
    assert_ptr_equal(ps, &providers);
    assert_string_equal(provider, "kimi");
    assert_string_equal(file->etag, MD5);
    p.forgets++;
    return 0;
}

/* ---- the world -------------------------------------------------------------------------------
 */

static struct sf_tables *tables;

static void
begin_ttl(int64_t ttl_ms)
{
    fake_bucket("b");
    blocks_begin();
    const struct sf_tree_opts o = {.bucket = "b",
                                   .cache = blocks,
                                   .providers = &providers,
                                   .tables = tables,
                                   .attr_ttl_ms = ttl_ms,
                                   .read_timeout_ms = 1000,
                                   .write_timeout_ms = 1000,
                                   .max_nodes = 100000};
    assert_int_equal(sf_tree_new(&o, NULL, NULL, NULL, &tree, NULL), 0);
}

static uint64_t
begin(void)
{
    memset(&p, 0, sizeof p);
    threads_answer = true;
    begin_ttl(60000);
    fake_put("b", "d/f", "x");
    fake_put_mime("b", "f.txt", "0123456789", "text/plain");
    fake_set_version("b", "f.txt", ID, MD5);
    return node(1, "f.txt");
}

static struct got
ask(uint64_t n, const char *what)
{
    struct got g = {0};
    char name[100];
    snprintf(name, sizeof name, "user.supafs.%s", what);
    assert_false(sf_tree_xattr_is_patient(name));
    assert_int_equal(sf_tree_getxattr(tree, n, name, keep, &g), 0);
    fake_run();
    assert_true(g.called);
    return g;
}

/* The value, or "-ERRNO". */
static const char *
getx(uint64_t n, const char *what)
{
    static char text[300];
    struct got g = ask(n, what);
    if (g.err)
        snprintf(text, sizeof text, "%d", g.err);
    else
        snprintf(text, sizeof text, "%s", g.data);
    return text;
}

#define FILE_ID "user.supafs.kimi.file_id"

static uint64_t
get_id(uint64_t n, struct got *g)
{
    *g = (struct got){0};
    return sf_tree_getxattr(tree, n, FILE_ID, keep, g);
}

/* The service answers, and what waits for it goes on on its thread. */
static void
run_until_wanted(unsigned times)
{
    for (int i = 0; p.wants < times && i < 10000; i++) {
        fake_run();
        usleep(500);
    }
    assert_int_equal(p.wants, times);
}

static int
setx(uint64_t n, const char *name, const char *value)
{
    struct got g = {0};
    sf_tree_setxattr(tree, n, name, value, value ? strlen(value) : 0, 0, keep, &g);
    run_until_called(&g);
    return g.err;
}

static struct got
listed(uint64_t n)
{
    struct got g = {0};
    sf_tree_listxattr(tree, n, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    return g;
}

/* ---- reading, as an upload does ---------------------------------------------------------------
 */

struct reading {
    struct sf_want_file file;
    char text[40];
    ssize_t got;
    _Atomic bool done;
};

static void *
read_main(void *arg)
{
    struct reading *r = arg;
    r->got = r->file.read(r->file.arg, r->text, sizeof r->text - 1, 0);
    r->done = true;
    return NULL;
}

/* What one read gives; the service answers meanwhile, unless @stop. */
static struct reading
read_file_of(bool stop)
{
    static struct reading r;
    pthread_t tid;
    r = (struct reading){.file = p.file};
    assert_int_equal(pthread_create(&tid, NULL, read_main, &r), 0);
    if (stop) {
        usleep(20000);
        assert_false(r.done);
        r.file.stop(r.file.arg);
    }
    while (!stop && !r.done) {
        fake_run();
        usleep(500);
    }
    pthread_join(tid, NULL);
    return r;
}

/* ---- getting an id ----------------------------------------------------------------------------
 */

static void
test_naming_it_gets_it(void **state)
{
    (void)state;
    uint64_t n = begin();
    struct got g;
    assert_true(sf_tree_xattr_is_patient(FILE_ID));
    get_id(n, &g);
    run_until_wanted(1);
    assert_false(g.called);
    assert_int_equal(p.wants, 1);
    assert_string_equal(p.provider, "kimi");
    assert_string_equal(p.name, "f.txt");
    assert_string_equal(p.id, ID);
    assert_string_equal(p.etag, MD5);
    assert_string_equal(p.sha256, "");
    assert_int_equal(p.file.size, 10);
    assert_int_equal(fake_counts.infos, 1); /* does the object know its hash? */
    assert_int_equal(fake_counts.gets, 0);
    struct reading r = read_file_of(false);
    assert_int_equal(r.got, 10);
    assert_string_equal(r.text, "0123456789");
    finish(0, "f-1");
    assert_int_equal(g.err, 0);
    assert_string_equal(g.data, "f-1");
    assert_int_equal(p.releases, 1);
}

static void
test_failure_is_told(void **state)
{
    (void)state;
    uint64_t n = begin();
    struct got g;
    get_id(n, &g);
    run_until_wanted(1);
    finish(-ENOTSUP, "");
    assert_int_equal(g.err, -ENOTSUP);
    p.at_once = "f-2";
    get_id(n, &g);
    run_until_called(&g);
    assert_string_equal(g.data, "f-2");
}

static void
test_known_one_costs_nothing(void **state)
{
    (void)state;
    uint64_t n = begin();
    struct got g;
    p.known_etag = MD5;
    p.known = (struct sf_want_state){.phase = SF_WANT_READY, .id = "f-7"};
    get_id(n, &g);
    assert_string_equal(g.data, "f-7");
    p.known.expires_s = time(NULL) + 100;
    get_id(n, &g);
    assert_string_equal(g.data, "f-7");
    assert_int_equal(p.wants, 0);
    assert_int_equal(fake_counts.infos, 0);
    p.known.expires_s = time(NULL) - 1;
    get_id(n, &g);
    run_until_wanted(1);
    finish(0, "f-7");
}

/* Who hangs up before the object was asked, and while it is uploaded. */
static void
test_cancelled(void **state)
{
    (void)state;
    uint64_t n = begin();
    struct got g;
    uint64_t id = get_id(n, &g);
    assert_int_not_equal(id, 0);
    sf_tree_cancel(tree, id);
    run_until_called(&g);
    assert_int_equal(g.err, -ECANCELED);
    assert_int_equal(p.wants, 0);
    id = get_id(n, &g);
    run_until_wanted(1);
    assert_false(g.called);
    sf_tree_cancel(tree, id);
    run_until_called(&g);
    assert_int_equal(g.err, -ECANCELED);
    assert_int_equal(p.cancels, 1);
    sf_tree_cancel(tree, id); /* it has ended */
    assert_int_equal(p.cancels, 1);
}

/* A version that others put there is noticed by the read, and its id is what is told. */
static void
test_replaced_meanwhile(void **state)
{
    (void)state;
    uint64_t n = begin();
    struct got g;
    get_id(n, &g);
    run_until_wanted(1);
    fake_keep_ids(true);
    fake_put_mime("b", "f.txt", "abc", "text/plain");
    fake_set_version("b", "f.txt", ID, OTHER);
    assert_int_equal(read_file_of(false).got, -ESTALE);
    finish(-EBUSY, "");
    run_until_wanted(2);
    assert_false(g.called);
    assert_int_equal(p.wants, 2);
    assert_string_equal(p.etag, OTHER);
    assert_int_equal(p.file.size, 3);
    assert_string_equal(read_file_of(false).text, "abc");
    finish(-EBUSY, ""); /* for another reason */
    assert_int_equal(g.err, -EBUSY);
}

static void
test_stopped_reader(void **state)
{
    (void)state;
    uint64_t n = begin();
    struct got g;
    get_id(n, &g);
    run_until_wanted(1);
    assert_int_equal(read_file_of(true).got, -ECANCELED);
    assert_int_equal(read_file_of(false).got, -ECANCELED);
    finish(-ECANCELED, "");
    assert_int_equal(g.err, -ECANCELED);
}

/* ---- what is not uploaded yet -----------------------------------------------------------------
 */

static void
test_open_for_writing(void **state)
{
    (void)state;
    begin();
    struct got g;
    uint64_t n;
    struct sf_file *f = create(1, "new", "text", &n);
    get_id(n, &g);
    assert_int_equal(g.err, -EBUSY);
    assert_string_equal(getx(n, "kimi.status"), "changing");
    assert_non_null(strstr(getx(n, "kimi.error"), "open for writing"));
    sf_tree_release(tree, f);
    fake_run();
    get_id(n, &g);
    run_until_wanted(1);
    finish(0, "f-1");
}

/* Bytes that wait for their upload are those that a provider gets, as long as they stay. */
static void
test_staged_bytes(void **state)
{
    (void)state;
    begin();
    struct got g, o = {0};
    uint64_t n;
    struct sf_file *f = create(1, "new", "text", &n);
    fake_hold(true);
    sf_tree_release(tree, f);
    fake_step_question();
    get_id(n, &g);
    assert_int_equal(p.wants, 1);
    assert_string_equal(p.etag, "");
    assert_int_equal(p.file.size, 4);
    char text[8] = "";
    assert_int_equal(p.file.read(p.file.arg, text, 7, 1), 3);
    assert_string_equal(text, "ext");
    sf_tree_open(tree, n, O_RDWR, keep, &o);
    run_until_called(&o);
    struct got w = {0};
    sf_tree_write(tree, o.res.open.file, 0, "T", 1, keep, &w);
    assert_int_equal(w.err, 0);
    assert_int_equal(p.file.read(p.file.arg, text, 7, 0), -ESTALE);
    finish(-EBUSY, "");
    fake_run();
    assert_int_equal(g.err, -EBUSY); /* it is open for writing */
    sf_tree_release(tree, o.res.open.file);
    fake_hold(false);
    fake_run();
}

/* ---- what tells, and asks nobody --------------------------------------------------------------
 */

static void
test_what_tells(void **state)
{
    (void)state;
    uint64_t n = begin();
    assert_string_equal(getx(n, "kimi.status"), "none");
    assert_string_equal(getx(n, "kimi.expires"), "-61");
    assert_string_equal(getx(n, "kimi.error"), "-61");
    p.known_etag = MD5;
    p.known = (struct sf_want_state){.phase = SF_WANT_READY, .id = "f", .expires_s = 4102444800};
    assert_string_equal(getx(n, "kimi.status"), "ready");
    assert_string_equal(getx(n, "kimi.expires"), "2100-01-01T00:00:00Z");
    p.known.expires_s = 1;
    assert_string_equal(getx(n, "kimi.status"), "expired");
    p.known = (struct sf_want_state){.phase = SF_WANT_UNDER_WAY, .sent = 43, .total = 100};
    assert_string_equal(getx(n, "kimi.status"), "uploading 43 %");
    p.known.reading = true;
    assert_string_equal(getx(n, "kimi.status"), "reading 43 %");
    p.known.pending = true;
    assert_string_equal(getx(n, "kimi.status"), "processing");
    p.known.elsewhere = true;
    assert_string_equal(getx(n, "kimi.status"), "uploading: another mount does it");
    p.known = (struct sf_want_state){.phase = SF_WANT_FAILED, .err = -EFBIG, .text = "too large"};
    assert_string_equal(getx(n, "kimi.status"), "failed: too large");
    assert_string_equal(getx(n, "kimi.error"), "too large");
    assert_string_equal(getx(n, "my-glm.status"), "none");
    assert_string_equal(getx(n, "my_glm.status"), "none");
    assert_int_equal(p.wants, 0);
    assert_int_equal(fake_counts.infos, 0);
}

static void
test_listed_when_there(void **state)
{
    (void)state;
    uint64_t n = begin();
    assert_int_equal(listed(n).res.len, 0);
    p.known_etag = MD5;
    p.known = (struct sf_want_state){.phase = SF_WANT_READY, .id = "f"};
    struct got g = listed(n);
    assert_int_equal(g.res.len, sizeof FILE_ID);
    assert_string_equal(g.data, FILE_ID);
    p.known.expires_s = 1;
    assert_int_equal(listed(n).res.len, 0);
    p.known.phase = SF_WANT_FAILED;
    assert_int_equal(listed(n).res.len, 0);
    assert_int_equal(p.wants, 0);
    assert_int_equal(fake_counts.infos, 0);
}

static void
test_set_and_removed(void **state)
{
    (void)state;
    uint64_t n = begin();
    assert_int_equal(setx(n, FILE_ID, "f-9"), 0);
    assert_int_equal(setx(n, "user.supafs.nobody.file_id", "f-9"), 0);
    assert_int_equal(setx(n, "user.supafs.nobody.file_id", NULL), 0);
    assert_int_equal(setx(n, "user.supafs.kimi.status", NULL), 0);
    assert_int_equal(setx(n, "user.supafs.Kimi.file_id", "x"), -EOPNOTSUPP);
    assert_int_equal(p.forgets, 0);
    assert_int_equal(setx(n, FILE_ID, NULL), 0);
    assert_int_equal(p.forgets, 1);
    assert_int_equal(p.wants, 0);
    assert_int_equal(fake_counts.puts, 0);
    assert_int_equal(fake_counts.attrs, 0);
}

static void
test_others_have_none(void **state)
{
    (void)state;
    uint64_t n = begin();
    struct got g = {0}, l = {0};
    sf_tree_symlink(tree, &me, "f.txt", 1, "link", keep, &l);
    run_until_called(&l);
    uint64_t bad[] = {1, node(1, "d"), l.res.entry.node};
    for (size_t i = 0; i < 3; i++) {
        get_id(bad[i], &g);
        fake_run();
        assert_int_equal(g.err, -ENODATA);
        assert_string_equal(getx(bad[i], "kimi.status"), "-61");
        assert_int_equal(listed(bad[i]).res.len, 0);
    }
    g = (struct got){0};
    sf_tree_getxattr(tree, n, "user.supafs.nobody.file_id", keep, &g);
    assert_int_equal(g.err, -ENODATA);
    assert_int_equal(p.wants, 0);
}

/* ---- hashes -----------------------------------------------------------------------------------
 */

static char dir[64];

static int
drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int
end_tables(void **state)
{
    end(state);
    sf_tables_free(tables);
    tables = NULL;
    return nftw(dir, drop, 8, FTW_DEPTH | FTW_PHYS);
}

/* Nobody answers. */
static int
refuse(void *arg, int64_t deadline_ms, unsigned *version, struct sf_err *err)
{
    (void)arg;
    (void)deadline_ms;
    (void)version;
    return sf_err_set(err, -ECONNREFUSED, "no database");
}

static int
refuse_record(void *arg, const char *json, size_t len, int64_t deadline_ms, bool *recorded,
              struct sf_err *err)
{
    (void)json;
    (void)len;
    (void)recorded;
    return refuse(arg, deadline_ms, NULL, err);
}

/* A hash that was noted of this version goes along, and is told, without a question. */
static void
test_noted_hash(void **state)
{
    (void)state;
    struct got g;
    const struct sf_tables_peer peer = {.record = refuse_record, .about = refuse};
    const struct sf_tables_opts o = {.state_dir = dir, .peer = &peer};
    const struct sf_file_fact f = {
        .bucket = "b", .key = "f.txt", .id = ID, .etag = MD5, .sha256 = SHA, .size = 10};
    snprintf(dir, sizeof dir, "/tmp/test-xattr-provider-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(sf_tables_new(&o, NULL, &tables, NULL), 0);
    sf_tables_note(tables, SF_OP_UPLOAD, &f, NULL, 10, 1, 0);
    sf_tables_settle(tables, INT64_MAX);
    uint64_t n = begin();
    assert_string_equal(getx(n, "sha256"), SHA);
    get_id(n, &g);
    assert_int_equal(p.wants, 1);
    assert_string_equal(p.sha256, SHA);
    assert_int_equal(fake_counts.infos, 0);
    finish(0, "f-1");
    /* Not of another one. */
    fake_set_version("b", "f.txt", ID, OTHER);
    sf_tree_free(tree);
    blocks_end();
    begin_ttl(60000);
    n = node(1, "f.txt");
    get_id(n, &g);
    run_until_wanted(2);
    assert_string_equal(p.sha256, "");
    finish(0, "f-2");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(naming_it_gets_it),
        TREE_TEST(failure_is_told),
        TREE_TEST(known_one_costs_nothing),
        TREE_TEST(cancelled),
        TREE_TEST(replaced_meanwhile),
        TREE_TEST(stopped_reader),
        TREE_TEST(open_for_writing),
        TREE_TEST(staged_bytes),
        TREE_TEST(what_tells),
        TREE_TEST(listed_when_there),
        TREE_TEST(set_and_removed),
        TREE_TEST(others_have_none),
        cmocka_unit_test_teardown(test_noted_hash, end_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
