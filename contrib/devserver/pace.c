/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

struct ds_pace *
ds_pace_new(void)
{
    struct ds_pace *pace = calloc(1, sizeof *pace);
    if (!pace)
        return NULL;
    atomic_store(&pace->rpc, true);
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

json_t *
ds_pace_to_json(struct ds_pace *pace)
{
    bool mtime = atomic_load(&pace->etag_style) == DS_ETAG_MTIME;
    return json_pack(
        "{s:I, s:f, s:s, s:I, s:I, s:b}", "delay_ms", (json_int_t)atomic_load(&pace->delay_ms),
        "mbytes_per_s", (double)atomic_load(&pace->bytes_per_s) / 1e6, "etag_style",
        mtime ? "mtime" : "md5", "standard_limit", (json_int_t)atomic_load(&pace->standard_limit),
        "global_limit", (json_int_t)atomic_load(&pace->global_limit), "rpc",
        (int)atomic_load(&pace->rpc));
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

int
ds_pace_from_json(struct ds_pace *pace, const json_t *json, struct sf_err *err)
{
    int64_t delay = atomic_load(&pace->delay_ms), rate = atomic_load(&pace->bytes_per_s);
    int64_t standard = (int64_t)atomic_load(&pace->standard_limit);
    int64_t global = (int64_t)atomic_load(&pace->global_limit);
    int style = atomic_load(&pace->etag_style);
    bool rpc = atomic_load(&pace->rpc);
    const char *name;
    json_t *value;
    if (!json_is_object(json))
        return sf_err_set(err, -EINVAL, "settings must be a JSON object");
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        int rc = 0;
        if (strcmp(name, "delay_ms") == 0)
            rc = read_number(value, name, 1, &delay, err);
        else if (strcmp(name, "mbytes_per_s") == 0)
            rc = read_number(value, name, 1e6, &rate, err);
        else if (strcmp(name, "standard_limit") == 0)
            rc = read_number(value, name, 1, &standard, err);
        else if (strcmp(name, "global_limit") == 0)
            rc = read_number(value, name, 1, &global, err);
        else if (strcmp(name, "rpc") == 0 && json_is_boolean(value))
            rpc = json_is_true(value);
        else if (strcmp(name, "rpc") == 0)
            rc = sf_err_set(err, -EINVAL, "rpc must be true or false");
        else if (strcmp(name, "etag_style") != 0)
            rc = sf_err_set(err, -EINVAL, "unknown setting \"%s\"", name);
        else if (json_is_string(value) && strcmp(json_string_value(value), "md5") == 0)
            style = DS_ETAG_MD5;
        else if (json_is_string(value) && strcmp(json_string_value(value), "mtime") == 0)
            style = DS_ETAG_MTIME;
        else
            rc = sf_err_set(err, -EINVAL, "etag_style must be \"md5\" or \"mtime\"");
        if (rc < 0)
            return rc;
    }
    atomic_store(&pace->delay_ms, delay);
    atomic_store(&pace->bytes_per_s, rate);
    atomic_store(&pace->standard_limit, (uint64_t)standard);
    atomic_store(&pace->global_limit, (uint64_t)global);
    atomic_store(&pace->etag_style, style);
    atomic_store(&pace->rpc, rpc);
    return 0;
}
