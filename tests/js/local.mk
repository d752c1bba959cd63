# SPDX-License-Identifier: GPL-3.0-or-later
EXTRA_DIST += \
	tests/js/files.mjs \
	tests/js/package-lock.json \
	tests/js/package.json \
	tests/js/storage.mjs \
	tests/js/tus.mjs
