/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config-fixture.h"

/* Which source wins, profiles, and what loading makes of the values. */

#define URL_A "https://a.example"

static void
defaults_are_those_of_the_table(void **state)
{
    (void)state;
    struct sf_config_sources src = quiet_sources();
    struct sf_config *cfg = load(&src);
    char text[64];

    assert_null(sf_config_str(cfg, SF_OPT_URL));
    assert_false(sf_config_is_set(cfg, SF_OPT_URL));
    assert_false(sf_config_bool(cfg, SF_OPT_RO));
    assert_string_equal(sf_config_str(cfg, SF_OPT_AUTH), "auto");
    assert_int_equal(sf_config_enum(cfg, SF_OPT_AUTH), 0);
    assert_int_equal(sf_config_u64(cfg, SF_OPT_UMASK), 022);
    assert_int_equal(sf_config_ms(cfg, SF_OPT_ATTR_TTL), 1000);
    assert_int_equal(sf_config_ms(cfg, SF_OPT_READ_TIMEOUT), 30000);
    assert_int_equal(sf_config_ms(cfg, SF_OPT_WRITE_TIMEOUT), 300000);
    assert_int_equal(sf_config_u64(cfg, SF_OPT_CONNECTIONS), 16);
    assert_int_equal(sf_config_u64(cfg, SF_OPT_STANDARD_LIMIT), 52428800);
    assert_int_equal(sf_config_u64(cfg, SF_OPT_KERNEL_READAHEAD), 1048576);
    assert_string_equal(sf_config_origin(cfg, SF_OPT_UMASK), "default");
    assert_string_equal(sf_config_text(cfg, SF_OPT_UMASK, text, sizeof text), "022");
    assert_string_equal(sf_config_text(cfg, SF_OPT_WRITE_TIMEOUT, text, sizeof text), "5min");
    assert_string_equal(sf_config_text(cfg, SF_OPT_STANDARD_LIMIT, text, sizeof text), "50M");
    assert_string_equal(sf_config_text(cfg, SF_OPT_URL, text, sizeof text), "");
    assert_string_equal(sf_config_kernel_options(cfg), "");
    assert_null(sf_config_warning(cfg, 0));
    sf_config_free(cfg);
}

static void
defaults_depend_on_who_mounts(void **state)
{
    (void)state;
    struct sf_config_sources src = quiet_sources();
    struct sf_config *cfg = load(&src);
    assert_int_equal(sf_config_u64(cfg, SF_OPT_UID), 1234);
    assert_int_equal(sf_config_u64(cfg, SF_OPT_GID), 2345);
    assert_int_equal(sf_config_u64(cfg, SF_OPT_CHAT_UID), 1234);
    assert_false(sf_config_bool(cfg, SF_OPT_ALLOW_OTHER));
    assert_false(sf_config_bool(cfg, SF_OPT_DEFAULT_PERMISSIONS));
    assert_string_equal(sf_config_str(cfg, SF_OPT_CACHE_DIR), "/home/somebody/.cache/supafs");
    assert_string_equal(sf_config_str(cfg, SF_OPT_STATE_DIR), "/home/somebody/.local/state/supafs");
    sf_config_free(cfg);

    char *const xdg[] = {(char[]){"XDG_CACHE_HOME=/c"}, (char[]){"XDG_STATE_HOME=/s"}, NULL};
    src.environment = xdg;
    cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_CACHE_DIR), "/c/supafs");
    assert_string_equal(sf_config_str(cfg, SF_OPT_STATE_DIR), "/s/supafs");
    sf_config_free(cfg);

    char *const nothing[] = {NULL};
    src.environment = nothing;
    load_fails(&src, -EINVAL,
               "set cache_dir: neither XDG_CACHE_HOME nor HOME says where it should be");

    const uid_t root = 0;
    src.uid = &root;
    cfg = load(&src);
    assert_true(sf_config_bool(cfg, SF_OPT_ALLOW_OTHER));
    assert_true(sf_config_bool(cfg, SF_OPT_DEFAULT_PERMISSIONS));
    assert_string_equal(sf_config_str(cfg, SF_OPT_CACHE_DIR), "/var/cache/supafs");
    assert_string_equal(sf_config_str(cfg, SF_OPT_STATE_DIR), "/var/lib/supafs");
    sf_config_free(cfg);

    const char *const off[] = {"allow_other=no", "default_permissions=off,uid=0", NULL};
    src.mount_options = off;
    cfg = load(&src);
    assert_false(sf_config_bool(cfg, SF_OPT_ALLOW_OTHER));
    assert_false(sf_config_bool(cfg, SF_OPT_DEFAULT_PERMISSIONS));
    assert_int_equal(sf_config_u64(cfg, SF_OPT_UID), 0);
    sf_config_free(cfg);

    /* Who lets others in lets them in with their own rights, unless he says otherwise. */
    const char *const others[] = {"allow_other", NULL}, *const all[] = {
                                                            "allow_other,default_permissions=no",
                                                            NULL};
    const uid_t user = 1000;
    src.uid = &user;
    src.environment = xdg;
    src.mount_options = others;
    cfg = load(&src);
    assert_true(sf_config_bool(cfg, SF_OPT_DEFAULT_PERMISSIONS));
    sf_config_free(cfg);
    src.mount_options = all;
    cfg = load(&src);
    assert_false(sf_config_bool(cfg, SF_OPT_DEFAULT_PERMISSIONS));
    sf_config_free(cfg);
}

/* All six sources set `connections`; take them away one by one from the nearest. */
static void
the_nearer_source_wins(void **state)
{
    (void)state;
    const char *const options[] = {"connections=60", NULL};
    char *const environment[] = {(char[]){"SUPAFS_CONNECTIONS=50"}, (char[]){"HOME=/h"}, NULL};
    struct sf_config_sources src = quiet_sources();
    src.mount_options = options;
    src.environment = environment;
    src.env_file = write_file("env", 0644, "SUPAFS_CONNECTIONS=40\n");
    src.user_file = write_file("user", 0644, "# mine\nconnections = 30\n");
    src.system_file = write_file("system", 0644, "\nconnections = 20\n");

    struct {
        unsigned value;
        enum sf_origin kind;
        const char *origin; /* with %s for the directory */
    } expect[] = {
        {60, SF_ORIGIN_MOUNT, "-o"},
        {50, SF_ORIGIN_ENVIRONMENT, "SUPAFS_CONNECTIONS in the environment"},
        {40, SF_ORIGIN_ENV_FILE, "SUPAFS_CONNECTIONS in %s/env:1"},
        {30, SF_ORIGIN_USER_FILE, "%s/user:2"},
        {20, SF_ORIGIN_SYSTEM_FILE, "%s/system:2"},
        {16, SF_ORIGIN_DEFAULT, "default"},
    };
    for (size_t i = 0; i < sizeof expect / sizeof *expect; i++) {
        char origin[160], *at = strstr(expect[i].origin, "%s");
        if (at)
            snprintf(origin, sizeof origin, "%.*s%s%s", (int)(at - expect[i].origin),
                     expect[i].origin, dir, at + 2);
        else
            snprintf(origin, sizeof origin, "%s", expect[i].origin);
        struct sf_config *cfg = load(&src);
        assert_int_equal(sf_config_u64(cfg, SF_OPT_CONNECTIONS), expect[i].value);
        assert_int_equal(sf_config_origin_kind(cfg, SF_OPT_CONNECTIONS), expect[i].kind);
        assert_string_equal(sf_config_origin(cfg, SF_OPT_CONNECTIONS), origin);
        sf_config_free(cfg);
        switch (i) {
        case 0:
            src.mount_options = NULL;
            break;
        case 1:
            src.environment = no_environment;
            break;
        case 2:
            src.env_file = NULL;
            break;
        case 3:
            src.user_file = "";
            break;
        default:
            src.system_file = "";
        }
    }
}

static void
the_first_argument_is_nearest(void **state)
{
    (void)state;
    const char *const options[] = {"url=https://b.example", NULL};
    struct sf_config_sources src = quiet_sources();
    src.mount_options = options;
    src.argument = "https://A.example/";
    struct sf_config *cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_URL), URL_A);
    assert_string_equal(sf_config_origin(cfg, SF_OPT_URL), "the first argument");
    sf_config_free(cfg);

    src.argument = "localhost"; /* no profile */
    cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_URL), "http://localhost");
    sf_config_free(cfg);

    src.argument = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.c2ln";
    load_fails(&src, -EINVAL,
               "the first argument is a key; keys are not taken from the command line, where every "
               "user can see them");
}

/* The last of equal ones wins in -o; own names win over aliases, early aliases over late ones. */
static void
order_within_one_source(void **state)
{
    (void)state;
    const char *const options[] = {"umask=077,umask=027", "umask=007", NULL};
    char *const environment[] = {(char[]){"SUPABASE_SERVICE_KEY=second"},
                                 (char[]){"SUPABASE_SERVICE_ROLE_KEY=first"},
                                 (char[]){"SUPAFS_URL=https://own.example"},
                                 (char[]){"SUPABASE_URL=https://alias.example"},
                                 (char[]){"FILE_CACHE_DIR=/cache"},
                                 (char[]){"SUPAFS_BUCKET="},
                                 (char[]){"HOME=/h"},
                                 NULL};
    struct sf_config_sources src = quiet_sources();
    src.mount_options = options;
    src.environment = environment;
    src.user_file = write_file("user", 0644, "bucket = kept\n");
    struct sf_config *cfg = load(&src);
    assert_int_equal(sf_config_u64(cfg, SF_OPT_UMASK), 07);
    assert_string_equal(sf_config_str(cfg, SF_OPT_SERVICE_KEY), "first");
    assert_string_equal(sf_config_str(cfg, SF_OPT_URL), "https://own.example");
    assert_string_equal(sf_config_str(cfg, SF_OPT_CACHE_DIR), "/cache");
    assert_string_equal(sf_config_str(cfg, SF_OPT_BUCKET), "kept"); /* an empty variable is unset */
    sf_config_free(cfg);

    const char *const none[] = {"bucket=", NULL}; /* said outright: all buckets */
    src.mount_options = none;
    cfg = load(&src);
    assert_null(sf_config_str(cfg, SF_OPT_BUCKET));
    assert_false(sf_config_is_set(cfg, SF_OPT_BUCKET));
    assert_string_equal(sf_config_origin(cfg, SF_OPT_BUCKET), "-o");
    sf_config_free(cfg);
}

static const char profiles[] = "connections = 2\n"
                               "umask = 077\n"
                               "[project.work]\n"
                               "  url = https://work.example\n"
                               "  connections = 5 ; a comment\n"
                               "[provider.kimi]\n"
                               "models = a, b\n"
                               "[project.play]\n"
                               "url: \"https://play.example\"\n";

static void
profiles_are_sections(void **state)
{
    (void)state;
    struct sf_config_sources src = quiet_sources();
    src.user_file = write_file("user", 0644, profiles);
    src.system_file =
        write_file("system", 0644, "[project.work]\nurl=https://old.example\nro=yes\n");

    struct sf_config *cfg = load(&src); /* none chosen */
    assert_null(sf_config_str(cfg, SF_OPT_URL));
    assert_int_equal(sf_config_u64(cfg, SF_OPT_CONNECTIONS), 2);
    sf_config_free(cfg);

    src.argument = "work";
    cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_URL), "https://work.example");
    assert_int_equal(sf_config_u64(cfg, SF_OPT_CONNECTIONS), 5);
    assert_int_equal(sf_config_u64(cfg, SF_OPT_UMASK), 077);
    assert_true(sf_config_bool(cfg, SF_OPT_RO)); /* the system's section of the same name */
    assert_null(sf_config_warning(cfg, 0));
    sf_config_free(cfg);

    src.argument = "play";
    cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_URL), "https://play.example");
    assert_false(sf_config_bool(cfg, SF_OPT_RO));
    sf_config_free(cfg);

    src.argument = "wrok";
    load_fails(&src, -EINVAL,
               "there is no project \"wrok\" in the configuration files; they have: work, play");
    src.user_file = src.system_file = "";
    load_fails(
        &src, -EINVAL,
        "there is no project \"wrok\": no configuration file has a section [project.wrok]; a "
        "URL begins with https://");
}

static void
a_profile_can_come_from_anywhere(void **state)
{
    (void)state;
    struct sf_config_sources src = quiet_sources();
    src.user_file = write_file("user", 0644,
                               "project=a\n[project.a]\nurl=a.example\n"
                               "[project.b]\nurl=b.example\n[project.c]\nurl=c.example\n"
                               "[project.d]\nurl=d.example\n");
    struct sf_config *cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_URL), "https://a.example");
    sf_config_free(cfg);

    src.env_file = write_file("env", 0644, "SUPAFS_PROJECT=b");
    cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_URL), "https://b.example");
    sf_config_free(cfg);

    char *const environment[] = {(char[]){"SUPAFS_PROJECT=c"}, (char[]){"HOME=/h"}, NULL};
    src.environment = environment;
    cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_URL), "https://c.example");
    sf_config_free(cfg);

    const char *const options[] = {"project=d", NULL};
    src.mount_options = options;
    cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_URL), "https://d.example");
    sf_config_free(cfg);
}

static void
a_profile_can_name_an_env_file(void **state)
{
    (void)state;
    write_file("env", 0644, "SUPABASE_URL=https://from-env-file.example\n");
    struct sf_config_sources src = quiet_sources();
    src.argument = "a";
    src.user_file = write_file("user", 0644, "[project.a]\nenv_file = env\nurl = u.example\n");
    struct sf_config *cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_ENV_FILE), in_dir("env"));
    assert_string_equal(sf_config_str(cfg, SF_OPT_URL), "https://from-env-file.example");
    char warning[256];
    snprintf(warning, sizeof warning, "SUPABASE_URL in %s:1 overrides url of project a",
             in_dir("env"));
    assert_string_equal(sf_config_warning(cfg, 0), warning);
    assert_null(sf_config_warning(cfg, 1));
    sf_config_free(cfg);

    char msg[256];
    src.argument = NULL;
    src.user_file = write_file("user", 0644, "project=a\nenv_file = env\n[project.a]\nurl=u.x\n");
    write_file("env", 0644, "SUPAFS_PROJECT=b\n");
    snprintf(
        msg, sizeof msg,
        "SUPAFS_PROJECT in %s:1: an env file that a configuration file names cannot set project",
        in_dir("env"));
    load_fails(&src, -EINVAL, msg);

    src.user_file = "";
    src.env_file = in_dir("missing");
    snprintf(msg, sizeof msg, "cannot read %s: No such file or directory", in_dir("missing"));
    load_fails(&src, -ENOENT, msg);
}

static void
paths_become_absolute(void **state)
{
    (void)state;
    char cwd[200], expect[260];
    assert_non_null(getcwd(cwd, sizeof cwd));
    const char *const options[] = {"ca_file=here.pem", NULL};
    struct sf_config_sources src = quiet_sources();
    src.mount_options = options;
    src.user_file =
        write_file("user", 0644, "cache_dir = c/d\nstate_dir = ~/s\nlog_file = /var/log/x\n");
    struct sf_config *cfg = load(&src);
    snprintf(expect, sizeof expect, "%s/here.pem", cwd);
    assert_string_equal(sf_config_str(cfg, SF_OPT_CA_FILE), expect);
    assert_string_equal(sf_config_str(cfg, SF_OPT_CACHE_DIR), in_dir("c/d"));
    assert_string_equal(sf_config_str(cfg, SF_OPT_STATE_DIR), "/home/somebody/s");
    assert_string_equal(sf_config_str(cfg, SF_OPT_LOG_FILE), "/var/log/x");
    sf_config_free(cfg);
}

static void
the_user_file_lies_where_xdg_says(void **state)
{
    (void)state;
    char path[200];
    snprintf(path, sizeof path, "%s/supafs", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file("supafs/supafs.conf", 0644, "bucket = found\n");
    char variable[128];
    snprintf(variable, sizeof variable, "XDG_CONFIG_HOME=%s", dir);
    char *const environment[] = {variable, (char[]){"HOME=/h"}, NULL};
    struct sf_config_sources src = quiet_sources();
    src.environment = environment;
    src.user_file = NULL;
    struct sf_config *cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_BUCKET), "found");
    sf_config_free(cfg);
    unlink(in_dir("supafs/supafs.conf"));
    rmdir(path);
}

static void
a_prefix_is_trimmed_and_needs_a_bucket(void **state)
{
    (void)state;
    const char *const options[] = {"bucket=b", "prefix=//a/b c//", NULL};
    struct sf_config_sources src = quiet_sources();
    src.mount_options = options;
    struct sf_config *cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_PREFIX), "a/b c");
    sf_config_free(cfg);

    mount_option_fails("prefix=a", "-o: prefix needs bucket= too: it is a part of one bucket");
    mount_option_fails("bucket=b,prefix=a//b",
                       "-o: prefix must not have empty, \".\" or \"..\" parts");
    mount_option_fails("bucket=b,prefix=../b",
                       "-o: prefix must not have empty, \".\" or \"..\" parts");
    mount_option_fails("bucket=a/b", "-o: bucket is a name of at most 100 bytes without '/'; what "
                                     "lies in it is chosen with prefix=");
}

static void
a_url_is_needed_only_to_mount(void **state)
{
    (void)state;
    struct sf_err err = SF_ERR_INIT;
    struct sf_config_sources src = quiet_sources();
    struct sf_config *cfg = load(&src);
    assert_int_equal(sf_config_require_url(cfg, &err), -EINVAL);
    assert_string_equal(err.msg, "which project? Give its URL as the first argument, or set "
                                 "SUPABASE_URL in the environment or an env file, or url in a "
                                 "configuration file");
    sf_config_free(cfg);
    src.argument = "a.example";
    cfg = load(&src);
    assert_int_equal(sf_config_require_url(cfg, NULL), 0);
    sf_config_free(cfg);
    src.argument = "http://a.example";
    load_fails(
        &src, -EINVAL,
        "the first argument: http:// to another machine sends the key readable by all on the "
        "way; use https://, or insecure=yes if that is meant");
}

static void
mistyped_variables_are_said(void **state)
{
    (void)state;
    char *const environment[] = {(char[]){"SUPAFS_CONECTIONS=4"},
                                 (char[]){"SUPAFS_DEVSERVER_ADMIN=x"},
                                 (char[]){"SUPAFS_REAL_URL=y"}, (char[]){"HOME=/h"}, NULL};
    struct sf_config_sources src = quiet_sources();
    src.environment = environment;
    struct sf_config *cfg = load(&src);
    assert_string_equal(
        sf_config_warning(cfg, 0),
        "environment: SUPAFS_CONECTIONS is no option of supafs; did you mean connections?");
    assert_null(sf_config_warning(cfg, 1));
    sf_config_free(cfg);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(defaults_depend_on_who_mounts),
        cmocka_unit_test(the_nearer_source_wins),
        cmocka_unit_test(the_first_argument_is_nearest),
        cmocka_unit_test(order_within_one_source),
        cmocka_unit_test(profiles_are_sections),
        cmocka_unit_test(a_profile_can_come_from_anywhere),
        cmocka_unit_test(a_profile_can_name_an_env_file),
        cmocka_unit_test(paths_become_absolute),
        cmocka_unit_test(the_user_file_lies_where_xdg_says),
        cmocka_unit_test(a_prefix_is_trimmed_and_needs_a_bucket),
        cmocka_unit_test(a_url_is_needed_only_to_mount),
        cmocka_unit_test(mistyped_variables_are_said),
    };
    return cmocka_run_group_tests_name("config-load", tests, make_dir, remove_dir);
}
