/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/provider-internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/str.h"

/* What is told of providers, with a mount and without. */

/* NULL is null: not set. */
static json_t *
words_json(char *const *list)
{
    json_t *a = list ? json_array() : json_null();
    for (; list && *list; list++)
        json_array_append_new(a, json_string(*list));
    return a;
}

/* In seconds: "upload_timeout" and its kin may have a fraction of one. */
static json_t *
seconds_json(int64_t ms)
{
    return json_real((double)ms / 1000);
}

json_t *
sf_provider_conf_json(const struct sf_provider_conf *c)
{
    char account[65];
    sf_provider_account(c, account);
    json_t *o = json_pack(
        "{s:s, s:s, s:s?, s:s, s:s, s:s, s:o, s:s?, s:I, s:I, s:I}", "name", c->name, "type",
        c->type->name, "base_url", c->base_url, "key", sf_provider_key_label(c), "account", account,
        "purpose", c->purpose, "models", words_json(c->models), "model", c->model, "order",
        (json_int_t)c->order, "concurrency", (json_int_t)c->concurrency, "rpm", (json_int_t)c->rpm);
    json_object_set_new(o, "timeout", seconds_json(c->timeout_ms));
    json_object_set_new(o, "upload_timeout", seconds_json(c->upload_ms));
    json_object_set_new(o, "lifetime", seconds_json(c->lifetime_ms));
    json_object_set_new(o, "max_bytes",
                        c->max_bytes ? json_integer((json_int_t)c->max_bytes) : json_null());
    json_object_set_new(o, "extensions", words_json(c->extensions));
    json_object_set_new(o, "fallback", words_json(c->fallback));
    json_object_set_new(o, "trouble", json_string(sf_provider_trouble(c)));
    return o;
}

json_t *
sf_provider_choice_json(const struct sf_route_choice *c, const struct sf_provider_confs *confs)
{
    return json_pack("{s:s, s:b, s:s}", "provider", confs->all[c->provider].name, "taken",
                     (int)c->taken, "reason", c->reason);
}

json_t *
provider_text(const char *text)
{
    sf_autobuf struct sf_buf escaped = SF_BUF_INIT;
    json_t *o = *text ? json_string(text) : json_null();
    if (o || sf_str_escape(&escaped, text, ""))
        return o;
    return json_string(sf_buf_str(&escaped));
}

int
provider_say(struct sf_talk *t, json_t *o)
{
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    int rc = text ? sf_talk_print(t, "%s\n", text) : -ENOMEM;
    free(text);
    json_decref(o);
    return rc;
}
