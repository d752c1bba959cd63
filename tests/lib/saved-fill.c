/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * saved-fill CACHE BUCKET DIRS FILES BLOCKS: plays a mount that has seen DIRS directories of FILES
 * objects each, a moment ago, and has cached the bytes of BLOCKS of them. CACHE: the cache
 * directory of its identity, which nobody holds.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cache/disk.h"
#include "store/env.h"
#include "tree/saved-format.h"

#define SIZE 64

static struct sf_env *env;
static char boot[37];
static uint64_t total, seq = 1;

static void
must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "saved-fill: %s failed\n", what);
    exit(1);
}

static void
object(unsigned dir, unsigned file, struct saved_row *row)
{
    *row = (struct saved_row){.kind = SAVED_OBJECT, .size = SIZE};
    snprintf(row->comp, sizeof row->comp, "file-%06u.txt", file);
    snprintf(row->id, sizeof row->id, "%08x-0000-4000-8000-%012x", dir, file);
    snprintf(row->etag, sizeof row->etag, "\"%016x%016x\"", dir, file);
    row->attrs.mtime_ns = row->attrs.ctime_ns = INT64_C(1700000000123456789) + file;
}

/* ---- the table ------------------------------------------------------------------------------- */

struct put {
    struct sf_env_write w;
    struct saved_id id;
    struct saved_head head;
    const char *bucket, *prefix;
    struct sf_buf pages[64];
    uint64_t sums[64];
    uint64_t totals[2]; /* bytes of all up to this one, and the next number */
};

static int
run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct put *p = (struct put *)w;
    uint8_t key[SAVED_KEY_LEN], age[9] = {1};
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    int rc = saved_head_format(&p->head, p->bucket, p->prefix, &b);
    for (uint32_t i = 0; !rc && i < p->head.pages; i++) {
        saved_key(&p->id, i + 1, key);
        rc = sf_txn_put(txn, 0, key, sizeof key, p->pages[i].data, p->pages[i].len);
    }
    saved_key(&p->id, 0, key);
    for (int i = 0; i < 8; i++)
        age[1 + i] = (uint8_t)(p->head.seq >> (56 - 8 * i));
    if (!rc)
        rc = sf_txn_put(txn, 0, key, sizeof key, b.data, b.len);
    if (!rc)
        rc = sf_txn_put(txn, 0, age, sizeof age, p->id.hash, sizeof p->id.hash);
    return rc ? rc : sf_txn_put(txn, 0, "", 1, p->totals, sizeof p->totals);
}

static void
done(struct sf_env_write *w, int rc)
{
    struct put *p = (struct put *)w;
    must(rc == 0, "writing");
    for (uint32_t i = 0; i < p->head.pages; i++)
        sf_buf_fini(&p->pages[i]);
    free((char *)p->prefix);
    free(p);
}

static void
save(const char *bucket, const char *prefix, unsigned n,
     void (*row_of)(unsigned dir, unsigned i, struct saved_row *row), unsigned dir)
{
    struct put *p = calloc(1, sizeof *p);
    struct saved_row row;
    unsigned in_page = 0;
    must(p != NULL, "memory");
    p->w.run = run;
    p->w.done = done;
    p->bucket = bucket;
    p->prefix = strdup(prefix);
    saved_id_of(SAVED_DIR, bucket, prefix, &p->id);
    p->head = (struct saved_head){.listing = true,
                                  .complete = true,
                                  .attrs_known = true,
                                  .seq = seq++,
                                  .rows = n,
                                  .checked_ns = sf_clock_ns(),
                                  .uid = getuid(),
                                  .gid = getgid(),
                                  .sums = p->sums};
    p->head.attrs_ns = p->head.checked_ns;
    p->head.attrs.mtime_ns = p->head.attrs.ctime_ns = SAVED_NO_TIME;
    memcpy(p->head.boot, boot, sizeof boot);
    for (unsigned i = 0; i < n; i++) {
        struct sf_buf *page = &p->pages[p->head.pages];
        if (!in_page)
            must(p->head.pages < 64 && saved_page_begin(page) == 0, "a page");
        row_of(dir, i, &row);
        must(saved_page_add(page, &row) == 0, "a row");
        in_page++;
        if (saved_page_full(page, in_page) || i + 1 == n) {
            must(saved_page_seal(page, &p->sums[p->head.pages]) == 0, "a page");
            p->head.bytes += page->len;
            p->head.pages++;
            in_page = 0;
        }
    }
    p->head.taken_ns = sf_clock_ns();
    total += p->head.bytes + 256 + UINT64_C(8) * p->head.pages;
    p->totals[0] = total;
    p->totals[1] = seq + 1;
    sf_env_submit(env, &p->w);
}

static void
folder(unsigned dir, unsigned i, struct saved_row *row)
{
    (void)dir;
    *row = (struct saved_row){.kind = SAVED_FOLDER};
    snprintf(row->comp, sizeof row->comp, "d%05u", i);
}

static void
fill_listings(const char *cache, const char *bucket, unsigned dirs, unsigned files)
{
    static const char *const tables[] = {"listings"};
    char path[4096], prefix[32];
    snprintf(path, sizeof path, "%s/listings", cache);
    const struct sf_env_opts o = {.dir = path,
                                  .name = "fill",
                                  .tables = tables,
                                  .n_tables = 1,
                                  .max_bytes = UINT64_C(512) << 20,
                                  .throw_away = true};
    must(sf_env_open(&o, &env, NULL) == 0, "opening the listings");
    save(bucket, "", dirs, folder, 0);
    for (unsigned i = 0; i < dirs; i++) {
        snprintf(prefix, sizeof prefix, "d%05u/", i);
        save(bucket, prefix, files, object, i);
        while (i % 64 == 63) { /* not all of them in memory */
            struct sf_env_stats st;
            sf_env_get_stats(env, &st);
            if (st.writes > i)
                break;
            usleep(1000);
        }
    }
    sf_env_close(env);
}

/* ---- bytes ------------------------------------------------------------------------------------
 */

static void
fill_blocks(const char *cache, const char *bucket, unsigned files, unsigned blocks)
{
    const struct sf_disk_opts o = {.dir = cache, .max_bytes = UINT64_C(10) << 30};
    struct sf_disk *d = NULL;
    char bytes[SIZE];
    memset(bytes, 'x', sizeof bytes);
    must(sf_disk_open(&o, &d, NULL) == 0, "opening the cache");
    for (unsigned i = 0; i < blocks; i++) {
        struct saved_row row;
        struct sf_disk_content *c;
        object(i / files, i % files, &row);
        const struct sf_cache_key key = {bucket, row.id, row.etag, SIZE};
        must(sf_disk_get(d, &key, &c) == 0, "memory");
        sf_disk_write(c, 0, SIZE, bytes);
        sf_disk_unref(c);
    }
    sf_disk_flush(d);
    struct sf_disk_stats st;
    sf_disk_get_stats(d, &st);
    printf("blocks: %" PRIu64 " chunks, %" PRIu64 " bytes\n", st.chunks, st.bytes);
    sf_disk_close(d);
}

static unsigned
number(const char *s)
{
    return (unsigned)strtoul(s, NULL, 10);
}

int
main(int argc, char **argv)
{
    must(argc == 6, "reading the arguments");
    unsigned dirs = number(argv[3]), files = number(argv[4]);
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    must(files && sf_read_file("/proc/sys/kernel/random/boot_id", 64, &b, NULL) == 0 && b.len >= 36,
         "reading the boot's id");
    memcpy(boot, b.data, 36);
    if (number(argv[5]) > 0)
        fill_blocks(argv[1], argv[2], files, number(argv[5]));
    fill_listings(argv[1], argv[2], dirs, files);
    printf("listings: %u objects, %" PRIu64 " bytes\n", dirs * files, total);
    return 0;
}
