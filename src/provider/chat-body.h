/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_CHAT_BODY_H
#define SF_PROVIDER_CHAT_BODY_H

#include <jansson.h>

#include "provider/chat.h"

/* Inside of provider/: what the types add to the body of a chat. */

struct provider_body {
    const struct sf_provider_conf *conf;
    const char *base, *model;
    const struct sf_provider_chat *chat;
    json_t *root;
    unsigned unsent;
    struct sf_provider_fault *fault;
    int rc; /* the first failure */
};

/* Add a member; takes @value, NULL = no memory. */
void provider_body_set(struct provider_body *b, const char *name, json_t *value);
/* temperature, when it is set: 0 to @most. */
void provider_body_temperature(struct provider_body *b, double most);
/* thinking, as Kimi and GLM have it; @effort: NULL = none. */
void provider_body_thinking(struct provider_body *b, bool on, const char *effort);
/* In which way it is to be sent: SF_PP_BY_... */
unsigned provider_part_way(const struct sf_provider_part *part);

#endif
