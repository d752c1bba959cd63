/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/chats.h"

#include "base/cleanup.h"
#include "chat/chat.h"
#include "chat/conv.h"
#include "chat/names.h"
#include "config/config.h"
#include "config/value.h"
#include "daemon/internal.h"
#include "observe/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MILLION 1000000

/* ---- options ---------------------------------------------------------------------------------
 */

bool
chats_price(const char *text, int64_t *ret)
{
    size_t whole = strspn(text, "0123456789");
    size_t decimals = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;
    const char *end = text + whole + (decimals ? decimals + 1 : 0);
    int64_t n = 0, unit = MILLION;
    if (!whole || whole > 12 || decimals > 6 || *end)
        return false;
    for (const char *p = text; p < end; p++) {
        if (*p == '.')
            continue;
        if (p < text + whole)
            n = n * 10 + (*p - '0') * (int64_t)MILLION;
        else
            n += (*p - '0') * (unit /= 10);
    }
    *ret = n;
    return true;
}

int
chats_check(const struct daemon *d, struct sf_outcome *o)
{
    const char *suffix = sf_config_str(d->cfg, SF_OPT_CHAT_SUFFIX);
    const char *price = sf_config_str(d->cfg, SF_OPT_CHAT_PRICE_DAY);
    char quoted[48];
    int64_t unused;
    if (!suffix || !sf_chat_suffix_ok(suffix))
        return sf_outcome_fail(o, SF_EXIT_USAGE,
                               "%s: chat_suffix cannot be \"%s\"; it is a dot and 1 to 31 letters, "
                               "digits, '_' and '-', and not .supafs",
                               sf_config_origin(d->cfg, SF_OPT_CHAT_SUFFIX),
                               sf_value_quote(suffix ? suffix : "", quoted));
    if (!price || !chats_price(price, &unused))
        return sf_outcome_fail(o, SF_EXIT_USAGE,
                               "%s: chat_price_day cannot be \"%s\"; it is a number as 2.50, with "
                               "six decimals at most, and 0 is no limit",
                               sf_config_origin(d->cfg, SF_OPT_CHAT_PRICE_DAY),
                               sf_value_quote(price ? price : "", quoted));
    return 0;
}

/* ---- start and stop --------------------------------------------------------------------------
 */

/* As directories of the machine have it, so all mounts of an identity find the same ones. */
static int
identity_of(const struct daemon *d, struct sf_buf *out)
{
    char subject[128];
    sf_auth_subject(d->auth, subject, sizeof subject);
    return sf_buf_printf(out, "%s\n%s\n%s", sf_config_str(d->cfg, SF_OPT_URL),
                         sf_auth_role(d->auth), subject);
}

static int
open_chat(struct daemon *d, struct sf_err *err)
{
    sf_autobuf struct sf_buf identity = SF_BUF_INIT;
    int rc = identity_of(d, &identity);
    const struct sf_chat_opts opts = {.http = d->http,
                                      .tree = d->tree,
                                      .providers = d->providers,
                                      .convs = d->convs,
                                      .identity = identity.data,
                                      .suffix = sf_config_str(d->cfg, SF_OPT_CHAT_SUFFIX),
                                      .owner = (uid_t)sf_config_u64(d->cfg, SF_OPT_CHAT_UID),
                                      .read_only = sf_config_bool(d->cfg, SF_OPT_RO)};
    if (!rc)
        rc = sf_chat_new(&opts, &d->chat);
    return rc ? sf_err_set(err, rc, "%s", strerror(-rc)) : 0;
}

void
chats_open(struct daemon *d)
{
    const struct sf_config *c = d->cfg;
    struct sf_err err = SF_ERR_INIT;
    struct sf_convs_opts opts = {.state_dir = d->dirs.state,
                                 .store_bytes = sf_config_u64(c, SF_OPT_CHAT_STORE),
                                 .http = d->http,
                                 .providers = d->providers,
                                 .tree = d->tree,
                                 .bucket = sf_config_str(c, SF_OPT_BUCKET),
                                 .prefix = sf_config_str(c, SF_OPT_PREFIX),
                                 .storage = d->storage,
                                 .tables = strcmp(sf_config_str(c, SF_OPT_TABLES), "off") != 0,
                                 .fresh_ms = sf_config_ms(c, SF_OPT_ATTR_TTL),
                                 .file_tokens = sf_config_u64(c, SF_OPT_CHAT_FILE_TOKENS),
                                 .cache = sf_config_bool(c, SF_OPT_CHAT_CACHE),
                                 .tokens_day = sf_config_u64(c, SF_OPT_CHAT_TOKENS_DAY),
                                 .tokens_mount = sf_config_u64(c, SF_OPT_CHAT_TOKENS_MOUNT)};
    if (!sf_config_bool(c, SF_OPT_CHAT) || !d->providers)
        return;
    (void)chats_price(sf_config_str(c, SF_OPT_CHAT_PRICE_DAY), &opts.price_day);
    if (sf_convs_new(&opts, &d->convs, &err) < 0 || open_chat(d, &err) < 0) {
        snprintf(d->chat_trouble, sizeof d->chat_trouble, "%s", err.msg);
        sf_warn("daemon", "event=chats-not-opened err=%s", err.msg);
    }
}

void
chats_stop(struct daemon *d, int64_t deadline_ms)
{
    sf_chat_stop(d->chat);
    sf_convs_stop(d->convs, deadline_ms);
}

void
chats_free(struct daemon *d)
{
    sf_chat_free(d->chat);
    sf_convs_free(d->convs);
}

/* ---- how it goes -----------------------------------------------------------------------------
 */

static const char *
state_of(const struct daemon *d)
{
    if (d->chat)
        return "on";
    if (!sf_config_bool(d->cfg, SF_OPT_CHAT))
        return "off";
    return d->confs.n ? "failed" : "no provider";
}

void
chats_print(struct daemon *d, struct sf_buf *out)
{
    struct sf_convs_status s;
    const char *why = d->providers ? d->chat_trouble : d->providers_trouble;
    sf_buf_printf(out, "chat: %s%s%s\n", state_of(d), *why ? ": " : "", why);
    if (!d->chat)
        return;
    sf_convs_status(d->convs, &s);
    sf_buf_printf(out,
                  "chat_turns: %u under way, %u wait; since the start %" PRIu64 ", failed %" PRIu64
                  ", cancelled %" PRIu64 "\n",
                  s.running, s.waiting, s.turns, s.failed, s.cancelled);
    sf_buf_printf(out, "chat_conversations: %u in memory, %" PRIu64 " bytes, %u reads wait\n",
                  s.loaded, s.bytes, s.readers);
    sf_buf_printf(
        out, "chat_spent: %" PRIu64 " tokens since the start, %" PRIu64 " today, which cost %.6f\n",
        s.tokens_mount, s.tokens_day, (double)s.price_day / MILLION);
    sf_buf_printf(out, "chat_tables: %s\n", s.tables);
    if (s.last_error[0])
        sf_buf_printf(out, "chat_last_error: %s\n", s.last_error);
}

void
chats_json(struct daemon *d, json_t *root)
{
    json_t *o = json_pack("{s:s, s:s}", "state", state_of(d), "trouble", d->chat_trouble);
    json_object_set_new(root, "chat", o);
    if (!d->chat || !o)
        return;
    struct sf_convs_status s;
    struct sf_chat_stats files;
    sf_convs_status(d->convs, &s);
    sf_chat_stats(d->chat, &files);
    const struct {
        const char *name;
        uint64_t value;
    } all[] = {{"conversations", s.loaded},
               {"running", s.running},
               {"waiting", s.waiting},
               {"bytes", s.bytes},
               {"turns", s.turns},
               {"failed", s.failed},
               {"cancelled", s.cancelled},
               {"tokens_day", s.tokens_day},
               {"tokens_mount", s.tokens_mount},
               {"nodes", files.nodes},
               {"open_files", files.open_files},
               {"calls_waiting", files.waiting}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        json_object_set_new(o, all[i].name, json_integer((json_int_t)all[i].value));
    json_object_set_new(o, "price_day", json_real((double)s.price_day / MILLION));
    json_object_set_new(o, "tables", json_string(s.tables));
    json_object_set_new(o, "last_error", json_string(s.last_error));
}
