# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/base/cleanup.h \
	src/base/err.c \
	src/base/err.h
