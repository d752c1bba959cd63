/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config-fixture.h"

#include "base/buf.h"
#include "base/str.h"
#include "config/keys.h"
#include "supabase/auth.h"

/* Keys are read again from every kind of file that config/ accepts. */

static void
put_jwt(char *out, size_t size, long expires)
{
    char claims[80];
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    snprintf(claims, sizeof claims, "{\"role\":\"service_role\",\"exp\":%ld}", expires);
    sf_base64url_encode(&b, claims, strlen(claims));
    snprintf(out, size, "eyJhbGciOiJIUzI1NiJ9.%s.c2lnbmF0dXJl", sf_buf_str(&b));
}

/* Load the sources, choose the key, give the file another content: the new key must be there. */
static void
changes_with_its_file(const struct sf_config_sources *src, const char *file, const char *head,
                      const char *tail)
{
    char text[1000], jwt[300];
    struct sf_err err = SF_ERR_INIT;
    struct sf_key_choice c;
    struct sf_auth *auth;
    put_jwt(jwt, sizeof jwt, 2000000001);
    snprintf(text, sizeof text, "%s%s%s", head, jwt, tail);
    write_file(file, 0600, text);

    struct sf_config *cfg = load(src);
    if (sf_keys_choose(cfg, &c, &err))
        fail_msg("%s", err.msg);
    assert_true(c.from_file);
    const struct sf_auth_source source = {.kind = SF_AUTH_FILE,
                                          .value = c.value,
                                          .variable = c.variable,
                                          .label = c.label,
                                          .apikey = c.apikey};
    if (sf_auth_new(&source, &auth, &err))
        fail_msg("%s", err.msg);
    sf_key_choice_fini(&c);
    sf_config_free(cfg);
    assert_string_equal(sf_auth_role(auth), "service_role");
    assert_int_equal(sf_auth_expires(auth), 2000000001);

    assert_int_equal(sf_auth_reload(auth, false, &err), 0); /* unchanged */
    put_jwt(jwt, sizeof jwt, 2000000002);
    snprintf(text, sizeof text, "%s%s%s", head, jwt, tail);
    write_file(file, 0644, text); /* open to others: the old key stays */
    assert_int_equal(sf_auth_reload(auth, true, &err), -EPERM);
    assert_int_equal(sf_auth_expires(auth), 2000000001);
    write_file(file, 0600, text);
    assert_int_equal(sf_auth_reload(auth, true, NULL), 1);
    assert_int_equal(sf_auth_expires(auth), 2000000002);
    sf_auth_free(auth);
}

static void
every_kind_of_file(void **state)
{
    (void)state;
    struct sf_config_sources src = quiet_sources();
    src.env_file = in_dir("env");
    changes_with_its_file(&src, "env", "A=\"x\ny\"\nexport SUPABASE_SERVICE_KEY='", "'\n");

    src = quiet_sources();
    src.user_file = in_dir("conf");
    src.argument = "a";
    changes_with_its_file(
        &src, "conf",
        "[project.b]\nservice_key=sb_secret_other\n[project.a]\nservice_key = ", "\n");

    char option[120];
    snprintf(option, sizeof option, "key_file=%s", in_dir("key"));
    const char *const options[] = {option, NULL};
    src = quiet_sources();
    src.mount_options = options;
    changes_with_its_file(&src, "key", "", "\n");
    changes_with_its_file(&src, "key", "# mine\nSUPAFS_SERVICE_KEY = \"", "\" # comment\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_file),
    };
    return cmocka_run_group_tests_name("supabase-keyfile", tests, make_dir, remove_dir);
}
