# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/http/error.c \
	src/http/http.h \
	src/http/internal.h \
	src/http/loop.c \
	src/http/queue.c \
	src/http/reply.c \
	src/http/request.c \
	src/http/retry.c \
	src/http/stats.c \
	src/http/timer.c \
	src/http/transfer.c
