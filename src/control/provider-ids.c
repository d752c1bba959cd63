/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/provider-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/vec.h"
#include "provider/files.h"

/* Ids that are given, taken away and looked at: adopt, rm, files. */

void
provider_wait_init(struct provider_wait *w)
{
    w->over = false;
    sf_mutex_init(&w->lock, 0);
    sf_cond_init(&w->came);
}

void
provider_wait_over(struct provider_wait *w)
{
    SF_GUARD(&w->lock);
    w->over = true;
    sf_cond_signal(&w->came);
}

void
provider_wait_for(struct provider_wait *w, struct sf_talk *t, void (*cancel)(void *of, uint64_t id),
                  void *of, uint64_t id)
{
    bool cancelled = false;
    sf_mutex_lock(&w->lock);
    while (!w->over) {
        if (!cancelled && sf_talk_cancelled(t)) {
            cancelled = true;
            sf_mutex_unlock(&w->lock);
            cancel(of, id);
            sf_mutex_lock(&w->lock);
            continue;
        }
        (void)sf_cond_timedwait_ms(&w->came, &w->lock, sf_clock_ms() + PROVIDER_LOOK_MS);
    }
    sf_mutex_unlock(&w->lock);
    sf_cond_fini(&w->came);
    sf_mutex_fini(&w->lock);
}

void
provider_wait_cancel(void *of, uint64_t id)
{
    sf_want_cancel(of, id);
}

/* ---- a want that is waited for ----------------------------------------------------------------
 */

struct waited {
    struct provider_wait wait;
    struct sf_wanted wanted;
};

static void
want_done(void *arg, const struct sf_wanted *wanted)
{
    struct waited *w = arg;
    w->wanted = *wanted;
    provider_wait_over(&w->wait);
}

/* Its rc, with a sentence that begins with @what. */
static int
want_wait(struct waited *w, const struct sf_control_provider *cp, struct sf_talk *t, uint64_t id,
          const char *what, struct sf_err *err)
{
    provider_wait_for(&w->wait, t, provider_wait_cancel, cp->o.providers, id);
    int rc = w->wanted.rc;
    return rc ? sf_err_set(err, rc, "%s: %s", what,
                           *w->wanted.fault.text ? w->wanted.fault.text : strerror(-rc))
              : 0;
}

/* The one that is meant; "auto" is enough where there is one alone. NULL with a sentence. */
static const struct sf_provider_conf *
one_provider(const struct sf_control_provider *cp, const char *name, struct sf_err *err)
{
    const struct sf_provider_confs *confs = sf_providers_confs(cp->o.providers);
    bool any = !strcmp(name, "auto");
    if (provider_known(cp, any ? NULL : name, err))
        return NULL;
    if (!any)
        return sf_provider_conf_find(confs, name);
    if (confs->n == 1)
        return &confs->all[0];
    (void)!sf_err_set(err, -EINVAL, "this mount has %zu providers; name the one that is meant",
                      confs->n);
    return NULL;
}

int
provider_verb_adopt(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    const struct sf_control_provider *cp = arg;
    struct waited w;
    struct provider_file f;
    struct sf_want_file file;
    if (argc != 4)
        return sf_err_set(err, -EINVAL, "%s NAME PATH ID is meant", argv[0]);
    const struct sf_provider_conf *conf = one_provider(cp, argv[1], err);
    if (!conf)
        return err->code;
    int rc = provider_file_find(cp, argv[2], &f, err);
    if (rc)
        return rc;
    rc = provider_file_want(&f, &file);
    if (rc) {
        provider_file_close(&f);
        return rc;
    }
    provider_wait_init(&w.wait);
    uint64_t id = sf_want_adopt(cp->o.providers, conf->name, &file, argv[3], want_done, &w);
    rc = want_wait(&w, cp, t, id, argv[2], err);
    provider_file_close(&f);
    return rc ? rc
              : provider_say(t, json_pack("{s:o, s:s, s:s}", "path", provider_text(argv[2]),
                                          "provider", conf->name, "id", w.wanted.id));
}

/* ---- rm -------------------------------------------------------------------------------------- */

static int
remove_id(const struct sf_control_provider *cp, struct sf_talk *t, const char *name, const char *id,
          struct sf_err *err)
{
    struct waited w;
    provider_wait_init(&w.wait);
    uint64_t want = sf_want_remove(cp->o.providers, name, id, want_done, &w);
    int rc = want_wait(&w, cp, t, want, id, err);
    return rc ? rc : provider_say(t, json_pack("{s:s, s:s}", "provider", name, "id", id));
}

int
provider_verb_rm_id(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    const struct sf_control_provider *cp = arg;
    if (argc != 3)
        return sf_err_set(err, -EINVAL, "%s NAME ID is meant", argv[0]);
    const struct sf_provider_conf *conf = one_provider(cp, argv[1], err);
    return conf ? remove_id(cp, t, conf->name, argv[2], err) : err->code;
}

int
provider_verb_rm(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    const struct sf_control_provider *cp = arg;
    const struct sf_provider_confs *confs = sf_providers_confs(cp->o.providers);
    struct provider_file f;
    struct sf_want_file file;
    unsigned found = 0;
    if (argc != 3)
        return sf_err_set(err, -EINVAL, "%s NAME PATH is meant", argv[0]);
    bool any = !strcmp(argv[1], "auto");
    int rc = provider_known(cp, any ? NULL : argv[1], err);
    if (!rc)
        rc = provider_file_find(cp, argv[2], &f, err);
    if (rc)
        return rc;
    provider_file_describe(&f, &file);
    for (size_t i = 0; !rc && i < confs->n; i++) {
        struct sf_want_state known;
        const char *name = confs->all[i].name;
        if ((!any && !sf_provider_name_same(name, argv[1])) ||
            sf_want_known(cp->o.providers, name, &file, NULL, &known) ||
            known.phase != SF_WANT_READY)
            continue;
        found++;
        rc = remove_id(cp, t, name, known.id, err);
    }
    provider_file_close(&f);
    if (!rc && !found)
        rc = sf_err_set(err, -ENOENT, "%s: this mount knows no id of it%s%s", argv[2],
                        any ? "" : " at ", any ? "" : argv[1]);
    return rc;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* A file of a list, which may have 100,000. */
struct listed {
    char *id, *name;
    uint64_t bytes;
    int64_t created_s;
    enum sf_provider_file_state state;
};
SF_VEC_DEFINE(listed_vec, struct listed);

struct list {
    struct provider_wait wait;
    struct sf_provider_fault fault;
    struct listed_vec files;
    bool no_memory;
};

static int
take_listed(void *arg, const struct sf_provider_file *file)
{
    struct list *l = arg;
    struct listed f = {.id = strdup(file->id),
                       .name = strdup(file->filename),
                       .bytes = file->bytes,
                       .created_s = file->created_s,
                       .state = file->state};
    if (f.id && f.name && !listed_vec_push(&l->files, f))
        return 0;
    free(f.id);
    free(f.name);
    l->no_memory = true;
    return -ENOMEM;
}

static void
list_done(void *arg, const struct sf_provider_fault *fault)
{
    struct list *l = arg;
    l->fault = *fault;
    provider_wait_over(&l->wait);
}

static void
list_cancel(void *of, uint64_t id)
{
    sf_provider_cancel(of, id);
}

static int
list_wait(struct list *l, struct sf_provider *p, struct sf_talk *t, const char *name,
          struct sf_err *err)
{
    provider_wait_init(&l->wait);
    uint64_t id = sf_provider_files(p, NULL, 0, take_listed, list_done, l);
    if (!id) {
        l->no_memory = true;
        provider_wait_over(&l->wait);
    }
    provider_wait_for(&l->wait, t, list_cancel, p, id);
    if (l->no_memory)
        return -ENOMEM;
    return l->fault.err ? sf_err_set(err, l->fault.err, "%s: %s", name, l->fault.text) : 0;
}

static int
say_listed(const struct sf_control_provider *cp, struct sf_talk *t, const char *provider,
           const struct listed *f)
{
    static const char *const states[] = {
        [SF_PF_READY] = "ready", [SF_PF_PENDING] = "pending", [SF_PF_FAILED] = "failed"};
    struct sf_want_about about = {.ours = false};
    struct sf_provider_file file = {
        .bytes = f->bytes, .created_s = f->created_s, .state = f->state};
    snprintf(file.id, sizeof file.id, "%s", f->id);
    snprintf(file.filename, sizeof file.filename, "%s", f->name);
    if (sf_want_about(cp->o.providers, provider, &file, &about))
        about = (struct sf_want_about){.ours = false};
    return provider_say(t, json_pack("{s:s, s:s, s:o, s:I, s:I, s:s, s:b, s:b, s:o, s:o, s:o}",
                                     "provider", provider, "id", f->id, "name",
                                     provider_text(f->name), "bytes", (json_int_t)f->bytes,
                                     "created", (json_int_t)f->created_s, "state", states[f->state],
                                     "ours", (int)about.ours, "begun", (int)about.begun, "bucket",
                                     provider_text(about.bucket), "key", provider_text(about.key),
                                     "sha256", provider_text(about.sha256)));
}

static int
files_of(const struct sf_control_provider *cp, struct sf_talk *t,
         const struct sf_provider_conf *conf, struct sf_err *err)
{
    struct list l = {.no_memory = false};
    struct sf_provider *p = sf_providers_one(cp->o.providers, conf->name);
    if (!p)
        return sf_err_set(err, -EACCES, "%s: %s", conf->name, sf_provider_trouble(conf));
    int rc = list_wait(&l, p, t, conf->name, err);
    for (size_t i = 0; i < l.files.len; i++) {
        if (!rc)
            rc = say_listed(cp, t, conf->name, &l.files.data[i]);
        free(l.files.data[i].id);
        free(l.files.data[i].name);
    }
    listed_vec_fini(&l.files);
    return rc;
}

/* One that fails does not keep the others from being told. */
int
provider_verb_files(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    const struct sf_control_provider *cp = arg;
    const struct sf_provider_confs *confs = sf_providers_confs(cp->o.providers);
    const char *name = argc > 1 ? argv[1] : NULL;
    int rc = argc > 2 ? sf_err_set(err, -EINVAL, "one provider at a time")
                      : provider_known(cp, name, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < confs->n; i++) {
        const struct sf_provider_conf *c = &confs->all[i];
        if ((name && !sf_provider_name_same(c->name, name)) || (!name && *sf_provider_trouble(c)))
            continue;
        int one = files_of(cp, t, c, err); /* @err keeps the first */
        if (sf_talk_cancelled(t))
            return -ECANCELED;
        rc = rc ? rc : one;
    }
    return rc;
}
