/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config-fixture.h"

#include "provider/route.h"

/* Which provider takes a file: what the table says for single cases, and what holds for any. */

static struct sf_provider_confs confs;

static int
make_confs(void **state)
{
    if (make_dir(state))
        return -1;
    struct sf_config_sources src = quiet_sources();
    src.user_file =
        write_file("user", 0600,
                   "[provider.kimi]\nkey=sk-k\norder=10\nmodel=k\nfallback=glm, kimi, glm, box\n"
                   "[provider.glm]\nkey=a.b\norder=20\nmodel=g\n"
                   "[provider.box]\nbase_url=http://localhost/v1\norder=30\nmodel=b\n"
                   "fallback=kimi\n"
                   "[provider.kimi-b]\ntype=kimi\nkey=sk-b\norder=10\n"
                   "[provider.none]\ntype=kimi\norder=1\n");
    struct sf_config *cfg = load(&src);
    int rc = sf_provider_confs_read(cfg, &confs, NULL);
    sf_config_free(cfg);
    return rc;
}

static int
drop_confs(void **state)
{
    sf_provider_confs_fini(&confs);
    return remove_dir(state);
}

/* All of them, up. */
static size_t
everybody(struct sf_route_provider *p)
{
    for (size_t i = 0; i < confs.n; i++)
        p[i] = (struct sf_route_provider){.conf = &confs.all[i], .wait_ms = -1};
    return confs.n;
}

static struct sf_route_provider *
named(struct sf_route_provider *p, const char *name)
{
    for (size_t i = 0; i < confs.n; i++)
        if (!strcmp(p[i].conf->name, name))
            return &p[i];
    fail_msg("%s", name);
    return NULL;
}

static const struct sf_provider_facts pdf = {1000, "a.pdf", "application/pdf"};
static const struct sf_provider_facts text = {1000, "a.rs", "text/x-rust"};
static const struct sf_route_policy id = {.need = SF_RN_FILE_ID};

/* "kimi glm": those that are taken; everybody has a reason. */
static void
order_is(const struct sf_provider_facts *file, const struct sf_route_provider *p,
         const struct sf_route_policy *policy, const char *expected)
{
    static struct sf_route r;
    char names[300] = "";
    size_t n = 0;
    int taken = sf_route(file, p, confs.n, policy, &r);
    assert_int_equal(taken, r.taken);
    assert_int_equal(r.n, confs.n);
    for (size_t i = 0; i < r.n; i++) {
        assert_int_equal(r.choice[i].taken, i < r.taken);
        assert_true(r.choice[i].reason[0] != '\0');
        if (i < r.taken)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? " " : "",
                                  p[r.choice[i].provider].conf->name);
    }
    assert_string_equal(names, expected);
}

/* What is said of one of them. */
static void
reason_is(const struct sf_provider_facts *file, const struct sf_route_provider *p,
          const struct sf_route_policy *policy, const char *name, const char *expected)
{
    static struct sf_route r;
    sf_route(file, p, confs.n, policy, &r);
    for (size_t i = 0; i < r.n; i++)
        if (!strcmp(p[r.choice[i].provider].conf->name, name)) {
            assert_string_equal(r.choice[i].reason, expected);
            return;
        }
    fail_msg("%s", name);
}

static void
for_an_id(void **state)
{
    (void)state;
    struct sf_route_provider p[8];
    everybody(p);
    order_is(&pdf, p, &id, "kimi glm box");
    reason_is(&pdf, p, &id, "kimi", "the best: takes the file, order 10");
    reason_is(&pdf, p, &id, "glm", "fallback of kimi: takes the file, order 20");
    reason_is(&pdf, p, &id, "kimi-b", "kimi comes first, and its fallback does not name this one");
    reason_is(&pdf, p, &id, "none", "provider none has no key; give it key_file, key_env or key");
    /* Only the one that knows nothing takes what is of no known kind. */
    order_is(&text, p, &id, "box");
    reason_is(&text, p, &id, "kimi",
              "unsupported type: kimi takes no .rs files for purpose file-extract");
    /* What has been uploaded needs no limits. */
    named(p, "glm")->has_id = true;
    order_is(&text, p, &id, "glm");
    order_is(&pdf, p, &id, "glm");
    reason_is(&pdf, p, &id, "glm", "the best: has the file, order 20");
    everybody(p);
    named(p, "box")->no_files_api = true;
    named(p, "kimi")->files = 1000;
    order_is(&text, p, &id, "");
    order_is(&pdf, p, &id, "kimi-b");
    reason_is(&pdf, p, &id, "kimi", "its account holds 1000 files, as many as it may");
    reason_is(&pdf, p, &id, "box", "it has no API for files");
}

static void
by_health(void **state)
{
    (void)state;
    struct sf_route_provider p[8];
    struct sf_route_policy patient = {.need = SF_RN_FILE_ID, .patience_ms = 2000};
    everybody(p);
    named(p, "kimi")->health = SF_RH_LIMITED;
    named(p, "kimi")->wait_ms = 1500;
    named(p, "kimi")->why = "it asked for a pause";
    named(p, "kimi-b")->health = SF_RH_DOWN;
    order_is(&pdf, p, &id, "glm");
    order_is(&pdf, p, &patient, "kimi glm box");
    reason_is(
        &pdf, p, &patient, "kimi",
        "the best: takes the file, order 10, limited: it asked for a pause; it may be asked in "
        "2 s");
    named(p, "glm")->health = SF_RH_DOWN;
    named(p, "box")->health = SF_RH_DOWN;
    order_is(&pdf, p, &id, "kimi glm box");
    /* An id that is known is told without asking. */
    named(p, "kimi-b")->has_id = true;
    order_is(&pdf, p, &id, "kimi-b");
}

static void
by_name(void **state)
{
    (void)state;
    struct sf_route_provider p[8];
    struct sf_route_policy policy = {.need = SF_RN_FILE_ID, .wanted = "glm"};
    everybody(p);
    order_is(&pdf, p, &policy, "glm");
    reason_is(&pdf, p, &policy, "glm", "asked for: takes the file, order 20");
    reason_is(&pdf, p, &policy, "kimi",
              "glm was asked for, and its fallback does not name this one");
    policy.wanted = "kimi_b"; /* spelled in the other way */
    order_is(&pdf, p, &policy, "kimi-b");
    policy.wanted = "kimi";
    order_is(&pdf, p, &policy, "kimi glm box");
    /* It cannot: those that may do it in its place. */
    order_is(&text, p, &policy, "box");
    reason_is(&text, p, &policy, "box", "fallback of kimi: takes the file, order 30");
    policy.wanted = "eliza";
    order_is(&pdf, p, &policy, "");
    reason_is(&pdf, p, &policy, "glm", "eliza was asked for");
    policy.wanted = "none";
    order_is(&pdf, p, &policy, "");
}

static void
for_a_chat(void **state)
{
    (void)state;
    struct sf_route_provider p[8];
    struct sf_route_policy chat = {.need = SF_RN_CHAT, .inline_bytes = 4096};
    everybody(p);
    order_is(&text, p, &chat, "kimi glm box");
    reason_is(&text, p, &chat, "kimi", "the best: takes the text, order 10");
    reason_is(&text, p, &chat, "kimi-b", "no model is set for it");
    /* A document is seen only by who gives its text back. */
    order_is(&pdf, p, &chat, "kimi");
    reason_is(&pdf, p, &chat, "glm", "its models would not see the content of this file");
    chat.inline_bytes = 10;
    order_is(&text, p, &chat, "");
    /* Health goes before what is uploaded already. */
    chat.inline_bytes = 4096;
    named(p, "kimi")->health = SF_RH_DOWN;
    named(p, "kimi")->has_id = true;
    order_is(&text, p, &chat, "glm");
}

static uint32_t dice = 1;

static uint32_t
roll(uint32_t sides)
{
    dice = dice * 1664525u + 1013904223u;
    return (dice >> 8) % sides;
}

/* The taken of @r as bits, and their order, by name. */
static void
order_of(const struct sf_route *r, const struct sf_route_provider *p, const char *names[8])
{
    for (size_t i = 0; i < r->n; i++)
        names[i] = p[r->choice[i].provider].conf->name;
}

static void
whatever_is_given(void **state)
{
    (void)state;
    static const char *const wanted[] = {NULL, NULL, "kimi", "glm", "box", "none", "eliza"};
    static struct sf_route r, again;
    for (int round = 0; round < 20000; round++) {
        struct sf_route_provider p[8], shuffled[8];
        const struct sf_provider_facts file = {roll(3) ? roll(1000000) : roll(2) << 27,
                                               roll(2) ? "a.pdf" : "b.rs",
                                               roll(2) ? "text/plain" : NULL};
        const struct sf_route_policy policy = {.need = (enum sf_route_need)roll(2),
                                               .wanted = wanted[roll(7)],
                                               .patience_ms = roll(2000),
                                               .inline_bytes = roll(2000000)};
        size_t n = everybody(p);
        for (size_t i = 0; i < n; i++) {
            p[i].health = (enum sf_route_health)roll(3);
            p[i].wait_ms = (int64_t)roll(3000) - 1;
            p[i].has_id = roll(3) == 0;
            p[i].files = roll(4) ? 0 : 5000;
            p[i].no_files_api = roll(4) == 0;
        }
        int taken = sf_route(&file, p, n, &policy, &r);
        assert_true(taken >= 0 && (size_t)taken == r.taken && r.n == n);
        unsigned seen = 0;
        for (size_t i = 0; i < n; i++) { /* each of them once, with a reason */
            assert_false(seen & 1u << r.choice[i].provider);
            seen |= 1u << r.choice[i].provider;
            assert_true(r.choice[i].reason[0] && r.choice[i].taken == (i < r.taken));
            /* Nobody is asked without a key, nor who was not named. */
            const struct sf_provider_conf *c = p[r.choice[i].provider].conf;
            if (r.choice[i].taken)
                assert_string_not_equal(c->name, "none");
            if (policy.wanted && !strcmp(policy.wanted, "glm") && r.choice[i].taken)
                assert_string_equal(c->name, "glm");
        }
        /* The order of the array means nothing. */
        memcpy(shuffled, p, sizeof p);
        for (size_t i = n; i > 1; i--) {
            size_t k = roll((uint32_t)i);
            struct sf_route_provider one = shuffled[i - 1];
            shuffled[i - 1] = shuffled[k];
            shuffled[k] = one;
        }
        assert_int_equal(sf_route(&file, shuffled, n, &policy, &again), taken);
        const char *a[8], *b[8];
        order_of(&r, p, a);
        order_of(&again, shuffled, b);
        for (size_t i = 0; i < n; i++) {
            assert_string_equal(a[i], b[i]);
            assert_string_equal(r.choice[i].reason, again.choice[i].reason);
        }
        /* Who is better off stays in: a provider that comes up, or gets the file, is not lost. */
        if (!policy.wanted && taken > 0) {
            const char *first = a[0];
            named(p, first)->health = SF_RH_UP;
            assert_true(sf_route(&file, p, n, &policy, &again) > 0);
            assert_string_equal(p[again.choice[0].provider].conf->name, first);
        }
    }
    struct sf_route_provider many[SF_ROUTE_MAX + 1];
    assert_int_equal(sf_route(&pdf, many, SF_ROUTE_MAX + 1, &id, &r), -E2BIG);
    assert_int_equal(sf_route(&pdf, many, 0, &id, &r), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(for_an_id),         cmocka_unit_test(by_health),
        cmocka_unit_test(by_name),           cmocka_unit_test(for_a_chat),
        cmocka_unit_test(whatever_is_given),
    };
    return cmocka_run_group_tests(tests, make_confs, drop_confs);
}
