# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/tables/access.c \
	src/tables/ask.c \
	src/tables/batch.c \
	src/tables/fact.c \
	src/tables/internal.h \
	src/tables/note.c \
	src/tables/object.c \
	src/tables/peer.c \
	src/tables/row.c \
	src/tables/tables.c \
	src/tables/tables.h
