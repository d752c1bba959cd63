# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/control/control.c \
	src/control/control.h \
	src/control/words.c \
	src/control/words.h
