# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/supabase/attrs.c \
	src/supabase/attrs.h \
	src/supabase/auth.c \
	src/supabase/auth.h \
	src/supabase/cache-control.c \
	src/supabase/call.c \
	src/supabase/call.h \
	src/supabase/change.c \
	src/supabase/change.h \
	src/supabase/errmap.c \
	src/supabase/errmap.h \
	src/supabase/form.c \
	src/supabase/json.c \
	src/supabase/json.h \
	src/supabase/keyfile.c \
	src/supabase/keyfile.h \
	src/supabase/list.c \
	src/supabase/list.h \
	src/supabase/object.c \
	src/supabase/object.h \
	src/supabase/removed.c \
	src/supabase/removed.h \
	src/supabase/rest-internal.h \
	src/supabase/rest-query.c \
	src/supabase/rest.c \
	src/supabase/rest.h \
	src/supabase/scan.c \
	src/supabase/scan.h \
	src/supabase/secret.c \
	src/supabase/secret.h \
	src/supabase/storage.c \
	src/supabase/storage.h \
	src/supabase/tus.c \
	src/supabase/tus.h \
	src/supabase/version.c
