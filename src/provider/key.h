/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_KEY_H
#define SF_PROVIDER_KEY_H

#include "provider/settings.h"

/* Inside of provider/: how settings.c makes the key of a provider; settings.h says what is done
 * with one. */
struct sf_provider_key_choice;

/* One without a key. @base_url may be NULL; @account: NULL = a fingerprint. 0 or -ENOMEM. */
int provider_key_new(const char *base_url, const char *account, struct sf_provider_key **ret);
void provider_key_free(struct sf_provider_key *k); /* wipes; NULL is allowed */

/* Give it the key that was chosen, once. 0, or as sf_key_file_read() and -EINVAL; a file that
 * cannot be read now may be later: see sf_provider_key_reload(). */
int provider_key_take(struct sf_provider_key *k, const struct sf_provider_key_choice *c,
                      struct sf_err *err);

/* Whether there is a key now; looks at its file, once in a second at most. */
bool provider_key_is_there(const struct sf_provider_conf *conf);

#endif
