/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_FRONT_H
#define SF_CHAT_FRONT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * The settings of a question (docs/formats/chat.md, part 6): from front matter, and, one by one,
 * from attributes and the command line. Pure.
 */

#define SF_CHAT_FRONT_MAX  (16 * 1024) /* bytes of front matter */
#define SF_CHAT_SYSTEM_MAX (8 * 1024)  /* bytes of a system text */

enum sf_chat_set {
    SF_CHAT_SET_PROVIDER,
    SF_CHAT_SET_MODEL,
    SF_CHAT_SET_SYSTEM,
    SF_CHAT_SET_TEMPERATURE,
    SF_CHAT_SET_MAX_TOKENS,
    SF_CHAT_SET_THINKING,
    SF_CHAT_SET_CONTINUE,
    SF_CHAT_SET_DRY_RUN,
    SF_CHAT_SETS /* how many there are */
};
#define SF_CHAT_SETS_OF_FILE SF_CHAT_SET_CONTINUE /* those before it may be attributes of files */

enum sf_chat_thinking {
    SF_CHAT_THINKING_OFF,
    SF_CHAT_THINKING_ON,
    SF_CHAT_THINKING_LOW,
    SF_CHAT_THINKING_MEDIUM,
    SF_CHAT_THINKING_HIGH,
};

/* What is not set has the value in brackets. */
struct sf_chat_front {
    char *provider;       /* [NULL] "auto" stands for itself; whether there is one is not checked */
    char *model, *system; /* [NULL] */
    char *continues;      /* [NULL] the id of a conversation */
    int temperature;      /* [-1] thousandths */
    int max_tokens;       /* [-1] */
    int thinking;         /* [-1] enum sf_chat_thinking */
    int dry_run;          /* [-1] */
};

void sf_chat_front_init(struct sf_chat_front *f);
void sf_chat_front_fini(struct sf_chat_front *f);

/** sf_chat_set_name - "provider", ...; static. */
const char *sf_chat_set_name(enum sf_chat_set set);
/** sf_chat_set_find - by name, or -1. */
int sf_chat_set_find(const char *name);

/**
 * sf_chat_front_set - give one setting a value; it may have one.
 * Returns 0; -EINVAL with a sentence, and nothing has changed; -ENOMEM.
 */
int sf_chat_front_set(struct sf_chat_front *f, enum sf_chat_set set, const char *value,
                      struct sf_err *err);
/**
 * sf_chat_front_get - append the value of one setting, as sf_chat_front_set() takes it.
 * Returns 0; -ENODATA it is not set; -ENOMEM.
 */
int sf_chat_front_get(const struct sf_chat_front *f, enum sf_chat_set set, struct sf_buf *out);

/**
 * sf_chat_front_under - take from @other what is not set here.
 * Returns 0 or -ENOMEM, and then a part of it may have been taken.
 */
int sf_chat_front_under(struct sf_chat_front *f, const struct sf_chat_front *other);

/**
 * sf_chat_front_parse - read the front matter of a prompt.
 * @whole: nothing follows these bytes; else more may.
 * @f:     initialised; gets the settings. As it was on failure.
 * @body:  on success where the question begins; 0 = there is no front matter.
 * @err:   may be NULL; a sentence with the number of the line.
 *
 * Returns 0; -EAGAIN it cannot be told before more has come (never with @whole, nor over
 * SF_CHAT_FRONT_MAX bytes); -EINVAL; -ENOMEM.
 */
int sf_chat_front_parse(const char *text, size_t len, bool whole, struct sf_chat_front *f,
                        size_t *body, struct sf_err *err);

/** sf_chat_front_print - append front matter that says this: also when nothing is set. 0, -ENOMEM,
 * and then @out is as before. */
int sf_chat_front_print(const struct sf_chat_front *f, struct sf_buf *out);

#endif
