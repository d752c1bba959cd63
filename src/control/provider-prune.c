/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/provider-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/htab.h"
#include "control/find-source.h"
#include "supabase/storage.h"
#include "write/write.h"

#define CHANGES_MS 2000

/* What this mount uploaded and no file of the project needs any more. A file that was renamed or
 * copied has its bytes under another name: before one is called gone, all objects of the project
 * are looked at, once, for the same ETag. One that is no MD5 of the bytes says nothing of other
 * objects: where one has as many bytes, nobody can tell. */

struct seen {
    UT_hash_handle hh;
    bool md5;    /* all that have it have an MD5 as their ETag */
    char text[]; /* an ETag, with its quotes, or "=" and a size */
};

struct prune {
    const struct sf_control_provider *cp;
    struct find_from from;

    /* Of the thread that calls back. */
    struct seen *seen;
    bool walked, blind; /* blind: there is an object of which nothing is told */
    int walk_rc;        /* of that; the same for all that ask */
    int said;           /* why nobody is told any more */
};

/* "W/" says how it was compared. */
static const char *
strong(const char *etag)
{
    return strncmp(etag, "W/", 2) == 0 ? etag + 2 : etag;
}

static struct seen *
find_seen(const struct prune *p, const char *text)
{
    struct seen *s;
    HASH_FIND(hh, p->seen, text, strlen(text), s);
    return s;
}

static int
note(struct prune *p, const char *text, bool md5)
{
    size_t n = strlen(text);
    struct seen *s = find_seen(p, text);
    if (s)
        s->md5 &= md5;
    if (s || !n)
        return 0;
    s = calloc(1, sizeof *s + n + 1);
    if (!s)
        return -ENOMEM;
    s->md5 = md5;
    memcpy(s->text, text, n + 1);
    HASH_ADD_KEYPTR(hh, p->seen, s->text, n, s);
    if (SF_HTAB_ADDED(s))
        return 0;
    free(s);
    return -ENOMEM;
}

static const char *
size_text(uint64_t bytes, char out[24])
{
    snprintf(out, 24, "=%" PRIu64, bytes);
    return out;
}

static int
note_object(struct prune *p, const struct sf_found *row)
{
    char size[24];
    bool md5 = sf_etag_is_md5(row->etag);
    p->blind |= !*row->etag && !row->size;
    int rc = note(p, strong(row->etag), md5);
    return rc ? rc : note(p, size_text(row->size, size), md5);
}

static int
walk_bucket(struct prune *p, const char *bucket)
{
    const struct sf_find_want all = SF_FIND_ANY;
    struct find_source s = {.from = &p->from, .want = &all, .bucket = bucket, .prefix = ""};
    int rc = 0;
    while (!rc && !s.end) {
        struct find_page page;
        rc = find_source_next(&s, 0, &page, NULL);
        if (rc)
            break;
        for (size_t i = 0; !rc && i < page.n; i++)
            rc = note_object(p, &page.rows[i]);
        find_page_fini(&page);
    }
    find_source_fini(&s);
    return rc;
}

static int
walk(struct prune *p)
{
    struct text_vec buckets = {0};
    int rc = find_buckets(&p->from, &buckets, NULL);
    for (size_t i = 0; !rc && i < buckets.len; i++)
        rc = walk_bucket(p, buckets.data[i]);
    text_vec_free(&buckets);
    return rc;
}

/* Whether the object under this key has these bytes: 1, 0, -errno. */
static int
is_there(struct prune *p, const char *bucket, const char *key, const char *etag)
{
    const struct sf_find_want all = SF_FIND_ANY;
    struct find_page page;
    struct find_source s = {
        .from = &p->from, .want = &all, .bucket = bucket, .prefix = key, .exact = true};
    int rc = find_source_next(&s, 1, &page, NULL);
    if (!rc) {
        rc = page.n && sf_etag_same(page.rows[0].etag, etag);
        find_page_fini(&page);
    }
    find_source_fini(&s);
    return rc;
}

static int
is_still(void *arg, const char *bucket, const char *key, const char *id, const char *etag,
         uint64_t bytes)
{
    struct prune *p = arg;
    char size[24];
    (void)id;
    if (!*bucket || !*key || !strchr(etag, '"')) /* a version that is no ETag is in no listing */
        return -ENODATA;
    int rc = is_there(p, bucket, key, etag);
    if (rc > 0 || rc == -ECANCELED)
        return rc;
    if (!p->walked)
        p->walk_rc = walk(p);
    p->walked = true;
    if (p->walk_rc || find_seen(p, strong(etag)))
        return p->walk_rc ? p->walk_rc : 1;
    const struct seen *as_long = find_seen(p, size_text(bytes, size));
    return p->blind || (as_long && !(sf_etag_is_md5(etag) && as_long->md5)) ? -ENODATA : 0;
}

static void
tell(void *arg, const struct sf_prune_file *f)
{
    static const char *const verdicts[] = {[SF_PRUNE_KEPT] = "kept",
                                           [SF_PRUNE_GOES] = "goes",
                                           [SF_PRUNE_GONE] = "gone",
                                           [SF_PRUNE_FAILED] = "failed"};
    struct prune *p = arg;
    if (p->said)
        return;
    p->said = provider_say(
        p->from.talk, json_pack("{s:s, s:s, s:o, s:I, s:I, s:o, s:o, s:s, s:o}", "provider",
                                f->provider, "id", f->id, "name", provider_text(f->filename),
                                "bytes", (json_int_t)f->bytes, "created", (json_int_t)f->created_s,
                                "bucket", provider_text(f->bucket), "key", provider_text(f->key),
                                "verdict", verdicts[f->verdict], "why", provider_text(f->why)));
}

struct pruning {
    struct provider_wait wait;
    struct sf_pruned result;
};

static void
pruned(void *arg, const struct sf_pruned *result)
{
    struct pruning *w = arg;
    w->result = *result;
    provider_wait_over(&w->wait);
}

static int
still_listening(void *arg, const struct sf_flush_now *now)
{
    (void)now;
    return sf_talk_cancelled(arg) ? -ECANCELED : 0;
}

/* What has not arrived in the project, nobody sees there: a file could need what no object has. */
static int
wait_for_changes(const struct prune *p, struct sf_err *err)
{
    struct sf_flush_now left = {.left = 0};
    const struct sf_flush_args args = {.deadline_ms = sf_clock_ms() + CHANGES_MS,
                                       .progress = still_listening,
                                       .arg = p->from.talk};
    int rc = sf_writer_flush(p->cp->o.writer, &args, &left);
    if (rc != -ETIMEDOUT)
        return rc;
    return sf_err_set(
        err, -EBUSY, "%u change%s not in the project yet; `supafs flush` waits for that%s%s",
        left.left, left.left == 1 ? " is" : "s are", *left.reason ? ": " : "", left.reason);
}

int
provider_verb_prune(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    const struct sf_control_provider *cp = arg;
    struct prune p = {.cp = cp,
                      .from = {.st = cp->o.storage, .talk = t, .timeout_ms = cp->o.timeout_ms}};
    struct pruning w;
    bool yes = argc > 1 && !strcmp(argv[1], "-y");
    const char *name = argc > 1 + yes ? argv[1 + yes] : NULL;
    if (argc > 2 + yes)
        return sf_err_set(err, -EINVAL, "one provider at a time");
    if (provider_known(cp, name, err))
        return -ENOENT;
    int rc = wait_for_changes(&p, err);
    if (rc)
        return rc;
    const struct sf_prune_args args = {
        .provider = name, .yes = yes, .is_still = is_still, .tell = tell, .arg = &p};
    provider_wait_init(&w.wait);
    uint64_t id = sf_want_prune(cp->o.providers, &args, pruned, &w);
    provider_wait_for(&w.wait, t, provider_wait_cancel, cp->o.providers, id);
    struct seen *s, *next;
    HASH_ITER (hh, p.seen, s, next) {
        HASH_DEL(p.seen, s);
        free(s);
    }
    const struct sf_pruned *r = &w.result;
    if (r->rc)
        return sf_err_set(err, r->rc, "%s", *r->err.msg ? r->err.msg : strerror(-r->rc));
    return provider_say(t, json_pack("{s:I, s:I, s:I, s:I}", "seen", (json_int_t)r->seen, "gone",
                                     (json_int_t)r->gone, "failed", (json_int_t)r->failed, "bytes",
                                     (json_int_t)r->bytes));
}
