/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/cache.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "control/warm.h"

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
warm_one(void *arg, const struct sf_control_file *f)
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
    int rc = sf_control_files(t, path, deep, warm_one, u, err);
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
    int rc = take_path(argc, argv, &path, &deep, err);
    if (rc)
        return rc;
    rc = sf_warm_new(arg, &u.warm);
    if (!rc)
        rc = warmup_run(&u, arg, path, deep, err);
    sf_warm_free(u.warm);
    return rc;
}

int
sf_control_cache(struct sf_control *c, struct sf_tree *t)
{
    return sf_control_add(c, "warmup", warmup, t);
}
