# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/chat/answers.c \
	src/chat/answers.h \
	src/chat/budget.c \
	src/chat/budget.h \
	src/chat/clean.c \
	src/chat/clean.h \
	src/chat/content.c \
	src/chat/content.h \
	src/chat/front.c \
	src/chat/front.h \
	src/chat/ignore.c \
	src/chat/ignore.h \
	src/chat/load.c \
	src/chat/load.h \
	src/chat/names.c \
	src/chat/names.h \
	src/chat/parse.c \
	src/chat/piece.c \
	src/chat/print.c \
	src/chat/prompt.c \
	src/chat/prompt.h \
	src/chat/remote.c \
	src/chat/remote.h \
	src/chat/remote-row.c \
	src/chat/store.c \
	src/chat/store.h \
	src/chat/store-cache.c \
	src/chat/store-change.c \
	src/chat/store-internal.h \
	src/chat/store-rows.c \
	src/chat/transcript.h
