# SPDX-License-Identifier: GPL-3.0-or-later
bin_PROGRAMS += supafs-devserver
EXTRA_DIST += contrib/devserver/README.md

supafs_devserver_SOURCES = \
	contrib/devserver/admin.c contrib/devserver/admin.h \
	contrib/devserver/auth.c contrib/devserver/auth.h \
	contrib/devserver/buf.c contrib/devserver/buf.h \
	contrib/devserver/db.c contrib/devserver/db.h contrib/devserver/db-internal.h \
	contrib/devserver/db-list.c contrib/devserver/db-object.c \
	contrib/devserver/db-upload.c \
	contrib/devserver/fault.c contrib/devserver/fault.h \
	contrib/devserver/form.c contrib/devserver/form.h \
	contrib/devserver/http.c contrib/devserver/http.h \
	contrib/devserver/import.c contrib/devserver/import.h \
	contrib/devserver/json.h contrib/devserver/main.c \
	contrib/devserver/pace.c contrib/devserver/pace.h \
	contrib/devserver/policy.c contrib/devserver/policy.h \
	contrib/devserver/project.c contrib/devserver/project.h \
	contrib/devserver/db-provider.c contrib/devserver/db-provider.h \
	contrib/devserver/provider.c contrib/devserver/provider.h \
	contrib/devserver/provider-chat.c contrib/devserver/provider-error.c \
	contrib/devserver/provider-fetch.c contrib/devserver/provider-files.c \
	contrib/devserver/provider-internal.h contrib/devserver/provider-parser.c \
	contrib/devserver/provider-route.c contrib/devserver/provider-scenario.c \
	contrib/devserver/provider-setting.c contrib/devserver/provider-site.h \
	contrib/devserver/provider-stream.c \
	contrib/devserver/repeat.c contrib/devserver/repeat.h \
	contrib/devserver/reply.c contrib/devserver/reply.h \
	contrib/devserver/reqlog.c contrib/devserver/reqlog.h \
	contrib/devserver/rest.h contrib/devserver/rest-chat.c contrib/devserver/rest-chat.h \
	contrib/devserver/rest-chat-rows.c contrib/devserver/rest-functions.c \
	contrib/devserver/rest-objects.c contrib/devserver/rest-objects.h \
	contrib/devserver/rest-providers.c \
	contrib/devserver/rest-query.c contrib/devserver/rest-reply.c \
	contrib/devserver/rest-row.c contrib/devserver/rest-sql.c \
	contrib/devserver/rest-value.c contrib/devserver/rest-value.h \
	contrib/devserver/route-table.c \
	contrib/devserver/tables.c contrib/devserver/tables.h \
	contrib/devserver/route.c contrib/devserver/route.h \
	contrib/devserver/route-bucket.c contrib/devserver/route-delete.c \
	contrib/devserver/route-list.c contrib/devserver/route-move-copy.c \
	contrib/devserver/route-list-v1.c \
	contrib/devserver/route-read.c contrib/devserver/route-rest.c \
	contrib/devserver/route-sign.c contrib/devserver/signed.c contrib/devserver/signed.h \
	contrib/devserver/db-list-v1.c \
	contrib/devserver/route-tus.c \
	contrib/devserver/route-write.c \
	contrib/devserver/copy.h contrib/devserver/read.h \
	contrib/devserver/db-s3.c \
	contrib/devserver/route-s3.c contrib/devserver/route-s3-list.c \
	contrib/devserver/route-s3-object.c contrib/devserver/route-s3-upload.c \
	contrib/devserver/s3.c contrib/devserver/s3.h contrib/devserver/s3-auth.c \
	contrib/devserver/s3-chunk.c contrib/devserver/s3-chunk.h \
	contrib/devserver/s3-sign.c contrib/devserver/s3-sign.h \
	contrib/devserver/s3-xml.c contrib/devserver/s3-xml.h \
	contrib/devserver/server.h \
	contrib/devserver/store.c contrib/devserver/store.h \
	contrib/devserver/stream.c contrib/devserver/stream.h \
	contrib/devserver/text.c contrib/devserver/text.h \
	contrib/devserver/tus.c contrib/devserver/tus.h \
	contrib/devserver/tus-meta.c contrib/devserver/tus-meta.h \
	contrib/devserver/tus-request.c contrib/devserver/tus-request.h \
	contrib/devserver/upload.c contrib/devserver/upload.h \
	contrib/devserver/upload-form.c contrib/devserver/upload-form.h
supafs_devserver_CFLAGS = $(AM_CFLAGS) $(MICROHTTPD_CFLAGS) $(SQLITE_CFLAGS)
supafs_devserver_LDADD = src/libsupafs.a $(MICROHTTPD_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS) \
	$(CRYPTO_LIBS)
