/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_STORAGE_WORLD_H
#define SF_TESTS_STORAGE_WORLD_H

#include <stdatomic.h>

#include "supabase/storage.h"
#include "toy-server.h"

/* A Storage client and a service that gives the answers a test says, and keeps what it was asked.
 */
#define WORLD_REPLIES 8

/* In turn; the last one again and again. What was asked more than WORLD_REPLIES times is kept in
 * the last place. */
struct world {
    struct toy *toy;
    struct sf_http *http;
    struct sf_auth *auth;
    struct sf_storage *st;
    atomic_uint served;
    struct {
        char method[16], path[1024], body[160 * 1024], head[16 * 1024];
        size_t body_len;
        char authorization[600], apikey[600], range[64], type[128], upsert[16], metadata[9000];
        char agent[64], info[64], cache[128]; /* "-" = absent */
    } got[WORLD_REPLIES];
};
extern struct world world;

#define WORLD_SERVICE "{\"role\":\"service_role\",\"exp\":4000000000}"
#define WORLD_INFO                                                                                 \
    "{\"id\":\"12eaf964-0000-4000-8000-000000000000\",\"name\":\"k\",\"version\":\"v1\","          \
    "\"bucket_id\":\"b\",\"size\":11,\"content_type\":\"text/plain\","                             \
    "\"cache_control\":\"max-age=3600\",\"etag\":\"\\\"5eb6\\\"\","                                \
    "\"metadata\":{\"mode\":\"0644\"},\"last_modified\":\"2026-11-21T04:07:29.069Z\","             \
    "\"created_at\":\"2026-11-21T04:07:28Z\"}"

/* A JWT with this payload; a static buffer. */
const char *world_token(const char *payload);
void world_open(const struct sf_auth_source *src);
/* For cmocka: with a service_role key. */
int world_setup(void **state);
int world_close(void **state);

#define WORLD_HANG (-1)
/* Answer every request so from now on; status 0 = reset the connection instead, WORLD_HANG = keep
 * it waiting. Texts are copied, here and below. */
void world_answer(int status, const char *headers, const char *body);
/* The answer to request @i (0 = the first after world_answer()) and those behind it. */
void world_then(unsigned i, int status, const char *headers, const char *body);
/* A header of request @i; "-" when absent. A static buffer. */
const char *world_header(unsigned i, const char *name);

#endif
