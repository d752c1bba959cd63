/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/route.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "config/provider.h"

/* What a provider is for this file. */
struct candidate {
    const struct sf_route_provider *p;
    size_t at;      /* in the caller's array */
    bool able;      /* it can take the file */
    bool inlined;   /* as text within the question */
    unsigned badly; /* health: 0 up, 1 limited, 2 down */
    char why_not[160];
};

static bool
is_text(const struct sf_provider_facts *file)
{
    static const char *const types[] = {"application/json",     "application/xml",
                                        "application/x-ndjson", "application/javascript",
                                        "application/yaml",     "application/x-sh"};
    if (!file->mime)
        return false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (sf_str_starts(file->mime, types[i]))
            return true;
    return sf_str_starts(file->mime, "text/");
}

__attribute__((format(printf, 2, 3))) static bool
no(struct candidate *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->why_not, sizeof c->why_not, fmt, ap);
    va_end(ap);
    return false;
}

/* Can it take the file by uploading it, or has it been uploaded? */
static bool
takes_file(struct candidate *c, const struct sf_provider_facts *file)
{
    const struct sf_provider_conf *conf = c->p->conf;
    const struct sf_provider_limits *l;
    struct sf_provider_fault fault;
    if (c->p->has_id)
        return true;
    if (c->p->no_files_api)
        return no(c, "it has no API for files");
    if (sf_provider_check(conf, file, &fault))
        return no(c, "%s", fault.text);
    l = conf->type->limits(conf->base_url, conf->purpose);
    if (l && l->max_files && c->p->files >= l->max_files)
        return no(c, "its account holds %u files, as many as it may", c->p->files);
    return true;
}

static bool
is_able(struct candidate *c, const struct sf_provider_facts *file,
        const struct sf_route_policy *policy)
{
    const struct sf_provider_conf *conf = c->p->conf;
    const char *trouble = sf_provider_trouble(conf);
    if (*trouble)
        return no(c, "%s", trouble);
    if (policy->need == SF_RN_FILE_ID)
        return takes_file(c, file);
    if (!conf->model)
        return no(c, "no model is set for it");
    c->inlined = is_text(file) && file->size > 0 && file->size <= policy->inline_bytes;
    if (c->inlined)
        return true;
    if (!conf->type->text_of)
        return no(c, "its models would not see the content of this file");
    return takes_file(c, file);
}

/* ---- order ---------------------------------------------------------------------------------- */

/* < 0: @a comes before @b. */
static int
compare(const struct candidate *a, const struct candidate *b, const struct sf_route_policy *policy)
{
    int by_id = (int)b->p->has_id - (int)a->p->has_id;
    int by_health = (int)a->badly - (int)b->badly;
    const struct sf_provider_conf *ca = a->p->conf, *cb = b->p->conf;
    if (a->able != b->able)
        return a->able ? -1 : 1;
    /* An id that is known costs nothing; a chat has to ask in any case. */
    int first = policy->need == SF_RN_FILE_ID ? by_id : by_health;
    int second = policy->need == SF_RN_FILE_ID ? by_health : by_id;
    if (first || second)
        return first ? first : second;
    if (ca->order != cb->order)
        return ca->order < cb->order ? -1 : 1;
    return strcmp(ca->name, cb->name);
}

static void
sort(struct candidate *c, size_t n, const struct sf_route_policy *policy)
{
    for (size_t i = 1; i < n; i++) {
        struct candidate one = c[i];
        size_t k = i;
        for (; k > 0 && compare(&one, &c[k - 1], policy) < 0; k--)
            c[k] = c[k - 1];
        c[k] = one;
    }
}

static struct candidate *
find(struct candidate *c, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (sf_provider_name_same(c[i].p->conf->name, name))
            return &c[i];
    return NULL;
}

/* ---- reasons -------------------------------------------------------------------------------- */

/* "; asked again in 30 s", or nothing. */
static const char *
when(int64_t wait_ms, char out[48])
{
    out[0] = '\0';
    if (wait_ms > 0)
        snprintf(out, 48, "; it may be asked in %" PRId64 " s", (wait_ms + 999) / 1000);
    return out;
}

static void
why_taken(const struct candidate *c, const char *place, char out[160])
{
    static const char *const words[] = {"", "limited", "down"};
    const struct sf_route_provider *p = c->p;
    char wait[48];
    const char *has = p->has_id ? "has the file" : c->inlined ? "takes the text" : "takes the file";
    if (p->health == SF_RH_UP)
        snprintf(out, 160, "%s: %s, order %u", place, has, p->conf->order);
    else
        snprintf(out, 160, "%s: %s, order %u, %s%s%.60s%s", place, has, p->conf->order,
                 words[p->health], p->why ? ": " : "", p->why ? p->why : "",
                 when(p->wait_ms, wait));
}

static struct sf_route_choice *
put(struct sf_route *out, const struct candidate *c, bool taken)
{
    struct sf_route_choice *choice = &out->choice[out->n++];
    choice->provider = c->at;
    choice->taken = taken;
    out->taken += taken;
    return choice;
}

static bool
is_put(const struct sf_route *out, const struct candidate *c)
{
    for (size_t i = 0; i < out->n; i++)
        if (out->choice[i].provider == c->at)
            return true;
    return false;
}

/* The one that is asked first, and behind it those that may do it in its place. */
static void
put_taken(struct sf_route *out, struct candidate *c, size_t n, const struct candidate *head,
          const char *place)
{
    char second[64];
    if (head->able)
        why_taken(head, place, put(out, head, true)->reason);
    snprintf(second, sizeof second, "fallback of %s", head->p->conf->name);
    for (char *const *name = head->p->conf->fallback; name && *name; name++) {
        const struct candidate *next = find(c, n, *name);
        if (next && next->able && next != head && !is_put(out, next))
            why_taken(next, second, put(out, next, true)->reason);
    }
}

static void
put_rest(struct sf_route *out, const struct candidate *c, size_t n, const struct candidate *head,
         const struct sf_route_policy *policy)
{
    for (size_t i = 0; i < n; i++) {
        if (is_put(out, &c[i]))
            continue;
        char *reason = put(out, &c[i], false)->reason;
        if (!c[i].able)
            snprintf(reason, 160, "%s", c[i].why_not);
        else if (!head)
            snprintf(reason, 160, "%.40s was asked for", policy->wanted);
        else if (policy->wanted)
            snprintf(reason, 160, "%s was asked for, and its fallback does not name this one",
                     head->p->conf->name);
        else
            snprintf(reason, 160, "%s comes first, and its fallback does not name this one",
                     head->p->conf->name);
    }
}

int
sf_route(const struct sf_provider_facts *file, const struct sf_route_provider *providers, size_t n,
         const struct sf_route_policy *policy, struct sf_route *out)
{
    struct candidate c[SF_ROUTE_MAX];
    if (n > SF_ROUTE_MAX)
        return -E2BIG;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        const struct sf_route_provider *p = &providers[i];
        bool soon =
            p->health == SF_RH_LIMITED && p->wait_ms >= 0 && p->wait_ms <= policy->patience_ms;
        c[i] = (struct candidate){.p = p, .at = i, .badly = soon ? 0 : (unsigned)p->health};
        c[i].able = is_able(&c[i], file, policy);
    }
    sort(c, n, policy);
    const struct candidate *head = policy->wanted   ? find(c, n, policy->wanted)
                                   : n && c[0].able ? &c[0]
                                                    : NULL;
    if (head)
        put_taken(out, c, n, head, policy->wanted ? "asked for" : "the best");
    put_rest(out, c, n, head, policy);
    return (int)out->taken;
}
