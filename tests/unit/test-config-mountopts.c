/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config-fixture.h"

/* The argument of -o. */

static struct sf_config *
load_options(const char *text)
{
    const char *const options[] = {text, NULL};
    struct sf_config_sources src = quiet_sources();
    src.mount_options = options;
    return load(&src);
}

static void
options_are_set(void **state)
{
    (void)state;
    struct sf_config *cfg = load_options(",ro,,bucket=a=b,read-timeout=5s,");
    assert_true(sf_config_bool(cfg, SF_OPT_RO));
    assert_string_equal(sf_config_str(cfg, SF_OPT_BUCKET), "a=b");
    assert_int_equal(sf_config_ms(cfg, SF_OPT_READ_TIMEOUT), 5000);
    sf_config_free(cfg);

    cfg = load_options("ro,rw");
    assert_false(sf_config_bool(cfg, SF_OPT_RO));
    sf_config_free(cfg);
    cfg = load_options("rw,ro");
    assert_true(sf_config_bool(cfg, SF_OPT_RO));
    sf_config_free(cfg);
    cfg = load_options("ro=no");
    assert_false(sf_config_bool(cfg, SF_OPT_RO));
    sf_config_free(cfg);
}

static void
commas_and_backslashes_can_be_written(void **state)
{
    (void)state;
    struct sf_config *cfg =
        load_options("bucket=b,prefix=a\\,b\\\\c\\d,log_level=info\\,http=debug");
    assert_string_equal(sf_config_str(cfg, SF_OPT_PREFIX), "a,b\\c\\d");
    assert_string_equal(sf_config_str(cfg, SF_OPT_LOG_LEVEL), "info,http=debug");
    sf_config_free(cfg);
    cfg = load_options("bucket=b\\");
    assert_string_equal(sf_config_str(cfg, SF_OPT_BUCKET), "b\\");
    sf_config_free(cfg);
}

static void
what_fstab_adds_is_accepted(void **state)
{
    (void)state;
    struct sf_config *cfg =
        load_options("defaults,rw,_netdev,nofail,noauto,user,users,user=joe,x-systemd.automount,"
                     "x-systemd.idle-timeout=60,X-mount.mkdir,comment=x,relatime,owner,group,auto");
    assert_string_equal(sf_config_kernel_options(cfg), "");
    sf_config_free(cfg);
    cfg = load_options("noexec,uid=5,nodev,nosuid,noatime");
    assert_string_equal(sf_config_kernel_options(cfg), "noexec,nodev,nosuid,noatime");
    assert_int_equal(sf_config_u64(cfg, SF_OPT_UID), 5);
    sf_config_free(cfg);
}

static void
unknown_options_are_refused(void **state)
{
    (void)state;
    mount_option_fails("conections=4",
                       "-o: there is no option \"conections\"; did you mean connections?");
    mount_option_fails("zzzzzzzzzzzz", "-o: there is no option \"zzzzzzzzzzzz\"; the manual page "
                                       "supafs(1) lists them");
    mount_option_fails("noexec=1", "-o: there is no option \"noexec\"; the manual page supafs(1) "
                                   "lists them");
    mount_option_fails("bucket", "-o: bucket needs a value: bucket=...");
    mount_option_fails("=x", "-o: there is no option \"\"; the manual page supafs(1) lists them");
}

#define REFUSED                                                                                    \
    ": keys are not taken from the command line, where every user can see them; use the "          \
    "environment, an env file, key_file= or key_fd="

static void
keys_are_refused(void **state)
{
    (void)state;
    mount_option_fails("service_key=eyJsecret", "-o service_key" REFUSED);
    mount_option_fails("user-token=x", "-o user_token" REFUSED);
    mount_option_fails("anon_key=x", "-o anon_key" REFUSED);
    mount_option_fails("key=x", "-o key" REFUSED);
    mount_option_fails("password=x", "-o password" REFUSED);
    mount_option_fails("SUPABASE_SERVICE_ROLE_KEY=x", "-o SUPABASE_SERVICE_ROLE_KEY" REFUSED);
    mount_option_fails("eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "-o ..." REFUSED);
    mount_option_fails("sb_secret_abcdef", "-o ..." REFUSED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_set),
        cmocka_unit_test(commas_and_backslashes_can_be_written),
        cmocka_unit_test(what_fstab_adds_is_accepted),
        cmocka_unit_test(unknown_options_are_refused),
        cmocka_unit_test(keys_are_refused),
    };
    return cmocka_run_group_tests_name("config-mountopts", tests, NULL, NULL);
}
