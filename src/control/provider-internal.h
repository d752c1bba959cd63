/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONTROL_PROVIDER_INTERNAL_H
#define SF_CONTROL_PROVIDER_INTERNAL_H

#include "base/lock.h"
#include "config/provider.h"
#include "control/provider.h"
#include "provider/want.h"
#include "tree/files.h"
#include "tree/source.h"

/* Inside of src/control: the verbs about providers. */

struct sf_control_provider {
    struct sf_control_provider_opts o;
};

#define PROVIDER_LOOK_MS 200 /* whether anybody waits still, and how far it is */

/* A line with an object, which is given away. 0, -ECANCELED, -ENOMEM. */
int provider_say(struct sf_talk *t, json_t *o);
/* A text that may be no UTF-8, as others wrote it; "" is null. */
json_t *provider_text(const char *text);
/* -ENOENT with a sentence where no provider has this name; NULL is all of them. */
int provider_known(const struct sf_control_provider *cp, const char *name, struct sf_err *err);

/* ---- provider-file.c ------------------------------------------------------------------------- */

/* What it means that a file has no source. */
const char *provider_file_trouble(int rc);
/* A file of the mount, as providers know it. */
struct provider_file {
    struct sf_tree_source *source;
    char sha256[65]; /* "" = not known */
};

/**
 * provider_file_open - what is needed to know a file's ids again: its version, and its hash where
 * the mount or the project knows it. Asks for what is not known yet, unless there is an id already.
 * Returns 0 or -errno; provider_file_close() frees.
 */
int provider_file_open(const struct sf_control_provider *cp, uint64_t node,
                       struct provider_file *out);
void provider_file_close(struct provider_file *f);
/* For what only looks; its texts are @f's. */
void provider_file_describe(struct provider_file *f, struct sf_want_file *out);
/* For sf_want() and its kin, with a reader: whoever takes it calls its release(). Its texts are
 * @f's. 0 or -ENOMEM. */
int provider_file_want(struct provider_file *f, struct sf_want_file *out);
/* The file at a path of a request. 0, or -errno with a sentence. */
int provider_file_find(const struct sf_control_provider *cp, const char *path,
                       struct provider_file *out, struct sf_err *err);

/* ---- what a verb waits for; provider-ids.c ----------------------------------------------------
 */

struct provider_wait {
    struct sf_mutex lock; /* leaf; protects what follows */
    struct sf_cond came;
    bool over;
};

void provider_wait_init(struct provider_wait *w);
/* It has ended. What came of it was written before, by the one thread that calls back. */
void provider_wait_over(struct provider_wait *w);
/**
 * provider_wait_for - until it has ended; then what init made is freed.
 * @cancel: called once with @of and @id when nobody listens to @t any more; it ends then all the
 *          same.
 */
void provider_wait_for(struct provider_wait *w, struct sf_talk *t,
                       void (*cancel)(void *of, uint64_t id), void *of, uint64_t id);
/* sf_want_cancel() for it; @of: the providers. */
void provider_wait_cancel(void *of, uint64_t id);

/* ---- the verbs --------------------------------------------------------------------------------
 */

int provider_verb_upload(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err);
int provider_verb_adopt(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err);
int provider_verb_rm(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err);
int provider_verb_rm_id(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err);
int provider_verb_files(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err);
int provider_verb_prune(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err);

#endif
