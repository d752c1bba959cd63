/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repeat.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "pace.h"

struct ds_repeats {
    struct ds_pace *pace;
    pthread_mutex_t lock; /* protects the field below */
    pthread_cond_t fewer;
    unsigned running;
};

struct repeat {
    struct ds_repeats *repeats;
    struct sockaddr_storage to;
    socklen_t to_len;
    int64_t ms;
    char *text;
    size_t len;
};

struct ds_repeats *
ds_repeats_new(struct ds_pace *pace)
{
    struct ds_repeats *repeats = calloc(1, sizeof *repeats);
    if (!repeats)
        return NULL;
    repeats->pace = pace;
    pthread_mutex_init(&repeats->lock, NULL);
    pthread_cond_init(&repeats->fewer, NULL);
    return repeats;
}

void
ds_repeats_free(struct ds_repeats *repeats)
{
    if (!repeats)
        return;
    pthread_mutex_lock(&repeats->lock);
    while (repeats->running > 0)
        pthread_cond_wait(&repeats->fewer, &repeats->lock);
    pthread_mutex_unlock(&repeats->lock);
    pthread_cond_destroy(&repeats->fewer);
    pthread_mutex_destroy(&repeats->lock);
    free(repeats);
}

static void
send_text(const struct repeat *repeat)
{
    sf_autofd int fd = socket(repeat->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&repeat->to, repeat->to_len) < 0)
        return;
    for (size_t at = 0; at < repeat->len;) {
        ssize_t n = send(fd, repeat->text + at, repeat->len - at, MSG_NOSIGNAL);
        if (n < 0)
            break; /* refused early: there is an answer all the same */
        at += (size_t)n;
    }
    char sink[4096];
    while (recv(fd, sink, sizeof sink, 0) > 0)
        ;
}

static void *
repeat_main(void *arg)
{
    struct repeat *repeat = arg;
    struct ds_repeats *repeats = repeat->repeats;
    ds_pace_sleep_ms(repeats->pace, repeat->ms);
    if (!ds_pace_stopping(repeats->pace))
        send_text(repeat);
    free(repeat->text);
    free(repeat);
    pthread_mutex_lock(&repeats->lock);
    repeats->running--;
    pthread_cond_signal(&repeats->fewer);
    pthread_mutex_unlock(&repeats->lock);
    return NULL;
}

int
ds_repeat(struct ds_repeats *repeats, int accepted, int64_t ms, struct ds_buf *request)
{
    struct repeat *repeat = calloc(1, sizeof *repeat);
    if (!repeat)
        return -ENOMEM;
    *repeat = (struct repeat){.repeats = repeats, .ms = ms, .to_len = sizeof repeat->to};
    repeat->text = ds_buf_take(request, &repeat->len);
    int rc = repeat->text ? 0 : -ENOMEM;
    if (rc == 0 && getsockname(accepted, (struct sockaddr *)&repeat->to, &repeat->to_len) < 0)
        rc = -errno;
    if (rc == 0) {
        pthread_t thread;
        pthread_mutex_lock(&repeats->lock);
        rc = -pthread_create(&thread, NULL, repeat_main, repeat);
        if (rc == 0) {
            pthread_detach(thread);
            repeats->running++;
        }
        pthread_mutex_unlock(&repeats->lock);
    }
    if (rc < 0) {
        free(repeat->text);
        free(repeat);
    }
    return rc;
}
