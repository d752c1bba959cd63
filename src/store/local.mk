# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/store/env.c \
	src/store/env.h \
	src/store/env-files.c \
	src/store/env-rows.c \
	src/store/env-writer.c \
	src/store/guard.c \
	src/store/guard.h \
	src/store/internal.h \
	src/store/peek.c \
	src/store/peek.h
