# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/write/change.c \
	src/write/change.h \
	src/write/commit.c \
	src/write/conflict.c \
	src/write/conflict.h \
	src/write/content.c \
	src/write/content.h \
	src/write/extents.c \
	src/write/extents.h \
	src/write/failure.c \
	src/write/failure.h \
	src/write/known.c \
	src/write/known.h \
	src/write/load.c \
	src/write/mime.c \
	src/write/put.c \
	src/write/put.h \
	src/write/quarantine.c \
	src/write/quarantine.h \
	src/write/queue.c \
	src/write/queue.h \
	src/write/rename.c \
	src/write/stage.c \
	src/write/stage.h \
	src/write/timer.c \
	src/write/timer.h \
	src/write/write.h \
	src/write/states.def \
	src/write/step.c \
	src/write/step.h \
	src/write/steps.def \
	src/write/writer.c \
	src/write/writer.h
