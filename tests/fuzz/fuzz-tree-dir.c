/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "../unit/fake-project.h"
#include "fuzz.h"
#include "tree/tree.h"

/* Keys of a bucket, one per line, whatever they look like: the directories that are made of them
 * show each as one file, under names that differ and can be looked up. */

#define KEYS_MAX 24
#define KEY_MAX  290 /* bytes; what the project in memory holds */

static struct sf_tree *tree;

struct got {
    bool called;
    int err;
    struct sf_tree_result res;
};

static void
keep(void *arg, int err, const struct sf_tree_result *res)
{
    struct got *g = arg;
    REQUIRE(!g->called);
    g->called = true;
    g->err = err;
    if (!err)
        g->res = *res;
}

static void
run(const struct got *g)
{
    fake_run();
    REQUIRE(g->called);
}

static uint64_t
look_up(uint64_t parent, const char *name, mode_t type)
{
    struct got g = {0};
    sf_tree_lookup(tree, parent, name, keep, &g);
    run(&g);
    REQUIRE(g.err == 0 && g.res.entry.node);
    REQUIRE((g.res.entry.attr.mode & S_IFMT) == type);
    return g.res.entry.node;
}

/* Names of a directory, copied: handles and look-ups do not mix. */
struct names {
    size_t n;
    char *name[KEYS_MAX];
    mode_t type[KEYS_MAX];
};

static void
list(uint64_t dir, struct names *names)
{
    struct got open = {0};
    struct sf_dirent e;
    uint64_t off = 0;
    sf_tree_opendir(tree, dir, keep, &open);
    run(&open);
    REQUIRE(open.err == 0);
    for (bool more = true; more;) {
        struct got g = {0};
        sf_tree_readdir(tree, open.res.dir, off, keep, &g);
        run(&g);
        REQUIRE(g.err == 0);
        for (more = false; sf_tree_dirent(tree, open.res.dir, off, false, &e) == 1; more = true) {
            off = e.next;
            if (!strcmp(e.name, ".") || !strcmp(e.name, ".."))
                continue;
            REQUIRE(*e.name && strlen(e.name) <= 255 && !strchr(e.name, '/'));
            for (size_t i = 0; i < names->n; i++)
                REQUIRE(strcmp(names->name[i], e.name) != 0);
            REQUIRE(names->n < KEYS_MAX);
            names->type[names->n] = e.type & S_IFMT;
            names->name[names->n++] = fuzz_text(e.name, strlen(e.name));
        }
    }
    sf_tree_releasedir(tree, open.res.dir);
}

/* Files below a directory. */
static size_t
walk(uint64_t dir)
{
    size_t files = 0;
    struct names *names = calloc(1, sizeof *names);
    REQUIRE(names);
    list(dir, names);
    for (size_t i = 0; i < names->n; i++) {
        uint64_t node = look_up(dir, names->name[i], names->type[i]);
        files += S_ISDIR(names->type[i]) ? walk(node) : 1;
        sf_tree_forget(tree, node, 1);
        free(names->name[i]);
    }
    free(names);
    return files;
}

/* Into the project; returns how many keys differ. */
static size_t
put_keys(char *text)
{
    size_t n = 0;
    char *save = NULL;
    for (char *key = strtok_r(text, "\n", &save); key; key = strtok_r(NULL, "\n", &save)) {
        if (n == KEYS_MAX || strlen(key) > KEY_MAX || fake_exists("b", key))
            continue;
        fake_put("b", key, "x");
        n++;
    }
    return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sf_cache *cache;
    const struct sf_cache_opts c = {.memory = 8 << 20,
                                    .fetch = sf_tree_fetch,
                                    .cancel = sf_tree_fetch_cancel,
                                    .drop = sf_tree_drop};
    sf_autofree char *text = fuzz_text(data, size);
    fake_reset();
    fake_bucket("b");
    size_t n = put_keys(text);
    REQUIRE(sf_cache_new(&c, &cache, NULL) == 0);
    const struct sf_tree_opts o = {.bucket = "b",
                                   .cache = cache,
                                   .plain = true,
                                   .uid = 1,
                                   .gid = 2,
                                   .umask = 022,
                                   .attr_ttl_ms = 60000,
                                   .read_timeout_ms = 1000,
                                   .write_timeout_ms = 1000,
                                   .max_nodes = 100000};
    REQUIRE(sf_tree_new(&o, NULL, NULL, NULL, &tree, NULL) == 0);
    REQUIRE(walk(SF_TREE_ROOT) == n);
    fake_run();
    sf_tree_free(tree);
    sf_cache_free(cache);
    fake_reset();
    return 0;
}
