# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/control/cache.c \
	src/control/cache.h \
	src/control/chat.c \
	src/control/chat.h \
	src/control/control.c \
	src/control/control.h \
	src/control/find.c \
	src/control/find.h \
	src/control/find-match.c \
	src/control/find-match.h \
	src/control/find-source.c \
	src/control/find-source.h \
	src/control/provider.c \
	src/control/provider.h \
	src/control/provider-check.c \
	src/control/provider-file.c \
	src/control/provider-ids.c \
	src/control/provider-internal.h \
	src/control/provider-json.c \
	src/control/provider-prune.c \
	src/control/provider-upload.c \
	src/control/queue.c \
	src/control/queue.h \
	src/control/warm.c \
	src/control/warm.h \
	src/control/words.c \
	src/control/words.h
