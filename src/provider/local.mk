# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/provider/error.h \
	src/provider/provider.h \
	src/provider/route.h \
	src/provider/settings.h
