# SPDX-License-Identifier: GPL-3.0-or-later
EXTRA_DIST += contrib/check contrib/install-deps contrib/quickstart
# For the database of a project.
dist_pkgdata_DATA = contrib/sql/supafs_set_attrs.sql
include contrib/devserver/local.mk
include contrib/completion/local.mk
