# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/cache/buf.c \
	src/cache/cache.c \
	src/cache/cache.h \
	src/cache/content.c \
	src/cache/disk-check.c \
	src/cache/disk-chunk.c \
	src/cache/disk-content.c \
	src/cache/disk-index.c \
	src/cache/disk-internal.h \
	src/cache/disk-read.c \
	src/cache/disk-space.c \
	src/cache/disk-walk.c \
	src/cache/disk-write.c \
	src/cache/disk.c \
	src/cache/disk.h \
	src/cache/fetch.c \
	src/cache/follow.c \
	src/cache/follow.h \
	src/cache/internal.h \
	src/cache/key.h \
	src/cache/link.c \
	src/cache/link.h \
	src/cache/policy.c \
	src/cache/policy.h \
	src/cache/pool.c \
	src/cache/pool.h \
	src/cache/predict.c \
	src/cache/predict.h \
	src/cache/read.c \
	src/cache/row.c \
	src/cache/row.h \
	src/cache/stream.c \
	src/cache/stream.h \
	src/cache/tables.h
