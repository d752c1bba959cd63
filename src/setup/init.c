/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/init.h"

#include "setup/init-internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *
sf_init_state_word(enum sf_init_state state)
{
    static const char *const words[] = {"there", "differs", "to do", "done", "by hand", "failed"};
    return words[state];
}

void
sf_init_report_fini(struct sf_init_report *r)
{
    sf_init_row_vec_fini(&r->rows);
}

int
init_row(struct init *in, const struct sf_init_row *row)
{
    if (sf_init_row_vec_push(&in->report->rows, *row))
        return -ENOMEM;
    if (in->args->tell)
        in->args->tell(in->args->arg, row);
    return 0;
}

/* "https://REF.supabase.co": the id is needed where the project is not asked itself. */
static void
find_ref(struct init *in)
{
    const char *named = sf_config_str(in->args->cfg, SF_OPT_PROJECT_REF);
    const char *url = sf_config_str(in->args->cfg, SF_OPT_URL), *host = strstr(url, "://");
    host = host ? host + 3 : url;
    size_t n = strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789");
    if (named)
        snprintf(in->ref, sizeof in->ref, "%s", named);
    else if (n > 0 && n < sizeof in->ref && !strcmp(host + n, ".supabase.co"))
        snprintf(in->ref, sizeof in->ref, "%.*s", (int)n, host);
}

static int
check_ref(const struct init *in, struct sf_err *err)
{
    const char *named = sf_config_str(in->args->cfg, SF_OPT_PROJECT_REF);
    if (named && (strlen(named) >= sizeof in->ref ||
                  named[strspn(named, "abcdefghijklmnopqrstuvwxyz0123456789")]))
        return sf_err_set(err, -EINVAL,
                          "%s: project_ref is a word of small letters and digits, as the "
                          "dashboard's addresses have it",
                          sf_config_origin(in->args->cfg, SF_OPT_PROJECT_REF));
    return 0;
}

static int
connect_all(struct init *in, struct sf_err *err)
{
    const struct sf_config *c = in->args->cfg;
    const struct sf_key_choice *key = in->args->key;
    const struct sf_auth_source src = {.kind = key->from_file ? SF_AUTH_FILE : SF_AUTH_VALUE,
                                       .value = key->value,
                                       .variable = key->variable,
                                       .label = key->label,
                                       .apikey = key->apikey};
    const struct sf_http_opts http = {.max_connections = 2,
                                      .connect_ms =
                                          (unsigned)sf_config_ms(c, SF_OPT_CONNECT_TIMEOUT),
                                      .ca_file = sf_config_str(c, SF_OPT_CA_FILE),
                                      .insecure = sf_config_bool(c, SF_OPT_INSECURE)};
    int rc = sf_auth_new(&src, &in->auth, err);
    if (rc == -EINVAL)
        rc = err->code = -EKEYREJECTED;
    if (!rc)
        rc = sf_http_new(&http, &in->http, err);
    if (!rc)
        rc = sf_storage_new(in->http, in->auth, sf_config_str(c, SF_OPT_URL), &in->storage, err);
    return rc;
}

int
sf_init_run(const struct sf_init_args *args, struct sf_init_report *ret, struct sf_err *err)
{
    struct init in = {.args = args, .report = ret};
    *ret = (struct sf_init_report){.version = -1};
    find_ref(&in);
    int rc = check_ref(&in, err);
    if (!rc)
        rc = connect_all(&in, err);
    if (!rc)
        rc = init_buckets(&in, err);
    if (!rc)
        rc = init_sql(&in, err);
    sf_http_free(in.http);
    sf_storage_free(in.storage);
    sf_auth_free(in.auth);
    return rc;
}
