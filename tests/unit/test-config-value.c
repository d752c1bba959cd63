/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config-fixture.h"

#include "config/value.h"

/* The option table, the types of its values, and what is said about bad ones. */

static void
the_table_is_sound(void **state)
{
    (void)state;
    for (int i = 0; i < SF_OPT_COUNT; i++) {
        const struct sf_opt_info *o = sf_opt_info((enum sf_opt)i);
        bool number = o->type == SF_OPT_TYPE_INT || o->type == SF_OPT_TYPE_SIZE ||
                      o->type == SF_OPT_TYPE_DURATION || o->type == SF_OPT_TYPE_OCTAL;
        assert_true(number == (o->max > 0));
        assert_true(o->min <= o->max);
        assert_true((o->type == SF_OPT_TYPE_ENUM) == (o->values != NULL));
        assert_int_equal(sf_opt_find(o->name), i);
        assert_true(strlen(o->help) > 10 && strlen(o->name) < 32);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(o->name, sf_opt_info((enum sf_opt)k)->name);
        if (!o->def)
            continue;
        /* A default is written as it is shown. */
        struct sf_value v;
        char text[64];
        assert_int_equal(sf_value_parse((enum sf_opt)i, o->def, &v), 0);
        assert_string_equal(sf_value_format((enum sf_opt)i, &v, text, sizeof text), o->def);
        sf_value_fini(&v);
    }
}

static void
names_are_found(void **state)
{
    (void)state;
    int rank = -1;
    assert_int_equal(sf_opt_find("attr_ttl"), SF_OPT_ATTR_TTL);
    assert_int_equal(sf_opt_find("attr-ttl"), SF_OPT_ATTR_TTL);
    assert_int_equal(sf_opt_find("ATTR_TTL"), -1);
    assert_int_equal(sf_opt_find("attr_tt"), -1);
    assert_int_equal(sf_opt_find("attr_ttls"), -1);
    assert_int_equal(sf_opt_find(""), -1);
    assert_int_equal(sf_opt_find_env("SUPAFS_ATTR_TTL", &rank), SF_OPT_ATTR_TTL);
    assert_int_equal(rank, 0);
    assert_int_equal(sf_opt_find_env("SUPABASE_SERVICE_KEY", &rank), SF_OPT_SERVICE_KEY);
    assert_int_equal(rank, 2);
    assert_int_equal(sf_opt_find_env("SUPABASE_KEY", &rank), SF_OPT_ANON_KEY);
    assert_int_equal(sf_opt_find_env("SUPAFS_attr_ttl", NULL), -1);
    assert_int_equal(sf_opt_find_env("SUPAFS_ATTR-TTL", NULL), -1);
    assert_int_equal(sf_opt_find_env("SUPAFS_", NULL), -1);
    assert_int_equal(sf_opt_find_env("SUPABASE", NULL), -1);
    assert_int_equal(sf_opt_find_env("ATTR_TTL", NULL), -1);
    assert_string_equal(sf_opt_nearest("conections"), "connections");
    assert_string_equal(sf_opt_nearest("readtimeout"), "read_timeout");
    assert_string_equal(sf_opt_nearest("bukcet"), "bucket");
    assert_null(sf_opt_nearest("zzzzzzzz"));
    assert_null(sf_opt_nearest(""));
}

struct accepted {
    enum sf_opt opt;
    const char *text;
    uint64_t num;
};

static void
values_are_read(void **state)
{
    (void)state;
    static const struct accepted rows[] = {
        {SF_OPT_RO, "yes", 1},
        {SF_OPT_RO, "True", 1},
        {SF_OPT_RO, "on", 1},
        {SF_OPT_RO, "1", 1},
        {SF_OPT_RO, "no", 0},
        {SF_OPT_RO, "FALSE", 0},
        {SF_OPT_RO, "off", 0},
        {SF_OPT_RO, "0", 0},
        {SF_OPT_CONNECTIONS, "1", 1},
        {SF_OPT_CONNECTIONS, "128", 128},
        {SF_OPT_CONNECTIONS, "016", 16},
        {SF_OPT_UID, "4294967294", 4294967294},
        {SF_OPT_STANDARD_LIMIT, "0", 0},
        {SF_OPT_STANDARD_LIMIT, "52428800", 52428800},
        {SF_OPT_STANDARD_LIMIT, "64k", 65536},
        {SF_OPT_STANDARD_LIMIT, "1GiB", 1073741824},
        {SF_OPT_STANDARD_LIMIT, "10MB", 10000000},
        {SF_OPT_STANDARD_LIMIT, "5T", 5497558138880},
        {SF_OPT_ATTR_TTL, "0", 0},
        {SF_OPT_ATTR_TTL, "60", 60000},
        {SF_OPT_ATTR_TTL, "250ms", 250},
        {SF_OPT_ATTR_TTL, "2m", 120000},
        {SF_OPT_ATTR_TTL, "2min", 120000},
        {SF_OPT_ATTR_TTL, "1h", 3600000},
        {SF_OPT_ATTR_TTL, "1d", 86400000},
        {SF_OPT_UMASK, "0", 0},
        {SF_OPT_UMASK, "22", 022},
        {SF_OPT_UMASK, "0777", 0777},
        {SF_OPT_AUTH, "auto", 0},
        {SF_OPT_AUTH, "anon", 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sf_value v;
        if (sf_value_parse(rows[i].opt, rows[i].text, &v))
            fail_msg("%s was refused", rows[i].text);
        if (v.num != rows[i].num)
            fail_msg("%s is %ju", rows[i].text, (uintmax_t)v.num);
        sf_value_fini(&v);
    }
}

static void
bad_values_are_refused(void **state)
{
    (void)state;
    static const struct {
        enum sf_opt opt;
        const char *text;
    } rows[] = {
        {SF_OPT_RO, ""},
        {SF_OPT_RO, "y"},
        {SF_OPT_RO, "2"},
        {SF_OPT_CONNECTIONS, ""},
        {SF_OPT_CONNECTIONS, "0"},
        {SF_OPT_CONNECTIONS, "129"},
        {SF_OPT_CONNECTIONS, "-1"},
        {SF_OPT_CONNECTIONS, "+1"},
        {SF_OPT_CONNECTIONS, " 1"},
        {SF_OPT_CONNECTIONS, "1 "},
        {SF_OPT_CONNECTIONS, "1.5"},
        {SF_OPT_CONNECTIONS, "0x10"},
        {SF_OPT_CONNECTIONS, "18446744073709551617"},
        {SF_OPT_UID, "4294967295"},
        {SF_OPT_STANDARD_LIMIT, "6T"},
        {SF_OPT_STANDARD_LIMIT, "10X"},
        {SF_OPT_STANDARD_LIMIT, "M"},
        {SF_OPT_STANDARD_LIMIT, "99999999999999999999M"},
        {SF_OPT_ATTR_TTL, ""},
        {SF_OPT_ATTR_TTL, "s"},
        {SF_OPT_ATTR_TTL, "1 s"},
        {SF_OPT_ATTR_TTL, "1S"},
        {SF_OPT_ATTR_TTL, "1w"},
        {SF_OPT_ATTR_TTL, "86401s"},
        {SF_OPT_ATTR_TTL, "18446744073709551615d"},
        {SF_OPT_ATTR_TTL, "99999999999999999999999999s"},
        {SF_OPT_READ_TIMEOUT, "999ms"},
        {SF_OPT_UMASK, ""},
        {SF_OPT_UMASK, "1000"},
        {SF_OPT_UMASK, "8"},
        {SF_OPT_UMASK, "0o22"},
        {SF_OPT_AUTH, ""},
        {SF_OPT_AUTH, "Auto"},
        {SF_OPT_AUTH, "auto|service"},
        {SF_OPT_AUTH, "serv"},
        {SF_OPT_BUCKET, "a\nb"},
        {SF_OPT_BUCKET, "a\x7f"},
        {SF_OPT_SERVICE_KEY, "two words"},
        {SF_OPT_SERVICE_KEY, "k\xc3\xa9y"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sf_value v = {.num = 77};
        if (sf_value_parse(rows[i].opt, rows[i].text, &v) != -EINVAL)
            fail_msg("%s=\"%s\" was not refused", sf_opt_info(rows[i].opt)->name, rows[i].text);
        assert_int_equal(v.num, 77);
        assert_null(v.str);
    }
    char long_text[4200];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    struct sf_value v;
    assert_int_equal(sf_value_parse(SF_OPT_BUCKET, long_text, &v), -EINVAL);
    assert_int_equal(sf_value_parse(SF_OPT_SERVICE_KEY, long_text, &v), 0); /* keys may be long */
    sf_value_fini(&v);
}

static void
values_are_written_as_users_do(void **state)
{
    (void)state;
    static const struct {
        enum sf_opt opt;
        uint64_t num;
        const char *text;
    } rows[] = {
        {SF_OPT_STANDARD_LIMIT, 0, "0"},
        {SF_OPT_STANDARD_LIMIT, 1000, "1000"},
        {SF_OPT_STANDARD_LIMIT, 1536, "1536"},
        {SF_OPT_STANDARD_LIMIT, 65536, "64K"},
        {SF_OPT_STANDARD_LIMIT, 1ull << 40, "1T"},
        {SF_OPT_ATTR_TTL, 0, "0s"},
        {SF_OPT_ATTR_TTL, 1, "1ms"},
        {SF_OPT_ATTR_TTL, 1500, "1500ms"},
        {SF_OPT_ATTR_TTL, 90000, "90s"},
        {SF_OPT_ATTR_TTL, 120000, "2min"},
        {SF_OPT_ATTR_TTL, 7200000, "2h"},
        {SF_OPT_ATTR_TTL, 86400000, "1d"},
        {SF_OPT_UMASK, 7, "007"},
        {SF_OPT_RO, 1, "yes"},
        {SF_OPT_UID, 12, "12"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sf_value v = {.num = rows[i].num};
        char text[64];
        assert_string_equal(sf_value_format(rows[i].opt, &v, text, sizeof text), rows[i].text);
    }
}

static void
errors_say_what_is_allowed(void **state)
{
    (void)state;
    mount_option_fails("connections=200",
                       "-o: connections cannot be \"200\"; it is a whole number from 1 to 128");
    mount_option_fails("attr_ttl=2w", "-o: attr_ttl cannot be \"2w\"; it is a time from 0s to 1d, "
                                      "written like 500ms, 30s, 5min or 2h");
    mount_option_fails(
        "standard_limit=9P",
        "-o: standard_limit cannot be \"9P\"; it is a size from 0 to 5T, written like "
        "4096, 64K, 10M or 1G");
    mount_option_fails("umask=999",
                       "-o: umask cannot be \"999\"; it is an octal number from 000 to 777");
    mount_option_fails("ro=maybe", "-o: ro cannot be \"maybe\"; it is yes or no");
    mount_option_fails("auth=root",
                       "-o: auth cannot be \"root\"; it is one of auto, service, user, anon");
    mount_option_fails(
        "log_level=loud",
        "-o: log_level cannot be \"loud\"; it is error, warn, info, debug or trace, or "
        "such a word with exceptions, as info,http=debug");
    mount_option_fails("log_target=file", "-o: log_target=file needs log_file= too");
    mount_option_fails(
        "connections=\x1b[31m0123456789012345678901234567890123456789",
        "-o: connections cannot be \"?[31m01234567890123456789012345678901234...\"; it "
        "is a whole number from 1 to 128");
}

static void
every_source_names_itself_in_errors(void **state)
{
    (void)state;
    char msg[240];
    struct sf_config_sources src = quiet_sources();

    src.user_file = write_file("user", 0600, "\n# c\n[project.x]\n\tconnections : 0\n");
    snprintf(msg, sizeof msg,
             "%s:4: connections cannot be \"0\"; it is a whole number from 1 to 128",
             src.user_file);
    load_fails(&src, -EINVAL, msg);
    src.user_file = "";

    src.env_file = write_file("env", 0600, "A=1\nexport SUPAFS_CONNECTIONS=x # no\n");
    snprintf(
        msg, sizeof msg,
        "SUPAFS_CONNECTIONS in %s:2: connections cannot be \"x\"; it is a whole number from 1 to "
        "128",
        src.env_file);
    load_fails(&src, -EINVAL, msg);
    src.env_file = NULL;

    char *const environment[] = {(char[]){"SUPAFS_CONNECTIONS=-"}, NULL};
    src.environment = environment;
    load_fails(&src, -EINVAL,
               "SUPAFS_CONNECTIONS in the environment: connections cannot be \"-\"; it is a whole "
               "number from 1 to 128");
}

/* A bad value is an error even where a nearer source has the last word. */
static void
overridden_values_are_checked_too(void **state)
{
    (void)state;
    const char *const options[] = {"connections=3", NULL};
    char *const environment[] = {(char[]){"SUPAFS_CONNECTIONS=many"}, NULL};
    struct sf_config_sources src = quiet_sources();
    src.mount_options = options;
    src.environment = environment;
    load_fails(
        &src, -EINVAL,
        "SUPAFS_CONNECTIONS in the environment: connections cannot be \"many\"; it is a whole "
        "number from 1 to 128");
}

static void
keys_are_never_repeated(void **state)
{
    (void)state;
    char quoted[48];
    assert_string_equal(sf_value_quote("eyJhbGciOi.x.y", quoted), "...");
    assert_string_equal(sf_value_quote("sb_secret_abc", quoted), "...");
    assert_string_equal(sf_value_quote("x=eyJhbGciOi", quoted), "...");
    assert_string_equal(sf_value_quote("sk-0123456789abcdefghij", quoted), "...");
    assert_string_equal(sf_value_quote("sk-proj-a_B-0123456789abcdefghijK-x", quoted), "...");
    assert_string_equal(sf_value_quote("k=sk-0123456789abcdefghij", quoted), "...");
    assert_string_equal(sf_value_quote("sk-pictures-of-2026-07-15-all", quoted),
                        "sk-pictures-of-2026-07-15-all");
    assert_string_equal(sf_value_quote("sk-abcdefghijklmnopqrstuvwxyz", quoted),
                        "sk-abcdefghijklmnopqrstuvwxyz");
    assert_string_equal(sf_value_quote("plain", quoted), "plain");

    char *const environment[] = {(char[]){"SUPABASE_SERVICE_ROLE_KEY=my secret"}, NULL};
    struct sf_config_sources src = quiet_sources();
    src.environment = environment;
    load_fails(
        &src, -EINVAL,
        "SUPABASE_SERVICE_ROLE_KEY in the environment: the value of service_key is not a key; "
        "a key is one word of printable characters");

    char *const good[] = {(char[]){"SUPABASE_SERVICE_ROLE_KEY=mysecret"}, (char[]){"HOME=/h"},
                          NULL};
    src.environment = good;
    struct sf_config *cfg = load(&src);
    assert_string_equal(sf_config_text(cfg, SF_OPT_SERVICE_KEY, quoted, sizeof quoted), "(hidden)");
    assert_string_equal(sf_config_str(cfg, SF_OPT_SERVICE_KEY), "mysecret");
    sf_config_wipe_keys(cfg);
    assert_null(sf_config_str(cfg, SF_OPT_SERVICE_KEY));
    assert_false(sf_config_is_set(cfg, SF_OPT_SERVICE_KEY));
    assert_string_equal(sf_config_text(cfg, SF_OPT_SERVICE_KEY, quoted, sizeof quoted), "(hidden)");
    assert_string_equal(sf_config_text(cfg, SF_OPT_ANON_KEY, quoted, sizeof quoted), "");
    assert_string_equal(sf_config_origin(cfg, SF_OPT_SERVICE_KEY),
                        "SUPABASE_SERVICE_ROLE_KEY in the environment");
    sf_config_free(cfg);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(bad_values_are_refused),
        cmocka_unit_test(values_are_written_as_users_do),
        cmocka_unit_test(errors_say_what_is_allowed),
        cmocka_unit_test(every_source_names_itself_in_errors),
        cmocka_unit_test(overridden_values_are_checked_too),
        cmocka_unit_test(keys_are_never_repeated),
    };
    return cmocka_run_group_tests_name("config-value", tests, make_dir, remove_dir);
}
