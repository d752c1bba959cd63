# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/config/bucket.c \
	src/config/config.c \
	src/config/config.h \
	src/config/envfile.c \
	src/config/envfile.h \
	src/config/ini.c \
	src/config/ini.h \
	src/config/keys.c \
	src/config/keys.h \
	src/config/load.c \
	src/config/mountopts.c \
	src/config/options.c \
	src/config/options.def \
	src/config/options.h \
	src/config/provider.c \
	src/config/provider.def \
	src/config/provider.h \
	src/config/set.h \
	src/config/sources.c \
	src/config/textfile.c \
	src/config/textfile.h \
	src/config/url.c \
	src/config/url.h \
	src/config/value.c \
	src/config/value.h
