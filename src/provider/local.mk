# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/provider/call.c \
	src/provider/call.h \
	src/provider/error.c \
	src/provider/error.h \
	src/provider/files.c \
	src/provider/files.h \
	src/provider/gate.c \
	src/provider/gate.h \
	src/provider/glm.c \
	src/provider/ids.c \
	src/provider/ids.h \
	src/provider/internal.h \
	src/provider/key.c \
	src/provider/key.h \
	src/provider/kimi.c \
	src/provider/op.h \
	src/provider/openai.c \
	src/provider/provider.h \
	src/provider/route.c \
	src/provider/route.h \
	src/provider/settings.c \
	src/provider/settings.h \
	src/provider/types.c \
	src/provider/upload-read.c \
	src/provider/upload-read.h \
	src/provider/upload.c \
	src/provider/upload.h \
	src/provider/want.h
