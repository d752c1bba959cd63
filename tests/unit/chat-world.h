/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_CHAT_WORLD_H
#define SF_TESTS_CHAT_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "chat/content.h"
#include "chat/conv.h"
#include "chat/remote.h"
#include "provider/settings.h"

/*
 * Conversations in a state directory of their own, with providers, files and tables that the test
 * plays. Linked with --wrap: $(chat_world_wraps) in tests/local.mk.
 */

struct sf_http;

#define STEM "abcdefghijklmnopqrstuvwx"

/* A question that a provider has got. */
struct asked {
    char provider[33], model[64];
    char text[4096]; /* of all messages: "role: text\n" */
    int64_t deadline_ms;
    _Atomic bool cancelled; /* we were told that nobody wants it; it ends by itself then */
    _Atomic bool over;
    uint64_t id;
    struct sf_provider_chat_fns fns;
};

/* How the next turn's content is got. */
struct contents {
    int fails[4];       /* one after the other; 0 = it is got */
    _Atomic unsigned n; /* that were asked for */
    _Atomic bool hangs; /* until it is cancelled */
    const char *text;   /* NULL = "File: b/k" */
    enum sf_provider_class cls;
};

struct world {
    char dir[64];
    struct sf_http *http;
    struct sf_convs *cs;
    struct sf_convs_opts opts; /* for the next world_open() */
    struct contents contents;
    int refuses; /* sf_provider_chat() says this, once */
    mode_t mode; /* of what conversations are about, which is root's */
    struct sf_functions_peer peer;
    struct sf_provider_conf confs[2]; /* alpha, beta */
};
extern struct world world;

int world_setup(void **state);
int world_teardown(void **state);
void world_open(void);
void world_close(void);

/* ---- conversations --------------------------------------------------------------------------- */

struct sf_conv *conv_of(const struct sf_conv_key *key); /* known */
struct sf_conv *conv_named(const char *stem);
struct sf_conv *conv_by_id(const char *id);
/* The whole transcript; a static buffer. */
const char *says(struct sf_conv *c);
const char *shows(struct sf_conv *c, enum sf_chat_view view);
/* With times and rows of numbers as T and N, so that it can be compared. */
const char *says_plainly(struct sf_conv *c);
struct sf_conv_turn *ask(struct sf_conv *c, const char *text);
struct sf_conv_turn *ask_with(struct sf_conv *c, const char *text, const struct sf_chat_front *own);

/* So much of its answer is in the state directory. */
bool is_kept(struct sf_conv_turn *t, size_t len);
/* Of those buffers, into an array. */
#define KEEP(to, text) snprintf(to, sizeof(to), "%s", text)

/* ---- readers --------------------------------------------------------------------------------- */

struct reader {
    struct sf_conv_read r;
    struct sf_conv *c;
    bool done;
    int rc;
    char data[8192];
    size_t len;
};
/* It begins to read at r.off; what r says otherwise stays. */
void begin_read(struct reader *rd, struct sf_conv *c);
bool is_done(struct reader *rd);
/* Waits, and goes on from there in the next begin_read(). */
void end_read(struct reader *rd);
/* All up to the end, which is waited for: the result at the end. */
int read_all(struct reader *rd, struct sf_conv *c, char *out, size_t size);

/* ---- providers ------------------------------------------------------------------------------- */

/* Waits for the n-th question, from 1, to any of them. */
struct asked *asked(unsigned n);
unsigned asked_count(void);
void say(struct asked *a, const char *text);
void think(struct asked *a, const char *text);
void finish(struct asked *a);
/* Ends it, with usage of 10 and 5 tokens unless it failed. */
void finish_as(struct asked *a, enum sf_provider_how how, enum sf_provider_class cls);

/* Until it is so, a few seconds at most. */
#define await(cond)                                                                                \
    do {                                                                                           \
        for (int tries_ = 0; !(cond); tries_++) {                                                  \
            if (tries_ > 4000)                                                                     \
                fail_msg("never: %s", #cond);                                                      \
            usleep(1000);                                                                          \
        }                                                                                          \
    } while (0)

#endif
