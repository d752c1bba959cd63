/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cache/cache.h"
#include "cache/disk.h"
#include "control/warm.h"
#include "control/words.h"

#define SAY_MS 200 /* between lines that tell how far it is */

/* The arguments of most verbs: [-r] PATH. */
static int
take_path(int argc, char **argv, const char **path, bool *deep, struct sf_err *err)
{
    int i = 1;
    *deep = i < argc && strcmp(argv[i], "-r") == 0;
    i += *deep;
    if (i + 1 != argc)
        return sf_err_set(err, -EINVAL, "%s [-r] PATH is meant", argv[0]);
    *path = argv[i];
    return 0;
}

struct sf_control_cache {
    struct sf_tree *tree;
    struct sf_cache *cache;
};

/* ---- cache: one file after the other ----------------------------------------------------------
 */

enum doing { LIST, PIN, UNPIN, EVICT };

struct each {
    const struct sf_control_cache *cc;
    struct sf_talk *talk;
    enum doing doing;
    struct sf_err *err;
    int rc; /* of the last file that failed */
    uint64_t failed;
};

/* "SIZE HERE pinned|- PATH", or with what was done. */
static int
say_file(struct each *e, const struct sf_files_one *f, struct sf_cached *cached)
{
    struct sf_disk_usage use = {0};
    sf_autobuf struct sf_buf path = SF_BUF_INIT;
    struct sf_disk_content *c = cached ? sf_cached_disk(cached) : NULL;
    uint64_t here = cached ? sf_cached_here(cached) : 0;
    if (c)
        sf_disk_usage(c, &use);
    int rc = sf_words_append(&path, f->path);
    return rc ? rc
              : sf_talk_print(e->talk, "%" PRIu64 " %" PRIu64 " %s %s\n", f->attr.size, here,
                              use.pinned ? "pinned" : "-", path.data);
}

static int
do_file(struct each *e, const struct sf_files_one *f, struct sf_cached *cached)
{
    struct sf_disk_content *c = sf_cached_disk(cached);
    int rc = 0;
    if (e->doing == PIN || e->doing == UNPIN)
        rc = c ? sf_disk_pin(c, e->doing == PIN) : -ENODEV;
    if (e->doing == EVICT) {
        if (c)
            sf_disk_evict(c);
        sf_cached_forget(cached);
        sf_tree_drop_pages(e->cc->tree, f->node);
    }
    if (rc) {
        e->failed++;
        e->rc = rc;
    }
    return say_file(e, f, cached);
}

static int
each_file(void *arg, const struct sf_files_one *f)
{
    struct each *e = arg;
    struct sf_cached *cached = NULL;
    if (sf_talk_cancelled(e->talk))
        return -ECANCELED;
    if (sf_tree_cached(e->cc->tree, f->node, &cached) < 0)
        return say_file(e, f, NULL);
    int rc = do_file(e, f, cached);
    sf_cached_unref(cached);
    return rc;
}

static int
each_run(struct each *e, int argc, char **argv)
{
    const char *path = NULL;
    bool deep;
    int rc = take_path(argc, argv, &path, &deep, e->err);
    if (!rc)
        rc = sf_files_each(e->cc->tree, path, deep, each_file, e, e->err);
    if (rc || !e->failed)
        return rc;
    return sf_err_set(e->err, e->rc, "%" PRIu64 " files: %s", e->failed,
                      e->rc == -ENODEV ? "there is no cache on disk" : strerror(-e->rc));
}

/* ---- cache verify ---------------------------------------------------------------------------- */

struct verify {
    struct sf_talk *talk;
    int64_t said_ms;
};

static int
say_verified(struct verify *v, const struct sf_disk_verified *now)
{
    v->said_ms = sf_clock_ms();
    return sf_talk_print(v->talk, "%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", now->units, now->bytes,
                         now->bad);
}

static int
verified_more(void *arg, const struct sf_disk_verified *now)
{
    struct verify *v = arg;
    if (sf_talk_cancelled(v->talk))
        return -ECANCELED;
    return sf_clock_ms() - v->said_ms >= SAY_MS ? say_verified(v, now) : 0;
}

static int
verify(const struct sf_control_cache *cc, struct sf_talk *talk, struct sf_err *err)
{
    struct verify v = {.talk = talk, .said_ms = sf_clock_ms()};
    struct sf_disk_verified all = {0};
    struct sf_disk *d = sf_cache_disk(cc->cache);
    if (!d)
        return sf_err_set(err, -ENODEV, "there is no cache on disk");
    int rc = sf_disk_verify(d, verified_more, &v, &all);
    if (!rc)
        rc = say_verified(&v, &all);
    return rc;
}

static int
cache(void *arg, struct sf_talk *talk, int argc, char **argv, struct sf_err *err)
{
    static const struct {
        const char *name;
        enum doing doing;
    } verbs[] = {{"ls", LIST}, {"pin", PIN}, {"unpin", UNPIN}, {"evict", EVICT}};
    struct each e = {.cc = arg, .talk = talk, .err = err};
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "verify") == 0 && argc == 2)
        return verify(arg, talk, err);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(what, verbs[i].name) == 0) {
            e.doing = verbs[i].doing;
            return each_run(&e, argc - 1, argv + 1);
        }
    return sf_err_set(err, -EINVAL, "ls, pin, unpin, evict or verify is meant");
}

/* ---- warmup --------------------------------------------------------------------------------- */

struct warmup {
    struct sf_warm *warm;
    struct sf_talk *talk;
    int64_t said_ms;
};

static int
say(struct warmup *u)
{
    struct sf_warm_totals now;
    sf_warm_totals(u->warm, &now);
    u->said_ms = sf_clock_ms();
    return sf_talk_print(u->talk, "%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", now.files, now.bytes,
                         now.failed);
}

static int
warm_one(void *arg, const struct sf_files_one *f)
{
    struct warmup *u = arg;
    if (sf_talk_cancelled(u->talk))
        return -ECANCELED;
    int rc = sf_warm_file(u->warm, f);
    if (!rc && sf_clock_ms() - u->said_ms >= SAY_MS)
        rc = say(u);
    return rc;
}

static int
warmup_run(struct warmup *u, struct sf_tree *t, const char *path, bool deep, struct sf_err *err)
{
    struct sf_warm_totals all;
    int rc = sf_files_each(t, path, deep, warm_one, u, err);
    if (rc)
        sf_warm_cancel(u->warm);
    while (sf_warm_wait(u->warm, sf_clock_ms() + SAY_MS) == -ETIMEDOUT)
        if (say(u) < 0)
            sf_warm_cancel(u->warm);
    if (rc || (rc = say(u)))
        return rc;
    sf_warm_totals(u->warm, &all);
    if (!all.failed)
        return 0;
    rc = sf_talk_print(u->talk, "trouble %s\n", all.trouble);
    return rc ? rc
              : sf_err_set(err, -EIO, "%" PRIu64 " of %" PRIu64 " files could not be read",
                           all.failed, all.failed + all.files);
}

static int
warmup(void *arg, struct sf_talk *talk, int argc, char **argv, struct sf_err *err)
{
    struct warmup u = {.talk = talk};
    const char *path = NULL;
    bool deep;
    const struct sf_control_cache *cc = arg;
    int rc = take_path(argc, argv, &path, &deep, err);
    if (rc)
        return rc;
    rc = sf_warm_new(cc->tree, &u.warm);
    if (!rc)
        rc = warmup_run(&u, cc->tree, path, deep, err);
    sf_warm_free(u.warm);
    return rc;
}

int
sf_control_cache_new(struct sf_control *c, struct sf_tree *t, struct sf_cache *blocks,
                     struct sf_control_cache **ret)
{
    struct sf_control_cache *cc = malloc(sizeof *cc);
    if (!cc)
        return -ENOMEM;
    *cc = (struct sf_control_cache){t, blocks};
    int rc = sf_control_add_patient(c, "warmup", warmup, cc);
    if (!rc)
        rc = sf_control_add_patient(c, "cache", cache, cc);
    if (rc) {
        free(cc);
        return rc;
    }
    *ret = cc;
    return 0;
}

void
sf_control_cache_free(struct sf_control_cache *cc)
{
    free(cc);
}
