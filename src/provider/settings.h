/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_SETTINGS_H
#define SF_PROVIDER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provider/provider.h"

/*
 * The providers of a mount: what the sections [provider.NAME], the env file and the environment say
 * of them, with the defaults of their types. Read once, before the keys of the configuration are
 * wiped; then only read, from any thread. The key alone may change under way: it has its own lock.
 */
struct sf_config;
struct sf_http_req;
struct sf_provider_key;

/* What a million tokens cost, in the currency of the settings. */
struct sf_provider_price {
    char model[81]; /* "*" = any */
    double asked, answered, known;
};

struct sf_provider_conf {
    char name[33]; /* of the section: [a-z0-9][a-z0-9_-]{0,31} */
    const struct sf_provider_type *type;
    char *base_url; /* without a slash at its end; NULL only with a trouble */
    struct sf_provider_key *key;
    char *purpose;
    char **models;  /* NULL-terminated, as set; NULL = all that the server has */
    char *model;    /* the one for chats; NULL = must be told there */
    unsigned order; /* the less the sooner `auto` takes it: dearer ones have greater numbers */
    unsigned concurrency; /* requests at once; >= 1 */
    unsigned rpm;         /* requests in a minute; 0 = no limit of ours */
    int64_t upload_ms;    /* an upload, until the file is ready */
    int64_t chat_ms;      /* a turn of a chat, until its answer is whole */
    int64_t timeout_ms;   /* any other request */
    uint64_t max_bytes;   /* 0 = as the type's limits say */
    char **extensions;    /* NULL = as the type's limits say; "*" alone = any */
    int64_t lifetime_ms;  /* an id is believed so long without asking; 0 = until it is missed */
    uint64_t context;     /* tokens of question and answer; 0 = as the type says of the model */
    char **vision_models; /* those that see pictures; NULL = as the type says */
    char *currency;       /* of prices: "USD" */
    struct sf_provider_price *prices;
    size_t n_prices;
    char **fallback;   /* providers that may do it when this one cannot; NULL = none */
    char trouble[240]; /* what was amiss when it was read: see sf_provider_trouble() */
};

struct sf_provider_confs {
    struct sf_provider_conf *all; /* by order, then by name */
    size_t n;
};

/**
 * sf_provider_confs_read - the providers that the configuration knows.
 * @out: on success to be given back with sf_provider_confs_fini(). Their keys are copied into
 *       memory of their own.
 *
 * A provider without a key that its type needs, or whose key file cannot be read, is there with its
 * trouble told; a value that is not allowed is an error.
 *
 * Returns 0; -EINVAL with a sentence that begins with the place of the value; -ENOMEM.
 */
int sf_provider_confs_read(const struct sf_config *cfg, struct sf_provider_confs *out,
                           struct sf_err *err);
void sf_provider_confs_fini(struct sf_provider_confs *confs);

/** sf_provider_conf_find - by name; '-' and '_' are the same in it. NULL = there is none. */
const struct sf_provider_conf *sf_provider_conf_find(const struct sf_provider_confs *confs,
                                                     const char *name);

/**
 * sf_provider_trouble - why the provider cannot be used: no address, no key. "" = it can. A key
 * file that could not be read is looked at again. Valid as long as @conf.
 */
const char *sf_provider_trouble(const struct sf_provider_conf *conf);

/** sf_provider_price - of a model; NULL = not known. Valid as long as @conf. */
const struct sf_provider_price *sf_provider_price(const struct sf_provider_conf *conf,
                                                  const char *model);

/* What is known of a file before it is sent. */
struct sf_provider_facts {
    uint64_t size;
    const char *name; /* its extension counts */
    const char *mime; /* or NULL */
};

/**
 * sf_provider_check - whether the provider takes this file, by all that is known without asking.
 * @out: NULL, or filled as a failed request would fill it.
 *
 * Returns 0; -EFBIG; -EINVAL it is empty; -ENOTSUP its kind.
 */
int sf_provider_check(const struct sf_provider_conf *conf, const struct sf_provider_facts *file,
                      struct sf_provider_fault *out);

/* ---- the key -------------------------------------------------------------------------------- */

/**
 * sf_provider_key_apply - add Authorization, and what else the type wants, to this attempt of a
 * request. For a preparer (http/http.h). Without a key only the latter.
 * @generation: NULL, or counts the keys held so far: two attempts with one generation sent the same
 *              key.
 *
 * Returns 0 or -errno.
 */
int sf_provider_key_apply(const struct sf_provider_conf *conf, struct sf_http_req *req,
                          uint64_t *generation);

/**
 * sf_provider_key_reload - look whether the key's file holds another one now.
 * @force: also when the file looks unchanged.
 *
 * Returns 1 when there is another key; 0 when not; -errno of a file that cannot be read (the old
 * key stays). Reads one small file; thread-safe.
 */
int sf_provider_key_reload(const struct sf_provider_conf *conf, bool force, struct sf_err *err);

/** sf_provider_key_generation - of the key held now. */
uint64_t sf_provider_key_generation(const struct sf_provider_conf *conf);

/** sf_provider_key_label - where the key comes from: "MOONSHOT_API_KEY in the environment"; "no
 * key". Never the key. Valid as long as @conf. */
const char *sf_provider_key_label(const struct sf_provider_conf *conf);

/**
 * sf_provider_account - whose files these are: the setting `account`, or the first 16 hex digits of
 * the SHA-256 of address, NUL and key. Changes with the key, unless set; a key file is looked at
 * again, once in a second at most.
 */
void sf_provider_account(const struct sf_provider_conf *conf, char out[65]);

#endif
