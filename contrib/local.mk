# SPDX-License-Identifier: GPL-3.0-or-later
EXTRA_DIST += contrib/check contrib/install-deps contrib/quickstart
# For the database of a project.
sqldir = $(pkgdatadir)/sql
dist_sql_DATA = \
	contrib/sql/001-attributes.sql \
	contrib/sql/002-files.sql \
	contrib/sql/003-conversations.sql \
	contrib/sql/004-errors.sql \
	contrib/sql/005-functions.sql \
	contrib/sql/006-provider-files.sql \
	contrib/sql/007-chat.sql
include contrib/devserver/local.mk
include contrib/completion/local.mk
