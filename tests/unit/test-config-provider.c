/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config-fixture.h"

#include "config/keys.h"
#include "config/provider.h"

/* Sections [provider.NAME], and what the environment and env files say of providers: the nearer
 * source wins for each setting, and no key is seen where it should not be. */

/* Position of a provider; it must be there. */
static size_t
find(const struct sf_config *cfg, const char *name)
{
    for (size_t i = 0; sf_config_provider_name(cfg, i); i++)
        if (!strcmp(sf_config_provider_name(cfg, i), name))
            return i;
    fail_msg("there is no provider %s", name);
    return 0;
}

static size_t
count(const struct sf_config *cfg)
{
    size_t n = 0;
    while (sf_config_provider_name(cfg, n))
        n++;
    return n;
}

/* The key that a provider has now, and what is said of it. */
static void
key_is(const struct sf_config *cfg, const char *name, const char *key, const char *label)
{
    struct sf_provider_key_choice c;
    struct sf_err err = SF_ERR_INIT;
    int rc = sf_config_provider_key(cfg, find(cfg, name), &c, &err);
    if (!key) {
        assert_int_equal(rc, -ENOKEY);
        assert_string_equal(err.msg, label);
        return;
    }
    if (rc)
        fail_msg("%s", err.msg);
    if (c.key)
        assert_string_equal(c.key, key);
    assert_string_equal(c.label, label);
    if (c.file) { /* it can be read again */
        char *again;
        assert_int_equal(sf_key_file_read(c.file, c.variable, &again, &err), 0);
        assert_string_equal(again, key);
        sf_key_wipe(again);
    } else {
        assert_non_null(c.key);
    }
    sf_provider_key_choice_fini(&c);
}

static void
sections(void **state)
{
    (void)state;
    struct sf_config_sources src = quiet_sources();
    char expected[200];
    src.user_file = write_file("user", 0600,
                               "[provider.kimi]\nkey = sk-one\norder = 7\nupload-timeout = 2min\n"
                               "[provider.my-box]\ntype = openai\nbase_url = http://[::1]:1/v1\n"
                               "key_file = box.key\nmax_bytes = 5M\nextensions = pdf, *\n");
    src.system_file = write_file("system", 0644, "[provider.kimi]\norder=3\nrpm=5\n");
    write_file("box.key", 0600, "# mine\nsk-box\n");
    struct sf_config *cfg = load(&src);
    uint64_t num = 0;
    size_t kimi = find(cfg, "kimi"), box = find(cfg, "my-box");
    assert_int_equal(count(cfg), 2);
    assert_true(sf_config_provider_num(cfg, kimi, SF_PS_ORDER, &num));
    assert_int_equal(num, 7);
    assert_true(sf_config_provider_num(cfg, kimi, SF_PS_RPM, &num));
    assert_int_equal(num, 5);
    assert_true(sf_config_provider_num(cfg, kimi, SF_PS_UPLOAD_TIMEOUT, &num));
    assert_int_equal(num, 120000);
    assert_false(sf_config_provider_num(cfg, kimi, SF_PS_CONCURRENCY, &num));
    assert_true(sf_config_provider_num(cfg, box, SF_PS_MAX_BYTES, &num));
    assert_int_equal(num, 5 << 20);
    assert_null(sf_config_provider_str(cfg, kimi, SF_PS_BASE_URL));
    assert_string_equal(sf_config_provider_str(cfg, box, SF_PS_BASE_URL), "http://[::1]:1/v1");
    assert_string_equal(sf_config_provider_str(cfg, box, SF_PS_KEY_FILE), in_dir("box.key"));
    snprintf(expected, sizeof expected, "%s:3", src.user_file);
    assert_string_equal(sf_config_provider_origin(cfg, kimi, SF_PS_ORDER), expected);
    assert_string_equal(sf_config_provider_origin(cfg, kimi, SF_PS_MODEL), "default");
    snprintf(expected, sizeof expected, "%s:2", src.user_file);
    key_is(cfg, "kimi", "sk-one", expected);
    snprintf(expected, sizeof expected, "key_file %s", in_dir("box.key"));
    key_is(cfg, "my-box", "sk-box", expected);
    sf_config_free(cfg);
}

static void
environment_alone(void **state)
{
    (void)state;
    char *const environment[] = {(char[]){"HOME=/h"},
                                 (char[]){"MOONSHOT_API_KEY=sk-m"},
                                 (char[]){"MOONSHOT_BASE_URL=http://127.0.0.1:1/kimi/v1"},
                                 (char[]){"ZHIPUAI_API_KEY=id.secret"},
                                 (char[]){"OPENAI_BASE_URL=http://localhost:11434/v1"},
                                 (char[]){"SUPAFS_PROVIDER_KIMI_CN_KEY=sk-cn"},
                                 (char[]){"SUPAFS_PROVIDER_KIMI_CN_TYPE=kimi"},
                                 (char[]){"SUPAFS_PROVIDER_KIMI_KEY_FILE="},
                                 (char[]){"SUPAFS_PROVIDER_GLM_UPLOAD_TIMEOUT=9s"},
                                 NULL};
    struct sf_config_sources src = quiet_sources();
    src.environment = environment;
    src.user_file = write_file("user", 0644, "");
    src.system_file = "";
    struct sf_config_sources nothing = src;
    uint64_t num = 0;
    nothing.environment = no_environment;
    struct sf_config *cfg = load(&nothing);
    assert_int_equal(count(cfg), 0);
    sf_config_free(cfg);

    cfg = load(&src);
    assert_int_equal(count(cfg), 4);
    key_is(cfg, "kimi", "sk-m", "MOONSHOT_API_KEY in the environment");
    key_is(cfg, "glm", "id.secret", "ZHIPUAI_API_KEY in the environment");
    key_is(cfg, "kimi_cn", "sk-cn", "SUPAFS_PROVIDER_KIMI_CN_KEY in the environment");
    key_is(cfg, "openai", NULL, "provider openai has no key; give it key_file, key_env or key");
    assert_string_equal(sf_config_provider_str(cfg, find(cfg, "kimi"), SF_PS_BASE_URL),
                        "http://127.0.0.1:1/kimi/v1");
    assert_true(sf_config_provider_is_foreign(cfg, find(cfg, "kimi"), SF_PS_BASE_URL));
    assert_string_equal(sf_config_provider_str(cfg, find(cfg, "kimi_cn"), SF_PS_TYPE), "kimi");
    assert_false(sf_config_provider_is_foreign(cfg, find(cfg, "kimi_cn"), SF_PS_TYPE));
    assert_true(sf_config_provider_num(cfg, find(cfg, "glm"), SF_PS_UPLOAD_TIMEOUT, &num));
    assert_int_equal(num, 9000);
    assert_null(sf_config_warning(cfg, 0));
    sf_config_free(cfg);
}

static void
nearer_wins(void **state)
{
    (void)state;
    char *const environment[] = {(char[]){"HOME=/h"}, (char[]){"MOONSHOT_API_KEY=sk-theirs"},
                                 (char[]){"SUPAFS_PROVIDER_KIMI_KEY=sk-ours"},
                                 (char[]){"SUPAFS_PROVIDER_MY_BOX_ORDER=2"}, NULL};
    char *const theirs[] = {(char[]){"HOME=/h"}, (char[]){"MOONSHOT_API_KEY=sk-theirs"}, NULL};
    struct sf_config_sources src = quiet_sources();
    char expected[200];
    uint64_t num = 0;
    src.environment = environment;
    src.env_file = write_file("env", 0600, "MOONSHOT_API_KEY=sk-envfile\nZHIPUAI_API_KEY=a.b\n");
    src.user_file = write_file("user", 0600,
                               "[provider.kimi]\nkey=sk-file\n[provider.my-box]\norder=9\n"
                               "[provider.glm]\nkey=c.d\n");
    struct sf_config *cfg = load(&src);
    key_is(cfg, "kimi", "sk-ours", "SUPAFS_PROVIDER_KIMI_KEY in the environment");
    snprintf(expected, sizeof expected, "ZHIPUAI_API_KEY in %s:2", src.env_file);
    key_is(cfg, "glm", "a.b", expected);
    /* One provider, spelled as the file has it. */
    assert_int_equal(count(cfg), 3);
    assert_true(sf_config_provider_num(cfg, find(cfg, "my-box"), SF_PS_ORDER, &num));
    assert_int_equal(num, 2);
    sf_config_free(cfg);

    src.environment = theirs;
    cfg = load(&src);
    key_is(cfg, "kimi", "sk-theirs", "MOONSHOT_API_KEY in the environment");
    sf_config_free(cfg);
    /* A key file that is named nearer is nearer than a key. */
    char *const file[] = {(char[]){"HOME=/h"}, (char[]){"SUPAFS_PROVIDER_KIMI_KEY_FILE=/k"}, NULL};
    struct sf_provider_key_choice c;
    src.environment = file;
    cfg = load(&src);
    assert_int_equal(sf_config_provider_key(cfg, find(cfg, "kimi"), &c, NULL), 0);
    assert_null(c.key);
    assert_string_equal(c.file, "/k");
    sf_provider_key_choice_fini(&c);
    sf_config_free(cfg);
}

static void
key_env(void **state)
{
    (void)state;
    char *const environment[] = {(char[]){"HOME=/h"}, (char[]){"MY_KEY=sk-mine"}, NULL};
    struct sf_config_sources src = quiet_sources();
    src.environment = environment;
    src.env_file = write_file("env", 0600, "OTHER_KEY='sk-other'\n");
    src.user_file = write_file("user", 0600,
                               "[provider.a]\nkey_env=MY_KEY\n[provider.b]\nkey_env=OTHER_KEY\n"
                               "[provider.c]\nkey_env=NO_KEY\n"
                               "[provider.d]\nkey_file=/k\nkey_env=MY_KEY\n"
                               "[provider.e]\nkey_file=/k\nkey_env=NO_KEY\nkey=sk-e\n");
    struct sf_config *cfg = load(&src);
    char expected[200];
    key_is(cfg, "a", "sk-mine", "MY_KEY in the environment");
    snprintf(expected, sizeof expected, "OTHER_KEY in %s", src.env_file);
    key_is(cfg, "b", "sk-other", expected);
    /* Of one section: key, key_env, key_file. */
    key_is(cfg, "d", "sk-mine", "MY_KEY in the environment");
    snprintf(expected, sizeof expected, "%s:13", src.user_file);
    key_is(cfg, "e", "sk-e", expected);
    key_is(cfg, "c", NULL, "provider c has no key: NO_KEY is not set");

    /* What is in use has been copied by now. */
    setenv("MY_KEY", "sk-mine", 1);
    setenv("MOONSHOT_API_KEY", "sk-m", 1);
    setenv("SUPAFS_PROVIDER_X_KEY", "sk-x", 1);
    setenv("MOONSHOT_BASE_URL", "http://localhost", 1);
    sf_config_wipe_keys(cfg);
    sf_config_wipe_environment(cfg);
    assert_null(getenv("MY_KEY"));
    assert_null(getenv("MOONSHOT_API_KEY"));
    assert_null(getenv("SUPAFS_PROVIDER_X_KEY"));
    assert_non_null(getenv("MOONSHOT_BASE_URL"));
    unsetenv("MOONSHOT_BASE_URL");
    key_is(cfg, "a", NULL, "provider a has no key: MY_KEY is not set");
    sf_config_free(cfg);
}

/* @text alone in a file of the user is refused for what stands on this line. */
static void
file_fails(const char *text, int line, const char *msg)
{
    struct sf_config_sources src = quiet_sources();
    char expected[300];
    src.user_file = write_file("user", 0600, text);
    snprintf(expected, sizeof expected, "%s:%d: %s", src.user_file, line, msg);
    load_fails(&src, -EINVAL, expected);
}

/* Who writes a section without a word in it means the provider all the same. */
static void
empty_sections(void **state)
{
    (void)state;
    struct sf_config_sources src = quiet_sources();
    char *const environment[] = {(char[]){"HOME=/h"}, (char[]){"MOONSHOT_API_KEY=sk-env"}, NULL};
    src.environment = environment;
    src.user_file =
        write_file("user", 0644, "[provider.glm]\n[provider.kimi]\n# order = 3\n[provider.my-box]");
    struct sf_config *cfg = load(&src);
    assert_int_equal(count(cfg), 3);
    key_is(cfg, "kimi", "sk-env", "MOONSHOT_API_KEY in the environment");
    key_is(cfg, "glm", NULL, "provider glm has no key; give it key_file, key_env or key");
    assert_null(sf_config_provider_str(cfg, find(cfg, "my-box"), SF_PS_BASE_URL));
    sf_config_free(cfg);
    src.user_file = "";
}

static void
refusals(void **state)
{
    (void)state;
    file_fails("[provider.kimi]\ncolour=red\n", 2,
               "a provider has no setting \"colour\"; the manual page supafs(1) lists them");
    file_fails("[provider.Kimi]\norder=1\n", 1,
               "\"Kimi\" is no name for a provider; it has at most 32 of a-z, 0-9, - and _, and "
               "begins with a letter or digit");
    file_fails("[provider.]\norder=1\n", 1,
               "\"\" is no name for a provider; it has at most 32 of a-z, 0-9, - and _, and begins "
               "with a letter or digit");
    file_fails("[provider.kimi]\nconcurrency=0\n", 2,
               "concurrency cannot be \"0\"; it is a whole number from 1 to 64");
    file_fails("[provider.kimi]\nkey=sk secret\n", 2,
               "the value of key is not a key; a key is one word of printable characters");
    file_fails("[provider.kimi]\norder=1\norder=2\n", 3,
               "order of provider kimi is set a second time");

    struct sf_config_sources src = quiet_sources();
    char expected[300];
    src.user_file = write_file("user", 0644, "[provider.kimi]\nkey=sk-secret\n");
    snprintf(expected, sizeof expected,
             "%s:2: here is a key, but others than the file's owner can read it; use: chmod 600 %s",
             src.user_file, src.user_file);
    load_fails(&src, -EPERM, expected);
    src.user_file = "";

    /* What others use, too, keeps nobody from mounting. */
    char *const environment[] = {(char[]){"HOME=/h"}, (char[]){"OPENAI_API_KEY=two words"}, NULL};
    src.environment = environment;
    struct sf_config *cfg = load(&src);
    assert_string_equal(sf_config_warning(cfg, 0),
                        "OPENAI_API_KEY in the environment: the value of key is not a key; a key "
                        "is one word of printable characters, so it was not used");
    sf_config_free(cfg);
    char *const mistyped[] = {(char[]){"HOME=/h"}, (char[]){"SUPAFS_PROVIDER_KIMI_KEYS=a"}, NULL};
    src.environment = mistyped;
    cfg = load(&src);
    assert_string_equal(sf_config_warning(cfg, 0),
                        "environment: SUPAFS_PROVIDER_KIMI_KEYS names no setting of a provider");
    sf_config_free(cfg);
    src.environment = no_environment;
    src.env_file = write_file("env", 0644, "MOONSHOT_API_KEY=sk-open\n");
    snprintf(expected, sizeof expected,
             "MOONSHOT_API_KEY in %s:1: here is a key, but others than the file's owner can read "
             "it; use: chmod 600 %s",
             src.env_file, src.env_file);
    load_fails(&src, -EPERM, expected);
}

static void
many(void **state)
{
    (void)state;
    char text[65 * 40];
    size_t n = 0;
    for (int i = 0; i < 65; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "[provider.p%d]\norder=1\n", i);
    file_fails(text, 129, "there cannot be more than 64 providers");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections),       cmocka_unit_test(environment_alone),
        cmocka_unit_test(nearer_wins),    cmocka_unit_test(key_env),
        cmocka_unit_test(refusals),       cmocka_unit_test(many),
        cmocka_unit_test(empty_sections),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
