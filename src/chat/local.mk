# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/chat/clean.c \
	src/chat/clean.h \
	src/chat/front.c \
	src/chat/front.h \
	src/chat/names.c \
	src/chat/names.h \
	src/chat/parse.c \
	src/chat/print.c \
	src/chat/transcript.h
