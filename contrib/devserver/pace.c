/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pace.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

#define TUS_EXPIRY_MS (24 * INT64_C(3600000)) /* as on hosted projects */
#define TUS_DRAIN_MS  3000
#define TUS_MAX       10000

struct ds_pace *
ds_pace_new(void)
{
    struct ds_pace *pace = calloc(1, sizeof *pace);
    if (!pace)
        return NULL;
    atomic_store(&pace->rpc, true);
    atomic_store(&pace->tus_expiry_ms, TUS_EXPIRY_MS);
    atomic_store(&pace->tus_drain_ms, TUS_DRAIN_MS);
    atomic_store(&pace->tus_max, TUS_MAX);
    pthread_mutex_init(&pace->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pace->wake, &attr);
    pthread_condattr_destroy(&attr);
    return pace;
}

void
ds_pace_free(struct ds_pace *pace)
{
    if (!pace)
        return;
    pthread_cond_destroy(&pace->wake);
    pthread_mutex_destroy(&pace->lock);
    free(pace);
}

void
ds_pace_stop(struct ds_pace *pace)
{
    pthread_mutex_lock(&pace->lock);
    pace->stopping = true;
    pthread_cond_broadcast(&pace->wake);
    pthread_mutex_unlock(&pace->lock);
}

bool
ds_pace_stopping(struct ds_pace *pace)
{
    pthread_mutex_lock(&pace->lock);
    bool stopping = pace->stopping;
    pthread_mutex_unlock(&pace->lock);
    return stopping;
}

void
ds_pace_wake(struct ds_pace *pace)
{
    pthread_mutex_lock(&pace->lock);
    pthread_cond_broadcast(&pace->wake);
    pthread_mutex_unlock(&pace->lock);
}

static struct timespec
at_ns(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static void
sleep_until(struct ds_pace *pace, int64_t until_ns, bool wake_early)
{
    struct timespec deadline = at_ns(until_ns);
    pthread_mutex_lock(&pace->lock);
    while (!pace->stopping) {
        int rc = pthread_cond_timedwait(&pace->wake, &pace->lock, &deadline);
        if (rc == ETIMEDOUT || wake_early)
            break;
    }
    pthread_mutex_unlock(&pace->lock);
}

void
ds_pace_sleep_ms(struct ds_pace *pace, int64_t ms)
{
    if (ms > 0)
        sleep_until(pace, ds_tick_ns() + ms * 1000000, false);
}

void
ds_pace_wait(struct ds_pace *pace, int64_t ms)
{
    sleep_until(pace, ds_tick_ns() + ms * 1000000, true);
}

void
ds_pace_transfer(struct ds_pace *pace, uint64_t bytes)
{
    int64_t rate = atomic_load_explicit(&pace->bytes_per_s, memory_order_relaxed);
    if (rate <= 0 || bytes == 0)
        return;
    int64_t cost = (int64_t)((double)bytes * 1e9 / (double)rate);
    int64_t now = ds_tick_ns();
    pthread_mutex_lock(&pace->lock);
    if (pace->free_at_ns < now)
        pace->free_at_ns = now;
    pace->free_at_ns += cost;
    int64_t until = pace->free_at_ns;
    pthread_mutex_unlock(&pace->lock);
    /* Waits below a millisecond are left to add up: the booking keeps the rate right. */
    if (until - now > 1000000)
        sleep_until(pace, until, false);
}

uint64_t
ds_pace_upload_limit(struct ds_pace *pace, int64_t bucket_limit)
{
    uint64_t limit = UINT64_MAX;
    uint64_t standard = atomic_load(&pace->standard_limit);
    uint64_t global = atomic_load(&pace->global_limit);
    if (standard > 0 && standard < limit)
        limit = standard;
    if (global > 0 && global < limit)
        limit = global;
    if (bucket_limit >= 0 && (uint64_t)bucket_limit < limit)
        limit = (uint64_t)bucket_limit;
    return limit;
}

uint64_t
ds_pace_resumable_limit(struct ds_pace *pace, int64_t bucket_limit)
{
    uint64_t global = atomic_load(&pace->global_limit);
    uint64_t limit = global > 0 ? global : UINT64_MAX;
    return bucket_limit > 0 && (uint64_t)bucket_limit < limit ? (uint64_t)bucket_limit : limit;
}

/* The settings that are numbers: their name, where they are, and how much of it is one. */
static const struct {
    const char *name;
    size_t at;
    double factor;
} numbers[] = {
    {"delay_ms", offsetof(struct ds_pace, delay_ms), 1},
    {"mbytes_per_s", offsetof(struct ds_pace, bytes_per_s), 1e6},
    {"standard_limit", offsetof(struct ds_pace, standard_limit), 1},
    {"global_limit", offsetof(struct ds_pace, global_limit), 1},
    {"copy_ms", offsetof(struct ds_pace, copy_ms), 1},
    {"clock_s", offsetof(struct ds_pace, clock_ms), 1000},
    {"tus_expiry_s", offsetof(struct ds_pace, tus_expiry_ms), 1000},
    {"tus_drain_ms", offsetof(struct ds_pace, tus_drain_ms), 1},
    {"tus_max", offsetof(struct ds_pace, tus_max), 1},
};
static const char *const tables_states[] = {"on", "missing", "denied", "loading"};
#define TABLES_STATES (sizeof tables_states / sizeof tables_states[0])

enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

static _Atomic int64_t *
number_of(struct ds_pace *pace, size_t which)
{
    return (_Atomic int64_t *)(void *)((char *)pace + numbers[which].at);
}

json_t *
ds_pace_to_json(struct ds_pace *pace)
{
    bool mtime = atomic_load(&pace->etag_style) == DS_ETAG_MTIME;
    json_t *json = json_pack("{s:s, s:b, s:s}", "etag_style", mtime ? "mtime" : "md5", "rpc",
                             (int)atomic_load(&pace->rpc), "tables",
                             tables_states[atomic_load(&pace->tables)]);
    for (size_t i = 0; i < NUMBERS; i++) {
        int64_t value = atomic_load(number_of(pace, i));
        bool fraction = numbers[i].factor > 1;
        json_object_set_new(json, numbers[i].name,
                            fraction ? json_real((double)value / numbers[i].factor)
                                     : json_integer(value));
    }
    return json;
}

static int
read_number(const json_t *value, const char *name, double factor, int64_t *ret, struct sf_err *err)
{
    if (!json_is_number(value) || json_number_value(value) < 0 ||
        json_number_value(value) * factor > 9e15)
        return sf_err_set(err, -EINVAL, "%s must be a number from 0 up", name);
    *ret = (int64_t)(json_number_value(value) * factor);
    return 0;
}

static int
read_tables(const json_t *value, int *ret, struct sf_err *err)
{
    for (size_t i = 0; json_is_string(value) && i < TABLES_STATES; i++) {
        if (strcmp(tables_states[i], json_string_value(value)) == 0) {
            *ret = (int)i;
            return 0;
        }
    }
    return sf_err_set(err, -EINVAL,
                      "tables must be \"on\", \"missing\", \"denied\" or \"loading\"");
}

static int
read_style(const json_t *value, int *ret, struct sf_err *err)
{
    const char *text = json_string_value(value);
    if (text && strcmp(text, "md5") == 0)
        *ret = DS_ETAG_MD5;
    else if (text && strcmp(text, "mtime") == 0)
        *ret = DS_ETAG_MTIME;
    else
        return sf_err_set(err, -EINVAL, "etag_style must be \"md5\" or \"mtime\"");
    return 0;
}

int
ds_pace_from_json(struct ds_pace *pace, const json_t *json, struct sf_err *err)
{
    int64_t values[NUMBERS];
    int style = atomic_load(&pace->etag_style);
    int tables = atomic_load(&pace->tables);
    bool rpc = atomic_load(&pace->rpc);
    const char *name;
    json_t *value;
    for (size_t i = 0; i < NUMBERS; i++)
        values[i] = atomic_load(number_of(pace, i));
    if (!json_is_object(json))
        return sf_err_set(err, -EINVAL, "settings must be a JSON object");
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        size_t i = 0;
        while (i < NUMBERS && strcmp(numbers[i].name, name) != 0)
            i++;
        int rc = 0;
        if (i < NUMBERS)
            rc = read_number(value, name, numbers[i].factor, &values[i], err);
        else if (strcmp(name, "etag_style") == 0)
            rc = read_style(value, &style, err);
        else if (strcmp(name, "tables") == 0)
            rc = read_tables(value, &tables, err);
        else if (strcmp(name, "rpc") == 0 && json_is_boolean(value))
            rpc = json_is_true(value);
        else if (strcmp(name, "rpc") == 0)
            rc = sf_err_set(err, -EINVAL, "rpc must be true or false");
        else
            rc = sf_err_set(err, -EINVAL, "unknown setting \"%s\"", name);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < NUMBERS; i++)
        atomic_store(number_of(pace, i), values[i]);
    ds_clock_shift(atomic_load(&pace->clock_ms));
    atomic_store(&pace->etag_style, style);
    atomic_store(&pace->tables, tables);
    atomic_store(&pace->rpc, rpc);
    return 0;
}
