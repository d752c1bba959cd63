/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/doctor-internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"

#define REMOVALS 3
#define PAUSE_US 500000

static const char content[] = "supafs doctor: this object may be removed\n";

/* ---- signals -------------------------------------------------------------------------------- */

static volatile sig_atomic_t got_signal;
static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
#define N_SIGNALS (sizeof signals / sizeof *signals)

static void
note_signal(int number)
{
    got_signal = number;
}

/* While the object is there nothing ends the process before it is removed. */
static void
hold_signals(struct sigaction before[N_SIGNALS])
{
    struct sigaction note = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    got_signal = 0;
    sigemptyset(&note.sa_mask);
    for (size_t i = 0; i < N_SIGNALS; i++)
        sigaction(signals[i], &note, &before[i]);
}

static void
give_signals_back(const struct sigaction before[N_SIGNALS])
{
    for (size_t i = 0; i < N_SIGNALS; i++)
        sigaction(signals[i], &before[i], NULL);
}

/* ---- write, read, delete -------------------------------------------------------------------- */

struct probe {
    const char *bucket, *mime;
    char key[1200];
    const char *step;
    int64_t ms;
};

static int
write_it(struct sf_doctor *d, struct probe *p, bool *there, struct sf_err *err)
{
    char id[40];
    p->step = "written";
    sf_autofd int fd = memfd_create("supafs-doctor", MFD_CLOEXEC);
    if (fd < 0 || sf_write_full(fd, content, sizeof content - 1) < 0)
        return sf_err_set(err, -EIO, "no memory file: %m");
    const struct sf_put_args put = {
        .bucket = p->bucket, .key = p->key, .fd = fd, .size = sizeof content - 1, .mime = p->mime};
    int rc = sf_storage_put_wait(d->storage, &put, doctor_deadline(d), id, err);
    *there = rc == 0 || err->outcome_open;
    return rc;
}

static int
read_it(struct sf_doctor *d, struct probe *p, struct sf_err *err)
{
    char got[sizeof content];
    size_t len = 0;
    p->step = "read";
    const struct sf_get_args get = {.bucket = p->bucket,
                                    .key = p->key,
                                    .len = sizeof content - 1,
                                    .buf = got,
                                    .any_total = true};
    int rc = sf_storage_get_wait(d->storage, &get, doctor_deadline(d), &len, err);
    if (rc == 0 && (len != sizeof content - 1 || memcmp(got, content, len) != 0))
        rc = sf_err_set(err, -EIO, "other bytes came back");
    return rc;
}

/* Nothing shall stay, so this is tried again where the others are not. */
static int
remove_it(struct sf_doctor *d, struct probe *p, struct sf_err *err)
{
    int rc = 0;
    for (int i = 0; i < REMOVALS; i++) {
        if (i)
            usleep(PAUSE_US);
        *err = SF_ERR_INIT;
        rc = sf_storage_delete_wait(d->storage, p->bucket, p->key, doctor_deadline(d), err);
        if (rc == 0 || rc == -ENOENT)
            return 0;
    }
    p->step = "removed";
    return rc;
}

/* Write, read, and whatever came of that, remove. */
static int
probe(struct sf_doctor *d, struct probe *p, struct sf_err *err)
{
    struct sf_err stays = SF_ERR_INIT;
    bool there = false;
    int64_t begun = sf_clock_ms();
    int rc = write_it(d, p, &there, err);
    if (rc == 0 && !got_signal)
        rc = read_it(d, p, err);
    int left = there ? remove_it(d, p, &stays) : 0;
    p->ms = sf_clock_ms() - begun;
    if (left < 0)
        *err = stays;
    return left < 0 ? left : rc;
}

static void
tell(struct sf_doctor *d, const struct probe *p, int rc, const struct sf_err *err,
     struct sf_doctor_row *row)
{
    bool denied = rc == -EACCES || rc == -ENOENT;
    if (rc == 0) {
        doctor_say(row, SF_DOCTOR_OK, "an object in %s was written, read and removed, in %lld ms",
                   p->bucket, (long long)p->ms);
        return;
    }
    if (denied && d->key.mode != SF_KEY_SERVICE)
        doctor_say(row, SF_DOCTOR_WARN, "an object in %s cannot be %s: this key (role %s) may not",
                   p->bucket, p->step, sf_auth_role(d->auth));
    else
        doctor_say(row, SF_DOCTOR_FAIL, "an object in %s cannot be %s: %s", p->bucket, p->step,
                   err->msg);
    if (!strcmp(p->step, "removed"))
        doctor_advise(row, "remove %.200s from %s, and look at the project's logs and policies",
                      p->key, p->bucket);
    else if (denied)
        doctor_advise(row, "allow it by policies on storage.objects, or mount with -o ro");
    else
        doctor_advise(row, "look at the project's logs, its quota, and the bucket's limits");
}

void
check_probe(struct sf_doctor *d, struct sf_doctor_row *row)
{
    const char *prefix = sf_config_str(d->cfg, SF_OPT_PREFIX);
    struct probe p = {.bucket = d->probe_bucket, .mime = d->probe_mime};
    struct sf_err err = SF_ERR_INIT;
    struct sigaction before[N_SIGNALS];
    unsigned char dice[12];
    char hex[2 * sizeof dice + 1];
    if (sf_config_bool(d->cfg, SF_OPT_RO) || !*d->probe_bucket) {
        doctor_say(row, SF_DOCTOR_SKIPPED, "%s",
                   *d->probe_bucket ? "the mount is to be read-only"
                                    : "there is no bucket that takes a small object");
        return;
    }
    if (getrandom(dice, sizeof dice, 0) != sizeof dice) {
        doctor_say(row, SF_DOCTOR_SKIPPED, "no random name can be made");
        return;
    }
    sf_hex_encode(dice, sizeof dice, hex);
    snprintf(p.key, sizeof p.key, "%s%ssupafs-doctor-%s", prefix ? prefix : "", prefix ? "/" : "",
             hex);
    hold_signals(before);
    int rc = probe(d, &p, &err);
    give_signals_back(before);
    d->interrupted = got_signal != 0;
    tell(d, &p, rc, &err, row);
}
