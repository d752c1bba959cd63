/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_CLEANUP_H
#define SF_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Scope exit: a variable declared with sf_autofree, sf_autofd, ... gives its resource back when it
 * goes out of scope. sf_steal() moves the value out, so that the scope no longer owns it.
 */
#define sf_defer(fn) __attribute__((cleanup(fn)))

static inline void
sf_free_at_exit(void *p)
{
    int saved = errno;
    free(*(void **)p);
    errno = saved;
}

static inline void
sf_close_at_exit(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
}

static inline void
sf_fclose_at_exit(FILE **f)
{
    if (*f) {
        int saved = errno;
        fclose(*f);
        errno = saved;
    }
}

static inline void
sf_closedir_at_exit(DIR **d)
{
    if (*d) {
        int saved = errno;
        closedir(*d);
        errno = saved;
    }
}

#define sf_autofree sf_defer(sf_free_at_exit)
#define sf_autofd   sf_defer(sf_close_at_exit)
#define sf_autofile sf_defer(sf_fclose_at_exit)
#define sf_autodir  sf_defer(sf_closedir_at_exit)

/* Move a pointer out of an owning variable. */
#define sf_steal(v)                                                                                \
    ({                                                                                             \
        __typeof__(v) sf_tmp_ = (v);                                                               \
        (v) = NULL;                                                                                \
        sf_tmp_;                                                                                   \
    })

/* The same for a file descriptor. */
#define sf_steal_fd(v)                                                                             \
    ({                                                                                             \
        int sf_tmp_ = (v);                                                                         \
        (v) = -1;                                                                                  \
        sf_tmp_;                                                                                   \
    })

#endif
