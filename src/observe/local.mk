# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/observe/counter.c \
	src/observe/counter.h \
	src/observe/counters.def \
	src/observe/line.c \
	src/observe/line.h \
	src/observe/log.c \
	src/observe/log.h
