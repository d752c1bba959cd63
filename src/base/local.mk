# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/base/buf.c \
	src/base/buf.h \
	src/base/cgroup.c \
	src/base/cgroup.h \
	src/base/cleanup.h \
	src/base/clock.c \
	src/base/clock.h \
	src/base/crc32c.c \
	src/base/crc32c.h \
	src/base/err.c \
	src/base/err.h \
	src/base/file.c \
	src/base/file.h \
	src/base/glob.c \
	src/base/glob.h \
	src/base/hash.c \
	src/base/hash.h \
	src/base/htab.h \
	src/base/lock.c \
	src/base/lock.h \
	src/base/mounts.c \
	src/base/mounts.h \
	src/base/redact.c \
	src/base/redact.h \
	src/base/str.c \
	src/base/str.h \
	src/base/thread.c \
	src/base/thread.h \
	src/base/vec.h
