/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/provider-internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *
provider_file_trouble(int rc)
{
    switch (rc) {
    case -EBUSY:
        return "it is being changed; ask again when it is closed";
    case -EISDIR:
        return "it is a directory";
    case -EINVAL:
        return "only files are uploaded";
    case -ESTALE:
        return "it has just changed";
    default:
        return strerror(-rc);
    }
}

void
provider_file_describe(struct provider_file *f, struct sf_want_file *out)
{
    sf_tree_source_describe(f->source, out);
    if (f->sha256[0])
        out->sha256 = f->sha256;
}

int
provider_file_want(struct provider_file *f, struct sf_want_file *out)
{
    int rc = sf_tree_source_file(f->source, out);
    if (!rc && f->sha256[0])
        out->sha256 = f->sha256;
    return rc;
}

void
provider_file_close(struct provider_file *f)
{
    sf_tree_source_unref(f->source);
    f->source = NULL;
}

/* Has one of the providers an id of it? */
static bool
has_id(const struct sf_control_provider *cp, const struct sf_tree_source *source)
{
    const struct sf_provider_confs *confs = sf_providers_confs(cp->o.providers);
    struct sf_want_file file;
    sf_tree_source_describe(source, &file);
    struct sf_want_state s;
    for (size_t i = 0; i < confs->n; i++)
        if (!sf_want_known(cp->o.providers, confs->all[i].name, &file, NULL, &s) &&
            s.phase == SF_WANT_READY)
            return true;
    return false;
}

int
provider_file_open(const struct sf_control_provider *cp, uint64_t node, struct provider_file *out)
{
    struct sf_tree_source *s = NULL;
    char version[80];
    int rc = sf_tree_source_new(cp->o.tree, node, &s);
    if (rc)
        return rc;
    *out = (struct provider_file){.source = s};
    const struct sf_tree_source_facts *f = sf_tree_source_facts(s);
    snprintf(out->sha256, sizeof out->sha256, "%s", f->sha256);
    if (out->sha256[0] || (f->version.etag[0] && has_id(cp, s)))
        return 0;
    /* These are no more than help: without the hash it is computed of all bytes, without the
     * version what was found is not noted for the next time. */
    (void)sf_files_xattr(cp->o.tree, node, "user.supafs.sha256", out->sha256, sizeof out->sha256);
    if (f->version.etag[0] ||
        sf_files_xattr(cp->o.tree, node, "user.supafs.version", version, sizeof version) ||
        sf_tree_source_new(cp->o.tree, node, &s))
        return 0;
    provider_file_close(out);
    out->source = s;
    return 0;
}

int
provider_file_find(const struct sf_control_provider *cp, const char *path,
                   struct provider_file *out, struct sf_err *err)
{
    struct sf_tree_entry e;
    int rc = sf_files_find(cp->o.tree, path, &e, err);
    if (rc)
        return rc;
    rc = provider_file_open(cp, e.node, out);
    sf_files_forget(cp->o.tree, &e);
    return rc ? sf_err_set(err, rc, "%s: %s", path, provider_file_trouble(rc)) : 0;
}
