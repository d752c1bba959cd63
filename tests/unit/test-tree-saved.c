/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tree/saved.h: what a mount knew serves the next one, for as long as it may, and never longer. */
#include "tree-fixture.h"

#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/file.h"
#include "store/env.h"
#include "tree/saved-format.h"

#define MINUTE 60000

static char dir[64];
static struct sf_env *env;
static const char *const tables[] = {"listings"};
static uint64_t max_bytes;

/* ---- mounts ---------------------------------------------------------------------------------- */

static void
open_env(void)
{
    const struct sf_env_opts o = {.dir = dir,
                                  .name = "test-saved",
                                  .tables = tables,
                                  .n_tables = 1,
                                  .max_bytes = 64 << 20,
                                  .throw_away = true};
    assert_int_equal(sf_env_open(&o, &env, NULL), 0);
}

static void
mount_as(const char *bucket, const char *prefix, int64_t ttl_ms, bool plain, uid_t uid)
{
    blocks_begin();
    const struct sf_tree_opts o = {.bucket = bucket,
                                   .cache = blocks,
                                   .prefix = prefix,
                                   .plain = plain,
                                   .uid = uid,
                                   .gid = 2,
                                   .umask = 022,
                                   .attr_ttl_ms = ttl_ms,
                                   .read_timeout_ms = 1000,
                                   .write_timeout_ms = 1000,
                                   .max_nodes = 100000,
                                   .saved_env = env,
                                   .saved_table = 0,
                                   .saved_bytes = max_bytes,
                                   .saved_dir = dir};
    assert_int_equal(sf_tree_new(&o, NULL, NULL, NULL, &tree, NULL), 0);
    fake_counts.lists = fake_counts.verifies = fake_counts.gets = fake_counts.infos = 0;
}

static void
mounted(int64_t ttl_ms)
{
    mount_as("b", NULL, ttl_ms, false, 1);
}

/* Without what was not saved yet, as kill -9 does. */
static void
killed(void)
{
    fake_run();
    sf_tree_free(tree);
    tree = NULL;
    blocks_end();
}

static void
unmounted(void)
{
    fake_run();
    sf_tree_save(tree, sf_clock_ms() + 10000);
    killed();
}

static unsigned
questions(void)
{
    return fake_counts.lists + fake_counts.verifies + fake_counts.gets + fake_counts.infos;
}

static int
setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/supafs-saved-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    max_bytes = 16 << 20;
    threads_answer = true;
    fake_bucket("b");
    open_env();
    return 0;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}

static int
teardown(void **state)
{
    fake_fail(0);
    end(state);
    sf_env_close(env);
    fake_pending = 0;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static bool
is_there(uint64_t parent, const char *name)
{
    struct got g = lookup(parent, name);
    assert_int_equal(g.err, 0);
    return g.res.entry.node != 0;
}

static struct sf_attr
stat_of(uint64_t parent, const char *name)
{
    struct got g = lookup(parent, name);
    assert_int_equal(g.err, 0);
    assert_int_not_equal(g.res.entry.node, 0);
    return g.res.entry.attr;
}

/* ---- what serves ------------------------------------------------------------------------------
 */

static void
test_a_remount_asks_nothing(void **state)
{
    (void)state;
    fake_put("b", "plain", "text");
    fake_put("b", "marked", "other text");
    fake_set_cache("b", "marked", "max-age=1, supafs=\"1;m=100640;u=9;g=8;t=5.7;c=9;a=3;i=abc\"");
    fake_put_mime("b", "link", "plain", "inode/symlink");
    fake_put_mime("b", "tty", "", "inode/chardevice");
    fake_set_cache("b", "tty", "no-cache, supafs=\"1;m=20620;d=4.64\"");
    fake_put("b", "d/.emptyFolderPlaceholder", "");
    fake_set_cache("b", "d/.emptyFolderPlaceholder", "supafs=\"1;m=40700;t=11;c=12\"");
    fake_put("b", "d/below", "x");
    fake_put("b", "d", "an object beside a directory");
    mounted(MINUTE);
    assert_string_equal(list(1), "%obj=d,d,link,marked,plain,tty,");
    struct sf_attr before[6];
    const char *const all[6] = {"plain", "marked", "link", "d", "%obj=d", "tty"};
    for (int i = 0; i < 6; i++)
        before[i] = stat_of(1, all[i]);
    assert_string_equal(list(node(1, "d")), "below,");
    unmounted();
    mounted(MINUTE);
    for (int i = 0; i < 6; i++) {
        struct sf_attr now = stat_of(1, all[i]);
        assert_memory_equal(&now, &before[i], sizeof now);
    }
    assert_int_equal(before[5].mode, S_IFCHR | 0620);
    assert_int_equal(before[5].rdev, 4 << 8 | 64);
    assert_int_equal(before[3].mode, S_IFDIR | 0700);
    assert_false(is_there(1, "missing"));
    assert_false(is_there(node(1, "d"), "missing"));
    assert_string_equal(list(1), "%obj=d,d,link,marked,plain,tty,");
    assert_string_equal(list(node(1, "d")), "below,");
    assert_int_equal(questions(), 0);
    /* and it goes on from there */
    struct sf_file *f = open_file(node(1, "plain"), O_RDONLY);
    assert_string_equal(read_file(f).data, "text");
    sf_tree_release(tree, f);
    assert_int_equal(fake_counts.gets, 1);
    unmounted();
    mounted(MINUTE);
    assert_true(is_there(1, "plain"));
    assert_int_equal(questions(), 0);
}

static void
test_what_is_too_old_is_asked_for(void **state)
{
    (void)state;
    fake_put("b", "f", "text");
    mounted(MINUTE);
    assert_true(is_there(1, "f"));
    unmounted();
    fake_remove("b", "f");
    fake_put("b", "g", "text");
    usleep(20000);
    mounted(10);
    assert_false(is_there(1, "f"));
    assert_true(is_there(1, "g"));
    assert_in_range(fake_counts.lists, 1, 2);
}

/* While the service is away what is known serves, and only then. */
static void
test_what_is_too_old_serves_offline(void **state)
{
    (void)state;
    fake_put("b", "f", "text");
    fake_put("b", "d/.emptyFolderPlaceholder", "");
    fake_set_cache("b", "d/.emptyFolderPlaceholder", "supafs=\"1;m=40700;t=11\"");
    fake_put("b", "d/g", "text");
    mounted(10);
    list(1);
    list(node(1, "d"));
    unmounted();
    usleep(20000);
    fake_fail(-ETIMEDOUT);
    mounted(10);
    assert_int_equal(stat_of(1, "f").size, 4);
    assert_string_equal(list(1), "d,f,");
    assert_int_equal(stat_of(1, "d").mode, S_IFDIR | 0700);
    assert_string_equal(list(node(1, "d")), "g,");
    assert_false(is_there(1, "missing"));
    /* It is back, and the world has changed: also what nobody says any more. */
    fake_fail(0);
    fake_remove("b", "f");
    fake_remove("b", "d/.emptyFolderPlaceholder");
    usleep(1100000); /* questions behind are asked once a second */
    (void)lookup(1, "f");
    usleep(20000);
    assert_false(is_there(1, "f"));
    assert_string_equal(list(node(1, "d")), "g,");
    assert_int_equal(stat_of(1, "d").mode, S_IFDIR | 0755);
}

static void
test_nothing_saved_fails_offline(void **state)
{
    (void)state;
    fake_fail(-ETIMEDOUT);
    mounted(MINUTE);
    assert_int_equal(lookup(1, "f").err, -ETIMEDOUT);
}

/* What was changed here after the listing was saved: kill -9 must not bring back the old. */
static void
test_own_changes_survive_a_kill(void **state)
{
    (void)state;
    uint64_t n;
    fake_put("b", "removed", "1");
    fake_put("b", "old-name", "22");
    fake_put("b", "overwritten", "333");
    fake_put("b", "d/x", "4");
    mounted(MINUTE);
    list(1);
    list(node(1, "d"));
    sf_tree_save(tree, sf_clock_ms() + 10000);
    assert_int_equal(unlink_name(1, "removed"), 0);
    assert_int_equal(rename_name(1, "old-name", "new-name", 0), 0);
    struct sf_file *f = create(1, "made", "55555", &n);
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    f = create(node(1, "d"), "made below", "55555", &n);
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    killed();
    mounted(MINUTE);
    assert_false(is_there(1, "removed"));
    assert_false(is_there(1, "old-name"));
    assert_true(is_there(1, "new-name"));
    assert_int_equal(stat_of(1, "made").size, 5);
    assert_string_equal(list(node(1, "d")), "made below,x,");
    assert_in_range(fake_counts.lists, 1, 5);
    /* Saved in that state, it serves again. */
    unmounted();
    mounted(MINUTE);
    assert_false(is_there(1, "removed"));
    assert_int_equal(stat_of(1, "made").size, 5);
    assert_int_equal(questions(), 0);
}

/* Changes are saved by themselves some time later. */
static void
test_changes_are_saved_behind(void **state)
{
    (void)state;
    uint64_t n;
    fake_put("b", "f", "1");
    mounted(MINUTE);
    list(1);
    struct sf_file *f = create(1, "made", "55555", &n);
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    usleep(3500000);
    killed();
    mounted(MINUTE);
    assert_string_equal(list(1), "f,made,");
    assert_int_equal(questions(), 0);
}

static void
test_a_renamed_directory(void **state)
{
    (void)state;
    fake_put("b", "d/e/x", "1");
    mounted(MINUTE);
    list(1);
    list(node(1, "d"));
    list(node(node(1, "d"), "e"));
    sf_tree_save(tree, sf_clock_ms() + 10000);
    assert_int_equal(rename_name(1, "d", "moved", 0), 0);
    killed();
    fake_put("b", "d/e/y", "somebody else's");
    mounted(MINUTE);
    assert_string_equal(list(node(node(1, "d"), "e")), "y,");
    assert_string_equal(list(node(node(1, "moved"), "e")), "x,");
}

static void
test_pending_changes_make_all_old(void **state)
{
    (void)state;
    fake_put("b", "f", "1");
    mounted(MINUTE);
    list(1);
    unmounted();
    fake_pending = 1;
    mounted(MINUTE);
    assert_true(is_there(1, "f"));
    assert_int_equal(fake_counts.lists, 1);
}

static void
test_large_directories(void **state)
{
    (void)state;
    char name[40];
    for (int i = 0; i < 2500; i++) {
        snprintf(name, sizeof name, "big/file-%04d", i);
        fake_put("b", name, "text");
    }
    mounted(MINUTE);
    uint64_t d = node(1, "big");
    size_t len = strlen(list(d));
    assert_int_equal(len, 2500 * 10);
    unmounted();
    mounted(MINUTE);
    d = node(1, "big");
    assert_true(is_there(d, "file-1234"));
    assert_false(is_there(d, "file-2500"));
    assert_int_equal(strlen(list(d)), len);
    assert_int_equal(questions(), 0);
}

/* Single names of a directory that was never listed to its end. */
static void
test_names_without_a_listing(void **state)
{
    (void)state;
    char name[40];
    for (int i = 0; i < 2500; i++) {
        snprintf(name, sizeof name, "big/file-%04d", i);
        fake_put("b", name, "text");
    }
    mounted(MINUTE);
    assert_true(is_there(node(1, "big"), "file-2400"));
    unmounted();
    mounted(MINUTE);
    assert_true(is_there(node(1, "big"), "file-2400"));
    assert_int_equal(questions(), 0);
    assert_false(is_there(node(1, "big"), "file-x"));
    assert_in_range(questions(), 1, 3);
}

/* ---- who may use it ----------------------------------------------------------------------------
 */

static void
test_mounts_of_parts_share(void **state)
{
    (void)state;
    fake_put("b", "p/q/f", "text");
    mount_as(NULL, NULL, MINUTE, false, 1);
    uint64_t b = node(1, "b");
    list(1);
    assert_string_equal(list(node(node(b, "p"), "q")), "f,");
    unmounted();
    mount_as("b", "p/q", MINUTE, false, 1);
    assert_true(is_there(1, "f"));
    assert_int_equal(questions(), 0);
    unmounted();
    mount_as("b", "p", MINUTE, false, 1);
    assert_true(is_there(node(1, "q"), "f"));
    assert_int_equal(questions(), 0);
}

static void
test_other_views_do_not(void **state)
{
    (void)state;
    fake_put("b", "f", "text");
    fake_set_cache("b", "f", "supafs=\"1;m=100600;u=9\"");
    mounted(MINUTE);
    assert_int_equal(stat_of(1, "f").uid, 9);
    unmounted();
    mount_as("b", NULL, MINUTE, true, 1); /* attrs=none */
    assert_int_equal(stat_of(1, "f").mode, S_IFREG | 0644);
    assert_int_equal(fake_counts.lists, 1);
    unmounted();
    mount_as("b", NULL, MINUTE, true, 1);
    assert_int_equal(stat_of(1, "f").mode, S_IFREG | 0644);
    assert_int_equal(questions(), 0);
    unmounted();
    mount_as("b", NULL, MINUTE, false, 9); /* its owner is the default now, and was not kept */
    assert_int_equal(stat_of(1, "f").uid, 9);
    assert_int_equal(fake_counts.lists, 1);
}

/* ---- a start without service -------------------------------------------------------------------
 */

static void *
play_service(void *arg)
{
    while (!*(_Atomic bool *)arg) {
        fake_run();
        usleep(500);
    }
    return NULL;
}

static int
begin(void)
{
    pthread_t th;
    _Atomic bool stop = false;
    struct sf_err err = SF_ERR_INIT;
    pthread_create(&th, NULL, play_service, &stop);
    int rc = sf_tree_start(tree, sf_clock_ms() + 1000, &err);
    stop = true;
    pthread_join(th, NULL);
    assert_int_equal(err.code, rc == 1 ? -ETIMEDOUT : rc);
    return rc;
}

static void
test_a_start_without_service(void **state)
{
    (void)state;
    fake_put("b", "f", "text");
    fake_fail(-ETIMEDOUT);
    mount_as(NULL, NULL, 10, false, 1);
    assert_int_equal(begin(), -ETIMEDOUT);
    killed();
    fake_fail(0);
    mount_as(NULL, NULL, 10, false, 1);
    assert_int_equal(begin(), 0);
    assert_string_equal(list(node(1, "b")), "f,");
    unmounted();
    usleep(20000);
    fake_fail(-ETIMEDOUT);
    mount_as(NULL, NULL, 10, false, 1);
    assert_int_equal(begin(), 1);
    struct sf_tree_stats st;
    sf_tree_stats(tree, &st);
    assert_true(st.offline);
    assert_string_equal(list(1), "b,");
    assert_string_equal(list(node(1, "b")), "f,");
    assert_false(is_there(1, "c"));
    killed();
    mounted(10); /* the list of buckets tells of one, too */
    assert_int_equal(begin(), 1);
    assert_string_equal(list(1), "f,");
    killed();
    mount_as("other", NULL, 10, false, 1);
    assert_int_equal(begin(), -ETIMEDOUT);
    killed();
    fake_fail(-EKEYEXPIRED); /* somebody answers */
    mounted(10);
    assert_int_equal(begin(), -EKEYEXPIRED);
}

static void
test_a_bucket_without_service(void **state)
{
    (void)state;
    fake_put("b", "f", "text");
    mounted(10);
    assert_int_equal(begin(), 0);
    assert_true(is_there(1, "f"));
    unmounted();
    usleep(20000);
    fake_fail(-ETIMEDOUT);
    mounted(10);
    assert_int_equal(begin(), 1);
    assert_int_equal(stat_of(1, "f").size, 4);
}

/* ---- what goes wrong ---------------------------------------------------------------------------
 */

struct damage {
    struct sf_env_write w;
    uint8_t key[64];
    size_t key_len;
    struct sf_buf value;
};

static int
damage_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct damage *d = (struct damage *)w;
    return sf_txn_put(txn, 0, d->key, d->key_len, d->value.data, d->value.len);
}

static int
nth_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct damage *d = arg;
    if (key_len != SAVED_KEY_LEN || d->w.lazy == false)
        return 0;
    if (d->w.rc-- > 0)
        return 0;
    memcpy(d->key, key, key_len);
    d->key_len = key_len;
    return sf_buf_append(&d->value, value, value_len) < 0 ? -1 : 1;
}

/* A bit of each value: it is asked for, and never wrong. */
static void
test_damage(void **state)
{
    (void)state;
    unsigned hit = 0;
    fake_put("b", "d/f", "text");
    for (int n = 0; n < 4; n++)
        for (unsigned at = 3; at < 100; at += 13) {
            mounted(MINUTE);
            assert_int_equal(stat_of(node(1, "d"), "f").size, 4);
            unmounted();
            struct damage d = {.w = {.run = damage_run, .lazy = true, .rc = n}};
            sf_buf_init(&d.value);
            if (sf_env_walk(env, 0, NULL, 0, nth_row, &d) == 1 && at < d.value.len) {
                d.value.data[at] ^= 16;
                assert_int_equal(sf_env_write_wait(env, &d.w), 0);
                hit++;
            }
            sf_buf_fini(&d.value);
            mounted(MINUTE);
            assert_int_equal(stat_of(node(1, "d"), "f").size, 4);
            assert_false(is_there(1, "e"));
            unmounted();
        }
    assert_in_range(hit, 15, 40);
}

static void
test_another_boot(void **state)
{
    (void)state;
    char path[100], other[40] = "00000000-0000-0000-0000-000000000000";
    fake_put("b", "f", "text");
    mounted(MINUTE);
    list(1);
    unmounted();
    snprintf(path, sizeof path, "%s/changes", dir);
    int fd = open(path, O_RDWR);
    assert_int_equal(sf_pwrite_full(fd, other, sizeof other, 8), 0);
    close(fd);
    mounted(MINUTE);
    assert_true(is_there(1, "f"));
    assert_int_equal(fake_counts.lists, 1);
    unmounted();
    assert_int_equal(remove(path), 0);
    mounted(MINUTE);
    assert_true(is_there(1, "f"));
    assert_int_equal(fake_counts.lists, 1);
}

static void
test_it_is_bounded(void **state)
{
    (void)state;
    char name[40];
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "d%03d/file", i);
        fake_put("b", name, "text");
    }
    max_bytes = 20000;
    mounted(MINUTE);
    list(1);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "d%03d", i);
        list(node(1, name));
        if (i % 20 == 19)
            sf_tree_save(tree, sf_clock_ms() + 10000);
    }
    unmounted();
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    uint64_t totals[2];
    assert_int_equal(sf_env_get(env, 0, "", 1, &b), 0);
    memcpy(totals, b.data, sizeof totals);
    assert_in_range(totals[0], 8000, max_bytes);
    mounted(MINUTE);
    list(node(1, "d150"));
    unmounted();
    mounted(MINUTE);
    list(node(1, "d150"));
    assert_int_equal(questions(), 0); /* the youngest stay */
    struct saved_id id;
    uint8_t key[SAVED_KEY_LEN];
    saved_id_of(SAVED_DIR, "b", "d000/", &id);
    saved_key(&id, 0, key);
    assert_int_equal(sf_env_get(env, 0, key, sizeof key, &b), -ENOENT);
}

/* ---- a model ----------------------------------------------------------------------------------
 */

#define NAMES 12

/* One client that changes names at random and is killed or unmounted now and then sees at any time
 * what it did last. */
static void
test_model(void **state)
{
    (void)state;
    unsigned seed = 12345, wrong = 0, remounts = 0;
    int size[NAMES] = {0}; /* 0 = absent */
    char name[8];
    mounted(MINUTE);
    for (int step = 0; step < 400; step++) {
        int i = rand_r(&seed) % NAMES, j = rand_r(&seed) % NAMES, what = rand_r(&seed) % 10;
        uint64_t n;
        snprintf(name, sizeof name, "n%d", i);
        if (what < 4 && !size[i]) {
            char text[20] = "xxxxxxxxxxxxxxxxxxx";
            text[size[i] = 1 + rand_r(&seed) % 15] = '\0';
            struct sf_file *f = create(1, name, text, &n);
            assert_int_equal(flush(f), 0);
            sf_tree_release(tree, f);
        } else if (what < 6 && size[i]) {
            assert_int_equal(unlink_name(1, name), 0);
            size[i] = 0;
        } else if (what == 6 && size[i] && i != j) {
            char to[8];
            snprintf(to, sizeof to, "n%d", j);
            assert_int_equal(rename_name(1, name, to, 0), 0);
            size[j] = size[i];
            size[i] = 0;
        } else if (what == 7) {
            list(1);
        } else if (what == 8) {
            sf_tree_save(tree, sf_clock_ms() + 10000);
        } else if (what == 9) {
            rand_r(&seed) % 2 ? killed() : unmounted();
            mounted(MINUTE);
            remounts++;
        }
        for (int k = 0; k < NAMES; k++) {
            snprintf(name, sizeof name, "n%d", k);
            struct got g = lookup(1, name);
            assert_int_equal(g.err, 0);
            wrong += size[k] ? !g.res.entry.node || (int)g.res.entry.attr.size != size[k]
                             : g.res.entry.node != 0;
        }
    }
    print_message("[   INFO   ] %u remounts\n", remounts);
    assert_int_equal(wrong, 0);
}

#define SAVED_TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        SAVED_TEST(a_remount_asks_nothing),
        SAVED_TEST(what_is_too_old_is_asked_for),
        SAVED_TEST(what_is_too_old_serves_offline),
        SAVED_TEST(nothing_saved_fails_offline),
        SAVED_TEST(own_changes_survive_a_kill),
        SAVED_TEST(changes_are_saved_behind),
        SAVED_TEST(a_renamed_directory),
        SAVED_TEST(pending_changes_make_all_old),
        SAVED_TEST(large_directories),
        SAVED_TEST(names_without_a_listing),
        SAVED_TEST(mounts_of_parts_share),
        SAVED_TEST(other_views_do_not),
        SAVED_TEST(a_start_without_service),
        SAVED_TEST(a_bucket_without_service),
        SAVED_TEST(damage),
        SAVED_TEST(another_boot),
        SAVED_TEST(it_is_bounded),
        SAVED_TEST(model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
