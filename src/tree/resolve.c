/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>

/* An operation is resumed by each page of a listing that it waits for; this only bounds a mistake.
 */
#define MAX_ROUNDS 1000
/* How often a stale answer of an unreachable service is refreshed behind. */
#define BACKGROUND_MS 1000

bool
fresh_locked(const struct sf_tree *t, int64_t checked_ns, int64_t since_ns)
{
    if (checked_ns >= since_ns)
        return true;
    return checked_ns > 0 && (sf_clock_ns() - checked_ns) / 1000000 < t->opts.attr_ttl_ms;
}

enum known { K_UNKNOWN, K_PRESENT, K_ABSENT };

/* What is known of a name, and since when. */
static enum known
knowledge(const struct sf_tree *t, const struct node *dir, const char *name, struct node **ret,
          int64_t *checked_ns)
{
    struct node *n = node_find_locked(dir, name);
    const struct listing *l = dir->dir->listing, *run = dir->dir->run;
    struct sf_name_ref ref = {0};
    *ret = NULL;
    if (n && n->type != N_ABSENT) {
        *ret = n;
        /* What was made or is being written here is known best here. */
        *checked_ns = node_is_local(n) ? INT64_MAX : n->checked_ns;
        return K_PRESENT;
    }
    int rc = n && n->leaving ? -ENOENT : sf_name_lookup(name, node_name_flags(t, dir), &ref);
    if (rc < 0) {
        *checked_ns = INT64_MAX; /* its removal was acknowledged, or no key is ever shown so */
        return K_ABSENT;
    }
    bool covered =
        l && (l->complete || (ref.kind <= SF_NAME_KEY && listing_covers_locked(l, ref.comp)));
    if (covered)
        *checked_ns = l->start_ns;
    if (run && ref.kind <= SF_NAME_KEY && listing_covers_locked(run, ref.comp)) {
        *checked_ns = run->start_ns;
        covered = true;
    }
    int64_t page_ns = ref.kind <= SF_NAME_KEY ? pages_asked_ns(dir, ref.comp) : 0;
    if (page_ns && (!covered || page_ns > *checked_ns)) {
        *checked_ns = page_ns;
        covered = true;
    }
    if (n && (!covered || n->checked_ns > *checked_ns)) {
        *checked_ns = n->checked_ns;
        covered = true;
    }
    return covered ? K_ABSENT : K_UNKNOWN;
}

int64_t
resolve_absent_ns(const struct sf_tree *t, const struct node *dir, const char *name)
{
    struct node *n;
    int64_t checked_ns = 0, now = sf_clock_ns();
    if (knowledge(t, dir, name, &n, &checked_ns) != K_ABSENT)
        return 0;
    return checked_ns < now ? checked_ns : now;
}

/* Ask the service about a name, in the cheapest way that answers. @rounds: how often it was asked
 * about already by an operation that began at @since_ns. */
static int
ask(struct sf_tree *t, struct node *dir, const char *name, unsigned rounds, int64_t since_ns,
    struct waiter *w)
{
    const struct listing *run = dir->dir->run;
    struct sf_name_ref ref = {0};
    int rc = sf_name_lookup(name, node_name_flags(t, dir), &ref);
    if (rc < 0 || dir->type == N_PROJECT || ref.kind > SF_NAME_KEY) {
        rc = listing_start_locked(t, dir, ref.kind > SF_NAME_KEY, w);
        if (rc == 0 && ref.kind > SF_NAME_KEY)
            dir->dir->run->for_name = true;
        return rc;
    }
    /* Where many are removed one after the other, a page has the next ones, too. */
    bool page = rounds == 0 && dir_is_emptied_locked(dir);
    if (!page && (run ? run->rows_seen : dir->dir->large)) {
        if (rounds == 0 && page_ask_locked(t, dir, ref.comp, since_ns, w))
            return 0;
        return lookup_start_locked(t, dir, name, w);
    }
    return listing_start_locked(t, dir, false, w);
}

/* The service is away: refresh behind, now and then, so that its return is noticed. */
static void
ask_behind(struct sf_tree *t, struct node *dir, const char *name)
{
    int64_t now = sf_clock_ms();
    if (now - t->background_ms < BACKGROUND_MS)
        return;
    t->background_ms = now;
    ask(t, dir, name, 1, 0, NULL);
}

int
resolve_known_locked(struct sf_tree *t, int64_t since_ns, struct node *dir, const char *name,
                     struct node **ret)
{
    int64_t checked_ns = 0;
    if (dir->type > N_DIR)
        return -ENOTDIR;
    if (dir != t->root && !dir->parent)
        return -ENOENT;
    enum known k = knowledge(t, dir, name, ret, &checked_ns);
    if (k == K_UNKNOWN || !fresh_locked(t, checked_ns, since_ns))
        return -EAGAIN;
    node_touch_lru_locked(t, dir);
    pages_hit_locked(dir);
    return k == K_PRESENT;
}

int
resolve_locked(struct sf_tree *t, struct resolve *r, struct node *dir, const char *name,
               struct waiter *w, struct node **ret)
{
    int64_t checked_ns = 0;
    if (dir->type > N_DIR)
        return -ENOTDIR;
    if (dir != t->root && !dir->parent)
        return -ENOENT;
    node_touch_lru_locked(t, dir);
    enum known k = knowledge(t, dir, name, ret, &checked_ns);
    bool fresh = k != K_UNKNOWN && fresh_locked(t, checked_ns, r->since_ns);
    if (!fresh && k != K_UNKNOWN && (r->err < 0 || r->rounds >= MAX_ROUNDS))
        fresh = true; /* 'unknown' serves what is known */
    bool offline = !fresh && tree_offline_locked(t);
    if (!fresh && (k == K_UNKNOWN || !offline) &&
        saved_want_locked(t, dir, true, offline || r->err < 0, w))
        return -EINPROGRESS;
    if (!fresh && k != K_UNKNOWN && offline) {
        ask_behind(t, dir, name);
        fresh = true;
    }
    if (fresh)
        return k == K_PRESENT;
    if (r->err < 0)
        return r->err;
    if (r->rounds >= MAX_ROUNDS)
        return -EIO;
    int away = offline ? tree_away_locked(t) : 0;
    if (away) /* nobody would answer: what is not known fails at once */
        return away;
    int rc = ask(t, dir, name, r->rounds, r->since_ns, w);
    return rc < 0 ? rc : -EINPROGRESS;
}

int
revalidate_locked(struct sf_tree *t, struct resolve *r, struct node *n, struct waiter *w)
{
    struct node *found;
    if (n == t->root || node_is_local(n))
        return 0;
    if (!n->parent)
        return -ESTALE;
    int rc = resolve_locked(t, r, n->parent, node_name(n), w, &found);
    if (rc == -ENOENT) /* its directory is gone: so is what was in it */
        return -ESTALE;
    if (rc < 0)
        return rc;
    return rc == 1 && found == n ? 0 : -ESTALE;
}
