/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "chat/chat-internal.h"
#include "config/provider.h"
#include "provider/want.h"

/* What attributes tell of conversations, and what setting them does (docs/formats/chat.md: C8, S5,
 * S7, S9, E2). */

#define OURS     "user.supafs.chat"
#define ERROR    "user.supafs.error"
#define LAST_MAX 65536 /* bytes of the last answer */

enum what {
    WHAT_LAST,
    WHAT_ID,
    WHAT_STATE,
    WHAT_USAGE,
    WHAT_SETTINGS,
    WHAT_NAME,
    WHAT_ERROR,
    WHAT_CANCEL,
    WHAT_OTHER, /* a setting, or nothing */
};

static enum what
what_of(const char *name)
{
    static const struct {
        const char *name;
        enum what what;
    } table[] = {{OURS, WHAT_LAST},
                 {OURS ".id", WHAT_ID},
                 {OURS ".state", WHAT_STATE},
                 {OURS ".usage", WHAT_USAGE},
                 {OURS ".settings", WHAT_SETTINGS},
                 {OURS ".name", WHAT_NAME},
                 {OURS ".cancel", WHAT_CANCEL},
                 {ERROR, WHAT_ERROR}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name))
            return table[i].what;
    return WHAT_OTHER;
}

bool
sf_chat_xattr_is(const struct sf_chat *chat, const char *name)
{
    if (!chat)
        return false;
    return !strcmp(name, OURS) || sf_str_starts(name, OURS ".") || !strcmp(name, ERROR);
}

/* ---- getting --------------------------------------------------------------------------------- */

struct state {
    struct sf_chat *chat;
    enum what what;
    uint64_t of;            /* of FILE */
    struct chat_node *node; /* of a chat file, counted */
    struct chat_place *place;
    struct sf_conv *conv;
    size_t i; /* of FILE's conversations: the first names no provider */
    struct sf_buf out;
    sf_tree_fn fn;
    void *arg;
};

static void
state_end(struct state *s, int rc)
{
    struct sf_chat *chat = s->chat;
    const struct sf_tree_result res = {.data = sf_buf_str(&s->out), .len = s->out.len};
    s->fn(s->arg, rc, rc ? NULL : &res);
    if (s->node)
        chat_node_put(chat, s->node);
    chat_place_free(s->place);
    sf_conv_put(s->conv);
    sf_buf_fini(&s->out);
    free(s);
    chat_idle(chat);
}

static int
tell_id(struct state *s)
{
    struct sf_conv_facts facts;
    sf_conv_facts(s->conv, SF_CHAT_VIEW_ALL, &facts);
    return facts.id[0] ? sf_buf_puts(&s->out, facts.id) : -ENODATA;
}

/* A conversation that nobody began has no state. */
static int
tell_state(struct state *s)
{
    struct sf_conv_facts facts;
    sf_conv_facts(s->conv, SF_CHAT_VIEW_ALL, &facts);
    return facts.exists ? sf_conv_state_text(s->conv, &s->out) : -ENODATA;
}

static void error_next(struct state *s);

static void
loaded(void *arg, int rc)
{
    struct state *s = arg;
    if (!rc && s->what == WHAT_LAST)
        rc = sf_conv_last(s->conv, LAST_MAX, &s->out);
    else if (!rc && s->what == WHAT_ID)
        rc = tell_id(s);
    else if (!rc && s->what == WHAT_STATE)
        rc = tell_state(s);
    else if (!rc && s->what == WHAT_USAGE)
        rc = sf_conv_usage(s->conv, &s->out);
    else if (!rc)
        rc = sf_conv_error(s->conv, &s->out);
    if (rc == -ENODATA && s->what == WHAT_ERROR && s->of)
        error_next(s);
    else
        state_end(s, rc);
}

/* ---- errors: of all conversations of FILE ---------------------------------------------------- */

static int
conv_of(struct sf_chat *chat, uint64_t node, const char *provider, struct sf_conv **ret)
{
    char *bucket = NULL, *key = NULL, stem[SF_CHAT_STEM_MAX + 1];
    int rc = chat_stem_of(chat, node, provider, &bucket, &key, stem);
    if (!rc) {
        const struct sf_conv_key k = {
            .stem = stem, .bucket = bucket, .key = key, .provider = provider};
        rc = sf_conv_get(chat->o.convs, &k, ret);
    }
    free(bucket);
    free(key);
    return rc;
}

static void
error_next(struct state *s)
{
    struct sf_conv *c = NULL;
    sf_conv_put(s->conv);
    s->conv = NULL;
    if (s->i && !s->chat->providers[s->i - 1]) {
        state_end(s, -ENODATA);
        return;
    }
    const char *provider = s->i ? s->chat->providers[s->i - 1] : NULL;
    s->i++;
    int rc = conv_of(s->chat, s->of, provider, &c);
    s->conv = c;
    if (rc)
        state_end(s, rc == -ENOENT ? -ENODATA : rc);
    else
        sf_conv_load(c, 0, loaded, s);
}

/* The file's own failure comes first. */
static void
file_error_told(void *arg, int err, const struct sf_tree_result *res)
{
    struct state *s = arg;
    if (!err)
        err = sf_buf_append(&s->out, res->data, res->len);
    if (err == -ENODATA)
        error_next(s);
    else
        state_end(s, err);
}

/* ---- settings -------------------------------------------------------------------------------- */

static int
tell_setting(struct sf_buf *out, const struct sf_chat_front *f, enum sf_chat_set set,
             const char *where)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    int rc = sf_chat_front_get(f, set, &value);
    if (rc)
        return rc;
    rc = sf_buf_printf(out, "%s: ", sf_chat_set_name(set));
    if (!rc)
        rc = sf_str_escape(out, sf_buf_str(&value), "\\");
    return rc ? rc : sf_buf_printf(out, " (%s)\n", where);
}

/* What holds without the others; 1 = nothing of its own. */
static int
tell_default(struct state *s, const struct sf_chat_front *f, enum sf_chat_set set)
{
    const struct sf_provider_confs *confs = sf_providers_confs(s->chat->o.providers);
    if (set == SF_CHAT_SET_PROVIDER)
        return sf_buf_puts(&s->out, "provider: auto (default)\n");
    const struct sf_provider_conf *conf =
        f->provider ? sf_provider_conf_find(confs, f->provider) : NULL;
    if (set != SF_CHAT_SET_MODEL || !conf || !(conf->model || conf->type->model))
        return 0;
    return sf_buf_printf(&s->out, "model: %s (configuration)\n",
                         conf->model ? conf->model : conf->type->model);
}

static void
settings_told(void *arg, int rc, struct chat_settings *got)
{
    struct state *s = arg;
    struct sf_chat_front name;
    sf_chat_front_init(&name);
    if (!rc && s->place->provider)
        rc = sf_chat_front_set(&name, SF_CHAT_SET_PROVIDER, s->place->provider, NULL);
    for (int i = 0; !rc && i < SF_CHAT_SETS_OF_FILE; i++) {
        enum sf_chat_set set = (enum sf_chat_set)i;
        rc = tell_setting(&s->out, &name, set, "name");
        if (rc == -ENODATA)
            rc = tell_setting(&s->out, &got->file, set, s->place->file[0] ? "file" : "directory");
        if (rc == -ENODATA)
            rc = tell_setting(&s->out, &got->dir, set, "directory");
        if (rc == -ENODATA) {
            struct sf_chat_front all = name; /* borrowed: who answers */
            if (!all.provider)
                all.provider = got->file.provider ? got->file.provider : got->dir.provider;
            rc = tell_default(s, &all, set);
        }
    }
    sf_chat_front_fini(&name);
    if (got)
        chat_settings_fini(got);
    state_end(s, rc);
}

static void
place_told(void *arg, int rc, struct chat_place *p)
{
    struct state *s = arg;
    char name[256];
    s->place = p;
    if (!rc && s->what == WHAT_SETTINGS) {
        chat_settings_get(s->chat, p, settings_told, s);
        return;
    }
    if (!rc)
        rc = sf_chat_name_make(p->file, NULL, s->chat->o.suffix, name);
    if (!rc)
        rc = sf_buf_puts(&s->out, name);
    state_end(s, rc == -ENOENT || rc == -EINVAL || rc == -ENAMETOOLONG ? -ENODATA : rc);
}

/* ---- the question ---------------------------------------------------------------------------- */

static void
get_of_node(struct state *s)
{
    struct chat_node *n = s->node;
    char file[256], name[256];
    uint64_t parent;
    {
        SF_GUARD(&s->chat->lock);
        parent = n->parent;
        snprintf(file, sizeof file, "%s", n->file);
        snprintf(name, sizeof name, "%s", n->name);
    }
    int rc = 0;
    if (s->what == WHAT_NAME) {
        state_end(s, sf_buf_puts(&s->out, name));
    } else if (s->what == WHAT_SETTINGS && n->by_stem) {
        chat_place_again(s->chat, parent, file, n->provider, place_told, s);
    } else if (s->what == WHAT_SETTINGS) {
        state_end(s, -ENODATA);
    } else {
        rc = chat_node_conv(s->chat, n, &s->conv);
        if (rc)
            state_end(s, rc);
        else
            chat_conv_load(s->conv, true, loaded, s);
    }
}

static void
get_of_file(struct state *s)
{
    if (s->what == WHAT_NAME || s->what == WHAT_SETTINGS) {
        chat_place_of(s->chat, s->of, NULL, place_told, s);
        return;
    }
    if (s->what == WHAT_ERROR) {
        (void)sf_tree_getxattr(s->chat->o.tree, s->of, ERROR, file_error_told, s);
        return;
    }
    int rc = conv_of(s->chat, s->of, NULL, &s->conv);
    if (rc)
        state_end(s, rc == -ENOENT ? -ENODATA : rc);
    else
        chat_conv_load(s->conv, true, loaded, s);
}

void
sf_chat_getxattr(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node,
                 const char *name, sf_tree_fn fn, void *arg)
{
    enum what what = what_of(name);
    bool ours = sf_chat_owns(node), owner = chat_is_owner(chat, who);
    int rc = 0;
    if (node == SF_CHAT_DIR || what == WHAT_CANCEL)
        rc = -ENODATA;
    else if (what == WHAT_OTHER)
        rc = !ours && chat_setting_of(name) >= 0 ? -EOPNOTSUPP : -ENODATA;
    else if (!owner && what == WHAT_ERROR && !ours)
        rc = -EOPNOTSUPP;
    else if (!owner && what != WHAT_NAME)
        rc = -EACCES;
    struct state *s = rc ? NULL : calloc(1, sizeof *s);
    struct chat_node *n = s && ours ? chat_node_get(chat, node) : NULL;
    if (!s || (ours && !n)) {
        free(s);
        fn(arg, rc ? rc : s ? -ESTALE : -ENOMEM, NULL);
        return;
    }
    *s = (struct state){.chat = chat,
                        .what = what,
                        .of = ours ? 0 : node,
                        .node = n,
                        .out = SF_BUF_INIT,
                        .fn = fn,
                        .arg = arg};
    chat_busy(chat);
    if (ours)
        get_of_node(s);
    else
        get_of_file(s);
}

/* ---- setting --------------------------------------------------------------------------------- */

static int
cancel_all(struct sf_chat *chat, uint64_t node)
{
    for (size_t i = 0; !i || chat->providers[i - 1]; i++) {
        struct sf_conv *c = NULL;
        int rc = conv_of(chat, node, i ? chat->providers[i - 1] : NULL, &c);
        if (rc)
            return rc == -ENOENT ? 0 : rc;
        sf_conv_cancel(c);
        sf_conv_put(c);
    }
    return 0;
}

static int
cancel_one(struct sf_chat *chat, uint64_t node)
{
    struct sf_conv *c = NULL;
    struct chat_node *n = chat_node_get(chat, node);
    int rc = n ? chat_node_conv(chat, n, &c) : -ESTALE;
    if (!rc)
        sf_conv_cancel(c);
    sf_conv_put(c);
    if (n)
        chat_node_put(chat, n);
    return rc;
}

/* 0, or -EINVAL, and the file's conversation tells why. */
static int
check_setting(struct sf_chat *chat, uint64_t node, enum sf_chat_set set, const char *value)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_chat_front f;
    struct sf_conv *c = NULL;
    sf_chat_front_init(&f);
    int rc = sf_chat_front_set(&f, set, value, &err);
    if (!rc && f.provider && strcmp(f.provider, "auto") != 0 &&
        !sf_provider_conf_find(sf_providers_confs(chat->o.providers), f.provider))
        rc = sf_err_set(&err, -EINVAL, "provider: there is no %.64s", f.provider);
    if (rc == -EINVAL && !conv_of(chat, node, NULL, &c))
        sf_conv_error_set(c, err.msg);
    sf_conv_put(c);
    sf_chat_front_fini(&f);
    return rc;
}

int
sf_chat_setxattr(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node,
                 const char *name, const void *value, size_t len, bool *remove)
{
    enum what what = what_of(name);
    int set = chat_setting_of(name);
    bool ours = sf_chat_owns(node);
    *remove = !value || !len;
    if (what == WHAT_CANCEL && value)
        return !chat_is_owner(chat, who) ? -EACCES
               : node == SF_CHAT_DIR     ? 0
               : ours                    ? cancel_one(chat, node)
                                         : cancel_all(chat, node);
    if (what == WHAT_ERROR)
        return ours ? 0 : 1;
    if (what != WHAT_OTHER || (set < 0 && sf_chat_xattr_is(chat, name)))
        return 0; /* as with the others of ours: what copies attributes goes on */
    if (ours)
        return value ? -EOPNOTSUPP : -ENODATA;
    if (set < 0 || *remove)
        return 1;
    char *text = memchr(value, '\0', len) ? NULL : strndup(value, len);
    int rc = text                       ? check_setting(chat, node, (enum sf_chat_set)set, text)
             : memchr(value, '\0', len) ? -EINVAL
                                        : -ENOMEM;
    free(text);
    return rc ? rc : 1;
}
