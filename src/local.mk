# SPDX-License-Identifier: GPL-3.0-or-later
EXTRA_DIST += src/LAYERS

noinst_LIBRARIES += src/libsupafs.a
src_libsupafs_a_SOURCES =
supafs_libs = src/libsupafs.a $(FUSE_LIBS) $(CURL_LIBS) $(JANSSON_LIBS) $(LMDB_LIBS) \
	$(CRYPTO_LIBS) $(INIH_LIBS)

include src/base/local.mk
include src/observe/local.mk
include src/config/local.mk
include src/supabase/local.mk
include src/store/local.mk
include src/http/local.mk
include src/cache/local.mk
include src/tables/local.mk
include src/provider/local.mk
include src/tree/local.mk
include src/virtual/local.mk
include src/chat/local.mk
include src/write/local.mk
include src/fuse/local.mk
include src/control/local.mk
include src/daemon/local.mk
include src/setup/local.mk
include src/cmd/local.mk
