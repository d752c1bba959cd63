/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t
pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

void *
sf_secret_alloc(size_t size)
{
    size_t n = pages(size);
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    /* Both may be refused in a container; the key then is as safe as the process's other memory. */
    (void)mlock(p, n);
    (void)madvise(p, n, MADV_DONTDUMP);
    return p;
}

void
sf_secret_free(void *p, size_t size)
{
    if (!p)
        return;
    size_t n = pages(size);
    explicit_bzero(p, n);
    (void)munlock(p, n);
    (void)munmap(p, n);
}
