# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/setup/doctor.c \
	src/setup/doctor.h \
	src/setup/doctor-ask.c \
	src/setup/doctor-bundle.c \
	src/setup/doctor-config.c \
	src/setup/doctor-dirs.c \
	src/setup/doctor-internal.h \
	src/setup/doctor-machine.c \
	src/setup/doctor-net.c \
	src/setup/doctor-probe.c \
	src/setup/doctor-project.c \
	src/setup/init-api.c \
	src/setup/init-buckets.c \
	src/setup/init-internal.h \
	src/setup/init-psql.c \
	src/setup/init-sql.c \
	src/setup/init.c \
	src/setup/init.h \
	src/setup/sql.h

# The SQL files in the program itself; $(dist_sql_DATA) is in contrib/local.mk.
nodist_src_libsupafs_a_SOURCES = src/setup/sql-text.c
EXTRA_DIST += src/setup/gen-sql
CLEANFILES += src/setup/sql-text.c
src/setup/sql-text.c: src/setup/gen-sql $(dist_sql_DATA)
	$(AM_V_GEN)$(MKDIR_P) src/setup && \
	perl $(srcdir)/src/setup/gen-sql $(dist_sql_DATA:%=$(srcdir)/%) > $@.tmp && mv $@.tmp $@
