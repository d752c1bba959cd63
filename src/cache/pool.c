/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static unsigned
class_of(size_t len)
{
    assert(len <= SF_POOL_MAX);
    unsigned i = 0;
    for (size_t size = SF_POOL_MIN; size < len; size *= 2)
        i++;
    return i;
}

static size_t
class_size(unsigned i)
{
    return (size_t)SF_POOL_MIN << i;
}

size_t
sf_bufpool_size(size_t len)
{
    return class_size(class_of(len));
}

void
sf_bufpool_init(struct sf_bufpool *p, uint64_t max)
{
    memset(p, 0, sizeof *p);
    p->max = max < SF_POOL_MAX ? SF_POOL_MAX : max;
}

void
sf_bufpool_fini(struct sf_bufpool *p)
{
    for (unsigned i = 0; i < SF_POOL_CLASSES; i++) {
        struct sf_pool_class *c = &p->classes[i];
        if (c->base)
            munmap(c->base, c->slots * class_size(i));
        free(c->idle);
        free(c->empty);
    }
    memset(p, 0, sizeof *p);
}

/* Reserves addresses only; pages come when they are touched. */
static int
class_open(struct sf_bufpool *p, unsigned i)
{
    struct sf_pool_class *c = &p->classes[i];
    uint64_t slots = p->max / class_size(i);
    if (slots > UINT32_MAX)
        slots = UINT32_MAX;
    uint32_t *idle = calloc(slots, sizeof *idle), *empty = calloc(slots, sizeof *empty);
    char *base = MAP_FAILED;
    if (idle && empty)
        base = mmap(NULL, slots * class_size(i), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        free(idle);
        free(empty);
        return -1;
    }
    /* A huge page under a small buffer would be memory that nobody counts. */
    (void)madvise(base, slots * class_size(i), MADV_NOHUGEPAGE);
    c->base = base;
    c->slots = (uint32_t)slots;
    c->idle = idle;
    c->empty = empty;
    return 0;
}

/* Give idle memory of other sizes back to the system until @need more fit. */
static void
trim(struct sf_bufpool *p, size_t need)
{
    for (unsigned i = SF_POOL_CLASSES; i-- > 0;) {
        struct sf_pool_class *c = &p->classes[i];
        while (c->n_idle && p->held + need > p->max) {
            uint32_t slot = c->idle[--c->n_idle];
            (void)madvise(c->base + slot * class_size(i), class_size(i), MADV_DONTNEED);
            c->empty[c->n_empty++] = slot;
            p->held -= class_size(i);
        }
    }
}

char *
sf_bufpool_get(struct sf_bufpool *p, size_t len)
{
    unsigned i = class_of(len);
    struct sf_pool_class *c = &p->classes[i];
    size_t size = class_size(i);
    uint32_t slot;
    if (c->n_idle) {
        slot = c->idle[--c->n_idle];
    } else {
        if (p->used + size > p->max || (!c->base && class_open(p, i)))
            return NULL;
        trim(p, size);
        /* held fits used and nothing else now: so there is a slot, too */
        slot = c->n_empty ? c->empty[--c->n_empty] : c->fresh++;
        assert(slot < c->slots);
        p->held += size;
        if (p->held > p->peak)
            p->peak = p->held;
    }
    p->used += size;
    return c->base + slot * size;
}

void
sf_bufpool_put(struct sf_bufpool *p, char *buf, size_t len)
{
    unsigned i = class_of(len);
    struct sf_pool_class *c = &p->classes[i];
    size_t at = (size_t)(buf - c->base);
    assert(buf >= c->base && at % class_size(i) == 0 && at / class_size(i) < c->slots);
    c->idle[c->n_idle++] = (uint32_t)(at / class_size(i));
    p->used -= class_size(i);
}
