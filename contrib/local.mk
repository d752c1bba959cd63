# SPDX-License-Identifier: GPL-3.0-or-later
EXTRA_DIST += contrib/check contrib/install-deps contrib/quickstart \
	contrib/sql/supafs_set_attrs.sql
include contrib/devserver/local.mk
