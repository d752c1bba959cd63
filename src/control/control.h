/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONTROL_CONTROL_H
#define SF_CONTROL_CONTROL_H

#include "base/err.h"
#include "virtual/talk.h"

/*
 * .supafs/control: what commands ask of a running mount. A request is a line of words
 * (control/words.h), the first of which is the verb; the answer is the verb's lines and a last one,
 * "done" or "failed ERRNO TEXT". Verbs run on threads of their own, a few at once, and more of
 * those that take long; these look at sf_talk_cancelled() now and then.
 */
struct sf_control;
struct sf_virtual;

/* @argv: argc words, argv[0] the verb. 0, or -errno with a sentence in @err. */
typedef int (*sf_verb_fn)(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err);

int sf_control_new(struct sf_virtual *v, struct sf_control **ret);
/* @verb: a static string. Before the mount serves. 0 or -ENOSPC. */
int sf_control_add(struct sf_control *c, const char *verb, sf_verb_fn fn, void *arg);
/* The same of one that may take as long as somebody wants to wait: it does not hold up the others.
 */
int sf_control_add_patient(struct sf_control *c, const char *verb, sf_verb_fn fn, void *arg);
/* All opens of the file are closed: waits for the verbs that run. May be NULL. */
void sf_control_free(struct sf_control *c);

#endif
