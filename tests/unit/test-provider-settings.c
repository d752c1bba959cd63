/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config-fixture.h"

#include <pthread.h>
#include <utime.h>

#include "http/http.h"
#include "provider/settings.h"

/* What is made of the sections of providers: defaults of the types, what is refused with which
 * sentence, which files are taken, and a key that changes under way. */

/* Headers of an attempt, as the network would get them. */
static __thread char sent[300];

int __wrap_sf_http_req_attempt_header(struct sf_http_req *req, const char *name, const char *value);
int
__wrap_sf_http_req_attempt_header(struct sf_http_req *req, const char *name, const char *value)
{
    size_t n = strlen(sent);
    (void)req;
    snprintf(sent + n, sizeof sent - n, "%s: %s\n", name, value);
    return 0;
}

static char *const empty[] = {(char[]){"HOME=/h"}, NULL};

/* The providers of this file of the user. */
static struct sf_provider_confs
read_text(const char *text, char *const *environment)
{
    struct sf_config_sources src = quiet_sources();
    struct sf_provider_confs confs = {0};
    struct sf_err err = SF_ERR_INIT;
    src.environment = environment ? environment : empty;
    src.user_file = write_file("user", 0600, text);
    struct sf_config *cfg = load(&src);
    if (sf_provider_confs_read(cfg, &confs, &err))
        fail_msg("%s", err.msg);
    sf_config_wipe_keys(cfg);
    sf_config_free(cfg);
    return confs;
}

static void
defaults(void **state)
{
    (void)state;
    char *const environment[] = {(char[]){"HOME=/h"}, (char[]){"MOONSHOT_API_KEY=sk-m"},
                                 (char[]){"ZHIPUAI_API_KEY=id.secret"},
                                 (char[]){"OPENAI_API_KEY=sk-o"}, NULL};
    struct sf_provider_confs confs = read_text("", environment);
    assert_int_equal(confs.n, 3);
    const struct sf_provider_conf *glm = &confs.all[0], *kimi = &confs.all[1],
                                  *openai = &confs.all[2];
    assert_string_equal(glm->name, "glm");
    assert_string_equal(kimi->name, "kimi");
    assert_string_equal(openai->name, "openai");
    assert_string_equal(kimi->base_url, "https://api.moonshot.ai/v1");
    assert_string_equal(kimi->purpose, "file-extract");
    assert_int_equal(kimi->concurrency, 1);
    assert_int_equal(kimi->rpm, 0);
    assert_int_equal(kimi->order, 100);
    assert_int_equal(kimi->upload_ms, 300000);
    assert_int_equal(kimi->timeout_ms, 60000);
    assert_int_equal(kimi->lifetime_ms, 0);
    assert_null(kimi->model);
    assert_null(kimi->fallback);
    assert_string_equal(glm->base_url, "https://open.bigmodel.cn/api/paas/v4");
    assert_string_equal(glm->purpose, "agent");
    assert_int_equal(glm->upload_ms, 180000);
    assert_int_equal(glm->lifetime_ms, 24 * 3600 * 1000);
    assert_string_equal(openai->purpose, "user_data");
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(sf_provider_trouble(&confs.all[i]), "");
    assert_string_equal(sf_provider_key_label(kimi), "MOONSHOT_API_KEY in the environment");
    sf_provider_confs_fini(&confs);
    sf_provider_confs_fini(&confs);
}

static void
settings(void **state)
{
    (void)state;
    struct sf_provider_confs confs =
        read_text("[provider.kimi-cn]\ntype=kimi\nbase_url=https://API.moonshot.cn/v1//\n"
                  "key=sk-cn\naccount=team@x\npurpose=batch\nmodels=kimi-k2.6, kimi-k3\norder=5\n"
                  "concurrency=4\nrpm=20\nupload_timeout=1min\ntimeout=9\nmax_bytes=1M\n"
                  "chat_timeout=20min\ncontext=64000\nvision_models=a "
                  "b\ncurrency=EUR\nprices=kimi-k2.6=0.6/2.5/0.15, *=1/3.25\n"
                  "extensions=.pdf md\nlifetime=2h\nfallback=box\n"
                  "[provider.box]\nbase_url=http://localhost:11434/v1\nmodel=tiny\n",
                  NULL);
    assert_int_equal(confs.n, 2);
    const struct sf_provider_conf *c = sf_provider_conf_find(&confs, "kimi_cn");
    assert_ptr_equal(c, &confs.all[0]); /* by order */
    assert_string_equal(c->type->name, "kimi");
    assert_string_equal(c->base_url, "https://api.moonshot.cn/v1");
    assert_string_equal(c->purpose, "batch");
    assert_string_equal(c->models[1], "kimi-k3");
    assert_null(c->models[2]);
    assert_string_equal(c->model, "kimi-k2.6");
    assert_int_equal(c->concurrency, 4);
    assert_int_equal(c->rpm, 20);
    assert_int_equal(c->upload_ms, 60000);
    assert_int_equal(c->timeout_ms, 9000);
    assert_int_equal(c->chat_ms, 1200000);
    assert_int_equal(c->context, 64000);
    assert_string_equal(c->vision_models[1], "b");
    assert_string_equal(c->currency, "EUR");
    assert_memory_equal(&sf_provider_price(c, "kimi-k2.6")->asked, ((double[]){0.6, 2.5, 0.15}),
                        3 * sizeof(double));
    assert_memory_equal(&sf_provider_price(c, "kimi-k3")->asked, ((double[]){1, 3.25, 1}),
                        3 * sizeof(double));
    assert_int_equal(c->max_bytes, 1 << 20);
    assert_int_equal(c->lifetime_ms, 7200000);
    assert_string_equal(c->fallback[0], "box");
    char account[65];
    sf_provider_account(c, account);
    assert_string_equal(account, "team@x");

    c = sf_provider_conf_find(&confs, "box");
    assert_string_equal(c->type->name, "openai");
    assert_string_equal(c->model, "tiny");
    assert_int_equal(c->chat_ms, 1800000);
    assert_string_equal(c->currency, "USD");
    assert_null(sf_provider_price(c, "tiny"));
    assert_string_equal(sf_provider_trouble(c), ""); /* a local server wants no key */
    assert_string_equal(sf_provider_key_label(c), "no key");
    sf_provider_account(c, account);
    assert_int_equal(strlen(account), 16);
    assert_null(sf_provider_conf_find(&confs, "kimi"));
    sf_provider_confs_fini(&confs);
}

static void
troubles(void **state)
{
    (void)state;
    char *const environment[] = {(char[]){"HOME=/h"}, (char[]){"OPENAI_BASE_URL=ftp://x"}, NULL};
    char expected[300];
    struct sf_provider_confs confs =
        read_text("[provider.kimi]\norder=1\n[provider.glm]\nkey_file=none\n"
                  "[provider.box]\nmodel=x\n[provider.c]\nbase_url=http://[::1]/\nkey_env=NO\n",
                  environment);
    assert_string_equal(sf_provider_trouble(sf_provider_conf_find(&confs, "kimi")),
                        "provider kimi has no key; give it key_file, key_env or key");
    snprintf(expected, sizeof expected, "key file %s: No such file or directory", in_dir("none"));
    assert_string_equal(sf_provider_trouble(sf_provider_conf_find(&confs, "glm")), expected);
    assert_string_equal(sf_provider_trouble(sf_provider_conf_find(&confs, "box")),
                        "provider box has no base_url");
    assert_string_equal(sf_provider_trouble(sf_provider_conf_find(&confs, "c")),
                        "provider c has no key: NO is not set");
    assert_string_equal(sf_provider_trouble(sf_provider_conf_find(&confs, "openai")),
                        "OPENAI_BASE_URL in the environment: base_url must begin with https:// or "
                        "http://");
    sf_provider_confs_fini(&confs);
}

/* Such a file is refused for what stands on this line (0: for no line). */
static void
refused(const char *text, int line, const char *msg)
{
    struct sf_config_sources src = quiet_sources();
    struct sf_provider_confs confs = {0};
    struct sf_err err = SF_ERR_INIT;
    char expected[400];
    src.user_file = write_file("user", 0600, text);
    struct sf_config *cfg = load(&src);
    assert_int_equal(sf_provider_confs_read(cfg, &confs, &err), -EINVAL);
    if (line)
        snprintf(expected, sizeof expected, "%s:%d: %s", src.user_file, line, msg);
    else
        snprintf(expected, sizeof expected, "%s", msg);
    assert_string_equal(err.msg, expected);
    assert_int_equal(confs.n, 0);
    sf_config_free(cfg);
}

static void
refusals(void **state)
{
    (void)state;
    refused("[provider.a]\ntype=eliza\n", 2, "type cannot be \"eliza\"; it is kimi, glm or openai");
    refused("[provider.a]\nbase_url=http://example.com/v1\n", 2,
            "http:// to another machine sends the key readable by all on the way; use https://, or "
            "insecure=yes if that is meant");
    refused("[provider.a]\nbase_url=https://user:pw@h/v1\n", 2,
            "base_url must not hold a user name or password; keys come from the environment or a "
            "file");
    refused("[provider.a]\nbase_url=https://h/v1?x=1\n", 2, "base_url must not have a ? or # part");
    refused("[provider.kimi]\npurpose=two words\n", 2,
            "purpose cannot be \"two words\"; it is one word");
    refused("[provider.kimi]\naccount=a b\n", 2,
            "account cannot be \"a b\"; it is at most 64 letters, digits and _ . @ -");
    refused("[provider.kimi]\naccount="
            "0123456789012345678901234567890123456789012345678901234567890123x\n",
            2,
            "account cannot be \"0123456789012345678901234567890123456789...\"; it is at most 64 "
            "letters, digits and _ . @ -");
    static const char *const prices[] = {"1",       "m=",    "m=1",       "m=1/",
                                         "m=1/2/",  "=1/2",  "m=1/2/3/4", "m=-1/2",
                                         "m=1e3/2", "m=./2", "m=1./2"};
    for (size_t i = 0; i < sizeof prices / sizeof *prices; i++) {
        char text[100], msg[200];
        snprintf(text, sizeof text, "[provider.kimi]\nprices=%s\n", prices[i]);
        snprintf(msg, sizeof msg,
                 "prices cannot be \"%s\"; it is a list of MODEL=ASKED/ANSWERED[/KNOWN]",
                 prices[i]);
        refused(text, 2, msg);
    }
    refused("[provider.kimi]\nkey=sk-a\nfallback=glm\n", 3,
            "fallback names glm, and there is no such provider");
    refused("[provider.etag]\norder=1\n", 0,
            "a provider cannot be called etag: supafs has an attribute of this name");
    refused("[provider.signed-url]\norder=1\n", 0,
            "a provider cannot be called signed_url: supafs has an attribute of this name");
}

/* ---- which files are taken ------------------------------------------------------------------ */

static int
check(const struct sf_provider_conf *c, uint64_t size, const char *name, const char *mime,
      const char *text)
{
    const struct sf_provider_facts file = {.size = size, .name = name, .mime = mime};
    struct sf_provider_fault f;
    int rc = sf_provider_check(c, &file, &f);
    assert_int_equal(rc, f.err);
    assert_int_equal(rc, sf_provider_check(c, &file, NULL));
    assert_string_equal(f.text, text);
    return rc;
}

static void
files(void **state)
{
    (void)state;
    const uint64_t mb = 1 << 20;
    struct sf_provider_confs confs = read_text(
        "[provider.kimi]\nkey=sk-k\n[provider.glm]\nkey=a.b\n[provider.openai]\nkey=sk-o\n"
        "[provider.box]\nbase_url=http://localhost/v1\n"
        "[provider.mine]\ntype=kimi\nkey=sk-m\nextensions=*\nmax_bytes=10\n"
        "[provider.some]\ntype=kimi\nkey=sk-m\nextensions=.rs\n",
        NULL);
    const struct sf_provider_conf *kimi = sf_provider_conf_find(&confs, "kimi");
    const struct sf_provider_conf *glm = sf_provider_conf_find(&confs, "glm");
    const struct sf_provider_conf *box = sf_provider_conf_find(&confs, "box");
    const struct sf_provider_conf *mine = sf_provider_conf_find(&confs, "mine");
    const struct sf_provider_conf *some = sf_provider_conf_find(&confs, "some");
    assert_int_equal(check(kimi, 1, "a/b.PDF", NULL, ""), 0);
    assert_int_equal(check(kimi, 100 * mb, "b.pdf", NULL, ""), 0);
    assert_int_equal(check(kimi, 100 * mb + 1, "b.pdf", NULL,
                           "too large: 104857601 bytes are more than the 104857600 that kimi takes "
                           "for purpose file-extract"),
                     -EFBIG);
    assert_int_equal(check(kimi, 0, "b.pdf", NULL, "empty: kimi takes no files without a byte"),
                     -EINVAL);
    assert_int_equal(check(kimi, 1, "b.rs", NULL,
                           "unsupported type: kimi takes no .rs files for purpose file-extract"),
                     -ENOTSUP);
    assert_int_equal(check(kimi, 1, "Makefile", NULL,
                           "unsupported type: kimi takes no files without an extension for purpose "
                           "file-extract"),
                     -ENOTSUP);
    assert_int_equal(check(kimi, 1, "x.pdf/.profile", NULL,
                           "unsupported type: kimi takes no files without an extension for purpose "
                           "file-extract"),
                     -ENOTSUP);
    assert_int_equal(check(glm, 6 * mb, "a.pdf", "application/pdf", ""), 0);
    assert_int_equal(check(glm, 6 * mb, "a.png", NULL,
                           "too large: 6291456 bytes are more than the 5242880 that glm takes for "
                           "purpose agent"),
                     -EFBIG);
    assert_int_equal(check(glm, 6 * mb, "a.txt", "image/png",
                           "too large: 6291456 bytes are more than the 5242880 that glm takes for "
                           "purpose agent"),
                     -EFBIG);
    assert_int_equal(check(box, 1ull << 40, "anything", NULL, ""), 0); /* let it say so itself */
    assert_int_equal(check(box, 0, "anything", NULL, ""), 0);
    assert_int_equal(check(mine, 10, "Makefile", NULL, ""), 0);
    assert_int_equal(check(mine, 11, "b.rs", NULL,
                           "too large: 11 bytes are more than the 10 that mine takes for purpose "
                           "file-extract"),
                     -EFBIG);
    assert_int_equal(check(some, 10, "b.rs", NULL, ""), 0);
    assert_int_equal(check(some, 10, "b.pdf", NULL,
                           "unsupported type: some takes no .pdf files for purpose file-extract"),
                     -ENOTSUP);
    sf_provider_confs_fini(&confs);
}

/* ---- the key -------------------------------------------------------------------------------- */

static void
set_time(const char *path, time_t when)
{
    const struct utimbuf t = {.actime = when, .modtime = when};
    assert_int_equal(utime(path, &t), 0);
}

static void
accounts(void **state)
{
    (void)state;
    struct sf_provider_confs confs =
        read_text("[provider.a]\ntype=kimi\nkey=sk-1\n[provider.b]\ntype=kimi\nkey=sk-1\n"
                  "[provider.c]\ntype=kimi\nkey=sk-2\n"
                  "[provider.d]\ntype=kimi\nkey=sk-1\nbase_url=https://api.moonshot.cn/v1\n",
                  NULL);
    char a[65], b[65], c[65], d[65];
    sf_provider_account(&confs.all[0], a);
    sf_provider_account(&confs.all[1], b);
    sf_provider_account(&confs.all[2], c);
    sf_provider_account(&confs.all[3], d);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_string_not_equal(a, d);
    /* The first 16 digits of the SHA-256 of address, NUL, key. */
    assert_string_equal(a, "6610925bc329fc97");
    sf_provider_confs_fini(&confs);
}

static void
changes(void **state)
{
    (void)state;
    struct sf_err err = SF_ERR_INIT;
    char before[65], after[65];
    const char *file = write_file("k", 0600, "sk-one\n");
    set_time(file, 1000);
    struct sf_provider_confs confs = read_text("[provider.kimi]\nkey_file=k\n", NULL);
    const struct sf_provider_conf *c = &confs.all[0];
    sf_provider_account(c, before);
    assert_int_equal(sf_provider_key_reload(c, false, &err), 0);
    assert_int_equal(sf_provider_key_reload(c, true, &err), 0);
    assert_int_equal(sf_provider_key_generation(c), 0);
    file = write_file("k", 0600, "sk-two\n");
    set_time(file, 2000);
    assert_int_equal(sf_provider_key_reload(c, false, &err), 1);
    assert_int_equal(sf_provider_key_generation(c), 1);
    sf_provider_account(c, after);
    assert_string_not_equal(before, after);
    /* Nobody has to ask for it: ids of the other account are known by it. */
    usleep(1100000);
    file = write_file("k", 0600, "sk-one\n");
    set_time(file, 3000);
    sf_provider_account(c, after);
    assert_string_equal(before, after);
    assert_int_equal(sf_provider_key_generation(c), 2);
    /* A file that is no good leaves the key as it is. */
    write_file("k", 0644, "sk-three\n");
    assert_int_equal(sf_provider_key_reload(c, false, &err), -EPERM);
    assert_null(strstr(err.msg, "sk-three"));
    err = SF_ERR_INIT;
    write_file("k", 0600, "two words\n");
    assert_int_equal(sf_provider_key_reload(c, false, &err), -EINVAL);
    assert_null(strstr(err.msg, "words\n"));
    err = SF_ERR_INIT;
    unlink(file);
    assert_int_equal(sf_provider_key_reload(c, true, &err), -ENOENT);
    sf_provider_account(c, before);
    assert_string_equal(before, after);
    assert_string_equal(sf_provider_trouble(c), "");
    sf_provider_confs_fini(&confs);

    /* One that comes later, and one in the configuration file itself. */
    confs = read_text("[provider.kimi]\nkey_file=k\n[provider.glm]\nkey=a.b\n", NULL);
    const struct sf_provider_conf *glm = &confs.all[0];
    c = &confs.all[1];
    assert_string_not_equal(sf_provider_trouble(c), "");
    write_file("k", 0600, "sk-late\n");
    assert_int_equal(sf_provider_key_reload(c, false, &err), 1);
    assert_string_equal(sf_provider_trouble(c), "");
    assert_int_equal(sf_provider_key_reload(glm, true, &err), 0);
    write_file("user", 0600, "[provider.glm]\nkey=c.d\n");
    assert_int_equal(sf_provider_key_reload(glm, true, &err), 1);
    sf_provider_confs_fini(&confs);
}

static void
headers(void **state)
{
    (void)state;
    uint64_t generation = 7;
    write_file("k", 0600, "sk-one\n");
    struct sf_provider_confs confs = read_text("[provider.box]\nbase_url=http://localhost/v1\n"
                                               "[provider.glm]\nkey=a.b\n"
                                               "[provider.kimi]\nkey_file=k\n",
                                               NULL);
    static const char *const expected[] = {"",
                                           "Accept-Language: en-US,en\nAuthorization: Bearer a.b\n",
                                           "Authorization: Bearer sk-one\n"};
    for (size_t i = 0; i < 3; i++) {
        sent[0] = '\0';
        assert_int_equal(sf_provider_key_apply(&confs.all[i], NULL, &generation), 0);
        assert_string_equal(sent, expected[i]);
        assert_int_equal(generation, 0);
    }
    sf_provider_confs_fini(&confs);
    /* An attempt sees by itself that the file has changed. */
    confs = read_text("[provider.kimi]\nkey_file=k\n", NULL);
    set_time(write_file("k", 0600, "sk-two\n"), 5000);
    sent[0] = '\0';
    assert_int_equal(sf_provider_key_apply(&confs.all[0], NULL, &generation), 0);
    assert_string_equal(sent, "Authorization: Bearer sk-two\n");
    assert_int_equal(generation, 1);
    sf_provider_confs_fini(&confs);
}

/* Attempts of many threads while the key is changed: each sends one of the keys, whole. */
static _Atomic bool stop;
static _Atomic unsigned attempts, strange;

static void *
attempt(void *arg)
{
    const struct sf_provider_conf *c = arg;
    while (!stop) {
        uint64_t before = sf_provider_key_generation(c), generation;
        char account[65];
        sent[0] = '\0';
        if (sf_provider_key_apply(c, NULL, &generation) || generation < before ||
            (strcmp(sent, "Authorization: Bearer sk-one\n") != 0 &&
             strcmp(sent, "Authorization: Bearer sk-other\n") != 0))
            strange++;
        sf_provider_account(c, account);
        if (strlen(account) != 16 || *sf_provider_trouble(c))
            strange++;
        attempts++;
    }
    return NULL;
}

static void
many_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    unsigned changes = 0;
    write_file("k", 0600, "sk-one\n");
    struct sf_provider_confs confs = read_text("[provider.kimi]\nkey_file=k\n", NULL);
    const struct sf_provider_conf *c = &confs.all[0];
    stop = false;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, attempt, (void *)(uintptr_t)c), 0);
    for (int i = 0; i < 200 || attempts < 2000; i++) {
        write_file("k", 0600, i % 2 ? "sk-one\n" : "sk-other\n");
        changes += sf_provider_key_reload(c, true, NULL) == 1;
    }
    stop = true;
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(strange, 0);
    assert_true(changes > 0 && sf_provider_key_generation(c) >= changes);
    sf_provider_confs_fini(&confs);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults), cmocka_unit_test(settings), cmocka_unit_test(troubles),
        cmocka_unit_test(refusals), cmocka_unit_test(files),    cmocka_unit_test(accounts),
        cmocka_unit_test(changes),  cmocka_unit_test(headers),  cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
