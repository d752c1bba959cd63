/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fake-storage-internal.h"
#include "fake-storage.h"
#include "supabase/tus.h"

/* supabase/tus.h in memory; the fake storage's lock protects it. */

static uint64_t tus_bytes;
static struct tus {
    bool used, upsert;
    char name[24], bucket[32], key[200], mime[64], cache_control[256];
    char *data, *metadata;
    uint64_t size, off;
    unsigned version;
} uploads[8];

/* ---- resumable uploads ------------------------------------------------------------------------
 */

static struct tus *
tus_locked(const char *name)
{
    for (size_t i = 0; i < sizeof uploads / sizeof *uploads; i++)
        if (uploads[i].used && !strcmp(uploads[i].name, name))
            return &uploads[i];
    return NULL;
}

static void
tus_remove_locked(struct tus *t)
{
    free(t->data);
    free(t->metadata);
    *t = (struct tus){.used = false};
}

static int
tus_create_locked(const struct sf_tus_args *a, char **name)
{
    int rc = fake_check_locked(a->bucket, a->key, a->size, a->upsert);
    if (rc)
        return rc;
    struct tus *t = uploads;
    while (t->used)
        t++;
    *t = (struct tus){
        .used = true, .upsert = a->upsert, .size = a->size, .version = fake_version_locked()};
    snprintf(t->name, sizeof t->name, "tus-v%u", t->version);
    snprintf(t->bucket, sizeof t->bucket, "%s", a->bucket);
    snprintf(t->key, sizeof t->key, "%s", a->key);
    snprintf(t->mime, sizeof t->mime, "%s", a->mime);
    snprintf(t->cache_control, sizeof t->cache_control, "%s",
             sf_cache_control_is_plain(a->cache_control) ? a->cache_control : "no-cache");
    t->metadata = strdup(a->metadata ? a->metadata : "{}");
    t->data = malloc(a->size);
    *name = strdup(t->name);
    return 0;
}

int
sf_tus_create_wait(struct sf_storage *st, const struct sf_tus_args *a, int64_t deadline_ms,
                   char **name, struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    int code = 0, fault = fake_enter(FAKE_TUS_CREATE, &code);
    int rc = (fault != FAKE_LOST_BEFORE && fault != FAKE_REFUSED) ? tus_create_locked(a, name) : 0;
    if (!rc && fault == FAKE_LOST_AFTER) { /* nobody gets to know it */
        free(*name);
        *name = NULL;
    }
    return fake_leave(FAKE_TUS_CREATE, rc, rc ? -1 : fault, code, err);
}

int
sf_tus_offset_wait(struct sf_storage *st, const char *name, bool upsert, int64_t deadline_ms,
                   uint64_t *offset, uint64_t *size, struct sf_err *err)
{
    (void)st, (void)deadline_ms, (void)upsert;
    int code = 0, fault = fake_enter(FAKE_TUS_OFFSET, &code);
    const struct tus *t = tus_locked(name);
    if (t && fault < 0) {
        *offset = t->off;
        *size = t->size;
    }
    return fake_leave(FAKE_TUS_OFFSET, t ? 0 : -ENOENT, fault, code, err);
}

static int
tus_send_locked(const struct sf_tus_piece *p, uint64_t *now_at)
{
    struct tus *t = tus_locked(p->name);
    if (!t)
        return -ENOENT;
    if (t->off != p->off)
        return -ESPIPE;
    assert(p->off + p->len <= t->size && (p->len == SF_TUS_CHUNK || p->off + p->len == t->size));
    assert(sf_pread_full(p->fd, t->data + p->off, p->len, (off_t)p->off) == (ssize_t)p->len);
    t->off += p->len;
    tus_bytes += p->len;
    *now_at = t->off;
    if (t->off < t->size)
        return 0;
    int rc = fake_check_locked(t->bucket, t->key, t->size, p->upsert);
    if (rc)
        return rc;
    struct fake_object *o =
        fake_store_locked(t->bucket, t->key, t->data, t->size, t->version, "tus");
    snprintf(o->mime, sizeof o->mime, "%s", t->mime);
    snprintf(o->cache_control, sizeof o->cache_control, "%s", t->cache_control);
    free(o->metadata);
    o->metadata = strdup(t->metadata);
    return 0;
}

int
sf_tus_send_wait(struct sf_storage *st, const struct sf_tus_piece *p, int64_t deadline_ms,
                 uint64_t *now_at, struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    int code = 0, fault = fake_enter(FAKE_TUS_SEND, &code);
    int rc = (fault != FAKE_LOST_BEFORE && fault != FAKE_REFUSED) ? tus_send_locked(p, now_at) : 0;
    return fake_leave(FAKE_TUS_SEND, rc, rc ? -1 : fault, code, err);
}

int
sf_tus_drop_wait(struct sf_storage *st, const char *name, bool upsert, int64_t deadline_ms,
                 struct sf_err *err)
{
    (void)st, (void)deadline_ms, (void)upsert, (void)err;
    pthread_mutex_lock(&fake_lock);
    struct tus *t = tus_locked(name);
    if (t)
        tus_remove_locked(t);
    pthread_mutex_unlock(&fake_lock);
    return t ? 0 : -ENOENT;
}

bool
sf_tus_version(const char *name, char v[40])
{
    snprintf(v, 40, "%s", name + strlen("tus-"));
    return true;
}

void
fake_forget_tus(void)
{
    pthread_mutex_lock(&fake_lock);
    for (size_t i = 0; i < sizeof uploads / sizeof *uploads; i++)
        if (uploads[i].used)
            tus_remove_locked(&uploads[i]);
    tus_bytes = 0;
    pthread_mutex_unlock(&fake_lock);
}

uint64_t
fake_tus_bytes(void)
{
    pthread_mutex_lock(&fake_lock);
    uint64_t n = tus_bytes;
    pthread_mutex_unlock(&fake_lock);
    return n;
}
